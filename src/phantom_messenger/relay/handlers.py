"""What each frame does, one function each, called in the order of arrival with its signature verified.

A handler raises ``Refused`` or submits what it wants stored; nobody is answered before
the store has it.
"""

import base64
from collections.abc import Callable
from typing import Any, Final, assert_never

from msgspec import UNSET

from phantom_messenger.events import report
from phantom_messenger.relay import signatures
from phantom_messenger.relay.blocking import block
from phantom_messenger.relay.core import BACKLOG_RETRY_MS, Core, storage_refusal
from phantom_messenger.relay.login import authenticate, check_binding, refuse_login
from phantom_messenger.relay.permissions import Act, may, watchers
from phantom_messenger.relay.pipeline import Submission
from phantom_messenger.relay.ports import (
    Bundle,
    Failure,
    Item,
    ItemKind,
    Job,
    NewItem,
    OneTimeKey,
    PreKeyCounts,
    Publication,
    Refusal,
    SignedKey,
    Transaction,
)
from phantom_messenger.relay.prekeys import is_low, prekey_status, status_of
from phantom_messenger.relay.presence import presence
from phantom_messenger.relay.reference import Letter
from phantom_messenger.relay.rules import State
from phantom_messenger.relay.session import Session
from phantom_messenger.relay.unshown import Name
from phantom_messenger.wire import codec, frames, signing
from phantom_messenger.wire.codes import CloseCode, Reason, Refused

MESSAGE_OVERHEAD: Final = 512
"""About what a message takes beside its text: ids, indexes, that its sender wrote to its recipient."""

EXCHANGE_BYTES: Final = 4_096
"""About what a key exchange frame takes in the store; see ``_size_of``."""

MAX_SEEN_EXCHANGES: Final = 100_000
"""How many are remembered (about 25 MB); the oldest go first. Only its own sender can replay one, within its rate."""


def handle(core: Core, submission: Submission, verified: bool) -> None:
    """Obey one admitted frame, or answer why not."""
    session, frame, loose = submission.session, submission.decoded.frame, None
    if session.state is State.CLOSED:
        return
    try:
        if submission.letter is not None and submission.check is not None:
            verified, loose = submission.letter.judged(frame, submission.check, verified, core.verify)
        if not verified:
            raise Refused(Reason.SIGNATURE)
        match frame:
            case frames.Auth():
                authenticate(core, session, frame)
            case frames.Message():
                message(core, session, frame, submission.decoded.signed_text, loose)
            case frames.MessageAck():
                message_ack(core, session, frame)
            case frames.KeyExchangeInit():
                key_exchange_init(core, session, frame, loose)
            case frames.KeyExchangeResponse():
                key_exchange_response(core, session, frame, loose)
            case frames.PreKeyPublish():
                prekey_publish(core, session, frame)
            case frames.PreKeyStatusQuery():
                prekey_status(core, session, frame)
            case frames.Presence():
                presence(core, session, frame)
            case frames.Block():
                block(core, session, frame)
            case frames.Ping():
                ping(core, session, frame)
            case frames.AccountDelete():
                account_delete(core, session, frame)
            case _ as unreachable:
                assert_never(unreachable)
    except Refused as refused:
        if isinstance(frame, frames.Auth):
            refuse_login(core, session, refused, frame.id)
        else:
            core.refuse(session, refused, frame.id)
    except Exception as error:  # noqa: BLE001 - the border: one client's failure is not the others'
        core.refuse(session, Refused(Reason.INTERNAL), frame.id)
        core.failed(session, error)


# --- the account ----------------------------------------------------------------


def account_delete(core: Core, session: Session, frame: frames.AccountDelete) -> None:
    """ACCOUNT_DELETE: everything of this user goes, then the connection."""
    check_binding(core, session, frame.payload.challenge, frame.payload.audience)
    user = session.user_id

    def job(tx: Transaction) -> tuple[list[str], bool]:
        return watchers(Act.SEE_PRESENCE, user, tx.directory), tx.directory.delete(user)

    def then(result: tuple[list[str], bool]) -> None:
        contacts, is_gone = result
        if not is_gone:
            core.store(session, frame.id, job, then)
            return
        core.tell_contacts(user, contacts, frames.PresenceStatus.OFFLINE)
        current = core.hub.forget(user)
        core.unshown.take(user)
        for gone in {session, current} - {None}:
            if gone is not None:
                core.close(gone, CloseCode.NORMAL, "account deleted")

    core.store(session, frame.id, job, then)


