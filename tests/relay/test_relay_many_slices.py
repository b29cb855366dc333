"""A frame with many signatures is verified in slices, one a turn: others are served between them, and order is kept."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from many_samples import mailbox, result, sender

from phantom_messenger.relay import admission, load, pipeline, signatures
from phantom_messenger.relay.load import LoadGauge
from phantom_messenger.relay.pipeline import AdmittedFrame, Pipeline, Steps
from phantom_messenger.relay.ports import SignatureCheck
from phantom_messenger.wire import codec
from support.amounts import amount
from support.faults import Faults
from support.people import Frame, Person
from support.simulated import Client, Turns, World

MEMBERS = 40


class Counted:
    """The strict check of signatures, which notes how many are verified at a time."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, batch: Sequence[SignatureCheck]) -> list[bool]:
        self.counts.append(len(batch))
        return signatures.verify(batch)


@pytest.fixture
def counted(world: World, monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted()
    monkeypatch.setattr(world.relay._core.pipeline, "_verify", found)
    return found


@pytest.fixture
def people(world: World) -> list[Person]:
    """Those who are written to; they are away."""
    found = [world.person(f"member {number}") for number in range(MEMBERS)]
    world.register(*found)
    return found


def most_of_a_turn(world: World, counted: Counted) -> int:
    """How many signatures one turn has verified at most, until all is done."""
    most = 0
    while True:
        before = sum(counted.counts)
        if not world.turns.step():
            return most
        most = max(most, sum(counted.counts) - before)


def three_at_once(world: World, people: list[Person]) -> list[Client]:
    """Several send to many in the same turn."""
    clients = [sender(world, name) for name in ("alice", "anna", "albert")]
    for client in clients:
        client.put(client.person.message_many(people))
    return clients


def first_answered(world: World, *clients: Client) -> Client:
    """Which of them is answered in the earliest turn."""
    before = [len(client.connection.written) for client in clients]
    while world.turns.step():
        for client, count in zip(clients, before, strict=True):
            if len(client.connection.written) > count:
                return client
    raise AssertionError("nobody was answered")


def test_no_turn_verifies_more_than_a_slice(world: World, people: list[Person], counted: Counted) -> None:
    clients = three_at_once(world, people)
    counted.counts.clear()
    assert most_of_a_turn(world, counted) == pipeline.SLICE
    assert sum(counted.counts) == 3 * (MEMBERS + 1)
    assert [client.take()[-1]["payload"]["accepted"] for client in clients] == [MEMBERS] * 3


def test_control_without_slices_a_turn_verifies_all(
    world: World, people: list[Person], counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SLICE", 1_000)
    three_at_once(world, people)
    assert most_of_a_turn(world, counted) == 3 * (MEMBERS + 1)


def test_somebody_else_is_answered_first(world: World, people: list[Person]) -> None:
    bob = world.login("bob")
    [alice, *_] = three_at_once(world, people)
    bob.put(bob.person.message(people[0]))
    assert first_answered(world, alice, bob) is bob
    world.run()


def test_control_without_slices_somebody_else_waits(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "SLICE", 1_000)
    bob = world.login("bob")
    [alice, *_] = three_at_once(world, people)
    bob.put(bob.person.message(people[0]))
    assert first_answered(world, alice, bob) is alice
    world.run()


def test_messages_of_one_sender_keep_their_order(world: World, people: list[Person]) -> None:
    alice, recipient = sender(world), people[3]
    frames = [
        alice.person.message(recipient),
        alice.person.message_many(people),
        alice.person.message(recipient),
        alice.person.message_many(people[:5]),
        alice.person.message_many(people),
        alice.person.message(recipient),
    ]
    for frame in frames:
        alice.put(frame)
    world.run()
    names = [frame["payload"]["messageId"] for frame in frames]
    assert mailbox(world, recipient) == names
    assert [answer["payload"]["messageId"] for answer in alice.take()] == names


@pytest.mark.parametrize("wrong", [0, pipeline.SLICE - 2, pipeline.SLICE - 1, MEMBERS - 1])
def test_wrong_signature_in_any_slice_refuses_the_whole_frame(
    world: World, people: list[Person], counted: Counted, wrong: int
) -> None:
    alice, after = sender(world), world.person("after")
    world.register(after)
    frame = alice.person.message_many(people)
    frame["payload"]["recipients"][wrong]["signature"] = alice.person.sign(b"another text")
    counted.counts.clear()
    alice.put(_signed_again(alice, frame))
    alice.put(alice.person.message(after))
    world.run()
    refused, accepted = alice.take()
    assert refused["payload"]["details"] == {"reason": "signature"}
    assert accepted["payload"]["status"] == "accepted"
    assert [mailbox(world, person) for person in people] == [[]] * MEMBERS
    needed = (wrong + 1) // pipeline.SLICE + 1
    assert sum(counted.counts) <= needed * pipeline.SLICE + 1, "what comes behind a wrong one is not verified"


def _signed_again(alice: Client, frame: Frame) -> Frame:
    return alice.person.signed({name: value for name, value in frame.items() if name != "signature"})


def test_frame_of_a_connection_that_is_gone_is_dropped_and_others_go_on(world: World, people: list[Person]) -> None:
    alice, bob = sender(world), sender(world, "bob")
    alice.put(alice.person.message_many(people))
    bob.put(bob.person.message_many(people))
    alice.put(alice.person.message(people[0]))
    world.turns.step()
    alice.drop()
    assert bob.take()[-1]["payload"]["accepted"] == MEMBERS
    assert len(mailbox(world, people[0])) == 1
    assert not world.relay._core.pipeline._behind
    gauge = world.relay._core.pipeline._gauge
    assert (gauge.count, gauge.unverified_bytes) == (0, 0)


def test_stop_waits_for_all_slices_and_what_is_behind_them(world: World, people: list[Person]) -> None:
    alice = sender(world)
    frames = [alice.person.message_many(people), alice.person.message(people[0])]
    for frame in frames:
        alice.put(frame)
    stopped: list[int] = []
    world.relay.stop(lambda: stopped.append(len(alice.connection.written)))
    world.turns.step()
    assert not stopped
    before = len(alice.connection.written)
    world.run()
    assert stopped == [before + len(frames)]
    assert mailbox(world, people[0]) == [frame["payload"]["messageId"] for frame in frames]


def test_what_waits_behind_is_counted_for_memory(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = sender(world), world.login("bob")
    gauge = world.relay._core.pipeline._gauge
    alice.put(alice.person.message_many(people))
    waiting = gauge.unverified_bytes
    assert waiting > MEMBERS * 100
    alice.put(alice.person.message(people[0], encrypted="A" * 4_000))
    assert gauge.unverified_bytes > waiting + 4_000
    monkeypatch.setattr(load, "MAX_UNVERIFIED_BYTES", waiting + 4_000)
    bob.put(bob.person.message(people[0]))
    world.run()
    assert bob.take()[-1]["payload"]["details"]["reason"] == "overload"
    assert bob.ask(bob.person.message(people[0]))["payload"]["status"] == "accepted"
    assert gauge.unverified_bytes == 0


def most_unverified(world: World, people: list[Person]) -> float:
    """Bytes that wait at most to be verified, as a part of what one frame of several comes to."""
    clients = [sender(world, name) for name in ("alice", "anna", "albert")]
    gauge = world.relay._core.pipeline._gauge
    for client in clients:
        client.put(client.person.message_many(people, common="A" * 8_000))
    most = gauge.unverified_bytes
    while world.turns.step():
        most = max(most, gauge.unverified_bytes)
    assert (gauge.unverified_bytes, gauge.sliced_bytes) == (0, 0)
    return most / (MEMBERS * 8_000)


def test_only_the_frame_whose_turn_it_is_is_expanded(world: World, people: list[Person]) -> None:
    assert most_unverified(world, people) < 2


def test_control_frames_that_are_expanded_at_once_are_seen(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Pipeline._begin_slices

    def expand_at_once(relay: Pipeline, admitted: AdmittedFrame) -> None:
        begin(relay, admitted)
        batch = relay._sliced[-1]
        batch.checks.append(admitted.check or (b"", b"", b""))
        relay._count_sliced(batch.add_inner(admitted))
        monkeypatch.setattr(batch, "slices", [True])  # its own is taken as verified

    monkeypatch.setattr(Pipeline, "_begin_slices", expand_at_once)
    assert most_unverified(world, people) > 2.5


def refusals(client: Client) -> list[str]:
    """Why what was sent was refused; '' for what was not."""
    return [frame["payload"].get("details", {}).get("reason", "") for frame in client.take()]


def full_of_many(world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch) -> Client:
    """A relay in which there is no more room for messages to many; whose has taken it."""
    alice = sender(world)
    alice.put(alice.person.message_many(people))
    monkeypatch.setattr(load, "MAX_SLICED_BYTES", world.relay._core.pipeline._gauge.sliced_bytes)
    return alice


def test_messages_to_many_leave_room_to_others(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, bob = sender(world, "anna"), world.login("bob")
    alice = full_of_many(world, people, monkeypatch)
    anna.put(anna.person.message_many(people))
    anna.put(anna.person.message_many(people[:2]))
    bob.put(bob.person.message(people[0]))
    alice.put(alice.person.message(people[0]))  # it would wait for her own
    world.run()
    assert refusals(anna) == ["overload", ""]
    assert refusals(bob) == [""]
    assert sorted(refusals(alice)) == ["", "overload"]
    assert world.relay._core.pipeline._gauge.sliced_bytes == 0
    anna.put(anna.person.message_many(people))
    alice.put(alice.person.message(people[0]))
    world.run()
    assert refusals(anna) == refusals(alice) == [""]


def test_control_without_a_share_of_their_own_they_keep_others_out(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = world.login("bob")
    full_of_many(world, people, monkeypatch)
    monkeypatch.setattr(load, "MAX_UNVERIFIED_BYTES", load.MAX_SLICED_BYTES)
    bob.put(bob.person.message(people[0]))
    world.run()
    assert refusals(bob) == ["overload"]


@pytest.mark.parametrize("is_long", [True, False], ids=["long", "control: short"])
def test_long_message_to_many_is_not_even_read_when_there_is_no_room(
    world: World, people: list[Person], monkeypatch: pytest.MonkeyPatch, is_long: bool
) -> None:
    anna = sender(world, "anna")
    frame = anna.person.message_many(people, common="A" * (admission.LONG_MANY if is_long else 4))
    full_of_many(world, people, monkeypatch)
    read: list[bytes] = []
    decode = codec.decode_client

    def decoded(text: bytes, kind: str = "") -> codec.Decoded:
        read.append(text)
        return decode(text, kind)

    monkeypatch.setattr(codec, "decode_client", decoded)
    anna.put(frame)
    world.run()
    assert refusals(anna) == ["overload"]
    assert len(read) == (0 if is_long else 1)


def test_checks_that_fail_end_that_session_alone(
    world: World, people: list[Person], faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = sender(world), world.login("bob")

    def verify(batch: Sequence[SignatureCheck]) -> list[bool]:
        if len(batch) == pipeline.SLICE:
            raise MemoryError
        return signatures.verify(batch)

    monkeypatch.setattr(world.relay._core.pipeline, "_verify", verify)
    alice.put(alice.person.message_many(people))
    bob.put(bob.person.message(people[0]))
    world.run()
    assert (alice.close_code(), faults.take()) == (1011, ["MemoryError"])
    assert bob.take()[-1]["payload"]["status"] == "accepted"
    assert len(mailbox(world, people[0])) == 1


# --- with helpers that answer when they like -------------------------------------------


class Helpers:
    """Processes that verify; what they were asked is answered in any order, or refused."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._asked: list[tuple[Sequence[SignatureCheck], Callable[[list[bool]], None]]] = []

    def __call__(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None]) -> bool:
        if self._chance.random() < 0.2:
            return False
        self._asked.append((batch, done))
        return True

    def answer(self) -> bool:
        """Answer one of those that wait; whether there was one."""
        if not self._asked:
            return False
        batch, done = self._asked.pop(self._chance.randrange(len(self._asked)))
        done(_verdicts(batch))
        return True


def _verdicts(batch: Sequence[SignatureCheck]) -> list[bool]:
    assert len(batch) <= 200
    return [signature == b"right" for _, signature, _ in batch]


class Forgetful(dict[Any, Any]):
    """Does not say that anything has to wait."""

    def __contains__(self, _: object) -> bool:
        return False

    def pop(self, key: Any, *_: Any) -> Any:
        return super().pop(key, [])


class Name(str):  # noqa: SLOT000 - the pipeline sets ``is_behind``
    """Stands for a session, by its name."""

    is_behind = False


class Played:
    """Random frames of five sessions, and in which order they were handled with which verdict."""

    def __init__(self, seed: int, *, is_forgetful: bool = False) -> None:
        self._chance = chance = random.Random(seed)  # noqa: S311 - the same in every run
        self._turns, helpers = Turns(), Helpers(chance)
        self.gauge = LoadGauge(lambda: 0)
        self.sent: dict[str, list[tuple[int, bool]]] = {name: [] for name in "abcde"}
        self.handled: dict[str, list[tuple[int, bool]]] = {name: [] for name in "abcde"}
        self.idle: list[int] = []
        self._pipeline = Pipeline(
            verify=_verdicts,
            helpers=helpers,
            writer=lambda *_: None,
            schedule=self._turns,
            handle=self._handle,
            gauge=self.gauge,
            report=lambda error: pytest.fail(repr(error)),
        )
        if is_forgetful:
            self._pipeline._behind = Forgetful()
        for number in range(chance.randint(5, 60)):
            self._submit(number)
            for _ in range(chance.choice([0, 0, 1, 3])):
                chance.choice([self._turns.step, helpers.answer])()
        self._pipeline.when_idle(lambda: self.idle.append(sum(map(len, self.handled.values()))))
        while self._turns.step() or helpers.answer():
            pass

    def _submit(self, number: int) -> None:
        chance = self._chance
        name = chance.choice("abcde")
        inner = chance.choice([0, 0, 0, 1, pipeline.SLICE - 1, pipeline.SLICE, 50, 100])
        rights = [chance.random() < 0.99 for _ in range(inner + 1)]
        check, *rest = [(b"", b"right" if right else b"wrong", b"%d" % number) for right in rights]
        is_signed = bool(inner) or chance.random() < 0.8
        frame: Any = number
        session: Any = Name(name)
        self.sent[name].append((number, all(rights) or not is_signed))
        own = check if is_signed else None
        admitted = AdmittedFrame(session, frame, b"signed", own, parts=len(rest), expand=lambda: rest)
        self._pipeline.submit(admitted)

    def _handle(self, admitted: AdmittedFrame, verdict: bool | Exception) -> Steps:
        session: Any = admitted.session
        number: Any = admitted.frame
        self.handled[session].append((number, verdict is True))
        yield from ()


def test_each_session_is_served_in_its_order_whoever_verifies_when() -> None:
    for seed in range(amount(100, 5_000)):
        played = Played(seed)
        assert played.handled == played.sent, seed
        gauge = played.gauge
        assert (gauge.count, gauge.unverified_bytes, gauge.sliced_bytes) == (0, 0, 0), seed
        assert played.idle == [sum(map(len, played.sent.values()))], f"{seed}: it was idle when all was handled"


def test_control_frames_that_do_not_wait_overtake() -> None:
    assert any(Played(seed, is_forgetful=True).handled != Played(seed).sent for seed in range(20))


def test_frame_of_less_than_a_slice_is_verified_with_others(world: World, people: list[Person]) -> None:
    alice = sender(world)
    assert result(alice, alice.person.message_many(people[: pipeline.SLICE - 1]))["accepted"] == pipeline.SLICE - 1
    alice.put(alice.person.message_many(people[: pipeline.SLICE - 1]))
    assert not world.relay._core.pipeline._behind
    world.run()
