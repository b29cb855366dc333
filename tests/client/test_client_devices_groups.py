"""Groups on several devices: texts reach all devices of all members, are written on any, and changed on the first."""

from random import Random

import pytest
from client_samples import Device, Town, pass_time, settle
from device_samples import RELAY, link
from group_people import tell
from msgspec.structs import replace

from phantom_messenger.client.devices.kinds import SyncGroup
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.groups.contents import GroupJoin, GroupLeave, GroupText
from phantom_messenger.client.groups.holding import MAX_HELD_OF_ONE
from phantom_messenger.client.groups.link import JoinLink
from phantom_messenger.client.groups.store import written
from phantom_messenger.client.looks import LOOKS, LOOKS_MS, Looks
from phantom_messenger.client.status import DeliveryState, RequestEvent, WarningEvent, WrittenEvent
from support.amounts import amount
from support.people import Frame

People = tuple[Device, Device, Device, Device]
"""Alice's phone and laptop, Bob and Carol, who are in a group of Alice's."""


def acquainted(*people: Device) -> None:
    """They have each other as contacts, and have written."""
    for one in people:
        for other in people:
            if one is not other:
                one.messenger.contacts.add(other.name, other.id)
                one.send(other, "hello")
    settle(*people)
    pass_time(3_000, *people)
    for one in people:
        one.read_all()


def in_group(town: Town) -> tuple[People, str]:
    """The people, and the group, which there was before the laptop."""
    alice, bob, carol = (town.device(name).login() for name in ("alice", "bob", "carol"))
    laptop = town.device("laptop", strangers="ask").login()
    acquainted(alice, bob, carol)
    group = alice.messenger.groups.create("us", [bob.id, carol.id])
    pass_time(5_000, alice, bob, carol, laptop)
    for one in (bob, carol):
        one.messenger.groups.accept(group)
    pass_time(5_000, alice, bob, carol, laptop)
    link(alice, laptop, bob, carol)
    pass_time(5_000, alice, bob, carol, laptop)
    return (alice, laptop, bob, carol), group


@pytest.fixture
def people(town: Town) -> tuple[People, str]:
    return in_group(town)


def shown(device: Device, group: str) -> list[tuple[str, bool, str | None]]:
    """What was said, oldest first: whose it is, whether that is one's own, and the text."""
    found = device.messenger.groups.history(group)
    return [(entry.sender.user_id, entry.is_own, entry.text) for entry in found]


