"""Each ErrorCode by its cause, and what unexpected failures look like from outside."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.relay import signatures
from phantom_messenger.relay.commands import AnyCommand
from phantom_messenger.relay.ports import Verification
from support.faults import Faults
from support.people import Frame, base64_text, canonical, key_text
from support.simulated import MakeWorld, World

NAMES = {
    "INVALID_MESSAGE": 1001,
    "UNAUTHORIZED": 1002,
    "RATE_LIMITED": 1003,
    "USER_NOT_FOUND": 1004,
    "KEY_EXCHANGE_FAILED": 1005,
    "MESSAGE_TOO_LARGE": 1006,
    "INTERNAL_ERROR": 1007,
}


def caused(world: World, name: str) -> Frame:
    """Do what the code is for; the answer."""
    client = world.login("alice")
    me = client.person
    match name:
        case "INVALID_MESSAGE":
            return client.ask(me.frame("HELLO", id="cause"))
        case "UNAUTHORIZED":
            return client.ask({**me.message(me), "id": "cause"})
        case "RATE_LIMITED":
            client.send(*(me.ping() for _ in range(60)))
            return client.ask(me.ping(id="cause"))
        case "USER_NOT_FOUND":
            return client.ask(me.message(key_text("nobody"), id="cause"))
        case "KEY_EXCHANGE_FAILED":
            init = me.init(me, ephemeralKey=base64_text(bytes(32)))
            return client.ask(me.signed({**init, "id": "cause"}))
        case "MESSAGE_TOO_LARGE":
            return client.ask(me.message(me, encrypted="QUJD" * 15_361, id="cause"))
        case _:
            world.writer.full = True
            return client.ask(me.message(me, id="cause"))


@pytest.mark.parametrize(("name", "code"), NAMES.items(), ids=NAMES)
def test_error_code_has_its_cause(make_world: MakeWorld, name: str, code: int) -> None:
    world = make_world()
    answer = caused(world, name)
    assert answer["type"] == "ERROR"
    assert answer["id"] == "cause"
    assert answer["timestamp"] == world.clock.wall
    payload = answer["payload"]
    assert payload["code"] == code
    assert payload["message"]
    assert payload["details"]["reason"]
    assert ("retryAfter" in payload) == (name in ("RATE_LIMITED", "INTERNAL_ERROR"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "json"),
        (b"hello", "json"),
        (b"[]", "json"),
        (b'"PING"', "json"),
        (b"null", "json"),
        (b'{"type":"PING","timestamp":1', "json"),
        (b'{"type":"PING","timestamp":1}}', "json"),
        (b'{"type":"PING","type":"PING","timestamp":1}', "duplicate-name"),
        (b'{"payload":{},"type":"PING","payload":{},"timestamp":1}', "duplicate-name"),
        (b'{"type":"PING","timestamp":NaN}', "json"),
        (b'{"type":"PING","timestamp":1.5}', "field"),
        (b'{"type":"PING","timestamp":9007199254740992}', "field"),
        (b'{"type":"PING","timestamp":-1}', "field"),
        (b'{"type":"PING","timestamp":"1"}', "field"),
        (b'{"type":"PING"}', "field"),
        (b'{"type":"PING","timestamp":1,"signature":"x"}', "field"),
        (b'{"type":"PING","timestamp":1,"seq":1}', "field"),
        (b'{"type":"PING","timestamp":1,"id":""}', "field"),
        (b'{"type":"PING","timestamp":1,"id":"a b"}', "field"),
        (b'{"type":"PING","timestamp":1,"id":"' + b"x" * 65 + b'"}', "field"),
        (b'{"type":"PING","timestamp":1,"payload":{"x":1}}', "field"),
        (b'{"type":"ping","timestamp":1}', "type"),
        (b'{"timestamp":1}', "type"),
        (b'{"type":1,"timestamp":1}', "type"),
        (b'{"type":"PONG","timestamp":1}', "type"),
    ],
)
def test_malformed_text_is_1001_and_the_connection_stays(world: World, text: bytes, reason: str) -> None:
    client = world.login("alice")
    answer = client.ask(text)
    assert answer["payload"]["code"] == 1001
    assert answer["payload"]["details"]["reason"] == reason
    assert client.close_code() is None
    assert client.ask(client.person.ping())["type"] == "PONG"


@pytest.mark.parametrize(("levels", "refused"), [(5, False), (6, True), (20_000, True)])
def test_nesting_deeper_than_8_is_1001(world: World, levels: int, refused: bool) -> None:
    """Envelope, payload and metadata are the first three."""
    client = world.login("alice")
    frame = client.person.message(client.person, metadata={"x": [[[[[]]]]]})
    text = canonical(frame).replace(b"[[[[[]]]]]", b"[" * levels + b"]" * levels)
    answers = client.send(text)
    if refused:
        assert [answer["payload"]["details"] for answer in answers] == [{"reason": "too-deep"}]
    else:
        assert {answer["type"] for answer in answers} == {"MESSAGE", "MESSAGE_ACK"}


# --- unexpected failures ----------------------------------------------------------


class Broken:
    """Signature checks that fail in a way that nobody foresaw, while ``on``."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, batch: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
        if self.on:
            raise MemoryError("no room for a secret text")
        return signatures.verify(batch)


@pytest.fixture
def broken() -> Broken:
    return Broken()


