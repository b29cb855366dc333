"""Time, chance and the network of the simulation.

One heap holds all that is to happen; one generator decides when. A connection is two pipes that
keep the order of what is in them, as TCP does, and lose, delay or hold it back as a network does.
"""

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from phantom_messenger.clock import ClockSnapshot, resumed
from support.simulated import MINUTE, SECOND, Clock

Action = Callable[[], None]

DAY: Final = 86_400_000


class RelayTime(Clock):
    """The clocks of the relay's machine; ``monotonic`` is the truth of the simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._boots = 1
        self._booted_at = 0
        self._ahead = self.wall - self.monotonic

    def persistent_ms(self) -> int:
        return self.monotonic + self._ahead

    def snapshot(self) -> ClockSnapshot:
        return ClockSnapshot(f"boot {self._boots}", self.monotonic - self._booted_at, self.wall, self.persistent_ms())

    def restart(self, kept: ClockSnapshot | None, *, reboot: bool) -> int:
        """The relay starts again; how far its persistent time has moved by that."""
        if reboot:
            self._boots += 1
            self._booted_at = self.monotonic
        before, here = self._ahead, self.snapshot()
        steady = resumed(kept, boot=here.boot, since_boot=here.since_boot, wall=here.wall)
        self._ahead = steady - self.monotonic
        return self._ahead - before


class Setting:
    """What all parts of a run share: its chance, its time, its record.

    Args:
        seed: decides everything.
        traced: print each event.
    """

    def __init__(self, seed: int, *, traced: bool = False) -> None:
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - the same in every run
        self.clock = RelayTime()
        self.counts: Counter[str] = Counter()
        self.is_calm = False
        self._traced = traced
        self._record = hashlib.sha256()
        self._heap: list[tuple[int, int, Action]] = []
        self._count = 0
        self._begun_at = self.now

    @property
    def now(self) -> int:
        return self.clock.monotonic

    def randbytes(self, name: str) -> Callable[[int], bytes]:
        """A source of bytes for one part of the run."""
        return random.Random(f"{self.seed} {name}").randbytes  # noqa: S311 - the same in every run

    def likely(self, share: float) -> bool:
        return self.chance.random() < share

    def note(self, what: str) -> None:
        """Something happened: into the record of the run."""
        line = f"{self.now - self._begun_at} {what}"
        self._record.update(line.encode() + b"\n")
        if self._traced:
            print(line)  # noqa: T201 - the trace that was asked for

    def happened(self, situation: str, about: str = "") -> None:
        """As ``note``, and count it."""
        self.counts[situation] += 1
        self.note(f"* {situation} {about}")

    def digest(self) -> str:
        """Stands for everything that was noted."""
        return self._record.hexdigest()

    def after(self, delay: int, action: Action) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, action))

    def run(self, milliseconds: int, rest: Action) -> None:
        """Let time pass; ``rest`` is called after each thing that happens."""
        until = self.now + milliseconds
        while self._heap and self._heap[0][0] <= until:
            at, _, action = heapq.heappop(self._heap)
            if at > self.now:
                self.clock.advance(at - self.now)
            action()
            rest()
        self.clock.advance(until - self.now)

    def delay(self) -> int:
        """How long a frame is under way."""
        if self.is_calm:
            return 5
        kind = self.chance.random()
        if kind < 0.75:
            return self.chance.randint(0, 30)
        if kind < 0.97:
            return self.chance.randint(30, 800)
        return self.chance.randint(800, 20 * SECOND)

    def while_(self) -> int:
        """How long something is broken."""
        if self.is_calm:
            return SECOND
        return self.chance.choice(
            (self.chance.randint(1, SECOND), self.chance.randint(SECOND, 20 * SECOND), 2 * MINUTE)
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """A close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to a WebSocket handshake."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The end of a connection, as a socket shows it."""


Item = bytes | Closed | Opened | Gone


