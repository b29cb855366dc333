"""The three stages of every frame: verify, store, reply.

    submit -> [arrived, batches] -> handle -> [waiting, running] -> resume -> [outboxes] -> written

Frames that arrive in one turn of the event loop are verified together; a frame with many signatures is verified in
slices, one a turn, and others are served between them. A handler is a generator: it yields a command for the store and
is resumed with the result once that is on disk. Commands are gathered while the writer is busy and go to it as one
batch, so under load one sync to disk serves many messages, and a lone message waits for nothing. What handlers answer
is written at the end of their turn: see ``replies``.

Order is kept from end to end: the frames of a session are handled as they came, commands run as they were yielded,
handlers are resumed in the order of the results. Only what reads on in a mailbox goes ahead of commands that wait, for
a while: it changes nothing, and a client that comes back is not kept waiting by its own acknowledgements.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from enum import Enum
from typing import Any, Final

from msgspec import Struct

from phantom_messenger.relay.commands import (
    ACCOUNT_GONE,
    SESSION_OVER,
    AnyCommand,
    Barrier,
    CommandFailed,
    ReadMailbox,
)
from phantom_messenger.relay.load import HELD_OF_MANY, LoadGauge
from phantom_messenger.relay.ports import Helpers, Scheduler, SignatureCheck, Verification, Writer
from phantom_messenger.relay.quota import Spent
from phantom_messenger.relay.reference import LooseFrame
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames

MAX_BATCH: Final = 512
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
"""Commands in one transaction, and what they store: bounds how long a commit takes and what a failed one undoes.

The time that the commands take is bounded by the writer.
"""

MAX_WAITING: Final = 16_384
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Commands that wait for a slow disk, and what they hold; beyond them senders are asked to wait.

Of handlers that wait with another one for a barrier as many wait beside them, so that those who only ask for answers,
one after the other, have nobody refused who stores something.
"""

BEHIND: Final = 2 * MAX_BATCH
"""So many commands wait when the store is behind: fewer wait whenever some hundred messages and their receipts are on
their way, and to hold clients' acknowledgements back then makes the slowest messages take twice as long.
"""

READS_AHEAD: Final = 32
"""Pages that are read in a row while other commands wait: some 50 ms."""

LEAST_HELP: Final = 8
"""Signatures of one turn from which on they are checked beside the core: fewer are checked sooner here."""

SLICE: Final = 16
"""Signatures of one frame that are verified in a turn: so long others wait for it. 0.7 ms, of the longest texts 2.5."""


class NotCurrentError(Exception):
    """Raised at a handler's ``yield``: the command was not run: the session is not its user's any more."""


class AccountGoneError(NotCurrentError):
    """The result is ``ACCOUNT_GONE``."""


class SessionOverError(NotCurrentError):
    """The result is ``SESSION_OVER``."""


_NOT_CURRENT: Final = {ACCOUNT_GONE: AccountGoneError, SESSION_OVER: SessionOverError}

Steps = Generator[AnyCommand, Any, None]
"""A handler under way: it yields commands, and is resumed with their results."""


class AdmittedFrame(Struct, eq=False):
    """A client's frame that was admitted, until it is answered."""

    session: Session
    frame: frames.ClientFrame
    signed_text: bytes
    """Its canonical text without the signature."""
    check: SignatureCheck | None
    """What must verify, None if it is unsigned."""
    as_sent: LooseFrame | None = None
    """What it was made from, of a client that knows the reference alone."""
    loose: LooseFrame | None = None
    """``as_sent``, if the strict rules would refuse anything about it."""
    parts: int = 0
    """How many messages it comes to, if it is to many."""
    expand: Callable[[], Sequence[SignatureCheck]] | None = None
    """Makes ``inner``, which can hold thirty times as much as the frame: only when it is to be verified."""
    inner: Sequence[SignatureCheck] = ()
    """What must verify too: the signatures of those messages."""
    spent: Spent | None = None
    """What it counts for its address; given back if it is answered with an error."""


