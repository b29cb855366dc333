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


class ReceivingDesk(Desk):
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
def desk(tmp_path: Path) -> Iterator[ReceivingDesk]:
    with fast_folder(tmp_path) as folder:
        made = ReceivingDesk(folder)
        yield made
        made.close()


# --- messages ---------------------------------------------------------------------


def test_text_is_kept_acknowledged_and_reported(desk: ReceivingDesk) -> None:
    frame = desk.bob.write(desk.alice, "hello")
    number = frame.payload.message_id
    assert desk.get(frame, 7) == [MessageEvent(message_id=number, peer=desk.stores.book.contact(desk.bob.id))]
    assert desk.acknowledged() == [number]
    kept = desk.text(number)
    assert kept is not None
    assert (kept.text, kept.received_at, kept.expires_at) == ("hello", at(7).wall, None)
    assert desk.stores.receipts.senders() == [desk.bob.id]
    found = desk.stores.inbox.next(0, None, at(7).persistent)
    assert found is not None
    assert found[1] == kept


def test_new_session_that_lacks_nothing_is_no_news(desk: ReceivingDesk) -> None:
    desk.bob.begin(desk.alice)
    events = desk.get(desk.bob.write(desk.alice, "hello"))
    assert [type(event) for event in events] == [MessageEvent]


def test_text_that_comes_again_is_acknowledged_again_and_its_sender_told_once_a_minute(desk: ReceivingDesk) -> None:
    frame = desk.bob.write(desk.alice, "hello")
    number = frame.payload.message_id
    desk.get(frame, 0)
    desk.stores.inbox.mark_read(desk.bob.id, number, 0)
    told = []
    for now in (1, ACKNOWLEDGE_AGAIN_MS, ACKNOWLEDGE_AGAIN_MS + 1, 2 * ACKNOWLEDGE_AGAIN_MS + 1):
        with desk.vault.transaction() as tx:
            desk.stores.receipts.drop(tx, desk.bob.id)
        assert desk.get(frame, now) == []
        told.append(desk.stores.receipts.senders())
    assert told == [[desk.bob.id], [], [desk.bob.id], [desk.bob.id]]
    assert desk.acknowledged() == [number] * 5
    ((_, receipt),) = desk.vault.all(records.RECEIPT, records.ReceiptRecord)
    assert (receipt.status, receipt.at) == ("read", at(2 * ACKNOWLEDGE_AGAIN_MS + 1).persistent)


def test_blocked_users_text_is_acknowledged_and_dropped(desk: ReceivingDesk) -> None:
    desk.change(blocked=True)
    frame = desk.bob.write(desk.alice, "hello")
    assert desk.get(frame) == []
    assert desk.acknowledged() == [frame.payload.message_id]
    assert desk.text(frame.payload.message_id) is None


def test_strangers_text_waits_and_is_received_when_they_are_let_in(desk: ReceivingDesk) -> None:
    desk.change(accepted=False, greeted=False, name="")
    first, second = (desk.bob.write(desk.alice, text) for text in ("one", "two"))
    assert desk.get(first, 5) == [RequestEvent(peer=desk.stores.book.contact(desk.bob.id), waiting=1)]
    assert desk.get(first, 6) == []
    assert desk.get(second, 7) == [RequestEvent(peer=desk.stores.book.contact(desk.bob.id), waiting=2)]
    numbers = [frame.payload.message_id for frame in (first, second)]
    assert desk.acknowledged() == [numbers[0], *numbers]
    assert desk.text(numbers[0]) is None
    desk.change(accepted=True)
    third = desk.bob.write(desk.alice, "three")
    events = desk.get(third, 9)
    assert [event.message_id for event in events if isinstance(event, MessageEvent)] == [
        *numbers, third.payload.message_id,
    ]  # fmt: skip
    kept = desk.text(numbers[0])
    assert kept is not None
    assert kept.received_at == at(5).wall
    assert desk.stores.requests.senders() == []


