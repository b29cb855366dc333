"""What is known of people and what others are told is the same on all devices of a person, whoever changes it."""

import base64
from collections.abc import Iterator
from contextlib import closing
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Final

import pytest
from client_samples import Device, Town, fast_folder, pass_time
from device_samples import Family, link, two_of_alice
from msgspec import msgpack

from phantom_messenger.client import content2
from phantom_messenger.client.content import Ends
from phantom_messenger.client.devices import in_step
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.devices.kinds import KnownPerson, NamedDevice, SyncContacts, SyncDevices, SyncSettings
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.status import Trust
from phantom_messenger.wire.frames import PresenceStatus
from support.amounts import amount
from support.simulated import MakeWorld

CAROL: Final = "vmnP7t0JDBPvNpyhTkNuN8VYGxsJnJ8aMTjXo5GlhKg="
Known = tuple[str, Trust, bool, bool]


@pytest.fixture
def family(town: Town) -> Family:
    return two_of_alice(town)


def known(device: Device, user_id: str) -> Known:
    found = device.messenger.contacts.of(user_id)
    return found.name, found.trust, found.blocked, device.messenger._stores.book.is_known(user_id)


def names(device: Device) -> dict[str, str]:
    """What somebody's devices are called on one of them."""
    return {one.user_id: one.name for one in device.messenger._stores.devices.names().values() if one.name}


def test_all_devices_call_each_other_as_the_first_one_does(town: Town, family: Family) -> None:
    alice, laptop, bob = family
    tablet = town.device("tablet", strangers="ask").login()
    link(alice, tablet, laptop, bob)
    called = {laptop.id: "laptop", tablet.id: "laptop"}
    assert [names(one) for one in (alice, laptop, tablet)] == [called] * 3
    assert not names(bob)


def test_names_of_devices_are_taken_from_the_first_one_alone_and_for_those_on_its_list(family: Family) -> None:
    alice, laptop, bob = family
    wrong = SyncDevices(names=[NamedDevice(id=base64.b64decode(laptop.id), name="wrong")])
    laptop.messenger.desk.say([alice.id], wrong)
    bob.messenger.desk.say([alice.id, laptop.id], wrong)
    alice.messenger.desk.say([laptop.id], SyncDevices(names=[NamedDevice(id=bytes(32), name="nobody")]))
    pass_time(2_000, *family)
    assert names(alice) == names(laptop) == {laptop.id: "laptop"}
    alice.messenger.desk.say([laptop.id], wrong)  # the control
    pass_time(2_000, *family)
    assert names(laptop) == {laptop.id: "wrong"}


@pytest.mark.parametrize(
    ("said", "shown"), [("(first)", "first"), ("of ID", ""), ("a\u202eb", ""), ("my laptop", "my laptop")]
)
def test_what_a_device_is_called_cannot_be_taken_for_something_else(family: Family, said: str, shown: str) -> None:
    alice, laptop, _ = family
    said = written_id(alice.id) if said == "of ID" else said
    named = SyncDevices(names=[NamedDevice(id=base64.b64decode(laptop.id), name=said)])
    alice.messenger.desk.say([laptop.id], named)
    pass_time(2_000, *family)
    assert names(laptop) == {laptop.id: shown or "laptop"}


def test_contact_that_was_added_and_renamed_is_so_on_all(family: Family) -> None:
    alice, laptop, bob = family
    laptop.messenger.contacts.add("carol", CAROL)
    pass_time(2_000, *family)
    assert known(alice, CAROL) == ("carol", Trust.UNVERIFIED, False, True)
    alice.messenger.contacts.add("caro", CAROL)
    alice.messenger.contacts.add("bobby", bob.id)
    pass_time(2_000, *family)
    assert known(laptop, CAROL) == ("caro", Trust.UNVERIFIED, False, True)
    assert known(laptop, bob.id)[0] == "bobby"


def test_verified_mark_is_set_and_taken_back_on_all(family: Family) -> None:
    alice, laptop, bob = family
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    pass_time(2_000, *family)
    assert known(laptop, bob.id)[1] is Trust.VERIFIED
    laptop.send(bob, "hello")
    pass_time(2_000, *family)
    laptop.messenger.contacts.set_trust("bob", Trust.UNVERIFIED)
    pass_time(2_000, *family)
    assert known(alice, bob.id)[1] is Trust.UNVERIFIED


