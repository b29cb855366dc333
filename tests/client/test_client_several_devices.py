"""Persons with several devices, over a relay: linking, texts everywhere, receipts, read marks, removal."""

import base64
from pathlib import Path
from random import Random
from typing import Final

import pytest
from client_samples import KEY, WORDS, Device, Town, pass_time
from device_samples import RELAY, Family, kept_back, last, link, own_devices, said, two_and_two, two_of_alice

from phantom_messenger.client import content2
from phantom_messenger.client.backup import export_profile, import_profile
from phantom_messenger.client.devices.device_list import Device as ListedDevice
from phantom_messenger.client.devices.device_list import DeviceList, consent
from phantom_messenger.client.devices.kinds import KnownPerson, ReadMessage, SyncContacts, SyncHere, SyncRead
from phantom_messenger.client.devices.link_code import LinkCode
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.ids import written_id
from phantom_messenger.client.records import ContactRecord
from phantom_messenger.client.status import DeliveryState, LinkingEvent, LinkingStep, WarningEvent, WrittenEvent
from phantom_messenger.crypto.keys import OwnIdentity
from support.amounts import amount
from support.people import Frame, canonical

NOBODY: Final = "vmnP7t0JDBPvNpyhTkNuN8VYGxsJnJ8aMTjXo5GlhKg="


@pytest.fixture
def family(town: Town) -> Family:
    return two_of_alice(town)


def test_device_is_linked_and_knows_people(family: Family) -> None:
    _, laptop, bob = family
    assert laptop.messenger.contacts.find("bob").user_id == bob.id


def test_whoever_links_one_device_more_hears_of_no_change_on_it_and_the_others_do(town: Town, family: Family) -> None:
    alice, laptop, bob = family
    tablet = town.device("tablet", strangers="ask").login()
    link(alice, tablet, laptop, bob)
    assert tablet.troubles() == []
    assert laptop.troubles() == ["devices"]
    assert bob.troubles() == ["devices", "devices"]
    alice.messenger.linking._desk.remove(laptop.id)
    pass_time(3_000, tablet, *family)
    assert tablet.troubles() == ["devices"]


def test_text_reaches_all_devices_of_both_and_shows_as_the_persons(family: Family) -> None:
    alice, laptop, bob = family
    (number,) = laptop.send(bob, "from the laptop")
    pass_time(5_000, *family)
    assert [(one.sender, one.text) for one in bob.waiting()] == [(alice.id, "from the laptop")]
    assert said(alice, bob)[-1] == said(laptop, bob)[-1] == (True, "from the laptop")
    bob.read_all()
    pass_time(5_000, *family)
    assert alice.messenger.state_of(number) is laptop.messenger.state_of(number) is DeliveryState.READ
    bob.send(alice, "to both")
    pass_time(5_000, *family)
    assert alice.read_all() == laptop.read_all() == ["to both"]
    assert [contact.user_id for contact in bob.messenger.contacts.everybody()] == [alice.id]
    assert bob.troubles() == ["devices"]


def test_text_that_is_written_on_one_device_is_told_on_the_other(family: Family) -> None:
    alice, laptop, bob = family
    ((number, *_), _) = laptop.send(bob, "from the laptop"), laptop.send(bob, "burns", burn=True)
    pass_time(5_000, *family)
    heard = alice.heard(WrittenEvent)
    assert (heard[0].message_id, heard[0].peer.user_id, heard[0].group) == (number, bob.id, "")
    assert len(heard) == 2
    assert laptop.heard(WrittenEvent) == bob.heard(WrittenEvent) == [], "control: of what was written here"


def test_safety_number_is_the_same_before_and_after_on_all_devices(town: Town) -> None:
    alice, bob, laptop = (
        town.device("alice").login(),
        town.device("bob").login(),
        town.device("laptop", strangers="ask").login(),
    )
    for one, other in ((alice, bob), (bob, alice)):
        one.messenger.contacts.add(other.name, other.id)
        one.send(other, "hello")
    pass_time(3_000, alice, bob, laptop)
    before = alice.messenger.contacts.safety_number("bob")
    assert bob.messenger.contacts.safety_number("alice") == before
    link(alice, laptop, bob)
    laptop.send(bob, "hello")
    pass_time(3_000, alice, bob, laptop)
    numbers = {
        alice.messenger.contacts.safety_number("bob"),
        laptop.messenger.contacts.safety_number("bob"),
        bob.messenger.contacts.safety_number("alice"),
    }
    assert numbers == {before}


