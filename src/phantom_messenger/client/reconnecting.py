"""Whether and when to reconnect, and the connection events for the application."""

from typing import Final

from phantom_messenger.client.link import LoginFailed
from phantom_messenger.client.pacing import LONGEST_LOGIN_MS, asked, span
from phantom_messenger.client.sanitize import one_line
from phantom_messenger.client.status import ConnectionEvent, ConnectionState
from phantom_messenger.wire.codes import RECONNECT_AFTER, CloseCode, Reason

_AT_ODDS: Final = set(CloseCode) - RECONNECT_AFTER - {CloseCode.NORMAL, CloseCode.POLICY_VIOLATION}
"""After these a client connects again late (protocol/phantom.md, Close codes)."""

FIRST_LATE_MS: Final = 60_000
LONGEST_LATE_MS: Final = 300_000
"""How long to stay away from a relay that is at odds with this client, or does not know its own name: twice as long
each time. It passes only when somebody repairs it."""

FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 30.0
"""Seconds; the wait before the n-th attempt is drawn from 0 to the n-th bound (full jitter)."""

SETTLED: Final = 10.0
"""Seconds after the login for which a connection has to stand: what ends sooner is tried again later each time."""

_REFUSALS: Final[dict[str, str]] = {
    Reason.AUDIENCE: "the relay does not answer to the host name you used; ask its operator for the right address",
    Reason.RATE: "there were too many logins from here",
    Reason.OVERLOAD: "the relay is overloaded",
    Reason.STORAGE: "the relay cannot store logins at the moment",
    Reason.IDENTITY: "the relay says that this user ID belongs to another key",
    Reason.SIGNATURE: "the relay does not accept this profile's signature",
    Reason.KEY: "the relay does not accept this profile's key",
    Reason.UNSIGNED: "the relay says that the login was not signed",
}
_BUSY: Final = frozenset({"rate", "overload", "storage", "quota"})


class Backoff:
    """How long to wait before the next attempt: twice as long each time, until a connection has lasted.

    A relay that lets its clients in and closes at once would otherwise be dialled by all of them twice a second.
    """

    def __init__(self) -> None:
        self._bound = FIRST_BACKOFF
        self._online_since: float | None = None

    def online(self, now: float) -> None:
        """The relay has let this identity in; ``now``, in seconds, may be told again while it stays so."""
        if self._online_since is None:
            self._online_since = now

    def ended(self, now: float) -> float:
        """The connection is gone, or could not be made; returns the seconds that the next wait lasts at most."""
        if self._online_since is not None and now - self._online_since >= SETTLED:
            self._bound = FIRST_BACKOFF
        self._online_since = None
        bound, self._bound = self._bound, min(self._bound * 2, LONGEST_BACKOFF)
        return bound


class Reconnecting:
    """What the last connections have shown of this relay."""

    def __init__(self) -> None:
        self.retry_after: int | None = None
        """Milliseconds to stay away, if more than after any outage: the relay has asked for it, or is at odds."""
        self.is_deleting = False
        """Whether the relay was asked to forget this identity."""
        self.is_deleted = False
        """Whether it has confirmed that it did."""
        self._late = 0
        self._was_in = False
        """Whether this relay has let this identity in, since the program has started."""
        self._is_refused = False
        self._is_reported = False
        """Whether the application has heard why this connection fails."""

    def dialling(self) -> ConnectionEvent:
        """An attempt to connect begins."""
        # It was waited for before this attempt; what goes wrong now has a wait of its own.
        self.retry_after = None
        return ConnectionEvent(state=ConnectionState.CONNECTING, reason="")

    def connected(self) -> None:
        """There is a connection."""
        self.retry_after = None
        self._is_refused = self._is_reported = False

    def logged_in(self) -> ConnectionEvent:
        """The relay has let this identity in."""
        self._was_in, self._late = True, 0
        return ConnectionEvent(state=ConnectionState.ONLINE, reason="")

    def moved(self, *, has_left: bool) -> None:
        """Another relay was chosen; ``has_left``: a connection was given up, and its event was raised."""
        self._was_in, self._late, self.retry_after = False, 0, None
        self._is_reported = self._is_reported or has_left

    def left(self, reason: str) -> ConnectionEvent:
        """The connection is given up; ``reason`` is a sentence for people."""
        self._is_reported = True
        return self._offline(reason)

    def login_failed(self, event: LoginFailed) -> ConnectionEvent:
        """Only a refusal of this identity is the end; of a relay that names no reason, one that never let it in."""
        self._is_refused = not self._was_in if event.is_final is None else event.is_final
        reason = _REFUSALS.get(event.code, event.reason)
        if self._is_refused:
            return ConnectionEvent(state=ConnectionState.REFUSED, reason=reason)
        is_busy = event.code in _BUSY or event.retry_after is not None
        wait = event.retry_after
        self.retry_after = self._later() if wait is None else asked(wait, wait, longest=LONGEST_LOGIN_MS)
        self._is_reported = True
        return self._offline(reason, busy=is_busy)

    def disconnected(
        self, code: int | None, reason: str, *, is_in: bool, retry_after: float | None, busy: bool
    ) -> tuple[bool, list[ConnectionEvent]]:
        """The connection is gone, or could not be made; arguments as ``Messenger.disconnected``.

        Returns:
            Whether to connect again, and the events to raise.
        """
        # Before the login such a close is somebody's on the way, or for a login that came too late.
        is_replaced = is_in and code == CloseCode.POLICY_VIOLATION
        self.is_deleted = code == CloseCode.NORMAL and self.is_deleting
        if retry_after is not None:
            self.retry_after = min(round(retry_after * 1000), LONGEST_LOGIN_MS)
        elif code in _AT_ODDS and self.retry_after is None and not self._is_refused:
            self.retry_after = self._later()
        events: list[ConnectionEvent] = []
        if is_replaced:
            why = "the same identity logged in elsewhere"
            events = [ConnectionEvent(state=ConnectionState.REPLACED, reason=why)]
        elif not self._is_refused and not self._is_reported:
            events = [self._offline(one_line(reason), busy=busy or code == CloseCode.RATE_LIMITED)]
        self._is_reported = False
        # Once the relay was asked to forget this identity, logging in would bring it back.
        return not (is_replaced or self.is_deleting or self._is_refused), events

    def _later(self) -> int:
        self._late = min(2 * self._late or FIRST_LATE_MS, LONGEST_LATE_MS)
        return self._late

    def _offline(self, reason: str, *, busy: bool = False) -> ConnectionEvent:
        wait = self.retry_after
        if wait:
            reason = f"{reason}; retrying in {span(wait)}"
        seconds = None if wait is None else wait / 1000
        return ConnectionEvent(state=ConnectionState.OFFLINE, reason=reason, busy=busy, retry_after=seconds)
