"""What members, those who were removed, and strangers can make the clients of a group do by saying what they may."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import link
from group_people import group_of, info, known, names, news, said, tell, write

from phantom_messenger.client import records
from phantom_messenger.client.groups import duties, texts
from phantom_messenger.client.groups.answer_budget import ANSWER_BYTES_OF_ONE, AnswerBudget
from phantom_messenger.client.groups.contents import (
    GroupAsk,
    GroupHello,
    GroupJoin,
    GroupLeave,
    GroupPropose,
    GroupText,
)
from phantom_messenger.client.groups.holding import MAX_HELD_OF_ONE
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.state import MAX_AHEAD, conversation_of, order_of
from phantom_messenger.client.groups.store import MAX_INVITATIONS_OF_ONE, raw_of, written
from phantom_messenger.client.many import store as many_store
from phantom_messenger.client.records import ManyRecord, OrderRecord
from phantom_messenger.client.status import DeliveryState, GroupNews
from support.simulated import HOUR, MINUTE, SECOND

FAR = 2**32 - 1


def claim_ahead(device: Device, to: Device, n: int = 1) -> None:
    """A text of somebody who claims to know changes that there are not."""
    group = known(device).record.group
    tell(device, [to], GroupText(group=group, revision=FAR, head=bytes(32), n=n, body="I know more"))


def test_member_who_claims_to_be_ahead_cannot_keep_an_admin_from_removing_them(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    claim_ahead(cleo, ada)
    settle(ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [cleo.id])
    for number in range(20):
        claim_ahead(cleo, ada, n=2 + number)
        cleo.messenger.groups._duties._to_answer.clear()  # and does not show them
        pass_time(15 * SECOND, ada, ben, cleo)
    assert names(ada) == names(ben) == {ada.id, ben.id}


def test_one_who_claims_to_be_ahead_and_is_removed_leaves_an_admin_alone_in_peace(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    claim_ahead(ben, ada)
    settle(ada, ben)
    ada.messenger.groups.remove("Tea", [ben.id])
    for _ in range(60):
        ben.messenger.groups._duties._to_answer.clear()
        pass_time(15 * SECOND, ada, ben)
    assert names(ada) == {ada.id}
    assert not info(ada).is_behind


def test_control_one_who_is_believed_for_ever_is_never_removed(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "BELIEVED_ASKS", duties.MAX_ASKS)
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    claim_ahead(cleo, ada)
    settle(ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [cleo.id])
    for number in range(20):
        claim_ahead(cleo, ada, n=2 + number)
        cleo.messenger.groups._duties._to_answer.clear()
        pass_time(15 * SECOND, ada, ben, cleo)
    assert names(ada) == {ada.id, ben.id, cleo.id}


def test_void_claims_make_nobody_ask_for_ever(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    claims = 60
    for number in range(claims):
        claim_ahead(cleo, ada, n=1 + number)
        pass_time(MINUTE, ada, ben, cleo, step=10 * SECOND)
    told = [frame for frame in ada.frames_sent("MESSAGE_MANY") if len(frame["payload"]["recipients"]) == 1]
    assert len(told) <= claims + duties.MAX_ASKS + 2  # each text is confirmed, too
    assert not info(ada).is_behind


def test_somebody_who_leaves_a_hundred_times_is_removed_once(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.cut()
    for _ in range(100):
        tell(cleo, [ada], GroupLeave(group=known(cleo).record.group))
    settle(ben, cleo)
    ada.login()
    settle(ada, ben, cleo)
    assert news(ada).count(GroupNews.LEFT) == 1
    assert (names(ada), info(ada).revision) == ({ada.id, ben.id}, info(ben).revision)
    assert ada.messenger.groups.wanted == 0


def test_members_who_may_invite_leave_room_for_what_the_admin_wants(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.set_rights("Tea", invite="member", write=None)
    settle(ada, ben)
    ada.cut()
    for number in range(80):
        tell(ben, [ada], GroupPropose(group=known(ben).record.group, person=bytes([number]) * 32))
    settle(ben)
    ada.login()
    ada.step_down()
    ada.messenger.groups.remove("Tea", [ben.id])
    settle(ada, ben)
    pass_time(MINUTE, ada, ben)
    assert ben.id not in names(ada)


def test_link_is_not_used_up_by_one_who_asks_again_and_again(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    ada.messenger.groups.create("Tea", [])
    link = JoinLink.parse(ada.messenger.groups.link("Tea", ada.messenger.server or "wss://relay.test/ws", uses=2))
    ada.cut()
    for _ in range(10):
        say_join(ben, ada, link.token)
    settle(ben)
    ada.login()
    settle(ada, ben)
    assert names(ada) == {ada.id, ben.id}
    say_join(cleo, ada, link.token)
    settle(ada, ben, cleo)
    assert names(ada) == {ada.id, ben.id, cleo.id}


def say_join(device: Device, admin: Device, token: bytes) -> None:
    messenger = device.messenger
    messenger.groups._speaking.say(token, [admin.id], GroupJoin(token=token), messenger._now())


def test_one_person_invites_to_so_many_groups_and_others_find_room(town: Town) -> None:
    ada, ben, eve = town.friends("ada", "ben", "eve")
    for number in range(MAX_INVITATIONS_OF_ONE + 5):
        eve.messenger.groups.create(f"Spam {number}", [ada.id])
    ben.messenger.groups.create("Tea", [ada.id])
    pass_time(MINUTE, ada, ben, eve)
    invited = [one for one in ada.messenger.groups.all() if one.relation == "invited"]
    assert len(invited) == MAX_INVITATIONS_OF_ONE + 1
    assert info(ada).inviter == ada.messenger.contacts.of(ben.id)


def test_invitation_to_a_group_of_the_same_name_takes_no_text_from_the_first(town: Town) -> None:
    ada, ben, eve = town.friends("ada", "ben", "eve")
    group_of(ada, ben)
    eve.messenger.groups.create("Tea", [ada.id])
    settle(ada, ben, eve)
    write(ada, "for Ben")
    pass_time(10 * SECOND, ada, ben, eve)
    assert (said(ben), said(eve)) == (["for Ben"], [])
    accepted = ada.messenger.groups.accept("Tea")
    assert ada.messenger.groups.find(accepted).inviter == ada.messenger.contacts.of(eve.id)


def test_somebody_who_was_removed_does_not_take_the_room_of_texts_that_come_early(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    for number in range(60):
        claim_ahead(cleo, ben, n=1 + number)
    settle(ada, ben, cleo)
    held = ben.messenger._stores.groups.held(info(ben).group)
    assert len(held) == MAX_HELD_OF_ONE


def test_somebody_who_was_removed_and_goes_on_speaking_is_told_three_times(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    before = known(cleo).chain
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    ben.sent.clear()
    for _ in range(20):
        hello = GroupHello(group=before.state.group, revision=before.state.revision, head=before.head)
        tell(cleo, [ben], hello)
        pass_time(20 * SECOND, ada, ben, cleo)
    assert len(ben.frames_sent("MESSAGE_MANY")) == duties.MAX_REMOVED_TOLD


def test_those_who_ask_and_ask_leave_the_rate_of_messages_to_texts(town: Town) -> None:
    devices = town.friends("ada", "ben", "cleo", "dan", "eve")
    ada, *others = devices
    group_of(*devices)
    ada.sent.clear()
    for _ in range(12):
        for other in others:
            tell(other, [ada], GroupAsk(group=known(other).record.group, since=1))
        pass_time(10 * SECOND, *devices)
    assert duties.ANSWERS <= len(ada.frames_sent("MESSAGE_MANY")) <= 2 * duties.ANSWERS + len(others)


def test_control_without_a_bound_each_question_is_answered(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 2 * duties.ANSWERS + 4
    monkeypatch.setattr(duties, "ANSWERS", 1_000)
    devices = town.friends("ada", "ben", "cleo", "dan", "eve")
    ada, *others = devices
    group_of(*devices)
    ada.sent.clear()
    for _ in range(12):
        for other in others:
            tell(other, [ada], GroupAsk(group=known(other).record.group, since=1))
        pass_time(10 * SECOND, *devices)
    assert len(ada.frames_sent("MESSAGE_MANY")) > most


def test_answers_that_wait_are_given_later(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "ANSWERS", 1)
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    for other in (ben, cleo):
        tell(other, [ada], GroupAsk(group=known(other).record.group, since=0))
    settle(ada, ben, cleo)
    assert len(ada.messenger.groups._duties._to_answer) == 1
    pass_time(2 * MINUTE, ada, ben, cleo)
    assert ada.messenger.groups._duties._to_answer == {}


def drawing(first: bytes, random: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A source of random bytes that begins with these."""
    left = [first]
    return lambda size: left.pop() if left else random(size)


