from collections.abc import Callable, Sequence
from typing import Any

import pytest

from phantom_messenger.relay import load, signatures
from phantom_messenger.relay.commands import TakeLimits
from phantom_messenger.relay.config import Config
from phantom_messenger.wire import codec
from phantom_messenger.wire.limits import MAX_TRANSPORT_BYTES
from support.people import Frame, Person, base64_text, canonical, key_text
from support.simulated import MINUTE, SECOND, Client, MakeWorld, World

Make = Callable[[Person, Person], Frame]

ROWS: dict[str, tuple[int, Make]] = {
    "MESSAGE": (60, lambda me, to: me.message(to)),
    "KEY_EXCHANGE_INIT": (10, lambda me, to: me.init(to, name=me.new_message_id())),
    "KEY_EXCHANGE_RESPONSE": (10, lambda me, to: me.response(to, oneTimePreKey=key_text(me.new_message_id()))),
    "PRESENCE": (30, lambda me, _: me.presence("online")),
    "PRESENCE query": (30, lambda me, to: me.asks_for(to)),
    "PING": (60, lambda me, _: me.ping()),
}
"""The reference's table, but for AUTH."""


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A relay with the limits that it has if nothing is said."""
    return make_world()


@pytest.fixture
def bob(world: World) -> Person:
    person = world.person("bob")
    world.register(person)
    return person


def refusals(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame["type"] == "ERROR"]


def spend(client: Client, make: Make, to: Person, count: int) -> None:
    """Use up requests, a millisecond apart."""
    for _ in range(count):
        assert refusals(client.send(make(client.person, to))) == []
        client.world.clock.advance(1)


def assert_limited(answer: Frame, retry_after: int) -> None:
    assert answer["type"] == "ERROR"
    assert answer["payload"] == {
        "code": 1003,
        "message": "Rate limited",
        "details": {"reason": "rate"},
        "retryAfter": retry_after,
    }


@pytest.mark.parametrize(("limit", "make"), ROWS.values(), ids=ROWS)
def test_one_request_too_many_is_told_when_to_come_again(world: World, bob: Person, limit: int, make: Make) -> None:
    client = world.login("alice")
    spend(client, make, bob, limit)
    frame = make(client.person, bob)
    assert_limited(client.ask(client.person.signed(frame) if "signature" in frame else frame), MINUTE - limit)
    world.clock.advance(MINUTE - limit - 1)
    assert_limited(client.ask(make(client.person, bob)), 1)
    world.clock.advance(1)
    assert refusals(client.send(make(client.person, bob))) == []
    assert_limited(client.ask(make(client.person, bob)), 1)  # what was refused cost nothing, what was granted did
    assert client.close_code() is None


@pytest.mark.parametrize(("limit", "make"), ROWS.values(), ids=ROWS)
def test_limit_survives_a_reconnect(world: World, bob: Person, limit: int, make: Make) -> None:
    client = world.login("alice")
    spend(client, make, bob, limit)
    client.drop()
    client = world.login("alice")
    client.take()
    assert_limited(client.ask(make(client.person, bob)), MINUTE - limit)


@pytest.mark.parametrize(("limit", "make"), ROWS.values(), ids=ROWS)
def test_limit_of_one_user_is_not_anothers(world: World, bob: Person, limit: int, make: Make) -> None:
    client = world.login("alice", address="192.0.2.1")
    spend(client, make, bob, limit)
    other = world.login("carol", address="192.0.2.1")
    assert refusals(other.send(make(other.person, bob))) == []


def test_limits_of_classes_are_apart(world: World, bob: Person) -> None:
    client = world.login("alice")
    for limit, make in (ROWS["MESSAGE"], ROWS["KEY_EXCHANGE_INIT"], ROWS["PRESENCE"], ROWS["PING"]):
        spend(client, make, bob, limit)


def test_key_exchange_counts_both_frames(world: World, bob: Person) -> None:
    client = world.login("alice")
    for number in range(10):
        kind = "KEY_EXCHANGE_INIT" if number % 2 else "KEY_EXCHANGE_RESPONSE"
        spend(client, ROWS[kind][1], bob, 1)
    assert_limited(client.ask(client.person.init(bob, name="late")), MINUTE - 10)


def test_refused_message_is_not_delivered(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    spend(alice, ROWS["MESSAGE"][1], bob.person, 60)
    bob.take()
    alice.send(alice.person.message(bob.person))
    assert bob.take() == []


def test_61_messages_of_one_turn_are_one_too_many(world: World, bob: Person) -> None:
    client = world.login("alice")
    answers = client.send(*(client.person.message(bob) for _ in range(61)))
    assert len(refusals(answers)) == 1
    assert_limited(refusals(answers)[0], MINUTE)


def test_jump_of_the_wall_clock_lifts_no_limit(world: World, bob: Person) -> None:
    client = world.login("alice")
    spend(client, ROWS["PING"][1], bob, 60)
    for jump in (60 * MINUTE, -120 * MINUTE):
        world.clock.wall += jump
        assert_limited(client.ask(client.person.ping()), MINUTE - 60)


def test_limit_holds_though_old_windows_are_pruned(world: World, bob: Person) -> None:
    client = world.login("alice")
    world.pass_time(59 * SECOND)
    spend(client, ROWS["PING"][1], bob, 60)
    world.pass_time(2 * SECOND)
    assert refusals(client.send(client.person.ping())) != []


# --- AUTH -------------------------------------------------------------------------


def test_sixth_new_account_of_an_address_is_refused(world: World) -> None:
    for number in range(5):
        world.login(f"user {number}", address="192.0.2.1")
        world.clock.advance(1)
    client = world.connect("user 5", address="192.0.2.1")
    answer = client.ask(client.auth())
    assert answer["type"] == "AUTH_FAILURE"
    assert answer["payload"] == {
        "code": 1003,
        "details": {"reason": "rate"},
        "reason": "Rate limited",
        "retryAfter": MINUTE - 5,
    }
    assert client.close_code() == 4002
    assert world.peek(lambda tx: tx.directory.public_key(client.person.id)) is None, "it is not made"
    world.login("user 5", address="192.0.2.2")
    world.clock.advance(MINUTE - 5)
    world.login("user 6", address="192.0.2.1")


def test_sixth_login_of_a_user_is_refused_from_any_address(world: World) -> None:
    for _ in range(5):
        world.login("alice")
    client = world.connect("alice")
    assert client.ask(client.auth())["payload"]["code"] == 1003
    assert client.close_code() == 4002


def test_limits_outlive_a_restart(world: World) -> None:
    for _ in range(5):
        world.login("alice")
    world.relay.stop(lambda: None)
    world.run()
    [kept] = world.store.run([TakeLimits()])
    again = World(Config(), store=world.store, clock=world.clock, kept_limits=kept)
    client = again.connect("alice")
    assert client.ask(client.auth())["payload"]["code"] == 1003
    again.login("bob")
    again.clock.advance(MINUTE)
    again.login("alice")


def test_relay_that_has_counted_nothing_keeps_no_limits(world: World) -> None:
    world.relay.stop(lambda: None)
    world.run()
    assert world.store.run([TakeLimits()]) == [None]


def test_failed_logins_count(world: World) -> None:
    for _ in range(5):
        client = world.connect("alice", address="192.0.2.1")
        assert client.ask(client.auth(audience="other.test"))["payload"]["code"] == 1002
    client = world.connect("alice", address="192.0.2.1")
    assert client.ask(client.auth())["payload"]["code"] == 1003


UNIVERSAL = bytes([1]) + bytes(63)
FAILURES: dict[str, Callable[[Client], Frame]] = {
    "signature": lambda client: {**client.auth(), "signature": client.person.sign(b"something else")},
    "unsigned": lambda client: client.person.unsigned_auth(),
    "challenge": lambda client: client.auth(challenge=key_text("another")),
    "audience": lambda client: client.auth(audience="other.test"),
    "identity": lambda client: client.auth(userId=client.world.person("bob").id),
    "key": lambda client: {**client.auth(publicKey=base64_text(bytes(32))), "signature": base64_text(UNIVERSAL)},
}


def fail(world: World, make: Callable[[Client], Frame], count: int, address: str = "192.0.2.1") -> list[Frame]:
    """What so many failing logins of an address are answered with."""
    answers = []
    for _ in range(count):
        client = world.connect("mallory", address=address)
        answers.append(client.ask(make(client))["payload"])
        assert client.close_code() in {4001, 4002}
    return answers


@pytest.mark.parametrize("make", FAILURES.values(), ids=FAILURES)
def test_sixth_failed_login_of_an_address_is_told_to_wait(world: World, make: Callable[[Client], Frame]) -> None:
    world.register("alice")
    world.clock.advance(MINUTE)
    answers = fail(world, make, 7)
    assert [answer["code"] for answer in answers] == [1002] * 5 + [1003] * 2
    assert answers[-1]["retryAfter"] == MINUTE
    assert fail(world, make, 1, "192.0.2.2")[0]["code"] == 1002, "its neighbour is not"
    client = world.connect("somebody new", address="192.0.2.1")
    assert client.ask(client.auth())["payload"]["retryAfter"] == MINUTE
    assert client.connection.closed == (4002, "too many logins")
    world.login("alice", address="192.0.2.1")  # who has an account gets in
    world.clock.advance(MINUTE)
    assert fail(world, make, 1)[0]["code"] == 1002


def test_connection_costs_one_signature_check_without_a_proof() -> None:
    checked: list[tuple[bytes, bytes, bytes]] = []

    def verify(batch: Sequence[tuple[bytes, bytes, bytes]]) -> list[bool]:
        checked.extend(batch)
        return signatures.verify(batch)

    world = World(Config(), verify=verify)
    try:
        client = world.connect("mallory")
        made = FAILURES["signature"]
        answers = client.send(*(made(client) for _ in range(9)))
        assert len(checked) == 1
        assert [frame["type"] for frame in answers].count("AUTH_FAILURE") == 1
        assert client.close_code() == 4001
        impatient = world.connect("mallory")
        impatient.send(*(made(impatient) for _ in range(50)))
        assert len(checked) <= 2
        assert impatient.close_code() == 4003
    finally:
        world.close()


def test_whoever_comes_in_an_overload_is_told_when_to_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(load, "MOST_LOAD", 5)
    alice = world.login("alice")
    world.clock.advance(MINUTE)
    world.writer.holding = True
    messages = [alice.person.message(alice.person) for _ in range(25)]
    with caplog.at_level("INFO", "phantom.relay"):
        refused = [answer["payload"] for answer in alice.send(*messages)]
        assert {answer["details"]["reason"] for answer in refused} == {"overload"}
        assert len(refused) == 20, "five are on their way"
        waits = [answer["retryAfter"] for answer in refused]
        assert waits == [1_000 + number % 16 * 250 for number in range(1, 21)], "not all at once"
        world.writer.holding = False
        world.writer.run_held()
        world.run()
        assert [frame["type"] for frame in alice.take()].count("MESSAGE") == 5
        world.pass_time(4_000)
        assert [line.split(":")[0] for line in caplog.messages] == ["overloaded"]
        world.pass_time(4_000)
        assert caplog.messages[-1].startswith("overload-over:")
        assert caplog.messages[-1].endswith("refused=20")
    assert len(caplog.messages) == 2
    assert alice.send(alice.person.message(alice.person))[0]["payload"]["status"] == "accepted"


def test_wrong_time_and_overload_count_for_nobody(world: World) -> None:
    late = fail(world, lambda client: client.person.signed({**client.auth(), "timestamp": 1}), 20)
    assert {answer["code"] for answer in late} == {1001}
    for number in range(5):
        world.login(f"user {number}", address="192.0.2.1")


def test_logins_of_those_who_have_accounts_count_for_no_address(world: World) -> None:
    users = [f"user {number}" for number in range(40)]
    for number, user in enumerate(users):
        world.login(user, address=f"192.0.2.{number}").drop()
    for user in users:
        world.login(user, address="198.51.100.1").drop()
    for number in range(5):
        world.login(f"new {number}", address="198.51.100.1").drop()


def test_no_more_accounts_are_made_than_are_counted(world: World) -> None:
    """Ten logins at once: whether an account is there is seen in the store, and each that is not takes a place."""
    world.writer.holding = True
    clients = [world.connect(f"user {number}", address="192.0.2.1") for number in range(10)]
    for client in clients:
        client.put(client.auth())
    world.run()
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    codes = [client.close_code() for client in clients]
    assert (codes.count(None), codes.count(4002)) == (5, 5)
    made = world.peek(lambda tx: [tx.directory.public_key(client.person.id) for client in clients])
    assert made.count(None) == 5


def test_account_that_is_deleted_and_made_again_counts_for_its_address(world: World) -> None:
    for _ in range(5):
        client = world.login("alice", address="192.0.2.1")
        client.send(client.person.account_delete())
        assert client.close_code() == 1000
    client = world.connect("alice", address="192.0.2.1")
    assert client.ask(client.auth())["payload"]["code"] == 1003


def test_login_refused_to_an_address_does_not_count_for_the_user(world: World) -> None:
    for number in range(5):
        world.login(f"user {number}", address="192.0.2.1")
    for _ in range(9):
        client = world.connect("alice", address="192.0.2.1")
        assert client.ask(client.auth())["payload"]["code"] == 1003
    world.login("alice", address="192.0.2.2")


def test_logins_that_others_claim_do_not_lock_a_user_out(world: World) -> None:
    alice = world.login("alice").person
    for attempt in range(20):
        mallory = world.connect("mallory", address=f"192.0.2.{attempt}")
        claimed = mallory.auth(userId=alice.id)
        assert mallory.ask(claimed)["payload"]["details"] == {"reason": "identity"}
    world.login("alice")


def test_ping_before_login_is_limited(world: World) -> None:
    client = world.connect("alice")
    assert refusals(client.send(*(client.person.ping() for _ in range(60)))) == []
    assert_limited(client.ask(client.person.ping()), MINUTE)


# --- settings ---------------------------------------------------------------------


def test_limits_can_be_lifted(make_world: MakeWorld) -> None:
    world = make_world(limits=False)
    world.register("bob")
    bob = world.person("bob")
    for _ in range(20):
        world.login("alice", address="192.0.2.1")
    client = world.login("alice", address="192.0.2.1")
    for limit, make in ROWS.values():
        assert refusals(client.send(*(make(client.person, bob) for _ in range(min(limit * 2, 90))))) == []


@pytest.mark.parametrize(
    ("setting", "make"),
    [
        ("rate_message", ROWS["MESSAGE"][1]),
        ("rate_key_exchange", ROWS["KEY_EXCHANGE_INIT"][1]),
        ("rate_presence", ROWS["PRESENCE"][1]),
        ("rate_ping", ROWS["PING"][1]),
        ("rate_prekey", lambda me, _: me.prekey_status()),
        ("rate_ack", lambda me, _: me.confirm(1)),
        ("rate_block", lambda me, to: me.block(to)),
    ],
)
def test_limit_is_configurable(make_world: MakeWorld, setting: str, make: Make) -> None:
    world = make_world(**{setting: 3})
    world.register("bob")
    client = world.login("alice")
    spend(client, make, world.person("bob"), 3)
    assert_limited(client.ask(make(client.person, world.person("bob"))), MINUTE - 3)


def test_limit_of_logins_is_configurable(make_world: MakeWorld) -> None:
    world = make_world(rate_auth=1)
    world.login("alice", address="192.0.2.1")
    client = world.connect("bob", address="192.0.2.1")
    assert client.ask(client.auth())["payload"]["code"] == 1003


def test_greeting_tells_the_limit_of_messages(make_world: MakeWorld) -> None:
    for settings, told in (({}, 60), ({"rate_message": 7}, 7), ({"limits": False}, None)):
        greeting = make_world(**settings).connect("alice").acknowledgement
        assert greeting["payload"]["limits"]["messagesPerMinute"] == told


# --- connections ------------------------------------------------------------------


def test_eleventh_connection_of_an_address_is_closed_at_once(world: World) -> None:
    clients = [world.connect(f"user {number}", address="192.0.2.1") for number in range(10)]
    eleventh = world.connect("late", address="192.0.2.1")
    assert eleventh.connection.closed == (4002, "too many connections from this address")
    assert eleventh.take() == []
    assert [client.close_code() for client in clients] == [None] * 10
    assert world.connect("other", address="192.0.2.2").close_code() is None
    clients[0].drop()
    assert [world.connect("late", address="192.0.2.1").close_code() for _ in range(2)] == [None, 4002]


def test_refused_connection_frees_its_place(world: World) -> None:
    clients = [world.connect(f"user {number}", address="192.0.2.1") for number in range(10)]
    for _ in range(30):
        assert world.connect("late", address="192.0.2.1").close_code() == 4002
    clients[0].drop()
    assert world.connect("late", address="192.0.2.1").close_code() is None


def test_count_of_connections_is_configurable(make_world: MakeWorld) -> None:
    world = make_world(connections_per_address=2)
    assert [world.connect("x", address="192.0.2.1").close_code() for _ in range(3)] == [None, None, 4002]


# --- sizes ------------------------------------------------------------------------


def padded(client: Client, to: Person, size: int) -> bytes:
    """A message whose text has this many bytes."""
    frame = client.person.message(to, encrypted="QUJD" * 15_000)
    return b" " * (size - len(canonical(frame))) + canonical(frame)


def assert_too_large(client: Client, answer: Frame, reason: str, limit: int) -> None:
    assert answer["type"] == "ERROR"
    assert answer["payload"]["code"] == 1006
    assert answer["payload"]["details"] == {"reason": reason, "limit": limit}
    assert client.close_code() is None
    assert client.ask(client.person.ping())["type"] == "PONG"


def test_message_may_have_65536_bytes(world: World, bob: Person) -> None:
    client = world.login("alice")
    assert client.ask(padded(client, bob, 65_536))["payload"]["status"] == "accepted"
    assert_too_large(client, client.ask(padded(client, bob, 65_537)), "message-size", 65_536)


def test_ciphertext_may_have_61440_characters(world: World, bob: Person) -> None:
    client = world.login("alice")
    assert client.ask(client.person.message(bob, encrypted="QUJD" * 15_360))["payload"]["status"] == "accepted"
    answer = client.ask(client.person.message(bob, encrypted="QUJD" * 15_361, id="request-1"))
    assert answer["id"] == "request-1"
    assert_too_large(client, answer, "encrypted-size", 61_440)


def test_metadata_may_have_1024_bytes(world: World, bob: Person) -> None:
    client = world.login("alice")
    most = 1_024 - len('{"x":""}')
    assert client.ask(client.person.message(bob, metadata={"x": "x" * most}))["payload"]["status"] == "accepted"
    answer = client.ask(client.person.message(bob, metadata={"x": "x" * (most + 1)}))
    assert_too_large(client, answer, "metadata-size", 1_024)


def test_metadata_is_measured_in_bytes_of_its_canonical_form(world: World, bob: Person) -> None:
    client = world.login("alice")
    text = canonical(client.person.message(bob, metadata={"x": "y"})).replace(
        b'{"x":"y"}', b'{"x":%b"y"}' % (b" " * 2_000)
    )
    assert client.ask(text)["payload"]["status"] == "accepted"
    answer = client.ask(client.person.message(bob, metadata={"x": "é" * 600}))
    assert_too_large(client, answer, "metadata-size", 1_024)


def test_message_that_is_too_large_is_not_stored(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    for encrypted in ("QUJD" * 15_361, "QUJD" * 16_400):
        assert alice.ask(alice.person.message(bob.person, encrypted=encrypted))["payload"]["code"] == 1006
    assert bob.take() == []


@pytest.mark.parametrize(("size", "reads"), [(60_000, 2), (70_000, 1), (MAX_TRANSPORT_BYTES, 1)])
def test_text_that_is_longer_than_most_may_be_is_read_once(
    world: World, monkeypatch: pytest.MonkeyPatch, size: int, reads: int
) -> None:
    alice, count = world.login("alice"), 0

    def counting(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def wrapper(text: bytes) -> Any:
            nonlocal count
            count += 1
            return read(text)

        return wrapper

    for name in ("read_kind", "request_head"):
        monkeypatch.setattr(codec, name, counting(getattr(codec, name)))
    alice.ask(b" " * size)
    assert count == reads


def test_ciphertext_must_be_base64(world: World, bob: Person) -> None:
    client = world.login("alice")
    for encrypted in (
        "QUJ",
        "QUJ=",
        "QU JD",
        "QUJE\n",
        base64_text(b"\xfb\xff\xfe").replace("+", "-").replace("/", "_"),
    ):
        assert client.ask(client.person.message(bob, encrypted=encrypted))["payload"]["code"] == 1001
