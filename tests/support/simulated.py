"""The relay's core in a simulation: time, chance, turns, disk and network are fed by hand.

Nothing sleeps and nothing happens behind a test's back: frames are put in, turns are
run, and what was written to the fake connections is read.
"""

import contextlib
import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import apsw
import psycopg

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.tables import StoreJob
from phantom_messenger.relay import signatures
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.ports import RelayLink, Store, Verification
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.relay.relay import Relay
from phantom_messenger.relay.session import Session
from support.people import Frame, Person, canonical

HOST = "relay.test"
SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
STEADY_AHEAD = 1_750_000_020_000 - 5_000_000


class Clock:
    """Two clocks that move when told to; a test may set either."""

    def __init__(self) -> None:
        self.wall = 1_750_000_020_000  # a whole minute
        self.monotonic = 5_000_000
        self.persistent_ahead = STEADY_AHEAD

    def wall_ms(self) -> int:
        return self.wall

    def monotonic_ms(self) -> int:
        return self.monotonic

    def persistent_ms(self) -> int:
        return self.monotonic + self.persistent_ahead

    def catch_up(self, persistent: int) -> None:
        self.persistent_ahead += max(0, persistent - self.persistent_ms())

    def snapshot(self) -> ClockSnapshot:
        return ClockSnapshot("this boot", self.monotonic, self.wall, self.persistent_ms())

    def advance(self, milliseconds: int) -> None:
        self.wall += milliseconds
        self.monotonic += milliseconds


