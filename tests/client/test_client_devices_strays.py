"""Messages that are not here yet but are spoken of, lists that run out, and devices that are somebody else's too."""

import base64
import uuid
from collections.abc import Iterator
from typing import Final

import pytest
from client_samples import DAY, Device, Town, pass_time
from device_samples import Family, kept_back, own_devices, said, two_of_alice

from phantom_messenger.client import records
from phantom_messenger.client.content import Claim, Receipt
from phantom_messenger.client.conversations import Opened
from phantom_messenger.client.devices import early, known_list
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.devices.device_list import LIFE_MS, DeviceList, consent
from phantom_messenger.client.devices.device_list import Device as ListedDevice
from phantom_messenger.client.devices.early import MAX_EARLY, Early, Sort
from phantom_messenger.client.devices.kinds import ReadMessage, SyncHere, SyncRead
from phantom_messenger.client.devices.records import EARLY, EarlyRecord
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import DeliveryState, Event
from phantom_messenger.client.vault import Vault
from phantom_messenger.wire.frames import PresenceStatus
from support.people import canonical

NOW: Final = 1_000


@pytest.fixture
def family(town: Town) -> Family:
    return two_of_alice(town)


def note(
    vault: Vault, sort: Sort, person: str, *ids: str, now: int = NOW, state: DeliveryState = DeliveryState.READ
) -> None:
    with vault.transaction() as tx:
        for one in ids:
            Early(vault).note(tx, sort, person, one, (state, now))


def take(vault: Vault, sort: Sort, person: str, message_id: str) -> DeliveryState | None:
    with vault.transaction() as tx:
        return Early(vault).take(tx, sort, person, message_id)


# --- what comes before its message ----------------------------------------------------


def test_one_person_takes_the_place_of_no_other(town: Town) -> None:
    vault = town.device("alice").vault
    note(vault, Sort.SENT, "bob", "early")
    note(vault, Sort.SENT, "mallory", *map(str, range(3 * MAX_EARLY)))
    assert take(vault, Sort.SENT, "bob", "early") is DeliveryState.READ
    assert take(vault, Sort.SENT, "mallory", str(3 * MAX_EARLY - 1)) is DeliveryState.READ


def test_newest_of_one_person_stay(town: Town) -> None:
    vault = town.device("alice").vault
    note(vault, Sort.READ, "bob", *map(str, range(MAX_EARLY + 10)))
    found = [take(vault, Sort.READ, "bob", str(one)) for one in range(MAX_EARLY + 10)]
    assert found == [None] * 10 + [DeliveryState.READ] * MAX_EARLY
    assert not vault.has_kind(EARLY)


def test_persons_are_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "MAX_PERSONS", 3)
    vault = town.device("alice").vault
    for one in range(5):
        note(vault, Sort.READ, f"nobody {one}", "x")
    assert vault.count(EARLY) == 3


def test_furthest_state_counts_and_it_ends_after_thirty_days(town: Town) -> None:
    vault = town.device("alice").vault
    note(vault, Sort.SENT, "bob", "far", state=DeliveryState.BURNED)
    note(vault, Sort.SENT, "bob", "far", state=DeliveryState.DELIVERED)
    note(vault, Sort.SENT, "carol", "old")
    note(vault, Sort.SENT, "carol", "new", now=NOW + 30 * DAY)
    assert take(vault, Sort.SENT, "bob", "far") is DeliveryState.BURNED
    assert take(vault, Sort.SENT, "carol", "old") is None
    with vault.transaction() as tx:
        Early.forget(tx, NOW + 60 * DAY)
    assert not vault.has_kind(EARLY)


def test_what_was_remembered_of_a_person_goes_with_them(family: Family) -> None:
    alice, _, bob = family
    note(alice.vault, Sort.SENT, bob.id, "x")
    note(alice.vault, Sort.READ, bob.id, "x")
    alice.messenger.remove(bob.id, False)
    assert not alice.vault.has_kind(EARLY)


