"""Recipients of one message divided into frames, as few as the limits of MESSAGE_MANY allow. Pure."""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

from phantom_messenger.wire.limits import MAX_MANY_CHARS, MAX_MESSAGE_BYTES, MAX_RECIPIENTS
from phantom_messenger.wire.splice import SIGNATURE_CHARS

_AROUND: Final = len('{"head":"","recipientId":"","signature":""},') + SIGNATURE_CHARS
"""Characters of a recipient beside head and id."""

T = TypeVar("T")


class Sizes(NamedTuple):
    """Of what one recipient adds to a frame, in characters of base64: ``head`` and ``recipient``, the user id."""

    head: int
    recipient: int

    @property
    def chars(self) -> int:
        """All of it, in bytes of JSON."""
        return _AROUND + self.head + self.recipient


def base64_chars(size: int) -> int:
    """How long so many bytes are in base64."""
    return -(-size // 3) * 4


def pack(parts: Iterable[tuple[T, Sizes]], *, fixed: int, common: int) -> list[list[T]]:
    """Divide recipients into frames; they keep their order.

    Args:
        parts: recipients, each with its sizes.
        fixed: bytes of a frame without recipients.
        common: characters of ``common`` alone: each recipient's message has them, too.

    Returns:
        One list for each frame. A recipient who does not fit a frame alone has one all the same, which the relay
        refuses.
    """
    found: list[list[T]] = []
    together: list[T] = []
    size = expanded = 0
    for part, sizes in parts:
        chars, whole = sizes.chars, common + sizes.head
        is_full = not found or (
            len(together) >= MAX_RECIPIENTS or size + chars > MAX_MESSAGE_BYTES or expanded + whole > MAX_MANY_CHARS
        )
        if is_full:
            together, size, expanded = [], fixed, 0
            found.append(together)
        together.append(part)
        size += chars
        expanded += whole
    return found
