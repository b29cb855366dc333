"""Two histories of one group: what a user sees of that, and what one member can make of it."""

from pathlib import Path

import pytest
from client_samples import WORDS, Device, Town, pass_time, settle
from group_people import digits, group_of, info, known, names, news, restored, said, signed, tell, write
from msgspec.structs import replace

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import doubts
from phantom_messenger.client.groups.chain import Chain, Verdict
from phantom_messenger.client.groups.change import Add, Op, SetName, SetTimer
from phantom_messenger.client.groups.contents import GroupChange, GroupHello, GroupText
from phantom_messenger.client.groups.state import digits_of, order_of
from phantom_messenger.client.groups.store import raw_of
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.simulated import MINUTE, SECOND


def claim(device: Device, to: Device, head: bytes, text: str = "x") -> None:
    """A text that names a head of the member's own choice."""
    group = known(device).record.group
    said_ = GroupText(group=group, revision=info(device).revision, head=head, n=1, body=text)
    tell(device, [to], said_)


def test_both_digits_are_shown_and_who_has_named_the_other_ones(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    assert (ada.messenger.groups.rival_digits("Tea"), info(ada).rival) == ("", None)
    claim(cleo, ada, bytes(range(32)))
    settle(ada, ben, cleo)
    rival = info(ada).rival
    assert rival is not None
    assert (info(ada).doubt, rival.user_id) == ("forked", cleo.id)
    assert ada.messenger.groups.rival_digits("Tea") == digits_of(bytes(range(32))) != ada.messenger.groups.digits("Tea")
    (event,) = ada.heard(GroupEvent)
    assert "cleo knows another history of 'Tea' than you" in event.message


def test_digits_of_a_rival_change_are_those_that_it_leads_to(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    rival = signed(ben, SetName(text="Ben's"))
    ada.messenger.groups.rename("Tea", "Ada's")
    settle(ada, ben, cleo)
    tell(ben, [cleo], GroupChange(group=known(ben, "Ada's").record.group, change=rival.encoded))
    settle(ada, ben, cleo)
    chain = known(cleo, "Ada's").chain
    there = chain.steps[-1]
    judged = Chain(there.before, there.base).judge(rival.encoded)
    assert (judged.verdict, judged.chain.state.name) == (Verdict.APPLIED, "Ben's")
    assert info(cleo, "Ada's").doubt == "forked"
    assert cleo.messenger.groups.rival_digits("Ada's") == digits_of(judged.chain.head)
    assert digits_of(judged.chain.head) != cleo.messenger.groups.digits("Ada's")


def test_member_who_names_another_head_each_time_stops_nobody_twice(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    claim(cleo, ada, bytes(32))
    settle(ada, ben, cleo)
    with pytest.raises(UsageError, match="two histories"):
        write(ada, "to all")
    ada.messenger.groups.go_on("Tea")
    claim(cleo, ada, bytes([1] * 32))
    settle(ada, ben, cleo)
    write(ada, "to all")
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    assert names(ada) == names(ben) == {ada.id, ben.id}
    assert said(ben) == ["to all"]
    assert news(ada).count(GroupNews.FORKED) == 1


def test_control_without_that_one_member_keeps_everybody_from_writing(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "is_old", lambda *_: False)
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    for number in range(2):
        claim(ben, ada, bytes([number] * 32))
        settle(ada, ben)
        assert info(ada).doubt == "forked"
        ada.messenger.groups.go_on("Tea")


def stopped_in_turns(town: Town) -> int:
    """How often two members stop a third one, who name other heads in turn."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    stops = 0
    for number in range(3):
        for member in (ben, cleo):
            claim(member, ada, bytes([number] * 32))
            settle(ada, ben, cleo)
            stops += info(ada).doubt == "forked"
            ada.messenger.groups.go_on("Tea")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben, cleo)
    assert known(ada).record.rivals == []
    return stops


def test_two_members_who_take_turns_stop_a_reader_once_each(town: Town) -> None:
    assert stopped_in_turns(town) == 2


def test_control_of_one_name_alone_two_stop_a_reader_each_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    is_old = doubts.is_old
    monkeypatch.setattr(doubts, "is_old", lambda group, rival: is_old(group.with_record(rivals=[]), rival))
    assert stopped_in_turns(town) == 6


def test_after_a_change_it_is_asked_again(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    claim(ben, ada, bytes(32))
    settle(ada, ben)
    ada.messenger.groups.go_on("Tea")
    ada.messenger.groups.set_timer("Tea", 60_000)
    settle(ada, ben)
    assert info(ada).doubt == ""
    group = known(ben)
    tell(ben, [ada], GroupHello(group=group.record.group, revision=info(ben).revision, head=bytes(32)))
    settle(ada, ben)
    assert info(ada).doubt == "forked"


def test_change_that_waits_for_its_turn_in_a_group_in_doubt_keeps_no_program_awake(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben, admins=2)
    group, head = known(ben).record.group, known(ben).chain.head
    order = OrderRecord(name=order_of(group), revision=info(ben).revision + 5, writers=[ada.id, ben.id])
    tell(ben, [ada], GroupHello(group=group, revision=info(ben).revision, head=head), order)
    settle(ben)
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada)
    assert ada.messenger.groups._orders.waits(ada.messenger._monotonic())  # the control: its turn comes
    claim(ben, ada, bytes(32))
    settle(ada, ben)
    assert info(ada).doubt == "forked"
    pass_time(2 * MINUTE, ada, ben, step=5 * SECOND)
    assert ada.messenger.groups.wanted == 1
    assert ada.messenger.next_tick() >= SECOND


def told_by_one_admin(town: Town, *timers: int) -> tuple[Device, Device, Device]:
    """Ben, an admin, tells each of the two others a change that he lets nobody put in order."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    for other, timer in zip((ada, cleo), timers, strict=True):
        change = signed(ben, SetTimer(ms=timer))
        tell(ben, [other], GroupChange(group=change.group, change=change.encoded))
    settle(ada, ben, cleo)
    assert (info(ada).timer, info(cleo).timer) == timers
    return ada, ben, cleo


def test_admin_who_divides_a_group_alone_is_noticed_with_the_first_message_between_the_parts(town: Town) -> None:
    ada, _, cleo = told_by_one_admin(town, MINUTE, 2 * MINUTE)
    write(ada, "hello")
    settle(ada, cleo)
    assert (info(cleo).doubt, news(cleo)[-1]) == ("forked", GroupNews.FORKED)


def test_control_who_tells_both_the_same_divides_nobody(town: Town) -> None:
    ada, _, cleo = told_by_one_admin(town, MINUTE, MINUTE)
    write(ada, "hello")
    settle(ada, cleo)
    assert (info(cleo).doubt, said(cleo)) == ("", ["hello"])


# --- what ends it -------------------------------------------------------------------------


def changed_on(town: Town, *, by_another: bool) -> tuple[Device, Device]:
    """Ben has divided a group, which Cleo is shown; then he signs one more change there, or has Dan do so."""
    ada, ben, cleo = told_by_one_admin(town, MINUTE, 2 * MINUTE)
    (dan,) = town.devices("dan")
    write(ada, "hello")
    settle(ada, cleo)
    assert info(cleo).doubt == "forked"

    def tells(author: Device, op: Op, revision: int) -> None:
        change = changes.write(
            author.messenger._identity,
            group=known(cleo).record.group,
            revision=revision,
            previous=known(cleo).chain.head,
            at=1,
            ops=[op],
        )
        tell(ben, [cleo], GroupChange(group=change.group, change=change.encoded))
        settle(ben, cleo)
        assert info(cleo).revision == revision

    revision = info(cleo).revision
    if by_another:
        tells(ben, Add(person=raw_of(dan.id), role="admin"), revision + 1)
    tells(dan if by_another else ben, SetTimer(ms=3 * MINUTE), revision + 2)
    return ada, cleo


@pytest.mark.parametrize("by_another", [False, True], ids=["by themselves", "by another one whom they have added"])
def test_admin_who_has_divided_a_group_ends_nothing_by_one_more_change(town: Town, by_another: bool) -> None:
    ada, cleo = changed_on(town, by_another=by_another)
    rival = info(cleo).rival
    assert rival is not None
    assert (info(cleo).doubt, rival.user_id, news(cleo).count(GroupNews.FORKED)) == ("forked", ada.id, 1)
    assert cleo.messenger.groups.rival_digits("Tea") == ada.messenger.groups.digits("Tea")
    with pytest.raises(UsageError, match="two histories"):
        write(cleo, "to whom?")
    cleo.messenger.groups.go_on("Tea")
    assert write(cleo, "to these, then")


@pytest.mark.parametrize("by_another", [False, True])
def test_control_if_any_change_ended_it_theirs_would(
    town: Town, monkeypatch: pytest.MonkeyPatch, by_another: bool
) -> None:
    after_change = doubts.after_change
    monkeypatch.setattr(doubts, "after_change", lambda record, state: after_change(replace(record, rival=""), state))
    _, cleo = changed_on(town, by_another=by_another)
    assert info(cleo).doubt == ""


def test_change_that_removes_who_was_shown_ends_it_for_all(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    for reader in (ada, ben):
        claim(cleo, reader, bytes(32))
    settle(ada, ben, cleo)
    ada.messenger.groups.go_on("Tea")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben, cleo)
    assert (info(ben).timer, info(ben).doubt) == (MINUTE, "forked")
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    assert info(ben).doubt == ""
    write(ben, "without her, then")
    settle(ada, ben)
    assert said(ada)[-1] == "without her, then"


def restored_and_gone_on(town: Town, folder: Path) -> tuple[Device, Device, Device]:
    """Ben, an admin, has lost a change that the others have, and goes on without it while they are away."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    export_profile(ben.vault, folder / "file", WORDS)
    ben.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben, cleo)
    ada.cut()
    cleo.cut()
    ben = restored(ben, folder / "file")
    ben.login()
    ben.messenger.groups.set_timer("Tea", 2 * MINUTE)
    pass_time(10 * SECOND, ben)
    ben.messenger.groups.go_on("Tea")
    pass_time(10 * SECOND, ben)
    assert info(ben).timer == 2 * MINUTE
    for other in (ada, cleo):
        other.login()
    pass_time(20 * SECOND, ada, ben, cleo)
    assert [(info(one).timer, info(one).doubt) for one in (ada, cleo)] == [(MINUTE, "forked")] * 2
    return ada, ben, cleo


def test_those_who_were_divided_by_a_backup_go_on_by_their_own_word(town: Town, tmp_path: Path) -> None:
    ada, ben, cleo = restored_and_gone_on(town, tmp_path)
    for one in (ada, cleo):
        one.messenger.groups.go_on("Tea")
        write(one, f"{one.name} goes on")
        pass_time(5 * SECOND, ada, ben, cleo)
    assert (said(ada)[-1], said(cleo)[-2]) == ("cleo goes on", "ada goes on")


def test_those_who_were_divided_by_a_backup_are_one_group_again_once_an_admin_has_added_the_other_anew(
    town: Town, tmp_path: Path
) -> None:
    ada, ben, cleo = restored_and_gone_on(town, tmp_path)
    ada.messenger.groups.go_on("Tea")
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, cleo)
    assert news(ada)[-1] is GroupNews.WAITING  # for what he has had put in order
    ada.messenger.groups.go_on("Tea")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert (names(cleo), info(cleo).doubt) == ({ada.id, cleo.id}, "")
    ben.messenger.groups.leave("Tea")
    settle(ada, ben, cleo)
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, cleo)
    ben.messenger.groups.accept("Tea")
    pass_time(10 * SECOND, ada, ben, cleo)
    for one in (ada, ben, cleo):
        write(one, f"{one.name} is here")
        pass_time(5 * SECOND, ada, ben, cleo)
    assert len(digits(ada, ben, cleo)) == 1
    assert all(said(one)[-3:] == ["ada is here", "ben is here", "cleo is here"] for one in (ada, ben, cleo))
    assert [info(one).doubt for one in (ada, ben, cleo)] == [""] * 3
