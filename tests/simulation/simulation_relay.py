"""The relay of the simulation: it dies, its disk is slow or full, its event loop is busy."""

import logging
from collections.abc import Callable
from enum import Enum
from typing import Final

from simulation_checks import Checker, WatchedMailboxes, watched_store
from simulation_network import Gone, Item, Opened, RelayEnd, Setting, Wire

from phantom_messenger.relay.config import Config
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.codes import CloseCode
from support.simulated import HOST, SECOND, World

TICKS_MS: Final = 500, 3_500
"""From one tick of a relay that has more to do to the next."""

CLOSE_MS: Final = 2_000
"""How long the relay waits for the other side of a close: see ``relay.websocket``."""

HEALTHY_MS: Final = 8 * SECOND
"""How long the relay must have been well for its time to be on disk."""


class Errors(logging.Handler):
    """The relay's log of what must not happen."""

    def __init__(self, checker: Checker) -> None:
        super().__init__(logging.ERROR)
        self._checker = checker

    def emit(self, record: logging.LogRecord) -> None:
        self._checker.wrong(f"the relay's log says: {record.getMessage()}")


class Death(Enum):
    """When the relay dies."""

    NOW = "now"
    HELD = "when a batch waits for the disk"
    COMMITTED = "between a commit and its answers"


class RelaySide:
    """The relay's side of one wire."""

    def __init__(self, session: Session, end: RelayEnd) -> None:
        self.session = session
        self.end = end


