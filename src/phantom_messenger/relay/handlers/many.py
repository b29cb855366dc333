"""MESSAGE_MANY and PREKEY_FETCH: what clients with the feature ``many`` send."""

import base64
from collections.abc import Sequence

from msgspec import UNSET

from phantom_messenger import labels
from phantom_messenger.relay.commands import (
    MESSAGE_OVERHEAD,
    Accepted,
    AcceptMany,
    AppendRefusal,
    Copy,
    FetchPreKeys,
    MessageName,
    Order,
    OrderRefusal,
)
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers.keys import response_payload, warn_if_low
from phantom_messenger.relay.handlers.messages import append_error
from phantom_messenger.relay.many_commands import ORDER_BYTES
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.records import Bundle, ItemKind, NewItem
from phantom_messenger.wire import frames, splice
from phantom_messenger.wire.base64_text import decode_base64
from phantom_messenger.wire.codes import Reason, RequestError
from phantom_messenger.wire.orders import digest

_LABEL_BYTES = len(labels.ENVELOPE)


def message_many(core: Core, admitted: AdmittedFrame, frame: frames.MessageMany) -> Steps:
    """MESSAGE_MANY: a message into each recipient's mailbox, all on disk at once, and only then answered and pushed."""
    session, payload = admitted.session, frame.payload
    sender, is_group = session.user_id, payload.group is True
    for index, part in enumerate(payload.recipients):
        if part.recipient_id == sender:
            raise RequestError(Reason.FIELD, field=f"payload.recipients[{index}].recipientId")
    order = _order(frame, sender)
    if order is not None:
        core.admission.spend(admitted, ORDER_BYTES)
    copies, refused = _admitted(core, admitted, _copies(core, admitted, frame))
    results: Sequence[Accepted | AppendRefusal] | OrderRefusal = []
    if copies or order is not None:
        results = yield AcceptMany(
            actor=session.actor,
            copies=copies,
            conversation_id=payload.conversation_id,
            order=order,
            now=core.clock.persistent_ms(),
        )
    if isinstance(results, OrderRefusal):
        raise _order_error(results)
    unstored = 0
    for copy, result in zip(copies, results, strict=True):
        if not isinstance(result, Accepted):
            unstored += _size(copy)
            if result is not AppendRefusal.DUPLICATE:
                refused[copy.recipient] = append_error(result)
    core.admission.give_back_part(admitted, unstored)
    core.replies.send(session, _result(core, frame, refused))
    for copy, result in zip(copies, results, strict=True):
        if isinstance(result, Accepted) and result.item is not None:
            core.mailboxes.deliver(copy.recipient, result.item)
        if not is_group and copy.recipient not in refused:
            core.receipts.show(sender, copy.recipient)
        if isinstance(result, Accepted) and result.became_contacts:
            core.presence.announce_new_contacts(sender, copy.recipient)


def _copies(core: Core, admitted: AdmittedFrame, frame: frames.MessageMany) -> list[Copy]:
    """What each recipient is to get: what the relay makes of a MESSAGE with the same text and signature."""
    session, payload = admitted.session, frame.payload
    sender, lifetime = session.user_id, payload.options.expires_in
    expires_at = None if lifetime is None else core.clock.persistent_ms() + lifetime
    copies = []
    for part, (_, _, signed) in zip(payload.recipients, admitted.inner, strict=True):
        head, tail = splice.routed(signed[_LABEL_BYTES:], sender, part.signature)
        item = NewItem(
            kind=ItemKind.MESSAGE,
            sender=sender,
            name=payload.message_id,
            head=head,
            tail=tail,
            expires_at=expires_at,
            content=f'"encrypted":"{part.head or ""}{payload.common}"'.encode(),
            mark=session.mark,
            is_group=payload.group is True,
        )
        copies.append(Copy(part.recipient_id, item))
    return copies


def _admitted(core: Core, admitted: AdmittedFrame, copies: list[Copy]) -> tuple[list[Copy], dict[str, RequestError]]:
    """Those that may be stored, and why not the others: each is judged as a MESSAGE is, in their order."""
    refused: dict[str, RequestError] = {}
    now, sender = core.clock.persistent_ms(), admitted.session.user_id
    for recipient, item in copies:
        if not item.is_group and core.receipts.hidden.has_no_room(recipient, MessageName(sender, item.name), now):
            refused[recipient] = append_error(AppendRefusal.FULL)
    rest = [copy for copy in copies if copy.recipient not in refused]
    waits = core.admission.spend_each(admitted, [_size(copy) for copy in rest])
    for copy, wait in zip(rest, waits, strict=True):
        if wait:
            refused[copy.recipient] = RequestError(Reason.QUOTA, retry_after=wait)
    return [copy for copy in rest if copy.recipient not in refused], refused


def _size(copy: Copy) -> int:
    return len(copy.item.head) + len(copy.item.tail) + MESSAGE_OVERHEAD


def _result(core: Core, frame: frames.MessageMany, refused: dict[str, RequestError]) -> frames.ManyResult:
    """The answer; who is refused is named in the order of the request."""
    users = [part.recipient_id for part in frame.payload.recipients]
    return frames.ManyResult(
        id=frame.id,
        payload=frames.ManyResultPayload(
            accepted=len(users) - len(refused),
            message_id=frame.payload.message_id,
            refused=[
                frames.ManyRefusalPart(
                    code=refused[user].code,
                    reason=refused[user].reason,
                    recipient_id=user,
                    retry_after=UNSET if (wait := refused[user].retry_after) is None else wait,
                )
                for user in users
                if user in refused
            ],
        ),
        timestamp=core.clock.wall_ms(),
    )


def _order(frame: frames.MessageMany, author: str) -> Order | None:
    order = frame.payload.order
    if order is UNSET:
        return None
    name = decode_base64(order.name) or b""
    return Order(
        name=name,
        revision=order.revision,
        author=digest(name, author),
        writers=tuple([digest(name, writer) for writer in order.writers]),
        last=digest(name, author, frame.payload.message_id, str(order.revision)),
    )


def _order_error(refusal: OrderRefusal) -> RequestError:
    if refusal.revision is None:
        return RequestError(Reason.WRITER)
    known = {} if refusal.author is None else {"author": base64.b64encode(refusal.author).decode()}
    return RequestError(Reason.ORDER, details={"revision": refusal.revision, **known})


def prekey_fetch(core: Core, admitted: AdmittedFrame, frame: frames.PreKeyFetch) -> Steps:
    """PREKEY_FETCH: bundles from the store, as KEY_EXCHANGE_INIT gets one, but nobody is told."""
    session, targets = admitted.session, frame.payload.targets
    found: Sequence[Bundle | None] = yield FetchPreKeys(
        actor=session.actor, targets=targets, now=core.clock.persistent_ms()
    )
    bundles = [(target, bundle) for target, bundle in zip(targets, found, strict=True) if bundle is not None]
    core.replies.send(
        session,
        frames.PreKeyBundles(
            id=frame.id,
            payload=frames.PreKeyBundlesPayload(
                bundles=[response_payload(session, bundle, target) for target, bundle in bundles],
                missing=[target for target, bundle in zip(targets, found, strict=True) if bundle is None],
            ),
            timestamp=core.clock.wall_ms(),
        ),
    )
    for target, bundle in bundles:
        warn_if_low(core, target, bundle)
