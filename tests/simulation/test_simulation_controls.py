"""With a protection off, the simulation must find the fault: each of these takes one away."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from simulation_network import RelayTime
from simulation_runs import MARKS, folder_of_runs, show_fault  # noqa: F401 - one is a fixture

from phantom_messenger.client import records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.inbox import Inbox
from phantom_messenger.client.link import Link
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.receipts import Receipts
from phantom_messenger.client.receiving import Receiving
from phantom_messenger.client.records import ContactRecord, OutboxRecord, Strength
from phantom_messenger.client.sending import Sending, SendRefused
from phantom_messenger.client.status import DeliveryState, Event, WarningEvent
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.engines.sqlite.tombstones import RecentlyDeleted
from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers import HANDLERS
from phantom_messenger.relay.mailbox_push import MailboxPush
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.records import Item, Page
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.frames import Message
from support.amounts import LONG, amount

MOST_SEEDS: Final = amount(300, 2_000)

pytestmark = MARKS


def finds(folder: Path, expected: str, *, seen: int = 0, **options: Any) -> None:
    show_fault(folder, expected, first=0, seen=seen, most=MOST_SEEDS, **options)


# --- the relay --------------------------------------------------------------------


def answer_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the relay say ``accepted`` to each MESSAGE for somebody it knows, and store it afterwards."""
    genuine = HANDLERS[Message]

    def message(core: Core, admitted: AdmittedFrame, frame: Message) -> Steps:
        twin = genuine(core, admitted, frame)
        command = next(twin)
        with contextlib.suppress(StopIteration):
            twin.send(AppendRefusal.DUPLICATE)
        yield command

    monkeypatch.setitem(HANDLERS, Message, message)  # type: ignore[misc] # it is a dict of types


def test_answer_before_the_commit_is_found_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_before_commit(monkeypatch)
    finds(folder, "'accepted' before the text was stored")


@pytest.mark.skipif(not LONG, reason="a loss that the client nearly always repairs: make test-long finds it")
def test_answer_before_the_commit_is_found_by_what_it_loses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_before_commit(monkeypatch)
    finds(folder, "is lost$", checks_answers=False, faults=("relay dies", "disk slow"))


def test_relay_that_forgets_what_it_has_stores_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RecentlyDeleted, "holds", lambda *_: False)
    finds(folder, "was stored twice", seen=57)


def test_relay_that_takes_a_second_copy_for_news_stores_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SQLiteMailboxes, "_is_same", lambda *_: False)
    finds(folder, "was stored twice")


def test_relay_and_client_that_both_forget_show_a_text_twice_or_not_at_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecentlyDeleted, "holds", lambda *_: False)
    forget_seen(monkeypatch)
    finds(folder, "trouble: waiting|unreadable|announced twice|handed out twice")


def test_push_to_a_session_that_has_not_all_before_it_breaks_the_order(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver(self: MailboxPush, recipient: str, item: Item) -> None:
        session = self._hub.of(recipient)
        if session is not None:
            self.push(session, item)

    monkeypatch.setattr(MailboxPush, "deliver", deliver)
    finds(folder, r"sent seq \d+ behind \d+", seen=579)


def test_persistent_time_that_follows_the_wall_clock_ends_texts_early(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RelayTime, "persistent_ms", lambda self: self.wall)
    finds(folder, r"has expired after \d+ of \d+ ms", seen=27, faults=("relay clock",))


def test_mailbox_that_is_read_past_its_first_page_loses_what_is_between(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = SQLiteMailboxes.read

    def read(self: SQLiteMailboxes, *arguments: Any) -> Page:
        return Page(genuine(self, *arguments).items, complete=True)

    monkeypatch.setattr(SQLiteMailboxes, "read", read)
    finds(folder, "does not come to rest")


def test_old_connection_that_stays_after_a_takeover_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Replies.close

    def close(self: Replies, session: Session, code: Any, reason: str, **how: Any) -> None:
        genuine(self, session, code, reason, **how)
        session.connection.write([b'{"type":"PONG"}'])

    monkeypatch.setattr(Replies, "close", close)
    finds(folder, "wrote to a connection that it had closed")


# --- the client -------------------------------------------------------------------


def forget_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Vault.has

    def has(self: Vault, kind: str, name: str) -> bool:
        return kind != records.SEEN and genuine(self, kind, name)

    monkeypatch.setattr(Vault, "has", has)


def test_client_that_forgets_what_it_has_seen_cannot_read_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_seen(monkeypatch)
    finds(folder, "trouble: waiting|unreadable|announced twice|handed out twice", seen=10)


def leaves_when_sent(monkeypatch: pytest.MonkeyPatch, *, receipts: bool) -> None:
    """What was sent is forgotten before it is accepted: texts, or receipts."""
    genuine = Sending._send_entry

    def send_entry(self: Sending, link: Link, entry: OutboxRecord, now: Moment) -> list[WarningEvent]:
        found = genuine(self, link, entry, now)
        outbox = self._stores.outbox
        flying = outbox._in_flight.get(entry.peer)
        if flying is not None and flying.message_id == entry.message_id and (entry.text is None) is receipts:
            outbox._queue.remove(entry.message_id)
            with self._stores.vault.transaction() as tx:
                tx.delete(records.OUTBOX, entry.message_id)
                if receipts:
                    self._stores.receipts.acknowledged(tx, entry.peer, entry.message_id)
        return found

    monkeypatch.setattr(Sending, "_send_entry", send_entry)


def test_text_that_leaves_the_outbox_when_it_is_sent_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves_when_sent(monkeypatch, receipts=False)
    finds(folder, "is lost$|in the end|trouble: resent")


def test_receipt_that_is_forgotten_when_it_is_sent_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves_when_sent(monkeypatch, receipts=True)
    finds(folder, "is (accepted|delivered|expired) in the end, not (delivered|read|burned)|trouble: resent", seen=47)


def test_receipts_that_those_one_has_added_do_not_get_are_missed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = AddressBook.may_notify

    def may_notify(self: AddressBook, user_id: str) -> bool:
        return not self.get(user_id).name and genuine(self, user_id)

    monkeypatch.setattr(AddressBook, "may_notify", may_notify)
    finds(folder, "is (accepted|expired) in the end, not (delivered|read|burned)")


def test_receipts_for_strangers_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AddressBook, "may_notify", lambda *_: True)
    finds(folder, "has told .* what became of a text, and does not know them")


def test_memory_that_is_ahead_of_the_disk_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "on_commit", lambda _, action: action())
    finds(folder, "remembers other than is on disk", faults=("device disk full",) * 24, seen=37)


