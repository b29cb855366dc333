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
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from msgspec import Struct

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.records import Bundle, Item, KeptLimits, NewItem, Page, PreKeyCounts, Publication
from phantom_messenger.wire.frames import PresenceStatus, Status

KEEP_REMOVED_MS: Final = 600_000
"""How long the id of a deleted message is remembered: twice the clock tolerance of a message sent again."""

CONVERSATIONS_KEPT: Final = 16
"""Conversations remembered for an ordered pair of users, the newest ones, for typing notices."""

MESSAGE_OVERHEAD: Final = 512
"""About what a message takes beside its text: ids, indexes, that its sender wrote to its recipient."""

EXCHANGE_BYTES: Final = 4_096
"""About what a key exchange frame takes in the store."""

R = TypeVar("R")


class Command(Struct, Generic[R], frozen=True, kw_only=True):
    """Base of all commands; ``R`` is the type of the result."""

    @property
    def size(self) -> int:
        """About how many bytes it stores, or 1 if it stores none but counts as load; 0 if it does not count."""
        return 0


class Actor(NamedTuple):
    """The account on whose behalf a command is run, as its session knows it."""

    user_id: str
    public_key: str
    """Base64."""
    is_unsigned: bool = False
    """The login has not proved the key; such an account is gone as soon as somebody has proved it."""
    connected_at: int | None = None
    """When the connection was made, persistent time; None if it does not matter where the user is now."""

    @property
    def account(self) -> tuple[str, str, bool]:
        """What tells the account."""
        return self.user_id, self.public_key, self.is_unsigned


class UserCommand(Command[R], Generic[R], frozen=True, kw_only=True):
    """A command that is run for a logged-in user."""

    actor: Actor


class AccountGone(Enum):
    """The type of ``ACCOUNT_GONE``."""

    ACCOUNT_GONE = "account gone"


ACCOUNT_GONE: Final = AccountGone.ACCOUNT_GONE
"""The result of a ``UserCommand`` that was not run: the session's account does not exist any more."""


class SessionOver(Enum):
    """The type of ``SESSION_OVER``."""

    SESSION_OVER = "session over"


SESSION_OVER: Final = SessionOver.SESSION_OVER
"""The result of a ``UserCommand`` that was not run: its session has been replaced at another relay."""