# --- messages ---------------------------------------------------------------------


def message(
    core: Core, session: Session, frame: frames.Message, signed_text: bytes, loose: Letter | None = None
) -> None:
    """MESSAGE: into the recipient's mailbox, and only then accepted and pushed."""
    sender, payload = session.user_id, frame.payload
    if core.unshown.has_no_room(payload.recipient_id, Name(sender, payload.message_id), core.clock.persistent_ms()):
        raise Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)
    now, accepted_at = core.clock.persistent_ms(), core.clock.wall_ms()
    head, tail = loose.passed_on(sender) if loose else codec.routed_message(frame, signed_text, sender)
    lifetime = payload.options.expires_in
    item = NewItem(
        kind=ItemKind.MESSAGE,
        sender=sender,
        name=payload.message_id,
        head=head,
        tail=tail,
        expires_at=None if lifetime is None else now + lifetime,
        content=loose.content if loose else b'"encrypted":"%b"' % payload.encrypted.encode(),
        mark=session.mark,
    )
    spent = core.spend(session, len(head) + len(tail) + MESSAGE_OVERHEAD)

    def job(tx: Transaction) -> tuple[Item | Refusal | Refused | None, bool]:
        if tx.directory.public_key(payload.recipient_id) is None:
            return None, False
        if loose and tx.directory.signs(payload.recipient_id):
            return Refused(Reason.SIGNATURE), False
        known = may(Act.FILL, sender, payload.recipient_id, tx.directory)
        if not known and not may(Act.WRITE, sender, payload.recipient_id, tx.directory):
            tx.mailboxes.discard(payload.recipient_id, item, now=now)
            return Refusal.UNWANTED, False
        outcome = tx.mailboxes.append(payload.recipient_id, item, known=known, now=now)
        if isinstance(outcome, Refusal):
            return outcome, False
        return outcome, tx.directory.note_written(sender, payload.recipient_id, payload.conversation_id)

    def then(result: tuple[Item | Refusal | Refused | None, bool]) -> None:
        outcome, met = result
        if outcome is None or isinstance(outcome, Refused) or outcome is Refusal.FULL or outcome is Refusal.DUPLICATE:
            core.quota.give_back(spent)
        if outcome is None:
            core.refuse(session, Refused(Reason.USER), frame.id)
        elif isinstance(outcome, Refused):
            core.refuse(session, outcome, frame.id)
        elif outcome is Refusal.FULL:
            core.refuse(session, Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS), frame.id)
        else:
            core.send(
                session,
                frames.Receipt(
                    id=frame.id,
                    payload=frames.ReceiptPayload(
                        message_id=payload.message_id,
                        recipient_id=payload.recipient_id,
                        status=frames.Status.ACCEPTED,
                        timestamp=accepted_at,
                    ),
                    timestamp=core.clock.wall_ms(),
                ),
            )
            if isinstance(outcome, Item):
                core.deliver(payload.recipient_id, outcome)
            core.show(sender, payload.recipient_id)  # whoever writes to somebody is there for them
            if met:
                core.introduce(sender, payload.recipient_id)

    core.store(session, frame.id, job, then, size=len(head) + len(tail), spent=spent)


def message_ack(core: Core, session: Session, frame: frames.MessageAck) -> None:
    """MESSAGE_ACK: the recipient has a message, or (by seq) another item of its mailbox."""
    payload = frame.payload
    status = frames.Status(payload.status)
    if payload.seq is not UNSET:
        if payload.message_id is not UNSET or payload.sender_id is not UNSET:
            raise Refused(Reason.FIELD, field="payload.seq")
        if status is not frames.Status.DELIVERED:
            raise Refused(Reason.FIELD, field="payload.status")
        core.confirm(session, payload.seq, frame.id)
    elif payload.message_id is UNSET:
        raise Refused(Reason.FIELD, field="payload.messageId")
    elif payload.sender_id is not UNSET:
        core.acknowledge(session, payload.sender_id, payload.message_id, status, frame.id)
    elif session.reference is None:
        raise Refused(Reason.FIELD, field="payload.senderId")
    elif sender := session.reference.sender_of(payload.message_id):
        core.acknowledge(session, sender, payload.message_id, status, frame.id)