def test_linked_device_knows_the_group_and_shows_what_is_said(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    info = laptop.messenger.groups.find("us")
    assert info.relation == "member"
    assert {member.contact.user_id for member in info.members} == {alice.id, bob.id, carol.id}
    assert [member.contact.user_id for member in info.members if member.is_you] == [alice.id]
    bob.messenger.groups.send_text(group, "hello all")
    pass_time(5_000, alice, laptop, bob, carol)
    for one in (alice, laptop, carol):
        assert shown(one, group)[-1] == (bob.id, False, "hello all")


def test_text_that_is_written_on_one_device_is_told_on_the_others(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    alice.messenger.groups.send_text(group, "from the phone")
    laptop.messenger.groups.send_text(group, "from the laptop")
    pass_time(5_000, alice, laptop, bob, carol)
    for one, text in ((alice, "from the laptop"), (laptop, "from the phone")):
        (heard,) = one.heard(WrittenEvent)
        assert (heard.group, heard.peer.user_id, heard.peer.name) == (group, group, "us")
        (entry,) = [entry for entry in one.messenger.groups.history(group) if entry.message_id == heard.message_id]
        assert (entry.is_own, entry.text) == (True, text)
    assert bob.heard(WrittenEvent) == carol.heard(WrittenEvent) == []


def test_person_is_called_the_same_on_all_devices(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    alice.messenger.groups.call_me(group, "Al")
    pass_time(5_000, alice, laptop, bob, carol)
    assert laptop.messenger.groups.find(group).own_name == "Al"
    with pytest.raises(UsageError, match="first device"):
        laptop.messenger.groups.call_me(group, "Ally")
    known = bob.messenger._stores.groups.get(group)
    assert known is not None
    assert known.record.names == {alice.id: "Al"}
    known.record.names.clear()
    laptop.messenger.groups.send_text(group, "from the laptop")
    pass_time(5_000, alice, laptop, bob, carol)
    known = bob.messenger._stores.groups.get(group)
    assert known is not None
    assert known.record.names == {alice.id: "Al"}
    alice.messenger.groups.call_me(group, "")
    pass_time(5_000, alice, laptop, bob, carol)
    assert laptop.messenger.groups.find(group).own_name == ""


def test_linked_device_writes_as_its_person(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    number = laptop.messenger.groups.send_text(group, "from the laptop")
    pass_time(5_000, alice, laptop, bob, carol)
    for one in (bob, carol):
        assert shown(one, group)[-1] == (alice.id, False, "from the laptop")
    assert shown(alice, group)[-1] == shown(laptop, group)[-1] == (alice.id, True, "from the laptop")
    alice.messenger.groups.send_text(group, "from the phone")
    pass_time(10_000, alice, laptop, bob, carol)
    assert shown(laptop, group)[-1] == (alice.id, True, "from the phone")
    progress = laptop.messenger.groups.progress(number)
    assert progress == {bob.id: DeliveryState.DELIVERED, carol.id: DeliveryState.DELIVERED}
    for one in (bob, carol):
        assert [event.code for event in one.heard(WarningEvent)] == ["devices"]
        for entry in one.messenger.groups.history(group):
            if not entry.is_own:
                one.messenger.groups.mark_read(group, entry.sender.user_id, entry.message_id)
    pass_time(10_000, alice, laptop, bob, carol)
    assert set(laptop.messenger.groups.progress(number).values()) == {DeliveryState.READ}


def test_text_is_as_far_with_a_member_as_with_the_furthest_device(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    laptop.cut()
    laptop.may_reconnect = False
    number = bob.messenger.groups.send_text(group, "the laptop sleeps")
    pass_time(10_000, alice, bob, carol)
    assert bob.messenger.groups.progress(number) == {
        alice.id: DeliveryState.DELIVERED,
        carol.id: DeliveryState.DELIVERED,
    }
    assert bob.messenger.groups.history(group)[-1].state is DeliveryState.DELIVERED


def test_changes_reach_linked_devices_and_are_made_on_the_first_alone(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    own = laptop.messenger.groups
    for act in (
        lambda: own.rename(group, "we"),
        lambda: own.create("another", [bob.id]),
        lambda: own.add(group, [bob.id]),
        lambda: own.leave(group),
    ):
        with pytest.raises(UsageError, match="first device"):
            act()
    alice.messenger.groups.rename(group, "we")
    alice.messenger.groups.remove(group, [carol.id])
    pass_time(5_000, alice, laptop, bob, carol)
    assert laptop.messenger.groups.find(group).name == "we"
    assert laptop.messenger.groups.digits(group) == alice.messenger.groups.digits(group)
    laptop.messenger.groups.send_text(group, "without carol")
    pass_time(5_000, alice, laptop, bob, carol)
    assert shown(bob, group)[-1][2] == "without carol"
    assert "without carol" not in [text for _, _, text in shown(carol, group)]


def test_group_that_is_joined_later_comes_to_linked_devices(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), _ = people
    later = bob.messenger.groups.create("later", [alice.id, carol.id])
    pass_time(5_000, alice, laptop, bob, carol)
    assert not laptop.messenger.groups.has(later)
    bob.messenger.groups.send_text(later, "before anybody accepted")
    pass_time(5_000, alice, laptop, bob, carol)
    alice.messenger.groups.accept(later)
    pass_time(5_000, alice, laptop, bob, carol)
    assert laptop.messenger.groups.find(later).relation == "member"
    assert shown(laptop, later) == shown(alice, later) == [(bob.id, False, "before anybody accepted")]
    alice.messenger.groups.leave(later)
    pass_time(5_000, alice, laptop, bob, carol)
    assert laptop.messenger.groups.find(later).relation == "left"


def test_text_of_a_device_whose_list_has_not_come_waits_for_it(town: Town, people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    tablet = town.device("tablet", strangers="ask").login()
    bob.tamper = lambda frame: (
        [] if frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == carol.id else [frame]
    )
    link(carol, tablet, alice, laptop, bob)
    pass_time(5_000, alice, laptop, bob, carol, tablet)
    tablet.messenger.groups.send_text(group, "from a tablet")
    pass_time(5_000, alice, laptop, bob, carol, tablet)
    assert "from a tablet" not in [text for _, _, text in shown(bob, group)]
    bob.tamper = None
    bob.cut()
    bob.login()
    pass_time(10_000, alice, laptop, bob, carol, tablet)
    assert shown(bob, group)[-1] == (carol.id, False, "from a tablet")
    assert shown(alice, group)[-1] == (carol.id, False, "from a tablet")


def test_removed_device_speaks_for_nobody(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    laptop.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]  # it does not hear of it
    alice.messenger.desk.remove(laptop.id)
    pass_time(5_000, alice, laptop, bob, carol)
    before = len(laptop.received)
    laptop.messenger.groups.send_text(group, "stolen")
    bob.messenger.groups.send_text(group, "among us")
    pass_time(10_000, alice, laptop, bob, carol)
    for one in (alice, bob, carol):
        assert "stolen" not in [text for _, _, text in shown(one, group)]
    assert bob.id not in [one["payload"].get("senderId") for one in laptop.received[before:]]


def test_linked_device_cannot_leave_for_its_person(town: Town, people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    bobs = town.device("tablet", strangers="ask").login()
    link(bob, bobs, alice, laptop, carol)
    pass_time(5_000, alice, laptop, bob, carol, bobs)
    raw = bobs.messenger.groups._found(group).record.group
    bobs.messenger.groups._speaking.say(raw, [alice.id], GroupLeave(group=raw), bobs.messenger._now())
    pass_time(5_000, alice, laptop, bob, carol, bobs)
    assert len(alice.messenger.groups.find(group).members) == 3


def test_person_with_one_device_says_nothing_of_devices_in_groups(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob").login()
    acquainted(alice, bob)
    group = alice.messenger.groups.create("us", [bob.id])
    pass_time(5_000, alice, bob)
    bob.messenger.groups.accept(group)
    pass_time(5_000, alice, bob)
    assert not alice.vault.has_kind("synced")
    assert alice.messenger._stores.devices.claim() is None


@pytest.mark.parametrize("seed", range(amount(1, 20)))
def test_all_devices_of_all_members_have_the_same_texts_whoever_dies(town: Town, seed: int) -> None:
    random = Random(f"groups on devices {seed}")  # noqa: S311 - so that a run can be repeated
    (alice, laptop, bob, carol), group = in_group(town)
    everybody = (alice, laptop, bob, carol)
    expected: dict[str, tuple[str, str]] = {}
    for turn in range(amount(30, 100)):
        writer = random.choice(everybody)
        text = f"{writer.name} {turn}"
        number = writer.messenger.groups.send_text(group, text)
        expected[number] = (alice.id if writer is laptop else writer.id, text)
        for _ in range(random.randrange(6)):
            one = random.choice(everybody)
            one.fetch()
            one.step_up()
            one.step_down()
        if random.random() < 0.1:
            dead = random.choice(everybody)
            dead.kill()
            dead.login()
    pass_time(120_000, *everybody, step=5_000, reconnect=True)
    for one in everybody:
        found = {entry.message_id: (entry.sender.user_id, entry.text) for entry in one.messenger.groups.history(group)}
        assert {number: found.get(number) for number in expected} == expected, one.name
        assert len(one.messenger.groups.history(group)) == len(found)


def test_control_without_the_list_a_linked_device_is_nobody(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    with bob.vault.transaction() as tx:
        for device in bob.messenger._stores.devices.forget(tx, alice.id):
            bob.messenger._stores.conversations.forget(tx, device)
    bob.tamper = lambda frame: [] if frame.get("payload", {}).get("senderId") == alice.id else [frame]
    number = laptop.messenger.groups.send_text(group, "whose is it?")
    pass_time(20_000, alice, laptop, bob, carol)
    assert number in [one.get("payload", {}).get("messageId") for one in bob.received]
    assert [one.message_id for one in bob.messenger._stores.groups.held(group)] == [number]
    assert "whose is it?" not in [text for _, _, text in shown(bob, group)]


def test_linked_device_that_lost_a_change_asks_its_first_device_too(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    dropped: list[str] = []

    def loses_one(frame: Frame) -> list[Frame]:
        if frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == alice.id and not dropped:
            dropped.append(frame["payload"]["messageId"])
            return []
        return [frame]

    alice.messenger.desk._spread()  # nothing else of hers is on its way
    pass_time(2_000, alice, laptop, bob, carol)
    laptop.tamper = loses_one
    for name in ("one", "two"):
        alice.messenger.groups.rename(group, name)
        pass_time(1_000, alice, laptop, bob, carol)
    pass_time(20_000, alice, laptop, bob, carol)
    assert dropped
    assert laptop.messenger.groups.find(group).name == "two"
    assert laptop.messenger.groups.digits(group) == alice.messenger.groups.digits(group)
    assert not laptop.messenger.groups.find(group).is_behind


def test_other_device_of_a_member_cannot_say_a_text_otherwise(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    number = laptop.messenger.groups.send_text(group, "yes")
    pass_time(5_000, alice, laptop, bob, carol)
    found = alice.messenger.groups._found(group)
    again = GroupText(group=found.record.group, revision=found.state.revision, head=found.chain.head, n=9, body="no")
    alice.messenger.groups._speaking.say(
        found.record.group, [bob.id], again, alice.messenger._now(), purpose="group-quiet", message_id=number
    )
    pass_time(5_000, alice, laptop, bob, carol)
    assert [text for _, _, text in shown(bob, group) if text in {"yes", "no"}] == ["yes"]


def test_linked_device_cannot_have_its_person_added_by_a_link(town: Town, people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    dave = town.device("dave").login()
    daves = town.device("tablet", strangers="ask").login()
    acquainted(alice, dave)
    link(dave, daves, alice, laptop)
    pass_time(5_000, alice, laptop, bob, carol, dave, daves)
    opened = JoinLink.parse(alice.messenger.groups.link(group, RELAY))
    said, now = GroupJoin(token=opened.token), daves.messenger._now()
    daves.messenger.groups._speaking.say(opened.token, [alice.id], said, now)
    pass_time(5_000, alice, laptop, bob, carol, dave, daves)
    assert len(alice.messenger.groups.find(group).members) == 3
    dave.messenger.groups.join(opened)
    pass_time(5_000, alice, laptop, bob, carol, dave, daves)
    assert len(alice.messenger.groups.find(group).members) == 4


def test_linked_device_shows_the_picture_of_the_state_that_it_is_told(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), group = people
    picture = b"\x89PNG\r\n\x1a\n" + bytes(20)
    alice.messenger.groups.set_picture(group, picture)
    pass_time(5_000, alice, laptop, bob, carol)
    assert [one.messenger.groups.find(group).picture for one in (alice, laptop, bob, carol)] == [picture] * 4
    known = laptop.messenger._stores.groups.get(group)
    assert known is not None
    later = replace(known.state, revision=known.state.revision + 1, picture=b"")
    told = SyncGroup(group=known.record.group, relation="member", state=later.encode(), digest=bytes(32))
    with laptop.vault.transaction() as tx:
        laptop.messenger.groups.arrivals.synced(tx, told, laptop.messenger._now())
    assert laptop.messenger.groups.find(group).picture == b""


def test_what_comes_too_early_takes_the_room_of_one_person_on_however_many_devices(people: tuple[People, str]) -> None:
    (alice, laptop, bob, carol), _ = people
    unknown = bytes(range(32))

    def said_early(*devices: Device) -> int:
        """How much is kept once these have said more than there is room for."""
        for number in range(MAX_HELD_OF_ONE + 5):
            for one in devices:
                text = GroupText(group=unknown, revision=5, head=bytes(32), n=1 + number, body="too early")
                tell(one, [bob], text)
        pass_time(10_000, alice, laptop, bob, carol)
        return len(bob.messenger._stores.groups.held(written(unknown)))

    assert said_early(alice, laptop) == MAX_HELD_OF_ONE
    assert said_early(carol) == 2 * MAX_HELD_OF_ONE  # the control


def test_nobody_hides_from_their_own_devices(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, _ = everybody
    alice.messenger.change_settings(presence=False)
    pass_time(5_000, *everybody)
    assert laptop.messenger.presence.looks_absent
    laptop.tamper = lambda frame: [] if frame.get("payload", {}).get("senderId") == alice.id else [frame]
    alice.messenger.groups.rename(group, "them")
    settle(*everybody)
    laptop.tamper = None
    bob.messenger.groups.send_text(group, "a name!")
    settle(*everybody)
    assert laptop.messenger.groups.find(group).is_behind
    laptop.sent.clear()
    pass_time(20_000, *everybody)
    assert laptop.messenger.groups.find(group).name == "them"
    spoken = [frame for frame in laptop.sent if frame["type"] == "MESSAGE_MANY"]
    assert {one["recipientId"] for frame in spoken for one in frame["payload"]["recipients"]} == {alice.id}


@pytest.mark.parametrize("is_join", [True, False], ids=["opens a link", "control: writes"])
def test_stranger_who_opens_a_link_is_no_request_on_a_further_device(
    people: tuple[People, str], town: Town, is_join: bool
) -> None:
    (alice, laptop, bob, carol), _ = people
    for one in (alice, laptop):
        one.messenger._stores.book.asks = True
    dan = town.device("dan", strangers="ask").login()
    if is_join:
        dan.messenger.groups.join(JoinLink.parse(alice.messenger.groups.link("us", RELAY)))
    else:
        dan.send(alice, "let me in")
    pass_time(5_000, alice, laptop, bob, carol, dan)
    assert [len(one.heard(RequestEvent)) for one in (alice, laptop)] == [not is_join] * 2
    assert len(laptop.messenger.requests()) == (not is_join)


def test_strangers_have_so_many_messages_looked_into_in_an_hour() -> None:
    looked = Looks()
    assert [looked.take(0) for _ in range(LOOKS + 2)] == [True] * LOOKS + [False] * 2
    assert not looked.take(LOOKS_MS - 1)
    assert looked.take(LOOKS_MS)
