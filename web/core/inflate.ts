/** Decompresses zlib (RFC 1950, RFC 1951), in bounds: what comes from another device may be made to burst. */

/** The data are no zlib, are cut short, go on behind their end, or come to more than they may. */
export class MalformedZlib extends Error {
  override readonly name = "MalformedZlib";
}

export const MAX_BITS = 15;
export const END_OF_BLOCK = 256;
/** Of the symbols for lengths from 257 on: the least length, and how many bits are added to it. */
export const LENGTHS = [...rangesOf(3, [...sorts(8, 0), ...[1, 2, 3, 4, 5].flatMap((bits) => sorts(4, bits))]), { least: 258, bits: 0 }];
/** Of the symbols for distances, likewise. */
export const DISTANCES = rangesOf(1, [...sorts(4, 0), ...Array.from({ length: 13 }, (_, bits) => sorts(2, bits + 1)).flat()]);
/** In which order the lengths of the codes for lengths of codes stand. */
export const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

export interface Range {
  readonly least: number;
  readonly bits: number;
}

function sorts(count: number, bits: number): readonly number[] {
  return new Array<number>(count).fill(bits);
}

/** Ranges one behind the other, each as wide as its bits. */
function rangesOf(first: number, widths: readonly number[]): readonly Range[] {
  let least = first;
  return widths.map((bits) => {
    const range = { least, bits };
    least += 2 ** bits;
    return range;
  });
}

/**
 * What was compressed.
 *
 * @param most bytes that it may come to
 * @throws MalformedZlib
 */
export function inflate(data: Uint8Array, most: number): Uint8Array {
  const [method = 0, flags = 0] = data;
  if ((method & 15) !== 8 || (method * 256 + flags) % 31 !== 0 || (flags & 32) !== 0) throw new MalformedZlib("header");
  const input = new Bits(data, 2);
  const output = new Output(most);
  for (let isLast = false; !isLast; ) {
    isLast = input.take(1) === 1;
    const kind = input.take(2);
    if (kind === 0) input.copy(output);
    else if (kind === 1) expand(input, output, FIXED, FIXED_DISTANCES);
    else if (kind === 2) expand(input, output, ...codesIn(input));
    else throw new MalformedZlib("block");
  }
  const found = output.all();
  input.end(adler32(found));
  return found;
}

/** Bits of bytes, the lowest first. */
class Bits {
  readonly #data: Uint8Array;
  #at: number;
  #held = 0;
  #count = 0;

  constructor(data: Uint8Array, at: number) {
    this.#data = data;
    this.#at = at;
  }

  /** A number of so many bits, at most 16. */
  take(count: number): number {
    while (this.#count < count) {
      this.#held |= this.#byte() << this.#count;
      this.#count += 8;
    }
    const found = this.#held & ((1 << count) - 1);
    this.#held >>>= count;
    this.#count -= count;
    return found;
  }

