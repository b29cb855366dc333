"""What follows when the relay does not take something for a user: a pause, a warning, or that it never will."""

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from phantom_messenger.client import notices
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.notices import PauseNotices
from phantom_messenger.client.pacing import SOON_MS, Pacing, asked, reason_of
from phantom_messenger.client.status import Event, WarningEvent
from phantom_messenger.client.stores import Stores
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why: as an ERROR says it, or a MANY_RESULT of one recipient. ``message``: the relay's sentence."""

    code: int
    reason: object
    message: str
    retry_after: int | UnsetType = UNSET

    @classmethod
    def of(cls, error: frames.Error) -> "Refusal":
        """What an ERROR says."""
        return cls(error.payload.code, reason_of(error), error.payload.message, error.payload.retry_after)


class Refusals:
    """Judges them, alike for messages to one and to many.

    Args:
        stores: of the profile.
        pacing: is told what to wait for.
        pauses: warns of what waits.
    """

    def __init__(self, stores: Stores, pacing: Pacing, pauses: PauseNotices) -> None:
        self._stores = stores
        self._pacing = pacing
        self._pauses = pauses

    def judge(self, peer: str, refusal: Refusal, now: Moment, *, waits_for_user: bool) -> list[Event] | None:
        """Wait for what the relay asks.

        Args:
            peer: who was to get it.
            refusal: what the relay has said.
            now: this moment.
            waits_for_user: whether it is to wait for a user whom the relay does not know.

        Returns:
            What the application is to hear; None if it is refused for good.
        """
        wait = max(asked(refusal.retry_after, SOON_MS), SOON_MS)
        contact = self._stores.book.contact(peer)
        match refusal.code:
            case ErrorCode.RATE_LIMITED if refusal.reason == "backlog":
                self._pacing.exists(peer)
                self._pacing.pause_peer(peer, now.monotonic + wait)
                return [notices.backlog(contact)]
            case ErrorCode.RATE_LIMITED:
                return self._pause(peer, wait, now.monotonic)
            case ErrorCode.USER_NOT_FOUND if waits_for_user:
                is_news = self._pacing.unknown_peer(peer, now.monotonic)
                return [unknown(self._stores, peer)] if is_news else []
            case ErrorCode.INTERNAL_ERROR:
                self._pacing.pause(RateClass.MESSAGE, now.monotonic + wait)
                return list(self._pauses.storage(contact, now.monotonic))
            case ErrorCode.INVALID_MESSAGE if refusal.reason == "clock":
                return self._pause(peer, SOON_MS, now.monotonic)
            case _:
                return None

    def _pause(self, peer: str, wait: int, now: int) -> list[Event]:
        self._pacing.pause(RateClass.MESSAGE, now + wait)
        return list(self._pauses.refused(peer, self._stores.waiting(peer), wait, now))


def unknown(stores: Stores, peer: str) -> WarningEvent:
    """What is said of somebody whom the relay does not know: perhaps another device of this user's."""
    devices = stores.devices
    if not devices.is_own(peer):
        return notices.unknown_user(stores.book.contact(peer))
    record = devices.names().get(peer)
    return notices.unknown_device("" if record is None else record.name, is_first=peer == devices.person)
