"""Signatures, and public keys that nobody should use: the relay refuses both before a client has to.

The relay holds no private key. Ed25519 is strict, as in libsodium, which the SDK uses: keys and
R that are of small order or not canonical are refused, and so is S >= L.
"""

import binascii
from collections.abc import Sequence
from typing import Final

from nacl.bindings import crypto_core_ed25519_is_valid_point
from vodozemac import Ed25519PublicKey, Ed25519Signature

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_SIGN: Final = 2**255
"""In an encoded point, the sign of x; below it is y."""

_P: Final = 2**255 - 19
_SMALL_ORDER: Final = frozenset(
    {
        0,
        1,
        _P - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""u-coordinates of order 1, 2, 4 and 8 on Curve25519 and its twist (RFC 7748 section 6.1 warns of them)."""


def is_usable_x25519(key: bytes) -> bool:
    """Whether Diffie-Hellman with this 32-byte public key yields a secret at all."""
    u = int.from_bytes(key, "little") % _SIGN
    return u % _P not in _SMALL_ORDER


def is_usable_ed25519(key: bytes) -> bool:
    """Whether these 32 bytes are a canonical point of the prime-order group."""
    return crypto_core_ed25519_is_valid_point(key)


def verify(batch: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """Verify (public key, signature, message) triples by RFC 8032, strictly."""
    # Decoding a key costs a tenth of a verification. It is kept for this batch alone: the relay
    # does not remember users who have disconnected.
    decoded: dict[bytes, Ed25519PublicKey] = {}
    return [_verify(*check, decoded) for check in batch]


def _verify(key: bytes, signature: bytes, message: bytes, decoded: dict[bytes, Ed25519PublicKey]) -> bool:
    if len(key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    try:
        if key not in decoded:
            decoded[key] = _decode(key)
        decoded[key].verify_signature(message, Ed25519Signature.from_base64(_base64(signature)))
    except ValueError:  # all that the library raises is one
        return False
    return True


def _decode(key: bytes) -> Ed25519PublicKey:
    """A key to verify with.

    Raises:
        ValueError: it is not the canonical encoding of a point (RFC 8032 section 5.1.3), which the library overlooks.
    """
    if int.from_bytes(key, "little") % _SIGN >= _P:
        raise ValueError("the key is not canonical")
    return Ed25519PublicKey.from_base64(_base64(key))


def _base64(data: bytes) -> str:
    """As the library takes it: without padding."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").decode()
