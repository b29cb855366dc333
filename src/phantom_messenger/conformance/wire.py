"""The kit's own reading of the wire: canonical JSON, signatures, WebSocket frames.

Nothing here is shared with the relay or the SDK: a mistake of theirs must not be made a second time by who judges them.
"""

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.bindings import crypto_scalarmult_base, crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

ENVELOPE: Final = b"phantom/1 envelope\n"
SIGNED_PREKEY: Final = b"phantom/1 signed-prekey\n"
KEM_PREKEY: Final = b"phantom/1 kem-prekey\n"
PREKEY_BUNDLE: Final = b"phantom/1 prekey-bundle 2\n"
USER_ID: Final = b"phantom/1 user-id\n"

SIGNATURE_BYTES: Final = 64
SIGNED: Final = frozenset(
    {
        "AUTH",
        "ACCOUNT_DELETE",
        "KEY_EXCHANGE_INIT",
        "KEY_EXCHANGE_RESPONSE",
        "PREKEY_PUBLISH",
        "MESSAGE",
        "MESSAGE_MANY",
    }
)
"""Frames that a client signs."""

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN: Final = 0x80
_MASKED: Final = 0x80
_SHORT: Final = 126
_SHOWN: Final = 300

Frame = dict[str, Any]


def canonical(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of what the kit writes: integers, and names within the Basic Multilingual Plane."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def show(frame: Mapping[str, Any]) -> str:
    """A frame, for a sentence; long ones are cut."""
    text = canonical(dict(frame)).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def base64_text(raw: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(raw).decode()


def random_text(size: int) -> str:
    """So many random bytes in base64."""
    return base64_text(os.urandom(size))


def new_uuid() -> str:
    """A new message id."""
    return str(uuid.uuid4())


def ws_frame(opcode: int, payload: bytes = b"", *, first: int = FIN, is_masked: bool = True) -> bytes:
    """A WebSocket frame (RFC 6455 section 5.2).

    Args:
        opcode: of the frame.
        payload: what it carries.
        first: the bits beside the opcode: FIN, and those that are reserved.
        is_masked: a client's frames are.
    """
    size = len(payload)
    bit = _MASKED if is_masked else 0
    if size < _SHORT:
        head = bytes((first | opcode, bit | size))
    elif size < 1 << 16:
        head = bytes((first | opcode, bit | _SHORT)) + size.to_bytes(2, "big")
    else:
        head = bytes((first | opcode, bit | (_SHORT + 1))) + size.to_bytes(8, "big")
    return head + bytes(4) + payload if is_masked else head + payload  # a mask of zeros leaves it as it is


class Identity:
    """A user's keys, made for one run.

    Args:
        user_id: a claimed id; the certified one if there is none.
        seed: the 32 bytes that the keys are made of; random ones if there are none.
    """

    def __init__(self, user_id: str = "", *, seed: bytes | None = None) -> None:
        self.public, self._secret = crypto_sign_seed_keypair(seed or os.urandom(32))
        self.public_text = base64_text(self.public)
        self.id = user_id or base64_text(hashlib.sha256(USER_ID + self.public).digest())

    def __repr__(self) -> str:
        return f"Identity({self.id!r})"

    def sign(self, message: bytes) -> str:
        """The signature of these bytes, in base64."""
        return base64_text(crypto_sign(message, self._secret)[:SIGNATURE_BYTES])

    def signed(self, frame: Frame) -> Frame:
        """The frame with its signature."""
        return {**frame, "signature": self.sign(ENVELOPE + canonical(frame))}

    def signed_prekey(self, number: int) -> Frame:
        """A new X25519 prekey with its signature."""
        key = new_x25519()
        return {"id": number, "key": base64_text(key), "signature": self.sign(SIGNED_PREKEY + key)}

    def kem_prekey(self, number: int) -> Frame:
        """A new ML-KEM prekey with its signature."""
        key = new_kem()
        return {"id": number, "key": base64_text(key), "signature": self.sign(KEM_PREKEY + key)}

    def dated(self, publication: Frame, made_at: int) -> Frame:
        """The payload of a PREKEY_PUBLISH with its date, and the signature over that and the prekeys that last."""
        signed, last = publication["signedPreKey"], publication["lastResortKemPreKey"]
        user_id = base64.b64decode(self.id)
        parts = [
            made_at.to_bytes(8, "big"),
            signed["id"].to_bytes(4, "big"),
            base64.b64decode(signed["key"]),
            last["id"].to_bytes(4, "big"),
            hashlib.sha256(base64.b64decode(last["key"])).digest(),
            len(user_id).to_bytes(2, "big"),
            user_id,
        ]
        return {**publication, "madeAt": made_at, "bundleSignature": self.sign(PREKEY_BUNDLE + b"".join(parts))}


def new_x25519() -> bytes:
    """The public half of a new X25519 key."""
    return crypto_scalarmult_base(os.urandom(32))


def new_kem() -> bytes:
    """The public half of a new ML-KEM-768 key."""
    return MLKEM768PrivateKey.generate().public_key().public_bytes_raw()


def verifies(public: bytes, frame: Mapping[str, Any]) -> bool:
    """Whether a forwarded frame still has its sender's signature: without ``senderId``, ``seq`` and ``signature``."""
    payload = {name: value for name, value in frame["payload"].items() if name != "senderId"}
    signed = {name: value for name, value in frame.items() if name not in {"seq", "signature"}}
    try:
        signature = base64.b64decode(frame["signature"])
        crypto_sign_open(signature + ENVELOPE + canonical({**signed, "payload": payload}), public)
    except (BadSignatureError, ValueError, KeyError):
        return False
    return True
