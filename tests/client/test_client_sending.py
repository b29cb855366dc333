"""What leaves a client and what follows from a refusal, on a line without a relay."""

import base64
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_samples import fast_folder
from msgspec import UNSET
from msgspec.structs import replace
from sending_desk import INVALID, RATE, Desk, Refusal, at, codes, ids, whole

from phantom_messenger.client import records
from phantom_messenger.client.batching import KEEP_FREE, LATEST_MS, receipt_entry
from phantom_messenger.client.content import time_of
from phantom_messenger.client.flights import UNANSWERED_MS
from phantom_messenger.client.receipts import UNDECRYPTABLE
from phantom_messenger.client.records import OutboxRecord, SentRecord
from phantom_messenger.client.status import Trust
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with fast_folder(tmp_path) as folder:
        made = Desk(folder)
        yield made
        made.close()


# --- texts ------------------------------------------------------------------------


def test_frame_says_what_the_recipient_and_the_relay_need(desk: Desk) -> None:
    desk.write(burn=True, expires_in=5)
    sealed = desk.stores.outbox.ready()[0].sealed
    assert sealed
    (frame,) = desk.send()
    payload = frame.payload
    assert (payload.message_id, payload.recipient_id) == ("1", desk.bob.id)
    assert base64.b64decode(payload.encrypted) == sealed
    assert json.loads(bytes(payload.metadata)) == {"burnAfterRead": True, "expiresIn": 5}
    desk.write("2", peer=desk.bob.id)
    desk.sending.answered("1", "1", desk.bob.id)
    with desk.vault.transaction() as tx:
        desk.stores.outbox.remove(tx, "1", desk.bob.id)
    assert desk.send()[0].payload.metadata is UNSET


def test_texts_to_one_peer_leave_one_at_a_time(desk: Desk) -> None:
    desk.write("1")
    desk.write("2")
    assert [bool(entry.sealed) for entry in desk.stores.outbox._queue.of(desk.bob.id)] == [True, False]
    assert ids(desk.send()) == ["1"]
    assert desk.send() == []
    desk.sending.disconnected()
    assert ids(desk.send()) == ["1"]


@pytest.mark.parametrize(("left", "sent"), [(0, []), (1, [{"expiresIn": 1}])])
def test_text_that_is_sent_again_has_what_is_left_of_its_time(desk: Desk, left: int, sent: list[Any]) -> None:
    desk.write(expires_in=50, again=True)
    record = desk.vault.get(records.SENT, "1", SentRecord)
    assert record is not None
    with desk.vault.transaction() as tx:
        tx.put(records.SENT, "1", replace(record, expires_at=at(100).persistent + left))
    assert [json.loads(bytes(frame.payload.metadata)) for frame in desk.send(100)] == sent
    assert desk.vault.has(records.OUTBOX, "1") is bool(sent)


HOLDS: dict[str, Callable[[Desk], object]] = {
    "held": lambda desk: desk.sending.hold(desk.bob.id),
    "paused": lambda desk: desk.sending._pacing.pause_peer(desk.bob.id, 10),
    "renewed": lambda desk: desk.sending.exchanges.renew(desk.bob.id),
    "all paused": lambda desk: desk.sending._pacing.pause(RateClass.MESSAGE, 10),
}


@pytest.mark.parametrize("hold", HOLDS.values(), ids=HOLDS)
def test_text_that_has_to_wait_is_not_encrypted_meanwhile(desk: Desk, hold: Callable[[Desk], object]) -> None:
    hold(desk)
    desk.write()
    assert not any(isinstance(frame, frames.Message) for frame in desk.send(0))
    assert not desk.stores.outbox.ready()[0].sealed


def test_changed_key_is_told_once_until_something_changes(desk: Desk) -> None:
    desk.write()
    desk.change(trust=Trust.CHANGED)
    assert [desk.told(0), desk.told(0)] == [["key-changed"], []]
    assert desk.sending.exchanges.has_changed(desk.bob.id)
    desk.sending.reset_backoff(desk.bob.id)
    assert desk.told(0) == ["key-changed"]
    desk.change(trust=Trust.VERIFIED)
    assert ids(desk.send()) == ["1"]