def test_what_was_read_on_one_device_is_read_on_the_other_and_told_once(family: Family) -> None:
    alice, laptop, bob = family
    (number,) = bob.send(alice, "gone", burn=True)
    pass_time(5_000, *family)
    assert [one.text for one in laptop.waiting()] == ["gone"]
    alice.read_all()
    pass_time(5_000, *family)
    assert laptop.waiting() == []
    assert said(laptop, bob)[-1] == said(alice, bob)[-1] == (False, None)
    assert bob.messenger.state_of(number) is DeliveryState.BURNED
    assert bob.own_text(number) is None


def test_text_that_comes_after_it_was_read_elsewhere_is_read(family: Family) -> None:
    alice, laptop, bob = family
    late = kept_back(laptop, bob)
    (number,) = bob.send(alice, "gone", burn=True)
    pass_time(3_000, *family)
    alice.read_all()
    pass_time(5_000, *family)
    assert laptop.waiting() == []
    laptop.down += [canonical(frame) for frame in late]
    pass_time(3_000, *family)
    assert laptop.waiting() == []
    assert said(laptop, bob)[-1] == (False, None)
    assert bob.messenger.state_of(number) is DeliveryState.BURNED


def test_copy_that_comes_after_it_was_read_is_as_far_as_that(family: Family) -> None:
    alice, laptop, bob = family
    late = kept_back(laptop, alice)
    first, second = alice.send(bob, "read"), alice.send(bob, "burned", burn=True)
    pass_time(3_000, *family)
    bob.read_all()
    pass_time(5_000, *family)
    assert laptop.messenger.state_of(first[0]) is None
    laptop.down += [canonical(frame) for frame in late]
    pass_time(3_000, *family)
    assert laptop.messenger.state_of(first[0]) is DeliveryState.READ
    assert laptop.messenger.state_of(second[0]) is DeliveryState.BURNED


def test_own_text_that_burns_goes_on_all_own_devices(family: Family) -> None:
    alice, laptop, bob = family
    (number,) = laptop.send(bob, "secret", burn=True)
    pass_time(3_000, *family)
    assert alice.own_text(number) == "secret"
    bob.read_all()
    pass_time(5_000, *family)
    assert alice.own_text(number) is laptop.own_text(number) is None


# --- concurrent texts, with programs that die (D3) --------------------------------


@pytest.mark.parametrize("seed", range(amount(1, 20)))
def test_all_devices_have_the_same_texts_each_once_whoever_dies(town: Town, seed: int) -> None:
    random = Random(f"several devices {seed}")  # noqa: S311 - so that a run can be repeated
    everybody = two_and_two(town)
    alice, laptop, bob, tablet = everybody
    expected: dict[str, str] = {}
    for turn in range(amount(24, 200)):
        one = random.choice(everybody)
        to = bob if one in (alice, laptop) else alice
        (number,) = one.send(to, f"{one.name} {turn}")
        expected[number] = f"{one.name} {turn}"
        for _ in range(random.randrange(4)):
            other = random.choice(everybody)
            other.fetch()
            other.step_up()
            other.step_down()
        if random.random() < 0.15:
            dead = random.choice(everybody)
            dead.kill()
            dead.login()
    pass_time(90_000, *everybody, step=5_000, reconnect=True)
    for one in everybody:
        peer = bob if one in (alice, laptop) else alice
        own = {alice.name, laptop.name} if one in (alice, laptop) else {bob.name, tablet.name}
        found = [entry for entry in one.messenger.history(peer.id) if entry.text in expected.values()]
        assert sorted(entry.message_id for entry in found) == sorted(expected), one.name
        assert all(entry.text == expected[entry.message_id] for entry in found)
        assert all(entry.is_own is (entry.text.split()[0] in own) for entry in found if entry.text)


# --- removal (D4) ------------------------------------------------------------------


