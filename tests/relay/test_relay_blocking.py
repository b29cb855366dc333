"""Whoever is blocked reaches nobody, sees nothing, and cannot tell it from the fate of a stranger."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.relay import permissions
from phantom_messenger.relay.permissions import Action, Permission, Relation
from phantom_messenger.wire.limits import MAX_BLOCKED
from support.people import Frame, Person, key_text
from support.simulated import Client, World


@pytest.fixture
def bob(world: World) -> Client:
    """Somebody who has had enough of Alice; he has published prekeys."""
    client = world.login("bob")
    client.send(client.person.publish(range(1, 31), range(1, 31), last_resort=True))
    return client


@pytest.fixture
def alice(world: World, bob: Client) -> Client:
    """A contact of Bob's."""
    client = world.login("alice")
    world.make_contacts(client, bob)
    return client


def block(client: Client, other: Client | Person | str, *, blocked: bool = True) -> Frame:
    whom = other.person if isinstance(other, Client) else other
    client.take()
    return client.ask(client.person.block(whom, blocked=blocked, id="block"))


def waits(world: World, client: Client) -> list[tuple[str, str]]:
    """Type and sender of what is in somebody's mailbox."""
    items = world.peek(lambda tx: tx.mailboxes.read(client.person.id, 0, 1 << 30, 0)).items
    return [(item.kind.name, item.sender) for item in items]


def test_block_is_answered_with_itself(world: World, alice: Client, bob: Client) -> None:
    for blocked in (True, True, False, False):
        answer = block(bob, alice, blocked=blocked)
        assert answer == {
            "type": "BLOCK",
            "id": "block",
            "timestamp": world.clock.wall,
            "payload": {"userId": alice.person.id, "blocked": blocked},
        }


def test_nobody_blocks_themselves(bob: Client) -> None:
    answer = block(bob, bob)
    assert (answer["payload"]["code"], answer["payload"]["details"]["field"]) == (1001, "payload.userId")


# --- what reaches whom ------------------------------------------------------------


