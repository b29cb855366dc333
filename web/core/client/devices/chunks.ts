/** Chunks of what was said before a device was linked; see devices.md, History. */
import { InvalidMessage } from "../../crypto/errors.ts";
import { NO_BYTES, concat, u32 } from "../../bytes.ts";
import { MalformedZlib, adler32, inflate } from "../../inflate.ts";
import { MalformedPack, type Packed, pack, unpack } from "../../msgpack.ts";
import { list, recordType, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import * as records from "../records.ts";
import { ReceivedRecord, SentRecord } from "../records.ts";
import { DeliveryState } from "../status.ts";
import type { Vault } from "../vault.ts";

export const MAX_CHUNK_BYTES = 43_000;
export const MAX_INFLATED_BYTES = 1_048_576;

const STATES: ReadonlySet<number> = new Set(Object.values(DeliveryState));

/** What a chunk holds, the newest first. */
const Texts = recordType({
  sent: withDefault(list(SentRecord), []),
  received: withDefault(list(ReceivedRecord), []),
});
export type Texts = RecordOf<typeof Texts>;

/** A chunk as it is sent: how many texts, and the position before which the next one is; null: no more. */
export interface Chunk {
  readonly data: Uint8Array;
  readonly texts: number;
  readonly below: number | null;
}

/** What is around the texts: the map with its two names, the sizes of two arrays, and what zlib adds. */
const AROUND_BYTES = 64;

/** The newest texts that stand before a position, as many as fit. */
export function chunkBefore(vault: Vault, below: number): Chunk {
  const sent: Packed[] = [];
  const received: Packed[] = [];
  let size = AROUND_BYTES;
  let last = below;
  for (const [position, record] of before(vault, below)) {
    const told = toldOf(record);
    const own = told === null ? 0 : pack(told.map).length;
    if (size + own > MAX_CHUNK_BYTES && last !== below) {
      return { data: stored(pack({ sent, received })), texts: sent.length + received.length, below: last };
    }
    last = position;
    // One text alone that does not fit stays where it is.
    if (told === null || size + own > MAX_CHUNK_BYTES) continue;
    size += own;
    (told.isMine ? sent : received).push(told.map);
  }
  return { data: stored(pack({ sent, received })), texts: sent.length + received.length, below: null };
}

/** Sent and received texts before a position, the last one first, each with its position; read as they are asked for. */
function* before(vault: Vault, below: number): Generator<readonly [number, SentRecord | ReceivedRecord]> {
  const [sent, received] = [vault.backwards(records.SENT, below), vault.backwards(records.RECEIVED, below)];
  let [one, other] = [sent.next(), received.next()];
  while (one.done !== true || other.done !== true) {
    if (one.done !== true && (other.done === true || one.value[0] > other.value[0])) {
      yield one.value;
      one = sent.next();
    } else if (other.done !== true) {
      yield other.value;
      other = received.next();
    }
  }
}

/** A text as another own device gets it; null if it does not. */
function toldOf(record: SentRecord | ReceivedRecord): { readonly isMine: boolean; readonly map: Packed } | null {
  if (!stays(record)) return null;
  if ("sender" in record) return record.newer === null ? { isMine: false, map: ReceivedRecord.write(record) } : null;
  if (record.expiresIn !== null) return null;
  return { isMine: true, map: SentRecord.write({ ...record, key: NO_BYTES, resends: 0 }) };
}

/** As zlib (RFC 1950) that compresses nothing: at most 65,535 bytes. */
function stored(plain: Uint8Array): Uint8Array {
  const { length } = plain;
  const size = Uint8Array.of(length & 255, length >> 8, ~length & 255, (~length >> 8) & 255);
  return concat(Uint8Array.of(0x78, 0x01, 0x01), size, plain, u32(adler32(plain)));
}

/** A chunk of no texts. */
export const NO_TEXTS = stored(pack({}));

/**
 * The texts of a chunk.
 *
 * @throws InvalidMessage It is none, or inflates to more than it may, or has a text that is not to be in it.
 */
export function readChunk(data: Uint8Array): Texts {
  const found = parsed(data);
  const isLasting =
    found.sent.every((one) => stays(one) && one.expiresIn === null && STATES.has(one.state)) &&
    found.received.every((one) => stays(one) && one.newer === null);
  if (!isLasting) throw new InvalidMessage("a chunk of history has something else in it than texts that stay");
  return found;
}

function stays({ burn, expiresAt, text }: Pick<SentRecord, "burn" | "expiresAt" | "text">): boolean {
  return text !== null && !burn && expiresAt === null;
}

function parsed(data: Uint8Array): Texts {
  try {
    return Texts.read(unpack(inflate(data, MAX_INFLATED_BYTES)));
  } catch (error) {
    if (error instanceof MalformedZlib || error instanceof MalformedPack || error instanceof TypeError) {
      throw new InvalidMessage("a chunk of history cannot be read");
    }
    throw error;
  }
}
