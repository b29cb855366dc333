"""The directory inside the SQLite engine; what it promises is in tests/contract."""

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore, directory
from phantom_messenger.engines.sqlite.tables import StoreJob, Tables
from phantom_messenger.relay.commands import CommandFailed
from support.people import key_text
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    append,
    bind,
    exchange,
    failing,
    key_of,
    message,
    names,
    publication,
    receipt,
    run,
    waiting,
)


def write(store: SQLiteStore, sender: str, recipient: str, conversation: str = "c") -> None:
    run(store, noting(sender, recipient, conversation))


def noting(sender: str, recipient: str, conversation: str) -> StoreJob:
    return lambda tx: tx.directory.record_written(sender, recipient, conversation)


# --- whose id it is ---------------------------------------------------------------


# An account that nobody has proved a key for: who may have its id, with the same key or another.
UNPROVED = [
    # key, certified, signed -> may have it, and whether it is another account then
    ("first", False, False, True, False),
    ("first", False, True, True, True),
    ("first", True, True, True, True),
    ("second", False, False, False, False),
    ("second", False, True, False, False),
    ("second", True, True, True, True),
]


@pytest.mark.parametrize(("key", "certified", "signed", "wins", "is_new"), UNPROVED)
def test_account_without_a_proof_ends_with_the_first_proof(  # noqa: PLR0917 - a table
    store: SQLiteStore, key: str, certified: bool, signed: bool, wins: bool, is_new: bool
) -> None:
    assert run(store, lambda tx: tx.directory.bind(ALICE, "first", certified=False, signed=False))
    run(store, lambda tx: tx.directory.bind(BOB, "bob", certified=True))
    run(store, lambda tx: tx.directory.record_written(ALICE, BOB, "c"))
    assert not run(store, lambda tx: tx.directory.signs(ALICE))
    assert run(store, lambda tx: tx.directory.bind(ALICE, key, certified=certified, signed=signed)) is wins
    assert run(store, lambda tx: tx.directory.signs(ALICE)) is (wins and signed)
    assert run(store, lambda tx: tx.directory.has_written(ALICE, BOB)) is not is_new


@pytest.mark.parametrize("certified", [False, True])
@pytest.mark.parametrize("key", ["first", "second"])
def test_account_with_a_proof_is_for_nobody_without(store: SQLiteStore, certified: bool, key: str) -> None:
    assert run(store, lambda tx: tx.directory.bind(ALICE, "first", certified=certified))
    assert not run(store, lambda tx: tx.directory.bind(ALICE, key, certified=False, signed=False))
    assert not run(store, lambda tx: tx.directory.bind(ALICE, key, certified=True, signed=False))
    assert run(store, lambda tx: (tx.directory.signs(ALICE), tx.directory.public_key(ALICE))) == (True, "first")
    assert not run(store, lambda tx: tx.directory.signs(BOB))


def fill(store: SQLiteStore) -> None:
    """Alice has one of everything, and so has Bob from her."""
    bind(store, ALICE, BOB)
    write(store, ALICE, BOB)
    write(store, BOB, ALICE)
    for item in (message("m", BOB), receipt("r", BOB), exchange("x", BOB)):
        append(store, item, ALICE)
    for item in (message("m"), receipt("r"), exchange("x")):
        append(store, item, BOB)
    run(store, lambda tx: tx.directory.record_last_seen(ALICE, NOW))
    run(store, lambda tx: tx.prekeys.publish(ALICE, publication([1], [1], last_resort=True)))


def assert_nothing_of_alice(store: SQLiteStore) -> None:
    assert waiting(store, ALICE) == []
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) is None
    assert run(store, lambda tx: tx.prekeys.hand_out(ALICE, BOB, NOW)) is None
    assert run(store, lambda tx: tx.prekeys.counts(ALICE)).one_time == 0
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    assert run(store, lambda tx: tx.directory.contacts(BOB)) == []


def test_deleted_account_leaves_only_what_it_had_sent(store: SQLiteStore) -> None:
    fill(store)
    run(store, lambda tx: tx.directory.delete(ALICE))
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) is None
    assert names(waiting(store, BOB)) == ["m", "r", "x"]
    bind(store, ALICE)
    assert_nothing_of_alice(store)


def test_id_that_was_taken_over_starts_empty(store: SQLiteStore) -> None:
    fill(store)
    assert run(store, lambda tx: tx.directory.bind(ALICE, "certified", certified=True))
    assert_nothing_of_alice(store)


def test_deleting_is_idempotent(store: SQLiteStore) -> None:
    bind(store, ALICE)
    for _ in range(2):
        run(store, lambda tx: tx.directory.delete(ALICE))
    run(store, lambda tx: tx.directory.delete("nobody"))


# --- last seen --------------------------------------------------------------------


def test_last_seen_is_what_was_set_last(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) is None
    for at in (NOW, NOW + 60_000):
        run(store, lambda tx, at=at: tx.directory.record_last_seen(ALICE, at))  # type: ignore[misc]
    assert run(store, lambda tx: tx.directory.last_seen(ALICE)) == NOW + 60_000
    assert run(store, lambda tx: tx.directory.last_seen(BOB)) is None
    run(store, lambda tx: tx.directory.record_last_seen("nobody", NOW))
    assert run(store, lambda tx: tx.directory.last_seen("nobody")) is None


# --- who has written to whom ------------------------------------------------------


