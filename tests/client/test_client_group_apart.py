"""Groups that are divided, or made up, at revisions that are far from each other: whoever lives in one half is told."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_forger import Forger
from group_people import group_of, info, keep_back, known, names, signed, tell, write

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.chain import Chain, Judged, Verdict
from phantom_messenger.client.groups.change import Remove, SetName, SetTimer
from phantom_messenger.client.groups.contents import GroupChange, GroupChanges
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.state import head_of
from phantom_messenger.client.groups.store import Group, raw_of
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.simulated import MINUTE, SECOND


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


def told_two(town: Town) -> tuple[Device, Device]:
    """As ``divided``, but Cleo has a second change, with a gap: what she answers follows no head that Ada has had."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    for_ada, first = signed(ben, SetTimer(ms=MINUTE)), signed(ben, SetTimer(ms=2 * MINUTE))
    after = head_of(first.digest, known(ben).state.after(first))
    second = signed(ben, SetTimer(ms=3 * MINUTE), more=4, previous=after)
    for other, change in ((ada, for_ada), (cleo, first), (cleo, second)):
        tell(ben, [other], GroupChange(group=change.group, change=change.encoded))
        settle(ada, ben, cleo)
    assert (info(ada).timer, info(cleo).timer) == (MINUTE, 3 * MINUTE)
    return ada, cleo


def test_change_that_follows_a_head_which_was_left_shows_it_before_anybody_is_asked(town: Town) -> None:
    ada, _, cleo = divided(town)
    change = known(cleo).chain.steps[-1].change
    tell(cleo, [ada], GroupChange(group=change.group, change=change.encoded))
    settle(ada, cleo)
    assert rival_of(ada) == cleo.id


def test_control_without_a_look_at_earlier_heads_that_change_seems_to_be_ahead(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Chain._judge_elsewhere
    skipped = lambda chain, change: judge(chain._replace(steps=()), change)  # noqa: E731 - it remembers no heads
    monkeypatch.setattr(Chain, "_judge_elsewhere", skipped)
    ada, _, cleo = divided(town)
    change = known(cleo).chain.steps[-1].change
    tell(cleo, [ada], GroupChange(group=change.group, change=change.encoded))
    settle(ada, cleo)
    assert rival_of(ada) == ""


def test_answer_that_goes_on_from_no_head_of_ours_shows_it(town: Town) -> None:
    ada, cleo = told_two(town)
    write(cleo, "hello")
    pass_time(20 * SECOND, ada, cleo)
    assert rival_of(ada) == cleo.id


def test_control_without_a_look_at_answers_whoever_is_lower_hears_nothing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "shown_by_answer", lambda *_: None)
    ada, cleo = told_two(town)
    write(cleo, "hello")
    pass_time(2 * MINUTE, ada, cleo)
    assert rival_of(ada) == ""


# --- made up at a revision that is lower -------------------------------------------------


def six_on(town: Town) -> tuple[Device, Device, Device]:
    """Ada's group is six changes on since she has removed Mal; Ben was never in it."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, mal)
    ada.messenger.groups.remove("Tea", [mal.id])
    pass_time(3 * SECOND, ada, mal)
    for number in range(6):
        ada.messenger.groups.set_timer("Tea", MINUTE + number)
        pass_time(3 * SECOND, ada)
    return ada, ben, mal


def made_up(town: Town, revision: int) -> tuple[Device, Device, Device]:
    """Mal, who was removed, has Ben in a group of his own with the id of Ada's and with her in it; she adds him."""
    ada, ben, mal = six_on(town)
    ada.messenger.groups.set_timer("Tea", 0)
    pass_time(3 * SECOND, ada)
    Forger(mal, known(ada).record.group, ada, revision=revision).invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    ben.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, mal)
    return ada, ben, mal


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


def shown_by(group: Group, sender: str, answer: list[bytes]) -> doubts.Rival | None:
    """Who has another history, of an answer that is taken up."""
    chain, found = group.chain, list[Judged]()
    for one in answer:
        found.append(chain.judge(one))
        chain = found[-1].chain
    return doubts.shown_by_answer(Group(group.record, chain), sender, answer, found)


def grown(town: Town) -> tuple[Device, Device, Device, Chain]:
    """A group of which Cleo misses the last changes, one of which adds Ben; the chain as Ada has it."""
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


