"""Canonical frames cut and joined as text, where decoding and encoding again would cost more.

All of it rests on the order of an envelope's members, which is alphabetical: behind ``payload``
stand only ``seq``, ``signature``, ``timestamp`` and ``type``. None of them can hold the text that
is searched for, so its last occurrence is the member itself, whatever the payload holds.
"""

from typing import Final

SIGNATURE_CHARS: Final = 88
"""Of an Ed25519 signature in base64."""

_SIGNATURE: Final = b',"signature":"'
_END_OF_PAYLOAD: Final = b'},"timestamp":'
_NO_SEQ: Final = b'"seq":0,'


def without_signature(text: bytes) -> bytes:
    """What an envelope's signature covers: the canonical text without that member.

    Args:
        text: the canonical text of a client's frame that is signed, so it has no ``seq``.
    """
    start = text.rindex(_SIGNATURE)
    return text[:start] + text[start + len(_SIGNATURE) + SIGNATURE_CHARS + 1 :]


def routed(unsigned: bytes, sender_id: str, signature: str) -> tuple[bytes, bytes]:
    """The text of a routed MESSAGE, from what its sender signed: as ``codec.route`` and ``split_at_seq`` make it.

    Args:
        unsigned: as ``without_signature`` returns it; its last payload member is ``recipientId``.
        sender_id: the sender, base64.
        signature: the sender's, base64.

    Returns:
        The bytes before and after the number of ``seq``.
    """
    payload, end, tail = unsigned.rpartition(_END_OF_PAYLOAD)
    head = b'%b,"senderId":"%b"},"seq":' % (payload, sender_id.encode())
    return head, b',"signature":"%b"%b%b' % (signature.encode(), end[1:], tail)


def split_at_seq(text: bytes) -> tuple[bytes, bytes]:
    """Split a canonical frame whose ``seq`` is 0 into the bytes before and after that number.

    The mailbox fills the number in once it knows it.

    Raises:
        ValueError: the frame has no such member.
    """
    head, name, tail = text.rpartition(_NO_SEQ)
    if not name:
        raise ValueError("the frame has no seq of 0")
    return head + name[:-2], b"," + tail
