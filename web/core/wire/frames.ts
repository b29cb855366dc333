/**
 * Every frame of the protocol (phantom.md, "Frames"): its shape, and the type that follows from it.
 *
 * A frame is the plain JSON object that is on the wire; what is absent there is absent here. Frames called `Routed…`
 * are what the relay passes on. Frames that share a `type` are told apart by direction, in `CLIENT_SHAPES` and
 * `RELAY_SHAPES`.
 */

import {
  MAX_AUDIENCE_CHARS,
  MAX_DEVICE_LIST_BYTES,
  MAX_ENCRYPTED_CHARS,
  MAX_EXPIRES_IN_MS,
  MAX_FETCH_TARGETS,
  MAX_KEM_PREKEYS_PER_PUBLISH,
  MAX_ONE_TIME_PREKEYS,
  MAX_ORDER_WRITERS,
  MAX_RECIPIENTS,
  MAX_USER_ID_BYTES,
  MIN_USER_ID_BYTES,
} from "./limits.ts";
import {
  type Fields,
  type Of,
  anyObject,
  base64,
  boolean,
  integer,
  list,
  matching,
  object,
  open,
  optional,
  orNull,
  text,
  triples,
  word,
} from "./shapes.ts";

const number = integer(0, Number.MAX_SAFE_INTEGER);
const preKeyId = integer(1, 2 ** 32 - 1);
const key32 = base64(32);
const kemKey = base64(1184);
const signature = base64(64);
const userId = base64(MIN_USER_ID_BYTES, MAX_USER_ID_BYTES);
const audience = text(1, MAX_AUDIENCE_CHARS);
const messageId = matching(/^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$/);
const envelopeId = matching(/^[\x21-\x7e]{1,64}$/);
const conversationId = matching(/^[\x20-\x7e]{1,128}$/);

/** What became of a MESSAGE, as the relay says it. */
export type Status = "accepted" | "delivered" | "read" | "burned" | "expired";
/** What a client reports about its user. */
export type PresenceStatus = "online" | "typing" | "idle" | "offline";
/** What a client can do, as it says in AUTH; a relay ignores the words that it does not know. */
export const Feature = {
  /** It acknowledges by itself. */
  ACK: "ack",
  /** Its session starts appearing offline. */
  ABSENT: "absent",
  /** It knows prekeys that are signed as a whole and dated. */
  SUITE2: "suite2",
  /** It sends one message to many in one frame. */
  MANY: "many",
  /** It knows lists of devices. */
  DEVICES: "devices",
  /** It allows others more messages than the rate, and heeds what others allow it. */
  ALLOWANCE: "allowance",
} as const;

const presenceStatus = word<PresenceStatus>("online", "typing", "idle", "offline");

// --- envelopes ---------------------------------------------------------------------------------

/** An envelope that nobody signs. */
function unsigned<T extends string, P extends Fields>(type: T, payload: P) {
  return object({ id: optional(envelopeId), payload: object(payload), timestamp: number, type: word(type) });
}

/** An envelope that says everything by its type. */
function bare<T extends string>(type: T) {
  return object({ id: optional(envelopeId), payload: optional(object({})), timestamp: number, type: word(type) });
}

/** An envelope that its sender signs. */
function signed<T extends string, P extends Fields>(type: T, payload: P) {
  return object({ id: optional(envelopeId), payload: object(payload), signature, timestamp: number, type: word(type) });
}

/** The same as the relay passes it on: with the sender, and perhaps a place in the mailbox. */
function routed<T extends string, P extends Fields>(type: T, payload: P) {
  const fields = { ...payload, senderId: userId };
  return object({
    id: optional(envelopeId),
    payload: object(fields),
    seq: optional(number),
    signature,
    timestamp: number,
    type: word(type),
  });
}

// --- connection and login ----------------------------------------------------------------------

const connectionAck = object({
  payload: object({
    challenge: key32,
    connectionId: text(),
    limits: object({
      backlog: number,
      encryptedChars: number,
      messageBytes: number,
      messagesPerMinute: orNull(number),
      metadataBytes: number,
    }),
    protocolVersion: number,
    serverName: text(),
    serverTime: number,
    unsignedAuth: optional(boolean),
  }),
  timestamp: number,
  type: word("CONNECTION_ACK"),
});
/** Relay to client, the first frame: the challenge that the login must sign. */
export type ConnectionAck = Of<typeof connectionAck>;