# --- key exchange -----------------------------------------------------------------


def key_exchange_init(core: Core, session: Session, frame: frames.KeyExchangeInit, loose: Letter | None = None) -> None:
    """KEY_EXCHANGE_INIT: answered from the store if the target has published; passed on in any case."""
    payload, requester = frame.payload, session.user_id
    seen = None if loose else frame.signature
    _check_exchange(core, session, payload.identity_key, seen)
    _check_dh_key(payload.ephemeral_key, "payload.ephemeralKey")
    if payload.pre_key_bundle is not UNSET:
        offered = payload.pre_key_bundle
        _check_signed_key(core, session.public_key, offered.signed_pre_key, None if loose else offered.signature)
        if offered.one_time_pre_key is not UNSET:
            _check_dh_key(offered.one_time_pre_key, "payload.preKeyBundle.oneTimePreKey")
    now = core.clock.persistent_ms()
    item = _exchange_item(session, frame, "init", loose)
    target = payload.target_id

    def job(tx: Transaction) -> Refused | tuple[Item | Refused | Refusal, Bundle | None, bool]:
        if loose and tx.directory.signs(target):
            return Refused(Reason.SIGNATURE)
        kept = _keep_exchange(tx, target, item, now)
        bundle = None
        if tx.directory.public_key(target) is not None:
            bundle = tx.prekeys.take(target, requester, now)
        # A mailbox full of INITs does not keep newcomers out: the first message carries all that INIT says.
        if isinstance(kept, Refused) and bundle is None:
            return kept
        return kept, bundle, kept is not Refusal.UNWANTED and tx.directory.note_written(requester, target, "")

    def then(outcome: Refused | tuple[Item | Refused | Refusal, Bundle | None, bool]) -> None:
        if isinstance(outcome, Refused):
            core.seen_exchanges.pop(seen, None)
            core.refuse(session, outcome, frame.id)
            return
        kept, bundle, met = outcome
        if bundle is not None:
            core.send(session, _response_from(bundle, target, frame.id, core.clock.wall_ms()))
        if isinstance(kept, Item):
            core.deliver(target, kept)
        peer = core.hub.of(target)
        if peer is not None and bundle is not None and is_low(bundle.left):
            core.send(peer, status_of(bundle.left, UNSET, core.clock.wall_ms()))
        if met:
            core.introduce(requester, target)

    _store_exchange(core, session, frame, job, then, size=_size_of(item), seen=seen)


def key_exchange_response(
    core: Core, session: Session, frame: frames.KeyExchangeResponse, loose: Letter | None = None
) -> None:
    """KEY_EXCHANGE_RESPONSE: a client's own answer, passed on to the initiator."""
    payload, sender = frame.payload, session.user_id
    seen = None if loose else frame.signature
    _check_exchange(core, session, payload.identity_key, seen)
    _check_signed_key(core, session.public_key, payload.signed_pre_key, None if loose else payload.pre_key_signature)
    if payload.one_time_pre_key is not UNSET:
        _check_dh_key(payload.one_time_pre_key, "payload.oneTimePreKey")
    if payload.kem_pre_key is not UNSET:
        if payload.kem_pre_key_signature is UNSET:
            raise Refused(Reason.FIELD, field="payload.kemPreKeySignature")
        _check_kem_keys(core, session.public_key, [(payload.kem_pre_key, payload.kem_pre_key_signature)])
    now = core.clock.persistent_ms()
    item = _exchange_item(session, frame, "response", loose)
    target = payload.target_id if session.reference is None else session.reference.answers(payload.target_id)
    if target is None:
        raise Refused(Reason.FIELD, field="payload.targetId")

    def job(tx: Transaction) -> Refused | tuple[Item | Refusal, bool]:
        if loose and tx.directory.signs(target):
            return Refused(Reason.SIGNATURE)
        kept = _keep_exchange(tx, target, item, now)
        if isinstance(kept, Refused | Refusal):
            return kept if isinstance(kept, Refused) else (kept, False)
        return kept, tx.directory.note_written(sender, target, "")

    def then(outcome: Refused | tuple[Item | Refusal, bool]) -> None:
        if isinstance(outcome, Refused):
            core.seen_exchanges.pop(seen, None)
            core.refuse(session, outcome, frame.id)
            return
        kept, met = outcome
        if isinstance(kept, Item):
            core.deliver(target, kept)
        if met:
            core.introduce(sender, target)

    _store_exchange(core, session, frame, job, then, size=_size_of(item), seen=seen)


