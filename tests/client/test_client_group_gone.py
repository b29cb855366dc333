"""Members who cannot be written to any more keep nobody from changing the group."""

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, names, news, said, unread, write

from phantom_messenger.client.status import GroupNews
from support.simulated import MINUTE, SECOND


def delete_account(device: Device) -> None:
    """The device's owner is gone, for the relay too."""
    assert device.messenger.delete_account()
    settle(device)


@pytest.mark.parametrize("writes_before", [False, True], ids=["unnoticed", "written-to"])
@pytest.mark.parametrize("restarts", [False, True], ids=["goes-on", "restarted"])
def test_member_whose_account_is_gone_is_removed(town: Town, writes_before: bool, restarts: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    group_of(alice, bob, admins=2)
    delete_account(bob)
    if writes_before:
        write(alice, "are you there?")
        settle(alice)
    if restarts:
        alice.kill()
        alice.login()
    alice.messenger.groups.remove("Tea", [bob.id])
    settle(alice)
    pass_time(6 * SECOND, alice)
    assert (names(alice), alice.messenger.groups.wanted, news(alice)) == ({alice.id}, 0, [GroupNews.CHANGED])
    assert alice.messenger.waiting == 0, "the change is kept for somebody who is no member any more"
    carol = town.device("carol").login()
    alice.messenger.groups.add("Tea", [carol.id])
    settle(alice, carol)
    carol.messenger.contacts.accept(alice.id)
    carol.messenger.groups.accept("Tea")
    settle(alice, carol)
    write(carol, "hello")
    pass_time(5 * SECOND, alice, carol)
    assert said(alice)[-1] == "hello"


def test_group_is_changed_although_all_others_are_gone(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    group_of(alice, bob, carol)
    delete_account(bob)
    delete_account(carol)
    alice.kill()  # of the sessions with them one was lost, too
    alice.login()
    write(alice, "are you there?")
    alice.messenger.groups.rename("Tea", "Coffee")
    settle(alice)
    pass_time(6 * SECOND, alice)
    assert (info(alice, "Coffee").revision, alice.messenger.groups.wanted) == (3, 0)
    for one in (bob, carol):
        alice.messenger.groups.remove("Coffee", [one.id])
        settle(alice)
        pass_time(6 * SECOND, alice)
    assert (names(alice, "Coffee"), alice.messenger.groups.wanted) == ({alice.id}, 0)


def test_whoever_has_never_been_at_the_relay_is_told_once_they_come(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob")
    alice.messenger.groups.create("Tea", [bob.id])
    settle(alice)
    alice.messenger.groups.rename("Tea", "Coffee")
    settle(alice)
    pass_time(6 * SECOND, alice)
    assert (names(alice, "Coffee"), alice.messenger.groups.wanted) == ({alice.id, bob.id}, 0)
    assert alice.messenger.waiting == 2
    bob.login()
    pass_time(5 * MINUTE, alice, bob, step=5 * SECOND)
    bob.messenger.contacts.accept(alice.id)
    bob.messenger.groups.accept("Coffee")
    settle(alice, bob)
    write(bob, "here I am", group="Coffee")
    pass_time(5 * SECOND, alice, bob)
    assert unread(alice) == ["here I am"]


def test_blocked_member_is_removed_though_the_first_try_had_not_left(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    group_of(alice, bob)
    alice.cut()
    alice.messenger.groups.remove("Tea", [bob.id])
    alice.messenger.block(bob.id)
    alice.kill()
    alice.login()
    settle(alice, bob)
    pass_time(6 * SECOND, alice, bob)
    assert (names(alice), alice.messenger.groups.wanted) == ({alice.id}, 0)
