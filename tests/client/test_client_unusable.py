"""Device lists, changes of groups and invitations that are no good: nothing is changed, and a sentence says so."""

from collections.abc import Callable
from dataclasses import replace as replaced
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from client_samples import DAY, Device, Town, pass_time
from device_samples import link
from group_people import group_of, known, signed, tell
from msgspec.structs import replace

from phantom_messenger.client import unusable
from phantom_messenger.client.content import Receipt, time_of
from phantom_messenger.client.devices import desk, device_list
from phantom_messenger.client.devices.device_list import LIFE_MS, NOTHING, DeviceList, consent
from phantom_messenger.client.groups import change as changes
from phantom_messenger.client.groups import words
from phantom_messenger.client.groups.arrivals import Arrivals
from phantom_messenger.client.groups.change import Add, Op, SetName, SetRole
from phantom_messenger.client.groups.contents import GroupChange
from phantom_messenger.client.groups.state import GroupState, Role, head_of
from phantom_messenger.client.groups.store import raw_of
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import WarningEvent
from phantom_messenger.client.unusable import INVITATION, LIST, MOST, Unusable
from phantom_messenger.crypto.keys import OwnIdentity
from support.simulated import SECOND

SPY = OwnIdentity(b"a spy's seed" + bytes(20))
EVIL = "\x1b[2J'Evil' \u202e"
NEW_GROUP = b"another group".ljust(32, b".")


class People(NamedTuple):
    """Ben, and who writes to him: Ada has made a group with Cleo and him; Eve is his contact, Dan is a stranger."""

    ben: Device
    ada: Device
    cleo: Device
    eve: Device
    dan: Device

    def by(self, who: str) -> Device:
        return {"contact": self.eve, "member": self.cleo, "stranger": self.dan}[who]


@pytest.fixture
def people(town: Town) -> People:
    made = {name: town.device(name, strangers="ask").login() for name in ("ben", "ada", "cleo", "eve", "dan")}
    ben, ada, cleo, eve, dan = made.values()
    for one, other in ((ada, ben), (ben, ada), (ada, cleo), (cleo, ada), (eve, ben), (ben, eve), (dan, ben)):
        one.messenger.contacts.add(other.name, other.id)
    pass_time(5 * SECOND, *made.values())
    group_of(ada, ben, cleo)
    for one in (cleo, dan, eve):
        one.messenger.contacts.add("ben", ben.id)
    eve.send(ben, "hello")
    ben.send(eve, "hello")
    pass_time(5 * SECOND, *made.values())
    ben.read_all()
    ben.events.clear()
    return People(ben, ada, cleo, eve, dan)


def told(device: Device) -> list[str]:
    """The sentences about what cannot be used."""
    return [event.message for event in device.heard(WarningEvent) if event.code == "unusable"]


def state_of(device: Device) -> Any:
    """All that lists, changes and invitations could change."""
    stores = device.messenger._stores
    groups = [(group.id, group.chain.head, group.record.relation, group.record.doubt) for group in stores.groups.all()]
    lists = {person: found.newest.encoded for person in stores.devices if (found := stores.devices.known(person))}
    return groups, lists, [contact.user_id for contact in stores.book.everybody()]


def alone(identity: OwnIdentity, *, revision: int = 1, at: int) -> bytes:
    """A list of somebody with one device."""
    first = device_list.Device(identity.peer.public, at, consent(identity, identity.peer.user_id))
    return DeviceList.sign(
        identity, revision=revision, previous=NOTHING, at=at, until=at + LIFE_MS, devices=(first,)
    ).encoded


def flipped(encoded: bytes) -> bytes:
    return encoded[:-1] + bytes([encoded[-1] ^ 1])


# --- what is sent -------------------------------------------------------------------


def bring(sender: Device, to: Device, encoded: bytes) -> None:
    """Bring a list: in what is looked into even of a member who is no contact."""
    at = sender.messenger.desk
    marks = replace(at._marks(), device_list=encoded)
    missing = ["00000000-0000-4000-8000-000000000000"]
    said = Receipt(sent_at=time_of(sender.messenger._now().wall), undecryptable=missing, marks=marks)
    at._say([to.id], said, desk._AMONG, peer=sender.id)


def forged_list(sender: Device) -> bytes:
    return flipped(alone(sender.messenger._identity, at=sender.messenger._now().wall))


def large_list(sender: Device) -> bytes:
    return alone(sender.messenger._identity, at=sender.messenger._now().wall).ljust(2_048, b"\0")


def list_of_another(sender: Device) -> bytes:
    return alone(SPY, at=sender.messenger._now().wall)


