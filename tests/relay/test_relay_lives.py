"""What nobody fetches, and accounts that nobody uses, are not kept for ever."""

from typing import Any

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.relay.config import Config
from support.people import Person
from support.simulated import HOUR, MINUTE, Client, Clock, World

DAY = 24 * HOUR


def days(world: World, count: float) -> None:
    """Time passes, an hour at a step; nobody who is here would be cut for being silent."""
    world.pass_time(round(count * DAY), step=HOUR)


@pytest.fixture
def alice(world: World) -> Client:
    return world.login("alice")


@pytest.fixture
def bob(world: World, alice: Client) -> Person:
    """A contact of Alice's who has gone."""
    client = world.login("bob")
    world.make_contacts(alice, client)
    client.drop()
    alice.take()
    return client.person


def waiting(world: World, person: Person) -> list[str]:
    return [item.kind.name for item in world.peek(lambda tx: tx.mailboxes.read(person.id, 0, 1 << 30, 0)).items]


# --- mail -------------------------------------------------------------------------


@pytest.mark.parametrize("expires_in", [None, 40 * DAY])
def test_mail_waits_for_thirty_days_and_its_sender_is_told(
    world: World, alice: Client, bob: Person, expires_in: int | None
) -> None:
    metadata = {} if expires_in is None else {"expiresIn": expires_in}
    alice.send(alice.person.message(bob, metadata=metadata), alice.person.init(bob))
    alice.drop()
    days(world, 29.9)
    assert waiting(world, bob) == ["MESSAGE", "KEY_EXCHANGE"]
    days(world, 0.2)
    assert waiting(world, bob) == []
    told = world.login(alice.person).take("MESSAGE_ACK")
    assert [frame["payload"]["status"] for frame in told] == ["expired"]


def test_mail_that_is_to_expire_sooner_does(world: World, alice: Client, bob: Person) -> None:
    alice.send(alice.person.message(bob, metadata={"expiresIn": 2 * DAY}))
    alice.drop()
    days(world, 2.1)
    assert waiting(world, bob) == []


def test_receipts_have_the_same_life(world: World, alice: Client, bob: Person) -> None:
    alice.send(alice.person.message(bob))
    alice.drop()
    there = world.login(bob)
    [routed] = there.take("MESSAGE")
    there.send(bob.ack(routed, "read"))
    there.drop()
    assert waiting(world, alice.person) == ["RECEIPT"]
    days(world, 30.1)
    assert waiting(world, alice.person) == []
    assert world.login(bob).take() == [], "nobody is told of a receipt"


def test_life_is_set_by_the_operator_and_not_lifted_with_the_limits(alice: Client, bob: Person, world: World) -> None:
    short = world.restarted(Config(limits=False, mail_days=1))
    sender = short.login(alice.person)
    sender.send(sender.person.message(bob))
    sender.drop()
    days(short, 1.1)
    assert waiting(short, bob) == []


def test_life_does_not_follow_the_wall_clock(world: World, alice: Client, bob: Person) -> None:
    alice.send(alice.person.message(bob))
    alice.drop()
    world.clock.wall += 400 * DAY
    world.pass_time(5 * MINUTE, step=MINUTE)
    assert waiting(world, bob) == ["MESSAGE"]


def test_without_the_sweep_mail_waits_for_ever(
    world: World, alice: Client, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(SQLiteMailboxes, "_stored", lambda *_: [])
    alice.send(alice.person.message(bob))
    alice.drop()
    days(world, 31)
    assert waiting(world, bob) == ["MESSAGE"]


def test_what_fills_more_than_a_step_goes_in_several(world: World, alice: Client, bob: Person) -> None:
    alice.send(*(alice.person.message(bob, encrypted="QUJD" * 15_000) for _ in range(60)))
    alice.drop()
    removed = []
    original = SQLiteMailboxes.expire

    def expire(*arguments: Any, **how: Any) -> Any:
        found = original(*arguments, **how)
        removed.append(len(found))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLiteMailboxes, "expire", expire)
        days(world, 30.1)
    assert sum(removed) == 60
    assert max(removed) <= 18, "about a MiB"


