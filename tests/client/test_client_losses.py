"""Connections that break and programs that die: nothing is lost, nothing comes twice."""

import json
import random

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client import records
from phantom_messenger.client.records import AckRecord
from phantom_messenger.client.status import DeliveryState
from support.amounts import amount, seeds
from support.people import Frame
from support.simulated import MINUTE, SECOND

# --- random points ----------------------------------------------------------------


class Talk:
    """Two devices that write, read, lose their connections and die, as chance has it."""

    def __init__(self, town: Town, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same in every run
        self.world = town.world
        self.people = [town.device(f"{name} {seed}") for name in ("one", "other")]
        self.written: dict[str, list[tuple[str, str]]] = {device.id: [] for device in self.people}
        self.read: dict[str, list[tuple[str, str]]] = {device.id: [] for device in self.people}

    def other(self, device: Device) -> Device:
        return self.people[self.people[0] is device]

    def step(self) -> None:
        device = self.chance.choice(self.people)
        action = self.chance.random()
        device.fetch()
        if not device.is_connected:
            if action < 0.3:
                device.connect()
                return
        elif action < 0.6:
            (device.step_up if self.chance.random() < 0.5 else device.step_down)()
            return
        elif action < 0.65:
            device.cut()
            return
        if action < 0.68:
            device.kill()
        elif action < 0.85:
            self.write(device)
        elif action < 0.9:
            self.take(device, 1)
        else:
            self.world.clock.advance(self.chance.choice([10, 500, 3_000, 21_000]))
            self.world.tick()
            device.messenger.tick()

    def write(self, device: Device) -> None:
        text = f"{len(self.written[device.id])} of {device.name}"
        (number,) = device.send(self.other(device), text)
        self.written[device.id].append((number, text))

    def take(self, device: Device, most: int) -> None:
        for record in device.waiting()[:most]:
            self.read[device.id].append((record.message_id, record.text or ""))
            device.messenger.mark_read(record.sender, record.message_id)

    def heal(self) -> None:
        """The network holds from now on."""
        for device in self.people:
            if not device.is_connected:
                device.connect()
        settle(*self.people)
        pass_time(MINUTE, *self.people, step=5 * SECOND, reconnect=True)
        for device in self.people:
            self.take(device, 10_000)
        pass_time(10 * SECOND, *self.people, reconnect=True)


@pytest.mark.parametrize("decade", range(seeds(1, 60)))
def test_nothing_is_lost_or_doubled_over_breaks_at_random_points(town: Town, decade: int) -> None:
    for seed in range(10 * decade, 10 * decade + amount(6, 10)):
        talk = Talk(town, seed)
        for _ in range(150):
            talk.step()
        talk.heal()
        for device in talk.people:
            assert talk.read[talk.other(device).id] == talk.written[device.id], f"seed {seed}"
            assert device.messenger.waiting == device.messenger.pending_receipts == 0, f"seed {seed}"
            states = device.states([number for number, _ in talk.written[device.id]])
            told = talk.written[talk.other(device).id]  # who never wrote is told by nobody
            assert states <= {DeliveryState.READ if told else DeliveryState.ACCEPTED}, f"seed {seed}"
            assert set(device.troubles()) <= {"unknown-user"}, f"seed {seed}"


def test_breaking_after_every_single_frame_loses_and_doubles_nothing(town: Town) -> None:
    point = 0
    while True:
        alice, bob = town.device(f"alice {point}").login(), town.device(f"bob {point}").login()
        bob.messenger.contacts.add("alice", alice.id)
        alice.send(bob, "one", "two", "three")
        moved, moving = 0, True
        while moving and moved < point:
            before = moved
            for device in (alice, bob):
                device.fetch()
                if moved < point and device.step_up():
                    moved += 1
                if moved < point and device.step_down():
                    moved += 1
            moving = moved > before
        if moved < point:
            break
        for device in (alice, bob):
            device.cut()
            device.login()
        settle(alice, bob)
        pass_time(25 * SECOND, alice, bob, step=5 * SECOND)
        assert bob.read_all() == ["one", "two", "three"], point
        assert alice.messenger.waiting == 0
        point += 1
        for device in (alice, bob):
            device.cut()
    assert point > 20


# --- the sender -------------------------------------------------------------------


def test_queued_texts_survive_the_program_under_their_ids(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    numbers = alice.send(bob, "one", "two", "three")
    alice.kill()
    assert alice.messenger.waiting == 3
    alice.login()
    settle(alice, bob)
    assert [(record.message_id, record.text) for record in bob.waiting()] == list(
        zip(numbers, ("one", "two", "three"), strict=True)
    )
    assert alice.messenger.waiting == 0


def test_text_whose_acceptance_was_lost_is_sent_again_as_it_was(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    alice.fetch()
    alice.step_up()
    settle(bob)
    alice.kill()
    assert alice.messenger.state_of(number) is DeliveryState.QUEUED
    alice.login()
    settle(alice, bob)
    first, second = alice.frames_sent("MESSAGE")
    assert first["payload"] == second["payload"]
    assert bob.read_all() == ["hello"]
    pass_time(SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ


def test_text_whose_acceptance_was_lost_for_hours_is_not_doubled(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    alice.fetch()
    alice.step_up()
    settle(bob)
    alice.cut()
    bob.read_all()
    pass_time(3_600_000, bob, step=20 * SECOND)  # the relay has forgotten the id
    alice.login()
    settle(alice, bob)
    assert bob.waiting() == []
    assert alice.messenger.waiting == 0


def test_two_messages_never_use_one_key(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.cut()
    alice.send(bob, "one")
    alice.kill()
    alice.send(bob, "two")
    alice.kill()
    alice.login()
    settle(alice, bob)
    sealed = [frame["payload"]["encrypted"] for frame in alice.frames_sent("MESSAGE")]
    assert len(sealed) == len(set(sealed)) == 2
    assert bob.read_all() == ["one", "two"]


# --- the recipient ----------------------------------------------------------------


def statuses(device: Device) -> list[tuple[str, str]]:
    """What a device has told the relay of messages."""
    acks = [frame["payload"] for frame in device.frames_sent("MESSAGE_ACK")]
    return [(ack["messageId"], ack["status"]) for ack in acks if "messageId" in ack]


def kept(device: Device) -> list[str]:
    """Which messages the relay may not yet know to be read."""
    return [record.message_id for _, record in device.vault.all(records.ACK, AckRecord)]


def of_relay(device: Device) -> set[tuple[str, str]]:
    """What the relay has told a device of its texts."""
    told = [frame["payload"] for frame in device.received if frame["type"] == "MESSAGE_ACK"]
    return {(ack["messageId"], ack["status"]) for ack in told}


def is_told_read(numbers: list[str], alice: Device, bob: Device) -> None:
    """Alice has heard from the relay and from Bob himself that he has read these; nothing is left to tell."""
    assert {(number, "read") for number in numbers} <= of_relay(alice)
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert bob.messenger.pending_receipts == 0
    assert kept(bob) == []


def test_message_that_was_not_acknowledged_comes_again_and_is_handed_out_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice)
    bob.fetch()
    while bob.step_down():
        pass
    bob.cut()  # what it wanted to tell is lost
    assert statuses(bob) == []
    bob.login()
    settle(alice, bob)
    assert [status for _, status in statuses(bob)] == ["delivered"]
    assert bob.read_all() == ["hello"]
    assert bob.waiting() == []


def test_message_is_on_disk_before_it_is_acknowledged(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice)
    while bob.step_down():
        pass
    bob.fetch()
    while bob.step_up():
        pass
    assert [status for _, status in statuses(bob)] == ["delivered"]
    bob.kill()
    assert bob.read_all() == ["hello"]


@pytest.mark.parametrize("dies", [False, True])
def test_what_was_read_while_offline_is_told_at_the_next_login(town: Town, dies: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.cut()
    bob.read_all()
    assert kept(bob) == numbers
    assert bob.messenger.pending_receipts == 3, "two for the relay, and one message for Alice"
    if dies:
        bob.kill()
    bob.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


@pytest.mark.parametrize("dies", [False, True])
def test_what_was_read_is_told_again_if_the_connection_broke(town: Town, dies: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    bob.fetch()
    assert bob.up  # on its way, and lost there
    if dies:
        bob.kill()
    else:
        bob.cut()
    bob.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


def test_what_was_read_is_told_again_if_the_relay_died_before_it_was_stored(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "hello")
    settle(alice, bob)
    town.world.writer.holding = True
    bob.read_all()
    for _ in range(5):
        town.world.clock.advance(SECOND)
        bob.messenger.tick()
        settle(bob)
    for device in (alice, bob):
        device.cut()
    again = town.world.restarted()  # what the writer held was never stored
    for device in (alice, bob):
        device.world = again
        device.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


def test_what_was_read_is_told_again_if_the_relay_could_not_store_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "hello")
    settle(alice, bob)
    town.world.writer.full = True
    bob.read_all()
    pass_time(5 * SECOND, alice, bob)
    assert "ERROR" in [frame["type"] for frame in bob.received]
    town.world.writer.full = False
    pass_time(MINUTE, alice, bob)
    for device in (alice, bob):
        device.cut()
        device.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


def test_pong_confirms_only_what_was_told_before_its_ping(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.messenger.mark_read(alice.id, numbers[0])
    bob.fetch()
    while bob.step_up():
        pass
    bob.messenger.mark_read(alice.id, numbers[1])
    while bob.step_down():
        pass
    assert kept(bob) == [numbers[1]]
    bob.cut()
    bob.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


def test_what_was_read_is_told_once_if_the_relay_has_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    settle(alice, bob)
    pass_time(3 * SECOND, alice, bob)
    bob.kill()
    bob.login()
    settle(alice, bob)
    assert statuses(bob) == [(number, "delivered"), (number, "read")]


def test_receipts_for_an_absent_sender_wait(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice)
    alice.cut()
    settle(bob)
    bob.read_all()
    settle(bob)
    pass_time(3 * SECOND, bob)
    assert bob.messenger.pending_receipts == 0
    alice.login()
    settle(alice)
    is_told_read(numbers, alice, bob)
    confirmed = [frame["payload"]["seq"] for frame in alice.frames_sent("MESSAGE_ACK") if "seq" in frame["payload"]]
    waiting = [frame["seq"] for frame in alice.received if frame["type"] == "MESSAGE_ACK" and "seq" in frame]
    assert confirmed == waiting != []


def test_receipt_that_is_lost_with_the_connection_comes_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "hello")
    settle(alice)
    settle(bob)
    bob.read_all()
    settle(bob)
    pass_time(3 * SECOND, bob)
    assert bob.messenger.pending_receipts == 0
    alice.fetch()
    assert [frame for frame in map(json.loads, alice.down) if frame["type"] == "MESSAGE"] != []
    alice.cut()  # the receipts were on their way to it
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    alice.login()
    settle(alice, bob)
    is_told_read(numbers, alice, bob)


# --- a disk that is full ----------------------------------------------------------


def test_full_relay_makes_texts_wait(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    town.world.writer.full = True
    alice.send(bob, "one", "two")
    pass_time(12 * SECOND, alice, bob)
    assert alice.messenger.waiting == 2
    assert 1 < len(alice.frames_sent("MESSAGE")) < 5
    assert alice.troubles() == ["storage"], "told once"
    town.world.writer.full = False
    pass_time(6 * SECOND, alice, bob)
    assert bob.read_all() == ["one", "two"]


def test_prekeys_that_a_full_relay_refused_are_published_later(town: Town) -> None:
    (bob,) = town.devices("bob")
    alice = town.device("alice").login()
    alice.cut()
    town.world.clock.advance(8 * 86_400_000)

    def fill(frame: Frame) -> list[Frame]:
        town.world.writer.full = frame["type"] == "PREKEY_STATUS"
        return [frame]

    alice.tamper = fill
    alice.connect()
    settle(alice)
    assert "prekeys" in alice.troubles()
    alice.tamper = None
    town.world.writer.full = False
    pass_time(2 * MINUTE, alice, bob, step=5 * SECOND)
    assert len(alice.frames_sent("PREKEY_PUBLISH")) >= 3
    assert alice.messenger.prekeys_confirmed