def list_of_the_future(sender: Device) -> bytes:
    return alone(sender.messenger._identity, at=sender.messenger._now().wall + 2 * DAY)


def newer_list(sender: Device) -> bytes:
    return b"\x02" + alone(sender.messenger._identity, at=sender.messenger._now().wall)[1:]


LISTS = {
    "forged": (forged_list, "it is forged or damaged"),
    "too large": (large_list, "it is forged or damaged"),
    "of somebody else": (list_of_another, "it is somebody else's"),
    "of the future": (list_of_the_future, "it is dated in the future"),
    "newer": (newer_list, "it is of a newer version, so update this program"),
}


def made(sender: Device, people: People, *ops: Op, group: bytes = b"") -> bytes:
    """A change of the group that Ben is in, or of another one, which follows what he knows."""
    chain = known(people.ben).chain
    group = group or chain.state.group
    revision, previous = chain.state.revision + 1, chain.head
    identity = sender.messenger._identity
    return changes.write(identity, group=group, revision=revision, previous=previous, at=1, ops=ops).encoded


CHANGES: dict[str, tuple[Callable[[Device, People], bytes], str]] = {
    "forged": (lambda one, all_: flipped(made(one, all_, SetName(text=EVIL))), "it is forged or damaged"),
    "of no form": (lambda _, __: b"\xc1" * 100, "it is forged or damaged"),
    "too small": (lambda _, __: b"?", "it is forged or damaged"),
    "of another group": (
        lambda one, all_: made(one, all_, SetName(text=EVIL), group=NEW_GROUP),
        "it is of another group",
    ),
    "by no admin": (
        lambda one, all_: made(one, all_, SetRole(person=raw_of(one.id), role="admin")),
        "it breaks the rules",
    ),
}


def invitation(sender: Device, to: Device, *, name: str = EVIL, group: bytes = NEW_GROUP) -> GroupChange:
    """One that is good: to a group of two, at its second revision."""
    people = {raw_of(sender.id): Role.ADMIN}
    before, base = GroupState(group=group, revision=1, name=name, members=people), bytes(range(32))
    change = changes.write(
        sender.messenger._identity,
        group=group,
        revision=2,
        previous=head_of(base, before),
        at=1,
        ops=[Add(person=raw_of(to.id), role="member")],
    )
    return GroupChange(group=group, change=change.encoded, state=before.encode(), base=base)


def state_that_does_not_fit(sender: Device, people: People) -> GroupChange:
    said = invitation(sender, people.ben)
    return replace(said, state=GroupState.decode(said.state).encode().replace(b"Evil", b"Good"))


INVITATIONS: dict[str, tuple[Callable[[Device, People], GroupChange], str]] = {
    "forged": (
        lambda one, all_: replace(said := invitation(one, all_.ben), change=flipped(said.change)),
        "it is forged or damaged",
    ),
    "of another state": (state_that_does_not_fit, "it is forged or damaged"),
    "without state": (lambda one, all_: replace(invitation(one, all_.ben), state=b""), "it is forged or damaged"),
    "to another group": (
        lambda one, all_: replace(invitation(one, all_.ben), group=bytes(32)),
        "it is of another group",
    ),
    "of somebody else": (lambda _, all_: invitation(all_.ada, all_.ben), "it is somebody else's"),
}

WHO = ["contact", "member", "stranger"]


def label(people: People, who: str) -> str:
    return {"contact": "eve", "member": people.ben.messenger._stores.book.contact(people.cleo.id).label}[who]


# --- each of them -------------------------------------------------------------------


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("fault", LISTS)
def test_list_that_cannot_be_used_changes_nothing_and_is_told(people: People, who: str, fault: str) -> None:
    make, why = LISTS[fault]
    sender, before = people.by(who), state_of(people.ben)
    bring(sender, people.ben, make(sender))
    pass_time(5 * SECOND, *people)
    assert state_of(people.ben) == before
    expected = f"a list of devices from {{}} cannot be used: {why}; nothing was changed"
    assert told(people.ben) == ([] if who == "stranger" else [expected.format(label(people, who))])


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("fault", CHANGES)
def test_change_that_cannot_be_used_changes_nothing_and_is_told(people: People, who: str, fault: str) -> None:
    make, why = CHANGES[fault]
    sender, before = people.by(who), state_of(people.ben)
    tell(sender, [people.ben], GroupChange(group=known(people.ben).record.group, change=make(sender, people)))
    pass_time(5 * SECOND, *people)
    assert state_of(people.ben) == before
    expected = f"a change of 'Tea' from {{}} cannot be used: {why}; nothing was changed"
    assert told(people.ben) == ([] if who == "stranger" else [expected.format(label(people, who))])


