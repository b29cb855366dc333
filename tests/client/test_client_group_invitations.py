"""Invitations to groups of which there is something already: a past membership, or somebody else's invitation."""

import pytest
from client_samples import Device, Town, pass_time
from group_forger import Forger
from group_people import group_of, info, keep_back, known, names, unread, write

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import invitations, rivals
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.change import MAX_REVISION
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.simulated import SECOND

NO_ADMIN = "was no admin of it then"


def forks(device: Device) -> list[str]:
    """What its user has heard of other histories since this was asked last."""
    return [one.message for one in device.heard(GroupEvent) if one.news is GroupNews.FORKED]


def left(town: Town, *, by_an_admin: bool = False) -> tuple[Device, Device, Device, bytes]:
    """Ada, Ben who has left her group, and Mal, who was never in it, or was its admin."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(*((mal, ben, ada) if by_an_admin else (ada, ben)))
    write(ben, "of old times")
    pass_time(10 * SECOND, ada, ben, mal)
    group = known(ben).record.group
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, ada, ben, mal)
    return ada, ben, mal, group


@pytest.mark.parametrize("by_an_admin", [False, True], ids=["", "control: by an admin"])
def test_invitation_back_by_somebody_who_was_no_admin_says_so(town: Town, by_an_admin: bool) -> None:
    ada, ben, mal, group = left(town, by_an_admin=by_an_admin)
    Forger(mal, group, ada).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    told = ben.heard(GroupEvent)[-1].message
    assert (NO_ADMIN in told, info(ben).was_no_admin) == (not by_an_admin, not by_an_admin)
    assert told.startswith("mal invites you to 'Tea'")


@pytest.mark.parametrize("then", ["declined", "taken back"])
def test_another_invitation_is_judged_by_whoever_was_admin_when_one_was_a_member(town: Town, then: str) -> None:
    ada, ben, mal, group = left(town)
    forger = Forger(mal, group, ada)
    for number in range(3):
        forger.invite(ben)
        pass_time(5 * SECOND, ada, ben, mal)
        assert NO_ADMIN in ben.heard(GroupEvent)[-1].message
        assert info(ben).was_no_admin
        ben.kill()
        ben.login()
        assert info(ben).was_no_admin, "it is no matter of one run of the program"
        if then == "declined":
            ben.messenger.groups.leave("Tea")
            forger = Forger(mal, group, ada, revision=50 + number)
        else:
            forger.take_back(ben)
        pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    assert ben.heard(GroupEvent)[-1].message == "ada invites you to 'Tea'"
    ben.messenger.groups.accept("Tea")
    assert not info(ben).was_no_admin
    assert known(ben).record.admins_then == []


def test_control_by_the_state_of_the_last_invitation_the_admin_would_be_suspect(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, ben, mal, group = left(town)
    genuine = invitations.admins_then
    monkeypatch.setattr(
        invitations, "admins_then", lambda group: genuine(group and group.with_record(admins_then=[], fresh=False))
    )
    Forger(mal, group, ada).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    ben.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    assert f"ada {NO_ADMIN}" in ben.heard(GroupEvent)[-1].message


@pytest.mark.parametrize("by_an_admin", [False, True], ids=["", "control: by an admin"])
def test_link_of_somebody_who_was_no_admin_leads_into_no_group_of_before(
    town: Town, monkeypatch: pytest.MonkeyPatch, by_an_admin: bool
) -> None:
    ada, ben, mal, group = left(town, by_an_admin=by_an_admin)
    mal.messenger.groups.create("Coffee", [])
    link = mal.messenger.groups.link("Coffee", "wss://relay.example/ws")
    monkeypatch.setattr(Arrivals, "_join", lambda *_: [])
    ben.messenger.groups.join(JoinLink.parse(link))
    pass_time(5 * SECOND, ada, ben, mal)
    Forger(mal, group, ada).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    assert info(ben).relation == ("member" if by_an_admin else "invited")
    assert (NO_ADMIN in ben.heard(GroupEvent)[-1].message) == (not by_an_admin)


TOO = "ada invites you to 'Tea', too"


def squatted(
    town: Town, *, revision: int, is_accepted: bool, names_her: bool = False, was_removed: bool = False
) -> tuple[Device, Device, Device]:
    """Mal, a member, invites Ben to a group of his own with the id of Ada's, perhaps with her in it; then she does."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, mal)
    if was_removed:
        ada.messenger.groups.remove("Tea", [mal.id])
        pass_time(3 * SECOND, ada, mal)
    Forger(mal, known(ada).record.group, *([ada] if names_her else []), revision=revision).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    if is_accepted:
        ben.messenger.groups.accept("Tea")
        pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    return ada, ben, mal


