"""What an application is shown: frozen values that hold no secret."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from phantom_messenger.client.ids import short_id


class DeliveryState(IntEnum):
    """How far a text has come; a later state implies the earlier ones, but for the last two."""

    QUEUED = 0
    """In the outbox on this machine, on disk."""
    ACCEPTED = 1
    """On the relay's disk."""
    DELIVERED = 2
    """On the recipient's machine."""
    READ = 3
    BURNED = 4
    """Read, and gone on the recipient's side."""
    EXPIRED = 5
    """Its time came before the recipient did."""
    FAILED = 6
    """The relay will never take it."""

    def __str__(self) -> str:
        """The name as users and JSON see it."""
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Trust(StrEnum):
    """What the user knows of a contact's key."""

    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    CHANGED = "changed"
    """Another key than before: nothing is sent until it was verified or accepted."""


class ConnectionState(StrEnum):
    """The way to the relay."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"
    REFUSED = "refused"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Somebody to talk to.

    ``name`` is '' for a stranger who wrote; ``key`` None until it was seen, and the new one if it has changed.
    ``classical``: a quantum computer could read the texts of the session in use.
    ``blocked``: what they send is dropped unread.
    """

    name: str
    user_id: str
    trust: Trust
    key: bytes | None
    classical: bool = False
    blocked: bool = False

    @property
    def label(self) -> str:
        """The name, or the beginning of the id."""
        return self.name or short_id(self.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent:
    """A text has come and is on disk; ``Client.messages`` hands it out."""

    message_id: str
    peer: Contact


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEvent:
    """A text of one's own has come further."""

    message_id: str
    peer: Contact
    state: DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceEvent:
    """What a contact is doing: ``status`` is online, typing, idle or offline; ``last_seen`` in ms."""

    peer: Contact
    status: str
    last_seen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent:
    """The way to the relay has changed; ``reason`` is a sentence for people or ''.

    ``busy``: the relay is there and lets nobody in just now, for a limit or too much to do. ``retry_after``: seconds
    after which the client tries again, if it was told to wait, or waits longer than usual.
    """

    state: ConnectionState
    reason: str
    busy: bool = False
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEvent:
    """Something the user should know: ``code`` is stable, ``message`` is to be shown."""

    peer: Contact | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestEvent:
    """A stranger has written: ``waiting`` messages of theirs wait for ``Client.look`` or ``Client.accept``."""

    peer: Contact
    waiting: int


Event = RequestEvent | MessageEvent | DeliveryEvent | PresenceEvent | ConnectionEvent | WarningEvent
