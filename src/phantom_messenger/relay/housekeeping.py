"""What the relay does by the clock, whatever its clients do: sweep, prune, save, delete what nobody uses."""

from collections.abc import Generator
from typing import Any, Final

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.events import Event, log, report
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.core import DAY_MS, Core
from phantom_messenger.relay.delivery_receipts import Moment, append_receipt
from phantom_messenger.relay.hidden_receipts import MessageName
from phantom_messenger.relay.pipeline import Steps, StoreJob
from phantom_messenger.relay.ports import Item, ItemKind, Transaction
from phantom_messenger.wire import frames

SWEEP_LIMIT: Final = 256
"""Expired messages deleted in one step, so that a sweep never holds up the batch behind it."""

SWEEP_AGAIN_MS: Final = 10_000
"""When to sweep again after it failed."""

IDLE_LIMIT: Final = 64
"""Accounts that are looked at in one step, whether they are still used."""

IDLE_EVERY_MS: Final = 3_600_000
"""How often all of them are."""

PRUNE_MS: Final = 60_000
STATUS_MS: Final = 60_000
SAVE_CLOCK_MS: Final = 60_000
"""How often persistent time is saved while the wall clock runs as it should."""

CLOCK_STEP_MS: Final = 1_000
"""How far the wall clock moves by itself before it counts as set."""


class Housekeeping:
    """Chores, each of which knows when it is due.

    Args:
        core: the relay's state.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._is_stopping = False
        self._is_sweeping = False
        self._sweep_at = 0
        self._is_deleting = False
        self._delete_at = 0
        self._pruned_at = self._status_at = core.clock.monotonic_ms()
        self._clock_saved_at: int | None = None
        self._wall_ahead = 0
        self._keep_clock(self._pruned_at)

    def tick(self, now: int) -> None:
        """Begin what is due.

        Args:
            now: monotonic milliseconds.
        """
        core = self._core
        core.presence.announce_departures(now)
        core.receipts.expire_hidden()
        if not self._is_sweeping and now >= self._sweep_at:
            core.pipeline.run(self._sweep())
        self._keep_clock(now)
        core.admission.log_end_of_overload(now)
        if now - self._status_at >= STATUS_MS:
            self._status_at = now
            log(Event.STATUS, connections=len(core.hub), waiting=core.load.count)
        if now - self._pruned_at >= PRUNE_MS:
            self._pruned_at = now
            core.admission.prune(now)
            core.pipeline.run(self._forget_handouts())
        if not self._is_deleting and now >= self._delete_at:
            core.pipeline.run(self._delete_idle())

    def stop(self) -> None:
        """Save what the next start goes on from."""
        core = self._core
        self._is_stopping = True
        core.pipeline.run(self._save_clock(core.clock.snapshot(), core.clock.monotonic_ms()))
        kept = core.admission.limiter.keep(core.clock.monotonic_ms(), core.clock.persistent_ms())
        if kept.times:
            core.pipeline.run(_alone(StoreJob(lambda tx: tx.limits.save(kept))))

    def _keep_clock(self, now: int) -> None:
        """Save persistent time when the wall clock was set, and now and then: see ``clock.resumed``."""
        mark = self._core.clock.snapshot()
        due = self._clock_saved_at is None or now - self._clock_saved_at >= SAVE_CLOCK_MS
        if due or abs(mark.wall - mark.persistent - self._wall_ahead) > CLOCK_STEP_MS:
            self._core.pipeline.run(self._save_clock(mark, now))

    def _save_clock(self, mark: ClockSnapshot, now: int) -> Steps:
        yield StoreJob(lambda tx: tx.time.save(mark))
        self._clock_saved_at, self._wall_ahead = now, mark.wall - mark.persistent

    def _forget_handouts(self) -> Steps:
        now = self._core.clock.persistent_ms()
        yield StoreJob(lambda tx: tx.prekeys.forget_handouts(now))

    def _sweep(self) -> Steps:
        """Delete what waits and expired before its recipient came, and tell the senders of messages."""
        self._is_sweeping = True
        try:
            is_more = True
            while is_more and not self._is_stopping:
                is_more = yield from self._sweep_once()
        except CommandFailed as failed:
            if not failed.is_out_of_space:
                report(failed.error)
            self._sweep_at = self._core.clock.monotonic_ms() + SWEEP_AGAIN_MS
        finally:
            self._is_sweeping = False

    def _sweep_once(self) -> Generator[StoreJob, Any, bool]:
        """One step of it; whether there may be more."""
        core, moment = self._core, Moment.of(self._core.clock)
        before = moment.steady - core.receipts.mail_life_ms

        def job(tx: Transaction) -> tuple[int, list[tuple[str, Item | None]]]:
            expired = tx.mailboxes.expire(moment.steady, SWEEP_LIMIT, before=before)
            receipts = [
                (
                    one.sender,
                    append_receipt(tx, one.recipient, MessageName(one.sender, one.name), frames.Status.EXPIRED, moment),
                )
                for one in expired
                if one.kind is ItemKind.MESSAGE
            ]
            return len(expired), receipts

        count, receipts = yield StoreJob(job)
        for sender, item in receipts:
            if item is not None:
                core.mailboxes.deliver(sender, item)
        return bool(count)

    def _delete_idle(self) -> Steps:
        """Look at some accounts; delete those that nobody has used for long and for whom nothing waits."""
        core, now = self._core, self._core.clock.persistent_ms()
        before = now - core.config.account_days * DAY_MS
        self._is_deleting, is_more = True, False
        try:
            users, is_more = yield StoreJob(lambda tx: tx.directory.idle(before, IDLE_LIMIT, now))
        finally:
            self._is_deleting = False
            if not is_more:
                self._delete_at = core.clock.monotonic_ms() + IDLE_EVERY_MS
        for user in users:
            if core.hub.of(user) is not None:  # has been here all the time
                core.pipeline.run(_alone(StoreJob(lambda tx, user=user: tx.directory.note_active(user, now))))  # type: ignore[misc]
            else:
                core.pipeline.run(_delete(user, before))


def _alone(command: StoreJob) -> Steps:
    yield command


def _delete(user: str, before: int) -> Steps:
    is_complete = False
    while not is_complete:
        is_complete = yield StoreJob(lambda tx: tx.directory.delete_idle(user, before))
