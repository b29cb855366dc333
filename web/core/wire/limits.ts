/** Sizes and rates of the protocol that a client obeys (phantom.md, "Limits"). */

/** One WebSocket message as received, in bytes. */
export const MAX_MESSAGE_BYTES = 65_536;
/** Characters of base64 in `encrypted`, that is 46,080 bytes of ciphertext. */
export const MAX_ENCRYPTED_CHARS = 61_440;
/** `recipients` of a MESSAGE_MANY, and characters of `encrypted` that it comes to. */
export const MAX_RECIPIENTS = 200;
export const MAX_MANY_CHARS = 2_097_152;
/** `writers` of an order, and `targets` of a PREKEY_FETCH. */
export const MAX_ORDER_WRITERS = 16;
export const MAX_FETCH_TARGETS = 20;
/** Bytes of the canonical JSON of `metadata`. */
export const MAX_METADATA_BYTES = 1_024;
/** Nesting of JSON; deeper input only serves to exhaust a parser's stack. */
export const MAX_DEPTH = 8;
/** A frame or assembled message above this closes the connection, unread. */
export const MAX_TRANSPORT_BYTES = 1_048_576;
export const MAX_ID_CHARS = 64;
export const MAX_CONVERSATION_CHARS = 128;
export const MAX_AUDIENCE_CHARS = 261;
export const MIN_USER_ID_BYTES = 16;
export const MAX_USER_ID_BYTES = 64;
/** Longest life of a message: a year. Beyond it, leave `expiresIn` out. */
export const MAX_EXPIRES_IN_MS = 365 * 24 * 3_600_000;
/** How far a signed frame's timestamp may lie from the relay's clock, in milliseconds. */
export const CLOCK_TOLERANCE_MS = 300_000;
export const CHALLENGE_BYTES = 32;
/** Users that one user can block. */
export const MAX_BLOCKED = 1_000;
/** One-time prekeys of one kind that the relay keeps for a user. */
export const MAX_ONE_TIME_PREKEYS = 200;
/** Messages beside the rate that one ALLOWANCE lets its sender send, and for how long. */
export const ALLOWED_MESSAGES = 256;
export const ALLOWANCE_MS = 600_000;
/** From one of a user to the next. */
export const ALLOWANCE_EVERY_MS = 86_400_000;
/** Below this many one-time prekeys the relay warns with PREKEY_STATUS. */
export const LOW_PREKEYS = 10;
export const MAX_DEVICE_LIST_BYTES = 2_048;
/** So that a PREKEY_PUBLISH with 100 X25519 prekeys stays below MAX_MESSAGE_BYTES. */
export const MAX_KEM_PREKEYS_PER_PUBLISH = 30;

/** What a limit counts in a sliding minute. */
export type RateClass = "AUTH" | "MESSAGE" | "KEY_EXCHANGE" | "PRESENCE" | "PING" | "PREKEY" | "ACK" | "BLOCK" | "RECIPIENTS";

export const RATE_WINDOW_MS = 60_000;
/** Requests in any `RATE_WINDOW_MS`. */
export const RATES: Readonly<Record<RateClass, number>> = {
  AUTH: 5,
  MESSAGE: 60,
  KEY_EXCHANGE: 10,
  PRESENCE: 30,
  PING: 60,
  PREKEY: 10,
  ACK: 6_000,
  BLOCK: 30,
  RECIPIENTS: 6_000,
};

/** From the WebSocket handshake to AUTH_SUCCESS. */
export const CONNECTION_TIMEOUT_MS = 30_000;
export const IDLE_TIMEOUT_MS = 300_000;
