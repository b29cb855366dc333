/**
 * Compresses as zlib (RFC 1950, RFC 1951): what stands here again is pointed at, and the rest gets a prefix code.
 *
 * A browser's own compression answers later; what is stored in one step needs it at once.
 */
import { DISTANCES, END_OF_BLOCK, LENGTHS, MAX_BITS, ORDER, type Range, adler32 } from "./inflate.ts";

const WINDOW = 32_768;
const LEAST = 3;
const MOST = 258;
/** How many earlier places are looked at for one that goes on longest. */
const TRIES = 128;
/** Three bytes from further back cost more than the bytes themselves. */
const NEAR = 256;
/** What goes on so long is taken without looking whether the next place is better. */
const LONG_ENOUGH = 128;
const HASH_BITS = 15;
/** The longest word of the code that the lengths of codes are written in. */
const MAX_ORDER_BITS = 7;

const LENGTH_SYMBOLS = symbolsOf(LENGTHS, MOST);
const DISTANCE_SYMBOLS = symbolsOf(DISTANCES, WINDOW);

/** A zlib stream of one block, which `inflate` and every other program undo. */
export function deflate(plain: Uint8Array): Uint8Array {
  const output = new Bits();
  output.put(0x9c78, 16);
  output.put(0b101, 3); // the last block, with codes of its own
  const tokens = tokensOf(plain);
  const [counts, distanceCounts] = countsOf(tokens);
  const [lengths, distanceLengths] = [lengthsOf(counts, MAX_BITS), lengthsOf(distanceCounts, MAX_BITS)];
  writeLengths(output, lengths, distanceLengths);
  const [words, distanceWords] = [wordsOf(lengths), wordsOf(distanceLengths)];
  for (const token of tokens) {
    if (token < END_OF_BLOCK) {
      output.word(words, token);
      continue;
    }
    const [length, distance] = [token >>> 16, token & 0xffff];
    const symbol = LENGTH_SYMBOLS[length] ?? 0;
    output.word(words, END_OF_BLOCK + 1 + symbol);
    output.rest(LENGTHS, symbol, length);
    const other = DISTANCE_SYMBOLS[distance] ?? 0;
    output.word(distanceWords, other);
    output.rest(DISTANCES, other, distance);
  }
  output.word(words, END_OF_BLOCK);
  return output.end(adler32(plain));
}

/** For each number, the range that it is in. */
function symbolsOf(ranges: readonly Range[], most: number): Uint8Array {
  const found = new Uint8Array(most + 1);
  ranges.forEach(({ least }, symbol) => {
    if (least <= most) found.fill(symbol, least);
  });
  return found;
}

// --- what is pointed at ---------------------------------------------------------------------------

/** Bytes, and places where what follows stands already: its length, times 65,536, and how far back. */
function tokensOf(plain: Uint8Array): readonly number[] {
  const earlier = new Earlier(plain);
  const tokens: number[] = [];
  let match = 0;
  for (let at = 0; at < plain.length; ) {
    earlier.enter(at);
    const length = match >>> 16;
    const next = length < LONG_ENOUGH ? earlier.longest(at + 1) : 0;
    if (length < LEAST || next >>> 16 > length) {
      tokens.push(plain[at] ?? 0);
      at += 1;
      match = next;
      continue;
    }
    tokens.push(match);
    for (const end = at + length; (at += 1) < end; ) earlier.enter(at);
    match = earlier.longest(at);
  }
  return tokens;
}

/** Where three bytes have stood before, the nearest place first. */
class Earlier {
  readonly #plain: Uint8Array;
  readonly #newest = new Int32Array(2 ** HASH_BITS).fill(-1);
  /** For each place, the one before it; those that are further back than the window are written over. */
  readonly #before = new Int32Array(WINDOW);

  constructor(plain: Uint8Array) {
    this.#plain = plain;
  }

  enter(at: number): void {
    const hash = this.#hash(at);
    this.#before[at % WINDOW] = this.#newest[hash] ?? -1;
    this.#newest[hash] = at;
  }

