"""Mailboxes of a limited size: what contacts and strangers may fill of it, and who gives way."""

import pytest

from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item
from support.store_user import StoreUser

KB = 1_000


@pytest.fixture
def mailbox_bytes() -> int:
    return 100 * KB


def fill(sender: StoreUser, to: StoreUser, size: int, *, mark: int | None = None) -> int:
    """Write messages of a size until one is refused; how many were accepted."""
    count = 0
    while isinstance(sender.write(to, f"{sender.id} {count}", size=size, mark=mark), Item):
        count += 1
        assert count < 1_000
    return count


def held(user: StoreUser, sender: StoreUser) -> list[str]:
    """Which of a sender's messages wait, by their numbers."""
    return [item.name.rpartition(" ")[2] for item in user.mailbox() if item.sender == sender.id]


# --- all of it -------------------------------------------------------------------------


def test_contact_fills_all_of_a_mailbox_and_no_more(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(alice)
    assert fill(alice, bob, 10 * KB) == 9
    assert isinstance(alice.write(carol, "elsewhere", size=10 * KB), Item), "each mailbox counts alone"
    assert isinstance(alice.write(bob, "small", size=2 * KB), Item)
    bob.acknowledge(alice, "small")
    bob.acknowledge(alice, f"{alice.id} 3")
    assert isinstance(alice.write(bob, "in its place", size=10 * KB), Item)
    assert alice.write(bob, "late", size=10 * KB) is AppendRefusal.FULL


def test_full_mailbox_takes_key_exchanges_of_contacts_alone(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(alice)
    fill(alice, bob, 10 * KB)
    assert not isinstance(alice.exchange(bob, text="x" * 8 * KB), AppendRefusal)
    assert carol.exchange(bob, text="x" * 8 * KB) is AppendRefusal.FULL


def test_replacement_counts_as_much_as_it_is_larger(alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    fill(alice, bob, 10 * KB)
    name = f"{alice.id} 4"
    assert isinstance(alice.write(bob, name, "of the same size", size=10 * KB), Item)
    larger = alice.write(bob, name, "and larger", size=15 * KB)
    assert isinstance(larger, Item)
    assert alice.write(bob, name, "much larger", size=25 * KB) is AppendRefusal.FULL
    assert larger in bob.mailbox(), "it stays"
    assert isinstance(alice.write(bob, name, "small"), Item)
    assert fill(alice, bob, 15 * KB) == 0
    assert isinstance(alice.write(bob, "in the room that it left", size=10 * KB), Item)


# --- the strangers' part ---------------------------------------------------------------


def test_strangers_fill_a_quarter_and_contacts_the_rest(
    store: Store, alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    bob.meet(carol)
    assert fill(alice, bob, 5 * KB, mark=1) == 4
    other = StoreUser(store, "of the same address")
    assert other.write(bob, "m", size=5 * KB, mark=1) is AppendRefusal.FULL
    assert other.exchange(bob, text="x" * 5 * KB, mark=1) is AppendRefusal.FULL
    assert fill(carol, bob, 10 * KB) == 7
    assert held(bob, alice) == ["0", "1", "2", "3"]


def test_strangers_whose_address_is_unknown_are_of_one_address(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    fill(alice, bob, 5 * KB)
    assert StoreUser(store, "other").write(bob, "m", size=5 * KB) is AppendRefusal.FULL
    assert isinstance(StoreUser(store, "from elsewhere").write(bob, "m", size=5 * KB, mark=1), Item)


def test_what_is_larger_than_the_strangers_part_is_refused(alice: StoreUser, bob: StoreUser) -> None:
    assert alice.write(bob, "m", size=26 * KB, mark=1) is AppendRefusal.FULL
    assert isinstance(alice.write(bob, "m", size=24 * KB, mark=1), Item)


def test_stranger_to_whom_the_owner_has_written_leaves_the_strangers_part(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    assert fill(alice, bob, 5 * KB, mark=1) == 4
    bob.write(alice, "answer")
    assert fill(carol, bob, 5 * KB, mark=1) == 4
    assert held(bob, alice) == ["0", "1", "2", "3"]


def test_stranger_whose_messages_were_replaced_keeps_no_more_than_before(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    for name in "0123":
        alice.write(bob, name, size=5 * KB, mark=1)
    for name in "0123":
        assert isinstance(alice.write(bob, name, "again", size=5 * KB, mark=1), Item)
    assert StoreUser(store, "other").write(bob, "m", size=5 * KB, mark=1) is AppendRefusal.FULL


# --- who gives way ---------------------------------------------------------------------


def test_oldest_of_the_fullest_address_gives_way(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    for name in "0123":
        alice.write(bob, name, size=5 * KB, mark=1)
    assert isinstance(carol.write(bob, "0", size=5 * KB, mark=2), Item)
    assert (held(bob, alice), held(bob, carol)) == (["1", "2", "3"], ["0"])
    assert isinstance(carol.write(bob, "1", size=5 * KB, mark=2), Item)
    assert (held(bob, alice), held(bob, carol)) == (["2", "3"], ["0", "1"])
    assert carol.write(bob, "2", size=5 * KB, mark=2) is AppendRefusal.FULL, "nobody holds more than she"
    assert (held(bob, alice), held(bob, carol)) == (["2", "3"], ["0", "1"])


@pytest.mark.parametrize("marks", [(1, 2), (2, 1)])
def test_of_two_addresses_that_hold_as_much_the_older_item_goes(
    store: Store, alice: StoreUser, bob: StoreUser, carol: StoreUser, marks: tuple[int, int]
) -> None:
    for name in "01":
        alice.write(bob, name, size=5 * KB, mark=marks[0])
        carol.write(bob, name, size=5 * KB, mark=marks[1])
    assert isinstance(StoreUser(store, "new").write(bob, "m", size=5 * KB, mark=3), Item)
    assert (held(bob, alice), held(bob, carol)) == (["1"], ["0", "1"])


def test_fullest_address_is_the_one_with_most_bytes(
    store: Store, alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    for number in range(10):
        alice.write(bob, str(number), size=400, mark=1)
    carol.write(bob, "large", size=15 * KB, mark=2)
    assert isinstance(StoreUser(store, "new").write(bob, "m", size=5 * KB, mark=3), Item)
    assert (len(held(bob, alice)), held(bob, carol)) == (10, [])


def test_messages_give_way_to_a_key_exchange_and_many_small_ones_to_a_large_one(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    for number in range(40):
        assert isinstance(alice.write(bob, str(number), size=300, mark=1), Item)
    assert not isinstance(carol.exchange(bob, text="x" * 8 * KB, mark=2), AppendRefusal)
    left = [int(name) for name in held(bob, alice)]
    assert left == list(range(left[0], 40)), "the oldest are gone"
    assert 20 <= len(left) <= 35, "and no more than had to go"


def test_nobody_gives_way_to_what_does_not_fit_after_all(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    for number in range(10):
        alice.write(bob, str(number), size=2 * KB, mark=1)
    assert carol.write(bob, "m", size=26 * KB, mark=2) is AppendRefusal.FULL
    assert held(bob, alice) == [str(number) for number in range(10)]
    assert isinstance(carol.write(bob, "n", size=2 * KB, mark=2), Item)


def test_replacement_that_is_larger_has_the_fullest_give_way(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    carol.write(bob, "m", mark=2)
    for name in "0123":
        alice.write(bob, name, size=5 * KB, mark=1)
    assert alice.write(bob, "3", "larger", size=10 * KB, mark=1) is AppendRefusal.FULL
    assert isinstance(carol.write(bob, "m", "larger", size=5 * KB, mark=2), Item)
    assert (held(bob, alice), held(bob, carol)) == (["1", "2", "3"], ["m"])


# --- after something was refused -------------------------------------------------------


def test_replacement_of_the_same_size_is_taken_after_a_refusal(alice: StoreUser, bob: StoreUser) -> None:
    count = fill(alice, bob, 5 * KB, mark=1)
    for content in ("other", "third"):
        assert isinstance(alice.write(bob, f"{alice.id} 0", content, size=5 * KB - len(content), mark=1), Item)
    assert len(bob.mailbox()) == count