def test_removed_device_is_nobody_and_erases_itself(family: Family) -> None:
    alice, laptop, bob = family
    alice.messenger.desk.remove(laptop.id)
    pass_time(3_000, *family)
    assert laptop.messenger.desk.is_removed
    assert laptop.troubles()[-1] == "device-removed"
    before = len(laptop.received)
    for turn in range(5):
        bob.send(alice, f"without the laptop {turn}")
        alice.send(bob, f"as before {turn}")
    pass_time(5_000, *family)
    assert not [frame for frame in laptop.received[before:] if frame["type"] == "MESSAGE"]
    assert len(alice.read_all()) == len(bob.read_all()) == 5
    assert not bob.troubles().count("unreadable")
    changes = [one.message for one in bob.heard(WarningEvent) if one.code == "devices"]
    assert changes == [f"the devices of alice have changed: 1 {what}" for what in ("added", "removed")], "each once"
    bob.kill()  # what it knows of the device outlasts its program
    bob.login()
    for text in ("still here", "and again"):
        laptop.send(bob, text)
    pass_time(5_000, *family)
    assert (bob.waiting(), bob.messenger.requests()) == ([], [])
    assert bob.heard(WarningEvent)[-1].message == (
        "a message from a device that alice has removed cannot be read; ask them for it if you miss one"
    )
    assert bob.troubles().count("unreadable") == 1  # once, however much comes
    assert "still here" not in [text for _, text in said(alice, bob)]
    assert own_devices(alice).everybody()[1:] == []


def test_removed_device_that_is_known_as_a_person_is_heard(family: Family) -> None:
    alice, laptop, bob = family
    alice.messenger.desk.remove(laptop.id)
    pass_time(3_000, *family)
    assert bob.messenger._stores.devices.who_removed(laptop.id) == alice.id
    bob.messenger.contacts.add("laptop", laptop.id)
    assert bob.messenger._stores.devices.who_removed(laptop.id) is None
    bob.messenger.remove(alice.id, False)  # nothing is kept of somebody who is removed
    bob.messenger.remove(laptop.id, False)
    assert bob.messenger._stores.devices.who_removed(laptop.id) is None


def test_linked_device_can_neither_link_nor_remove(family: Family) -> None:
    _, laptop, _ = family
    own = own_devices(laptop)
    with pytest.raises(UsageError, match=r"^only your first device can link others; run this there$"):
        own.link(laptop.messenger.linking._stores.devices.device)
    with pytest.raises(UsageError):
        own.remove(laptop.id)
    with pytest.raises(UsageError, match=r"^only your first device can link others; run this there$"):
        laptop.messenger.linking.show(RELAY, "again")


def test_devices_of_one_name_are_told_apart_by_id(town: Town) -> None:
    alice, laptop, _ = two_of_alice(town)
    own = own_devices(alice)
    assert [own.find(name).user_id for name in ("laptop", written_id(laptop.id)[:8], laptop.id)] == [laptop.id] * 3
    (shown,) = [one for one in own_devices(laptop).everybody() if one.is_this]
    assert shown.name == "laptop"  # what it was called when it was linked
    second = town.device("second", strangers="ask").login()
    link(alice, second, laptop)
    for name, why in (("laptop", "several devices"), ("lapto", "no device"), (written_id(laptop.id)[:7], "no device")):
        with pytest.raises(UsageError, match=why):
            own.remove(name)
    assert own.remove(written_id(second.id)[:11]).user_id == second.id
    assert [one.user_id for one in own.everybody()] == [alice.id, laptop.id]


def test_removal_comes_with_the_next_message_if_the_relay_keeps_the_notice_back(family: Family) -> None:
    alice, laptop, bob = family
    bob.tamper = lambda frame: (
        [] if frame["type"] == "MESSAGE" and frame["payload"]["senderId"] == alice.id else [frame]
    )
    alice.messenger.desk.remove(laptop.id)
    pass_time(3_000, *family)
    assert laptop.id in bob.messenger._stores.devices.devices_of(alice.id)
    bob.tamper = None
    bob.cut()
    bob.login()
    alice.send(bob, "hello")
    pass_time(3_000, *family)
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]