def old_store(alice: Person, bob: Person) -> SQLiteStore:
    """Mail and accounts as a version left them that did not note when they were stored, or used."""
    store = SQLiteStore(None)
    world = World(store=store)
    for person in (alice, bob):
        world.login(person).drop()
    client = world.login(alice)
    client.send(alice.message(bob))
    client.drop()
    store._connection.execute("DELETE FROM lives; UPDATE accounts SET active_on = NULL;")
    store._connection.execute(
        "UPDATE items SET stored_at = NULL, mark = NULL,"
        " checksum = item_checksum("
        " recipient, seq, kind, CAST(sender AS BLOB), CAST(name AS BLOB), expires_at, text)"
    )
    return store


def test_what_was_there_before_lives_were_counted_has_its_whole_life_from_then() -> None:
    clock = Clock()
    alice, bob = Person("alice", now=clock.wall_ms), Person("bob", now=clock.wall_ms)
    store = old_store(alice, bob)
    clock.advance(500 * DAY)
    world = World(store=store, clock=clock)
    days(world, 29.9)
    assert waiting(world, bob) == ["MESSAGE"]
    days(world, 0.2)
    assert waiting(world, bob) == []
    days(world, 333)
    assert world.peek(lambda tx: tx.directory.public_key(bob.id)) is not None
    days(world, 4)
    assert world.peek(lambda tx: tx.directory.public_key(bob.id)) is None
    world.close()


# --- accounts ---------------------------------------------------------------------


def exists(world: World, person: Person) -> bool:
    return world.peek(lambda tx: tx.directory.public_key(person.id)) is not None


def test_account_that_nobody_uses_goes_after_a_year(world: World, alice: Client, bob: Person) -> None:
    keys = world.login(bob)
    keys.send(bob.publish([1, 2, 3]), bob.block(alice.person))
    keys.drop()
    alice.drop()
    days(world, 364)
    assert exists(world, bob)
    days(world, 3)
    assert not exists(world, bob)
    count = world.store._connection.execute(
        "SELECT count(*) + (SELECT count(*) FROM one_time_prekeys) + (SELECT count(*) FROM blocks) FROM written"
    ).get
    assert count == 0


def test_account_that_is_used_stays(world: World, alice: Client, bob: Person) -> None:
    alice.drop()
    for _ in range(5):
        days(world, 100)
        world.login(bob).drop()
    assert exists(world, bob)
    assert not exists(world, alice.person), "the control"


def test_account_of_somebody_who_is_here_stays(world: World, bob: Person) -> None:
    there = world.login(bob)
    for _ in range(370):
        world.clock.advance(DAY)
        there.session.heard_at = world.clock.monotonic_ms()
        world.tick()
    assert exists(world, bob)
    there.drop()
    days(world, 364)
    assert exists(world, bob), "a whole year from the end of it"


def test_account_with_mail_stays_until_that_has_gone(world: World, alice: Client, bob: Person) -> None:
    sender = alice
    days(world, 350)
    sender = world.login(alice.person)
    sender.send(sender.person.message(bob))
    sender.drop()
    days(world, 20)
    assert exists(world, bob)
    days(world, 15)
    assert not exists(world, bob)


def test_who_comes_back_later_is_a_stranger_with_a_new_account(world: World, alice: Client, bob: Person) -> None:
    days(world, 360)
    there = world.login(alice.person)
    days(world, 10)
    there = world.login(alice.person)
    assert not exists(world, bob)
    again = world.login(bob)
    assert again.take() == []
    there.send(there.person.message(bob))
    [routed] = again.take("MESSAGE")
    there.take()
    again.send(bob.ack(routed, "read"))
    assert there.take() == [], "they have to write anew before they are contacts"


def test_many_accounts_go_a_few_at_a_time(world: World) -> None:
    people = [world.person(f"person {number}") for number in range(200)]
    world.register(*people)
    looked = []
    idle = type(world.store.tables.directory).idle

    def noted(directory: Any, before: int, limit: int, now: int) -> Any:
        looked.append(limit)
        return idle(directory, before, limit, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(world.store.tables.directory), "idle", noted)
        world.clock.advance(370 * DAY)
        world.pass_time(10_000)
    assert not any(exists(world, person) for person in people)
    assert len(looked) >= 4
    assert max(looked) <= 64