class RelayPart:
    """The relay: alive or dead, with a disk that is slow or full and an event loop that is busy.

    Args:
        setting: the run's.
        checker: hears what is stored and written.
        limits: whether it limits rates.
        logins: a minute, of one user, if it does.
    """

    def __init__(self, setting: Setting, checker: Checker, *, limits: bool, logins: int) -> None:
        self._setting = setting
        self._checker = checker
        self._config = Config(limits=limits, rate_auth=logins, connections_per_address=50)
        self.store = watched_store(checker)
        self.world: World | None = None
        self._sides: dict[Wire, RelaySide] = {}
        self._inbox: list[Callable[[], None]] = []
        self._is_woken = self._is_writing = False
        self._has_answers = False
        self._death: tuple[Death, bool] | None = None
        self.busy_until = 0
        self.slow_until = 0
        self.died_at = 0
        self.clock_set_at = 0
        self.unwell_until = 0
        self.start()

    # --- life and death -------------------------------------------------------------

    def start(self, *, reboot: bool = False) -> None:
        """A new process on the same store."""
        setting, checker, clock = self._setting, self._checker, self._setting.clock
        kept = self.store.tables.time.load()
        moved = 0 if kept is None else clock.restart(kept, reboot=reboot)
        well_since = max(self.clock_set_at, self.unwell_until) + HEALTHY_MS
        if abs(moved) > 2 * SECOND:
            if well_since < self.died_at:
                checker.wrong(f"the relay's persistent time has moved by {moved} ms in a restart")
            setting.happened("persistent time moved by a clock that was set just before the relay died")
        checker.persistent_slack += max(0, moved)
        checker.relay_lives += 1
        mailboxes = self.store.tables.mailboxes
        assert isinstance(mailboxes, WatchedMailboxes)
        tables, found = self.store.tables, mailboxes.renewed()
        tables.mailboxes, tables.savepoint, tables.committed = found, found.savepoint, found.committed
        self.world = World(self._config, store=self.store, clock=clock)
        self.world.writer.holding = True
        self.world.relay._core.randomness = setting.randbytes(f"relay {checker.relay_lives}")
        self._sides, self._inbox = {}, []
        self._is_woken = self._is_writing = self._has_answers = False
        self._death = None
        self.busy_until = self.slow_until = 0
        self.unwell_until = setting.now
        setting.after(setting.chance.randint(*TICKS_MS), lambda world=self.world: self._tick(world))  # type: ignore[misc]
        setting.note("relay starts")

    def die(self, when: Death, *, reboot: bool) -> None:
        """Let the process die at such a moment, and come back some time later."""
        self._death = when, reboot
        if when is Death.NOW:
            self._kill()

    def _dies(self, when: Death) -> bool:
        if self._death is None or self._death[0] is not when:
            return False
        self._kill()
        return True

    def _kill(self) -> None:
        """The process is gone, and with it what was not committed."""
        assert self.world is not None
        world, self.world = self.world, None
        self.died_at = self._setting.now
        reboot = self._death is not None and self._death[1]
        self._death = None
        self._setting.after(self._setting.while_(), lambda: None if self.world else self.start(reboot=reboot))
        if world.writer.held:
            self._setting.happened("relay killed with a batch held")
        if self._has_answers:
            self._setting.happened("relay killed between commit and answer")
        for wire, side in self._sides.items():
            if not side.end.is_gone:
                side.end.is_gone = True
                wire.up.lose()
                wire.down.send(Gone())

    def stop(self) -> None:
        """Ask the process to end."""
        world = self.world

        def stopped() -> None:
            # The server gives close frames a moment before it exits.
            self._setting.after(60, lambda: ended(world))

        def ended(of: World | None) -> None:
            if self.world is of and of is not None:
                self._kill()

        self.call(lambda: None if world is None else world.relay.stop(stopped))

    # --- its event loop -------------------------------------------------------------

    def call(self, action: Callable[[], None]) -> None:
        """Something happens outside of the relay: its event loop takes it up."""
        if self.world is None:
            return
        self._inbox.append(action)
        self._wake()

    def _wake(self) -> None:
        if not self._is_woken:
            self._is_woken = True
            wait = max(0, self.busy_until - self._setting.now)
            self._setting.after(wait, lambda world=self.world: self._turn(world))  # type: ignore[misc]

    def _turn(self, world: World | None) -> None:
        if world is None or world is not self.world:
            return
        self._is_woken = self._has_answers = False
        inbox, self._inbox = self._inbox, []
        for action in inbox:
            action()
        if not self._setting.is_calm and self._setting.likely(0.05):
            # The loop has more to do: what comes meanwhile is handled between its turns.
            queue = world.turns._queue
            for _ in range(min(len(queue), self._setting.chance.randint(0, 2))):
                queue.popleft()()
            self.busy_until = max(self.busy_until, self._setting.now + self._setting.chance.randint(1, 40))
            self._wake()
        else:
            world.run()
        self._look(world)

    def _look(self, world: World) -> None:
        if world.writer.held and not self._is_writing:
            if self._dies(Death.HELD):
                return
            self._is_writing = True
            chance = self._setting.chance
            usual = chance.randint(0, 6 if self._setting.likely(0.7) else 90)
            wait = max(usual, self.slow_until - self._setting.now)
            self._setting.after(wait, lambda: self._commit(world))
        for session in world.relay._core.hub:
            if session.state is State.OPEN and not session.cursor.caught_up:
                self._setting.counts["session that is fed from disk"] += 1

    def _commit(self, world: World) -> None:
        if world is not self.world:
            return
        held = world.writer.held
        if len(held[0][0]) > 1 and self._setting.likely(0.1):
            # The time for a batch is over: the other jobs are for the next one.
            jobs, done = held[0]
            held[0] = jobs[: self._setting.chance.randint(1, len(jobs) - 1)], done
            self._setting.happened("part of a batch")
        if world.writer.full or self.store.is_out_of_space:
            self.unwell_until = self._setting.now
        changes = self.store._connection.total_changes()
        world.writer.run_held()
        self._is_writing = False
        if changes != self.store._connection.total_changes():
            self._checker.met(self.store._connection)
        self._has_answers = True
        if not self._dies(Death.COMMITTED):
            self._wake()

    def _tick(self, world: World) -> None:
        if world is not self.world:
            return
        self.call(world.relay.tick)
        self._setting.after(self._setting.chance.randint(*TICKS_MS), lambda: self._tick(world))

    # --- its connections ------------------------------------------------------------

    def dialled(self, wire: Wire, address: str) -> None:
        """A connection is asked for."""
        if self.world is None:
            wire.down.send(Gone())
            return
        self.call(lambda world=self.world: self._accept(world, wire, address))  # type: ignore[misc]

    def _accept(self, world: World, wire: Wire, address: str) -> None:
        end = RelayEnd(wire, wrote=self._wrote, ended=self._ended, wrong=self._wrong)
        wire.down.send(Opened())
        self._sides[wire] = RelaySide(world.relay.connect(end, address=address, host=HOST), end)

    def at_relay(self, wire: Wire, item: Item) -> None:
        """Something has arrived on a wire."""
        world = self.world
        if world is not None:
            self.call(lambda: self._take(world, wire, item))

    def _take(self, world: World, wire: Wire, item: Item) -> None:
        side = self._sides.get(wire)
        if side is None or side.end.is_gone:
            return
        if isinstance(item, bytes):
            current = world.relay._core.hub.of(side.session.user_id)
            if current is not None and current is not side.session:
                self._setting.happened("frame of an old connection after a new login")
            if b'"type":"MESSAGE"' in item:
                self._checker.arrived(item)
            world.relay.receive(side.session, item)
        elif isinstance(item, Gone):
            self._disconnected(world, wire)

    def _disconnected(self, world: World, wire: Wire) -> None:
        side = self._sides.pop(wire, None)
        if side is not None and world is self.world:
            side.end.is_gone = True
            world.relay.disconnected(side.session)

    def _wrote(self, wire: Wire, frame: bytes) -> None:
        side = self._sides.get(wire)
        self._setting.note(f"relay to {wire.owner}: {_summary(frame)}")
        if side is not None and side.session.user_id:
            self._checker.relay_wrote(wire, side.session.user_id, frame)

    def _wrong(self, what: str) -> None:
        self._checker.wrong(what)

    def _ended(self, wire: Wire, code: int | None, reason: str) -> None:
        """The relay has closed or dropped a connection."""
        setting, world = self._setting, self.world
        setting.note(f"relay ends {wire.owner}: {code} {reason}")
        if code is None:
            setting.happened("stalled reader cut")
        elif code == CloseCode.POLICY_VIOLATION:
            setting.happened("takeover")
            if wire.up.under_way:
                setting.happened("takeover with frames under way")
        elif reason == "idle":
            setting.happened("idle connection closed")
        elif code == CloseCode.SERVER_ERROR:
            setting.happened("login that could not be stored")
        elif code == CloseCode.RATE_LIMITED:
            setting.happened("closed for a limit")

        def gone() -> None:
            wire.down.send(Gone())
            if world is not None:
                self.call(lambda: self._disconnected(world, wire))

        setting.after(0 if code is None else setting.chance.randint(0, CLOSE_MS), gone)

    def free(self) -> None:
        """The disk has room again."""
        self.store._connection.pragma("max_page_count", 0xFFFF_FFFE)
        if self.world is not None:
            self.world.writer.full = False
        self.store.scrub()


def _summary(frame: bytes) -> str:
    """What is the same in every run of a seed: keys, ciphertexts and signatures are not."""
    kind = frame.rpartition(b'"type":"')[2].partition(b'"')[0].decode()
    return f"{kind} {len(frame)}"
