"""The frames that bring prekeys to where they are needed: key exchange, publication, stock.

See ``wire.frames``.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from phantom_messenger.wire import limits
from phantom_messenger.wire.envelope import (
    Audience,
    EnvelopeId,
    Frame,
    Integer,
    KemKey,
    Key32,
    Part,
    PreKeyId,
    Signature,
    Signed,
    Unsigned,
    UserId,
    WithoutPayload,
)

DeviceList = Annotated[str, Meta(min_length=4, max_length=2732)]
"""1 to 2,048 bytes in base64, which the relay does not look into."""


class OfferedBundle(Part, frozen=True, kw_only=True):
    """The initiator's own prekeys, offered with its KEY_EXCHANGE_INIT."""

    one_time_pre_key: Key32 | UnsetType = UNSET
    signature: Signature
    signed_pre_key: Key32


class KeyExchangeInitPayload(Part, frozen=True, kw_only=True):
    """See ``KeyExchangeInit``."""

    ephemeral_key: Key32
    identity_key: Key32
    pre_key_bundle: OfferedBundle | UnsetType = UNSET
    target_id: UserId


class KeyExchangeInit(Signed[KeyExchangeInitPayload], frozen=True, kw_only=True):
    """Client to relay: I want to talk to ``targetId``."""

    type: Literal["KEY_EXCHANGE_INIT"] = "KEY_EXCHANGE_INIT"


class RoutedKeyExchangeInitPayload(Part, frozen=True, kw_only=True):
    """``KeyExchangeInitPayload`` with the sender added, in alphabetical order."""

    ephemeral_key: Key32
    identity_key: Key32
    pre_key_bundle: OfferedBundle | UnsetType = UNSET
    sender_id: UserId
    target_id: UserId


class RoutedKeyExchangeInit(Frame, frozen=True, kw_only=True):
    """Relay to target: another user wants to talk to you."""

    id: EnvelopeId | UnsetType = UNSET
    payload: RoutedKeyExchangeInitPayload
    seq: Integer | UnsetType = UNSET
    signature: Signature
    timestamp: Integer
    type: Literal["KEY_EXCHANGE_INIT"] = "KEY_EXCHANGE_INIT"


class LastResortPart(Part, frozen=True, kw_only=True):
    """The hash of the ML-KEM-768 prekey that serves when no one-time key is left; ``bundleSignature`` covers it."""

    digest: Key32
    id: PreKeyId


class KeyExchangeResponsePayload(Part, frozen=True, kw_only=True):
    """See ``KeyExchangeResponse``."""

    bundle_signature: Signature | UnsetType = UNSET
    identity_key: Key32
    kem_pre_key: KemKey | UnsetType = UNSET
    kem_pre_key_id: PreKeyId | UnsetType = UNSET
    kem_pre_key_signature: Signature | UnsetType = UNSET
    last_resort_kem_pre_key: LastResortPart | UnsetType = UNSET
    made_at: Integer | UnsetType = UNSET
    one_time_pre_key: Key32 | UnsetType = UNSET
    one_time_pre_key_id: PreKeyId | UnsetType = UNSET
    pre_key_signature: Signature
    signed_pre_key: Key32
    signed_pre_key_id: PreKeyId | UnsetType = UNSET
    target_id: UserId


class KeyExchangeResponse(Signed[KeyExchangeResponsePayload], frozen=True, kw_only=True):
    """Client to relay: my prekeys, for the user who asked."""

    type: Literal["KEY_EXCHANGE_RESPONSE"] = "KEY_EXCHANGE_RESPONSE"


