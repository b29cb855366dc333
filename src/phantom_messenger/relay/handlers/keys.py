"""KEY_EXCHANGE_INIT, KEY_EXCHANGE_RESPONSE, PREKEY_PUBLISH and PREKEY_STATUS."""

import base64
from collections.abc import Callable, Generator
from typing import Any, Final

import msgspec
from msgspec import UNSET

from phantom_messenger.relay import dated_prekeys, public_keys
from phantom_messenger.relay.commands import (
    AnyCommand,
    AppendRefusal,
    CommandFailed,
    CountPreKeys,
    Exchanged,
    ExchangeKeys,
    PublishPreKeys,
    PublishRefusal,
)
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.handlers.login import check_binding
from phantom_messenger.relay.handlers.messages import append_error
from phantom_messenger.relay.pipeline import AdmittedFrame, Steps
from phantom_messenger.relay.prekey_status import is_low, status_of
from phantom_messenger.relay.records import (
    Bundle,
    ItemKind,
    NewItem,
    OneTimeKey,
    PreKeyCounts,
    Publication,
    SignedKey,
)
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import codec, frames, signing, splice
from phantom_messenger.wire.codes import Reason, RequestError


def key_exchange_init(core: Core, admitted: AdmittedFrame, frame: frames.KeyExchangeInit) -> Steps:
    """KEY_EXCHANGE_INIT: answered from the store if the target has published; passed on in any case."""
    session, payload, loose = admitted.session, frame.payload, admitted.loose
    target = payload.target_id
    _check_identity(session.public_key, payload.identity_key)
    signature = _first_seen(core, admitted)
    _check_dh_key(payload.ephemeral_key, "payload.ephemeralKey")
    if payload.pre_key_bundle is not UNSET:
        offered = payload.pre_key_bundle
        _check_signed_key(core, session.public_key, offered.signed_pre_key, None if loose else offered.signature)
        if offered.one_time_pre_key is not UNSET:
            _check_dh_key(offered.one_time_pre_key, "payload.preKeyBundle.oneTimePreKey")
    item = _exchange_item(admitted, frame, "init")
    exchanged = yield from _exchange(core, admitted, target, item, signature, wants_bundle=True)
    bundle = exchanged.bundle
    if bundle is not None:
        response = frames.RoutedKeyExchangeResponse(
            id=frame.id, payload=response_payload(session, bundle, target), timestamp=core.clock.wall_ms()
        )
        core.replies.send(session, response)
    if exchanged.item is not None:
        core.mailboxes.deliver(target, exchanged.item)
    if bundle is not None:
        warn_if_low(core, target, bundle)
    if exchanged.became_contacts:
        core.presence.announce_new_contacts(session.user_id, target)


def warn_if_low(core: Core, target: str, bundle: Bundle) -> None:
    """Tell a user who has few one-time keys left behind this bundle: whoever is connected publishes more."""
    if not is_low(bundle.left):
        return
    status, session = status_of(bundle.left, UNSET, core.clock.wall_ms()), core.hub.of(target)
    if session is None:
        core.others.pass_on([target], codec.encode(status))
    else:
        core.replies.send(session, status)


def key_exchange_response(core: Core, admitted: AdmittedFrame, frame: frames.KeyExchangeResponse) -> Steps:
    """KEY_EXCHANGE_RESPONSE: a client's own answer, passed on to the initiator."""
    session, payload, loose = admitted.session, frame.payload, admitted.loose
    _check_identity(session.public_key, payload.identity_key)
    signature = _first_seen(core, admitted)
    _check_signed_key(core, session.public_key, payload.signed_pre_key, None if loose else payload.pre_key_signature)
    if payload.one_time_pre_key is not UNSET:
        _check_dh_key(payload.one_time_pre_key, "payload.oneTimePreKey")
    if payload.kem_pre_key is not UNSET:
        if payload.kem_pre_key_signature is UNSET:
            raise RequestError(Reason.FIELD, field="payload.kemPreKeySignature")
        _check_kem_keys(core, session.public_key, [(payload.kem_pre_key, payload.kem_pre_key_signature)])
    dated_prekeys.check_response(core, session, payload)
    item = _exchange_item(admitted, frame, "response")
    target = payload.target_id if session.reference is None else session.reference.answers(payload.target_id)
    if target is None:
        raise RequestError(Reason.FIELD, field="payload.targetId")
    exchanged = yield from _exchange(core, admitted, target, item, signature, wants_bundle=False)
    if exchanged.item is not None:
        core.mailboxes.deliver(target, exchanged.item)
    if exchanged.became_contacts:
        core.presence.announce_new_contacts(session.user_id, target)


def prekey_publish(core: Core, admitted: AdmittedFrame, frame: frames.PreKeyPublish) -> Steps:
    """PREKEY_PUBLISH: checked, stored, answered with PREKEY_STATUS."""
    session, payload = admitted.session, frame.payload
    check_binding(core, session, payload.challenge, payload.audience)
    publication = _checked_publication(core, session, payload)
    core.admission.spend(admitted, publication.size)
    counts: PreKeyCounts | PublishRefusal = yield PublishPreKeys(actor=session.actor, publication=publication)
    if isinstance(counts, PublishRefusal):
        raise RequestError(_PUBLISH_REASONS[counts])
    core.replies.send(session, status_of(counts, frame.id, core.clock.wall_ms()))


