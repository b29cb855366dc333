"""Presence at other relays that this one was not told of, or was told too early: found in the store.

Notices get lost, and of two contacts who log in at two relays in the same moment neither login sees the other. So each
relay asks for what has changed since it asked last, and compares it with what its clients were told.
"""

from typing import Final

from phantom_messenger.relay.commands import CommandFailed, SeenPresence, SeePresence
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.pipeline import Steps
from phantom_messenger.wire.frames import PresenceStatus

WHOLE_AFTER_MS: Final = 20_000
"""When everything is compared after this relay has come, or come back. By then the others have said whom they have:
they do so every 5 seconds, and those that are dead are noticed after 15."""


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
            seen: SeenPresence = yield SeePresence(since=self._since, is_whole=is_whole)
        except CommandFailed:
            self._whole_at = now + WHOLE_AFTER_MS  # this relay may be taken for dead, and changes be forgotten
            return
        finally:
            self._is_looking = False
        self._since = seen.since
        if is_whole:
            self._whole_at = None
        if seen.is_new:
            self._whole_at = now + WHOLE_AFTER_MS
        self._tell(seen, is_whole=is_whole)

    def _tell(self, seen: SeenPresence, *, is_whole: bool) -> None:
        hub, presence = self._core.hub, self._core.presence
        found = {one.user_id: one for one in seen.users}
        if not found and not is_whole:
            return
        watchers = {one.user_id: frozenset(one.watchers) for one in seen.users}
        elsewhere = [one for one in seen.users if hub.visible_presence(one.user_id) is PresenceStatus.OFFLINE]
        for one in elsewhere:
            for watcher in one.watchers:
                session = hub.of(watcher)
                if session is not None and one.status is not None:
                    presence.correct(session, one.user_id, one.status, last_seen=_last_seen(one.status, one.last_seen))
        for session in hub:
            for user in list(session.shown) if is_whole else session.shown.keys() & found.keys():
                if session.user_id not in watchers.get(user, ()) and (
                    hub.visible_presence(user) is PresenceStatus.OFFLINE
                ):
                    presence.correct(session, user, PresenceStatus.OFFLINE)


def _last_seen(status: PresenceStatus, last_seen: int | None) -> int | None:
    return last_seen if status is PresenceStatus.OFFLINE else None
