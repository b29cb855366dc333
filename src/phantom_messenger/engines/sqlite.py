"""The embedded store: SQLite through apsw, one writer thread, WAL, every commit synced.

``synchronous=FULL`` makes a commit wait for the disk; ``secure_delete`` overwrites what
is removed. The relay runs this on one thread; a batch of jobs is one transaction, each
job a savepoint in it.
"""

import fcntl
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from phantom_messenger.engines.removed import Removed
from phantom_messenger.relay.ports import (
    CONVERSATIONS_KEPT,
    Bundle,
    Expired,
    Failure,
    Item,
    ItemKind,
    Job,
    NewItem,
    OneTimeKey,
    Page,
    PreKeyCounts,
    Publication,
    Refusal,
    SignedKey,
)
from phantom_messenger.wire.limits import (
    MAX_BACKLOG,
    MAX_KEY_EXCHANGE_BACKLOG,
    MAX_ONE_TIME_PREKEYS,
    MAX_RECEIPT_BACKLOG,
    MAX_STRANGER_BACKLOG,
    MAX_STRANGERS_BACKLOG,
    PREKEY_HOUR_PER_REQUESTER,
    PREKEY_HOUR_PER_TARGET,
)

X25519: Final = 1
ML_KEM: Final = 2
SEQ_STEP: Final = 1_000
"""Sequence numbers reserved at a time: one write to the account for so many messages."""

_HOUR_MS: Final = 3_600_000
_WAL_BUG: Final = ((3, 7, 0), (3, 51, 2))
"""SQLite versions in which a WAL reset can corrupt the database (sqlite.org/wal.html, 3.51.3 mended it)."""


K = TypeVar("K", OneTimeKey, SignedKey)


class StoreError(Exception):
    """The data folder cannot be used; the message says what to do."""


