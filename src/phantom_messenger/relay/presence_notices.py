"""What contacts see of a user: comings, goings, what a client says of itself."""

import sys
from typing import Final

from msgspec import UNSET, UnsetType

from phantom_messenger.relay.commands import Departure, EndSession, FindDeparture, RecordDeparture
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.other_relays import NewContacts, OtherRelays
from phantom_messenger.relay.pipeline import Pipeline, Steps
from phantom_messenger.relay.ports import Clock
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.session import Session
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
        others: pass notices on to contacts who are connected to them.
    """

    def __init__(self, hub: Hub, replies: Replies, pipeline: Pipeline, clock: Clock, others: OtherRelays) -> None:
        self._hub: Final = hub
        self._replies: Final = replies
        self._pipeline: Final = pipeline
        self._clock: Final = clock
        self._others: Final = others

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
        absent = []
        for contact in audience:
            session = self._hub.of(contact)
            if session is not None:
                self.send(session, notice, user, status)
            else:
                absent.append(contact)
        self._others.pass_on(absent, notice, user, status)

    def send(self, session: Session, notice: bytes, user: str, status: frames.PresenceStatus) -> None:
        """Send a client a notice of a user's presence, and remember what it was told."""
        self._replies.send(session, notice)
        if self._others.is_alone or not user:
            return
        if status is frames.PresenceStatus.OFFLINE:
            session.shown.pop(user, None)
        else:
            session.shown[sys.intern(user)] = status

    def is_known(self, session: Session, user: str, status: frames.PresenceStatus) -> bool:
        """Whether a client was told the same last; typing goes on, and is told again."""
        is_typing = status is frames.PresenceStatus.TYPING
        return not is_typing and session.shown.get(user, frames.PresenceStatus.OFFLINE) is status

    def correct(
        self, session: Session, user: str, status: frames.PresenceStatus, *, last_seen: int | None = None
    ) -> None:
        """Tell a client what a user shows, unless it has been told."""
        if not self.is_known(session, user, status):
            self.show(session, user, status, last_seen=last_seen)

    def show(
        self,
        session: Session,
        user: str,
        status: frames.PresenceStatus,
        *,
        last_seen: int | None = None,
        request: Id = UNSET,
    ) -> None:
        """Tell one client what a user shows."""
        notice = self.notice(user, status, last_seen=last_seen, request=request)
        self.send(session, codec.encode(notice), user, status)

    def announce_new_contacts(self, one: str, other: str) -> None:
        """Two users have become contacts: each learns whether the other is connected."""
        self._others.tell(NewContacts(one, other))
        self.announce_own(one, other)

    def announce_own(self, one: str, other: str) -> None:
        """As ``announce_new_contacts``, as far as they are connected here."""
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

    def record_departure(self, user: str, *, is_connected: bool = False) -> None:
        """Store when contacts last saw a user, to the minute; ``is_connected``: who looks absent from now on."""
        self._pipeline.run(self._record_departure(user, is_connected=is_connected))

    def _record_departure(self, user: str, *, is_connected: bool) -> Steps:
        yield RecordDeparture(
            user_id=user,
            last_seen=self._clock.wall_ms() // MINUTE_MS * MINUTE_MS,
            now=self._clock.persistent_ms(),
            is_connected=is_connected,
        )

    def end_hidden(self, user: str) -> None:
        """A user who looked absent is not connected any more."""
        if not self._others.is_alone:
            self._pipeline.run(self._end_hidden(user))

    def _end_hidden(self, user: str) -> Steps:
        yield EndSession(user_id=user)

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