@pytest.mark.parametrize("who", ["contact", "stranger"])
@pytest.mark.parametrize("fault", INVITATIONS)
def test_invitation_that_cannot_be_used_changes_nothing_and_is_told(people: People, who: str, fault: str) -> None:
    make, why = INVITATIONS[fault]
    sender, before = people.by(who), state_of(people.ben)
    tell(sender, [people.ben], make(sender, people))
    pass_time(5 * SECOND, *people)
    assert state_of(people.ben) == before
    expected = f"an invitation to a group from {{}} cannot be used: {why}; nothing was changed"
    assert told(people.ben) == ([] if who == "stranger" else [expected.format(label(people, who))])
    assert not people.ben.messenger.groups.invitations_of(people.dan.id)


@pytest.mark.parametrize(
    "said",
    [
        lambda all_: GroupChange(group=known(all_.ben).record.group, change=bytes(8_193)),
        lambda all_: replace(invitation(all_.eve, all_.ben), state=bytes(4_097)),
    ],
    ids=["change", "invitation"],
)
def test_what_is_larger_than_a_message_may_bring_it_is_told_as_unreadable(
    people: People, said: Callable[[People], GroupChange]
) -> None:
    before = state_of(people.ben)
    tell(people.eve, [people.ben], said(people))
    pass_time(5 * SECOND, *people)
    assert state_of(people.ben) == before
    assert people.ben.troubles() == ["unreadable"]


def test_list_that_is_larger_than_a_message_may_bring_it_is_told_as_unreadable(people: People) -> None:
    before = state_of(people.ben)
    bring(people.eve, people.ben, bytes(2_049))
    pass_time(5 * SECOND, *people)
    assert state_of(people.ben) == before
    assert people.ben.troubles() == ["unreadable"]


def test_control_what_is_good_is_taken_up_and_nothing_is_told(people: People) -> None:
    ben, eve = people.ben, people.eve
    bring(eve, ben, alone(eve.messenger._identity, at=eve.messenger._now().wall))
    tell(eve, [ben], invitation(eve, ben, name="Chess"))
    people.ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(5 * SECOND, *people)
    assert ben.messenger._stores.devices.known(eve.id) is not None
    assert {info.name for info in ben.messenger.groups.all()} == {"Coffee", "Chess"}
    assert told(ben) == []


def test_control_without_it_nothing_is_told(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "unusable", lambda _: "")
    monkeypatch.setattr(Arrivals, "_not_invited", lambda *_: [])
    monkeypatch.setattr(desk, "of_list", lambda _: "")
    eve = people.eve
    bring(eve, people.ben, forged_list(eve))
    tell(eve, [people.ben], GroupChange(group=known(people.ben).record.group, change=b"?"))
    tell(eve, [people.ben], INVITATIONS["forged"][0](eve, people))
    pass_time(5 * SECOND, *people)
    assert people.ben.troubles() == []


# --- what is normal -----------------------------------------------------------------


def test_lists_and_changes_that_come_late_or_twice_change_nothing_and_are_not_told(people: People) -> None:
    ben, ada, eve = people.ben, people.ada, people.eve
    identity, at = eve.messenger._identity, eve.messenger._now().wall
    bring(eve, ben, alone(identity, revision=3, at=at))
    rename = signed(ada, SetName(text="Coffee"))
    for text in ("Coffee", "Cocoa"):
        ada.messenger.groups.rename(known(ada, ben.messenger.groups.all()[0].name).id, text)
        pass_time(5 * SECOND, *people)
    before = state_of(ben)
    bring(eve, ben, alone(identity, revision=2, at=at))
    bring(eve, ben, alone(identity, revision=3, at=at))
    for step in known(ben, "Cocoa").chain.steps:
        tell(eve, [ben], GroupChange(group=rename.group, change=step.change.encoded))
    pass_time(5 * SECOND, *people)
    assert state_of(ben) == before
    assert ben.troubles() == []


def test_changes_that_come_to_one_who_has_just_left_are_not_told(people: People) -> None:
    ben, ada = people.ben, people.ada
    adds, renames = signed(ada, Add(person=raw_of(people.eve.id), role="member")), signed(ada, SetName(text="Coffee"))
    state, base = known(ada).state.encode(), known(ada).chain.digest
    ben.messenger.groups.leave("Tea")
    tell(ada, [ben], GroupChange(group=adds.group, change=adds.encoded, state=state, base=base))
    tell(ada, [ben], GroupChange(group=adds.group, change=renames.encoded))
    pass_time(10 * SECOND, *people)
    assert ben.troubles() == []
    tell(ada, [ben], GroupChange(group=adds.group, change=flipped(renames.encoded)))
    pass_time(10 * SECOND, *people)
    assert len(told(ben)) == 1, "the control"


