"""Duplicate names are found by counting commas; the oracle is the strict parser, on texts as other programs write."""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
import wire_samples as samples

from phantom_messenger.wire import codec
from phantom_messenger.wire.canonical import parse_strictly
from phantom_messenger.wire.codes import Reason, RequestError
from support.amounts import amount

COMMAS: Final = {"id": "m,1", "conversationId": "a, b, c", "audience": "relay.example,com:1,2"}
"""Values with commas, which an escape can hide from the counting."""


def refusal(read: Callable[[bytes], object], text: bytes) -> Reason | None:
    """Why a text is refused, None if it is read."""
    try:
        read(text)
    except RequestError as refused:
        return refused.reason
    return None


class Writer:
    """Writes JSON as no two programs do: any order, white space, escapes, and now and then a name twice."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - to be repeated
        self.has_doubled = False
        self._doubles = self._random.random() < 0.5
        self._escapes = self._random.random() < 0.5

    def write(self, value: Any) -> str:
        if isinstance(value, dict):
            members = [(name, self.write(item)) for name, item in value.items()]
            self._random.shuffle(members)
            if members and self._doubles and self._random.random() < 0.3:
                self.has_doubled = True
                name, item = self._random.choice(members)
                other = self._random.choice([*[item] * 9, "null", "7", '"x,y"', "[1,2]", '{"a":1,"b":2}'])
                members.insert(self._random.randrange(len(members) + 1), (name, other))
            return "{" + ",".join(f"{self.text(name)}{self.gap()}:{item}" for name, item in members) + "}"
        if isinstance(value, list):
            return "[" + f",{self.gap()}".join(map(self.write, value)) + "]"
        return self.gap() + (self.text(value) if isinstance(value, str) else json.dumps(value))

    def text(self, value: str) -> str:
        return '"' + "".join(map(self.character, value)) + '"'

    def character(self, one: str) -> str:
        if self._escapes and (one == "," or self._random.random() < 0.05):
            return f"\\u{ord(one):04x}"
        return json.dumps(one, ensure_ascii=False)[1:-1]

    def gap(self) -> str:
        return self._random.choice(["", "", "", " ", "\n\t", "\r"])


def texts(count: int) -> Iterator[tuple[bytes, bool]]:
    """Texts of clients' frames, and whether a name stands twice in each; some have a byte changed."""
    frames = [samples.as_json(frame) for rows in (samples.FULL_CLIENT, samples.LEAST_CLIENT) for frame in rows.values()]
    for frame in frames:
        for part in (frame, frame.get("payload") or {}):
            part.update({name: value for name, value in COMMAS.items() if name in part})
    frames = [frame for frame in frames if len(json.dumps(frame)) < 2_000]
    for seed in range(count):
        writer, choose = Writer(seed), random.Random(-seed)  # noqa: S311
        text = writer.write(choose.choice(frames)).encode()
        if choose.random() < 0.1:
            at = choose.randrange(len(text))
            text = text[:at] + bytes([choose.choice(b'\x00\n\\",:{}[]\xff0')]) + text[at + 1 :]
            yield text, False
        else:
            yield text, writer.has_doubled


def disagreements(count: int) -> Iterator[bytes]:
    """Texts on which the counting and the strict parser differ."""
    for text, _ in texts(count):
        strictly, quickly = refusal(parse_strictly, text), refusal(codec.decode_client, text)
        if (strictly and not quickly) or (quickly is Reason.DUPLICATE_NAME and strictly is not quickly):
            yield text


def test_counting_and_the_strict_parser_agree() -> None:
    assert next(disagreements(amount(3_000, 120_000)), None) is None


def test_what_is_generated_is_read_unless_a_name_stands_twice() -> None:
    """The oracle's own oracle: frames in any form are accepted, and those with a name twice are many."""
    whole = [
        (text, doubled) for text, doubled in texts(500) if refusal(parse_strictly, text) in {None, "duplicate-name"}
    ]
    reasons = [(refusal(codec.decode_client, text), doubled) for text, doubled in whole]
    assert sum(reason is None for reason, _ in reasons) > 150
    assert sum(reason is Reason.DUPLICATE_NAME for reason, _ in reasons) > 50
    assert all(refusal(parse_strictly, text) is Reason.DUPLICATE_NAME for text, doubled in whole if doubled)


def test_unsorted_text_is_not_parsed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a browser sends: its own order of members, no escapes."""
    monkeypatch.setattr(codec, "parse_strictly", lambda _: pytest.fail("parsed again"))
    for name, frame in samples.FULL_CLIENT.items():
        value = dict(reversed(samples.as_json(frame).items()))
        if name not in {"MESSAGE", "MESSAGE_MANY"}:  # its metadata is made canonical
            codec.decode_client(json.dumps(value).encode())


@pytest.mark.parametrize("broken", ["nothing is counted", "escapes are overlooked", "one name twice is let through"])
def test_control_broken_counting_is_caught(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def check(_: object, text: bytes, written: bytes) -> None:
        most = {"nothing is counted": 1 << 30, "escapes are overlooked": 0, "one name twice is let through": 1}[broken]
        if text.count(b",") > written.count(b",") + most:
            raise RequestError(Reason.DUPLICATE_NAME)
        if broken == "one name twice is let through" and b"\\" in text:
            parse_strictly(text)

    monkeypatch.setattr(codec, "_check_names", check)
    assert next(disagreements(2_000), None)
