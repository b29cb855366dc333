"""A change that the relay has put in order, and that has come to nobody: who goes beyond it divides the group."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_samples import WORDS, Device, Town, pass_time, settle
from group_people import digits, group_of, info, known, names, news, restored, said, tell, write

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.groups import wish_ops
from phantom_messenger.client.groups.change import Add
from phantom_messenger.client.groups.contents import MAX_CHANGES, GroupChanges, GroupHello
from phantom_messenger.client.groups.duties import ASK_AGAIN_MS, MAX_ASKS_OF_ALL, Duties
from phantom_messenger.client.groups.state import order_of
from phantom_messenger.client.link import Link
from phantom_messenger.client.many import sending
from phantom_messenger.client.many.sending import SendingMany
from phantom_messenger.client.many.store import ManyMessage
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import GroupEvent, GroupNews
from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND


def many_of(device: Device) -> SendingMany:
    return device.messenger._sending.many


def rename_unheard(device: Device, name: str) -> Callable[[], None]:
    """The relay puts a change in order of which nobody gets a copy, and its author goes; what lets the copies leave."""
    many = many_of(device)
    many._parts = lambda *_: ([], [])  # type: ignore[method-assign]
    device.messenger.groups.rename("Tea", name)
    pass_time(sending.WAITS_MS + SECOND, device)
    assert info(device, name).revision == 4, "the relay has it"
    device.cut()

    def let_go() -> None:
        del many._parts

    return let_go


def three(town: Town) -> tuple[Device, Device, Device]:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    return ada, ben, cleo


def asked(device: Device) -> int:
    """How many questions the relay has got from this device, or other quiet things."""
    return len([frame for frame in device.frames_sent("MESSAGE_MANY") if "order" not in frame["payload"]])


def test_change_waits_for_its_author_and_follows_theirs(town: Town) -> None:
    ada, ben, cleo = three(town)
    let_go = rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(10 * MINUTE, ada, cleo, step=5 * SECOND)
    assert (info(ada).revision, ada.messenger.groups.wanted) == (3, 1), "nobody but ben knows what is missing"
    (told,) = ada.heard(GroupEvent)
    assert (told.news, told.by and told.by.user_id) == (GroupNews.WAITING, ben.id)
    assert "ben changed 'Tea' before you" in told.message
    write(ada, "texts do not wait")
    pass_time(10 * SECOND, ada, cleo)
    assert said(cleo) == ["texts do not wait"]
    let_go()
    ben.login()
    pass_time(MINUTE, ada, ben, cleo)
    assert [info(one, "Ben's").revision for one in (ada, ben, cleo)] == [5, 5, 5]
    assert len(digits(ada, ben, cleo, name="Ben's")) == 1
    assert GroupNews.FORKED not in news(ada) + news(ben) + news(cleo)


def told_while_it_was_missing(town: Town, *, leaves: bool) -> list[str]:
    """What Ada is told while Cleo's leave, or what else Cleo wants, waits for Ben's change."""
    ada, ben, cleo = three(town)
    dan = town.device("dan").login()
    rename_unheard(ben, "Ben's")
    if leaves:
        cleo.messenger.groups.leave("Tea")
    else:
        wants = wish_ops.wished(known(ada), Add(person=b64decode(dan.id), role="member"), b64decode(ada.id))
        with ada.vault.transaction() as tx:
            ada.messenger._stores.groups.put(tx, wants)
    pass_time(10 * MINUTE, ada, cleo, step=5 * SECOND)
    assert (info(ada).revision, len(known(ada).record.wishes)) == (3, 1), "it waits"
    told = [event.message for event in ada.heard(GroupEvent) if event.news is GroupNews.WAITING]
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(MINUTE, ada, cleo, step=5 * SECOND)
    own = [event.message for event in ada.heard(GroupEvent) if event.news is GroupNews.WAITING][len(told) :]
    assert len(own) == 1
    assert "yours follows it" in own[0], "of an own change it is told as well, and once"
    return told


def test_leave_that_waits_for_a_change_that_is_missing_is_told_once(town: Town) -> None:
    (message,) = told_while_it_was_missing(town, leaves=True)
    assert "ben changed 'Tea', says the relay" in message
    assert "whoever has left is removed once it comes" in message


def test_what_else_members_want_is_not_told(town: Town) -> None:
    assert told_while_it_was_missing(town, leaves=False) == []


def claimed_while_it_was_missing(town: Town) -> int:
    """Cleo claims to know more than there is while Ada waits for Ben's change, which then comes: Ada's revision."""
    ada, ben, cleo = three(town)
    let_go = rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(10 * SECOND, ada, cleo)  # only Ben was asked until now
    group = known(cleo).record.group
    tell(cleo, [ada], GroupHello(group=group, revision=90, head=bytes(32)))
    pass_time(10 * SECOND, ada, cleo)
    cleo.cut()  # and answers nothing any more
    let_go()
    ben.login()
    pass_time(HOUR, ada, ben, step=10 * SECOND)
    return info(ada, "Ben's").revision


def test_doubt_ends_once_what_the_relay_has_is_known_whatever_members_claim(town: Town) -> None:
    assert claimed_while_it_was_missing(town) == 5


def test_control_doubt_that_ends_with_what_members_claim_does_not_end(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    def caught_up(self: Duties, group: str, revision: int) -> None:
        lack = self._lacks.get(group)
        if lack is not None and revision >= lack.revision:
            self.goes_on(group)

    monkeypatch.setattr(Duties, "caught_up", caught_up)
    assert claimed_while_it_was_missing(town) == 4


def test_control_who_believes_one_member_divides_the_group(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Duties, "_who_may_know", lambda _, group: group.people[:0])
    ada, ben, cleo = three(town)
    let_go = rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(10 * MINUTE, ada, cleo, step=5 * SECOND)
    assert info(ada).revision == 5
    let_go()
    ben.login()
    pass_time(MINUTE, ada, ben, cleo)
    assert GroupNews.FORKED in news(ada)
    assert GroupNews.FORKED in news(cleo)


def test_user_may_go_on_without_it_also_when_the_program_starts_again(town: Town) -> None:
    ada, ben, cleo = three(town)
    rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(MINUTE, ada, cleo)
    assert ada.messenger.groups.wanted == 1
    ada.cut()
    ada.messenger.groups.go_on("Tea")
    ada.kill()
    ada.login()
    pass_time(MINUTE, ada, cleo)
    assert (info(ada).revision, info(cleo).timer, ada.messenger.groups.wanted) == (5, MINUTE, 0)
    assert not info(ada).is_behind


def test_answer_of_an_author_goes_behind_their_change_whose_answer_was_lost(town: Town) -> None:
    ada, ben, cleo = three(town)
    lose_the_answer(ben)
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(MINUTE, ada, cleo)
    ben.login()
    pass_time(2 * MINUTE, ada, ben, cleo)
    assert [info(one, "Ben's").revision for one in (ada, ben, cleo)] == [5, 5, 5]
    assert len(digits(ada, ben, cleo, name="Ben's")) == 1


def lose_the_answer(device: Device) -> None:
    """A change is put in order, nobody gets a copy, and its author never hears of it; nor does the relay again."""
    many = many_of(device)
    many._parts = lambda *_: ([], [])  # type: ignore[method-assign]
    device.messenger.groups.rename("Tea", "Ben's")
    for _ in range(6):
        device.world.clock.advance(SECOND)
        device.messenger.tick()
        device.fetch()
        while device.step_up():
            pass
    device.cut()
    assert info(device).revision == 3
    send_frame, until = many._send_frame, device.world.clock.monotonic_ms() + MINUTE + 20 * SECOND

    def later(link: Link, message: ManyMessage, parts: list[sending._Part], now: Moment) -> None:
        if not message.is_unordered or now.monotonic >= until:
            send_frame(link, message, parts, now)

    many._send_frame = later  # type: ignore[method-assign]
    del many._parts


def test_who_is_away_for_long_is_not_asked_every_minute(town: Town) -> None:
    ada, ben, cleo = three(town)
    rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time((MAX_ASKS_OF_ALL + 1) * ASK_AGAIN_MS, ada, cleo, step=10 * SECOND)
    before = asked(ada)
    pass_time(3 * HOUR, ada, cleo, step=30 * SECOND)
    assert asked(ada) - before == 3


def test_admin_who_keeps_back_what_is_in_order_is_removed_once_the_user_goes_on(town: Town) -> None:
    ada, ben, cleo = three(town)
    group, head = known(ben).record.group, known(ben).chain.head
    order = OrderRecord(name=order_of(group), revision=4, writers=[ada.id, ben.id])
    tell(ben, [cleo], GroupHello(group=group, revision=3, head=head), order)
    settle(ben)
    pass_time(sending.WAITS_MS + SECOND, ben)
    ben.cut()  # and says nothing more
    ada.messenger.groups.remove("Tea", [ben.id])
    pass_time(HOUR, ada, cleo, step=10 * SECOND)
    assert (names(ada), ada.messenger.groups.wanted) == ({ada.id, ben.id, cleo.id}, 1), "what the author may do"
    ada.messenger.groups.go_on("Tea")
    pass_time(MINUTE, ada, cleo)
    assert names(ada) == names(cleo) == {ada.id, cleo.id}


def test_change_goes_on_once_all_have_said_that_there_is_nothing(town: Town) -> None:
    ada, ben, cleo = three(town)
    group, head = known(ben).record.group, known(ben).chain.head
    order = OrderRecord(name=order_of(group), revision=4, writers=[ada.id, ben.id])
    tell(ben, [cleo], GroupHello(group=group, revision=3, head=head), order)
    pass_time(sending.WAITS_MS + SECOND, ben)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert [info(one, "Coffee").revision for one in (ada, ben, cleo)] == [5, 5, 5]


def test_what_each_member_says_counts_once_and_for_the_revision_that_they_were_asked_for(town: Town) -> None:
    ada, ben, cleo = three(town)
    rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(3 * SECOND, ada)
    duties, group = ada.messenger.groups._duties, known(ada)

    def says(one: Device, ordered: int, *changes: bytes) -> bool:
        answer = GroupChanges(group=group.record.group, changes=list(changes), ordered=ordered)
        duties.answered(group, one.id, answer, ada.messenger._now())
        return not duties._doubted

    assert not says(ben, 4)
    assert not says(ben, 4), "one of them twice"
    assert not says(cleo, 3), "what Cleo knew at revision 3"
    assert not says(cleo, 4, b"x"), "there may be more"
    assert says(cleo, 4)


def test_whoever_is_far_behind_after_a_restore_goes_on_from_where_the_others_are(town: Town, tmp_path: Path) -> None:
    ada, ben, cleo = three(town)
    export_profile(ada.vault, tmp_path / "file", WORDS)
    group = info(ben).group
    for number in range(MAX_CHANGES + 6):
        ben.messenger.groups.rename(group, f"Tea {number}")
        settle(ada, ben, cleo)
    ada = restored(ada, tmp_path / "file")
    ada.messenger.groups.set_timer(group, MINUTE)
    ada.login()
    pass_time(5 * MINUTE, ada, ben, cleo, step=5 * SECOND)
    in_step(group, ada, ben, cleo)


def withhold(device: Device, other: Device) -> None:
    """What this device sends to many does not leave for one of them."""
    many = many_of(device)
    parts = many._parts

    def without(*arguments: Any) -> Any:
        found, lacking = parts(*arguments)
        return [part for part in found if part.copy.peer != other.id], lacking

    many._parts = without  # type: ignore[method-assign, assignment]


def in_step(group: str, *devices: Device) -> None:
    assert len({one.messenger.groups.digits(group) for one in devices}) == 1
    assert all(GroupNews.FORKED not in news(one) for one in devices)


@pytest.mark.parametrize("who", ["the author", "the one who asks"])
def test_author_who_was_restored_from_a_backup_is_not_believed_alone(town: Town, tmp_path: Path, who: str) -> None:
    ada, ben, cleo = three(town)
    author, other = (ben, ada) if who == "the author" else (ada, ben)
    export_profile(author.vault, tmp_path / "file", WORDS)
    group = info(ben).group
    withhold(author, other)
    author.messenger.groups.rename(group, "Coffee")
    pass_time(5 * SECOND, author, cleo)
    assert (info(cleo, group).revision, info(other, group).revision) == (4, 3)
    author = restored(author, tmp_path / "file")
    cleo.cut()
    asking = other if who == "the author" else author
    asking.messenger.groups.set_timer(group, MINUTE)
    author.login()
    pass_time(5 * MINUTE, author, other, step=5 * SECOND)
    assert asking.messenger.groups.wanted == 1, "Cleo may have it, and has"
    cleo.login()
    pass_time(HOUR + 5 * MINUTE, author, other, cleo, step=30 * SECOND)
    in_step(group, author, other, cleo)
    assert info(cleo, group).timer == MINUTE


@pytest.mark.parametrize(("size", "kept"), [(16, 16), (15, 0), (600_000, 0)])
def test_author_that_a_relay_names_at_length_is_none(town: Town, size: int, kept: int) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    details = {"reason": "order", "revision": 9, "author": b64encode(bytes(size)).decode()}

    def refuse(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT":
            return [frame]
        return [{**frame, "type": "ERROR", "payload": {"code": 1001, "details": details, "message": "no"}}]

    ada.tamper = refuse
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(SECOND, ada, ben)
    [group] = ada.messenger._stores.groups.all()
    assert (group.record.ordered, len(group.record.ordered_by)) == (9, kept)