def prekey_publish(core: Core, session: Session, frame: frames.PreKeyPublish) -> None:
    """PREKEY_PUBLISH: checked, stored, answered with PREKEY_STATUS."""
    payload = frame.payload
    check_binding(core, session, payload.challenge, payload.audience)
    _check_signed_key(core, session.public_key, payload.signed_pre_key.key, payload.signed_pre_key.signature)
    for index, one_time in enumerate(payload.one_time_pre_keys):
        _check_dh_key(one_time.key, f"payload.oneTimePreKeys[{index}].key")
    kem_keys = list(payload.kem_pre_keys)
    last_resort = None
    if payload.last_resort_kem_pre_key is not UNSET:
        part = payload.last_resort_kem_pre_key
        kem_keys.append(part)
        last_resort = SignedKey(part.id, part.key, part.signature)
    _check_kem_keys(core, session.public_key, [(part.key, part.signature) for part in kem_keys])
    signed = payload.signed_pre_key
    publication = Publication(
        signed=SignedKey(signed.id, signed.key, signed.signature),
        last_resort_kem=last_resort,
        one_time=[OneTimeKey(part.id, part.key) for part in payload.one_time_pre_keys],
        one_time_kem=[SignedKey(part.id, part.key, part.signature) for part in payload.kem_pre_keys],
        replace=payload.replace is True,
    )
    user = session.user_id
    spent = core.spend(session, publication.size)

    def then(counts: PreKeyCounts | None) -> None:
        if counts is None:
            core.quota.give_back(spent)
            core.refuse(session, Refused(Reason.PREKEY_FULL), frame.id)
        else:
            core.send(session, status_of(counts, frame.id, core.clock.wall_ms()))

    core.store(
        session,
        frame.id,
        lambda tx: tx.prekeys.publish(user, publication),
        then,
        size=publication.size,
        spent=spent,
    )


def _keep_exchange(tx: Transaction, target: str, item: NewItem, now: int) -> Item | Refused | Refusal:
    """Put a key exchange frame into the target's mailbox; why not, if it cannot be, or is not wanted there."""
    if tx.directory.public_key(target) is None:
        return Refused(Reason.USER)
    known = may(Act.FILL, item.sender, target, tx.directory)
    if not known and not may(Act.WRITE, item.sender, target, tx.directory):
        tx.mailboxes.discard(target, item, now=now)
        return Refusal.UNWANTED
    kept = tx.mailboxes.append(target, item, known=known, now=now)
    return kept if isinstance(kept, Item) else Refused(Reason.BACKLOG, retry_after=BACKLOG_RETRY_MS)


def _store_exchange(
    core: Core,
    session: Session,
    frame: frames.KeyExchangeInit | frames.KeyExchangeResponse,
    job: Job,
    then: Callable[[Any], None],
    *,
    size: int,
    seen: str | None,
) -> None:
    """As ``core.store``; what could not be stored may be sent again."""
    try:
        spent = core.spend(session, size)
    except Refused:
        core.seen_exchanges.pop(seen, None)
        raise

    def finish(outcome: Any) -> None:
        if isinstance(outcome, Refused):
            core.quota.give_back(spent)
        if isinstance(outcome, Failure):
            core.seen_exchanges.pop(seen, None)
            if not outcome.storage_full:
                report(outcome.error)
            core.refuse(session, storage_refusal(outcome), frame.id)
        else:
            then(outcome)

    core.store_for(session, job, finish, size=size, spent=spent)


