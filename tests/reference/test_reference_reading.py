"""The lenient reader against whatever comes: it answers or refuses, and what it passes on is one JSON object."""

import base64
import copy
import json
import random
from typing import Any, Final

import pytest

from phantom_messenger.relay.records import Item, ItemKind
from phantom_messenger.relay.reference import MAX_ASKED, MAX_COMMAS, MAX_DELIVERED, ReferenceMode
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import RequestError
from support.letter import stringify
from support.people import Frame, base64_text, kem_key_text, key_text

SIGNATURE: Final = base64_text(bytes(range(64)))
KEY: Final = key_text("a key")
SAMPLES: Final[list[Frame]] = [
    {"type": "AUTH", "payload": {"userId": "YWxpY2U=", "publicKey": KEY}, "timestamp": 1.5},
    {
        "type": "KEY_EXCHANGE_INIT",
        "payload": {
            "targetId": "bob",
            "identityKey": KEY,
            "ephemeralKey": KEY,
            "preKeyBundle": {"signedPreKey": KEY, "signature": SIGNATURE, "oneTimePreKey": None},
        },
        "timestamp": 1,
        "signature": SIGNATURE,
    },
    {
        "type": "KEY_EXCHANGE_RESPONSE",
        "payload": {
            "senderId": "bob",
            "identityKey": KEY,
            "signedPreKey": KEY,
            "preKeySignature": SIGNATURE,
            "kemPreKey": kem_key_text("kem"),
            "kemPreKeySignature": SIGNATURE,
        },
        "timestamp": 1,
        "signature": SIGNATURE,
    },
    {
        "type": "MESSAGE",
        "payload": {
            "recipientId": "bob",
            "encrypted": "AA",
            "messageId": "m",
            "conversationId": "c",
            "metadata": {"expiresIn": 2.5, "burnAfterRead": None, "colour": [1, {"a": 1e-7}]},
        },
        "timestamp": 1,
        "id": "ü",
        "signature": SIGNATURE,
    },
    {"type": "MESSAGE_ACK", "payload": {"messageId": "m", "status": "read", "timestamp": 1.5}, "timestamp": 1},
    {"type": "PRESENCE", "payload": {"status": "typing", "userId": "x"}, "timestamp": 1},
    {"type": "PING", "timestamp": 0.5, "payload": {}},
]
VALUES: Final[list[Any]] = [
    None, True, 0, -1, 1.5, 1e300, 2**53, 2**70, "", "a", "\ud800", "\u0000", "é" * 200, [], {}, [[]], {"a": {"b": []}},
    {"senderId": 1}, "AA==", "_-_-", KEY, SIGNATURE, "MESSAGE", "AUTH", "A" * 2_000,
]  # fmt: skip
COUNT: Final = 6_000


def changed(sample: Frame, chance: random.Random) -> str:
    """A message with a few members set, removed or doubled somewhere, or a few bytes changed."""
    found = json.loads(json.dumps(sample))
    for _ in range(chance.randint(1, 3)):
        part = found
        while isinstance(inner := part.get(chance.choice([*part, ""])), dict) and chance.random() < 0.7:
            part = inner
        names = [*part, "senderId", "signature", "id", "x", "\ud800"]
        if chance.random() < 0.2 and part:
            del part[chance.choice(list(part))]
        else:
            part[chance.choice(names)] = copy.deepcopy(chance.choice(VALUES))
    text = json.dumps(found, separators=chance.choice([(",", ":"), (", ", ": ")]))
    if chance.random() < 0.2:
        place = chance.randrange(len(text))
        text = text[:place] + chance.choice(['"', "}", "{", ",", "9", "\\", "null", " "]) + text[place + 1 :]
    return text


def test_reader_answers_or_refuses_whatever_comes() -> None:
    read = dict.fromkeys(frames.CLIENT_FRAMES, 0)
    for seed in range(COUNT):
        chance = random.Random(seed)  # noqa: S311 - the same in every run
        text = changed(SAMPLES[seed % len(SAMPLES)], chance)
        try:
            decoded, letter = ReferenceMode().read(text.encode("utf-8", "surrogatepass"))
        except RequestError:
            continue
        read[decoded.frame.type] += 1
        assert isinstance(decoded.frame.timestamp, int)
        if letter is None:
            continue
        assert letter.likely_text.startswith(b"phantom/1 envelope\n{")
        head, tail = letter.passed_on('who "ever"')
        passed_on = json.loads(head + b"17" + tail)
        assert passed_on["payload"]["senderId"] == 'who "ever"'
        assert passed_on["seq"] == 17
        assert sorted(passed_on["payload"]) == sorted({*json.loads(text)["payload"], "senderId"})
        if isinstance(decoded.frame, frames.Message):
            assert letter.content in head
    assert min(read[sample["type"]] for sample in SAMPLES) > COUNT // 100, read


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["type"])
def test_sample_is_read(sample: Frame) -> None:
    decoded, _ = ReferenceMode().read(stringify(sample))
    assert decoded.frame.type == sample["type"]


def test_numbers_are_rounded_so_that_nothing_lives_shorter() -> None:
    decoded, _ = ReferenceMode().read(stringify(SAMPLES[3] | {"timestamp": 7.9}))
    assert isinstance(decoded.frame, frames.Message)
    assert (decoded.frame.timestamp, decoded.frame.payload.options.expires_in) == (7, 3)


@pytest.mark.parametrize("length", [1, 2, 3, 31, 32, 33])
def test_base64_without_padding_and_of_the_url_alphabet_means_the_same_bytes(length: int) -> None:
    raw = bytes(range(256 - length, 256))
    for text in (base64.urlsafe_b64encode(raw).decode().rstrip("="), base64_text(raw).rstrip("="), base64_text(raw)):
        sample = json.loads(json.dumps(SAMPLES[3]))
        sample["payload"]["encrypted"] = text
        frame = ReferenceMode().read(stringify(sample))[0].frame
        assert isinstance(frame, frames.Message)
        assert frame.payload.encrypted == base64_text(raw)


@pytest.mark.parametrize("count", [900, 1_100])
def test_unknown_members_are_free_but_not_without_measure(count: int) -> None:
    text = stringify(SAMPLES[3] | {"unknown": [1.5] * count})
    if count < MAX_COMMAS:
        assert ReferenceMode().read(text)
    else:
        with pytest.raises(RequestError):
            ReferenceMode().read(text)


def test_memory_of_a_session_is_bounded_and_keeps_the_newest() -> None:
    session = ReferenceMode()
    for number in range(2 * MAX_DELIVERED):
        session.pushed(Item(number, ItemKind.MESSAGE, f"sender {number}", f"m {number}", b""))
        session.pushed(Item(number, ItemKind.KEY_EXCHANGE, f"asker {number}", "init", b""))
    known = [number for number in range(2 * MAX_DELIVERED) if session.sender_of(f"m {number}")]
    assert known == list(range(MAX_DELIVERED, 2 * MAX_DELIVERED))
    assert session.answers("") == f"asker {2 * MAX_DELIVERED - MAX_ASKED}"
