"""When what may be sent: windows of one's own, and the pauses that the relay asked for.

A client that knows the relay's limits stays below them, so that it is hardly ever
refused: refusals cost time, and ten in a minute the connection.
"""

from dataclasses import dataclass
from typing import Final

from msgspec import UnsetType

from phantom_messenger.rate_window import Window
from phantom_messenger.wire import frames
from phantom_messenger.wire.limits import ALLOWANCE_EVERY_MS, RATE_WINDOW_MS, RateClass

PACE_SPAN_MS: Final = RATE_WINDOW_MS + 1_000
"""Window of one's own: a second more than the relay's, for what the network does to intervals."""

UNKNOWN_USER_MS: Final = 2_000
"""How long to wait before asking again for somebody whom the relay does not know: they may be about to log in."""

WRONG_KEYS_MS: Final = 30_000
"""The same for somebody of whom it gives wrong keys; after a wait like this, the user is told again of either."""

LONGEST_UNKNOWN_USER_MS: Final = 120_000
"""Longest such wait; it doubles, so that absent people do not use up what others need."""


def span(milliseconds: int) -> str:
    """A length of time in words, rounded up."""
    seconds = -(-milliseconds // 1_000)
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{-(-seconds // size)} {unit}s"
    return f"{seconds} seconds" if seconds != 1 else "1 second"


def about(milliseconds: int) -> str:
    """A length of time in words, to the nearest unit."""
    seconds = max(1, round(milliseconds / 1_000))
    size = next((size for size in (86_400, 3_600, 60) if seconds >= 2 * size), 1)
    return span(round(seconds / size) * size * 1_000)


SOON_MS: Final = 1_000
"""The shortest wait after a refusal, whatever the relay names."""

LONGEST_ASKED_MS: Final = 600_000
"""How long a relay can keep a client from asking again, whatever it names."""

LONGEST_LOGIN_MS: Final = 3_600_000
"""The same for a login."""


def asked(retry_after: int | UnsetType | None, otherwise: int, *, longest: int = LONGEST_ASKED_MS) -> int:
    """Milliseconds to wait: ``retry_after`` of the relay, within reason, or ``otherwise`` if it named none."""
    return otherwise if retry_after is None or isinstance(retry_after, UnsetType) else min(retry_after, longest)


def reason_of(error: frames.Error) -> object:
    """``details.reason`` of an error, '' if the relay does not say."""
    return "" if isinstance(error.payload.details, UnsetType) else error.payload.details.get("reason", "")


@dataclass(slots=True)
class _Allowed:
    """Messages that one user lets through beside the rate; times are monotonic milliseconds."""

    left: int
    until: int
    next_at: int
    """Before then they cannot have given another: what the relay tells is about this one."""
    is_told: bool = True
    """Whether the relay has told of it on this connection."""


class Pacing:
    """Windows and pauses; times are monotonic milliseconds. Windows outlive a connection, as the relay's do."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        """Users to whom nothing is written for another reason."""
        self.reset()

    def reset(self) -> None:
        """Another relay, which has counted nothing yet."""
        self._windows: dict[RateClass, Window] = {}
        self._full_until: dict[RateClass, int] = {}
        self._until: dict[RateClass, int] = {}
        self._peers: dict[str, int] = {}
        self._unknown: dict[str, int] = {}
        self._allowed: dict[str, _Allowed] = {}
        """By user."""

    def may_send(self, rate: RateClass, now: int) -> bool:
        """Whether no pause holds for this class."""
        return now >= self.until(rate)

    def until(self, rate: RateClass) -> int:
        """When the pause of this class ends, or has ended."""
        return max(self._until.get(rate, 0), self._full_until.get(rate, 0))

    def may_reach(self, peer: str, now: int) -> bool:
        """Whether no pause holds for this user."""
        return peer not in self._held and now >= self._peers.get(peer, 0)

    def hold(self, peer: str) -> None:
        """Write nothing to this user until they are released."""
        self._held.add(peer)

    def release(self, peer: str) -> None:
        """Write to this user again."""
        self._held.discard(peer)

    def acquire(self, rate: RateClass, limit: int | None, now: int) -> bool:
        """Count a frame of a class, of which ``limit`` a minute are allowed; False, and a pause, if it has to wait."""
        if not self.may_send(rate, now):
            return False
        if limit is None:
            return True
        window = self._windows.get(rate)
        if window is None or window.limit != limit:
            window = self._windows[rate] = Window(limit, PACE_SPAN_MS)
        wait = window.acquire(now)
        if wait:
            self._full_until[rate] = now + wait
        return not wait

    def acquire_several(self, rate: RateClass, limit: int | None, count: int, now: int) -> bool:
        """As ``acquire``, for so many at once, or none of them; more than ``limit`` never fit."""
        if not self.may_send(rate, now):
            return False
        if limit is None:
            return True
        window = self._windows.get(rate)
        if window is None or window.limit != limit:
            window = self._windows[rate] = Window(limit, PACE_SPAN_MS)
        counting = window.counting(now)
        lacking = count - (limit - len(counting))
        if lacking > 0:
            self._full_until[rate] = counting[min(lacking, len(counting)) - 1] + PACE_SPAN_MS if counting else now
            return False
        for _ in range(count):
            window.acquire(now)
        return True

    def acquire_message(self, peer: str, limit: int | None, now: int) -> bool:
        """As ``acquire``, for a message to one user: as the relay counts it, one of those that they allow first."""
        if not self.allowed(peer, now) or not self.may_send(RateClass.MESSAGE, now):
            return self.acquire(RateClass.MESSAGE, limit, now)
        self._allowed[peer].left -= 1
        return True

    def allow(self, peer: str, messages: int, until: int, now: int) -> None:
        """The relay lets so many messages to this user through beside the rate, on this connection.

        It is told once on each. What it tells again, here or on the next, adds nothing to what was left, whatever it
        says: a relay must not be able to make a client send more than its user's device has asked for.
        """
        known = self._allowed.get(peer)
        if known is None or now >= known.next_at:
            self._allowed[peer] = _Allowed(messages, until, next_at=now + ALLOWANCE_EVERY_MS)
        elif not known.is_told:
            known.left, known.until, known.is_told = min(messages, known.left), min(until, known.until), True

    def allowed(self, peer: str, now: int) -> int:
        """How many messages this user still allows beside the rate."""
        known = self._allowed.get(peer)
        return known.left if known is not None and known.is_told and now < known.until else 0

    def free(self, rate: RateClass, limit: int | None, now: int) -> int:
        """How many frames of a class may still be sent in this minute, of ``limit``."""
        window = self._windows.get(rate)
        if limit is None or window is None:
            return 1_000_000 if limit is None else limit
        return window.limit - window.used(now)

    def pause(self, rate: RateClass, until: int) -> None:
        """The relay wants nothing of a class before then."""
        self._until[rate] = max(until, self._until.get(rate, 0))

    def pause_peer(self, peer: str, until: int) -> None:
        """Send nothing to this user before then."""
        self._peers[peer] = until

    def disconnected(self) -> None:
        """What a relay has asked for holds on its connection: another may be another relay's, or mean it no more."""
        self._until.clear()
        for allowed in self._allowed.values():
            allowed.is_told = False
        for peer in [peer for peer in self._peers if peer not in self._unknown]:
            del self._peers[peer]

    def unknown_peer(self, peer: str, now: int, at_least: int = UNKNOWN_USER_MS) -> bool:
        """The relay does not know this user: ask again later, each time later; whether that is to be told."""
        before = self._unknown.get(peer)
        wait = max(min(2 * (before or 0), LONGEST_UNKNOWN_USER_MS), at_least)
        self._unknown[peer] = wait
        self.pause_peer(peer, now + wait)
        return before is None or before >= WRONG_KEYS_MS

    def is_unknown(self, peer: str) -> bool:
        """Whether the relay has said that it does not know this user."""
        return peer in self._unknown

    def exists(self, peer: str) -> None:
        """This user is there, whatever the relay has said before."""
        if peer in self._unknown:
            self.reset_peer(peer)

    def reset_peer(self, peer: str) -> None:
        """Ask for this user at once."""
        self._peers.pop(peer, None)
        self._unknown.pop(peer, None)

    def waits(self, now: int) -> list[int]:
        """Milliseconds until each pause ends."""
        pauses = (*self._until.values(), *self._full_until.values(), *self._peers.values())
        return [until - now for until in pauses if until > now]