_PUBLISH_REASONS: Final = {
    PublishRefusal.FULL: Reason.PREKEY_FULL,
    PublishRefusal.OUTDATED: Reason.OUTDATED,
}


def prekey_status(core: Core, admitted: AdmittedFrame, frame: frames.PreKeyStatusQuery) -> Steps:
    """PREKEY_STATUS: how many are left."""
    session = admitted.session
    counts: PreKeyCounts = yield CountPreKeys(actor=session.actor)
    core.replies.send(session, status_of(counts, frame.id, core.clock.wall_ms()))


# --- what is stored -----------------------------------------------------------------


def _exchange(
    core: Core, admitted: AdmittedFrame, target: str, item: NewItem, signature: str | None, *, wants_bundle: bool
) -> Generator[AnyCommand, Any, Exchanged]:
    """Have a key exchange stored; one that is refused may be sent again."""
    command = ExchangeKeys(
        actor=admitted.session.actor,
        target=target,
        item=item,
        wants_bundle=wants_bundle,
        is_loose=admitted.loose is not None,
        now=core.clock.persistent_ms(),
    )
    try:
        core.admission.spend(admitted, command.size)
        result: Exchanged | AppendRefusal = yield command
        if isinstance(result, AppendRefusal):
            raise append_error(result)
    except (RequestError, CommandFailed):
        if signature is not None:
            core.admission.seen_exchanges.discard(signature)
        raise
    return result


def _exchange_item(
    admitted: AdmittedFrame, frame: frames.KeyExchangeInit | frames.KeyExchangeResponse, name: str
) -> NewItem:
    session, loose = admitted.session, admitted.loose
    sender = session.user_id
    head, tail = loose.passed_on(sender) if loose else splice.split_at_seq(codec.encode(codec.route(frame, sender)))
    return NewItem(kind=ItemKind.KEY_EXCHANGE, sender=sender, name=name, head=head, tail=tail, mark=session.mark)


# --- what is checked ----------------------------------------------------------------


def _check_identity(public_key: bytes, identity_key: str) -> None:
    if base64.b64decode(identity_key) != public_key:
        raise RequestError(Reason.KEY, field="payload.identityKey")


def _first_seen(core: Core, admitted: AdmittedFrame) -> str | None:
    """Remember the signature of a key exchange; None if it does not say to whom the frame goes, and may serve again.

    Raises:
        RequestError: ``REPLAYED``.
    """
    if admitted.loose:
        return None
    signature: str = admitted.frame.signature  # type: ignore[union-attr,assignment] # a key exchange has one
    if not core.admission.seen_exchanges.add(signature, core.clock.monotonic_ms()):
        raise RequestError(Reason.REPLAYED)
    return signature


def _checked_publication(core: Core, session: Session, payload: frames.PreKeyPublishPayload) -> Publication:
    identity, signed = session.public_key, payload.signed_pre_key
    _check_signed_key(core, identity, signed.key, signed.signature)
    for index, one_time in enumerate(payload.one_time_pre_keys):
        _check_dh_key(one_time.key, f"payload.oneTimePreKeys[{index}].key")
    kem_keys = list(payload.kem_pre_keys)
    last_resort = None
    if payload.last_resort_kem_pre_key is not UNSET:
        part = payload.last_resort_kem_pre_key
        kem_keys.append(part)
        last_resort = SignedKey(part.id, part.key, part.signature)
    _check_kem_keys(core, identity, [(part.key, part.signature) for part in kem_keys])
    return Publication(
        signed=SignedKey(signed.id, signed.key, signed.signature),
        last_resort_kem=last_resort,
        one_time=[OneTimeKey(part.id, part.key) for part in payload.one_time_pre_keys],
        one_time_kem=[SignedKey(part.id, part.key, part.signature) for part in payload.kem_pre_keys],
        replace=payload.replace is True,
        dating=dated_prekeys.of_publication(core, session, payload),
        device_list=None if payload.device_list is UNSET else payload.device_list,
    )


def _check_dh_key(key: str, field: str) -> None:
    if not public_keys.is_usable_x25519(base64.b64decode(key)):
        raise RequestError(Reason.KEY, field=field)


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
        raise RequestError(Reason.PREKEY_SIGNATURE)


def response_payload(session: Session, bundle: Bundle, target: str) -> frames.RoutedKeyExchangeResponsePayload:
    """What a client is told of a bundle: what it has said that it knows."""
    payload = frames.RoutedKeyExchangeResponsePayload(
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
    )
    if session.takes_devices and bundle.device_list is not None:
        payload = msgspec.structs.replace(payload, device_list=bundle.device_list)
    return dated_prekeys.with_date(payload, bundle) if session.takes_dates else payload
