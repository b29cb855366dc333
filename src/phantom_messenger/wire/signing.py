"""What is signed: a purpose, then canonical bytes. And user ids, which are a hash of a key.

Every use of an identity key has a prefix of its own, so that nothing signed for one
purpose verifies for another. This room holds no key: it only says which bytes.
"""

import base64
import hashlib
from typing import Final

ENVELOPE: Final = b"phantom/1 envelope\n"
SIGNED_PREKEY: Final = b"phantom/1 signed-prekey\n"
KEM_PREKEY: Final = b"phantom/1 kem-prekey\n"
USER_ID: Final = b"phantom/1 user-id\n"
CERTIFIED_BYTES: Final = 32
"""Of a user id that is the hash of its key."""


def envelope_bytes(signed_text: bytes) -> bytes:
    """Bytes under an envelope's ``signature``; ``signed_text`` is from ``codec.signed_text``."""
    return ENVELOPE + signed_text


def signed_prekey_bytes(public_key: bytes) -> bytes:
    """Bytes under ``preKeySignature``; ``public_key`` is the 32-byte X25519 prekey."""
    return SIGNED_PREKEY + public_key


def kem_prekey_bytes(public_key: bytes) -> bytes:
    """Bytes under ``kemPreKeySignature``; ``public_key`` is the 1,184-byte ML-KEM-768 key."""
    return KEM_PREKEY + public_key


def certified_user_id(public_key: bytes) -> str:
    """The user id that a 32-byte Ed25519 key certifies by itself, in base64 (44 characters)."""
    return base64.b64encode(hashlib.sha256(USER_ID + public_key).digest()).decode()
