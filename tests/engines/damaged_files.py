"""Files of stores that are damaged: a page that cannot be read, a row with another number than its own."""

from pathlib import Path
from typing import Final

PAGE: Final = 4_096
LEAF: Final = 13
"""The first byte of a page that has rows of a table."""

FIFTH: Final = 8 + 2 * 4
"""Where such a page says at which place its fifth row stands."""

BACK: Final = b"\x80\x01"
AWAY: Final = b"\xff\x7f"
"""Numbers before all others, and behind them: the row is found by whoever reads all of them alone."""


def page_of(whole: bytes | bytearray, text: bytes) -> int:
    """Where the page begins on which a text stands."""
    [start] = [at for at in range(0, len(whole), PAGE) if whole[at] == LEAF and text in whole[at : at + PAGE]]
    return start


def stray(folder: Path, text: bytes, number: bytes) -> None:
    """Give a row on the page on which a text stands another number, of two bytes as its own."""
    file = folder / "relay.db"
    whole = bytearray(file.read_bytes())
    start = page_of(whole, text)
    at = start + int.from_bytes(whole[start + FIFTH : start + FIFTH + 2])
    while whole[at] & 0x80:  # the length of the row, before its number
        at += 1
    assert whole[at + 1] & 0x80
    assert not whole[at + 2] & 0x80
    whole[at + 1 : at + 3] = number
    file.write_bytes(whole)


def spoil(folder: Path, text: bytes) -> None:
    """Make the page on which a text stands one that cannot be read."""
    file = folder / "relay.db"
    whole = bytearray(file.read_bytes())
    whole[page_of(whole, text)] = 0xEE
    file.write_bytes(whole)


def beside(folder: Path, text: bytes) -> int:
    """How many rows stand on the page of a text."""
    whole = (folder / "relay.db").read_bytes()
    start = page_of(whole, text)
    return int.from_bytes(whole[start + 3 : start + 5])
