"""The load's own codec: frames signed and masked before they are needed, a reader that looks for a few words.

It shares nothing with the relay but the rules of the protocol, and does as little as it can
while the clock runs: the load must never be what is measured.
"""

import base64
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
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")  # noqa: PLR2004 - the RFC's
    if size > 0xFFFF:  # noqa: PLR2004 - as above
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


class Person:
    """An identity that lives as long as the load."""

    def __init__(self) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(os.urandom(32))
        self.id = signing.certified_user_id(self.public)

    def signed(self, kind: str, payload: dict[str, Any], at: int) -> bytes:
        """A frame of this type, signed, as it goes over the wire but for its mask."""
        envelope = {"type": kind, "payload": payload, "timestamp": at}
        mark = crypto_sign(signing.envelope_bytes(canonical(envelope)), self._secret)[:_SIGNATURE_BYTES]
        return canonical({**envelope, "signature": base64.b64encode(mark).decode()})

    def auth(self, hello: dict[str, Any], audience: str, features: list[str]) -> bytes:
        """AUTH that answers a CONNECTION_ACK."""
        claim: dict[str, Any] = {
            "userId": self.id,
            "publicKey": base64.b64encode(self.public).decode(),
            "challenge": hello["payload"]["challenge"],
            "audience": audience,
        }
        if features:
            claim["features"] = features
        return self.signed("AUTH", claim, hello["payload"]["serverTime"])

    def message(self, to: str, body: str, at: int) -> tuple[bytes, bytes]:
        """The id of a MESSAGE, and the masked frame."""
        name = str(uuid.uuid4())
        payload = {"recipientId": to, "encrypted": body, "messageId": name, "conversationId": "bench"}
        return name.encode(), masked(self.signed("MESSAGE", payload, at))


def delivered(message_id: bytes, sender: bytes) -> bytes:
    """The masked MESSAGE_ACK of a recipient with the feature ``ack``."""
    text = b'{"payload":{"messageId":"%b","senderId":"%b","status":"delivered"},"timestamp":%d,"type":"MESSAGE_ACK"}'
    return masked(text % (message_id, sender, time.time_ns() // 1_000_000))
