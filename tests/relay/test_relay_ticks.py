"""What is looked at once a second, for every connection, whatever one of them does."""

import pytest

from phantom_messenger.relay.outbox import OVERFLOW, STALL_MS, Outbox
from phantom_messenger.wire.limits import CONNECTION_TIMEOUT_MS, IDLE_TIMEOUT_MS
from support.faults import Faults
from support.simulated import Client, World


def ticks(world: World, milliseconds: int) -> None:
    """Let time pass, second by second."""
    for _ in range(0, milliseconds, 1_000):
        world.clock.advance(1_000)
        world.relay.tick()
        world.run()


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
