"""Who may send what now: load, rates, freshness, and how much may be stored for an address."""

from collections.abc import Hashable, Sequence
from hashlib import blake2b
from typing import Final

from phantom_messenger.events import Event, log
from phantom_messenger.relay.allowances import Allowances
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.limiter import Limiter
from phantom_messenger.relay.load import LoadGauge
from phantom_messenger.relay.pipeline import SLICE, AdmittedFrame
from phantom_messenger.relay.ports import Clock, Randomness
from phantom_messenger.relay.quota import Quota, Spent
from phantom_messenger.relay.rules import RULES, Rule, State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.limits import CLOCK_TOLERANCE_MS, RateClass

KEY_BYTES: Final = 32

OVERLOAD_RETRY_MS = 1_000
OVERLOAD_STEPS: Final = 16
OVERLOAD_STEP_MS: Final = 250
"""Those who are refused come back at different times."""

OVERLOAD_OVER_MS: Final = 5_000

LONG_MANY: Final = 16_384
"""Bytes of a message to many that is not read when there is no room for it."""

SEEN_EXCHANGE_MS: Final = 2 * CLOCK_TOLERANCE_MS + 60_000
"""How long a key exchange's signature is remembered: longer than one from the future can be fresh."""

MAX_SEEN_EXCHANGES: Final = 100_000
"""How many are remembered (about 25 MB); the oldest go first. Only its own sender can replay one, within its rate."""


