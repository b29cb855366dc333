"""The kinds of content that devices of one person, or that are to become one's, say to each other."""

from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger.client.devices.device_list import LAST_TIME_MS, MAX_DEVICES

MAX_LIST_BYTES: Final = 2_048
"""A device list, as the relay keeps it."""

ID_BYTES: Final = 32
MAX_READ: Final = 200
MAX_MUTED: Final = 100
MAX_CONTACTS: Final = 100
"""Contacts in one content: some 15 KB."""

MAX_NAME_CHARS: Final = 64
MAX_MEMBERS: Final = 100
"""Members of a group of whom is said what they call themselves: some 30 KB at most."""

MAX_GROUP_BYTES: Final = 4_096
"""A state of a group, or its picture."""

MAX_CHUNK_BYTES: Final = 43_000
MAX_CHUNKS: Final = 16
"""Chunks of history that are asked for at once."""

MAX_PLACE_BYTES: Final = 64

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
ListBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_LIST_BYTES)]
MessageId = Annotated[str, msgspec.Meta(min_length=36, max_length=36)]
Place = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_PLACE_BYTES)]
MAX_SAFE: Final = 2**53 - 1
"""The highest integer of which all programs know what it is (RFC 7493, section 2.2)."""

Time = Annotated[int, msgspec.Meta(ge=0, le=LAST_TIME_MS)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARS)]


class LinkOffer(msgspec.Struct, frozen=True, kw_only=True):
    """``link-offer``: the first device has seen the code, and commits itself to its nonce."""

    commitment: Bytes32
    mac: Bytes32


class LinkAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """``link-answer``: the new device's nonce, and what it is called."""

    nonce: Bytes32
    mac: Bytes32
    name: Name


class LinkReveal(msgspec.Struct, frozen=True, kw_only=True):
    """``link-reveal``: the first device's nonce."""

    nonce: Bytes32


class LinkConsent(msgspec.Struct, frozen=True, kw_only=True):
    """``link-consent``: the user of the new device has agreed."""

    consent: Bytes64


class LinkDone(msgspec.Struct, frozen=True, kw_only=True):
    """``link-done``: the list with the new device, how many people follow, and where history begins, if it may ask."""

    list: ListBytes
    people: Annotated[int, msgspec.Meta(ge=0, le=MAX_SAFE)] = 0
    history: Place | UnsetType = UNSET


class LinkEnd(msgspec.Struct, frozen=True, kw_only=True):
    """``link-end``: it will not be linked."""


class ReadMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was read: ``sender`` is a person (raw id)."""

    sender: Bytes32 = msgspec.field(name="from")
    id: MessageId


class ReadText(msgspec.Struct, frozen=True, kw_only=True):
    """A text to a group that was read: ``sender`` is a person (raw id)."""

    group: Bytes32
    sender: Bytes32 = msgspec.field(name="from")
    id: MessageId


class SyncRead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """``sync-read``: messages, and texts to groups, that another own device has read."""

    messages: Annotated[list[ReadMessage], msgspec.Meta(max_length=MAX_READ)]
    in_groups: Annotated[list[ReadText], msgspec.Meta(max_length=MAX_READ)] = []


class SyncHere(msgspec.Struct, frozen=True, kw_only=True):
    """``sync-here``: the sender is there."""


class KnownPerson(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody whom one knows: ``name`` is '' for a person without one; ``verified``: safety numbers were compared.

    ``at``: when the user has changed any of it, 0 if never. ``removed``: they are no contact any more. What else is
    said of them is ignored.
    """

    id: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    at: Time = 0
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    verified: bool = False
    blocked: bool = False
    removed: bool = False


class SyncContacts(msgspec.Struct, frozen=True, kw_only=True):
    """``sync-contacts``: people as another own device knows them now."""

    contacts: Annotated[list[KnownPerson], msgspec.Meta(max_length=MAX_CONTACTS)]


class SyncSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """``sync-settings``: what others are told, as the user has set it at a time; what is not there stays as it is."""

    at: Time
    read_receipts: bool | UnsetType = UNSET
    typing: bool | UnsetType = UNSET
    presence: bool | UnsetType = UNSET


class NamedDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One of one's devices, and what it is called."""

    id: Bytes32
    name: Name


class SyncDevices(msgspec.Struct, frozen=True, kw_only=True):
    """``sync-devices``: what the first device calls the others."""

    names: Annotated[list[NamedDevice], msgspec.Meta(max_length=MAX_DEVICES)]


class NamedMember(msgspec.Struct, frozen=True, kw_only=True):
    """Another member of a group, and what they call themselves in it."""

    id: Bytes32
    name: Name


class SyncGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``sync-group``: what a group is, and is to one's person; ``digest``: of the change that led to its state.

    ``names``: what others call themselves in it, in the order of their ids.
    """

    group: Bytes32
    relation: Annotated[str, msgspec.Meta(pattern=r"^(member|left|removed|closed)\Z")]
    state: Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_GROUP_BYTES)]
    digest: Bytes32
    picture: Annotated[bytes, msgspec.Meta(max_length=MAX_GROUP_BYTES)] = b""
    name: Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)] = ""
    names: Annotated[list[NamedMember], msgspec.Meta(max_length=MAX_MEMBERS)] = []

    def __post_init__(self) -> None:
        ids = [one.id for one in self.names]
        if any(one >= after for one, after in pairwise(ids)):
            raise ValueError("members are not in the order of their ids, or there twice")


class MutedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Whether texts to a group are announced; ``at``: when the user has said so, 0 if never."""

    group: Bytes32
    at: Time
    muted: bool


class SyncMuted(msgspec.Struct, frozen=True, kw_only=True):
    """``sync-muted``: groups that the user has muted, or not any more, as another own device knows it."""

    groups: Annotated[list[MutedGroup], msgspec.Meta(max_length=MAX_MUTED)]


class HistoryAsk(msgspec.Struct, frozen=True, kw_only=True):
    """``history-ask``: send so many chunks from a place on; 0: nothing more is wanted."""

    place: Place = msgspec.field(name="from")
    chunks: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHUNKS)]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """``history``: a chunk, see ``chunks``; ``next`` is not there in the last one."""

    place: Place = msgspec.field(name="from")
    texts: Annotated[bytes, msgspec.Meta(max_length=MAX_CHUNK_BYTES)]
    next: Place | UnsetType = UNSET
    left: Annotated[int, msgspec.Meta(ge=0, le=MAX_SAFE)] = 0


Sync = SyncRead | SyncHere | SyncContacts | SyncSettings | SyncDevices | SyncGroup | SyncMuted | HistoryAsk | History
Link = LinkOffer | LinkAnswer | LinkReveal | LinkConsent | LinkDone | LinkEnd
Kind = Link | Sync

KINDS: Final[dict[str, type[Kind]]] = {
    "link-offer": LinkOffer,
    "link-answer": LinkAnswer,
    "link-reveal": LinkReveal,
    "link-consent": LinkConsent,
    "link-done": LinkDone,
    "link-end": LinkEnd,
    "sync-read": SyncRead,
    "sync-here": SyncHere,
    "sync-contacts": SyncContacts,
    "sync-settings": SyncSettings,
    "sync-devices": SyncDevices,
    "sync-group": SyncGroup,
    "sync-muted": SyncMuted,
    "history-ask": HistoryAsk,
    "history": History,
}

NAMES: Final[dict[type[Kind], str]] = {kind: name for name, kind in KINDS.items()}
