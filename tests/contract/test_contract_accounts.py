"""Accounts: whose an id is, blocking, deletion, idle accounts; and what outlives a restart."""

from pathlib import Path

import pytest

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.commands import (
    Accepted,
    AppendRefusal,
    Block,
    Blocked,
    DeleteAccount,
    DeleteIdleAccount,
    FindIdleAccounts,
    LoadClock,
    LoggedIn,
    LoginConflict,
    PublishPreKeys,
    RecordActivity,
    RecordDeparture,
    SaveClock,
    SaveLimits,
    TakeLimits,
    Unblock,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item, KeptLimits
from phantom_messenger.wire.limits import MAX_BLOCKED
from support.people import key_text
from support.store_user import DAY, HOUR, NOW, StoreUser, expire, names, run
from support.stores import publication


def claim(store: Store, name: str, key: str, *, certified: bool, signed: bool, may_create: bool = True) -> object:
    """Log in to an id with any key; the kind of result."""
    user = StoreUser.__new__(StoreUser)
    user.store, user.id, user.key, user.is_signed = store, key_text(name), key_text(key), signed
    user.certified_id = user.id if certified else key_text(f"certified for {key}")
    result = user.log_in(may_create=may_create)
    return LoggedIn if isinstance(result, LoggedIn) else result


# --- whose it is -----------------------------------------------------------------------


def test_account_is_made_only_if_the_login_may(store: Store) -> None:
    for _ in range(2):
        assert claim(store, "a", "k", certified=False, signed=True, may_create=False) is LoginConflict.NEW
    assert claim(store, "a", "k", certified=False, signed=True) is LoggedIn
    assert claim(store, "a", "k", certified=False, signed=True, may_create=False) is LoggedIn


@pytest.mark.parametrize(
    ("first", "second", "result"),
    [
        (False, False, LoginConflict.TAKEN),
        (False, True, LoggedIn),
        (True, False, LoginConflict.TAKEN),
        (True, True, LoginConflict.TAKEN),
    ],
)
def test_only_a_certified_claim_takes_an_uncertified_id(
    store: Store, first: bool, second: bool, result: object
) -> None:
    assert claim(store, "a", "first", certified=first, signed=True) is LoggedIn
    if result is LoggedIn:
        found = claim(store, "a", "second", certified=second, signed=True, may_create=False)
        assert found is LoginConflict.NEW, "it deletes an account"
    assert claim(store, "a", "second", certified=second, signed=True) is result


@pytest.mark.parametrize(
    ("key", "certified", "signed", "result"),
    [
        ("first", False, False, LoggedIn),
        ("first", False, True, LoggedIn),
        ("first", True, True, LoggedIn),
        ("second", False, False, LoginConflict.TAKEN),
        ("second", False, True, LoginConflict.TAKEN),
        ("second", True, True, LoggedIn),
    ],
)
def test_account_without_a_proof_ends_with_the_first_proof(  # noqa: PLR0917 - a table
    store: Store, bob: StoreUser, key: str, certified: bool, signed: bool, result: object
) -> None:
    unsigned = StoreUser.__new__(StoreUser)
    unsigned.store, unsigned.id, unsigned.key, unsigned.is_signed = store, key_text("a"), key_text("first"), False
    unsigned.certified_id = key_text("certified")
    unsigned.log_in()
    bob.write(unsigned, "for whoever has not proved the key")
    assert claim(store, "a", key, certified=certified, signed=signed) is result
    heir = StoreUser.__new__(StoreUser)
    heir.store, heir.id, heir.key, heir.is_signed = store, key_text("a"), key_text(key), signed
    heir.certified_id = heir.id if certified else key_text("certified")
    if result is LoggedIn:
        assert len(heir.mailbox()) == (0 if signed else 1)


@pytest.mark.parametrize("key", ["first", "second"])
def test_account_with_a_proof_is_for_nobody_without(store: Store, key: str) -> None:
    assert claim(store, "a", "first", certified=False, signed=True) is LoggedIn
    found = claim(store, "a", key, certified=False, signed=False)
    assert found is (LoginConflict.SIGNED if key == "first" else LoginConflict.TAKEN)


def test_unsigned_login_with_a_key_that_is_proved_elsewhere_is_refused(store: Store) -> None:
    owner = StoreUser(store, "owner", certified=True)
    thief = StoreUser.__new__(StoreUser)
    thief.store, thief.id, thief.key, thief.is_signed = store, key_text("any id"), owner.key, False
    thief.certified_id = owner.id
    assert thief.log_in() is LoginConflict.SIGNED


def test_login_brings_the_first_page_contacts_and_prekeys(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.meet(bob)
    carol.write(alice, "m", size=100)
    carol.write(alice, "n", size=100)
    run(alice.store, PublishPreKeys(actor=alice.actor, publication=publication([5])))
    found = alice.log_in(may_create=False, page_bytes=1)
    assert isinstance(found, LoggedIn)
    assert (names(found.page.items), found.page.complete) == (["m"], False)
    assert found.contacts == [bob.id]
    assert found.prekeys.one_time == 1


def test_page_of_a_login_begins_with_the_first_item_that_has_not_expired(alice: StoreUser, bob: StoreUser) -> None:
    first = alice.write(bob, "m", expires_at=NOW + 1)
    later = alice.write(bob, "n")
    for now, items in ((NOW, [first, later]), (NOW + 1, [later])):
        found = bob.log_in(now=now)
        assert isinstance(found, LoggedIn)
        assert found.page.items == items


# --- deletion --------------------------------------------------------------------------


def test_deleted_account_leaves_only_what_it_had_sent(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    alice.meet(bob)
    alice.write(bob, "m")
    bob.write(alice, "n")
    run(store, PublishPreKeys(actor=alice.actor, publication=publication([1])))
    deleted = run(store, DeleteAccount(actor=alice.actor))
    assert deleted.contacts == [bob.id]
    assert deleted.is_complete
    assert bob.names() == ["m"]
    assert bob.write(alice, "late") is AppendRefusal.NO_ACCOUNT
    heir = StoreUser(store, "alice")
    found = heir.log_in()
    assert isinstance(found, LoggedIn)
    assert (found.page.items, found.contacts, found.prekeys.one_time) == ([], [], 0)


def test_large_mailbox_is_deleted_in_parts(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    bob.meet(alice)
    for number in range(4):
        store.run([alice.message(bob, f"{number} {each}", size=100_000) for each in range(5)])
    steps = 0
    while not run(store, DeleteAccount(actor=bob.actor)).is_complete:
        steps += 1
    assert 1 <= steps <= 20
    assert StoreUser(store, "bob").mailbox() == []


# --- blocking --------------------------------------------------------------------------


def block(user: StoreUser, other: StoreUser) -> Blocked:
    result = run(user.store, Block(actor=user.actor, other=other.id))
    assert result is not None
    return result


def test_blocked_sender_cannot_tell_and_nothing_is_kept(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    bob.meet(alice)
    alice.write(bob, "before")
    alice.exchange(bob)
    carol.write(bob, "of Carol")
    assert block(bob, alice) == Blocked(was_contact=True, is_complete=True)
    assert block(bob, alice) == Blocked(was_contact=False, is_complete=True)
    assert bob.names() == ["of Carol"]
    command = alice.message(bob, "m")
    assert alice.store.run([command]) == [Accepted(None, became_contacts=False)]
    assert not isinstance(alice.exchange(bob), AppendRefusal)
    assert bob.names() == ["of Carol"]


def test_nothing_is_noted_while_a_block_lasts_and_unblocking_does_not_bring_it_back(
    store: Store, alice: StoreUser, bob: StoreUser
) -> None:
    bob.meet(alice)
    block(bob, alice)
    assert isinstance(bob.write(alice, "m"), Item)
    for _ in range(2):
        run(store, Unblock(actor=bob.actor, other=alice.id))
    found = bob.log_in()
    assert isinstance(found, LoggedIn)
    assert found.contacts == []
    assert isinstance(alice.write(bob, "again"), Item)
    [result] = store.run([bob.message(alice, "back")])
    assert result.became_contacts


def test_blocks_are_bounded_and_go_with_the_blocker(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    many = [Block(actor=alice.actor, other=key_text(f"user {number}")) for number in range(MAX_BLOCKED)]
    for first in range(0, MAX_BLOCKED, 500):
        assert None not in store.run(many[first : first + 500])
    assert run(store, Block(actor=alice.actor, other=bob.id)) is None
    assert run(store, many[0]) is not None, "it is there already"
    run(store, DeleteAccount(actor=alice.actor))
    assert run(store, Block(actor=StoreUser(store, "alice").actor, other=bob.id)) is not None


def test_block_outlives_the_account_of_the_blocked(store: Store, alice: StoreUser, bob: StoreUser) -> None:
    block(bob, alice)
    run(store, DeleteAccount(actor=alice.actor))
    assert StoreUser(store, "alice").write(bob, "m") is AppendRefusal.UNWANTED


# --- idle accounts ---------------------------------------------------------------------


def idle(store: Store, active_before: int, *, limit: int = 100) -> list[str]:
    found: list[str] = []
    while True:
        part = run(store, FindIdleAccounts(active_before=active_before, limit=limit, now=NOW + 100 * DAY))
        found += part.users
        if not part.is_more:
            return found


def test_accounts_that_are_not_used_and_whose_mailbox_is_empty_are_idle(
    store: Store, alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    alice.write(bob, "m")
    run(store, RecordActivity(user_id=carol.id, now=NOW + 50 * DAY))
    assert idle(store, NOW - DAY) == []
    assert idle(store, NOW + 40 * DAY) == [alice.id]
    bob.acknowledge(alice, "m")
    assert sorted(idle(store, NOW + 90 * DAY, limit=1)) == sorted([alice.id, bob.id, carol.id])
    run(store, RecordDeparture(user_id=alice.id, last_seen=NOW, now=NOW + 95 * DAY))
    for user in (alice, bob):
        assert run(store, DeleteIdleAccount(user_id=user.id, active_before=NOW + 90 * DAY))
    assert isinstance(carol.write(alice, "she was here meanwhile"), Item)
    assert carol.write(bob, "late") is AppendRefusal.NO_ACCOUNT


def test_account_that_is_used_on_the_last_day_is_not_idle(store: Store, alice: StoreUser) -> None:
    midnight = (NOW // DAY + 50) * DAY
    run(store, RecordActivity(user_id=alice.id, now=midnight))
    for hour in (0, 23):
        assert idle(store, midnight + hour * HOUR) == []
        assert run(store, DeleteIdleAccount(user_id=alice.id, active_before=midnight + hour * HOUR))
    assert isinstance(alice.write(alice, "still here"), Item)
    assert idle(store, midnight + DAY) == []
    alice.acknowledge(alice, "still here", may_notify=False)
    assert idle(store, midnight + DAY) == [alice.id]


# --- upkeep ----------------------------------------------------------------------------


def test_clock_and_limits_are_what_was_saved_last(store: Store) -> None:
    assert (run(store, LoadClock()), run(store, TakeLimits())) == (None, None)
    for number in (1, 2):
        run(store, SaveClock(snapshot=ClockSnapshot("boot", number, 3, 4)))
        run(store, SaveLimits(limits=KeptLimits(bytes(32), {b"key": [number, NOW]})))
    assert run(store, LoadClock()) == ClockSnapshot("boot", 2, 3, 4)
    assert run(store, TakeLimits()) == KeptLimits(bytes(32), {b"key": [2, NOW]})
    assert run(store, TakeLimits()) is None, "they are taken once"
    assert run(store, LoadClock()) is not None


def test_scrubbing_comes_to_an_end_and_changes_nothing(
    store: Store, alice: StoreUser, bob: StoreUser, tmp_path: Path
) -> None:
    secret = key_text("secret")
    alice.write(bob, "kept")
    alice.write(bob, "m", secret, expires_at=NOW)
    expire(store, NOW)
    while not store.scrub():
        """A step at a time."""
    assert not store.is_out_of_space
    assert bob.names() == ["kept"]
    assert not any(secret.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
