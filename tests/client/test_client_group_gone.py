"""Members who cannot be written to any more keep nobody from changing the group."""

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, names, news, said, unread, write
from many_copies import refusing

from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.pacing import Pacing
from phantom_messenger.client.status import DeliveryState, GroupNews
from support.simulated import MINUTE, SECOND
from support.store_user import DAY


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


# --- who is there after all ---------------------------------------------------------------


def invited_late(town: Town) -> tuple[Device, Device]:
    """Bob was invited before the relay knew him, and has not accepted."""
    alice, bob = town.device("alice").login(), town.device("bob")
    alice.messenger.groups.create("Tea", [bob.id])
    settle(alice)
    bob.login()
    pass_time(5 * MINUTE, alice, bob, step=5 * SECOND)
    assert info(bob).relation == "invited"
    return alice, bob


def remove_with_a_full_mailbox(alice: Device, bob: Device) -> None:
    """The relay takes the change, and has no room for Bob's copy of it for a minute."""
    full = {"recipientId": bob.id, "code": 1003, "reason": "backlog", "retryAfter": MINUTE}
    alice.tamper = refusing(1, full)
    alice.messenger.groups.remove("Tea", [bob.id])
    pass_time(10 * SECOND, alice, bob)


def test_who_is_known_by_now_gets_their_copy_once_there_is_room(town: Town) -> None:
    alice, bob = invited_late(town)
    remove_with_a_full_mailbox(alice, bob)
    assert alice.messenger.waiting == 1
    pass_time(2 * MINUTE, alice, bob, step=5 * SECOND)
    assert (alice.messenger.waiting, bob.messenger.groups.all()) == (0, [])


def test_control_whoever_was_unknown_once_is_taken_for_gone(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pacing, "exists", lambda *_: None)
    alice, bob = invited_late(town)
    remove_with_a_full_mailbox(alice, bob)
    assert alice.messenger.waiting == 0, "the copy is dropped"


def test_who_was_removed_before_the_relay_knew_them_hears_both(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob")
    alice.messenger.groups.create("Tea", [bob.id])
    settle(alice)
    alice.messenger.groups.remove("Tea", [bob.id])
    settle(alice)
    pass_time(6 * SECOND, alice)
    assert names(alice) == {alice.id}
    bob.login()
    pass_time(5 * MINUTE, alice, bob, step=5 * SECOND)
    assert (news(bob), bob.messenger.groups.all()) == ([GroupNews.INVITED, GroupNews.REMOVED], [])
    assert alice.messenger.waiting == 0


def test_copies_for_whom_the_relay_does_not_know_are_kept_for_30_days(town: Town) -> None:
    alice, carol = town.friends("alice", "carol")
    group_of(alice, carol)
    bob = town.device("bob")
    alice.messenger.groups.add("Tea", [bob.id])
    settle(alice, carol)
    [number] = write(alice, "are you there?")
    settle(alice, carol)
    assert alice.messenger.waiting == 2
    alice.cut()
    town.world.clock.advance(29 * DAY)
    alice.login()
    pass_time(MINUTE, alice)
    assert alice.messenger.waiting == 2
    alice.cut()
    town.world.clock.advance(2 * DAY)
    alice.login()
    pass_time(MINUTE, alice)
    assert alice.messenger.waiting == 0
    assert alice.messenger.groups.progress(number).get(bob.id) in {None, DeliveryState.FAILED}


def invited_twice(town: Town) -> Device:
    """Bob gets two texts while he is invited, is removed and invited again, and answers a third."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    group_of(alice, carol)
    for round_ in ("first", "second"):
        alice.messenger.groups.add("Tea", [bob.id])
        settle(alice, bob, carol)
        if round_ == "first":
            write(alice, "one", "two")
            settle(alice, bob, carol)
            alice.messenger.groups.remove("Tea", [bob.id])
        settle(alice, bob, carol)
        pass_time(10 * SECOND, alice, bob, carol)
    bob.messenger.groups.accept("Tea")
    write(alice, "three")
    pass_time(20 * MINUTE, alice, bob, carol, step=10 * SECOND)
    assert unread(bob) == ["three"]
    return alice


def test_texts_of_before_a_removal_are_not_sent_again(town: Town) -> None:
    assert "resent" not in invited_twice(town).troubles()


def test_control_texts_whose_answers_are_still_waited_for_are_sent_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ManyStore, "withdraw", lambda *_, **__: None)
    assert "resent" in invited_twice(town).troubles()
