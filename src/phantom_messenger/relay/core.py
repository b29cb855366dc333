"""What every handler may do: answer, refuse, close, store, deliver, tell contacts.

This is the state that one relay process has: its sessions, its limits, its pipeline.
It knows frames and ports; it does not know sockets, files or time of its own.
"""

import base64
from collections.abc import Callable, Hashable, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any, Final, NamedTuple

from msgspec import UNSET, UnsetType

from phantom_messenger.events import report
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.hub import Hub
from phantom_messenger.relay.limiter import Limiter
from phantom_messenger.relay.outbox import HIGH_WATER, LOW_WATER, PAGE
from phantom_messenger.relay.permissions import Act, may
from phantom_messenger.relay.pipeline import Pipeline, Submission
from phantom_messenger.relay.ports import (
    Clock,
    Failure,
    Helpers,
    Item,
    ItemKind,
    Job,
    NewItem,
    Randomness,
    Scheduler,
    Transaction,
    Verification,
    Writer,
)
from phantom_messenger.relay.quota import Quota, Spent
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session, Taken
from phantom_messenger.relay.unshown import Fate, Name, Unshown
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import CloseCode, Reason, Refused
from phantom_messenger.wire.limits import CLOCK_TOLERANCE_MS

LIMITER_KEY_BYTES = 32
RETRY_STORAGE_MS = 5_000
"""When to try again after the relay could not store: a full disk is not freed faster."""

BACKLOG_RETRY_MS = 60_000
"""When to try a full mailbox again: its owner has to come by first."""

DAY_MS = 86_400_000

SEEN_EXCHANGE_MS: Final = 2 * CLOCK_TOLERANCE_MS + 60_000
"""How long a key exchange's signature is remembered: longer than one from the future can be fresh."""

RECEIPT_BYTES = 512
"""About what a receipt takes in the store."""

CONFIRMED_AT_ONCE = 32
"""Items that a socket took, removed in one job: those of others do not wait long behind it."""

Id = str | UnsetType

_GONE: Final = object()
"""The result of a job that was not done, for its user has no account any more."""


class Moment(NamedTuple):
    """Now, in milliseconds: on the wall clock for peers, in steady time for the store."""

    wall: int
    steady: int


