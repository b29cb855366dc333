/**
 * What a JSON value must look like, said once: the check at run time and the type come from the same place.
 *
 * A check goes in two rounds, because the protocol answers in that order: `field` for what has not the right form, and,
 * once all of it has, `base64` for a text that is not canonical base64 of the right length.
 */

import { decodeBase64 } from "./base64.ts";
import { Reason, RequestError } from "./codes.ts";
import { type Json, Inexact, type Read, isList, isObject } from "./json.ts";

/** A text that is to be base64 of so many bytes. */
export interface Pending {
  readonly path: string;
  readonly text: string;
  readonly least: number;
  readonly most: number;
}

/** Checks a value; adds to `pending` what is for the second round; throws `RequestError` of `field`. */
type Check = (value: Read, path: string, pending: Pending[]) => void;

/** A shape of values of type T. */
export interface Shape<T> {
  readonly check: Check;
  /** Whether a member of this shape may be absent. */
  readonly isOptional: boolean;
  /** Never there: it carries the type. */
  readonly type?: T;
}

interface Optional<T> extends Shape<T> {
  readonly isOptional: true;
}

interface Present<T> extends Shape<T> {
  readonly isOptional: false;
}

export type Fields = Readonly<Record<string, Shape<unknown>>>;

/** The type of the values of a shape. */
export type Of<S> = S extends Shape<infer T> ? T : never;

type Flat<T> = { readonly [K in keyof T]: T[K] };
type OptionalNames<F extends Fields> = { [K in keyof F]: F[K] extends { isOptional: true } ? K : never }[keyof F];

/** The type of an object with these members. */
export type ObjectOf<F extends Fields> = Flat<
  { readonly [K in Exclude<keyof F, OptionalNames<F>>]: Of<F[K]> } & { readonly [K in OptionalNames<F>]?: Of<F[K]> }
>;

function shape<T>(check: Check): Present<T> {
  return { check, isOptional: false };
}

function wrong(path: string): RequestError {
  return new RequestError(Reason.FIELD, path);
}

/** A member that may be absent; null is not absent. */
export function optional<T>(inner: Shape<T>): Optional<T> {
  return { check: inner.check, isOptional: true };
}

/** A value of a shape, or null. */
export function orNull<T>(inner: Present<T>): Shape<T | null> {
  return shape((value, path, pending) => {
    if (value !== null) inner.check(value, path, pending);
  });
}

/** An integer, written as one. */
export function integer(least: number, most: number): Present<number> {
  return shape((value, path) => {
    if (typeof value !== "number" || value < least || value > most) throw wrong(path);
  });
}

export const boolean = shape<boolean>((value, path) => {
  if (typeof value !== "boolean") throw wrong(path);
});

/** A text of so many characters (code points). */
export function text(least = 0, most = Number.POSITIVE_INFINITY): Present<string> {
  return shape((value, path) => {
    if (typeof value !== "string") throw wrong(path);
    if (least === 0 && most === Number.POSITIVE_INFINITY) return;
    const length = [...value].length;
    if (length < least || length > most) throw wrong(path);
  });
}

/** A text that matches a pattern as a whole. */
export function matching(pattern: RegExp): Present<string> {
  return shape((value, path) => {
    if (typeof value !== "string" || !pattern.test(value)) throw wrong(path);
  });
}

/** One of some words. */
export function word<W extends string>(...words: readonly W[]): Present<W> {
  const known: ReadonlySet<Read> = new Set<Read>(words);
  return shape((value, path) => {
    if (!known.has(value)) throw wrong(path);
  });
}

/** Base64 of so many bytes. */
export function base64(least: number, most: number = least): Present<string> {
  const chars = [least, most].map((bytes) => Math.ceil(bytes / 3) * 4);
  const [shortest = 0, longest = 0] = chars;
  return shape((value, path, pending) => {
    if (typeof value !== "string" || value.length < shortest || value.length > longest) throw wrong(path);
    pending.push({ path, text: value, least, most });
  });
}

/** Base64 of a multiple of three bytes: two of them in a row are base64 of both. */
export const triples = shape<string>((value, path, pending) => {
  if (typeof value !== "string" || value === "" || value.endsWith("=")) throw wrong(path);
  pending.push({ path, text: value, least: 3, most: Number.POSITIVE_INFINITY });
});

/** An array of at most so many items. */
export function list<T>(item: Shape<T>, most = Number.POSITIVE_INFINITY): Present<readonly T[]> {
  return shape((value, path, pending) => {
    if (!isList(value) || value.length > most) throw wrong(path);
    for (const [index, one] of value.entries()) item.check(one, `${path}[${index}]`, pending);
  });
}

/** An object whose members are anything. */
export const anyObject = shape<{ readonly [name: string]: Json }>((value, path) => {
  if (!isObject(value)) throw wrong(path);
});

/** An object with these members and no others. */
export function object<F extends Fields>(fields: F): Present<ObjectOf<F>> {
  return shape(membersOf(fields, false));
}

/** An object with these members, and others that are not looked at. */
export function open<F extends Fields>(fields: F): Present<ObjectOf<F>> {
  return shape(membersOf(fields, true));
}

function membersOf(fields: Fields, isOpen: boolean): Check {
  const all = Object.entries(fields);
  return (value, path, pending) => {
    if (!isObject(value) || value instanceof Inexact) throw wrong(path);
    const at = (name: string): string => (path === "" ? name : `${path}.${name}`);
    for (const name of Object.keys(value)) {
      if (!isOpen && !Object.hasOwn(fields, name)) throw wrong(at(name));
    }
    for (const [name, inner] of all) {
      const member = Object.hasOwn(value, name) ? value[name] : undefined;
      if (member !== undefined) inner.check(member, at(name), pending);
      else if (!inner.isOptional) throw wrong(at(name));
    }
  };
}

/**
 * The second round.
 *
 * @throws RequestError `base64`.
 */
export function checkBase64(pending: readonly Pending[]): void {
  for (const { path, text: written, least, most } of pending) {
    const length = decodeBase64(written)?.length;
    if (length === undefined || length < least || length > most) throw new RequestError(Reason.BASE64, path);
  }
}
