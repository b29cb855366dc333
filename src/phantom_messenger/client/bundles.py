"""A peer's prekeys, from the frame that brought them. They are checked when a session begins."""

import base64

from msgspec import UNSET, UnsetType

from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.keys import PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.wire import frames


def bundle_of(payload: frames.RoutedKeyExchangeResponsePayload) -> PreKeyBundle:
    """The bundle of suite 1, and in it that of suite 2 if there is one."""
    return PreKeyBundle(
        identity=PeerIdentity(base64.b64decode(payload.identity_key)),
        signed_prekey=base64.b64decode(payload.signed_pre_key),
        signed_prekey_signature=base64.b64decode(payload.pre_key_signature),
        signed_prekey_id=_id(payload.signed_pre_key_id),
        one_time_prekey=_raw(payload.one_time_pre_key),
        one_time_prekey_id=_id(payload.one_time_pre_key_id),
        kem_prekey=_raw(payload.kem_pre_key),
        kem_prekey_signature=_raw(payload.kem_pre_key_signature) or b"",
        kem_prekey_id=_id(payload.kem_pre_key_id),
        dated=_dated(payload),
    )


def _dated(payload: frames.RoutedKeyExchangeResponsePayload) -> DatedBundle | None:
    """None if there is no date, or it lacks what it is of."""
    kem, last_resort = _raw(payload.kem_pre_key), payload.last_resort_kem_pre_key
    if payload.made_at is UNSET or payload.bundle_signature is UNSET or kem is None:
        return None
    return DatedBundle(
        identity=PeerIdentity(base64.b64decode(payload.identity_key)),
        user_id=base64.b64decode(payload.sender_id),
        made_at=payload.made_at,
        signed_prekey=base64.b64decode(payload.signed_pre_key),
        signed_prekey_id=_id(payload.signed_pre_key_id),
        kem_prekey=kem,
        kem_prekey_id=_id(payload.kem_pre_key_id),
        signature=base64.b64decode(payload.bundle_signature),
        one_time_prekey=_raw(payload.one_time_pre_key),
        one_time_prekey_id=_id(payload.one_time_pre_key_id),
        kem_prekey_signature=_raw(payload.kem_pre_key_signature) or b"",
        last_resort_digest=None if last_resort is UNSET else base64.b64decode(last_resort.digest),
        last_resort_id=0 if last_resort is UNSET else last_resort.id,
    )


def _raw(text: str | UnsetType) -> bytes | None:
    return None if text is UNSET else base64.b64decode(text)


def _id(number: int | UnsetType) -> int:
    return 0 if number is UNSET else number
