"""Presence: who may see whom, and when somebody was last seen."""

import pytest

from phantom_messenger.relay.commands import (
    AskPresence,
    Departure,
    FindDeparture,
    FindTypingWatchers,
    FindWatchers,
    KnownPresence,
    RecordDeparture,
)
from phantom_messenger.relay.ports import Store
from support.store_user import NOW, StoreUser, run


def watchers(user: StoreUser) -> list[str]:
    return run(user.store, FindWatchers(actor=user.actor))


def typing_watchers(user: StoreUser, conversation: str | None) -> list[str]:
    return run(user.store, FindTypingWatchers(actor=user.actor, conversation_id=conversation))


def talk(one: StoreUser, other: StoreUser, *conversations: str) -> None:
    """Write both ways in each conversation."""
    for conversation in conversations:
        for sender, to in ((one, other), (other, one)):
            sender.write(to, f"{sender.id} {conversation}", conversation=conversation)


def test_only_contacts_see_presence(alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.write(bob, "1")
    carol.write(alice, "2")
    assert watchers(alice) == []
    bob.write(alice, "3")
    assert (watchers(alice), watchers(bob), watchers(carol)) == ([bob.id], [alice.id], [])


def test_nobody_is_a_contact_of_oneself(alice: StoreUser) -> None:
    alice.write(alice, "m")
    assert watchers(alice) == []
    assert typing_watchers(alice, "c") == []


def test_key_exchanges_make_contacts_too(alice: StoreUser, bob: StoreUser) -> None:
    alice.exchange(bob)
    bob.exchange(alice, "response")
    assert watchers(alice) == [bob.id]
    assert typing_watchers(alice, "c") == []


def test_typing_is_seen_in_conversations_that_both_have_used(
    alice: StoreUser, bob: StoreUser, carol: StoreUser
) -> None:
    talk(alice, bob, "one")
    alice.write(carol, "m", conversation="one")
    carol.write(alice, "m", conversation="two")
    assert typing_watchers(alice, "one") == [bob.id]
    assert typing_watchers(alice, "two") == []
    assert typing_watchers(alice, None) == []


def test_unsigned_user_is_seen_typing_by_all_unsigned_contacts(store: Store, alice: StoreUser) -> None:
    one, other = StoreUser(store, "one", signed=False), StoreUser(store, "other", signed=False)
    talk(one, other, "c")
    talk(one, alice, "with Alice")
    assert typing_watchers(one, None) == [other.id]
    assert sorted(typing_watchers(one, "with Alice")) == sorted([other.id, alice.id])


@pytest.mark.parametrize("count", [16, 40])
def test_16_newest_conversations_of_a_pair_are_remembered(alice: StoreUser, bob: StoreUser, count: int) -> None:
    talk(alice, bob, *map(str, range(count)))
    seen = [number for number in range(count) if typing_watchers(alice, str(number))]
    assert seen[-16:] == list(range(count - 16, count))
    assert len(seen) <= 20
    assert watchers(alice) == [bob.id]


def test_last_seen_is_for_contacts(store: Store, alice: StoreUser, bob: StoreUser, carol: StoreUser) -> None:
    alice.meet(bob)
    assert run(store, FindDeparture(user_id=alice.id)) == Departure([bob.id], None)
    for at in (NOW, NOW + 60_000):
        run(store, RecordDeparture(user_id=alice.id, last_seen=at, now=NOW))
    assert run(store, FindDeparture(user_id=alice.id)) == Departure([bob.id], NOW + 60_000)
    asked = [run(store, AskPresence(actor=user.actor, other=alice.id)) for user in (bob, carol)]
    assert asked == [KnownPresence(True, NOW + 60_000), KnownPresence(False, None)]


def test_nobody_is_seen_who_is_not_there(store: Store, alice: StoreUser) -> None:
    run(store, RecordDeparture(user_id="nobody", last_seen=NOW, now=NOW))
    assert run(store, FindDeparture(user_id="nobody")) == Departure([], None)
    assert run(store, AskPresence(actor=alice.actor, other="nobody")) == KnownPresence(False, None)