class RoutedKeyExchangeResponsePayload(Part, frozen=True, kw_only=True):
    """``KeyExchangeResponsePayload`` with the sender added; from the store it has no ``targetId``."""

    bundle_signature: Signature | UnsetType = UNSET
    device_list: DeviceList | UnsetType = UNSET
    """From the store only."""
    identity_key: Key32
    kem_pre_key: KemKey | UnsetType = UNSET
    kem_pre_key_id: PreKeyId | UnsetType = UNSET
    kem_pre_key_signature: Signature | UnsetType = UNSET
    last_resort_kem_pre_key: LastResortPart | UnsetType = UNSET
    made_at: Integer | UnsetType = UNSET
    one_time_pre_key: Key32 | UnsetType = UNSET
    one_time_pre_key_id: PreKeyId | UnsetType = UNSET
    pre_key_signature: Signature
    sender_id: UserId
    signed_pre_key: Key32
    signed_pre_key_id: PreKeyId | UnsetType = UNSET
    target_id: UserId | UnsetType = UNSET


class RoutedKeyExchangeResponse(Frame, frozen=True, kw_only=True):
    """Relay to initiator: the target's prekeys, from the target itself (signed) or from the store (not signed)."""

    id: EnvelopeId | UnsetType = UNSET
    payload: RoutedKeyExchangeResponsePayload
    seq: Integer | UnsetType = UNSET
    signature: Signature | UnsetType = UNSET
    timestamp: Integer
    type: Literal["KEY_EXCHANGE_RESPONSE"] = "KEY_EXCHANGE_RESPONSE"


class SignedPreKeyPart(Part, frozen=True, kw_only=True):
    """A signed X25519 prekey."""

    id: PreKeyId
    key: Key32
    signature: Signature


class OneTimePreKeyPart(Part, frozen=True, kw_only=True):
    """A one-time X25519 prekey."""

    id: PreKeyId
    key: Key32


class KemPreKeyPart(Part, frozen=True, kw_only=True):
    """A signed ML-KEM-768 prekey."""

    id: PreKeyId
    key: KemKey
    signature: Signature


class PreKeyPublishPayload(Part, frozen=True, kw_only=True):
    """See ``PreKeyPublish``; ``audience`` and ``challenge`` as in this connection's AUTH."""

    audience: Audience
    bundle_signature: Signature | UnsetType = UNSET
    challenge: Key32
    device_list: DeviceList | UnsetType = UNSET
    kem_pre_keys: Annotated[list[KemPreKeyPart], Meta(max_length=limits.MAX_KEM_PREKEYS_PER_PUBLISH)]
    last_resort_kem_pre_key: KemPreKeyPart | UnsetType = UNSET
    made_at: Integer | UnsetType = UNSET
    one_time_pre_keys: Annotated[list[OneTimePreKeyPart], Meta(max_length=limits.MAX_ONE_TIME_PREKEYS)]
    replace: bool | UnsetType = UNSET
    signed_pre_key: SignedPreKeyPart


class PreKeyPublish(Signed[PreKeyPublishPayload], frozen=True, kw_only=True):
    """Client to relay: prekeys to hand out while I am offline.

    One-time keys are added to those that are stored; with ``replace`` they replace them.
    """

    type: Literal["PREKEY_PUBLISH"] = "PREKEY_PUBLISH"


class PreKeyStatusQuery(WithoutPayload, frozen=True, kw_only=True):
    """Client to relay: how many of my prekeys are left?"""

    type: Literal["PREKEY_STATUS"] = "PREKEY_STATUS"


class PreKeyStatusPayload(Part, frozen=True, kw_only=True):
    """See ``PreKeyStatus``."""

    highest_pre_key_id: PreKeyId | UnsetType = UNSET
    kem_pre_keys: Integer
    last_resort_kem_pre_key_id: PreKeyId | UnsetType = UNSET
    one_time_pre_keys: Integer
    signed_pre_key_id: PreKeyId | UnsetType = UNSET


class PreKeyStatus(Unsigned[PreKeyStatusPayload], frozen=True, kw_only=True):
    """Relay to client: how many are left; also sent unasked when fewer than ten of a kind are."""

    type: Literal["PREKEY_STATUS"] = "PREKEY_STATUS"
