"""What waits for whom, in SQLite; each row with a checksum.

A row that is not as it was written (a disk forgets, memory flips a bit) is set aside: it blocks
nobody behind it, is never delivered, and is never taken for one that has expired.
"""

import logging
from collections.abc import Callable, Generator
from typing import Any, Final
from zlib import crc32

import apsw

from phantom_messenger.engines.directory import SQLiteDirectory
from phantom_messenger.engines.removed import Removed
from phantom_messenger.relay.ports import Expired, Item, ItemKind, NewItem, Page, Refusal
from phantom_messenger.wire.limits import (
    MAX_BACKLOG,
    MAX_KEY_EXCHANGE_BACKLOG,
    MAX_RECEIPT_BACKLOG,
    MAX_STRANGER_BACKLOG,
    MAX_STRANGERS_BACKLOG,
)

LOG = logging.getLogger("phantom.relay")

SEQ_STEP: Final = 1_000
"""Sequence numbers reserved at a time: one write to the account for so many messages."""

KEEP_SET_ASIDE_MS: Final = 7 * 86_400_000
"""How long a damaged item is kept for whoever looks after the relay."""

# Texts as blobs: a damaged one need not be UTF-8.
_ROW: Final = "entry, recipient, seq, kind, CAST(sender AS BLOB), CAST(name AS BLOB), expires_at, text, checksum"


def checksum(recipient: Any, seq: Any, kind: Any, sender: Any, name: Any, expires_at: Any, text: Any) -> int:  # noqa: PLR0917 - an SQL function
    """CRC-32 of a row of ``items``; also called from SQL by a migration."""
    head = f"{recipient} {seq} {kind} {_text(sender)} {_text(name)} {expires_at} "
    return crc32(text, crc32(head.encode()))


class SQLiteMailboxes:
    """What waits for whom.

    Args:
        connection: to the database.
        directory: of the accounts.
        has_room: whether so many bytes can be added.
    """

    def __init__(
        self, connection: apsw.Connection, directory: SQLiteDirectory, has_room: Callable[[int], bool]
    ) -> None:
        self._connection = connection
        self._directory = directory
        self._has_room = has_room
        self._removed = Removed()
        self._next_seq: dict[int, int] = {}
        self._reserved: dict[int, int] = {}
        self._skipped: set[tuple[int | None, int]] = set()

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
        if not self._has_room(len(item.head) + len(item.tail)):
            if item.kind is ItemKind.RECEIPT:
                return Refusal.FULL  # news of a removal must not keep it from being done
            raise apsw.FullError("no room")
        seq = self._take_seq(account)
        text = b"%b%d%b" % (item.head, seq, item.tail)
        self._connection.execute(
            "INSERT INTO items (recipient, kind, sender, name, seq, expires_at, text, checksum)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *identity,
                seq,
                item.expires_at,
                text,
                checksum(account, seq, item.kind.value, item.sender, item.name, item.expires_at, text),
            ),
        )
        return Item(seq, item.kind, item.sender, item.name, text, item.expires_at)

    def read(self, recipient: str, after: int, max_bytes: int, now: int) -> Page:
        """See ``relay.ports.Mailboxes``."""
        items: list[Item] = []
        damaged: list[int] = []
        room = max_bytes
        complete = True
        rows = self._rows(self._directory.account(recipient), after, now)
        for row in rows:
            if room <= 0:
                rows.close()
                complete = False
                break
            item = _item(row)
            if item is None:
                damaged.append(row[0])
            else:
                items.append(item)
                room -= len(item.text)
        self._set_aside(damaged, now)
        return Page(items, complete=complete)

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
            f"SELECT {_ROW} FROM items WHERE expires_at <= ? ORDER BY expires_at LIMIT ?",  # noqa: S608 - a constant
            (now, limit),
        ).fetchall()
        expired: list[Expired] = []
        damaged: list[int] = []
        for row in rows:
            item = _item(row)
            recipient = self._directory.user_id(row[1])
            if item is None or recipient is None:
                damaged.append(row[0])
                continue
            self._connection.execute("DELETE FROM items WHERE entry = ?", (row[0],))
            self._removed.add((recipient, item.sender, item.name), now)
            expired.append(Expired(item.sender, recipient, item.name))
        self._set_aside(damaged, now)
        self._connection.execute(
            "DELETE FROM set_aside WHERE at <= ? OR expires_at <= ?", (now - KEEP_SET_ASIDE_MS, now)
        )
        return expired

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

    def _rows(self, account: int | None, after: int, now: int) -> Generator[Any, None, None]:
        """The rows of a mailbox behind a seq; those that SQLite itself cannot read are left out."""
        while True:
            rows = self._connection.execute(
                f"SELECT {_ROW} FROM items WHERE recipient = ? AND seq > ?"  # noqa: S608 - a constant
                " AND (expires_at IS NULL OR expires_at > ?) ORDER BY seq",
                (account, after, now),
            )
            try:
                for row in rows:
                    after = row[2]
                    yield row
            except apsw.CorruptError:
                following = self._connection.execute(
                    "SELECT min(seq) FROM items INDEXED BY items_order WHERE recipient = ? AND seq > ?",
                    (account, after),
                ).get
                if following is None:
                    raise
                if (account, following) not in self._skipped:
                    self._skipped.add((account, following))
                    LOG.warning("an item of a mailbox is on a damaged page and is left out; check the disk")
                after = following
            else:
                return
            finally:
                rows.close()

    def _set_aside(self, entries: list[int], now: int) -> None:
        if not entries:
            return
        for entry in entries:
            self._connection.execute(
                "INSERT INTO set_aside (at, recipient, seq, kind, sender, name, expires_at, text, checksum)"
                " SELECT ?, recipient, seq, kind, sender, name, expires_at, text, checksum FROM items WHERE entry = ?",
                (now, entry),
            )
            self._connection.execute("DELETE FROM items WHERE entry = ?", (entry,))
        LOG.warning("%d damaged items of a mailbox were set aside (wrong checksum); check the disk", len(entries))

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


def _item(row: Any) -> Item | None:
    """A row of ``_ROW`` as an item, None if it is not as it was written."""
    _, recipient, seq, kind, sender, name, expires_at, text, kept = row
    try:
        if checksum(recipient, seq, kind, sender, name, expires_at, text) != kept:
            return None
        return Item(seq, ItemKind(kind), sender.decode(), name.decode(), text, expires_at)
    except (TypeError, ValueError, AttributeError):
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode()