class Pipe:
    """One direction of a connection."""

    def __init__(self, setting: Setting, deliver: Callable[[Item], None]) -> None:
        self._setting = setting
        self._deliver = deliver
        self.under_way: deque[Item] = deque()
        self.is_lost = False
        self._last = 0
        self._held_until = 0
        self._lost_bytes = 0

    def send(self, item: Item) -> None:
        """Put something in; it arrives behind all before it, or never."""
        if self.is_lost:
            self._lost_bytes += _size(item)
            return
        now = self._setting.now
        self.under_way.append(item)
        self._last = max(self._last, now + self._setting.delay())
        self._setting.after(self._last - now, self._arrive)

    def _arrive(self) -> None:
        if not self.under_way:
            return
        wait = self._held_until - self._setting.now
        if wait > 0:
            self._setting.after(wait, self._arrive)
        else:
            self._deliver(self.under_way.popleft())

    def lose(self) -> None:
        """Nothing arrives any more."""
        self.is_lost = True
        self._lost_bytes += sum(map(_size, self.under_way))
        self.under_way.clear()

    def hold(self, milliseconds: int) -> None:
        """Nothing arrives for a while."""
        self._held_until = max(self._held_until, self._setting.now + milliseconds)

    def buffered(self) -> int:
        """What its sender's socket still holds, in bytes."""
        if self.is_lost:
            return self._lost_bytes
        return sum(map(_size, self.under_way)) if self._held_until > self._setting.now else 0


def _size(item: Item) -> int:
    return len(item) if isinstance(item, bytes) else 0


class Wire:
    """A connection: what is on its way up to the relay and down to a device."""

    def __init__(
        self,
        setting: Setting,
        owner: str,
        at_relay: Callable[["Wire", Item], None],
        at_device: Callable[["Wire", Item], None],
    ) -> None:
        self.owner = owner
        self.up = Pipe(setting, lambda item: at_relay(self, item))
        self.down = Pipe(setting, lambda item: at_device(self, item))
        self.last_seq = 0

    def lose(self) -> None:
        """Nothing arrives on either side any more, and neither is told."""
        self.up.lose()
        self.down.lose()

    def hold(self, milliseconds: int) -> None:
        self.up.hold(milliseconds)
        self.down.hold(milliseconds)


class RelayEnd:
    """The relay's end of a wire; a ``relay.ports.Connection``.

    Args:
        wire: its pipes.
        wrote: called with each frame that the relay writes.
        ended: called when the relay has closed it or dropped it, with the code if there is one.
        wrong: called with what the relay must not do.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        wrote: Callable[[Wire, bytes], None],
        ended: Callable[[Wire, int | None, str], None],
        wrong: Callable[[str], None],
    ) -> None:
        self._wire = wire
        self._wrote = wrote
        self._ended = ended
        self._wrong = wrong
        self.closed: int | None = None
        self.is_aborted = False
        self.is_gone = False
        self._written = 0

    def write(self, messages: Sequence[bytes]) -> None:
        if self.closed is not None:
            self._wrong(f"the relay wrote to a connection that it had closed with {self.closed}")
        if self.is_aborted:
            self._wrong("the relay wrote to a connection that it had dropped")
        if self.is_gone or self.is_aborted:
            return
        for message in messages:
            self._wrote(self._wire, message)
            self._written += len(message)
            self._wire.down.send(message)

    def close(self, code: int, reason: str, *, wait_for_close: bool = True) -> None:  # noqa: ARG002 - a socket's matter
        if self.closed is None and not self.is_gone:
            self.closed = int(code)
            self._wire.down.send(Closed(int(code), reason))
            self._ended(self._wire, int(code), reason)

    def abort(self) -> None:
        if not self.is_aborted:
            self.is_aborted = True
            self._ended(self._wire, None, "")

    def buffered(self) -> int:
        return 0 if self.is_gone else self._wire.down.buffered()

    def bytes_acked(self) -> int:
        return self._written - self.buffered()
