"""What a relay's frames may hold: every frame that arrives in any case is compared with these tables.

They are those of protocol/phantom.md, written a second time: a relay that sends something else is found by whichever
case meets it.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from phantom_messenger.conformance.wire import Frame, canonical

_MOST: Final = 2**53 - 1
_MUST, _MAY = True, False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _integer(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _bytes(least: int, most: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        try:
            raw = base64.b64decode(value, validate=True)
        except (TypeError, ValueError, binascii.Error):
            return False
        return least <= len(raw) <= most and base64.b64encode(raw).decode() == value

    return check


def _like(pattern: str) -> Callable[[Any], bool]:
    form = re.compile(pattern)
    return lambda value: isinstance(value, str) and form.fullmatch(value) is not None


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: value in words


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)


def _bool(value: Any) -> bool:
    return isinstance(value, bool)


_key, _signature, _user_id, _kem_key = _bytes(32, 32), _bytes(64, 64), _bytes(16, 64), _bytes(1184, 1184)


def _user_ids(value: Any) -> bool:
    return isinstance(value, list) and all(map(_user_id, value))


_any_base64 = _bytes(1, _MOST)
_uuid = _like(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_id = _like(r"[\x21-\x7e]{1,64}")
_conversation = _like(r"[\x20-\x7e]{1,128}")

Members = Mapping[str, tuple[bool, Callable[[Any], bool]]]

_LIMITS: Final[Members] = {
    "backlog": (_MUST, _integer),
    "encryptedChars": (_MUST, _integer),
    "messageBytes": (_MUST, _integer),
    "messagesPerMinute": (_MUST, lambda value: value is None or _integer(value)),
    "metadataBytes": (_MUST, _integer),
}
_BUNDLE: Final[Members] = {
    "oneTimePreKey": (_MAY, _key),
    "signature": (_MUST, _signature),
    "signedPreKey": (_MUST, _key),
}

_LAST_RESORT: Final[Members] = {"digest": (_MUST, _key), "id": (_MUST, _integer)}
_REFUSAL: Final[Members] = {
    "code": (_MUST, _integer),
    "reason": (_MUST, _text),
    "recipientId": (_MUST, _user_id),
    "retryAfter": (_MAY, _integer),
}


def _holds(members: Members) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and not _differences(value, members, "")


def _list_of(members: Members) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(_holds(members), value))


def _differences(value: Mapping[str, Any], members: Members, path: str) -> str:
    """What is wrong with the members of an object; '' if nothing is."""
    for name in sorted(value.keys() - members.keys()):
        return f"{path}{name} is unknown"
    for name, (is_needed, form) in members.items():
        if name not in value:
            if is_needed:
                return f"{path}{name} is missing"
        elif not form(value[name]):
            return f"{path}{name} is not of its form"
    return ""


_RESPONSE: Final[Members] = {
    "bundleSignature": (_MAY, _signature),
    "deviceList": (_MAY, _bytes(1, 2_048)),
    "identityKey": (_MUST, _key),
    "kemPreKey": (_MAY, _kem_key),
    "kemPreKeyId": (_MAY, _integer),
    "kemPreKeySignature": (_MAY, _signature),
    "lastResortKemPreKey": (_MAY, _holds(_LAST_RESORT)),
    "madeAt": (_MAY, _integer),
    "oneTimePreKey": (_MAY, _key),
    "oneTimePreKeyId": (_MAY, _integer),
    "preKeySignature": (_MUST, _signature),
    "senderId": (_MUST, _user_id),
    "signedPreKey": (_MUST, _key),
    "signedPreKeyId": (_MAY, _integer),
    "targetId": (_MAY, _user_id),
}


PAYLOADS: Final[Mapping[str, Members]] = {
    "CONNECTION_ACK": {
        "challenge": (_MUST, _key),
        "connectionId": (_MUST, _text),
        "limits": (_MUST, _holds(_LIMITS)),
        "protocolVersion": (_MUST, _integer),
        "serverName": (_MUST, _text),
        "serverTime": (_MUST, _integer),
        "unsignedAuth": (_MAY, _bool),
    },
    "AUTH_SUCCESS": {"features": (_MAY, _words), "serverTime": (_MUST, _integer), "sessionId": (_MUST, _text)},
    "AUTH_FAILURE": {
        "code": (_MUST, lambda value: value in (1001, 1002, 1003)),
        "details": (_MUST, _object),
        "reason": (_MUST, _text),
        "retryAfter": (_MAY, _integer),
    },
    "PREKEY_STATUS": {
        "highestPreKeyId": (_MAY, _integer),
        "kemPreKeys": (_MUST, _integer),
        "lastResortKemPreKeyId": (_MAY, _integer),
        "oneTimePreKeys": (_MUST, _integer),
        "signedPreKeyId": (_MAY, _integer),
    },
    "KEY_EXCHANGE_INIT": {
        "ephemeralKey": (_MUST, _key),
        "identityKey": (_MUST, _key),
        "preKeyBundle": (_MAY, _holds(_BUNDLE)),
        "senderId": (_MUST, _user_id),
        "targetId": (_MUST, _user_id),
    },
    "KEY_EXCHANGE_RESPONSE": _RESPONSE,
    "MANY_RESULT": {
        "accepted": (_MUST, _integer),
        "messageId": (_MUST, _uuid),
        "refused": (_MUST, _list_of(_REFUSAL)),
    },
    "PREKEY_BUNDLES": {"bundles": (_MUST, _list_of(_RESPONSE)), "missing": (_MUST, _user_ids)},
    "MESSAGE": {
        "conversationId": (_MUST, _conversation),
        "encrypted": (_MUST, _any_base64),
        "messageId": (_MUST, _uuid),
        "metadata": (_MAY, _object),
        "recipientId": (_MUST, _user_id),
        "senderId": (_MUST, _user_id),
    },
    "MESSAGE_ACK": {
        "messageId": (_MUST, _uuid),
        "recipientId": (_MUST, _user_id),
        "status": (_MUST, _one_of("accepted", "delivered", "read", "burned", "expired")),
        "timestamp": (_MUST, _integer),
    },
    "PRESENCE": {
        "conversationId": (_MAY, _conversation),
        "lastSeen": (_MAY, _integer),
        "status": (_MUST, _one_of("online", "typing", "idle", "offline")),
        "userId": (_MUST, _user_id),
    },
    "BLOCK": {"blocked": (_MUST, _bool), "userId": (_MUST, _user_id)},
    "ALLOWANCE": {
        "expiresIn": (_MUST, _integer),
        "messages": (_MUST, _integer),
        "recipientId": (_MAY, _user_id),
        "senderId": (_MAY, _user_id),
    },
    "ERROR": {
        "code": (_MUST, lambda value: value in range(1001, 1008)),
        "details": (_MUST, _object),
        "message": (_MUST, _text),
        "retryAfter": (_MAY, _integer),
    },
    "PONG": {},
}
"""The payload of each type that a relay sends."""

_SIGNED: Final = {"KEY_EXCHANGE_INIT": _MUST, "MESSAGE": _MUST, "KEY_EXCHANGE_RESPONSE": _MAY}
_NUMBERED: Final = {
    "MESSAGE": _MUST,
    "KEY_EXCHANGE_INIT": _MAY,
    "KEY_EXCHANGE_RESPONSE": _MAY,
    "MESSAGE_ACK": _MAY,
}

_UNSIGNED_TEXT: Final = (
    r"Sign the AUTH message: Ed25519 over 'phantom/1 envelope\n' and its canonical JSON "
    "with the challenge of CONNECTION_ACK and the audience."
)

REASONS: Final[Mapping[str, tuple[int, str]]] = {
    "json": (1001, "Not a valid JSON object."),
    "duplicate-name": (1001, "A JSON object names one field twice."),
    "too-deep": (1001, "JSON is nested deeper than 8 levels."),
    "number": (1001, "A number lies beyond what JSON can carry exactly."),
    "binary": (1001, "Send JSON in text messages, not binary ones."),
    "type": (1001, "Unknown or missing message type."),
    "field": (1001, "A field is missing, unknown or of the wrong form."),
    "base64": (1001, "A field is not canonical base64."),
    "clock": (1001, "The timestamp is more than 5 minutes from the relay's clock."),
    "outdated": (1001, "Prekeys of a later date are stored."),
    "order": (1001, "This revision is not the next one."),
    "not-authenticated": (1002, "Authenticate first."),
    "already-authenticated": (1002, "This connection is authenticated already."),
    "signature": (1002, "The signature does not verify."),
    "unsigned": (1002, _UNSIGNED_TEXT),
    "challenge": (1002, "The challenge is not the one of this connection."),
    "audience": (1002, "The audience is not a name of this relay."),
    "identity": (1002, "This user id belongs to another key."),
    "writer": (1002, "The sender may not write the next revision."),
    "rate": (1003, "Rate limited"),
    "backlog": (1003, "The recipient's mailbox is full."),
    "quota": (1003, "Too much was stored from this address in a day; send it again later."),
    "overload": (1003, "More comes than the relay can carry; send it again later."),
    "user": (1004, "No such user."),
    "key": (1005, "A public key is not usable."),
    "prekey-signature": (1005, "A prekey's signature does not verify."),
    "prekey-full": (1005, "More one-time prekeys than the relay keeps."),
    "replayed": (1005, "This key exchange was seen before."),
    "message-size": (1006, "A message may have 65,536 bytes."),
    "encrypted-size": (1006, "'encrypted' may have 61,440 characters."),
    "metadata-size": (1006, "'metadata' may have 1,024 bytes."),
    "many-size": (1006, "All 'encrypted' together may have 2,097,152 characters."),
    "storage": (1007, "The relay cannot store messages now; send it again later."),
    "internal": (1007, "The relay failed; send it again later."),
}
"""Code and fixed text of each ``details.reason``."""

_WITH_LIMIT: Final = {"message-size": 65_536, "encrypted-size": 61_440, "metadata-size": 1_024, "many-size": 2_097_152}
_UNAUTHORIZED: Final = 1002
_LOGIN_CODES: Final = {1001, 1002, 1003}


def read(text: bytes, *, takes_loose: bool = False) -> tuple[Frame, str]:
    """A relay's frame, and what is wrong with it: one of the two is empty, or both if its type is unknown.

    Args:
        text: of a message.
        takes_loose: whether the relay passes on what clients of the reference alone have written, as they have.
    """
    try:
        frame = json.loads(text)
        written = canonical(frame)
    except (ValueError, RecursionError):
        return {}, "the relay has sent what is not JSON"
    if not isinstance(frame, dict) or not isinstance(frame.get("type"), str):
        return {}, "the relay has sent what is not a JSON object with a type"
    kind = frame["type"]
    if kind not in PAYLOADS:
        return {}, ""  # clients ignore what they do not know
    problem = _problem(frame, takes_loose=takes_loose)
    if not problem and written != text:
        # Those are passed on as their senders wrote them.
        is_anybodys = "metadata" in frame.get("payload", {}) or (takes_loose and "signature" in frame)
        problem = "" if is_anybodys else "it is not canonical JSON"
    return (frame, "") if not problem else ({}, f"the relay's {kind} breaks the rules of its form: {problem}")


def _problem(frame: Frame, *, takes_loose: bool) -> str:
    kind = frame["type"]
    members: dict[str, tuple[bool, Callable[[Any], bool]]] = {
        "type": (_MUST, _text),
        "timestamp": (_MUST, _integer),
        "payload": (kind != "PONG", _object),
    }
    if kind != "CONNECTION_ACK":
        members["id"] = (_MAY, _id)
    if kind in _SIGNED:
        members["signature"] = (_SIGNED[kind], _signature)
    if kind in _NUMBERED:
        members["seq"] = (_NUMBERED[kind], _integer)
    found = frame.get("payload", {})
    return (
        _differences(frame, members, "")
        or _differences(found, PAYLOADS[kind], "payload.")
        or (_error_problem(found) if kind in {"ERROR", "AUTH_FAILURE"} else "")
        or _pairing_problem(kind, found, takes_loose=takes_loose)
    )


def _pairing_problem(kind: str, payload: Mapping[str, Any], *, takes_loose: bool) -> str:
    """Members that stand together or not at all."""
    if kind == "PRESENCE":
        is_typing = payload["status"] == "typing"
        if ("conversationId" in payload) != is_typing and not (takes_loose and is_typing):
            return "conversationId goes with typing"
        if "lastSeen" in payload and (payload["status"] != "offline" or payload["lastSeen"] % 60_000):
            return "lastSeen goes with offline, and is a full minute"
    if kind == "KEY_EXCHANGE_RESPONSE":
        for one, other in (("kemPreKey", "kemPreKeySignature"), ("madeAt", "bundleSignature")):
            if (one in payload) != (other in payload):
                return f"{one} goes with {other}"
    return ""


def _error_problem(payload: Mapping[str, Any]) -> str:
    """Whether code, text and reason of an error belong together."""
    reason = payload["details"].get("reason")
    if not isinstance(reason, str) or reason not in REASONS:
        return f"details.reason is {reason!r}, which is none of the protocol's"
    code, text = REASONS[reason]
    if "reason" in payload:  # AUTH_FAILURE
        code = code if code in _LOGIN_CODES else _UNAUTHORIZED
    if payload["code"] != code:
        return f"the code of {reason} is {code}, and not {payload['code']}"
    if payload.get("message", payload.get("reason")) != text:
        return f"the text of {reason} is another one"
    if reason in _WITH_LIMIT and payload["details"].get("limit") != _WITH_LIMIT[reason]:
        return f"details.limit of {reason} is {_WITH_LIMIT[reason]}"
    if reason == "clock" and not _integer(payload["details"].get("serverTime")):
        return "details.serverTime of clock is missing"
    if code == 1003 and "retryAfter" not in payload:  # noqa: PLR2004 - RATE_LIMITED
        return f"retryAfter of {reason} is missing"
    return ""
