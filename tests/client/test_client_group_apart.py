"""Groups that are divided, or made up, at revisions that are far from each other: whoever lives in one half is told."""

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_forger import Forger
from group_people import group_of, info, keep_back, known, said, signed, tell, write

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.chain import Chain, Standing
from phantom_messenger.client.groups.change import SetName, SetTimer
from phantom_messenger.client.groups.contents import GroupChange, GroupChanges
from phantom_messenger.client.status import GroupEvent
from support.simulated import MINUTE, SECOND

HOUR = 60 * MINUTE


def rival_of(device: Device) -> str:
    """Who has another history, as its user is shown; '' if nobody."""
    rival = info(device).rival
    assert (info(device).doubt == "forked") == (rival is not None)
    return "" if rival is None else rival.user_id


# --- divided by an admin who leaves numbers out ------------------------------------------


def divided(town: Town, far: int = 5) -> tuple[Device, Device, Device]:
    """Ben, an admin, tells Ada and Cleo one change each, of which that of Cleo is so many revisions further."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    for other, more, timer in ((ada, 1, MINUTE), (cleo, far, 2 * MINUTE)):
        change = signed(ben, SetTimer(ms=timer), more=more)
        tell(ben, [other], GroupChange(group=change.group, change=change.encoded))
    settle(ada, ben, cleo)
    assert (info(ada).timer, info(cleo).timer) == (MINUTE, 2 * MINUTE)
    return ada, ben, cleo


@pytest.mark.parametrize("writer", ["ada", "cleo"])
@pytest.mark.parametrize("far", [2, 5, 1_000])
def test_whoever_is_lower_is_told_as_well(town: Town, writer: str, far: int) -> None:
    ada, _, cleo = divided(town, far)
    write(cleo if writer == "cleo" else ada, "hello")
    pass_time(20 * SECOND, ada, cleo)
    if writer == "cleo":
        assert rival_of(ada) == cleo.id
        with pytest.raises(UsageError, match="two histories"):
            write(ada, "to whom?")
    else:
        assert rival_of(cleo) == ada.id


def test_control_without_a_look_at_earlier_heads_and_at_answers_the_lower_ones_hear_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Chain._judge_elsewhere
    skipped = lambda chain, change: judge(chain._replace(steps=()), change)  # noqa: E731 - it remembers no heads
    monkeypatch.setattr(Chain, "_judge_elsewhere", skipped)
    monkeypatch.setattr(doubts, "shown_by_answer", lambda *_: None)
    ada, _, cleo = divided(town)
    write(cleo, "hello")
    pass_time(2 * MINUTE, ada, cleo)
    assert rival_of(ada) == ""


# --- made up at a revision that is higher ------------------------------------------------


def made_up(town: Town, revision: int) -> tuple[Device, Device, Device]:
    """Mal, who was removed, has Ben in a group of his own with the id of Ada's and with her in it; she adds him."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, mal)
    ada.messenger.groups.remove("Tea", [mal.id])
    pass_time(3 * SECOND, ada, mal)
    for number in range(6):
        ada.messenger.groups.set_timer("Tea", MINUTE + number)
        pass_time(3 * SECOND, ada)
    ada.messenger.groups.set_timer("Tea", 0)
    pass_time(3 * SECOND, ada)
    Forger(mal, known(ada).record.group, ada, revision=revision).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    ben.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    return ada, ben, mal


def written_twice(ada: Device, ben: Device, apart: int) -> None:
    """Ada writes two texts, and so many milliseconds pass after each."""
    for text in ("one", "two"):
        write(ada, text)
        pass_time(apart, ada, ben, step=20 * SECOND)


@pytest.mark.parametrize("revision", [40, 1_000_000])
def test_whoever_has_accepted_into_what_was_made_up_is_stopped_by_a_member_who_stays_below_it(
    town: Town, revision: int
) -> None:
    ada, ben, _ = made_up(town, revision)
    written_twice(ada, ben, HOUR)
    assert rival_of(ben) == ada.id
    assert "another history" in ben.heard(GroupEvent)[-1].message
    with pytest.raises(UsageError, match="two histories"):
        write(ben, "to Mal as well")
    assert said(ben)[:2] == ["one", "two"]


def test_control_without_a_bound_nobody_below_is_ever_judged(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "APART_MS", 1 << 60)
    ada, ben, _ = made_up(town, 40)
    written_twice(ada, ben, HOUR)
    assert rival_of(ben) == ""


def test_member_who_has_not_read_yet_is_not_apart(town: Town) -> None:
    ada, ben, _ = made_up(town, 40)
    written_twice(ada, ben, 20 * MINUTE)
    assert (rival_of(ben), set(known(ben).record.apart)) == ("", {ada.id})


