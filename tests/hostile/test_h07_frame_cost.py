"""Frames that are made to be slow to read: what one costs, counted in instructions of the interpreter and not timed."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from phantom_messenger.relay import relay
from phantom_messenger.relay.rules import REFUSED
from phantom_messenger.wire import codec
from phantom_messenger.wire.frames import CLIENT_FRAMES
from phantom_messenger.wire.limits import MAX_EARLY_BYTES, MAX_MESSAGE_BYTES, MAX_RECIPIENTS
from support.costs import instructions
from support.people import Person, base64_text, canonical
from support.simulated import World

EARLY: Final = 12_000
LATE: Final = 40_000
"""Instructions: half a millisecond, and a whole one."""


def _filled(unit: str, before: str, behind: str, size: int) -> str:
    return before + unit * ((size - len(before) - len(behind)) // len(unit)) + behind


METADATA: Final[dict[str, Callable[[int], str]]] = {
    "objects": lambda size: _filled(",{}", '{"a":[{}', "]}", size),
    "arrays": lambda size: _filled(",[]", '{"a":[[]', "]}", size),
    "floats": lambda size: _filled(",1e-7", '{"a":[1.5', "]}", size),
    "integers": lambda size: _filled(",1", '{"a":[1', "]}", size),
    "texts": lambda size: _filled(',""', '{"a":[""', "]}", size),
    "doubles": lambda size: _filled(',"a":1', '{"a":1', "}", size),
    "names": lambda size: "{" + ",".join(f'"{number}":1' for number in range(size // 9)) + "}",
    "escapes": lambda size: _filled("\\u0041", '{"a":"', '"}', size),
    "quotes": lambda size: _filled('\\"', '{"a":"', '"}', size),
    "depth": lambda size: '{"a":' + "[" * (size // 2 - 8) + "]" * (size // 2 - 8) + "}",
    "depth within bounds": lambda size: _filled(",[[[[]]]]", '{"a":[[]', "]}", size),
    "white space": lambda size: _filled(" ", "{", "}", size),
}


def slow_frames(person: Person, size: int) -> Iterator[tuple[str, bytes]]:
    """Frames of every type that fill so many bytes, each with its name."""
    message = {**person.message(person)}
    message["payload"] = {**message["payload"], "metadata": "@"}
    plain = json.dumps(message)
    for room in (size - len(plain), 6_000):  # as much as there is room for, and what is still parsed
        for name, make in METADATA.items():
            if room <= size - len(plain):
                yield f"metadata of {room} bytes: {name}", plain.replace('"@"', make(room)).encode()
    for kind in CLIENT_FRAMES:
        frame = canonical({**message, "type": kind, "payload": {}})
        pad = size - len(frame) - 20
        yield f"{kind}: white space", frame[:1] + b" " * pad + frame[1:]
        yield f"{kind}: unknown members", frame[:-1] + b',"z":[' + b"{}," * (pad // 3) + b"{}]}"
        yield f"{kind}: a long id", frame[:-1] + b',"id":"' + b"\\u0041" * (pad // 6) + b'"}'
        yield f"{kind}: payload of objects", frame.replace(b"{}", b'{"a":[' + b"{}," * (pad // 3) + b"{}]}", 1)
        yield f"{kind}: payload of texts", frame.replace(b"{}", b'{"userId":"' + b"A" * pad + b'"}', 1)
    greeting = {"payload": {"challenge": base64_text(bytes(32))}}
    for whole in (
        person.auth(greeting, "relay.test"),
        person.message(person),
        person.presence("online"),
        person.ping(),
        person.publish(range(1, 3)),
    ):
        frame = canonical(whole)
        pad = size - len(frame)
        yield f"{whole['type']}: doubles", frame[:-1] + b',"timestamp":1' * (pad // 14) + b"}"
        yield f"{whole['type']}: white space within", frame[:-1] + b" " * pad + b"}"
    people = [base64_text(number.to_bytes(16)) for number in range(MAX_RECIPIENTS)]
    many = canonical(person.message_many(people, heads=["QUJD"] * MAX_RECIPIENTS))
    yield "MESSAGE_MANY: 200 recipients", many[:size] if size < len(many) else many
    yield "PREKEY_FETCH: the same target", canonical(person.fetch(*people[:1] * (size // 40)))[:size]
    for name, start in {"type": b'{"type":[', "id": b'{"type":"PING","id":['}.items():
        yield f"{name} of objects", start + b"{}," * ((size - 40) // 3) + b"{}]}"
    yield "brackets", b"[" * size
    publish = person.publish(one_time=range(1, 30), kem=[] if size < MAX_MESSAGE_BYTES else range(1, 16))
    yield "keys, indented", json.dumps(publish, indent=1).encode()[:size]


def most(world: World, size: int, *, logged_in: bool) -> tuple[float, str]:
    """The most instructions that reading one of them takes, and which it is."""
    person, found = world.person("somebody"), []
    for name, text in slow_frames(person, size):
        assert len(text) <= size, name
        client = world.login(person, features=["many"]) if logged_in else world.connect(person)
        found.append((instructions(lambda client=client, text=text: client.put(text)), name))  # type: ignore[misc]
        client.drop()
    return max(found)


def test_no_frame_of_a_stranger_costs_much(world: World) -> None:
    count, name = most(world, MAX_EARLY_BYTES, logged_in=False)
    assert count <= EARLY, name


def test_no_frame_of_a_friend_costs_more_than_bounded(world: World) -> None:
    count, name = most(world, MAX_MESSAGE_BYTES, logged_in=True)
    assert count <= LATE, name


# Each control takes one protection away.


def test_control_metadata_of_any_size_costs_a_hundred_times_as_much(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "_MOST_ESCAPED", 1 << 20)
    monkeypatch.setattr(codec, "commas", lambda _: 0)
    count, name = most(world, MAX_MESSAGE_BYTES, logged_in=True)
    assert count > 5 * LATE, name


def test_control_contents_that_are_read_before_the_state_cost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "REFUSED", {state: {} for state in REFUSED})
    count, name = most(world, MAX_EARLY_BYTES, logged_in=False)
    assert count > EARLY, name