def test_writing_has_a_direction(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    write(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, "nobody"))


@pytest.mark.parametrize("exchange_first", [True, False])
def test_16_newest_conversations_of_a_pair_are_kept(store: SQLiteStore, exchange_first: bool) -> None:
    bind(store, ALICE, BOB)
    conversations = [str(number) for number in range(16)]
    for conversation in ["", *conversations] if exchange_first else [*conversations, ""]:
        write(store, ALICE, BOB, conversation)
        write(store, BOB, ALICE, conversation)
    for conversation in conversations:
        found = run(store, lambda tx, known=conversation: tx.directory.participants(ALICE, known))  # type: ignore[misc]
        assert found == [BOB], conversation


# --- what is remembered ---------------------------------------------------------------


def asking(sender: str, recipient: str) -> StoreJob:
    return lambda tx: tx.directory.has_written(sender, recipient)


def test_what_was_undone_is_not_remembered(store: SQLiteStore) -> None:
    def fails(tx: Tables) -> None:
        tx.directory.bind(ALICE, key_of(ALICE), certified=True)
        assert tx.directory.public_key(ALICE) == key_of(ALICE)
        tx.directory.record_written(ALICE, BOB, "c")
        assert tx.directory.has_written(ALICE, BOB)
        raise ValueError

    run(store, lambda tx: tx.directory.bind(BOB, key_of(BOB), certified=True))
    [failed] = store.run_jobs([fails])
    assert isinstance(failed, CommandFailed)
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) is None
    run(store, lambda tx: tx.directory.bind(ALICE, key_of(ALICE), certified=True))
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    run(store, lambda tx: tx.directory.record_written(ALICE, BOB, "c"))
    assert run(store, lambda tx: tx.directory.has_written(ALICE, BOB))


def test_what_was_deleted_is_not_remembered(store: SQLiteStore) -> None:
    for user in (ALICE, BOB):
        bind(store, user)
    for sender, recipient in ((ALICE, BOB), (BOB, ALICE)):
        write(store, sender, recipient)
        assert run(store, asking(sender, recipient))
    assert run(store, lambda tx: tx.directory.delete(ALICE))
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) is None
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    run(store, lambda tx: tx.directory.bind(ALICE, key_of(BOB), certified=True))
    assert run(store, lambda tx: tx.directory.public_key(ALICE)) == key_of(BOB)
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    assert not run(store, lambda tx: tx.directory.record_written(BOB, ALICE, "c"))
    assert run(store, lambda tx: tx.directory.record_written(ALICE, BOB, "c")), "they meet anew"


def test_what_is_remembered_is_bounded(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MAX_REMEMBERED", 3)
    users = [key_text(f"user {number}") for number in range(8)]
    for user in users:
        bind(store, user)
    for user in users:
        write(store, users[0], user)
        assert run(store, asking(users[0], user))
        assert len(store.tables.directory._accounts) <= 3
        assert len(store.tables.directory._noted) <= 3


def test_conversation_that_was_forgotten_is_noted_again(store: SQLiteStore) -> None:
    for user in (ALICE, BOB):
        bind(store, user)
    run(store, lambda tx: tx.directory.record_written(BOB, ALICE, "first"))
    for number in range(20):
        write(store, ALICE, BOB, f"later {number}")
    run(store, lambda tx: tx.directory.record_written(ALICE, BOB, "first"))
    assert run(store, lambda tx: tx.directory.participants(ALICE, "first")) == [BOB]


# --- blocks -----------------------------------------------------------------------


def block(store: SQLiteStore, blocker: str, blocked: str) -> None:
    while not run(store, lambda tx: tx.directory.block(blocker, blocked)):
        pass


def test_block_has_a_direction_and_ends(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    block(store, ALICE, BOB)
    block(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.blocks(ALICE)) == {BOB}
    assert run(store, lambda tx: tx.directory.blocks(BOB)) == frozenset()
    assert run(store, lambda tx: tx.directory.has_blocked(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_blocked(BOB, ALICE))
    for _ in range(2):
        run(store, lambda tx: tx.directory.unblock(ALICE, BOB))
        assert run(store, lambda tx: tx.directory.blocks(ALICE)) == frozenset()


def test_block_takes_back_that_the_blocker_wrote(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB, CAROL)
    for sender, recipient in ((ALICE, BOB), (BOB, ALICE), (ALICE, CAROL), (CAROL, ALICE)):
        write(store, sender, recipient)
    block(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.contacts(ALICE)) == [CAROL]
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert run(store, lambda tx: tx.directory.has_written(BOB, ALICE)), "the control"


def test_nothing_is_noted_while_a_block_lasts(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    write(store, ALICE, BOB)
    block(store, ALICE, BOB)
    write(store, ALICE, BOB)
    write(store, BOB, ALICE)
    assert not run(store, lambda tx: tx.directory.has_written(ALICE, BOB))
    assert not run(store, lambda tx: tx.directory.has_written(BOB, ALICE))
    run(store, lambda tx: tx.directory.unblock(ALICE, BOB))
    write(store, ALICE, BOB)
    assert run(store, lambda tx: tx.directory.has_written(ALICE, BOB)), "the control"


def test_block_that_is_undone_is_none(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    with pytest.raises(ZeroDivisionError):
        run(store, failing(lambda tx: tx.directory.block(ALICE, BOB)))
    assert run(store, lambda tx: tx.directory.blocks(ALICE)) == frozenset()
