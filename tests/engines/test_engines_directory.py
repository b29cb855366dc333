"""The contract of ``relay.ports.Directory``, for every engine."""

import pytest

from phantom_messenger.relay.ports import Job, Store
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    append,
    bind,
    exchange,
    key_of,
    message,
    names,
    publication,
    receipt,
    run,
    waiting,
)


def write(store: Store, sender: str, recipient: str, conversation: str = "c") -> None:
    run(store, noting(sender, recipient, conversation))


def noting(sender: str, recipient: str, conversation: str) -> Job:
    return lambda tx: tx.directory.note_written(sender, recipient, conversation)


# --- whose id it is ---------------------------------------------------------------


def test_account_is_made_once_and_confirmed(store: Store) -> None:
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) is None
    bind(store, ALICE)
    bind(store, ALICE)
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) == key_of(ALICE)


@pytest.mark.parametrize(
    ("first", "second", "wins"),
    [(False, False, False), (False, True, True), (True, False, False), (True, True, False)],
)
def test_only_a_certified_claim_takes_an_uncertified_id(store: Store, first: bool, second: bool, wins: bool) -> None:
    assert run(store, lambda tx: tx.directory.bind(ALICE, "first", certified=first))
    assert run(store, lambda tx: tx.directory.bind(ALICE, "second", certified=second)) is wins
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) == ("second" if wins else "first")
    assert run(store, lambda tx: tx.directory.bind(ALICE, "first", certified=False)) is not wins


def fill(store: Store) -> None:
    """Alice has one of everything, and so has Bob from her."""
    bind(store, ALICE, BOB)
    write(store, ALICE, BOB)
    write(store, BOB, ALICE)
    for item in (message("m", BOB), receipt("r", BOB), exchange("x", BOB)):
        append(store, item, ALICE)
    for item in (message("m"), receipt("r"), exchange("x")):
        append(store, item, BOB)
    run(store, lambda tx: tx.directory.set_last_seen(ALICE, NOW))
    run(store, lambda tx: tx.prekeys.publish(ALICE, publication([1], [1], last_resort=True)))


def assert_nothing_of_alice(store: Store) -> None:
    assert waiting(store, ALICE) == []
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) is None
    assert run(store, lambda tx: tx.prekeys.take(ALICE, BOB, NOW)) is None
    assert run(store, lambda tx: tx.prekeys.counts(ALICE)).one_time == 0
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    assert run(store, lambda tx: tx.directory.contacts(BOB)) == []


def test_deleted_account_leaves_only_what_it_had_sent(store: Store) -> None:
    fill(store)
    run(store, lambda tx: tx.directory.delete(ALICE))
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) is None
    assert names(waiting(store, BOB)) == ["m", "r", "x"]
    bind(store, ALICE)
    assert_nothing_of_alice(store)


def test_id_that_was_taken_over_starts_empty(store: Store) -> None:
    fill(store)
    assert run(store, lambda tx: tx.directory.bind(ALICE, "certified", certified=True))
    assert_nothing_of_alice(store)


def test_deleting_is_idempotent(store: Store) -> None:
    bind(store, ALICE)
    for _ in range(2):
        run(store, lambda tx: tx.directory.delete(ALICE))
    run(store, lambda tx: tx.directory.delete("nobody"))


# --- last seen --------------------------------------------------------------------


def test_last_seen_is_what_was_set_last(store: Store) -> None:
    bind(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) is None
    for at in (NOW, NOW + 60_000):
        run(store, lambda tx, at=at: tx.directory.set_last_seen(ALICE, at))  # type: ignore[misc]
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) == NOW + 60_000
    assert run(store, lambda tx: tx.directory.last_seen(BOB)) is None
    run(store, lambda tx: tx.directory.set_last_seen("nobody", NOW))
    assert run(store, lambda tx: tx.directory.last_seen("nobody")) is None


# --- who has written to whom ------------------------------------------------------


def test_writing_has_a_direction(store: Store) -> None:
    bind(store, ALICE, BOB)
    write(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, "nobody"))


def test_contacts_have_written_both_ways(store: Store) -> None:
    bind(store, ALICE, BOB, CAROL)
    write(store, ALICE, BOB)
    write(store, CAROL, ALICE)
    assert run(store, lambda tx: tx.directory.contacts(ALICE)) == []
    write(store, BOB, ALICE, "another")
    write(store, BOB, ALICE, "another")
    assert run(store, lambda tx: tx.directory.contacts(ALICE)) == [BOB]
    assert run(store, lambda tx: tx.directory.contacts(BOB)) == [ALICE]
    assert run(store, lambda tx: tx.directory.contacts(CAROL)) == []


def test_nobody_is_a_contact_of_oneself(store: Store) -> None:
    bind(store, ALICE)
    write(store, ALICE, ALICE)
    assert run(store, lambda tx: tx.directory.contacts(ALICE)) == []
    assert run(store, lambda tx: tx.directory.participants(ALICE, "c")) == []
    assert run(store, lambda tx: tx.directory.has_written(ALICE, ALICE))


def test_participants_used_the_conversation_both_ways(store: Store) -> None:
    bind(store, ALICE, BOB, CAROL)
    write(store, ALICE, BOB, "one")
    write(store, BOB, ALICE, "one")
    write(store, ALICE, CAROL, "one")
    write(store, CAROL, ALICE, "two")
    assert run(store, lambda tx: tx.directory.participants(ALICE, "one")) == [BOB]
    assert run(store, lambda tx: tx.directory.participants(ALICE, "two")) == []
    assert run(store, lambda tx: tx.directory.participants(BOB, "one")) == [ALICE]


@pytest.mark.parametrize("exchange_first", [True, False])
def test_16_newest_conversations_of_a_pair_are_kept(store: Store, exchange_first: bool) -> None:
    bind(store, ALICE, BOB)
    conversations = [str(number) for number in range(16)]
    for conversation in ["", *conversations] if exchange_first else [*conversations, ""]:
        write(store, ALICE, BOB, conversation)
        write(store, BOB, ALICE, conversation)
    for conversation in conversations:
        found = run(store, lambda tx, known=conversation: tx.directory.participants(ALICE, known))  # type: ignore[misc]
        assert found == [BOB], conversation


def test_conversations_of_a_pair_are_bounded(store: Store) -> None:
    bind(store, ALICE, BOB)
    for number in range(200):
        store.run([noting(ALICE, BOB, str(number)), noting(BOB, ALICE, str(number))])
    kept = [
        number
        for number in range(200)
        if run(store, lambda tx, known=str(number): tx.directory.participants(ALICE, known))  # type: ignore[misc]
    ]
    assert len(kept) <= 20
    assert kept[-16:] == list(range(184, 200))
    assert run(store, lambda tx: tx.directory.contacts(ALICE)) == [BOB]