class Admission:
    """Judges frames by ``rules.RULES``, and counts what they cost.

    Args:
        config: rates and quota.
        clock: for windows and freshness.
        randomness: for the keys under which addresses are counted, and users remembered.
        load: says when there is too much to do.
    """

    def __init__(self, config: Config, clock: Clock, randomness: Randomness, load: LoadGauge) -> None:
        self.limiter = Limiter(config.rates, randomness(KEY_BYTES))
        self.quota = Quota(config.address_bytes)
        self.seen_exchanges = SeenExchanges()
        self._clock = clock
        self._load = load
        self._mark_key = randomness(KEY_BYTES)
        self.allowances = Allowances(self._mark_key)
        self._overloaded_at = 0
        self._overload_refused = 0

    def admit(self, session: Session, frame: frames.ClientFrame, now: int) -> None:
        """Judge a well-formed frame that is legal now.

        Args:
            session: who sent it.
            frame: what was sent.
            now: monotonic milliseconds.

        Raises:
            RequestError: ``OVERLOAD``, ``RATE`` or ``CLOCK``.
        """
        rule = RULES[type(frame)]
        is_login = isinstance(frame, frames.Auth)
        if rule.sheds and (self._load.is_full or (session.is_behind and self._load.is_full_of_many)):
            raise self._overloaded(now)
        # A login counts once it is known whether it proves itself, and for whom: see ``handlers.login``.
        key = session.user_id or session.address
        if rule.counts_recipients:
            self._admit_recipients(session, frame, rule, now)
        elif session.takes_allowances and isinstance(frame, frames.Message) and self._is_allowed(session, frame, now):
            pass
        elif not is_login and (wait := self.limiter.acquire(rule.rate, key, now)):
            raise RequestError(Reason.RATE, retry_after=wait)
        # Behind the rate, so that frames with a wrong time count: their answers cost as much.
        if rule.signed and abs(frame.timestamp - (wall := self._clock.wall_ms())) > CLOCK_TOLERANCE_MS:
            raise RequestError(Reason.CLOCK, details={"serverTime": wall})
        if is_login:  # a connection has one try: without a proof it costs one signature check and no more
            session.state = State.AUTHENTICATING

    def admit_many(self, length: int, now: int) -> None:
        """Judge a message to many that was not read yet: to read a long one costs more than to refuse a thousand.

        Raises:
            RequestError: ``OVERLOAD``.
        """
        if length >= LONG_MANY and self._load.is_full_of_many:
            raise self._overloaded(now)

    def _is_allowed(self, session: Session, frame: frames.Message | frames.MessageMany, now: int) -> bool:
        """Whether a message counts as one of those that its only recipient allows; it is counted."""
        if isinstance(frame, frames.Message):
            return self.allowances.take(session.user_id, frame.payload.recipient_id, now)
        recipients = frame.payload.recipients
        return len(recipients) == 1 and self.allowances.take(session.user_id, recipients[0].recipient_id, now)

    def _admit_recipients(self, session: Session, frame: frames.ClientFrame, rule: Rule, now: int) -> None:
        """Count a frame, and its recipients; or neither, as if it is to wait for slices and there is no room."""
        assert isinstance(frame, frames.MessageMany)  # noqa: S101 - the table says so
        count, limiter, key = len(frame.payload.recipients), self.limiter, session.user_id
        if count >= SLICE and self._load.is_full_of_many:
            raise self._overloaded(now)
        wait = limiter.wait(RateClass.RECIPIENTS, key, now, count)
        if wait or not session.takes_allowances or not self._is_allowed(session, frame, now):
            wait = max(wait, limiter.wait(rule.rate, key, now))
            if wait:
                raise RequestError(Reason.RATE, retry_after=wait)
            limiter.acquire(rule.rate, key, now)
        limiter.count(RateClass.RECIPIENTS, key, now, count)

    def mark(self, address: str) -> int:
        """What stands for an address beside what it has stored as a stranger.

        The key is nowhere but here: after a restart nobody can say which address it was, or whether it
        is one that comes again.
        """
        return int.from_bytes(blake2b(address.encode(), digest_size=8, key=self._mark_key).digest()) >> 1

    # --- what may be stored -------------------------------------------------------

    def spend(self, admitted: AdmittedFrame, size: int) -> None:
        """Count bytes that are to be stored for a frame; if it is answered with an error they are given back.

        Raises:
            RequestError: ``QUOTA``, with the time until which its address has to wait.
        """
        mark, now = admitted.session.mark, admitted.session.heard_at
        if wait := self.quota.spend(mark, size, now):
            raise RequestError(Reason.QUOTA, retry_after=wait)
        admitted.spent = Spent(mark, size, now)

    def spend_each(self, admitted: AdmittedFrame, sizes: Sequence[int]) -> list[int]:
        """As ``spend``, for each of several that can be stored without the others.

        Returns:
            For each 0, or how long its address has to wait.
        """
        mark, now = admitted.session.mark, admitted.session.heard_at
        waits = [self.quota.spend(mark, size, now) for size in sizes]
        counted = sum(size for size, wait in zip(sizes, waits, strict=True) if not wait)
        admitted.spent = Spent(mark, counted + (admitted.spent.size if admitted.spent else 0), now)
        return waits

    def give_back_part(self, admitted: AdmittedFrame, size: int) -> None:
        """So many bytes of what was counted for this frame were not stored."""
        spent = admitted.spent
        if spent is not None and size:
            self.quota.give_back(Spent(spent.mark, size, spent.at))
            admitted.spent = Spent(spent.mark, spent.size - size, spent.at)

    def try_spend(self, session: Session, size: int) -> Spent | None:
        """Count bytes that can be left unstored; None if its address has no room for them."""
        now = session.heard_at
        return None if self.quota.spend(session.mark, size, now) else Spent(session.mark, size, now)

    def give_back(self, admitted: AdmittedFrame) -> None:
        """Nothing was stored for this frame."""
        spent, admitted.spent = admitted.spent, None
        if spent is not None:
            self.quota.give_back(spent)

    def prune(self, now: int) -> None:
        """Forget what does not count any more."""
        self.limiter.prune(now)
        self.quota.prune(now)
        self.allowances.prune(now)
        self.seen_exchanges.prune(now)

    # --- overload -----------------------------------------------------------------

    def _overloaded(self, now: int) -> RequestError:
        if not self._overload_refused:
            log(Event.OVERLOADED)
        self._overload_refused += 1
        self._overloaded_at = now
        spread = self._overload_refused % OVERLOAD_STEPS * OVERLOAD_STEP_MS
        return RequestError(Reason.OVERLOAD, retry_after=OVERLOAD_RETRY_MS + spread)

    def log_end_of_overload(self, now: int) -> None:
        """Log once that nothing has been refused for a while."""
        if self._overload_refused and now - self._overloaded_at >= OVERLOAD_OVER_MS:
            log(Event.OVERLOAD_OVER, refused=self._overload_refused)
            self._overload_refused = 0


class SeenExchanges:
    """Signatures of key exchanges that could be sent again; the oldest stand first."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, signature: str, now: int) -> bool:
        """Remember a signature; False if it is remembered already.

        Args:
            signature: of a frame, base64.
            now: monotonic milliseconds.
        """
        self.prune(now)
        if signature in self._seen:
            return False
        self._seen[signature] = now
        if len(self._seen) > MAX_SEEN_EXCHANGES:
            del self._seen[next(iter(self._seen))]
        return True

    def discard(self, signature: str) -> None:
        """The exchange was not obeyed, and may be sent again."""
        self._seen.pop(signature, None)

    def prune(self, now: int) -> None:
        """Forget signatures that cannot be fresh any more."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] > now - SEEN_EXCHANGE_MS:
                break
            del self._seen[oldest]
