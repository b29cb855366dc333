"""What senders are told of their texts: gathered, within the rate limit, and nothing to strangers."""

import pytest
from client_samples import Device, Town, pass_time, settle
from receipt_samples import pending_receipts, receipt_batches, states, texts, told

from phantom_messenger.client.content import MAX_RECEIPTS
from phantom_messenger.client.receipts import KEEP_MS
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.relay.config import Config
from support.people import Frame
from support.simulated import HOUR, MINUTE, SECOND

# --- gathering --------------------------------------------------------------------


def test_receipts_of_100_texts_are_two_messages(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, *texts(100))
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.DELIVERED}
    assert len(receipt_batches(bob)) == 1
    assert bob.read_all() == texts(100)
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(receipt_batches(bob)) == 2
    assert pending_receipts(bob) == []


def test_text_that_is_read_at_once_is_told_of_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, *texts(100))
    settle(alice, bob)
    assert bob.read_all() == texts(100)
    pass_time(3 * SECOND, alice, bob)
    assert [states(alice, number) for number in numbers] == [[DeliveryState.ACCEPTED, DeliveryState.READ]] * 100
    assert len(receipt_batches(bob)) == 1


def test_more_receipts_than_fit_a_message_are_told_in_several(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    count = 2 * MAX_RECEIPTS + 50
    numbers = alice.send(bob, *texts(count))
    settle(alice, bob)
    assert len(bob.read_all()) == count
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(receipt_batches(bob)) == 3


def test_receipts_of_different_people_go_to_each_of_them(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    numbers = {device: device.send(bob, *texts(3)) for device in (alice, carol)}
    settle(alice, bob, carol)
    bob.read_all()
    pass_time(SECOND, alice, bob, carol)
    assert sorted(frame["payload"]["recipientId"] for frame in receipt_batches(bob)) == sorted([alice.id, carol.id])
    for device, sent in numbers.items():
        assert device.states(sent) == {DeliveryState.READ}


def test_receipts_are_not_answered_by_receipts(town: Town) -> None:
    alice, bob, _ = told(town)
    for device in (alice, bob):
        device.sent.clear()
    pass_time(HOUR, alice, bob, step=20 * SECOND)
    assert alice.frames_sent("MESSAGE") == bob.frames_sent("MESSAGE") == []


def test_program_that_is_about_to_leave_tells_at_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.read_all()
    settle(alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    bob.messenger.flush()
    settle(alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}


def test_program_that_did_not_leave_gathers_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.messenger.flush()
    settle(alice, bob)
    numbers = alice.send(bob, "one")
    settle(alice, bob)
    bob.read_all()
    settle(alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}


# --- limits -----------------------------------------------------------------------


def refusals(device: Device) -> list[Frame]:
    return [frame["payload"] for frame in device.received if frame["type"] == "ERROR"]


def test_receipts_of_100_texts_under_limits_are_a_few_messages(limited: Town) -> None:
    alice, bob = limited.friends("alice", "bob")
    numbers = alice.send(bob, *texts(100))
    pass_time(90 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.DELIVERED}
    before = len(receipt_batches(bob))
    assert bob.read_all() == texts(100)
    pass_time(16 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(receipt_batches(bob)) == before + 1
    assert refusals(alice) == refusals(bob) == []


def most_in_a_minute(moments: list[int]) -> int:
    return max(sum(1 for other in moments if moment <= other < moment + MINUTE) for moment in moments)


def test_receipts_for_a_stream_of_texts_stay_within_the_rate_and_leave_room_for_texts(limited: Town) -> None:
    bob, *others = limited.friends("bob", "alice", "carol", "dora")
    moments: list[int] = []
    waits: list[int] = []
    numbers: dict[Device, list[str]] = {other: [] for other in others}
    since: int | None = None
    for second in range(240):
        for other in others:
            if second % 2:
                numbers[other] += other.send(bob, f"{second}")
        if second % 10 == 9:
            bob.send(others[0], f"{second}")
            since = second
        for _ in range(4):
            before = len(bob.frames_sent("MESSAGE"))
            bob.read_all()
            pass_time(250, bob, *others, step=250)
            moments += [limited.world.clock.monotonic_ms()] * (len(bob.frames_sent("MESSAGE")) - before)
        if since is not None and bob.messenger.waiting == 0:
            waits.append(second - since)
            since = None
    pass_time(2 * MINUTE, bob, *others)
    assert most_in_a_minute(moments) <= 60
    assert refusals(bob) == []
    assert bob.closes == []
    assert len(receipt_batches(bob)) < 240, "360 texts were read one by one"
    assert len(waits) == 24
    assert max(waits) <= 1, "texts go first"
    for other in others:
        assert other.states(numbers[other]) == {DeliveryState.READ}


def test_receipts_for_many_people_leave_room_for_texts(town: Town) -> None:
    bob, *others = town.devices("bob", *(f"friend {number}" for number in range(20)))
    for other in others:
        bob.messenger.contacts.add(other.name, other.id)
        other.messenger.contacts.add("bob", bob.id)
        bob.send(other, "hello")
        other.send(bob, "hello")
    pass_time(3 * SECOND, *town.made)
    again = town.world.restarted(Config())
    for device in town.made:
        device.cut()
        device.closes.clear()
        device.world = again
        device.login()
    pass_time(MINUTE, *town.made)
    waits: list[int] = []
    since: int | None = None
    for second in range(40):
        for number, other in enumerate(others):
            if (second + number) % 5 == 0:
                other.send(bob, f"{second}")
        if since is None and second % 7 == 0:
            bob.send(others[second % len(others)], f"{second}")
            since = second
        for _ in range(4):
            bob.read_all()
            pass_time(250, *town.made, step=250)
        if since is not None and bob.messenger.waiting == 0:
            waits.append(second - since)
            since = None
    assert refusals(bob) == []
    assert bob.closes == []
    assert max(waits) <= 2, "texts go first"


def test_receipts_wait_behind_a_used_up_rate_without_haste(limited: Town) -> None:
    alice, bob, carol = limited.friends("alice", "bob", "carol")
    bob.send(carol, *texts(70))
    settle(bob, carol)
    numbers = alice.send(bob, "one")
    settle(alice, bob)
    pass_time(16 * SECOND, alice, bob, carol)  # its carrier waits for the next minute
    numbers += alice.send(bob, "two")
    settle(alice, bob)
    pass_time(16 * SECOND, alice, bob, carol)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    assert bob.messenger.next_tick() > 10, "nothing can be done now"
    pass_time(MINUTE, alice, bob, carol)
    assert alice.states(numbers) == {DeliveryState.DELIVERED}
    assert refusals(bob) == []


# --- strangers --------------------------------------------------------------------


@pytest.mark.parametrize("dies", [False, True])
def test_stranger_learns_nothing_and_everything_once_they_are_added(town: Town, dies: bool) -> None:
    alice, bob = town.devices("alice", "bob")
    numbers = alice.send(bob, "one", "two", "three")
    settle(alice, bob)
    for record in bob.waiting()[:2]:
        bob.messenger.mark_read(alice.id, record.message_id)
    pass_time(5 * MINUTE, alice, bob, step=5 * SECOND)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    assert bob.frames_sent("MESSAGE") == []
    if dies:
        bob.kill()
        bob.login()
    bob.messenger.contacts.add("alice", alice.id)
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    assert [alice.messenger.state_of(number) for number in numbers] == [
        DeliveryState.READ,
        DeliveryState.READ,
        DeliveryState.DELIVERED,
    ]
    assert len(receipt_batches(bob)) == 1


def test_stranger_who_gets_an_answer_is_told(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.read_all()
    pass_time(2 * MINUTE, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    bob.send(alice, "who are you?")
    settle(alice, bob)
    pass_time(61 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}


def test_program_that_is_about_to_leave_tells_strangers_nothing(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    numbers = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    bob.messenger.flush()
    pass_time(MINUTE, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    assert bob.messenger.pending_receipts == 0, "nobody waits for a stranger to be told"
    assert bob.frames_sent("MESSAGE") == []


def test_receipts_for_a_stranger_are_dropped_after_a_month_and_cost_nothing_then(town: Town) -> None:
    alice, bob = town.devices("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    pass_time(MINUTE, alice, bob)
    assert len(pending_receipts(bob)) == 1
    alice.cut()
    bob.cut()
    town.world.clock.advance(KEEP_MS)
    bob.login()
    pass_time(2 * MINUTE, bob)
    assert pending_receipts(bob) == []
    assert bob.messenger.next_tick() > 10, "nothing is to be done"


def test_contact_whose_key_has_changed_is_told_once_it_was_accepted(town: Town) -> None:
    alice, bob, carol = town.devices("alice", "bob", "carol")
    bob.messenger.contacts.add("alice", carol.id)
    bob.messenger.contacts.replace("alice", alice.id)  # she says that she has a new identity
    numbers = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    pass_time(2 * MINUTE, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED}
    assert bob.frames_sent("MESSAGE") == []
    bob.messenger.contacts.accept("alice")
    settle(alice, bob)
    pass_time(61 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
