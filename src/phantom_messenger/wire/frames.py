"""Every frame of the protocol as a frozen type.

Fields are in alphabetical order, and absent ones are ``UNSET``, so that encoding a frame yields
its canonical JSON without sorting (all names are ASCII, all numbers integers). A ``signature``
covers the frame without itself, ``seq`` and ``senderId``.

An instance that ``wire.codec`` decoded is valid as far as the frame alone can tell: shape,
sizes and base64 are right. Frames named ``Routed…`` are what the relay passes on. Frames that
share a ``type`` are told apart by direction, in ``CLIENT_FRAMES`` and ``RELAY_FRAMES``.

The frames about keys are in ``wire.key_frames``, those of one message to many in ``wire.many_frames``, what all frames
are made of is in ``wire.envelope``; all of it can be imported from here.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Raw, UnsetType

from phantom_messenger.wire.envelope import (  # noqa: F401 - and passed on
    METADATA,
    Audience,
    Base64,
    ConversationId,
    Empty,
    EnvelopeId,
    Frame,
    Integer,
    KemKey,
    Key32,
    MessageId,
    Metadata,
    Part,
    PreKeyId,
    Signature,
    Signed,
    Unsigned,
    UserId,
    WithoutPayload,
)
from phantom_messenger.wire.key_frames import (  # noqa: F401 - and passed on
    DeviceList,
    KemPreKeyPart,
    KeyExchangeInit,
    KeyExchangeInitPayload,
    KeyExchangeResponse,
    KeyExchangeResponsePayload,
    LastResortPart,
    OfferedBundle,
    OneTimePreKeyPart,
    PreKeyPublish,
    PreKeyPublishPayload,
    PreKeyStatus,
    PreKeyStatusPayload,
    PreKeyStatusQuery,
    RoutedKeyExchangeInit,
    RoutedKeyExchangeInitPayload,
    RoutedKeyExchangeResponse,
    RoutedKeyExchangeResponsePayload,
    SignedPreKeyPart,
)
from phantom_messenger.wire.many_frames import (  # noqa: F401 - and passed on
    ManyRecipientPart,
    ManyRefusalPart,
    ManyResult,
    ManyResultPayload,
    MessageMany,
    MessageManyPayload,
    OrderPart,
    PreKeyBundles,
    PreKeyBundlesPayload,
    PreKeyFetch,
    PreKeyFetchPayload,
    Revision,
    Triples,
)


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
    MANY = "many"
    """It sends one message to many, and fetches the prekeys of several users at once."""
    DEVICES = "devices"
    """It knows lists of devices, which come with prekeys."""
    ALLOWANCE = "allowance"
    """It allows others more messages than the rate, and heeds what others allow it."""


ANNOUNCED: Final = (Feature.SUITE2, Feature.MANY, Feature.DEVICES, Feature.ALLOWANCE)
"""Features that a relay which knows them says so in AUTH_SUCCESS: only to a client that has them, and of which older
clients know nothing."""

# --- connection and login ---------------------------------------------------------


class LimitsPart(Part, frozen=True, kw_only=True):
    """The limits of this relay, for a client to show or obey."""

    backlog: Integer
    encrypted_chars: Integer
    message_bytes: Integer
    messages_per_minute: Integer | None
    metadata_bytes: Integer


class ConnectionAckPayload(Part, frozen=True, kw_only=True):
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


class AuthPayload(Part, frozen=True, kw_only=True):
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


class AuthSuccessPayload(Part, frozen=True, kw_only=True):
    """See ``AuthSuccess``."""

    features: list[str] | UnsetType = UNSET
    server_time: Integer
    session_id: str


class AuthSuccess(Unsigned[AuthSuccessPayload], frozen=True, kw_only=True):
    """Relay to client: you are logged in."""

    type: Literal["AUTH_SUCCESS"] = "AUTH_SUCCESS"


class AuthFailurePayload(Part, frozen=True, kw_only=True):
    """See ``AuthFailure``."""

    code: Integer
    details: dict[str, Any] | UnsetType = UNSET
    reason: str
    retry_after: Integer | UnsetType = UNSET


class AuthFailure(Unsigned[AuthFailurePayload], frozen=True, kw_only=True):
    """Relay to client: the login failed, and the connection closes."""

    type: Literal["AUTH_FAILURE"] = "AUTH_FAILURE"


class AccountDeletePayload(Part, frozen=True, kw_only=True):
    """See ``AccountDelete``; both as in this connection's AUTH, so that it is valid on no other."""

    audience: Audience
    challenge: Key32


class AccountDelete(Signed[AccountDeletePayload], frozen=True, kw_only=True):
    """Client to relay: delete my account. Answered by close 1000 once that is on disk."""

    type: Literal["ACCOUNT_DELETE"] = "ACCOUNT_DELETE"


# --- messages ---------------------------------------------------------------------


class MessagePayload(Part, frozen=True, kw_only=True):
    """See ``Message``. ``metadata`` is kept as canonical JSON text."""

    conversation_id: ConversationId
    encrypted: Base64
    message_id: MessageId
    metadata: Raw | UnsetType = UNSET
    recipient_id: UserId

    @property
    def options(self) -> Metadata:
        """The known members of ``metadata``."""
        return Metadata() if self.metadata is UNSET else METADATA.decode(self.metadata)


