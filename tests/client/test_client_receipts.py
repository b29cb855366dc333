"""What senders are told of their texts: end to end encrypted, gathered, and nobody else's word counts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from client_samples import Device, Town, fast_folder, pass_time, settle, with_field

from phantom_messenger.client import inbox, records
from phantom_messenger.client.content import MAX_RECEIPTS
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.receipts import KEEP_MS
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import ReceiptRecord, SentRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryEvent, DeliveryState, Event
from phantom_messenger.client.vault import Transaction
from phantom_messenger.relay.config import Config
from phantom_messenger.wire import frames
from support.people import Frame, canonical
from support.simulated import HOUR, MINUTE, SECOND, MakeWorld, World

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def town(world: World, tmp_path: Path) -> Iterator[Town]:
    with fast_folder(tmp_path) as folder:
        made = Town(world, folder)
        yield made
        made.close()


@pytest.fixture
def limited(make_world: MakeWorld, tmp_path: Path) -> Iterator[Town]:
    """A relay with the limits that it has if nothing is said: 60 messages a minute."""
    with fast_folder(tmp_path) as folder:
        made = Town(make_world(), folder)
        yield made
        made.close()


def texts(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def states(device: Device, number: str) -> list[DeliveryState]:
    return [event.state for event in device.heard(DeliveryEvent) if event.message_id == number]


def carriers(device: Device) -> list[Frame]:
    """The messages of a device that are no texts of its own."""
    own = {record.message_id for _, record in device.vault.all(records.SENT, SentRecord)}
    return [frame for frame in device.frames_sent("MESSAGE") if frame["payload"]["messageId"] not in own]


def untold(device: Device) -> list[str]:
    """The messages whose senders are not known to have heard of them."""
    return [record.message_id for _, record in device.vault.all(records.RECEIPT, ReceiptRecord)]


def told(town: Town) -> tuple[Device, Device, str]:
    """Alice and Bob, and a text of hers that he has read and she knows of."""
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert states(alice, number) == [DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.READ]
    return alice, bob, number


def tell(device: Device, to: Device, number: str, status: str) -> None:
    """Let a device say something of a message, whatever the truth may be."""
    receipts = device.messenger._stores.receipts
    with device.vault.transaction() as tx:
        receipts.put(tx, to.id, number, status, device.world.clock.wall_ms())
    device.messenger.tick()


def repeat(device: Device, *repeated: Frame) -> None:
    """The relay delivers something of its own."""
    device.fetch()
    for frame in repeated:
        device.down.append(canonical(frame))
        device.step_down()


# --- gathering --------------------------------------------------------------------


def test_receipts_of_100_texts_are_two_messages(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, *texts(100))
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.DELIVERED}
    assert len(carriers(bob)) == 1
    assert bob.read_all() == texts(100)
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(carriers(bob)) == 2
    assert untold(bob) == []


def test_text_that_is_read_at_once_is_told_of_once(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, *texts(100))
    settle(alice, bob)
    assert bob.read_all() == texts(100)
    pass_time(3 * SECOND, alice, bob)
    assert [states(alice, number) for number in numbers] == [[DeliveryState.ACCEPTED, DeliveryState.READ]] * 100
    assert len(carriers(bob)) == 1


def test_more_receipts_than_fit_a_message_are_told_in_several(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    count = 2 * MAX_RECEIPTS + 50
    numbers = alice.send(bob, *texts(count))
    settle(alice, bob)
    assert len(bob.read_all()) == count
    pass_time(3 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(carriers(bob)) == 3


def test_receipts_of_different_people_go_to_each_of_them(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    numbers = {device: device.send(bob, *texts(3)) for device in (alice, carol)}
    settle(alice, bob, carol)
    bob.read_all()
    pass_time(SECOND, alice, bob, carol)
    assert sorted(frame["payload"]["recipientId"] for frame in carriers(bob)) == sorted([alice.id, carol.id])
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
    before = len(carriers(bob))
    assert bob.read_all() == texts(100)
    pass_time(16 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert len(carriers(bob)) == before + 1
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
    assert len(carriers(bob)) < 240, "360 texts were read one by one"
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
    for second in range(120):
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
    assert len(carriers(bob)) == 1


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
    assert len(untold(bob)) == 1
    alice.cut()
    bob.cut()
    town.world.clock.advance(KEEP_MS)
    bob.login()
    pass_time(2 * MINUTE, bob)
    assert untold(bob) == []
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


# --- losses -----------------------------------------------------------------------


def forget_sessions(device: Device) -> None:
    """The program ends, and its sessions are gone when it starts again."""
    device.kill()
    with device.vault.transaction():
        device.vault._connection.execute("DELETE FROM records WHERE kind = ?", (records.SESSIONS,))


def receipt_is_lost_with_a_session(town: Town) -> tuple[Device, Device, list[str]]:
    """Alice has lost the session in which Bob told her that he has read her texts."""
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one", "two")
    settle(alice, bob)
    bob.read_all()
    forget_sessions(alice)
    pass_time(3 * SECOND, bob)
    assert len(carriers(bob)) == 1
    assert len(untold(bob)) == 2, "kept until the relay says that it was delivered"
    alice.login()
    return alice, bob, numbers


def test_receipt_that_is_lost_with_a_session_is_told_again(town: Town) -> None:
    alice, bob, numbers = receipt_is_lost_with_a_session(town)
    settle(alice, bob)
    assert alice.troubles() == ["waiting"]
    pass_time(5 * SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.READ}
    assert untold(bob) == []
    assert bob.troubles() == []
    assert alice.troubles() == ["waiting"]


def test_receipt_that_could_not_be_read_does_not_wait_at_the_relay_for_ever(town: Town) -> None:
    alice, bob, numbers = receipt_is_lost_with_a_session(town)
    pass_time(2 * HOUR, alice, bob, step=20 * SECOND)
    assert alice.states(numbers) == {DeliveryState.READ}
    alice.cut()
    alice.received.clear()
    alice.login()
    assert [frame for frame in alice.received if frame["type"] == "MESSAGE"] == []


def test_receipt_that_was_accepted_and_whose_relay_lost_it_is_told_again_when_its_text_comes_again(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "hello")
    settle(alice, bob)
    bob.read_all()
    alice.tamper = lambda frame: [] if frame["type"] == "MESSAGE" else [frame]
    pass_time(SECOND, alice, bob)
    assert len(carriers(bob)) == 1
    alice.tamper = None
    (frame,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    repeat(bob, frame)
    pass_time(SECOND, alice, bob)
    assert len(carriers(bob)) == 2
    assert alice.messenger.state_of(number) is DeliveryState.READ
    assert bob.waiting() == []


class Died(BaseException):
    """The program is killed."""


def die_after(monkeypatch: pytest.MonkeyPatch, device: Device, count: int) -> None:
    """Let a program die as soon as it has so many more transactions on disk."""
    vault, usual, done = device.vault, device.vault.transaction, 0

    @contextmanager
    def transaction() -> Iterator[Transaction]:
        nonlocal done
        with usual() as tx:
            yield tx
        done += 1
        if done == count:
            raise Died

    monkeypatch.setattr(vault, "transaction", transaction)


def talk(alice: Device, bob: Device) -> None:
    """All of her texts come, are read, and she hears of it."""
    settle(alice, bob)
    pass_time(SECOND, alice, bob)
    bob.read_all()
    pass_time(5 * SECOND, alice, bob)


@pytest.mark.parametrize("who", ["sender", "recipient"])
def test_program_may_die_after_each_of_its_transactions(town: Town, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    count = 0
    while True:
        count += 1
        alice, bob = town.friends(f"alice {count}", f"bob {count}")
        victim = alice if who == "sender" else bob
        (kept,), (burned,) = alice.send(bob, "keep me"), alice.send(bob, "burn me", burn=True)
        die_after(monkeypatch, victim, count)
        try:
            talk(alice, bob)
            died = False
        except Died:
            died = True
            victim.kill()
            victim.login()
            talk(alice, bob)
            if not alice.is_connected or not bob.is_connected:
                raise
        assert alice.messenger.state_of(kept) is DeliveryState.READ, count
        assert alice.messenger.state_of(burned) is DeliveryState.BURNED, count
        assert alice.own_text(burned) is None
        assert bob.waiting() == []
        assert alice.messenger.waiting == bob.messenger.pending_receipts == 0, count
        assert untold(bob) == []
        assert alice.troubles() == bob.troubles() == []
        for device in (alice, bob):
            device.cut()
        if not died:
            break
    assert count > 5


@pytest.mark.parametrize("who", ["sender", "recipient", "both"])
def test_programs_may_die_between_any_two_frames_of_a_receipt(town: Town, who: str) -> None:
    point = 0
    while True:
        alice, bob = town.friends(f"alice {point}", f"bob {point}")
        numbers = alice.send(bob, "one", "two")
        settle(alice, bob)
        bob.read_all()
        town.world.clock.advance(SECOND)
        bob.messenger.tick()
        moved = 0
        for _ in range(100):
            for device in (alice, bob):
                device.fetch()
                moved += moved < point and device.step_up()
                moved += moved < point and device.step_down()
        for device in {"sender": [alice], "recipient": [bob], "both": [alice, bob]}[who]:
            device.kill()
            device.login()
        settle(alice, bob)
        pass_time(5 * SECOND, alice, bob)
        assert alice.states(numbers) == {DeliveryState.READ}, point
        assert untold(bob) == [], point
        assert bob.messenger.pending_receipts == 0, point
        assert alice.troubles() == bob.troubles() == []
        if moved < point:
            break
        point += 1
        for device in (alice, bob):
            device.cut()
    assert point > 8


# --- lies of a peer ---------------------------------------------------------------


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_receipt_for_a_text_to_somebody_else_changes_nothing(town: Town, status: str) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    bob.cut()
    (number,) = alice.send(bob, "for Bob alone", burn=True)
    settle(alice, carol)
    tell(carol, alice, number, status)
    pass_time(SECOND, alice, carol)
    assert len(carriers(carol)) == 1
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    assert alice.own_text(number) == "for Bob alone"
    # The control: of its recipient the same is believed.
    bob.login()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert states(alice, number)[1:] == [DeliveryState[status.upper()]]


def test_text_to_somebody_else_is_not_sent_again_to_whoever_asks(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    (number,) = alice.send(bob, "for Bob alone")
    settle(alice, bob)
    tell(carol, alice, number, "undecryptable")
    tell(carol, alice, UNKNOWN, "undecryptable")
    pass_time(SECOND, alice, carol)
    assert len(carriers(carol)) == 2
    assert len(alice.frames_sent("MESSAGE")) == 1
    assert alice.troubles() == []
    # The control: to its recipient it is.
    tell(bob, alice, number, "undecryptable")
    pass_time(SECOND, alice, bob)
    assert [frame["payload"]["recipientId"] for frame in alice.frames_sent("MESSAGE")] == [bob.id, bob.id]
    assert alice.troubles() == ["resent"]


@pytest.mark.parametrize("status", ["delivered", "read", "burned", "undecryptable"])
@pytest.mark.parametrize("number", [UNKNOWN, "x" * 36, "\0" * 36])
def test_receipt_for_an_unknown_id_changes_nothing(town: Town, status: str, number: str) -> None:
    alice, bob, known = told(town)
    alice.events.clear()
    alice.sent.clear()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert len(carriers(bob)) == 3
    assert alice.events == []
    assert alice.frames_sent("MESSAGE") == []
    assert alice.messenger.state_of(number) is None
    assert alice.messenger.state_of(known) is DeliveryState.READ


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
def test_receipt_for_a_text_of_its_own_sender_changes_nothing(town: Town, status: str) -> None:
    alice, bob, _ = told(town)
    (number,) = bob.send(alice, "of Bob")
    settle(alice, bob)
    alice.events.clear()
    tell(bob, alice, number, status)
    pass_time(SECOND, alice, bob)
    assert alice.events == []
    assert [record.text for record in alice.waiting()] == ["of Bob"]


def test_older_receipt_that_comes_later_changes_nothing(town: Town) -> None:
    alice, bob, number = told(town)
    tell(bob, alice, number, "delivered")
    pass_time(SECOND, alice, bob)
    assert len(carriers(bob)) == 3
    assert states(alice, number)[2:] == [DeliveryState.READ]
    assert alice.messenger.state_of(number) is DeliveryState.READ


# --- lies of the relay ------------------------------------------------------------


def acknowledgement(number: str, recipient: Device, status: str) -> Frame:
    payload = {"messageId": number, "recipientId": recipient.id, "status": status, "timestamp": 1}
    return {"type": "MESSAGE_ACK", "payload": payload, "timestamp": 1}


def believing(receiving: Receiving, _: Link, frame: frames.Receipt, now: Moment) -> Iterator[Event]:
    """What was done with the relay's word before receipts were encrypted."""
    sent = receiving._stores.outbox.sent(frame.payload.message_id, frame.payload.recipient_id)
    if sent is not None:
        with receiving._stores.vault.transaction() as tx:
            yield from receiving._advance(tx, sent, DeliveryState[frame.payload.status.name], now)


