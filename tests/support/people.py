"""People, and the frames they send: written from the protocol reference alone.

Nothing of the project is imported here, so that a mistake in its codec cannot hide
itself in the tests. ``now`` is where a frame's time comes from.
"""

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

Frame = dict[str, Any]

ENVELOPE = b"phantom/1 envelope\n"
SIGNED_PREKEY = b"phantom/1 signed-prekey\n"
KEM_PREKEY = b"phantom/1 kem-prekey\n"
PREKEY_BUNDLE = b"phantom/1 prekey-bundle 2\n"
USER_ID = b"phantom/1 user-id\n"


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def base64_text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def key_text(name: str) -> str:
    """Thirty-two bytes that belong to a name: any of them is a usable X25519 public key."""
    return base64_text(hashlib.sha256(name.encode()).digest())


def kem_key_text(name: str) -> str:
    return base64_text(hashlib.shake_256(name.encode()).digest(1_184))


def canonical(value: Any) -> bytes:
    """Canonical JSON of ASCII names and integers: sorting is all there is to it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def flipped(text: str) -> str:
    """Other base64 of the same length: the first bit is turned."""
    raw = bytearray(base64.b64decode(text))
    raw[0] ^= 0x80
    return base64_text(bytes(raw))


def is_signed_by(frame: Frame, public_key: str) -> bool:
    """Whether a frame that the relay passed on is what its sender signed."""
    payload = {name: value for name, value in frame["payload"].items() if name != "senderId"}
    envelope = {name: value for name, value in frame.items() if name not in ("seq", "signature")}
    try:
        VerifyKey(base64.b64decode(public_key)).verify(
            ENVELOPE + canonical({**envelope, "payload": payload}), base64.b64decode(frame["signature"])
        )
    except BadSignatureError:
        return False
    return True


class Person:
    """Somebody with an identity key.

    A name makes the key, and all that hangs on it, the same in every run. Without
    ``user_id`` the id certifies itself.
    """

    def __init__(
        self, name: str | None = None, *, user_id: str | None = None, now: Callable[[], int] = wall_ms
    ) -> None:
        self.key = SigningKey(os.urandom(32) if name is None else hashlib.sha256(name.encode()).digest())
        raw = bytes(self.key.verify_key)
        self.public_key = base64_text(raw)
        self.id = user_id or base64_text(hashlib.sha256(USER_ID + raw).digest())
        self.now = now
        self.binding: Frame = {"audience": "relay.test", "challenge": key_text("a challenge")}
        """What ties a frame to the connection of the last login."""
        self._count = 0

    def sign(self, text: bytes) -> str:
        return base64_text(self.key.sign(text).signature)

    def signed(self, frame: Frame) -> Frame:
        """The frame with a signature over the rest of it."""
        bare = {name: value for name, value in frame.items() if name != "signature"}
        return {**bare, "signature": self.sign(ENVELOPE + canonical(bare))}

    def frame(self, kind: str, payload: Frame | None = None, **envelope: Any) -> Frame:
        """An unsigned frame; ``payload`` None leaves it out."""
        found: Frame = {"type": kind, "timestamp": self.now(), **envelope}
        return found if payload is None else {**found, "payload": payload}

    def new_message_id(self) -> str:
        self._count += 1
        return str(uuid.UUID(bytes=hashlib.sha256(f"{self.id} {self._count}".encode()).digest()[:16], version=4))

    # --- frames -------------------------------------------------------------------

    def auth(
        self, acknowledgement: Frame, audience: str, *, features: Sequence[str] | None = None, **payload: Any
    ) -> Frame:
        """AUTH that answers a CONNECTION_ACK."""
        known = {} if features is None else {"features": list(features)}
        self.bind(acknowledgement, audience)
        claim = {"userId": self.id, "publicKey": self.public_key, **self.binding}
        return self.signed(self.frame("AUTH", {**claim, **known, **payload}))

    def bind(self, acknowledgement: Frame, audience: str) -> None:
        """From now on, frames that serve on one connection alone are for this one."""
        self.binding = {"audience": audience, "challenge": acknowledgement["payload"]["challenge"]}

    def unsigned_auth(self) -> Frame:
        """AUTH as the reference's example has it."""
        return self.frame("AUTH", {"userId": self.id, "publicKey": self.public_key})

    def message(
        self,
        to: "Person | str",
        *,
        message_id: str | None = None,
        conversation: str = "conversation",
        encrypted: str = "c2VjcmV0",
        metadata: Frame | None = None,
        **envelope: Any,
    ) -> Frame:
        payload = {
            "recipientId": to if isinstance(to, str) else to.id,
            "encrypted": encrypted,
            "messageId": message_id or self.new_message_id(),
            "conversationId": conversation,
            **({} if metadata is None else {"metadata": metadata}),
        }
        return self.signed(self.frame("MESSAGE", payload, **envelope))

    def message_many(
        self,
        to: Sequence["Person | str"],
        *,
        heads: Sequence[str] = (),
        common: str = "c2VjcmV0",
        message_id: str | None = None,
        conversation: str = "conversation",
        metadata: Frame | None = None,
        envelope: Frame | None = None,
        **payload: Any,
    ) -> Frame:
        """MESSAGE_MANY; ``heads`` are for the recipients in their order, '' for none, and may be fewer."""
        time = self.now()
        shared: Frame = {"messageId": message_id or self.new_message_id(), "conversationId": conversation}
        if metadata is not None:
            shared["metadata"] = metadata
        recipients = []
        for person, head in zip_longest(to, heads, fillvalue=""):
            user = person if isinstance(person, str) else person.id
            whole = {**shared, "encrypted": head + common, "recipientId": user}
            message = self.signed({"type": "MESSAGE", "timestamp": time, "payload": whole})
            part = {"recipientId": user, "signature": message["signature"]}
            recipients.append({**part, "head": head} if head else part)
        known = {**shared, "common": common, "recipients": recipients, **payload}
        return self.signed({**self.frame("MESSAGE_MANY", known), "timestamp": time, **(envelope or {})})

    def order(self, revision: int, *writers: "Person", name: str = "order") -> Frame:
        """The member ``order`` of a MESSAGE_MANY; this person alone may go on, if no writers are named."""
        ids = [writer.id for writer in writers or (self,)]
        return {"name": key_text(name), "revision": revision, "writers": ids}

    def fetch(self, *targets: "Person | str", **envelope: Any) -> Frame:
        users = [target if isinstance(target, str) else target.id for target in targets]
        return self.frame("PREKEY_FETCH", {"targets": users}, **envelope)

    def allowance(self, sender: "Person | str", **envelope: Any) -> Frame:
        user = sender if isinstance(sender, str) else sender.id
        return self.frame("ALLOWANCE", {"senderId": user}, **envelope)

    def ack(self, message: Frame, status: str = "delivered", **envelope: Any) -> Frame:
        """MESSAGE_ACK for a message that was received."""
        payload = message["payload"]
        known = {"messageId": payload["messageId"], "senderId": payload["senderId"], "status": status}
        return self.frame("MESSAGE_ACK", known, **envelope)

    def confirm(self, seq: int) -> Frame:
        """MESSAGE_ACK for a receipt or key exchange that had waited."""
        return self.frame("MESSAGE_ACK", {"seq": seq, "status": "delivered"})

    def init(self, to: "Person | str", *, name: str = "ephemeral", **payload: Any) -> Frame:
        known = {
            "targetId": to if isinstance(to, str) else to.id,
            "identityKey": self.public_key,
            "ephemeralKey": key_text(f"{name} of {self.id}"),
        }
        return self.signed(self.frame("KEY_EXCHANGE_INIT", {**known, **payload}))

    def response(self, to: "Person | str", **payload: Any) -> Frame:
        key = key_text(f"signed prekey of {self.id}")
        known = {
            "targetId": to if isinstance(to, str) else to.id,
            "identityKey": self.public_key,
            "signedPreKey": key,
            "preKeySignature": self.sign_prekey(key),
        }
        return self.signed(self.frame("KEY_EXCHANGE_RESPONSE", {**known, **payload}))

    def publish(
        self, one_time: Sequence[int] = (), kem: Sequence[int] = (), *, last_resort: bool = False, **payload: Any
    ) -> Frame:
        """PREKEY_PUBLISH with one-time keys of these ids; a key is a function of its owner and id."""
        known: Frame = {
            **self.binding,
            "signedPreKey": self.signed_prekey_part(1),
            "oneTimePreKeys": [{"id": number, "key": key_text(f"{number} of {self.id}")} for number in one_time],
            "kemPreKeys": [self.kem_part(number) for number in kem],
        }
        if last_resort:
            known["lastResortKemPreKey"] = self.kem_part(4_000)
        return self.signed(self.frame("PREKEY_PUBLISH", {**known, **payload}))

    def signed_prekey_part(self, number: int) -> Frame:
        key = key_text(f"signed prekey {number} of {self.id}")
        return {"id": number, "key": key, "signature": self.sign_prekey(key)}

    def kem_part(self, number: int) -> Frame:
        key = kem_key_text(f"{number} of {self.id}")
        return {"id": number, "key": key, "signature": self.sign(KEM_PREKEY + base64.b64decode(key))}

    def sign_prekey(self, key: str) -> str:
        return self.sign(SIGNED_PREKEY + base64.b64decode(key))

    def dating(self, made_at: int, signed: Frame, last_resort: Frame) -> Frame:
        """The date of prekeys that last, and the signature over it and them: two members of a payload."""
        user_id = base64.b64decode(self.id)
        parts = [
            made_at.to_bytes(8, "big"),
            signed["id"].to_bytes(4, "big"),
            base64.b64decode(signed["key"]),
            last_resort["id"].to_bytes(4, "big"),
            hashlib.sha256(base64.b64decode(last_resort["key"])).digest(),
            len(user_id).to_bytes(2, "big"),
            user_id,
        ]
        return {"madeAt": made_at, "bundleSignature": self.sign(PREKEY_BUNDLE + b"".join(parts))}

    def publish_dated(
        self,
        made_at: int,
        one_time: Sequence[int] = (),
        kem: Sequence[int] = (),
        *,
        number: int = 1,
        last: int = 4_000,
        **payload: Any,
    ) -> Frame:
        """PREKEY_PUBLISH with a date; the prekeys that last have these ids."""
        signed, last_resort = self.signed_prekey_part(number), self.kem_part(last)
        known = {
            "signedPreKey": signed,
            "lastResortKemPreKey": last_resort,
            **self.dating(made_at, signed, last_resort),
        }
        return self.publish(one_time, kem, **{**known, **payload})

    def prekey_status(self, **envelope: Any) -> Frame:
        return self.frame("PREKEY_STATUS", **envelope)

    def presence(self, status: str, conversation: str | None = None) -> Frame:
        payload = {"status": status} if conversation is None else {"status": status, "conversationId": conversation}
        return self.frame("PRESENCE", payload)

    def asks_for(self, other: "Person | str", **envelope: Any) -> Frame:
        return self.frame("PRESENCE", {"userId": other if isinstance(other, str) else other.id}, **envelope)

    def block(self, other: "Person | str", *, blocked: bool = True, **envelope: Any) -> Frame:
        whom = other if isinstance(other, str) else other.id
        return self.frame("BLOCK", {"userId": whom, "blocked": blocked}, **envelope)

    def ping(self, **envelope: Any) -> Frame:
        return self.frame("PING", **envelope)

    def account_delete(self) -> Frame:
        return self.signed(self.frame("ACCOUNT_DELETE", self.binding))
