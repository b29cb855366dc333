"""MESSAGE and MESSAGE_ACK."""

from msgspec import UNSET

from phantom_messenger.relay.commands import (
    MESSAGE_OVERHEAD,
    Accepted,
    AcceptMessage,
    AppendRefusal,
    Confirm,
    DeliveryOutcome,
    MessageName,
    StoredReceipt,
)
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.delivery_receipts import RECEIPT_BYTES
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.records import ItemKind, NewItem
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames, splice
from phantom_messenger.wire.codes import Reason, RequestError

BACKLOG_RETRY_MS = 60_000
"""When to try a full mailbox again: its owner has to connect first."""


def message(core: Core, admitted: AdmittedFrame, frame: frames.Message) -> Steps:
    """MESSAGE: into the recipient's mailbox, and only then accepted and pushed."""
    session, payload = admitted.session, frame.payload
    sender, recipient = session.user_id, payload.recipient_id
    now = core.clock.persistent_ms()
    if core.receipts.hidden.has_no_room(recipient, MessageName(sender, payload.message_id), now):
        raise append_error(AppendRefusal.FULL)
    item = _item(admitted, frame, now)
    size = len(item.head) + len(item.tail)
    # Before it is stored: what an address has under way at once must not pass its quota together.
    core.admission.spend(admitted, size + MESSAGE_OVERHEAD)
    result: Accepted | AppendRefusal = yield AcceptMessage(
        actor=session.actor,
        recipient=recipient,
        item=item,
        conversation_id=payload.conversation_id,
        is_loose=admitted.loose is not None,
        now=now,
        size=size,
    )
    if result is AppendRefusal.DUPLICATE:
        core.admission.give_back(admitted)
    elif isinstance(result, AppendRefusal):
        raise append_error(result)
    accepted_at = core.clock.wall_ms()
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
            timestamp=accepted_at,
        ),
    )
    if isinstance(result, Accepted) and result.item is not None:
        core.mailboxes.deliver(recipient, result.item)
    core.receipts.show(sender, recipient)  # a user who writes to somebody has appeared to them
    if isinstance(result, Accepted) and result.became_contacts:
        core.presence.announce_new_contacts(sender, recipient)


def append_error(refusal: AppendRefusal) -> RequestError:
    """The answer to a sender whose item was not put into a mailbox."""
    match refusal:
        case AppendRefusal.NO_ACCOUNT:
            return RequestError(Reason.USER)
        case AppendRefusal.SIGNED_ONLY:
            return RequestError(Reason.SIGNATURE)
        case _:
            return RequestError(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)


def _item(admitted: AdmittedFrame, frame: frames.Message, now: int) -> NewItem:
    sender, payload, loose = admitted.session.user_id, frame.payload, admitted.loose
    head, tail = loose.passed_on(sender) if loose else splice.routed(admitted.signed_text, sender, frame.signature)
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
            raise RequestError(Reason.FIELD, field="payload.seq")
        if status is not frames.Status.DELIVERED:
            raise RequestError(Reason.FIELD, field="payload.status")
        yield Confirm(actor=session.actor, seqs=[payload.seq])
    elif (name := _acknowledged(session, payload)) is None:
        return
    elif session.looks_absent:
        yield from _acknowledge_hidden(core, admitted, name, status)
    else:
        yield from _acknowledge(core, admitted, name, status)


def _acknowledged(session: Session, payload: frames.MessageAckPayload) -> MessageName | None:
    """Which message is meant; None if a client of the reference means one that it was not given."""
    if payload.message_id is UNSET:
        raise RequestError(Reason.FIELD, field="payload.messageId")
    if payload.sender_id is not UNSET:
        return MessageName(payload.sender_id, payload.message_id)
    if session.reference is None:
        raise RequestError(Reason.FIELD, field="payload.senderId")
    sender = session.reference.sender_of(payload.message_id)
    return None if sender is None else MessageName(sender, payload.message_id)


def _acknowledge(core: Core, admitted: AdmittedFrame, name: MessageName, status: frames.Status) -> Steps:
    """The recipient has received, read or burned a message: delete it, and notify a sender it knows."""
    admitted.spent = core.admission.try_spend(admitted.session, RECEIPT_BYTES)
    receipts: list[StoredReceipt] = yield core.receipts.acknowledge(
        admitted.session, [name], status, may_notify=admitted.spent is not None
    )
    if not receipts:
        core.admission.give_back(admitted)
    core.receipts.deliver(receipts)


def _acknowledge_hidden(core: Core, admitted: AdmittedFrame, name: MessageName, status: frames.Status) -> Steps:
    """As ``_acknowledge``, for a recipient who looks absent: the sender is notified later."""
    admitted.spent = core.admission.try_spend(admitted.session, RECEIPT_BYTES)
    may_notify = admitted.spent is not None
    outcomes: list[tuple[MessageName, DeliveryOutcome]] = yield core.receipts.acknowledge_hidden(
        admitted.session, [name], status
    )
    if not outcomes:
        core.admission.give_back(admitted)
    elif may_notify:
        core.receipts.hide(admitted.session, outcomes)
