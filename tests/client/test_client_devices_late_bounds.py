"""How many texts that were written before their sender knew of a device reach it, and which do not."""

import pytest
from client_samples import DAY, Town, pass_time, settle
from device_samples import link
from late_people import HOUR, MINUTE, Family, back, came, held, let_go, noted, people_of, recipients, until_known

from phantom_messenger.client.devices import late as late_texts
from phantom_messenger.client.devices.late import MAX_LATE
from phantom_messenger.client.many import sending
from phantom_messenger.client.many.sending import KEEP_FREE
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.wire import frames


@pytest.fixture
def family(town: Town) -> Family:
    return people_of(town)


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
    until_known(bob, alice)
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
    until_known(bob, alice)
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
