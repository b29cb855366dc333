"""What is judged of WebSocket frames before a byte of their contents is kept: headers, and how much is half sent.

The payload is read by the library behind it. A header says how much will come; whoever waits
for that before judging has already given it room.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from phantom_messenger.wire.limits import MAX_HALF_BYTES

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_DATA: Final = frozenset({CONTINUATION, TEXT, BINARY})
_CONTROL: Final = frozenset({CLOSE, PING, PONG})
_MASK: Final = 4
_MOST_CONTROL: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES: Final = 127
_EIGHT_LEAST: Final = 65_536


class Header(NamedTuple):
    """Of a client's frame: what it is, whether it ends a message, bytes of header (with mask) and payload."""

    opcode: int
    fin: bool
    size: int
    length: int

    @property
    def is_control(self) -> bool:
        """Whether it is a ping, a pong or a close."""
        return self.opcode in _CONTROL


class Broken(Exception):
    """A header that RFC 6455 does not allow; the message is what the peer is told."""


def read_header(data: bytes | memoryview) -> Header | None:
    """Read the header of a client's frame (RFC 6455 section 5.2).

    Args:
        data: what has come, from the frame's first byte on.

    Returns:
        The header, or None if it is not whole yet.

    Raises:
        Broken: reserved bits or opcodes, no mask, a length that is not written in its shortest
            form or has its highest bit set, a control frame that is long or in fragments.
    """
    if len(data) < 2:  # noqa: PLR2004 - the RFC's
        return None
    first, second = data[0], data[1]
    opcode, fin = first & 0x0F, first >= 0x80  # noqa: PLR2004 - the RFC's
    if first & 0x70:
        raise Broken("reserved bits")
    if second < 0x80:  # noqa: PLR2004 - the RFC's
        raise Broken("broken frame")
    size, length = 2 + _MASK, second & 0x7F
    if opcode in _CONTROL:
        if not fin or length > _MOST_CONTROL:
            raise Broken("broken frame")
    elif opcode not in _DATA:
        raise Broken("broken frame")
    elif length >= _TWO_BYTES:
        more = 2 if length == _TWO_BYTES else 8
        size += more
        if len(data) < 2 + more:
            return None
        length = int.from_bytes(data[2 : 2 + more], "big")
        if length < (_TWO_BYTES if more == 2 else _EIGHT_LEAST) or length >> 63:  # noqa: PLR2004 - the RFC's
            raise Broken("broken frame")
    return Header(opcode, fin, size, length) if len(data) >= size else None


class Halves:
    """What connections have sent of messages that are not whole yet, bounded in all.

    Args:
        most: bytes; beyond it, whoever holds the most is ended, of equals the one that has held for longest.
    """

    def __init__(self, most: int = MAX_HALF_BYTES) -> None:
        self._most = most
        self._total = 0
        self._held: dict[Callable[[], None], int] = {}

    def hold(self, end: Callable[[], None], count: int) -> None:
        """A connection, named by what ends it, holds so many bytes now; 0 when its message is whole or it is gone."""
        self._total += count - self._held.get(end, 0)
        if count:
            self._held[end] = count
        else:
            self._held.pop(end, None)
        while self._total > self._most:
            largest = max(self._held, key=self._held.__getitem__)
            self._total -= self._held.pop(largest)
            largest()


def text_header(length: int) -> bytes:
    """The header of an unmasked text frame (RFC 6455 section 5.2)."""
    if length < _TWO_BYTES:
        return bytes((0x80 | TEXT, length))
    if length < _EIGHT_LEAST:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")