def test_text_of_a_stranger_that_was_looked_at_is_handed_out_when_they_are_let_in(desk: ReceivingDesk) -> None:
    desk.change(accepted=False, greeted=False)
    frame = desk.bob.write(desk.alice, "one")
    desk.get(frame, 5)
    assert [text.text for text in desk.stores.requests.look(desk.bob.id, at(6).persistent)] == ["one"]
    assert desk.stores.inbox.next(0, None, at(6).persistent) is None
    desk.change(accepted=True)
    events = list(desk.receiving.open_requests(desk.bob.id, at(7)))
    number = frame.payload.message_id
    assert events == [MessageEvent(message_id=number, peer=desk.stores.book.contact(desk.bob.id))]
    assert desk.stores.inbox.next(0, None, at(7).persistent) is not None
    assert list(desk.receiving.open_requests(desk.bob.id, at(7))) == []


def garbled(frame: frames.RoutedMessage, desk: ReceivingDesk) -> frames.RoutedMessage:
    """The same message with a ciphertext that nobody can read, signed by its sender."""
    sealed = bytearray(base64.b64decode(frame.payload.encrypted))
    sealed[-1] ^= 1
    return desk.bob.routed(desk.alice, bytes(sealed), frame.payload.message_id)


@pytest.mark.parametrize(("is_known", "code"), [(True, "waiting"), (False, "unreadable")])
def test_unreadable_text_is_told_once_and_stays_with_the_relay(desk: ReceivingDesk, is_known: bool, code: str) -> None:
    if not is_known:
        desk.change(trust="changed")
    frame = desk.bob.write(desk.alice, "hello")
    assert codes(desk.get(garbled(frame, desk))) == [code]
    assert desk.get(garbled(frame, desk)) == []
    assert desk.acknowledged() == []
    assert desk.stores.recovery.senders() == [desk.bob.id]
    assert [type(event) for event in desk.get(frame)][-1:] == [MessageEvent]
    assert desk.stores.recovery.senders() == []
    assert desk.acknowledged() == [frame.payload.message_id]


def test_mail_of_somebody_else_is_told_once_a_connection_and_never_acknowledged(desk: ReceivingDesk) -> None:
    frame = desk.bob.write(desk.alice, "hello")
    other = replace(frame, payload=replace(frame.payload, recipient_id=desk.bob.id))
    assert [codes(desk.get(other)) for _ in range(2)] == [["misdirected"], []]
    desk.receiving.connected()
    assert codes(desk.get(other)) == ["misdirected"]
    unnamed = replace(frame, payload=replace(frame.payload, recipient_id=UNSET))
    assert "misdirected" not in codes(desk.get(unnamed))
    assert desk.acknowledged() == []


@pytest.mark.parametrize(
    ("seq", "state", "told"), [(5, LinkState.OPEN, ["5"]), (UNSET, LinkState.OPEN, []), (5, LinkState.FAILED, [])]
)
def test_item_is_acknowledged_by_its_position_while_the_connection_is_open(
    desk: ReceivingDesk, seq: Any, state: LinkState, told: list[str]
) -> None:
    desk.line.state = state
    payload = frames.ReceiptPayload(
        message_id="1", recipient_id=desk.bob.id, status=frames.Status.DELIVERED, timestamp=0
    )
    assert desk.get(frames.Receipt(payload=payload, timestamp=0, seq=seq)) == []
    assert desk.acknowledged() == told


# --- what became of one's own -----------------------------------------------------


def test_relay_is_believed_that_it_has_a_text_and_not_that_somebody_else_has(desk: ReceivingDesk) -> None:
    desk.send_now("1")
    for status in (frames.Status.DELIVERED, frames.Status.EXPIRED):
        assert desk.relay_says("1", status) == []
    assert desk.relay_says("1", frames.Status.ACCEPTED, recipient=desk.alice.id) == []
    assert desk.steps(desk.relay_says("1", frames.Status.ACCEPTED)) == [("1", DeliveryState.ACCEPTED)]
    assert desk.relay_says("1", frames.Status.ACCEPTED) == []
    assert not desk.vault.has(records.OUTBOX, "1")


