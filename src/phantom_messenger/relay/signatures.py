"""Signatures, verified strictly, with verdicts as in libsodium, which the SDK uses.

Keys and R that are of small order or not canonical are refused, and so is S >= L. The helper
processes import this module, so it imports little.
"""

import binascii
from collections.abc import Sequence
from typing import Final

from vodozemac import Ed25519PublicKey, Ed25519Signature

_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_P: Final = 2**255 - 19
_SIGN: Final = 2**255
"""In an encoded point, the sign of x; below it is y."""


def verify(batch: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
    """Verify (public key, signature, message) triples by RFC 8032, strictly."""
    # Decoding a key costs a tenth of a verification. It is kept for this batch alone: the relay
    # does not remember users who have disconnected.
    decoded: dict[bytes, Ed25519PublicKey] = {}
    verdicts = []
    for key, signature, message in batch:
        if len(key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
            verdicts.append(False)
            continue
        try:
            if key not in decoded:
                decoded[key] = _decode(key)
            decoded[key].verify_signature(message, Ed25519Signature.from_base64(_base64(signature)))
        except ValueError:  # all that the library raises is one
            verdicts.append(False)
        else:
            verdicts.append(True)
    return verdicts


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