def test_device_that_sleeps_is_removed_and_one_that_is_there_is_not(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.devices.desk.ASLEEP_MS", 40 * 60_000)
    monkeypatch.setattr("phantom_messenger.client.devices.desk.HERE_MS", 10 * 60_000)
    alice, laptop, bob = family
    pass_time(60 * 60_000, *family, step=60_000)
    assert laptop.id in alice.messenger._stores.devices.own_ids()
    laptop.cut()
    laptop.may_reconnect = False
    pass_time(50 * 60_000, alice, bob, step=60_000)
    assert laptop.id not in alice.messenger._stores.devices.own_ids()


def test_device_whose_program_is_ended_again_and_again_is_there(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.devices.desk.ASLEEP_MS", 40 * 60_000)
    monkeypatch.setattr("phantom_messenger.client.devices.desk.HERE_MS", 10 * 60_000)
    alice, laptop, _ = family
    for _ in range(10):
        pass_time(6 * 60_000, *family, step=60_000)
        laptop.kill()
        laptop.login()
    assert laptop.id in alice.messenger._stores.devices.own_ids()


def test_restored_first_device_removes_nobody_before_its_user_has_looked(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.devices.desk.ASLEEP_MS", 40 * 60_000)
    alice, laptop, bob = family
    laptop.cut()
    laptop.may_reconnect = False
    export_profile(alice.vault, tmp_path / "alice.backup", WORDS)
    moved_to(alice, tmp_path / "alice.backup")
    alice.login()
    pass_time(50 * 60_000, alice, bob, step=60_000)
    assert laptop.id in alice.messenger._stores.devices.own_ids()
    alice.messenger.desk.renew()
    pass_time(50 * 60_000, alice, bob, step=60_000)
    assert laptop.id not in alice.messenger._stores.devices.own_ids()


def test_list_that_has_run_out_by_the_clock_of_a_new_device_does_not_erase_it(family: Family) -> None:
    alice, laptop, _ = family
    devices = laptop.messenger._stores.devices
    known = devices.known(alice.id)
    assert known is not None
    devices._set(alice.id, None)
    with laptop.vault.transaction() as tx:
        devices.take_up(tx, known.newest.encoded, person=alice.id, wall=known.newest.until + 1)
    assert devices.own_ids() == [alice.id]
    assert not laptop.messenger.desk.is_removed


def test_sleep_counts_while_the_first_device_is_connected_alone(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.devices.desk.ASLEEP_MS", 40 * 60_000)
    alice, laptop, bob = family
    for device in (alice, laptop):
        device.cut()
        device.may_reconnect = False
    pass_time(120 * 60_000, bob, step=600_000)
    alice.login()
    pass_time(2 * 60_000, alice, bob, step=60_000)
    assert laptop.id in alice.messenger._stores.devices.own_ids()


# --- lists that come back, or beside each other ------------------------------------


def test_restored_first_device_learns_what_it_has_signed_and_goes_ahead(family: Family, tmp_path: Path) -> None:
    alice, laptop, bob = family
    file = tmp_path / "alice.backup"
    export_profile(alice.vault, file, WORDS)
    alice.messenger.desk.remove(laptop.id)
    pass_time(3_000, *family)
    known = bob.messenger._stores.devices.known(alice.id)
    assert known is not None
    moved_to(alice, file)
    assert alice.messenger._stores.devices.is_restored
    assert laptop.id in alice.messenger._stores.devices.own_ids()  # as it was when the file was written
    alice.login()
    bob.send(alice, "hello")
    alice.send(bob, "hello")
    pass_time(10_000, alice, bob)
    assert bob.messenger._stores.devices.devices_of(alice.id) == [alice.id]
    assert alice.messenger._stores.devices.own_ids() == [alice.id]
    alice.messenger.desk.renew()
    pass_time(3_000, alice, bob)
    after = bob.messenger._stores.devices.known(alice.id)
    assert after is not None
    assert after.newest.revision >= known.newest.revision + 1_024


def moved_to(device: Device, file: Path) -> None:
    """The owner restores a backup on a new machine."""
    if device.is_connected:
        device.cut()
    path = device.folder / "restored.vault"
    device.vault.close()
    import_profile(file, WORDS, path, KEY)
    device._lives += 1
    device._start(path)
    device.events.clear()


def test_second_list_of_one_revision_is_told_and_not_taken_up(family: Family) -> None:
    alice, laptop, bob = family
    thief = alice.messenger.desk
    known = bob.messenger._stores.devices.known(alice.id)
    assert known is not None
    spy = OwnIdentity(bytes(range(32)))
    own = alice.messenger._identity
    forked = DeviceList.sign(
        own,
        revision=known.newest.revision,
        previous=bytes(32) if known.newest.revision == 1 else known.newest.previous,
        at=known.newest.at,
        until=known.newest.until,
        devices=(known.newest.devices[0], ListedDevice(spy.peer.public, 0, consent(spy, own.peer.user_id))),
    )
    thief.tell_list(forked, [bob.id])
    pass_time(2_000, *family)
    assert bob.troubles()[-1] == "devices-forked"
    assert bob.messenger._stores.devices.known(alice.id) == known
    assert laptop.id in bob.messenger._stores.devices.devices_of(alice.id)


def test_list_of_somebody_who_is_not_known_is_ignored(town: Town) -> None:
    alice, bob = town.device("alice").login(), town.device("bob", strangers="ask").login()
    laptop = town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, bob, laptop)
    link(alice, laptop, bob)
    alice.messenger.contacts.add("bob", bob.id)
    alice.send(bob, "hello")
    laptop.messenger.contacts.add("bob", bob.id)
    laptop.send(bob, "hello from the laptop")
    pass_time(3_000, alice, bob, laptop)
    assert list(bob.messenger._stores.devices) == []
    bob.messenger.contacts.add("alice", alice.id)
    bob.send(alice, "hello yourself")
    pass_time(5_000, alice, bob, laptop)
    assert {(one.sender, one.text) for one in bob.waiting()} == {
        (alice.id, "hello"),
        (alice.id, "hello from the laptop"),
    }


def test_removing_a_contact_forgets_their_devices(family: Family) -> None:
    alice, laptop, bob = family
    bob.messenger.remove(alice.id, True)
    assert list(bob.messenger._stores.devices) == []
    assert bob.messenger.contacts.everybody() == []
    assert not bob.messenger._stores.book.has(laptop.id)


def test_blocked_person_is_blocked_on_all_devices(family: Family) -> None:
    alice, laptop, bob = family
    bob.messenger.block(alice.id)
    laptop.send(bob, "let me in")
    alice.send(bob, "me too")
    pass_time(3_000, *family)
    assert bob.waiting() == []
    assert bob.messenger.requests() == []


# --- linking through a relay that meddles -------------------------------------------


def test_wrong_digits_three_times_end_it(town: Town) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, laptop)
    own, new = own_devices(alice), own_devices(laptop)
    laptop.messenger.set_server(RELAY)
    laptop.messenger.dialling()
    own.link(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, alice, laptop)
    wrong = f"{(int(last(laptop).digits) + 1) % 10**6:06d}"
    assert not own.confirm(wrong)
    assert not own.confirm(wrong)
    with pytest.raises(UsageError, match="three times"):
        own.confirm(wrong)
    pass_time(2_000, alice, laptop)
    assert not own.is_linking
    assert last(laptop).step is LinkingStep.ENDED
    assert own.everybody() == new.everybody() == []


def test_offer_without_the_code_is_a_strangers_message(town: Town) -> None:
    mallory, laptop = town.device("mallory").login(), town.device("laptop", strangers="ask").login()
    pass_time(1_000, mallory, laptop)
    code = LinkCode.parse(laptop.messenger.linking.show(RELAY, "laptop"))
    mallory.messenger.linking.begin(LinkCode(code.relay, code.id, bytes(16)).text())
    pass_time(3_000, mallory, laptop)
    assert laptop.heard(LinkingEvent) == []
    assert [one.contact.user_id for one in laptop.messenger.requests()] == [mallory.id]
    assert laptop.messenger.linking.is_open


def test_second_who_has_seen_the_code_ends_it(town: Town) -> None:
    alice, mallory = town.device("alice").login(), town.device("mallory").login()
    laptop = town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, mallory, laptop)
    code = laptop.messenger.linking.show(RELAY, "laptop")
    mallory.messenger.linking.begin(code)
    pass_time(2_000, alice, mallory, laptop)
    assert last(laptop).person == mallory.id  # which the user of the laptop is asked about
    laptop.messenger.linking.cancel()
    pass_time(2_000, alice, mallory, laptop)
    assert last(mallory).step is LinkingStep.ENDED
    assert laptop.messenger._stores.devices.own is None


def test_code_is_good_for_five_minutes(town: Town) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, laptop)
    code = laptop.messenger.linking.show(RELAY, "laptop")
    pass_time(301_000, alice, laptop, step=60_000)
    alice.messenger.linking.begin(code)
    pass_time(3_000, alice, laptop)
    assert last(laptop).step is LinkingStep.ENDED
    assert not laptop.messenger.linking.is_open


