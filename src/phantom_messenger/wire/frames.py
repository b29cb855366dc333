"""Every frame of the protocol as a frozen type.

Fields are in alphabetical order, and absent ones are ``UNSET``, so that encoding a frame yields
its canonical JSON without sorting (all names are ASCII, all numbers integers). A ``signature``
covers the frame without itself, ``seq`` and ``senderId``.

An instance that ``wire.codec`` decoded is valid as far as the frame alone can tell: shape,
sizes and base64 are right. Frames named ``Routed…`` are what the relay passes on. Frames that
share a ``type`` are told apart by direction, in ``CLIENT_FRAMES`` and ``RELAY_FRAMES``.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from phantom_messenger.wire import limits

Base64 = Annotated[str, Meta(min_length=4)]
Key32 = Annotated[str, Meta(min_length=44, max_length=44)]
"""32 bytes in base64: a public key, an ephemeral key, a challenge, a hash."""
KemKey = Annotated[str, Meta(min_length=1580, max_length=1580)]
"""An ML-KEM-768 encapsulation key: 1,184 bytes in base64."""
Signature = Annotated[str, Meta(min_length=88, max_length=88)]
"""An Ed25519 signature: 64 bytes in base64."""
UserId = Annotated[str, Meta(min_length=24, max_length=88)]
"""16 to 64 bytes in base64."""
MessageId = Annotated[
    str, Meta(pattern=r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z")
]
"""A UUID as RFC 9562 writes it."""
EnvelopeId = Annotated[str, Meta(pattern=rf"^[\x21-\x7e]{{1,{limits.MAX_ID_CHARS}}}\Z")]
ConversationId = Annotated[str, Meta(pattern=rf"^[\x20-\x7e]{{1,{limits.MAX_CONVERSATION_CHARS}}}\Z")]
Integer = Annotated[int, Meta(ge=0, le=limits.MAX_SAFE_INTEGER)]
PreKeyId = Annotated[int, Meta(ge=1, le=2**32 - 1)]
Audience = Annotated[str, Meta(min_length=1, max_length=261)]
"""host[:port]: a domain name has at most 253 characters, a port five."""


P = TypeVar("P")
"""The payload of an envelope."""


class Status(StrEnum):
    """The delivery status of a MESSAGE; ``accepted`` and ``expired`` are additions to the reference."""

    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    READ = "read"
    BURNED = "burned"
    EXPIRED = "expired"


class PresenceStatus(StrEnum):
    """What a client reports about its user."""

    ONLINE = "online"
    TYPING = "typing"
    IDLE = "idle"
    OFFLINE = "offline"


class Feature(StrEnum):
    """What a client can do, as it says in AUTH; a relay ignores the words that it does not know."""

    ACK = "ack"
    """It acknowledges by itself."""
    ABSENT = "absent"
    """Its session starts appearing offline."""
    SUITE2 = "suite2"
    """It knows prekeys that are signed as a whole and dated."""


ANNOUNCED: Final = (Feature.SUITE2,)
"""Features that a relay which knows them says so in AUTH_SUCCESS: only to a client that has them, and of which older
clients know nothing."""


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A JSON object inside a frame."""


class Empty(_Part, frozen=True, kw_only=True):
    """The payload ``{}``."""


