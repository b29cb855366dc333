"""Forks in a group's past: a user is told of them once, whoever brings them again, and not again for each change."""

from pathlib import Path

import msgspec
import pytest
from client_samples import WORDS, Device, Town, pass_time, settle
from group_people import group_of, info, known, news, restored, signed, tell, write
from group_samples import added, applied, begun, following, id_of, someone

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.change import Change, Remove, SetName, SetRole, SetTimer
from phantom_messenger.client.groups.contents import GroupChange, GroupChanges, GroupHello
from phantom_messenger.client.groups.records import GroupRecord
from phantom_messenger.client.groups.state import head_of
from phantom_messenger.client.groups.store import FORKED, MEMBER, Group, raw_of, written
from phantom_messenger.client.status import GroupNews
from support.simulated import MINUTE, SECOND

Scene = tuple[Device, Device, Device, list[Change]]


def removed(town: Town, *texts: str) -> Scene:
    """Ben was an admin and is removed; changes that he has signed against the state before that, one for each name."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    rivals = [signed(ben, SetName(text=text)) for text in texts]
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    assert info(ben).relation == "removed"
    return ada, ben, cleo, rivals


def bring(device: Device, to: list[Device], rival: Change) -> None:
    """Show others a rival change, and have it read."""
    tell(device, to, GroupChange(group=rival.group, change=rival.encoded))
    pass_time(5 * SECOND, device, *to)


def change(ada: Device, number: int, *others: Device) -> None:
    """Ada changes the group; whatever was in doubt is cleared up by that."""
    ada.messenger.groups.go_on("Tea")
    ada.messenger.groups.set_timer("Tea", (number + 1) * MINUTE)
    pass_time(5 * SECOND, ada, *others)
    assert info(ada).doubt == ""


def stops_of_one_who_was_removed(town: Town) -> tuple[int, int]:
    """How often somebody who was removed stops the two others, with one change and with others, after each change."""
    ada, ben, cleo, rivals = removed(town, "Ben's", "Ben's other")
    stops = {ada.id: 0, cleo.id: 0}
    for number in range(3):
        for rival in rivals:
            bring(ben, [ada, cleo], rival)
            for reader in (ada, cleo):
                stops[reader.id] += info(reader).doubt == FORKED
                reader.messenger.groups.go_on("Tea")
        change(ada, number, cleo)
    return stops[ada.id], stops[cleo.id]


def test_somebody_who_was_removed_stops_each_member_once_and_no_more(town: Town) -> None:
    assert stops_of_one_who_was_removed(town) == (1, 1)


def test_control_of_nothing_that_was_shown_it_is_after_each_change(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    is_old = doubts.is_old
    monkeypatch.setattr(doubts, "is_old", lambda group, rival: is_old(group.with_record(shown=[]), rival))
    assert stops_of_one_who_was_removed(town) == (3, 3)


def test_it_makes_no_difference_who_brings_it(town: Town) -> None:
    ada, ben, cleo, rivals = removed(town, "Ben's", "Ben's other", "Ben's third")
    bring(ben, [ada], rivals[0])
    change(ada, 0, cleo)
    for number, rival in enumerate(rivals):  # by a member, and by somebody whom nobody knows
        bring(cleo, [ada], rival)
        (stranger,) = town.devices(f"stranger {number}")
        found = GroupChanges(group=rival.group, changes=[rival.encoded])
        stranger.messenger.groups._speaking.say(rival.group, [ada.id], found, stranger.messenger._now())
        pass_time(5 * SECOND, stranger, ada)
        assert info(ada).doubt == ""
    assert news(ada).count(GroupNews.FORKED) == 1


def test_a_group_that_was_changed_in_spite_of_it_counts_as_gone_on(town: Town) -> None:
    ada, ben, cleo, (rival,) = removed(town, "Ben's")
    bring(ben, [cleo], rival)
    assert info(cleo).doubt == FORKED
    change(ada, 0, cleo)
    assert info(cleo).doubt == ""
    bring(ben, [cleo], rival)
    assert info(cleo).doubt == ""


@pytest.mark.parametrize("moved", [False, True], ids=["restarted", "restored from an exported file"])
def test_what_was_shown_is_remembered(town: Town, tmp_path: Path, moved: bool) -> None:
    ada, ben, cleo, (rival,) = removed(town, "Ben's")
    bring(ben, [cleo], rival)
    change(ada, 0, cleo)
    if moved:
        export_profile(cleo.vault, tmp_path / "file", WORDS)
        restored(cleo, tmp_path / "file")
        cleo.login()
    else:
        cleo.kill()
        cleo.login()
    settle(ada, ben, cleo)
    assert known(cleo).record.shown == [rival.author + rival.digest]
    bring(ben, [cleo], rival)
    assert info(cleo).doubt == ""


def test_an_admin_of_now_is_asked_about_with_another_change_and_not_with_the_same(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    rivals = [signed(ben, SetName(text=text)) for text in ("one", "two")]
    change(ada, 0, ben, cleo)
    doubted = []
    for number, rival in enumerate([rivals[0], rivals[0], rivals[1]]):
        bring(ben, [cleo], rival)
        doubted.append(info(cleo).doubt)
        cleo.messenger.groups.go_on("Tea")
        change(ada, number + 1, ben, cleo)
    assert doubted == [FORKED, "", FORKED]


def test_whoever_is_an_admin_again_is_asked_about_again(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    rivals = [signed(ben, SetName(text=text)) for text in ("one", "two", "three")]
    doubted = []
    for role, rival in zip(("member", "member", "admin"), rivals, strict=True):
        ada.messenger.groups._want(known(ada), [SetRole(person=raw_of(ben.id), role=role)])
        pass_time(5 * SECOND, ada, ben, cleo)
        bring(ben, [cleo], rival)
        doubted.append(info(cleo).doubt)
        cleo.messenger.groups.go_on("Tea")
    assert doubted == [FORKED, "", FORKED]


def test_member_who_lives_in_that_history_is_noticed_by_the_heads_that_they_name(town: Town) -> None:
    ada, ben, cleo, rivals = removed(town, "Ben's", "Cleo has this one")
    bring(ben, [ada], rivals[0])
    change(ada, 0, cleo)
    bring(ben, [ada], rivals[1])
    assert info(ada).doubt == ""
    before = next(step.before for step in known(ada).chain.steps if step.change.revision == rivals[1].revision)
    there = head_of(rivals[1].digest, before.after(rivals[1]))
    tell(cleo, [ada], GroupHello(group=rivals[1].group, revision=rivals[1].revision, head=there))
    settle(ada, cleo)
    rival = info(ada).rival
    assert rival is not None
    assert (info(ada).doubt, rival.user_id) == (FORKED, cleo.id)


def test_first_fork_of_one_who_is_no_admin_any_more_stops_what_is_written(town: Town) -> None:
    ada, ben, _, (rival,) = removed(town, "Ben's")
    bring(ben, [ada], rival)
    with pytest.raises(UsageError, match="two histories"):
        write(ada, "to all")


# --- what is remembered ---------------------------------------------------------------------------


def group_with(count: int) -> tuple[Group, list[Change]]:
    """A group of one admin, and rival changes of so many others who were admins once."""
    ada, others = someone("ada"), [someone(f"admin {number}") for number in range(count)]
    chain, rivals = begun(ada), []
    for other in others:
        chain = applied(chain, following(chain, ada, [added(other, "admin")]))
        rivals.append(following(chain, other, [SetTimer(ms=1)]))
        chain = applied(chain, following(chain, ada, [SetRole(person=id_of(other), role="member")]))
    record = GroupRecord(group=chain.state.group, number=1, relation=MEMBER, state=b"", digest=b"")
    return Group(record, chain), rivals


def after_all(group: Group, rivals: list[Change]) -> tuple[Group, list[Change]]:
    """The group once somebody has shown these, and which of them its user was told; there is a change after each."""
    told = []
    for rival in rivals:
        shown = doubts.shown_by(group, "", rival.encoded)
        if not doubts.is_old(group, shown):
            told.append(rival)
            group = doubts.doubted(group, shown).with_record(doubt="")  # the user has gone on
        group = Group(doubts.after_change(group.record, group.state), group.chain)
    return group, told


def test_of_sixteen_who_are_no_admins_any_more_one_change_is_told_and_of_further_ones_none() -> None:
    group, rivals = group_with(doubts.MAX_SHOWN + 2)
    group, told = after_all(group, [*rivals, *rivals, *rivals[::-1]])
    assert told == rivals[: doubts.MAX_SHOWN]
    assert group.record.shown == [rival.author + rival.digest for rival in told]


def test_control_whoever_forgets_the_first_is_told_of_all_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    is_old = doubts.is_old
    late = 1 - doubts.MAX_SHOWN
    monkeypatch.setattr(
        doubts, "is_old", lambda group, rival: is_old(group.with_record(shown=group.record.shown[late:]), rival)
    )
    group, rivals = group_with(doubts.MAX_SHOWN + 2)
    assert after_all(group, [*rivals, *rivals])[1] == [*rivals, *rivals]


def test_an_admin_of_now_and_a_member_who_names_a_head_are_told_of_all_the_same() -> None:
    group, rivals = group_with(doubts.MAX_SHOWN + 2)
    group, _ = after_all(group, rivals)
    chain = applied(group.chain, following(group.chain, someone("ada"), [added(someone("dan"), "admin")]))
    group = Group(group.record, applied(chain, following(chain, someone("ada"), [SetTimer(ms=5)])))
    by_admins = [following(chain, someone(name), [SetTimer(ms=ms)]) for name in ("ada", "dan") for ms in (1, 2)]
    after, told = after_all(group, [by_admins[0], *by_admins, *rivals])
    assert told == by_admins
    assert len(after.record.shown) == doubts.MAX_SHOWN + 2
    assert not doubts.is_old(after, doubts.Rival(written(id_of(someone("admin 3"))), bytes(32)))
    chain = applied(after.chain, following(after.chain, someone("ada"), [Remove(person=id_of(someone("dan")))]))
    last, told = after_all(Group(after.record, chain), [by_admins[2], *rivals])
    assert (told, len(last.record.shown)) == ([], doubts.MAX_SHOWN + 2)


def test_groups_of_before_open_and_nothing_was_shown_in_them() -> None:
    group, _ = group_with(0)
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(group.record))
    assert {"shown", "rivals"} <= set(stored)
    del stored["shown"], stored["rivals"]
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(stored), type=GroupRecord)
    assert (read.shown, read.rivals) == ([], [])


def test_of_a_group_of_before_who_was_gone_on_in_spite_of_is_not_asked_about_before_the_next_change() -> None:
    group, (rival,) = group_with(1)
    shown = doubts.shown_by(group, "", rival.encoded)
    old = group.with_record(rival=shown.who)
    assert doubts.is_old(old, shown)
    assert not doubts.is_old(Group(doubts.after_change(old.record, old.state), old.chain), shown)
