"""Groups against those who can do most to them: the relay, a member, an admin, and losses at any moment."""

from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle, with_field
from group_people import digits, group_of, info, known, names, news, said, signed, tell, unread, write

from phantom_messenger.client.errors import UnknownContact, UsageError
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups.change import Add, Remove, SetName
from phantom_messenger.client.groups.contents import GroupChange, GroupText
from phantom_messenger.client.groups.duties import Duties
from phantom_messenger.client.groups.state import order_of
from phantom_messenger.client.groups.store import raw_of
from phantom_messenger.client.many import packing, sending
from phantom_messenger.client.records import OrderRecord
from phantom_messenger.client.status import GroupEvent, GroupNews, WarningEvent
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND


def dropping(kind: str, count: int) -> tuple[Callable[[Frame], list[Frame]], list[Frame]]:
    """A relay that keeps the first so many frames of a type to itself; and those that it kept."""
    kept: list[Frame] = []

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != kind or len(kept) >= count:
            return [frame]
        kept.append(frame)
        return []

    return tamper, kept


# --- the relay ----------------------------------------------------------------------


def test_relay_that_keeps_a_change_back_is_noticed_and_it_is_asked_for(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    cleo.tamper, kept = dropping("MESSAGE", 1)
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben, cleo)
    assert len(kept) == 1
    write(ben, "nice name", group="Coffee")
    settle(ada, ben, cleo)
    assert info(cleo).is_behind
    pass_time(10 * SECOND, ada, ben, cleo)
    assert info(cleo, "Coffee").revision == 3
    assert not info(cleo, "Coffee").is_behind
    assert unread(cleo) == ["nice name"]


def refusing_with(revision: object) -> Callable[[Frame], list[Frame]]:
    """A relay that names a revision in place of each answer to a message to many."""

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT":
            return [frame]
        payload = {"code": 1001, "details": {"reason": "order", "revision": revision}, "message": "no"}
        return [{"type": "ERROR", "id": frame["id"], "timestamp": frame["timestamp"], "payload": payload}]

    return tamper


@pytest.mark.parametrize(
    "revision",
    [2**70, 2**63, 2**53, 2**32, 2**32 - 1, 0, -5, True, 1.5, "7", None, [], {}],
    ids=["2^70", "2^63", "2^53", "2^32", "2^32-1", "0", "-5", "true", "1.5", "text", "null", "array", "object"],
)
def test_relay_that_names_any_revision_stops_no_program_and_no_change_for_good(town: Town, revision: object) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.tamper = refusing_with(revision)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(10 * SECOND, ada, ben)
    ada.kill()
    ada.tamper = None
    ada.login()
    ben.cut()
    ben.login()
    pass_time(2 * MINUTE, ada, ben)
    assert info(ada, "Coffee").revision == info(ben, "Coffee").revision