class SQLiteStore:
    """A store in a folder, or in memory alone; see ``relay.ports`` for the contracts.

    Args:
        folder: made if it is not there, readable by its owner only; None keeps all in memory.

    Raises:
        StoreError: the folder cannot be written, is in use, or is from a newer version.
    """

    def __init__(self, folder: Path | None) -> None:
        _refuse_broken_sqlite()
        self._lock: int | None = None
        if folder is None:
            self._connection = apsw.Connection(":memory:")
            self._prepare("in memory")
        else:
            self._open(folder)
        self.directory = SQLiteDirectory(self._connection)
        self.prekeys = SQLitePreKeys(self._connection, self.directory)
        self.mailboxes = SQLiteMailboxes(self._connection, self.directory)

    def _open(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = _lock_folder(folder)
        except OSError as error:
            raise StoreError(_cannot_write(folder, error)) from None
        try:
            self._connection = apsw.Connection(str(folder / "relay.db"))
            (folder / "relay.db").chmod(0o600)
            self._prepare(str(folder))
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, apsw.NotADBError | apsw.CorruptError | apsw.SQLError | apsw.ConstraintError):
                raise StoreError(f"{folder / 'relay.db'} is damaged ({error}); restore it from a backup") from None
            if isinstance(error, apsw.Error | OSError):
                raise StoreError(_cannot_write(folder, error)) from None
            raise

    def run(self, jobs: Sequence[Job]) -> list[Any]:
        """See ``relay.ports.Store``."""
        results: list[Any] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                results.append(self._run_one(job))  # noqa: PERF401 - a failure undoes what was done before
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the border: whatever it was, nothing of the batch is stored
            # SQLite ends the transaction by itself when the disk is full.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.mailboxes.undone(0)
            return [Failure(error, isinstance(error, apsw.FullError | apsw.IOError))] * len(jobs)
        self.mailboxes.committed()
        return results

    def tidy(self) -> None:
        """Write the WAL back and cut it, so that removed bytes are in no file."""
        self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

    def close(self) -> None:
        """Close and unlock."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _run_one(self, job: Job) -> Any:
        mark = self.mailboxes.mark()
        self._connection.execute("SAVEPOINT job")
        try:
            result = job(self)
        except Exception as error:
            if isinstance(error, apsw.FullError | apsw.IOError) or not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO job")
            self.mailboxes.undone(mark)
            result = Failure(error, storage_full=False)
        self._connection.execute("RELEASE job")
        return result

    def _prepare(self, place: str) -> None:
        connection = self._connection
        connection.set_busy_timeout(5_000)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "full")
        connection.pragma("secure_delete", "on")
        connection.pragma("foreign_keys", "on")
        connection.pragma("temp_store", "memory")
        version = connection.pragma("user_version")
        scripts = _migrations()
        if version > len(scripts):
            raise StoreError(
                f"the data folder {place} was written by a newer version of Phantom Messenger; install that version"
            )
        for number, script in enumerate(scripts[version:], start=version + 1):
            with connection:
                connection.execute(script)
                connection.pragma("user_version", number)


class SQLiteDirectory:
    """Accounts and who has written to whom."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def account(self, user_id: str) -> int | None:
        """The row of a user."""
        found = self._connection.execute("SELECT account FROM accounts WHERE user_id = ?", (user_id,)).get
        return int(found) if found is not None else None

    def bind(self, user_id: str, public_key: str, *, certified: bool) -> bool:
        """See ``relay.ports.Directory``."""
        row = self._connection.execute(
            "SELECT public_key, certified FROM accounts WHERE user_id = ?", (user_id,)
        ).fetchone()
        if row is not None and row[0] == public_key:
            return True
        if row is not None:
            if not certified or row[1]:
                return False
            self.delete(user_id)
        self._connection.execute(
            "INSERT INTO accounts (user_id, public_key, certified) VALUES (?, ?, ?)",
            (user_id, public_key, int(certified)),
        )
        return True

    def public_key(self, user_id: str) -> str | None:
        """See ``relay.ports.Directory``."""
        found: str | None = self._connection.execute(
            "SELECT public_key FROM accounts WHERE user_id = ?", (user_id,)
        ).get
        return found

    def delete(self, user_id: str) -> None:
        """See ``relay.ports.Directory``."""
        self._connection.execute("DELETE FROM accounts WHERE user_id = ?", (user_id,))

    def set_last_seen(self, user_id: str, at: int) -> None:
        """See ``relay.ports.Directory``."""
        self._connection.execute("UPDATE accounts SET last_seen = ? WHERE user_id = ?", (at, user_id))

    def last_seen(self, user_id: str) -> int | None:
        """See ``relay.ports.Directory``."""
        found: int | None = self._connection.execute("SELECT last_seen FROM accounts WHERE user_id = ?", (user_id,)).get
        return found

    def note_written(self, sender: str, recipient: str, conversation: str) -> bool:
        """See ``relay.ports.Directory``."""
        is_first = not self.has_written(sender, recipient)
        pair = self.account(sender), self.account(recipient)
        self._connection.execute(
            "INSERT INTO written (sender, recipient, conversation) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (*pair, conversation),
        )
        if self._connection.changes():
            self._connection.execute(
                "DELETE FROM written WHERE entry IN (SELECT entry FROM written WHERE sender = ? AND recipient = ?"
                " AND conversation <> '' ORDER BY entry DESC LIMIT -1 OFFSET ?)",
                (*pair, CONVERSATIONS_KEPT),
            )
        return is_first and sender != recipient and self.has_written(recipient, sender)

    def has_written(self, sender: str, recipient: str) -> bool:
        """See ``relay.ports.Directory``."""
        found = self._connection.execute(
            "SELECT 1 FROM written WHERE sender = ? AND recipient = ? LIMIT 1",
            (self.account(sender), self.account(recipient)),
        ).get
        return found is not None

    def contacts(self, user_id: str) -> list[str]:
        """See ``relay.ports.Directory``."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN (SELECT recipient FROM written WHERE sender = ?1"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1) AND account <> ?1 ORDER BY account",
            (account,),
        )
        return [row[0] for row in rows]

    def participants(self, user_id: str, conversation: str) -> list[str]:
        """See ``relay.ports.Directory``."""
        account = self.account(user_id)
        rows = self._connection.execute(
            "SELECT user_id FROM accounts WHERE account IN"
            " (SELECT recipient FROM written WHERE sender = ?1 AND conversation = ?2"
            " INTERSECT SELECT sender FROM written WHERE recipient = ?1 AND conversation = ?2)"
            " AND account <> ?1 ORDER BY account",
            (account, conversation),
        )
        return [row[0] for row in rows]


class SQLitePreKeys:
    """Published prekeys."""

    def __init__(self, connection: apsw.Connection, directory: SQLiteDirectory) -> None:
        self._connection = connection
        self._directory = directory

    def publish(self, user_id: str, publication: Publication) -> PreKeyCounts | None:
        """See ``relay.ports.PreKeys``."""
        account = self._directory.account(user_id)
        one_time = self._unseen(account, X25519, publication.one_time)
        kem = self._unseen(account, ML_KEM, publication.one_time_kem)
        before = self.counts(user_id)
        if max(before.one_time + len(one_time), before.one_time_kem + len(kem)) > MAX_ONE_TIME_PREKEYS:
            return None
        self._replace_signed(account, X25519, publication.signed)
        if publication.last_resort_kem is not None:
            self._replace_signed(account, ML_KEM, publication.last_resort_kem)
        rows = [(account, X25519, key.id, key.key, "") for key in one_time]
        rows += [(account, ML_KEM, key.id, key.key, key.signature) for key in kem]
        self._connection.executemany(
            "INSERT INTO one_time_prekeys (account, kind, id, key, signature) VALUES (?, ?, ?, ?, ?)", rows
        )
        self._connection.executemany(
            "INSERT INTO prekey_ids (account, kind, highest) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET highest = excluded.highest",
            [
                (account, kind, max(key.id for key in keys))
                for kind, keys in ((X25519, one_time), (ML_KEM, kem))
                if keys
            ],
        )
        return self.counts(user_id)

    def counts(self, user_id: str) -> PreKeyCounts:
        """See ``relay.ports.PreKeys``."""
        account = self._directory.account(user_id)
        one_time = dict(
            self._connection.execute(
                "SELECT kind, count(*) FROM one_time_prekeys WHERE account = ? GROUP BY kind", (account,)
            )
        )
        signed = dict(self._connection.execute("SELECT kind, id FROM signed_prekeys WHERE account = ?", (account,)))
        return PreKeyCounts(
            one_time=one_time.get(X25519, 0),
            one_time_kem=one_time.get(ML_KEM, 0),
            signed_id=signed.get(X25519),
            last_resort_kem_id=signed.get(ML_KEM),
        )

    def take(self, target: str, requester: str, now: int) -> Bundle | None:
        """See ``relay.ports.PreKeys``."""
        account = self._directory.account(target)
        signed = self._signed(account, X25519)
        identity_key = self._directory.public_key(target)
        if signed is None or identity_key is None:
            return None
        one_time = kem = None
        asking = self._directory.account(requester)
        if self._may_hand_out(account, asking, now):
            one_time = self._pop(account, X25519)
            kem = self._pop(account, ML_KEM)
            if one_time is not None or kem is not None:
                self._connection.execute(
                    "INSERT INTO handouts (target, requester, at) VALUES (?, ?, ?)", (account, asking, now)
                )
        return Bundle(
            identity_key=identity_key,
            signed=signed,
            one_time=None if one_time is None else OneTimeKey(one_time.id, one_time.key),
            kem=kem or self._signed(account, ML_KEM),
            left=self.counts(target),
        )

    def _unseen(self, account: int | None, kind: int, keys: Sequence[K]) -> list[K]:
        """Those with an id above all that were published before: the others may have been handed out."""
        highest = self._connection.execute(
            "SELECT highest FROM prekey_ids WHERE account = ? AND kind = ?", (account, kind)
        ).get
        unseen: dict[int, K] = {}
        for key in keys:
            if highest is None or key.id > highest:
                unseen.setdefault(key.id, key)
        return list(unseen.values())

    def _replace_signed(self, account: int | None, kind: int, key: SignedKey) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO signed_prekeys (account, kind, id, key, signature) VALUES (?, ?, ?, ?, ?)",
            (account, kind, key.id, key.key, key.signature),
        )

    def _signed(self, account: int | None, kind: int) -> SignedKey | None:
        row: Any = self._connection.execute(
            "SELECT id, key, signature FROM signed_prekeys WHERE account = ? AND kind = ?", (account, kind)
        ).fetchone()
        return None if row is None else SignedKey(*row)

    def _pop(self, account: int | None, kind: int) -> SignedKey | None:
        row: Any = self._connection.execute(
            "DELETE FROM one_time_prekeys WHERE entry ="
            " (SELECT min(entry) FROM one_time_prekeys WHERE account = ? AND kind = ?) RETURNING id, key, signature",
            (account, kind),
        ).fetchall()
        return SignedKey(*row[0]) if row else None

    def _may_hand_out(self, target: int | None, requester: int | None, now: int) -> bool:
        self._connection.execute("DELETE FROM handouts WHERE target = ? AND at <= ?", (target, now - _HOUR_MS))
        total, by_requester = self._connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE requester = ?) FROM handouts WHERE target = ?",
            (requester, target),
        ).fetchone() or (0, 0)
        return bool(total < PREKEY_HOUR_PER_TARGET and by_requester < PREKEY_HOUR_PER_REQUESTER)


class SQLiteMailboxes:
    """What waits for whom."""

    def __init__(self, connection: apsw.Connection, directory: SQLiteDirectory) -> None:
        self._connection = connection
        self._directory = directory
        self._removed = Removed()
        self._next_seq: dict[int, int] = {}
        self._reserved: dict[int, int] = {}

    def append(self, recipient: str, item: NewItem, *, known: bool, now: int) -> Item | Refusal:
        """See ``relay.ports.Mailboxes``."""
        account = self._directory.account(recipient)
        if account is None:
            raise LookupError("the recipient has no account")
        identity = (account, item.kind, item.sender, item.name)
        if item.kind is ItemKind.MESSAGE:
            if self._removed.holds((recipient, item.sender, item.name), now) or self._waits(identity):
                return Refusal.DUPLICATE
        else:
            self._connection.execute(
                "DELETE FROM items WHERE recipient = ? AND kind = ? AND sender = ? AND name = ?", identity
            )
        if self._is_full(account, item, known=known):
            return Refusal.FULL
        seq = self._take_seq(account)
        text = b"%b%d%b" % (item.head, seq, item.tail)
        self._connection.execute(
            "INSERT INTO items (recipient, kind, sender, name, seq, expires_at, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*identity, seq, item.expires_at, text),
        )
        return Item(seq, item.kind, item.sender, item.name, text, item.expires_at)

    def read(self, recipient: str, after: int, max_bytes: int, now: int) -> Page:
        """See ``relay.ports.Mailboxes``."""
        items: list[Item] = []
        room = max_bytes
        rows = self._connection.execute(
            "SELECT seq, kind, sender, name, text, expires_at FROM items"
            " WHERE recipient = ? AND seq > ? AND (expires_at IS NULL OR expires_at > ?) ORDER BY seq",
            (self._directory.account(recipient), after, now),
        )
        for seq, kind, sender, name, text, expires_at in rows:
            if room <= 0:
                rows.close()
                return Page(items, complete=False)
            items.append(Item(seq, ItemKind(kind), sender, name, text, expires_at))
            room -= len(text)
        return Page(items, complete=True)

    def acknowledge(self, recipient: str, sender: str, name: str, now: int) -> bool:
        """See ``relay.ports.Mailboxes``."""
        self._connection.execute(
            "DELETE FROM items WHERE recipient = ? AND kind = ? AND sender = ? AND name = ?",
            (self._directory.account(recipient), ItemKind.MESSAGE, sender, name),
        )
        if not self._connection.changes():
            return False
        self._removed.add((recipient, sender, name), now)
        return True

    def confirm(self, recipient: str, seq: int) -> None:
        """See ``relay.ports.Mailboxes``."""
        self._connection.execute(
            "DELETE FROM items WHERE recipient = ? AND seq = ? AND kind <> ?",
            (self._directory.account(recipient), seq, ItemKind.MESSAGE),
        )

    def expire(self, now: int, limit: int) -> list[Expired]:
        """See ``relay.ports.Mailboxes``."""
        rows: list[Any] = self._connection.execute(
            "SELECT entry, sender, user_id, name FROM items JOIN accounts ON account = recipient"
            " WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",
            (now, limit),
        ).fetchall()
        self._connection.executemany("DELETE FROM items WHERE entry = ?", [(row[0],) for row in rows])
        for _, sender, recipient, name in rows:
            self._removed.add((recipient, sender, name), now)
        return [Expired(sender, recipient, name) for _, sender, recipient, name in rows]

    def mark(self) -> int:
        """A place in the transaction to which ``undone`` can go back."""
        return self._removed.mark()

    def undone(self, mark: int) -> None:
        """What followed the mark was undone: what was counted in it must be read again."""
        self._removed.undo(mark)
        self._next_seq.clear()
        self._reserved.clear()

    def committed(self) -> None:
        """The transaction is on disk."""
        self._removed.keep()

    def _waits(self, identity: tuple[int, int, str, str]) -> bool:
        found = self._connection.execute(
            "SELECT 1 FROM items WHERE recipient = ? AND kind = ? AND sender = ? AND name = ?", identity
        ).get
        return found is not None

    def _is_full(self, account: int, item: NewItem, *, known: bool) -> bool:
        match item.kind:
            case ItemKind.MESSAGE:
                total = self._count(account, item.kind)
                if total >= (MAX_BACKLOG if known else MAX_STRANGERS_BACKLOG):
                    return True
                return (
                    not known
                    and total >= MAX_STRANGER_BACKLOG
                    and self._count(account, item.kind, item.sender) >= MAX_STRANGER_BACKLOG
                )
            case ItemKind.KEY_EXCHANGE:
                return not known and self._count(account, item.kind) >= MAX_KEY_EXCHANGE_BACKLOG
            case ItemKind.RECEIPT:
                return self._count(account, item.kind, item.sender) >= MAX_RECEIPT_BACKLOG

    def _count(self, account: int, kind: ItemKind, sender: str | None = None) -> int:
        found = self._connection.execute(
            "SELECT count(*) FROM items WHERE recipient = ?1 AND kind = ?2 AND (?3 IS NULL OR sender = ?3)",
            (account, kind, sender),
        ).get
        return int(found)

    def _take_seq(self, account: int) -> int:
        """The next number of a mailbox, never given before, not even across a crash.

        Numbers are reserved in steps in the account's row, so that most messages cost no
        second write. After a restart counting goes on behind the last reservation.
        """
        seq = self._next_seq.get(account)
        if seq is None or seq > self._reserved[account]:
            limit = self._connection.execute("SELECT seq_limit FROM accounts WHERE account = ?", (account,)).get
            seq = limit + 1
            self._connection.execute("UPDATE accounts SET seq_limit = ? WHERE account = ?", (limit + SEQ_STEP, account))
            self._reserved[account] = limit + SEQ_STEP
        self._next_seq[account] = seq + 1
        return seq


def _refuse_broken_sqlite() -> None:
    version = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if _WAL_BUG[0] <= version <= _WAL_BUG[1]:
        raise StoreError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt its log; install apsw with SQLite 3.51.3 or newer"
        )


def _cannot_write(folder: Path, error: Exception) -> str:
    return f"cannot write to the data folder {folder} ({error}); choose another with --data"


def _lock_folder(folder: Path) -> int:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StoreError(
            f"another relay uses the data folder {folder}; stop it, or choose another folder with --data"
        ) from None
    return lock


def _migrations() -> list[str]:
    files = (resources.files(__package__) / "sql").iterdir()
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]
