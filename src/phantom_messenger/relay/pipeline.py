"""Frames in batches: verify all, store all in one transaction, then answer all.

Frames that arrive in one turn of the event loop are verified together. What they
want stored is gathered while the writer is busy and goes to it as one batch, so under
load one sync to disk serves many messages, and a lone message waits for nothing.
Order is kept from end to end: frames are handled as they came, jobs run as they were
submitted, continuations are called as the jobs ran.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from phantom_messenger.relay.ports import Failure, Helpers, Job, Scheduler, SignatureCheck, Verification, Writer
from phantom_messenger.relay.reference import Letter
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.codec import Decoded

MAX_BATCH: Final = 512
MAX_BATCH_BYTES: Final = 2 * 1024 * 1024
"""Jobs in one transaction, and what they store: bounds how long a commit takes and what a failed one undoes.

The time that the jobs take is bounded by the writer.
"""

MAX_WAITING: Final = 16_384
MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""Jobs that wait for a slow disk, and what they hold; beyond them senders are asked to wait."""

MAX_TURNED_BYTES: Final = 32 * 1024 * 1024
"""Signed text of frames that wait for the verdicts of helpers; beyond it what can wait is refused."""

LOAD_MS: Final = 1_000
"""How long an answer may be on its way under load: what more than this can carry is refused early."""

LEAST_LOAD: Final = 2_048
MOST_LOAD: Final = 16_384
"""Frames and jobs on their way that are always taken, for bursts, and never exceeded, for memory."""

PACE_MS: Final = 250
REST_MS: Final = 1_000
"""Over so much busy time the pace is measured, and after so much rest it is forgotten."""

LEAST_HELP: Final = 8
"""Signatures of one turn from which on they are checked beside the core: fewer are checked sooner here."""


class Submission(NamedTuple):
    """A frame that was admitted; ``check`` is what must verify, None if it is unsigned.

    ``letter``: what it was made from, of a client that knows the reference alone.
    """

    session: Session
    decoded: Decoded
    check: SignatureCheck | None
    letter: Letter | None = None


class Turn:
    """Frames that came in one turn, and what was found of their signatures; None while it is not known."""

    __slots__ = ("arrived", "checks", "size", "verdicts")

    def __init__(self, arrived: list[Submission]) -> None:
        self.arrived = arrived
        self.checks = [submission.check for submission in arrived if submission.check is not None]
        self.size = sum(len(message) for _, _, message in self.checks)
        self.verdicts: list[bool] | Exception | None = None


class Work(NamedTuple):
    """A job for the store, what is done with its result or ``Failure``, and the bytes it stores."""

    job: Job
    then: Callable[[Any], None]
    size: int


