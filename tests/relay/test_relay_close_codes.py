"""Each close code by its cause, where time has to pass; test_relay_closing has them on real sockets."""

from collections.abc import Callable

import pytest

from phantom_messenger.relay import session
from phantom_messenger.relay.hub import DEPARTURE_MS
from support.people import Frame, Person, flipped
from support.simulated import MINUTE, SECOND, Client, MakeWorld, World


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A relay with the limits that it has if nothing is said."""
    return make_world()


def test_silent_connection_is_closed_with_4000_after_30_seconds(world: World) -> None:
    client = world.connect("alice")
    world.pass_time(29 * SECOND)
    assert client.close_code() is None
    world.pass_time(SECOND)
    assert client.connection.closed == (4000, "authentication required")
    assert world.relay.connections == 0


def test_pings_do_not_put_the_login_off(world: World) -> None:
    client = world.connect("alice")
    for _ in range(30):
        world.pass_time(SECOND)
        if client.close_code() is None:
            client.send(client.person.ping())
    assert client.close_code() == 4000


def test_login_that_the_store_never_answers_ends_with_4000(world: World) -> None:
    client = world.connect("alice")
    world.writer.holding = True
    client.send(client.auth())
    world.pass_time(30 * SECOND)
    assert client.close_code() == 4000
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert client.take() == []


def test_idle_session_is_closed_with_1001_after_5_minutes(world: World) -> None:
    client = world.login("alice")
    world.pass_time(5 * MINUTE - SECOND)
    assert client.close_code() is None
    world.pass_time(SECOND)
    assert client.connection.closed == (1001, "idle")


def test_frame_keeps_a_session_open(world: World) -> None:
    client = world.login("alice")
    for _ in range(4):
        world.pass_time(4 * MINUTE)
        assert client.ask(client.person.ping())["type"] == "PONG"


def test_messages_for_a_session_do_not_keep_it_open(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    for _ in range(5):
        world.pass_time(MINUTE)
        alice.send(alice.person.message(bob.person))
    assert bob.close_code() == 1001
    assert alice.close_code() is None


# --- ten of a kind in a minute ----------------------------------------------------


def malformed(_: Person) -> Frame | bytes:
    return b"{"


def forged(me: Person) -> Frame | bytes:
    message = me.message(me)
    return {**message, "signature": flipped(message["signature"])}


def login_again(_: Person) -> Frame | bytes:
    return b'{"type":"AUTH"}'


MISBEHAVIOUR: dict[str, tuple[Callable[[Person], Frame | bytes], int, int]] = {
    "refused": (Person.ping, 1003, 4002),
    "malformed": (malformed, 1001, 4003),
    "forged": (forged, 1002, 4003),
    "login again": (login_again, 1002, 4003),
}
"""What is done, how it is answered, and the close code of the tenth."""


@pytest.fixture(params=MISBEHAVIOUR)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spend_pings(client: Client) -> None:
    """From here on a PING is one too many."""
    assert {frame["type"] for frame in client.send(*(client.person.ping() for _ in range(60)))} == {"PONG"}


def strike(client: Client, kind: str) -> None:
    make, code, _ = MISBEHAVIOUR[kind]
    assert client.ask(make(client.person))["payload"]["code"] == code


def test_tenth_misbehaviour_in_a_minute_closes(world: World, kind: str) -> None:
    client = world.login("alice")
    spend_pings(client)
    for _ in range(9):
        strike(client, kind)
        assert client.close_code() is None
        world.clock.advance(SECOND)
    strike(client, kind)
    assert client.close_code() == MISBEHAVIOUR[kind][2]


def test_ten_misbehaviours_of_one_turn_close(world: World, kind: str) -> None:
    client = world.login("alice")
    spend_pings(client)
    make, _, close = MISBEHAVIOUR[kind]
    assert len(client.send(*(make(client.person) for _ in range(20)))) == 10
    assert client.close_code() == close


def test_nine_misbehaviours_a_minute_do_not_close(world: World, kind: str) -> None:
    client = world.login("alice")
    for _ in range(3):
        spend_pings(client)
        for _ in range(9):
            strike(client, kind)
        world.clock.advance(MINUTE)
    assert client.close_code() is None


def test_kinds_of_misbehaviour_are_counted_apart(world: World) -> None:
    client = world.login("alice")
    for _ in range(9):
        client.send(malformed(client.person), forged(client.person))
    assert client.close_code() is None


def test_logins_after_a_login_would_go_on_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: no rate counts what is refused by its type."""
    monkeypatch.setattr(session, "_COUNTED_TOO", frozenset())
    client = world.login("alice")
    assert len(client.send(*[login_again(client.person)] * 1_000)) == 1_000
    assert client.close_code() is None


def test_stale_clock_is_no_misbehaviour(world: World) -> None:
    client = world.login("alice")
    for _ in range(12):
        message = client.person.message(client.person)
        client.send(client.person.signed({**message, "timestamp": message["timestamp"] - 6 * MINUTE}))
    assert client.close_code() is None


def test_ten_malformed_messages_before_login_close_with_4003(world: World) -> None:
    client = world.connect("alice")
    client.send(*[malformed(client.person)] * 10)
    assert client.connection.closed == (4003, "too many refused messages")


def test_nothing_is_obeyed_behind_the_close(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    alice.send(*[malformed(alice.person)] * 10, alice.person.message(bob.person))
    assert alice.close_code() == 4003
    assert bob.take() == []


# --- others -----------------------------------------------------------------------


@pytest.mark.parametrize("logged_in", [False, True])
def test_binary_message_is_1001_and_closes_with_4003(world: World, logged_in: bool) -> None:
    client = world.login("alice") if logged_in else world.connect("alice")
    world.relay.receive_binary(client.session, b"x")
    world.run()
    [answer] = client.take()
    assert (answer["payload"]["code"], answer["payload"]["details"]["reason"]) == (1001, "binary")
    assert client.connection.closed == (4003, "binary message")


def test_stopping_relay_closes_every_connection_with_1001(world: World) -> None:
    clients = [world.connect("carol"), world.login("alice"), world.login("bob")]
    stopped: list[bool] = []
    world.relay.stop(lambda: stopped.append(True))
    world.run()
    assert stopped == [True]
    assert [client.close_code() for client in clients] == [1001] * 3
    assert world.connect("late").connection.closed == (1001, "the relay is stopping")
    assert world.relay.connections == 0


def test_stopping_relay_answers_what_is_on_its_way(world: World) -> None:
    alice, bob = world.login("alice"), world.login("bob")
    world.writer.holding = True
    alice.send(alice.person.message(bob.person))
    stopped: list[bool] = []
    world.relay.stop(lambda: stopped.append(True))
    world.run()
    assert not stopped
    assert alice.close_code() is None
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    assert stopped
    assert [frame["type"] for frame in alice.take()] == ["MESSAGE_ACK"]
    assert len(bob.take("MESSAGE")) == 1
    assert alice.close_code() == bob.close_code() == 1001


def test_user_without_a_session_is_forgotten(world: World) -> None:
    """Nothing of a connection stays behind it but a departure to announce."""
    for _ in range(3):
        world.login("alice").drop()
    assert world.relay.connections == 0
    world.pass_time(DEPARTURE_MS + SECOND)
    assert world.login("alice").take() == []
