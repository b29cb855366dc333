"""What the relay asks of its store: a closed set of commands, each with its result.

A command is a frozen value that names everything it depends on: who acts, what is stored, what time it is. The store
runs a batch of commands in order as one durable transaction and returns one result for each. A command sees the
effects of those before it. One that could not be run has a ``CommandFailed`` instead of its result, and nothing of it
is stored. Items of one mailbox are numbered in the order in which their commands were submitted.

The parameter of ``Command[R]`` is the type of its result. A ``UserCommand`` is run for a user, and its result is
``ACCOUNT_GONE`` instead if that user's account is not the session's any more: frames of a session may be on their way
while its account is deleted or claimed by somebody else. It is ``SESSION_OVER`` if the user has logged in since, with a
newer connection, at another relay on the store: a relay that was paused meanwhile does not know it yet.

Permissions are asked inside the store, in the transaction that acts on them: see ``relay.permissions``.

All times are milliseconds. ``now`` is persistent time (see ``clock``), by which mail ages; ``wall_ms`` is the wall
clock, which peers are shown.

What a command is at all stands in ``relay.command``, those about one message to many in ``relay.many_commands``, and
those that no user asks for in ``relay.upkeep_commands``; all of it can be imported from here.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from phantom_messenger.relay.command import (  # noqa: F401 - and passed on
    ACCOUNT_GONE,
    SESSION_OVER,
    Accepted,
    AccountGone,
    Actor,
    AppendRefusal,
    Command,
    CommandFailed,
    SessionOver,
    UserCommand,
)
from phantom_messenger.relay.many_commands import (  # noqa: F401 - and passed on
    AcceptMany,
    Copy,
    FetchPreKeys,
    ForgetOrders,
    Order,
    OrderRefusal,
)
from phantom_messenger.relay.records import Bundle, Item, NewItem, Page, PreKeyCounts, Publication
from phantom_messenger.relay.upkeep_commands import (  # noqa: F401 - and passed on
    Barrier,
    CheckedSessions,
    CheckSessions,
    DeleteIdleAccount,
    EndSession,
    FindIdleAccounts,
    ForgetHandouts,
    GoneUser,
    IdleAccounts,
    KeepRelay,
    LoadClock,
    OwnSession,
    RecordActivity,
    SaveClock,
    SaveLimits,
    SeeContacts,
    SeenPresence,
    SeenUser,
    SeePresence,
    ShareClock,
    TakeLimits,
)
from phantom_messenger.wire.frames import PresenceStatus, Status

KEEP_REMOVED_MS: Final = 600_000
"""How long the id of a deleted message is remembered: twice the clock tolerance of a message sent again."""

CONVERSATIONS_KEPT: Final = 16
"""Conversations remembered for an ordered pair of users, the newest ones, for typing notices."""

MESSAGE_OVERHEAD: Final = 512
"""About what a message takes beside its text: ids, indexes, that its sender wrote to its recipient."""

EXCHANGE_BYTES: Final = 4_096
"""About what a key exchange frame takes in the store."""


class MessageName(Struct, frozen=True):
    """Identifies a message in its recipient's mailbox."""

    sender: str
    message_id: str


class DeliveryOutcome(NamedTuple):
    """What has become of a message, while its sender must not learn it yet."""

    status: Status
    at: int
    """When it happened."""
    expires_at: int | None
    """When it would have expired if it were still waiting; None if it was not waiting."""


class StoredReceipt(Struct, frozen=True):
    """A receipt that now waits in the mailbox of a message's sender."""

    sender: str
    item: Item


# --- login and account -------------------------------------------------------------------------------------


class LoginConflict(Enum):
    """Why an id is not open to a login."""

    NEW = "it has no account with this key yet"
    TAKEN = "it belongs to another key"
    SIGNED = "its owner proves the key"
    OLDER = "a newer connection of its owner has logged in, at another relay of the same store"
    UNFINISHED = "the account that it takes the place of is deleted in parts: run the command again"


class LoggedIn(NamedTuple):
    """What is known of a user who has logged in."""

    page: Page
    """The beginning of the mailbox. What is stored by later commands is behind it."""
    contacts: list[str]
    prekeys: PreKeyCounts
    elsewhere: Sequence[tuple[str, PresenceStatus]] = ()
    """Contacts who are connected to other relays of the same store, as they show themselves."""
    seen_as: PresenceStatus = PresenceStatus.OFFLINE
    """What contacts believe of the user, from a session at another relay."""


