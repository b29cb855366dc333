"""The bytes that are signed: a label, then canonical bytes. And certified user ids, which are the hash of a key.

No key is held here.
"""

import base64
import hashlib
from typing import Final

from phantom_messenger import labels

CERTIFIED_BYTES: Final = 32
"""Length of a user id that is the hash of its key."""


def envelope_bytes(signed_text: bytes) -> bytes:
    """The bytes under an envelope's ``signature``; ``signed_text`` is from ``codec.signed_text``."""
    return labels.ENVELOPE + signed_text


def signed_prekey_bytes(public_key: bytes) -> bytes:
    """The bytes under ``preKeySignature``; ``public_key`` is the 32-byte X25519 prekey."""
    return labels.SIGNED_PREKEY + public_key


def kem_prekey_bytes(public_key: bytes) -> bytes:
    """The bytes under ``kemPreKeySignature``; ``public_key`` is the 1,184-byte ML-KEM-768 key."""
    return labels.KEM_PREKEY + public_key


def certified_user_id(public_key: bytes) -> str:
    """The user id that is the hash of a 32-byte Ed25519 key, in base64 (44 characters)."""
    return base64.b64encode(hashlib.sha256(labels.USER_ID + public_key).digest()).decode()