@pytest.mark.parametrize("is_accepted", [False, True], ids=["invited", "accepted"])
@pytest.mark.parametrize("revision", [1, 40, MAX_REVISION - 5])
def test_whoever_is_invited_to_two_groups_of_one_id_is_told(town: Town, revision: int, is_accepted: bool) -> None:
    ada, ben, mal = squatted(town, revision=revision, is_accepted=is_accepted)
    (told,) = (one for one in forks(ben) if one.startswith(TOO))
    assert "than mal has shown you; ask both of them who is right: to see the group of ada, leave this one," in told
    ben.messenger.groups.leave("Tea")
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    ben.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, ada, ben, mal)
    assert names(ben) == names(ada) == {ada.id, ben.id, mal.id}
    write(ada, "this is the one")
    pass_time(5 * SECOND, ada, ben, mal)
    assert unread(ben) == ["this is the one"]


@pytest.mark.parametrize("is_accepted", [False, True], ids=["invited", "accepted"])
@pytest.mark.parametrize("revision", [40, MAX_REVISION - 5])
def test_invitation_that_was_written_later_is_told_though_its_writer_is_in_what_was_made_up(
    town: Town, revision: int, is_accepted: bool
) -> None:
    _, ben, _ = squatted(town, revision=revision, is_accepted=is_accepted, names_her=True)
    (told,) = forks(ben)
    assert told.startswith(TOO)
    assert "than mal has shown you" in told


@pytest.mark.parametrize("was_removed", [True, False], ids=["no member", "control: a member"])
@pytest.mark.parametrize("at", [0, 1 << 60], ids=["not known", "a lie"])
def test_invitation_is_told_that_knows_the_first_inviter_as_no_member_whatever_they_have_said_of_the_time(
    town: Town, monkeypatch: pytest.MonkeyPatch, at: int, was_removed: bool
) -> None:
    monkeypatch.setattr(invitations, "written_at", lambda *_: at)
    _, ben, _ = squatted(town, revision=40, is_accepted=False, names_her=True, was_removed=was_removed)
    assert [one.startswith(TOO) for one in forks(ben)] == [True] * was_removed


def test_member_is_told_once_of_what_somebody_else_has_made_up(town: Town) -> None:
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, ben)
    forger = Forger(mal, known(ada).record.group)
    for _ in range(3):
        forger.invite(ben)
        pass_time(5 * SECOND, ada, ben, mal)
        forger.take_back(ben)
        pass_time(5 * SECOND, ada, ben, mal)
    assert [one.split(",")[0] for one in forks(ben)] == ["mal invites you to 'Tea'"]
    assert info(ben).doubt == ""
    write(ben, "nothing has stopped")
    pass_time(5 * SECOND, ada, ben, mal)
    assert unread(ada) == ["nothing has stopped"]


def test_control_without_the_look_at_it_the_second_invitation_is_not_heard_of(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "elsewhere", lambda *_: None)
    _, ben, _ = squatted(town, revision=MAX_REVISION - 5, is_accepted=False)
    assert forks(ben) == []


