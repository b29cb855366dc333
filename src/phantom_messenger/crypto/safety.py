"""Safety numbers: 60 digits that two users compare to be sure that nobody is in the middle.

Derived as Signal does (libsignal ``fingerprint``, version 0): an iterated SHA-512 over
key and stable id for each side, the two halves sorted.
"""

import hashlib
from typing import Final

ITERATIONS: Final = 5_200
"""Signal's count: about 2^12 times more work for somebody who searches for a key with the same digits."""

_VERSION: Final = (0).to_bytes(2, "big")
_DIGITS_PER_CHUNK: Final = 5


def safety_number(own_key: bytes, own_id: bytes, peer_key: bytes, peer_id: bytes) -> str:
    """The 60 digits of a pair; both sides compute the same.

    Args:
        own_key: public identity key.
        own_id: stable id of its owner, raw bytes.
        peer_key: the other's key.
        peer_id: the other's id.
    """
    return "".join(sorted((_half(own_key, own_id), _half(peer_key, peer_id))))


def grouped(digits: str) -> str:
    """The digits in groups of five, as they are read aloud."""
    return " ".join(digits[index : index + 5] for index in range(0, len(digits), 5))


def _half(key: bytes, stable_id: bytes) -> str:
    digest = _VERSION + key + stable_id
    for _ in range(ITERATIONS):
        digest = hashlib.sha512(digest + key).digest()
    chunks = (digest[index : index + 5] for index in range(0, 30, 5))
    return "".join(f"{int.from_bytes(chunk, 'big') % 100_000:0{_DIGITS_PER_CHUNK}d}" for chunk in chunks)