def test_control_revision_that_no_store_can_keep_ends_the_program(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_MAX_REVISION", 2**100)
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.tamper = refusing_with(2**70)
    ada.messenger.groups.rename("Tea", "Coffee")
    with pytest.raises(OverflowError):
        settle(ada, ben)


def test_text_of_a_newcomer_waits_for_the_change_that_lets_them_in(town: Town) -> None:
    ada, ben, cleo, dan = town.friends("ada", "ben", "cleo", "dan")
    group_of(ada, ben, cleo)
    cleo.tamper, _ = dropping("MESSAGE", 1)
    ada.messenger.groups.add("Tea", [dan.id])
    settle(ada, ben, cleo, dan)
    dan.messenger.groups.accept("Tea")
    write(dan, "hello, I am new")
    settle(ada, ben, cleo, dan)
    assert unread(cleo) == []
    pass_time(20 * SECOND, ada, ben, cleo, dan)
    assert names(cleo) == {ada.id, ben.id, cleo.id, dan.id}
    assert unread(cleo) == ["hello, I am new"]


def keeps_back(device: Device) -> list[Frame]:
    """The relay keeps the next message for a device back; it is put here."""
    late: list[Frame] = []

    def hold(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE" or late:
            return [frame]
        late.append(frame)
        return []

    device.tamper = hold
    return late


def test_text_that_comes_before_the_invitation_waits_for_it(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    late = keeps_back(ben)
    ada.messenger.groups.create("Tea", [ben.id, cleo.id])
    settle(ada, ben, cleo)
    cleo.messenger.groups.accept("Tea")
    write(cleo, "welcome")
    settle(ada, ben, cleo)
    with pytest.raises(UnknownContact):
        info(ben)
    ben.down += [canonical(frame) for frame in late]
    settle(ben)
    ben.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    assert unread(ben) == ["welcome"]


def test_strangers_text_that_comes_before_the_invitation_is_a_request_until_then(town: Town) -> None:
    ada, ben, cleo = (town.device(name, strangers="ask").login() for name in ("ada", "ben", "cleo"))
    for one, other in ((ada, ben), (ada, cleo), (ben, ada), (cleo, ada)):
        one.messenger.contacts.add(other.name, other.id)
    settle(ada, ben, cleo)
    late = keeps_back(ben)
    ada.messenger.groups.create("Tea", [ben.id, cleo.id])
    settle(ada, ben, cleo)
    cleo.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    write(cleo, "welcome")
    cleo.send(ben, "in private")
    settle(ada, ben, cleo)
    before = [request.contact.user_id for request in ben.messenger.requests()]
    assert before == [cleo.id]
    ben.down += [canonical(frame) for frame in late]
    settle(ben)
    ben.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    assert unread(ben) == ["welcome"]
    assert [(request.contact.user_id, request.waiting) for request in ben.messenger.requests()] == [(cleo.id, 1)]


def test_relay_that_shows_two_histories_is_noticed_with_the_first_text(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)

    def lies(frame: Frame) -> list[Frame]:
        """Ben's change is refused, and he is told that it was stored."""
        if frame["type"] != "ERROR":
            return [frame]
        request = next(sent for sent in ben.sent if sent["id"] == frame["id"])
        payload = {"accepted": 2, "messageId": request["payload"]["messageId"], "refused": []}
        return [{"type": "MANY_RESULT", "id": frame["id"], "payload": payload, "timestamp": frame["timestamp"]}]

    hidden, _ = dropping("MESSAGE", 1)
    ben.tamper = lambda frame: [one for kept in hidden(frame) for one in lies(kept)]
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, cleo)
    ben.messenger.groups.rename("Tea", "Cocoa")
    settle(ada, ben, cleo)
    assert len(digits(ada, cleo, name="Coffee") | digits(ben, name="Cocoa")) == 2
    write(ben, "which tea?", group="Cocoa")
    settle(ada, ben, cleo)
    for device in (ada, cleo):
        assert news(device)[-1] is GroupNews.FORKED
        assert info(device, "Coffee").doubt == "forked"
        with pytest.raises(UsageError, match="two histories"):
            write(device, "so?", group="Coffee")
    ada.messenger.groups.go_on("Coffee")
    ada.messenger.groups.remove("Coffee", [ben.id])
    settle(ada, cleo)
    assert info(cleo, "Coffee").doubt == ""
    write(cleo, "without him, then", group="Coffee")
    settle(ada, cleo)
    assert said(ada, "Coffee")[-1] == "without him, then"


def test_relay_that_loses_texts_is_noticed_with_the_next_one(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    write(ada, "one")
    settle(ada, ben)
    ben.tamper, kept = dropping("MESSAGE", 3)
    write(ada, "two", "three", "four")
    settle(ada, ben)
    assert len(kept) == 3
    write(ada, "five")
    settle(ada, ben)
    (warning,) = ben.heard(WarningEvent)
    assert warning.code == "missing"
    assert warning.message == "3 messages of ada to 'Tea' are missing"
    ben.tamper = None
    ben.cut()
    ben.login()
    settle(ada, ben)
    assert sorted(unread(ben)) == sorted(["one", "two", "three", "four", "five"])


def test_relay_cannot_put_a_text_into_another_group(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    group_of(ada, ben, name="Work")
    conversations = [known(ada, name).record.group for name in ("Tea", "Work")]
    assert len(set(conversations)) == 2

    def moved(frame: Frame) -> list[Frame]:
        return [with_field(frame, conversationId="somewhere else")] if frame["type"] == "MESSAGE" else [frame]

    ben.tamper = moved
    write(ada, "for tea")
    settle(ada, ben)
    assert said(ben) == said(ben, "Work") == []


# --- a member -----------------------------------------------------------------------


def test_member_changes_nothing_and_says_nothing_for_others(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    head = digits(ada, ben, cleo)
    for op in (SetName(text="Ben's"), Remove(person=raw_of(ada.id)), Add(person=bytes(32), role="admin")):
        change = signed(ben, op)
        tell(ben, [ada, cleo], GroupChange(group=change.group, change=change.encoded))
    settle(ada, ben, cleo)
    assert digits(ada, ben, cleo) == head
    order = OrderRecord(name=order_of(known(ben).record.group), revision=3, writers=[ben.id])
    change = signed(ben, SetName(text="Ben's"))
    tell(ben, [ada, cleo], GroupChange(group=change.group, change=change.encoded), order)
    settle(ada, ben, cleo)
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben, cleo)
    assert info(cleo, "Coffee").revision == 3


@pytest.mark.parametrize(
    ("ahead", "names_others", "why"),
    [
        (1, False, "the relay knows other admins than you do"),
        (1_024, True, "the relay has counted further than changes may go"),
        (2**31, True, "the relay has counted further than changes may go"),
        (1_023, True, ""),
    ],
    ids=["alone", "out of reach", "far out of reach", "within reach"],
)
def test_member_who_is_first_at_a_relay_that_has_lost_the_order_stops_changes_there_at_most(
    town: Town, ahead: int, names_others: bool, why: str
) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    town.world.peek(lambda tx: tx.connection.execute("DELETE FROM orders"))
    group, revision = known(ben).record.group, info(ben).revision + ahead
    order = OrderRecord(name=order_of(group), revision=revision, writers=[ben.id, *[ada.id] * names_others])
    tell(ben, [ada, cleo], GroupChange(group=group, change=b"garbage" * 20), order)
    settle(ada, ben, cleo)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(2 * MINUTE, ada, ben, cleo, step=5 * SECOND)
    assert [event.message for event in ada.heard(GroupEvent) if event.news is GroupNews.REFUSED] == (
        [f"'Tea' could not be changed: {why}"] if why else []
    )
    name = "Tea" if why else "Coffee"
    assert {info(one, name).name for one in (ada, ben, cleo)} == {name}
    assert not known(ada, name).record.wishes
    write(ada, "we talk on", group=name)
    settle(ada, ben, cleo)
    assert said(cleo, name) == ["we talk on"]
    assert len(ada.frames_sent("MESSAGE_MANY")) < 20


def test_member_who_names_another_head_is_reported_and_shown(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    group = known(ben).record.group
    tell(ben, [ada], GroupText(group=group, revision=2, head=bytes(32), n=1, body="another head"))
    settle(ada, ben, cleo)
    assert news(ada) == [GroupNews.FORKED]
    assert said(ada) == ["another head"]


def test_stranger_who_knows_a_group_says_nothing_in_it(town: Town) -> None:
    ada, ben, eve = town.friends("ada", "ben", "eve")
    group_of(ada, ben)
    group = known(ada)
    text = GroupText(group=group.record.group, revision=group.state.revision, head=group.chain.head, n=1, body="hi")
    tell(eve, [ada, ben], text)
    change = changes.write(
        eve.messenger._identity,
        group=group.record.group,
        revision=group.state.revision + 1,
        previous=group.chain.head,
        at=1,
        ops=[Add(person=raw_of(eve.id), role="admin")],
    )
    tell(eve, [ada, ben], GroupChange(group=change.group, change=change.encoded))
    pass_time(MINUTE, ada, ben, eve, step=5 * SECOND)
    assert said(ada) == said(ben) == []
    assert names(ada) == names(ben) == {ada.id, ben.id}
    assert info(ada).doubt == info(ben).doubt == ""


# --- an admin -----------------------------------------------------------------------


def test_garbage_of_an_admin_is_skipped_by_all_and_the_group_goes_on(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    group = known(ben).record.group
    order = OrderRecord(name=order_of(group), revision=4, writers=[ada.id, ben.id])
    tell(ben, [ada, cleo], GroupChange(group=group, change=b"garbage" * 20), order)
    settle(ada, ben, cleo)
    assert {info(device).revision for device in (ada, ben, cleo)} == {3}
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert {info(device, "Coffee").revision for device in (ada, ben, cleo)} == {5}
    assert len(digits(ada, ben, cleo, name="Coffee")) == 1


def test_admin_who_lies_to_a_newcomer_is_noticed_with_the_first_text_of_another(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    group = known(ada)
    lied = changes.write(
        ada.messenger._identity,
        group=group.record.group,
        revision=group.state.revision + 1,
        previous=group.chain.head,
        at=1,
        ops=[Add(person=raw_of(cleo.id), role="member"), SetName(text="Lies")],
    )
    state = group.state.encode()
    tell(ada, [cleo], GroupChange(group=lied.group, change=lied.encoded, state=state, base=group.chain.digest))
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    cleo.messenger.groups.accept("Lies")
    write(ben, "welcome")
    settle(ada, ben, cleo)
    assert GroupNews.FORKED in news(cleo)


def test_invitation_whose_state_its_author_never_had_is_none(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    change = signed(ada, Add(person=raw_of(cleo.id), role="member"))
    group = known(ada)
    other = changes.write(
        ada.messenger._identity,
        group=group.record.group,
        revision=3,
        previous=bytes(31) + b"1",
        at=1,
        ops=[Add(person=raw_of(cleo.id), role="member")],
    )
    state, base = group.state.encode(), group.chain.digest
    tell(ada, [cleo], GroupChange(group=change.group, change=other.encoded, state=state, base=base))
    tell(ada, [cleo], GroupChange(group=change.group, change=change.encoded, state=state, base=bytes(32)))
    tell(ben, [cleo], GroupChange(group=change.group, change=change.encoded, state=state, base=base))
    settle(ada, ben, cleo)
    assert cleo.messenger.groups.all() == []


def test_member_who_has_not_heard_of_their_removal_is_told_when_they_speak(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    cleo.tamper, kept = dropping("MESSAGE", 1)
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    assert len(kept) == 1
    assert info(cleo).relation == "member"
    write(cleo, "am I still here?")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert info(cleo).relation == "removed"
    assert said(ada) == said(ben) == []


# --- losses -------------------------------------------------------------------------


@pytest.mark.parametrize("frames", range(8))
def test_admin_who_dies_leaves_a_change_with_everybody_or_with_nobody(town: Town, frames: int) -> None:
    people = die_in_a_change(town, frames)
    _, ben, cleo, _ = people
    assert len({(info(device).revision, *sorted(names(device))) for device in (ben, cleo)}) == 1
    goes_on(*people)


@pytest.mark.parametrize("frames", range(8))
def test_admin_who_dies_within_a_change_of_several_frames_leaves_it_to_whoever_has_it(
    town: Town, frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_RECIPIENTS", 1)
    goes_on(*die_in_a_change(town, frames))


def test_control_change_of_several_frames_reaches_some_alone(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_RECIPIENTS", 1)
    _, ben, cleo, _ = die_in_a_change(town, 2)
    assert info(ben).revision != info(cleo).revision


def die_in_a_change(town: Town, frames: int) -> tuple[Device, Device, Device, Device]:
    """Ada dies after so many frames while she adds Dan."""
    ada, ben, cleo, dan = town.friends("ada", "ben", "cleo", "dan")
    group_of(ada, ben, cleo, admins=2)
    ada.messenger.groups.add("Tea", [dan.id])
    for _ in range(frames):
        for device in (ada, ben):
            device.fetch()
        _ = ada.step_up() or ada.step_down() or ben.step_down()
    ada.kill()
    settle(ben, cleo, dan)
    return ada, ben, cleo, dan


def goes_on(ada: Device, ben: Device, cleo: Device, dan: Device) -> None:
    """Ben makes a change while Ada is gone; once she is back, all have one history."""
    everybody = (ada, ben, cleo, dan)
    ben.messenger.groups.rename("Tea", "Coffee")
    ada.login()
    pass_time(3 * MINUTE, *everybody)
    assert len(digits(*everybody, name="Coffee")) == 1
    assert all(names(device, "Coffee") == {one.id for one in everybody} for device in everybody)
    assert not [device for device in everybody if GroupNews.FORKED in news(device)]


def test_change_that_overtakes_another_one_of_several_frames_waits_for_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ben has Ada's change, and makes the next one, before Cleo has hers, which is in another frame."""
    ada, ben, cleo = people = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    (group,) = cleo.messenger.groups.all()
    monkeypatch.setattr(packing, "MAX_RECIPIENTS", 1)
    ada.messenger.groups.rename("Tea", "Coffee")
    cleo.tamper, _ = dropping("MESSAGE", 1)  # it is not on its way yet
    settle(ada, ben, cleo)
    ben.messenger.groups.set_timer("Coffee", MINUTE)
    settle(*people)
    behind = info(cleo, group.group)
    assert (behind.revision, behind.timer, behind.is_behind) == (group.revision, 0, True)
    pass_time(30 * SECOND, *people)
    assert len(digits(*people, name="Coffee")) == 1
    assert info(cleo, "Coffee").timer == MINUTE
    assert not [device for device in people if GroupNews.FORKED in news(device)]


def lose_an_answer(town: Town) -> tuple[Device, Device, Device]:
    """Ada's change is stored, and she does not learn of it; Ben changes the group meanwhile, which reaches her late."""
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    ada.tamper, lost = dropping("MANY_RESULT", 1)
    ada.messenger.groups.rename("Tea", "One")
    settle(ada, ben, cleo)
    assert len(lost) == 1
    ada.cut()
    ben.messenger.groups.rename("One", "Two")
    settle(ben, cleo)
    ada.messenger.groups.set_timer("Tea", MINUTE)
    ada.tamper, late = dropping("MESSAGE", 1)
    ada.login()
    assert len(late) == 1
    return ada, ben, cleo


def test_admin_who_does_not_learn_that_a_change_was_stored_divides_nothing(town: Town) -> None:
    ada, ben, cleo = lose_an_answer(town)
    pass_time(30 * SECOND, ada, ben, cleo)
    assert len(digits(ada, name=known_name(ada)) | digits(ben, cleo, name=known_name(ben))) == 1
    assert {info(device, known_name(device)).timer for device in (ada, ben, cleo)} == {MINUTE}


def test_control_admin_who_does_not_ask_first_divides_the_group(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Duties, "knows_all", lambda *_: True)
    ada, ben, cleo = lose_an_answer(town)
    pass_time(30 * SECOND, ada, ben, cleo)
    assert len(digits(ada, name=known_name(ada)) | digits(ben, cleo, name=known_name(ben))) == 2


def known_name(device: Device) -> str:
    """The id of the one group that a device knows."""
    (group,) = device.messenger.groups.all()
    return group.group


@pytest.mark.parametrize("frames", range(8))
def test_writer_who_dies_has_each_text_read_once_by_each(town: Town, frames: int) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    write(ada, "one", "two", "three")
    for _ in range(frames):
        for device in (ada, ben):
            device.fetch()
        _ = ada.step_up() or ada.step_down() or ben.step_down()
    ada.kill()
    ada.login()
    pass_time(20 * SECOND, ada, ben, cleo)
    assert unread(ben) == unread(cleo) == ["one", "two", "three"]
    assert not ben.heard(WarningEvent)
