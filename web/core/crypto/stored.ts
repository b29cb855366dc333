/** What stored sessions of all suites are made of: an array, whose first member says how to read the rest. */

import { MalformedPack, type Packed, unpack } from "../msgpack.ts";
import { InvalidMessage } from "./errors.ts";
import { KEY_BYTES } from "./primitives.ts";
import { MAX_NUMBER, type RatchetState, type Skipped, type SkippedKeys, skippedName } from "./ratchet.ts";

/** Reads the members of a stored session one after the other. Each throws `InvalidMessage` for another form. */
export interface Members {
  readonly key: () => Uint8Array;
  readonly keyOrNull: () => Uint8Array | null;
  readonly bytes: () => Uint8Array;
  readonly bytesOrNull: () => Uint8Array | null;
  /** From 0 to 2^32-1. */
  readonly number: () => number;
  readonly time: () => number;
  readonly flag: () => boolean;
  readonly skipped: () => SkippedKeys;
}

/**
 * The version of a stored session.
 *
 * @throws InvalidMessage It is none.
 */
export function versionOf(data: Uint8Array): number {
  const [version] = arrayOf(readPack(data));
  return asInteger(version, 0, MAX_NUMBER);
}

/**
 * The members of a stored session behind its version.
 *
 * @param count How many there must be, with the version.
 * @throws InvalidMessage It is none, or has others.
 */
export function membersOf(data: Uint8Array, count: number): Members {
  const all = arrayOf(readPack(data));
  if (all.length !== count) throw damaged();
  return reading(all.slice(1));
}

function reading(all: readonly Packed[]): Members {
  let at = 0;
  const next = (): Packed => {
    const value = all[at];
    at += 1;
    if (value === undefined) throw damaged();
    return value;
  };
  const orNull = <T>(read: (value: Packed) => T): T | null => {
    const value = next();
    return value === null ? null : read(value);
  };
  return {
    key: () => asKey(next()),
    keyOrNull: () => orNull(asKey),
    bytes: () => asBytes(next()),
    bytesOrNull: () => orNull(asBytes),
    number: () => asInteger(next(), 0, MAX_NUMBER),
    time: () => asInteger(next(), Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    flag: () => asFlag(next()),
    skipped: () => new Map(arrayOf(next()).map((one) => loadSkipped(one)).map((one) => [skippedName(one), one])),
  };
}

/** The skipped keys of a ratchet, oldest first. */
export function dumpSkipped(state: RatchetState): Packed {
  return [...state.mkskipped.values()].map(({ dh, n, mk, at }) => [dh, n, mk, at]);
}

function loadSkipped(value: Packed): Skipped {
  const members = arrayOf(value);
  if (members.length !== 4) throw damaged();
  const read = reading(members);
  return { dh: read.key(), n: read.number(), mk: read.key(), at: read.time() };
}

function readPack(data: Uint8Array): Packed {
  try {
    return unpack(data);
  } catch (error) {
    if (error instanceof MalformedPack) throw damaged();
    throw error;
  }
}

function arrayOf(value: Packed): readonly Packed[] {
  if (!Array.isArray(value)) throw damaged();
  return value as readonly Packed[];
}

function asBytes(value: Packed): Uint8Array {
  if (!(value instanceof Uint8Array)) throw damaged();
  return value;
}

function asKey(value: Packed): Uint8Array {
  const bytes = asBytes(value);
  if (bytes.length !== KEY_BYTES) throw damaged();
  return bytes;
}

function asInteger(value: Packed | undefined, least: number, most: number): number {
  if (typeof value !== "number" || value < least || value > most) throw damaged();
  return value;
}

function asFlag(value: Packed): boolean {
  if (typeof value !== "boolean") throw damaged();
  return value;
}

function damaged(): InvalidMessage {
  return new InvalidMessage("a stored session cannot be read");
}
