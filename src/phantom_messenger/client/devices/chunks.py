"""Chunks of what was said before a device was linked: made from a vault, and read; see protocol/devices.md, History."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.devices.kinds import MAX_CHUNK_BYTES
from phantom_messenger.client.devices.records import Texts
from phantom_messenger.client.groups import handed_over
from phantom_messenger.client.groups.records import GroupTextRecord
from phantom_messenger.client.groups.store import Group, GroupStore
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto.errors import InvalidMessage

MAX_INFLATED_BYTES: Final = 1_048_576

_FIRST_GUESS: Final = 131_072
_MAX_GUESS: Final = 917_504
"""So that one text more is still below ``MAX_INFLATED_BYTES``."""

_LEVEL: Final = 6
_KINDS: Final = {records.SENT: SentRecord, records.RECEIVED: ReceivedRecord}
_STATES: Final = frozenset(map(int, DeliveryState))
_PLACE: Final = struct.Struct(">Q")


class _Found(NamedTuple):
    """A text, where it stands, and the group that it was said in, if it was one."""

    position: int
    text: SentRecord | ReceivedRecord | GroupTextRecord
    group: Group | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """``data``: as it is sent. ``texts``: how many. ``below``: position before which the next one is; None: no more."""

    data: bytes
    texts: int
    below: int | None


class ChunkMaker:
    """Makes chunks that are as large as may be; it remembers how well texts of this profile are compressed.

    Args:
        vault: holds them.
        groups: of the profile.
    """

    def __init__(self, vault: Vault, groups: GroupStore) -> None:
        self._vault = vault
        self._groups = groups
        self._guess = _FIRST_GUESS

    def chunk(self, below: int) -> Chunk:
        """The newest texts that stand before a position, as many as fit."""
        found, is_all = self._gathered(below)
        data, count = _packed(found), len(found)
        while len(data) > MAX_CHUNK_BYTES and count > 1:
            is_all = False
            count = max(1, min(count - 1, count * MAX_CHUNK_BYTES * 99 // 100 // len(data)))
            data = _packed(found[:count])
        if not is_all:
            # A little more than would fit of texts like these: what is too much is cut off.
            fits = self._guess * count // len(found) * MAX_CHUNK_BYTES // len(data)
            self._guess = min(_MAX_GUESS, max(_FIRST_GUESS // 2, fits * 103 // 100))
        last = found[count - 1].position if found else below
        if len(data) > MAX_CHUNK_BYTES:  # one text that cannot be made smaller; it stays where it is
            data, count = _packed([]), 0
        return Chunk(data, count, None if is_all else last)

    def _gathered(self, below: int) -> tuple[list[_Found], bool]:
        """Texts before a position, and whether these are all."""
        found: list[_Found] = []
        names: set[tuple[str, str]] = set()
        size = 0
        for one in self._before(below):
            size += len(msgspec.msgpack.encode(one.text))
            if one.group is not None and isinstance(one.text, GroupTextRecord):
                size += handed_over.size_of_names(one.group, one.text.sender, names)
            if found and size > self._guess:
                return found, False
            found.append(one)
        return found, True

    def _before(self, below: int) -> Iterator[_Found]:
        groups = handed_over.kinds(self._groups)
        kinds: dict[str, type[Any]] = {**_KINDS, **dict.fromkeys(groups, GroupTextRecord)}
        for position, kind, record in self._vault.before(kinds, below=below):
            if (told := _told(record)) is not None:
                yield _Found(position, told, groups.get(kind))


def _told(
    record: SentRecord | ReceivedRecord | GroupTextRecord,
) -> SentRecord | ReceivedRecord | GroupTextRecord | None:
    """A text as another own device gets it; None if it does not."""
    if isinstance(record, GroupTextRecord):
        return handed_over.told(record)
    if record.text is None or record.burn or record.expires_at is not None:
        return None
    if isinstance(record, SentRecord):
        return None if record.expires_in is not None else replace(record, key=b"", resends=0)
    return record


def _packed(found: list[_Found]) -> bytes:
    sent = [one.text for one in found if isinstance(one.text, SentRecord)]
    received = [one.text for one in found if isinstance(one.text, ReceivedRecord)]
    said = [(one.group, one.text) for one in found if one.group is not None and isinstance(one.text, GroupTextRecord)]
    return pack(Texts(sent=sent, received=received, groups=handed_over.packed(said)))


def pack(texts: Texts) -> bytes:
    """The bytes of a chunk."""
    return zlib.compress(msgspec.msgpack.encode(texts), _LEVEL)


def unpack(data: bytes) -> Texts:
    """The texts of a chunk.

    Raises:
        InvalidMessage: it is none, or inflates to more than it may, or has a text that is not to be in it.
    """
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(data, MAX_INFLATED_BYTES + 1)
        found = msgspec.msgpack.decode(plain, type=Texts)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidMessage("a chunk of history cannot be read") from None
    if len(plain) > MAX_INFLATED_BYTES or not inflating.eof or inflating.unused_data:
        raise InvalidMessage("a chunk of history is not as long as it may be")
    said = [text for group in found.groups.values() for text in group.texts]
    if not all(_is_lasting(text) for texts in (found.sent, found.received, said) for text in texts):
        raise InvalidMessage("a chunk of history has something else in it than texts that stay")
    return found


def _is_lasting(text: SentRecord | ReceivedRecord | GroupTextRecord) -> bool:
    if isinstance(text, GroupTextRecord):
        return handed_over.told(text) is not None and text.state in _STATES
    if text.text is None or text.burn or text.expires_at is not None:
        return False
    if isinstance(text, SentRecord):
        return text.expires_in is None and text.state in _STATES
    return text.newer is UNSET


def place_of(below: int) -> bytes:
    """A place, for another device: before this position."""
    return _PLACE.pack(below)


def position_at(place: bytes) -> int | None:
    """The position of a place that was made here; None if it cannot have been."""
    return _PLACE.unpack(place)[0] if len(place) == _PLACE.size and place[0] < 128 else None  # noqa: PLR2004 - SQLite's integers
