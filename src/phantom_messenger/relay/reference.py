"""Clients that somebody wrote from the API reference alone, and how leniently they are read.

With ``--reference-clients on`` a login may come without a signature. Such a session, and no
other, is read here when the strict reading fails: numbers with fractions, ids of any form,
``null``, unknown members, base64 without padding; and its signatures may cover any of a few
texts that ``sign(payload)`` may mean.

None of this reaches a user who signs. A frame that the strict rules would refuse is *loose*;
it is passed on as its sender wrote it, to accounts that were made without a signature, and nowhere else.
"""

import base64
import binascii
import math
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct

from phantom_messenger.relay.ports import SignatureCheck, Verification
from phantom_messenger.relay.records import Item, ItemKind
from phantom_messenger.wire import codec, frames, signing
from phantom_messenger.wire.base64_text import decode_base64
from phantom_messenger.wire.canonical import canonical, parse_strictly
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.limits import MAX_USER_ID_BYTES, MIN_USER_ID_BYTES

MAX_LOOSE_ID_CHARS: Final = 128
"""How long an id may be that has another form than ours."""

MAX_DELIVERED: Final = 500
MAX_ASKED: Final = 100
"""Messages and key exchanges that a session remembers to have been sent; the oldest are forgotten first."""

MAX_MALFORMED: Final = 60
"""Malformed messages in a minute that close such a session: its wrong field is in every message."""

MAX_COMMAS: Final = 1_000
"""In a message that is read leniently: unknown members are free, but reading them takes the relay's time."""

PROPER: Final = 0
"""The reading of a signature that all others make: see ``_readings``."""

_PAYLOADS: Final[dict[str, type[Struct]]] = {
    "AUTH": frames.AuthPayload,
    "KEY_EXCHANGE_INIT": frames.KeyExchangeInitPayload,
    "KEY_EXCHANGE_RESPONSE": frames.KeyExchangeResponsePayload,
    "MESSAGE": frames.MessagePayload,
    "MESSAGE_ACK": frames.MessageAckPayload,
    "PRESENCE": frames.PresencePayload,
    "PING": frames.Empty,
}
"""What the reference lets a client send. All else, and above all what deletes or publishes, is read strictly."""

_SIGNED: Final = {"KEY_EXCHANGE_INIT", "KEY_EXCHANGE_RESPONSE", "MESSAGE"}
_BYTES: Final = {
    "encrypted",
    "ephemeralKey",
    "identityKey",
    "oneTimePreKey",
    "preKeySignature",
    "publicKey",
    "signature",
    "signedPreKey",
}
_IDS: Final[dict[str, tuple[Any, str]]] = {
    "conversationId": (frames.ConversationId, "-"),
    "id": (frames.EnvelopeId, "-"),
    "messageId": (frames.MessageId, "00000000-0000-4000-8000-000000000000"),
    **dict.fromkeys(("recipientId", "senderId", "targetId", "userId"), (frames.UserId, "A" * 43 + "=")),
}
"""Each id's form, and one of that form which stands in while the rest of a frame is read."""

_PROOF: Final = {"audience", "challenge"}
"""What makes the signature of an AUTH a proof; a login without them has none."""

_LENIENT: Final = {Reason.FIELD, Reason.BASE64}
_ENVELOPE: Final = {"id", "payload", "signature", "timestamp", "type"}
_PARTS: Final = msgspec.json.Decoder(dict[str, Raw])
_json: Final = msgspec.json.Encoder().encode

F = TypeVar("F")


class LooseFrame:
    """One signed message of a reference client, as it came.

    Args:
        text: the WebSocket message.
        session: of whom.
        is_proper: whether the strict reading took it.

    Raises:
        RequestError: it has no canonical form.
    """

    def __init__(self, text: bytes, session: "ReferenceMode", *, is_proper: bool) -> None:
        whole = parse_strictly(text)
        canonical(whole)  # before another parser, which would stumble over what has no such form
        self._envelope = _PARTS.decode(text)
        self._signed_texts = _readings(whole, self._envelope)
        self._session = session
        self._is_proper = is_proper

    @property
    def likely_text(self) -> bytes:
        """What the signature covers, if it is made as the last one was."""
        return self._signed_texts[self._session.reading]

    def judged(
        self, frame: frames.ClientFrame, check: SignatureCheck, verified: bool, verify: Verification
    ) -> tuple[bool, "LooseFrame | None"]:
        """Try the other readings of a signature, and of a prekey's.

        Args:
            frame: what was read from this.
            check: what has been tried.
            verified: whether that verified.
            verify: checks signatures; it is asked for nine at most.

        Returns:
            Whether a reading verified, and this letter if anything about it is loose.

        Raises:
            RequestError: ``PREKEY_SIGNATURE``.
        """
        key, signature, text = check
        if not verified:
            for reading, other in enumerate(self._signed_texts):
                if other != text and other not in self._signed_texts[:reading] and verify([(key, signature, other)])[0]:
                    self._session.reading, text, verified = reading, other, True
                    break
        is_proper = self._is_proper and self._session.has_proper_id and text == self._signed_texts[PROPER]
        return verified, None if verified and _has_proper_prekey(frame, key, verify) and is_proper else self

    def passed_on(self, sender: str) -> tuple[bytes, bytes]:
        """The text for a recipient around the number of ``seq``: the members of the payload as they were sent.

        Args:
            sender: its id is added to the payload as the last member, unless it stands there.
        """
        known = {name: bytes(part) for name, part in self._envelope.items() if name in _ENVELOPE}
        payload = {name: bytes(part) for name, part in _PARTS.decode(self._envelope["payload"]).items()}
        if "senderId" not in payload or msgspec.json.decode(payload["senderId"]) != sender:
            payload = {name: part for name, part in payload.items() if name != "senderId"} | {"senderId": _json(sender)}
        return _object({**known, "payload": _object(payload)})[:-1] + b',"seq":', b"}"

    @property
    def content(self) -> bytes:
        """What stands in a text of ``passed_on`` and differs if a message was encrypted again."""
        return _object({"encrypted": bytes(_PARTS.decode(self._envelope["payload"])["encrypted"])})[1:-1]


