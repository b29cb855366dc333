"""Rows of ``items``, each with a checksum: read past those that are damaged, deleted, and set aside.

A row that cannot be read, or not be deleted, is left out of everything from then on. One that is not as it was written
is set aside.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import apsw

from phantom_messenger.engines.sqlite.corruption import CorruptRows, PastRepair, is_corruption
from phantom_messenger.events import Event, log
from phantom_messenger.relay.records import Item, ItemKind

# Texts as blobs: a corrupt one need not be UTF-8.
_ROW: Final = (
    "entry, recipient, seq, kind, CAST(sender AS BLOB), CAST(name AS BLOB), expires_at, CAST(text AS BLOB), checksum,"
    " stored_at, grouped"
)

Find = Callable[[], None]
"""Finds the rows that cannot be read."""


class Rows(NamedTuple):
    """Some of those that were asked for, the first ones."""

    found: list[Any]
    complete: bool


class ItemRows:
    """The rows of ``items``, and which of them are damaged.

    Args:
        connection: to the database.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._unreadable: set[int] = set()
        self._suspect: set[int] = set()
        self._past_repair = PastRepair()
        self._reported: set[int] = set()

    @property
    def leaves_some_out(self) -> bool:
        """Whether any row is known as one that cannot be read, or not be deleted."""
        return bool(self._unreadable)

    def leaves_out(self, entry: int | None) -> bool:
        """Whether this one is."""
        return entry in self._unreadable

    def leaves_out_some_of(self, recipient: int | None) -> bool:
        """Whether any row of a mailbox is."""
        if not self._unreadable:
            return False
        entries = self.connection.execute("SELECT entry FROM items WHERE recipient = ?", (recipient,))
        return any(entry in self._unreadable for (entry,) in entries)

    @property
    def readable(self) -> str:
        """A condition that the others fulfil, with an AND behind it, or ''."""
        return f"entry NOT IN ({','.join(map(str, self._unreadable))}) AND " if self._unreadable else ""

    def retry_unreadable(self) -> None:
        """Retry rows that could not be read or deleted: the fault of the disk may have been transient.

        For those that new indexes have not helped none are made again: once a minute, they would be for ever.
        """
        self._unreadable.clear()
        self._suspect.clear()

    # --- reading ------------------------------------------------------------------

    def read(self, where: str, values: tuple[Any, ...], max_bytes: int, *, find: Find) -> Rows:
        """Rows of a mailbox, at least one if there is any, about ``max_bytes``.

        Raises:
            CorruptRows: some cannot be read; ``find`` finds which.
        """
        found: list[Any] = []
        room = max_bytes
        try:
            rows = self.connection.execute(f"SELECT {_ROW} FROM items WHERE {self.readable}{where}", values)  # noqa: S608 - of numbers and constants
            for row in rows:
                if room <= 0:
                    rows.close()
                    return Rows(found, complete=False)
                found.append(row)
                room -= len(row[7]) if isinstance(row[7], bytes) else 0
        except apsw.Error as error:
            if is_corruption(error):
                raise CorruptRows(find) from None
            raise
        return Rows(found, complete=True)

    def sizes(self, where: str, values: tuple[Any, ...]) -> list[Any]:
        """Entry and bytes of text of rows that can be read.

        Raises:
            CorruptRows: some cannot be.
        """
        try:
            return self.connection.execute(
                f"SELECT entry, length(text) FROM items WHERE {self.readable}{where}",  # noqa: S608 - of numbers and constants
                values,
            ).fetchall()
        except apsw.Error as error:
            raise self.unread(error, f"WHERE {where}", values) from None

    def oldest(self, count: int, max_bytes: int, *, most: int) -> list[Any]:
        """The rows that were stored first, as ``read``: at most ``count``.

        Args:
            count: of rows.
            max_bytes: about.
            most: so many are looked at, beside those that are left out, to find which cannot be read.
        """

        def find() -> None:
            self.find_unreadable("INDEXED BY items_order ORDER BY entry LIMIT ?", (most + len(self._unreadable),))

        found = self.read(self._first(count), (), max_bytes, find=find).found
        if not found and self._has_unfound():
            raise CorruptRows(find)
        return found

    def _first(self, count: int) -> str:
        """Which rows are the first that were stored."""
        which = f"TRUE ORDER BY entry LIMIT {count:d}"
        if not self._unreadable:
            return which
        # A page that cannot be read ends a walk through the table. An index has the entries too; each is read alone.
        entries = f"SELECT entry FROM items INDEXED BY items_order WHERE {self.readable}{which}"  # noqa: S608 - numbers
        return f"entry IN ({entries}) ORDER BY entry"

    def _has_unfound(self) -> bool:
        """Whether an index leads to rows that are not there, beside those that are known for it."""
        if not self._unreadable:
            return False
        entries = f"SELECT 1 FROM items INDEXED BY items_order WHERE {self.readable}TRUE"  # noqa: S608 - numbers
        return bool(self.connection.execute(f"SELECT EXISTS ({entries})").get)

    def part(self, entry: int, what: str) -> Any:
        """Something of a row that is there.

        Raises:
            CorruptRows: it cannot be read, and is left out from now on.
            apsw.Error: as the first time that an index leads to it and it is not there; new indexes may help.
        """
        try:
            found: Any = self.connection.execute(f"SELECT {what} FROM items WHERE entry = ?", (entry,)).fetchone()  # noqa: S608 - constants
        except apsw.Error as error:
            if is_corruption(error):
                raise CorruptRows(lambda: self._leave_out([entry])) from None
            raise
        if found is None:
            raise self.failed([entry], apsw.CorruptError("an index leads to a row that is not there"))
        return found[0]

    def unread(self, error: apsw.Error, which: str, values: tuple[Any, ...]) -> Exception:
        """What is to be raised because some of these rows could not be read, so that they are left out from now on."""
        return CorruptRows(lambda: self.find_unreadable(which, values)) if is_corruption(error) else error

    def failed(self, entries: Sequence[int], error: apsw.Error) -> Exception:
        """What is to be raised because something could not be done to one of these rows.

        At the first time new indexes may help; at the second time those which cannot be deleted are left out from now
        on, or all of them.
        """
        if not entries or not is_corruption(error):
            return error
        if any(entry in self._suspect or entry in self._past_repair for entry in entries):
            return CorruptRows(lambda: self._leave_out(entries))
        self._suspect.update(entries)
        return error

    # --- deleting -----------------------------------------------------------------

    def delete(self, entry: int, of: Sequence[Any] = ()) -> None:
        """Delete a row; ``of``: the rows that are to be deleted in one go, with this one.

        Raises:
            CorruptRows: it cannot be, even with new indexes: it is left out from now on, as others of them may be.
            apsw.Error: as the first time; new indexes may help.
        """
        try:
            self.delete_unchecked(entry)
            if not self.connection.changes():
                raise apsw.CorruptError("a row is not where its number leads")
        except apsw.Error as error:
            if not is_corruption(error):
                raise
            if entry in self._suspect or entry in self._past_repair:
                self._past_repair.add(entry)
                self._unreadable.add(entry)
                raise CorruptRows(lambda: self._find_undeletable([row[0] for row in of])) from None
            self._suspect.add(entry)
            raise

    def delete_unchecked(self, entry: int) -> None:
        """Delete a row if it is there."""
        self.connection.execute("DELETE FROM items WHERE entry = ?", (entry,))

    def set_aside(self, entries: list[int], now: int) -> None:
        """Quarantine rows that are not as they were written."""
        if not entries:
            return
        for entry in entries:
            self.connection.execute(
                "INSERT INTO set_aside (at, recipient, seq, kind, sender, name, expires_at, text, checksum, stored_at)"
                " SELECT ?, recipient, seq, kind, sender, name, expires_at, text, checksum, stored_at FROM items"
                " WHERE entry = ?",
                (now, entry),
            )
            self.delete(entry)
        log(Event.ITEMS_QUARANTINED, count=len(entries))

    # --- finding out what is damaged; outside of a transaction ----------------------

    def find_unreadable(self, which: str, values: tuple[Any, ...]) -> None:
        """Find the rows on corrupt pages, each with a statement of its own, so that no error hides the others."""
        rows: list[Any] = self.connection.execute(f"SELECT entry FROM items {which}", values).fetchall()  # noqa: S608 - constants
        for (entry,) in rows:
            try:
                found = self.connection.execute(f"SELECT {_ROW} FROM items WHERE entry = ?", (entry,)).fetchall()  # noqa: S608
            except apsw.Error:
                found = []
            if not found:
                self._unreadable.add(entry)
        self._report()

    def _leave_out(self, entries: Sequence[int]) -> None:
        if len(entries) > 1:
            self._find_undeletable(entries)
        if self._unreadable.isdisjoint(entries):
            self._unreadable.update(entries)
            for entry in entries:
                self._past_repair.add(entry)
        self._report()

    def _find_undeletable(self, entries: Sequence[int]) -> None:
        """Find the rows that cannot be deleted in this order: when few are left on a page, SQLite needs the next."""
        while (found := self._first_undeletable(entries)) is not None:
            self._unreadable.add(found)
            self._past_repair.add(found)
        self._report()

    def _first_undeletable(self, entries: Sequence[int]) -> int | None:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            for entry in entries:
                if entry in self._unreadable:
                    continue
                try:
                    self.delete_unchecked(entry)
                except apsw.Error as error:
                    if is_corruption(error):
                        return entry  # what it has left of its page is not to be gone on with
                    raise
                if not self.connection.changes():
                    return entry  # it is not where its number leads
        finally:
            self.connection.execute("ROLLBACK")
        return None

    def _report(self) -> None:
        if unreported := self._unreadable - self._reported:
            self._reported |= unreported
            log(Event.ITEMS_UNREADABLE, count=len(unreported))


