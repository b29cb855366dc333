"""Greetings and goodbyes that come before the change which makes their sender a member."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, keep_back, names, news

from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.store import GroupStore
from phantom_messenger.client.status import GroupNews
from support.people import Frame
from support.simulated import SECOND

RELAY = "wss://relay.test/ws"


def absent(device: Device) -> set[str]:
    """Members who have not said that they are there."""
    return {one.contact.user_id for one in info(device).members if not one.has_joined}


def without_answers(device: Device) -> None:
    """The relay's answers to messages to many are lost, but not what others say."""

    def lost(frame: Frame) -> list[Frame]:
        return [] if frame["type"] == "MANY_RESULT" else [frame]

    device.tamper = lost


def with_answers(device: Device) -> None:
    """They come, with a new connection."""
    device.tamper = None
    device.cut()
    device.login()


def invited(town: Town, does: Callable[[Device], object]) -> tuple[Device, Device]:
    """Ada makes a group with Ben, who does something before she hears that the relay has her change."""
    ada, ben = town.friends("ada", "ben")
    without_answers(ada)
    ada.messenger.groups.create("Tea", [ben.id])
    pass_time(2 * SECOND, ada, ben)
    does(ben)
    pass_time(2 * SECOND, ada, ben)
    assert names(ada) == {ada.id}
    with_answers(ada)
    pass_time(10 * SECOND, ada, ben)
    return ada, ben


def accept(device: Device) -> None:
    device.messenger.groups.accept("Tea")


def decline(device: Device) -> None:
    device.messenger.groups.leave("Tea")


def accept_and_leave(device: Device) -> None:
    accept(device)
    settle(device)
    decline(device)


@pytest.mark.parametrize("does", [decline, accept_and_leave])
def test_whoever_leaves_before_the_admin_knows_that_they_are_in_is_removed(
    town: Town, does: Callable[[Device], object]
) -> None:
    ada, _ = invited(town, does)
    assert names(ada) == {ada.id}
    assert GroupNews.LEFT in news(ada)


def test_whoever_accepts_before_the_admin_knows_that_they_are_in_has_joined(town: Town) -> None:
    ada, ben = invited(town, accept)
    assert (names(ada), absent(ada)) == ({ada.id, ben.id}, set())
    assert news(ada).count(GroupNews.JOINED) == 1


@pytest.mark.parametrize("does", [decline, accept])
def test_control_if_it_is_not_kept_they_stay_members_who_never_come(
    town: Town, monkeypatch: pytest.MonkeyPatch, does: Callable[[Device], object]
) -> None:
    monkeypatch.setattr(GroupStore, "hold", lambda *_: None)
    ada, ben = invited(town, does)
    assert (names(ada), absent(ada)) == ({ada.id, ben.id}, {ben.id})


def test_stranger_who_comes_by_a_link_is_heard_as_well(town: Town) -> None:
    ada, ben = town.device("ada").login(), town.device("ben").login()
    ada.messenger.groups.create("Tea", [])
    settle(ada)
    link = ada.messenger.groups.link("Tea", RELAY)
    without_answers(ada)
    ben.messenger.groups.join(JoinLink.parse(link))
    pass_time(5 * SECOND, ada, ben)
    assert (info(ben).relation, names(ada)) == ("member", {ada.id})
    with_answers(ada)
    pass_time(10 * SECOND, ada, ben)
    assert (names(ada), absent(ada)) == ({ada.id, ben.id}, set())


def test_newcomer_is_heard_by_a_member_who_lacks_the_change(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, cleo)
    late = keep_back(cleo, ada)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(2 * SECOND, ada, ben, cleo)
    accept(ben)
    pass_time(2 * SECOND, ada, ben, cleo)
    assert (bool(late), names(cleo)) == (True, {ada.id, cleo.id})
    with_answers(cleo)
    pass_time(10 * SECOND, ada, ben, cleo)
    assert (names(cleo), absent(cleo)) == ({ada.id, ben.id, cleo.id}, set())


def test_who_is_no_member_and_is_not_being_added_leaves_nothing(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    group = info(ada).group
    ada.messenger.groups.remove("Tea", [ben.id])
    settle(ada)
    decline(ben)
    pass_time(5 * SECOND, ada, ben)
    assert ada.messenger._stores.groups.held(group) == []
