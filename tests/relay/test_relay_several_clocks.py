"""Several relays share persistent time, whatever is done to the clock of the database or of their machines."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from phantom_messenger import clock as clocks
from phantom_messenger.clock import ClockSnapshot, SystemClock
from phantom_messenger.engines.postgres import PostgresStore, schema, store
from phantom_messenger.relay.commands import SaveClock, ShareClock
from support.postgres_server import PostgresServer
from support.store_user import run

HOUR = 3_600_000
JUMPS = (-400 * 24 * HOUR, -HOUR, HOUR, 400 * 24 * HOUR)
AGREED = 1_000


class Machine:
    """A machine with a relay: its boot, and the relay's clock, which runs on by the real time since boot."""

    def __init__(self, url: str, boot: str, monkeypatch: pytest.MonkeyPatch, *, trusts: bool = False) -> None:
        self._boot = boot
        with monkeypatch.context() as patch:
            patch.setattr(store, "boot_id", lambda: boot)
            patch.setattr(clocks, "boot_id", lambda: boot)
            self.store = PostgresStore(url)
            if trusts:
                [(wall,)] = sql(url, f"SELECT {schema.functions_schema()}.wall_ms()")
                kept = ClockSnapshot(boot, clocks.since_boot_ms(), wall, wall)
            else:
                kept = self.store.time()
            self.clock = SystemClock(kept)
        run(self.store, SaveClock(snapshot=self.clock.snapshot()))

    def report(self) -> None:
        self.clock.catch_up(run(self.store, ShareClock(snapshot=self.clock.snapshot())))

    def stop(self) -> None:
        self.store.close()


def sql(url: str, query: str) -> list[tuple[int, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def url(postgres: PostgresServer, template: str) -> Iterator[str]:
    made = postgres.make_database(template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def machine(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(boot: str, **options: bool) -> Machine:
        made.append(Machine(url, boot, monkeypatch, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def set_clock(url: str, by: int) -> None:
    """Set the database's clock, for all that the functions see of it."""
    shown = f"SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint + {by}"  # noqa: S608 - a number
    name = f"{schema.functions_schema()}.wall_ms()"
    sql(url, f"CREATE OR REPLACE FUNCTION {name} RETURNS bigint LANGUAGE sql AS '{shown}'")


def apart(one: Machine, other: Machine) -> int:
    return abs(one.clock.persistent_ms() - other.clock.persistent_ms())


def newcomer_is_apart(url: str, machine: Callable[..., Machine], jump: int, *, trusts: bool = False) -> int:
    """A relay starts while the database's clock is wrong, beside one that has been at work."""
    first = machine("one")
    set_clock(url, jump)
    return apart(first, machine("other", trusts=trusts))


@pytest.mark.parametrize("jump", JUMPS)
def test_relay_that_starts_while_the_clock_is_wrong_counts_as_the_others(
    url: str, machine: Callable[..., Machine], jump: int
) -> None:
    assert newcomer_is_apart(url, machine, jump) < AGREED


def test_control_relay_that_trusts_the_databases_clock_is_an_hour_ahead(
    url: str, machine: Callable[..., Machine]
) -> None:
    assert newcomer_is_apart(url, machine, HOUR, trusts=True) > HOUR - AGREED


@pytest.mark.parametrize("jump", JUMPS)
def test_clock_that_is_set_while_relays_report_changes_nothing(
    url: str, machine: Callable[..., Machine], jump: int
) -> None:
    relays = [machine("one"), machine("other")]
    began = [(one.clock.persistent_ms(), clocks.since_boot_ms()) for one in relays]
    for set_to in (jump, 0, jump):
        set_clock(url, set_to)
        for one in (*relays, *relays):
            one.report()
    for one, (before, since) in zip(relays, began, strict=True):
        passed = clocks.since_boot_ms() - since
        assert abs(one.clock.persistent_ms() - before - passed) < AGREED
    assert apart(*relays) < AGREED


def test_relay_that_is_behind_catches_up_and_none_runs_ahead(machine: Callable[..., Machine]) -> None:
    first, second = machine("one"), machine("other")
    first.clock.catch_up(first.clock.persistent_ms() + 30_000)
    first.report()
    second.report()
    assert apart(first, second) < AGREED
    before, since = first.clock.persistent_ms(), clocks.since_boot_ms()
    for one in (first, second) * 50:
        one.report()
    assert first.clock.persistent_ms() - before <= clocks.since_boot_ms() - since + 5
    assert apart(first, second) < AGREED


@pytest.mark.parametrize("jump", JUMPS)
def test_on_the_same_machine_time_goes_on_exactly(url: str, machine: Callable[..., Machine], jump: int) -> None:
    first = machine("one")
    first.stop()
    set_clock(url, jump)
    assert apart(first, machine("one")) < AGREED


@pytest.mark.parametrize(("jump", "passed"), [(HOUR, HOUR), (-HOUR, 0)])
def test_after_all_have_stopped_the_databases_clock_is_gone_by_unless_it_has_gone_back(
    url: str, machine: Callable[..., Machine], jump: int, passed: int
) -> None:
    first = machine("one")
    first.stop()
    set_clock(url, jump)
    assert abs(machine("another boot").clock.persistent_ms() - first.clock.persistent_ms() - passed) < AGREED