def checksum(  # noqa: PLR0917 - the columns
    recipient: Any, seq: Any, kind: Any, sender: str, name: str, expires_at: Any, text: bytes, stored_at: Any = None
) -> int:
    """CRC-32 of a row of ``items``."""
    stored = "" if stored_at is None else f"{stored_at} "
    return crc32(text, crc32(f"{recipient} {seq} {kind} {sender} {name} {expires_at} {stored}".encode()))


def checksum_in_sql(*row: Any) -> int:
    """As ``checksum``; -1, which no row has, for one that is corrupt already."""
    try:
        recipient, seq, kind, sender, name, *rest = row
        return checksum(recipient, seq, kind, sender.decode(), name.decode(), *rest)
    except (TypeError, ValueError, AttributeError):
        return -1


def follow(rows: list[Any], account: int | None, after: int) -> bool:
    """Whether rows are of this mailbox, each behind the one before."""
    for row in rows:
        if row[1] != account or row[2] <= after:
            return False
        after = row[2]
    return True


def items_of(rows: list[Any]) -> tuple[list[Item], list[int]]:
    """The items in rows, and the entries of corrupt ones."""
    items: list[Item] = []
    corrupt: list[int] = []
    for row in rows:
        item = item_of(row)
        if item is None:
            corrupt.append(row[0])
        else:
            items.append(item)
    return items, corrupt


def item_of(row: Any) -> Item | None:
    """The item in a row that was read, None if it is not as it was written."""
    _, recipient, seq, kind, sender, name, expires_at, text, kept, stored_at, _ = row
    try:
        sender, name = sender.decode(), name.decode()
        if checksum(recipient, seq, kind, sender, name, expires_at, text, stored_at) != kept:
            return None
        return Item(seq, ItemKind(kind), sender, name, text, expires_at)
    except (TypeError, ValueError, AttributeError):
        return None