const auth = object({
  id: optional(envelopeId),
  payload: object({
    audience: optional(audience),
    challenge: optional(key32),
    features: optional(list(text(0, 32), 8)),
    publicKey: key32,
    userId,
  }),
  signature: optional(signature),
  timestamp: number,
  type: word("AUTH"),
});
/** Client to relay: who I am, and the proof. */
export type Auth = Of<typeof auth>;

const authSuccess = unsigned("AUTH_SUCCESS", {
  features: optional(list(text())),
  serverTime: number,
  sessionId: text(),
});
/** Relay to client: you are logged in. */
export type AuthSuccess = Of<typeof authSuccess>;

const authFailure = unsigned("AUTH_FAILURE", {
  code: number,
  details: optional(anyObject),
  reason: text(),
  retryAfter: optional(number),
});
/** Relay to client: the login failed, and the connection closes. */
export type AuthFailure = Of<typeof authFailure>;

const accountDelete = signed("ACCOUNT_DELETE", { audience, challenge: key32 });
/** Client to relay: delete my account. Answered by close 1000 once that is on disk. */
export type AccountDelete = Of<typeof accountDelete>;

// --- key exchange ------------------------------------------------------------------------------

const keyExchangeInitFields = {
  ephemeralKey: key32,
  identityKey: key32,
  preKeyBundle: optional(object({ oneTimePreKey: optional(key32), signature, signedPreKey: key32 })),
  targetId: userId,
};
const keyExchangeInit = signed("KEY_EXCHANGE_INIT", keyExchangeInitFields);
/** Client to relay: I want to talk to `targetId`. */
export type KeyExchangeInit = Of<typeof keyExchangeInit>;

const routedKeyExchangeInit = routed("KEY_EXCHANGE_INIT", keyExchangeInitFields);
/** Relay to target: another user wants to talk to you. */
export type RoutedKeyExchangeInit = Of<typeof routedKeyExchangeInit>;

const deviceList = base64(1, MAX_DEVICE_LIST_BYTES);
const bundleFields = {
  bundleSignature: optional(signature),
  identityKey: key32,
  kemPreKey: optional(kemKey),
  kemPreKeyId: optional(preKeyId),
  kemPreKeySignature: optional(signature),
  lastResortKemPreKey: optional(object({ digest: key32, id: preKeyId })),
  madeAt: optional(number),
  oneTimePreKey: optional(key32),
  oneTimePreKeyId: optional(preKeyId),
  preKeySignature: signature,
  signedPreKey: key32,
  signedPreKeyId: optional(preKeyId),
};
const keyExchangeResponse = signed("KEY_EXCHANGE_RESPONSE", { ...bundleFields, targetId: userId });
/** Client to relay: my prekeys, for the user who asked. */
export type KeyExchangeResponse = Of<typeof keyExchangeResponse>;

const routedKeyExchangeResponse = object({
  id: optional(envelopeId),
  payload: object({ ...bundleFields, deviceList: optional(deviceList), senderId: userId, targetId: optional(userId) }),
  seq: optional(number),
  signature: optional(signature),
  timestamp: number,
  type: word("KEY_EXCHANGE_RESPONSE"),
});
/** Relay to initiator: the target's prekeys, from the target itself (signed) or from the store (not signed). */
export type RoutedKeyExchangeResponse = Of<typeof routedKeyExchangeResponse>;

const preKeyFetch = unsigned("PREKEY_FETCH", { targets: list(userId, MAX_FETCH_TARGETS) });
/** Client to relay: the prekeys of these users, who are not told. */
export type PreKeyFetch = Of<typeof preKeyFetch>;

const preKeyBundles = unsigned("PREKEY_BUNDLES", {
  bundles: list(object({ ...bundleFields, deviceList: optional(deviceList), senderId: userId, targetId: optional(userId) })),
  missing: list(userId),
});
/** Relay to client: prekeys from the store, and who has none there. */
export type PreKeyBundles = Of<typeof preKeyBundles>;

