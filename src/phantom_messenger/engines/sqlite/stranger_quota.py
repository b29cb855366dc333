"""How much a mailbox takes, by number and by bytes, and who may have which part of it.

Every limit is a room: what was left when it was counted last. Additions take from it, removals do not
add to it; when something does not fit it is counted again. So most messages cost no count.

Strangers have a part of their own, and share it by the address that they come from: who fills it, from
however many accounts, gives way to newcomers from elsewhere, the oldest first.
"""

from collections.abc import Callable
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite.directory import MAX_REMEMBERED
from phantom_messenger.engines.sqlite.item_rows import ItemRows
from phantom_messenger.relay.records import ItemKind, NewItem
from phantom_messenger.wire.limits import (
    MAX_BACKLOG,
    MAX_GROUP_BACKLOG,
    MAX_KEY_EXCHANGE_BACKLOG,
    MAX_RECEIPT_BACKLOG,
    MAX_STRANGER_BACKLOG,
    MAX_STRANGERS_BACKLOG,
)

STRANGERS_SHARE: Final = 4
"""Of the bytes of a mailbox, strangers together have this part."""

ROW_BYTES: Final = 256
"""What an item takes beside its text: ids, indexes."""

MAX_YIELDED: Final = 128
"""Items of strangers that give way to one: a large one may need the room of many small ones."""

Key = tuple[int, str, int, str]
"""Of a room: account, what is counted, kind of items, sender; 0 and '' where it is of all."""

Need = tuple[Key, int]

# Of senders who are still strangers: one to whom the recipient has written since then keeps everything.
_STRANGE: Final = (
    "recipient = ?1 AND mark IS NOT NULL AND NOT EXISTS (SELECT 1 FROM written WHERE written.sender = items.recipient"
    " AND written.recipient = (SELECT account FROM accounts WHERE accounts.user_id = items.sender))"
    " AND NOT EXISTS (SELECT 1 FROM written_in_groups AS groups WHERE groups.sender = items.recipient"
    " AND groups.recipient = (SELECT account FROM accounts WHERE accounts.user_id = items.sender))"
)
_ITEM_SIZE: Final = f"coalesce(length(text), 0) + {ROW_BYTES}"
_SIZE: Final = f"coalesce(sum({_ITEM_SIZE}), 0)"