def reported_and_reused(family: Family) -> tuple[Device, Device]:
    """Bob says of a text that he has read it, as if it were Alice's; then it comes to the laptop, and is his own."""
    alice, laptop, bob = family
    late = kept_back(laptop, bob)
    (message_id,) = bob.send(alice, "unread")
    pass_time(3_000, *family)
    with bob.vault.transaction() as tx:
        bob.messenger._stores.receipts.put(tx, laptop.id, message_id, "read", bob.messenger._now().persistent)
    pass_time(10_000, *family)
    assert laptop.vault.has_kind(EARLY)
    laptop.down += [canonical(frame) for frame in late]
    pass_time(5_000, *family)
    return laptop, bob


def test_report_of_ones_own_text_does_not_mark_theirs_as_read(family: Family) -> None:
    laptop, _ = reported_and_reused(family)
    assert [one.text for one in laptop.waiting()] == ["unread"]


def test_control_if_both_sorts_were_one_it_would(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "_name", lambda _, person: person)
    laptop, _ = reported_and_reused(family)
    assert laptop.waiting() == []


def test_what_own_devices_say_is_bounded_by_person(family: Family) -> None:
    alice, laptop, bob = family
    ids = [str(uuid.UUID(int=one, version=4)) for one in range(400)]
    for start in (0, 200):
        messages = [ReadMessage(sender=base64.b64decode(bob.id), id=ids[start + one]) for one in range(200)]
        laptop.messenger.desk.say_to_own(SyncRead(messages=messages))
    pass_time(3_000, *family)
    ((_, record),) = alice.vault.all(EARLY, EarlyRecord)
    assert [one.id for one in record.messages] == ids[-MAX_EARLY:]


# --- lists that run out -----------------------------------------------------------------


