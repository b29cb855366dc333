"""The profile on disk: one SQLite file whose contents are encrypted record by record.

A record has a kind, a name and a value. Names are keyed hashes, values are sealed with
kind and name as associated data, so the file shows how many records of which kind there
are and nothing else. Records of a kind keep the order in which they were first put.

One process has it open at a time. Every transaction is synced to disk.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import msgspec

from phantom_messenger.client.errors import NoProfile, VaultDamaged, VaultError, VaultInUse, WrongPassphrase
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.erasure import Erasure

FORMAT: Final = 1
ARGON2_MEMORY_KIB: Final = 65_536
ARGON2_PASSES: Final = 3
ARGON2_LANES: Final = 4
"""RFC 9106 section 4, the second recommended option: 64 MiB."""

SALT_BYTES: Final = 16
_LOG_PAGES: Final = 1_000
"""Length of the write-ahead log at which it is written back."""

_PAGE: Final = 200
"""Records that ``newest`` reads at a time."""

_LAST_POSITION: Final = 2**63 - 1

_STEPS_AT_CLOSE: Final = 50
"""Steps of erasing that closing may take; the next opening looks at all that is left."""

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    name     BLOB NOT NULL,   -- HMAC of the name, 16 bytes
    due      INTEGER,         -- ms since 1970 when the record is to go, if ever
    value    BLOB NOT NULL,   -- nonce || AES-256-GCM
    UNIQUE (kind, name)
) STRICT;
CREATE INDEX records_due ON records (due) WHERE due IS NOT NULL;
"""

S = TypeVar("S")


class Secret:
    """What opens a vault: a passphrase of a person (stretched), or a random key from a keyring.

    Args:
        text: the passphrase or key.
        stretched: True for what a person thought up.
    """

    __slots__ = ("_text", "stretched")

    def __init__(self, text: str, *, stretched: bool = True) -> None:
        self._text = text
        self.stretched = stretched

    def __repr__(self) -> str:
        return "Secret(...)"

    def key(self, salt: bytes) -> bytes:
        """The 32-byte key that wraps the vault's own key."""
        if self.stretched:
            return primitives.argon2id(
                self._text.encode(),
                salt=salt,
                memory_kib=ARGON2_MEMORY_KIB,
                passes=ARGON2_PASSES,
                lanes=ARGON2_LANES,
            )
        return primitives.hkdf(self._text.encode(), salt=salt, info=b"phantom/1 vault keyring\n", length=32)


