"""The head of a message of suite 2, and where it ends and the body begins.

A head is ``suite || part || [the part's bytes] || ratchet header || nonce || AES-256-GCM(message key, body key) ||
zeros``. There is one for each recipient; it is a message of the ratchet whose plaintext is the key of the body. The
second byte fixes its length. Nothing here has been authenticated yet.
"""

from enum import IntEnum
from typing import Final

import msgspec

from phantom_messenger.crypto import body, primitives, ratchet
from phantom_messenger.crypto.errors import InvalidMessage, UnknownSuite
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.ratchet import RatchetHeader

SUITE: Final = body.SUITE


class PartKind(IntEnum):
    """The second byte of a head: what all messages of its sending chain carry."""

    NOTHING = 0
    HANDSHAKE = 1
    KEM_KEY = 2
    KEM_CIPHERTEXT = 3


class KemKey(msgspec.Struct, frozen=True):
    """An offer: an ML-KEM-768 key (EK, 1,184 bytes) for the peer to encapsulate to."""

    public: bytes


class KemCiphertext(msgspec.Struct, frozen=True):
    """The answer to an offer (CT, 1,088 bytes)."""

    ciphertext: bytes


Part = HandshakeHeader | KemKey | KemCiphertext | None

_PART_BYTES: Final[dict[int, int]] = {
    PartKind.NOTHING: 0,
    PartKind.HANDSHAKE: 76 + primitives.KEM_CIPHERTEXT_BYTES,
    PartKind.KEM_KEY: primitives.KEM_PUBLIC_BYTES,
    PartKind.KEM_CIPHERTEXT: primitives.KEM_CIPHERTEXT_BYTES,
}
_PART_STARTS: Final = 2
SEALED_BYTES: Final = primitives.NONCE_BYTES + body.KEY_BYTES + primitives.TAG_BYTES


def _rounded_up(length: int) -> int:
    return length + -length % 3


HEAD_BYTES: Final[dict[int, int]] = {
    kind: _rounded_up(_PART_STARTS + size + ratchet.HEADER_BYTES + SEALED_BYTES) for kind, size in _PART_BYTES.items()
}
"""102, 1,266, 1,287 and 1,191."""


class Parsed(msgspec.Struct, frozen=True):
    """A message taken apart. ``authenticated`` is everything before the nonce, ``sealed`` nonce, ciphertext and tag."""

    part: Part
    header: RatchetHeader
    authenticated: bytes
    sealed: bytes
    body: bytes

    @property
    def handshake(self) -> HandshakeHeader | None:
        """The handshake header, if this is what it carries."""
        return self.part if isinstance(self.part, HandshakeHeader) else None

    def aad(self, associated_data: bytes) -> bytes:
        """What the head authenticates."""
        return associated_data + self.authenticated + primitives.sha256(self.body)


_KINDS: Final[dict[type[HandshakeHeader | KemKey | KemCiphertext | None], PartKind]] = {
    type(None): PartKind.NOTHING,
    HandshakeHeader: PartKind.HANDSHAKE,
    KemKey: PartKind.KEM_KEY,
    KemCiphertext: PartKind.KEM_CIPHERTEXT,
}


def length(part: Part) -> int:
    """How many bytes a head with this part has."""
    return HEAD_BYTES[_KINDS[type(part)]]


def begin(part: Part) -> bytes:
    """Suite, part and the part's bytes."""
    match part:
        case None:
            data = b""
        case HandshakeHeader():
            data = part.encode()
        case KemKey():
            data = part.public
        case KemCiphertext():
            data = part.ciphertext
    return bytes((SUITE, _KINDS[type(part)])) + data


def finish(authenticated: bytes, sealed: bytes) -> bytes:
    """A whole head."""
    head = authenticated + sealed
    return head.ljust(_rounded_up(len(head)), b"\0")


def parse(message: bytes) -> Parsed:
    """Take a message (head and body) apart.

    Raises:
        UnknownSuite: made by another version, by its first byte; the rest is not looked at.
        InvalidMessage: cut short, with a part that does not exist, or badly ended.
    """
    if not message:
        raise InvalidMessage("a message is empty")
    if message[0] != SUITE:
        raise UnknownSuite(f"suite {message[0]} is not known here")
    if len(message) < _PART_STARTS:
        raise InvalidMessage("a message is cut short")
    kind = message[1]
    if kind not in _PART_BYTES:
        raise InvalidMessage("a message has an unknown part")
    length = HEAD_BYTES[kind]
    if len(message) < length:
        raise InvalidMessage("a head is cut short")
    header_starts = _PART_STARTS + _PART_BYTES[kind]
    nonce_starts = header_starts + ratchet.HEADER_BYTES
    if message[nonce_starts + SEALED_BYTES : length].strip(b"\0"):
        raise InvalidMessage("a head does not end with its zeros")
    rest = message[length:]
    body.check_form(rest)
    return Parsed(
        part=_part(kind, message[_PART_STARTS:header_starts]),
        header=RatchetHeader.decode(message[header_starts:nonce_starts]),
        authenticated=message[:nonce_starts],
        sealed=message[nonce_starts : nonce_starts + SEALED_BYTES],
        body=rest,
    )


def _part(kind: int, data: bytes) -> Part:
    """A part from its kind and as many bytes as that has."""
    if kind == PartKind.NOTHING:
        return None
    if kind == PartKind.KEM_KEY:
        return KemKey(data)
    if kind == PartKind.KEM_CIPHERTEXT:
        return KemCiphertext(data)
    header, _ = HandshakeHeader.decode(data, has_kem=True)
    if not header.signed_prekey_id:
        raise InvalidMessage("a handshake header names no signed prekey")
    return header


def part_of(kind: int, data: bytes) -> Part:
    """A part from how it was stored.

    Raises:
        InvalidMessage: it is none.
    """
    if kind not in _PART_BYTES or len(data) != _PART_BYTES[kind]:
        raise InvalidMessage("a stored part is damaged")
    return _part(kind, data)