class CommandFailed(Exception):
    """A command could not be run, and nothing of it was stored.

    Args:
        error: what went wrong.
        is_out_of_space: the disk is full or broken, or too much is waiting: it may succeed later.
    """

    def __init__(self, error: Exception, *, is_out_of_space: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.is_out_of_space = is_out_of_space


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


class AppendRefusal(Enum):
    """Why an item was not put into a mailbox."""

    DUPLICATE = "it is there, or was until a moment ago"
    FULL = "the mailbox has no room for it"
    NO_ACCOUNT = "the recipient has no account"
    SIGNED_ONLY = "it has a loose form, and the recipient's client is not a reference client"
    UNWANTED = "the recipient has blocked the sender, who must not learn it"


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


class Accepted(Struct, frozen=True):
    """A message was taken in."""

    item: Item | None
    """What is to be pushed to the recipient. None if nothing was kept, because the recipient has blocked the sender."""
    became_contacts: bool


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

    @property
    def size(self) -> int:
        """See ``Command``."""
        return len(self.item.head) + len(self.item.tail)


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


# --- several relays on one store ---------------------------------------------------------------------------


class OwnSession(NamedTuple):
    """A session of a relay that shares its store with others."""

    user_id: str
    connected_at: int
    presence: PresenceStatus
    last_pushed: int | None
    """The seq up to which its mailbox was sent; None if the rest is being read anyway."""


class EndSession(Command[None], frozen=True, kw_only=True):
    """A user who looked absent is not connected any more."""

    user_id: str


class CheckedSessions(NamedTuple):
    """What has happened to sessions of a relay without its knowing."""

    replaced: list[str]
    """Users who have logged in at another relay since."""
    behind: list[str]
    """Users for whom something is stored that was not sent."""


class CheckSessions(Command[CheckedSessions], frozen=True, kw_only=True):
    """Compare sessions of this relay with the store, which learns of those that it has forgotten."""

    sessions: Sequence[OwnSession]
    now: int


class SeenUser(NamedTuple):
    """What a user shows, whom this relay may have to tell its own users of."""

    user_id: str
    status: PresenceStatus | None
    """None: nobody is to be told, for the user is at this relay, or has just left another one."""
    last_seen: int | None
    watchers: list[str]
    """Users of this relay who may see it."""


class SeenPresence(NamedTuple):
    """What has changed, for all that a relay was told of it."""

    since: int
    """For the next look."""
    is_new: bool
    """Changes may have been forgotten before this relay has seen them."""
    users: list[SeenUser]


class SeePresence(Command[SeenPresence], frozen=True, kw_only=True):
    """Find what has changed of what users show at other relays."""

    since: int
    """From the look before; all changes below it have been seen."""


class SeeContacts(Command[list[SeenUser]], frozen=True, kw_only=True):
    """Find what contacts of some users of this relay show, changed or not; who is not among them is offline."""

    users: Sequence[str]


class GoneUser(NamedTuple):
    """Somebody who was connected to a relay that has died, and is not connected to another one."""

    user_id: str
    contacts: list[str]
    last_seen: int


class KeepRelay(Command[list[GoneUser]], frozen=True, kw_only=True):
    """This relay is alive; whose relay has died is told to one of the others, once, some hundred users at a time."""

    last_seen: int
    """What counts as that for those who were there, wall clock, rounded by the caller."""


# --- upkeep ------------------------------------------------------------------------------------------------


class IdleAccounts(NamedTuple):
    """Accounts that nobody has used for long, and whether there may be more."""

    users: list[str]
    is_more: bool


class FindIdleAccounts(Command[IdleAccounts], frozen=True, kw_only=True):
    """Look at ``limit`` accounts; each call continues where the last one ended.

    An idle account was last active days before ``active_before``, and its mailbox is empty.
    """

    active_before: int
    limit: int
    now: int


class DeleteIdleAccount(Command[bool], frozen=True, kw_only=True):
    """Delete an account if it is still idle, a bounded part at a time; False if there is more to delete."""

    user_id: str
    active_before: int


class RecordActivity(Command[None], frozen=True, kw_only=True):
    """The user is here; kept to the day."""

    user_id: str
    now: int


class ForgetHandouts(Command[None], frozen=True, kw_only=True):
    """Forget who was given prekeys more than an hour ago."""

    now: int


class SaveClock(Command[None], frozen=True, kw_only=True):
    """Keep a moment from which persistent time continues after a restart, in place of the one before."""

    snapshot: ClockSnapshot


class ShareClock(Command[int], frozen=True, kw_only=True):
    """Report this relay's persistent time, and learn how far the relays on the store have come."""

    snapshot: ClockSnapshot


class LoadClock(Command[ClockSnapshot | None], frozen=True, kw_only=True):
    """The last moment kept; None if there is none, or it is corrupt."""


class SaveLimits(Command[None], frozen=True, kw_only=True):
    """Keep what counts towards the limits, in place of what was kept before."""

    limits: KeptLimits


class TakeLimits(Command[KeptLimits | None], frozen=True, kw_only=True):
    """What was kept last, which is then deleted; None if there is nothing, or it is corrupt."""


class Barrier(Command[None], frozen=True, kw_only=True):
    """Does nothing; its result says that everything before it is on disk."""


AnyCommand: TypeAlias = (
    AcceptMessage
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
    | FindDeparture
    | FindIdleAccounts
    | FindTypingWatchers
    | FindWatchers
    | ForgetHandouts
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
