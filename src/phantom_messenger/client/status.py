"""What an application sees: frozen values that hold no secret."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from phantom_messenger.client.ids import short_id
from phantom_messenger.client.sanitize import cut

SAID_COLUMNS: Final = 24
"""What is shown of a name that somebody says of themselves."""


class DeliveryState(IntEnum):
    """How far a message has come. States compare as numbers and print as words.

    A later state implies the earlier ones, except for the last two.
    """

    QUEUED = 0
    """In the outbox on this machine, on disk."""
    ACCEPTED = 1
    """On the relay's disk."""
    DELIVERED = 2
    """On the recipient's machine."""
    READ = 3
    """Shown to the recipient."""
    BURNED = 4
    """Read, and erased on the recipient's side."""
    EXPIRED = 5
    """Deleted before the recipient got it, because its time was over."""
    FAILED = 6
    """Rejected by the relay for good."""

    def __str__(self) -> str:
        """The name as users and JSON see it."""
        return self.name.lower()

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Trust(StrEnum):
    """What the user knows about a contact's key."""

    UNVERIFIED = "unverified"
    """It fits the user ID, or was the first one seen; nobody has compared it."""
    VERIFIED = "verified"
    """The user has compared safety numbers."""
    CHANGED = "changed"
    """It is not the key from before: nothing is sent until the user has verified or accepted it."""


def reached(state: DeliveryState, *, burns: bool) -> DeliveryState:
    """How far a message is of which its recipient says this: only what was to burn can have burned, and is erased."""
    return DeliveryState.READ if state is DeliveryState.BURNED and not burns else state


class ConnectionState(StrEnum):
    """The state of the connection to the relay."""

    CONNECTING = "connecting"
    """An attempt is under way."""
    ONLINE = "online"
    """Logged in."""
    OFFLINE = "offline"
    """Not connected; the client retries."""
    REFUSED = "refused"
    """The relay does not admit this identity; the client does not retry."""
    REPLACED = "replaced"
    """The same identity has logged in elsewhere; the client does not retry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A user to talk to.

    ``name``: '' for a user without a name, such as a stranger who wrote. ``key``: the public identity key, None until
    it has been seen; if it has changed, the new one. ``classical``: messages of the session in use have no
    post-quantum protection. ``blocked``: what they send is dropped unread. ``says``: what a member of a group calls
    themselves, if they have no name here; anybody can say any name.
    """

    name: str
    user_id: str
    trust: Trust
    key: bytes | None
    classical: bool = False
    blocked: bool = False
    says: str = ""

    @property
    def label(self) -> str:
        """The name, or the start of the user ID; with what they call themselves before it: '~Bob (ph1abc…)'.

        Of that at most 24 columns are shown, so that the ID is seen.
        """
        start = short_id(self.user_id)
        return self.name or (f"~{cut(self.says, SAID_COLUMNS)} ({start})" if self.says else start)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageEvent:
    """A message has arrived and is on disk; ``Client.messages`` hands it out."""

    message_id: str
    peer: Contact


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenEvent:
    """What this user has written on another of their devices has come, and is on disk: ``Client.history`` has it.

    ``peer``: to whom; a group in the place of a contact, as in ``DeliveryEvent``. ``group``: its id, '' for a person.
    """

    message_id: str
    peer: Contact
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEvent:
    """One of your messages has reached another state."""

    message_id: str
    peer: Contact
    state: DeliveryState


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceEvent:
    """A contact's presence: ``status`` is online, typing, idle or offline; on whichever of their devices they are.

    ``last_seen``: milliseconds since 1970; None if unknown.
    """

    peer: Contact
    status: str
    last_seen: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionEvent:
    """The state of the connection has changed.

    ``reason``: a sentence for the user, or ''. ``busy``: the relay is there but admits nobody at the moment, because of
    a limit or overload. ``retry_after``: seconds until the client retries, if that is later than usual.
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
    """A stranger has written: ``waiting`` messages wait for ``Client.peek`` or ``Client.accept``."""

    peer: Contact
    waiting: int


class GroupNews(StrEnum):
    """What has happened to a group."""

    INVITED = "invited"
    """Somebody has added this user, who has not accepted yet."""
    JOINED = "joined"
    """A member has accepted, or this user is in by a link."""
    CHANGED = "changed"
    """Members, roles, name, timer or rights are others than before."""
    LEFT = "left"
    """A member has said that they leave."""
    REMOVED = "removed"
    """This user is no member any more."""
    CLOSED = "closed"
    """The group has ended."""
    FORKED = "forked"
    """Somebody has another history of the group than this device; if ``GroupInfo.doubt`` is set, it is sent nothing."""
    NEWER = "newer"
    """A newer version has changed the group in a way that this one does not know: nothing is sent to it."""
    REFUSED = "refused"
    """What this user wanted to change was not possible."""
    WAITING = "waiting"
    """What this user wants to change, or the removal of who has left, waits for a change that the relay alone has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEvent:
    """Something has happened to a group.

    ``group``: its id. ``name``: its name. ``by``: who has done it, if that is known. ``message``: a sentence to be
    shown.
    """

    group: str
    name: str
    news: GroupNews
    by: Contact | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMessageEvent:
    """A message to a group has arrived and is on disk; ``Client.groups.messages`` hands it out."""

    message_id: str
    group: str
    name: str
    peer: Contact


class LinkingStep(StrEnum):
    """How far the linking of a device has come."""

    ANSWERED = "answered"
    """On the first device: the digits that the new one shows can be typed."""
    DIGITS = "digits"
    """On the new device: the digits are to be shown, and its user asked whether it is to belong to that person."""
    LINKED = "linked"
    ENDED = "ended"
    """It will not be linked; a new code is needed."""
    HISTORY = "history"
    """More of what was said before has come, or gone over."""
    COMPLETE = "complete"
    """All of it has, as far as it goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkingEvent:
    """The linking of a device has gone on.

    ``digits``: six, to be shown. ``person``: whose the device will be or is (user id). ``name``: of the new device.
    ``reason``: a sentence. ``texts``, ``left``: of what was said before, how many messages there are on the new device,
    and how many follow, which is not exact; ``person`` is the other device then (user id).
    """

    step: LinkingStep
    digits: str = ""
    person: str = ""
    name: str = ""
    reason: str = ""
    texts: int = 0
    left: int = 0


Event = (
    RequestEvent
    | MessageEvent
    | WrittenEvent
    | DeliveryEvent
    | PresenceEvent
    | ConnectionEvent
    | WarningEvent
    | GroupEvent
    | GroupMessageEvent
    | LinkingEvent
)