def test_blocked_on_one_is_blocked_on_all_and_the_relay_is_told(family: Family) -> None:
    alice, laptop, bob = family
    laptop.messenger.block(bob.id)
    pass_time(5_000, *family)
    assert known(alice, bob.id)[2]
    assert [one["payload"]["blocked"] for one in alice.frames_sent("BLOCK")] == [True]
    bob.send(alice, "let me in")
    pass_time(2_000, *family)
    assert alice.waiting() == laptop.waiting() == []
    alice.messenger.unblock(bob.id)
    pass_time(5_000, *family)
    assert not known(laptop, bob.id)[2]
    assert [one["payload"]["blocked"] for one in laptop.frames_sent("BLOCK")] == [True, False]


def test_removed_on_one_is_removed_on_all_and_history_stays(family: Family) -> None:
    alice, laptop, bob = family
    pass_time(5_000, *family)
    before = len(laptop.messenger.history(bob.id))
    alice.messenger.contacts.remove("bob")
    pass_time(2_000, *family)
    assert known(laptop, bob.id) == ("", Trust.UNVERIFIED, False, False)
    assert len(laptop.messenger.history(bob.id)) == before > 0


def test_stranger_who_was_let_in_on_one_is_let_in_on_all(town: Town) -> None:
    alice, bob = town.device("alice", strangers="ask").login(), town.device("bob").login()
    laptop, carol = town.device("laptop", strangers="ask").login(), town.device("carol").login()
    everybody = (alice, bob, laptop, carol)
    alice.messenger.contacts.add("bob", bob.id)
    bob.messenger.contacts.add("alice", alice.id)
    alice.send(bob, "hello")
    pass_time(2_000, *everybody)
    link(alice, laptop, bob, carol)
    carol.messenger.contacts.add("alice", alice.id)
    carol.send(alice, "may I?")
    pass_time(2_000, *everybody)
    assert [one.contact.user_id for one in alice.messenger.requests()] == [carol.id]
    alice.messenger.contacts.let_in(carol.id)
    alice.send(carol, "you may")
    pass_time(5_000, *everybody)
    carol.send(alice, "thanks")
    pass_time(5_000, *everybody)
    assert laptop.messenger.requests() == []
    assert [one.text for one in laptop.waiting()] == ["may I?", "thanks"]


def test_settings_are_the_same_on_all_and_take_effect(family: Family) -> None:
    alice, laptop, _ = family
    laptop.messenger.change_settings(presence=False, read_receipts=False)
    pass_time(2_000, *family)
    assert alice.messenger.presence.settings == laptop.messenger.presence.settings
    assert not alice.messenger.presence.settings.read_receipts
    told = [one["payload"].get("status") for one in alice.frames_sent("PRESENCE")]
    assert told[-1] == PresenceStatus.OFFLINE
    alice.messenger.change_settings(read_receipts=True)
    pass_time(2_000, *family)
    assert laptop.messenger.presence.settings.read_receipts
    assert not laptop.messenger.presence.settings.presence


def test_new_device_gets_settings(town: Town) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, laptop)
    alice.messenger.change_settings(typing=False)
    link(alice, laptop)
    pass_time(2_000, alice, laptop)
    assert not laptop.messenger.presence.settings.typing


