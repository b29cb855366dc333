"""Points and signatures that nobody should accept, made with numbers alone (RFC 7748, RFC 8032)."""

import hashlib
from collections.abc import Iterable
from typing import Final

from maker_base import drawn
from nacl.bindings import crypto_core_ed25519_add, crypto_scalarmult_ed25519_base_noclamp

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
"""The order of the group that Ed25519 signs in."""

NEUTRAL: Final = (1).to_bytes(32, "little")
ORDER_8: Final = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def _encodings(coordinates: Iterable[str]) -> list[bytes]:
    """Each coordinate modulo p, reduced or not, with the highest bit clear and set."""
    return [
        (form | top).to_bytes(32, "little")
        for text in coordinates
        for number in [int.from_bytes(bytes.fromhex(text), "little")]
        for form in (number, number + P)
        if form < 2**255
        for top in (0, 2**255)
    ]


SMALL_X25519: Final = _encodings(
    (
        "00" * 32,
        "01" + "00" * 31,
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ec" + "ff" * 30 + "7f",
    )
)
"""Montgomery u-coordinates of order 1, 2, 4 and 8, on the curve and its twist."""

SMALL_ED25519: Final = _encodings(
    (
        "00" * 32,
        "01" + "00" * 31,
        ORDER_8.hex(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
    )
)
"""Edwards y-coordinates of order 1, 2, 4 and 8."""


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _challenge(r: bytes, public: bytes, message: bytes) -> int:
    return _number(hashlib.sha512(r + public + message).digest()) % L


def secret_scalar(seed: bytes) -> int:
    """The private number of a seed (RFC 8032 section 5.1.5)."""
    raw = bytearray(hashlib.sha512(seed).digest()[:32])
    raw[0] &= 248
    raw[31] = raw[31] & 127 | 64
    return _number(bytes(raw))


def with_small_r(seed: bytes, public: bytes, message: bytes, r: bytes = NEUTRAL) -> bytes:
    """A signature whose R has order 1: S is the challenge times the private number, so the equation holds."""
    return r + (_challenge(r, public, message) * secret_scalar(seed) % L).to_bytes(32, "little")


def text_for_small_key(public: bytes, texts: Iterable[bytes]) -> bytes:
    """The first text for which R = neutral and S = 0 fit a key of small order: its challenge is a multiple of 8."""
    return next(text for text in texts if _challenge(NEUTRAL, public, text) % 8 == 0)


def with_large_s(signature: bytes) -> bytes:
    """The same signature with L added to S."""
    return signature[:32] + (_number(signature[32:]) + L).to_bytes(32, "little")


def mixed_order(public: bytes) -> bytes:
    """A usable key and a point of order 8, added: a canonical point, not of small order, outside the main group."""
    return crypto_core_ed25519_add(public, ORDER_8)


def signed_by_mixed_order(seed: bytes, public: bytes, message: bytes) -> bytes:
    """A signature that verifies, also strictly, under ``mixed_order`` of somebody's key.

    It does where the challenge is a multiple of 8, for the point of order 8 then drops out.
    """
    mixed = mixed_order(public)
    for count in range(1_000):
        nonce = _number(drawn(f"mixed order/{count}", 64)) % L
        r = crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))
        challenge = _challenge(r, mixed, message)
        if challenge % 8 == 0:
            return r + ((nonce + challenge * secret_scalar(seed)) % L).to_bytes(32, "little")
    raise ValueError("no challenge was a multiple of 8")
