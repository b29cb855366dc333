"""Bytes: of what waits for one user, and of what senders of one address can have stored in a day."""

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay import config as config_module
from phantom_messenger.relay import quota
from phantom_messenger.relay.commands import Block, Blocked, CommandFailed
from phantom_messenger.relay.config import MEGABYTE, Config
from phantom_messenger.relay.delivery_receipts import RECEIPT_BYTES
from phantom_messenger.relay.handlers import handle
from phantom_messenger.relay.handlers.account import BLOCK_BYTES
from phantom_messenger.relay.pipeline import AdmittedFrame
from phantom_messenger.relay.quota import HOUR_MS, Quota, Spent
from phantom_messenger.wire.codec import decode_client
from support.people import Frame, Person, canonical, key_text
from support.simulated import HOUR, Client, World

BIG = "QUJD" * 15_000
"""60,000 characters: sixteen are about a megabyte."""

HERE = "203.0.113.1"
RATED = ("auth", "message", "key_exchange", "prekey", "block", "ack")
RATES = {**{f"rate_{name}": 1_000_000 for name in RATED}, "connections_per_address": 1_000_000}
A_QUARTER = MEGABYTE // 4
"""What one address may store in a day where it is stored in thousands of pieces."""

ENOUGH = 600_000
"""Bytes of a database that an attacker is content with there: a third of them are tables with nothing in them."""


@pytest.fixture
def small() -> Iterator[World]:
    """A relay that takes a megabyte a day of one address, and as much of one mailbox, and knows no rates."""
    config = Config(**RATES, address_megabytes_a_day=1, mailbox_megabytes=1)  # type: ignore[arg-type]
    made = World(config, store=SQLiteStore(None, mailbox_bytes=config.mailbox_bytes))
    yield made
    made.close()


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The same with a quarter of a megabyte a day."""
    config = Config(**RATES, address_megabytes_a_day=1, mailbox_megabytes=1)  # type: ignore[arg-type]
    mailbox_bytes = config.mailbox_bytes
    monkeypatch.setattr(config_module, "MEGABYTE", A_QUARTER)
    made = World(config, store=SQLiteStore(None, mailbox_bytes=mailbox_bytes))
    yield made
    made.close()


def used(world: World) -> int:
    """Bytes of the database that are in use."""
    connection = world.store._connection
    pages = connection.pragma("page_count") - connection.pragma("freelist_count")
    return int(pages * connection.pragma("page_size"))


def reasons(frames: list[Frame]) -> list[str]:
    return [frame["payload"]["details"]["reason"] for frame in frames if frame["type"] == "ERROR"]


# --- one address ------------------------------------------------------------------


def logins(world: World, name: str) -> Iterator[Client]:
    """Accounts of one address, made until that is refused."""
    for number in range(2_000):
        client = world.connect(f"{name} {number}", address=HERE)
        client.put(client.auth(["ack"]))
        world.run()
        answer = client.take()[0]
        if answer["type"] == "AUTH_FAILURE":
            assert answer["payload"]["code"] == 1003
            assert 0 < answer["payload"]["retryAfter"] <= 25 * HOUR
            assert client.close_code() == 4002
            return
        yield client
        if used(world) > ENOUGH:
            return


def store_messages(world: World) -> None:
    clients = [world.login(f"mallory {number}", address=HERE) for number in range(5)]
    for one in clients:
        for other in clients:
            one.send(one.person.message(other.person))
    for one in clients:
        one.drop()
    senders = [world.login(client.person, address=HERE) for client in clients[:2]]
    for number in range(60):
        for sender in senders:
            sender.send(sender.person.message(clients[2 + number % 3].person, encrypted=BIG))
            sender.take()


def store_prekeys(world: World) -> None:
    for client in logins(world, "mallory"):
        client.send(client.person.publish(range(1, 101), range(1, 21), last_resort=True))
        client.drop()


def store_blocks(world: World) -> None:
    for client in logins(world, "mallory"):
        client.send(*(client.person.block(key_text(f"{number}")) for number in range(900)))
        client.drop()


def store_receipts(world: World) -> None:
    """``read`` of messages that never were: news for a contact, each with a name of its own."""
    found = logins(world, "mallory")
    pairs = []
    for one, other in zip(found, found, strict=False):
        one.send(one.person.message(other.person))
        other.send(other.person.message(one.person))
        pairs.append((one, other))
        if len(pairs) == 8:
            break
    for one, other in pairs:
        one.drop()
        for _ in range(600):
            routed = {"payload": {"messageId": other.person.new_message_id(), "senderId": one.person.id}}
            other.put(other.person.ack(routed, "read"))
        world.run()


def store_exchanges(world: World) -> None:
    clients = list(zip(logins(world, "mallory"), range(60), strict=False))
    people = [client.person for client, _ in clients]
    for client, _ in clients:
        client.send(*(client.person.init(person) for person in people if person is not client.person))


WAYS = {
    "messages": store_messages,
    "prekeys": store_prekeys,
    "blocks": store_blocks,
    "receipts": store_receipts,
    "key exchanges": store_exchanges,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_one_address_with_many_accounts_stores_no_more_than_its_quota(
    smaller: World, way: Callable[[World], None]
) -> None:
    before = used(smaller)
    way(smaller)
    assert used(smaller) - before < 1.3 * A_QUARTER, "pages are not full"
    other = smaller.login("somebody from elsewhere")
    assert other.send(other.person.message(other.person))[0]["payload"]["status"] == "accepted"


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_without_the_quota_it_stores_more(smaller: World, way: Callable[[World], None]) -> None:
    """The control."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quota, "spend", lambda *_: 0)
        before = used(smaller)
        way(smaller)
        assert used(smaller) - before > 1.4 * A_QUARTER