class VerifyBatch(Struct, eq=False):
    """Frames that are verified together: those that arrived in one turn, or one that takes several slices."""

    frames: list[AdmittedFrame] = []
    checks: list[SignatureCheck] = []
    inner: dict[int, int] = {}
    """How many checks behind this one, in ``checks``, belong to the same frame; of messages to many alone."""
    size: int = 0
    """Bytes of what was signed."""
    verdicts: list[bool] | Exception | None = None
    """What was found of the signatures; None while it is not known."""
    slices: list[bool] | None = None
    """What is known so far of a frame that is verified in slices."""

    def add_inner(self, admitted: AdmittedFrame) -> int:
        """Add what must verify of a frame beside its own check, the last one; by how much it has grown."""
        assert admitted.expand is not None  # noqa: S101 - it is to many
        inner = admitted.inner = admitted.expand()
        self.inner[len(self.checks) - 1] = len(inner)
        self.checks += inner
        grown = sum([len(message) for _, _, message in inner])
        self.size += grown
        return grown

    def of_frames(self, verdicts: list[bool]) -> list[bool]:
        """The verdict on each frame that has a check, where some have ``inner`` ones: whether all of them hold.

        Behind one that does not hold the others of its frame may be missing, if that is the last one.
        """
        found, at = [], 0
        while at < len(verdicts):
            end = at + 1 + self.inner.get(at, 0)
            found.append(all(verdicts[at:end]))
            at = end
        return found


_Waiting = tuple[list[Steps], AnyCommand, int]
"""A handler that waits, the command whose result it waits for, and the command's size; at a barrier, several do."""


