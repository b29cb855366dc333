"""A change that the relay has put in order, and that has come to nobody: who goes beyond it divides the group."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import digits, group_of, info, known, names, news, said, tell, write

from phantom_messenger.client.groups.contents import GroupHello
from phantom_messenger.client.groups.duties import ASK_AGAIN_MS, MAX_ASKS, Duties
from phantom_messenger.client.groups.state import order_of
from phantom_messenger.client.link import Link
from phantom_messenger.client.many import sending
from phantom_messenger.client.many.sending import SendingMany
from phantom_messenger.client.many.store import ManyMessage
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import GroupEvent, GroupNews
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


def test_control_who_believes_any_member_divides_the_group(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Duties, "_knows_what_is_missing", lambda *_: True)
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
    pass_time((MAX_ASKS + 1) * ASK_AGAIN_MS, ada, cleo, step=10 * SECOND)
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


def test_author_who_says_that_there_is_nothing_is_believed(town: Town) -> None:
    ada, ben, cleo = three(town)
    group, head = known(ben).record.group, known(ben).chain.head
    order = OrderRecord(name=order_of(group), revision=4, writers=[ada.id, ben.id])
    tell(ben, [cleo], GroupHello(group=group, revision=3, head=head), order)
    pass_time(sending.WAITS_MS + SECOND, ben)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(MINUTE, ada, ben, cleo)
    assert [info(one, "Coffee").revision for one in (ada, ben, cleo)] == [5, 5, 5]


def test_answer_to_an_earlier_question_says_nothing_of_a_later_change(town: Town) -> None:
    ada, ben, cleo = three(town)
    rename_unheard(ben, "Ben's")
    ada.messenger.groups.set_timer("Tea", MINUTE)
    pass_time(MINUTE, ada, cleo)
    duties, group = ada.messenger.groups._duties, ada.messenger.groups._store.all()[0]
    duties.answered(group, ben.id, 3)
    assert duties._doubted, "what ben knew at revision 3"
    duties.answered(group, cleo.id, 4)
    assert duties._doubted, "cleo is not the author"
    duties.answered(group, ben.id, 4)
    assert not duties._doubted
