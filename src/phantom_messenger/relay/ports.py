"""What the relay's core needs from the world, each with its contract.

Storage is three small ports inside one transaction. A job is a function of a
``Transaction``; the store runs a batch of jobs as one durable transaction. Jobs see
the effects of the jobs before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.relay.commands import AppendRefusal, CommandFailed
from phantom_messenger.relay.records import (
    KEY_OVERHEAD,
    Bundle,
    Item,
    ItemKind,
    KeptLimits,
    NewItem,
    OneTimeKey,
    Page,
    PreKeyCounts,
    Publication,
    SignedKey,
)

__all__ = [
    "CONVERSATIONS_KEPT",
    "KEEP_REMOVED_MS",
    "KEY_OVERHEAD",
    "MAX_REMEMBERED",
    "Bundle",
    "Clock",
    "Connection",
    "Directory",
    "Expired",
    "Failure",
    "Helpers",
    "Item",
    "ItemKind",
    "Job",
    "KeptLimits",
    "LimitKeeper",
    "Mailboxes",
    "NewItem",
    "OneTimeKey",
    "Page",
    "PreKeyCounts",
    "PreKeys",
    "Publication",
    "Randomness",
    "Refusal",
    "Scheduler",
    "SignatureCheck",
    "SignedKey",
    "Store",
    "TimeKeeper",
    "Times",
    "Transaction",
    "Verification",
    "Writer",
]
# Names that moved to ``commands`` and ``records``; jobs and the ports of a transaction go when nobody uses them.

Failure = CommandFailed
Refusal = AppendRefusal


class Clock(Protocol):
    """Three clocks: the wall clock for what peers see, persistent time for mail, the monotonic clock for limits."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970; may jump."""

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary moment; never goes back."""

    def persistent_ms(self) -> int:
        """Milliseconds since about 1970; continues across restarts, whatever is done to the wall clock."""

    def snapshot(self) -> ClockSnapshot:
        """The present moment on all clocks."""


class Randomness(Protocol):
    """A source of unpredictable bytes."""

    def __call__(self, count: int, /) -> bytes:
        """Return ``count`` random bytes."""


class Connection(Protocol):
    """One WebSocket connection, as the core sees it."""

    def write(self, messages: Sequence[bytes]) -> None:
        """Send each as a text message, all in one write; never blocks, never raises."""

    def close(self, code: int, reason: str, *, patient: bool = True) -> None:
        """Send a close frame behind what was written, then close; idempotent.

        A ``patient`` one gives the client a moment to answer it.
        """

    def abort(self) -> None:
        """Drop the connection and what it still has to send."""

    def buffered(self) -> int:
        """Bytes written that the socket has not taken yet."""

    def bytes_taken(self) -> int:
        """Bytes that the client has taken so far, of all that was written to it: by the core, and by WebSocket itself.

        What the operating system still holds for it is not taken yet.
        """


class Scheduler(Protocol):
    """The event loop."""

    def __call__(self, action: Callable[[], None], /) -> object:
        """Run ``action`` soon, after what is running now, in order."""


@dataclass(frozen=True, slots=True)
class Times:
    """Of a message that was removed: when it was stored and was to expire, steady milliseconds; None if not known."""

    stored_at: int | None
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Expired:
    """An item that was removed because its time had come."""

    sender: str
    recipient: str
    name: str
    kind: ItemKind = ItemKind.MESSAGE


class Directory(Protocol):
    """Accounts, and who has written to whom."""

    def bind(self, user_id: str, public_key: str, *, certified: bool, signed: bool = True) -> bool:
        """Make the account or confirm it; False if the id belongs to another key.

        A certified claim takes an id from an uncertified one, whose account is deleted. So does one that is
        signed from one that was not, if it has the same key. ``signed``: the login has proved its key; one
        that has not gets no account whose owner ever did.
        """

    def signs(self, user_id: str) -> bool:
        """Whether there is such an account, and its owner has proved the key."""

    def public_key(self, user_id: str) -> str | None:
        """The key that owns the id, base64; None if there is no such account."""

    def delete(self, user_id: str) -> bool:
        """Remove the account and all that hangs on it, a bounded part at a time.

        Returns:
            Whether all of it is gone; if not, call it again.
        """

    def note_active(self, user_id: str, now: int) -> None:
        """The user is here (milliseconds of steady time); written once a day."""

    def idle(self, before: int, limit: int, now: int) -> tuple[list[str], bool]:
        """Some of those who were last here days before a time, and for whom nothing waits.

        Each call goes on where the last one ended. An account of a version that did not note it was last
        here when this was first asked for.

        Returns:
            They, and whether there may be more behind the ``limit`` accounts that were looked at.
        """

    def delete_idle(self, user_id: str, before: int) -> bool:
        """As ``delete``, if it still holds what ``idle`` said; True if not."""

    def set_last_seen(self, user_id: str, at: int) -> None:
        """Remember when the last session ended, in milliseconds, rounded by the caller."""

    def last_seen(self, user_id: str) -> int | None:
        """When the last session ended, None if unknown."""

    def note_written(self, sender: str, recipient: str, conversation: str) -> bool:
        """Remember that ``sender`` wrote to ``recipient`` in a conversation ('' for none); idempotent.

        The 16 conversations of an ordered pair that began last are kept.

        Nothing is noted between two of whom one has blocked the other.

        Returns:
            Whether this has made the two contacts.
        """

    def has_written(self, sender: str, recipient: str) -> bool:
        """Whether ``sender`` ever wrote to ``recipient``."""

    def block(self, blocker: str, blocked: str) -> bool:
        """Keep a user, who need not have an account yet, away from another one; idempotent.

        That the blocker wrote to them is forgotten, and is not noted while the block lasts. What waits
        from them in the blocker's mailbox is removed, a bounded part at a time.

        Returns:
            Whether all of it is gone; if not, call it again.
        """

    def unblock(self, blocker: str, blocked: str) -> None:
        """End a block; idempotent. That the blocker had written stays forgotten."""

    def blocks(self, blocker: str) -> frozenset[str]:
        """Whom a user has blocked."""

    def has_blocked(self, blocker: str, user_id: str) -> bool:
        """Whether ``blocker`` has blocked the user."""

    def contacts(self, user_id: str) -> list[str]:
        """Those who wrote to the user and to whom the user wrote."""

    def participants(self, user_id: str, conversation: str) -> list[str]:
        """Contacts who used this conversation with the user, both ways."""


class PreKeys(Protocol):
    """Published prekeys. Each one-time key is handed out once, ever."""

    def publish(self, user_id: str, publication: Publication) -> PreKeyCounts | None:
        """Replace the signed keys, add the one-time keys; None and no change if they would be too many.

        A one-time key whose id is not above all ids published before is left out: it may have
        been handed out already.
        """

    def counts(self, user_id: str) -> PreKeyCounts:
        """What is left."""

    def take(self, target: str, requester: str, now: int) -> Bundle | None:
        """Hand out a bundle; None if the target has published nothing.

        Beyond the hourly limits a bundle has no one-time X25519 key, and the last-resort KEM key.
        """

    def forget_handouts(self, now: int) -> None:
        """Forget who was given what more than an hour ago."""


class Mailboxes(Protocol):
    """What waits for each user, in the order of ``seq``."""

    def append(self, recipient: str, item: NewItem, *, known: bool, now: int, replace: bool = True) -> Item | Refusal:
        """Add an item behind all others of this recipient.

        A message whose (sender, name) is in the mailbox with the same ``content``, or left it less
        than 10 minutes ago, is a duplicate; with another content it replaces that one, for its
        recipient could not read it. A receipt or key exchange replaces an older one of the same
        name, or is a duplicate if it shall not ``replace``. ``known``: the recipient once wrote to
        the sender, who may then fill all of the backlog, and whose key exchanges always find room.
        Strangers have places of their own; when these are taken, one whose address (``mark``) holds
        fewer than the fullest has the oldest item of that removed. ``now``: milliseconds of steady time.
        """

    def discard(self, recipient: str, item: NewItem, *, now: int) -> None:
        """Keep nothing of an item, at the cost and in the time that keeping it takes: its sender cannot tell."""

    def read(self, recipient: str, after: int, max_bytes: int, now: int) -> Page:
        """Unexpired items with seq > ``after``, at least one if there is any, about ``max_bytes``."""

    def acknowledge(self, recipient: str, sender: str, name: str, now: int) -> Times | None:
        """Remove a message, or what is left of it if it was damaged; None if it is not there."""

    def confirm(self, recipient: str, seq: int) -> None:
        """Remove a receipt or key exchange by its seq; a message is left alone."""

    def expire(self, now: int, limit: int, *, before: int | None = None) -> list[Expired]:
        """Remove some items whose time has come, at most ``limit`` and about 1 MiB; none if there are none.

        The time of a message is its ``expires_at``; that of all items, if ``before`` is given, has come
        when they were stored at or before it. What was stored by a version that did not note it counts
        as stored when this was first asked for.
        """


class TimeKeeper(Protocol):
    """Where steady time is kept."""

    def save(self, mark: ClockSnapshot) -> None:
        """Keep a moment instead of the one before."""

    def load(self) -> ClockSnapshot | None:
        """The last moment kept, None if there is none."""


class LimitKeeper(Protocol):
    """Where limits are kept between a stop and the next start."""

    def save(self, kept: KeptLimits) -> None:
        """Keep them instead of those before."""

    def take(self) -> KeptLimits | None:
        """What was kept last, which is not kept any longer; None if there is nothing, or it is damaged."""


class Transaction(Protocol):
    """The storage ports, inside one transaction."""

    @property
    def limits(self) -> LimitKeeper:
        """Limits."""

    @property
    def time(self) -> TimeKeeper:
        """Steady time."""

    @property
    def directory(self) -> Directory:
        """Accounts."""

    @property
    def prekeys(self) -> PreKeys:
        """Prekeys."""

    @property
    def mailboxes(self) -> Mailboxes:
        """Mail."""


Job = Callable[[Transaction], Any]


class Store(Protocol):
    """Runs jobs durably."""

    def run(self, jobs: Sequence[Any], *, budget_ms: int | None = None) -> list[Any]:
        """Run jobs in order, if there is room as one transaction.

        Returns when it is on disk, with one result or ``Failure`` per job. A job that
        raises is undone alone; what was not committed is a failure. After ``budget_ms``
        no further job is begun: there are then fewer results than jobs, at least one.
        """

    @property
    def is_out_of_space(self) -> bool:
        """Whether the disk was full or broken when it was last written to; ``scrub`` may end it."""

    def scrub(self) -> bool:
        """Background work: leave no deleted byte in any file, and see whether a full disk has room again.

        Returns:
            Whether it is done; if not, call it again soon.
        """

    def close(self) -> None:
        """Close; the store can be opened again."""


class Writer(Protocol):
    """Where a store's batches are run, so that the core never waits."""

    def __call__(self, jobs: Sequence[Any], done: Callable[[list[Any]], None], /) -> None:
        """Run the batch and then ``done(results)`` where the core runs. One batch at a time.

        There may be fewer results than jobs, at least one: the others were not run.
        """


SignatureCheck = tuple[bytes, bytes, bytes]
"""Public key, signature, message."""


class Verification(Protocol):
    """Checks signatures in batches."""

    def __call__(self, batch: Sequence[SignatureCheck], /) -> list[bool]:
        """For each: whether the strict Ed25519 check holds."""


class Helpers(Protocol):
    """Check signatures beside the core, so that it goes on meanwhile."""

    def __call__(self, batch: Sequence[SignatureCheck], done: Callable[[list[bool]], None], /) -> bool:
        """Have the batch checked and then, later, ``done(verdicts)`` where the core runs.

        Returns:
            Whether they do; False if all are busy, and ``done`` will not be called.
        """


KEEP_REMOVED_MS: Final = 600_000
"""How long the id of a removed message is remembered: twice the clock tolerance of a re-send."""

MAX_REMEMBERED: Final = 200_000
"""How many removed ids are remembered at most (about 25 MB); the oldest go first, an eighth at a time."""

CONVERSATIONS_KEPT: Final = 16
"""Conversations remembered for an ordered pair, for typing notices."""
