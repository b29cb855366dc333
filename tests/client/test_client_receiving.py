"""What arrives, frame by frame, on a line without a relay: what is kept, acknowledged and reported."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import fast_folder
from msgspec import UNSET
from msgspec.structs import replace
from sending_desk import Desk, at, codes

from phantom_messenger.client import records
from phantom_messenger.client.inbox import ACKNOWLEDGE_AGAIN_MS
from phantom_messenger.client.link import LinkState
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import OutboxRecord, ReceivedRecord
from phantom_messenger.client.status import (
    DeliveryEvent,
    DeliveryState,
    Event,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
)
from phantom_messenger.wire import frames


class Door(Desk):
    """Alice's profile, and what she receives."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.receiving = Receiving(self.stores, self.sending, self.alice.id)
        with self.vault.transaction() as tx:
            for sender in self.stores.receipts.senders():
                self.stores.receipts.drop(tx, sender)

    def get(self, frame: Any, now: int = 0) -> list[Event]:
        return list(self.receiving.receive(self.line, frame, at(now)))

    def acknowledged(self) -> list[str]:
        """The messages and items that the relay need not keep any more."""
        found = [frame.payload for frame in self.line.sent if isinstance(frame, frames.MessageAck)]
        assert all(payload.status == "delivered" for payload in found)
        return [str(payload.seq) if payload.message_id is UNSET else payload.message_id for payload in found]

    def text(self, number: str) -> ReceivedRecord | None:
        return self.vault.get(records.RECEIVED, records.key(self.bob.id, number), ReceivedRecord)

    def receipt(self, number: str = "00000000-0000-4000-8000-0000000000aa", **statuses: list[str]) -> Any:
        """A receipt of Bob's."""
        full = {"delivered": [], "read": [], "burned": [], "undecryptable": [], **statuses}
        entry = OutboxRecord(message_id=number, peer=self.alice.id, text=None, burn=False, expires_in=None, made_at=0)
        with self.bob.vault.transaction() as tx:
            state = self.bob.conversations.load(self.alice.id)
            sealed = self.bob.conversations.seal(tx, state, entry, full).sealed
        return self.bob.routed(self.alice, sealed, number)

    def send_now(self, number: str, **options: Any) -> None:
        """Send Bob a text."""
        self.write(number, **options)
        assert any(frame.payload.message_id == number for frame in self.send(0) if isinstance(frame, frames.Message))

    def relay_says(self, number: str, status: frames.Status, *, recipient: str = "") -> list[Event]:
        payload = frames.ReceiptPayload(
            message_id=number, recipient_id=recipient or self.bob.id, status=status, timestamp=0
        )
        return self.get(frames.Receipt(payload=payload, timestamp=0))

    def steps(self, events: list[Event]) -> list[tuple[str, DeliveryState]]:
        assert all(isinstance(event, DeliveryEvent) and event.peer.user_id == self.bob.id for event in events)
        return [(event.message_id, event.state) for event in events if isinstance(event, DeliveryEvent)]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with fast_folder(tmp_path) as folder:
        made = Door(folder)
        yield made
        made.close()


# --- messages ---------------------------------------------------------------------


def test_text_is_kept_acknowledged_and_reported(door: Door) -> None:
    frame = door.bob.write(door.alice, "hello")
    number = frame.payload.message_id
    assert door.get(frame, 7) == [MessageEvent(message_id=number, peer=door.stores.book.contact(door.bob.id))]
    assert door.acknowledged() == [number]
    kept = door.text(number)
    assert kept is not None
    assert (kept.text, kept.received_at, kept.expires_at) == ("hello", at(7).wall, None)
    assert door.stores.receipts.senders() == [door.bob.id]
    found = door.stores.inbox.next(0, None, at(7).persistent)
    assert found is not None
    assert found[1] == kept


def test_new_session_that_lacks_nothing_is_no_news(door: Door) -> None:
    door.bob.begin(door.alice)
    events = door.get(door.bob.write(door.alice, "hello"))
    assert [type(event) for event in events] == [MessageEvent]


def test_text_that_comes_again_is_acknowledged_again_and_its_sender_told_once_a_minute(door: Door) -> None:
    frame = door.bob.write(door.alice, "hello")
    number = frame.payload.message_id
    door.get(frame, 0)
    door.stores.inbox.mark_read(door.bob.id, number, 0)
    told = []
    for now in (1, ACKNOWLEDGE_AGAIN_MS, ACKNOWLEDGE_AGAIN_MS + 1, 2 * ACKNOWLEDGE_AGAIN_MS + 1):
        with door.vault.transaction() as tx:
            door.stores.receipts.drop(tx, door.bob.id)
        assert door.get(frame, now) == []
        told.append(door.stores.receipts.senders())
    assert told == [[door.bob.id], [], [door.bob.id], [door.bob.id]]
    assert door.acknowledged() == [number] * 5
    ((_, receipt),) = door.vault.all(records.RECEIPT, records.ReceiptRecord)
    assert (receipt.status, receipt.at) == ("read", at(2 * ACKNOWLEDGE_AGAIN_MS + 1).persistent)


