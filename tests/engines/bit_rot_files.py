"""A store's file in which every byte is known: whose row it belongs to, and to which part of it.

Written from sqlite.org/fileformat.html alone.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.records import Item, NewItem
from support.stores import ALICE, BOB, CAROL, NOW, acknowledge, append, bind, exchange, message, receipt, waiting

PAGE: Final = 4_096
COLUMNS: Final = ("entry", "recipient", "seq", "kind", "sender", "name", "expires_at", "text", "checksum", "stored_at")
"""Those that take up bytes in the sample: there are no strangers in it, so no marks."""
LATER: Final = NOW + 1_000_000
INDEXES: Final = ("items_order", "items_expiry", "sqlite_autoindex_items_1", "sqlite_autoindex_accounts_1")
_LEAF, _INTERIOR, _INDEX_LEAF = 13, 5, 10
_LEAST_LOCAL: Final = (PAGE - 12) * 32 // 255 - 23
_INTEGER_BYTES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


class Part(NamedTuple):
    """A run of bytes of a row of ``items``, or of an index (``entry`` is 0 then)."""

    entry: int
    name: str
    start: int
    end: int


class Sample:
    """A closed store with mail of many sizes for two users.

    Args:
        folder: a new one for it.
    """

    def __init__(self, folder: Path) -> None:
        store = SQLiteStore(folder)
        bind(store, ALICE, BOB, CAROL)
        for number, size in enumerate((5, 30, 100, 300, 700, 1_500, 3_900, 4_100, 9_000, 20_000) * 2):
            lifetime = LATER + number if number % 3 else None
            append(store, message(f"to bob {number}", size=size, expires_at=lifetime))
            append(store, receipt(f"of bob {number}", text="." * (size // 3)))
            if number % 2:
                append(store, message(f"to carol {number}", size=size, expires_at=lifetime), CAROL)
        append(store, exchange("init"))
        append(store, message("to leave free pages", size=20_000))
        for number in (0, 5, 10, 15):
            acknowledge(store, f"to bob {number}")
        acknowledge(store, "to leave free pages")
        self.mail: dict[str, list[Item]] = {user: waiting(store, user) for user in (BOB, CAROL, ALICE)}
        store.scrub()
        store.close()
        self.content = (folder / "relay.db").read_bytes()
        roots = _roots(folder / "relay.db")
        self.parts = [part for name in INDEXES for part in _index(self.content, roots[name], name)]
        self.parts += _parts(self.content, roots["items"])
        self.items = dict(self._rows(folder / "relay.db"))
        """By the row's id."""
        self._same = {(user, item): item for user, items in self.mail.items() for item in items}

    def same(self, user: str, item: Item) -> Item:
        """The item of the sample that equals this one, if there is one: so that many outcomes take little memory."""
        return self._same.get((user, item), item)

    def free_byte(self) -> int:
        """The last byte of the first trunk page of the free list."""
        page = _number(self.content, 32, 4)
        assert page, "there is no free page"
        return page * PAGE - 1

    def _rows(self, file: Path) -> Iterator[tuple[int, Item]]:
        by_text = {item.text: item for items in self.mail.values() for item in items}
        with sqlite3.connect(file) as connection:
            for entry, text in connection.execute("SELECT entry, text FROM items"):
                yield entry, by_text[text]
        connection.close()


NEW: Final[NewItem] = message("new", size=50)
"""What is appended to a damaged store."""


def flipped(content: bytes, bit: int) -> bytes:
    """The same with one bit turned."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _roots(file: Path) -> dict[str, int]:
    """The root page of each table and index."""
    with sqlite3.connect(file) as connection:
        found = connection.execute("SELECT name, rootpage FROM sqlite_schema").fetchall()
    connection.close()
    return dict(found)


def _index(content: bytes, page: int, name: str) -> Iterator[Part]:
    """The pointers, entries and row ids of an index."""
    start = (page - 1) * PAGE
    is_leaf, cells = content[start] == _INDEX_LEAF, _number(content, start + 3, 2)
    pointers = start + (8 if is_leaf else 12)
    yield Part(0, f"{name}: pointers", pointers, pointers + 2 * cells)
    for index in range(cells):
        place = start + _number(content, pointers + 2 * index, 2)
        if not is_leaf:
            yield from _index(content, _number(content, place, 4), name)
            place += 4
        size, begin = _varint(content, place)
        assert size <= _LEAST_LOCAL, "no entry has overflow pages"
        yield Part(0, f"{name}: entries", place, begin + size)
        if row_id := _last_column_bytes(content, begin):
            yield Part(0, f"{name}: row ids", begin + size - row_id, begin + size)
    if not is_leaf:
        yield from _index(content, _number(content, start + 8, 4), name)


def _last_column_bytes(content: bytes, begin: int) -> int:
    end, at = _varint(content, begin)
    end, sort = begin + end, 0
    while at < end:
        sort, at = _varint(content, at)
    return _INTEGER_BYTES[sort]


def _parts(content: bytes, page: int) -> Iterator[Part]:
    """All parts of all rows in the b-tree below a page."""
    start = (page - 1) * PAGE
    sort, cells = content[start], _number(content, start + 3, 2)
    pointers = start + (8 if sort == _LEAF else 12)
    places = [start + _number(content, pointers + 2 * index, 2) for index in range(cells)]
    if sort == _LEAF:
        for place in places:
            yield from _row(content, place)
        return
    assert sort == _INTERIOR
    for place in places:
        yield from _parts(content, _number(content, place, 4))
    yield from _parts(content, _number(content, start + 8, 4))


def _row(content: bytes, at: int) -> Iterator[Part]:
    size, entry_at = _varint(content, at)
    entry, begin = _varint(content, entry_at)
    yield Part(entry, "payload size", at, entry_at)
    yield Part(entry, "row id", entry_at, begin)
    local, places = _local(size), []
    places.append((begin, begin + local))
    rest, link = size - local, begin + local
    while rest:
        yield Part(entry, "link", link, link + 4)
        link = (_number(content, link, 4) - 1) * PAGE
        places.append((link + 4, link + 4 + min(rest, PAGE - 4)))
        rest -= min(rest, PAGE - 4)
    header, following = _varint(content, begin)
    yield Part(entry, "record header", begin, begin + header)
    offset = header
    for column in COLUMNS:
        sort, following = _varint(content, following)
        length = _INTEGER_BYTES[sort] if sort < len(_INTEGER_BYTES) else (sort - 12) // 2
        for start, end in _spread(places, offset, offset + length):
            yield Part(entry, column, start, end)
        offset += length
    assert offset == size


def _spread(places: list[tuple[int, int]], start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where in the file a stretch of the payload stands."""
    passed = 0
    for first, last in places:
        low, high = max(start, passed), min(end, passed + last - first)
        if low < high:
            yield first + low - passed, first + high - passed
        passed += last - first


def _local(size: int) -> int:
    if size <= PAGE - 35:
        return size
    found = _LEAST_LOCAL + (size - _LEAST_LOCAL) % (PAGE - 4)
    return found if found <= PAGE - 35 else _LEAST_LOCAL


def _number(content: bytes, at: int, length: int) -> int:
    return int.from_bytes(content[at : at + length], "big")


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer, and where it ends."""
    found = 0
    for count in range(8):
        byte = content[at + count]
        found = found << 7 | byte & 0x7F
        if byte < 0x80:
            return found, at + count + 1
    return found << 8 | content[at + 8], at + 9