@pytest.mark.parametrize("status", ["delivered", "read", "burned"])
@pytest.mark.parametrize("online", [False, True])
def test_relay_cannot_forge_what_a_recipient_did(
    town: Town, monkeypatch: pytest.MonkeyPatch, status: str, online: bool
) -> None:
    alice, bob = town.friends("alice", "bob")
    if not online:
        bob.cut()
    (number,) = alice.send(bob, "hello", burn=True)
    settle(alice)
    forged = acknowledgement(number, bob, status)
    repeat(alice, forged)
    pass_time(MINUTE, alice)
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    assert alice.own_text(number) == "hello"
    # The control: the same frame would have been believed under the old rule.
    monkeypatch.setattr(Receiving, "_relay_receipt", believing)
    repeat(alice, forged)
    assert states(alice, number)[1:] == [DeliveryState[status.upper()]]


@pytest.mark.parametrize("burn", [False, True])
def test_what_the_recipient_told_the_relay_is_not_shown_while_it_keeps_the_receipts(town: Town, burn: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    kept: list[Frame] = []

    def keep(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE":
            return [frame]
        kept.append(frame)
        return []

    last = DeliveryState.BURNED if burn else DeliveryState.READ
    alice.tamper = keep
    (number,) = alice.send(bob, "hello", burn=burn)
    settle(alice, bob)
    bob.read_all()
    pass_time(MINUTE, alice, bob)
    of_relay = [frame["payload"]["status"] for frame in alice.received if frame["type"] == "MESSAGE_ACK"]
    assert of_relay == ["accepted", "delivered", str(last)], "as the protocol demands"
    assert states(alice, number) == [DeliveryState.ACCEPTED]
    alice.tamper = None
    repeat(alice, *kept)
    assert states(alice, number) == [DeliveryState.ACCEPTED, last]


def test_relay_cannot_expire_a_text_that_does_not_expire(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    bob.cut()
    for_ever, for_a_while = alice.send(bob, "for ever")[0], alice.send(bob, "for a while", expires_in=MINUTE)[0]
    settle(alice)
    repeat(alice, *[acknowledgement(number, bob, "expired") for number in (for_ever, for_a_while)])
    assert states(alice, for_ever) == [DeliveryState.ACCEPTED]
    assert alice.own_text(for_ever) == "for ever"
    # The control: what does expire has expired if the relay says so.
    assert states(alice, for_a_while) == [DeliveryState.ACCEPTED, DeliveryState.EXPIRED]


def test_recipient_knows_better_than_a_relay_that_calls_a_text_expired(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    (number,) = alice.send(bob, "for a while", expires_in=HOUR)
    settle(alice, bob)
    repeat(alice, acknowledgement(number, bob, "expired"))
    assert alice.messenger.state_of(number) is DeliveryState.EXPIRED
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert alice.messenger.state_of(number) is DeliveryState.READ
    repeat(alice, acknowledgement(number, bob, "expired"))
    assert alice.messenger.state_of(number) is DeliveryState.READ


def of_bob(alice: Device) -> list[Frame]:
    """The receipts that have come to Alice, as the relay delivered them."""
    return [frame for frame in alice.received if frame["type"] == "MESSAGE"]


@pytest.mark.parametrize("dies", [False, True])
def test_receipt_that_the_relay_repeats_changes_nothing(town: Town, dies: bool) -> None:
    alice, bob, number = told(town)
    repeated = of_bob(alice)
    assert len(repeated) == 2
    if dies:
        alice.kill()
        alice.login()
    alice.events.clear()
    alice.sent.clear()
    repeat(alice, *repeated, *reversed(repeated), *[{**frame, "seq": frame["seq"] + 50} for frame in repeated])
    pass_time(MINUTE, alice, bob)
    assert alice.events == []
    assert alice.frames_sent("MESSAGE") == []
    assert alice.messenger.state_of(number) is DeliveryState.READ


CHANGES: dict[str, Callable[[Frame], Frame]] = {
    "another id": lambda frame: with_field(frame, messageId=UNKNOWN),
    "another conversation": lambda frame: with_field(frame, conversationId="another"),
    "another time": lambda frame: {**frame, "timestamp": frame["timestamp"] + 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("first", [False, True])
def test_receipt_in_another_envelope_is_not_believed(town: Town, change: Callable[[Frame], Frame], first: bool) -> None:
    alice, bob = town.friends("alice", "bob")
    numbers = alice.send(bob, "one")
    settle(alice, bob)
    alice.tamper = lambda frame: [
        *([change(frame)] if frame["type"] == "MESSAGE" and first else []),
        *([] if frame["type"] == "MESSAGE" and first else [frame]),
        *([change(frame)] if frame["type"] == "MESSAGE" and not first else []),
    ]
    bob.read_all()
    pass_time(SECOND, alice, bob)
    assert alice.states(numbers) == {DeliveryState.ACCEPTED if first else DeliveryState.READ}
    assert len(alice.heard(DeliveryEvent)) == (1 if first else 2)


def test_receipt_is_not_believed_from_somebody_to_whom_the_relay_gives_it(town: Town) -> None:
    alice, bob, carol = town.friends("alice", "bob", "carol")
    for other in (bob, carol):
        alice.send(other, "hello")
    settle(alice, bob, carol)
    bob.read_all()
    alice.tamper = lambda frame: [with_field(frame, senderId=carol.id)] if frame["type"] == "MESSAGE" else [frame]
    pass_time(SECOND, bob, alice)
    for event in alice.heard(DeliveryEvent):
        assert event.state is DeliveryState.ACCEPTED


def test_question_that_the_relay_repeats_is_answered_once(town: Town) -> None:
    alice, bob, number = told(town)
    alice.received.clear()
    tell(bob, alice, number, "undecryptable")
    pass_time(SECOND, alice, bob)
    assert alice.troubles() == ["resent"]
    sent = len(alice.frames_sent("MESSAGE"))
    for _ in range(5):
        repeat(alice, *of_bob(alice)[:1])
        pass_time(SECOND, alice, bob)
    assert alice.troubles() == ["resent"]
    assert len(alice.frames_sent("MESSAGE")) == sent == 2


def test_receipts_that_their_reader_never_understands_are_sent_again_three_times(town: Town) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    bob.tamper = lambda frame: [] if frame.get("payload", {}).get("status") == "delivered" else [frame]
    bob.read_all()
    pass_time(SECOND, alice, bob)
    number = carriers(bob)[-1]["payload"]["messageId"]
    for _ in range(6):
        tell(alice, bob, number, "undecryptable")
        pass_time(5 * SECOND, alice, bob)
    copies = [frame for frame in carriers(bob) if frame["payload"]["messageId"] == number]
    assert len(copies) == 1 + MAX_RESENDS


# --- texts that come again --------------------------------------------------------


def replayed(town: Town, times: int) -> int:
    """How many receipts a relay gets out of somebody by delivering one text again, once a second."""
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(5 * SECOND, alice, bob)
    (frame,) = [frame for frame in bob.received if frame["type"] == "MESSAGE"]
    bob.sent.clear()
    for _ in range(times):
        bob.down.append(canonical(frame))
        pass_time(SECOND, alice, bob)
    return len(bob.frames_sent("MESSAGE"))


def test_text_that_comes_again_is_answered_once_a_minute(town: Town) -> None:
    assert 1 <= replayed(town, 200) <= 5


def test_control_without_the_bound_it_costs_many_messages(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "ACKNOWLEDGE_AGAIN_MS", 0)
    assert replayed(town, 200) > 20


def test_what_was_told_again_is_remembered_for_a_bounded_number_of_texts(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "MAX_ACKNOWLEDGED_AGAIN", 3)
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, *(f"text {number}" for number in range(10)))
    bob.tamper = lambda frame: [frame, frame]
    settle(alice, bob)
    assert len(bob.messenger._stores.inbox._acknowledged_again) == 3
