"""The profile on disk: one SQLite file whose contents are encrypted record by record.

A record has a kind, a name and a value. Names are keyed hashes, values are sealed with
kind and name as associated data, so the file shows how many records of which kind there
are and nothing else. Records of a kind keep the order in which they were first put.

One process has it open at a time. Every transaction is synced to disk.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import msgspec

from phantom_messenger.client import passphrase, records, vault_file
from phantom_messenger.client.errors import NoProfile, VaultDamaged, VaultError, WrongPassphrase
from phantom_messenger.client.run_all import run_all
from phantom_messenger.client.vault_file import FORMAT
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.sqlite.database import configure
from phantom_messenger.sqlite.errors import is_corruption
from phantom_messenger.sqlite.scrub import Scrubber

ARGON2_MEMORY_KIB: Final = 65_536
ARGON2_PASSES: Final = 3
ARGON2_LANES: Final = 4
"""RFC 9106 section 4, the second recommended option: 64 MiB."""

SALT_BYTES: Final = 16
_LOG_PAGES: Final = 1_000
"""Length of the write-ahead log at which it is written back."""

_PAGE: Final = 200
"""Records that ``newest`` reads at a time."""

_NEAR: Final = 1_000
"""How many positions ``oldest`` looks through for the next record of a kind before it asks the index of kinds."""

_NAMES_KEPT: Final = 1_024
"""Names whose hashes are remembered."""

_LAST_POSITION: Final = 2**63 - 1

_STEPS_AT_CLOSE: Final = 50
"""Steps of scrubbing that closing may run; the next opening looks at all that is left."""

_log = logging.getLogger("phantom_messenger")

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
        """The 32-byte key that wraps the key of a new vault.

        Raises:
            UsageError: the passphrase cannot be one.
        """
        return self._key(passphrase.chosen(self._text, what="the profile"), salt)

    def keys(self, salt: bytes) -> Iterator[bytes]:
        """The keys that an older vault may be wrapped with, most likely first; each takes its time to make."""
        words = passphrase.candidates(self._text, what="the profile") if self.stretched else [self._text.encode()]
        return (self._key(one, salt) for one in words)

    def _key(self, words: bytes, salt: bytes) -> bytes:
        if self.stretched:
            return primitives.argon2id(
                words,
                salt=salt,
                memory_kib=ARGON2_MEMORY_KIB,
                passes=ARGON2_PASSES,
                lanes=ARGON2_LANES,
            )
        return primitives.hkdf(words, salt=salt, info=b"phantom/1 vault keyring\n", length=32)


class Transaction:
    """Changes that are all stored, or none of them; what ``Vault.transaction`` gives.

    A function that writes takes one as an argument, so it can only be called where a transaction was begun.

    Args:
        vault: whose it is.
    """

    def __init__(self, vault: "Vault") -> None:
        self._vault = vault
        self._on_commit: list[Callable[[], None]] = []
        self._on_rollback: list[Callable[[], None]] = []

    def put(self, kind: str, name: str, value: object, *, due: int | None = None) -> None:
        """Store a record; one of the same name keeps its position in the order.

        Args:
            kind: which sort of record.
            name: unique in its kind.
            value: what msgspec can encode.
            due: milliseconds since 1970 from when ``overdue`` names it.
        """
        self._vault._put(kind, {name: value}, due)  # noqa: SLF001 - a part of the vault

    def put_several(self, kind: str, values: Mapping[str, object]) -> None:
        """As ``put``, of records that are never due, by name: in steps, each for all of them."""
        self._vault._put(kind, values, None)  # noqa: SLF001 - as above

    def delete(self, kind: str, name: str) -> None:
        """Remove a record, overwriting it; idempotent."""
        self._vault._delete(kind, name)  # noqa: SLF001 - as above

    def delete_due(self, kind: str, now: int) -> None:
        """Remove the records of a kind that were due by then."""
        self._vault._delete_due(kind, now)  # noqa: SLF001 - as above

    def delete_some(self, kind: str, limit: int) -> None:
        """Remove so many records of a kind, if there are as many."""
        self._vault._delete_some(kind, limit)  # noqa: SLF001 - as above

    def on_commit(self, action: Callable[[], None]) -> None:
        """Call something once all is on disk, and not if it fails: memory follows what is stored."""
        self._on_commit.append(action)

    def on_rollback(self, action: Callable[[], None]) -> None:
        """Call something if it fails, the last one first: for what was changed in memory before."""
        self._on_rollback.append(action)

    def committed(self) -> None:
        """All is on disk."""
        run_all(self._on_commit)

    def rolled_back(self) -> None:
        """Nothing was stored."""
        run_all(self._on_rollback[::-1])


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
        self._wrote = True  # perhaps by an earlier run that died
        self._writes = False
        """Whether the transaction that is under way has written anything."""
        self._is_parted = False
        self._is_damaged = False
        self._scrubber: Scrubber | None = None
        self._lock: int | None = None
        self.readers: set[Vault] = set()
        """Who reads it as it was before: meanwhile nothing can be scrubbed, and nobody is to wait for that."""
        self.unreadable = 0
        """How many records were left out because they could not be decrypted."""
        try:
            self.path = path = vault_file.real_path(path)
            is_there = path.exists()
            if not create and not is_there:
                raise NoProfile(f"there is no profile at {path}; create one with 'phantom init'")
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = vault_file.lock(path)
        except OSError as error:
            raise vault_file.unreachable(path.parent, error) from None
        try:
            if path.exists():
                vault_file.check(path)
            else:
                vault_file.make(path, _meta(secret))
            path.chmod(0o600)
            self._connection = apsw.Connection(str(path))
            self._open(secret)
        except BaseException as error:
            self.close()
            if isinstance(error, apsw.Error | OSError):
                raise vault_file.translated(path, error) from None
            raise

    def close(self) -> None:
        """Close and unlock; idempotent."""
        with suppress(apsw.Error):  # a full disk keeps the log from being written back: the next opening does it
            for _ in range(_STEPS_AT_CLOSE):
                if self._scrubber is None or self.readers or self._scrubber.run():
                    break
        if hasattr(self, "_connection"):
            with suppress(apsw.Error):
                self._connection.close()
        if self._scrubber is not None:
            self._scrubber.close()
            self._scrubber = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def destroy(self) -> None:
        """Close it and delete its files."""
        self.close()
        vault_file.delete(self.path)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing, on disk when the block has ended. There is one at a time: hand it on to who has to write.

        Raises:
            VaultError: it could not be stored.
        """
        if self._is_in_transaction():
            raise RuntimeError("a transaction is under way: hand it on")
        self._part()
        tx = Transaction(self)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._writes = False
            yield tx
            if self._is_damaged:  # what was done without the damaged record may be wrong
                raise vault_file.damaged(self.path)
            self._connection.execute("COMMIT")
        except BaseException as error:
            try:
                self._roll_back()
            finally:
                tx.rolled_back()
            if (is_corruption(error) or self._is_damaged) and self._repair():
                raise VaultDamaged(f"{self.path} was damaged; what could be read has been saved: try again") from None
            if isinstance(error, apsw.Error):
                raise vault_file.translated(self.path, error) from None
            raise
        try:
            tx.committed()
        finally:
            if self._scrubber is not None:
                self._scrubber.committed()

    def _begin_to_write(self) -> None:
        """Before the first thing that a transaction writes: one that writes nothing leaves the disk alone."""
        if not self._writes:
            self._writes = self._wrote = True
            if self._scrubber is not None:
                self._scrubber.begin()

    def _roll_back(self) -> None:
        """Leave nothing of a transaction, unless SQLite has ended it by itself, as it does when the disk is full."""
        if self._is_in_transaction():
            with suppress(apsw.Error):
                self._connection.execute("ROLLBACK")
        if self._is_in_transaction():  # a connection that is closed leaves nothing of it
            with suppress(apsw.Error, OSError):  # then each use says that the file cannot be used
                self._connection.close(True)
                self._connect_again()
                self._is_parted = False

    def _part(self) -> None:
        """Before the first transaction: let no log of this run fit to an older copy of the file."""
        if self._scrubber is not None and not self._is_parted:
            self._is_parted = True
            with suppress(apsw.Error):  # a full disk, or somebody reads it: the transaction itself will fail
                self._scrubber.part()

    def scrub(self) -> None:
        """Leave no erased message in the file or its log, if something was written since the last time."""
        if self._wrote and not self.readers:
            with suppress(apsw.Error):  # somebody reads it, or the disk is full: the next time, then
                self._wrote = self._scrubber is None or not self._scrubber.run()

    def _is_in_transaction(self) -> bool:
        with suppress(apsw.ConnectionClosedError):
            return self._connection.in_transaction
        return False

    def get(self, kind: str, name: str, type_: type[S]) -> S | None:
        """A record's value, or None.

        Raises:
            VaultDamaged: it is there, and cannot be read.
        """
        hashed = self._hashed(kind, name)
        rows = self._run("SELECT value FROM records WHERE kind = ? AND name = ?", (kind, hashed))
        return self._read(kind, hashed, rows[0][0], type_) if rows else None

    def find(self, kind: str, name: str, type_: type[S]) -> S | None:
        """As ``get``, and None, too, if it alone is damaged: for what can be done without."""
        hashed = self._hashed(kind, name)
        for (value,) in self._run("SELECT value FROM records WHERE kind = ? AND name = ?", (kind, hashed)):
            for record in self._readable(kind, hashed, value, type_):
                return record
        return None

    def several(self, kind: str, names: Iterable[str], type_: type[S]) -> list[S | None]:
        """The values of these records; None for what is not there or cannot be read: ``get`` says which it is."""
        hashed, found = [self._hashed(kind, name) for name in names], {}
        statement = f"SELECT name, value FROM records WHERE kind = ? AND name IN ({','.join('?' * len(hashed))})"  # noqa: S608 - marks
        for name, value in self._run(statement, (kind, *hashed)):
            with suppress(VaultDamaged):
                found[name] = self._read(kind, name, value, type_)
        return [found.get(name) for name in hashed]

    def position(self, kind: str, name: str) -> int:
        """The position of a record in the order of its kind, 0 if it is not there."""
        rows = self._run("SELECT position FROM records WHERE kind = ? AND name = ?", (kind, self._hashed(kind, name)))
        return int(rows[0][0]) if rows else 0

    def last_position(self) -> int:
        """The position of the newest record."""
        rows = self._run("SELECT max(position) FROM records")
        return int(rows[0][0] or 0)

    def has(self, kind: str, name: str) -> bool:
        """Whether there is a record."""
        return bool(self._run("SELECT 1 FROM records WHERE kind = ? AND name = ?", (kind, self._hashed(kind, name))))

    def has_kind(self, kind: str) -> bool:
        """Whether there is a record of a kind."""
        return bool(self._run("SELECT 1 FROM records WHERE kind = ? LIMIT 1", (kind,)))

    def is_unused(self) -> bool:
        """Whether nothing was ever put into it."""
        return not self._run("SELECT 1 FROM records LIMIT 1") and not self._run("SELECT 1 FROM sqlite_sequence")

    def _put(self, kind: str, values: Mapping[str, object], due: int | None) -> None:
        # Step by step, since ciphers and the database in turn would throw each other out of the processor's caches.
        hashed = [self._hashed(kind, name) for name in values]
        plain = [msgspec.msgpack.encode(value) for value in values.values()]
        seal, about, size = self._cipher.seal, kind.encode(), primitives.NONCE_BYTES
        drawn = os.urandom(size * len(values))
        nonces = [drawn[at : at + size] for at in range(0, len(drawn), size)]
        sealed = [once + seal(once, one, about + name) for once, one, name in zip(nonces, plain, hashed, strict=True)]
        self._begin_to_write()
        self._run(
            "INSERT INTO records (kind, name, due, value) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (kind, name) DO UPDATE SET due = excluded.due, value = excluded.value",
            [(kind, name, due, value) for name, value in zip(hashed, sealed, strict=True)],
        )

    def _delete(self, kind: str, name: str) -> None:
        self._delete_where("WHERE kind = ? AND name = ?", kind, self._hashed(kind, name))

    def _delete_some(self, kind: str, limit: int) -> None:
        self._delete_where("WHERE position IN (SELECT position FROM records WHERE kind = ? LIMIT ?)", kind, limit)

    def _delete_due(self, kind: str, now: int) -> None:
        self._delete_where("INDEXED BY records_due WHERE kind = ? AND due <= ?", kind, now)

    def _delete_where(self, condition: str, *values: Any) -> None:
        if not self._writes:
            if not self._run(f"SELECT 1 FROM records {condition} LIMIT 1", values):  # noqa: S608 - constants
                return
            self._begin_to_write()
        self._run(f"DELETE FROM records {condition}", values)  # noqa: S608 - as above

    def all(self, kind: str, type_: type[S], *, after: int = 0) -> Iterator[tuple[int, S]]:
        """The records of a kind behind a position, in order, each with its position; damaged ones are left out."""
        rows = self._run(
            "SELECT position, name, value FROM records WHERE kind = ? AND position > ? ORDER BY position", (kind, after)
        )
        for position, hashed, value in rows:
            for record in self._readable(kind, hashed, value, type_):
                yield position, record

    def oldest(self, kind: str, type_: type[S], *, after: int) -> Iterator[tuple[int, S]]:
        """As ``all``, read as they are asked for."""
        position = after
        rows: list[Any] = [None]
        while rows:
            # The index of kinds would have all of them sorted for each page; where there are many, the next is near.
            rows = self._behind(kind, position, position + _NEAR) or self._run(
                "SELECT position, name, value FROM records WHERE kind = ? AND position > ? ORDER BY position LIMIT ?",
                (kind, position, _PAGE),
            )
            for position, hashed, value in rows:
                for record in self._readable(kind, hashed, value, type_):
                    yield position, record

    def behind(self, kind: str, type_: type[S], *, after: int) -> Iterator[tuple[int, S]]:
        """As ``oldest``, without the index of kinds: for positions behind which there is little of any kind."""
        position = after
        rows: list[Any] = [None]
        while rows:
            rows = self._behind(kind, position, _LAST_POSITION)
            for position, hashed, value in rows:
                for record in self._readable(kind, hashed, value, type_):
                    yield position, record

    def _behind(self, kind: str, after: int, until: int) -> list[Any]:
        return self._run(
            "SELECT position, name, value FROM records NOT INDEXED WHERE kind = ? AND position > ? AND position <= ?"
            " ORDER BY position LIMIT ?",
            (kind, after, until, _PAGE),
        )

    def batch(self, types: Mapping[str, type[Any]], *, after: int, limit: int) -> tuple[list[Any], int]:
        """Of so many records behind a position those of some kinds, in order; and the position of the last."""
        rows = self._run(
            "SELECT position, kind, name, value FROM records WHERE position > ? ORDER BY position LIMIT ?",
            (after, limit),
        )
        found = [
            record
            for _, kind, hashed, value in rows
            if kind in types
            for record in self._readable(kind, hashed, value, types[kind])
        ]
        return found, rows[-1][0] if rows else after

    def before(self, types: Mapping[str, type[Any]], *, below: int, above: int = 0) -> Iterator[tuple[int, str, Any]]:
        """Records between two positions, the last one first, each with its position and kind; read as needed."""
        position = below
        rows: list[Any] = [None]
        while rows:
            rows = self._run(
                "SELECT position, kind, name, value FROM records WHERE position < ? AND position > ?"
                " ORDER BY position DESC LIMIT ?",
                (position, above, _PAGE),
            )
            for position, kind, hashed, value in rows:
                if kind in types:
                    for record in self._readable(kind, hashed, value, types[kind]):
                        yield position, kind, record

    def count(self, kind: str) -> int:
        """How many records there are of a kind."""
        return int(self._run("SELECT count(*) FROM records WHERE kind = ?", (kind,))[0][0])

    def newest(self, kind: str, type_: type[S], *, above: int = 0) -> Iterator[S]:
        """The records of a kind behind a position, the last one first, read as they are asked for and each once."""
        below = _LAST_POSITION
        while True:
            rows = self._run(
                # By position: the index of kinds would have all messages sorted for each page.
                "SELECT position, name, value FROM records NOT INDEXED WHERE kind = ? AND position < ? AND position > ?"
                " ORDER BY position DESC LIMIT ?",
                (kind, below, above, _PAGE),
            )
            for below, hashed, value in rows:  # noqa: B007 - the last one bounds the next page
                yield from self._readable(kind, hashed, value, type_)
            if len(rows) < _PAGE:
                return

    def overdue(self, kind: str, now: int, type_: type[S]) -> list[S]:
        """The records of a kind whose time has come; damaged ones are left out."""
        rows = self._run(
            "SELECT name, value FROM records INDEXED BY records_due WHERE kind = ? AND due <= ? ORDER BY due",
            (kind, now),
        )
        return [record for hashed, value in rows for record in self._readable(kind, hashed, value, type_)]

    def _readable(self, kind: str, hashed: bytes, value: bytes, type_: type[S]) -> Iterator[S]:
        try:
            yield self._read(kind, hashed, value, type_)
        except VaultDamaged:
            self.unreadable += 1
            if self.unreadable == 1:
                _log.warning("records in %s are damaged and left out; a backup may have them", self.path)

    def _run(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """What a statement finds; with a list of tuples, for each of them.

        Raises:
            VaultError: it could not be run; the message says what to do.
        """
        try:
            try:
                return self._execute(statement, values)
            except apsw.Error as error:
                if not is_corruption(error):
                    raise
                self._is_damaged = True
                if self._is_in_transaction() or not self._repair():
                    raise
                return self._execute(statement, values)
        except apsw.Error as error:
            raise vault_file.translated(self.path, error) from None

    def _execute(self, statement: str, values: Sequence[Any]) -> list[Any]:
        run = self._connection.executemany if isinstance(values, list) else self._connection.execute
        return run(statement, values).fetchall()

    def _repair(self) -> bool:
        """Go on with what can be read, outside of a transaction; whether that could be done."""
        if not vault_file.salvage(self._connection, self.path, self._has_identity):
            return False
        try:
            self._connect_again()
            # The index is made again of what was saved.
            self._connection.execute("DELETE FROM records WHERE kind = ?", (records.INDEXED,))
        except (apsw.Error, OSError):
            return False
        self._is_damaged = False
        return True

    def _connect_again(self) -> None:
        """Open the file anew; the connection was closed."""
        if self._scrubber is not None:
            self._scrubber.close()
            self._scrubber = None
        self._connection = apsw.Connection(str(self.path))
        self._prepare()
        self._scrubber = Scrubber(self._connection, self.path, _LOG_PAGES)

    def _has_identity(self, connection: apsw.Connection) -> bool:
        hashed = self._hashed(records.IDENTITY, "")
        row: Any = connection.execute(
            "SELECT value FROM records WHERE kind = ? AND name = ?", (records.IDENTITY, hashed)
        ).fetchone()
        try:
            return row is not None and bool(self._read(records.IDENTITY, hashed, row[0], records.IdentityRecord))
        except VaultDamaged:
            return False

    def _open(self, secret: Secret) -> None:
        try:
            self._prepare()
        except (apsw.IOError, apsw.CantOpenError, apsw.FullError) as error:
            if is_corruption(error):
                raise
            # A full disk has no room for the index of the log; whoever is alone can keep it in memory, and read.
            self._connection.close()
            self._connection = apsw.Connection(str(self.path))
            self._connection.pragma("locking_mode", "exclusive")
            self._prepare()
        self._unlock(secret)
        self._scrubber = Scrubber(self._connection, self.path, _LOG_PAGES)

    def _prepare(self) -> None:
        connection = self._connection
        connection.set_busy_timeout(2_000)
        version = connection.pragma("user_version")
        if version > FORMAT:
            raise VaultError(f"{self.path} was written by a newer version of Phantom Messenger; install that version")
        if version < FORMAT:
            raise VaultDamaged(f"{self.path} holds nothing; restore it from a backup, or delete it to start over")
        configure(connection)

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
        for wrapping in secret.keys(salt):
            with suppress(UndecryptableMessage):
                key = primitives.unseal(wrapping, nonce, sealed, b"phantom/1 vault key\n")
                break
        else:
            raise WrongPassphrase(f"the passphrase does not open {self.path}; try again")
        self._cipher = primitives.Cipher(
            primitives.hkdf(key, salt=bytes(32), info=b"phantom/1 vault records\n", length=32)
        )
        names = primitives.hkdf(key, salt=bytes(32), info=b"phantom/1 vault names\n", length=32)
        # Of a session, say, the name is asked for again with each message.
        self._hashed = lru_cache(_NAMES_KEPT)(
            lambda kind, name: primitives.hmac_sha256(names, f"{kind}\0{name}".encode())[:16]
        )

    def _read(self, kind: str, hashed: bytes, sealed: bytes, type_: type[S]) -> S:
        nonce, rest = sealed[: primitives.NONCE_BYTES], sealed[primitives.NONCE_BYTES :]
        if len(rest) < primitives.TAG_BYTES:
            raise VaultDamaged(f"a record in {self.path} cannot be read; restore it from a backup")
        try:
            return msgspec.msgpack.decode(self._cipher.unseal(nonce, rest, kind.encode() + hashed), type=type_)
        except (UndecryptableMessage, msgspec.MsgspecError):
            raise VaultDamaged(f"a record in {self.path} cannot be read; restore it from a backup") from None


def _meta(secret: Secret) -> list[tuple[str, bytes]]:
    """What a new vault is opened with."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(primitives.NONCE_BYTES)
    wrapped = nonce + primitives.seal(secret.key(salt), nonce, os.urandom(32), b"phantom/1 vault key\n")
    return [("salt", salt), ("key", wrapped), ("stretched", b"1" if secret.stretched else b"0")]
