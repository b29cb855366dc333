/**
 * MessagePack that no two readers can read differently (encryption.md, "Content").
 *
 * Refused, at any depth: a key twice, a key that is no text, floats, extension types, text that is not UTF-8, and
 * nesting without end. Integers, texts and containers may have any of their forms.
 */

import { fromUtf8, utf8 } from "./bytes.ts";

/** A value as it is read; an integer beyond 2^53-1 is a bigint. */
export type Packed = null | boolean | number | bigint | string | Uint8Array | readonly Packed[] | PackedMap;

export interface PackedMap {
  readonly [name: string]: Packed;
}

/** The bytes are not MessagePack, or more than one value, or two readers could disagree on them. */
export class MalformedPack extends Error {
  override readonly name = "MalformedPack";
}

/** Maps and arrays inside each other, the outermost counted: as in frames, and no stack is used up by a peer. */
export const MAX_DEPTH = 8;

/**
 * Writes a value; members of a map stand in the order of the object, integers in their shortest form.
 *
 * @throws Error A number is not an integer within ±(2^53-1).
 */
export function pack(value: Packed): Uint8Array {
  const writer = new Writer();
  writer.value(value);
  return writer.done();
}

/**
 * Reads one value.
 *
 * @throws MalformedPack See there.
 */
export function unpack(encoded: Uint8Array): Packed {
  const reader = new Reader(encoded);
  const found = reader.value(0);
  if (!reader.isAtEnd) throw new MalformedPack("there is something behind it");
  return found;
}

/** Whether a value that was read is a map. */
export function isMap(value: Packed | undefined): value is PackedMap {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}

class Reader {
  readonly #encoded: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(encoded: Uint8Array) {
    this.#encoded = encoded;
    this.#view = new DataView(encoded.buffer, encoded.byteOffset, encoded.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#encoded.length;
  }

  value(depth: number): Packed {
    const first = this.#unsigned(1);
    if (first <= 0x7f) return first;
    if (first >= 0xe0) return first - 0x100;
    if (first <= 0x8f) return this.#map(first & 0x0f, depth);
    if (first <= 0x9f) return this.#array(first & 0x0f, depth);
    if (first <= 0xbf) return this.#text(first & 0x1f);
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.#take(this.#unsigned(1 << (first - 0xc4))).slice();
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#unsigned(1 << (first - 0xcc));
      case 0xcf:
        return this.#wide((at) => this.#view.getBigUint64(at));
      case 0xd0:
      case 0xd1:
      case 0xd2:
        return this.#signed(1 << (first - 0xd0));
      case 0xd3:
        return this.#wide((at) => this.#view.getBigInt64(at));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.#text(this.#unsigned(1 << (first - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.#array(this.#unsigned(2 << (first - 0xdc)), depth);
      case 0xde:
      case 0xdf:
        return this.#map(this.#unsigned(2 << (first - 0xde)), depth);
      default:
        throw new MalformedPack("there is a float, or something that MessagePack leaves to others");
    }
  }

  #map(length: number, depth: number): PackedMap {
    this.#descend(depth);
    // Without a prototype: no name is there before it was read.
    const found: Record<string, Packed> = Object.create(null) as Record<string, Packed>;
    for (let index = 0; index < length; index += 1) {
      const name = this.value(depth + 1);
      const value = this.value(depth + 1);
      if (typeof name !== "string") throw new MalformedPack("there is a field whose name is no text");
      if (name in found) throw new MalformedPack("there is a field twice");
      found[name] = value;
    }
    return found;
  }

  #array(length: number, depth: number): readonly Packed[] {
    this.#descend(depth);
    const found: Packed[] = [];
    for (let index = 0; index < length; index += 1) found.push(this.value(depth + 1));
    return found;
  }

  #descend(depth: number): void {
    if (depth >= MAX_DEPTH) throw new MalformedPack("it is nested too deeply");
  }

  #text(length: number): string {
    const bytes = this.#take(length);
    try {
      return fromUtf8(bytes);
    } catch {
      throw new MalformedPack("there is a text that is not UTF-8");
    }
  }

  #unsigned(size: number): number {
    const at = this.#skip(size);
    return size === 1 ? this.#view.getUint8(at) : size === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  #signed(size: number): number {
    const at = this.#skip(size);
    return size === 1 ? this.#view.getInt8(at) : size === 2 ? this.#view.getInt16(at) : this.#view.getInt32(at);
  }

  #wide(read: (at: number) => bigint): number | bigint {
    const found = read(this.#skip(8));
    const short = Number(found);
    return Number.isSafeInteger(short) ? short : found;
  }

  #take(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#encoded.subarray(at, at + length);
  }

  /** Goes on by so many bytes; returns where they begin. */
  #skip(size: number): number {
    const at = this.#at;
    if (size > this.#encoded.length - at) throw new MalformedPack("it is cut short");
    this.#at = at + size;
    return at;
  }
}

