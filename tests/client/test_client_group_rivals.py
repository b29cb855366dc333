"""Whoever was invited to a group that was made up comes into the true one: it is closed, declined or left."""

from pathlib import Path

import pytest
from client_samples import DAY, WORDS, Device, Town, pass_time
from group_forger import Forger
from group_people import digits, group_of, info, known, names, restored, said, tell, write

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.change import Close
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.records import GROUP_HELD
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.simulated import MINUTE, SECOND


def made_up(town: Town, *, is_accepted: bool, revision: int = 40) -> tuple[Device, Device, Device, Forger]:
    """Ada's group of herself and Cleo, and Ben, whom Mal has invited to another one of its id."""
    ada, ben, cleo, mal = town.friends("ada", "ben", "cleo", "mal")
    group_of(ada, cleo)
    forger = Forger(mal, known(ada).record.group, ada, revision=revision)
    forger.invite(ben)
    pass_time(5 * SECOND, ada, ben, cleo, mal)
    if is_accepted:
        ben.messenger.groups.accept("Tea")
        pass_time(5 * SECOND, ada, ben, cleo, mal)
    return ada, ben, mal, forger


def invite(ada: Device, ben: Device, *others: Device) -> None:
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, *others)


def assert_invited(ada: Device, ben: Device, *others: Device, is_back: bool) -> None:
    """Ben is invited to Ada's group, and comes into it."""
    about = info(ben)
    assert about.inviter is not None
    assert (about.relation, about.inviter.name, about.was_no_admin) == ("invited", "ada", is_back)
    assert ben.heard(GroupEvent)[-1].news is GroupNews.INVITED
    ben.messenger.groups.accept("Tea")
    pass_time(10 * SECOND, ada, ben, *others)
    assert (info(ben).relation, info(ben).doubt, len(digits(ada, ben))) == ("member", "", 1)
    write(ada, "welcome")
    pass_time(5 * SECOND, ada, ben, *others)
    assert said(ben) == ["welcome"]


@pytest.mark.parametrize("is_accepted", [True, False], ids=["accepted", "only invited"])
@pytest.mark.parametrize("when", ["after", "before", "control: it is not closed"])
@pytest.mark.parametrize("revision", [1, 40])
def test_group_that_is_closed_hides_no_other_one_of_its_id(
    town: Town, is_accepted: bool, when: str, revision: int
) -> None:
    ada, ben, mal, forger = made_up(town, is_accepted=is_accepted, revision=revision)
    for number in range(4):  # so that it is ahead of the one that begins at 1
        ada.messenger.groups.set_timer("Tea", DAY + number)
        pass_time(5 * SECOND, ada)
    if when == "before":
        invite(ada, ben, mal)
    if not when.startswith("control"):
        forger.say(ben, Close())
    pass_time(5 * SECOND, ben, mal)
    if when != "before":
        invite(ada, ben, mal)
    if when.startswith("control"):
        about = info(ben)
        assert about.inviter is not None
        assert (about.inviter.name, about.relation) == ("mal", "member" if is_accepted else "invited")
    else:
        assert_invited(ada, ben, mal, is_back=is_accepted)


def test_change_of_a_closed_group_that_comes_late_invites_to_no_other_one(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    (step, *_) = known(ben).chain.steps
    ada.messenger.groups.close("Tea")
    pass_time(5 * SECOND, ada, ben)
    state = step.before.encode() if step.before.revision else b""
    again = GroupChange(group=known(ben).record.group, change=step.change.encoded, state=state, base=step.base)
    tell(ada, [ben], again)
    pass_time(5 * SECOND, ada, ben)
    assert info(ben).relation == "closed"


@pytest.mark.parametrize("is_accepted", [True, False], ids=["left", "declined"])
@pytest.mark.parametrize("is_shown", [True, False], ids=["shown", "control: not looked at"])
def test_who_leaves_a_group_is_invited_to_the_other_one_of_its_id_of_which_they_were_told(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_accepted: bool, is_shown: bool
) -> None:
    ada, ben, mal, _ = made_up(town, is_accepted=is_accepted)
    invite(ada, ben, mal)
    assert [one.news for one in ben.heard(GroupEvent)][-1] is GroupNews.FORKED
    ben.kill()
    ben.login()
    if not is_shown:
        monkeypatch.setattr(Arrivals, "left", lambda *_: [])
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, ada, ben, mal)
    assert ben.id in names(ada), "it is not Ada's group that they have left"
    assert known(ada).record.leaving == []
    if is_shown:
        assert_invited(ada, ben, mal, is_back=is_accepted)
    else:
        assert info(ben).relation == "left"


def test_of_the_other_ones_of_its_id_a_file_holds_nothing(town: Town, tmp_path: Path) -> None:
    """As the protocol says; the control is above: without a restore the other one is shown."""
    ada, ben, mal, _ = made_up(town, is_accepted=True)
    invite(ada, ben, mal)
    assert ben.vault.has_kind(GROUP_HELD)
    export_profile(ben.vault, tmp_path / "file", WORDS)
    restored(ben, tmp_path / "file").login()
    assert not ben.vault.has_kind(GROUP_HELD)
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, ada, ben, mal)
    assert info(ben).relation == "left"
    assert known(ada).record.leaving == [ben.id], "it is told to all: Ada takes it for her own group"
    invite(ada, ben, mal)
    pass_time(5 * MINUTE, ada, ben, mal, step=SECOND)
    assert_invited(ada, ben, mal, is_back=True)


def test_nobody_keeps_it_from_a_group_by_inviting_to_another_one_that_somebody_has_left(town: Town) -> None:
    ada, ben, cleo, mal = town.friends("ada", "ben", "cleo", "mal")
    group_of(ada, ben, cleo)
    Forger(mal, known(ada).record.group, ada, cleo).invite(ben)
    pass_time(10 * SECOND, ada, ben, cleo, mal)
    assert known(ben).record.inviters == [mal.id]
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, ada, ben, cleo, mal)
    assert names(ada) == names(cleo) == {ada.id, cleo.id}
    inviter = info(ben).inviter
    assert (info(ben).relation, info(ben).was_no_admin, inviter and inviter.name) == ("invited", True, "mal")


def test_of_each_who_invites_to_another_group_the_last_invitation_is_shown_one_after_the_other(town: Town) -> None:
    ada, ben, mal, _ = made_up(town, is_accepted=False)
    (eve,) = town.devices("eve")
    for one, other in ((ben, eve), (eve, ben)):
        one.messenger.contacts.add(other.name, other.id)
    pass_time(5 * SECOND, ben, eve)
    Forger(eve, known(ada).record.group, revision=30).invite(ben)
    pass_time(5 * SECOND, ben, eve)
    invite(ada, ben, mal)
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    invite(ada, ben, mal)
    everybody = (ada, ben, mal, eve)
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, *everybody)
    inviter = info(ben).inviter
    assert (info(ben).relation, inviter and inviter.name) == ("invited", "eve")
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, *everybody)
    assert known(ben).state.revision == known(ada).state.revision, "the last one of hers"
    assert_invited(ada, ben, mal, is_back=False)
    ben.messenger.groups.leave("Tea")
    pass_time(10 * SECOND, *everybody)
    assert (info(ben).relation, ben.id in names(ada)) == ("left", False), "and no other one waits"
