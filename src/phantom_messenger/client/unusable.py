"""What somebody has sent, and nothing can follow from: a device list, a change of a group, an invitation to one.

It is told of people whom the user knows, and of fellow members. Of strangers nothing is: they could say it without end,
under ever new ids, and what they send is none of the user's business before they are let in. It is kept in memory, for
what was told yesterday may be told again.
"""

from typing import Final

from phantom_messenger.client import notices
from phantom_messenger.client.devices.device_list import DAY_MS
from phantom_messenger.client.devices.errors import EarlyList, NewerList
from phantom_messenger.client.groups import naming, words
from phantom_messenger.client.groups.store import Group
from phantom_messenger.client.moment import Moment
from phantom_messenger.client.status import Event
from phantom_messenger.client.stores import Stores
from phantom_messenger.crypto.errors import CryptoError

LIST: Final = "a list of devices"
CHANGE: Final = "a change"
INVITATION: Final = "an invitation to a group"

NOT_THEIRS: Final = "it is somebody else's"

MOST: Final = 30
"""How much is told in a day: members could be made up, too."""


class Unusable:
    """Tells of it: of each person and kind once a day.

    Args:
        stores: of the profile.
    """

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._told: dict[tuple[str, str], int] = {}
        """Of whom what was told, and when, in monotonic milliseconds."""

    def tell(self, sender: str, what: str, why: str, now: Moment, group: Group | None = None) -> list[Event]:
        """Say that something cannot be used, and that nothing was changed by it.

        Args:
            sender: who has sent it, '' for the relay.
            what: ``LIST``, ``CHANGE`` or ``INVITATION``.
            why: no word of this is the sender's; '': nothing is to be told.
            now: this moment.
            group: of which it is a change.
        """
        devices, book = self._stores.devices, self._stores.book
        person = devices.person_of(sender) if sender else ""
        is_own = person == devices.person
        is_stranger = bool(sender) and not is_own and not book.may_notify(sender)
        if not why or is_stranger or not self._is_news(person, what, now.monotonic):
            return []
        peer = book.contact(person) if group is None else naming.member_of(group, person, book)
        who = "a device of yours" if is_own else peer.label if sender else "the relay"
        what = what if group is None else f"{what} of {words.title(group.state.name)}"
        return [notices.unusable(peer if sender and not is_own else None, who, what, why)]

    def _is_news(self, person: str, what: str, now: int) -> bool:
        self._told = {one: at for one, at in self._told.items() if now - at < DAY_MS}
        is_news = (person, what) not in self._told and len(self._told) < MOST
        if is_news:
            self._told[person, what] = now
        return is_news


def of_list(error: CryptoError) -> str:
    """Why a device list cannot be used."""
    if isinstance(error, NewerList):
        return words.NEWER
    return "it is dated in the future" if isinstance(error, EarlyList) else words.FORGED
