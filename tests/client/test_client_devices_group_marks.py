"""What was read in a group, and whether a group is muted, is the same on all devices of a person."""

from collections.abc import Callable
from itertools import permutations
from random import Random
from typing import Any

import pytest
from client_samples import Device, Town, pass_time
from device_samples import kept_back, link
from test_client_devices_groups import People, in_group

from phantom_messenger.client.devices import in_step
from phantom_messenger.client.devices.book import DeviceBook
from phantom_messenger.client.devices.early import MAX_EARLY
from phantom_messenger.client.devices.in_step import InStep
from phantom_messenger.client.devices.kinds import MutedGroup, ReadText, SyncMuted, SyncRead
from phantom_messenger.client.devices.records import EARLY, SYNCED, EarlyRecord, SyncedRecord
from phantom_messenger.client.groups.contents import GroupReceipt, GroupSaid
from phantom_messenger.client.groups.speaking import Speaking
from phantom_messenger.client.groups.store import raw_of
from phantom_messenger.client.groups.texts import Texts
from phantom_messenger.client.status import DeliveryState, GroupMessageEvent
from support.amounts import amount
from support.people import canonical
from support.simulated import SECOND

CAROL_AND_BOB = 2


@pytest.fixture
def people(town: Town) -> tuple[People, str]:
    return in_group(town)


def write(device: Device, group: str, text: str) -> str:
    return device.messenger.groups.send_text(group, text)


def read_all(device: Device, group: str) -> None:
    for entry in device.messenger.groups.history(group):
        if entry.is_waiting:
            device.messenger.groups.mark_read(group, entry.sender.user_id, entry.message_id)


def unread(device: Device, group: str) -> tuple[int, list[str | None]]:
    """How many texts wait, and which, as far as each of them says so itself."""
    found = device.messenger.groups
    waiting = [entry.text for entry in found.history(group) if entry.is_waiting]
    first = found.next_text(0, group)
    assert (first is not None) is bool(waiting)
    return found.find(group).unread, waiting


def is_muted(device: Device, group: str) -> bool:
    return device.messenger.groups.find(group).muted


