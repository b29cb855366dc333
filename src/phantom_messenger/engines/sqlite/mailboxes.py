"""Mailboxes in SQLite: items that wait for their recipients.

A row that is not as it was written (a disk forgets, memory flips a bit) is quarantined: it blocks
nothing behind it, is never delivered, and never counts as expired. How is in ``item_rows``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import takewhile
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite.corruption import CorruptRows, is_corruption
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.engines.sqlite.item_rows import ItemRows, checksum, follow, item_of, items_of
from phantom_messenger.engines.sqlite.stranger_quota import StrangerQuota
from phantom_messenger.engines.sqlite.tombstones import RecentlyDeleted, take_kept
from phantom_messenger.events import Event, log
from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.records import Item, ItemKind, NewItem, Page

SEQ_STEP: Final = 1_000
"""Sequence numbers reserved at a time: one write to the account for so many messages."""

KEEP_QUARANTINED_MS: Final = 7 * 86_400_000
"""How long a corrupt item is kept for the operator to look at."""

_DELETE: Final = "DELETE FROM items WHERE recipient = ? AND kind = ? AND sender = ? AND name = ?"
_DELETE_QUARANTINED: Final = _DELETE.replace("items", "set_aside")


_INSERT: Final = (
    "INSERT INTO items (recipient, kind, sender, name, seq, expires_at, text, stored_at, mark, checksum)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (recipient, kind, sender, name) DO NOTHING"
)
_INSERT_GROUPED: Final = _INSERT.replace("checksum)", "checksum, grouped)").replace("?) ON", "?, 1) ON")


class Removed(IntEnum):
    """What was acknowledged."""

    NOTHING = 0
    MESSAGE = 1
    GROUP_MESSAGE = 2


_DELETIONS: Final = (
    (f"{_DELETE} AND grouped IS NULL", Removed.MESSAGE),
    (_DELETE, Removed.GROUP_MESSAGE),
    (_DELETE_QUARANTINED, Removed.MESSAGE),
)


@dataclass(frozen=True, slots=True)
class Times:
    """Of a message that waits: when it was stored and is to expire, persistent milliseconds; None if unknown."""

    stored_at: int | None
    expires_at: int | None
    is_group: bool = False


@dataclass(frozen=True, slots=True)
class ExpiredItem:
    """An item that was deleted because it had expired."""

    sender: str
    recipient: str
    name: str
    kind: ItemKind = ItemKind.MESSAGE
    is_group: bool = False


class SQLiteMailboxes:
    """The items of all mailboxes.

    Args:
        rows: items.
        directory: of the accounts.
        has_room: whether so many bytes can be added.
        step: bytes of text that one sweep removes.
        most_bytes: of a mailbox; None if that is not limited.
    """

    def __init__(
        self,
        rows: ItemRows,
        directory: SQLiteDirectory,
        has_room: Callable[[int], bool],
        step: int,
        most_bytes: int | None,
    ) -> None:
        self._connection = rows.connection
        self._rows = rows
        self._directory = directory
        self._has_room = has_room
        self._step = step
        self._recently_deleted = RecentlyDeleted()
        self._recently_deleted.restore(take_kept(rows.connection))
        self._quota = StrangerQuota(rows, most_bytes, self._make_way)
        self._since: int | None = None
        self._next_seq: dict[int, int] = {}
        self._reserved: dict[int, int] = {}
        self._without_receipts: set[str] = set()
        self._suspect_senders: set[str] = set()

    def append(
        self, recipient: str, item: NewItem, *, known: bool, now: int, replace: bool = True
    ) -> Item | AppendRefusal:
        """Add an item behind all others of this recipient.

        A message whose (sender, name) is in the mailbox with the same ``content``, or left it less
        than 10 minutes ago, is a duplicate; with other content it replaces that one, which its
        recipient could not read. A receipt or key exchange replaces an older one of the same
        name, or is a duplicate if ``replace`` is False. ``known``: the recipient once wrote to
        the sender, who may then fill all of the backlog, and whose key exchanges always find room.
        Strangers share a quota; when it is used up, a stranger whose address (``mark``) holds
        less than the fullest one has the oldest item of that one deleted. ``now``: persistent milliseconds.
        """
        account = self._directory.account(recipient)
        if account is None:
            return AppendRefusal.NO_ACCOUNT
        kind, sender, name = item.kind, item.sender, item.name
        has_room = self._has_room(len(item.head) + len(item.tail))
        if kind is ItemKind.MESSAGE:
            if self._recently_deleted.holds((recipient, sender, name), now):
                return AppendRefusal.DUPLICATE
        elif kind is ItemKind.RECEIPT and not has_room:
            return AppendRefusal.FULL  # a receipt for a deletion must not keep that from being done
        identity = (account, kind, sender, name)
        mark = None if known else item.mark or 0
        needs = self._quota.needs(account, item, known=known)
        # Without looking first whether it is there: it hardly ever is, and the index that says so has to be read
        # anyway.
        if has_room and self._quota.take(needs):
            added = self._insert(identity, item, now, mark)
            if added is not None:
                return added
            self._quota.give_back(needs)
        entry = self._entry_of(identity)
        if self._rows.leaves_out(entry):
            return AppendRefusal.DUPLICATE  # what cannot be read stays, and counts as the same
        if entry is not None:
            return self._replace(entry, identity, item, now, mark, replace=replace, has_room=has_room)
        if not self._quota.take(needs) and (known or not self._quota.make(item, needs)):
            return AppendRefusal.FULL
        return self._insert_alone(identity, item, now, mark, has_room=has_room)

    def _replace(
        self,
        entry: int,
        identity: tuple[int, ItemKind, str, str],
        item: NewItem,
        now: int,
        mark: int | None,
        *,
        replace: bool,
        has_room: bool,
    ) -> Item | AppendRefusal:
        """As ``append``, if an item with the same identity waits: that of ``entry``."""
        if not replace or (item.kind is ItemKind.MESSAGE and self._is_same(entry, item.content)):
            return AppendRefusal.DUPLICATE
        known = mark is None
        needs = self._quota.needs(
            identity[0], item, known=known, old_size=self._rows.part(entry, "length(CAST(text AS BLOB))") or 0
        )
        if not self._quota.take(needs) and (known or not self._quota.make(item, needs)):
            return AppendRefusal.FULL
        if has_room:
            self._rows.delete(entry)
        self._quota.replaced(identity[0], item)
        return self._insert_alone(identity, item, now, mark, has_room=has_room)

    def _insert_alone(
        self,
        identity: tuple[int, ItemKind, str, str],
        item: NewItem,
        now: int,
        mark: int | None,
        *,
        has_room: bool,
    ) -> Item:
        """Add a row whose identity no other row has, and whose room in the mailbox is taken."""
        if not has_room:
            raise apsw.FullError("no room")
        added = self._insert(identity, item, now, mark)
        if added is None:
            raise apsw.CorruptError("an item that was not there, or is deleted, is in the way")
        return added

    def discard(self, recipient: str, item: NewItem, *, now: int) -> None:
        """Keep nothing of an item, but take as long as for keeping it, so that its sender cannot tell them apart."""
        account = self._directory.account(recipient)
        key = (recipient, item.sender, item.name)
        if account is None or (item.kind is ItemKind.MESSAGE and self._recently_deleted.holds(key, now)):
            return
        if not self._has_room(len(item.head) + len(item.tail)):
            raise apsw.FullError("no room")
        identity = (account, item.kind, item.sender, item.name)
        self._insert(identity, item, now, item.mark or 0)
        if not self._leaves_out(identity):
            try:
                self._connection.execute(_DELETE, identity)
            except apsw.Error as error:
                raise self._failed(identity, error) from None
        if item.kind is ItemKind.MESSAGE:
            self._recently_deleted.add(key, now)

    def read(self, recipient: str, after: int, max_bytes: int, now: int) -> Page:
        """Unexpired items with seq > ``after``, at least one if there is any, about ``max_bytes``."""
        account = self._directory.account(recipient)
        while True:
            rows = self._rows.read(
                "recipient = ? AND seq > ? ORDER BY seq",
                (account, after),
                max_bytes,
                find=lambda: self._rows.find_unreadable("INDEXED BY items_order WHERE recipient = ?", (account,)),
            )
            if not follow(rows.found, account, after):
                raise apsw.CorruptError("an index leads to rows of others, or not onwards")
            items, corrupt = items_of(rows.found)
            self._rows.set_aside(corrupt, now)
            # Judged after the checksum: a corrupt time must not hide an item unsaid.
            fresh = [item for item in items if item.expires_at is None or item.expires_at > now]
            if fresh or rows.complete:
                return Page(fresh, complete=rows.complete)
            after = rows.found[-1][2]

    def acknowledge(self, recipient: str, sender: str, name: str, now: int) -> Removed:
        """Delete a message, also a quarantined one, of which nobody knows whether it was to a group.

        One that is left out stays where it is. It counts as removed, and not again for ten minutes.
        """
        identity = (self._directory.account(recipient), ItemKind.MESSAGE, sender, name)
        key = (recipient, sender, name)
        if self._leaves_out(identity):
            is_known = self._recently_deleted.holds(key, now)
            self._recently_deleted.add(key, now)
            return Removed.NOTHING if is_known else Removed.MESSAGE
        try:
            for delete, removed in _DELETIONS:
                self._connection.execute(delete, identity)
                if self._connection.changes():
                    self._recently_deleted.add(key, now)
                    return removed
        except apsw.Error as error:
            raise self._failed(identity, error) from None
        return Removed.NOTHING

    def times(self, recipient: str, sender: str, name: str) -> Times | None:
        """The times of a message that waits, also of one that is quarantined or left out; None if it is not there."""
        identity = (self._directory.account(recipient), ItemKind.MESSAGE, sender, name)
        if self._leaves_out(identity):
            return Times(None, None)
        try:
            found: Any = self._connection.execute(
                "SELECT stored_at, expires_at, grouped FROM items"
                " WHERE recipient = ?1 AND kind = ?2 AND sender = ?3 AND name = ?4"
                " UNION ALL SELECT stored_at, expires_at, NULL FROM set_aside"
                " WHERE recipient = ?1 AND kind = ?2 AND sender = ?3 AND name = ?4 LIMIT 1",
                identity,
            ).fetchone()
        except apsw.Error as error:
            raise self._failed(identity, error) from None
        if found is None:
            return None
        stored_at, expires_at = (time if isinstance(time, int) else None for time in found[:2])
        return Times(stored_at, expires_at, found[2] is not None)

    def confirm(self, recipient: str, seqs: Sequence[int]) -> None:
        """Delete receipts and key exchanges by their seqs; a message is left alone."""
        account = self._directory.account(recipient)
        if self._rows.leaves_some_out:
            seqs = [seq for seq in seqs if not self._rows.leaves_out(self._entry_at(account, seq))]
        try:
            self._connection.executemany(
                "DELETE FROM items WHERE recipient = ? AND seq = ? AND kind <> ?",
                [(account, seq, ItemKind.MESSAGE) for seq in seqs],
            )
        except apsw.Error as error:
            entries = [entry for seq in seqs if (entry := self._entry_at(account, seq)) is not None]
            raise self._rows.failed(entries, error) from None

    def expire(self, now: int, limit: int, *, before: int | None = None) -> list[ExpiredItem]:
        """Delete some of the items that have expired, at most ``limit`` and about 1 MiB.

        The time of a message is its ``expires_at``; that of all items, if ``before`` is given, has come
        when they were stored at or before it. What was stored by a version that did not note it counts
        as stored when this was first asked for.
        """
        rows = self._rows.read(
            f"expires_at <= ? ORDER BY expires_at LIMIT {limit:d}",
            (now,),
            self._step,
            find=lambda: self._rows.find_unreadable("INDEXED BY items_expiry WHERE expires_at <= ?", (now,)),
        ).found
        if before is not None and not rows:
            rows = self._stored(before, limit, now)
        expired: list[ExpiredItem] = []
        corrupt: list[int] = []
        for row in rows:
            item = item_of(row)
            recipient = self._directory.user_id(row[1])
            if item is None or recipient is None:
                corrupt.append(row[0])
                continue
            self._rows.delete(row[0], rows)
            if item.kind is ItemKind.MESSAGE:
                self._recently_deleted.add((recipient, item.sender, item.name), now)
            expired.append(ExpiredItem(item.sender, recipient, item.name, item.kind, row[10] is not None))
        self._rows.set_aside(corrupt, now)
        # An expiry time before the row was quarantined may be the part that is corrupt.
        self._connection.execute(
            "DELETE FROM set_aside WHERE at <= ?1 OR (expires_at > at AND expires_at <= ?2)",
            (now - KEEP_QUARANTINED_MS, now),
        )
        return expired

    def _stored(self, before: int, limit: int, now: int) -> list[Any]:
        """Rows that were stored before a time, the oldest first, which is the order of their entries; corrupt ones too.

        Raises:
            CorruptRows: some cannot be read.
        """

        def is_due(row: Any) -> bool:
            # A corrupt time must not keep what is behind it for ever.
            return item_of(row) is None or self._age_of(row[9], now) <= before

        first = self._rows.oldest(1, self._step, most=limit)
        if not first or not is_due(first[0]):
            return []
        return list(takewhile(is_due, self._rows.oldest(limit, self._step, most=limit)))

    def _age_of(self, stored_at: int | None, now: int) -> int:
        """When an item was stored; for an item of a version that did not note it, when ages were first asked for."""
        if stored_at is not None:
            return stored_at
        if self._since is None:
            self._since = self._directory.ages_since(now)
        return self._since

    def retry_unreadable(self) -> None:
        """Retry what could not be read or deleted: the fault of the disk may have been transient."""
        self._rows.retry_unreadable()
        self._suspect_senders.clear()

    def takes_receipts(self, sender: str) -> bool:
        """Whether receipts can be stored for a sender, as far as is known."""
        return sender not in self._without_receipts

    def receipt_failed(self, sender: str, error: apsw.Error) -> Exception:
        """What is to be raised because a receipt for a sender could not be stored.

        At the second time, when new indexes have not helped, that is ``CorruptRows``: they get no more of them.
        """
        if is_corruption(error) and sender in self._suspect_senders:
            return CorruptRows(lambda: self._leave_without_receipts(sender))
        self._suspect_senders.add(sender)
        return error

    def _leave_without_receipts(self, sender: str) -> None:
        self._without_receipts.add(sender)
        log(Event.RECEIPTS_LEFT_OUT, count=1)

    def savepoint(self) -> int:
        """A point in the transaction to which ``rolled_back`` can return."""
        return self._recently_deleted.savepoint()

    def rolled_back(self, savepoint: int) -> None:
        """The transaction was rolled back to a savepoint: what was counted since must be read again."""
        self._recently_deleted.rollback_to(savepoint)
        self._quota.forget()
        self._since = None
        # The rows that reserve these numbers may be gone with the transaction.
        self._next_seq.clear()
        self._reserved.clear()

    def committed(self) -> None:
        """The transaction is on disk."""
        self._recently_deleted.commit()

    def _insert(
        self, identity: tuple[int, ItemKind, str, str], item: NewItem, now: int, mark: int | None
    ) -> Item | None:
        """Add a row behind all others of this mailbox; None if one with the same identity waits."""
        account, kind, sender, name = identity
        seq = self._next_seq.get(account)
        if seq is None or seq > self._reserved[account]:
            seq = self._reserve(account)
        self._next_seq[account] = seq + 1
        text = b"%b%d%b" % (item.head, seq, item.tail)
        self._connection.execute(
            _INSERT_GROUPED if item.is_group else _INSERT,
            (
                *identity,
                seq,
                item.expires_at,
                text,
                now,
                mark,
                checksum(account, seq, kind, sender, name, item.expires_at, text, now),
            ),
        )
        if not self._connection.changes():
            self._next_seq[account] = seq
            return None
        return Item(seq, kind, sender, name, text, item.expires_at)

    def _make_way(self, entry: int) -> None:
        """Delete an item of a stranger, to make room for one from elsewhere."""
        self._rows.delete_unchecked(entry)

    def _entry_of(self, identity: tuple[int | None, int, str, str]) -> int | None:
        """The row of an item that waits; None if there is none."""
        found: int | None = self._connection.execute(
            "SELECT entry FROM items WHERE recipient = ? AND kind = ? AND sender = ? AND name = ?", identity
        ).get
        return found

    def _entry_at(self, account: int | None, seq: int) -> int | None:
        """The row at a place of a mailbox; None if there is none."""
        found: int | None = self._connection.execute(
            "SELECT entry FROM items WHERE recipient = ? AND seq = ?", (account, seq)
        ).get
        return found

    def _leaves_out(self, identity: tuple[int | None, int, str, str]) -> bool:
        """Whether there is such an item, and it is left out: nothing can be done to it."""
        return self._rows.leaves_some_out and self._rows.leaves_out(self._entry_of(identity))

    def _failed(self, identity: tuple[int | None, int, str, str], error: apsw.Error) -> Exception:
        """What is to be raised because something could not be done to an item."""
        entry = self._entry_of(identity)
        return self._rows.failed([] if entry is None else [entry], error)

    def _is_same(self, entry: int, content: bytes) -> bool:
        """Whether the item that waits has this content; one without a text counts as the same, because it is kept."""
        text = self._rows.part(entry, "CAST(text AS BLOB)")
        return text is None or content in text

    def _reserve(self, account: int) -> int:
        """Reserve numbers of a mailbox that were never given before, not even across a crash; the first of them.

        Reserved are many at once, in the account's row, so that most messages cost no second write.
        After a restart, counting continues behind the last reservation.
        """
        limit: int = self._connection.execute("SELECT seq_limit FROM accounts WHERE account = ?", (account,)).get
        self._connection.execute("UPDATE accounts SET seq_limit = ? WHERE account = ?", (limit + SEQ_STEP, account))
        self._reserved[account] = limit + SEQ_STEP
        return limit + 1
