"""Texts that can be found again, wherever a piece of them is left.

Every 32 characters of such a text begin with a tag, its number stands behind it, the rest is
chance. So what is left of a text is found unless it is shorter than 47 characters, and says whose
it is. The same holds for the 24 bytes that 32 characters of base64 stand for.
"""

import base64
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_PAGE: Final = 4_096
_FILE_HEADER: Final = 100
_CHARS: Final = 32
_TAG_BYTES: Final = 6
_TAG_CHARS: Final = 8
_NUMBER_CHARS: Final = 4
_TREE_PAGES: Final = {2: 12, 5: 12, 10: 8, 13: 8}
"""First byte of a b-tree's page, and the length of its header (sqlite.org/fileformat.html, 1.6)."""


class Leftover(NamedTuple):
    """A piece of a text that was to be gone."""

    file: str
    at: int
    number: int
    is_stale: bool
    """It stands between the cell pointers and the cells of a b-tree's page, where SQLite keeps nothing."""


class Markers:
    """Makes the texts of one run.

    Args:
        seed: of all chance in them.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - the same in every run
        self._gone = self._random.randbytes(_TAG_BYTES)
        self._stays = self._random.randbytes(_TAG_BYTES)
        self._count = 0

    def that_goes(self, size: int) -> str:
        """A text of about ``size`` characters that is to be removed."""
        return self._text(self._gone, size)

    def that_stays(self, size: int) -> str:
        """A text that is not to be removed, and not to be found by ``leftovers``."""
        return self._text(self._stays, size)

    def size(self, least: int = 100, most: int = 60_000) -> int:
        """As many small ones as big ones: pages of several texts, and texts of several pages."""
        return round(least * math.pow(most / least, self._random.random()))

    def leftovers(self, folder: Path) -> list[Leftover]:
        """What is left in any file of a folder of the texts that go, encoded or decoded."""
        found: list[Leftover] = []
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = file.read_bytes()
            is_database = content.startswith(b"SQLite format 3\0")
            for needle in (base64.b64encode(self._gone), self._gone):
                found += [
                    Leftover(file.name, at, _number(content, at), is_database and is_unused(content, at))
                    for at in _places(content, needle)
                ]
        return found

    def _text(self, tag: bytes, size: int) -> str:
        number = self._count.to_bytes(3, "big")
        self._count += 1
        blocks = -(-size // _CHARS)
        raw = b"".join(tag + number + self._random.randbytes(15) for _ in range(blocks))
        return base64.b64encode(raw).decode()[: size // 4 * 4]


def described(found: list[Leftover]) -> str:
    """What a failing test says."""
    texts = len({one.number for one in found})
    places = sorted({f"{one.file} page {one.at // _PAGE + 1}{' (stale)' * one.is_stale}" for one in found})
    return f"{len(found)} pieces of {texts} texts are left in {', '.join(places)}"


def _places(content: bytes, needle: bytes) -> Iterator[int]:
    at = content.find(needle)
    while at >= 0:
        yield at
        at = content.find(needle, at + 1)


def _number(content: bytes, at: int) -> int:
    text = content[at + _TAG_CHARS : at + _TAG_CHARS + _NUMBER_CHARS]
    try:
        return int.from_bytes(base64.b64decode(text, validate=True), "big")
    except ValueError:
        return -1


def is_unused(content: bytes, at: int) -> bool:
    """Whether a place in an SQLite file lies between the cell pointers and the cells of a b-tree page."""
    start = at // _PAGE * _PAGE
    header = start + (_FILE_HEADER if start == 0 else 0)
    length = _TREE_PAGES.get(content[header])
    if length is None:
        return False
    cells = int.from_bytes(content[header + 3 : header + 5], "big")
    cells_begin = int.from_bytes(content[header + 5 : header + 7], "big") or 65_536
    return header + length + 2 * cells <= at < start + cells_begin