@pytest.fixture
def receipts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is told of texts that were read: by which device, and of which text."""
    found: list[tuple[str, str]] = []
    say: Callable[..., str] = Speaking.say

    def heard(speaking: Speaking, about: bytes, recipients: Any, said: GroupSaid, *given: Any, **more: Any) -> str:
        if isinstance(said, GroupReceipt):
            found.extend((speaking._devices.device, one) for one in said.read)
        return say(speaking, about, recipients, said, *given, **more)

    monkeypatch.setattr(Speaking, "say", heard)
    return found


# --- what was read --------------------------------------------------------------------


@pytest.mark.parametrize("reader", [0, 1], ids=["phone", "laptop"])
def test_what_was_read_on_one_device_is_read_on_the_other(people: tuple[People, str], reader: int) -> None:
    everybody, group = people
    bob, (here, there) = everybody[2], (everybody[reader], everybody[1 - reader])
    number = write(bob, group, "to all")
    pass_time(8 * SECOND, *everybody)
    assert unread(here, group) == unread(there, group) == (1, ["to all"])
    read_all(here, group)
    assert unread(there, group) == (1, ["to all"]), "control: it is told"
    pass_time(8 * SECOND, *everybody)
    assert unread(here, group) == unread(there, group) == (0, [])
    assert bob.messenger.groups.progress(number)[everybody[0].id] is DeliveryState.READ
    write(bob, group, "another")
    pass_time(8 * SECOND, *everybody)
    assert unread(there, group) == (1, ["another"])


def test_it_stays_so_when_the_other_device_was_closed_meanwhile(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, _ = everybody
    write(bob, group, "to all")
    pass_time(8 * SECOND, *everybody)
    laptop.kill()
    read_all(alice, group)
    pass_time(8 * SECOND, alice, bob)
    laptop.login()
    pass_time(8 * SECOND, *everybody)
    assert unread(laptop, group) == (0, [])
    laptop.kill()
    laptop.login()
    assert unread(laptop, group) == (0, [])


def test_control_if_nothing_were_taken_it_would_stay_unread(
    people: tuple[People, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    everybody, group = people
    monkeypatch.setattr(Texts, "read_elsewhere", lambda *_: None)
    write(everybody[2], group, "to all")
    pass_time(8 * SECOND, *everybody)
    read_all(everybody[0], group)
    pass_time(8 * SECOND, *everybody)
    assert unread(everybody[1], group) == (1, ["to all"])


def comes_late(people: tuple[People, str]) -> tuple[Device, str]:
    """The laptop, to which a text comes after it was read on the phone; and the group."""
    everybody, group = people
    alice, laptop, bob, _ = everybody
    late = kept_back(laptop, bob)
    write(bob, group, "late")
    pass_time(3 * SECOND, *everybody)
    read_all(alice, group)
    pass_time(5 * SECOND, *everybody)
    assert late
    assert unread(laptop, group) == (0, [])
    assert laptop.vault.has_kind(EARLY)
    laptop.down += [canonical(frame) for frame in late]
    pass_time(3 * SECOND, *everybody)
    assert laptop.messenger.groups.history(group)[-1].text == "late"
    return laptop, group


def test_text_that_comes_after_it_was_read_elsewhere_is_read(people: tuple[People, str]) -> None:
    laptop, group = comes_late(people)
    assert unread(laptop, group) == (0, [])
    assert laptop.heard(GroupMessageEvent) == []
    assert not laptop.vault.has_kind(EARLY)
    write(people[0][2], group, "and one more")
    pass_time(3 * SECOND, *people[0])
    assert unread(laptop, group) == (1, ["and one more"])


def test_control_if_it_were_not_remembered_the_text_would_be_unread(
    people: tuple[People, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Texts, "_was_read", lambda *_: False)
    laptop, group = comes_late(people)
    assert unread(laptop, group) == (1, ["late"])
    assert len(laptop.heard(GroupMessageEvent)) == 1


def test_text_that_waits_for_its_group_was_read_all_the_same(people: tuple[People, str]) -> None:
    everybody, _ = people
    alice, laptop, bob, carol = everybody
    later = bob.messenger.groups.create("later", [alice.id, carol.id])
    pass_time(5 * SECOND, *everybody)
    late = kept_back(laptop, alice)  # what the group is
    alice.messenger.groups.accept(later)
    pass_time(5 * SECOND, *everybody)
    write(bob, later, "hello")
    pass_time(5 * SECOND, *everybody)
    assert late
    read_all(alice, later)
    pass_time(8 * SECOND, *everybody)
    assert not laptop.messenger.groups.has(later)
    laptop.down += [canonical(frame) for frame in late]
    pass_time(5 * SECOND, *everybody)
    assert laptop.messenger.groups.history(later)[-1].text == "hello"
    assert unread(laptop, later) == (0, [])


@pytest.mark.parametrize("is_removed", [True, False])
def test_what_is_forgotten_leaves_no_mark_behind(people: tuple[People, str], is_removed: bool) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    mark = ReadText(group=raw_of(group), sender=raw_of(bob.id), id="x" * 36)
    laptop.messenger.desk.say_to_own(SyncRead(messages=[], in_groups=[mark]))
    pass_time(3 * SECOND, *everybody)
    assert alice.vault.has_kind(EARLY)
    if is_removed:
        alice.messenger.groups.remove(group, [bob.id])
    alice.messenger.groups.set_role(group, carol.id, "admin")
    pass_time(8 * SECOND, *everybody)
    assert (raw_of(bob.id) in alice.messenger._stores.groups.all()[0].state.members) is not is_removed
    alice.messenger.groups.leave(group)
    alice.messenger.groups.forget(group)
    assert not alice.vault.has_kind(EARLY)


def test_marks_that_wait_are_bounded_for_each_who_writes_in_a_group(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    ids = [f"{number:036d}" for number in range(200)]
    for writer in (bob, carol, alice):  # of one's own texts nothing is remembered
        marks = [ReadText(group=raw_of(group), sender=raw_of(writer.id), id=one) for one in ids]
        laptop.messenger.desk.say_to_own(SyncRead(messages=[], in_groups=marks))
    pass_time(3 * SECOND, *everybody)
    found = [[one.id for one in record.messages] for _, record in alice.vault.all(EARLY, EarlyRecord)]
    assert found == [ids[-MAX_EARLY:]] * CAROL_AND_BOB


def test_mark_of_another_group_or_writer_is_not_this_ones(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    number = write(bob, group, "to all")
    pass_time(8 * SECOND, *everybody)
    wrong = [
        ReadText(group=bytes(32), sender=raw_of(bob.id), id=number),
        ReadText(group=raw_of(group), sender=raw_of(carol.id), id=number),
        ReadText(group=raw_of(group), sender=raw_of(alice.id), id=number),
    ]
    laptop.messenger.desk.say_to_own(SyncRead(messages=[], in_groups=wrong))
    pass_time(3 * SECOND, *everybody)
    assert unread(alice, group) == (1, ["to all"])
    right = ReadText(group=raw_of(group), sender=raw_of(bob.id), id=number)
    laptop.messenger.desk.say_to_own(SyncRead(messages=[], in_groups=[right]))
    pass_time(3 * SECOND, *everybody)
    assert unread(alice, group) == (0, []), "the control"


# --- receipts -------------------------------------------------------------------------


def test_who_opens_it_on_the_other_device_too_tells_nobody_again(
    people: tuple[People, str], receipts: list[tuple[str, str]]
) -> None:
    everybody, group = people
    alice, laptop, bob, _ = everybody
    number = write(bob, group, "to all")
    pass_time(8 * SECOND, *everybody)
    read_all(laptop, group)
    pass_time(8 * SECOND, *everybody)
    alice.messenger.groups.mark_read(group, bob.id, number)
    pass_time(8 * SECOND, *everybody)
    assert receipts == [(laptop.id, number)]


def read_on_both(people: tuple[People, str]) -> tuple[People, str]:
    """Both devices show a text at once; and that text."""
    everybody, group = people
    number = write(everybody[2], group, "to all")
    pass_time(8 * SECOND, *everybody)
    for one in everybody[:2]:
        read_all(one, group)
    pass_time(20 * SECOND, *everybody)
    assert everybody[2].messenger.groups.progress(number)[everybody[0].id] is DeliveryState.READ
    return everybody, number


def test_of_two_on_which_it_was_read_at_once_the_first_tells(
    people: tuple[People, str], receipts: list[tuple[str, str]]
) -> None:
    (alice, *_), number = read_on_both(people)
    assert receipts == [(alice.id, number)]


def test_control_if_neither_gave_way_both_would(
    people: tuple[People, str], receipts: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DeviceBook, "is_before", lambda *_: False)
    (alice, laptop, *_), number = read_on_both(people)
    assert sorted(receipts) == sorted([(alice.id, number), (laptop.id, number)])


def test_mark_of_a_device_that_tells_nobody_takes_back_nothing_of_what_arrived(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, _ = everybody
    number = write(bob, group, "to all")
    alice.cut()
    pass_time(2 * SECOND, laptop, bob)
    laptop.messenger.presence.change(read_receipts=False)
    read_all(laptop, group)
    pass_time(3 * SECOND, laptop, bob)
    alice.login()
    pass_time(20 * SECOND, *everybody)
    assert unread(alice, group) == (0, [])
    assert bob.messenger.groups.progress(number)[alice.id] is DeliveryState.DELIVERED


# --- muted groups ---------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1], ids=["phone", "laptop"])
def test_group_is_muted_on_all_devices_and_not_any_more(people: tuple[People, str], first: int) -> None:
    everybody, group = people
    here, there = everybody[first], everybody[1 - first]
    here.messenger.groups.mute(group, muted=True)
    assert not is_muted(there, group), "control: it is told"
    pass_time(3 * SECOND, *everybody)
    assert is_muted(there, group)
    there.messenger.groups.mute(group, muted=False)
    pass_time(3 * SECOND, *everybody)
    assert not is_muted(here, group)
    assert not any(is_muted(one, group) for one in everybody[2:])


def test_what_was_muted_offline_is_told_and_outlives_the_program(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, *_ = everybody
    laptop.cut()
    laptop.messenger.groups.mute(group, muted=True)
    laptop.kill()
    pass_time(3 * SECOND, alice)
    assert not is_muted(alice, group)
    laptop.login()
    pass_time(3 * SECOND, *everybody)
    assert is_muted(alice, group)
    alice.kill()
    alice.login()
    assert is_muted(alice, group)


def test_of_two_changes_the_later_one_counts(people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, *_ = everybody
    for one in (alice, laptop):
        one.cut()
    alice.messenger.groups.mute(group, muted=True)
    pass_time(3 * SECOND, *everybody)
    laptop.messenger.groups.mute(group, muted=True)
    laptop.messenger.groups.mute(group, muted=False)
    for one in (alice, laptop):
        one.login()
    pass_time(5 * SECOND, *everybody)
    assert not is_muted(alice, group)
    assert not is_muted(laptop, group)


def test_new_device_is_told_which_groups_are_muted(town: Town, people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    laptop.messenger.groups.mute(group, muted=True)
    pass_time(3 * SECOND, *everybody)
    tablet = town.device("tablet", strangers="ask").login()
    link(alice, tablet, laptop, bob, carol)
    pass_time(5 * SECOND, tablet, *everybody)
    assert is_muted(tablet, group)
    tablet.messenger.groups.mute(group, muted=False)
    pass_time(3 * SECOND, tablet, *everybody)
    assert not any(is_muted(one, group) for one in (alice, laptop, tablet))


def test_first_second_device_is_told_what_was_muted_before_it(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    group = alice.messenger.groups.create("us", [bob.id])
    pass_time(5 * SECOND, alice, bob)
    alice.messenger.groups.mute(group, muted=True)
    laptop = town.device("laptop", strangers="ask").login()
    link(alice, laptop, bob)
    pass_time(5 * SECOND, alice, bob, laptop)
    assert is_muted(laptop, group)


@pytest.mark.parametrize("muted", [True, False])
def test_device_is_told_what_was_muted_before_it_of_a_group_that_was_left(town: Town, muted: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    group = bob.messenger.groups.create("us", [alice.id])
    pass_time(5 * SECOND, alice, bob)
    alice.messenger.groups.accept(group)
    pass_time(5 * SECOND, alice, bob)
    alice.messenger.groups.mute(group, muted=muted)
    alice.messenger.groups.leave(group)
    pass_time(10 * SECOND, alice, bob)
    laptop, tablet = (town.device(name, strangers="ask").login() for name in ("laptop", "tablet"))
    everybody = (alice, bob, laptop, tablet)
    for new in (laptop, tablet):
        link(alice, new, *(one for one in everybody if one not in {alice, new}), history=False)
        pass_time(5 * SECOND, *everybody)
    bob.messenger.groups.add(group, [alice.id])
    pass_time(10 * SECOND, *everybody)
    alice.messenger.groups.accept(group)
    pass_time(10 * SECOND, *everybody)
    assert [is_muted(one, group) for one in (alice, laptop, tablet)] == [muted] * 3


def in_step_of(device: Device) -> list[str]:
    known = device.messenger.device_parts.in_step._known.values()
    stored = [one for _, one in device.vault.all(SYNCED, SyncedRecord)]
    assert sorted(one.user_id for one in stored) == sorted(one.user_id for one in known)
    return [one.user_id for one in stored]


@pytest.mark.parametrize("is_erased", [True, False])
def test_of_a_group_that_is_erased_nothing_stays_and_all_devices_find_it_alike(
    people: tuple[People, str], is_erased: bool
) -> None:
    everybody, group = people
    alice, laptop, bob, _ = everybody
    alice.messenger.groups.set_role(group, bob.id, "admin")
    laptop.messenger.groups.mute(group, muted=True)
    pass_time(5 * SECOND, *everybody)
    alice.messenger.groups.leave(group)
    pass_time(10 * SECOND, *everybody)
    if is_erased:
        alice.messenger.groups.forget(group)
    pass_time(10 * SECOND, *everybody)
    assert any(one.endswith(group) for one in in_step_of(alice)) is not is_erased
    bob.messenger.groups.add(group, [alice.id])
    pass_time(10 * SECOND, *everybody)
    alice.messenger.groups.accept(group)
    pass_time(10 * SECOND, *everybody)
    assert [is_muted(one, group) for one in (alice, laptop)] == [not is_erased] * 2


def rejoined(people: tuple[People, str]) -> tuple[list[bool], list[bool]]:
    """Alice has muted a group, left it, and come back: whether it is muted on both devices, before and after."""
    everybody, group = people
    alice, laptop, bob, carol = everybody
    alice.messenger.groups.set_role(group, bob.id, "admin")
    laptop.messenger.groups.mute(group, muted=True)
    pass_time(5 * SECOND, *everybody)
    alice.messenger.groups.leave(group)
    pass_time(10 * SECOND, *everybody)
    before = [is_muted(one, group) for one in (alice, laptop)]
    bob.messenger.groups.add(group, [alice.id])
    pass_time(10 * SECOND, *everybody)
    alice.messenger.groups.accept(group)
    pass_time(10 * SECOND, *everybody)
    assert [one.messenger.groups.find(group).relation for one in (alice, laptop, carol)] == ["member"] * 3
    return before, [is_muted(one, group) for one in (alice, laptop)]


def test_who_comes_back_finds_a_group_as_they_left_it_on_all_devices(people: tuple[People, str]) -> None:
    assert rejoined(people) == ([True, True], [True, True])


def test_control_nothing_else_keeps_it(people: tuple[People, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InStep, "_mute_again", lambda _: None)
    assert rejoined(people) == ([True, True], [False, False])


def test_group_that_is_not_here_yet_will_be_muted(people: tuple[People, str]) -> None:
    everybody, _ = people
    alice, laptop, bob, carol = everybody
    later = bob.messenger.groups.create("later", [alice.id, carol.id])
    pass_time(5 * SECOND, *everybody)
    alice.messenger.groups.accept(later)
    said = SyncMuted(groups=[MutedGroup(group=raw_of(later), at=2**40, muted=True)])
    alice.messenger.desk.say_to_own(said)
    assert not laptop.messenger.groups.has(later)
    pass_time(8 * SECOND, *everybody)
    assert is_muted(laptop, later)


def test_what_was_undone_without_other_devices_does_not_come_back(town: Town, people: tuple[People, str]) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    laptop.messenger.groups.mute(group, muted=True)
    pass_time(3 * SECOND, *everybody)
    alice.messenger.desk.remove(laptop.id)
    pass_time(3 * SECOND, *everybody)
    alice.messenger.groups.mute(group, muted=False)
    pass_time(3 * SECOND, alice, bob, carol)
    assert not is_muted(alice, group)
    tablet = town.device("tablet", strangers="ask").login()
    link(alice, tablet, bob, carol)
    pass_time(5 * SECOND, alice, tablet, bob, carol)
    assert not is_muted(alice, group)
    assert not is_muted(tablet, group)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_all_devices_come_to_the_same_in_whatever_order_they_hear(order: tuple[int, ...]) -> None:
    heard = [MutedGroup(group=bytes(32), at=at, muted=muted) for at, muted in ((2, False), (2, True), (1, True))]
    known = MutedGroup(group=bytes(32), at=0, muted=False)
    for one in order:
        known = in_step.later_muted(known, heard[one])
    assert known == heard[1]


@pytest.mark.parametrize("seed", range(amount(2, 20)))
def test_marks_are_the_same_on_all_devices_whoever_dies(people: tuple[People, str], seed: int) -> None:
    random = Random(f"marks of groups {seed}")  # noqa: S311 - so that a run can be repeated
    everybody, group = people
    own = everybody[:2]
    for turn in range(amount(20, 60)):
        write(random.choice(everybody), group, str(turn))
        one = random.choice(own)
        if random.random() < 0.4:
            one.messenger.groups.mute(group, muted=random.random() < 0.5)
        else:
            read_all(one, group)
        for _ in range(random.randrange(8)):
            one = random.choice(everybody)
            one.fetch()
            one.step_up()
            one.step_down()
        if random.random() < 0.2:
            dead = random.choice(everybody)
            dead.kill()
            dead.login()
        if random.random() < 0.1:
            pass_time(3 * SECOND, *everybody, reconnect=True)
    pass_time(120 * SECOND, *everybody, step=5 * SECOND, reconnect=True)
    read_all(own[0], group)
    pass_time(20 * SECOND, *everybody)
    assert unread(own[0], group) == unread(own[1], group) == (0, [])
    assert is_muted(own[0], group) is is_muted(own[1], group)
    assert not own[0].vault.has_kind(EARLY)
    assert not own[1].vault.has_kind(EARLY)


# --- others ---------------------------------------------------------------------------


def say_so(device: Device, to: Device, group: str, message_id: str, writer: Device) -> None:
    """A device says that a text was read, and that its group is muted."""
    mark = ReadText(group=raw_of(group), sender=raw_of(writer.id), id=message_id)
    device.messenger.desk.say([to.id], SyncRead(messages=[], in_groups=[mark]))
    muted = MutedGroup(group=raw_of(group), at=2**45, muted=True)
    device.messenger.desk.say([to.id], SyncMuted(groups=[muted]))


@pytest.mark.parametrize("who", ["contact", "writer", "removed", "own"])
def test_own_devices_alone_may_say_so(people: tuple[People, str], who: str) -> None:
    everybody, group = people
    alice, laptop, bob, carol = everybody
    number = write(bob, group, "to all")
    pass_time(8 * SECOND, *everybody)
    if who == "removed":
        laptop.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]  # its thief lets it hear of nothing
        alice.messenger.desk.remove(laptop.id)
        pass_time(5 * SECOND, *everybody)
    says = {"contact": carol, "writer": bob, "removed": laptop, "own": laptop}[who]
    say_so(says, alice, group, number, bob)
    pass_time(8 * SECOND, *everybody)
    is_own = who == "own"
    assert unread(alice, group) == ((0, []) if is_own else (1, ["to all"]))
    assert is_muted(alice, group) is is_own
    assert not alice.vault.has_kind(EARLY)
    assert any(one.user_id == f"muted {group}" for one in alice.messenger.device_parts.in_step._known.values()) is (
        is_own
    )