def test_group_whose_id_is_that_of_somebody_known_is_neither_shown_nor_joined(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    eve = town.device("eve").login()
    ada.strangers = "ask"
    ada.kill()
    ada.login()
    random = eve.messenger.groups._random
    for group, shown in ((raw_of(ben.id), []), (bytes(32), ["Tea"])):
        eve.messenger.groups._random = drawing(group, random)
        eve.messenger.groups.create("Tea", [ada.id])
        pass_time(10 * SECOND, ada, ben, eve)
        assert [one.name for one in ada.messenger.groups.invitations_of(eve.id)] == shown
    ada.messenger.contacts.let_in(eve.id)
    settle(ada, ben, eve)
    assert [raw_of(one.group) for one in ada.messenger.groups.all()] == [bytes(32)]


def test_links_of_a_group_that_is_forgotten_let_nothing_past_the_door(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    link = JoinLink.parse(ada.messenger.groups.link("Tea", "wss://relay.test/ws"))
    conversation = written(conversation_of(link.token))
    assert ada.messenger._stores.groups.is_of_token(conversation)
    ada.messenger.groups.close("Tea")
    settle(ada, ben)
    ada.messenger.groups.forget("Tea")
    assert not ada.messenger._stores.groups.is_of_token(conversation)
    assert not ada.vault.has_kind(records.GROUP_LINK)


def asked_in_vain(town: Town, ada: Device, ben: Device, cleo: Device) -> Device:
    """Ada asks the others because of what the relay has counted: the first is away, the second knows no more."""
    town.world.peek(lambda tx: tx.connection.execute("DELETE FROM orders"))
    group, head = known(ben).record.group, known(ben).chain.head
    order = OrderRecord(name=order_of(group), revision=info(ben).revision + 2 * MAX_AHEAD, writers=[ada.id, ben.id])
    tell(ben, [ada], GroupHello(group=group, revision=info(ben).revision, head=head), order)
    settle(ada, ben, cleo)
    first, second = sorted((ben, cleo), key=lambda one: raw_of(one.id))
    first.cut()
    second.cut()
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(3 * MINUTE, ada)
    second.login()
    pass_time(2 * MINUTE, ada, second)
    first.login()
    settle(ada, ben, cleo)
    assert not info(ada).is_behind
    return first


def test_who_was_asked_because_of_the_relay_has_claimed_nothing_and_is_believed_later(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    claim_ahead(asked_in_vain(town, ada, ben, cleo), ada)
    settle(ada, ben, cleo)
    assert info(ada).is_behind


def test_control_one_who_counts_as_void_is_not_believed(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    first = asked_in_vain(town, ada, ben, cleo)
    ada.messenger.groups._duties._void[info(ada).group] = {first.id}
    claim_ahead(first, ada)
    settle(ada, ben, cleo)
    assert not info(ada).is_behind


def test_who_is_only_invited_asks_nobody(town: Town) -> None:
    mal, vic = town.friends("mal", "vic")
    eve = town.device("eve").login()
    mal.messenger.contacts.add("eve", eve.id)
    eve.messenger.contacts.add("mal", mal.id)
    mal.send(eve, "hi")
    settle(mal, eve)
    group_of(mal, eve)
    mal.messenger.groups.add("Tea", [vic.id])
    pass_time(10 * SECOND, mal, eve, vic)
    assert info(vic).relation == "invited"
    before = len(vic.frames_sent("MESSAGE_MANY"))
    ahead = GroupText(group=known(eve).record.group, revision=9, head=bytes(32), n=1, body="x")
    tell(eve, [vic], ahead)
    pass_time(HOUR, mal, eve, vic, step=10 * SECOND)
    assert len(vic.frames_sent("MESSAGE_MANY")) == before
    vic.messenger.groups.accept("Tea")
    pass_time(2 * MINUTE, mal, eve, vic, step=5 * SECOND)
    assert len(vic.frames_sent("MESSAGE_MANY")) > before + 1, "as a member they greet, and ask"


def welcomed(town: Town, times: int) -> tuple[list[Device], Callable[[], int]]:
    """Vic with a name, an admin who removes and adds somebody so often, and they; how often they were greeted since."""
    vic, mal, dol = devices = town.friends("vic", "mal", "dol")
    group_of(mal, vic, dol)
    vic.messenger.groups.call_me("Tea", "Victoria")
    pass_time(10 * SECOND, *devices)

    def again() -> int:
        vic.sent.clear()
        mal.messenger.groups.remove("Tea", [dol.id])
        pass_time(3 * SECOND, *devices)
        mal.messenger.groups.add("Tea", [dol.id])
        pass_time(3 * SECOND, *devices)
        dol.messenger.groups.accept("Tea")
        pass_time(3 * SECOND, *devices)
        sent = [frame["payload"]["recipients"] for frame in vic.frames_sent("MESSAGE_MANY")]
        return sum([one["recipientId"] for one in to] == [dol.id] for to in sent)

    assert sum(again() for _ in range(times)) == 1
    return devices, again


def test_somebody_who_joins_again_and_again_is_greeted_once_an_hour(town: Town) -> None:
    devices, again = welcomed(town, 5)
    pass_time(HOUR, *devices, step=MINUTE)
    assert again() == 1, "control: after that they are"


def test_so_many_who_join_are_greeted_in_an_hour(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "WELCOMES", 0)
    with pytest.raises(AssertionError, match="assert 0 == 1"):
        welcomed(town, 1)


def test_control_without_a_bound_they_are_greeted_each_time(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "WELCOMES_MS", 0)
    with pytest.raises(AssertionError, match="assert 3 == 1"):
        welcomed(town, 3)


def greeted(town: Town, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many are greeted of 50 who join each of two groups, then of two more; and an hour later of two more."""
    vic, dol = town.friends("vic", "dol")
    for name in ("Tea", "Cake"):
        group_of(vic, dol, name=name)
    told, found = vic.messenger.groups._duties, [0]
    monkeypatch.setattr(told, "_greet", lambda *_: found.append(found.pop() + 1))
    counts = []
    for number, (many, pause) in enumerate(((50, 0), (1, HOUR - SECOND), (1, SECOND))):
        pass_time(pause, vic, dol, step=MINUTE)
        for name in ("Tea", "Cake"):
            for place in range(many):
                told.welcome(info(vic, name).group, f"newcomer {number} {place}")
        told.step(vic.messenger._now())
        counts.append(found.pop())
        found.append(0)
    return counts


def test_of_all_who_join_64_are_greeted_in_an_hour_whichever_group_it_is(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert greeted(town, monkeypatch) == [64, 0, 2]


def test_control_with_another_bound_it_is_another_number(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "WELCOMES", 101)
    assert greeted(town, monkeypatch) == [100, 1, 2]


def told_in_a_minute(town: Town) -> tuple[list[Device], int]:
    """Vic, and somebody who writes to each of many groups of both every 5 s; how often it is told of in a minute."""
    vic, mal = devices = town.friends("vic", "mal")
    groups = [f"Tea {number}" for number in range(10)]
    for group in groups:
        group_of(mal, vic, name=group)
    pass_time(MINUTE, *devices)
    vic.sent.clear()
    for _ in range(12):
        for group in groups:
            write(mal, "x", group=group)
        pass_time(5 * SECOND, *devices)
    return devices, sum(len(vic.frames_sent(kind)) for kind in ("MESSAGE", "MESSAGE_MANY"))


def test_texts_to_many_groups_are_told_of_in_few_messages_and_in_all_of_them(town: Town) -> None:
    devices, told = told_in_a_minute(town)
    assert told <= duties.RECEIPTS
    pass_time(MINUTE, *devices)
    states = devices[1].messenger.groups
    last = [states.history(f"Tea {number}")[-1].message_id for number in range(10)]
    assert {states.progress(one)[devices[0].id] for one in last} == {DeliveryState.DELIVERED}


def test_control_without_a_bound_they_take_most_messages(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duties, "RECEIPTS", 1_000)
    assert told_in_a_minute(town)[1] > 2 * 24


def answered_bytes(town: Town, minutes: int) -> int:
    """How much a member's program sends to two who ask for all changes every ten seconds."""
    vic, mal, dol = town.friends("vic", "mal", "dol")
    group_of(vic, mal, dol, admins=2)
    for number in range(8):
        mal.messenger.groups.set_picture("Tea", b"\x89PNG\r\n\x1a\n" + bytes([number]) * 4_000)
        pass_time(3 * SECOND, vic, mal, dol)
    about = known(vic).record.group
    vic.sent.clear()
    for _ in range(6 * minutes):
        for one in (mal, dol):
            tell(one, [vic], GroupAsk(group=about, since=0, picture=True))
        pass_time(10 * SECOND, vic, mal, dol, step=5 * SECOND)
    return sum(len(frame["payload"]["common"]) for frame in vic.frames_sent("MESSAGE_MANY"))


def test_device_that_asks_is_answered_alone(town: Town) -> None:
    vic, mal = town.friends("vic", "mal")
    laptop = town.device("laptop", strangers="ask").login()
    group_of(vic, mal)
    link(mal, laptop, vic)
    pass_time(5 * SECOND, vic, mal, laptop)
    vic.sent.clear()
    tell(mal, [vic], GroupAsk(group=known(vic).record.group, since=0, picture=True))
    pass_time(5 * SECOND, vic, mal, laptop)
    (answer,) = vic.frames_sent("MESSAGE_MANY")
    assert [one["recipientId"] for one in answer["payload"]["recipients"]] == [mal.id]


@pytest.mark.parametrize("is_accepted", [False, True], ids=["", "control: accepted"])
def test_questions_about_invitations_take_no_place_of_an_answer(town: Town, is_accepted: bool) -> None:
    vic, mal, ben = town.friends("vic", "mal", "ben")
    group_of(vic, ben)
    for number in range(duties.ANSWERS):
        mal.messenger.groups.create(f"Trap {number}", [vic.id])
        pass_time(5 * SECOND, vic, mal, ben)
        if is_accepted:
            vic.messenger.groups.accept(f"Trap {number}")
    pass_time(MINUTE, vic, mal, ben)
    for name in [f"Trap {number}" for number in range(duties.ANSWERS)]:
        tell(mal, [vic], GroupAsk(group=known(mal, name).record.group, since=0))
    pass_time(2 * SECOND, vic, mal)
    tell(ben, [vic], GroupAsk(group=known(vic).record.group, since=0))
    vic.sent.clear()
    pass_time(5 * SECOND, vic, mal, ben)
    to_ben = [
        one for one in vic.frames_sent("MESSAGE_MANY") if one["payload"]["recipients"][0]["recipientId"] == ben.id
    ]
    assert bool(to_ben) is not is_accepted


MOST_ANSWERED = 4_000_000
"""Characters of base64, of two persons in an hour: more than what both may get, and one more answer each."""


def test_who_asks_again_and_again_is_not_told_more_than_a_relay_stores(town: Town) -> None:
    assert ANSWER_BYTES_OF_ONE < answered_bytes(town, 20) < MOST_ANSWERED


def test_control_without_a_budget_answers_take_what_a_relay_stores(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AnswerBudget, "has_room", lambda *_: True)
    assert answered_bytes(town, 20) > MOST_ANSWERED


def kept_of_answers(town: Town) -> tuple[int, int]:
    """How many messages to many a member has who was asked three times: at once, and two hours later."""
    vic, mal = town.friends("vic", "mal")
    group_of(vic, mal)
    before = sum(1 for _ in vic.vault.all(records.MANY, ManyRecord))
    for _ in range(3):
        tell(mal, [vic], GroupAsk(group=known(vic).record.group, since=0, picture=True))
        pass_time(70 * SECOND, vic, mal, step=5 * SECOND)
    at_once = sum(1 for _ in vic.vault.all(records.MANY, ManyRecord)) - before
    pass_time(2 * HOUR, vic, mal, step=5 * MINUTE, reconnect=True)
    return at_once, sum(1 for _ in vic.vault.all(records.MANY, ManyRecord)) - before


def test_answers_are_kept_for_an_hour(town: Town) -> None:
    at_once, later = kept_of_answers(town)
    assert (at_once, later) == (3, 0)


def test_control_answers_that_are_kept_like_texts_fill_the_disk(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_store, "KEEP_ANSWERS_MS", many_store.KEEP_MS)
    assert kept_of_answers(town) == (3, 3)


def test_texts_of_those_who_are_gone_are_counted_for_a_few(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_FORMER", 2)
    mal, vic = town.friends("mal", "vic")
    group_of(mal, vic)
    for number in range(5):
        dol = town.device(f"dol{number}").login()
        mal.messenger.contacts.add(dol.name, dol.id)
        dol.messenger.contacts.add("mal", mal.id)
        mal.send(dol, "hi")
        settle(mal, dol, vic)
        mal.messenger.groups.add("Tea", [dol.id])
        pass_time(8 * SECOND, mal, vic, dol)
        dol.messenger.groups.accept("Tea")
        pass_time(8 * SECOND, mal, vic, dol)
        write(dol, "hello")
        write(mal, "hello yourself")
        pass_time(8 * SECOND, mal, vic, dol)
        mal.messenger.groups.remove("Tea", [dol.id])
        pass_time(8 * SECOND, mal, vic, dol)
    counted = vic.messenger._stores.groups.counts(known(vic).id).others
    assert counted[mal.id].last == 5
    assert len(counted) == 1 + 2 + 1, "of members, of two who were some, and of the last one"
