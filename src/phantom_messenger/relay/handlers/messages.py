"""MESSAGE and MESSAGE_ACK."""

from typing import Final

from msgspec import UNSET

from phantom_messenger.relay.core import BACKLOG_RETRY_MS, Core
from phantom_messenger.relay.delivery_receipts import RECEIPT_BYTES, Moment, remove_hidden, remove_received
from phantom_messenger.relay.hidden_receipts import DeliveryOutcome, MessageName
from phantom_messenger.relay.permissions import Act, may
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps, as_user
from phantom_messenger.relay.ports import Item, ItemKind, NewItem, Refusal, Transaction
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import codec, frames
from phantom_messenger.wire.codes import Reason, Refused

MESSAGE_OVERHEAD: Final = 512
"""About what a message takes beside its text: ids, indexes, that its sender wrote to its recipient."""


def message(core: Core, admitted: AdmittedFrame, frame: frames.Message) -> Steps:
    """MESSAGE: into the recipient's mailbox, and only then accepted and pushed."""
    session, payload, loose = admitted.session, frame.payload, admitted.loose
    sender, recipient = session.user_id, payload.recipient_id
    now, accepted_at = core.clock.persistent_ms(), core.clock.wall_ms()
    if core.receipts.hidden.has_no_room(recipient, MessageName(sender, payload.message_id), now):
        raise Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)
    item = _item(admitted, frame, now)
    size = len(item.head) + len(item.tail)
    core.admission.spend(admitted, size + MESSAGE_OVERHEAD)

    def job(tx: Transaction) -> tuple[Item | Refusal | Refused | None, bool]:
        if tx.directory.public_key(recipient) is None:
            return None, False
        if loose and tx.directory.signs(recipient):
            return Refused(Reason.SIGNATURE), False
        known = may(Act.FILL, sender, recipient, tx.directory)
        if not known and not may(Act.WRITE, sender, recipient, tx.directory):
            tx.mailboxes.discard(recipient, item, now=now)
            return Refusal.UNWANTED, False
        outcome = tx.mailboxes.append(recipient, item, known=known, now=now)
        if isinstance(outcome, Refusal):
            return outcome, False
        return outcome, tx.directory.note_written(sender, recipient, payload.conversation_id)

    outcome, became_contacts = yield as_user(session, job, size)
    if outcome is None:
        raise Refused(Reason.USER)
    if isinstance(outcome, Refused):
        raise outcome
    if outcome is Refusal.FULL:
        raise Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)
    if outcome is Refusal.DUPLICATE:
        core.admission.give_back(admitted)
    core.replies.send(
        session,
        frames.Receipt(
            id=frame.id,
            payload=frames.ReceiptPayload(
                message_id=payload.message_id,
                recipient_id=recipient,
                status=frames.Status.ACCEPTED,
                timestamp=accepted_at,
            ),
            timestamp=core.clock.wall_ms(),
        ),
    )
    if isinstance(outcome, Item):
        core.mailboxes.deliver(recipient, outcome)
    core.receipts.show(sender, recipient)  # a user who writes to somebody has appeared to them
    if became_contacts:
        core.presence.announce_new_contacts(sender, recipient)


def _item(admitted: AdmittedFrame, frame: frames.Message, now: int) -> NewItem:
    sender, payload, loose = admitted.session.user_id, frame.payload, admitted.loose
    head, tail = loose.passed_on(sender) if loose else codec.routed_message(frame, admitted.signed_text, sender)
    lifetime = payload.options.expires_in
    return NewItem(
        kind=ItemKind.MESSAGE,
        sender=sender,
        name=payload.message_id,
        head=head,
        tail=tail,
        expires_at=None if lifetime is None else now + lifetime,
        content=loose.content if loose else b'"encrypted":"%b"' % payload.encrypted.encode(),
        mark=admitted.session.mark,
    )


def message_ack(core: Core, admitted: AdmittedFrame, frame: frames.MessageAck) -> Steps:
    """MESSAGE_ACK: the recipient has a message, or (by seq) another item of its mailbox."""
    session, payload = admitted.session, frame.payload
    status = frames.Status(payload.status)
    if payload.seq is not UNSET:
        if payload.message_id is not UNSET or payload.sender_id is not UNSET:
            raise Refused(Reason.FIELD, field="payload.seq")
        if status is not frames.Status.DELIVERED:
            raise Refused(Reason.FIELD, field="payload.status")
        user, seq = session.user_id, payload.seq
        yield as_user(session, lambda tx: tx.mailboxes.confirm(user, seq))
    elif (name := _acknowledged(session, payload)) is None:
        return
    elif session.looks_absent:
        yield from _acknowledge_hidden(core, admitted, name, status)
    else:
        yield from _acknowledge(core, admitted, name, status)


def _acknowledged(session: Session, payload: frames.MessageAckPayload) -> MessageName | None:
    """Which message is meant; None if a client of the reference means one that it was not given."""
    if payload.message_id is UNSET:
        raise Refused(Reason.FIELD, field="payload.messageId")
    if payload.sender_id is not UNSET:
        return MessageName(payload.sender_id, payload.message_id)
    if session.reference is None:
        raise Refused(Reason.FIELD, field="payload.senderId")
    sender = session.reference.sender_of(payload.message_id)
    return None if sender is None else MessageName(sender, payload.message_id)


def _acknowledge(core: Core, admitted: AdmittedFrame, name: MessageName, status: frames.Status) -> Steps:
    """The recipient has received, read or burned a message: remove it, and notify a sender it knows."""
    session, moment = admitted.session, Moment.of(core.clock)
    recipient = session.user_id
    admitted.spent = core.admission.try_spend(session, RECEIPT_BYTES)
    notify = admitted.spent is not None
    receipt: Item | None = yield as_user(
        session, lambda tx: remove_received(tx, recipient, name, status, moment, notify=notify)
    )
    if receipt is None:
        core.admission.give_back(admitted)
    else:
        core.mailboxes.deliver(name.sender, receipt)


def _acknowledge_hidden(core: Core, admitted: AdmittedFrame, name: MessageName, status: frames.Status) -> Steps:
    """As ``_acknowledge``, for a recipient who looks absent: the sender is notified later."""
    session, moment = admitted.session, Moment.of(core.clock)
    recipient, life = session.user_id, core.receipts.mail_life_ms
    admitted.spent = core.admission.try_spend(session, RECEIPT_BYTES)
    notify = admitted.spent is not None
    outcome: DeliveryOutcome | None = yield as_user(
        session, lambda tx: remove_hidden(tx, recipient, name, status, moment, life)
    )
    if outcome is None:
        core.admission.give_back(admitted)
    elif notify:
        core.receipts.hide(session, [(name, outcome)])
