"""What the vault holds about one's own devices being kept in step, besides what is in ``client.records``."""

from typing import Final

import msgspec

from phantom_messenger.client.groups.records import GroupTextRecord
from phantom_messenger.client.records import ReceivedRecord, Record, SentRecord

SYNCED: Final = "synced"
AGREED: Final = "link-agreed"
SPREAD: Final = "spread"
HISTORY_OUT: Final = "history-out"
HISTORY_IN: Final = "history-in"
EARLY: Final = "early"
GONE: Final = "gone"
LATE: Final = "late"
PAST: Final = "past"
PAST_PAGE: Final = "past-page"
PAST_ERASED: Final = "past-erased"


class SyncedRecord(Record, frozen=True, kw_only=True):
    """``SYNCED``/user id of a person, '' for the settings, 'group <id>', or 'muted <id>' for whether a group is muted.

    ``at``: when the user has changed what is known of it, in milliseconds since 1970, see protocol/devices.md.
    ``waits``: the other own devices are still to be told. ``names``: of a group, what they were told last that its
    members call themselves, by user id. ``muted``: whether it is, also while it is not there; None of all others.
    """

    user_id: str
    at: int
    waits: bool = False
    names: dict[str, str] = msgspec.field(default_factory=dict)
    muted: bool | None = None


class AgreedRecord(Record, frozen=True, kw_only=True):
    """``AGREED``/'': the user of this new device has agreed that it will belong to a person; ``link-done`` may follow.

    ``key``: of the person. ``secret``: of the code that they have seen. ``name``: what this device is called.
    """

    key: bytes
    secret: bytes
    name: str = ""


class SpreadRecord(Record, frozen=True, kw_only=True):
    """``SPREAD``/'': one's newest list was not sent to everybody yet; ``removed``: to these devices neither."""

    removed: list[str] = msgspec.field(default_factory=list)


class GoneRecord(Record, frozen=True, kw_only=True):
    """``GONE``/user id of a person: devices that they have removed, the newest last; what comes of one is dropped."""

    person: str
    devices: list[str]


class EarlyMessage(Record, frozen=True, kw_only=True):
    """A message that is not here yet. ``state``: how far it has come. ``until``: persistent time."""

    id: str
    state: int
    until: int


class EarlyRecord(Record, frozen=True, kw_only=True):
    """``EARLY``/'sent <person>', 'read <person>' or 'read <group> <person>': messages that are not here yet.

    The oldest news first. Of the first they are ones that another own device has sent to that person, of the others
    ones of that person, or texts of theirs to that group, that were read there.
    """

    messages: list[EarlyMessage]


class LateText(Record, frozen=True, kw_only=True):
    """A text that a first device has reported; ``revision``: of the list that it named then."""

    id: str
    revision: int


class LateRecord(Record, frozen=True, kw_only=True):
    """``LATE``/user id of a person: texts that they have reported first under a list that is not known here.

    ``given``: how many copies new devices of theirs were sent in the day that began at ``since``, in persistent time.
    """

    person: str
    texts: list[LateText] = msgspec.field(default_factory=list)
    given: int = 0
    since: int = 0


class HistoryOutRecord(Record, frozen=True, kw_only=True):
    """``HISTORY_OUT``/user id of an own device: it may ask for what was said before it was linked.

    ``first``: position in the vault before which that is. ``below``: before which the next chunk is. ``chunks``: how
    many it still waits for. ``texts`` and ``left``: how many it got, and how many follow. ``until``: persistent time.
    """

    device: str
    first: int
    below: int
    until: int
    chunks: int = 0
    texts: int = 0
    left: int = 0


class HistoryInRecord(Record, frozen=True, kw_only=True):
    """``HISTORY_IN``/'': this device is getting what was said before it was linked.

    ``place``: where the next chunk begins. ``chunks``: how many were asked for and have not come. ``texts``: how many
    came. ``until``: when it is given up, in persistent time.
    """

    place: bytes
    until: int
    chunks: int = 0
    texts: int = 0


class PastRecord(Record, frozen=True, kw_only=True):
    """``PAST_PAGE``/'<person> <number>': texts with somebody from before this device was linked, the newest first.

    Those of a page with a greater number are older. ``PAST``/person is the number of pages. ``PAST_ERASED``/person: the
    user has erased what was said with them while it was being handed over.
    """

    sent: list[SentRecord] = msgspec.field(default_factory=list)
    received: list[ReceivedRecord] = msgspec.field(default_factory=list)


class GroupTexts(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk of history holds of a group, the newest first; ``names``: what its writers call themselves."""

    texts: list[GroupTextRecord] = msgspec.field(default_factory=list)
    names: dict[str, str] = msgspec.field(default_factory=dict)


class Texts(msgspec.Struct, frozen=True, kw_only=True):
    """What a chunk of history holds, the newest first; ``groups`` by their ids."""

    sent: list[SentRecord] = msgspec.field(default_factory=list)
    received: list[ReceivedRecord] = msgspec.field(default_factory=list)
    groups: dict[str, GroupTexts] = msgspec.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sent) + len(self.received) + sum(len(group.texts) for group in self.groups.values())
