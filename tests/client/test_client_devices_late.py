"""Texts that were written before their sender knew of a device: it gets them, each once, and nothing else."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from client_samples import DAY, Device, Town, fast_folder, pass_time, settle
from device_samples import link, said
from group_people import group_of, info
from group_people import said as said_in_group
from group_people import write as write_in_group

from phantom_messenger.client import records
from phantom_messenger.client.devices import late as late_texts
from phantom_messenger.client.devices.late import MAX_LATE, SOON_MS, LateTexts
from phantom_messenger.client.devices.records import LATE, LateRecord
from phantom_messenger.client.groups import arrivals, speaking, texts
from phantom_messenger.client.many import sending
from phantom_messenger.client.many.sending import KEEP_FREE
from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.past import Past
from phantom_messenger.client.status import DeliveryState, MessageEvent
from phantom_messenger.wire import frames
from support.people import Frame, canonical
from support.simulated import MakeWorld

MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
Family = tuple[Device, Device, Device]
"""Alice's phone, what is to be her laptop, and Bob."""


@pytest.fixture
def family(town: Town) -> Family:
    return people_of(town)


@pytest.fixture
def limited(few_prekeys: None, make_world: MakeWorld, tmp_path: Path) -> Iterator[Town]:  # noqa: ARG001 - is in force
    """A relay with the limits that it has if nothing is said."""
    with fast_folder(tmp_path) as folder:
        made = Town(make_world(), folder)
        yield made
        made.close()


def people_of(town: Town) -> Family:
    """They know each other, and Bob is away."""
    alice, bob = town.friends("alice", "bob")
    laptop = town.device("laptop", strangers="ask").login()
    bob.cut()
    return alice, laptop, bob


def came(device: Device) -> list[str | None]:
    """What waits to be read there, in the order in which it came."""
    return [one.text for one in device.waiting()]


def noted(device: Device, person: Device) -> list[str]:
    """Texts that somebody has reported under a list that is not known there."""
    record = device.vault.get(LATE, person.id, LateRecord)
    return [] if record is None else [one.id for one in record.texts]


def back(bob: Device, *others: Device) -> None:
    bob.login()
    pass_time(10_000, bob, *others)


def recipients(device: Device) -> list[str]:
    """Whom a device has sent messages to, at the relay."""
    found = [frame["payload"] for frame in device.frames_sent("MESSAGE")]
    for frame in device.frames_sent("MESSAGE_MANY"):
        found += frame["payload"]["recipients"]
    return [one["recipientId"] for one in found]


def without_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LateTexts, "missed", lambda *_: [])


def held(device: Device, sender: Device, until: Callable[[], bool] = lambda: False) -> list[Frame]:
    """The relay keeps what somebody sends to a device back, until something is so; and what it hands out of lists."""
    late: list[Frame] = []

    def hold(frame: Frame) -> list[Frame]:
        payload = frame.get("payload", {})
        payload.pop("deviceList", None)
        for bundle in payload.get("bundles", []):
            bundle.pop("deviceList", None)
        if frame["type"] == "MESSAGE" and payload["senderId"] == sender.id and not until():
            late.append(frame)
            return []
        return [frame]

    device.tamper = hold
    return late


def let_go(device: Device, late: list[Frame]) -> None:
    device.tamper = None
    device.down += [canonical(frame) for frame in late]


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
    assert said_in_group(laptop) == ["one", "two"]
    assert said_in_group(alice) == said_in_group(carol) == ["before", "one", "two"]
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


# --- bounds ---------------------------------------------------------------------------


def test_no_more_than_the_newest_200_are_sent(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, *map(str, range(MAX_LATE + 1)))
    bob.login()
    pass_time(12 * MINUTE, *family, step=5_000)
    assert came(alice) == [str(one) for one in range(MAX_LATE + 1)]
    assert came(laptop) == [str(one) for one in range(1, MAX_LATE + 1)]


def test_what_is_older_than_seven_days_is_not_sent(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "of last week")
    for one in (alice, laptop):
        one.cut()
    bob.world.clock.advance(8 * DAY)
    bob.world.tick()
    for one in (alice, laptop):
        one.login()
    bob.send(alice, "of today")
    back(bob, alice, laptop)
    assert (came(alice), came(laptop)) == (["of last week", "of today"], ["of today"])


