"""Padding to few sizes, so that a ciphertext's length says little about its content."""

from typing import Final

from phantom_messenger.crypto.errors import InvalidMessage

MIN_PADDED: Final = 256
MAX_PADDED: Final = 44_800
"""Largest padded content in bytes: with all overhead it fits the 46,080 bytes of ``encrypted``."""

_MARK: Final = b"\x80"


def padded_size(length: int, least: int = MIN_PADDED) -> int:
    """The padded size of ``length`` bytes: a power of two from ``least``, at most ``MAX_PADDED``.

    Raises:
        ValueError: longer than ``MAX_PADDED`` - 1.
    """
    if length >= MAX_PADDED:
        raise ValueError(f"content has {length} bytes, at most {MAX_PADDED - 1} fit")
    size = least
    while size < length + 1:
        size *= 2
    return min(size, MAX_PADDED)


def pad(content: bytes, least: int = MIN_PADDED) -> bytes:
    """Append 0x80 and zeros up to the padded size (ISO/IEC 7816-4), which is at least ``least``."""
    return (content + _MARK).ljust(padded_size(len(content), least), b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo ``pad``.

    Raises:
        InvalidMessage: there is no padding.
    """
    content, mark, rest = padded.rpartition(_MARK)
    if not mark or rest.strip(b"\0"):
        raise InvalidMessage("padding is missing")
    return content
