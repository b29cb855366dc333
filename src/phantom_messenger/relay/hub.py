"""Who is connected, by user and by address."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.frames import PresenceStatus

DEPARTURE_MS: Final = 10_000
"""How long a user may be gone before contacts are notified, so that a quick reconnect goes unnoticed."""


class Hub:
    """All sessions of this relay."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._users: dict[str, Session] = {}
        self._addresses: Counter[str] = Counter()
        self._departures: dict[str, tuple[int, PresenceStatus]] = {}
        self._seen_absent: set[str] = set()
        """Users who left a moment ago, and whom a contact has meanwhile seen to be away."""
        self._count = 0

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> int:
        """Register a new connection; returns how many its address has now."""
        self._count += 1
        session.order = self._count
        self._sessions[session.connection_id] = session
        self._addresses[session.address] += 1
        return self._addresses[session.address]

    def remove(self, session: Session, now: int) -> bool:
        """Remove a connection; True if its user has none now."""
        if self._sessions.pop(session.connection_id, None) is None:
            return False
        self._addresses[session.address] -= 1
        if not self._addresses[session.address]:
            del self._addresses[session.address]
        # A newer login has taken its place already: the end of the old one is no departure.
        if self._users.get(session.user_id) is not session:
            return False
        del self._users[session.user_id]
        if not session.looks_absent:
            self._departures[session.user_id] = now + DEPARTURE_MS, session.presence
        return True

    def login(self, session: Session, now: int) -> tuple[Session | None, PresenceStatus]:
        """Make this the user's session; to contacts, one that looks absent is a departure.

        Returns:
            The session that it replaces, and what contacts believe of the user.
        """
        user = session.user_id
        replaced = self._users.get(user)
        self._users[user] = session
        if session.looks_absent:
            if replaced is not None and not replaced.looks_absent:
                self._departures[user] = now + DEPARTURE_MS, replaced.presence
            return replaced, PresenceStatus.OFFLINE
        _, believed = self._departures.pop(user, (0, PresenceStatus.OFFLINE))
        if user in self._seen_absent:
            self._seen_absent.discard(user)
            believed = PresenceStatus.OFFLINE
        return replaced, believed if replaced is None or replaced.looks_absent else replaced.presence

    def depart(self, user_id: str, presence: PresenceStatus, now: int) -> None:
        """A user has come and gone before there was a session; contacts believe what they saw elsewhere."""
        self._departures[user_id] = now + DEPARTURE_MS, presence

    def absence_seen(self, user_id: str) -> None:
        """A contact has seen that the user is away: a return must be announced, however soon it comes."""
        if user_id in self._departures:
            self._seen_absent.add(user_id)

    def cancel_departure(self, user_id: str) -> None:
        """Contacts know where the user is: there is no departure to announce any more."""
        self._departures.pop(user_id, None)
        self._seen_absent.discard(user_id)

    def forget(self, user_id: str) -> Session | None:
        """Remove a user at once, without announcing a departure."""
        self.cancel_departure(user_id)
        return self._users.pop(user_id, None)

    def of(self, user_id: str) -> Session | None:
        """The open session of a user."""
        session = self._users.get(user_id)
        return session if session is not None and session.state is State.OPEN else None

    def visible_presence(self, user_id: str) -> PresenceStatus:
        """What contacts believe about a user: for them, one who left a moment ago is still there."""
        session = self.of(user_id)
        if session is not None:
            return session.presence
        _, presence = self._departures.get(user_id, (0, PresenceStatus.OFFLINE))
        return presence

    def pop_departures(self, now: int) -> list[str]:
        """Users who have been gone long enough to notify their contacts; each once, and none who looked absent."""
        gone = [user for user, (at, _) in self._departures.items() if at <= now]
        shown = [user for user in gone if self._departures[user][1] is not PresenceStatus.OFFLINE]
        for user in gone:
            self.cancel_departure(user)
        return shown