  #byte(): number {
    const byte = this.#data[this.#at];
    if (byte === undefined) throw new MalformedZlib("cut short");
    this.#at += 1;
    return byte;
  }

  /** A stored block, which begins with the next whole byte. */
  copy(output: Output): void {
    this.#held = this.#count = 0;
    const [size, inverse] = [this.take(16), this.take(16)];
    if ((size ^ inverse) !== 0xffff) throw new MalformedZlib("size");
    for (let left = size; left > 0; left -= 1) output.put(this.#byte());
  }

  /** The checksum stands here, and nothing behind it. */
  end(sum: number): void {
    this.#held = this.#count = 0;
    const found = [0, 0, 0, 0].reduce((value) => value * 256 + this.#byte(), 0);
    if (found !== sum || this.#at !== this.#data.length) throw new MalformedZlib("end");
  }
}

/** What comes out. */
class Output {
  readonly #most: number;
  #bytes = new Uint8Array(65_536);
  #size = 0;

  constructor(most: number) {
    this.#most = most;
  }

  put(byte: number): void {
    if (this.#size >= this.#most) throw new MalformedZlib("too long");
    if (this.#size === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#size);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#size] = byte;
    this.#size += 1;
  }

  /** Once more what stands so far back. */
  repeat(distance: number, length: number): void {
    if (distance > this.#size) throw new MalformedZlib("distance");
    for (let left = length; left > 0; left -= 1) this.put(this.#bytes[this.#size - distance] ?? 0);
  }

  all(): Uint8Array {
    return this.#bytes.slice(0, this.#size);
  }
}

/** A prefix code, as the lengths of its words say: how many words there are of each length, and the symbols in order. */
class Code {
  readonly #counts = new Uint16Array(MAX_BITS + 1);
  readonly #symbols: readonly number[];

  constructor(lengths: readonly number[]) {
    for (const length of lengths) if (length > 0) this.#counts[length] = (this.#counts[length] ?? 0) + 1;
    const used = lengths.flatMap((length, symbol) => (length > 0 ? [{ length, symbol }] : []));
    this.#symbols = used.sort((one, other) => one.length - other.length || one.symbol - other.symbol).map((one) => one.symbol);
    let free = 1;
    for (const count of this.#counts.subarray(1)) {
      free = 2 * free - count;
      if (free < 0) throw new MalformedZlib("code");
    }
  }

  /** The symbol of the next word. */
  read(input: Bits): number {
    let word = 0;
    let first = 0;
    let passed = 0;
    for (let length = 1; length <= MAX_BITS; length += 1) {
      word |= input.take(1);
      const count = this.#counts[length] ?? 0;
      if (word - first < count) return this.#symbols[passed + word - first] ?? 0;
      passed += count;
      first = (first + count) << 1;
      word <<= 1;
    }
    throw new MalformedZlib("word");
  }
}

const FIXED = new Code(Array.from({ length: 288 }, (_, symbol) => (symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8)));
const FIXED_DISTANCES = new Code(new Array<number>(30).fill(5));

/** The codes of a block that brings its own. */
function codesIn(input: Bits): readonly [Code, Code] {
  const [symbols, distances, count] = [input.take(5) + 257, input.take(5) + 1, input.take(4) + 4];
  const own = new Array<number>(ORDER.length).fill(0);
  for (const symbol of ORDER.slice(0, count)) own[symbol] = input.take(3);
  const code = new Code(own);
  const lengths: number[] = [];
  while (lengths.length < symbols + distances) {
    const symbol = code.read(input);
    if (symbol < 16) {
      lengths.push(symbol);
      continue;
    }
    const repeated = symbol === 16 ? lengths.at(-1) : 0;
    if (repeated === undefined) throw new MalformedZlib("nothing to repeat");
    const times = symbol === 16 ? 3 + input.take(2) : symbol === 17 ? 3 + input.take(3) : 11 + input.take(7);
    for (let left = times; left > 0; left -= 1) lengths.push(repeated);
  }
  if (lengths.length > symbols + distances || lengths[END_OF_BLOCK] === 0) throw new MalformedZlib("lengths");
  return [new Code(lengths.slice(0, symbols)), new Code(lengths.slice(symbols))];
}

function expand(input: Bits, output: Output, code: Code, distances: Code): void {
  for (let symbol = code.read(input); symbol !== END_OF_BLOCK; symbol = code.read(input)) {
    if (symbol < END_OF_BLOCK) {
      output.put(symbol);
      continue;
    }
    const length = valueOf(LENGTHS[symbol - END_OF_BLOCK - 1], input);
    output.repeat(valueOf(DISTANCES[distances.read(input)], input), length);
  }
}

function valueOf(range: Range | undefined, input: Bits): number {
  if (range === undefined) throw new MalformedZlib("symbol");
  return range.least + input.take(range.bits);
}

/** The checksum of RFC 1950. */
export function adler32(data: Uint8Array): number {
  let one = 1;
  let other = 0;
  for (const byte of data) {
    one = (one + byte) % 65_521;
    other = (other + one) % 65_521;
  }
  return other * 65_536 + one;
}
