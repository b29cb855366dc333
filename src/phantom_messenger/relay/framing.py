"""WebSocket frames as the relay reads them: headers are judged before a byte of payload is kept.

``websockets`` reads whole frames. But a header says how much will follow, and waiting for that before
judging means having made room for it. So headers are read here, and of the library only its unmasking is needed.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from phantom_messenger.wire.limits import MAX_HALF_BYTES

try:
    from websockets.speedups import apply_mask
except ImportError:  # an installation without compiled parts
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

MAX_HEADER_BYTES: Final = 14
"""Two bytes, eight of length, four of mask."""

_DATA: Final = frozenset({CONTINUATION, TEXT, BINARY})
_CONTROL: Final = frozenset({CLOSE, PING, PONG})
_MASK_BYTES: Final = 4
_MAX_CONTROL_BYTES: Final = 125
_TWO_BYTES: Final = 126
_EIGHT_BYTES_FROM: Final = 65_536


class Header(NamedTuple):
    """A client's frame header."""

    opcode: int
    fin: bool
    """Whether it ends a message."""
    size: int
    """Bytes of the header, with the mask."""
    length: int
    """Bytes of the payload."""
    is_control: bool = False
    """Whether the frame is a ping, a pong or a close."""


class BrokenFrame(Exception):
    """A frame that RFC 6455 does not allow; the peer sees the message."""


def read_header(data: bytes | memoryview) -> Header | None:
    """Read the header of a client's frame (RFC 6455 section 5.2).

    Args:
        data: what has arrived, from the frame's first byte on.

    Returns:
        The header, or None if it is not complete yet.

    Raises:
        BrokenFrame: a reserved bit or opcode, no mask, a length that is not in its shortest form
            or has its highest bit set, or a control frame that is long or fragmented.
    """
    if len(data) < 2:  # noqa: PLR2004 - RFC 6455
        return None
    first, second = data[0], data[1]
    opcode, fin = first & 0x0F, first >= 0x80  # noqa: PLR2004 - RFC 6455
    if first & 0x70:
        raise BrokenFrame("reserved bits")
    if second < 0x80:  # noqa: PLR2004 - RFC 6455
        raise BrokenFrame("broken frame")
    size, length = 2 + _MASK_BYTES, second & 0x7F
    is_control = opcode in _CONTROL
    if is_control:
        if not fin or length > _MAX_CONTROL_BYTES:
            raise BrokenFrame("broken frame")
    elif opcode not in _DATA:
        raise BrokenFrame("broken frame")
    elif length >= _TWO_BYTES:
        more = 2 if length == _TWO_BYTES else 8
        size += more
        if len(data) < 2 + more:
            return None
        length = int.from_bytes(data[2 : 2 + more], "big")
        if length < (_TWO_BYTES if more == 2 else _EIGHT_BYTES_FROM) or length >> 63:  # noqa: PLR2004 - RFC 6455
            raise BrokenFrame("broken frame")
    return Header(opcode, fin, size, length, is_control) if len(data) >= size else None


def read_payload(frame: bytes, header: Header) -> bytes:
    """The unmasked payload of a client's frame, which is complete and has this header."""
    return apply_mask(frame[header.size :], frame[header.size - _MASK_BYTES : header.size])


def read_long_payload(frame: bytearray, header: Header) -> bytes:
    """The same of a frame that may have a megabyte, which is copied once and not three times."""
    view = memoryview(frame)
    return apply_mask(view[header.size :], bytes(view[header.size - _MASK_BYTES : header.size]))


class PartialMessages:
    """What all connections hold of messages that are not complete yet, bounded in total.

    Args:
        limit: bytes; beyond it, the connection that holds the most is ended, among equals the
            one that has held it for longest.
    """

    def __init__(self, limit: int = MAX_HALF_BYTES) -> None:
        self._limit = limit
        self._total = 0
        self._held: dict[Callable[[], None], int] = {}

    def hold(self, end: Callable[[], None], count: int) -> None:
        """Record what a connection holds now.

        Args:
            end: names the connection, and ends it.
            count: bytes; 0 once its message is complete or the connection is closed.
        """
        self._total += count - self._held.get(end, 0)
        if count:
            self._held[end] = count
        else:
            self._held.pop(end, None)
        while self._total > self._limit:
            largest = max(self._held, key=self._held.__getitem__)
            self._total -= self._held.pop(largest)
            largest()


def text_header(length: int) -> bytes:
    """The header of an unmasked text frame (RFC 6455 section 5.2)."""
    if length < _TWO_BYTES:
        return bytes((0x80 | TEXT, length))
    if length < _EIGHT_BYTES_FROM:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")