def test_message_of_a_blocked_user_is_accepted_and_kept_nowhere(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    alice.take()
    assert alice.ask(alice.person.message(bob.person))["payload"]["status"] == "accepted"
    assert bob.take() == []
    assert waits(world, bob) == []


def test_message_of_others_is_kept(world: World, alice: Client, bob: Client) -> None:
    """The control."""
    carol = world.login("carol")
    block(bob, alice)
    carol.send(carol.person.message(bob.person))
    assert len(bob.take("MESSAGE")) == 1


def test_key_exchanges_of_a_blocked_user_are_not_passed_on(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    alice.take()
    [bundle] = alice.send(alice.person.init(bob.person))
    assert bundle["type"] == "KEY_EXCHANGE_RESPONSE"
    assert "oneTimePreKey" in bundle["payload"], "as for a stranger"
    assert alice.send(alice.person.response(bob.person)) == []
    assert bob.take() == []
    assert waits(world, bob) == []


def test_what_waits_of_a_blocked_user_goes(world: World, alice: Client, bob: Client) -> None:
    carol = world.login("carol")
    to_alice = bob.person.message(alice.person)
    bob.send(to_alice)
    [routed] = alice.take("MESSAGE")
    alice.send(alice.person.ack(routed, "read"), alice.person.message(bob.person), alice.person.init(bob.person))
    carol.send(carol.person.message(bob.person))
    assert waits(world, bob) == [
        *((kind, alice.person.id) for kind in ("RECEIPT", "MESSAGE", "KEY_EXCHANGE")),
        ("MESSAGE", carol.person.id),
    ]
    block(bob, alice)
    assert waits(world, bob) == [("MESSAGE", carol.person.id)]


def test_much_that_waits_goes_in_steps(world: World, alice: Client, bob: Client) -> None:
    bob.drop()
    alice.send(*(alice.person.message(bob.person, encrypted="QUJD" * 15_000) for _ in range(100)))
    assert len(waits(world, bob)) == 100
    bob = world.login(bob.person)
    bob.take()
    jobs = []
    run = world.store.run
    world.store.run = lambda batch, **options: jobs.append(len(batch)) or run(batch, **options)  # type: ignore[func-returns-value]
    assert block(bob, alice)["type"] == "BLOCK"
    assert len(jobs) > 3, "5 MB, a MiB in a step"
    world.store.run = run
    assert waits(world, bob) == []


def test_what_the_blocker_writes_arrives_and_makes_no_contacts(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    alice.take()
    bob.send(bob.person.message(alice.person))
    [routed] = alice.take()
    assert routed["type"] == "MESSAGE", "and no presence"
    bob.take()
    alice.send(alice.person.ack(routed, "read"))
    assert bob.take() == [], "no receipts"
    assert world.peek(lambda tx: tx.directory.contacts(bob.person.id)) == []


def test_nothing_is_seen_either_way(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    assert [frame["payload"]["status"] for frame in alice.take()] == ["offline"], "what she believed is over"
    for one, other in ((alice, bob), (bob, alice)):
        one.send(one.person.presence("idle"))
        one.send(one.person.presence("typing", "conversation"))
        assert other.take() == []
        assert other.ask(other.person.asks_for(one.person))["payload"] == {
            "userId": one.person.id,
            "status": "offline",
        }
    alice.drop()
    bob.drop()
    world.pass_time(15_000)
    assert world.login(alice.person).take() == []


def test_nobody_is_told_of_a_block_who_believed_them_away(alice: Client, bob: Client) -> None:
    bob.send(bob.person.presence("offline"))
    alice.take()
    block(bob, alice)
    assert alice.take() == []


def test_expiry_is_not_told(world: World, alice: Client, bob: Client) -> None:
    bob.send(bob.person.message(alice.person, metadata={"expiresIn": 1_000}))
    block(bob, alice)
    bob.take()
    world.pass_time(5_000)
    assert bob.take() == []


# --- as a stranger ----------------------------------------------------------------


def story(world: World, person: Client, bob: Client) -> list[str]:
    """All that somebody hears who tries everything; the names and times of the story taken out."""
    me = person.person
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(3)]
    heard: list[Frame] = []
    for number in range(2):
        heard += person.send(
            *(me.message(bob.person, message_id=name, id="m") for name in ids),
            me.message(bob.person, message_id=ids[0], encrypted="QUJD"),
            me.init(bob.person, name=f"{number}"),
            me.asks_for(bob.person, id="p"),
            me.presence("typing", "conversation"),
            me.presence("idle"),
            me.presence("online"),
            me.message(key_text("nobody")),
            me.prekey_status(),
            me.ping(id="ping"),
        )
        world.pass_time(15_000)
        heard += person.take()
    person.drop()
    heard += world.login(me).take()
    text = json.dumps(heard).replace(me.id, "ME")
    return [str(part) for part in json.loads(text)]


@pytest.mark.parametrize("are_contacts", [False, True])
def test_blocked_user_hears_what_a_stranger_hears_whose_mail_is_not_fetched(
    make_world: Callable[..., World], are_contacts: bool
) -> None:
    """Byte for byte, in two worlds that differ in the block alone."""
    heard = []
    for blocked in (False, True):
        world = make_world()
        bob = world.login("bob")
        bob.send(bob.person.publish(range(1, 11), range(1, 11), last_resort=True))
        alice = world.login("alice")
        if blocked:
            if are_contacts:
                world.make_contacts(alice, bob)
            block(bob, alice)
        bob.drop()
        world.pass_time(60_000 - world.clock.wall % 60_000)
        world.clock.wall = 1_750_000_200_000
        alice.take()
        heard.append(story(world, alice, bob))
    assert heard[0] == heard[1]
    assert len(heard[0]) > 10


def steps_of(world: World, client: Client, frame: Frame) -> tuple[int, int]:
    """Rows that a message changes in the store, and transactions: what its sender could see in the time."""
    connection = world.store._connection
    before, jobs = connection.total_changes(), []
    run = world.store.run
    world.store.run = lambda batch, **options: jobs.append(len(batch)) or run(batch, **options)  # type: ignore[func-returns-value]
    try:
        client.send(frame)
    finally:
        world.store.run = run
    return connection.total_changes() - before, len(jobs)


def test_message_of_a_blocked_user_is_written_as_a_stranger_s_is(
    world: World, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger, blocked = world.login("stranger"), world.login("blocked")
    block(bob, blocked)
    bob.drop()
    for one in (stranger, blocked):
        one.send(one.person.message(bob.person))  # what is remembered of people is remembered now
    kept = steps_of(world, stranger, stranger.person.message(bob.person))
    dropped = steps_of(world, blocked, blocked.person.message(bob.person))
    assert kept[0] > 0
    assert dropped[0] > 0, "a transaction that writes nothing needs no sync, and is answered sooner"
    assert dropped[1] == kept[1]
    monkeypatch.setattr(SQLiteMailboxes, "discard", lambda *_, **__: None)
    assert steps_of(world, blocked, blocked.person.message(bob.person))[0] == 0, "the control"


@pytest.mark.parametrize("act", [Action.SEE_PRESENCE])
def test_whoever_may_more_hears_more(world: World, monkeypatch: pytest.MonkeyPatch, act: Action) -> None:
    """The control: with one permission given to the blocked, the story is another."""
    heard = []
    for loose in (False, True):
        if loose:
            monkeypatch.setitem(permissions.PERMISSIONS, act, Permission(Relation.BLOCKED, "-"))
        name = f"alice {loose}"
        alice, bob = world.login(name), world.login("bob")
        bob.send(bob.person.publish(range(1, 11), last_resort=True))
        block(bob, alice)
        world.clock.wall = 1_750_000_200_000
        heard.append(story(world, alice, bob))
    assert heard[0] != heard[1]


def test_without_the_check_a_blocked_user_reaches_the_blocker(
    alice: Client, bob: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of what is kept nowhere."""
    monkeypatch.setitem(permissions.PERMISSIONS, Action.WRITE, Permission(Relation.BLOCKED, "-"))
    block(bob, alice)
    alice.send(alice.person.message(bob.person))
    assert len(bob.take("MESSAGE")) == 1


# --- how it ends ------------------------------------------------------------------


def test_after_the_end_of_a_block_they_are_strangers_until_the_blocker_writes(alice: Client, bob: Client) -> None:
    block(bob, alice)
    block(bob, alice, blocked=False)
    alice.take()
    alice.send(alice.person.message(bob.person))
    [routed] = bob.take("MESSAGE")
    bob.send(bob.person.ack(routed, "read"))
    assert alice.take() == []
    bob.send(bob.person.message(alice.person))
    assert [frame["type"] for frame in alice.take()] == ["MESSAGE", "PRESENCE"]


def test_block_outlives_a_restart(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    again = world.restarted()
    sender = again.login(alice.person)
    assert sender.ask(sender.person.message(bob.person))["payload"]["status"] == "accepted"
    assert waits(again, bob) == []


def test_id_without_an_account_can_be_blocked(world: World, bob: Client) -> None:
    newcomer = world.person("newcomer")
    assert block(bob, newcomer)["type"] == "BLOCK"
    client = world.login(newcomer)
    client.send(newcomer.message(bob.person))
    assert bob.take() == []


def test_block_holds_for_an_account_that_is_made_anew(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    alice.send(alice.person.account_delete())
    again = world.login(alice.person)
    again.send(again.person.message(bob.person))
    assert bob.take() == []


def test_blocks_go_with_the_account_of_the_blocker(world: World, alice: Client, bob: Client) -> None:
    block(bob, alice)
    bob.send(bob.person.account_delete())
    again = world.login(bob.person)
    alice.send(alice.person.message(bob.person))
    assert len(again.take("MESSAGE")) == 1
    assert world.peek(lambda tx: tx.directory.blocks(bob.person.id)) == frozenset()


def test_so_many_can_be_blocked(world: World, bob: Client) -> None:
    def fill(tx: Any) -> None:
        for number in range(MAX_BLOCKED - 1):
            tx.directory.block(bob.person.id, key_text(f"{number}"))

    world.peek(fill)
    assert block(bob, key_text("the last"))["type"] == "BLOCK"
    answer = block(bob, key_text("one more"))
    assert (answer["payload"]["code"], answer["payload"]["details"]) == (1003, {"reason": "backlog"})
    assert block(bob, key_text("the last"))["type"] == "BLOCK", "it is blocked already"
    assert block(bob, key_text("the last"), blocked=False)["type"] == "BLOCK"
    assert block(bob, key_text("one more"))["type"] == "BLOCK"