class Pipeline:
    """What every frame passes through, and whatever the relay stores on its own account.

    Args:
        verify: checks signatures in batches.
        helpers: check many signatures beside the core; None if there are none.
        writer: runs commands durably, one batch at a time.
        schedule: runs an action in the next turn.
        handle: begins the handler of a frame, given whether its signature verified, or why that is not known.
        gauge: counts what is on its way.
        report: gets what a handler raises by mistake; the others continue all the same.
    """

    def __init__(
        self,
        *,
        verify: Verification,
        helpers: Helpers | None = None,
        writer: Writer,
        schedule: Scheduler,
        handle: Callable[[AdmittedFrame, bool | Exception], Steps],
        gauge: LoadGauge,
        report: Callable[[Exception], None],
    ) -> None:
        self._verify = verify
        self._helpers = helpers
        self._writer = writer
        self._schedule = schedule
        self._handle = handle
        self._gauge = gauge
        self._report = report
        self._arriving = VerifyBatch()
        self._batches: deque[VerifyBatch] = deque()
        self._sliced: deque[VerifyBatch] = deque()
        """Not in ``batches`` before they are verified."""
        self._behind: dict[Session, list[AdmittedFrame]] = {}
        """What arrived on the sessions of those after them; taken in once they are handled."""
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._at_barriers = 0
        """Handlers that wait with another one for the same barrier."""
        self._reads: deque[_Waiting] = deque()
        self._read_ahead = 0
        self._running: list[_Waiting] = []
        self._on_idle: Callable[[], None] | None = None

    def when_idle(self, action: Callable[[], None]) -> None:
        """Run ``action`` once nothing is being verified or stored."""
        self._on_idle = action
        self._check_idle()

    @property
    def is_behind(self) -> bool:
        """Whether two batches of commands wait for the store already, or half of the bytes of one."""
        return len(self._waiting) >= BEHIND or self._waiting_bytes >= MAX_BATCH_BYTES // 2

    # --- verify -------------------------------------------------------------------

    def submit(self, admitted: AdmittedFrame) -> None:
        """Take in an admitted frame."""
        self._gauge.enter()
        if self._behind and admitted.session in self._behind:
            self._behind[admitted.session].append(admitted)
            self._count_sliced(HELD_OF_MANY * len(admitted.signed_text))
            return
        if admitted.parts >= SLICE:
            self._begin_slices(admitted)
            return
        batch = self._arriving
        if not batch.frames:
            self._schedule(self._verify_arrived)
        batch.frames.append(admitted)
        if admitted.check is not None:
            batch.checks.append(admitted.check)
            batch.size += len(admitted.check[2])
            if admitted.parts:
                batch.add_inner(admitted)

    def _verify_arrived(self) -> None:
        batch, self._arriving = self._arriving, VerifyBatch()
        self._batches.append(batch)
        self._gauge.unverified_bytes += batch.size

        def known(verdicts: list[bool]) -> None:
            batch.verdicts = verdicts
            self._handle_verified()

        batch.verdicts = self._check(batch.checks, known)
        if batch.verdicts is not None:
            self._handle_verified()

    def _check(
        self, checks: list[SignatureCheck], known: Callable[[list[bool]], None]
    ) -> list[bool] | Exception | None:
        """Verify signatures; None if helpers do it, who call ``known`` later."""
        if len(checks) >= LEAST_HELP and self._helpers is not None and self._helpers(checks, known):
            return None
        try:
            return self._verify(checks) if checks else []
        except Exception as error:  # noqa: BLE001 - the boundary: what cannot be verified ends its session
            return error

    def _handle_verified(self) -> None:
        """Begin the handlers of what is verified, in the order in which it came."""
        while self._batches and (found := self._batches[0].verdicts) is not None:
            batch = self._batches.popleft()
            self._gauge.unverified_bytes -= batch.size
            verdicts: Iterator[bool] = iter(())
            if not isinstance(found, Exception):
                verdicts = iter(batch.of_frames(found) if batch.inner else found)
            for admitted in batch.frames:
                verdict = found if isinstance(found, Exception) else admitted.check is None or next(verdicts)
                self._resume(self._handle(admitted, verdict), None)
            if batch.slices is not None:
                self._gauge.sliced_bytes -= batch.size
                # Behind its handler, which has yielded its command: what the session sent next is stored after it.
                self._take_in_behind(batch.frames[0].session)
            self._gauge.count -= len(batch.frames)
        if self._on_idle is not None:
            self._check_idle()

    # --- verify in slices -----------------------------------------------------------

    def _begin_slices(self, admitted: AdmittedFrame) -> None:
        """What its session has sent before is verified, or asked for, before the last slice is."""
        batch = VerifyBatch(frames=[admitted], size=HELD_OF_MANY * len(admitted.signed_text), slices=[])
        self._behind[admitted.session] = []
        admitted.session.is_behind = True
        self._count_sliced(batch.size)
        self._sliced.append(batch)
        if len(self._sliced) == 1:
            self._schedule(self._verify_slice)

    def _verify_slice(self) -> None:
        """Verify the next signatures of one frame; the next frame's come when that is done."""
        batch, known = self._sliced[0], self._sliced[0].slices or []
        [admitted] = batch.frames
        if admitted.check is not None and not known:
            batch.checks.append(admitted.check)
            self._count_sliced(batch.add_inner(admitted))
        found = self._check(batch.checks[len(known) : len(known) + SLICE], self._slice_known)
        if found is not None:
            self._slice_known(found)

    def _slice_known(self, found: list[bool] | Exception) -> None:
        """Go on in the next turn; with a frame of which all is known, or enough, behind what was verified before it."""
        batch, known = self._sliced[0], self._sliced[0].slices
        assert known is not None  # noqa: S101 - narrows the type
        if isinstance(found, Exception):
            batch.verdicts = found
        else:
            known += found
            if not all(found) or len(known) == len(batch.checks):
                batch.verdicts = known
        if batch.verdicts is not None:
            self._batches.append(self._sliced.popleft())
        if self._sliced:
            self._schedule(self._verify_slice)
        if batch.verdicts is not None:
            self._handle_verified()

    def _take_in_behind(self, session: Session) -> None:
        """A frame that was verified in slices is handled: now those that came after it."""
        # Taken out first: one of them may be to many as well, and then holds up those behind it in its turn.
        behind = self._behind.pop(session)
        session.is_behind = False
        for admitted in behind:
            self._count_sliced(-HELD_OF_MANY * len(admitted.signed_text))
            self.submit(admitted)
        self._gauge.count -= len(behind)

    def _count_sliced(self, size: int) -> None:
        self._gauge.unverified_bytes += size
        self._gauge.sliced_bytes += size

    # --- store --------------------------------------------------------------------

    def run(self, steps: Steps) -> None:
        """Begin steps of the relay's own; if the store fails, they are dropped, for nobody waits for an answer."""
        self._resume(steps, None)

    def _resume(self, steps: Steps, result: Any) -> None:
        """Let a handler go on with the result of its command, until it yields the next one."""
        try:
            while True:
                command = steps.throw(result) if isinstance(result, Exception) else steps.send(result)
                size, waiting = command.size, len(self._waiting) + len(self._reads)
                if isinstance(command, Barrier) and self._has_barrier():
                    if self._at_barriers < MAX_WAITING:
                        self._waiting[-1][0].append(steps)  # one serves those who come before there is anything else
                        self._at_barriers += 1
                        return
                elif waiting < MAX_WAITING and self._waiting_bytes + size <= MAX_WAITING_BYTES:
                    break
                result = CommandFailed(OverflowError("too many commands wait"), is_out_of_space=True)
        except StopIteration:
            return
        except (CommandFailed, NotCurrentError) as failed:
            failed.__traceback__ = None  # it leads back to whoever holds the failure: a cycle, for the collector
            return
        except Exception as error:  # noqa: BLE001 - the boundary: one failure is not the others'
            self._report(error)
            return
        (self._reads if isinstance(command, ReadMailbox) else self._waiting).append(([steps], command, size))
        if size:
            self._waiting_bytes += size
            self._gauge.enter()
        # Started from a turn of its own, so that all commands of this turn are in the batch.
        if not self._running and not waiting:
            self._schedule(self._store_waiting)

    def _has_barrier(self) -> bool:
        """Whether the last command that waits is a barrier with room for one more handler: a turn resumes them all."""
        last = self._waiting[-1] if self._waiting else None
        return last is not None and isinstance(last[1], Barrier) and len(last[0]) < MAX_BATCH

    def _store_waiting(self) -> None:
        if self._running or not (self._waiting or self._reads):
            return
        is_reading = bool(self._reads) and (self._read_ahead < READS_AHEAD or not self._waiting)
        batch, waiting = self._running, self._reads if is_reading else self._waiting
        most = READS_AHEAD if is_reading else MAX_BATCH
        size = 0
        # The first one goes whatever its size: it gets no smaller by waiting, and would hold up all behind it for ever.
        while waiting and len(batch) < most and (not batch or size + waiting[0][2] <= MAX_BATCH_BYTES):
            batch.append(waiting.popleft())
            size += batch[-1][2]
        self._waiting_bytes -= size
        self._read_ahead = self._read_ahead + len(batch) if is_reading else 0
        self._writer([command for _, command, _ in batch], self._stored)

    # --- reply --------------------------------------------------------------------

    def _stored(self, results: list[Any]) -> None:
        """Resume the handlers whose commands were run; the others come first in the next batch."""
        finished, self._running = self._running, []
        # Backwards, so that they stand in their old order again, before what was yielded meanwhile.
        for waiting in reversed(finished[len(results) :]):
            (self._reads if isinstance(waiting[1], ReadMailbox) else self._waiting).appendleft(waiting)
            self._waiting_bytes += waiting[2]
        stored = 0
        for (waiting_for_it, _, size), result in zip(finished, results, strict=False):
            stored += size > 0
            self._at_barriers -= len(waiting_for_it) - 1
            not_current = _NOT_CURRENT.get(result) if isinstance(result, Enum) else None
            for steps in waiting_for_it:
                self._resume(steps, not_current() if not_current else result)
        self._gauge.finish(stored)
        if self._waiting or self._reads:
            self._store_waiting()
        elif self._on_idle is not None:
            self._check_idle()

    def _check_idle(self) -> None:
        on_its_way = self._arriving.frames, self._sliced, self._batches, self._waiting, self._reads, self._running
        if self._on_idle is not None and not any(on_its_way):
            action, self._on_idle = self._on_idle, None
            action()