def test_blocked_users_text_is_acknowledged_and_dropped(door: Door) -> None:
    door.change(blocked=True)
    frame = door.bob.write(door.alice, "hello")
    assert door.get(frame) == []
    assert door.acknowledged() == [frame.payload.message_id]
    assert door.text(frame.payload.message_id) is None


def test_strangers_text_waits_and_is_received_when_they_are_let_in(door: Door) -> None:
    door.change(accepted=False, greeted=False, name="")
    first, second = (door.bob.write(door.alice, text) for text in ("one", "two"))
    assert door.get(first, 5) == [RequestEvent(peer=door.stores.book.contact(door.bob.id), waiting=1)]
    assert door.get(first, 6) == []
    assert door.get(second, 7) == [RequestEvent(peer=door.stores.book.contact(door.bob.id), waiting=2)]
    numbers = [frame.payload.message_id for frame in (first, second)]
    assert door.acknowledged() == [numbers[0], *numbers]
    assert door.text(numbers[0]) is None
    door.change(accepted=True)
    third = door.bob.write(door.alice, "three")
    events = door.get(third, 9)
    assert [event.message_id for event in events if isinstance(event, MessageEvent)] == [
        *numbers, third.payload.message_id,
    ]  # fmt: skip
    kept = door.text(numbers[0])
    assert kept is not None
    assert kept.received_at == at(5).wall
    assert door.stores.requests.senders() == []


def test_text_of_a_stranger_that_was_looked_at_is_handed_out_when_they_are_let_in(door: Door) -> None:
    door.change(accepted=False, greeted=False)
    frame = door.bob.write(door.alice, "one")
    door.get(frame, 5)
    assert [text.text for text in door.stores.requests.look(door.bob.id, at(6).persistent)] == ["one"]
    assert door.stores.inbox.next(0, None, at(6).persistent) is None
    door.change(accepted=True)
    events = list(door.receiving.open_requests(door.bob.id, at(7)))
    number = frame.payload.message_id
    assert events == [MessageEvent(message_id=number, peer=door.stores.book.contact(door.bob.id))]
    assert door.stores.inbox.next(0, None, at(7).persistent) is not None
    assert list(door.receiving.open_requests(door.bob.id, at(7))) == []


def garbled(frame: frames.RoutedMessage, door: Door) -> frames.RoutedMessage:
    """The same message with a ciphertext that nobody can read, signed by its sender."""
    sealed = bytearray(base64.b64decode(frame.payload.encrypted))
    sealed[-1] ^= 1
    return door.bob.routed(door.alice, bytes(sealed), frame.payload.message_id)


@pytest.mark.parametrize(("is_known", "code"), [(True, "waiting"), (False, "unreadable")])
def test_unreadable_text_is_told_once_and_stays_with_the_relay(door: Door, is_known: bool, code: str) -> None:
    if not is_known:
        door.change(trust="changed")
    frame = door.bob.write(door.alice, "hello")
    assert codes(door.get(garbled(frame, door))) == [code]
    assert door.get(garbled(frame, door)) == []
    assert door.acknowledged() == []
    assert door.stores.recovery.senders() == [door.bob.id]
    assert [type(event) for event in door.get(frame)][-1:] == [MessageEvent]
    assert door.stores.recovery.senders() == []
    assert door.acknowledged() == [frame.payload.message_id]


def test_mail_of_somebody_else_is_told_once_a_connection_and_never_acknowledged(door: Door) -> None:
    frame = door.bob.write(door.alice, "hello")
    other = replace(frame, payload=replace(frame.payload, recipient_id=door.bob.id))
    assert [codes(door.get(other)) for _ in range(2)] == [["misdirected"], []]
    door.receiving.connected()
    assert codes(door.get(other)) == ["misdirected"]
    unnamed = replace(frame, payload=replace(frame.payload, recipient_id=UNSET))
    assert "misdirected" not in codes(door.get(unnamed))
    assert door.acknowledged() == []


@pytest.mark.parametrize(
    ("seq", "state", "told"), [(5, LinkState.OPEN, ["5"]), (UNSET, LinkState.OPEN, []), (5, LinkState.FAILED, [])]
)
def test_item_is_acknowledged_by_its_position_while_the_connection_is_open(
    door: Door, seq: Any, state: LinkState, told: list[str]
) -> None:
    door.line.state = state
    payload = frames.ReceiptPayload(
        message_id="1", recipient_id=door.bob.id, status=frames.Status.DELIVERED, timestamp=0
    )
    assert door.get(frames.Receipt(payload=payload, timestamp=0, seq=seq)) == []
    assert door.acknowledged() == told


