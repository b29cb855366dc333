"""D11: two relays on one database, under load, while each part is killed, stopped and started again.

The database is on one server, the test's own; `make cluster-chaos` has servers that fail over.
"""

import asyncio
import logging
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import pytest
import several_virtual_users
from several_checker import SeveralChecker
from several_virtual_users import Place
from virtual_users import LoadGenerator, alive, make_contacts

from support import older_version
from support.amounts import amount, replayed
from support.people import Person
from support.postgres_server import PostgresServer, programs
from support.relay_process import WARM, Command, StartRelay, patched, unloaded

LOG: Final = logging.getLogger(__name__)
SEED: Final = replayed() or 11
PATIENCE: Final = 60.0
GIVEN_UP_SECONDS: Final = 12.0
"""Longer than a relay waits for an answer of its database."""

WORTH: Final = amount(30, 60)
"""Messages that are accepted before each fault, and again after it."""

GOING_AWAY: Final = 1001
BUNDLES: Final = 12
"""That people must have had in the end."""

Fault = Callable[[], None]


@pytest.fixture
def start_server() -> Iterator[Callable[..., PostgresServer]]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    with ExitStack() as stack:

        def start(**settings: str) -> PostgresServer:
            server = PostgresServer(**settings)
            stack.callback(server.end)
            return server

        yield start


class Scene:
    """Two relays on a server, and the people at them.

    Args:
        server: of the database.
        start_relay: starts a relay.
        command: of the relays.
    """

    def __init__(self, server: PostgresServer, start_relay: StartRelay, command: Command = WARM) -> None:
        self.server = server
        self.store = server.make_database()
        self.relays = [start_relay("--limits", "off", "--store", self.store, command=command) for _ in range(2)]
        self.place = Place([relay.url for relay in self.relays], SeveralChecker())

    def run(self, faults: Sequence[Fault]) -> SeveralChecker:
        """What happens when one is done after the other under load, and all is waited for in the end."""
        checker, place = self.place.checker, self.place
        people = several_virtual_users.cast(checker, SEED)
        asyncio.run(make_contacts(place.urls[0], checker, people.pairs))
        asyncio.run(several_virtual_users.publish(place, people.readers))
        asyncio.run(self._storm(people, faults))
        asyncio.run(several_virtual_users.collect(place, people))
        asyncio.run(several_virtual_users.judge_sessions(place, [*people.writers[:2], *people.readers[:2]]))
        return checker

    async def _storm(self, people: several_virtual_users.Cast, faults: Sequence[Fault]) -> None:
        generator = LoadGenerator(self.place.urls[0], self.place.checker)
        several_virtual_users.gather(generator, self.place, people, SEED)
        async with alive(generator):
            for fault in faults:
                await several_virtual_users.accepted(generator, WORTH, PATIENCE)
                await asyncio.to_thread(fault)
            await several_virtual_users.accepted(generator, WORTH, PATIENCE)
            async with asyncio.timeout(PATIENCE):
                await generator.progress.until(lambda: self.place.checker.bundles >= BUNDLES)
            await several_virtual_users.calm(generator, PATIENCE)

    # --- faults -------------------------------------------------------------------

    def kill_relay(self) -> None:
        self.relays[0].kill()
        self.relays[0].restart()

    def kill_database(self) -> None:
        self.server.kill()
        self.server.start()

    def pause_database(self) -> None:
        """Until the relays have given up what they wait for; then the server does it after all."""
        self.server.pause()
        time.sleep(GIVEN_UP_SECONDS)
        self.server.resume()

    def roll(self) -> None:
        """Start each relay again, as for an update."""
        for relay in self.relays:
            assert relay.stop(signal.SIGTERM) == 0
            relay.restart()

    def update(self, number: int) -> None:
        """Start a relay again, in the version of today."""
        relay = self.relays[number]
        assert relay.stop(signal.SIGTERM) == 0
        relay.command = WARM
        relay.restart()


def test_nothing_is_lost_doubled_or_out_of_order_whatever_fails(
    start_server: Callable[..., PostgresServer], start_relay: StartRelay
) -> None:
    scene = Scene(start_server(), start_relay)
    faults = [scene.kill_relay, scene.kill_database, scene.pause_database, scene.roll]
    more = random.Random(SEED).choices(faults, k=amount(0, 100))  # noqa: S311 - to be repeated
    checker = scene.run([*faults, *more])
    said = f"seed {SEED}, accepted {checker.accepted}, put off {checker.put_off}, prekeys {len(checker.handed)}"
    LOG.info(said)
    assert checker.verdict() == {}, said
    assert checker.put_off, f"the database was never away; {said}"
    assert checker.handed, said


