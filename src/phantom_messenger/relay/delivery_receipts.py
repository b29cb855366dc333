"""What senders learn of their messages: delivered, read, burned, expired; of users who look absent, not yet."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, TypeVar

from msgspec import UNSET

from phantom_messenger.relay.commands import (
    Acknowledge,
    AcknowledgeHidden,
    CommandFailed,
    Confirm,
    DeliveryOutcome,
    MessageName,
    StoredReceipt,
    StoreReceipts,
)
from phantom_messenger.relay.hidden_receipts import HiddenReceipts
from phantom_messenger.relay.mailbox_push import MailboxPush
from phantom_messenger.relay.pipeline import Pipeline, Steps
from phantom_messenger.relay.ports import Clock
from phantom_messenger.relay.quota import Quota, Spent
from phantom_messenger.relay.records import ItemKind
from phantom_messenger.relay.replies import Replies
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames

T = TypeVar("T")

RECEIPT_BYTES: Final = 512
"""About what a receipt takes in the store."""

WRITTEN_AT_ONCE: Final = 32
"""Items that were written to a socket, removed in one command: those of others do not wait long behind it."""


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
        if not session.looks_absent:  # the user has appeared meanwhile
            self._report(session.user_id, [(name, outcome.status) for name, outcome in outcomes])
            return
        for name, outcome in outcomes:
            self.hidden.add(session.user_id, name, outcome)

    def expire_hidden(self) -> None:
        """Report hidden messages that have expired, as if nobody had fetched them."""
        # Reported together, at one time: so are those that nobody has fetched.
        for user, names in groupby(self.hidden.pop_expired(self._clock.persistent_ms()), lambda one: one[0]):
            self._report(user, [(name, frames.Status.EXPIRED) for _, name in names])

    def confirm_written(self, session: Session) -> None:
        """The socket of a client without acks has taken all that was written: its messages are delivered."""
        written, session.unconfirmed = session.unconfirmed, []
        messages = [MessageName(sender, name) for kind, _, sender, name in written if kind is ItemKind.MESSAGE]
        others = [seq for kind, seq, _, _ in written if kind is not ItemKind.MESSAGE]
        for names in _parts(messages):
            self._pipeline.run(self._acknowledge(session, names))
        for seqs in _parts(others):
            self._pipeline.run(self._confirm(session, seqs, is_silent=bool(messages)))

    def _acknowledge(self, session: Session, names: Sequence[MessageName]) -> Steps:
        """One command for all, or one for each if that fails."""
        spent = Spent(session.mark, RECEIPT_BYTES * len(names), self._clock.monotonic_ms())
        # Before it is stored, and for all that it may come to: otherwise what an address has under way at once would
        # pass the quota. What is not needed is given back.
        may_notify = not self._quota.spend(spent.mark, spent.size, spent.at)
        receipts: list[StoredReceipt] = []
        hidden: list[tuple[MessageName, DeliveryOutcome]] = []
        try:
            if session.looks_absent:
                hidden = yield self.acknowledge_hidden(session, names, frames.Status.DELIVERED)
            else:
                receipts = yield self.acknowledge(session, names, frames.Status.DELIVERED, may_notify=may_notify)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            if may_notify:
                self._quota.give_back(spent)
            if _may_succeed_alone(error, names):
                for name in names:
                    self._pipeline.run(self._acknowledge(session, [name]))
            else:
                self._replies.reply_failure(session, error, UNSET)
            return
        if may_notify:
            unspent = spent.size - RECEIPT_BYTES * (len(receipts) + len(hidden))
            self._quota.give_back(Spent(spent.mark, unspent, spent.at))
        self.deliver(receipts)
        self.hide(session, hidden)

    def acknowledge(
        self, session: Session, names: Sequence[MessageName], status: frames.Status, *, may_notify: bool
    ) -> Acknowledge:
        """The command that says that this client has received, read or burned messages."""
        return Acknowledge(
            actor=session.actor,
            messages=names,
            status=status,
            may_notify=may_notify,
            wall_ms=self._clock.wall_ms(),
            now=self._clock.persistent_ms(),
        )

    def acknowledge_hidden(
        self, session: Session, names: Sequence[MessageName], status: frames.Status
    ) -> AcknowledgeHidden:
        """As ``acknowledge``, for a client that looks absent."""
        return AcknowledgeHidden(
            actor=session.actor,
            messages=names,
            status=status,
            now=self._clock.persistent_ms(),
            mail_life_ms=self.mail_life_ms,
        )

    def _confirm(self, session: Session, seqs: Sequence[int], *, is_silent: bool) -> Steps:
        """One command for all, or one for each if that fails.

        Args:
            session: whose socket has taken them.
            seqs: of receipts and key exchanges.
            is_silent: a full disk is reported for the messages among them, once.
        """
        try:
            yield Confirm(actor=session.actor, seqs=seqs)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            if _may_succeed_alone(error, seqs):
                for seq in seqs:
                    self._pipeline.run(self._confirm(session, [seq], is_silent=is_silent))
            elif not (is_silent and isinstance(error, CommandFailed) and error.is_out_of_space):
                self._replies.reply_failure(session, error, UNSET)

    def deliver(self, receipts: Sequence[StoredReceipt]) -> None:
        """Push receipts to the senders of messages."""
        for receipt in receipts:
            self._mailboxes.deliver(receipt.sender, receipt.item)

    def _report(self, recipient: str, outcomes: Sequence[tuple[MessageName, frames.Status]]) -> None:
        for part in _parts(outcomes):
            self._pipeline.run(self._store(recipient, part))

    def _store(self, recipient: str, outcomes: Sequence[tuple[MessageName, frames.Status]]) -> Steps:
        receipts: list[StoredReceipt] = yield StoreReceipts(
            recipient=recipient, outcomes=outcomes, wall_ms=self._clock.wall_ms(), now=self._clock.persistent_ms()
        )
        self.deliver(receipts)


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    return (whole[first : first + WRITTEN_AT_ONCE] for first in range(0, len(whole), WRITTEN_AT_ONCE))


def _may_succeed_alone(error: Exception, parts: Sequence[object]) -> bool:
    """Whether the fault may be with one of them, so that the others can be done without it."""
    return isinstance(error, CommandFailed) and not error.is_out_of_space and len(parts) > 1
