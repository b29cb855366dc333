"""Texts that were written before their sender knew of a device: it gets them, each once, and nothing else."""

import json

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link, said
from group_people import group_of, info
from group_people import said as said_in_group
from group_people import write as write_in_group
from late_people import MINUTE, Family, back, came, held, let_go, noted, people_of, recipients, until_known

from phantom_messenger.client import records
from phantom_messenger.client.devices.late import SOON_MS, LateTexts
from phantom_messenger.client.groups import arrivals, speaking, texts
from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.past import Past
from phantom_messenger.client.status import DeliveryState, MessageEvent
from phantom_messenger.wire import frames


@pytest.fixture
def family(town: Town) -> Family:
    return people_of(town)


def without_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LateTexts, "missed", lambda *_: [])


# --- the race ---------------------------------------------------------------------


def test_text_that_was_written_offline_while_a_device_was_linked_reaches_it(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    (number,) = bob.send(alice, "written offline")
    back(bob, alice, laptop)
    assert came(alice) == came(laptop) == ["written offline"]
    assert bob.frames_sent("MESSAGE")[0]["payload"]["recipientId"] == alice.id
    laptop.read_all()
    pass_time(10_000, *family)
    assert bob.messenger.state_of(number) is DeliveryState.READ
    assert came(alice) == []


def test_control_without_the_sending_it_goes_to_the_first_device_alone(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sending(monkeypatch)
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "written offline")
    back(bob, alice, laptop)
    assert (came(alice), came(laptop)) == (["written offline"], [])


@pytest.mark.parametrize("is_reported", [True, False], ids=["reported", "not yet"])
def test_text_that_the_relay_had_before_the_list_came_reaches_the_device(family: Family, is_reported: bool) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    late = held(bob, alice)
    bob.login()
    bob.send(alice, "one", "two")
    pass_time(10_000, *family)
    assert (came(alice), came(laptop)) == (["one", "two"], [])
    assert bob.messenger._stores.devices.known(alice.id) is None
    # Of what was kept back, the list is the first and the receipts are the rest.
    receipts = late[1:]
    assert receipts
    if is_reported:
        let_go(bob, receipts)
        held(bob, alice, lambda: True)
        settle(bob)
        assert noted(bob, alice)
        let_go(bob, late[:1])
    else:
        let_go(bob, late[:1])
        settle(bob)
        let_go(bob, receipts)
    pass_time(10_000, *family)
    assert came(laptop) == ["one", "two"]
    assert not noted(bob, alice)


def test_list_that_comes_with_the_first_prekeys_counts_too(town: Town) -> None:
    alice, laptop, bob = (town.device(name, strangers="accept").login() for name in ("alice", "laptop", "bob"))
    link(alice, laptop)
    bob.messenger.contacts.add("alice", alice.id)
    bob.send(alice, "to somebody new")
    pass_time(10_000, alice, laptop, bob)
    assert came(alice) == came(laptop) == ["to somebody new"]


def test_texts_come_in_the_order_in_which_they_were_written_and_before_newer_ones(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, *map(str, range(5)))
    late = held(bob, alice)
    bob.login()
    let_go(bob, late)
    while bob.messenger._stores.devices.known(alice.id) is None:
        assert bob.step_down()
    bob.send(alice, "to both")
    pass_time(10_000, *family)
    assert came(laptop) == [*map(str, range(5)), "to both"]


def test_text_to_a_person_with_devices_reaches_one_that_comes_later(family: Family, town: Town) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    back(bob, alice, laptop)
    tablet = town.device("tablet", strangers="ask").login()
    bob.cut()
    link(alice, tablet, laptop)
    bob.send(alice, "to two of three")
    back(bob, alice, laptop, tablet)
    assert came(alice) == came(laptop) == came(tablet) == ["to two of three"]


def test_own_text_of_a_linked_device_reaches_an_own_one_that_comes_later(family: Family, town: Town) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    back(bob, alice, laptop)
    tablet = town.device("tablet", strangers="ask").login()
    laptop.cut()
    link(alice, tablet, bob)
    laptop.send(bob, "from the laptop")
    back(laptop, alice, bob, tablet)
    assert said(tablet, bob)[-1] == said(alice, bob)[-1] == (True, "from the laptop")


# --- groups -------------------------------------------------------------------------


@pytest.fixture
def members(town: Town) -> tuple[Device, Device, Device, Device]:
    """Alice's phone, what is to be her laptop, Bob and Carol: in a group, and Bob is away."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    laptop = town.device("laptop", strangers="ask").login()
    group_of(alice, bob, carol)
    pass_time(10_000, alice, bob, carol)
    assert info(bob).relation == "member"
    bob.cut()
    return alice, laptop, bob, carol


def test_text_to_a_group_reaches_the_device(members: tuple[Device, Device, Device, Device]) -> None:
    alice, laptop, bob, carol = members
    write_in_group(alice, "before")
    pass_time(10_000, alice, laptop, carol)
    link(alice, laptop, carol)
    numbers = write_in_group(bob, "one", "two")
    back(bob, alice, laptop, carol)
    assert said_in_group(laptop) == said_in_group(alice) == said_in_group(carol) == ["before", "one", "two"]
    assert bob.messenger.groups.progress(numbers[0]) == dict.fromkeys((alice.id, carol.id), DeliveryState.DELIVERED)
    assert "missing" not in laptop.troubles()


def test_control_without_the_sending_the_group_s_text_goes_to_the_first_device_alone(
    members: tuple[Device, Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    without_sending(monkeypatch)
    alice, laptop, bob, carol = members
    link(alice, laptop, carol)
    write_in_group(bob, "one", "two")
    back(bob, alice, laptop, carol)
    assert (said_in_group(alice), said_in_group(laptop)) == (["one", "two"], [])


def test_text_to_a_group_that_is_reported_under_an_unknown_list_is_sent(
    members: tuple[Device, Device, Device, Device],
) -> None:
    alice, laptop, bob, carol = members
    link(alice, laptop, carol)
    late = held(bob, alice)
    bob.login()
    write_in_group(bob, "one")
    pass_time(20_000, *members)
    assert (said_in_group(alice), said_in_group(laptop)) == (["one"], [])
    let_go(bob, late[1:])
    held(bob, alice, lambda: True)
    settle(bob)
    assert noted(bob, alice)
    let_go(bob, late[:1])
    pass_time(10_000, *members)
    assert said_in_group(laptop) == ["one"]


def test_where_nobody_reports_arrival_what_the_relay_has_had_for_long_is_not_sent(
    members: tuple[Device, Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (speaking, texts, arrivals):
        monkeypatch.setattr(module, "MAX_TOLD", 2)
    alice, laptop, bob, carol = members
    link(alice, laptop, carol)
    late = held(bob, alice)
    bob.login()
    write_in_group(bob, "long ago")
    pass_time(SOON_MS + MINUTE, *members, step=MINUTE)
    write_in_group(bob, "just now")
    pass_time(10_000, *members)
    let_go(bob, late[:1])
    pass_time(10_000, *members)
    assert said_in_group(laptop) == ["just now"]


# --- nothing twice --------------------------------------------------------------------


def just_arrived(family: Family) -> None:
    """Alice has a text of Bob's, and does not report it, for she appears offline, when she hands it to the laptop."""
    alice, laptop, bob = family
    alice.messenger.tell_presence(frames.PresenceStatus.OFFLINE)
    bob.login()
    bob.send(alice, "on the phone")
    settle(bob, alice)
    bob.cut()
    link(alice, laptop)
    pass_time(20_000, alice, laptop)


def test_text_that_was_handed_over_shows_once(family: Family) -> None:
    alice, laptop, bob = family
    just_arrived(family)
    assert said(laptop, bob)[-1] == (False, "on the phone")
    laptop.events.clear()
    back(bob, alice, laptop)
    assert laptop.id in recipients(bob)
    assert not laptop.heard(MessageEvent)
    assert [text for _, text in said(laptop, bob)].count("on the phone") == 1
    assert came(laptop) == []


def test_control_without_a_look_at_what_was_handed_over_it_shows_twice(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Past, "has_received", lambda *_: False)
    alice, laptop, bob = family
    just_arrived(family)
    back(bob, alice, laptop)
    assert [text for _, text in said(laptop, bob)].count("on the phone") == 2


def test_what_the_first_device_had_before_is_not_sent(family: Family) -> None:
    alice, laptop, bob = family
    bob.login()
    bob.send(alice, "long before")
    pass_time(10_000, alice, bob)
    assert bob.messenger._stores.outbox.sent(bob.send(alice, "again")[0]) is not None
    pass_time(10_000, alice, bob)
    bob.cut()
    link(alice, laptop, history=False)
    bob.sent.clear()
    back(bob, alice, laptop)
    assert laptop.id not in recipients(bob)
    assert came(laptop) == []


# --- crashes --------------------------------------------------------------------------


def test_what_is_to_be_sent_is_stored_with_the_list(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "one", "two")
    until_known(bob, alice)
    bob.kill()
    assert bob.messenger._stores.many.count(laptop.id) == 2
    back(bob, alice, laptop)
    assert sorted(map(str, came(alice))) == sorted(map(str, came(laptop))) == ["one", "two"]


@pytest.mark.parametrize("steps", range(0, 44, 2))
def test_whenever_the_program_dies_the_device_gets_each_text_once(family: Family, steps: int) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "one", "two")
    bob.connect()
    for _ in range(steps):
        bob.fetch()
        bob.step_up()
        bob.step_down()
        settle(alice, laptop)
    bob.kill()
    bob.login()
    pass_time(20_000, *family, reconnect=True)
    assert came(alice) == came(laptop) == ["one", "two"]
    assert len(json.dumps(bob.frames_sent("MESSAGE_MANY"))) > 0