const signedPart = object({ id: preKeyId, key: key32, signature });
const kemPart = object({ id: preKeyId, key: kemKey, signature });

const preKeyPublish = signed("PREKEY_PUBLISH", {
  audience,
  bundleSignature: optional(signature),
  challenge: key32,
  deviceList: optional(deviceList),
  kemPreKeys: list(kemPart, MAX_KEM_PREKEYS_PER_PUBLISH),
  lastResortKemPreKey: optional(kemPart),
  madeAt: optional(number),
  oneTimePreKeys: list(object({ id: preKeyId, key: key32 }), MAX_ONE_TIME_PREKEYS),
  replace: optional(boolean),
  signedPreKey: signedPart,
});
/**
 * Client to relay: prekeys to hand out while I am offline; with `replace` the one-time keys replace those there are.
 */
export type PreKeyPublish = Of<typeof preKeyPublish>;

const preKeyStatusQuery = bare("PREKEY_STATUS");
/** Client to relay: how many of my prekeys are left? */
export type PreKeyStatusQuery = Of<typeof preKeyStatusQuery>;

const preKeyStatus = unsigned("PREKEY_STATUS", {
  highestPreKeyId: optional(preKeyId),
  kemPreKeys: number,
  lastResortKemPreKeyId: optional(preKeyId),
  oneTimePreKeys: number,
  signedPreKeyId: optional(preKeyId),
});
/** Relay to client: how many are left; also sent unasked when fewer than ten of a kind are. */
export type PreKeyStatus = Of<typeof preKeyStatus>;

// --- messages ----------------------------------------------------------------------------------

/** The members of `metadata` that the protocol knows; others pass through untouched. */
export const metadataShape = open({
  burnAfterRead: optional(boolean),
  expiresIn: optional(orNull(integer(1, MAX_EXPIRES_IN_MS))),
});

const messageFields = {
  conversationId,
  // Above MAX_ENCRYPTED_CHARS it is another error than that of a field; see the codec.
  encrypted: base64(1, MAX_ENCRYPTED_CHARS - 1),
  messageId,
  metadata: optional(anyObject),
  recipientId: userId,
};
const message = signed("MESSAGE", messageFields);
/** Client to relay: an encrypted message. */
export type Message = Of<typeof message>;

const routedMessage = object({
  id: optional(envelopeId),
  payload: object({ ...messageFields, senderId: userId }),
  seq: number,
  signature,
  timestamp: number,
  type: word("MESSAGE"),
});
/** Relay to recipient: the sender's envelope with `senderId` and `seq` added. */
export type RoutedMessage = Of<typeof routedMessage>;

const messageMany = signed("MESSAGE_MANY", {
  common: triples,
  conversationId,
  group: optional(boolean),
  messageId,
  metadata: optional(anyObject),
  order: optional(
    object({ name: key32, revision: integer(1, 2 ** 32 - 1), writers: list(userId, MAX_ORDER_WRITERS) }),
  ),
  recipients: list(object({ head: optional(triples), recipientId: userId, signature }), MAX_RECIPIENTS),
});
/** Client to relay: one message for many, of which each gets an ordinary MESSAGE. */
export type MessageMany = Of<typeof messageMany>;

const manyResult = unsigned("MANY_RESULT", {
  accepted: number,
  messageId,
  refused: list(object({ code: number, reason: text(), recipientId: userId, retryAfter: optional(number) })),
});
/** Relay to sender: a MESSAGE_MANY is on disk for all recipients but these. */
export type ManyResult = Of<typeof manyResult>;

const messageAck = unsigned("MESSAGE_ACK", {
  messageId: optional(messageId),
  senderId: optional(userId),
  seq: optional(number),
  status: word("delivered", "read", "burned"),
  timestamp: optional(number),
});
/** Client to relay: what I did with a message, named by sender and id; or, by `seq`, that another item has arrived. */
export type MessageAck = Of<typeof messageAck>;

const receipt = object({
  id: optional(envelopeId),
  payload: object({
    messageId,
    recipientId: userId,
    status: word<Status>("accepted", "delivered", "read", "burned", "expired"),
    timestamp: number,
  }),
  seq: optional(number),
  timestamp: number,
  type: word("MESSAGE_ACK"),
});
/** Relay to sender, as MESSAGE_ACK: the delivery status of your message to `recipientId`. */
export type Receipt = Of<typeof receipt>;