  /** The longest that has stood before, as a token; 0 if there is none. */
  longest(at: number): number {
    const most = Math.min(MOST, this.#plain.length - at);
    if (most < LEAST) return 0;
    let [best, found] = [LEAST - 1, 0];
    let place = this.#newest[this.#hash(at)] ?? -1;
    for (let tries = TRIES; tries > 0 && place >= 0 && at - place < WINDOW; tries -= 1) {
      const length = this.#common(place, at, best, most);
      const isWorthIt = length > LEAST || at - place <= NEAR;
      if (length > best && isWorthIt) [best, found] = [length, (length << 16) | (at - place)];
      if (length === most) break;
      place = this.#before[place % WINDOW] ?? -1;
    }
    return found;
  }

  /** How far two places go on alike; 0 if that is no more than the best so far. */
  #common(place: number, at: number, best: number, most: number): number {
    const plain = this.#plain;
    if (plain[place + best] !== plain[at + best]) return 0;
    let length = 0;
    while (length < most && plain[place + length] === plain[at + length]) length += 1;
    return length;
  }

  #hash(at: number): number {
    const plain = this.#plain;
    const three = ((plain[at] ?? 0) << 16) | ((plain[at + 1] ?? 0) << 8) | (plain[at + 2] ?? 0);
    return Math.imul(three, 0x9e3779b1) >>> (32 - HASH_BITS);
  }
}

/** How often each symbol is used: of bytes, ends and lengths, and of distances, of which there are two at least. */
function countsOf(tokens: readonly number[]): readonly [number[], number[]] {
  const counts = new Array<number>(END_OF_BLOCK + 1 + LENGTHS.length).fill(0);
  const distances = new Array<number>(DISTANCES.length).fill(0);
  const count = (of: number[], symbol: number): void => {
    of[symbol] = (of[symbol] ?? 0) + 1;
  };
  [0, END_OF_BLOCK].forEach((symbol) => count(counts, symbol));
  [0, 1].forEach((symbol) => count(distances, symbol));
  for (const token of tokens) {
    if (token < END_OF_BLOCK) {
      count(counts, token);
    } else {
      count(counts, END_OF_BLOCK + 1 + (LENGTH_SYMBOLS[token >>> 16] ?? 0));
      count(distances, DISTANCE_SYMBOLS[token & 0xffff] ?? 0);
    }
  }
  return [counts, distances];
}

// --- prefix codes -----------------------------------------------------------------------------------

/** How long the word of each symbol is, 0 if it is not used: the more often, the shorter; none above `most`. */
function lengthsOf(counts: readonly number[], most: number): readonly number[] {
  for (let weights = counts; ; weights = weights.map((one) => Math.ceil(one / 2))) {
    const lengths = huffman(weights);
    if (Math.max(...lengths) <= most) return lengths;
  }
}

/** Huffman's code: of two or more symbols that are used. */
function huffman(weights: readonly number[]): readonly number[] {
  const leaves = weights.flatMap((weight, symbol) => (weight > 0 ? [{ symbol, weight }] : []));
  leaves.sort((one, other) => one.weight - other.weight || one.symbol - other.symbol);
  const total = leaves.map(({ weight }) => weight); // and behind them what is joined
  const parents = new Array<number>(2 * leaves.length - 1).fill(0);
  let [leaf, joined] = [0, leaves.length];
  const lightest = (): number => {
    const isLeaf = leaf < leaves.length && (joined >= total.length || (total[leaf] ?? 0) <= (total[joined] ?? 0));
    return isLeaf ? leaf++ : joined++;
  };
  while (total.length < parents.length) {
    const [one, other] = [lightest(), lightest()];
    parents[one] = parents[other] = total.length;
    total.push((total[one] ?? 0) + (total[other] ?? 0));
  }
  const depths = new Array<number>(parents.length).fill(0);
  for (let node = parents.length - 2; node >= 0; node -= 1) depths[node] = (depths[parents[node] ?? 0] ?? 0) + 1;
  const lengths = new Array<number>(weights.length).fill(0);
  leaves.forEach(({ symbol }, at) => {
    lengths[symbol] = depths[at] ?? 0;
  });
  return lengths;
}