class Frame(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The common base of all frames; each adds its ``type``."""


class _Unsigned(Frame, Generic[P], frozen=True, kw_only=True):
    """An envelope that nobody signs."""

    id: EnvelopeId | UnsetType = UNSET
    payload: P
    timestamp: Integer


class _WithoutPayload(Frame, frozen=True, kw_only=True):
    """An envelope that says everything by its type."""

    id: EnvelopeId | UnsetType = UNSET
    payload: Empty | UnsetType = UNSET
    timestamp: Integer


class _Signed(Frame, Generic[P], frozen=True, kw_only=True):
    """An envelope that its sender signs."""

    id: EnvelopeId | UnsetType = UNSET
    payload: P
    signature: Signature
    timestamp: Integer


# --- connection and login ---------------------------------------------------------


class LimitsPart(_Part, frozen=True, kw_only=True):
    """The limits of this relay, for a client to show or obey."""

    backlog: Integer
    encrypted_chars: Integer
    message_bytes: Integer
    messages_per_minute: Integer | None
    metadata_bytes: Integer


class ConnectionAckPayload(_Part, frozen=True, kw_only=True):
    """See ``ConnectionAck``."""

    challenge: Key32
    connection_id: str
    limits: LimitsPart
    protocol_version: Integer
    server_name: str
    server_time: Integer
    unsigned_auth: bool | UnsetType = UNSET


class ConnectionAck(Frame, frozen=True, kw_only=True):
    """Relay to client, the first frame: the challenge that the login must sign."""

    payload: ConnectionAckPayload
    timestamp: Integer
    type: Literal["CONNECTION_ACK"] = "CONNECTION_ACK"


class AuthPayload(_Part, frozen=True, kw_only=True):
    """See ``Auth``."""

    audience: Audience | UnsetType = UNSET
    challenge: Key32 | UnsetType = UNSET
    features: Annotated[list[Annotated[str, Meta(max_length=32)]], Meta(max_length=8)] | UnsetType = UNSET
    public_key: Key32
    user_id: UserId


class Auth(Frame, frozen=True, kw_only=True):
    """Client to relay: who I am, and the proof."""

    id: EnvelopeId | UnsetType = UNSET
    payload: AuthPayload
    signature: Signature | UnsetType = UNSET
    timestamp: Integer
    type: Literal["AUTH"] = "AUTH"


class AuthSuccessPayload(_Part, frozen=True, kw_only=True):
    """See ``AuthSuccess``."""

    features: list[str] | UnsetType = UNSET
    server_time: Integer
    session_id: str


class AuthSuccess(_Unsigned[AuthSuccessPayload], frozen=True, kw_only=True):
    """Relay to client: you are logged in."""

    type: Literal["AUTH_SUCCESS"] = "AUTH_SUCCESS"


class AuthFailurePayload(_Part, frozen=True, kw_only=True):
    """See ``AuthFailure``."""

    code: Integer
    details: dict[str, Any] | UnsetType = UNSET
    reason: str
    retry_after: Integer | UnsetType = UNSET


class AuthFailure(_Unsigned[AuthFailurePayload], frozen=True, kw_only=True):
    """Relay to client: the login failed, and the connection closes."""

    type: Literal["AUTH_FAILURE"] = "AUTH_FAILURE"


class AccountDeletePayload(_Part, frozen=True, kw_only=True):
    """See ``AccountDelete``; both as in this connection's AUTH, so that it is valid on no other."""

    audience: Audience
    challenge: Key32


class AccountDelete(_Signed[AccountDeletePayload], frozen=True, kw_only=True):
    """Client to relay: delete my account. Answered by close 1000 once that is on disk."""

    type: Literal["ACCOUNT_DELETE"] = "ACCOUNT_DELETE"


# --- key exchange -----------------------------------------------------------------


class OfferedBundle(_Part, frozen=True, kw_only=True):
    """The initiator's own prekeys, offered with its KEY_EXCHANGE_INIT."""

    one_time_pre_key: Key32 | UnsetType = UNSET
    signature: Signature
    signed_pre_key: Key32


class KeyExchangeInitPayload(_Part, frozen=True, kw_only=True):
    """See ``KeyExchangeInit``."""

    ephemeral_key: Key32
    identity_key: Key32
    pre_key_bundle: OfferedBundle | UnsetType = UNSET
    target_id: UserId


class KeyExchangeInit(_Signed[KeyExchangeInitPayload], frozen=True, kw_only=True):
    """Client to relay: I want to talk to ``targetId``."""

    type: Literal["KEY_EXCHANGE_INIT"] = "KEY_EXCHANGE_INIT"


class RoutedKeyExchangeInitPayload(_Part, frozen=True, kw_only=True):
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


class LastResortPart(_Part, frozen=True, kw_only=True):
    """The hash of the ML-KEM-768 prekey that serves when no one-time key is left; ``bundleSignature`` covers it."""

    digest: Key32
    id: PreKeyId


class KeyExchangeResponsePayload(_Part, frozen=True, kw_only=True):
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


class KeyExchangeResponse(_Signed[KeyExchangeResponsePayload], frozen=True, kw_only=True):
    """Client to relay: my prekeys, for the user who asked."""

    type: Literal["KEY_EXCHANGE_RESPONSE"] = "KEY_EXCHANGE_RESPONSE"


class RoutedKeyExchangeResponsePayload(_Part, frozen=True, kw_only=True):
    """``KeyExchangeResponsePayload`` with the sender added; from the store it has no ``targetId``."""

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


class SignedPreKeyPart(_Part, frozen=True, kw_only=True):
    """A signed X25519 prekey."""

    id: PreKeyId
    key: Key32
    signature: Signature


class OneTimePreKeyPart(_Part, frozen=True, kw_only=True):
    """A one-time X25519 prekey."""

    id: PreKeyId
    key: Key32


class KemPreKeyPart(_Part, frozen=True, kw_only=True):
    """A signed ML-KEM-768 prekey."""

    id: PreKeyId
    key: KemKey
    signature: Signature


class PreKeyPublishPayload(_Part, frozen=True, kw_only=True):
    """See ``PreKeyPublish``; ``audience`` and ``challenge`` as in this connection's AUTH."""

    audience: Audience
    bundle_signature: Signature | UnsetType = UNSET
    challenge: Key32
    kem_pre_keys: Annotated[list[KemPreKeyPart], Meta(max_length=limits.MAX_KEM_PREKEYS_PER_PUBLISH)]
    last_resort_kem_pre_key: KemPreKeyPart | UnsetType = UNSET
    made_at: Integer | UnsetType = UNSET
    one_time_pre_keys: Annotated[list[OneTimePreKeyPart], Meta(max_length=limits.MAX_ONE_TIME_PREKEYS)]
    replace: bool | UnsetType = UNSET
    signed_pre_key: SignedPreKeyPart


class PreKeyPublish(_Signed[PreKeyPublishPayload], frozen=True, kw_only=True):
    """Client to relay: prekeys to hand out while I am offline.

    One-time keys are added to those that are stored; with ``replace`` they replace them.
    """

    type: Literal["PREKEY_PUBLISH"] = "PREKEY_PUBLISH"


class PreKeyStatusQuery(_WithoutPayload, frozen=True, kw_only=True):
    """Client to relay: how many of my prekeys are left?"""

    type: Literal["PREKEY_STATUS"] = "PREKEY_STATUS"


class PreKeyStatusPayload(_Part, frozen=True, kw_only=True):
    """See ``PreKeyStatus``."""

    highest_pre_key_id: PreKeyId | UnsetType = UNSET
    kem_pre_keys: Integer
    last_resort_kem_pre_key_id: PreKeyId | UnsetType = UNSET
    one_time_pre_keys: Integer
    signed_pre_key_id: PreKeyId | UnsetType = UNSET


class PreKeyStatus(_Unsigned[PreKeyStatusPayload], frozen=True, kw_only=True):
    """Relay to client: how many are left; also sent unasked when fewer than ten of a kind are."""

    type: Literal["PREKEY_STATUS"] = "PREKEY_STATUS"


# --- messages ---------------------------------------------------------------------


class Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """The two members of ``metadata`` that the protocol knows; others pass through untouched."""

    burn_after_read: bool = False
    expires_in: Annotated[int, Meta(ge=1, le=limits.MAX_EXPIRES_IN_MS)] | None = None


class MessagePayload(_Part, frozen=True, kw_only=True):
    """See ``Message``. ``metadata`` is kept as canonical JSON text."""

    conversation_id: ConversationId
    encrypted: Base64
    message_id: MessageId
    metadata: Raw | UnsetType = UNSET
    recipient_id: UserId

    @property
    def options(self) -> Metadata:
        """The known members of ``metadata``."""
        return Metadata() if self.metadata is UNSET else _METADATA.decode(self.metadata)


class Message(_Signed[MessagePayload], frozen=True, kw_only=True):
    """Client to relay: an encrypted message."""

    type: Literal["MESSAGE"] = "MESSAGE"


class RoutedMessagePayload(MessagePayload, frozen=True, kw_only=True):
    """``MessagePayload`` with the sender added."""

    sender_id: UserId


class RoutedMessage(Frame, frozen=True, kw_only=True):
    """Relay to recipient: the sender's envelope with ``senderId`` and ``seq`` added."""

    id: EnvelopeId | UnsetType = UNSET
    payload: RoutedMessagePayload
    seq: Integer
    signature: Signature
    timestamp: Integer
    type: Literal["MESSAGE"] = "MESSAGE"


class MessageAckPayload(_Part, frozen=True, kw_only=True):
    """See ``MessageAck``."""

    message_id: MessageId | UnsetType = UNSET
    sender_id: UserId | UnsetType = UNSET
    seq: Integer | UnsetType = UNSET
    status: Literal["delivered", "read", "burned"]
    timestamp: Integer | UnsetType = UNSET


class MessageAck(_Unsigned[MessageAckPayload], frozen=True, kw_only=True):
    """Client to relay: what I did with a message, named by sender and id.

    With ``seq`` instead of these two, and status ``delivered``, it confirms another item of
    the mailbox: a receipt or a key exchange.
    """

    type: Literal["MESSAGE_ACK"] = "MESSAGE_ACK"


class ReceiptPayload(_Part, frozen=True, kw_only=True):
    """See ``Receipt``."""

    message_id: MessageId
    recipient_id: UserId
    status: Status
    timestamp: Integer


class Receipt(Frame, frozen=True, kw_only=True):
    """Relay to sender, as MESSAGE_ACK: the delivery status of your message to ``recipientId``."""

    id: EnvelopeId | UnsetType = UNSET
    payload: ReceiptPayload
    seq: Integer | UnsetType = UNSET
    timestamp: Integer
    type: Literal["MESSAGE_ACK"] = "MESSAGE_ACK"


# --- blocking ---------------------------------------------------------------------


class BlockPayload(_Part, frozen=True, kw_only=True):
    """See ``Block`` and ``BlockDone``."""

    blocked: bool
    user_id: UserId


class Block(_Unsigned[BlockPayload], frozen=True, kw_only=True):
    """Client to relay: block ``userId``, or unblock."""

    type: Literal["BLOCK"] = "BLOCK"


class BlockDone(_Unsigned[BlockPayload], frozen=True, kw_only=True):
    """Relay to client: done, and on disk."""

    type: Literal["BLOCK"] = "BLOCK"


# --- presence, errors, health -----------------------------------------------------


class PresencePayload(_Part, frozen=True, kw_only=True):
    """See ``Presence``."""

    conversation_id: ConversationId | UnsetType = UNSET
    status: PresenceStatus | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET


class Presence(_Unsigned[PresencePayload], frozen=True, kw_only=True):
    """Client to relay: my own presence (``status``), or a question about that of ``userId``."""

    type: Literal["PRESENCE"] = "PRESENCE"


class PresenceNoticePayload(_Part, frozen=True, kw_only=True):
    """See ``PresenceNotice``."""

    conversation_id: ConversationId | UnsetType = UNSET
    last_seen: Integer | UnsetType = UNSET
    status: PresenceStatus
    user_id: UserId


class PresenceNotice(_Unsigned[PresenceNoticePayload], frozen=True, kw_only=True):
    """Relay to client: the presence of a contact."""

    type: Literal["PRESENCE"] = "PRESENCE"


class ErrorPayload(_Part, frozen=True, kw_only=True):
    """See ``Error``."""

    code: Integer
    details: dict[str, Any] | UnsetType = UNSET
    message: str
    retry_after: Integer | UnsetType = UNSET


class Error(_Unsigned[ErrorPayload], frozen=True, kw_only=True):
    """Relay to client: the request with this ``id`` was refused."""

    type: Literal["ERROR"] = "ERROR"


class Ping(_WithoutPayload, frozen=True, kw_only=True):
    """Client to relay: are you there?"""

    type: Literal["PING"] = "PING"


class Pong(_WithoutPayload, frozen=True, kw_only=True):
    """Relay to client: I am."""

    type: Literal["PONG"] = "PONG"


_METADATA: Final = msgspec.json.Decoder(Metadata)

ClientFrame = (
    Auth
    | AccountDelete
    | KeyExchangeInit
    | KeyExchangeResponse
    | PreKeyPublish
    | PreKeyStatusQuery
    | Message
    | MessageAck
    | Presence
    | Block
    | Ping
)
"""What a client may send."""

RelayFrame = (
    ConnectionAck
    | AuthSuccess
    | AuthFailure
    | RoutedKeyExchangeInit
    | RoutedKeyExchangeResponse
    | PreKeyStatus
    | RoutedMessage
    | Receipt
    | PresenceNotice
    | BlockDone
    | Error
    | Pong
)
"""What the relay may send."""

SignedFrame = Auth | AccountDelete | KeyExchangeInit | KeyExchangeResponse | PreKeyPublish | Message
RoutedFrame = RoutedKeyExchangeInit | RoutedKeyExchangeResponse | RoutedMessage

CLIENT_FRAMES: Final[dict[str, type[ClientFrame]]] = {
    "AUTH": Auth,
    "ACCOUNT_DELETE": AccountDelete,
    "KEY_EXCHANGE_INIT": KeyExchangeInit,
    "KEY_EXCHANGE_RESPONSE": KeyExchangeResponse,
    "PREKEY_PUBLISH": PreKeyPublish,
    "PREKEY_STATUS": PreKeyStatusQuery,
    "MESSAGE": Message,
    "MESSAGE_ACK": MessageAck,
    "PRESENCE": Presence,
    "BLOCK": Block,
    "PING": Ping,
}
RELAY_FRAMES: Final[dict[str, type[RelayFrame]]] = {
    "CONNECTION_ACK": ConnectionAck,
    "AUTH_SUCCESS": AuthSuccess,
    "AUTH_FAILURE": AuthFailure,
    "KEY_EXCHANGE_INIT": RoutedKeyExchangeInit,
    "KEY_EXCHANGE_RESPONSE": RoutedKeyExchangeResponse,
    "PREKEY_STATUS": PreKeyStatus,
    "MESSAGE": RoutedMessage,
    "MESSAGE_ACK": Receipt,
    "PRESENCE": PresenceNotice,
    "BLOCK": BlockDone,
    "ERROR": Error,
    "PONG": Pong,
}
