/** What a relay may make of the frames that pass through it: changed, repeated, kept back, mixed up, taken from others. */
import type { Frame } from "./town.ts";

/** Numbers that follow from a seed (mulberry32), from 0 to 1. */
export function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let value = Math.imul(state ^ (state >>> 15), state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Json = Readonly<Record<string, unknown>>;

/** Bytes that a careless library fails at: zero, one, all set, points of small order, no multiple of anything. */
export const POINTS: readonly string[] = [
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "ff".repeat(32),
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
].map((hex) => Buffer.from(hex, "hex").toString("base64"));

const NUMBERS = [0, 1, 2, 65_535, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER, 1_800_000_000_000, 1_700_000_000_000];

/** A relay that does this with what it sends. */
export class Meddler {
  readonly #chance: () => number;
  readonly #seen: Frame[] = [];
  readonly #held: Frame[] = [];
  /** What others are told, of which pieces are taken. */
  readonly others: Frame[] = [];

  constructor(seed: number) {
    this.#chance = chanceOf(seed);
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[Math.floor(this.#chance() * from.length)];
  }

  /** What becomes of a frame. */
  readonly meddle = (frame: Frame): readonly Frame[] => {
    this.#seen.push(frame);
    if (this.#seen.length > 60) this.#seen.shift();
    const kind = Math.floor(this.#chance() * 10);
    switch (kind) {
      case 0:
        return [frame, frame];
      case 1:
        this.#held.push(frame);
        return [];
      case 2:
        return [frame, ...this.#held.splice(0).reverse()];
      case 3:
        return [frame, ...this.#old()];
      case 4:
      case 5:
        return [this.#changed(frame), frame];
      case 6:
        return [this.#changed(frame)];
      case 7:
        return [...this.#old().map((one) => this.#changed(one)), frame];
      default:
        return [frame];
    }
  };

  #old(): readonly Frame[] {
    const found = this.#pick([...this.#seen, ...this.others]);
    return found === undefined ? [] : [found];
  }

  /** One member of it is another; what is left is still a frame by its form, mostly. */
  #changed(frame: Frame): Frame {
    if (this.#chance() < 0.2) return { ...frame, seq: this.#pick(NUMBERS) ?? 0 };
    if (this.#chance() < 0.1) return { ...frame, id: String(this.#pick(NUMBERS)) };
    return { ...frame, payload: this.#other(frame.payload) };
  }

  #other(payload: Json): Json {
    const name = this.#pick(Object.keys(payload));
    if (name === undefined) return payload;
    if (this.#chance() < 0.1) {
      const { [name]: _, ...rest } = payload;
      return rest;
    }
    return { ...payload, [name]: this.#value(name, payload[name]) };
  }

  #value(name: string, value: unknown): unknown {
    const donors = [...this.#seen, ...this.others].flatMap(({ payload }) => (name in payload ? [payload[name]] : []));
    if (this.#chance() < 0.3 && donors.length > 0) return this.#pick(donors);
    if (typeof value === "number") return this.#pick(NUMBERS);
    if (typeof value === "boolean") return !value;
    if (typeof value !== "string") return typeof value === "object" && value !== null ? this.#other(value as Json) : value;
    const raw = Buffer.from(value, "base64");
    if (raw.toString("base64") !== value || raw.length < 8) return value === "delivered" ? "read" : "accepted";
    if (raw.length === 32 && this.#chance() < 0.6) return this.#pick(POINTS);
    const fill = this.#chance();
    if (fill < 0.3) return Buffer.alloc(raw.length, fill < 0.15 ? 0 : 255).toString("base64");
    const at = Math.floor(this.#chance() * raw.length);
    raw[at] = (raw[at] ?? 0) ^ (1 << Math.floor(this.#chance() * 8));
    return raw.toString("base64");
  }
}