# --- the order, and how many wait ---------------------------------------------------


def written_in_turns(members: tuple[Device, Device, Device, Device]) -> list[str]:
    """The ids of what Bob has written, to Alice and to the group, when he hears of her laptop."""
    alice, laptop, bob, carol = members
    link(alice, laptop, carol)
    numbers: list[str] = []
    for text in ("one", "two"):
        numbers += bob.send(alice, text)
        pass_time(1_000, bob)
        numbers += write_in_group(bob, text)
        pass_time(1_000, bob)
    until_known(bob, alice)
    return numbers


def queue(bob: Device, laptop: Device) -> list[str]:
    """What waits there for the laptop, as it is to leave."""
    return list(bob.messenger._stores.many._queues.get(laptop.id, {}))


def test_order_outlives_the_program(members: tuple[Device, Device, Device, Device]) -> None:
    alice, laptop, bob, carol = members
    numbers = written_in_turns(members)
    assert queue(bob, laptop) == numbers
    bob.kill()
    assert queue(bob, laptop) == numbers
    back(bob, alice, laptop, carol)
    assert came(laptop) == said_in_group(laptop) == ["one", "two"]


def test_control_by_what_is_stored_of_copies_it_is_another_one(
    members: tuple[Device, Device, Device, Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ManyStore, "_written", lambda self, name: self._vault.position(records.MANY, name))
    _, laptop, bob, _ = members
    numbers = written_in_turns(members)
    bob.kill()
    assert queue(bob, laptop) != numbers
    assert sorted(queue(bob, laptop)) == sorted(numbers)


def test_text_that_waits_for_either_device_is_one(members: tuple[Device, Device, Device, Device]) -> None:
    alice, laptop, bob, carol = members
    assert len(written_in_turns(members)) == 4
    for _ in range(2):
        assert bob.messenger.waiting == 4
        bob.kill()
    back(bob, alice, laptop, carol)
    assert bob.messenger.waiting == 0


def test_control_what_waits_is_counted_in_two_places(members: tuple[Device, Device, Device, Device]) -> None:
    _, _, bob, _ = members
    written_in_turns(members)
    stores = bob.messenger._stores
    assert (stores.outbox.texts(), stores.many.count()) == (2, 4)