class LogIn(Command[LoggedIn | LoginConflict], frozen=True, kw_only=True):
    """Open an account, or make it.

    A certified login takes an id from an uncertified account, which is deleted. So does a signed one from an
    unsigned one with the same key. An unsigned login gets no account whose owner has ever proved a key.
    """

    user_id: str
    public_key: str
    certified_id: str
    """The id that is the hash of the key: nobody else can claim it."""
    is_signed: bool
    may_create: bool
    """If not, a login that would make an account, or take one over by certificate, is ``LoginConflict.NEW``."""
    now: int
    page_bytes: int
    connected_at: int = 0
    """When the connection was made, persistent time: of sessions at several relays the newest connection's counts."""
    presence: PresenceStatus = PresenceStatus.ONLINE
    """What the user shows."""

    @property
    def size(self) -> int:
        """See ``Command``."""
        return 1


class DeletedAccount(NamedTuple):
    """How far the deletion of an account has come."""

    contacts: list[str]
    """Those who have seen the user; who is told of in one part need not be in the next."""
    is_complete: bool
    """If not, run the command again: a large mailbox, and many contacts, are deleted in parts."""


class DeleteAccount(UserCommand[DeletedAccount], frozen=True, kw_only=True):
    """Delete the account and everything that belongs to it, a bounded part at a time."""


class RecordDeparture(Command[None], frozen=True, kw_only=True):
    """Remember when contacts last saw a user."""

    user_id: str
    last_seen: int
    """Wall clock, rounded by the caller."""
    now: int
    is_connected: bool = False
    """They are still there, and look absent."""


class Blocked(NamedTuple):
    """How far a block has come."""

    was_contact: bool
    is_complete: bool
    """If not, run the command again: what waits from the blocked user is deleted in parts."""


class Block(UserCommand[Blocked | None], frozen=True, kw_only=True):
    """Keep another user away; idempotent. None if the user has blocked too many.

    That the user wrote to the other one is forgotten, and is not noted while the block lasts. What waits from the
    other one in the user's mailbox is deleted.
    """

    other: str
    """Need not have an account yet."""


class Unblock(UserCommand[None], frozen=True, kw_only=True):
    """End a block; idempotent. That the user once wrote to the other one stays forgotten."""

    other: str


# --- messages ----------------------------------------------------------------------------------------------


class AcceptMessage(UserCommand[Accepted | AppendRefusal], frozen=True, kw_only=True):
    """Put a message into its recipient's mailbox, and remember that its sender wrote to its recipient.

    A message whose (sender, name) waits with the same ``content``, or left the mailbox less than 10 minutes ago, is a
    duplicate; with other content it replaces the one that waits, which its recipient could not read. Senders to whom
    the recipient has once written may fill all of the backlog. Strangers share a part of it; when that is taken, a
    stranger whose address (``item.mark``) holds less than the fullest one has the oldest item of that one deleted.
    """

    recipient: str
    item: NewItem
    conversation_id: str
    is_loose: bool
    """The message has a form that only accounts of reference clients can read."""
    now: int
    size: int
    """Bytes of the item: see ``Command``."""


class Acknowledge(UserCommand[list[StoredReceipt]], frozen=True, kw_only=True):
    """The recipient has received, read or burned messages: delete them, and leave receipts for their senders.

    A sender gets one only as a contact, and only if it is news: "delivered" of what does not wait is not.
    """

    messages: Sequence[MessageName]
    status: Status
    may_notify: bool
    """Whether receipts may be stored; messages are deleted in any case."""
    wall_ms: int
    now: int


class AcknowledgeHidden(UserCommand[list[tuple[MessageName, DeliveryOutcome]]], frozen=True, kw_only=True):
    """As ``Acknowledge`` for a user who looks absent: returns what the senders would have been sent."""

    messages: Sequence[MessageName]
    status: Status
    now: int
    mail_life_ms: int
    """How long mail waits."""


class Confirm(UserCommand[None], frozen=True, kw_only=True):
    """The recipient has received items that are not messages: delete them. A message is left alone."""

    seqs: Sequence[int]


class ReadMailbox(UserCommand[Page], frozen=True, kw_only=True):
    """Read unexpired items behind a seq, at least one if there is any, about ``max_bytes``."""

    after: int
    max_bytes: int
    now: int


class StoreReceipts(Command[list[StoredReceipt]], frozen=True, kw_only=True):
    """Leave receipts for senders who were kept waiting for them; only contacts get one, as in ``Acknowledge``."""

    recipient: str
    """Of the messages."""
    outcomes: Sequence[tuple[MessageName, Status]]
    wall_ms: int
    now: int


class Expired(NamedTuple):
    """What a step of expiry has done."""

    deleted: int
    """How many items; 0 if there is nothing more to be done."""
    receipts: list[StoredReceipt]


