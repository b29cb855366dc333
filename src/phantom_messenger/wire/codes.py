"""Error codes, close codes, and the fixed message for every reason a frame can be refused.

The numbers and their names are those of the protocol reference; ``Reason`` is the stable
identifier in ``details.reason``. A peer never learns anything else about a failure.
"""

from enum import IntEnum, StrEnum
from typing import Any, Final


class ErrorCode(IntEnum):
    """Codes of the ERROR frame."""

    INVALID_MESSAGE = 1001
    UNAUTHORIZED = 1002
    RATE_LIMITED = 1003
    USER_NOT_FOUND = 1004
    KEY_EXCHANGE_FAILED = 1005
    MESSAGE_TOO_LARGE = 1006
    INTERNAL_ERROR = 1007


class CloseCode(IntEnum):
    """WebSocket close codes that the relay sends (RFC 6455 section 7.4 and the reference)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    SERVER_ERROR = 1011
    AUTHENTICATION_REQUIRED = 4000
    AUTHENTICATION_FAILED = 4001
    RATE_LIMITED = 4002
    INVALID_MESSAGE = 4003


RECONNECT_AFTER: Final = frozenset(
    {CloseCode.GOING_AWAY, CloseCode.SERVER_ERROR, CloseCode.RATE_LIMITED, CloseCode.AUTHENTICATION_REQUIRED}
)
"""Close codes after which the same client may simply connect again, with backoff."""


class Reason(StrEnum):
    """The stable identifier in ``details.reason`` of an ERROR frame."""

    JSON = "json"
    DUPLICATE_NAME = "duplicate-name"
    TOO_DEEP = "too-deep"
    NUMBER = "number"
    BINARY = "binary"
    TYPE = "type"
    FIELD = "field"
    BASE64 = "base64"
    CLOCK = "clock"
    OUTDATED = "outdated"
    ORDER = "order"
    NOT_AUTHENTICATED = "not-authenticated"
    ALREADY_AUTHENTICATED = "already-authenticated"
    SIGNATURE = "signature"
    UNSIGNED = "unsigned"
    CHALLENGE = "challenge"
    AUDIENCE = "audience"
    IDENTITY = "identity"
    WRITER = "writer"
    RATE = "rate"
    BACKLOG = "backlog"
    QUOTA = "quota"
    OVERLOAD = "overload"
    USER = "user"
    KEY = "key"
    PREKEY_SIGNATURE = "prekey-signature"
    PREKEY_FULL = "prekey-full"
    REPLAYED = "replayed"
    MESSAGE_SIZE = "message-size"
    ENCRYPTED_SIZE = "encrypted-size"
    METADATA_SIZE = "metadata-size"
    MANY_SIZE = "many-size"
    STORAGE = "storage"
    INTERNAL = "internal"


MEANINGS: Final[dict[Reason, tuple[ErrorCode, str]]] = {
    Reason.JSON: (ErrorCode.INVALID_MESSAGE, "Not a valid JSON object."),
    Reason.DUPLICATE_NAME: (ErrorCode.INVALID_MESSAGE, "A JSON object names one field twice."),
    Reason.TOO_DEEP: (ErrorCode.INVALID_MESSAGE, "JSON is nested deeper than 8 levels."),
    Reason.NUMBER: (ErrorCode.INVALID_MESSAGE, "A number lies beyond what JSON can carry exactly."),
    Reason.BINARY: (ErrorCode.INVALID_MESSAGE, "Send JSON in text messages, not binary ones."),
    Reason.TYPE: (ErrorCode.INVALID_MESSAGE, "Unknown or missing message type."),
    Reason.FIELD: (ErrorCode.INVALID_MESSAGE, "A field is missing, unknown or of the wrong form."),
    Reason.BASE64: (ErrorCode.INVALID_MESSAGE, "A field is not canonical base64."),
    Reason.CLOCK: (ErrorCode.INVALID_MESSAGE, "The timestamp is more than 5 minutes from the relay's clock."),
    Reason.OUTDATED: (ErrorCode.INVALID_MESSAGE, "Prekeys of a later date are stored."),
    Reason.ORDER: (ErrorCode.INVALID_MESSAGE, "This revision is not the next one."),
    Reason.NOT_AUTHENTICATED: (ErrorCode.UNAUTHORIZED, "Authenticate first."),
    Reason.ALREADY_AUTHENTICATED: (ErrorCode.UNAUTHORIZED, "This connection is authenticated already."),
    Reason.SIGNATURE: (ErrorCode.UNAUTHORIZED, "The signature does not verify."),
    Reason.UNSIGNED: (
        ErrorCode.UNAUTHORIZED,
        "Sign the AUTH message: Ed25519 over 'phantom/1 envelope\\n' and its canonical JSON "
        "with the challenge of CONNECTION_ACK and the audience.",
    ),
    Reason.CHALLENGE: (ErrorCode.UNAUTHORIZED, "The challenge is not the one of this connection."),
    Reason.AUDIENCE: (ErrorCode.UNAUTHORIZED, "The audience is not a name of this relay."),
    Reason.IDENTITY: (ErrorCode.UNAUTHORIZED, "This user id belongs to another key."),
    Reason.WRITER: (ErrorCode.UNAUTHORIZED, "The sender may not write the next revision."),
    Reason.RATE: (ErrorCode.RATE_LIMITED, "Rate limited"),
    Reason.BACKLOG: (ErrorCode.RATE_LIMITED, "The recipient's mailbox is full."),
    Reason.QUOTA: (ErrorCode.RATE_LIMITED, "Too much was stored from this address in a day; send it again later."),
    Reason.OVERLOAD: (ErrorCode.RATE_LIMITED, "More comes than the relay can carry; send it again later."),
    Reason.USER: (ErrorCode.USER_NOT_FOUND, "No such user."),
    Reason.KEY: (ErrorCode.KEY_EXCHANGE_FAILED, "A public key is not usable."),
    Reason.PREKEY_SIGNATURE: (ErrorCode.KEY_EXCHANGE_FAILED, "A prekey's signature does not verify."),
    Reason.PREKEY_FULL: (ErrorCode.KEY_EXCHANGE_FAILED, "More one-time prekeys than the relay keeps."),
    Reason.REPLAYED: (ErrorCode.KEY_EXCHANGE_FAILED, "This key exchange was seen before."),
    Reason.MESSAGE_SIZE: (ErrorCode.MESSAGE_TOO_LARGE, "A message may have 65,536 bytes."),
    Reason.ENCRYPTED_SIZE: (ErrorCode.MESSAGE_TOO_LARGE, "'encrypted' may have 61,440 characters."),
    Reason.METADATA_SIZE: (ErrorCode.MESSAGE_TOO_LARGE, "'metadata' may have 1,024 bytes."),
    Reason.MANY_SIZE: (ErrorCode.MESSAGE_TOO_LARGE, "All 'encrypted' together may have 2,097,152 characters."),
    Reason.STORAGE: (ErrorCode.INTERNAL_ERROR, "The relay cannot store messages now; send it again later."),
    Reason.INTERNAL: (ErrorCode.INTERNAL_ERROR, "The relay failed; send it again later."),
}


class RequestError(Exception):
    """A frame that is answered with an ERROR.

    Args:
        reason: the stable identifier; it determines code and message.
        field: dotted path of the offending field, if one is to blame.
        retry_after: milliseconds after which the same frame may be sent again.
        details: further members of ``details``: plain JSON values.
    """

    def __init__(
        self,
        reason: Reason,
        *,
        field: str | None = None,
        retry_after: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code, self.message = MEANINGS[reason]
        self.retry_after = retry_after
        self.details: dict[str, Any] = {"reason": str(reason), **(details or {})}
        if field is not None:
            self.details["field"] = field
