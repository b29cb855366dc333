"""What those can do to a client's memory, disk and processor who know a group's id and are no members, or invite."""

import functools
from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, known, names, news, said, signed, tell, unread, write
from group_samples import added, applied, begun, following, someone

from phantom_messenger.client.groups.chain import Chain, Step, Verdict
from phantom_messenger.client.groups.change import SetTimer
from phantom_messenger.client.groups.contents import GroupChanges, GroupHello, GroupJoin, GroupSaid, GroupText
from phantom_messenger.client.groups.holding import MAX_HELD, MAX_HELD_OF_ONE
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.state import GroupState, head_of
from phantom_messenger.client.groups.strangers import Strangers
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.looks import LOOKS, LOOKS_MS, LOOKS_OF_ONE, LinkLooks, Looks
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.requests import Requests
from phantom_messenger.client.status import GroupNews, RequestEvent
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND

FAR = 2**32 - 1


def strangers_of(town: Town, count: int) -> list[Device]:
    """People whom nobody knows."""
    return town.devices(*(f"stranger {number}" for number in range(count)))


def careful(town: Town, *names: str) -> list[Device]:
    """Friends who ask their users about strangers, as all do but bots."""
    devices = town.friends(*names)
    for device in devices:
        device.messenger._stores.book.asks = True
    return devices


def say(device: Device, to: Device, said_: GroupSaid, about: bytes) -> None:
    """Say it, whoever one is."""
    device.messenger.groups._speaking.say(about, [to.id], said_, device.messenger._now())


def ahead(group: bytes, n: int) -> GroupText:
    return GroupText(group=group, revision=FAR, head=bytes(32), n=n, body="I know more")


# --- strangers who know the id of a group ---------------------------------------------------


def flood(town: Town) -> tuple[Device, Device, list[Device]]:
    """Strangers who know a group's id and say that they know more; a member, the admin, and they."""
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    others, group = strangers_of(town, 8), known(ben).record.group
    for other in others:
        for number in range(MAX_HELD_OF_ONE):
            say(other, ben, ahead(group, number + 1), group)
        settle(ben, other)
    return ben, ada, others


def people_known(device: Device, others: list[Device]) -> int:
    """Of how many of them there is a session."""
    return sum(device.messenger._stores.conversations.load(other.id).sending is not None for other in others)


