"""Texts under a relay's limits: they wait, keep their order, and never make the relay hang up."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle, with_field

from phantom_messenger.client.status import DeliveryState
from phantom_messenger.relay.config import Config
from support.amounts import LONG, amount
from support.people import Frame
from support.simulated import MINUTE, SECOND, MakeWorld

STEADY: Final = amount(130, 200)
"""Texts at a steady pace: more than a relay takes in a minute."""

pytestmark = pytest.mark.usefixtures("few_prekeys")


@pytest.fixture
def town(make_world: MakeWorld, tmp_path: Path) -> Iterator[Town]:
    """A relay with the limits that it has if nothing is said."""
    with fast_folder(tmp_path) as folder:
        made = Town(make_world(), folder)
        yield made
        made.close()


@pytest.fixture
def unlimited(make_world: MakeWorld, tmp_path: Path) -> Iterator[Town]:
    with fast_folder(tmp_path) as folder:
        made = Town(make_world(limits=False), folder)
        yield made
        made.close()


def refusals(device: Device, word: str = "rate") -> list[int]:
    """The waits that the relay asked for."""
    errors = [frame["payload"] for frame in device.received if frame["type"] == "ERROR"]
    return [error["retryAfter"] for error in errors if error["details"]["reason"] == word]


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


# --- messages a minute ------------------------------------------------------------


def silent(device: Device) -> None:
    """Let a device talk to a relay that does not say how many messages it takes."""
    device.cut()
    device.tamper = lambda frame: [unannounced(frame) if frame["type"] == "CONNECTION_ACK" else frame]
    device.login()
    device.closes.clear()


def unannounced(frame: Frame) -> Frame:
    return with_field(frame, limits={**frame["payload"]["limits"], "messagesPerMinute": None})


@pytest.mark.parametrize("announced", [True, False])
def test_200_texts_at_once_arrive_in_order_and_the_relay_never_hangs_up(town: Town, announced: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    if not announced:
        silent(alice)
    numbers = alice.send(bob, *texts(200))
    settle(alice, bob)
    assert len(bob.waiting()) < 61
    pass_time(4 * MINUTE, alice, bob)
    assert alice.closes == []
    assert bob.read_all() == texts(200)
    assert alice.states(numbers) == {DeliveryState.DELIVERED}
    assert bool(refusals(alice)) is not announced


def test_limits_are_kept_over_a_reconnect(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *texts(150))
    for _ in range(3):
        settle(alice, bob)
        alice.cut()
        alice.login()
    alice.closes.clear()
    pass_time(3 * MINUTE, alice, bob)
    assert alice.closes == []
    assert refusals(alice) == []
    assert bob.read_all() == texts(150)


def test_texts_of_a_program_that_starts_again_and_again_arrive_in_order(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *texts(150))
    for _ in range(3):
        settle(alice, bob)
        alice.kill()
        alice.login()
    pass_time(3 * MINUTE, alice, bob)
    assert alice.closes == []
    assert bob.read_all() == texts(150)


@pytest.mark.parametrize("pace", [100, 300, 500, 900] if LONG else [100, 900])
def test_texts_at_a_steady_pace_arrive_in_order_and_the_relay_never_hangs_up(town: Town, pace: int) -> None:
    alice, bob = town.friends("alice", "bob")
    for text in texts(STEADY):
        alice.send(bob, text)
        pass_time(pace, alice, bob, step=100 if LONG else min(pace, 450))
    pass_time(4 * MINUTE, alice, bob)
    assert alice.closes == []
    assert bob.read_all() == texts(STEADY)


def test_texts_on_a_slow_network_arrive_in_order_and_the_relay_never_hangs_up(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *texts(130))
    for _ in range(180_000 // 250):
        # A quarter of a second for each way.
        town.world.clock.advance(250)
        town.world.tick()
        for device in (alice, bob):
            device.messenger.tick()
            device.fetch()
        assert alice.is_connected
        alice.step_up()
        while alice.step_down() | bob.step_up() | bob.step_down():
            pass
    assert bob.read_all() == texts(130)


def test_texts_to_many_people_at_once_are_accepted_and_the_relay_never_hangs_up(unlimited: Town) -> None:
    (alice,) = unlimited.devices("alice")
    names = [f"friend {number}" for number in range(75)]
    for friend in unlimited.devices(*names):
        alice.send(friend, "hello")
        settle(alice, friend)
        friend.cut()
    assert alice.messenger.waiting == 0
    alice.cut()
    alice.closes.clear()
    alice.world = unlimited.world.restarted(Config())
    alice.login()
    numbers = [alice.messenger.send_text(friend.id, "hello again").message_id for friend in unlimited.made[1:]]
    pass_time(2 * MINUTE, alice)
    assert alice.closes == []
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}


def test_many_new_contacts_at_once_are_greeted_and_the_relay_never_hangs_up(town: Town) -> None:
    (alice,) = town.devices("alice")
    alice.cut()
    for number in range(35):
        friend = town.device(f"friend {number}").login()
        friend.cut()
        alice.messenger.contacts.add(friend.name, friend.id)
    alice.closes.clear()
    alice.connect()
    pass_time(6 * MINUTE, alice)
    assert alice.closes == []
    assert alice.messenger._stores.book.to_introduce() == []


def test_many_contacts_whom_the_relay_does_not_know_do_not_stop_the_others(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    absent = [town.device(f"absent {number}") for number in range(25)]
    for somebody in absent:
        alice.messenger.contacts.add(somebody.name, somebody.id)
    settle(alice)
    alice.send(bob, "hello")
    pass_time(2 * MINUTE, alice, bob)
    assert alice.closes == []
    assert bob.read_all() == ["hello"]


def test_login_that_was_limited_comes_again_when_the_relay_said(town: Town) -> None:
    (alice,) = town.devices("alice")
    for _ in range(5):
        alice.cut()
        alice.connect()
        settle(alice)
    assert not alice.is_connected
    assert alice.may_reconnect
    assert alice.messenger.retry_after == MINUTE
    town.world.clock.advance(alice.messenger.retry_after)
    alice.login()
    assert alice.messenger.retry_after is None


# --- people who are not there yet -------------------------------------------------


def test_text_to_an_unknown_person_waits_and_is_sent_once_they_appear(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob")
    numbers = alice.send(bob, "one", "two")
    pass_time(6 * MINUTE, alice)
    assert alice.states(numbers) == {DeliveryState.QUEUED}
    assert set(alice.troubles()) == {"unknown-user"}
    assert 3 <= len(alice.frames_sent("KEY_EXCHANGE_INIT")) <= 12
    bob.login()
    pass_time(121 * SECOND, alice, bob)
    assert bob.read_all() == ["one", "two"]
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    pass_time(MINUTE, alice, bob)
    assert len(alice.frames_sent("MESSAGE")) == 2


def test_text_to_an_unknown_person_survives_the_program(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice)
    alice.kill()
    bob.login()
    alice.login()
    settle(alice, bob)
    assert bob.read_all() == ["one", "two"]
    assert [record.message_id for record in bob.waiting()] == []
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}


def test_unknown_person_does_not_hold_up_others(town: Town) -> None:
    alice, bob, carol = town.device("alice").login(), town.device("bob"), town.device("carol").login()
    alice.send(bob, "to bob")
    alice.send(carol, "to carol")
    settle(alice, carol)
    assert carol.read_all() == ["to carol"]


def test_adding_a_contact_asks_for_them_at_once(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob")
    alice.send(bob, "hello")
    settle(alice)
    bob.login()
    alice.messenger.contacts.add("bob", bob.id)
    settle(alice, bob)
    assert bob.read_all() == ["hello"]


# --- full mailboxes ---------------------------------------------------------------


def test_text_for_a_full_mailbox_waits_until_there_is_room(unlimited: Town) -> None:
    alice, bob, carol = unlimited.devices("alice", "bob", "carol")
    bob.cut()
    alice.send(bob, *texts(105))  # of a stranger the relay keeps a hundred
    settle(alice)
    assert alice.messenger.waiting == 5
    assert alice.troubles() == ["backlog"]
    alice.send(carol, "you are not held up")
    settle(alice, carol)
    assert carol.read_all() == ["you are not held up"]
    pass_time(MINUTE + SECOND, alice)
    assert alice.messenger.waiting == 5
    bob.login()
    settle(bob)
    pass_time(MINUTE + SECOND, alice, bob)
    assert alice.messenger.waiting == 0
    assert bob.read_all() == texts(105)
    assert alice.closes == []


def test_mailbox_full_of_key_exchanges_holds_up_nobody_else(unlimited: Town) -> None:
    alice, bob, carol = unlimited.devices("alice", "bob", "carol")
    bob.cut()
    for number in range(100):
        guest = unlimited.world.login(f"guest {number}")
        guest.send({**guest.person.init(bob.id)})
        guest.drop()
    alice.send(bob, "to bob")
    settle(alice)
    alice.send(carol, "to carol")
    pass_time(5 * SECOND, alice, carol)
    assert carol.read_all() == ["to carol"]