class Expire(Command[Expired], frozen=True, kw_only=True):
    """Delete some of the items that have expired, at most ``limit`` and about 1 MiB; senders get receipts.

    A message expires at its ``expires_at``, and every item when it was stored at or before ``stored_before``.
    """

    stored_before: int
    limit: int
    wall_ms: int
    now: int


# --- keys --------------------------------------------------------------------------------------------------


class Exchanged(NamedTuple):
    """A key exchange frame was taken in."""

    item: Item | None
    """What is to be pushed to the target; None if nothing was kept."""
    bundle: Bundle | None
    """The target's prekeys, if they were asked for and there are any."""
    became_contacts: bool


class ExchangeKeys(UserCommand[Exchanged | AppendRefusal], frozen=True, kw_only=True):
    """Put a key exchange frame into the target's mailbox, where it replaces an older one of its kind and sender.

    A mailbox without room refuses the frame, but not a bundle: the first message says all that the frame does.
    """

    target: str
    item: NewItem
    wants_bundle: bool
    """Hand out prekeys of the target. Beyond the hourly limits there is no one-time key in the bundle."""
    is_loose: bool
    now: int

    @property
    def size(self) -> int:
        """See ``Command``; a loose frame can be as large as a message."""
        return max(EXCHANGE_BYTES, len(self.item.head) + len(self.item.tail) + MESSAGE_OVERHEAD)


class PublishRefusal(Enum):
    """Why nothing was published; nothing has changed."""

    FULL = "there would be too many one-time prekeys"
    OUTDATED = "prekeys of a later date are stored, which it does not replace"


class PublishPreKeys(UserCommand[PreKeyCounts | PublishRefusal], frozen=True, kw_only=True):
    """Replace the signed prekeys, add the one-time ones.

    A one-time prekey whose id is not above all that were published before is left out: it may have been handed out.
    Other signed prekeys without a date end that of those before them.
    """

    publication: Publication

    @property
    def size(self) -> int:
        """See ``Command``."""
        return self.publication.size


class CountPreKeys(UserCommand[PreKeyCounts], frozen=True, kw_only=True):
    """How many prekeys are left."""

    @property
    def size(self) -> int:
        """See ``Command``."""
        return 1


# --- presence ----------------------------------------------------------------------------------------------


class FindWatchers(UserCommand[list[str]], frozen=True, kw_only=True):
    """Who may see the user's presence; those who are not connected to any relay may be left out."""

    status: PresenceStatus | None = None
    """What the user shows from now on; None if that does not change."""

    @property
    def size(self) -> int:
        """See ``Command``."""
        return 1


class FindTypingWatchers(UserCommand[list[str]], frozen=True, kw_only=True):
    """Who may see the user type."""

    conversation_id: str | None
    """Contacts who have used it with the user; None if the client names none.

    An unsigned actor is seen by all contacts whose clients are reference clients too.
    """

    @property
    def size(self) -> int:
        """See ``Command``."""
        return 1


class Departure(NamedTuple):
    """Who is to learn that a user has left, and when the user was last seen, None if unknown."""

    contacts: list[str]
    last_seen: int | None


class FindDeparture(Command[Departure], frozen=True, kw_only=True):
    """Who may see that a user has left."""

    user_id: str


class KnownPresence(NamedTuple):
    """What a user may learn of another one's presence; nothing unless they are contacts."""

    is_contact: bool
    last_seen: int | None
    elsewhere: PresenceStatus | None = None
    """What that one shows at another relay of the same store; None if they are not connected there."""


class AskPresence(UserCommand[KnownPresence], frozen=True, kw_only=True):
    """Whether the user may see another one's presence, and when that one was last seen."""

    other: str

    @property
    def size(self) -> int:
        """See ``Command``."""
        return 1


AnyCommand: TypeAlias = (
    AcceptMessage
    | AcceptMany
    | Acknowledge
    | Confirm
    | ReadMailbox
    | LogIn
    | ExchangeKeys
    | Barrier
    | AcknowledgeHidden
    | AskPresence
    | Block
    | CheckSessions
    | CountPreKeys
    | DeleteAccount
    | DeleteIdleAccount
    | EndSession
    | Expire
    | FetchPreKeys
    | FindDeparture
    | FindIdleAccounts
    | FindTypingWatchers
    | FindWatchers
    | ForgetHandouts
    | ForgetOrders
    | KeepRelay
    | LoadClock
    | PublishPreKeys
    | RecordActivity
    | RecordDeparture
    | SaveClock
    | SaveLimits
    | SeeContacts
    | SeePresence
    | ShareClock
    | StoreReceipts
    | TakeLimits
    | Unblock
)
"""The closed set."""
