/**
 * JSON read so that no two programs can read two values from one text (I-JSON, RFC 7493).
 *
 * `JSON.parse` keeps the last of two members of one name, rounds integers, lets lone surrogates pass, and does not tell
 * 1 from 1.0; the protocol refuses all that.
 */

import { Reason, RequestError } from "./codes.ts";

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;

export interface JsonObject {
  readonly [name: string]: Json;
}

/** A number that is not written as a safe integer. */
export class Inexact {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What was read: numbers are integers within ±(2^53-1), or `Inexact`. */
export type Read = null | boolean | number | string | Inexact | readonly Read[] | ReadObject;

export interface ReadObject {
  readonly [name: string]: Read;
}

/** Nesting at which even what is refused anyway is not read further. */
const DEEPEST = 64;

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const INTEGER = /^-?[0-9]+$/;
const SPACE = /[ \t\n\r]*/y;
// Up to a quotation mark, an escape or a control character.
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const HEX = /^[0-9a-fA-F]{4}$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
const ESCAPED: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** A value, and whether an object in it names a member twice (the last one is kept). */
export interface Parsed {
  readonly value: Read;
  readonly hasDuplicates: boolean;
}

/**
 * Reads a JSON text.
 *
 * @throws RequestError `json`; `too-deep` far beyond what any frame has.
 */
export function parse(text: string): Parsed {
  const parser = new Parser(text);
  const value = parser.whole();
  return { value, hasDuplicates: parser.hasDuplicates };
}

/**
 * What was read, as plain values.
 *
 * @throws RequestError `number`: one lies beyond what JSON can carry exactly.
 */
export function exact(value: Read): Json {
  if (value instanceof Inexact) return numberOf(value);
  if (value === null || typeof value !== "object") return value;
  if (isList(value)) return value.map((item) => exact(item));
  return mapped(value, (member) => exact(member));
}

/** How deep arrays and objects nest. */
export function depth(value: Read): number {
  if (value === null || typeof value !== "object" || value instanceof Inexact) return 0;
  const inner: readonly Read[] = isList(value) ? value : Object.values(value);
  return 1 + inner.reduce((deepest: number, item) => Math.max(deepest, depth(item)), 0);
}

/** Whether it is an object. */
export function isObject(value: Read | undefined): value is ReadObject {
  return typeof value === "object" && value !== null && !isList(value) && !(value instanceof Inexact);
}

/** Whether it is an array. */
export function isList(value: Read | undefined): value is readonly Read[] {
  return Array.isArray(value);
}

/** The same object with other values; a member called `__proto__` is a member like any other. */
export function mapped<T>(object: ReadObject, change: (value: Read) => T): { readonly [name: string]: T } {
  const found: Record<string, T> = {};
  for (const [name, value] of Object.entries(object)) define(found, name, change(value));
  return found;
}

function define<T>(object: Record<string, T>, name: string, value: T): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

function numberOf({ text }: Inexact): number {
  const value = Number(text);
  const size = Math.abs(value);
  // Canonical form writes what lies between as integers, which would then be unsafe.
  const isUnsafe = size > Number.MAX_SAFE_INTEGER && size < 1e21;
  if (INTEGER.test(text) || !Number.isFinite(value) || isUnsafe) throw new RequestError(Reason.NUMBER);
  return value;
}

class Parser {
  readonly #text: string;
  #at = 0;
  hasDuplicates = false;

  constructor(text: string) {
    this.#text = text;
  }

  whole(): Read {
    this.#space();
    const value = this.#value(0);
    this.#space();
    if (this.#at !== this.#text.length) throw broken();
    return value;
  }

  #value(level: number): Read {
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(level + 1);
      case "[":
        return this.#array(level + 1);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  #object(level: number): ReadObject {
    if (level > DEEPEST) throw new RequestError(Reason.TOO_DEEP);
    const found: Record<string, Read> = {};
    this.#items("}", () => {
      if (this.#text[this.#at] !== '"') throw broken();
      const name = this.#string();
      this.#space();
      if (!this.#take(":")) throw broken();
      this.#space();
      if (Object.hasOwn(found, name)) this.hasDuplicates = true;
      define(found, name, this.#value(level));
    });
    return found;
  }

  #array(level: number): readonly Read[] {
    if (level > DEEPEST) throw new RequestError(Reason.TOO_DEEP);
    const found: Read[] = [];
    this.#items("]", () => found.push(this.#value(level)));
    return found;
  }

  /** Items with commas between them, up to the closing bracket. */
  #items(end: string, item: () => void): void {
    this.#at += 1;
    this.#space();
    if (this.#take(end)) return;
    for (;;) {
      item();
      this.#space();
      if (this.#take(end)) return;
      if (!this.#take(",")) throw broken();
      this.#space();
    }
  }

  #string(): string {
    this.#at += 1;
    let found = "";
    for (;;) {
      found += this.#match(PLAIN);
      if (this.#take('"')) break;
      if (!this.#take("\\")) throw broken();
      found += this.#escape();
    }
    if (LONE_SURROGATE.test(found)) throw broken();
    return found;
  }

  #escape(): string {
    const letter = this.#text.charAt(this.#at);
    this.#at += 1;
    if (letter !== "u") {
      const found = ESCAPED[letter];
      if (found === undefined) throw broken();
      return found;
    }
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!HEX.test(digits)) throw broken();
    this.#at += 4;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }

  #number(): number | Inexact {
    const text = this.#match(NUMBER);
    if (text === "") throw broken();
    const value = Number(text);
    // Not -0: nobody writes it.
    return INTEGER.test(text) && Number.isSafeInteger(value) ? value + 0 : new Inexact(text);
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw broken();
    this.#at += word.length;
    return value;
  }

  #space(): void {
    this.#match(SPACE);
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }
}

function broken(): RequestError {
  return new RequestError(Reason.JSON);
}