@pytest.fixture
def fragile(broken: Verification) -> Iterator[World]:
    """A relay whose signature checks can break."""
    world = World(verify=broken)
    yield world
    world.close()


def run_on(world: World) -> None:
    """Run as an event loop does, which goes on behind an action that fails."""
    for _ in range(20):
        try:
            world.run()
        except MemoryError:
            continue
        return


def test_unexpected_failure_is_1007_or_closes_with_1011(fragile: World, broken: Broken, faults: Faults) -> None:
    client = fragile.login("alice")
    broken.on = True
    client.put(client.person.message(client.person, id="request-1"))
    run_on(fragile)
    answers = client.take()
    assert [answer["payload"]["code"] for answer in answers] == [1007] or client.close_code() == 1011
    assert "secret text" not in str(answers)
    assert faults.take() == ["MemoryError"]


def test_unexpected_failure_passes(fragile: World, broken: Broken, faults: Faults) -> None:
    client = fragile.login("alice")
    broken.on = True
    client.put(client.person.message(client.person))
    run_on(fragile)
    broken.on = False
    assert faults.take() == ["MemoryError"]
    again = client if client.close_code() is None else fragile.login("alice")
    again.take()
    assert {frame["type"] for frame in again.send(again.person.message(again.person))} == {"MESSAGE", "MESSAGE_ACK"}


class HalfBroken:
    """A store in which one of the relay's commands fails, now and then."""

    def __init__(self, world: World) -> None:
        self._run = world.store.run
        self.every = 0

    def __call__(self, commands: Sequence[AnyCommand]) -> list[Any]:
        failing = commands[:: self.every] if self.every else []

        def half(tables: Tables, command: AnyCommand) -> Any:
            if any(command is one for one in failing):
                raise ZeroDivisionError("a secret text")
            return execute(tables, command)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("phantom_messenger.engines.sqlite.store.execute", half)
            results: list[Any] = self._run(commands)
            return results


def test_command_that_fails_is_1007_and_stops_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    half = HalfBroken(world)
    monkeypatch.setattr(world.store, "run", half)
    alice, bob = world.login("alice"), world.login("bob")
    half.every = 3
    sent = [alice.person.message(bob.person) for _ in range(9)]
    answers = alice.send(*sent)
    half.every = 0
    assert [frame["type"] for frame in answers] == ["ERROR", "MESSAGE_ACK", "MESSAGE_ACK"] * 3
    assert {frame["payload"]["code"] for frame in answers if frame["type"] == "ERROR"} == {1007}
    assert {frame["payload"]["details"]["reason"] for frame in answers if frame["type"] == "ERROR"} == {"internal"}
    assert "secret text" not in str(answers)
    stored = [message["payload"]["messageId"] for index, message in enumerate(sent) if index % 3]
    assert [frame["payload"]["messageId"] for frame in bob.take("MESSAGE")] == stored
    assert faults.take() == ["ZeroDivisionError"] * 3


def test_messages_of_a_turn_in_which_the_disk_ran_full_can_all_be_sent_again(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    disk = world.store._connection
    disk.pragma("max_page_count", disk.pragma("page_count") + 3)
    sent = [alice.person.message(bob.person, encrypted=text) for text in ("QUJD", "QUJD" * 15_000, "QUJD")]
    answers = alice.send(*sent)
    assert answers[1]["payload"]["details"] == {"reason": "storage"}
    assert answers[1]["payload"]["retryAfter"] > 0
    accepted = [answer["payload"].get("status") for answer in answers].count("accepted")
    assert len(bob.take("MESSAGE")) == accepted

    world.store.scrub()
    assert [answer["payload"].get("status") for answer in alice.send(*sent)] == ["accepted"] * 3
    found = [frame["payload"]["messageId"] for frame in bob.take("MESSAGE")]
    assert len(found) == 3 - accepted, "what was accepted before is not delivered again"
    assert sent[1]["payload"]["messageId"] in found


FRAMES: dict[str, Callable[[Any], Frame]] = {
    "MESSAGE": lambda me: me.message(me),
    "MESSAGE_MANY": lambda me: me.message_many([key_text("somebody")]),
    "PREKEY_FETCH": lambda me: me.fetch(me),
    "MESSAGE_ACK": lambda me: me.confirm(1),
    "KEY_EXCHANGE_INIT": lambda me: me.init(me),
    "KEY_EXCHANGE_RESPONSE": lambda me: me.response(me),
    "PREKEY_PUBLISH": lambda me: me.publish([1]),
    "PREKEY_STATUS": lambda me: me.prekey_status(),
    "PRESENCE": lambda me: me.presence("online"),
    "PRESENCE query": lambda me: me.asks_for(me),
    "BLOCK": lambda me: me.block(key_text("somebody")),
    "ACCOUNT_DELETE": lambda me: me.account_delete(),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_full_disk_is_1007_for_whatever_needs_it(world: World, make: Callable[[Any], Frame]) -> None:
    client = world.login("alice", features=["many"])
    world.writer.full = True
    frame = {**make(client.person), "id": "request-1"}
    answer = client.ask(client.person.signed(frame) if "signature" in frame else frame)
    assert (answer["id"], answer["payload"]["code"]) == ("request-1", 1007)
    assert client.close_code() is None
    assert client.ask(client.person.ping())["payload"]["code"] == 1007, "PONG says that all before it is stored"
    world.writer.full = False
    assert client.ask(client.person.ping())["type"] == "PONG"