/** A code's words, each with its length; their first bit is the lowest. */
type Words = readonly { readonly word: number; readonly length: number }[];

function wordsOf(lengths: readonly number[]): Words {
  const next: number[] = [0, 0];
  for (let length = 1, first = 0; length <= MAX_BITS; length += 1) {
    next[length] = first;
    first = (first + lengths.filter((one) => one === length).length) << 1;
  }
  return lengths.map((length) => {
    const word = next[length] ?? 0;
    next[length] = word + 1;
    return { word: reversed(word, length), length };
  });
}

function reversed(word: number, length: number): number {
  let found = 0;
  for (let at = 0; at < length; at += 1) found |= ((word >>> at) & 1) << (length - 1 - at);
  return found;
}

/** Lengths of both codes, those that are the same again in short; in a code of their own. */
function writeLengths(output: Bits, lengths: readonly number[], distances: readonly number[]): void {
  const short = shortened([...lengths, ...distances]);
  const counts = new Array<number>(ORDER.length).fill(0);
  for (const { symbol } of [...short, { symbol: 0 }, { symbol: 1 }]) counts[symbol] = (counts[symbol] ?? 0) + 1;
  const own = lengthsOf(counts, MAX_ORDER_BITS);
  const count = ORDER.findLastIndex((symbol) => (own[symbol] ?? 0) > 0) + 1;
  output.put(lengths.length - END_OF_BLOCK - 1, 5);
  output.put(distances.length - 1, 5);
  output.put(Math.max(4, count) - 4, 4);
  for (const symbol of ORDER.slice(0, Math.max(4, count))) output.put(own[symbol] ?? 0, 3);
  const words = wordsOf(own);
  for (const { bits, more, symbol } of short) {
    output.word(words, symbol);
    output.put(more, bits);
  }
}

interface Short {
  readonly symbol: number;
  /** What follows it, in so many bits. */
  readonly more: number;
  readonly bits: number;
}

function shortened(lengths: readonly number[]): readonly Short[] {
  const found: Short[] = [];
  for (let at = 0; at < lengths.length; ) {
    const length = lengths[at] ?? 0;
    let times = 1;
    while (lengths[at + times] === length) times += 1;
    at += times;
    if (length > 0) {
      found.push({ symbol: length, more: 0, bits: 0 });
      times -= 1;
    }
    while (times >= 3) {
      const isLong = length === 0 && times > 10;
      const some = Math.min(times, isLong ? 138 : length === 0 ? 10 : 6);
      if (isLong) found.push({ symbol: 18, more: some - 11, bits: 7 });
      else found.push(length === 0 ? { symbol: 17, more: some - 3, bits: 3 } : { symbol: 16, more: some - 3, bits: 2 });
      times -= some;
    }
    for (; times > 0; times -= 1) found.push({ symbol: length, more: 0, bits: 0 });
  }
  return found;
}

/** Bits, the lowest first. */
class Bits {
  #bytes = new Uint8Array(65_536);
  #size = 0;
  #held = 0;
  #count = 0;

  /** A number of so many bits, at most 16. */
  put(value: number, count: number): void {
    this.#held |= value << this.#count;
    for (this.#count += count; this.#count >= 8; this.#count -= 8) {
      this.#byte(this.#held & 255);
      this.#held >>>= 8;
    }
  }

  word(words: Words, symbol: number): void {
    const found = words[symbol];
    if (found !== undefined) this.put(found.word, found.length);
  }

  /** Where in its range a number is. */
  rest(ranges: readonly Range[], symbol: number, value: number): void {
    const range = ranges[symbol];
    if (range !== undefined) this.put(value - range.least, range.bits);
  }

  /** All bytes, with the checksum behind them. */
  end(sum: number): Uint8Array {
    this.put(0, (8 - this.#count) % 8);
    for (const shift of [24, 16, 8, 0]) this.#byte((sum >>> shift) & 255);
    return this.#bytes.slice(0, this.#size);
  }

  #byte(byte: number): void {
    if (this.#size === this.#bytes.length) {
      const larger = new Uint8Array(2 * this.#size);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#bytes[this.#size] = byte;
    this.#size += 1;
  }
}