def test_limit_of_the_relay_is_kept(desk: Desk) -> None:
    desk.line.limits[RateClass.MESSAGE] = 1
    assert desk.sending.has_room(desk.line, RateClass.PRESENCE, 0)
    desk.line.limits[RateClass.PRESENCE] = 6
    assert desk.sending.has_room(desk.line, RateClass.PRESENCE, 0)
    assert desk.sending.may_send(desk.line, RateClass.PRESENCE, 0)
    assert not desk.sending.has_room(desk.line, RateClass.PRESENCE, 0)
    desk.write("1")
    assert ids(desk.send()) == ["1"]
    desk.write("2")
    assert not desk.stores.outbox._queue.of(desk.bob.id)[1].sealed
    with desk.vault.transaction() as tx:
        desk.stores.outbox.remove(tx, "1", desk.bob.id)
    assert [desk.told(0), desk.told(0)] == [["paused"], []]
    assert min(desk.sending.waits(1)) == 60_999
    desk.sending.moved()
    assert ids(desk.send()) == ["2"]


# --- refusals ---------------------------------------------------------------------

REFUSALS = {
    "full mailbox": Refusal(RATE, "backlog", 5_000, ["backlog"], 5_000),
    "full mailbox, no time named": Refusal(RATE, "backlog", UNSET, ["backlog"], 1_000),
    "rate": Refusal(RATE, "rate", 5_000, ["paused"], 5_000),
    "rate, a moment": Refusal(RATE, "rate", 0, [], 1_000),
    "unknown user": Refusal(ErrorCode.USER_NOT_FOUND, "user", UNSET, ["unknown-user"], 2_000),
    "full disk": Refusal(ErrorCode.INTERNAL_ERROR, "storage", 2_000, ["storage"], 2_000),
    "clock": Refusal(INVALID, "clock", 9_000, [], 1_000),
    "for good": Refusal(INVALID, "field", UNSET, ["refused"], 0),
    "too large": Refusal(ErrorCode.MESSAGE_TOO_LARGE, "", UNSET, ["refused"], 0),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_refused_text_waits_or_has_failed(desk: Desk, refusal: Refusal) -> None:
    desk.write()
    assert ids(desk.send()) == ["1"]
    found = desk.refuse("1", *refusal[:2], retry_after=refusal.retry_after, now=100)
    assert codes(found.events) == refusal.told
    assert (found.failed is not None) is (refusal.wait == 0)
    assert desk.refuse("1", refusal.code) is None, "it was answered"
    assert desk.sending.waits(100) == ([refusal.wait] if refusal.wait else [])
    if refusal.wait:
        desk.told(99 + refusal.wait)
        assert ids(desk.line.sent) == ["1"]
        desk.told(100 + refusal.wait)
        assert ids(desk.line.sent) == ["1", "1"]
    else:
        assert found.failed.message_id == "1"


def test_answered_request_cannot_be_refused(desk: Desk) -> None:
    desk.write()
    desk.send()
    assert desk.refuse(UNSET, RATE) is None  # type: ignore[arg-type] # an error without an id
    assert desk.refuse("unknown", RATE) is None
    desk.sending.answered(UNSET, "1", desk.bob.id)
    desk.sending.answered("unknown", "1", desk.bob.id)
    desk.sending.answered("1", "1", desk.bob.id)
    assert desk.refuse("1", RATE) is None


@pytest.mark.parametrize("code", [ErrorCode.USER_NOT_FOUND, ErrorCode.MESSAGE_TOO_LARGE])
def test_receipts_that_nobody_can_hear_are_given_up_without_a_word(desk: Desk, code: int) -> None:
    desk.receive("9")
    desk.sending.flush()
    (frame,) = desk.send()
    found = desk.refuse("1", code)
    assert (found.events, found.failed) == ([], None)
    assert not desk.vault.has(records.OUTBOX, frame.payload.message_id)
    assert list(desk.vault.all(records.RECEIPT, records.ReceiptRecord)) == []
    assert desk.send() == []


def test_text_that_was_accepted_once_is_given_up_without_a_word(desk: Desk) -> None:
    desk.write(again=True)
    desk.send()
    found = desk.refuse("1", ErrorCode.MESSAGE_TOO_LARGE)
    assert (found.events, found.failed) == ([], None)
    assert desk.stores.outbox.ready() == []


# --- receipts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "wait"), [(None, 250), (40, 250), (39, 2_000), (20, 2_000), (19, 5_000), (KEEP_FREE, 5_000)]
)
def test_receipts_are_gathered_the_longer_the_fewer_messages_are_left(desk: Desk, limit: int | None, wait: int) -> None:
    if limit is not None:
        desk.line.limits[RateClass.MESSAGE] = limit
    desk.receive("8")
    assert desk.send(100) == []
    assert desk.sending.waits(100) == [wait]
    desk.receive("9")
    assert desk.send(99 + wait) == []
    (frame,) = desk.send(100 + wait)
    assert uuid.UUID(frame.payload.message_id).version == 4
    assert frame.payload.metadata is UNSET
    assert desk.stores.receipts.statuses(desk.bob.id, frame.payload.message_id)["delivered"] == [whole("8"), whole("9")]
    assert desk.sending.waits(100 + wait) == [UNANSWERED_MS], "the relay is to answer"
    desk.receive("10")
    assert desk.send(100_000 + wait) == [], "one batch at a time"


