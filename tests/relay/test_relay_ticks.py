"""What is looked at once a second, for every connection, whatever one of them does."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.commands import (
    AnyCommand,
    Expire,
    FindIdleAccounts,
    ForgetHandouts,
    ForgetOrders,
    SaveClock,
)
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.outbox import OVERFLOW, STALL_MS, Outbox
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS, IDLE_TIMEOUT_MS
from support.faults import Faults
from support.simulated import HOUR, MINUTE, Client, MakeWorld, World


def ticks(world: World, milliseconds: int) -> None:
    """Let time pass, second by second."""
    for _ in range(0, milliseconds, 1_000):
        world.clock.advance(1_000)
        world.relay.tick()
        world.run()


@pytest.fixture
def noted(world: World, monkeypatch: pytest.MonkeyPatch) -> list[AnyCommand]:
    """What is stored from now on."""
    found: list[AnyCommand] = []
    world.run()
    run = world.store.run

    def noting(commands: Sequence[AnyCommand]) -> list[Any]:
        found.extend(commands)
        results: list[Any] = run(commands)
        return results

    monkeypatch.setattr(world.store, "run", noting)
    return found


def test_chores_are_done_as_often_as_they_are_due(
    world: World, noted: list[AnyCommand], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", "phantom.relay"):
        started = world.clock.wall
        ticks(world, HOUR + 1_000)
    kinds = Counter(type(command) for command in noted)
    assert kinds == {Expire: 3_601, SaveClock: 60, ForgetHandouts: 60, FindIdleAccounts: 2, ForgetOrders: 2}
    assert [line.split(":")[0] for line in caplog.messages] == ["status"] * 60
    saved = [command.snapshot.wall for command in noted if isinstance(command, SaveClock)]
    assert saved == [started + number * MINUTE for number in range(1, 61)]


def test_clock_is_saved_at_once_when_it_was_set(world: World, noted: list[AnyCommand]) -> None:
    saved: list[ClockSnapshot] = []
    for jump in (0, 1_000, 1, 0, -1_001, 0, -1_000, 0):
        world.clock.wall += jump
        ticks(world, 1_000)
        saved += [command.snapshot for command in noted if isinstance(command, SaveClock)]
        if jump in {1, -1_001}:
            assert saved.pop() == world.clock.snapshot()
        noted.clear()
    assert saved == [], "a second is no jump"


def test_sweep_that_fails_is_tried_again_after_10_seconds(world: World, noted: list[AnyCommand]) -> None:
    world.writer.full = True
    ticks(world, 25_000)
    assert [type(command) for command in noted].count(Expire) == 3
    world.writer.full = False
    noted.clear()
    ticks(world, 15_000)
    assert [type(command) for command in noted].count(Expire) == 10


def exists(client: Client) -> bool:
    return client.world.peek(lambda tx: tx.directory.public_key(client.person.id)) is not None


def test_account_of_somebody_who_is_here_is_noted_as_used(make_world: MakeWorld) -> None:
    world = make_world(account_days=30, limits=False)
    alice, bob = world.login("alice"), world.login("bob")
    bob.drop()
    for _ in range(2):
        world.clock.advance(31 * 24 * HOUR)
        alice.session.heard_at = world.clock.monotonic_ms()
        world.tick()
        world.pass_time(3_000)
        assert [exists(client) for client in (alice, bob)] == [True, False]
    again = world.restarted(Config(account_days=30, limits=False))  # as after a power failure
    for days, is_there in ((29, True), (2, False)):
        again.clock.advance(days * 24 * HOUR)
        again.pass_time(3_000)
        assert exists(alice) is is_there


def test_client_is_stalled_when_it_took_nothing_for_so_long(world: World) -> None:
    connection = world.connect("ann").connection
    outbox = Outbox(connection, 1_000)
    connection.written, connection.waiting = [b"xx"], 2
    assert not outbox.is_stalled(1_000 + STALL_MS)
    assert outbox.is_stalled(1_001 + STALL_MS)
    connection.waiting = 1
    assert not outbox.is_stalled(20_000), "it took a byte"
    assert not outbox.is_stalled(20_000 + STALL_MS)
    assert outbox.is_stalled(20_001 + STALL_MS)
    connection.waiting = 0
    assert not outbox.is_stalled(90_000)


def test_level_of_an_outbox_is_what_waits(world: World) -> None:
    client = world.connect("ann")
    outbox = Outbox(client.connection, 0)
    assert outbox.level() == 0
    outbox.push(b"one")
    outbox.push(b"three")
    assert outbox.level() == 8
    client.connection.stalled = True
    assert not outbox.flush()
    assert client.connection.written[-2:] == [b"one", b"three"]
    assert outbox.level() == 8, "in the socket"
    client.connection.waiting = 0
    assert outbox.level() == 0
    client.connection.waiting = OVERFLOW
    assert not outbox.flush()
    assert not outbox.overflows()
    client.connection.waiting = OVERFLOW + 1
    assert outbox.flush()
    assert outbox.overflows()


def test_chore_that_takes_long_is_not_begun_again_meanwhile(world: World, noted: list[AnyCommand]) -> None:
    world.writer.holding = True
    ticks(world, 5_000)
    world.writer.holding = False
    world.writer.run_held()
    world.run()
    kinds = Counter(type(command) for command in noted)
    assert (kinds[Expire], kinds[FindIdleAccounts]) == (1, 1)


def test_stopping_saves_the_clock(world: World, noted: list[AnyCommand]) -> None:
    world.clock.advance(500)
    world.relay.stop(lambda: None)
    world.run()
    assert noted == [SaveClock(snapshot=world.clock.snapshot())]


@pytest.fixture
def clients(world: World) -> list[Client]:
    return [world.login(name) for name in ("ann", "ben", "cat")]


def test_connection_that_fails_at_a_tick_ends_alone(
    world: World, clients: list[Client], monkeypatch: pytest.MonkeyPatch, faults: Faults
) -> None:
    is_stalled = Outbox.is_stalled

    def failing(outbox: Outbox, now: int) -> bool:
        if outbox is clients[0].session.outbox:
            raise OSError("its socket is broken")
        return is_stalled(outbox, now)

    monkeypatch.setattr(Outbox, "is_stalled", failing)
    stranger = world.connect("dot")
    ticks(world, CONNECTION_TIMEOUT_MS + 1_000)
    assert clients[0].close_code() == 1011
    assert stranger.close_code() == 4000, "those behind it are looked at"
    assert [client.close_code() for client in clients[1:]] == [None, None]
    assert faults.take() == ["OSError"]


def test_too_much_that_waits_is_seen_at_a_tick_whoever_wrote_it(world: World, clients: list[Client]) -> None:
    clients[0].connection.waiting = OVERFLOW + 1  # nothing of the core's
    ticks(world, 1_000)
    assert [client.connection.is_aborted() for client in clients] == [True, False, False]


def test_what_is_written_meanwhile_is_no_progress(world: World, clients: list[Client]) -> None:
    client = clients[0]
    client.connection.stalled = True
    for _ in range(0, STALL_MS + 2_000, 1_000):
        client.connection.write([b"a pong, which nobody takes"])
        ticks(world, 1_000)
    assert client.connection.is_aborted()


def test_somebody_who_takes_slowly_is_not_idle_though_nothing_is_read_of_them(
    world: World, clients: list[Client]
) -> None:
    slow, silent, _ = clients
    slow.connection.stalled = True
    slow.connection.write([b"x" * 100_000])
    for _ in range(0, IDLE_TIMEOUT_MS + 2_000, 1_000):
        slow.connection.waiting -= 100
        ticks(world, 1_000)
    assert slow.close_code() is None
    assert not slow.connection.is_aborted()
    assert silent.close_code() == 1001
