"""Whether the write-ahead log beside a database belongs to that database.

SQLite does not ask. A log that was left by a killed program, beside a database that was put there from a backup, is
read as if it were its own: that damages the database, or rolls it forward without a word (sqlite.org/howtocorrupt.html,
section 1.4). So each log says which database it continues: the first transaction in it changes the token in the
database's header to a digest of the one before, and a log ends, before it is written back, with a new random one. The
token stands in the four bytes that SQLite keeps for applications, ``application_id`` (fileformat2.html, section
1.3.15), so it is as safe against power cuts as everything else, and needs no file of its own.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import apsw

_LOG_HEADER: Final = struct.Struct(">IIII8sII")
_FRAME_HEADER: Final = struct.Struct(">II8sII")
_MAGIC: Final = {0x377F0682: "<", 0x377F0683: ">"}
"""The first word of a log says in which order the bytes of its checksums are (section 4.1)."""

_HEADER_BYTES: Final = 100
_MOST_FRAMES: Final = 16_384
"""That are looked at for a first page; a log of ours has it in its first transaction."""

_UNCHECKED: Final = -1


class _Header(NamedTuple):
    """Of the first page: what tells two states of a database apart (section 1.3)."""

    changes: int
    pages: int
    schema: int
    token: bytes


def begin(connection: apsw.Connection) -> None:
    """Note in the first transaction of a log which database it continues; call it inside that transaction."""
    token: int = connection.pragma("application_id")
    connection.pragma("application_id", int.from_bytes(_next(token.to_bytes(4, signed=True)), signed=True))


def end(connection: apsw.Connection) -> None:
    """Note that a log ends here; call it, outside of a transaction, before the log is written back.

    Raises:
        apsw.Error: it could not be noted.
    """
    connection.pragma("application_id", int.from_bytes(os.urandom(4), signed=True))


def is_own_log(database: Path) -> bool:
    """Whether SQLite may read the log that lies beside a database; True if there is none.

    Call it while nothing in this process has the database open: to close any handle of a file drops the locks that
    the process holds on it.

    Raises:
        OSError: one of the files cannot be read.
    """
    log = database.with_name(database.name + "-wal")
    try:
        with log.open("rb") as file, database.open("rb") as base:
            start = base.read(_HEADER_BYTES)
            if len(start) < _HEADER_BYTES:
                return True
            found = _header(start)
            first = True
            for header in _headers(file):
                if first and (header.token == _next(found.token) or _goes_on(found, header)):
                    return True
                first = False
                if header == found:  # written back in part
                    return True
            return first
    except FileNotFoundError:
        return True


def _goes_on(database: _Header, log: _Header) -> bool:
    """Whether a log without a token of its own can follow: another program wrote the one before back."""
    is_next = log.changes - database.changes in {0, 1} and log.schema == database.schema
    return log.token == database.token and (is_next or not any(log.token))  # version 0.1.0 wrote no tokens


def _next(token: bytes) -> bytes:
    return hashlib.blake2s(token, digest_size=4).digest()


def _header(page: bytes) -> _Header:
    changes, pages = struct.unpack_from(">II", page, 24)
    return _Header(changes, pages, int.from_bytes(page[40:44]), page[68:72])


def _headers(log: BinaryIO) -> Iterator[_Header]:
    """The headers of the first page that a log holds, in order, as far as SQLite would read it.

    The checksums are followed to the first of them: what a power cut left of a transaction counts for nothing.
    """
    start = log.read(_LOG_HEADER.size)
    if len(start) < _LOG_HEADER.size:
        return
    magic, _, page_bytes, _, salts, *sums = _LOG_HEADER.unpack(start)
    order = _MAGIC.get(magic)
    if order is None or _checksum(order, (0, 0), start[:24]) != tuple(sums):
        return
    state = (sums[0], sums[1])
    waiting: list[_Header] = []
    left = _MOST_FRAMES
    while left:
        head = log.read(_FRAME_HEADER.size)
        if len(head) < _FRAME_HEADER.size:
            return
        number, committed, frame_salts, *frame_sums = _FRAME_HEADER.unpack(head)
        if frame_salts != salts:
            return
        page = b""
        if left > 0 or number == 1:
            page = log.read(page_bytes)
            if len(page) < page_bytes:
                return
        else:
            log.seek(page_bytes, os.SEEK_CUR)
        if left > 0:
            left -= 1
            state = _checksum(order, _checksum(order, state, head[:8]), page)
            if state != tuple(frame_sums):
                return
        if number == 1:
            waiting.append(_header(page))
        if committed and waiting:
            left = _UNCHECKED
            yield from waiting
            waiting.clear()


def _checksum(order: str, state: tuple[int, int], data: bytes) -> tuple[int, int]:
    """Section 4.2."""
    one, two = state
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        one = (one + even + two) & 0xFFFF_FFFF
        two = (two + odd + one) & 0xFFFF_FFFF
    return one, two
