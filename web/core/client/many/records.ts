/** What the vault holds of messages to many; the same records as `src/phantom_messenger/client/records.py` has. */
import { NO_BYTES } from "../../bytes.ts";
import { bool, bytes, int, list, orMissing, orNull, recordType, text, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import { kindOf } from "../records.ts";
import { rowType } from "./rows.ts";

const no = withDefault(bool, false);
const none = withDefault(bytes, NO_BYTES);
const zero = withDefault(int, 0);
const never = withDefault(orNull(int), null);

/** The revision that a message brings, and who may write the one after it. `name`: 32 bytes. */
export const OrderRecord = recordType({ name: bytes, revision: int, writers: list(text) });
export type OrderRecord = RecordOf<typeof OrderRecord>;

/**
 * A message to many, kept so that it can be sent again to each of them. `content`: without padding. `key`: of the one
 * body that it is encrypted in. `group`: the relay is told so. `purpose`: which part of the client sends it. `order`:
 * what it brings the next revision of. `expiresIn`: milliseconds. `answered`: the recipients say that they have it.
 */
export const ManyRecord = recordType({
  messageId: text,
  conversationId: text,
  content: bytes,
  key: bytes,
  group: no,
  purpose: withDefault(text, ""),
  order: withDefault(orNull(OrderRecord), null),
  burn: no,
  expiresIn: never,
  answered: orMissing(bool),
});
export type ManyRecord = RecordOf<typeof ManyRecord>;

/**
 * What becomes of a message to many for one of them. `state`: a `DeliveryState`. `waits`: it is to be sent, for the
 * first time or again. `head`: encrypted for them, empty until it is and once it has left. `key`: of whom it was
 * encrypted for. `resends`: how often it was sent again.
 */
export const CopyRecord = rowType({
  peer: text,
  state: zero,
  waits: withDefault(bool, true),
  head: none,
  key: none,
  resends: zero,
});
export type CopyRecord = RecordOf<typeof CopyRecord>;

/**
 * The copies of a message to many. `at`: when the relay accepted a copy last, or when the message was written, in
 * persistent time. `ordered`: the relay has stored its revision. `expiresAt`: when it is erased because its time is
 * over, in persistent time.
 */
export const CopiesRecord = recordType({
  messageId: text,
  copies: list(CopyRecord),
  at: int,
  ordered: no,
  expiresAt: never,
  answered: orMissing(bool),
});
export type CopiesRecord = RecordOf<typeof CopiesRecord>;

/** `MANY`/message id. */
export const MANY = kindOf("many", ManyRecord, { isCached: true });
/** `COPIES`/message id. */
export const COPIES = kindOf("copies", CopiesRecord, { isCached: true });