def test_text_that_may_expire_has_expired_when_the_relay_says_so(desk: ReceivingDesk) -> None:
    desk.write("1")
    sent = desk.vault.get(records.SENT, "1", records.SentRecord)
    assert sent is not None
    with desk.vault.transaction() as tx:
        tx.put(records.SENT, "1", replace(sent, expires_in=50))
    assert desk.steps(desk.relay_says("1", frames.Status.EXPIRED)) == [("1", DeliveryState.EXPIRED)]


ONE, TWO, THREE, FOUR, UNKNOWN = (f"00000000-0000-4000-8000-00000000000{number}" for number in range(5))


def test_recipient_is_believed_and_each_step_reported_once(desk: ReceivingDesk) -> None:
    for number in (ONE, TWO, THREE):
        desk.send_now(number, burn=number == THREE)
        desk.relay_says(number, frames.Status.ACCEPTED)
    events = desk.get(desk.receipt(delivered=[ONE, UNKNOWN], read=[TWO], burned=[THREE]))
    steps = [(ONE, DeliveryState.DELIVERED), (TWO, DeliveryState.READ), (THREE, DeliveryState.BURNED)]
    assert desk.steps(events) == steps
    assert desk.steps(desk.get(desk.receipt(FOUR, delivered=[ONE, TWO]))) == []
    assert desk.stores.receipts.senders() == [], "receipts are not answered"


def test_text_that_could_not_be_read_is_sent_again(desk: ReceivingDesk) -> None:
    desk.send_now(ONE)
    desk.relay_says(ONE, frames.Status.ACCEPTED)
    events = desk.get(desk.receipt(undecryptable=[ONE, UNKNOWN]))
    assert codes(events) == ["resent"]
    assert desk.stores.outbox.to_resend(desk.bob.id) == [ONE]
    assert not desk.sending.exchanges.is_to_be_renewed(desk.bob.id)


def test_text_that_an_answered_one_has_overtaken_is_suspected_of_being_lost(desk: ReceivingDesk) -> None:
    for number in (ONE, TWO, THREE, FOUR):
        desk.send_now(number)
        desk.relay_says(number, frames.Status.ACCEPTED)
    desk.get(desk.receipt(delivered=[TWO], read=[FOUR]), 5)
    assert desk.stores.outbox.presumed_lost(5 + 660_000 - 1) == {}
    assert desk.stores.outbox.presumed_lost(5 + 660_000) == {desk.bob.id: [ONE, THREE]}


def test_text_that_the_relay_will_never_take_has_failed(desk: ReceivingDesk) -> None:
    desk.send_now("1")
    assert desk.steps(list(desk.receiving.failed("1", at(0)))) == [("1", DeliveryState.FAILED)]
    assert list(desk.receiving.failed("1", at(0))) == list(desk.receiving.failed("unknown", at(0))) == []
    assert not desk.vault.has(records.OUTBOX, "1")


def test_receipt_batch_is_over_when_the_relay_says_that_it_was_delivered(desk: ReceivingDesk) -> None:
    desk.receive("9")
    desk.sending.flush()
    (frame,) = desk.send(0)
    batch = frame.payload.message_id
    assert desk.relay_says(batch, frames.Status.ACCEPTED) == []
    assert not desk.vault.has(records.OUTBOX, batch)
    assert list(desk.vault.all(records.RECEIPT, records.ReceiptRecord))
    assert desk.relay_says(batch, frames.Status.DELIVERED) == []
    assert list(desk.vault.all(records.RECEIPT, records.ReceiptRecord)) == []


# --- presence ---------------------------------------------------------------------


@pytest.mark.parametrize(("last_seen", "shown"), [(UNSET, None), (10**12 + 5, 10**12 + 5), (10**12 + 6, None), (0, 0)])
def test_presence_of_the_past_is_shown(desk: ReceivingDesk, last_seen: Any, shown: int | None) -> None:
    payload = frames.PresenceNoticePayload(
        user_id=desk.bob.id, status=frames.PresenceStatus.OFFLINE, last_seen=last_seen
    )
    notice = frames.PresenceNotice(payload=payload, timestamp=0)
    peer = desk.stores.book.contact(desk.bob.id)
    assert desk.get(notice, 5) == [PresenceEvent(peer=peer, status="offline", last_seen=shown)]
    desk.change(blocked=True)
    assert desk.get(notice, 5) == []