def test_what_was_burned_expired_or_deleted_is_not_sent(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    late = held(bob, alice, lambda: len(late) > 0)  # only the list
    bob.login()
    (burned,) = bob.send(alice, "burned", burn=True)
    bob.send(alice, "expired", expires_in=30_000)
    pass_time(5_000, *family)
    alice.read_all()
    pass_time(MINUTE, *family)
    assert bob.messenger.state_of(burned) is DeliveryState.BURNED
    bob.messenger.remove(alice.id, True)
    bob.messenger.contacts.add("alice", alice.id)
    bob.sent.clear()
    let_go(bob, late)
    pass_time(MINUTE, *family)
    assert len(bob.messenger._stores.devices.devices_of(alice.id)) == 2
    assert came(laptop) == []
    assert not bob.frames_sent("MESSAGE_MANY") or laptop.id not in recipients(bob)


def test_text_that_burns_before_its_further_copy_has_left_is_not_sent(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    (number,) = bob.send(alice, "burns", burn=True)
    _until_known(bob, alice)
    assert bob.messenger._stores.many.has(number)
    bob.fetch()
    while not bob.frames_sent("MESSAGE"):
        assert bob.step_up()
    settle(alice)
    alice.read_all()
    pass_time(3_000, alice)
    while bob.messenger.state_of(number) is not DeliveryState.BURNED:
        assert bob.step_down()
    assert not bob.messenger._stores.many.has(number)
    pass_time(10_000, *family)
    assert came(laptop) == []


def test_device_that_is_removed_before_the_copies_leave_gets_none(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    (number,) = bob.send(alice, "for a while")
    _until_known(bob, alice)
    message = bob.messenger._stores.many.get(number)
    assert message is not None
    assert message.copies[laptop.id].waits
    bob.cut()
    alice.messenger.desk.remove(laptop.id)
    pass_time(3_000, alice)
    back(bob, alice)
    assert laptop.id not in recipients(bob)
    message = bob.messenger._stores.many.get(number)
    assert message is not None
    assert message.copies[laptop.id].state == DeliveryState.FAILED
    assert bob.messenger.state_of(number) is DeliveryState.DELIVERED


def test_list_that_has_run_out_brings_no_device_to_any_text(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.wall_error = 91 * DAY
    bob.send(alice, "written offline")
    back(bob, alice, laptop)
    assert bob.messenger._stores.devices.known(alice.id) is not None
    assert (came(alice), came(laptop)) == (["written offline"], [])


def test_whoever_appears_offline_is_not_shown_by_it(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "written offline")
    bob.messenger.tell_presence(frames.PresenceStatus.OFFLINE)
    back(bob, alice, laptop)
    assert (came(alice), came(laptop)) == (["written offline"], [])
    bob.send(alice, "here I am")
    pass_time(10_000, *family)
    assert came(laptop) == ["written offline", "here I am"]


def test_what_is_remembered_of_reports_is_bounded_and_goes_with_the_person(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    late = held(bob, alice)
    bob.login()
    bob.send(alice, "one")
    pass_time(10_000, *family)
    let_go(bob, late[1:])
    held(bob, alice, lambda: True)
    settle(bob)
    assert noted(bob, alice)
    bob.messenger.remove(alice.id, False)
    assert not noted(bob, alice)


def test_whoever_brings_in_device_after_device_is_sent_a_bounded_number_of_copies(
    family: Family, town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late_texts, "MAX_GIVEN", 3)
    alice, laptop, bob = family
    alice.messenger.tell_presence(frames.PresenceStatus.OFFLINE)  # nothing is ever reported
    link(alice, laptop)
    bob.send(alice, "one", "two")
    back(bob, alice, laptop)
    assert came(laptop) == ["one", "two"]
    others = [town.device(name, strangers="ask").login() for name in ("tablet", "watch")]
    for other in others:
        pass_time(5_000, *family, *others)
        link(alice, other, bob, laptop, history=False)
    pass_time(10_000, *family, *others)
    assert [came(other) for other in others] == [["two"], []]
    later = town.device("later", strangers="ask").login()
    pass_time(DAY, *family, *others, later, step=HOUR, reconnect=True)
    pass_time(5_000, *family, *others, later, reconnect=True)
    link(alice, later, bob, laptop, *others, history=False)
    pass_time(10_000, *family, *others, later)
    assert came(later) == ["one", "two"]


@pytest.mark.parametrize("keep", [KEEP_FREE, -1], ids=["", "control"])
def test_what_is_sent_late_keeps_nothing_from_leaving_that_is_written_now(
    limited: Town, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    monkeypatch.setattr(sending, "KEEP_FREE", keep)
    family = alice, laptop, bob = people_of(limited)
    carol = limited.device("carol").login()
    bob.messenger.contacts.add("carol", carol.id)
    link(alice, laptop)
    late = held(bob, alice)
    bob.login()
    bob.send(alice, *map(str, range(MAX_LATE)))
    while len(came(alice)) < MAX_LATE:
        pass_time(5_000, *family, carol)
    pass_time(MINUTE, *family, carol)
    let_go(bob, late[:1])
    pass_time(3_000, *family, carol)
    assert 0 < len(came(laptop)) < MAX_LATE
    bob.send(alice, "to both")
    bob.send(carol, "to another")
    pass_time(3_000, *family, carol)
    arrived = ["to both" in came(alice), came(carol) == ["to another"]]
    assert arrived == ([True, True] if keep == KEEP_FREE else [False, False])
    pass_time(3 * MINUTE, *family, carol)
    assert came(laptop) == [*map(str, range(MAX_LATE)), "to both"]


# --- crashes --------------------------------------------------------------------------


def _until_known(bob: Device, alice: Device) -> None:
    """Bob's client connects, and has taken the list up; nothing that follows from it has left."""
    bob.connect()
    while bob.messenger._stores.devices.known(alice.id) is None:
        bob.fetch()
        assert bob.step_up() | bob.step_down()


def test_what_is_to_be_sent_is_stored_with_the_list(family: Family) -> None:
    alice, laptop, bob = family
    link(alice, laptop)
    bob.send(alice, "one", "two")
    _until_known(bob, alice)
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
    _until_known(bob, alice)
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
