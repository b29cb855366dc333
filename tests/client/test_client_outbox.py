"""What waits in the outbox, in which order it leaves, and what a device lets be seen of it."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from client_samples import KEY, fast_folder

from phantom_messenger.client import records
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.outbox_queue import Queue
from phantom_messenger.client.records import OutboxRecord, SentRecord, UnansweredRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.unanswered import LOST_MS
from phantom_messenger.client.vault import Vault
from phantom_messenger.client.visibility import Visibility


def entry(
    number: str, peer: str = "bob", *, text: str | None = "x", again: bool = False, sealed: bytes = b""
) -> OutboxRecord:
    return OutboxRecord(
        message_id=number, peer=peer, text=text, burn=False, expires_in=None, made_at=0, again=again, sealed=sealed
    )


def sent(number: str, peer: str = "bob", *, state: DeliveryState = DeliveryState.QUEUED) -> SentRecord:
    return SentRecord(message_id=number, peer=peer, text="x", made_at=0, burn=False, state=state, expires_in=None)


def ids(found: list[OutboxRecord]) -> list[str]:
    return [one.message_id for one in found]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    with fast_folder(tmp_path) as folder:
        made = Vault(folder / "a.vault", KEY)
        yield made
        made.close()


@pytest.fixture
def outbox(vault: Vault) -> Outbox:
    return Outbox(vault)


def put(vault: Vault, outbox: Outbox, *entries: OutboxRecord) -> None:
    with vault.transaction() as tx:
        for one in entries:
            tx.put(records.SENT, one.message_id, sent(one.message_id, one.peer))
            outbox.put(tx, one)


# --- the order --------------------------------------------------------------------


def test_queue_counts_what_waits_by_sort_and_user() -> None:
    queue = Queue()
    for one in (entry("1"), entry("2", again=True), entry("3", text=None), entry("4", "carol")):
        queue.put(one)
    assert (dict(queue.texts), dict(queue.fresh)) == ({"bob": 2, "carol": 1}, {"bob": 1, "carol": 1})
    assert dict(queue.receipts) == {"bob": 1}
    queue.put(entry("1", sealed=b"s"))
    assert queue.texts["bob"] == 2
    for number in ("1", "2", "3", "4", "4", "of before"):
        queue.remove(number)
    assert (queue.texts, queue.fresh, queue.receipts) == ({}, {}, {})
    assert queue.in_order() == queue.of("bob") == queue.firsts(busy=()) == []


def test_entry_that_changes_keeps_its_turn_and_one_put_first_goes_before_all() -> None:
    queue = Queue()
    for number in ("1", "9", "5", "3"):
        queue.put(entry(number))
    queue.put(entry("1", sealed=b""))
    assert ids(queue.of("bob")) == ["1", "9", "5", "3"]
    queue.put(entry("3"), first=True)
    queue.put(entry("8"), first=True)
    assert ids(queue.of("bob")) == ids(queue.in_order()) == ["8", "3", "1", "9", "5"]
    assert queue.get("3") == entry("3")
    assert ids(queue.firsts(busy=())) == ["8"]


def test_nothing_is_put_before_what_is_encrypted_already_but_a_newer_form_of_it() -> None:
    queue = Queue()
    queue.put(entry("1", sealed=b"s"))
    queue.put(entry("2"))
    queue.put(entry("3"), first=True)
    assert ids(queue.of("bob")) == ["1", "3", "2"]
    queue.put(entry("1"), first=True)
    assert ids(queue.of("bob")) == ["1", "3", "2"]
    queue.put(entry("4"), first=True)
    assert ids(queue.of("bob")) == ["4", "1", "3", "2"]


def test_first_of_each_user_leaves_in_the_order_of_turns_unless_they_are_busy() -> None:
    queue = Queue()
    for number, peer in (("1", "carol"), ("2", "bob"), ("3", "carol"), ("4", "dave")):
        queue.put(entry(number, peer))
    assert ids(queue.firsts(busy={"dave"})) == ["1", "2"]
    queue.remove("1")
    assert ids(queue.firsts(busy=())) == ["2", "3", "4"]
    queue.put(entry("4", "dave"), first=True)
    assert ids(queue.firsts(busy=())) == ["4", "2", "3"]


# --- the outbox -------------------------------------------------------------------


def test_receipts_leave_behind_texts_unless_they_are_sent_again(vault: Vault, outbox: Outbox) -> None:
    put(
        vault,
        outbox,
        entry("1", "anne", text=None),
        entry("2", "bob"),
        entry("3", "carol", text=None, again=True),
        entry("4", "dave"),
    )
    assert ids(outbox.ready()) == ["2", "3", "4", "1"]
    outbox.in_flight(entry("2"))
    assert ids(outbox.ready()) == ["3", "4", "1"]
    assert outbox.is_waiting_for("bob")
    outbox.refused(entry("2"))
    assert ids(outbox.ready())[0] == "2"
    assert (outbox.texts(), outbox.texts("bob"), outbox.batches(), outbox.batches("anne")) == (2, 1, 2, 1)
    assert (outbox.is_for("bob"), outbox.is_for("carol"), outbox.is_waiting_for("nobody")) == (True, False, False)
    assert outbox.to_resend("carol") == ["3"]
    assert outbox.to_resend("bob") == []


def test_entry_that_is_over_leaves_with_what_is_in_flight(vault: Vault, outbox: Outbox) -> None:
    put(vault, outbox, entry("1", sealed=b"old"))
    outbox.in_flight(entry("1", sealed=b"old"))
    put(vault, outbox, entry("1", sealed=b"new"))  # it is to be sent again meanwhile
    with vault.transaction() as tx:
        outbox.remove(tx, "1", "carol")
        outbox.remove(tx, "1", "bob")
    assert ids(outbox.ready()) == ["1"], "the older form was accepted"
    outbox.in_flight(entry("1", sealed=b"old"))
    with vault.transaction() as tx:
        outbox.remove(tx, "1", "bob", is_over=True)
    assert not outbox.is_waiting_for("bob")
    assert not vault.has(records.OUTBOX, "1")


def test_text_that_is_not_sealed_is_open_until_it_is_and_again_when_its_session_is_gone(
    vault: Vault, outbox: Outbox
) -> None:
    put(vault, outbox, entry("1"), entry("2", sealed=b"s"))
    assert [outbox.is_open(number) for number in ("1", "2", "3")] == [True, False, False]
    with vault.transaction() as tx:
        outbox.unseal(tx, "bob")
    assert [outbox.is_open(number) for number in ("1", "2", "3")] == [True, True, False]
    assert ids(outbox.ready()) == ["1"]


def test_overtaken_texts_are_those_accepted_before_an_answered_one(vault: Vault, outbox: Outbox) -> None:
    with vault.transaction() as tx:
        for number in ("1", "2", "3", "4"):
            record = sent(number)
            tx.put(records.SENT, number, record)
            outbox.advance(tx, record, DeliveryState.ACCEPTED, 0)
    assert outbox.overtaken("bob", ["3"]) == ["1", "2"]
    assert outbox.overtaken("bob", ["1", "3"]) == ["2"]
    assert outbox.overtaken("bob", ["unknown"]) == outbox.overtaken("carol", ["3"]) == []
    with vault.transaction() as tx:
        outbox.put(tx, entry("2", again=True))
    assert outbox.overtaken("bob", ["3"]) == ["1"]
    assert Outbox(vault).overtaken("bob", ["4"]) == ["1", "3"]


def test_overtaken_text_is_lost_after_eleven_minutes_and_named_once(vault: Vault, outbox: Outbox) -> None:
    with vault.transaction() as tx:
        for number in ("1", "2"):
            record = sent(number)
            tx.put(records.SENT, number, record)
            outbox.advance(tx, record, DeliveryState.ACCEPTED, 0)
    outbox.mark_presumed_lost("bob", ["1", "2", "answered"], 1_000)
    outbox.mark_presumed_lost("bob", ["1"], 2_000)
    assert outbox.presumed_lost(1_000 + LOST_MS - 1) == {}
    assert outbox.presumed_lost(1_000 + LOST_MS) == {"bob": ["1", "2"]}
    assert outbox.presumed_lost(1_000 + 2 * LOST_MS) == {}


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, None),
        ({"expires_in": 500}, 500),
        ({"expires_in": 500, "expires_at": 101}, 1),
        ({"key": b"known"}, None),
        ({"resends": MAX_RESENDS - 1}, None),
        ({"state": int(DeliveryState.READ)}, None),
    ],
)
def test_text_is_sent_again_with_what_is_left_of_its_time(
    vault: Vault, outbox: Outbox, changes: dict[str, object], left: int | None
) -> None:
    record = msgspec.structs.replace(sent("1", state=DeliveryState.ACCEPTED), **changes)
    with vault.transaction() as tx:
        tx.put(records.SENT, "1", record)
        assert outbox.resend(tx, "bob", ["1", "1", "unknown"], 100, b"known") == 1
    (found,) = outbox.ready()
    assert found == msgspec.structs.replace(entry("1", again=True), expires_in=left)
    counted = vault.get(records.SENT, "1", SentRecord)
    assert counted is not None
    assert counted.resends == record.resends + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"text": None},
        {"state": int(DeliveryState.FAILED)},
        {"state": int(DeliveryState.EXPIRED)},
        {"key": b"another"},
        {"resends": MAX_RESENDS},
        {"expires_in": 500, "expires_at": 100},
        {"peer": "carol"},
    ],
)
def test_text_that_is_over_or_was_for_somebody_else_is_not_sent_again(
    vault: Vault, outbox: Outbox, changes: dict[str, object]
) -> None:
    record = msgspec.structs.replace(sent("1", state=DeliveryState.ACCEPTED), **changes)
    with vault.transaction() as tx:
        tx.put(records.SENT, "1", record)
        tx.put(records.UNANSWERED, "1", UnansweredRecord(message_id="1", peer="bob"))
        assert outbox.resend(tx, "bob", ["1"], 100, b"known") == 0
    assert outbox.ready() == []
    assert vault.get(records.SENT, "1", SentRecord) == record
    assert vault.has(records.UNANSWERED, "1") is (record.peer == "carol")


def test_texts_to_be_sent_again_leave_in_the_order_in_which_they_were_written(vault: Vault, outbox: Outbox) -> None:
    with vault.transaction() as tx:
        for number in ("1", "2", "3"):
            tx.put(records.SENT, number, sent(number, state=DeliveryState.ACCEPTED))
        assert outbox.resend(tx, "bob", ["3", "1", "2"], 0, b"") == 3
        outbox.put(tx, entry("4"))
    assert outbox.to_resend("bob") == ["1", "2", "3"]
    assert Outbox(vault).to_resend("bob") == ["1", "2", "3"]


# --- what may be seen -------------------------------------------------------------


def test_device_that_looks_absent_sends_what_its_user_writes_and_nothing_else(vault: Vault, outbox: Outbox) -> None:
    visibility = Visibility(outbox)
    own, again, receipt = entry("1", "anne"), entry("2", again=True), entry("3", text=None)
    put(vault, outbox, again, receipt)
    assert not any(map(visibility.is_hidden, (own, again, receipt)))
    visibility.show("bob")  # nothing to allow: everything is
    visibility.free("3")
    visibility.is_absent = True
    assert [visibility.is_hidden(one) for one in (own, again, receipt)] == [False, True, True]
    assert visibility.is_hidden_from("bob")
    visibility.free("3")
    assert [visibility.is_hidden(one) for one in (again, receipt)] == [True, False]
    visibility.show("bob")
    assert not visibility.is_hidden(again)


def test_absent_device_is_seen_by_those_who_are_written_to(vault: Vault, outbox: Outbox) -> None:
    visibility = Visibility(outbox)
    visibility.is_absent = True
    receipt = entry("3", text=None)
    assert not visibility.may_introduce("bob")
    put(vault, outbox, entry("1"))
    assert not visibility.is_hidden_from("bob")
    assert not visibility.is_hidden(receipt)
    assert visibility.may_introduce("bob")
    visibility.introduce("carol")
    assert visibility.may_introduce("carol")
    assert visibility.is_hidden_from("carol")


def test_user_may_know_once_and_until_nothing_waits_for_them(outbox: Outbox) -> None:
    visibility = Visibility(outbox)
    assert visibility.may_know("bob")
    visibility.is_absent = True
    assert not visibility.may_know("bob")
    visibility.show("bob")
    visibility.show("carol")
    assert visibility.may_know("bob")
    visibility.forget_all_but(["carol", "dave"])
    assert [visibility.may_know(peer) for peer in ("bob", "carol", "dave")] == [False, True, False]
