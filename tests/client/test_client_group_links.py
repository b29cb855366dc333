"""Links that serve no more: who opens one is told, and nobody else learns anything."""

import re
from collections.abc import Callable

import pytest
from client_samples import DAY, Device, Town, pass_time, settle
from group_people import group_of, info, known

from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups import strangers, turning_away
from phantom_messenger.client.groups.contents import GroupJoin, GroupRefuse, GroupSaid
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.turning_away import TurningAway
from phantom_messenger.client.status import GroupEvent, RequestEvent
from phantom_messenger.wire.frames import PresenceStatus
from support.simulated import MINUTE, SECOND

RELAY = "wss://relay.test/ws"


def linked(town: Town, *, uses: int = 1) -> tuple[Device, Device, JoinLink]:
    """Ada has made a group with Ben, and a link to it."""
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    for one in (ada, ben):
        one.messenger._stores.book.asks = True  # about strangers, as all do but bots
    return ada, ben, JoinLink.parse(ada.messenger.groups.link("Tea", RELAY, uses=uses))


def stranger(town: Town, name: str = "eve") -> Device:
    return town.device(name, strangers="ask").login()


def say(device: Device, to: Device, said: GroupSaid, about: bytes) -> None:
    device.messenger.groups._speaking.say(about, [to.id], said, device.messenger._now())


def use_up(town: Town, ada: Device, link: JoinLink) -> None:
    first = stranger(town, "first")
    first.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, first)
    assert info(first).relation == "member"


def grow_old(town: Town, ada: Device, link: JoinLink) -> None:
    del town, link
    pass_time(8 * DAY, ada, step=DAY, reconnect=True)


def close(town: Town, ada: Device, link: JoinLink) -> None:
    del town, link
    ada.messenger.groups.close("Tea")
    settle(ada)


def do_nothing(town: Town, ada: Device, link: JoinLink) -> None:
    del town, ada, link


@pytest.mark.parametrize(
    ("before", "is_told"),
    [(use_up, True), (grow_old, True), (close, True), (do_nothing, False)],
    ids=["used up", "too old", "closed", "control: it serves"],
)
def test_who_opens_a_link_that_serves_no_more_is_told(
    town: Town, before: Callable[[Town, Device, JoinLink], None], is_told: bool
) -> None:
    ada, ben, link = linked(town)
    before(town, ada, link)
    eve = stranger(town)
    eve.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, ben, eve)
    assert eve.troubles() == (["link-refused"] if is_told else [])
    assert [group.relation for group in eve.messenger.groups.all()] == ([] if is_told else ["member"])
    assert eve.messenger._stores.groups.joins.find(ada.id, 0) is None
    assert ada.heard(RequestEvent) == []


def test_who_has_opened_a_link_is_said_to_join_by_it_and_control_who_was_added_is_not(town: Town) -> None:
    ada, ben, link = linked(town)
    eve = stranger(town)
    eve.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, ben, eve)
    said = [event.message for event in ada.heard(GroupEvent)]
    assert any(re.fullmatch(r"'Tea': ph1\w+… joins by your link", one) for one in said), said
    assert not any("added" in one for one in said), "it reads as if ada had acted"
    before = len(said)
    ada.messenger.groups.remove("Tea", [eve.id])
    pass_time(10 * SECOND, ada, ben, eve)
    ada.messenger.groups.add("Tea", [eve.id])
    pass_time(10 * SECOND, ada, ben, eve)
    after = [event.message for event in ada.heard(GroupEvent)][before:]
    assert any(re.fullmatch(r"'Tea': you have added ph1\w+…", one) for one in after), after
    assert not any("link" in one for one in after)


def test_who_is_being_let_in_and_asks_again_is_not_turned_away(town: Town) -> None:
    ada, ben, link = linked(town)
    eve = stranger(town)
    ada.cut()
    for _ in range(3):
        eve.messenger.groups.join(link)
        settle(ben, eve)
    ada.login()
    pass_time(10 * SECOND, ada, ben, eve)
    assert (eve.troubles(), info(eve).relation) == ([], "member")


