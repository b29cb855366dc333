"""What contacts see of a user: comings, goings, what a client says of itself."""

from typing import Final

from msgspec import UNSET, UnsetType

from phantom_messenger.relay.commands import Departure, FindDeparture, RecordDeparture
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.pipeline import Pipeline, Steps
from phantom_messenger.relay.ports import Clock
from phantom_messenger.relay.replies import Replies
from phantom_messenger.wire import codec, frames

Id = str | UnsetType

MINUTE_MS: Final = 60_000


class PresenceNotices:
    """Notifies contacts who are connected.

    Args:
        hub: knows who is.
        replies: takes what is sent.
        pipeline: stores when a user was seen last.
        clock: for timestamps.
    """

    def __init__(self, hub: Hub, replies: Replies, pipeline: Pipeline, clock: Clock) -> None:
        self._hub: Final = hub
        self._replies: Final = replies
        self._pipeline: Final = pipeline
        self._clock: Final = clock

    def notify(
        self,
        user: str,
        audience: list[str],
        status: frames.PresenceStatus,
        *,
        conversation: Id = UNSET,
        last_seen: int | None = None,
    ) -> None:
        """Send a notice about ``user`` to those of an audience who are connected."""
        notice = codec.encode(self.notice(user, status, conversation=conversation, last_seen=last_seen))
        for contact in audience:
            session = self._hub.of(contact)
            if session is not None:
                self._replies.send_text(session, notice)

    def announce_new_contacts(self, one: str, other: str) -> None:
        """Two users have become contacts: each learns whether the other is connected."""
        for user, contact in ((one, other), (other, one)):
            presence = self._hub.visible_presence(user)
            if presence is not frames.PresenceStatus.OFFLINE:
                self.notify(user, [contact], presence)

    def notice(
        self,
        user: str,
        status: frames.PresenceStatus,
        *,
        conversation: Id = UNSET,
        last_seen: int | None = None,
        request: Id = UNSET,
    ) -> frames.PresenceNotice:
        """Build a notice."""
        return frames.PresenceNotice(
            id=request,
            payload=frames.PresenceNoticePayload(
                user_id=user,
                status=status,
                conversation_id=conversation,
                last_seen=UNSET if last_seen is None else last_seen,
            ),
            timestamp=self._clock.wall_ms(),
        )

    def record_departure(self, user: str) -> None:
        """Store when contacts last saw a user, to the minute."""
        self._pipeline.run(self._record_departure(user))

    def _record_departure(self, user: str) -> Steps:
        minute = self._clock.wall_ms() // MINUTE_MS * MINUTE_MS
        yield RecordDeparture(user_id=user, last_seen=minute, now=self._clock.persistent_ms())

    def announce_departures(self, now: int) -> None:
        """Notify the contacts of users who have been away for a while.

        Args:
            now: monotonic milliseconds.
        """
        for user in self._hub.pop_departures(now):
            self._pipeline.run(self._announce_departure(user))

    def _announce_departure(self, user: str) -> Steps:
        departure: Departure = yield FindDeparture(user_id=user)
        if self._hub.visible_presence(user) is frames.PresenceStatus.OFFLINE:
            self.notify(user, departure.contacts, frames.PresenceStatus.OFFLINE, last_seen=departure.last_seen)
