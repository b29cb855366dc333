"""Padding to few sizes, so that a ciphertext's length says little about its content."""

from typing import Final

from phantom_messenger.crypto.errors import InvalidMessage

MIN_PADDED: Final = 256
MAX_PADDED: Final = 44_800
"""Largest padded content of suite 1 in bytes: with all overhead it fits the 46,080 bytes of ``encrypted``."""

_MARK: Final = b"\x80"


def padded_size(length: int, least: int = MIN_PADDED, most: int = MAX_PADDED) -> int:
    """The padded size of ``length`` bytes: a power of two from ``least``, at most ``most``.

    Raises:
        ValueError: longer than ``most`` - 1.
    """
    if length >= most:
        raise ValueError(f"content has {length} bytes, at most {most - 1} fit")
    size = least
    while size < length + 1:
        size *= 2
    return min(size, most)


def pad(content: bytes, least: int = MIN_PADDED, most: int = MAX_PADDED) -> bytes:
    """Append 0x80 and zeros up to the padded size (ISO/IEC 7816-4).

    Args:
        content: at most ``most`` - 1 bytes.
        least: the smallest padded size.
        most: the largest: ``MAX_PADDED`` in suite 1, ``body.MAX_PADDED`` in suite 2.
    """
    return (content + _MARK).ljust(padded_size(len(content), least, most), b"\0")


def unpad(padded: bytes) -> bytes:
    """Undo ``pad``.

    Raises:
        InvalidMessage: there is no padding.
    """
    content, mark, rest = padded.rpartition(_MARK)
    if not mark or rest.strip(b"\0"):
        raise InvalidMessage("padding is missing")
    return content
