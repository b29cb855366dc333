"""What is known of a person's devices, and how a newer list takes its place.

Whoever brings a list is not asked: a relay, a peer or the person, it stands for itself. It only ever goes forward.
"""

from dataclasses import dataclass
from typing import Final

from phantom_messenger.client.devices.device_list import DAY_MS, NOTHING, DeviceList
from phantom_messenger.client.devices.errors import EarlyList, ForeignList, ForkedList, StaleList

MAX_AHEAD_MS: Final = DAY_MS
"""How far a list may be in the future: as for bundles of prekeys."""

RENEW_MS: Final = 7 * DAY_MS
"""After what time the first device signs the list again, with the same devices."""

RESTORE_STEP: Final = 1_024
"""How far ahead the revision jumps when the first device was restored from a backup: it may have signed lists since
that are not in it, and they must not win."""

ASLEEP_MS: Final = 30 * DAY_MS
"""For how long the first device is connected without hearing from another one until it removes that."""

HERE_MS: Final = 7 * DAY_MS
"""For how long a linked device is connected without writing to the first one until it says that it is there."""


@dataclass(frozen=True, slots=True)
class KnownList:
    """The newest list that was taken up of a person.

    ``usable``: raw ids of the devices that something is sent to and taken from, the person's own first: all of the
    list, unless it had run out when it came: then those of them that were usable before.
    """

    newest: DeviceList
    usable: tuple[bytes, ...]

    def is_warned_of(self, now: int) -> bool:
        """Whether the list has run out (``now`` in milliseconds since 1970): its person has not renewed it."""
        return now > self.newest.until


def take_up(known: KnownList | None, found: DeviceList, *, person: bytes, now: int) -> KnownList:
    """What is known after a list has come.

    Args:
        known: what was known before.
        found: the list.
        person: raw id of the person whose list it should be.
        now: milliseconds since 1970, by the wall clock: it is compared with somebody else's.

    Returns:
        ``known`` itself if the list is that one.

    Raises:
        ForeignList, EarlyList, StaleList, ForkedList: it is not taken up, and ``known`` stays.
    """
    if found.person != person:
        raise ForeignList("a device list is another person's")
    if found.at > now + MAX_AHEAD_MS:
        raise EarlyList("a device list is of the future")
    before: tuple[bytes, ...] = (person,)
    if known is not None:
        if found.encoded == known.newest.encoded:
            return known
        if found.revision < known.newest.revision:
            raise StaleList("a device list is older than the one that is known")
        is_next = found.revision == known.newest.revision + 1
        if found.revision == known.newest.revision or (is_next and found.previous != known.newest.hash):
            raise ForkedList("there are two device lists where there can be one")
        before = known.usable
    usable = found.ids if now <= found.until else tuple(one for one in found.ids if one in before)
    return KnownList(found, usable)


def following(known: DeviceList | None, *, is_restored: bool) -> tuple[int, bytes]:
    """Revision and ``previous`` of the list that the first device makes next.

    Args:
        known: its newest one, None if it has none.
        is_restored: its profile came from a backup, and it has signed none since.
    """
    if known is None:
        return (1 + RESTORE_STEP if is_restored else 1), NOTHING
    return known.revision + (RESTORE_STEP if is_restored else 1), known.hash
