"""Prekeys that their owner has signed as a whole and dated: what is checked, and what is handed out.

Only the keys that last are covered: the signed prekey and the last-resort KEM prekey, of which it is the hash. So a
bundle with a one-time KEM prekey has the hash of the last resort too, for whoever checks the signature.
"""

import base64
import hashlib

import msgspec
from msgspec import UNSET, UnsetType

from phantom_messenger import labels
from phantom_messenger.relay.core import Core
from phantom_messenger.relay.records import Bundle, Dating
from phantom_messenger.relay.session import Session
from phantom_messenger.wire import frames
from phantom_messenger.wire.base64_text import decode_base64
from phantom_messenger.wire.codes import Reason, RequestError

_Key = tuple[int, str]
"""Id and key; of a last resort the hash of the key."""


def of_publication(core: Core, session: Session, payload: frames.PreKeyPublishPayload) -> Dating | None:
    """The date of what is published; None if it has none.

    Raises:
        RequestError: ``FIELD`` or ``PREKEY_SIGNATURE``.
    """
    dating = _dating(payload)
    if dating is not None:
        if payload.last_resort_kem_pre_key is UNSET:
            raise _missing("lastResortKemPreKey")
        signed, last_resort = payload.signed_pre_key, payload.last_resort_kem_pre_key
        _check(core, session, dating, (signed.id, signed.key), (last_resort.id, _digest(last_resort.key)))
    return dating


def check_response(core: Core, session: Session, payload: frames.KeyExchangeResponsePayload) -> None:
    """A client's own answer: its date, if it has one.

    Raises:
        RequestError: ``FIELD`` or ``PREKEY_SIGNATURE``.
    """
    dating = _dating(payload)
    if dating is None:
        if payload.last_resort_kem_pre_key is not UNSET:
            raise _missing("madeAt")
        return
    if payload.signed_pre_key_id is UNSET:
        raise _missing("signedPreKeyId")
    if payload.kem_pre_key is UNSET:
        raise _missing("kemPreKey")
    if payload.kem_pre_key_id is UNSET:
        raise _missing("kemPreKeyId")
    last_resort = payload.last_resort_kem_pre_key
    if last_resort is UNSET:
        last = payload.kem_pre_key_id, _digest(payload.kem_pre_key)
    else:
        last = last_resort.id, last_resort.digest
    _check(core, session, dating, (payload.signed_pre_key_id, payload.signed_pre_key), last)


def with_date(
    payload: frames.RoutedKeyExchangeResponsePayload, bundle: Bundle
) -> frames.RoutedKeyExchangeResponsePayload:
    """An answer from the store for a client that knows dated prekeys."""
    dating, last_resort = bundle.dating, bundle.last_resort_kem
    if dating is None or last_resort is None:
        return payload
    named: frames.LastResortPart | UnsetType = UNSET
    if (payload.kem_pre_key_id, payload.kem_pre_key) != (last_resort.id, last_resort.key):
        named = frames.LastResortPart(digest=_digest(last_resort.key), id=last_resort.id)
    return msgspec.structs.replace(
        payload,
        bundle_signature=dating.signature,
        last_resort_kem_pre_key=named,
        made_at=dating.made_at,
    )


def _dating(payload: frames.PreKeyPublishPayload | frames.KeyExchangeResponsePayload) -> Dating | None:
    made_at: int | UnsetType = payload.made_at
    signature: str | UnsetType = payload.bundle_signature
    if made_at is UNSET:
        if signature is not UNSET:
            raise _missing("madeAt")
        return None
    if signature is UNSET:
        raise _missing("bundleSignature")
    return Dating(made_at, signature)


def _check(core: Core, session: Session, dating: Dating, signed: _Key, last_resort: _Key) -> None:
    user_id = decode_base64(session.user_id)
    if user_id is None:  # an id of another form, of a reference client
        raise RequestError(Reason.PREKEY_SIGNATURE)
    text = labels.prekey_bundle(
        made_at=dating.made_at,
        signed_id=signed[0],
        signed_prekey=base64.b64decode(signed[1]),
        kem_id=last_resort[0],
        kem_digest=base64.b64decode(last_resort[1]),
        user_id=user_id,
    )
    if not core.verify([(session.public_key, base64.b64decode(dating.signature), text)])[0]:
        raise RequestError(Reason.PREKEY_SIGNATURE)


def _digest(key: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode()


def _missing(member: str) -> RequestError:
    return RequestError(Reason.FIELD, field=f"payload.{member}")