def test_one_address_makes_no_more_accounts_than_its_quota(small: World) -> None:
    assert len(list(logins(small, "mallory"))) == MEGABYTE // 4_096
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Quota, "spend", lambda *_: 0)
        assert len(list(zip(logins(small, "control"), range(500), strict=False))) == 500, "the control"


def test_refusal_says_when_there_will_be_room(small: World) -> None:
    small.register("bob")
    bob = small.person("bob")
    alice = small.login("alice", address=HERE)
    answers = [alice.send(alice.person.message(bob, encrypted=BIG, id="m"))[0] for _ in range(20)]
    refused = [answer for answer in answers if answer["type"] == "ERROR"]
    assert refused
    assert {answer["payload"]["details"]["reason"] for answer in refused} <= {"quota", "backlog"}


def filled(world: World) -> Client:
    """Somebody whose address has used up its day, without filling a mailbox: what it sent was fetched."""
    bob = world.login("bob")
    alice = world.login("alice", address=HERE)
    for _ in range(40):
        [answer, *_] = alice.send(alice.person.message(bob.person, encrypted=BIG))
        bob.settle()
        if answer["type"] == "ERROR":
            assert answer["payload"]["details"] == {"reason": "quota"}
            assert answer["payload"]["code"] == 1003
            return alice
    raise AssertionError("it never ends")


def test_what_was_stored_counts_for_a_day_also_if_it_was_fetched(small: World) -> None:
    alice = filled(small)
    bob = small.person("bob")
    [error] = alice.send(alice.person.message(bob, encrypted=BIG))
    wait = error["payload"]["retryAfter"]
    assert 24 * HOUR <= wait <= 25 * HOUR
    small.clock.advance(wait - 1)
    alice = small.login(alice.person, address=HERE)
    assert reasons(alice.send(alice.person.message(bob, encrypted=BIG))) == ["quota"]
    small.clock.advance(1)
    assert reasons(alice.send(alice.person.message(bob, encrypted=BIG))) == []


def test_whoever_has_an_account_gets_in_and_reads_though_the_address_has_used_up_its_day(small: World) -> None:
    alice = filled(small)
    carol = small.login("carol")
    carol.send(carol.person.message(alice.person))
    alice.drop()
    again = small.login(alice.person, address=HERE)
    [routed] = again.take("MESSAGE")
    again.send(again.person.ack(routed))
    assert small.peek(lambda tx: tx.mailboxes.read(alice.person.id, 0, 1 << 20, 0)).items == []
    assert again.send(again.person.ping())[0]["type"] == "PONG"
    assert reasons(again.send(again.person.publish(range(1, 201)))) == ["quota"]
    assert len(list(logins(small, "newcomer"))) < 15, "what was left was less than one large message"


def test_what_is_not_stored_does_not_count(small: World) -> None:
    alice = small.login("alice", address=HERE)
    bob = small.login("bob")
    known = alice.person.message(bob.person, encrypted=BIG)
    for _ in range(60):
        alice.send(alice.person.message(key_text("nobody"), encrypted=BIG))  # 1004
        alice.send(known)  # a duplicate, but for the first
    small.writer.full = True
    for _ in range(60):
        assert reasons(alice.send(alice.person.message(bob.person, encrypted=BIG))) == ["storage"]
    small.writer.full = False
    assert alice.send(alice.person.message(bob.person, encrypted=BIG))[0]["payload"]["status"] == "accepted"
    for _ in range(400):
        small.login(alice.person, address=HERE).drop()  # which makes no account


