"""Frames, whole and slightly spoilt, with the codec's judgement of each, to which another implementation must come."""

import json
import random
from collections.abc import Iterator
from typing import Any, Final

from phantom_messenger.wire import codec
from phantom_messenger.wire.canonical import canonical, parse_strictly
from phantom_messenger.wire.codes import RequestError

Judged = dict[str, Any]

_VALUES: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**53 - 1,
    2**53,
    2**64,
    "",
    "x",
    "AAAA",
    "AB==",
    "é\u2028\U0001f600",
    "\ud800",
    [],
    {},
    [[]],
    {"x": 1},
    [1, "x", None],
)
_NAMES: Final = ("more", "signature", "seq", "id", "senderId", "metadata", "__proto__", "type")
_NUMBERS: Final = ("-0", "1.0", "1e3", "0.1", "01", "1E400", "-1.5e-7", "123456789012345678901234567890", "NaN")
_TEXT: Final = '{}[],:" \t\n\\/u0009aAzZ+-=.eE\x00\x1f\x7f\xa0é\ufeff'


def judged(listed: Judged, seed: int, count: int) -> Iterator[Judged]:
    """So many texts, with what comes of each.

    Args:
        listed: the contents of ``canonical.json``.
        seed: of what is spoilt.
        count: how many.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    frames = list(_frames(listed))
    yield from (_judge(*one) for one in frames)
    for _ in range(count):
        sender, text = chance.choice(frames)
        for _ in range(chance.choice((1, 1, 1, 2))):
            text = chance.choice((_changed, _retyped, _numbered, _doubled, _scratched))(text, chance)
        yield _judge(sender, text)


def _frames(listed: Judged) -> Iterator[tuple[str, str]]:
    for frame in listed["frames"]:
        yield "client", frame["expect"]["sent"]
        yield "client", frame["text"]
        if frame["expect"]["passed_on"] is not None:
            yield "relay", frame["expect"]["passed_on"]["text"]
    user = json.loads(listed["frames"][0]["text"])["payload"]["userId"]
    for kind, payload in _RELAY_PAYLOADS.items():
        given = {name: user if value == "<user>" else value for name, value in payload.items()}
        yield "relay", json.dumps({"type": kind, "timestamp": 1, "id": "7", "payload": given})
    yield "client", json.dumps({"type": "PING", "timestamp": 1})
    yield "client", json.dumps({"type": "BLOCK", "timestamp": 1, "payload": {"userId": user, "blocked": True}})
    yield "client", json.dumps({"type": "PRESENCE", "timestamp": 1, "payload": {"status": "online"}})


_MESSAGE: Final = "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f"
_RELAY_PAYLOADS: Final[dict[str, Judged]] = {
    "AUTH_SUCCESS": {"serverTime": 1, "sessionId": "s", "features": ["suite2", ""]},
    "AUTH_FAILURE": {"code": 1002, "reason": "no", "details": {"reason": "audience", "more": [1, {"x": 0.5}]}},
    "PREKEY_STATUS": {"oneTimePreKeys": 1, "kemPreKeys": 2, "highestPreKeyId": 3, "signedPreKeyId": 4},
    "MESSAGE_ACK": {"messageId": _MESSAGE, "recipientId": "<user>", "status": "expired", "timestamp": 1},
    "PRESENCE": {"userId": "<user>", "status": "typing", "conversationId": "c d", "lastSeen": 1},
    "BLOCK": {"userId": "<user>", "blocked": False},
    "ERROR": {"code": 1003, "message": "no", "retryAfter": 5, "details": {"reason": "rate"}},
    "PONG": {},
}


def _judge(sender: str, text: str) -> Judged:
    try:
        found = _read(sender, text.encode("utf-8", "surrogatepass"))
    except RequestError:
        found = {"canonical": None, "signed": None}
    return {"from": sender, "text": text, **found}


def _read(sender: str, text: bytes) -> Judged:
    if sender == "client":
        decoded = codec.decode_client(text)
        return {"canonical": _canonical(codec.encode(decoded.frame)), "signed": decoded.signed_text.decode()}
    frame = codec.decode_relay(text)
    if frame is None:
        return {"canonical": "unknown", "signed": None}
    return {"canonical": _canonical(codec.encode(frame)), "signed": _canonical(codec.signed_text(frame))}


def _canonical(text: bytes) -> str:
    """The codec writes floats otherwise; they occur in the details of an error alone."""
    return canonical(parse_strictly(text)).decode()


# --- what is done to a text -----------------------------------------------------------


def _changed(text: str, chance: random.Random) -> str:
    """A member absent, added, or with another value."""
    try:
        whole = json.loads(text)
    except ValueError:
        return text
    objects = [one for one in _objects(whole) if one]
    if not objects:
        return text
    place = chance.choice(objects)
    name = chance.choice(list(place))
    match chance.randrange(4):
        case 0:
            del place[name]
        case 1:
            place[chance.choice(_NAMES)] = place[name]
        case 2 if isinstance(place[name], str) and place[name]:
            at = chance.randrange(len(place[name]))
            place[name] = place[name][:at] + chance.choice("Aa0+/=-_ é\n") + place[name][at + chance.randrange(2) :]
        case _:
            place[name] = chance.choice(_VALUES)
    return json.dumps(whole, ensure_ascii=chance.random() < 0.5, indent=chance.choice((None, None, 1)))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(inner)


def _retyped(text: str, chance: random.Random) -> str:
    """Another type."""
    kinds = ("MESSAGE", "MESSAGE_ACK", "PRESENCE", "PING", "PONG", "ERROR", "PUNG", "", "KEY_EXCHANGE_INIT")
    return text.replace("MESSAGE", chance.choice(kinds), 1)


def _numbered(text: str, chance: random.Random) -> str:
    """A number in another form."""
    places = [at for at, character in enumerate(text) if character.isdigit() and text[at - 1] in ": ,["]
    if not places:
        return text
    at = chance.choice(places)
    end = next((end for end in range(at, len(text)) if not text[end].isdigit()), len(text))
    return text[:at] + chance.choice(_NUMBERS) + text[end:]


def _doubled(text: str, chance: random.Random) -> str:
    """A member once more."""
    places = [at for at, character in enumerate(text) if character == "{"]
    name = chance.choice(("type", "payload", "timestamp", "burnAfterRead", "more", "\\u0074ype"))
    if not places:
        return text
    at = chance.choice(places) + 1
    # A type that is no text is refused even where another one, behind it, is not known.
    value = '"PONG"' if name.endswith("ype") else chance.choice(("1", "true", "{}"))
    comma = "," if not text[at:].lstrip().startswith("}") else ""
    return f'{text[:at]}"{name}":{value}{comma}{text[at:]}'


def _scratched(text: str, chance: random.Random) -> str:
    """A character absent, added, or another one."""
    at = chance.randrange(len(text) + 1)
    put: str = chance.choice(["", *_TEXT])
    return text[:at] + put + text[at + chance.randrange(2) :]