const FIRST_BYTES = 256;

class Writer {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  value(value: Packed): void {
    if (value === null) {
      this.#byte(0xc0);
    } else if (typeof value === "boolean") {
      this.#byte(value ? 0xc3 : 0xc2);
    } else if (typeof value === "number" || typeof value === "bigint") {
      this.#integer(value);
    } else if (typeof value === "string") {
      const bytes = utf8(value);
      this.#length(bytes.length, { short: 0xa0, most: 31, codes: [0xd9, 0xda, 0xdb] });
      this.#append(bytes);
    } else if (value instanceof Uint8Array) {
      this.#length(value.length, { short: 0, most: -1, codes: [0xc4, 0xc5, 0xc6] });
      this.#append(value);
    } else if (isMap(value)) {
      const members = Object.entries(value);
      this.#length(members.length, { short: 0x80, most: 15, codes: [null, 0xde, 0xdf] });
      for (const [name, member] of members) {
        this.value(name);
        this.value(member);
      }
    } else {
      this.#length(value.length, { short: 0x90, most: 15, codes: [null, 0xdc, 0xdd] });
      for (const one of value) this.value(one);
    }
  }

  #integer(value: number | bigint): void {
    // A fraction would be cut off without a word, and no reader takes a float.
    if (typeof value === "number" && !Number.isSafeInteger(value)) throw new Error("only integers are written");
    if (typeof value === "bigint" || value > 0xffff_ffff || value < -0x8000_0000) {
      const whole = BigInt(value);
      this.#byte(whole < 0n ? 0xd3 : 0xcf);
      const at = this.#room(8);
      this.#view.setBigUint64(at, BigInt.asUintN(64, whole));
    } else if (value >= 0) {
      this.#length(value, { short: 0, most: 0x7f, codes: [0xcc, 0xcd, 0xce] });
    } else if (value >= -32) {
      this.#byte(value & 0xff);
    } else {
      const size = value >= -0x80 ? 1 : value >= -0x8000 ? 2 : 4;
      this.#byte(size === 1 ? 0xd0 : size === 2 ? 0xd1 : 0xd2);
      this.#unsigned(value >>> 0, size);
    }
  }

  /** What stands before something: a byte that holds the length, or a code and the length behind it. */
  #length(
    length: number,
    form: { readonly short: number; readonly most: number; readonly codes: readonly [number | null, number, number] },
  ): void {
    const [one, two, four] = form.codes;
    if (length <= form.most) {
      this.#byte(form.short | length);
    } else if (one !== null && length <= 0xff) {
      this.#byte(one);
      this.#byte(length);
    } else {
      const isShort = length <= 0xffff;
      this.#byte(isShort ? two : four);
      this.#unsigned(length, isShort ? 2 : 4);
    }
  }

  #byte(value: number): void {
    const at = this.#room(1);
    this.#bytes[at] = value;
  }

  #unsigned(value: number, size: 1 | 2 | 4): void {
    const at = this.#room(size);
    for (let index = 0; index < size; index += 1) this.#bytes[at + index] = value >>> (8 * (size - 1 - index));
  }

  #append(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Goes on by so many bytes; returns where they begin. */
  #room(size: number): number {
    const at = this.#at;
    this.#at += size;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, 2 * this.#bytes.length));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}