class Core:
    """The relay's state and the verbs that work on it.

    Args:
        config: the frozen settings.
        clock: wall and monotonic time.
        randomness: for ids and challenges.
        schedule: runs an action in the next turn of the event loop.
        verify: checks signatures in batches.
        writer: runs jobs durably.
        helpers: check signatures beside the core.
        handle: what to do with a frame that came through the pipeline.
    """

    def __init__(
        self,
        *,
        config: Config,
        clock: Clock,
        randomness: Randomness,
        schedule: Scheduler,
        verify: Verification,
        writer: Writer,
        helpers: Helpers | None,
        handle: Callable[["Core", Submission, bool], None],
    ) -> None:
        self.config = config
        self.clock = clock
        self.randomness = randomness
        self.verify = verify
        self.names = frozenset(config.public_names)
        """What a login may be signed for, normal; ``ANY`` alone: whatever its handshake says."""
        self.hub = Hub()
        self.unshown = Unshown()
        self.limiter = Limiter(config.rates, randomness(LIMITER_KEY_BYTES))
        self._mark_key = randomness(LIMITER_KEY_BYTES)
        self.quota = Quota(config.address_bytes)
        self.pipeline = Pipeline(
            verify=verify,
            helpers=helpers,
            writer=writer,
            schedule=schedule,
            handle=lambda submission, verified: handle(self, submission, verified),
            broken=lambda submission, error: self.failed(submission.session, error),
            now=clock.monotonic_ms,
            report=report,
        )
        self.seen_exchanges: dict[Hashable, int] = {}
        self._schedule = schedule
        self._dirty: dict[Session, None] = {}

    # --- answering ----------------------------------------------------------------

    def send(self, session: Session, frame: frames.Frame) -> None:
        """Queue a frame for this turn's write."""
        self.send_text(session, codec.encode(frame))

    def send_text(self, session: Session, text: bytes) -> None:
        """Queue an encoded frame for this turn's write."""
        if session.state is State.CLOSED:
            return
        session.outbox.push(text)
        if not self._dirty:
            self._schedule(self._flush)
        self._dirty[session] = None

    def refuse(self, session: Session, refused: Refused, request: Id) -> None:
        """Answer with ERROR and count it; too many of a kind close the connection."""
        self.send(
            session,
            frames.Error(
                id=request,
                payload=frames.ErrorPayload(
                    code=refused.code,
                    message=refused.sentence,
                    details=refused.details,
                    retry_after=UNSET if refused.retry_after is None else refused.retry_after,
                ),
                timestamp=self.clock.wall_ms(),
            ),
        )
        if code := session.strikes.count(refused, self.clock.monotonic_ms()):
            self.close(session, code, "too many refused messages")

    def close(self, session: Session, code: CloseCode, reason: str, *, patient: bool = True) -> None:
        """Close a connection behind what it still has to be sent; nothing it sends counts any more."""
        if session.state is State.CLOSED:
            return
        session.state = State.CLOSED
        session.outbox.flush()
        self._dirty.pop(session, None)
        session.connection.close(code, reason, patient=patient)

    def drop(self, session: Session) -> None:
        """Cut a connection that takes nothing; its mail stays in the store."""
        session.state = State.CLOSED
        self._dirty.pop(session, None)
        session.connection.abort()

    def failed(self, session: Session, error: Exception) -> None:
        """A bug has shown itself: say so in the log, without user data, and end this session."""
        report(error)
        self.close(session, CloseCode.SERVER_ERROR, "internal error")

    def token(self, count: int) -> str:
        """Random bytes as base64 text."""
        return base64.b64encode(self.randomness(count)).decode()

    def mark(self, address: str) -> int:
        """What stands for an address beside what it has stored as a stranger.

        The key is nowhere but here: after a restart nobody can say which address it was, or whether it
        is one that comes again.
        """
        return int.from_bytes(blake2b(address.encode(), digest_size=8, key=self._mark_key).digest()) >> 1

    def spend(self, session: Session, size: int) -> Spent:
        """Count bytes that are to be stored for a client.

        Raises:
            Refused: ``QUOTA``, with the time until which its address has to wait.
        """
        spent = Spent(session.mark, size, self.clock.monotonic_ms())
        if wait := self.quota.take(*spent):
            raise Refused(Reason.QUOTA, retry_after=wait)
        return spent

    def forget_exchanges(self, now: int) -> None:
        """Forget signatures that cannot be fresh any more; the oldest stand first, in the order of insertion.

        Args:
            now: monotonic milliseconds.
        """
        while self.seen_exchanges:
            oldest = next(iter(self.seen_exchanges))
            if self.seen_exchanges[oldest] > now - SEEN_EXCHANGE_MS:
                break
            del self.seen_exchanges[oldest]

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, {}
        for session in dirty:
            session.outbox.flush()
            if session.outbox.overflows():
                self.drop(session)
            else:
                self.drained(session)

    # --- storing ------------------------------------------------------------------

    def store(
        self,
        session: Session,
        request: Id,
        job: Job,
        then: Callable[[Any], None],
        *,
        size: int = 0,
        spent: Spent | None = None,
        otherwise: Callable[[], None] | None = None,
    ) -> None:
        """Have a client's job stored; success goes to ``then``.

        A failure is answered, or left to ``otherwise`` if it is given and there is room.
        """

        def finish(result: Any) -> None:
            if isinstance(result, Failure):
                if otherwise is not None and not result.storage_full:
                    otherwise()
                    return
                if not result.storage_full:
                    report(result.error)
                if session.state is not State.CLOSED:
                    self.refuse(session, storage_refusal(result), request)
                return
            try:
                then(result)
            except Exception as error:  # noqa: BLE001 - the border: one client's failure is not the others'
                self.failed(session, error)

        self.store_for(session, job, finish, size=size, spent=spent)

    def store_for(
        self, session: Session, job: Job, then: Callable[[Any], None], *, size: int = 0, spent: Spent | None = None
    ) -> None:
        """As ``pipeline.store``, for a session: if its account has gone meanwhile, nothing is done, and it is closed.

        What was ``spent`` on a job that was not done is given back.

        Accounts go by ACCOUNT_DELETE, and by a login that takes the id, for it is certified, or the first
        that proves the key: frames may be on their way then, of this connection or of another one of the user.
        """
        user, key, is_unproved = session.user_id, session.public_key_text, session.reference is not None

        def run(tx: Transaction) -> Any:
            is_there = tx.directory.public_key(user) == key and not (is_unproved and tx.directory.signs(user))
            return job(tx) if is_there else _GONE

        def finish(result: Any) -> None:
            if spent is not None and (result is _GONE or isinstance(result, Failure)):
                self.quota.give_back(spent)
            if result is _GONE:
                self.close(session, CloseCode.NORMAL, "account deleted")
            else:
                then(result)

        self.pipeline.store(run, finish, size=size)

    def store_quietly(self, job: Job, then: Callable[[Any], None] = lambda _: None) -> None:
        """Have the relay's own job stored; a failure is dropped, for nobody waits for an answer."""
        self.pipeline.store(job, lambda result: None if isinstance(result, Failure) else then(result))

    # --- the mailbox --------------------------------------------------------------

    def deliver(self, recipient: str, item: Item) -> None:
        """Push a stored item to its recipient, if that is here and has all before it."""
        session = self.hub.of(recipient)
        if session is None or not session.feed.live:
            return
        if session.outbox.level() > HIGH_WATER:
            session.feed.live = False
            return
        self.push_item(session, item)

    def push_item(self, session: Session, item: Item) -> None:
        """Send one item of the mailbox, unless its time has come meanwhile."""
        session.feed.sent = item.seq
        if item.expires_at is not None and item.expires_at <= self.clock.persistent_ms():
            return
        self.send_text(session, item.text)
        if not session.acks:
            session.unconfirmed.append((item.kind, item.seq, item.sender, item.name))
        if session.reference is not None:
            session.reference.pushed(item)

    def load(self, session: Session) -> None:
        """Read on in the mailbox; after its last page new items are pushed as they come."""
        if session.feed.loading or session.feed.live or session.state is not State.OPEN:
            return
        session.feed.loading = True
        user, after, now = session.user_id, session.feed.sent, self.clock.persistent_ms()

        def finish(page: Any) -> None:
            session.feed.loading = False
            if isinstance(page, Failure) or session.state is not State.OPEN:
                return
            for item in page.items:
                self.push_item(session, item)
            session.feed.live = page.complete

        self.pipeline.store(lambda tx: tx.mailboxes.read(user, after, PAGE, now), finish)

    def drained(self, session: Session) -> None:
        """The socket took something: read on, and count messages as delivered for clients without acks."""
        if session.state is not State.OPEN:
            return
        level = session.outbox.level()
        if level < LOW_WATER:
            self.load(session)
        if session.unconfirmed and level == 0:
            taken, session.unconfirmed = session.unconfirmed, []
            for first in range(0, len(taken), CONFIRMED_AT_ONCE):
                self._confirm(session, taken[first : first + CONFIRMED_AT_ONCE])

    def confirm(self, session: Session, seq: int, request: Id) -> None:
        """The recipient has a receipt or key exchange."""
        user = session.user_id
        self.store(session, request, lambda tx: tx.mailboxes.confirm(user, seq), lambda _: None)

    def acknowledge(self, session: Session, sender: str, message_id: str, status: frames.Status, request: Id) -> None:
        """The recipient has received, read or burned a message: remove it, and tell a sender it knows."""
        moment, recipient = self._moment(), session.user_id
        spent = Spent(session.mark, RECEIPT_BYTES, self.clock.monotonic_ms())
        tell = not self.quota.take(*spent)
        if session.looks_absent:
            name = Name(sender, message_id)

            def keep(fate: Fate | None) -> None:
                if tell and fate is None:
                    self.quota.give_back(spent)
                self._keep_unshown(session, [(name, fate)] if tell and fate is not None else [])

            self.store(
                session,
                request,
                lambda tx: _take(tx, recipient, name, status, moment, self._life),
                keep,
                spent=spent if tell else None,
            )
            return

        def then(item: Item | None) -> None:
            if item is not None:
                self.deliver(sender, item)
            elif tell:
                self.quota.give_back(spent)

        self.store(
            session,
            request,
            lambda tx: _settle(tx, recipient, sender, message_id, status, moment, tell=tell),
            then,
            spent=spent if tell else None,
        )

    def _confirm(self, session: Session, taken: Sequence[Taken]) -> None:
        """The socket of a client without acks took these: one job, or one for each if that fails."""
        moment, recipient = self._moment(), session.user_id
        unseen = session.looks_absent
        spent = Spent(session.mark, RECEIPT_BYTES * len(taken), self.clock.monotonic_ms())
        tell = not self.quota.take(*spent)

        def job(tx: Transaction) -> tuple[list[tuple[str, Item]], list[tuple[Name, Fate]]]:
            news, hidden = [], []
            for kind, seq, sender, name in taken:
                if kind is not ItemKind.MESSAGE:
                    tx.mailboxes.confirm(recipient, seq)
                elif unseen:
                    own = Name(sender, name)
                    fate = _take(tx, recipient, own, frames.Status.DELIVERED, moment, self._life)
                    hidden += [] if fate is None else [(own, fate)]
                elif kept := _settle(tx, recipient, sender, name, frames.Status.DELIVERED, moment, tell=tell):
                    news.append((sender, kept))
            return news, hidden

        def then(result: tuple[list[tuple[str, Item]], list[tuple[Name, Fate]]]) -> None:
            news, hidden = result
            if tell:
                self.quota.give_back(spent._replace(size=spent.size - RECEIPT_BYTES * (len(news) + len(hidden))))
            for sender, item in news:
                self.deliver(sender, item)
            self._keep_unshown(session, hidden)

        def one_by_one() -> None:
            for one in taken:
                self._confirm(session, [one])

        self.store(
            session,
            UNSET,
            job,
            then,
            spent=spent if tell else None,
            otherwise=one_by_one if len(taken) > 1 else None,
        )

    def _keep_unshown(self, session: Session, fates: Sequence[tuple[Name, Fate]]) -> None:
        """What became of these messages is kept from their senders until the user shows itself."""
        if not session.looks_absent:  # it does meanwhile
            self._tell(session.user_id, [(name, fate.status) for name, fate in fates])
            return
        for name, fate in fates:
            self.unshown.add(session.user_id, name, fate)

    @property
    def _life(self) -> int:
        """How long mail waits, in milliseconds."""
        return self.config.mail_days * DAY_MS

    def show(self, user: str, sender: str | None = None) -> None:
        """A user who may have looked absent shows itself, to all or to one: tell what has become of their mail."""
        self._tell(user, [(name, fate.status) for name, fate in self.unshown.take(user, sender)])

    def expire_unshown(self) -> None:
        """Tell of messages whose time has come what is told when nobody has fetched them."""
        # Told together, at one time: so are those that nobody has fetched.
        for user, names in groupby(self.unshown.expired(self.clock.persistent_ms()), lambda one: one[0]):
            self._tell(user, [(name, frames.Status.EXPIRED) for _, name in names])

    def _tell(self, recipient: str, fates: Sequence[tuple[Name, frames.Status]]) -> None:
        moment = self._moment()
        for first in range(0, len(fates), CONFIRMED_AT_ONCE):
            part = fates[first : first + CONFIRMED_AT_ONCE]

            def job(
                tx: Transaction, part: Sequence[tuple[Name, frames.Status]] = part
            ) -> list[tuple[str, Item | None]]:
                return [
                    (name.sender, _keep_receipt(tx, name.sender, recipient, name.message_id, status, moment))
                    for name, status in part
                ]

            def then(told: list[tuple[str, Item | None]]) -> None:
                for sender, item in told:
                    self._deliver_receipt(sender, item)

            self.store_quietly(job, then)

    def note_departure(self, user: str) -> None:
        """Remember when contacts last saw somebody, to the minute."""
        minute, now = self.clock.wall_ms() // 60_000 * 60_000, self.clock.persistent_ms()

        def job(tx: Transaction) -> None:
            tx.directory.set_last_seen(user, minute)
            tx.directory.note_active(user, now)

        self.store_quietly(job)

    def expire(self, limit: int, then: Callable[[int | None], None]) -> None:
        """Remove what waits and whose time came before its recipient did, and tell the senders of messages.

        Args:
            limit: at most so many.
            then: called with how many there were, None if they could not be removed.
        """
        moment, status = self._moment(), frames.Status.EXPIRED
        before = moment.steady - self._life

        def job(tx: Transaction) -> tuple[int, list[tuple[str, Item | None]]]:
            gone = tx.mailboxes.expire(moment.steady, limit, before=before)
            told = [
                (one.sender, _keep_receipt(tx, one.sender, one.recipient, one.name, status, moment))
                for one in gone
                if one.kind is ItemKind.MESSAGE
            ]
            return len(gone), told

        def finish(result: Any) -> None:
            if isinstance(result, Failure):
                if not result.storage_full:
                    report(result.error)
                then(None)
                return
            count, told = result
            then(count)
            for sender, item in told:
                self._deliver_receipt(sender, item)

        self.pipeline.store(job, finish)

    def remove_idle(self, limit: int, then: Callable[[bool], None]) -> None:
        """Remove some accounts that nobody has used for long and for whom nothing waits.

        Args:
            limit: how many are looked at.
            then: called with whether there may be more.
        """
        now = self.clock.persistent_ms()
        before = now - self.config.account_days * DAY_MS

        def finish(result: Any) -> None:
            if isinstance(result, Failure):
                then(False)
                return
            users, is_more = result
            for user in users:
                if self.hub.of(user) is not None:  # has been here all the time
                    self.store_quietly(lambda tx, user=user: tx.directory.note_active(user, now))  # type: ignore[misc]
                else:
                    self._delete_idle(user, before)
            then(is_more)

        self.pipeline.store(lambda tx: tx.directory.idle(before, limit, now), finish)

    def _delete_idle(self, user: str, before: int) -> None:
        def again(is_gone: bool) -> None:
            if not is_gone:
                self._delete_idle(user, before)

        self.store_quietly(lambda tx: tx.directory.delete_idle(user, before), again)

    def _moment(self) -> Moment:
        return Moment(self.clock.wall_ms(), self.clock.persistent_ms())

    def _deliver_receipt(self, sender: str, item: Item | None) -> None:
        if item is not None:
            self.deliver(sender, item)

    # --- presence -----------------------------------------------------------------

    def tell_contacts(
        self,
        user: str,
        users: list[str],
        status: frames.PresenceStatus,
        *,
        conversation: Id = UNSET,
        last_seen: int | None = None,
    ) -> None:
        """Send a presence notice about ``user`` to those of ``users`` who are here."""
        notice = codec.encode(self.presence(user, status, conversation=conversation, last_seen=last_seen))
        for contact in users:
            session = self.hub.of(contact)
            if session is not None:
                self.send_text(session, notice)

    def introduce(self, one: str, other: str) -> None:
        """Two users have become contacts: tell each whether the other is here."""
        for user, contact in ((one, other), (other, one)):
            presence = self.hub.believed(user)
            if presence is not frames.PresenceStatus.OFFLINE:
                self.tell_contacts(user, [contact], presence)

    def presence(
        self,
        user: str,
        status: frames.PresenceStatus,
        *,
        conversation: Id = UNSET,
        last_seen: int | None = None,
        request: Id = UNSET,
    ) -> frames.PresenceNotice:
        """Build a presence notice."""
        return frames.PresenceNotice(
            id=request,
            payload=frames.PresenceNoticePayload(
                user_id=user,
                status=status,
                conversation_id=conversation,
                last_seen=UNSET if last_seen is None else last_seen,
            ),
            timestamp=self.clock.wall_ms(),
        )