def _size_of(item: NewItem) -> int:
    """What a key exchange takes in the store; a loose one can be as large as a message."""
    return max(EXCHANGE_BYTES, len(item.head) + len(item.tail) + MESSAGE_OVERHEAD)


def _check_exchange(core: Core, session: Session, identity_key: str, signature: str | None) -> None:
    """``signature`` None: it does not say to whom the frame goes, and may serve again."""
    if base64.b64decode(identity_key) != session.public_key:
        raise Refused(Reason.KEY, field="payload.identityKey")
    if signature is None:
        return
    now = core.clock.monotonic_ms()
    core.forget_exchanges(now)
    if signature in core.seen_exchanges:
        raise Refused(Reason.REPLAYED)
    core.seen_exchanges[signature] = now
    if len(core.seen_exchanges) > MAX_SEEN_EXCHANGES:
        del core.seen_exchanges[next(iter(core.seen_exchanges))]


def _check_dh_key(key: str, field: str) -> None:
    if not signatures.is_usable_x25519(base64.b64decode(key)):
        raise Refused(Reason.KEY, field=field)


def _check_signed_key(core: Core, identity: bytes, key: str, signature: str | None) -> None:
    """A signed prekey; ``signature`` None: it is known to verify."""
    _check_dh_key(key, "signedPreKey")
    if signature is not None:
        _check_signatures(core, identity, signing.signed_prekey_bytes, [(key, signature)])


def _check_kem_keys(core: Core, identity: bytes, keys: list[tuple[str, str]]) -> None:
    _check_signatures(core, identity, signing.kem_prekey_bytes, keys)


def _check_signatures(
    core: Core, identity: bytes, purpose: Callable[[bytes], bytes], keys: list[tuple[str, str]]
) -> None:
    checks = [(identity, base64.b64decode(mark), purpose(base64.b64decode(key))) for key, mark in keys]
    if checks and not all(core.verify(checks)):
        raise Refused(Reason.PREKEY_SIGNATURE)


def _exchange_item(
    session: Session, frame: frames.KeyExchangeInit | frames.KeyExchangeResponse, name: str, loose: Letter | None
) -> NewItem:
    sender = session.user_id
    head, tail = loose.passed_on(sender) if loose else codec.split_at_seq(codec.route(frame, sender))
    return NewItem(kind=ItemKind.KEY_EXCHANGE, sender=sender, name=name, head=head, tail=tail, mark=session.mark)


def _response_from(bundle: Bundle, target: str, request: Any, now: int) -> frames.RoutedKeyExchangeResponse:
    return frames.RoutedKeyExchangeResponse(
        id=request,
        payload=frames.RoutedKeyExchangeResponsePayload(
            sender_id=target,
            identity_key=bundle.identity_key,
            signed_pre_key=bundle.signed.key,
            signed_pre_key_id=bundle.signed.id,
            pre_key_signature=bundle.signed.signature,
            one_time_pre_key=UNSET if bundle.one_time is None else bundle.one_time.key,
            one_time_pre_key_id=UNSET if bundle.one_time is None else bundle.one_time.id,
            kem_pre_key=UNSET if bundle.kem is None else bundle.kem.key,
            kem_pre_key_id=UNSET if bundle.kem is None else bundle.kem.id,
            kem_pre_key_signature=UNSET if bundle.kem is None else bundle.kem.signature,
        ),
        timestamp=now,
    )


def ping(core: Core, session: Session, frame: frames.Ping) -> None:
    """PING: answered after everything that came before it on this connection was stored or refused."""

    def answer(result: object) -> None:
        if isinstance(result, Failure):
            core.refuse(session, storage_refusal(result), frame.id)
        else:
            core.send(session, frames.Pong(id=frame.id, timestamp=core.clock.wall_ms()))

    if session.state is State.OPEN:
        core.pipeline.store(lambda _: None, answer)
    else:
        answer(None)
