"""The frames of one message to many: the message, its answer, and the prekeys of those it is to begin with.

They are for clients that have said the feature ``many``. See ``wire.frames``.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, UnsetType

from phantom_messenger.wire import limits
from phantom_messenger.wire.envelope import (
    METADATA,
    ConversationId,
    Integer,
    Key32,
    MessageId,
    Metadata,
    Part,
    Signature,
    Signed,
    Unsigned,
    UserId,
)
from phantom_messenger.wire.key_frames import RoutedKeyExchangeResponsePayload

Triples = Annotated[str, Meta(min_length=4, description="of a multiple of three bytes")]
"""Base64 of a multiple of 3 bytes: without padding, so that two of them in a row are base64 of both."""
Revision = Annotated[int, Meta(ge=1, le=2**32 - 1, description="of an order")]


class ManyRecipientPart(Part, frozen=True, kw_only=True):
    """To whom a MESSAGE_MANY goes, and what is theirs alone of it."""

    head: Triples | UnsetType = UNSET
    recipient_id: UserId
    signature: Signature
    """Of the MESSAGE that the relay makes of it: see ``codec.expanded``."""


class OrderPart(Part, frozen=True, kw_only=True):
    """The next revision of something that several users change: the relay lets one of them be the first."""

    name: Key32
    revision: Revision
    writers: Annotated[list[UserId], Meta(min_length=1, max_length=limits.MAX_ORDER_WRITERS)]
    """Who may write the revision after it."""


class MessageManyPayload(Part, frozen=True, kw_only=True):
    """See ``MessageMany``. ``metadata`` is kept as canonical JSON text; without recipients there is an ``order``."""

    common: Triples
    conversation_id: ConversationId
    group: bool | UnsetType = UNSET
    message_id: MessageId
    metadata: Raw | UnsetType = UNSET
    order: OrderPart | UnsetType = UNSET
    recipients: Annotated[list[ManyRecipientPart], Meta(max_length=limits.MAX_RECIPIENTS)]

    @property
    def options(self) -> Metadata:
        """The known members of ``metadata``."""
        return Metadata() if self.metadata is UNSET else METADATA.decode(self.metadata)


class MessageMany(Signed[MessageManyPayload], frozen=True, kw_only=True):
    """Client to relay: one message for many, of which each gets an ordinary MESSAGE."""

    type: Literal["MESSAGE_MANY"] = "MESSAGE_MANY"


class ManyRefusalPart(Part, frozen=True, kw_only=True):
    """A recipient who does not get it, and why: as in an ERROR about a MESSAGE to them."""

    code: Integer
    reason: str
    recipient_id: UserId
    retry_after: Integer | UnsetType = UNSET


class ManyResultPayload(Part, frozen=True, kw_only=True):
    """See ``ManyResult``."""

    accepted: Integer
    message_id: MessageId
    refused: list[ManyRefusalPart]


class ManyResult(Unsigned[ManyResultPayload], frozen=True, kw_only=True):
    """Relay to sender: a MESSAGE_MANY is on disk for all recipients but these."""

    type: Literal["MANY_RESULT"] = "MANY_RESULT"


class PreKeyFetchPayload(Part, frozen=True, kw_only=True):
    """See ``PreKeyFetch``."""

    targets: Annotated[list[UserId], Meta(min_length=1, max_length=limits.MAX_FETCH_TARGETS)]


class PreKeyFetch(Unsigned[PreKeyFetchPayload], frozen=True, kw_only=True):
    """Client to relay: the prekeys of these users, who are not told."""

    type: Literal["PREKEY_FETCH"] = "PREKEY_FETCH"


class PreKeyBundlesPayload(Part, frozen=True, kw_only=True):
    """See ``PreKeyBundles``."""

    bundles: list[RoutedKeyExchangeResponsePayload]
    missing: list[UserId]


class PreKeyBundles(Unsigned[PreKeyBundlesPayload], frozen=True, kw_only=True):
    """Relay to client: prekeys from the store, and who has none there."""

    type: Literal["PREKEY_BUNDLES"] = "PREKEY_BUNDLES"