def test_limits_off_lifts_the_quota() -> None:
    config = Config(limits=False, address_megabytes_a_day=1, mailbox_megabytes=1)
    assert (config.mailbox_bytes, config.address_bytes) == (None, None)
    world = World(config)
    bob, alice = world.login("bob"), world.login("alice", address=HERE)
    for _ in range(40):
        assert reasons(alice.send(alice.person.message(bob.person, encrypted=BIG))) == []
        bob.settle()
    world.close()


def test_household_of_five_who_talk_all_day_never_meets_a_quota() -> None:
    """With the limits that a relay has if nothing is said; 200 texts and 10 large ones each, fetched late."""
    config = Config(**RATES)  # type: ignore[arg-type]
    world = World(config, store=SQLiteStore(None, mailbox_bytes=config.mailbox_bytes))
    family = [world.login(f"person {number}", address=HERE) for number in range(5)]
    for one in family:
        one.send(one.person.publish(range(1, 101), range(1, 21), last_resort=True))
        for other in family:
            one.send(one.person.message(other.person))
    for one in family:
        one.settle()
    away = family[-1]
    away.drop()
    for one in family[:-1]:
        sent = [one.person.message(away.person, encrypted="QUJD" * 128) for _ in range(200)]
        sent += [one.person.message(away.person, encrypted=BIG) for _ in range(10)]
        assert reasons(one.send(*sent)) == []
    world.close()


# --- the count itself -------------------------------------------------------------


def test_window_moves_on_by_the_hour() -> None:
    counted = Quota(100)
    now = 5 * HOUR_MS + 1
    assert counted.spend(1, 60, now) == 0
    assert counted.spend(1, 40, now + 2 * HOUR_MS) == 0
    assert counted.spend(1, 1, now + 3 * HOUR_MS) == (5 + 25) * HOUR_MS - (now + 3 * HOUR_MS)
    assert counted.spend(1, 61, now + 3 * HOUR_MS) == (7 + 25) * HOUR_MS - (now + 3 * HOUR_MS)
    assert counted.spend(2, 100, now) == 0, "another address"
    assert counted.spend(1, 60, 30 * HOUR_MS) == 0
    counted.give_back(Spent(1, 60, 30 * HOUR_MS))
    assert counted.spend(1, 60, 30 * HOUR_MS) == 0
    assert counted.spend(1, 1, 30 * HOUR_MS) > 0
    assert counted.spend(1, 100, 80 * HOUR_MS) == 0


def test_what_is_given_back_after_its_time_takes_nothing_from_others() -> None:
    counted = Quota(100)
    assert counted.spend(1, 100, 0) == 0
    assert counted.spend(1, 100, 40 * HOUR_MS) == 0
    counted.give_back(Spent(1, 100, 0))
    assert counted.spend(1, 1, 40 * HOUR_MS) > 0


def test_addresses_are_bounded_and_the_others_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MAX_ADDRESSES", 10)
    monkeypatch.setattr(quota, "SHARED", 4)
    counted = Quota(1_000)
    for number in range(10_000):
        counted.spend(number, 1, 0)
    assert (len(counted._days), len(counted._shared)) == (10, 4)
    assert counted.spend(0, 999, 0) == 0, "whoever was there before is not disturbed"
    assert counted.spend(77_777, 999, 0) > 0
    counted.prune(HOUR_MS)
    assert len(counted._days) == 10
    counted.prune(26 * HOUR_MS)
    assert (len(counted._days), len(counted._shared)) == (0, 0)


# --- one mailbox ------------------------------------------------------------------


def contacts(world: World) -> tuple[Client, Person]:
    alice, bob = world.login("alice"), world.login("bob")
    world.make_contacts(alice, bob)
    bob.drop()
    return alice, bob.person


def accepted(world: World, sender: Client, to: Person, count: int) -> int:
    """Each from an address of its own, so that a mailbox is what is full."""
    found = 0
    for _ in range(count):
        client = world.login(sender.person)
        found += reasons(client.send(client.person.message(to, encrypted=BIG))) == []
        client.drop()
    return found


def test_mailbox_has_so_many_bytes_and_strangers_a_quarter(small: World) -> None:
    alice, bob = contacts(small)
    mallory = small.login("mallory", address=HERE)
    answers = mallory.send(*(mallory.person.message(bob, encrypted=BIG) for _ in range(10)))
    assert len(reasons(answers)) == 6, "four of 60 KB were accepted"
    assert accepted(small, alice, bob, 20) == 12
    client = small.login(alice.person)
    assert reasons(client.send(client.person.message(bob, encrypted=BIG))) == ["backlog"]
    assert client.send(client.person.message(bob, encrypted="QUJD"))[0]["payload"]["status"] == "accepted", (
        "a small one"
    )


