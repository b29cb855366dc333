"""Groups of whole clients at a relay: who is in them, who reads what, and what others can do to them."""

from pathlib import Path

import pytest
from client_samples import WORDS, Town, pass_time, settle
from group_people import digits, group_of, info, names, news, restored, said, unread, write

from phantom_messenger.client.backup import export_profile
from phantom_messenger.client.errors import MessageTooLong, UnknownContact, UsageError
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.orders import Orders
from phantom_messenger.client.status import (
    DeliveryEvent,
    DeliveryState,
    GroupEvent,
    GroupMessageEvent,
    GroupNews,
    RequestEvent,
)
from phantom_messenger.engines.sqlite.tombstones import RecentlyDeleted
from phantom_messenger.wire.frames import PresenceStatus
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND


def test_people_who_were_invited_accept_and_write_to_each_other(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    ada.messenger.groups.create("Tea", [ben.id, cleo.id])
    settle(ada, ben, cleo)
    assert news(ben) == [GroupNews.INVITED]
    assert info(ben).relation == "invited"
    assert info(ben).inviter == ben.messenger.contacts.of(ada.id)
    with pytest.raises(UsageError, match=r"accept the invitation to 'Tea' first: 'phantom groups accept Tea'$"):
        write(ben, "too soon")
    ben.messenger.groups.accept("Tea")
    cleo.messenger.groups.accept("Tea")
    settle(ada, ben, cleo)
    write(ada, "hello, all")
    write(ben, "hello, Ada")
    settle(ada, ben, cleo)
    assert unread(cleo) == ["hello, all", "hello, Ada"]
    assert said(ada) == said(cleo) == ["hello, all", "hello, Ada"]
    assert len({device.messenger.groups.digits("Tea") for device in (ada, ben, cleo)}) == 1
    assert len(cleo.heard(GroupMessageEvent)) == 2


def test_what_was_said_before_accepting_is_shown_afterwards(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    ada.messenger.groups.create("Tea", [ben.id])
    settle(ada, ben)
    write(ada, "are you there?")
    settle(ada, ben)
    assert ben.messenger.groups.next_text(0, None) is None
    assert said(ben) == []
    ben.messenger.groups.accept("Tea")
    settle(ada, ben)
    assert unread(ben) == ["are you there?"]


def test_sender_hears_how_far_a_text_has_come_with_all(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    (number,) = write(ada, "hello")
    settle(ada, ben, cleo)

    def states() -> list[DeliveryState]:
        return [event.state for event in ada.heard(DeliveryEvent) if event.message_id == number]

    assert states() == [DeliveryState.ACCEPTED]
    pass_time(10 * SECOND, ada, ben, cleo)
    assert states() == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED]
    unread(ben)
    pass_time(10 * SECOND, ada, ben, cleo)
    assert ada.messenger.groups.progress(number)[ben.id] is DeliveryState.READ
    assert states()[-1] is DeliveryState.DELIVERED
    unread(cleo)
    pass_time(10 * SECOND, ada, ben, cleo)
    assert states()[-1] is DeliveryState.READ


def test_receipts_of_many_texts_are_one_message(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    cleo.sent.clear()
    write(ada, *(f"text {number}" for number in range(20)))
    write(ben, *(f"text {number}" for number in range(20)))
    pass_time(10 * SECOND, ada, ben, cleo)
    assert len(cleo.frames_sent("MESSAGE_MANY")) <= 2
    assert len(unread(cleo)) == 40


def test_members_leave_and_an_admin_orders_it(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    cleo.messenger.groups.leave("Tea")
    assert info(cleo).relation == "left"
    pass_time(5 * SECOND, ada, ben, cleo)
    assert names(ada) == names(ben) == {ada.id, ben.id}
    assert GroupNews.LEFT in news(ada)
    assert [event.message for event in ada.heard(GroupEvent)][-2:] == [
        "cleo has left 'Tea'",
        "'Tea': cleo is no longer a member",  # ada's program has removed them: not of its own accord
    ]
    assert [event.message for event in ben.heard(GroupEvent)][-2:] == [
        "cleo has left 'Tea'",
        "'Tea': cleo is no longer a member",
    ]
    write(ben, "gone?")
    settle(ada, ben, cleo)
    assert said(cleo) == []


@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "control: is removed"])
def test_members_who_were_away_and_restarted_tell_leaving_from_a_removal(town: Town, leaves: bool) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.cut()
    if leaves:
        cleo.messenger.groups.leave("Tea")
    settle(ben, cleo)
    ben.kill()
    if not leaves:
        ada.messenger.groups.remove("Tea", [cleo.id])
    ada.login()
    pass_time(5 * SECOND, ada, cleo)
    ben.login()
    pass_time(5 * SECOND, ada, ben, cleo)
    done = "cleo is no longer a member" if leaves else "ada has removed cleo"
    assert ben.heard(GroupEvent)[-1].message == f"'Tea': {done}"


def test_of_who_had_not_accepted_members_learn_that_they_are_not_invited_any_more(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    cleo.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert ben.heard(GroupEvent)[-1].message == "'Tea': cleo is no longer invited"
    assert GroupNews.LEFT not in news(ben)
    assert GroupNews.LEFT in news(ada), "the control: an admin knows"


def test_what_a_stranger_says_in_a_group_that_was_left_is_no_request(town: Town) -> None:
    ada, ben, cleo = (town.device(name, strangers="ask").login() for name in ("ada", "ben", "cleo"))
    for one, other in ((ada, ben), (ada, cleo), (ben, ada), (cleo, ada)):
        one.messenger.contacts.add(other.name, other.id)
    group_of(ada, ben, cleo)
    ada.messenger.groups.set_role("Tea", ben.id, "admin")
    settle(ada, ben, cleo)
    ben.cut()
    write(ben, "I have not heard that Cleo has left")
    cleo.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, cleo)
    ben.login()
    settle(ada, ben, cleo)
    assert cleo.heard(RequestEvent) == []
    assert said(cleo) == []
    ben.messenger.groups.add("Tea", [cleo.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    assert [event.peer.user_id for event in cleo.heard(RequestEvent)] == [ben.id]
    cleo.messenger.contacts.let_in(ben.id)
    settle(ada, ben, cleo)
    assert info(cleo).relation == "invited"


def test_admin_who_learns_late_that_a_change_was_stored_reads_what_was_said_since(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    ada.tamper = lambda frame: [] if frame["type"] == "MANY_RESULT" else [frame]
    ada.messenger.groups.create("Tea", [ben.id])
    settle(ada, ben)
    ada.tamper = None
    ada.kill()
    ben.messenger.groups.accept("Tea")
    write(ben, "thank you")
    settle(ben)
    ada.connect()
    settle(ada, ben)
    pass_time(10 * SECOND, ada, ben)
    assert unread(ada) == ["thank you"]


def test_last_admin_names_another_one_before_leaving(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    with pytest.raises(UsageError, match="last admin"):
        ada.messenger.groups.leave("Tea")
    ada.messenger.groups.set_role("Tea", ben.id, "admin")
    settle(ada, ben)
    ada.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, ben)
    assert names(ben) == {ben.id}


def test_admin_who_has_said_that_they_leave_is_none_who_stays(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo, admins=2)
    monkeypatch.setattr(Orders, "_is_under_way", lambda *_: True)  # nobody is removed yet
    ben.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, ben, cleo)
    for one in (ada, cleo):
        assert {member.contact.user_id for member in info(one).members if member.is_leaving} == {ben.id}
    with pytest.raises(UsageError, match="last admin"):
        ada.messenger.groups.leave("Tea")
    cleo.messenger.groups.leave("Tea")  # who is no admin may go all the same
    pass_time(5 * SECOND, ada, ben, cleo)
    ada.messenger.groups.leave("Tea")  # nobody is left who needs an admin


def test_two_admins_at_once_make_one_history(town: Town) -> None:
    ada, ben, cleo, dan = town.friends("ada", "ben", "cleo", "dan")
    group_of(ada, ben, cleo)
    ada.messenger.groups.set_role("Tea", ben.id, "admin")
    settle(ada, ben, cleo)
    ada.messenger.groups.rename("Tea", "Coffee")
    ben.messenger.groups.add("Tea", [dan.id])
    pass_time(10 * SECOND, ada, ben, cleo, dan)
    everybody = (ada, ben, cleo, dan)
    assert {info(device, "Coffee").revision for device in everybody} == {5}
    assert len({device.messenger.groups.digits("Coffee") for device in everybody}) == 1
    assert all(len(info(device, "Coffee").members) == 4 for device in everybody)
    assert GroupNews.FORKED not in news(ada) + news(ben) + news(cleo)


def test_timer_of_a_group_lets_texts_expire_everywhere(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben)
    write(ben, "soon gone")
    settle(ada, ben)
    assert said(ada) == said(ben) == ["soon gone"]
    pass_time(2 * MINUTE, ada, ben, step=5 * SECOND)
    assert said(ada) == said(ben) == [None]


def test_rights_say_who_writes(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.set_rights("Tea", invite="member", write="admin")
    settle(ada, ben)
    with pytest.raises(UsageError, match="only admins write"):
        write(ben, "may I?")
    write(ada, "no")
    settle(ada, ben)
    assert said(ben) == ["no"]


def test_member_who_may_invite_has_an_admin_add_somebody(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    with pytest.raises(UsageError, match="only admins add"):
        ben.messenger.groups.add("Tea", [cleo.id])
    ada.messenger.groups.set_rights("Tea", invite="member", write="member")
    settle(ada, ben, cleo)
    ben.messenger.groups.add("Tea", [cleo.id])
    pass_time(5 * SECOND, ada, ben, cleo)
    assert info(cleo).relation == "invited"
    assert names(ben) == {ada.id, ben.id, cleo.id}


def test_link_lets_a_stranger_in_once(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    eve, dan = town.device("eve", strangers="ask").login(), town.device("dan", strangers="ask").login()
    link = ada.messenger.groups.link("Tea", "wss://relay.test/ws")
    eve.messenger.groups.join(JoinLink.parse(link))
    pass_time(10 * SECOND, ada, ben, eve, dan)
    assert info(eve).relation == "member"
    write(eve, "thanks")
    pass_time(5 * SECOND, ada, ben, eve, dan)
    assert said(ben) == ["thanks"]
    dan.messenger.groups.join(JoinLink.parse(link))
    pass_time(10 * SECOND, ada, ben, eve, dan)
    with pytest.raises(UnknownContact):
        info(dan)
    assert dan.troubles() == ["link-refused"]
    assert eve.troubles() == [], "the control: who was let in"


def test_strangers_in_a_group_write_to_each_other_and_not_beyond_it(town: Town) -> None:
    ada, ben, cleo = (town.device(name, strangers="ask").login() for name in ("ada", "ben", "cleo"))
    for one, other in ((ada, ben), (ada, cleo), (ben, ada), (cleo, ada)):
        one.messenger.contacts.add(other.name, other.id)
    settle(ada, ben, cleo)
    group_of(ada, ben, cleo)
    write(ben, "who are you?")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert unread(cleo) == ["who are you?"]
    ben.send(cleo, "in private")
    settle(ada, ben, cleo)
    assert [request.contact.user_id for request in cleo.messenger.requests()] == [ben.id]
    assert cleo.waiting() == []


def test_groups_survive_the_death_of_programs(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    write(ada, "one")
    settle(ada, ben)
    for device in (ada, ben):
        device.kill()
        device.login()
    write(ben, "two")
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben)
    assert said(ada, "Coffee") == said(ben, "Coffee") == ["one", "two"]
    assert info(ada, "Coffee").revision == info(ben, "Coffee").revision == 3


def test_restored_profile_catches_up_and_goes_on_in_its_groups(town: Town, tmp_path: Path) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    write(ada, "one")
    settle(ada, ben, cleo)
    file = tmp_path / "exported"
    export_profile(ben.vault, file, WORDS)
    ada.messenger.groups.rename("Tea", "Coffee")
    settle(ada, ben, cleo)
    ben = restored(ben, file)
    assert said(ben) == ["one"]
    assert unread(ben) == ["one"]
    ben.login()
    settle(ada, ben, cleo)
    write(cleo, "two", group="Coffee")
    pass_time(20 * SECOND, ada, ben, cleo)
    assert said(ben, "Coffee") == ["one", "two"]
    write(ben, "three", group="Coffee")
    pass_time(20 * SECOND, ada, ben, cleo)
    assert said(ada, "Coffee") == said(cleo, "Coffee") == ["one", "two", "three"]
    assert len(digits(ada, ben, cleo, name="Coffee")) == 1


def test_text_that_is_sent_again_to_a_restored_profile_is_shown_once(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecentlyDeleted, "holds", lambda *_: False)  # as after a restart of the relay
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    frames: list[Frame] = []

    def note(frame: Frame) -> list[Frame]:
        frames.append(frame)
        return [frame]

    ben.tamper = note
    write(ada, "once")
    settle(ada, ben)
    ben.tamper = None
    assert unread(ben) == ["once"]
    file = tmp_path / "ben.phantom"
    export_profile(ben.vault, file, WORDS)
    ben = restored(ben, file)
    ben.login()
    ben.down += [canonical(frame) for frame in frames if frame["type"] == "MESSAGE"]
    pass_time(MINUTE, ada, ben, step=5 * SECOND)
    assert said(ben) == ["once"]
    assert unread(ben) == []
    assert ben.heard(GroupMessageEvent) == []


def test_text_that_expires_is_in_no_file(town: Town, tmp_path: Path) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.set_timer("Tea", MINUTE)
    settle(ada, ben)
    write(ada, "fleeting")
    settle(ada, ben)
    for device in (ada, ben):
        export_profile(device.vault, tmp_path / device.name, WORDS)
        assert said(restored(device, tmp_path / device.name)) == [None]


def test_text_that_waits_for_a_removed_member_never_leaves(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    late = town.device("late")  # has never been there: what is for them waits for their keys
    group_of(ada, ben)
    ada.messenger.groups.add("Tea", [late.id])
    settle(ada, ben)
    pass_time(10 * SECOND, ada, ben)
    assert late.id in names(ben)
    (number,) = write(ben, "for three")
    settle(ada, ben)
    assert ben.messenger.groups.progress(number)[late.id] is DeliveryState.QUEUED
    ada.messenger.groups.remove("Tea", [late.id])
    settle(ada, ben)
    assert ben.messenger.groups.progress(number)[late.id] is DeliveryState.FAILED
    late.login()
    pass_time(20 * MINUTE, ada, ben, late, step=MINUTE)
    assert [
        frame for frame in late.received if frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == ben.id
    ] == []
    assert said(ada) == ["for three"]


def test_who_was_removed_is_invited_again_and_begins_anew(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    ada.messenger.groups.remove("Tea", [cleo.id])
    settle(ada, ben, cleo)
    write(ada, "without you")
    ada.messenger.groups.add("Tea", [cleo.id])
    settle(ada, ben, cleo)
    assert info(cleo).relation == "invited"
    cleo.messenger.groups.accept("Tea")
    write(ben, "welcome back")
    pass_time(5 * SECOND, ada, ben, cleo)
    assert said(cleo) == ["welcome back"]
    assert len(digits(ada, ben, cleo)) == 1


def test_who_declines_is_no_member(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    ada.messenger.groups.create("Tea", [ben.id])
    settle(ada, ben)
    ben.messenger.groups.leave("Tea")
    pass_time(5 * SECOND, ada, ben)
    assert names(ada) == {ada.id}
    ben.messenger.groups.forget("Tea")
    assert ben.messenger.groups.all() == []


def test_closed_group_takes_in_nothing(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ada.messenger.groups.close("Tea")
    settle(ada, ben)
    assert info(ada).relation == info(ben).relation == "closed"
    with pytest.raises(UsageError, match="'Tea' is closed"):
        write(ben, "still?")


def test_settings_keep_what_was_read_to_oneself(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ben.messenger.change_settings(read_receipts=False)
    (number,) = write(ada, "read?")
    settle(ada, ben)
    assert unread(ben) == ["read?"]
    pass_time(20 * SECOND, ada, ben)
    assert ada.messenger.groups.progress(number)[ben.id] is DeliveryState.DELIVERED


def test_who_appears_offline_tells_a_group_nothing(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    ben.messenger.tell_presence(PresenceStatus.OFFLINE)
    settle(ada, ben)
    (number,) = write(ada, "are you there?")
    settle(ada, ben)
    ben.sent.clear()
    assert unread(ben) == ["are you there?"]
    pass_time(20 * SECOND, ada, ben)
    assert ben.frames_sent("MESSAGE_MANY") == []
    assert ada.messenger.groups.progress(number)[ben.id] is DeliveryState.ACCEPTED
    ben.messenger.tell_presence(PresenceStatus.ONLINE)
    pass_time(20 * SECOND, ada, ben)
    assert ada.messenger.groups.progress(number)[ben.id] is DeliveryState.READ


def test_words_of_changes_are_for_people(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.add("Tea", [cleo.id])
    ada.messenger.groups.set_role("Tea", ben.id, "admin")
    ada.messenger.groups.set_timer("Tea", 2 * 86_400_000)
    ada.messenger.groups.set_rights("Tea", invite="member", write="admin")
    ada.messenger.groups.rename("Tea", "Co\u202effee")
    pass_time(10 * SECOND, ada, ben, cleo)
    ada.messenger.groups.set_role("Co\u202effee", ada.id, "member")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert [event.message for event in ben.heard(GroupEvent)] == [
        "'Tea': ada has added cleo",
        "'Tea': ada has made you an admin",
        "'Tea': ada has made messages expire after 2 days",
        "'Tea': ada has allowed only admins to write and all members to invite",
        "'Tea': ada has renamed the group to 'Co<202E>ffee'",
        "'Co<202E>ffee': ada has made themselves a member",
    ]
    assert ada.heard(GroupEvent)[0].message == "'Tea': you have added cleo"


def test_what_is_not_possible_is_said_at_once(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    groups = ben.messenger.groups
    for wrong in (
        lambda: groups.rename("Tea", "x"),
        lambda: groups.remove("Tea", [ada.id]),
        lambda: groups.set_role("Tea", ada.id, "member"),
        lambda: groups.close("Tea"),
        lambda: groups.link("Tea", "wss://relay.test/ws"),
        lambda: groups.accept("Tea"),
        lambda: groups.forget("Tea"),
        lambda: groups.create("", []),
        lambda: groups.create("x" * 129, []),
        lambda: groups.create("x", [ben.id]),
        lambda: ada.messenger.groups.set_role("Tea", ben.id, "owner"),
        lambda: ada.messenger.groups.set_timer("Tea", -1),
        lambda: ada.messenger.groups.link("Tea", "wss://relay.test/ws", uses=0),
        lambda: write(ada, "\ud800"),
    ):
        with pytest.raises(UsageError):
            wrong()
    with pytest.raises(MessageTooLong):
        write(ada, "x" * 40_001)
    with pytest.raises(UnknownContact):
        groups.find("none")
    alone = ada.messenger.groups.create("Alone", [])
    with pytest.raises(UsageError, match="nobody else"):
        write(ada, "hello?", group=alone)


def test_groups_of_one_name_are_told_apart_by_id(town: Town) -> None:
    (ada,) = town.friends("ada")
    one = ada.messenger.groups.create("Tea", [])
    other = ada.messenger.groups.create("Tea", [])
    with pytest.raises(UsageError, match="several groups"):
        ada.messenger.groups.find("Tea")
    assert ada.messenger.groups.find(one).group == one
    assert [ada.messenger.groups.find(id_[:8]).group for id_ in (one, other)] == [one, other]
    assert not ada.messenger.groups.has(one[:7])
    ada.messenger.groups.create(one[:8], [])  # called like the beginning of an id: neither is taken for the other
    with pytest.raises(UsageError, match="several groups"):
        ada.messenger.groups.find(one[:8])
    assert ada.messenger.groups.find(one[:9]).group == one
    ada.messenger.groups.leave(other)
    assert ada.messenger.groups.find("Tea").group == one


def test_invitation_of_a_stranger_waits_as_a_request(town: Town) -> None:
    ada, ben = (town.device(name, strangers="ask").login() for name in ("ada", "ben"))
    ada.messenger.groups.create("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben)
    assert ben.messenger.groups.all() == []
    assert [request.contact.user_id for request in ben.messenger.requests()] == [ada.id]
    assert ben.messenger.look(ada.id) == []
    ben.messenger.contacts.let_in(ada.id)
    settle(ada, ben)
    assert info(ben).relation == "invited"
    ben.messenger.groups.accept("Tea")
    write(ada, "hello, stranger")
    pass_time(10 * SECOND, ada, ben)
    assert unread(ben) == ["hello, stranger"]


def test_change_that_adds_others_invites_nobody_back_who_has_just_left(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben)
    ada.messenger.groups.add("Tea", [cleo.id])
    ben.messenger.groups.leave("Tea")  # neither has heard of the other
    pass_time(10 * SECOND, ada, ben, cleo)
    assert info(ben).relation == "left"
    assert names(ada) == {ada.id, cleo.id}
    ada.messenger.groups.add("Tea", [ben.id])
    pass_time(10 * SECOND, ada, ben, cleo)
    assert info(ben).relation == "invited"
