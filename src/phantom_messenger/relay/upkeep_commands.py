"""Commands that no user asks for: between the relays on one store, and for its upkeep. See ``relay.commands``."""

from collections.abc import Sequence
from typing import NamedTuple

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.command import Command
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.wire.frames import PresenceStatus

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
