"""Sizes and rates of the protocol, each with what it protects.

The reference gives KB and a table; here are the exact numbers. Changing one
breaks clients that were built to it, so each is part of the protocol's version.
"""

from enum import StrEnum
from typing import Final

MAX_MESSAGE_BYTES: Final = 65_536
"""One WebSocket message as received, in bytes (reference: 64 KB)."""

MAX_ENCRYPTED_CHARS: Final = 61_440
"""Characters of base64 in ``encrypted`` (reference: 60 KB), that is 46,080 bytes of ciphertext."""

MAX_RECIPIENTS: Final = 200
"""Recipients of a MESSAGE_MANY: what fits into MAX_MESSAGE_BYTES, and bounds how long a commit takes."""

MAX_MANY_CHARS: Final = 2_097_152
"""Characters of ``encrypted`` in all the messages that a MESSAGE_MANY comes to: what one commit may store."""

MAX_METADATA_BYTES: Final = 1_024
"""Bytes of the canonical JSON of ``metadata`` (reference: 1 KB)."""

MAX_DEPTH: Final = 8
"""Nesting of JSON; deeper input only serves to exhaust a parser's stack."""

MAX_SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that every JSON implementation represents exactly (RFC 7493 section 2.2)."""

MAX_TRANSPORT_BYTES: Final = 1_048_576
"""A frame or assembled message above this closes the connection with 1009, unread."""

MAX_EARLY_BYTES: Final = 4_096
"""The same before login: nothing legal then is even a quarter as long, and strangers get no more memory."""

MAX_HALF_BYTES: Final = 8_388_608
"""What a relay holds of all incomplete messages; beyond it, the connection that holds the most is closed with 1009."""

MAX_CONTROL_FRAMES: Final = 60
"""Pings, pongs and closes of one connection in a minute; more closes with 4002."""

MAX_FRAGMENTS: Final = 64
"""Frames of one fragmented message; more closes with 1009 (one-byte fragments cost 100 times their size)."""

MAX_ID_CHARS: Final = 64
MAX_CONVERSATION_CHARS: Final = 128
MIN_USER_ID_BYTES: Final = 16
MAX_USER_ID_BYTES: Final = 64

MAX_EXPIRES_IN_MS: Final = 365 * 24 * 3_600_000
"""Longest life of a message: a year. Beyond it, leave ``expiresIn`` out."""

CLOCK_TOLERANCE_MS: Final = 300_000
"""How far a signed frame's timestamp may lie from the relay's clock, in milliseconds."""

CHALLENGE_BYTES: Final = 32
MAX_BACKLOG: Final = 1_000
MAX_GROUP_BACKLOG: Final = 300
"""Messages of one sender to a group in a mailbox: a member of many groups is not kept from those of others."""

MAX_STRANGER_BACKLOG: Final = 100
"""How much of a backlog a sender may fill whom the recipient never answered."""

MAX_STRANGERS_BACKLOG: Final = 500
"""How full a backlog may be for a sender whom the recipient never answered; the rest is kept for contacts."""

MAX_KEY_EXCHANGE_BACKLOG: Final = 100
"""Key exchanges of strangers in a mailbox; contacts, who have two at most, are always admitted."""

MAX_RECEIPT_BACKLOG: Final = 1_000
"""Receipts of one contact in a mailbox: as many as messages can have waited for that contact."""

MAX_BLOCKED: Final = 1_000
"""Users that one user can block."""

MAX_ONE_TIME_PREKEYS: Final = 200
"""One-time prekeys of one kind that the relay keeps for a user."""

MAX_DEVICE_LIST_BYTES: Final = 2_048
"""``deviceList`` of a PREKEY_PUBLISH, decoded: six devices, each with a signature, and a signature over all."""

MAX_FETCH_TARGETS: Final = 20
"""Users whose prekeys a PREKEY_FETCH asks for: some 100 KB of answer."""

MAX_ORDER_WRITERS: Final = 16
MAX_ORDER_STEP: Final = 1_024
"""How far a revision may be ahead of the one that is stored."""

MAX_ORDER_AGAIN: Final = 16
"""How many of the last revisions are accepted again."""

ALLOWED_MESSAGES: Final = 256
"""Messages beside the rate that one ALLOWANCE lets its sender send: 100,000 texts are 181 chunks of history. Whoever
is allowed them has four minutes' worth of what everybody may send."""

ALLOWANCE_MS: Final = 600_000
"""How long it holds."""

ALLOWANCE_EVERY_MS: Final = 86_400_000
"""From one that a user gives to the next."""

MAX_ALLOWANCES: Final = 64
"""Open at once at a relay: 16,384 messages in ten minutes, 27 a second."""

MAX_ALLOWANCES_PER_ADDRESS: Final = 4
"""Of these, given from one address, so that nobody holds all places with many accounts."""

LOW_PREKEYS: Final = 10
"""Below this many one-time prekeys the relay warns with PREKEY_STATUS."""

PREKEY_HOUR_PER_REQUESTER: Final = 10
PREKEY_HOUR_PER_TARGET: Final = 100
"""One-time prekeys handed out in an hour; beyond them a bundle has none (prekey drain)."""

MAX_KEM_PREKEYS_PER_PUBLISH: Final = 30
"""So that a PREKEY_PUBLISH with 100 X25519 prekeys stays below MAX_MESSAGE_BYTES."""


class RateClass(StrEnum):
    """What a limit counts in a sliding minute; the first five are the reference's."""

    AUTH = "AUTH"
    MESSAGE = "MESSAGE"
    KEY_EXCHANGE = "KEY_EXCHANGE"
    PRESENCE = "PRESENCE"
    PING = "PING"
    PREKEY = "PREKEY"
    ACK = "ACK"
    BLOCK = "BLOCK"
    RECIPIENTS = "RECIPIENTS"


RATE_WINDOW_MS: Final = 60_000
RATES: Final[dict[RateClass, int]] = {
    RateClass.AUTH: 5,
    RateClass.MESSAGE: 60,
    RateClass.KEY_EXCHANGE: 10,
    RateClass.PRESENCE: 30,
    RateClass.PING: 60,
    RateClass.PREKEY: 10,
    RateClass.ACK: 6_000,
    RateClass.BLOCK: 30,
    RateClass.RECIPIENTS: 6_000,
}
"""Requests in any RATE_WINDOW_MS. ACK: reading and answering a full backlog three times stays below it. RECIPIENTS:
those of all MESSAGE_MANY together."""

MAX_CONNECTIONS_PER_ADDRESS: Final = 10
CONNECTION_TIMEOUT_MS: Final = 30_000
"""From the WebSocket handshake to AUTH_SUCCESS."""
IDLE_TIMEOUT_MS: Final = 300_000
MAX_STRIKES: Final = 10
"""Refusals, malformed messages or bad signatures in a minute; the tenth closes the connection."""