def _readings(whole: dict[str, Any], parts: dict[str, Raw]) -> list[bytes]:
    """What a signature may cover: ``PROPER``, then what ``sign(payload)`` may mean, with and without prefix.

    Args:
        whole: the envelope.
        parts: its members as they were sent.
    """
    sent = {name: bytes(part) for name, part in parts.items() if name != "signature"}
    envelope = canonical({name: value for name, value in whole.items() if name != "signature"})
    plain = [sent["payload"], canonical(whole["payload"]), _object(sent)]
    return [signing.envelope_bytes(envelope), *plain, envelope, *map(signing.envelope_bytes, plain)]


class ReferenceMode:
    """What a relay remembers of a connection that may be a reference client's."""

    def __init__(self) -> None:
        self.signs = False
        """Whether its login has a signature, and so is none."""
        self.reading = PROPER
        """The reading in which its last signature verified; tried first."""
        self.has_proper_id = False
        """Whether its user id is one by the strict rules."""
        self._delivered: dict[str, str] = {}
        self._asked: dict[str, None] = {}
        self._answered: str | None = None

    def read(self, text: bytes) -> tuple[codec.Decoded, LooseFrame | None]:
        """As ``codec.decode_client``, by more lenient rules where those refuse a form.

        Returns:
            The frame, and if it is one of the reference's that are signed, what it was made from.

        Raises:
            RequestError: it is none of the reference's messages, or not whole.
        """
        try:
            decoded, is_proper = codec.decode_client(text), True
        except RequestError as refused:
            if refused.reason not in _LENIENT or text.count(b",") > MAX_COMMAS:
                raise
            whole, is_proper = parse_strictly(text), False
            kind, payload = whole.get("type"), whole.get("payload")
            if kind not in _PAYLOADS or not isinstance(payload, dict | None):
                raise
            if kind == "AUTH" and whole.get("signature") is not None and _PROOF & (payload or {}).keys():
                self.signs = True
                raise
            decoded = codec.Decoded(_read_loosely(kind, whole, payload or {}), b"")
        frame = decoded.frame
        if isinstance(frame, frames.Auth):
            is_bound = frame.payload.challenge is not UNSET or frame.payload.audience is not UNSET
            self.signs = frame.signature is not UNSET and is_bound
            if not is_bound:  # the signature of a client that signs everything proves nothing
                decoded = codec.Decoded(msgspec.structs.replace(frame, signature=UNSET), decoded.signed_text)
        return decoded, LooseFrame(text, self, is_proper=is_proper) if frame.type in _SIGNED else None

    def pushed(self, item: Item) -> None:
        """An item of the mailbox was sent: the reference's answers do not say to whom they go."""
        if item.kind is ItemKind.MESSAGE:
            _remember(self._delivered, item.name, item.sender, MAX_DELIVERED)
        elif item.kind is ItemKind.KEY_EXCHANGE and item.name == "init":
            _remember(self._asked, item.sender, None, MAX_ASKED)

    def sender_of(self, message_id: str) -> str | None:
        """Who sent the message of this id that this session was given last."""
        return self._delivered.get(message_id)

    def answers(self, target: str) -> str | None:
        """Who is meant by a KEY_EXCHANGE_RESPONSE: ``target``, or if it names nobody, whose INIT has waited longest.

        Once all are answered it is the last of them again.
        """
        found = target or next(iter(self._asked), self._answered)
        if found in self._asked:
            del self._asked[found]
            self._answered = found
        return found


def _remember(memory: dict[str, F], name: str, value: F, most: int) -> None:
    memory.pop(name, None)
    memory[name] = value
    if len(memory) > most:
        del memory[next(iter(memory))]


