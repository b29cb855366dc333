/** Error codes, close codes, and the reasons for which a frame is refused (phantom.md, "Errors"). */

/** Codes of the ERROR frame. */
export const ErrorCode = {
  INVALID_MESSAGE: 1001,
  UNAUTHORIZED: 1002,
  RATE_LIMITED: 1003,
  USER_NOT_FOUND: 1004,
  KEY_EXCHANGE_FAILED: 1005,
  MESSAGE_TOO_LARGE: 1006,
  INTERNAL_ERROR: 1007,
} as const;

/** WebSocket close codes that the relay sends. */
export const CloseCode = {
  NORMAL: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  INVALID_TEXT: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_BIG: 1009,
  SERVER_ERROR: 1011,
  AUTHENTICATION_REQUIRED: 4000,
  AUTHENTICATION_FAILED: 4001,
  RATE_LIMITED: 4002,
  INVALID_MESSAGE: 4003,
} as const;

/** Close codes after which the same client may simply connect again, with backoff. */
export const RECONNECT_AFTER: ReadonlySet<number> = new Set([
  CloseCode.GOING_AWAY,
  CloseCode.SERVER_ERROR,
  CloseCode.RATE_LIMITED,
  CloseCode.AUTHENTICATION_REQUIRED,
]);

/** The stable identifier in `details.reason` of an ERROR frame. */
export const Reason = {
  JSON: "json",
  DUPLICATE_NAME: "duplicate-name",
  TOO_DEEP: "too-deep",
  NUMBER: "number",
  BINARY: "binary",
  TYPE: "type",
  FIELD: "field",
  BASE64: "base64",
  CLOCK: "clock",
  OUTDATED: "outdated",
  NOT_AUTHENTICATED: "not-authenticated",
  ALREADY_AUTHENTICATED: "already-authenticated",
  SIGNATURE: "signature",
  UNSIGNED: "unsigned",
  CHALLENGE: "challenge",
  AUDIENCE: "audience",
  IDENTITY: "identity",
  RATE: "rate",
  BACKLOG: "backlog",
  QUOTA: "quota",
  OVERLOAD: "overload",
  USER: "user",
  KEY: "key",
  PREKEY_SIGNATURE: "prekey-signature",
  PREKEY_FULL: "prekey-full",
  REPLAYED: "replayed",
  MESSAGE_SIZE: "message-size",
  ENCRYPTED_SIZE: "encrypted-size",
  METADATA_SIZE: "metadata-size",
  STORAGE: "storage",
  INTERNAL: "internal",
} as const;
export type Reason = (typeof Reason)[keyof typeof Reason];

/** A frame that breaks the protocol; of a relay's, or of a client's, which a relay answers with ERROR. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly reason: Reason;
  /** Dotted path of the offending field, '' if none is to blame. */
  readonly field: string;

  constructor(reason: Reason, field = "") {
    super(field === "" ? reason : `${reason}: ${field}`);
    this.reason = reason;
    this.field = field;
  }
}