def test_relay_that_keeps_things_back_links_nothing(town: Town) -> None:
    alice, laptop = town.device("alice").login(), town.device("laptop", strangers="ask").login()
    pass_time(1_000, alice, laptop)
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    alice.messenger.linking.begin(laptop.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, alice, laptop)
    assert alice.heard(LinkingEvent) == []
    with pytest.raises(UsageError):
        alice.messenger.linking.type("000000")


# --- people with one device ---------------------------------------------------------


def test_nothing_of_devices_is_said_where_everybody_has_one(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    pass_time(3_000, alice, bob)
    bob.read_all()
    pass_time(3_000, alice, bob)
    assert not alice.frames_sent("MESSAGE_MANY") + bob.frames_sent("MESSAGE_MANY")
    assert all("deviceList" not in str(frame) for one in (alice, bob) for frame in one.sent)
    assert alice.messenger._stores.devices.claim() is None


def test_peer_of_suite_1_gets_a_message_of_its_own_and_own_devices_a_copy(family: Family) -> None:
    alice, laptop, bob = family
    old = ContactRecord(user_id=NOBODY, name="carol", key=b"k" * 32, suite=0)
    with alice.vault.transaction() as tx:
        alice.messenger._stores.book.put(tx, old)
    number = alice.messenger.send_text(NOBODY, "to an old program").message_id
    pass_time(2_000, *family)
    assert alice.messenger.waiting_for(NOBODY) == 1
    assert laptop.own_text(number) == "to an old program"
    assert bob.waiting() == []


def test_whoever_was_nearly_linked_is_a_stranger_again(town: Town) -> None:
    alice, mallory = town.device("alice", strangers="ask").login(), town.device("mallory", strangers="ask").login()
    pass_time(1_000, alice, mallory)
    alice.messenger.linking.begin(mallory.messenger.linking.show(RELAY, "laptop"))
    pass_time(2_000, alice, mallory)
    mallory.send(alice, "a message meanwhile")
    pass_time(2_000, alice, mallory)
    assert alice.waiting() == []
    alice.messenger.linking.cancel()
    pass_time(2_000, alice, mallory)
    mallory.send(alice, "a message afterwards")
    pass_time(3_000, alice, mallory)
    assert alice.waiting() == []
    assert [one.contact.user_id for one in alice.messenger.requests()] == [mallory.id]
    assert own_devices(alice).everybody() == []


def test_name_that_deceives_does_not_come_with_another_device(family: Family) -> None:
    alice, laptop, bob = family
    person = KnownPerson(id=base64.b64decode(NOBODY), name="\u202eevil\n")
    laptop.messenger.desk.say_to_own(SyncContacts(contacts=[person]))
    pass_time(2_000, *family)
    assert alice.messenger.contacts.find(NOBODY).name == ""
    taken = KnownPerson(id=base64.b64decode(NOBODY), name="bob")
    laptop.messenger.desk.say_to_own(SyncContacts(contacts=[taken]))
    pass_time(2_000, *family)
    assert alice.messenger.contacts.find("bob").user_id == bob.id


def test_what_only_own_devices_may_say_is_ignored_from_others(family: Family) -> None:
    alice, _, bob = family
    bob.send(alice, "unread")
    pass_time(2_000, *family)
    (waiting,) = alice.waiting()
    number = KnownPerson(id=base64.b64decode(NOBODY), name="mallory")
    bob.messenger.desk.say([alice.id], SyncContacts(contacts=[number]))
    read = ReadMessage(sender=base64.b64decode(bob.id), id=waiting.message_id)
    bob.messenger.desk.say([alice.id], SyncRead(messages=[read]))
    pass_time(2_000, *family)
    assert [one.text for one in alice.waiting()] == ["unread"]
    assert [one.name for one in alice.messenger.contacts.everybody() if one.name] == ["bob"]


def test_kind_that_is_not_known_from_an_own_device_is_ignored(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, laptop, _ = family
    known = dict(content2.KINDS)
    monkeypatch.setattr(content2, "KINDS", {name: kind for name, kind in known.items() if name != "sync-here"})
    laptop.messenger.desk.say([alice.id], SyncHere())
    pass_time(2_000, *family)
    assert alice.messenger.contacts.everybody()[0].name == "bob"
    assert alice.troubles() == []
    assert "MESSAGE" not in [frame["type"] for frame in reconnected(alice)]


def reconnected(device: Device) -> list[Frame]:
    """What the relay still has for a device."""
    device.cut()
    before = len(device.received)
    device.login()
    return device.received[before:]
