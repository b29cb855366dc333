"""Base64 in its one canonical form, so that one value never has two spellings."""

import binascii


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64 with padding, strictly.

    Args:
        text: what a peer or a user wrote.

    Returns:
        The bytes, or None if the text is not canonical base64: another alphabet, missing
        padding, or bits set behind the last byte (RFC 4648 section 3.5).
    """
    try:
        raw = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    size = len(raw)
    if len(text) != (size + 2) // 3 * 4:
        return None
    # Stray bits behind the last byte decode to the same bytes: compare the last four characters.
    tail = binascii.b2a_base64(raw[(size - 1) // 3 * 3 :], newline=False)
    return raw if tail == text[-4:].encode() else None