# --- what became of one's own -----------------------------------------------------


def test_relay_is_believed_that_it_has_a_text_and_not_that_somebody_else_has(door: Door) -> None:
    door.send_now("1")
    for status in (frames.Status.DELIVERED, frames.Status.EXPIRED):
        assert door.relay_says("1", status) == []
    assert door.relay_says("1", frames.Status.ACCEPTED, recipient=door.alice.id) == []
    assert door.steps(door.relay_says("1", frames.Status.ACCEPTED)) == [("1", DeliveryState.ACCEPTED)]
    assert door.relay_says("1", frames.Status.ACCEPTED) == []
    assert not door.vault.has(records.OUTBOX, "1")


def test_text_that_may_expire_has_expired_when_the_relay_says_so(door: Door) -> None:
    door.write("1")
    sent = door.vault.get(records.SENT, "1", records.SentRecord)
    assert sent is not None
    with door.vault.transaction() as tx:
        tx.put(records.SENT, "1", replace(sent, expires_in=50))
    assert door.steps(door.relay_says("1", frames.Status.EXPIRED)) == [("1", DeliveryState.EXPIRED)]


ONE, TWO, THREE, FOUR, UNKNOWN = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(5))


def test_recipient_is_believed_and_each_step_reported_once(door: Door) -> None:
    for number in (ONE, TWO, THREE):
        door.send_now(number, burn=number == THREE)
        door.relay_says(number, frames.Status.ACCEPTED)
    events = door.get(door.receipt(delivered=[ONE, UNKNOWN], read=[TWO], burned=[THREE]))
    steps = [(ONE, DeliveryState.DELIVERED), (TWO, DeliveryState.READ), (THREE, DeliveryState.BURNED)]
    assert door.steps(events) == steps
    assert door.steps(door.get(door.receipt(FOUR, delivered=[ONE, TWO]))) == []
    assert door.stores.receipts.senders() == [], "receipts are not answered"


def test_text_that_could_not_be_read_is_sent_again(door: Door) -> None:
    door.send_now(ONE)
    door.relay_says(ONE, frames.Status.ACCEPTED)
    events = door.get(door.receipt(undecryptable=[ONE, UNKNOWN]))
    assert codes(events) == ["resent"]
    assert door.stores.outbox.to_resend(door.bob.id) == [ONE]
    assert not door.sending.exchanges.is_to_be_renewed(door.bob.id)


def test_text_that_an_answered_one_has_overtaken_is_suspected_of_being_lost(door: Door) -> None:
    for number in (ONE, TWO, THREE, FOUR):
        door.send_now(number)
        door.relay_says(number, frames.Status.ACCEPTED)
    door.get(door.receipt(delivered=[TWO], read=[FOUR]), 5)
    assert door.stores.outbox.presumed_lost(5 + 660_000 - 1) == {}
    assert door.stores.outbox.presumed_lost(5 + 660_000) == {door.bob.id: [ONE, THREE]}


def test_text_that_the_relay_will_never_take_has_failed(door: Door) -> None:
    door.send_now("1")
    assert door.steps(list(door.receiving.failed("1", at(0)))) == [("1", DeliveryState.FAILED)]
    assert list(door.receiving.failed("1", at(0))) == list(door.receiving.failed("unknown", at(0))) == []
    assert not door.vault.has(records.OUTBOX, "1")


def test_receipt_batch_is_over_when_the_relay_says_that_it_was_delivered(door: Door) -> None:
    door.receive("9")
    door.sending.flush()
    (frame,) = door.send(0)
    batch = frame.payload.message_id
    assert door.relay_says(batch, frames.Status.ACCEPTED) == []
    assert not door.vault.has(records.OUTBOX, batch)
    assert list(door.vault.all(records.RECEIPT, records.ReceiptRecord))
    assert door.relay_says(batch, frames.Status.DELIVERED) == []
    assert list(door.vault.all(records.RECEIPT, records.ReceiptRecord)) == []


# --- presence ---------------------------------------------------------------------


@pytest.mark.parametrize(("last_seen", "shown"), [(UNSET, None), (10**12 + 5, 10**12 + 5), (10**12 + 6, None), (0, 0)])
def test_presence_of_the_past_is_shown(door: Door, last_seen: Any, shown: int | None) -> None:
    payload = frames.PresenceNoticePayload(
        user_id=door.bob.id, status=frames.PresenceStatus.OFFLINE, last_seen=last_seen
    )
    notice = frames.PresenceNotice(payload=payload, timestamp=0)
    peer = door.stores.book.contact(door.bob.id)
    assert door.get(notice, 5) == [PresenceEvent(peer=peer, status="offline", last_seen=shown)]
    door.change(blocked=True)
    assert door.get(notice, 5) == []
