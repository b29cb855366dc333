"""Pictures of groups: small, carried by the change that sets them, and named by their hash ever after.

Nothing here decodes a picture. See protocol/groups.md, "Picture".
"""

import hashlib
from typing import Final

MAX_PICTURE_BYTES: Final = 4_096
MIN_PICTURE_BYTES: Final = 12

_HASH: Final = b"phantom/1 group-picture\n"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"


def type_of(data: bytes) -> str:
    """The media type of a picture by its first bytes: 'image/png', 'image/jpeg', 'image/webp', or '' if it is none."""
    if not MIN_PICTURE_BYTES <= len(data) <= MAX_PICTURE_BYTES:
        return ""
    if data.startswith(_PNG):
        return "image/png"
    if data.startswith(_JPEG):
        return "image/jpeg"
    return "image/webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else ""


def name_of(data: bytes) -> bytes:
    """What a state has of a picture: 32 bytes; of none, nothing."""
    return hashlib.sha256(_HASH + data).digest() if data else b""