@pytest.mark.parametrize("is_hidden", [True, False], ids=["appears offline", "control: shows"])
def test_nobody_is_turned_away_by_one_who_appears_offline_until_they_show(town: Town, is_hidden: bool) -> None:
    ada, ben, link = linked(town)
    use_up(town, ada, link)
    if is_hidden:
        ada.messenger.tell_presence(PresenceStatus.OFFLINE)
    eve = stranger(town)
    eve.messenger.groups.join(link)
    pass_time(MINUTE, ada, ben, eve)
    assert eve.troubles() == ([] if is_hidden else ["link-refused"])
    ada.messenger.tell_presence(PresenceStatus.ONLINE)
    pass_time(10 * SECOND, ada, ben, eve)
    assert eve.troubles() == ["link-refused"]


@pytest.mark.parametrize("most", [3, 20], ids=["few", "control: more"])
def test_so_many_strangers_are_told_and_of_the_others_nothing_stays(
    town: Town, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(turning_away, "MOST", most)
    ada, _, link = linked(town)
    use_up(town, ada, link)
    others = [stranger(town, f"stranger {number}") for number in range(6)]
    for _ in range(2):
        for other in others:
            say(other, ada, GroupJoin(token=link.token), link.token)
        pass_time(10 * SECOND, ada, *others)
    told = min(most, len(others))
    mails = [len([frame for frame in other.received if frame["type"] == "MESSAGE"]) for other in others]
    assert sorted(mails) == [0] * (len(others) - told) + [1] * told, "once, however often they ask"
    assert (ada.heard(RequestEvent), ada.messenger.requests()) == ([], [])


def test_who_has_another_token_hears_nothing(town: Town) -> None:
    ada, ben, link = linked(town)
    use_up(town, ada, link)
    eve = stranger(town)
    say(eve, ada, GroupJoin(token=bytes(16)), link.token)
    pass_time(10 * SECOND, ada, ben, eve)
    assert [frame for frame in eve.received if frame["type"] == "MESSAGE"] == []
    assert (ada.heard(RequestEvent), ada.messenger.requests()) == ([], []), "there is nothing to read"


@pytest.mark.parametrize("case", ["nobody's link", "a member", "control: no room yet", "control: a text"])
def test_stranger_who_opens_a_link_in_vain_is_no_message_request(
    town: Town, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    ada, ben, link = linked(town, uses=9)
    eve = stranger(town)
    is_member = case == "a member"
    if is_member:
        eve.messenger.groups.join(link)
        pass_time(10 * SECOND, ada, ben, eve)
        assert info(eve).relation == "member"
    if case == "control: a text":
        eve.send(ada, "hello")
    else:
        monkeypatch.setattr(strangers, "MAX_ASKED", 0)
        token = bytes(16) if case == "nobody's link" else link.token
        say(eve, ada, GroupJoin(token=token), token)
    pass_time(10 * SECOND, ada, ben, eve)
    waits = [1] if case.startswith("control") else []
    assert [event.waiting for event in ada.heard(RequestEvent)] == waits
    assert [one.waiting for one in ada.messenger.requests()] == waits


@pytest.mark.parametrize(
    ("is_admin", "is_token", "is_told"),
    [(True, True, True), (True, False, False), (False, True, False)],
    ids=["control: the admin", "another token", "another user"],
)
def test_only_the_admin_of_a_link_turns_away(town: Town, is_admin: bool, is_token: bool, is_told: bool) -> None:
    ada, ben, link = linked(town)
    eve = stranger(town)
    for one in (ada, ben):
        eve.messenger.contacts.add(one.name, one.id)
    ada.cut()
    eve.messenger.groups.join(link)
    settle(ben, eve)
    liar = ben
    if is_admin:
        ada.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]  # the question is lost
        liar = ada.login()
    say(liar, eve, GroupRefuse(token=link.token if is_token else bytes(16)), link.token)
    pass_time(10 * SECOND, ada, ben, eve, reconnect=False)
    assert eve.troubles() == (["link-refused"] if is_told else [])


def test_what_is_remembered_of_them_is_bounded_in_time() -> None:
    found = TurningAway()
    found._told = {(str(number), b""): number for number in range(turning_away.MOST)}
    assert not found.has_room("x", b"", turning_away.IN_MS - 1)
    assert found.has_room("0", b"", turning_away.IN_MS - 1)
    assert found.has_room("x", b"", turning_away.IN_MS)


def wait(days: int) -> Callable[[Device, Device], None]:
    """So many days pass in which nobody is there."""

    def act(ada: Device, eve: Device) -> None:
        pass_time(days * DAY - MINUTE, ada, eve, step=DAY, reconnect=True)

    return act


def accept(_: Device, eve: Device) -> None:
    eve.messenger.groups.accept("Tea")


def leave(_: Device, eve: Device) -> None:
    eve.messenger.groups.leave("Tea")


def block(ada: Device, eve: Device) -> None:
    eve.messenger.block(ada.id)
    eve.messenger.unblock(ada.id)


def remove(ada: Device, eve: Device) -> None:
    eve.messenger.contacts.remove(ada.id)
    eve.messenger.contacts.add("ada", ada.id)


@pytest.mark.parametrize(
    ("is_member", "act", "is_over"),
    [
        (False, accept, True),
        (False, leave, True),
        (True, leave, True),
        (False, block, True),
        (False, remove, True),
        (False, wait(8), True),
        (False, wait(6), False),
        (True, wait(0), False),
    ],
    ids=["accepts", "declines", "leaves", "blocks", "removes", "waits", "control: a bit", "control: nothing"],
)
def test_link_that_is_not_answered_leads_into_no_later_group_once_one_has_decided(
    town: Town, is_member: bool, act: Callable[[Device, Device], None], is_over: bool
) -> None:
    ada, ben, link = linked(town)
    eve = stranger(town)
    eve.messenger.contacts.add("ada", ada.id)
    ada.messenger.contacts.add("eve", eve.id)
    ada.messenger.groups.add("Tea", [eve.id])
    pass_time(10 * SECOND, ada, ben, eve)
    if is_member:
        eve.messenger.groups.accept("Tea")
    eve.messenger.groups.join(link)  # who is invited, or a member, is not answered
    pass_time(10 * SECOND, ada, ben, eve)
    act(ada, eve)
    pass_time(10 * SECOND, ada, ben, eve, reconnect=True)
    ada.messenger.groups.create("Coffee", [eve.id])
    pass_time(10 * SECOND, ada, ben, eve)
    assert info(eve, "Coffee").relation == ("invited" if is_over else "member")


def test_one_link_that_is_answered_ends_what_was_asked_of_other_admins_of_that_group(town: Town) -> None:
    ada, ben, link = linked(town)
    ada.messenger.groups.set_role("Tea", ben.id, "admin")
    pass_time(10 * SECOND, ada, ben)
    other = JoinLink.parse(ben.messenger.groups.link("Tea", RELAY))
    eve = stranger(town)
    ben.cut()
    eve.messenger.groups.join(other)
    settle(ada, eve)
    eve.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, eve)
    assert info(eve).relation == "member"
    pass_time(10 * SECOND, ada, ben.login(), eve)
    ben.messenger.groups.create("Coffee", [eve.id])
    pass_time(10 * SECOND, ada, ben, eve)
    assert info(eve, "Coffee").relation == "invited"


def test_link_that_is_used_up_stays_known_after_a_restart(town: Town) -> None:
    ada, ben, link = linked(town)
    use_up(town, ada, link)
    ada.kill()
    ada.login()
    eve = stranger(town)
    eve.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, ben, eve)
    assert eve.troubles() == ["link-refused"]
    assert known(ada).record.wishes == []


def test_link_that_was_refused_is_not_opened_again(town: Town) -> None:
    ada, ben, link = linked(town)
    use_up(town, ada, link)
    eve = stranger(town)
    eve.messenger.groups.join(link)
    pass_time(10 * SECOND, ada, ben, eve)
    eve.kill()
    eve.login()
    with pytest.raises(UsageError, match=r"does not work any more: it is used up, too old, or withdrawn; ask for"):
        eve.messenger.groups.join(link)
    another = JoinLink.parse(ada.messenger.groups.link("Tea", RELAY))
    eve.messenger.groups.join(another)
    pass_time(10 * SECOND, ada, ben, eve)
    assert info(eve).relation == "member", "control: another link of the same admin"