def test_list_that_is_not_renewed_is_told_once(family: Family) -> None:
    alice, laptop, bob = family
    alice.cut()
    pass_time(5 * DAY, laptop, bob, step=DAY)
    assert "devices-overdue" not in bob.troubles()
    laptop.wall_error = bob.wall_error = LIFE_MS
    pass_time(3 * DAY, laptop, bob, step=DAY)
    assert bob.troubles().count("devices-overdue") == laptop.troubles().count("devices-overdue") == 1
    assert laptop.id in bob.messenger._stores.devices.devices_of(alice.id)  # it stays in force
    alice.wall_error = LIFE_MS
    alice.login()
    pass_time(5_000, *family)
    alice.messenger.desk.renew()
    pass_time(DAY, *family, step=DAY // 4, reconnect=True)
    assert bob.troubles().count("devices-overdue") == 1
    assert alice.troubles().count("devices-overdue") == 0


def test_control_list_that_never_runs_out_is_not_told(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_list.KnownList, "is_warned_of", lambda *_: False)
    _, laptop, bob = family
    laptop.wall_error = bob.wall_error = LIFE_MS
    pass_time(3 * DAY, laptop, bob, step=DAY)
    assert "devices-overdue" not in bob.troubles()


# --- lists of one's own, whoever appears offline -----------------------------------------


@pytest.mark.parametrize(("revision", "kind"), [(1, "MESSAGE_MANY"), (99, "KEY_EXCHANGE_INIT")], ids=["older", "newer"])
def test_own_devices_keep_each_other_up_to_date_though_they_appear_offline(
    family: Family, revision: int, kind: str
) -> None:
    alice, laptop, _ = family
    alice.messenger.desk.renew()
    pass_time(5_000, *family)
    for one in (alice, laptop):
        one.messenger.tell_presence(PresenceStatus.OFFLINE)
    pass_time(5_000, *family)
    before = len(laptop.sent)
    alice.messenger._stores.devices.claim = lambda: Claim(revision=revision, hash=bytes(32))  # type: ignore[method-assign]
    alice.messenger.desk.say_to_own(SyncHere())
    pass_time(10_000, *family)
    assert kind in [frame["type"] for frame in laptop.sent[before:] if alice.id in str(frame["payload"])]


# --- devices that were removed ----------------------------------------------------------


def has_session(device: Device, peer: Device) -> bool:
    return device.messenger._stores.conversations.load(peer.id).sending_to_many is not None


def test_nobody_has_a_session_with_a_removed_device_once_it_was_told(family: Family) -> None:
    alice, laptop, bob = family
    laptop.send(bob, "hello")
    pass_time(3_000, *family)
    assert has_session(alice, laptop)
    assert has_session(bob, laptop)
    alice.messenger.desk.remove(laptop.id)
    pass_time(5_000, *family)
    assert laptop.messenger.desk.is_removed
    assert not has_session(alice, laptop)
    assert not has_session(bob, laptop)
    assert has_session(alice, bob)


@pytest.mark.parametrize("is_fetched", [True, False], ids=["fetched", "control: not fetched"])
def test_what_a_device_has_sent_is_in_the_history_if_it_is_fetched_before_the_removal(
    family: Family, is_fetched: bool
) -> None:
    alice, laptop, bob = family
    own = own_devices(alice)
    alice.cut()
    laptop.send(bob, "on the train")
    pass_time(2_000, laptop, bob)
    assert not own.has_fetched()
    if is_fetched:
        alice.login()
        for _ in range(100):
            if own.has_fetched():
                break
            pass_time(200, alice, step=100)
    own.remove(laptop.id)
    if not is_fetched:
        alice.login()
    pass_time(3_000, *family)
    assert (False, "on the train") in said(bob, alice)
    assert ((True, "on the train") in said(alice, bob)) is is_fetched


# --- devices that are somebody else's too -------------------------------------------------


def listed(owner: Device, *others: Device, revision: int, before: DeviceList | None = None) -> DeviceList:
    """A list that somebody signs, with the consent of all."""
    person, now = owner.messenger._identity.peer, owner.messenger._now().wall
    devices = tuple(
        ListedDevice(one.messenger._identity.peer.public, now, consent(one.messenger._identity, person.user_id))
        for one in (owner, *others)
    )
    previous = bytes(32) if before is None else before.hash
    times = {"at": now, "until": now + LIFE_MS}
    return DeviceList.sign(owner.messenger._identity, revision=revision, previous=previous, **times, devices=devices)


def take_up(device: Device, found: DeviceList) -> None:
    for _ in device.messenger.desk.list_came(found.encoded, device.messenger._now()):
        pass


def listed_and_removed(town: Town) -> tuple[Device, Device]:
    """Alice knows Bob and Carol; Carol names Bob as a device of hers, and then does not, while a text to him waits."""
    alice, bob, carol = town.friends("alice", "bob", "carol")
    first = listed(carol, bob, revision=1)
    take_up(alice, first)
    bob.cut()
    alice.cut()
    alice.send(bob, "to a person")
    take_up(alice, listed(carol, revision=2, before=first))
    for one in (alice, bob):
        one.login()
    pass_time(3_000, alice, bob, carol)
    return alice, bob


def test_person_whom_a_list_names_no_more_loses_nothing(town: Town) -> None:
    _, bob = listed_and_removed(town)
    assert [one.text for one in bob.waiting()] == ["to a person"]


def test_control_if_all_that_a_list_has_lost_were_gone_so_were_their_messages(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceBook, "_release", lambda *_: True)
    _, bob = listed_and_removed(town)
    assert bob.waiting() == []


def test_device_on_two_lists_is_the_first_ones_and_then_the_others(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    tablet = town.device("tablet").login()
    pass_time(1_000, alice, bob, carol, tablet)
    of_bob, of_carol = listed(bob, tablet, revision=1), listed(carol, tablet, revision=1)
    take_up(alice, of_bob)
    take_up(alice, of_carol)
    book, devices = alice.messenger._stores.book, alice.messenger._stores.devices
    assert devices.person_of(tablet.id) == book.person(tablet.id).user_id == bob.id
    take_up(alice, listed(bob, revision=2, before=of_bob))
    assert devices.person_of(tablet.id) == book.person(tablet.id).user_id == carol.id
    take_up(alice, listed(carol, revision=2, before=of_carol))
    assert not alice.vault.has(records.CONTACT, tablet.id)
    assert devices.person_of(tablet.id) == tablet.id


def test_receipt_names_the_newest_list_of_whoever_sends_it(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _, bob = family
    found: list[tuple[str, Claim | None]] = []
    desk = bob.messenger.desk
    noted = desk.noted

    def watch(sender: str, opened: Opened, now: Moment) -> Iterator[Event]:
        if isinstance(opened.content, Receipt):
            found.append((sender, opened.content.marks.claim))
        return noted(sender, opened, now)

    monkeypatch.setattr(desk, "noted", watch)
    bob.send(alice, "hello")
    pass_time(3_000, *family)
    own = alice.messenger._stores.devices.claim()
    assert own is not None
    assert (alice.id, own) in found
