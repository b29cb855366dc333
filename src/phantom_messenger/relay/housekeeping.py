"""What the relay does by the clock, whatever its clients do: sweep, prune, save, delete what nobody uses."""

from typing import Final

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.events import Event, log, report
from phantom_messenger.relay import elsewhere
from phantom_messenger.relay.commands import (
    AnyCommand,
    CommandFailed,
    DeleteIdleAccount,
    Expire,
    Expired,
    FindIdleAccounts,
    ForgetHandouts,
    ForgetOrders,
    IdleAccounts,
    RecordActivity,
    SaveClock,
    SaveLimits,
)
from phantom_messenger.relay.core import DAY_MS, Core
from phantom_messenger.relay.pipeline import Steps
from phantom_messenger.relay.presence_look import PresenceLook

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
        self._look = PresenceLook(core)
        self._is_stopping = False
        self._is_sweeping = False
        self._sweep_at = 0
        self._is_deleting = False
        self._delete_at = 0
        self._pruned_at = self._status_at = self._checked_at = core.clock.monotonic_ms()
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
            core.pipeline.run(_alone(ForgetHandouts(now=core.clock.persistent_ms())))
        if not core.others.is_alone and now - self._checked_at >= elsewhere.CHECK_MS:
            self._checked_at = now
            elsewhere.check(core)
            self._look.begin(now)
        if not self._is_deleting and now >= self._delete_at:
            core.pipeline.run(self._delete_idle())

    def stop(self) -> None:
        """Save what the next start goes on from."""
        core = self._core
        # A sweep that is under way ends with its step: it would keep the relay from ever being idle.
        self._is_stopping = True
        core.pipeline.run(self._save_clock(core.clock.snapshot(), core.clock.monotonic_ms()))
        kept = core.admission.limiter.export(core.clock.monotonic_ms(), core.clock.persistent_ms())
        if kept.times:
            core.pipeline.run(_alone(SaveLimits(limits=kept)))

    def _keep_clock(self, now: int) -> None:
        """Save persistent time when the wall clock was set, and now and then: see ``clock.resumed``."""
        snapshot = self._core.clock.snapshot()
        due = self._clock_saved_at is None or now - self._clock_saved_at >= SAVE_CLOCK_MS
        if due or abs(snapshot.wall - snapshot.persistent - self._wall_ahead) > CLOCK_STEP_MS:
            self._core.pipeline.run(self._save_clock(snapshot, now))

    def _save_clock(self, snapshot: ClockSnapshot, now: int) -> Steps:
        yield SaveClock(snapshot=snapshot)
        # Once it is stored, and not before: what has failed is due again with the next tick.
        self._clock_saved_at, self._wall_ahead = now, snapshot.wall - snapshot.persistent

    def _sweep(self) -> Steps:
        """Delete what waits and expired before its recipient came; the senders of messages are notified."""
        core, clock = self._core, self._core.clock
        self._is_sweeping = True
        is_more = True
        try:
            while is_more and not self._is_stopping:
                now = clock.persistent_ms()
                expired: Expired = yield Expire(
                    stored_before=now - core.receipts.mail_life_ms, limit=SWEEP_LIMIT, wall_ms=clock.wall_ms(), now=now
                )
                core.receipts.deliver(expired.receipts)
                is_more = expired.deleted > 0
        except CommandFailed as failed:
            if not failed.is_out_of_space:
                report(failed.error)
            self._sweep_at = clock.monotonic_ms() + SWEEP_AGAIN_MS
        finally:
            self._is_sweeping = False

    def _delete_idle(self) -> Steps:
        """Look at some accounts; delete those that nobody has used for long and for whom nothing waits."""
        core, now = self._core, self._core.clock.persistent_ms()
        before = now - core.config.account_days * DAY_MS
        self._is_deleting = True
        found = IdleAccounts([], is_more=False)
        try:
            found = yield FindIdleAccounts(active_before=before, limit=IDLE_LIMIT, now=now)
        finally:
            self._is_deleting = False
            if not found.is_more:
                self._delete_at = core.clock.monotonic_ms() + IDLE_EVERY_MS
        if not found.is_more:
            core.pipeline.run(_alone(ForgetOrders(written_before=before)))
        for user in found.users:
            if core.hub.of(user) is not None:  # has been here all the time
                core.pipeline.run(_alone(RecordActivity(user_id=user, now=now)))
            else:
                core.pipeline.run(_delete(user, before))


def _alone(command: AnyCommand) -> Steps:
    yield command


def _delete(user: str, before: int) -> Steps:
    is_complete = False
    while not is_complete:
        is_complete = yield DeleteIdleAccount(user_id=user, active_before=before)