class StrangerQuota:
    """The rooms of all mailboxes.

    Args:
        rows: items.
        most_bytes: of a mailbox; None if that is not limited.
        remove: called with the entry of an item that gives way.
    """

    def __init__(self, rows: ItemRows, most_bytes: int | None, remove: Callable[[int], None]) -> None:
        self._connection = rows.connection
        self._rows = rows
        self._remove = remove
        self._most_bytes = most_bytes
        self._rooms: dict[Key, int] = {}

    def forget(self) -> None:
        """Forget what was counted: it may have changed."""
        self._rooms.clear()

    def needs(self, account: int, item: NewItem, *, known: bool, old_size: int | None = None) -> list[Need]:
        """Which rooms an item needs something of, and how much.

        Args:
            account: whose mailbox it is for.
            item: what is to be added.
            known: whether its owner has written to the sender.
            old_size: bytes of the text that it takes the place of; None if there is none.

        Returns:
            Rooms, each with more than nothing: one of which nothing is needed is not measured.
        """
        kind = item.kind
        needs: list[Need] = []
        if old_size is None:
            if kind is ItemKind.RECEIPT or not (known or kind is ItemKind.KEY_EXCHANGE):
                needs.append(((account, "of one", kind, item.sender), 1))
            if kind is ItemKind.MESSAGE:
                needs.append(((account, "all", kind, ""), 1))
            if item.is_group:
                needs.append(((account, "of groups", kind, item.sender), 1))
            if not known:
                needs.append(((account, "of strangers", kind, ""), 1))
        if self._most_bytes is not None and not (known and kind is ItemKind.KEY_EXCHANGE):
            size = len(item.head) + len(item.tail)
            more = size + ROW_BYTES if old_size is None else size - old_size
            if more > 0:
                needs.append(((account, "bytes", 0, ""), more))
                if not known:
                    needs.append(((account, "bytes of strangers", 0, ""), more))
        return needs

    def take(self, needs: list[Need]) -> bool:
        """Subtract what an item needs that is about to be added; False if a room is too small for it."""
        rooms = self._rooms
        for key, need in needs:
            if rooms.get(key, 0) < need and self._missing(needs) is not None:
                return False
        for key, need in needs:
            rooms[key] -= need
        return True

    def give_back(self, needs: list[Need]) -> None:
        """The item was not added."""
        for key, need in needs:
            self._rooms[key] += need

    def _missing(self, needs: list[Need]) -> Key | None:
        """The first room that is too small; None if all is there, counted anew where it is needed."""
        rooms = self._rooms
        if len(rooms) + len(needs) > MAX_REMEMBERED:
            rooms.clear()
        for key, need in needs:
            if rooms.get(key, 0) < need:
                rooms[key] = self._measured(key)
                if rooms[key] < need:
                    return key
        return None

    def replaced(self, account: int, item: NewItem) -> None:
        """An item took the place of one that need not have been to a group, or to none, as it is."""
        self._rooms.pop((account, "of groups", item.kind, item.sender), None)

    def make(self, item: NewItem, needs: list[Need]) -> bool:
        """Delete items of other strangers to make room for a stranger's, and take it.

        Returns:
            Whether there was enough that could give way; if not, nothing was deleted.

        Raises:
            CorruptRows, apsw.Error: one that had to give way could not be removed.
        """
        entries = self._giving_way(item, needs)
        if entries is None:
            return False
        for entry in entries:
            self._remove(entry)
        self._forget(needs)
        return self.take(needs)

    def _giving_way(self, item: NewItem, needs: list[Need]) -> list[int] | None:
        """The entries that have to be deleted; None if that would not be enough, or would be too many."""
        missing = {key[1]: need - self._measured(key) for key, need in needs}
        if missing.get("of one", 0) > 0 or missing.get("of groups", 0) > 0:
            return None
        account = needs[0][0][0]
        sizes: dict[int, int] = {}
        for is_bytes, rooms in ((False, ("all", "of strangers")), (True, ("bytes", "bytes of strangers"))):
            left = max(missing.get(room, 0) for room in rooms)
            if is_bytes:
                left -= sum(sizes.values())
            if left <= 0:
                continue
            for entry, size in self._oldest_of_the_fullest(account, item, without=list(sizes), is_bytes=is_bytes):
                sizes[entry] = size
                left -= size if is_bytes else 1
                if left <= 0:
                    break
            else:
                return None
        return list(sizes)

    def _forget(self, needs: list[Need]) -> None:
        for key, _ in needs:
            self._rooms.pop(key, None)

    def _oldest_of_the_fullest(
        self, account: int, item: NewItem, *, without: list[int], is_bytes: bool
    ) -> list[tuple[int, int]]:
        """Entries and bytes of items that may give way, in that order: of addresses that hold more than the sender's.

        An address holds, when the turn comes to an item, that item and what is younger. So the order in which the
        oldest of the fullest goes, again and again, is that of these sums.
        """
        weight = _ITEM_SIZE if is_bytes else "1"
        of_kind = "" if is_bytes else f" AND kind = {item.kind:d}"
        spared = f" AND entry NOT IN ({','.join(map(str, without))})" if without else ""
        statement = (
            f"WITH strange AS (SELECT entry, mark, {_ITEM_SIZE} AS size, sum({weight}) OVER"  # noqa: S608 - of numbers and constants
            " (PARTITION BY mark ORDER BY entry ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS held"
            f" FROM items INDEXED BY items_strangers WHERE {self._rows.readable}{_STRANGE}{of_kind}{spared})"
            " SELECT entry, size FROM strange WHERE held > coalesce((SELECT max(held) FROM strange WHERE mark = ?2), 0)"
            f" ORDER BY held DESC, entry LIMIT {MAX_YIELDED - len(without)}"
        )
        try:
            found: Any = self._connection.execute(statement, (account, item.mark or 0)).fetchall()
        except apsw.Error as error:
            raise self._rows.unread(error, *_of_strangers(account)) from None
        return list(found)

    def _measured(self, key: Key) -> int:
        """How much is left of a room, counted."""
        account, what, kind, sender = key
        match what:
            case "all":
                return MAX_BACKLOG - self._count("recipient = ?1 AND kind = ?2", account, kind)
            case "of one":
                most = MAX_RECEIPT_BACKLOG if kind == ItemKind.RECEIPT else MAX_STRANGER_BACKLOG
                return most - self._count("recipient = ?1 AND kind = ?2 AND sender = ?3", account, kind, sender)
            case "of groups":
                return MAX_GROUP_BACKLOG - self._of_groups(account, kind, sender)
            case "of strangers":
                most = MAX_STRANGERS_BACKLOG if kind == ItemKind.MESSAGE else MAX_KEY_EXCHANGE_BACKLOG
                return most - self._count(f"{_STRANGE} AND kind = ?2", account, kind)
            case "bytes":
                whole = "INDEXED BY items_order WHERE recipient = ?", (account,)
                return (self._most_bytes or 0) - self._bytes("items_order", "recipient = ?1", account, whole)
            case _:
                strangers = self._bytes("items_strangers", _STRANGE, account, _of_strangers(account))
                return (self._most_bytes or 0) // STRANGERS_SHARE - strangers

    def _count(self, where: str, *values: Any) -> int:
        found = self._connection.execute(f"SELECT count(*) FROM items WHERE {where}", values).get  # noqa: S608 - constants
        return int(found)

    def _of_groups(self, account: int, kind: int, sender: str) -> int:
        which, values = "recipient = ? AND kind = ? AND sender = ?", (account, kind, sender)
        try:
            return self._count(f"{self._rows.readable}{which} AND grouped IS NOT NULL", *values)
        except apsw.Error as error:
            raise self._rows.unread(error, f"WHERE {which}", values) from None

    def _bytes(self, index: str, where: str, account: int, all_of_them: tuple[str, tuple[int]]) -> int:
        """Of those that can be read: what cannot be must not close a mailbox, and the number of items bounds it too."""
        try:
            found = self._connection.execute(
                f"SELECT {_SIZE} FROM items INDEXED BY {index} WHERE {self._rows.readable}{where}",  # noqa: S608 - of numbers and constants
                (account,),
            ).get
        except apsw.Error as error:
            raise self._rows.unread(error, *all_of_them) from None
        return int(found)


def _of_strangers(account: int) -> tuple[str, tuple[int]]:
    """Which rows are of those who are, or were, strangers, and its values."""
    return "INDEXED BY items_strangers WHERE recipient = ? AND mark IS NOT NULL", (account,)