def test_mailbox_takes_more_without_the_bound(small: World) -> None:
    """The control."""
    alice, bob = contacts(small)
    small.store.tables.mailboxes._quota._most_bytes = None
    assert accepted(small, alice, bob, 30) == 30


def test_mailbox_that_was_emptied_has_room_again(small: World) -> None:
    alice, bob = contacts(small)
    assert accepted(small, alice, bob, 30) == 16
    client = small.login(bob)
    for _ in range(8):
        client.settle()
    client.drop()
    assert accepted(small, alice, bob, 30) == 16


def test_message_encrypted_again_may_not_grow_beyond_the_bound(small: World) -> None:
    alice, bob = contacts(small)
    small_one = alice.person.new_message_id()
    alice.send(alice.person.message(bob, message_id=small_one))
    assert accepted(small, alice, bob, 30) == 16
    client = small.login(alice.person)
    assert reasons(client.send(client.person.message(bob, message_id=small_one, encrypted=BIG))) == ["backlog"]
    assert reasons(client.send(client.person.message(bob, message_id=small_one, encrypted="QUJE"))) == []
    held = small.peek(lambda tx: tx.mailboxes.read(bob.id, 0, 1 << 30, 0)).items
    assert len(held) == 17


def test_bytes_of_strangers_are_shared_by_address_too(small: World) -> None:
    _, bob = contacts(small)
    mallory = small.login("mallory", address=HERE)
    for _ in range(10):
        mallory.send(mallory.person.message(bob, encrypted=BIG))
    newcomer = small.login("newcomer")
    assert reasons(newcomer.send(newcomer.person.message(bob, encrypted=BIG))) == []
    senders = [item.sender for item in small.peek(lambda tx: tx.mailboxes.read(bob.id, 0, 1 << 30, 0)).items]
    assert senders == [mallory.person.id] * 3 + [newcomer.person.id]


def test_receipts_of_a_client_without_acks_count_if_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("phantom_messenger.relay.config.MEGABYTE", 20_000)
    world = World(Config(**RATES, address_megabytes_a_day=1))  # type: ignore[arg-type]
    alice, bob = world.login("alice"), world.login("bob", address=HERE)
    world.make_contacts(alice, bob)
    bob.drop()
    world.login(bob.person, ack=False, address=HERE)
    for number in range(50):
        stranger = world.login(f"stranger {number}")
        stranger.send(stranger.person.message(bob.person))
        stranger.drop()
    statuses: list[str] = []
    for _ in range(3):  # each from an address of its own
        alice = world.login(alice.person)
        for _ in range(15):
            alice.put(alice.person.message(bob.person))
            world.run()
            frames = alice.take("MESSAGE_ACK")
            statuses += [frame["payload"]["status"] for frame in frames]
            alice.send(*(alice.person.confirm(frame["seq"]) for frame in frames if "seq" in frame))
    assert statuses.count("accepted") == 45
    assert statuses[:20] == ["accepted", "delivered"] * 10, "strangers are sent no receipts"
    assert 20 < statuses.count("delivered") <= 20_000 // RECEIPT_BYTES
    world.close()


# --- what is given back -----------------------------------------------------------


class Spy(Quota):
    """Counts what is spent and not given back."""

    left = 0

    def spend(self, mark: int, size: int, now: int) -> int:
        self.left += size
        return super().spend(mark, size, now)

    def give_back(self, spent: Spent) -> None:
        self.left -= spent.size
        super().give_back(spent)


def block_under_way(results: list[Blocked | Exception]) -> tuple[int, list[Frame]]:
    """What a BLOCK has spent when its commands had these results, and how it was answered."""
    world = World()
    core = world.relay._core
    client = world.login("alice")
    core.admission.quota = spy = Spy(1_000_000)
    other = world.person("bob")
    frame = decode_client(canonical(client.person.frame("BLOCK", {"blocked": True, "userId": other.id}))).frame
    steps = handle(core, AdmittedFrame(client.session, frame, b"", None), verdict=True)
    assert isinstance(next(steps), Block)
    with suppress(StopIteration):
        for result in results:
            steps.throw(result) if isinstance(result, Exception) else steps.send(result)
    world.run()
    answers = client.take()
    world.close()
    return spy.left, answers


FULL = CommandFailed(OSError("full"), is_out_of_space=True)


def test_block_that_is_stored_stays_counted_though_its_next_part_fails() -> None:
    spent, answers = block_under_way([Blocked(was_contact=False, is_complete=False), FULL])
    assert (spent, reasons(answers)) == (BLOCK_BYTES, ["storage"])


def test_block_that_was_not_stored_is_given_back() -> None:
    spent, answers = block_under_way([FULL])
    assert (spent, reasons(answers)) == (0, ["storage"])
