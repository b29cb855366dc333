/** Chunks of what was said before a device was linked; see devices.md, History. */
import { InvalidMessage } from "../../crypto/errors.ts";
import { NO_BYTES, utf8 } from "../../bytes.ts";
import { deflate } from "../../deflate.ts";
import { MalformedZlib, inflate } from "../../inflate.ts";
import { MalformedPack, type Packed, pack, unpack } from "../../msgpack.ts";
import type { ToldGroup } from "../extension.ts";
import { GroupTextRecord, GroupTexts } from "../groups/records.ts";
import { list, mapOf, recordType, withDefault } from "../record_types.ts";
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

/** Bytes that an id in a chunk and what is around it need at most. */
const BESIDES = 64;

const STATES: ReadonlySet<number> = new Set(Object.values(DeliveryState));

/** What a chunk holds, the newest first; `groups` by their ids. */
const Texts = recordType({
  sent: withDefault(list(SentRecord), []),
  received: withDefault(list(ReceivedRecord), []),
  groups: withDefault(mapOf(GroupTexts), new Map()),
});
export type Texts = RecordOf<typeof Texts>;

/** How many texts a chunk holds. */
export function countOf({ groups, received, sent }: Texts): number {
  return [...groups.values()].reduce((count, { texts }) => count + texts.length, received.length + sent.length);
}

/** Among which kind of texts it stands. */
type Sort = "sent" | "received" | ToldGroup;

/**
 * A text as another own device gets it. `sender`: of one in a group, '' if that is an own one. `size`: bytes, before
 * anything is compressed.
 */
interface Told {
  readonly sort: Sort;
  readonly sender: string;
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
export function chunkBefore(vault: Vault, groups: readonly ToldGroup[], below: number): Chunk {
  const source = toldBefore(vault, groups, below);
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
  const maps = (sort: Sort): Packed[] => found.filter((one) => one.sort === sort).map(({ map }) => map);
  const groups = [...new Set(found.map(({ sort }) => sort))].filter((sort) => typeof sort !== "string");
  const said = groups.map((group) => {
    const writers = new Set(found.flatMap(({ sender, sort }) => (sort === group ? [sender] : [])));
    const names = Object.fromEntries([...writers].flatMap((one) => (says(group, one) === "" ? [] : [[one, says(group, one)]])));
    return [group.id, { texts: maps(group), names }] as const;
  });
  return deflate(pack({ sent: maps("sent"), received: maps("received"), groups: Object.fromEntries(said) }));
}

function says({ names }: ToldGroup, writer: string): string {
  return names.get(writer) ?? "";
}

/** The texts before a position that another own device gets, the last one first; read as they are asked for. */
function* toldBefore(vault: Vault, groups: readonly ToldGroup[], below: number): Generator<Found> {
  const named = new Set<string>();
  const sources = [
    toldOf(vault, records.SENT, below, ofSent),
    toldOf(vault, records.RECEIVED, below, ofReceived),
    ...groups.map((group) => toldOf(vault, group.kind, below, (record) => ofGroup(group, record, named))),
  ];
  const heads = sources.flatMap((source) => {
    const found = source.next();
    return found.done === true ? [] : [{ source, found: found.value }];
  });
  while (heads.length > 0) {
    const last = heads.reduce((one, other) => (other.found.position > one.found.position ? other : one));
    yield last.found;
    const next = last.source.next();
    if (next.done === true) heads.splice(heads.indexOf(last), 1);
    else last.found = next.value;
  }
}

/** Those of one kind. */
function* toldOf<T>(
  vault: Vault,
  kind: records.Kind<T>,
  below: number,
  tell: (record: T) => Told | null,
): Generator<Found> {
  for (const [position, record] of vault.backwards(kind, below)) {
    const told = tell(record);
    if (told !== null) yield { ...told, position };
  }
}

function ofSent(record: SentRecord): Told | null {
  if (!stays(record) || record.expiresIn !== null) return null;
  return told("sent", SentRecord.write({ ...record, key: NO_BYTES, resends: 0 }));
}

function ofReceived(record: ReceivedRecord): Told | null {
  return stays(record) && record.newer === null ? told("received", ReceivedRecord.write(record)) : null;
}

/** `named`: whose names are in the chunk already. */
function ofGroup(group: ToldGroup, record: GroupTextRecord, named: Set<string>): Told | null {
  if (!staysInGroup(record)) return null;
  const { sender } = record;
  const found = told(group, GroupTextRecord.write(record), sender);
  const news = ["", sender].map((one) => records.key(group.id, one)).filter((one) => !named.has(one));
  for (const one of news) named.add(one);
  return { ...found, size: found.size + news.length * BESIDES + utf8(says(group, sender)).length };
}

function told(sort: Sort, map: Packed, sender = ""): Told {
  return { sort, sender, map, size: pack(map).length };
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
    found.received.every((one) => stays(one) && one.newer === null) &&
    [...found.groups.values()].every(({ texts }) => texts.every((one) => staysInGroup(one) && STATES.has(one.state)));
  if (!isLasting) throw new InvalidMessage("a chunk of history has something else in it than texts that stay");
  return found;
}

function stays({ burn, expiresAt, text }: Pick<SentRecord, "burn" | "expiresAt" | "text">): boolean {
  return text !== null && !burn && expiresAt === null;
}

function staysInGroup({ expiresAt, expiresIn, text }: GroupTextRecord): boolean {
  return text !== null && expiresAt === null && expiresIn === null;
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