def test_receipts_leave_the_last_messages_of_a_minute_to_texts_but_not_for_ever(desk: Desk) -> None:
    desk.line.limits[RateClass.MESSAGE] = KEEP_FREE - 1
    desk.receive("9")
    assert desk.send(0) == []
    for now in range(5_000, 5_000 + LATEST_MS, 5_000):
        assert desk.send(now) == []
        assert desk.sending.waits(now) == [5_000]
    assert len(desk.send(5_000 + LATEST_MS)) == 1


@pytest.mark.parametrize("why", ["question", "flush"])
def test_question_and_last_words_are_not_gathered(desk: Desk, why: str) -> None:
    desk.line.limits[RateClass.MESSAGE] = KEEP_FREE - 1
    assert not desk.sending._batching.has_urgent(desk.bob.id, at(0))
    desk.receive("9", status=UNDECRYPTABLE if why == "question" else "read")
    if why == "flush":
        desk.sending.flush()
    assert desk.sending._batching.has_urgent(desk.bob.id, at(0))
    desk.write("1")
    assert not desk.stores.outbox.ready()[0].sealed, "what is urgent goes first"
    (frame,) = desk.send(0)
    assert frame.payload.message_id != "1"
    assert desk.stores.outbox.batches(desk.bob.id) == 1
    assert not desk.sending._batching.has_urgent(desk.bob.id, at(0))


def test_program_that_goes_on_after_its_last_words_gathers_again(desk: Desk) -> None:
    desk.sending.flush()
    assert desk.send(0) == []
    desk.receive("9")
    assert desk.send(0) == []
    assert len(desk.send(250)) == 1


def test_last_words_go_on_until_all_of_them_were_taken(desk: Desk) -> None:
    desk.sending.flush()
    desk.receive("9")
    (frame,) = desk.send(0)
    assert desk.send(0) == []
    desk.receive("10")
    assert desk.sending._batching.has_urgent(desk.bob.id, at(0))
    with desk.vault.transaction() as tx:
        desk.stores.outbox.remove(tx, frame.payload.message_id, desk.bob.id)
    assert len(desk.send(0)) == 1


def test_stranger_and_blocked_user_get_no_receipts(desk: Desk) -> None:
    desk.receive("9")
    for changes in ({"blocked": True}, {"blocked": False, "trust": Trust.CHANGED}):
        desk.change(**changes)
        assert [desk.send(0), desk.send(10_000)] == [[], []]
    desk.change(trust=Trust.VERIFIED)
    assert [desk.send(20_000), len(desk.send(20_250))] == [[], 1]


def test_change_or_end_of_a_user_begins_the_gathering_anew(desk: Desk) -> None:
    desk.receive("9")
    for forget in (desk.sending.reset_backoff, desk.sending.drop):
        desk.send(100)
        forget(desk.bob.id)
        assert desk.send(300) == []
        assert desk.sending.waits(300) == [250]


def test_absent_device_tells_and_asks_only_those_who_may_know_that_it_is_there(desk: Desk) -> None:
    desk.sending.visibility.is_absent = True
    desk.receive("9")
    with desk.vault.transaction() as tx:
        desk.stores.recovery.note(tx, desk.bob.id, whole("8"), 0, recoverable=True)
    assert [desk.send(0), desk.send(1_000)] == [[], []]
    desk.sending.visibility.show(desk.bob.id)
    assert [type(frame) for frame in desk.send(1_000)] == [frames.KeyExchangeInit, frames.Message]
    assert desk.stores.receipts.senders() == []


def test_receipt_batch_is_an_entry_without_a_text_of_its_own() -> None:
    now = at(5)
    entry = receipt_entry("1", "bob", now)
    assert entry == OutboxRecord(
        message_id="1", peer="bob", text=None, burn=False, expires_in=None, made_at=time_of(now.wall)
    )
    assert receipt_entry("1", "bob", now, again=True) == replace(entry, again=True)