def _has_proper_prekey(frame: frames.ClientFrame, identity: bytes, verify: Verification) -> bool:
    """Whether the prekey in a frame, if any, is signed by the strict rules, and not over its bytes or text alone."""
    if isinstance(frame, frames.KeyExchangeInit) and frame.payload.pre_key_bundle is not UNSET:
        key, mark = frame.payload.pre_key_bundle.signed_pre_key, frame.payload.pre_key_bundle.signature
    elif isinstance(frame, frames.KeyExchangeResponse):
        key, mark = frame.payload.signed_pre_key, frame.payload.pre_key_signature
    else:
        return True
    raw, signature = base64.b64decode(key), base64.b64decode(mark)
    verdicts = verify([(identity, signature, text) for text in (signing.signed_prekey_bytes(raw), raw, key.encode())])
    if not any(verdicts):
        raise RequestError(Reason.PREKEY_SIGNATURE)
    return verdicts[0]


def has_proper_form(user_id: str) -> bool:
    """Whether an id that nobody has proved is one by the strict rules: not of the length that only a key certifies."""
    return _is_user_id(user_id) and len(base64.b64decode(user_id)) != signing.CERTIFIED_BYTES


def _is_user_id(text: str) -> bool:
    raw = decode_base64(text)
    return raw is not None and MIN_USER_ID_BYTES <= len(raw) <= MAX_USER_ID_BYTES


# --- the lenient reading ----------------------------------------------------------


def _read_loosely(kind: str, whole: dict[str, Any], payload: dict[str, Any]) -> frames.ClientFrame:
    """Make the frame that was meant, by the strict reading of what is left when forms are repaired."""
    ids: dict[str, str] = {}
    envelope: dict[str, Any] = {"type": kind}
    if kind != "PING":
        envelope["payload"] = _repaired(_meant(kind, payload, ids), _PAYLOADS[kind], ids)
    names = ("timestamp", "id", "signature") if kind in _SIGNED else ("timestamp", "id")
    envelope |= {name: _form(name, whole[name], ids) for name in names if whole.get(name) is not None}
    return _with_ids(codec.decode_client(canonical(envelope)).frame, ids)


def _repaired(payload: dict[str, Any], kind: type[Struct], ids: dict[str, str]) -> dict[str, Any]:
    found = {}
    for field in msgspec.structs.fields(kind):
        value = payload.get(field.encode_name)
        if value is not None:
            found[field.encode_name] = _form(field.encode_name, value, ids)
    return found


def _form(name: str, value: Any, ids: dict[str, str]) -> Any:
    """A value in the form that the strict reading wants, if there is one."""
    if isinstance(value, str):
        if name in _BYTES:
            return _padded(value)
        if name in _IDS:
            return _held(name, value, ids)
    elif isinstance(value, float):
        return math.floor(value)
    elif isinstance(value, dict):
        if name == "preKeyBundle":
            return _repaired(value, frames.OfferedBundle, ids)
        if name == "metadata":
            return {key: _option(key, item) for key, item in value.items() if key not in _OPTIONS or item is not None}
    return value


_OPTIONS: Final = {"burnAfterRead", "expiresIn"}


def _option(name: str, value: Any) -> Any:
    return math.ceil(value) if name == "expiresIn" and isinstance(value, float) else value


def _padded(text: str) -> str:
    """Base64 as we write it, from base64 of the URL alphabet or without padding too."""
    plain = text.translate(_FROM_URL).rstrip("=")
    try:
        return base64.b64encode(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)).decode()
    except (binascii.Error, ValueError):
        return text


_FROM_URL: Final = str.maketrans("-_", "+/")


def _held(name: str, value: str, ids: dict[str, str]) -> str:
    form, other = _IDS[name]
    try:
        msgspec.convert(value, form)
        if form is not frames.UserId or _is_user_id(value):
            return value
    except msgspec.ValidationError:
        pass
    if not (value and len(value) <= MAX_LOOSE_ID_CHARS and value.isprintable()):
        raise RequestError(Reason.FIELD, field=name if name == "id" else f"payload.{name}")
    ids[name] = value
    return other


def _meant(kind: str, payload: dict[str, Any], ids: dict[str, str]) -> dict[str, Any]:
    """Leave out what a signed login alone needs, and find out who is meant by a response."""
    if kind == "AUTH":
        return {name: value for name, value in payload.items() if name not in _PROOF}
    if kind != "KEY_EXCHANGE_RESPONSE":
        return payload
    target = payload.get("targetId") or payload.get("recipientId")
    if not target:
        ids["targetId"] = ""
        target = _IDS["targetId"][1]
    return {**payload, "targetId": target}


def _with_ids(frame: frames.ClientFrame, ids: dict[str, str]) -> frames.ClientFrame:
    """Put the ids back that have a form of their own."""
    if not ids:
        return frame
    back: dict[str, Any] = {"id": ids["id"]} if "id" in ids else {}
    payload = getattr(frame, "payload", UNSET)
    if isinstance(payload, Struct):
        names = {field.encode_name: field.name for field in msgspec.structs.fields(payload)}
        changed = {names[name]: value for name, value in ids.items() if name in names}
        back["payload"] = msgspec.structs.replace(payload, **changed)
    return msgspec.structs.replace(frame, **back)


def _object(members: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(_json(name) + b":" + value for name, value in members.items()) + b"}"
