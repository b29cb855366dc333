"""The load generator's own codec: frames are signed and masked ahead of time, and only a few fields are ever read.

It shares nothing with the relay but the protocol, and does as little as possible while the
clock runs: the generator must never be the bottleneck.
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
    """Canonical JSON (RFC 8785) of a value that holds only ASCII strings and integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def text_frame(payload: bytes) -> bytes:
    """A complete, masked text frame (RFC 6455 section 5.2)."""
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


def read_frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Remove the complete frames at the front of a buffer; yields opcode and payload of each."""
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


def text_field(payload: bytes, name: bytes) -> bytes:
    """The string that follows ``"name":"`` in canonical JSON; b'' if there is none."""
    start = payload.find(b'"' + name + b'":"')
    if start < 0:
        return b""
    start += len(name) + 4
    return payload[start : payload.index(b'"', start)]


def seq_of(payload: bytes) -> bytes:
    """The digits of an envelope's ``seq``, which follows the payload; b'' if there is none."""
    start = payload.rfind(b'"seq":')
    return b"" if start < 0 else payload[start + 6 : payload.index(b",", start)]


class VirtualUser:
    """An identity that lives as long as the run."""

    def __init__(self) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(os.urandom(32))
        self.id = signing.certified_user_id(self.public)
        self._binding: dict[str, Any] = {}

    def signed(self, kind: str, payload: dict[str, Any], at: int) -> bytes:
        """A signed frame of this type: the text, not yet masked."""
        envelope = {"type": kind, "payload": payload, "timestamp": at}
        signature = crypto_sign(signing.envelope_bytes(canonical(envelope)), self._secret)[:_SIGNATURE_BYTES]
        return canonical({**envelope, "signature": base64.b64encode(signature).decode()})

    def auth(self, connection_ack: dict[str, Any], audience: str, features: list[str]) -> bytes:
        """The AUTH that answers a CONNECTION_ACK."""
        self._binding = {"audience": audience, "challenge": connection_ack["payload"]["challenge"]}
        claim = {"userId": self.id, "publicKey": base64.b64encode(self.public).decode(), **self._binding}
        if features:
            claim["features"] = features
        return self.signed("AUTH", claim, connection_ack["payload"]["serverTime"])

    def message(self, recipient_id: str, body: str, at: int) -> tuple[bytes, bytes]:
        """The id of a MESSAGE, and its masked frame."""
        message_id = str(uuid.uuid4())
        payload = {
            "recipientId": recipient_id,
            "encrypted": body,
            "messageId": message_id,
            "conversationId": "bench",
        }
        return message_id.encode(), text_frame(self.signed("MESSAGE", payload, at))

    def delete_account(self, at: int) -> bytes:
        """The masked ACCOUNT_DELETE for the connection of the last ``auth``."""
        return text_frame(self.signed("ACCOUNT_DELETE", self._binding, at))


def message_ack(message_id: bytes, sender_id: bytes) -> bytes:
    """The masked MESSAGE_ACK by which a client with the feature ``ack`` confirms a message."""
    text = b'{"payload":{"messageId":"%b","senderId":"%b","status":"delivered"},"timestamp":%d,"type":"MESSAGE_ACK"}'
    return _short_text_frame(text % (message_id, sender_id, time.time_ns() // 1_000_000))


def item_ack(seq: bytes) -> bytes:
    """The same for a receipt, which is named by its ``seq`` alone."""
    text = b'{"payload":{"seq":%b,"status":"delivered"},"timestamp":%d,"type":"MESSAGE_ACK"}'
    return _short_text_frame(text % (seq, time.time_ns() // 1_000_000))


@functools.cache
def _mask(size: int) -> tuple[bytes, int]:
    """Header and mask shared by all short frames of this size: they are built while the clock runs, and not secret."""
    frame = text_frame(bytes(size))
    return frame[:-size], int.from_bytes(frame[-size:], "big")


def _short_text_frame(payload: bytes) -> bytes:
    head, mask = _mask(len(payload))
    return head + (int.from_bytes(payload, "big") ^ mask).to_bytes(len(payload), "big")