# --- how much is told ---------------------------------------------------------------


def test_each_kind_is_told_once_a_day_of_each_person(people: People) -> None:
    ben, eve, cleo = people.ben, people.eve, people.cleo
    about = known(ben).record.group

    def again() -> None:
        for turn in range(3):
            tell(eve, [ben], GroupChange(group=about, change=bytes([turn])))
            tell(cleo, [ben], GroupChange(group=about, change=bytes([turn])))
            bring(eve, ben, forged_list(eve))
            pass_time(5 * SECOND, *people)

    again()
    assert len(told(ben)) == 3
    pass_time(DAY, *people, step=DAY // 4, reconnect=True)
    pass_time(10 * SECOND, *people, reconnect=True)
    again()
    assert len(told(ben)) == 6


def test_members_who_are_made_up_do_not_flood_their_reader(people: People) -> None:
    stores = people.ben.messenger._stores
    telling, members = Unusable(stores), [f"{number:043}=" for number in range(200)]
    stores.book.fellows = members
    now = people.ben.messenger._now()

    def count(at: Moment) -> int:
        return sum(len(telling.tell(person, what, "why", at)) for person in members for what in (LIST, INVITATION))

    assert (count(now), count(now)) == (MOST, 0)
    assert len(telling._told) == MOST
    assert count(replaced(now, monotonic=now.monotonic + DAY)) == MOST


def test_control_without_a_bound_there_is_no_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unusable, "MOST", 10**9)
    stores = people.ben.messenger._stores
    stores.book.fellows = members = [f"{number:043}=" for number in range(200)]
    telling, now = Unusable(stores), people.ben.messenger._now()
    assert sum(len(telling.tell(person, LIST, "why", now)) for person in members) == 200


# --- what is said -------------------------------------------------------------------


def test_nothing_of_what_was_sent_is_in_the_sentence(people: People) -> None:
    """Not the name of a group that a change or an invitation says; and what a member calls themselves is made safe."""
    ben, ada, cleo = people.ben, people.ada, people.cleo
    with cleo.vault.transaction() as tx:
        group = known(cleo)
        cleo.messenger._stores.groups.put(tx, group.with_record(own_name="\u202eada) {x}"))
    cleo.messenger.groups.send_text("Tea", "hello")  # with that name
    pass_time(5 * SECOND, *people)
    tell(cleo, [ben], GroupChange(group=known(ben).record.group, change=CHANGES["forged"][0](cleo, people)))
    tell(people.eve, [ben], INVITATIONS["forged"][0](people.eve, people))
    pass_time(5 * SECOND, *people)
    sentences = told(ben)
    assert len(sentences) == 2
    for one in sentences:
        assert "Evil" not in one
        assert one.isprintable()
    assert ada.name not in {event.peer.label for event in ben.heard(WarningEvent) if event.peer is not None}


def test_group_is_named_in_one_line(people: People) -> None:
    people.ada.messenger.groups.rename("Tea", "Te\u2028a\u202e")
    pass_time(5 * SECOND, *people)
    [group] = people.ben.messenger.groups.all()
    tell(people.eve, [people.ben], GroupChange(group=raw_of(group.group), change=b"?"))
    pass_time(5 * SECOND, *people)
    [sentence] = told(people.ben)
    assert sentence.isprintable()


# --- who else ------------------------------------------------------------------------


def test_relay_that_hands_out_a_forged_list_is_named(people: People) -> None:
    ben, eve = people.ben, people.eve
    now = ben.messenger._now()
    events = [*ben.messenger.desk.list_came(forged_list(eve), now), *ben.messenger.desk.list_came(b"", now)]
    assert [(event.peer, event.message) for event in events if isinstance(event, WarningEvent)] == [
        (None, "a list of devices from the relay cannot be used: it is forged or damaged; nothing was changed")
    ]
    assert list(ben.messenger.desk.list_came(list_of_another(eve), now)) == [], "of a stranger, whose prekeys it has"


def test_own_device_is_called_that(town: Town) -> None:
    phone, laptop, bob = town.device("phone"), town.device("laptop", strangers="ask"), town.device("bob")
    for device in (phone, laptop, bob):
        device.login()
    link(phone, laptop, bob)
    pass_time(5 * SECOND, phone, laptop, bob)
    phone.events.clear()
    fake: Any = SimpleNamespace(encoded=list_of_another(laptop))
    laptop.messenger.desk.tell_list(fake, [phone.id])
    pass_time(5 * SECOND, phone, laptop, bob)
    assert told(phone) == [
        "a list of devices from a device of yours cannot be used: it is somebody else's; nothing was changed"
    ]
