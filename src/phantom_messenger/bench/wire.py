"""The load's own codec: frames signed and masked before they are needed, a reader that looks for a few words.

It shares nothing with the relay but the rules of the protocol, and does as little as it can
while the clock runs: the load must never be what is measured.
"""

import base64
import functools
import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any, Final

from nacl.bindings import crypto_sign, crypto_sign_seed_keypair

from phantom_messenger.wire import signing

_SIGNATURE_BYTES: Final = 64


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of ASCII texts and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def masked(payload: bytes) -> bytes:
    """A whole text frame of a client (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:  # noqa: PLR2004 - the RFC's
        head = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def unframed(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Take the whole frames of a relay off the front of a buffer: opcode and payload."""
    at = 0
    while len(buffer) - at >= 2:  # noqa: PLR2004 - the head
        length, start = buffer[at + 1], at + 2
        if length > 125:  # noqa: PLR2004 - the RFC's
            width = 2 if length == 126 else 8  # noqa: PLR2004 - the RFC's
            if len(buffer) - start < width:
                break
            length = int.from_bytes(buffer[start : start + width], "big")
            start += width
        if len(buffer) - start < length:
            break
        yield buffer[at] & 15, bytes(buffer[start : start + length])
        at = start + length
    del buffer[:at]


def word(payload: bytes, name: bytes) -> bytes:
    """The text behind ``"name":"`` in canonical JSON; b'' if it is not there."""
    start = payload.find(b'"' + name + b'":"')
    if start < 0:
        return b""
    start += len(name) + 4
    return payload[start : payload.index(b'"', start)]


def place(payload: bytes) -> bytes:
    """The digits of an envelope's ``seq``, b'' if it has none: it stands behind the payload."""
    start = payload.rfind(b'"seq":')
    return b"" if start < 0 else payload[start + 6 : payload.index(b",", start)]


class Person:
    """An identity that lives as long as the load."""

    def __init__(self) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(os.urandom(32))
        self.id = signing.certified_user_id(self.public)
        self._binding: dict[str, Any] = {}

    def signed(self, kind: str, payload: dict[str, Any], at: int) -> bytes:
        """A frame of this type, signed, as it goes over the wire but for its mask."""
        envelope = {"type": kind, "payload": payload, "timestamp": at}
        mark = crypto_sign(signing.envelope_bytes(canonical(envelope)), self._secret)[:_SIGNATURE_BYTES]
        return canonical({**envelope, "signature": base64.b64encode(mark).decode()})

    def auth(self, hello: dict[str, Any], audience: str, features: list[str]) -> bytes:
        """AUTH that answers a CONNECTION_ACK."""
        self._binding = {"audience": audience, "challenge": hello["payload"]["challenge"]}
        claim = {"userId": self.id, "publicKey": base64.b64encode(self.public).decode(), **self._binding}
        if features:
            claim["features"] = features
        return self.signed("AUTH", claim, hello["payload"]["serverTime"])

    def message(self, to: str, body: str, at: int) -> tuple[bytes, bytes]:
        """The id of a MESSAGE, and the masked frame."""
        name = str(uuid.uuid4())
        payload = {"recipientId": to, "encrypted": body, "messageId": name, "conversationId": "bench"}
        return name.encode(), masked(self.signed("MESSAGE", payload, at))

    def farewell(self, at: int) -> bytes:
        """The masked ACCOUNT_DELETE, for the connection of the last ``auth``."""
        return masked(self.signed("ACCOUNT_DELETE", self._binding, at))


def delivered(message_id: bytes, sender: bytes) -> bytes:
    """The masked MESSAGE_ACK with which a client with the feature ``ack`` confirms a message."""
    text = b'{"payload":{"messageId":"%b","senderId":"%b","status":"delivered"},"timestamp":%d,"type":"MESSAGE_ACK"}'
    return _quickly_masked(text % (message_id, sender, time.time_ns() // 1_000_000))


def confirmed(seq: bytes) -> bytes:
    """The same for a receipt, which has no name but its place."""
    text = b'{"payload":{"seq":%b,"status":"delivered"},"timestamp":%d,"type":"MESSAGE_ACK"}'
    return _quickly_masked(text % (seq, time.time_ns() // 1_000_000))


@functools.cache
def _mask(size: int) -> tuple[bytes, int]:
    """Head and mask of the short frames of this size that are made while the clock runs: nothing of them is secret."""
    frame = masked(bytes(size))
    return frame[:-size], int.from_bytes(frame[-size:], "big")


def _quickly_masked(payload: bytes) -> bytes:
    head, mask = _mask(len(payload))
    return head + (int.from_bytes(payload, "big") ^ mask).to_bytes(len(payload), "big")