class Vault:
    """An open profile.

    Args:
        path: the file.
        secret: opens it, or closes a new one.
        create: make the file if it is not there.

    Raises:
        NoProfile, VaultInUse, WrongPassphrase, VaultDamaged, VaultError: as they say.
    """

    def __init__(self, path: Path, secret: Secret, *, create: bool = True) -> None:
        if not create and not path.exists():
            raise NoProfile(f"there is no profile at {path}; make one with 'phantom init'")
        self.path = path
        self._wrote = True  # perhaps by an earlier run that died
        self._erasure: Erasure | None = None
        self._when_kept: list[Callable[[], None]] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock: int | None = _lock(path)
        except OSError as error:
            raise VaultError(
                f"cannot write to {path.parent}: {error.strerror}; set PHANTOM_HOME to another folder"
            ) from None
        try:
            self._connection = apsw.Connection(str(path))
        except apsw.Error as error:
            os.close(self._lock)
            raise VaultError(f"cannot open {path}: {error}") from None
        try:
            path.chmod(0o600)
            self._open(secret)
            self._erasure = Erasure(self._connection, path, _LOG_PAGES)
        except BaseException as error:
            self.close()
            if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.SQLError):
                raise VaultDamaged(f"{path} cannot be read; restore it from a backup") from None
            if isinstance(error, apsw.Error | OSError):
                raise VaultError(f"cannot open {path}: {error}") from None
            raise

    def close(self) -> None:
        """Close and unlock; idempotent."""
        with suppress(apsw.Error):  # a full disk keeps the log from being written back: the next opening does it
            for _ in range(_STEPS_AT_CLOSE):
                if self._erasure is None or self._erasure.run():
                    break
            self._connection.close()
        if self._erasure is not None:
            self._erasure.close()
            self._erasure = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def destroy(self) -> None:
        """Close it and delete its files."""
        self.close()
        for suffix in ("", "-wal", "-shm", ".lock"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, on disk when the block has ended; one inside another is part of it."""
        if self._is_in_transaction():
            yield
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._wrote = True
            self._when_kept.clear()
            yield
            self._connection.execute("COMMIT")
            kept, self._when_kept = self._when_kept, []
            for do in kept:
                do()
            if self._erasure is not None:
                self._erasure.committed()
        except BaseException as error:
            # SQLite ends the transaction by itself when the disk is full.
            if self._is_in_transaction():
                self._connection.execute("ROLLBACK")
            if isinstance(error, apsw.BusyError):
                raise VaultError(f"another program (a backup?) holds {self.path}; it is tried again") from None
            if isinstance(error, apsw.Error):
                raise VaultError(f"cannot write to {self.path} ({error}); free some disk space") from None
            raise

    def when_kept(self, do: Callable[[], None]) -> None:
        """Do something once the transaction is on disk, and not if it fails: memory follows what is stored."""
        if self._is_in_transaction():
            self._when_kept.append(do)
        else:
            do()

    def tidy(self) -> None:
        """Leave no erased text in the write-ahead log, if something was written since the last time."""
        if self._wrote:
            with suppress(apsw.Error):  # somebody reads it, or the disk is full: the next time, then
                self._wrote = self._erasure is None or not self._erasure.run()

    def _is_in_transaction(self) -> bool:
        return self._connection.in_transaction

    def get(self, kind: str, name: str, type_: type[S]) -> S | None:
        """A record's value, or None."""
        hashed = self._hashed(kind, name)
        row: Any = self._connection.execute(
            "SELECT value FROM records WHERE kind = ? AND name = ?", (kind, hashed)
        ).fetchone()
        return None if row is None else self._read(kind, hashed, row[0], type_)

    def place(self, kind: str, name: str) -> int:
        """The position of a record in the order of its kind, 0 if it is not there."""
        row: Any = self._connection.execute(
            "SELECT position FROM records WHERE kind = ? AND name = ?", (kind, self._hashed(kind, name))
        ).fetchone()
        return 0 if row is None else int(row[0])

    def has(self, kind: str, name: str) -> bool:
        """Whether there is a record."""
        return (
            self._connection.execute(
                "SELECT 1 FROM records WHERE kind = ? AND name = ?", (kind, self._hashed(kind, name))
            ).fetchone()
            is not None
        )

    def put(self, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        """Store a record; one of the same name keeps its place in the order.

        Args:
            kind: which sort of record.
            name: unique in its kind.
            value: what msgspec can encode.
            due: milliseconds since 1970 from when ``overdue`` names it.
        """
        hashed = self._hashed(kind, name)
        nonce = os.urandom(primitives.NONCE_BYTES)
        sealed = nonce + primitives.seal(self._key, nonce, msgspec.msgpack.encode(value), kind.encode() + hashed)
        self._connection.execute(
            "INSERT INTO records (kind, name, due, value) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, name) DO UPDATE SET due = excluded.due, value = excluded.value",
            (kind, hashed, due, sealed),
        )

    def delete(self, kind: str, name: str) -> None:
        """Remove a record, overwriting it; idempotent."""
        self._connection.execute("DELETE FROM records WHERE kind = ? AND name = ?", (kind, self._hashed(kind, name)))

    def forget(self, kind: str, due: int) -> None:
        """Remove the records of a kind that were due by then; call it inside a transaction."""
        self._connection.execute("DELETE FROM records WHERE kind = ? AND due <= ?", (kind, due))

    def all(self, kind: str, type_: type[S], *, after: int = 0) -> Iterator[tuple[int, S]]:
        """The records of a kind behind a position, in order, each with its position."""
        rows: list[Any] = self._connection.execute(
            "SELECT position, name, value FROM records WHERE kind = ? AND position > ? ORDER BY position", (kind, after)
        ).fetchall()
        for position, hashed, value in rows:
            yield position, self._read(kind, hashed, value, type_)

    def newest(self, kind: str, type_: type[S]) -> Iterator[S]:
        """The records of a kind, the last one first, read as they are asked for and each once."""
        below = _LAST_POSITION
        while True:
            rows: list[Any] = self._connection.execute(
                "SELECT position, name, value FROM records WHERE kind = ? AND position < ?"
                " ORDER BY position DESC LIMIT ?",
                (kind, below, _PAGE),
            ).fetchall()
            for below, hashed, value in rows:  # noqa: B007 - the last one bounds the next page
                yield self._read(kind, hashed, value, type_)
            if len(rows) < _PAGE:
                return

    def readable(self, kind: str, type_: type[S]) -> Iterator[tuple[int, S]]:
        """As ``all``, without those that are damaged: for what can be made anew."""
        rows: list[Any] = self._connection.execute(
            "SELECT position, name, value FROM records WHERE kind = ? ORDER BY position", (kind,)
        ).fetchall()
        for position, hashed, value in rows:
            with suppress(VaultDamaged):
                yield position, self._read(kind, hashed, value, type_)

    def overdue(self, kind: str, now: int, type_: type[S]) -> list[S]:
        """The records of a kind whose time has come."""
        rows: list[Any] = self._connection.execute(
            "SELECT name, value FROM records WHERE kind = ? AND due <= ? ORDER BY due", (kind, now)
        ).fetchall()
        return [self._read(kind, hashed, value, type_) for hashed, value in rows]

    def _open(self, secret: Secret) -> None:
        connection = self._connection
        connection.set_busy_timeout(2_000)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", "on")
        version = connection.pragma("user_version")
        if version > FORMAT:
            raise VaultError(f"{self.path} was written by a newer version of Phantom Messenger; install that version")
        if version == 0:
            with connection:
                connection.execute(_SCHEMA)
                self._lock_up(secret)
                connection.pragma("user_version", FORMAT)
        self._unlock(secret)

    def _lock_up(self, secret: Secret) -> None:
        salt, nonce = os.urandom(SALT_BYTES), os.urandom(primitives.NONCE_BYTES)
        wrapped = nonce + primitives.seal(secret.key(salt), nonce, os.urandom(32), b"phantom/1 vault key\n")
        self._connection.executemany(
            "INSERT INTO meta (name, value) VALUES (?, ?)",
            [("salt", salt), ("key", wrapped), ("stretched", b"1" if secret.stretched else b"0")],
        )

    def _unlock(self, secret: Secret) -> None:
        meta: dict[str, bytes] = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())  # type: ignore[arg-type] # the schema's types
        try:
            salt, wrapped = meta["salt"], meta["key"]
        except KeyError:
            raise VaultDamaged(f"{self.path} is incomplete; restore it from a backup") from None
        nonce, sealed = wrapped[: primitives.NONCE_BYTES], wrapped[primitives.NONCE_BYTES :]
        if meta.get("stretched") == b"0" and secret.stretched:
            raise WrongPassphrase(f"{self.path} is opened by the system's keyring; unset PHANTOM_PASSPHRASE")
        if len(salt) != SALT_BYTES or len(sealed) != primitives.KEY_BYTES + primitives.TAG_BYTES:
            raise VaultDamaged(f"{self.path} is damaged; restore it from a backup")
        try:
            key = primitives.unseal(secret.key(salt), nonce, sealed, b"phantom/1 vault key\n")
        except UndecryptableMessage:
            raise WrongPassphrase(f"the passphrase does not open {self.path}; try again") from None
        self._key = primitives.hkdf(key, salt=bytes(32), info=b"phantom/1 vault records\n", length=32)
        self._names = primitives.hkdf(key, salt=bytes(32), info=b"phantom/1 vault names\n", length=32)

    def _hashed(self, kind: str, name: str) -> bytes:
        return primitives.hmac_sha256(self._names, f"{kind}\0{name}".encode())[:16]

    def _read(self, kind: str, hashed: bytes, sealed: bytes, type_: type[S]) -> S:
        nonce, rest = sealed[: primitives.NONCE_BYTES], sealed[primitives.NONCE_BYTES :]
        if len(rest) < primitives.TAG_BYTES:
            raise VaultDamaged(f"a record in {self.path} cannot be read; restore it from a backup")
        try:
            return msgspec.msgpack.decode(primitives.unseal(self._key, nonce, rest, kind.encode() + hashed), type=type_)
        except (UndecryptableMessage, msgspec.MsgspecError):
            raise VaultDamaged(f"a record in {self.path} cannot be read; restore it from a backup") from None


def _lock(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise VaultInUse(
            f"the profile '{path.stem}' is in use by another program; stop that one (a chat? a listener?) first"
        ) from None
    return lock
