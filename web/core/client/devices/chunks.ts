/** Chunks of what was said before a device was linked; see devices.md, History. */
import { InvalidMessage } from "../../crypto/errors.ts";
import { NO_BYTES } from "../../bytes.ts";
import { deflate } from "../../deflate.ts";
import { MalformedZlib, inflate } from "../../inflate.ts";
import { MalformedPack, type Packed, pack, unpack } from "../../msgpack.ts";
import { list, recordType, withDefault } from "../record_types.ts";
import type { RecordOf } from "../record_types.ts";
import * as records from "../records.ts";
import { ReceivedRecord, SentRecord } from "../records.ts";
import { DeliveryState } from "../status.ts";
import type { Vault } from "../vault.ts";

export const MAX_CHUNK_BYTES = 43_000;
/** A chunk that has so many goes as it is. */
const ENOUGH_BYTES = 41_000;
export const MAX_INFLATED_BYTES = 1_048_576;

/** A chunk of no texts. */
export const NO_TEXTS = deflate(pack({}));

const STATES: ReadonlySet<number> = new Set(Object.values(DeliveryState));

/** What a chunk holds, the newest first. */
const Texts = recordType({
  sent: withDefault(list(SentRecord), []),
  received: withDefault(list(ReceivedRecord), []),
});
export type Texts = RecordOf<typeof Texts>;

/** A text as another own device gets it. `size`: bytes, before anything is compressed. */
interface Told {
  readonly isMine: boolean;
  readonly map: Packed;
  readonly size: number;
}

/** A chunk as it is sent: how many texts, and the position before which the next one is; null: no more. */
export interface Chunk {
  readonly data: Uint8Array;
  readonly texts: number;
  readonly below: number | null;
}

/** So that one text more is still below what it may come to. */
const MAX_PLAIN_BYTES = 917_504;
const FIRST_PLAIN_BYTES = 3 * MAX_CHUNK_BYTES;

/** A text that another own device gets, and where it stands. */
interface Found extends Told {
  readonly position: number;
}

/** The newest texts that stand before a position, as many as fit. */
export function chunkBefore(vault: Vault, below: number): Chunk {
  const source = toldBefore(vault, below);
  const found: Found[] = [];
  let data = packed(found);
  let [size, isAll] = [0, false];
  // As much as comes to a little more than may be, were the rest as what is there: what is too much is cut off.
  for (let wanted = FIRST_PLAIN_BYTES; !isAll && data.length < ENOUGH_BYTES && size < MAX_PLAIN_BYTES; ) {
    while (!isAll && size < wanted) {
      const next = source.next();
      isAll = next.done === true;
      if (next.done !== true) {
        found.push(next.value);
        size += next.value.size;
      }
    }
    data = packed(found);
    wanted = Math.min(MAX_PLAIN_BYTES, Math.ceil((1.03 * size * MAX_CHUNK_BYTES) / data.length));
  }
  let count = found.length;
  while (data.length > MAX_CHUNK_BYTES && count > 1) {
    isAll = false;
    count = Math.max(1, Math.min(count - 1, Math.floor((0.99 * count * MAX_CHUNK_BYTES) / data.length)));
    data = packed(found.slice(0, count));
  }
  const last = isAll ? null : (found[count - 1]?.position ?? null);
  // One text alone that does not fit stays where it is.
  return data.length > MAX_CHUNK_BYTES ? { data: NO_TEXTS, texts: 0, below: last } : { data, texts: count, below: last };
}

function packed(found: readonly Found[]): Uint8Array {
  const maps = (isMine: boolean): Packed[] => found.filter((one) => one.isMine === isMine).map(({ map }) => map);
  return deflate(pack({ sent: maps(true), received: maps(false) }));
}

/** The texts before a position that another own device gets, the last one first. */
function* toldBefore(vault: Vault, below: number): Generator<Found> {
  for (const [position, record] of before(vault, below)) {
    const told = toldOf(record);
    if (told !== null) yield { ...told, position };
  }
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
function toldOf(record: SentRecord | ReceivedRecord): Told | null {
  if (!stays(record)) return null;
  if ("sender" in record) return record.newer === null ? told(false, ReceivedRecord.write(record)) : null;
  return record.expiresIn === null ? told(true, SentRecord.write({ ...record, key: NO_BYTES, resends: 0 })) : null;
}

function told(isMine: boolean, map: Packed): Told {
  return { isMine, map, size: pack(map).length };
}

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