def test_invitation_back_by_another_admin_is_no_second_one(town: Town) -> None:
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, ben, mal)
    ada.messenger.groups.set_role("Tea", mal.id, "admin")
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, mal)
    mal.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    assert forks(ben) == []


def test_of_few_who_invite_to_another_group_of_its_id_one_is_told_and_of_no_stranger(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ben.messenger._stores.book.asks = True
    group, before = known(ada).record.group, known(ben).record.shown
    for number in range(rivals.MAX_INVITERS + 2):
        mal = town.device(f"mal{number}").login()
        mal.messenger.contacts.add("ben", ben.id)
        is_stranger = number == 0
        if not is_stranger:
            ben.messenger.contacts.add(mal.name, mal.id)
        Forger(mal, group).invite(ben)
        pass_time(5 * SECOND, ada, ben, mal)
        assert len(known(ben).record.inviters) == min(number, rivals.MAX_INVITERS)
    assert len(forks(ben)) == rivals.MAX_INVITERS
    assert known(ben).record.shown == before, "what has stopped the group once goes on being known"


@pytest.mark.parametrize("is_member", [True, False], ids=["member", "only invited"])
def test_invitation_back_that_comes_before_the_removal_is_one(town: Town, is_member: bool) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, cleo)
    ada.messenger.groups.set_role("Tea", cleo.id, "admin")
    pass_time(5 * SECOND, ada, cleo)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    if is_member:
        ben.messenger.groups.accept("Tea")
        pass_time(5 * SECOND, ada, ben, cleo)
    late = keep_back(ben, ada)
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(3 * SECOND, ada, ben, cleo)
    cleo.messenger.groups.rename("Tea", "Tea and cake")
    pass_time(3 * SECOND, ada, cleo)
    cleo.messenger.groups.add("Tea and cake", [ben.id])
    pass_time(2 * SECOND, ada, ben, cleo)
    assert late
    ben.tamper = None
    ben.cut()
    ben.login()  # and ada's removal comes at last
    pass_time(10 * SECOND, ada, ben, cleo)
    assert info(ben, "Tea and cake").relation == "invited"
    assert ben.heard(GroupEvent)[-1].message == "cleo invites you to 'Tea and cake'"
    ben.messenger.groups.accept("Tea and cake")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert names(ben, "Tea and cake") == names(ada, "Tea and cake") == {ada.id, ben.id, cleo.id}


def test_control_without_a_look_at_what_was_held_it_is_lost(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Arrivals, "_invited_back", lambda *_: [])
    with pytest.raises((AssertionError, UsageError)):
        test_invitation_back_that_comes_before_the_removal_is_one(town, is_member=True)


@pytest.mark.parametrize("is_known", [False, True], ids=["stranger", "control: a contact"])
def test_what_a_stranger_has_said_before_a_removal_invites_nobody_after_it(town: Town, is_known: bool) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ben.messenger._stores.book.asks = True
    mal = town.device("mal").login()
    mal.messenger.contacts.add("ben", ben.id)
    if is_known:
        ben.messenger.contacts.add("mal", mal.id)
    Forger(mal, known(ada).record.group, ada).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    assert [one.sender for one in ben.messenger._stores.groups.held(info(ben).group)] == [mal.id]
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, mal)
    assert info(ben).relation == ("invited" if is_known else "removed")
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    assert any(one.startswith(TOO) for one in forks(ben)) is is_known
    assert info(ben).inviter == ben.messenger.contacts.of(mal.id if is_known else ada.id)


def test_old_invitation_of_a_member_that_comes_late_is_no_second_one(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, cleo)
    ada.messenger.groups.set_role("Tea", cleo.id, "admin")
    pass_time(5 * SECOND, ada, cleo)
    late = keep_back(ben, ada)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    cleo.messenger.groups.add("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    assert late
    assert info(ben).relation == "invited"
    ben.tamper = None
    ben.cut()
    ben.login()
    pass_time(10 * SECOND, ada, ben, cleo)
    assert forks(ben) == []
