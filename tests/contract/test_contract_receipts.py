"""Receipts: what senders learn of their messages, when, and what is kept from them for a while."""

from collections.abc import Callable

import pytest

from phantom_messenger.relay.commands import (
    AcknowledgeHidden,
    AppendRefusal,
    DeliveryOutcome,
    MessageName,
    StoredReceipt,
    StoreReceipts,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import ItemKind
from phantom_messenger.wire.frames import Status
from support.store_user import DAY, HOUR, NOW, WALL, StoreUser, expire, run

TIME = b'"timestamp":%d' % WALL


def hide(
    user: StoreUser, sender: StoreUser, *names: str, status: Status = Status.DELIVERED, life: int = DAY, now: int = NOW
) -> list[tuple[str, DeliveryOutcome]]:
    """Acknowledge as a user who looks absent; message ids and outcomes, all of which are the sender's."""
    messages = [MessageName(sender.id, name) for name in names]
    command = AcknowledgeHidden(actor=user.actor, messages=messages, status=status, now=now, mail_life_ms=life)
    found = run(user.store, command)
    assert {name.sender for name, _ in found} <= {sender.id}
    return [(name.message_id, outcome) for name, outcome in found]


def store_receipts(
    recipient: StoreUser, sender: StoreUser, *outcomes: tuple[str, Status], now: int = NOW
) -> list[StoredReceipt]:
    named = [(MessageName(sender.id, name), status) for name, status in outcomes]
    return run(recipient.store, StoreReceipts(recipient=recipient.id, outcomes=named, wall_ms=WALL, now=now))


# --- hidden ----------------------------------------------------------------------------


def test_hidden_acknowledgement_removes_what_is_named_and_leaves_no_receipt(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    for name in "123":
        alice.write(bob, name)
    found = hide(bob, alice, "1", "unknown", "3", now=NOW + HOUR)
    outcome = DeliveryOutcome(Status.DELIVERED, NOW + HOUR, NOW + DAY)
    assert found == [("1", outcome), ("3", outcome)]
    assert (bob.names(), alice.mailbox()) == (["2"], [])


@pytest.mark.parametrize(
    ("expires_at", "life", "end"),
    [(None, DAY, NOW + DAY), (NOW + HOUR, DAY, NOW + HOUR), (NOW + DAY, HOUR, NOW + HOUR)],
)
def test_hidden_outcome_says_when_the_message_would_have_expired(
    alice: StoreUser, bob: StoreUser, expires_at: int | None, life: int, end: int
) -> None:
    bob.meet(alice)
    alice.write(bob, "m", expires_at=expires_at)
    later = NOW + HOUR // 2
    assert hide(bob, alice, "m", life=life, now=later) == [("m", DeliveryOutcome(Status.DELIVERED, later, end))]


def test_hidden_delivery_is_news_once_and_reading_always(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    alice.write(bob, "m")
    assert len(hide(bob, alice, "m")) == 1
    assert hide(bob, alice, "m") == []
    for status in (Status.READ, Status.BURNED):
        assert hide(bob, alice, "m", status=status) == [("m", DeliveryOutcome(status, NOW, None))]


def test_nothing_is_hidden_from_strangers_who_would_learn_nothing(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    bob.meet(carol)
    alice.write(bob, "m")
    assert hide(bob, alice, "m") == []
    assert hide(bob, alice, "m", status=Status.READ) == []
    assert bob.mailbox() == [], "it is removed all the same"
    carol.write(bob, "n")
    assert len(hide(bob, carol, "n")) == 1


def test_message_that_was_acknowledged_in_hiding_is_known(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    alice.write(bob, "m")
    hide(bob, alice, "m")
    assert alice.write(bob, "m") is AppendRefusal.DUPLICATE
    assert bob.mailbox() == []


# --- told later ------------------------------------------------------------------------


def test_receipts_that_were_kept_waiting_are_stored_in_their_order(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    found = store_receipts(bob, alice, ("1", Status.DELIVERED), ("2", Status.READ), ("3", Status.BURNED))
    assert [receipt.sender for receipt in found] == [alice.id] * 3
    assert alice.mailbox() == [receipt.item for receipt in found]
    for receipt, name, status in zip(found, "123", (b"delivered", b"read", b"burned"), strict=True):
        assert (receipt.item.kind, receipt.item.sender, receipt.item.name) == (ItemKind.RECEIPT, bob.id, name)
        assert b'"%b"' % status in receipt.item.text
        assert TIME in receipt.item.text


def test_receipts_for_strangers_are_not_stored(alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "m")
    assert store_receipts(bob, alice, ("m", Status.READ)) == []
    assert alice.mailbox() == []


def test_delivered_does_not_replace_what_waits(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    [first] = store_receipts(bob, alice, ("m", Status.DELIVERED))
    assert store_receipts(bob, alice, ("m", Status.DELIVERED)) == []
    assert alice.mailbox() == [first.item]
    [second] = store_receipts(bob, alice, ("m", Status.BURNED))
    assert alice.mailbox() == [second.item]


# --- their own times -------------------------------------------------------------------


def acknowledged(alice: StoreUser, bob: StoreUser) -> list[StoredReceipt]:
    alice.write(bob, "m")
    return bob.acknowledge(alice, "m", now=NOW + HOUR)


def expired(alice: StoreUser, bob: StoreUser) -> list[StoredReceipt]:
    alice.write(bob, "m", expires_at=NOW + HOUR)
    return expire(alice.store, NOW + HOUR).receipts


def told_later(alice: StoreUser, bob: StoreUser) -> list[StoredReceipt]:
    return store_receipts(bob, alice, ("m", Status.READ), now=NOW + HOUR)


@pytest.mark.parametrize("leave", [acknowledged, expired, told_later])
def test_receipt_shows_the_wall_clock_and_ages_by_persistent_time(
    store: Store, alice: StoreUser, bob: StoreUser, leave: Callable[[StoreUser, StoreUser], list[StoredReceipt]]
) -> None:
    bob.meet(alice)
    [receipt] = leave(alice, bob)
    assert receipt.item.text.count(TIME) == 2, "of the frame and of its payload"
    assert receipt.item.expires_at is None
    assert expire(store, NOW + DAY, stored_before=NOW + HOUR - 1).deleted == 0
    assert alice.mailbox() == [receipt.item]
    assert expire(store, NOW + DAY, stored_before=NOW + HOUR).deleted == 1
    assert alice.mailbox() == []