def test_whoever_was_added_again_answers_with_that_and_is_no_rival(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    late = keep_back(cleo, ada)
    ada.messenger.groups.remove("Tea", [ben.id])
    settle(ada, ben, cleo)
    ada.messenger.groups.add("Tea", [ben.id])
    settle(ada, ben, cleo)
    ben.messenger.groups.accept("Tea")
    pass_time(8 * SECOND, ada, ben, cleo)
    answer = known(ben).chain.since(info(cleo).revision, most=30_000)
    assert (bool(late), known(cleo).chain.judge(answer[0]).verdict) == (True, Verdict.BEHIND)
    assert rival_of(cleo) == ""
    assert shown_by(known(cleo), ada.id, answer) is not None  # the control: she was there before
    cleo.tamper = None
    cleo.cut()
    cleo.login()  # and what Ada has sent comes at last
    settle(ada, ben, cleo)
    assert (rival_of(cleo), info(cleo).revision) == ("", info(ben).revision)


def test_answer_that_goes_on_or_overlaps_says_nothing(town: Town) -> None:
    ada, _, cleo, chain = grown(town)
    group = known(cleo)
    for since in (0, 1, group.state.revision):
        assert shown_by(group, ada.id, chain.since(since, most=30_000)) is None


def test_answer_with_a_hole_is_another_history_if_a_member_gives_it(town: Town) -> None:
    ada, ben, cleo, chain = grown(town)
    group = known(cleo)
    holed = chain.since(group.state.revision, most=30_000)[1:]
    rival = shown_by(group, ada.id, holed)
    assert rival is not None
    assert (rival.who, rival.change) == (ada.id, None)
    assert shown_by(group, ben.id, holed) is None  # of whom Cleo has not heard yet
    assert shown_by(group, ada.id, [b"garbage", *holed]) is None


def test_answer_of_which_a_part_applies_shows_what_does_not_go_on_from_that(town: Town) -> None:
    ada, _, cleo, chain = grown(town)
    revision = info(cleo).revision
    first, *_, last = chain.since(revision, most=30_000)
    cleo.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    cleo.login()
    pass_time(SECOND, cleo)
    cleo.tamper = None
    tell(ada, [cleo], GroupChanges(group=known(cleo).record.group, changes=[first, last], picture=b"", ordered=0))
    settle(ada, cleo)
    assert (rival_of(cleo), info(cleo).revision) == (ada.id, revision + 1)


def test_each_change_of_an_answer_is_verified_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, cleo = town.friends("ada", "cleo")
    group_of(ada, cleo, admins=2)
    answer, read, seen = known(ada).chain.since(0, most=30_000), changes.read, list[bytes]()

    def verify(encoded: bytes) -> changes.Change:
        seen.append(encoded)
        return read(encoded)

    monkeypatch.setattr(changes, "read", verify)
    tell(ada, [cleo], GroupChanges(group=known(ada).record.group, changes=answer, picture=b"", ordered=0))
    settle(ada, cleo)
    assert len(answer) > 1
    assert seen == answer


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


# --- removed in one history alone ---------------------------------------------------------


def removed_by_an_admin(town: Town, *, was_removed: bool = False) -> tuple[Device, Device]:
    """Mal, an admin, tells Ben alone that Ada is removed, perhaps once more, and Ada another change."""
    ada, ben, mal = town.friends("ada", "ben", "mal")
    group_of(ada, mal, ben, admins=2)
    if was_removed:
        mal.messenger.groups.remove("Tea", [ada.id])
        pass_time(3 * SECOND, ada, ben, mal)
        mal.messenger.groups.add("Tea", [ada.id])
        pass_time(3 * SECOND, ada, ben, mal)
        ada.messenger.groups.accept("Tea")
        pass_time(3 * SECOND, ada, ben, mal)
    for other, op in ((ada, SetTimer(ms=MINUTE)), (ben, Remove(person=raw_of(ada.id)))):
        change = signed(mal, op)
        tell(mal, [other], GroupChange(group=change.group, change=change.encoded))
    settle(ada, ben, mal)
    assert names(ben) == {ben.id, mal.id}
    return ada, ben


def removed_again(town: Town) -> tuple[Device, Device]:
    return removed_by_an_admin(town, was_removed=True)


def removed_elsewhere(town: Town) -> tuple[Device, Device]:
    """In a group that Mal has made up below Ada's revision, he removes her before Ben accepts."""
    ada, ben, mal = six_on(town)
    forger = Forger(mal, known(ada).record.group, ada, revision=4)
    forger.invite(ben)
    pass_time(5 * SECOND, ada, ben, mal)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, mal)
    (told,) = (one.message for one in ben.heard(GroupEvent) if one.news is GroupNews.FORKED)
    assert told.startswith("ada invites you to 'Tea', too, but with other members")
    forger.say(ben, Remove(person=raw_of(ada.id)))
    pass_time(3 * SECOND, ada, ben, mal)
    ben.messenger.groups.accept("Tea")
    pass_time(5 * SECOND, ada, ben, mal)
    return ada, ben


@pytest.mark.parametrize("removed", [removed_by_an_admin, removed_again, removed_elsewhere])
def test_whoever_was_removed_in_another_history_learns_of_it_when_they_write(
    town: Town, removed: Callable[[Town], tuple[Device, Device]]
) -> None:
    ada, ben = removed(town)
    write(ada, "are you there?")
    pass_time(20 * SECOND, ada, ben)
    assert rival_of(ada) == ben.id
    with pytest.raises(UsageError, match="two histories"):
        write(ada, "hello?")


@pytest.mark.parametrize("removed", [removed_by_an_admin, removed_elsewhere])
def test_control_if_only_who_names_what_was_before_is_told_they_never_learn(
    town: Town, monkeypatch: pytest.MonkeyPatch, removed: Callable[[Town], tuple[Device, Device]]
) -> None:
    tell_removed = Duties.tell_removed

    def only_before(duties: Duties, group: Group, sender: str, since: int, now: Moment) -> None:
        if group.chain.removal_of(raw_of(sender), since) is not None:
            tell_removed(duties, group, sender, since, now)

    monkeypatch.setattr(Duties, "tell_removed", only_before)
    ada, ben = removed(town)
    write(ada, "are you there?")
    pass_time(MINUTE, ada, ben)
    assert rival_of(ada) == ""