@pytest.mark.parametrize("then", ["in step", "ahead", "below"])
def test_whoever_has_read_since_begins_anew(town: Town, then: str) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    group = known(ben)
    low = group.with_record(apart={ada.id: 1})
    standing = {"in step": Standing.SAME, "ahead": Standing.AHEAD, "below": Standing.OLDER}[then]
    after, is_apart = doubts.named(low, standing, ada.id, doubts.APART_MS + 1)
    assert (after.record.apart, is_apart) == ({}, False)
    assert doubts.named(low, Standing.UNKNOWN, ada.id, doubts.APART_MS + 1)[1]  # the control
    assert not doubts.named(low, Standing.UNKNOWN, ada.id, doubts.APART_MS)[1]


def test_who_is_no_member_any_more_is_forgotten_with_the_next_one(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    full = known(ben).with_record(apart={f"{number:043d}=": 1 for number in range(500)})
    after, _ = doubts.named(full, Standing.UNKNOWN, ada.id, 5)
    assert after.record.apart == {ada.id: 5}


# --- made up at a revision that is lower -------------------------------------------------


def test_whoever_has_accepted_into_what_was_made_up_at_a_lower_revision_is_told_by_the_first_answer(town: Town) -> None:
    ada, ben, _ = made_up(town, 4)
    write(ada, "hello")
    pass_time(30 * SECOND, ada, ben)
    assert rival_of(ben) == ada.id
    with pytest.raises(UsageError, match="two histories"):
        write(ben, "to Mal as well")


def test_control_without_a_look_at_answers_such_a_group_is_behind_for_ever(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "shown_by_answer", lambda *_: None)
    ada, ben, _ = made_up(town, 4)
    write(ada, "hello")
    pass_time(5 * MINUTE, ada, ben)
    assert rival_of(ben) == ""
    assert write(ben, "to Mal as well")


# --- answers that say nothing of the kind -------------------------------------------------


def grown(town: Town) -> tuple[Device, Device, Device, Chain]:
    """A group of which Cleo misses the last changes, one of which adds Dan; the chain as Ada has it."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, cleo)
    cleo.cut()
    ada.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben)
    ada.messenger.groups.add("Tea", [ben.id])
    settle(ada, ben)
    ben.messenger.groups.accept("Tea")
    settle(ada, ben)
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben)
    return ada, ben, cleo, known(ada, "Coffee").chain


def test_whoever_was_added_again_is_no_rival_any_more_once_the_changes_between_have_come(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    late = keep_back(cleo, ada)
    ada.messenger.groups.remove("Tea", [ben.id])
    settle(ada, ben, cleo)
    ada.messenger.groups.add("Tea", [ben.id])
    settle(ada, ben, cleo)
    ben.messenger.groups.accept("Tea")
    pass_time(8 * SECOND, ada, ben, cleo)
    assert (rival_of(cleo), info(cleo).revision < info(ben).revision) == (ben.id, True)
    assert late
    cleo.tamper = None
    cleo.cut()
    cleo.login()  # and what Ada has sent comes at last
    settle(ada, ben, cleo)
    assert (rival_of(cleo), info(cleo).revision) == ("", info(ben).revision)


def test_answer_that_goes_on_or_overlaps_says_nothing(town: Town) -> None:
    ada, _, cleo, chain = grown(town)
    group = known(cleo)
    for since in (0, 1, group.state.revision):
        assert doubts.shown_by_answer(group, ada.id, chain.since(since, most=30_000)) is None


def test_answer_with_a_hole_is_another_history_if_a_member_gives_it(town: Town) -> None:
    ada, ben, cleo, chain = grown(town)
    group = known(cleo)
    holed = chain.since(group.state.revision, most=30_000)[1:]
    rival = doubts.shown_by_answer(group, ada.id, holed)
    assert rival is not None
    assert (rival.who, rival.change) == (ada.id, None)
    assert doubts.shown_by_answer(group, ben.id, holed) is None  # of whom Cleo has not heard yet
    assert doubts.shown_by_answer(group, ada.id, [b"garbage", *holed]) is None


@pytest.mark.parametrize("by_the_first", [True, False], ids=["control: the first device", "a linked one"])
def test_linked_device_may_know_a_group_from_later_on(town: Town, by_the_first: bool) -> None:
    ada, ben = town.friends("ada", "ben")
    laptop = town.device("laptop", strangers="ask").login()
    group_of(ada, ben, admins=2)
    link(ben, laptop, ada)
    write(ben, "now she knows of it")
    pass_time(5 * SECOND, ada, ben, laptop)
    change = signed(ben, SetName(text="Coffee"), more=3, previous=bytes(range(32)))
    said_ = GroupChanges(group=change.group, changes=[change.encoded], picture=b"", ordered=0)
    tell(ben if by_the_first else laptop, [ada], said_)
    settle(ada, ben, laptop)
    assert ada.messenger.groups._duties.is_behind(info(ada).group)
    assert rival_of(ada) == (ben.id if by_the_first else "")