def test_reading_that_is_forgotten_when_it_is_told_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Receipts.put

    def put(self: Receipts, tx: Transaction, sender: str, message_id: str, *rest: Any) -> Any:
        return genuine(self, tx, sender, message_id, "delivered", rest[-1])

    monkeypatch.setattr(Receipts, "put", put)
    finds(folder, "is delivered in the end, not (read|burned)")


def test_relay_that_is_believed_tells_too_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a relay says of reading is not taken: here it says so of everything that it has accepted."""

    def relay_receipt(self: Receiving, _: Link, frame: Any, now: Moment) -> Iterator[Event]:
        sent = self._stores.outbox.sent(frame.payload.message_id, frame.payload.recipient_id)
        if sent is not None:
            with self._stores.vault.transaction() as tx:
                yield from self._advance(tx, sent, DeliveryState.READ, now)

    monkeypatch.setattr(Receiving, "_relay_receipt", relay_receipt)
    finds(folder, "is told as read, and is")


def test_text_that_is_acknowledged_before_it_is_kept_is_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Receiving._message
    late: dict[Receiving, Any] = {}

    def message(self: Receiving, link: Link, frame: Any, now: Moment) -> Iterator[Event]:
        """What came last is kept only when the next one comes."""
        before, late[self] = late.get(self), frame
        self._confirm_message(link, frame.payload.sender_id, frame.payload.message_id, now)
        if before is not None:
            yield from genuine(self, link, before, now)

    monkeypatch.setattr(Receiving, "_message", message)
    finds(folder, "by somebody who does not have it|exception")


def test_floor_that_does_not_rise_lets_suite_1_follow_suite_2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ContactRecord, "floor", Strength.SUITE_1)
    finds(folder, "in suite 1 after suite 2", has_old=True)


def test_texts_that_are_all_under_way_at_once_change_their_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send, refused = Sending._send_entry, Sending._message_refused
    sent: dict[Link, set[str]] = defaultdict(set)

    def send_entry(self: Sending, link: Link, entry: OutboxRecord, now: Moment) -> list[WarningEvent]:
        found: list[WarningEvent] = []
        if entry.message_id not in sent[link]:
            found = send(self, link, entry, now)
            outbox = self._stores.outbox
            if outbox._in_flight.pop(entry.peer, None):
                sent[link].add(entry.message_id)
                waits = outbox._queue.get(entry.message_id) or entry
                outbox._queue.remove(entry.message_id)
                outbox._queue.put(waits)  # behind the others
        return found

    def message_refused(self: Sending, entry: OutboxRecord, error: Any, now: Moment) -> SendRefused:
        for ids in sent.values():
            ids.discard(entry.message_id)
        return refused(self, entry, error, now)

    monkeypatch.setattr(Sending, "_send_entry", send_entry)
    monkeypatch.setattr(Sending, "_message_refused", message_refused)
    finds(folder, "behind a later one|trouble: late|trouble: resent")


def test_text_that_is_shown_after_its_time_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Inbox.next

    def following(self: Inbox, after: int, sender: str | None, now: int) -> Any:
        del now
        return genuine(self, after, sender, 0)

    monkeypatch.setattr(Inbox, "next", following)
    monkeypatch.setattr(Inbox, "forget_expired", lambda *_: None)
    finds(folder, r"handed out \d+ ms after its time")


def test_burned_text_that_stays_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = Transaction.put

    def put(self: Transaction, kind: str, name: str, value: Any, *, due: int | None = None) -> None:
        if kind == records.RECEIVED and value.read and value.text is None:
            value = type(value)(**{**{field: getattr(value, field) for field in value.__struct_fields__}, "text": "x"})
        genuine(self, kind, name, value, due=due)

    monkeypatch.setattr(Transaction, "put", put)
    finds(folder, "is still with its recipient, and was burned")
