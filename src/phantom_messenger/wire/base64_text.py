"""Base64 in its one canonical form, so that one value never has two spellings."""

import binascii

import msgspec


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64 with padding, strictly.

    Args:
        text: what a peer or a user wrote.

    Returns:
        The bytes, or None if the text is not canonical base64: another alphabet, missing
        padding, or bits set behind the last byte (RFC 4648 section 3.5).
    """
    try:
        raw = msgspec.convert(text, bytes)  # several times as fast as binascii
    except (msgspec.ValidationError, UnicodeEncodeError):
        return None
    if not text.endswith("="):
        return raw
    # Stray bits behind the last byte decode to the same bytes: compare the last four characters.
    tail = binascii.b2a_base64(raw[(len(raw) - 1) // 3 * 3 :], newline=False)
    return raw if text.endswith(tail.decode()) else None