class Pipeline:
    """The way of every frame.

    Args:
        verify: checks signatures in batches.
        helpers: check many signatures beside the core; None if there are none.
        writer: runs jobs durably, one batch at a time.
        schedule: runs an action in the next turn.
        handle: called for each frame with whether its signature verified; does not raise.
        broken: called instead if the verification itself fails.
        now: monotonic milliseconds.
        report: told of what a continuation raises; the others are called all the same.
    """

    def __init__(
        self,
        *,
        verify: Verification,
        helpers: Helpers | None = None,
        writer: Writer,
        schedule: Scheduler,
        handle: Callable[[Submission, bool], None],
        broken: Callable[[Submission, Exception], None],
        now: Callable[[], int],
        report: Callable[[Exception], None],
    ) -> None:
        self._verify = verify
        self._helpers = helpers
        self._writer = writer
        self._schedule = schedule
        self._handle = handle
        self._broken = broken
        self._now = now
        self._report = report
        self._arrived: list[Submission] = []
        self._turns: deque[Turn] = deque()
        self._turned = 0
        self._turned_bytes = 0
        self._waiting: deque[Work] = deque()
        self._waiting_bytes = 0
        self._running: list[Work] = []
        self._on_idle: Callable[[], None] | None = None
        self._room = MOST_LOAD
        self._storing = 0
        self._finished = 0
        self._busy = 0
        self._busy_from = 0
        self._rested_at = 0

    @property
    def load(self) -> int:
        """How much is on its way: frames, and jobs that store something; what these entail is not counted again."""
        return len(self._arrived) + self._turned + self._storing

    @property
    def is_full(self) -> bool:
        """Whether more is on its way than can be done in ``LOAD_MS``, or than memory should hold."""
        return self.load >= self._room or self._turned_bytes >= MAX_TURNED_BYTES

    def put(self, submission: Submission) -> None:
        """Take in an admitted frame."""
        if not self.load:
            self._begin()
        if not self._arrived:
            self._schedule(self._turn)
        self._arrived.append(submission)

    def store(self, job: Job, then: Callable[[Any], None], *, size: int = 0) -> None:
        """Have a job run by the store; ``then`` gets its result after it is on disk.

        If too much waits already, it gets a ``Failure`` at once, as for a full disk.

        Args:
            job: what to do.
            then: called with the result where the core runs.
            size: about how many bytes the job stores; 0 if it does not count as load.
        """
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + size > MAX_WAITING_BYTES:
            self._schedule(lambda: then(Failure(OverflowError("too many jobs wait"), is_out_of_space=True)))
            return
        if not self.load:
            self._begin()
        self._waiting.append(Work(job, then, size))
        self._waiting_bytes += size
        self._storing += size > 0
        self._dispatch()

    def when_idle(self, action: Callable[[], None]) -> None:
        """Run ``action`` once nothing is being verified or stored."""
        self._on_idle = action
        self._check_idle()

    def _turn(self) -> None:
        turn = Turn(self._arrived)
        self._arrived = []
        self._turns.append(turn)
        self._turned += len(turn.arrived)
        self._turned_bytes += turn.size
        checks = turn.checks

        def known(verdicts: list[bool]) -> None:
            turn.verdicts = verdicts
            self._advance()

        if len(checks) < LEAST_HELP or self._helpers is None or not self._helpers(checks, known):
            try:
                turn.verdicts = self._verify(checks) if checks else []
            except Exception as error:  # noqa: BLE001 - the border: what cannot be verified ends its session
                turn.verdicts = error
            self._advance()

    def _advance(self) -> None:
        """Handle what is verified, in the order in which it came."""
        while self._turns and (found := self._turns[0].verdicts) is not None:
            turn = self._turns.popleft()
            arrived = turn.arrived
            self._turned -= len(arrived)
            self._turned_bytes -= turn.size
            if isinstance(found, Exception):
                for submission in arrived:
                    self._broken(submission, found)
                continue
            verdicts = iter(found)
            for submission in arrived:
                self._handle(submission, submission.check is None or next(verdicts))
        self._check_idle()

    def _dispatch(self) -> None:
        # Started from a turn of its own, so that all jobs of this turn are in the batch.
        if not self._running and len(self._waiting) == 1:
            self._schedule(self._start)

    def _start(self) -> None:
        if self._running or not self._waiting:
            return
        batch: list[Work] = []
        size = 0
        while (
            self._waiting and len(batch) < MAX_BATCH and (not batch or size + self._waiting[0].size <= MAX_BATCH_BYTES)
        ):
            batch.append(self._waiting.popleft())
            size += batch[-1].size
        self._waiting_bytes -= size
        self._running = batch
        self._writer([work.job for work in batch], self._done)

    def _done(self, results: list[Any]) -> None:
        finished, self._running = self._running, []
        for work in reversed(finished[len(results) :]):  # there was no time for them
            self._waiting.appendleft(work)
            self._waiting_bytes += work.size
        for work, result in zip(finished, results, strict=False):
            try:
                work.then(result)
            except Exception as error:  # noqa: BLE001 - the border: one failure is not the others'
                self._report(error)
        stored = sum(work.size > 0 for work in finished[: len(results)])
        self._storing -= stored
        self._measure(stored)
        self._start()
        self._check_idle()

    def _begin(self) -> None:
        """There is something to do again."""
        now = self._now()
        if now - self._rested_at >= REST_MS:  # what comes now may be of another kind
            self._room, self._finished, self._busy = MOST_LOAD, 0, 0
        self._busy_from = now

    def _measure(self, count: int) -> None:
        """See how much goes through in ``LOAD_MS``, in time in which there was something to do.

        A measurement lasts until as much has gone through as there is: turns that verify and
        batches that store take their time one after the other. A relay that falls behind never
        gets there; it is measured after ``LOAD_MS``.
        """
        if not count:
            return
        now = self._now()
        self._finished += count
        busy = self._busy + now - self._busy_from
        if busy >= PACE_MS and (self._finished >= self.load or busy >= LOAD_MS):
            self._room = min(max(self._finished * LOAD_MS // busy, LEAST_LOAD), MOST_LOAD)
            self._finished = busy = 0
        self._busy, self._busy_from = busy, now
        if not self.load:
            self._rested_at = now

    def _check_idle(self) -> None:
        if self._on_idle is not None and not (self._arrived or self._turns or self._waiting or self._running):
            action, self._on_idle = self._on_idle, None
            action()