def _take(  # noqa: PLR0917 - what an acknowledgement says
    tx: Transaction, recipient: str, name: Name, status: frames.Status, moment: Moment, life: int
) -> Fate | None:
    """Remove a message that its recipient has; what is news of it for its sender, if anything is.

    Its time comes as if it waited, that of one that did not wait never.
    """
    removed = tx.mailboxes.acknowledge(recipient, name.sender, name.message_id, moment.steady)
    is_news = removed is not None or status is not frames.Status.DELIVERED
    if not is_news or not may(Act.LEARN_FATE, name.sender, recipient, tx.directory):
        return None
    if removed is None:
        return Fate(status, moment.steady, None)
    last = (moment.steady if removed.stored_at is None else removed.stored_at) + life
    return Fate(status, moment.steady, last if removed.expires_at is None else min(removed.expires_at, last))


def _settle(  # noqa: PLR0917 - what an acknowledgement says
    tx: Transaction,
    recipient: str,
    sender: str,
    message_id: str,
    status: frames.Status,
    moment: Moment,
    *,
    tell: bool = True,
) -> Item | None:
    """Remove a message that its recipient has; the news for its sender, if there are any and it is to be told."""
    removed = tx.mailboxes.acknowledge(recipient, sender, message_id, moment.steady)
    if not tell or (status is frames.Status.DELIVERED and removed is None):
        return None
    return _keep_receipt(tx, sender, recipient, message_id, status, moment)


def _keep_receipt(  # noqa: PLR0917 - what a receipt says
    tx: Transaction, sender: str, recipient: str, message_id: str, status: frames.Status, moment: Moment
) -> Item | None:
    """Put news of a message into its sender's mailbox.

    A stranger learns nothing: only a sender to whom the recipient has written is told.
    """
    if not may(Act.LEARN_FATE, sender, recipient, tx.directory):
        return None
    payload = frames.ReceiptPayload(message_id=message_id, recipient_id=recipient, status=status, timestamp=moment.wall)
    head, tail = codec.split_at_seq(frames.Receipt(payload=payload, timestamp=moment.wall, seq=0))
    item = NewItem(kind=ItemKind.RECEIPT, sender=recipient, name=message_id, head=head, tail=tail)
    # Of a second copy "delivered" is no news: what waits says as much, or more.
    is_news = status is not frames.Status.DELIVERED
    kept = tx.mailboxes.append(sender, item, known=True, now=moment.steady, replace=is_news)
    return kept if isinstance(kept, Item) else None


def storage_refusal(failure: Failure) -> Refused:
    """The answer for a job that could not be stored."""
    return Refused(Reason.STORAGE if failure.storage_full else Reason.INTERNAL, retry_after=RETRY_STORAGE_MS)