class Turns:
    """The event loop's queue."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()

    def __call__(self, action: Callable[[], None]) -> None:
        self._queue.append(action)

    def step(self) -> bool:
        """Run one action; whether there was one."""
        if not self._queue:
            return False
        self._queue.popleft()()
        return True

    def run(self) -> None:
        """Run until nothing is left to do."""
        for _ in range(1_000_000):
            if not self.step():
                return
        raise AssertionError("the relay never comes to rest")


class SimulatedWriter:
    """Runs batches on a store at once; may hold them back, or find the disk full.

    ``holding``: batches wait in ``held``. ``full``: no transaction can be committed.
    """

    def __init__(self, store: Store, schedule: Callable[[Callable[[], None]], None]) -> None:
        self.store = store
        self.holding = False
        self._full = False
        self.held: deque[tuple[Sequence[Any], Callable[[list[Any]], None]]] = deque()
        self._schedule = schedule

    @property
    def full(self) -> bool:
        return self._full

    @full.setter
    def full(self, full: bool) -> None:
        if self._full and not full:
            self.store.scrub()
        self._full = full

    def __call__(self, commands: Sequence[Any], done: Callable[[list[Any]], None]) -> None:
        self.held.append((commands, done))
        if not self.holding:
            self.run_held()

    def run_held(self) -> None:
        """Run what was held back; what follows is held again while ``holding``."""
        while self.held:
            commands, done = self.held.popleft()
            with _out_of_space() if self.full else contextlib.nullcontext():
                results = self.store.run(commands)
            self._schedule(lambda done=done, results=results: done(results))  # type: ignore[misc]


@contextlib.contextmanager
def _out_of_space() -> Iterator[None]:
    """Let the disk be full whenever a command has been executed."""

    def full(tables: Any, command: Any) -> None:
        execute(tables, command)
        raise apsw.FullError("database or disk is full")

    def disk_full(*_: Any) -> None:
        raise psycopg.errors.DiskFull("could not extend file")

    with (
        patch("phantom_messenger.engines.sqlite.store.execute", full),
        patch("phantom_messenger.engines.postgres.store.PostgresStore._transact_once", disk_full),
    ):
        yield


class FakeConnection:
    """What the relay wrote to one client, and how it ended.

    While ``stalled``, the client takes nothing and ``buffered`` grows.
    """

    def __init__(self, on_close: Callable[[], None]) -> None:
        self.written: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._aborted = False
        self.stalled = False
        self.waiting = 0
        self.most_waiting = 0
        self._on_close = on_close

    def write(self, messages: Sequence[bytes]) -> None:
        assert self.closed is None, "written to after the close frame"
        assert not self._aborted, "written to after it was dropped"
        self.written += messages
        if self.stalled:
            self.waiting += sum(map(len, messages))
            self.most_waiting = max(self.most_waiting, self.waiting)

    def close(self, code: int, reason: str, *, wait_for_close: bool = True) -> None:  # noqa: ARG002 - a socket's matter
        if self.closed is None:
            self.closed = (code, reason)
            self._on_close()

    def abort(self) -> None:
        self._aborted = True
        self._on_close()

    def is_aborted(self) -> bool:
        return self._aborted

    def buffered(self) -> int:
        return self.waiting

    def bytes_acked(self) -> int:
        return sum(map(len, self.written)) - self.waiting


class Client:
    """One connection to the simulated relay."""

    def __init__(self, world: "World", person: Person, *, address: str, host: str) -> None:
        self.world = world
        self.person = person
        self.host = host
        self.connection = FakeConnection(self.drop_soon)
        self._read = 0
        self.session: Session = world.relay.connect(self.connection, address=address, host=host)
        world.run()
        self.acknowledgement: Frame = {}
        if self.close_code() is None:
            [self.acknowledgement] = self.take()

    # --- sending ------------------------------------------------------------------

    def put(self, frame: Frame | bytes) -> None:
        """Let a frame arrive; nothing runs yet, so that several can share a turn."""
        self.world.relay.receive(self.session, frame if isinstance(frame, bytes) else canonical(frame))

    def send(self, *frames: Frame | bytes) -> list[Frame]:
        """Let frames arrive in one turn and run until rest; what came back."""
        for frame in frames:
            self.put(frame)
        self.world.run()
        return self.take()

    def ask(self, frame: Frame | bytes) -> Frame:
        """Send a frame that has one answer."""
        [answer] = self.send(frame)
        return answer

    def auth(self, features: Sequence[str] | None = None, *, audience: str | None = None, **payload: Any) -> Frame:
        """The AUTH frame of this connection."""
        return self.person.auth(self.acknowledgement, audience or self.host, features=features, **payload)

    # --- receiving ----------------------------------------------------------------

    def take(self, kind: str | None = None) -> list[Frame]:
        """What was written since the last look; of one type if asked so, the rest forgotten."""
        texts = self.connection.written[self._read :]
        self._read = len(self.connection.written)
        found: list[Frame] = [json.loads(text) for text in texts]
        return [frame for frame in found if kind in (None, frame["type"])]

    def settle(self) -> None:
        """Acknowledge and confirm all that has come from the mailbox."""
        for frame in self.take():
            if frame["type"] == "MESSAGE":
                self.put(self.person.ack(frame))
            elif "seq" in frame:
                self.put(self.person.confirm(frame["seq"]))
        self.world.run()

    def close_code(self) -> int | None:
        """What it was closed with, if it was."""
        return None if self.connection.closed is None else self.connection.closed[0]

    # --- the network --------------------------------------------------------------

    def drop(self) -> None:
        """The connection is gone."""
        self.world.relay.disconnected(self.session)
        self.world.run()

    def drop_soon(self) -> None:
        """The connection will be gone in a turn, as after a close frame."""
        self.world.turns(lambda: self.world.relay.disconnected(self.session))

    def unstall(self) -> None:
        """The client takes what has waited for it, and reads on."""
        self.connection.stalled = False
        self.connection.waiting = 0
        self.world.relay.writable(self.session)
        self.world.run()


class World:
    """A relay and all that surrounds it; closed by ``close``.

    Args:
        config: the relay's; limits are lifted if left out.
        store: what it keeps its mail in; in memory if left out.
        verify: how it checks signatures; the real way if left out.
        clock: goes on from another world, if given.
        kept_limits: what the last relay's limits have counted.
        link: leads to other relays on the store.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        store: Store | None = None,
        verify: Verification = signatures.verify,
        clock: Clock | None = None,
        kept_limits: KeptLimits | None = None,
        link: RelayLink | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.turns = Turns()
        self.store: Any = store or SQLiteStore(None)
        """An engine; tests of one of them look inside."""
        self.writer = SimulatedWriter(self.store, self.turns)
        self.relay = Relay(
            config=config or Config(limits=False),
            clock=self.clock,
            randomness=random.Random(1).randbytes,  # noqa: S311 - the same in every run
            schedule=self.turns,
            verify=verify,
            writer=self.writer,
            kept_limits=kept_limits,
            link=link,
        )
        self._addresses = 0
        if not self.relay.names:
            self.relay.listens([(HOST, 443)])

    def run(self) -> None:
        """Run all turns that are due."""
        self.turns.run()

    def tick(self) -> None:
        """The timer fires."""
        self.relay.tick()
        self.run()

    def pass_time(self, milliseconds: int, *, step: int = SECOND) -> None:
        """Let time pass, with the timer firing at every step of it."""
        for past in range(0, milliseconds, step):
            self.clock.advance(min(step, milliseconds - past))
            self.tick()

    def person(self, name: str, **arguments: Any) -> Person:
        """Somebody who lives by this world's clock."""
        return Person(name, now=self.clock.wall_ms, **arguments)

    def connect(self, person: Person | str, *, address: str | None = None, host: str = HOST) -> Client:
        """Open a connection, from an address of its own if none is given."""
        self._addresses += 1
        somebody = self.person(person) if isinstance(person, str) else person
        here = address or f"10.0.{self._addresses // 250}.{self._addresses % 250}"
        return Client(self, somebody, address=here, host=host)

    def login(
        self,
        person: Person | str,
        *,
        ack: bool = True,
        features: Sequence[str] = (),
        address: str | None = None,
        host: str = HOST,
    ) -> Client:
        """Connect and log in; AUTH_SUCCESS is read, what follows it is not."""
        client = self.connect(person, address=address, host=host)
        words = [*(["ack"] if ack else []), *features]
        client.put(client.auth(words or None))
        self.run()
        frames = client.take()
        assert frames, client.connection.closed
        assert frames[0]["type"] == "AUTH_SUCCESS", frames[0]
        client._read -= len(frames) - 1
        return client

    def register(self, *people: Person | str) -> None:
        """Make accounts whose owners are away."""
        for person in people:
            self.login(person).drop()

    def make_contacts(self, one: Client, other: Client) -> None:
        """Make two clients contacts who have nothing waiting."""
        for sender, recipient in ((one, other), (other, one)):
            sender.put(sender.person.message(recipient.person))
            self.run()
        for client in (one, other, one, other):  # the messages, then what is told of them
            client.settle()
        one.take()
        other.take()

    def restarted(self, config: Config | None = None) -> "World":
        """Another relay on the same store, clocks going on."""
        return World(config, store=self.store, clock=self.clock)

    def peek(self, job: StoreJob) -> Any:
        """Run a job on the store beside the relay; its result."""
        [result] = self.store.run_jobs([job])
        if isinstance(result, CommandFailed):
            raise result.error
        return result

    def close(self) -> None:
        self.store.close()


MakeWorld = Callable[..., World]
"""``make_world(**settings)``: the fixture that closes what it made."""
