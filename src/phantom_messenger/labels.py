"""What an identity key signs and hashes, told apart by a label in front of the bytes.

Every use has a label of its own, so that nothing signed for one purpose verifies for another.
``wire`` and ``crypto`` do not know each other; both read the labels here.
"""

from typing import Final

ENVELOPE: Final = b"phantom/1 envelope\n"
SIGNED_PREKEY: Final = b"phantom/1 signed-prekey\n"
KEM_PREKEY: Final = b"phantom/1 kem-prekey\n"
PREKEY_BUNDLE: Final = b"phantom/1 prekey-bundle 2\n"
GROUP_CHANGE: Final = b"phantom/1 group-change\n"
USER_ID: Final = b"phantom/1 user-id\n"


def prekey_bundle(
    *, made_at: int, signed_id: int, signed_prekey: bytes, kem_id: int, kem_digest: bytes, user_id: bytes
) -> bytes:
    """The bytes under ``bundleSignature``: prekeys that are handed out together, since when, and whose they are.

    Args:
        made_at: milliseconds since 1970, below 2^64.
        signed_id: from 1 to 2^32-1.
        signed_prekey: the X25519 key, 32 bytes.
        kem_id: of the last resort, from 1 to 2^32-1.
        kem_digest: SHA-256 of the last-resort ML-KEM-768 key, 32 bytes.
        user_id: raw, 16 to 64 bytes.
    """
    parts = [
        made_at.to_bytes(8),
        signed_id.to_bytes(4),
        signed_prekey,
        kem_id.to_bytes(4),
        kem_digest,
        len(user_id).to_bytes(2),
        user_id,
    ]
    return PREKEY_BUNDLE + b"".join(parts)