def test_nothing_is_lost_or_doubled_when_relays_are_updated_one_after_another(
    start_server: Callable[..., PostgresServer], start_relay: StartRelay, tmp_path: Path
) -> None:
    """From the version before the tables were last changed: the first relay of today changes them under the other."""
    commit = older_version.before_the_tables_changed()
    older = None if commit is None else older_version.unpack(commit, tmp_path / "older")
    if older is None:
        pytest.skip("the history of the repository is not here: updates from an older version")
    scene = Scene(start_server(), start_relay, unloaded(older))
    before = applied_migrations(scene)
    checker = scene.run([partial(scene.update, 0), partial(scene.update, 1)])
    assert applied_migrations(scene) > before
    said = f"seed {SEED}, from {commit}, accepted {checker.accepted}, closed with {checker.closings}"
    LOG.info(said)
    assert checker.verdict() == {}, said
    assert set(checker.closings) == {GOING_AWAY}, said


def applied_migrations(scene: Scene) -> int:
    with psycopg.connect(scene.store) as connection:
        row = connection.execute("SELECT count(*) FROM phantom.migrations").fetchone()
        return int(row[0]) if row else 0


COMMITS_ARE_NOT_SYNCED: Final = """
from phantom_messenger.engines.postgres import schema, store
store._SESSION["synchronous_commit"] = "off"
functions = schema.functions
schema.functions = lambda: functions().replace("NOT IN ('on', 'remote_apply')", "= ''")
"""


def test_control_commits_that_are_not_synced_are_lost_and_the_checker_sees_it(
    start_server: Callable[..., PostgresServer], start_relay: StartRelay
) -> None:
    server = start_server(wal_writer_delay="10s", wal_writer_flush_after="1GB", wal_buffers="16MB")
    scene = Scene(server, start_relay, patched(COMMITS_ARE_NOT_SYNCED))
    kills = [scene.kill_database] * 3  # the server may have written its log, by itself, just before one of them
    assert scene.run(kills).verdict().keys() & {"lost", "out of order"}, f"seed {SEED}"


HANDS_OUT_AGAIN: Final = """
from phantom_messenger.engines.postgres import schema
functions = schema.functions
taking = "DELETE FROM one_time_prekeys AS o WHERE o.account = owner AND o.kind = of_kind AND o.entry = ("
assert taking in functions()
schema.functions = lambda: functions().replace(
    taking, "SELECT o.id, o.key, o.signature FROM one_time_prekeys AS o WHERE o.account = owner AND o.entry = ("
).replace("e.kind = of_kind)\\n        RETURNING o.id, o.key, o.signature;", "e.kind = of_kind);")
"""


KEEPS_NO_EXCHANGE: Final = """
from phantom_messenger.engines.postgres import schema
all_functions = schema.functions
stored = "    IF wants_bundle THEN"
assert all_functions().count(stored) == 1
schema.functions = lambda: all_functions().replace(
    stored, "    DELETE FROM items WHERE recipient = target AND seq = new_seq; outcome := 5;\\n" + stored
)
"""


def test_control_prekeys_that_stay_and_key_exchanges_that_do_not_are_seen(
    start_server: Callable[..., PostgresServer], start_relay: StartRelay
) -> None:
    scene = Scene(start_server(), start_relay, patched(HANDS_OUT_AGAIN + KEEPS_NO_EXCHANGE))
    found = scene.run([]).verdict().keys()
    assert {"prekey handed out twice", "key exchange lost"} <= found, f"seed {SEED}"


def test_checker_misses_the_newest_key_exchange_of_each_pair_and_none_that_it_replaced() -> None:
    checker, asker, targets = SeveralChecker(), Person("asker"), [Person("one"), Person("other")]
    old, new, elsewhere = (
        asker.signed({**asker.init(target, name=name), "id": name})
        for target, name in ((targets[0], "old"), (targets[0], "new"), (targets[1], "elsewhere"))
    )
    for frame in (old, new, elsewhere):
        checker.ask(frame)
        checker.hand_out({"id": frame["id"], "payload": {"senderId": frame["payload"]["targetId"]}})
    assert checker.verdict()["key exchange lost"][0] == "2 times"
    assert checker.take_exchange({**old, "seq": 1})
    assert checker.take_exchange({**elsewhere, "seq": 1})
    assert checker.verdict()["key exchange lost"][0] == "1 times"
    assert checker.take_exchange({**new, "seq": 2})
    assert checker.verdict() == {}


@pytest.mark.parametrize(("answered", "arrived"), [("old", "new"), ("new", "old")])
def test_checker_takes_a_newer_key_exchange_without_an_answer_for_the_one_that_it_replaced_but_no_older_one(
    answered: str, arrived: str
) -> None:
    checker, asker, target = SeveralChecker(), Person("asker"), Person("target")
    frames = {name: asker.signed({**asker.init(target, name=name), "id": name}) for name in ("old", "new")}
    for frame in frames.values():
        checker.ask(frame)
    checker.hand_out({"id": answered, "payload": {"senderId": target.id}})
    assert checker.verdict()["key exchange lost"][0] == "1 times"
    assert checker.take_exchange({**frames[arrived], "seq": 2})
    assert ("key exchange lost" in checker.verdict()) is (arrived == "old")