def test_nothing_is_noted_where_there_is_one_device(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.messenger.contacts.set_trust("bob", Trust.VERIFIED)
    alice.messenger.change_settings(typing=False)
    alice.messenger.block(bob.id)
    assert not alice.vault.has_kind("synced")


# --- at the same time ---------------------------------------------------------------


Own = tuple[Device, Device, Device]


def changed_at_once(town: Town, seed: int) -> Own:
    """Alice's three devices after each has changed what it knows, at random, with others offline or ended meanwhile."""
    random = Random(f"in step {seed}")  # noqa: S311 - so that a run can be repeated
    alice, laptop, bob = two_of_alice(town)
    tablet = town.device("tablet", strangers="ask").login()
    link(alice, tablet, laptop, bob)
    own = (alice, laptop, tablet)
    for turn in range(30):
        one = random.choice(own)
        act = random.randrange(6)
        contacts, is_there = one.messenger.contacts, one.messenger._stores.book.has(CAROL)
        if act == 0:
            contacts.add(f"carol {turn}", CAROL)
        elif act == 1 and is_there:
            contacts.remove(CAROL)
        elif act == 2:
            one.messenger.block(CAROL)
        elif act == 3:
            one.messenger.unblock(CAROL)
        elif act == 4:
            one.messenger.change_settings(typing=random.random() < 0.5)
        else:
            contacts.add(f"bob {turn}", bob.id)
        if random.random() < 0.2:
            one.kill()
            one.login()
        if random.random() < 0.3:
            pass_time(random.choice([10, 2_000]), *own, bob, step=10 if random.random() < 0.5 else 1_000)
    pass_time(20_000, *own, bob, reconnect=True)
    return own


def differences(own: Own) -> list[str]:
    """In what the devices are not in step."""
    (bob,) = {one.user_id for one in own[0].messenger.contacts.everybody()} - {CAROL}
    known_of_carol, known_of_bob = ({known(one, user_id) for one in own} for user_id in (CAROL, bob))
    settings = {one.messenger.presence.settings for one in own}
    counts = {"carol": len(known_of_carol), "bob": len(known_of_bob), "settings": len(settings)}
    return [name for name, count in counts.items() if count != 1]


@pytest.mark.parametrize("seed", range(amount(2, 100)))
def test_whatever_is_changed_at_once_ends_the_same_on_all(town: Town, seed: int) -> None:
    assert differences(changed_at_once(town, seed)) == []


@pytest.mark.usefixtures("few_prekeys")
def test_control_if_what_was_heard_last_counted_they_would_differ(
    make_world: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_step, "later_of", lambda _, heard: heard)
    monkeypatch.setattr(in_step, "later_settings", lambda _, heard: heard)

    def runs() -> Iterator[list[str]]:
        for seed in range(1, 11):
            usual = tmp_path / str(seed)
            usual.mkdir()
            with fast_folder(usual) as folder, closing(Town(make_world(limits=False), folder)) as town:
                yield differences(changed_at_once(town, seed))

    assert any(runs())


def test_control_devices_that_are_told_nothing_differ(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InStep, "run", lambda _: None)
    alice, laptop, bob = family
    alice.messenger.contacts.add("bobby", bob.id)
    pass_time(2_000, *family)
    assert known(laptop, bob.id) != known(alice, bob.id)


def test_what_else_is_said_of_a_person_is_ignored() -> None:
    ends = Ends(bytes(32), bytes(32), b"", b"")
    fields = {"kind": "sync-contacts", "version": 2, "sentAt": 1, "sender": ends.sender, "senderKey": ends.sender_key}

    def read(**more: object) -> object:
        contacts = [{"id": bytes(32), "at": 1, "name": "bob", **more}]
        return content2.decode(msgpack.encode({**fields, "contacts": contacts}), ends)

    assert read(lasting=5, muted=True, later="x") == read()
    assert read(blocked=True) != read(), "the control"


SAME_TIME: Final = [
    KnownPerson(id=base64.b64decode(CAROL), at=10, name="carol"),
    KnownPerson(id=base64.b64decode(CAROL), at=10, name="caro"),
    KnownPerson(id=base64.b64decode(CAROL), at=10, name="caro", verified=True),
    KnownPerson(id=base64.b64decode(CAROL), at=10, blocked=True, removed=True),
]


def test_order_in_which_it_is_heard_does_not_matter(town: Town) -> None:
    ends = set()
    for number, heard in enumerate(permutations(SAME_TIME)):
        device = town.device(f"device {number}")
        parts = device.messenger.device_parts
        for one in heard:
            with device.vault.transaction() as tx:
                parts.in_step.take_contacts(tx, SyncContacts(contacts=[one]))
        ends.add(known(device, CAROL))
    assert ends == {("", Trust.UNVERIFIED, True, False)}


def test_older_change_changes_nothing(town: Town) -> None:
    device = town.device("alice")
    parts = device.messenger.device_parts
    for one in (SAME_TIME[0], KnownPerson(id=SAME_TIME[0].id, at=9, name="older", blocked=True)):
        with device.vault.transaction() as tx:
            parts.in_step.take_contacts(tx, SyncContacts(contacts=[one]))
    assert known(device, CAROL) == ("carol", Trust.UNVERIFIED, False, True)
    for said in (SyncSettings(at=5, typing=False), SyncSettings(at=4, presence=False), SyncSettings(at=5, typing=True)):
        with device.vault.transaction() as tx:
            parts.in_step.take_settings(tx, said)
    assert not device.messenger.presence.settings.typing
    assert device.messenger.presence.settings.presence


def test_change_made_after_another_was_seen_wins_whatever_the_clocks_show(family: Family) -> None:
    alice, laptop, bob = family
    alice.wall_error = 3_600_000
    alice.messenger.contacts.add("by the fast clock", bob.id)
    pass_time(2_000, *family)
    laptop.messenger.contacts.add("by the slow clock", bob.id)
    pass_time(2_000, *family)
    assert known(alice, bob.id)[0] == known(laptop, bob.id)[0] == "by the slow clock"
