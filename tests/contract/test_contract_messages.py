"""Messages: order, duplicates, replacement, what each sender may fill, pages, expiry."""

import pytest

from phantom_messenger.relay.commands import Accepted, AppendRefusal, MessageName, StoreReceipts
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item, ItemKind, Page
from phantom_messenger.wire.frames import Status
from support.store_user import DAY, HOUR, NOW, WALL, StoreUser, expire, names, run

TEN_MINUTES = 600_000


def read(user: StoreUser, after: int, max_bytes: int, now: int = NOW) -> Page:
    return run(user.store, user.reading(after, max_bytes, now))


# --- order and pages -------------------------------------------------------------------


def test_item_is_what_will_be_sent(alice: StoreUser, bob: StoreUser) -> None:
    item = alice.write(bob, "m")
    assert isinstance(item, Item)
    assert item == Item(item.seq, ItemKind.MESSAGE, alice.id, "m", b"<m  %d>" % item.seq)
    assert bob.mailbox() == [item]


def test_items_stand_in_the_order_of_arrival_and_their_numbers_rise(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    bob.meet(alice, carol)
    alice.write(bob, "1")
    alice.exchange(bob)
    carol.write(bob, "2")
    bob.write(alice, "r")
    alice.acknowledge(bob, "r")
    items = bob.mailbox()
    assert [item.kind for item in items] == [
        ItemKind.MESSAGE,
        ItemKind.KEY_EXCHANGE,
        ItemKind.MESSAGE,
        ItemKind.RECEIPT,
    ]
    seqs = [item.seq for item in items]
    assert seqs[0] > 0
    assert seqs == sorted(set(seqs))


def test_mailboxes_are_apart(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.write(bob, "m")
    assert isinstance(alice.write(carol, "m"), Item)
    assert (bob.names(), carol.names(), alice.names()) == (["m"], ["m"], [])


def test_numbers_are_not_given_again_when_the_mailbox_was_emptied(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    seen: list[int] = []
    for turn in range(3):
        results = alice.store.run([alice.message(bob, f"{turn} {number}") for number in range(400)])
        seen += [result.item.seq for result in results]
        bob.acknowledge(alice, *(f"{turn} {number}" for number in range(400)))
        assert bob.mailbox() == []
    assert seen == sorted(set(seen))


def test_page_ends_behind_the_item_that_fills_it(alice: StoreUser, bob: StoreUser) -> None:
    for number in range(10):
        alice.write(bob, str(number), size=100)
    items = bob.mailbox()
    size = len(items[0].text)
    assert read(bob, 0, 3 * size) == Page(items[:3], complete=False)
    assert read(bob, 0, 3 * size + 1) == Page(items[:4], complete=False)
    assert read(bob, items[2].seq, 3 * size) == Page(items[3:6], complete=False)
    assert read(bob, items[6].seq, 3 * size) == Page(items[7:], complete=True)
    assert read(bob, items[9].seq, 3 * size) == Page([], complete=True)


def test_page_holds_at_least_one_item(alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "1", size=10_000)
    alice.write(bob, "2", size=10_000)
    items = bob.mailbox()
    assert read(bob, 0, 1) == Page(items[:1], complete=False)
    assert read(bob, items[0].seq, 1) == Page(items[1:], complete=True)


# --- who may write ---------------------------------------------------------------------


def test_message_for_nobody_is_refused(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    command = alice.message(bob, "m")
    nobody = type(command)(**{name: getattr(command, name) for name in command.__struct_fields__} | {"recipient": "?"})
    assert store.run([nobody]) == [AppendRefusal.NO_ACCOUNT]


def test_loose_message_is_for_unsigned_accounts_alone(store: Store, alice: StoreUser) -> None:
    signed, unsigned = StoreUser(store, "signed"), StoreUser(store, "unsigned", signed=False)
    assert alice.write(signed, "m", is_loose=True) is AppendRefusal.SIGNED_ONLY
    assert alice.exchange(signed, is_loose=True) is AppendRefusal.SIGNED_ONLY
    assert isinstance(alice.write(unsigned, "m", is_loose=True), Item)
    assert signed.mailbox() == []


def test_second_direction_makes_contacts_once(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    results = [
        run(store, sender.message(to, name))
        for sender, to, name in (
            (alice, bob, "1"),
            (alice, bob, "2"),
            (bob, alice, "3"),
            (bob, alice, "4"),
            (alice, alice, "5"),
        )
    ]
    assert [isinstance(result, Accepted) and result.became_contacts for result in results] == [
        False,
        False,
        True,
        False,
        False,
    ]


# --- duplicates and replacement --------------------------------------------------------


def test_message_is_known_by_sender_and_name(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.write(bob, "m")
    assert alice.write(bob, "m", mark=5) is AppendRefusal.DUPLICATE
    assert isinstance(carol.write(bob, "m"), Item)
    assert isinstance(alice.write(carol, "m"), Item)
    assert len(bob.mailbox()) == 2


@pytest.mark.parametrize("how", ["acknowledged", "expired"])
@pytest.mark.parametrize("content", ["first", "second"])
def test_deleted_message_is_known_for_ten_minutes_whatever_its_content(
    store: Store, alice: StoreUser, bob: StoreUser, how: str, content: str
) -> None:
    alice.write(bob, "m", "first", expires_at=NOW)
    if how == "acknowledged":
        bob.acknowledge(alice, "m")
    else:
        assert expire(store, NOW).deleted == 1
    assert alice.write(bob, "m", content, now=NOW + TEN_MINUTES - 1) is AppendRefusal.DUPLICATE
    assert isinstance(alice.write(bob, "m", content, now=NOW + TEN_MINUTES), Item)


def test_message_encrypted_again_replaces_the_one_that_waits(alice: StoreUser, bob: StoreUser) -> None:
    first = alice.write(bob, "m", "first")
    other = alice.write(bob, "n", "other")
    second = alice.write(bob, "m", "second")
    assert isinstance(first, Item)
    assert isinstance(second, Item)
    assert bob.mailbox() == [other, second]
    assert read(bob, first.seq, 10**6) == Page([other, second], complete=True)  # type: ignore[list-item] # an Item
    assert alice.write(bob, "m", "second", size=5) is AppendRefusal.DUPLICATE, "signed again"
    assert isinstance(alice.write(bob, "m", "first"), Item)
    assert len(bob.mailbox()) == 2


def test_nobody_replaces_the_message_of_another(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    own = alice.write(bob, "m", "of Alice")
    carol.write(bob, "m", "of Carol")
    newer = carol.write(bob, "m", "of Carol again")
    assert bob.mailbox() == [own, newer]


def test_time_of_the_new_one_counts(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "m", "first", expires_at=NOW + 9)
    second = alice.write(bob, "m", "second", expires_at=NOW + 5)
    assert expire(store, NOW + 4).deleted == 0
    assert bob.mailbox(now=NOW + 4) == [second]
    assert expire(store, NOW + 5).deleted == 1


def test_exchange_replaces_an_older_one_of_its_kind(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.exchange(bob, "init", "older")
    alice.exchange(bob, "response")
    carol.exchange(bob, "init")
    newer = alice.exchange(bob, "init", "newer")
    assert bob.names() == ["response", "init", "init"]
    assert not isinstance(newer, AppendRefusal)
    assert bob.mailbox()[-1] == newer.item


# --- what each may fill ----------------------------------------------------------------


def write_many(sender: StoreUser, to: StoreUser, count: int, prefix: str = "") -> list[Accepted | AppendRefusal]:
    return sender.store.run([sender.message(to, f"{prefix}{number}", mark=1) for number in range(count)])


def is_accepted(results: list[Accepted | AppendRefusal]) -> bool:
    return all(isinstance(result, Accepted) for result in results)


def test_mailbox_holds_1000_messages_of_contacts(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(alice)
    assert is_accepted(write_many(alice, bob, 1_000))
    assert alice.write(bob, "one too many") is AppendRefusal.FULL
    assert alice.write(bob, "0") is AppendRefusal.DUPLICATE
    assert isinstance(alice.write(bob, "0", "again"), Item), "it takes the place of the other one"
    assert alice.write(bob, "one too many") is AppendRefusal.FULL
    assert not isinstance(alice.exchange(bob), AppendRefusal)
    assert isinstance(alice.write(carol, "elsewhere"), Item)
    bob.acknowledge(alice, "7")
    assert isinstance(alice.write(bob, "one too many"), Item)


def test_stranger_fills_100_places_and_a_contact_the_rest(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(carol)
    assert is_accepted(write_many(alice, bob, 100))
    assert alice.write(bob, "late", mark=1) is AppendRefusal.FULL
    assert isinstance(alice.write(bob, "0", "again", mark=1), Item)
    assert is_accepted(write_many(carol, bob, 200))
    bob.meet(alice)
    assert isinstance(alice.write(bob, "late"), Item), "Bob has written to Alice meanwhile"


def test_strangers_of_one_address_fill_500_places_and_one_from_elsewhere_gets_one(store: Store, bob: StoreUser) -> None:
    for sender in range(5):
        assert is_accepted(write_many(StoreUser(store, f"stranger {sender}"), bob, 100, f"{sender} "))
    assert StoreUser(store, "stranger 5").write(bob, "late", mark=1) is AppendRefusal.FULL
    assert isinstance(StoreUser(store, "from elsewhere").write(bob, "m", mark=2), Item)
    held = bob.names()
    assert len(held) == 500
    assert "0 0" not in held, "the oldest of the fullest address"
    assert "m" in held


def test_exchanges_of_100_strangers_are_kept_and_those_of_contacts_besides(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    bob.meet(alice)
    for number in range(100):
        assert not isinstance(StoreUser(store, f"stranger {number}").exchange(bob, mark=1), AppendRefusal)
    late = StoreUser(store, "late")
    assert late.exchange(bob, mark=1) is AppendRefusal.FULL
    assert not isinstance(alice.exchange(bob), AppendRefusal)


# --- acknowledging ---------------------------------------------------------------------


def test_acknowledged_message_is_gone_and_its_sender_is_told(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    alice.write(bob, "1")
    alice.write(bob, "2")
    [receipt] = bob.acknowledge(alice, "1")
    assert bob.names() == ["2"]
    assert receipt.sender == alice.id
    assert alice.mailbox() == [receipt.item]
    assert (receipt.item.kind, receipt.item.sender, receipt.item.name) == (ItemKind.RECEIPT, bob.id, "1")
    assert b'"delivered"' in receipt.item.text
    assert bob.acknowledge(alice, "1") == [], "delivered again is no news"
    assert len(bob.acknowledge(alice, "1", status=Status.READ)) == 1


def test_batch_is_acknowledged_at_once(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    for name in "123":
        alice.write(bob, name)
    receipts = bob.acknowledge(alice, "1", "unknown", "3")
    assert [receipt.item.name for receipt in receipts] == ["1", "3"]
    assert bob.names() == ["2"]


def test_later_receipt_replaces_the_one_that_waits_and_delivered_replaces_none(
    alice: StoreUser, bob: StoreUser
) -> None:
    bob.meet(alice)
    alice.write(bob, "m")
    bob.acknowledge(alice, "m")
    [read] = bob.acknowledge(alice, "m", status=Status.READ)
    assert alice.mailbox() == [read.item]
    run(
        bob.store,
        StoreReceipts(
            recipient=bob.id, outcomes=[(MessageName(alice.id, "m"), Status.DELIVERED)], wall_ms=WALL, now=NOW
        ),
    )
    assert alice.mailbox() == [read.item]


def test_nobody_is_told_who_may_not_or_is_not_to_be(alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "of a stranger")
    assert bob.acknowledge(alice, "of a stranger", status=Status.READ) == []
    bob.meet(alice)
    alice.write(bob, "without")
    assert bob.acknowledge(alice, "without", may_notify=False) == []
    assert (alice.mailbox(), bob.mailbox()) == ([], [])


def test_only_the_message_that_is_named_is_acknowledged(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(alice, carol)
    carol.meet(alice)
    alice.write(bob, "m")
    bob.acknowledge(alice, "n")
    bob.acknowledge(carol, "m")
    carol.acknowledge(alice, "m")
    assert bob.names() == ["m"]


def test_receipts_and_exchanges_are_confirmed_by_number_and_messages_are_not(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    bob.meet(alice)
    bob.write(alice, "r")
    alice.acknowledge(bob, "r")
    alice.exchange(bob)
    alice.write(bob, "m")
    seqs = [item.seq for item in bob.mailbox()]
    carol.confirm(*seqs)
    assert len(bob.mailbox()) == 3
    bob.confirm(*seqs, 10**15)
    assert bob.names() == ["m"]


def test_1000_receipts_of_each_contact_are_kept(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    for part in range(2):
        names_of_part = [f"{part} {number}" for number in range(500)]
        assert is_accepted(store.run([bob.message(alice, name) for name in names_of_part]))
        assert len(alice.acknowledge(bob, *names_of_part)) == 500
    bob.write(alice, "late")
    assert alice.acknowledge(bob, "late") == []
    assert len(bob.mailbox()) == 1_000


# --- expiry ----------------------------------------------------------------------------


def test_expired_messages_are_not_read_and_then_deleted_up_to_a_number(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    bob.meet(alice)
    for number in range(5):
        alice.write(bob, str(number), expires_at=NOW + number)
    alice.write(bob, "for ever")
    assert bob.names(now=NOW + 3) == ["4", "for ever"]
    first = expire(store, NOW + 3, limit=3)
    assert first.deleted == 3
    assert [receipt.item.name for receipt in first.receipts] == ["0", "1", "2"]
    assert all(b'"expired"' in receipt.item.text for receipt in first.receipts)
    assert [expire(store, NOW + 3, limit=3).deleted for _ in range(2)] == [1, 0]
    assert bob.names(now=NOW + 3) == ["4", "for ever"]
    assert alice.names() == ["0", "1", "2", "3"]


def test_what_has_waited_too_long_is_deleted_and_strangers_are_told_nothing(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    alice.write(bob, "old", now=NOW)
    alice.exchange(bob, now=NOW)
    alice.write(bob, "young", now=NOW + HOUR)
    expired = expire(store, NOW + DAY, stored_before=NOW)
    assert (expired.deleted, expired.receipts) == (2, [])
    assert names(bob.mailbox(now=NOW + DAY)) == ["young"]
    assert expire(store, NOW + DAY, stored_before=NOW).deleted == 0


def test_what_has_waited_too_long_goes_up_to_a_number_the_oldest_first(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    bob.meet(alice)
    for number in range(4):
        alice.write(bob, str(number), now=NOW + number)
    assert expire(store, NOW + DAY, stored_before=NOW - 1).deleted == 0
    first = expire(store, NOW + DAY, limit=2, stored_before=NOW + 2)
    assert (first.deleted, [receipt.item.name for receipt in first.receipts]) == (2, ["0", "1"])
    assert bob.names(now=NOW + DAY) == ["2", "3"]
    assert [expire(store, NOW + DAY, limit=2, stored_before=NOW + 2).deleted for _ in range(2)] == [1, 0]
    assert bob.names(now=NOW + DAY) == ["3"]


@pytest.mark.parametrize("expires_at", [NOW, None], ids=["expired", "stored long ago"])
def test_sweep_deletes_about_1_mib(store: Store, alice: StoreUser, bob: StoreUser, expires_at: int | None) -> None:
    for number in range(12):
        alice.write(bob, str(number), size=200_000, expires_at=expires_at)
    sweeps = [expire(store, NOW, stored_before=NOW).deleted for _ in range(3)]
    assert sweeps == [6, 6, 0]
    assert bob.mailbox() == []


def test_page_looks_behind_items_that_have_expired(alice: StoreUser, bob: StoreUser) -> None:
    for number in range(3):
        alice.write(bob, str(number), size=100, expires_at=NOW + 1)
    late = alice.write(bob, "late", size=100)
    assert isinstance(late, Item)
    assert read(bob, 0, 1, NOW + 1) == Page([late], complete=True)
    assert names(read(bob, 0, 150, NOW).items) == ["0", "1"]
