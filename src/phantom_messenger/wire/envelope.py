"""What the frames of the protocol are made of: the types of their members, and the envelopes around a payload.

See ``wire.frames``.
"""

from typing import Annotated, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

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


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A JSON object inside a frame."""


class Metadata(Struct, frozen=True, kw_only=True, rename="camel"):
    """The two members of ``metadata`` that the protocol knows; others pass through untouched."""

    burn_after_read: bool = False
    expires_in: Annotated[int, Meta(ge=1, le=limits.MAX_EXPIRES_IN_MS)] | None = None


METADATA: Final = msgspec.json.Decoder(Metadata)


class Empty(Part, frozen=True, kw_only=True):
    """The payload ``{}``."""


class Frame(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The common base of all frames; each adds its ``type``."""


class Unsigned(Frame, Generic[P], frozen=True, kw_only=True):
    """An envelope that nobody signs."""

    id: EnvelopeId | UnsetType = UNSET
    payload: P
    timestamp: Integer


class WithoutPayload(Frame, frozen=True, kw_only=True):
    """An envelope that says everything by its type."""

    id: EnvelopeId | UnsetType = UNSET
    payload: Empty | UnsetType = UNSET
    timestamp: Integer


class Signed(Frame, Generic[P], frozen=True, kw_only=True):
    """An envelope that its sender signs."""

    id: EnvelopeId | UnsetType = UNSET
    payload: P
    signature: Signature
    timestamp: Integer
