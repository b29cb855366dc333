"""How users are named in what they change in an order that the relay keeps. See protocol/phantom.md, "Order"."""

from hashlib import sha256
from typing import Final

DIGEST_BYTES: Final = 16


def digest(name: bytes, *parts: str) -> bytes:
    """What stands for a user, or for a revision in a user's message, in an order.

    Args:
        name: of the order, 32 bytes: only who knows it can say whose the digest is.
        parts: a user id, and for a revision more.

    Returns:
        16 bytes.
    """
    return sha256(b"\n".join((name, *(part.encode() for part in parts)))).digest()[:DIGEST_BYTES]
