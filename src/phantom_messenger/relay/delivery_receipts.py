"""What senders learn of their messages: delivered, read, burned, expired; of users who look absent, not yet."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

from msgspec import UNSET

from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.hidden_receipts import DeliveryOutcome, HiddenReceipts, MessageName
from phantom_messenger.relay.mailbox_push import MailboxPush
from phantom_messenger.relay.permissions import Act, may
from phantom_messenger.relay.pipeline import Pipeline, Steps, StoreJob, as_user
from phantom_messenger.relay.ports import Clock, Item, ItemKind, NewItem, Transaction
from phantom_messenger.relay.quota import Quota, Spent
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.session import Session, Written
from phantom_messenger.wire import codec, frames

RECEIPT_BYTES: Final = 512
"""About what a receipt takes in the store."""

WRITTEN_AT_ONCE: Final = 32
"""Items that were written to a socket, removed in one command: those of others do not wait long behind it."""


class Moment(NamedTuple):
    """Now, in milliseconds: on the wall clock for peers, in persistent time for the store."""

    wall: int
    steady: int

    @classmethod
    def of(cls, clock: Clock) -> "Moment":
        """This moment."""
        return cls(clock.wall_ms(), clock.persistent_ms())


class DeliveryReceipts:
    """Stores receipts for senders and pushes them.

    Args:
        mailboxes: pushes them.
        replies: answers what could not be stored.
        pipeline: stores them.
        quota: what they take counts for the recipient's address.
        clock: tells when a message was received.
        mail_life_ms: how long mail waits.
    """

    def __init__(
        self,
        *,
        mailboxes: MailboxPush,
        replies: Replies,
        pipeline: Pipeline,
        quota: Quota,
        clock: Clock,
        mail_life_ms: int,
    ) -> None:
        self.hidden = HiddenReceipts()
        self.mail_life_ms: Final = mail_life_ms
        self._mailboxes: Final = mailboxes
        self._replies: Final = replies
        self._pipeline: Final = pipeline
        self._quota: Final = quota
        self._clock: Final = clock

    def show(self, user: str, sender: str | None = None) -> None:
        """A user who may have looked absent appears, to all or to one sender: report what has become of their mail."""
        if outcomes := self.hidden.pop(user, sender):
            self._report(user, [(name, outcome.status) for name, outcome in outcomes])

    def hide(self, session: Session, outcomes: Sequence[tuple[MessageName, DeliveryOutcome]]) -> None:
        """Keep what became of these messages from their senders until the user appears."""
        if not session.looks_absent:  # it does meanwhile
            self._report(session.user_id, [(name, outcome.status) for name, outcome in outcomes])
            return
        for name, outcome in outcomes:
            self.hidden.add(session.user_id, name, outcome)

    def expire_hidden(self) -> None:
        """Report of hidden messages that have expired what is reported when nobody has fetched them."""
        # Reported together, at one time: so are those that nobody has fetched.
        for user, names in groupby(self.hidden.pop_expired(self._clock.persistent_ms()), lambda one: one[0]):
            self._report(user, [(name, frames.Status.EXPIRED) for _, name in names])

    def confirm_written(self, session: Session) -> None:
        """The socket of a client without acks has taken all that was written: its messages are delivered."""
        written, session.unconfirmed = session.unconfirmed, []
        for first in range(0, len(written), WRITTEN_AT_ONCE):
            self._pipeline.run(self._confirm(session, written[first : first + WRITTEN_AT_ONCE]))

    def _confirm(self, session: Session, written: Sequence[Written]) -> Steps:
        """One command for all, or one for each if that fails."""
        spent = Spent(session.mark, RECEIPT_BYTES * len(written), self._clock.monotonic_ms())
        notify = not self._quota.take(*spent)
        moment, is_hidden = Moment.of(self._clock), session.looks_absent

        def job(tx: Transaction) -> tuple[list[tuple[str, Item]], list[tuple[MessageName, DeliveryOutcome]]]:
            receipts, hidden = [], []
            for kind, seq, sender, message_id in written:
                name, status = MessageName(sender, message_id), frames.Status.DELIVERED
                if kind is not ItemKind.MESSAGE:
                    tx.mailboxes.confirm(session.user_id, seq)
                elif is_hidden:
                    outcome = remove_hidden(tx, session.user_id, name, status, moment, self.mail_life_ms)
                    hidden += [] if outcome is None else [(name, outcome)]
                elif item := remove_received(tx, session.user_id, name, status, moment, notify=notify):
                    receipts.append((sender, item))
            return receipts, hidden

        try:
            receipts, hidden = yield as_user(session, job)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            if notify:
                self._quota.give_back(spent)
            if isinstance(error, CommandFailed) and not error.is_out_of_space and len(written) > 1:
                for one in written:
                    self._pipeline.run(self._confirm(session, [one]))
            else:
                self._replies.reply_failure(session, error, UNSET)
            return
        if notify:
            self._quota.give_back(spent._replace(size=spent.size - RECEIPT_BYTES * (len(receipts) + len(hidden))))
        for sender, item in receipts:
            self._mailboxes.deliver(sender, item)
        self.hide(session, hidden)

    def _report(self, recipient: str, outcomes: Sequence[tuple[MessageName, frames.Status]]) -> None:
        for first in range(0, len(outcomes), WRITTEN_AT_ONCE):
            self._pipeline.run(self._store(recipient, outcomes[first : first + WRITTEN_AT_ONCE]))

    def _store(self, recipient: str, outcomes: Sequence[tuple[MessageName, frames.Status]]) -> Steps:
        moment = Moment.of(self._clock)
        items: list[Item | None] = yield StoreJob(
            lambda tx: [append_receipt(tx, recipient, name, status, moment) for name, status in outcomes]
        )
        for (name, _), item in zip(outcomes, items, strict=True):
            if item is not None:
                self._mailboxes.deliver(name.sender, item)


def remove_hidden(  # noqa: PLR0917 - what an acknowledgement says
    tx: Transaction, recipient: str, name: MessageName, status: frames.Status, moment: Moment, life: int
) -> DeliveryOutcome | None:
    """Remove a message that its recipient has; what is news of it for its sender, if anything is.

    It expires as if it waited; one that did not wait never does.
    """
    removed = tx.mailboxes.acknowledge(recipient, name.sender, name.message_id, moment.steady)
    is_news = removed is not None or status is not frames.Status.DELIVERED
    if not is_news or not may(Act.LEARN_FATE, name.sender, recipient, tx.directory):
        return None
    if removed is None:
        return DeliveryOutcome(status, moment.steady, None)
    last = (moment.steady if removed.stored_at is None else removed.stored_at) + life
    expires_at = last if removed.expires_at is None else min(removed.expires_at, last)
    return DeliveryOutcome(status, moment.steady, expires_at)


def remove_received(
    tx: Transaction, recipient: str, name: MessageName, status: frames.Status, moment: Moment, *, notify: bool
) -> Item | None:
    """Remove a message that its recipient has; the receipt for its sender, if there is news and it is to be told."""
    removed = tx.mailboxes.acknowledge(recipient, name.sender, name.message_id, moment.steady)
    if not notify or (status is frames.Status.DELIVERED and removed is None):
        return None
    return append_receipt(tx, recipient, name, status, moment)


def append_receipt(
    tx: Transaction, recipient: str, name: MessageName, status: frames.Status, moment: Moment
) -> Item | None:
    """Put news of a message into its sender's mailbox.

    A stranger learns nothing: only a sender to whom the recipient has written is told.
    """
    if not may(Act.LEARN_FATE, name.sender, recipient, tx.directory):
        return None
    payload = frames.ReceiptPayload(
        message_id=name.message_id, recipient_id=recipient, status=status, timestamp=moment.wall
    )
    head, tail = codec.split_at_seq(frames.Receipt(payload=payload, timestamp=moment.wall, seq=0))
    item = NewItem(kind=ItemKind.RECEIPT, sender=recipient, name=name.message_id, head=head, tail=tail)
    # Of a second copy "delivered" is no news: what waits says as much, or more.
    is_news = status is not frames.Status.DELIVERED
    kept = tx.mailboxes.append(name.sender, item, known=True, now=moment.steady, replace=is_news)
    return kept if isinstance(kept, Item) else None