class Message(Signed[MessagePayload], frozen=True, kw_only=True):
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


class MessageAckPayload(Part, frozen=True, kw_only=True):
    """See ``MessageAck``."""

    message_id: MessageId | UnsetType = UNSET
    sender_id: UserId | UnsetType = UNSET
    seq: Integer | UnsetType = UNSET
    status: Literal["delivered", "read", "burned"]
    timestamp: Integer | UnsetType = UNSET


class MessageAck(Unsigned[MessageAckPayload], frozen=True, kw_only=True):
    """Client to relay: what I did with a message, named by sender and id.

    With ``seq`` instead of these two, and status ``delivered``, it confirms another item of
    the mailbox: a receipt or a key exchange.
    """

    type: Literal["MESSAGE_ACK"] = "MESSAGE_ACK"


class ReceiptPayload(Part, frozen=True, kw_only=True):
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


class BlockPayload(Part, frozen=True, kw_only=True):
    """See ``Block`` and ``BlockDone``."""

    blocked: bool
    user_id: UserId


class Block(Unsigned[BlockPayload], frozen=True, kw_only=True):
    """Client to relay: block ``userId``, or unblock."""

    type: Literal["BLOCK"] = "BLOCK"


class BlockDone(Unsigned[BlockPayload], frozen=True, kw_only=True):
    """Relay to client: done, and on disk."""

    type: Literal["BLOCK"] = "BLOCK"


# --- more than the rate -----------------------------------------------------------


class AllowancePayload(Part, frozen=True, kw_only=True):
    """See ``Allowance``."""

    sender_id: UserId


class Allowance(Unsigned[AllowancePayload], frozen=True, kw_only=True):
    """Client to relay: for a while, ``senderId`` may send me more than the rate."""

    type: Literal["ALLOWANCE"] = "ALLOWANCE"


class AllowanceNoticePayload(Part, frozen=True, kw_only=True):
    """See ``AllowanceNotice``; one of the two users is there."""

    expires_in: Integer
    messages: Integer
    recipient_id: UserId | UnsetType = UNSET
    sender_id: UserId | UnsetType = UNSET


class AllowanceNotice(Unsigned[AllowanceNoticePayload], frozen=True, kw_only=True):
    """Relay to client: so many messages are left of what you allow ``senderId``, or ``recipientId`` allows you."""

    type: Literal["ALLOWANCE"] = "ALLOWANCE"


# --- presence, errors, health -----------------------------------------------------


class PresencePayload(Part, frozen=True, kw_only=True):
    """See ``Presence``."""

    conversation_id: ConversationId | UnsetType = UNSET
    status: PresenceStatus | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET


class Presence(Unsigned[PresencePayload], frozen=True, kw_only=True):
    """Client to relay: my own presence (``status``), or a question about that of ``userId``."""

    type: Literal["PRESENCE"] = "PRESENCE"


class PresenceNoticePayload(Part, frozen=True, kw_only=True):
    """See ``PresenceNotice``."""

    conversation_id: ConversationId | UnsetType = UNSET
    last_seen: Integer | UnsetType = UNSET
    status: PresenceStatus
    user_id: UserId


class PresenceNotice(Unsigned[PresenceNoticePayload], frozen=True, kw_only=True):
    """Relay to client: the presence of a contact."""

    type: Literal["PRESENCE"] = "PRESENCE"


class ErrorPayload(Part, frozen=True, kw_only=True):
    """See ``Error``."""

    code: Integer
    details: dict[str, Any] | UnsetType = UNSET
    message: str
    retry_after: Integer | UnsetType = UNSET


class Error(Unsigned[ErrorPayload], frozen=True, kw_only=True):
    """Relay to client: the request with this ``id`` was refused."""

    type: Literal["ERROR"] = "ERROR"


class Ping(WithoutPayload, frozen=True, kw_only=True):
    """Client to relay: are you there?"""

    type: Literal["PING"] = "PING"


class Pong(WithoutPayload, frozen=True, kw_only=True):
    """Relay to client: I am."""

    type: Literal["PONG"] = "PONG"


ClientFrame = (
    Auth
    | AccountDelete
    | KeyExchangeInit
    | KeyExchangeResponse
    | PreKeyPublish
    | PreKeyStatusQuery
    | Message
    | MessageMany
    | MessageAck
    | PreKeyFetch
    | Presence
    | Block
    | Allowance
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
    | ManyResult
    | PreKeyBundles
    | PresenceNotice
    | BlockDone
    | AllowanceNotice
    | Error
    | Pong
)
"""What the relay may send."""

SignedFrame = Auth | AccountDelete | KeyExchangeInit | KeyExchangeResponse | PreKeyPublish | Message | MessageMany
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
    "MESSAGE_MANY": MessageMany,
    "PREKEY_FETCH": PreKeyFetch,
    "PRESENCE": Presence,
    "BLOCK": Block,
    "ALLOWANCE": Allowance,
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
    "MANY_RESULT": ManyResult,
    "PREKEY_BUNDLES": PreKeyBundles,
    "PRESENCE": PresenceNotice,
    "BLOCK": BlockDone,
    "ALLOWANCE": AllowanceNotice,
    "ERROR": Error,
    "PONG": Pong,
}
