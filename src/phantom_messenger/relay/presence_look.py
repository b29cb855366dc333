"""Presence at other relays that this one was not told of, or was told too early: found in the store.

Notices get lost, and of two contacts who log in at two relays in the same moment neither login sees the other. So each
relay asks for what has changed since it asked last, and compares it with what its clients were told.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from phantom_messenger.relay.commands import CommandFailed, SeeContacts, SeenPresence, SeenUser, SeePresence
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.pipeline import Steps
from phantom_messenger.relay.session import Session
from phantom_messenger.wire.frames import PresenceStatus

WHOLE_AFTER_MS: Final = 20_000
"""When everything is compared after this relay has come, or come back. By then the others have said whom they have:
they do so every 5 seconds, and those that are dead are noticed after 15."""

COMPARED_AT_ONCE: Final = 200
"""Users whose contacts are looked at in one command: messages wait until the store has answered it."""


class PresenceLook:
    """Looks for changes; one look at a time.

    Args:
        core: the relay's state.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._since = 0
        self._is_looking = False
        self._whole_at: int | None = None

    def begin(self, now: int) -> None:
        """Begin a look, unless one is under way.

        Args:
            now: monotonic milliseconds.
        """
        if not self._is_looking:
            self._is_looking = True
            self._core.pipeline.run(self._look(now))

    def _look(self, now: int) -> Steps:
        is_whole = self._whole_at is not None and now >= self._whole_at
        try:
            seen: SeenPresence = yield SeePresence(since=self._since)
            self._tell_changes(seen.users)
            if is_whole:
                yield from self._compare_all()
                self._whole_at = None
        except CommandFailed:
            self._whole_at = now + WHOLE_AFTER_MS  # this relay may be taken for dead, and changes be forgotten
            return
        finally:
            self._is_looking = False
        self._since = seen.since
        if seen.is_new:
            self._whole_at = now + WHOLE_AFTER_MS

    def _compare_all(self) -> Steps:
        """Compare what all users of this relay were told with what their contacts show."""
        hub = self._core.hub
        own = [session.user_id for session in hub if hub.of(session.user_id) is session]
        for first in range(0, len(own), COMPARED_AT_ONCE):
            part = own[first : first + COMPARED_AT_ONCE]
            seen: list[SeenUser] = yield SeeContacts(users=part)
            self._tell(seen)
            watchers = _watchers(seen)
            for user in part:
                if session := hub.of(user):
                    self._hide(session, session.shown, watchers)

    def _tell_changes(self, seen: Sequence[SeenUser]) -> None:
        if not seen:
            return
        self._tell(seen)
        watchers = _watchers(seen)
        for session in self._core.hub:
            self._hide(session, session.shown.keys() & watchers.keys(), watchers)

    def _tell(self, seen: Sequence[SeenUser]) -> None:
        """Tell watchers what users at other relays show."""
        hub, presence = self._core.hub, self._core.presence
        elsewhere = [one for one in seen if hub.visible_presence(one.user_id) is PresenceStatus.OFFLINE]
        for one in elsewhere:
            for watcher in one.watchers:
                session = hub.of(watcher)
                if session is not None and one.status is not None:
                    presence.correct(session, one.user_id, one.status, last_seen=_last_seen(one.status, one.last_seen))

    def _hide(self, session: Session, users: Iterable[str], watchers: dict[str, frozenset[str]]) -> None:
        """Tell somebody that those users are offline whom they may not see, or who are not connected anywhere."""
        hub, presence = self._core.hub, self._core.presence
        for user in list(users):
            if session.user_id not in watchers.get(user, ()) and hub.visible_presence(user) is PresenceStatus.OFFLINE:
                presence.correct(session, user, PresenceStatus.OFFLINE)


def _watchers(seen: Sequence[SeenUser]) -> dict[str, frozenset[str]]:
    return {one.user_id: frozenset(one.watchers) for one in seen}


def _last_seen(status: PresenceStatus, last_seen: int | None) -> int | None:
    return last_seen if status is PresenceStatus.OFFLINE else None