// --- blocking, presence, errors, health --------------------------------------------------------

const block = unsigned("BLOCK", { blocked: boolean, userId });
/** Client to relay: block `userId`, or unblock. */
export type Block = Of<typeof block>;
/** Relay to client: done, and on disk. */
export type BlockDone = Block;

const allowance = unsigned("ALLOWANCE", { senderId: userId });
/** Client to relay: for a while, `senderId` may send me more than the rate. */
export type Allowance = Of<typeof allowance>;

const allowanceNotice = unsigned("ALLOWANCE", {
  expiresIn: number,
  messages: number,
  recipientId: optional(userId),
  senderId: optional(userId),
});
/** Relay to client: so many messages are left of what you allow `senderId`, or `recipientId` allows you. */
export type AllowanceNotice = Of<typeof allowanceNotice>;

const presence = unsigned("PRESENCE", {
  conversationId: optional(conversationId),
  status: optional(presenceStatus),
  userId: optional(userId),
});
/** Client to relay: my own presence (`status`), or a question about that of `userId`. */
export type Presence = Of<typeof presence>;

const presenceNotice = unsigned("PRESENCE", {
  conversationId: optional(conversationId),
  lastSeen: optional(number),
  status: presenceStatus,
  userId,
});
/** Relay to client: the presence of a contact. */
export type PresenceNotice = Of<typeof presenceNotice>;

const error = unsigned("ERROR", {
  code: number,
  details: optional(anyObject),
  message: text(),
  retryAfter: optional(number),
});
/** Relay to client: the request with this `id` was refused. */
export type ErrorFrame = Of<typeof error>;

const ping = bare("PING");
/** Client to relay: are you there? */
export type Ping = Of<typeof ping>;

const pong = bare("PONG");
/** Relay to client: I am. */
export type Pong = Of<typeof pong>;

// --- all of them -------------------------------------------------------------------------------

/** What a client may send. */
export const CLIENT_SHAPES = {
  AUTH: auth,
  ACCOUNT_DELETE: accountDelete,
  KEY_EXCHANGE_INIT: keyExchangeInit,
  KEY_EXCHANGE_RESPONSE: keyExchangeResponse,
  PREKEY_PUBLISH: preKeyPublish,
  PREKEY_STATUS: preKeyStatusQuery,
  PREKEY_FETCH: preKeyFetch,
  MESSAGE: message,
  MESSAGE_MANY: messageMany,
  MESSAGE_ACK: messageAck,
  PRESENCE: presence,
  BLOCK: block,
  ALLOWANCE: allowance,
  PING: ping,
} as const;

/** What the relay may send. */
export const RELAY_SHAPES = {
  CONNECTION_ACK: connectionAck,
  AUTH_SUCCESS: authSuccess,
  AUTH_FAILURE: authFailure,
  KEY_EXCHANGE_INIT: routedKeyExchangeInit,
  KEY_EXCHANGE_RESPONSE: routedKeyExchangeResponse,
  PREKEY_STATUS: preKeyStatus,
  PREKEY_BUNDLES: preKeyBundles,
  MESSAGE: routedMessage,
  MANY_RESULT: manyResult,
  MESSAGE_ACK: receipt,
  PRESENCE: presenceNotice,
  BLOCK: block,
  ALLOWANCE: allowanceNotice,
  ERROR: error,
  PONG: pong,
} as const;

/** What even a frame of a type that is not known must have. */
export const ANY_SHAPE = open({ id: optional(envelopeId) });

export type ClientFrame = Of<(typeof CLIENT_SHAPES)[keyof typeof CLIENT_SHAPES]>;
export type RelayFrame = Of<(typeof RELAY_SHAPES)[keyof typeof RELAY_SHAPES]>;
export type SignedFrame =
  | Auth
  | AccountDelete
  | KeyExchangeInit
  | KeyExchangeResponse
  | PreKeyPublish
  | Message
  | MessageMany;
export type RoutedFrame = RoutedKeyExchangeInit | RoutedKeyExchangeResponse | RoutedMessage;
export type Frame = ClientFrame | RelayFrame;