def test_strangers_who_know_a_group_are_taken_in_while_there_is_room(town: Town) -> None:
    ben, _, others = flood(town)
    assert people_known(ben, others) == MAX_HELD // MAX_HELD_OF_ONE
    assert len(ben.messenger._stores.groups.held(info(ben).group)) == MAX_HELD
    waiting = {event.peer.user_id for event in ben.heard(RequestEvent)}
    assert waiting == {other.id for other in others[MAX_HELD // MAX_HELD_OF_ONE :]}


def test_control_without_that_there_is_no_end_of_them(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strangers, "concerns", lambda *_: True)
    monkeypatch.setattr(Looks, "take", lambda *_: True)
    ben, _, others = flood(town)
    assert people_known(ben, others) == len(others)


@pytest.mark.parametrize("is_hidden", [True, False], ids=["as it is", "control: whoever has a session is listed"])
def test_stranger_whose_text_is_held_for_a_group_is_in_no_list_before_the_user_has_let_them_in(
    town: Town, is_hidden: bool
) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    (eve,), contacts = strangers_of(town, 1), ben.messenger.contacts
    say(eve, ben, ahead(known(ben).record.group, 1), known(ben).record.group)
    settle(ben, eve)
    assert people_known(ben, [eve]) == 1
    if not is_hidden:
        book = ben.messenger._stores.book
        book.listed = book.everybody  # type: ignore[method-assign]
    assert [one.user_id for one in contacts.everybody()] == [ada.id, *([] if is_hidden else [eve.id])]
    contacts.let_in(eve.id)
    assert [one.user_id for one in contacts.everybody()] == [ada.id, eve.id]


def test_text_of_a_newcomer_for_which_strangers_have_left_no_room_is_read_after_the_change(town: Town) -> None:
    ben, ada, others = flood(town)
    newcomer = others[-1]
    late: list[Frame] = []

    def keep_back(frame: Frame) -> list[Frame]:
        is_of_ada = frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == ada.id
        late.extend([frame] if is_of_ada else [])
        return [] if is_of_ada else [frame]

    ben.tamper = keep_back
    ada.messenger.groups.add("Tea", [newcomer.id])
    settle(ada, ben, newcomer)
    newcomer.messenger.groups.accept("Tea")
    write(newcomer, "I am new")
    settle(ada, ben, newcomer)
    assert said(ben) == []
    for frame in late:
        ben.messenger.receive(canonical(frame).decode())
    assert said(ben)[-1] == "I am new"


def test_changes_that_move_nothing_are_a_request_like_any_other(town: Town) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    (eve,) = strangers_of(town, 1)
    group = known(ben).record.group
    for found in ([], [b"no change"], [known(ben).chain.steps[-1].change.encoded]):
        say(eve, ben, GroupChanges(group=group, changes=found), group)
    settle(ada, ben, eve)
    assert people_known(ben, [eve]) == 0
    assert [event.peer.user_id for event in ben.heard(RequestEvent)] == [eve.id] * 3


def test_changes_that_prove_themselves_are_taken_from_a_stranger(town: Town) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    (eve,) = strangers_of(town, 1)
    group, change = known(ben).record.group, signed(ada, SetTimer(ms=MINUTE))
    say(eve, ben, GroupChanges(group=group, changes=[change.encoded]), group)
    settle(ben, eve)
    assert info(ben).timer == MINUTE


# --- links ---------------------------------------------------------------------------------------


def tokens(link: JoinLink) -> list[bytes]:
    """What strangers who have the link may say under its conversation id: another token, and its own."""
    return [bytes(16), link.token]


@pytest.mark.parametrize("place", [0, 1], ids=["another token", "control: the token of the link"])
def test_of_whoever_asks_with_a_token_that_does_not_serve_nothing_stays(town: Town, place: int) -> None:
    (ada,) = careful(town, "ada")
    ada.messenger.groups.create("Tea", [])
    link = JoinLink.parse(ada.messenger.groups.link("Tea", "wss://relay.test/ws", uses=9))
    others = strangers_of(town, 3)
    for other in others:
        say(other, ada, GroupJoin(token=tokens(link)[place]), link.token)
    settle(ada, *others)
    assert people_known(ada, others) == (3 if place else 0)
    assert (ada.heard(RequestEvent), ada.messenger.requests()) == ([], [])
    assert len(names(ada)) == (4 if place else 1)


@pytest.mark.parametrize("is_bounded", [True, False], ids=["as it is", "control: without that bound"])
def test_what_strangers_write_under_the_id_of_a_link_is_looked_into_a_few_times(
    town: Town, monkeypatch: pytest.MonkeyPatch, is_bounded: bool
) -> None:
    (ada,) = careful(town, "ada")
    ada.messenger.groups.create("Tea", [])
    token = JoinLink.parse(ada.messenger.groups.link("Tea", "wss://relay.test/ws", uses=9)).token
    *others, newcomer = strangers_of(town, 4)
    looked: list[str] = []
    receive, joins = Inbox.receive, LinkLooks.take

    def counted(inbox: Inbox, tx: Any, frame: Any, *arguments: Any, **options: Any) -> Any:
        looked.append(frame.payload.sender_id)
        return receive(inbox, tx, frame, *arguments, **options)

    if not is_bounded:
        monkeypatch.setattr(LinkLooks, "take", lambda *arguments: joins(*arguments) or True)
    monkeypatch.setattr(ada.messenger._stores.inbox, "receive", functools.partial(counted, ada.messenger._stores.inbox))
    for other in others:
        for number in range(20):
            say(other, ada, ahead(bytes(32), number + 1), token)
        settle(ada, other)
    assert len(looked) == len(others) * (LOOKS_OF_ONE if is_bounded else 20)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(5 * SECOND, ada)
    say(newcomer, ada, GroupJoin(token=token), token)
    settle(ada, newcomer)
    assert newcomer.id in names(ada, "Coffee")
    assert not is_bounded or len(looked) == len(others) * LOOKS_OF_ONE + 1


def joined(link: LinkLooks, people: int) -> int:
    """How many of these are looked into who ask to join."""
    found = 0
    for number in range(people):
        if link.take(f"person {number}", "m", 0):
            link.asks_to_join()
            found += 1
    return found


def test_those_who_ask_to_join_count_for_themselves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    link = LinkLooks()
    assert joined(link, 200) == 200
    assert [link.take("person 0", "m", 0), link.take("person 200", "m", 0)] == [True, True], "it may have to wait"
    assert [link.take("person 200", "m", 0)] == [False], "each other one is looked into once"
    assert [link.take("eve", str(n), 0) for n in range(LOOKS_OF_ONE + 1)] == [True] * LOOKS_OF_ONE + [False]
    others = [link.take(f"stranger {n}", "m", 0) for n in range(LOOKS)]
    assert others == [True] * (LOOKS - LOOKS_OF_ONE - 1) + [False] * (LOOKS_OF_ONE + 1)
    assert link.take("stranger x", "m", LOOKS_MS)
    monkeypatch.setattr(LinkLooks, "asks_to_join", lambda _: None)
    assert joined(LinkLooks(), 200) == LOOKS, "control"


def test_nothing_is_kept_of_those_for_whom_there_is_no_room() -> None:
    link = LinkLooks()
    taken = [link.take(f"stranger {n}", "m", 0) for n in range(10 * LOOKS)]
    assert (sum(taken), len(link._of)) == (LOOKS, LOOKS)


# --- invitations ---------------------------------------------------------------------------------


def invite_and_remove(town: Town) -> Device:
    """Somebody invites and removes again, five times; whom they invite."""
    ada, eve = town.friends("ada", "eve")
    for number in range(5):
        eve.messenger.groups.create(f"Spam {number}", [ada.id])
        settle(ada, eve)
        tell(eve, [ada], ahead(known(eve, f"Spam {number}").record.group, 1))
        eve.messenger.groups.remove(f"Spam {number}", [ada.id])
        pass_time(5 * SECOND, ada, eve)
    return ada


def test_nothing_is_left_of_an_invitation_that_is_taken_back(town: Town) -> None:
    ada = invite_and_remove(town)
    assert news(ada).count(GroupNews.INVITED) == news(ada).count(GroupNews.REMOVED) == 5
    assert ada.messenger.groups.all() == []
    ada.kill()
    assert ada.messenger.groups.all() == []


def test_control_of_groups_that_were_accepted_all_is_left(town: Town) -> None:
    ada, eve = town.friends("ada", "eve")
    group_of(eve, ada)
    write(eve, "hello")
    settle(ada, eve)
    eve.messenger.groups.remove("Tea", [ada.id])
    settle(ada, eve)
    assert (info(ada).relation, said(ada)) == ("removed", ["hello"])


def test_who_was_a_member_keeps_what_was_said_if_invited_and_removed_again(town: Town) -> None:
    ada, eve = town.friends("ada", "eve")
    group_of(eve, ada)
    write(eve, "hello")
    settle(ada, eve)
    for _ in range(2):
        eve.messenger.groups.remove("Tea", [ada.id])
        pass_time(3 * SECOND, ada, eve)
        eve.messenger.groups.add("Tea", [ada.id])
        pass_time(3 * SECOND, ada, eve)
    assert info(ada).relation == "invited"
    eve.messenger.groups.remove("Tea", [ada.id])
    pass_time(3 * SECOND, ada, eve)
    assert (info(ada).relation, unread(ada)) == ("removed", ["hello"])


def test_who_accepts_and_is_removed_then_keeps_the_group(town: Town) -> None:
    ada, eve = town.friends("ada", "eve")
    eve.messenger.groups.create("Tea", [ada.id])
    settle(ada, eve)
    ada.messenger.groups.accept("Tea")
    settle(ada, eve)
    eve.messenger.groups.remove("Tea", [ada.id])
    settle(ada, eve)
    assert info(ada).relation == "removed"


# --- how much is looked into ---------------------------------------------------------------------


def looked_into(town: Town, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """How many of 100 messages of strangers who know a group are decrypted as they come: to be taken in, and to wait.

    And how many are with a change of it.
    """
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    group, counts = known(ben).record.group, {"receive": 0, "look": 0}

    def count(name: str) -> None:
        method = getattr(Inbox, name)

        def counted(inbox: Inbox, *arguments: Any, **options: Any) -> Any:
            counts[name] += inbox is ben.messenger._stores.inbox
            return method(inbox, *arguments, **options)

        monkeypatch.setattr(Inbox, name, counted)

    count("receive")
    count("look")
    for other in strangers_of(town, 5):
        for number in range(20):
            say(other, ben, GroupHello(group=group, revision=1, head=bytes(32), name=str(number)), group)
        settle(ben, other)
    came = counts["receive"]
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben)
    assert info(ben, "Coffee")
    return came, counts["look"], counts["receive"] - came


def test_so_many_messages_of_strangers_who_know_a_group_are_looked_into_each_once(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert LOOKS == 60
    assert looked_into(town, monkeypatch) == (LOOKS, 0, 1), "with the change, that alone"


def test_control_all_are_without_that_bound(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Strangers, "expects", lambda *_: True)
    assert looked_into(town, monkeypatch) == (100, 0, 101)


def test_control_half_as_many_are_if_one_takes_two_looks(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    request = Receiving._request
    monkeypatch.setattr(Receiving, "_request", lambda self, frame, now, *_: request(self, frame, now))
    came, again, _ = looked_into(town, monkeypatch)
    assert (came, came + again) == (LOOKS // 2, LOOKS)


def test_message_that_waits_takes_no_look_when_it_comes_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    (eve,), group = strangers_of(town, 1), known(ben).record.group
    say(eve, ben, GroupHello(group=group, revision=1, head=bytes(32)), group)
    settle(ben, eve)
    (came,) = (frame for frame in ben.received if frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == eve.id)
    assert len(ben.messenger._receiving._looks._times) == 1
    ben.messenger.receive(canonical(came).decode())
    assert len(ben.messenger._receiving._looks._times) == 1
    monkeypatch.setattr(Requests, "has", lambda *_: False)
    ben.messenger.receive(canonical(came).decode())
    assert len(ben.messenger._receiving._looks._times) == 2, "control"


def test_what_cannot_be_read_of_a_stranger_who_knows_a_group_is_told_to_nobody(town: Town) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    (eve,), group = strangers_of(town, 1), known(ben).record.group

    def broken(frame: Frame) -> list[Frame]:
        is_message = frame["type"] == "MESSAGE"
        return [{**frame, "payload": {**frame["payload"], "encrypted": "AAAA"}} if is_message else frame]

    ben.tamper = broken
    for sender in (eve, ada):
        ben.events.clear()
        say(sender, ben, GroupHello(group=group, revision=1, head=bytes(32)), group)
        settle(ben, sender)
        assert bool(ben.events) is (sender is ada), "control: of a member it is told"


# --- forks ---------------------------------------------------------------------------------------


def test_rival_change_that_strangers_bring_stops_a_group_once(town: Town) -> None:
    ada, ben = careful(town, "ada", "ben")
    group_of(ada, ben)
    rival = signed(ada, SetTimer(ms=MINUTE))
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben)
    group = known(ben, "Coffee").record.group
    for other in strangers_of(town, 3):
        say(other, ben, GroupChanges(group=group, changes=[rival.encoded]), group)
        settle(ben, other)
        ben.messenger.groups.go_on("Coffee")
    assert news(ben).count(GroupNews.FORKED) == 1
    fork = ben.messenger._stores.groups.get(info(ben, "Coffee").group)
    assert fork is not None
    assert fork.record.rival == ada.id


# --- what a change costs -------------------------------------------------------------------------


def long_chain() -> Chain:
    """A group of a hundred with many changes."""
    ada, people = someone("ada"), [someone(f"person {number}") for number in range(99)]
    chain = begun(ada, *(added(person) for person in people[:60]))
    chain = applied(chain, following(chain, ada, [added(person) for person in people[60:]]))
    for number in range(200):
        chain = applied(chain, following(chain, ada, [SetTimer(ms=number)]))
    return chain


def states_hashed(monkeypatch: pytest.MonkeyPatch) -> int:
    """How many states are written out to judge one change of a stranger that follows nothing."""
    chain, eve = long_chain(), someone("eve")
    change = following(chain, eve, [SetTimer(ms=1)], revision=chain.state.revision + 2, previous=b"x" * 32)
    count, encode = [0], GroupState.encode

    def counted(state: GroupState) -> bytes:
        count[0] += 1
        return encode(state)

    monkeypatch.setattr(GroupState, "encode", counted)
    assert chain.judge(change.encoded).verdict is Verdict.BEHIND
    return count[0]


def test_change_that_follows_no_head_costs_no_hash_of_each_state(monkeypatch: pytest.MonkeyPatch) -> None:
    assert states_hashed(monkeypatch) <= 2


def test_control_heads_that_are_made_again_cost_a_hash_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Step, "previous", property(lambda step: head_of(step.base, step.before)))
    assert states_hashed(monkeypatch) > 200
