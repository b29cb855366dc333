"""Somebody whose client was written from the API reference alone: its example, with JSON as JavaScript writes it."""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from typing import Any, Final

from nacl.signing import SigningKey

from support.people import Frame, base64_text, canonical, wall_ms
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess

Sign = Callable[[Frame], bytes]
"""What a signature covers, of an envelope that has none yet."""

PREFIX: Final = b"phantom/1 envelope\n"


def stringify(value: Any) -> bytes:
    """``JSON.stringify``: members in the order in which they were set, no white space."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


READINGS: Final[dict[str, Sign]] = {
    "the payload, stringified": lambda envelope: stringify(envelope["payload"]),
    "the payload, canonical": lambda envelope: canonical(envelope["payload"]),
    "the envelope, stringified": stringify,
    "the envelope, canonical": canonical,
    "the payload, stringified, with the prefix": lambda envelope: PREFIX + stringify(envelope["payload"]),
    "the payload, canonical, with the prefix": lambda envelope: PREFIX + canonical(envelope["payload"]),
    "the envelope, stringified, with the prefix": lambda envelope: PREFIX + stringify(envelope),
}
STRICT: Final[Sign] = lambda envelope: PREFIX + canonical(envelope)  # noqa: E731 - one of the readings
PLAIN: Final = READINGS["the payload, stringified"]


class Letter:
    """Somebody, and one connection to a relay.

    Args:
        relay: of which one.
        user_id: base64 of a few bytes if left out.
        sign: what this client takes ``sign(payload)`` for.
        seed: of the key; random if left out.
    """

    def __init__(
        self, relay: RelayProcess, *, user_id: str | None = None, sign: Sign = PLAIN, seed: bytes | None = None
    ) -> None:
        self.key = SigningKey(seed or os.urandom(32))
        self.public_key = base64_text(bytes(self.key.verify_key))
        self.id = user_id or base64_text(os.urandom(5))
        self.sign = sign
        self.wire = ReferenceClient(relay.url)

    def login(self) -> "Letter":
        """Section 1 of the example."""
        self.wire.send_text(stringify(self.auth()).decode())
        self.wire.expect("AUTH_SUCCESS")
        return self

    def login_signed(self) -> "Letter":
        """Log in with the proof that the relay's own protocol wants; all else stays as the reference has it."""
        known = {"challenge": self.wire.acknowledgement["payload"]["challenge"], "audience": self.wire.audience}
        bare = self.auth(**known)
        self.send({**bare, "signature": self.signature(STRICT(bare))})
        self.wire.expect("AUTH_SUCCESS")
        return self

    def auth(self, **payload: Any) -> Frame:
        return self.frame("AUTH", {"userId": self.id, "publicKey": self.public_key, **payload})

    def frame(self, kind: str, payload: Frame | None = None, **envelope: Any) -> Frame:
        """An unsigned message."""
        found: Frame = {"type": kind}
        if payload is not None:
            found["payload"] = payload
        return {**found, "timestamp": wall_ms(), **envelope}

    def signed(self, kind: str, payload: Frame, **envelope: Any) -> Frame:
        """A message as the example makes it: ``signature`` is set last."""
        bare = self.frame(kind, payload, **envelope)
        return {**bare, "signature": self.signature(self.sign(bare))}

    def signature(self, text: bytes) -> str:
        return base64_text(self.key.sign(text).signature)

    # --- the example's messages ---------------------------------------------------

    def init(self, target: str, **payload: Any) -> Frame:
        known = {"targetId": target, "identityKey": self.public_key, "ephemeralKey": fresh_key()}
        return self.signed("KEY_EXCHANGE_INIT", {**known, **payload})

    def response(self, **payload: Any) -> Frame:
        """As the reference prints it: ``senderId``, and nothing that says to whom it goes."""
        key = fresh_key()
        known = {
            "senderId": self.id,
            "identityKey": self.public_key,
            "signedPreKey": key,
            "preKeySignature": self.signature(base64.b64decode(key)),
        }
        return self.signed("KEY_EXCHANGE_RESPONSE", {**known, **payload})

    def message(self, recipient: str, *, name: str = "", **payload: Any) -> Frame:
        known = {
            "recipientId": recipient,
            "encrypted": base64_text(os.urandom(48)),
            "messageId": name or random_uuid(),
            "conversationId": "conversation",
        }
        return self.signed("MESSAGE", {**known, **payload}, id=random_uuid())

    # --- the wire -----------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        self.wire.send_text(stringify(frame).decode())

    def ask(self, frame: Frame) -> Frame:
        """Send, and what comes next."""
        self.send(frame)
        return self.wire.receive()

    def answered(self, frame: Frame) -> list[Frame]:
        """Send, and all that comes before a PING sent behind it is answered."""
        self.send(frame)
        return self.wire.settle()

    def make_contacts(self, other: "Letter") -> None:
        """Key exchange as the reference has it; all that comes of it is read."""
        self.send(self.init(other.id))
        other.wire.until("KEY_EXCHANGE_INIT")
        other.send(other.response())
        self.wire.until("KEY_EXCHANGE_RESPONSE")
        for one in (self, other):
            one.wire.settle()


MakeLetter = Callable[..., Letter]
"""``letter(user_id=..., sign=...)``: the fixture that closes what it opened."""


def fresh_key() -> str:
    return base64_text(hashlib.sha256(os.urandom(32)).digest())


def random_uuid() -> str:
    raw = os.urandom(16).hex()
    return "-".join([raw[:8], raw[8:12], "4" + raw[13:16], "8" + raw[17:20], raw[20:]])


def reason(answer: Frame) -> str:
    """The word of a refusal; empty if it is none."""
    return str(answer["payload"].get("details", {}).get("reason", "")) if answer["type"] == "ERROR" else ""
