"""Batches: order, what fails alone, whose account is gone, what there is no time for."""

import pytest

from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    Accepted,
    Acknowledge,
    AppendRefusal,
    Barrier,
    CommandFailed,
    Confirm,
    CountPreKeys,
    DeleteAccount,
    LoadClock,
    LogIn,
    MessageName,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Page, PreKeyCounts
from phantom_messenger.wire.frames import Status
from support.store_user import NOW, StoreUser, names, run


def test_no_commands_have_no_results(store: Store) -> None:
    assert store.run([]) == []
    assert store.run([Barrier(), LoadClock(), Barrier()]) == [None, None, None]


def test_results_stand_in_the_order_of_the_commands(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    results = store.run([alice.message(bob, str(number)) for number in range(50)])
    assert [result.item.name for result in results] == [str(number) for number in range(50)]
    assert bob.names() == [str(number) for number in range(50)]


def test_command_sees_the_effects_of_those_before_it(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    first, again, page, second = store.run(
        [alice.message(bob, "1"), alice.message(bob, "1"), bob.reading(), alice.message(bob, "2")]
    )
    assert isinstance(first, Accepted)
    assert again is AppendRefusal.DUPLICATE
    assert isinstance(page, Page)
    assert names(page.items) == ["1"]
    assert isinstance(second, Accepted)
    assert bob.names() == ["1", "2"]


def test_batch_without_time_is_begun_all_the_same(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    commands = [alice.message(bob, str(number)) for number in range(20)]
    results = store.run(commands, budget_ms=0)
    assert 1 <= len(results) < len(commands)
    assert bob.names() == [str(number) for number in range(len(results))]


def failing() -> LogIn:
    """A login that no engine can store: its id is no text that can be encoded."""
    return LogIn(
        user_id="\ud800",
        public_key="key",
        certified_id="",
        is_signed=True,
        may_create=True,
        now=NOW,
        page_bytes=1,
    )


def test_command_that_fails_is_undone_alone(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    results = store.run([alice.message(bob, "1"), failing(), alice.message(bob, "2")])
    assert [type(result) for result in results] == [Accepted, CommandFailed, Accepted]
    assert not results[1].is_out_of_space
    assert bob.names() == ["1", "2"]


def test_failure_undoes_nothing_of_what_was_done_before_it(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "m")
    acknowledging = Acknowledge(
        actor=bob.actor,
        messages=[MessageName(alice.id, "m")],
        status=Status.DELIVERED,
        may_notify=False,
        wall_ms=NOW,
        now=NOW,
    )
    store.run([acknowledging, failing(), failing()])
    assert bob.mailbox() == []
    assert alice.write(bob, "m") is AppendRefusal.DUPLICATE, "it is known as one that has just been removed"


# --- the account of whoever acts --------------------------------------------------------


def test_nothing_is_done_for_an_account_that_is_gone(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    alice.write(bob, "before")
    [deleted, *rest] = store.run(
        [
            DeleteAccount(actor=alice.actor),
            alice.message(bob, "late"),
            Confirm(actor=alice.actor, seqs=[1]),
            CountPreKeys(actor=alice.actor),
            alice.reading(),
        ]
    )
    assert deleted.is_complete
    assert rest == [ACCOUNT_GONE] * 4
    assert bob.names() == ["before"]


def test_frames_of_the_former_owner_of_an_id_do_nothing(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    former = alice.actor
    heir = StoreUser.__new__(StoreUser)
    heir.store, heir.id, heir.key, heir.certified_id, heir.is_signed = store, alice.id, "another key", alice.id, True
    heir.log_in()
    bob.write(heir, "for the heir")
    [result] = store.run([alice.message(bob, "late")])
    assert former == alice.actor
    assert result is ACCOUNT_GONE
    assert store.run([alice.reading()]) == [ACCOUNT_GONE]
    assert heir.names() == ["for the heir"]


def test_unsigned_account_is_gone_when_its_owner_has_proved_the_key(store: Store, bob: StoreUser) -> None:
    unsigned = StoreUser(store, "alice", signed=False)
    assert isinstance(run(store, CountPreKeys(actor=unsigned.actor)), PreKeyCounts)
    StoreUser(store, "alice")
    assert store.run([unsigned.message(bob, "late")]) == [ACCOUNT_GONE]


@pytest.mark.parametrize("key", ["", "somebody else's"])
def test_nothing_is_done_for_another_key(store: Store, alice: StoreUser, key: str) -> None:
    assert store.run([CountPreKeys(actor=alice.actor._replace(public_key=key))]) == [ACCOUNT_GONE]
