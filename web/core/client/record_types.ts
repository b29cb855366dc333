/**
 * Types of records: what a record holds, written once, for the compiler and for what comes from storage.
 *
 * A record is stored as a MessagePack map whose members have the names of protocol/encryption.md, Exported file:
 * `user_id` for `userId`. As there, a reader ignores members that it does not know and uses a default for those that
 * are missing.
 */

import type { Packed, PackedMap } from "../msgpack.ts";

/** One member: how it is read, and written. */
export interface Field<T> {
  /** Throws a TypeError if it is not of this type. */
  read(raw: unknown): T;
  write(value: T): Packed;
}

/** A member that may be missing. */
export interface DefaultField<T> extends Field<T> {
  readonly fallback: T;
  /** Left out of the map if it is the fallback, which must be null. */
  readonly isOmitted: boolean;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
type Of<F> = F extends Field<infer T> ? T : never;
type NeededKeys<F> = { [K in keyof F]: F[K] extends DefaultField<unknown> ? never : K }[keyof F];
type DefaultKeys<F> = { [K in keyof F]: F[K] extends DefaultField<unknown> ? K : never }[keyof F];

/** What a record with these members is. */
export type ValueOf<F> = { readonly [K in keyof F]: Of<F[K]> };

/** What must be given to make one. */
export type GivenOf<F> = { readonly [K in NeededKeys<F>]: Of<F[K]> } & { readonly [K in DefaultKeys<F>]?: Of<F[K]> };

/** A type of records. */
export interface RecordType<T, G = T> {
  /** A record, with defaults for what is not given. */
  make(given: G): T;
  /** What MessagePack can write. */
  write(value: T): PackedMap;
  /** Undo `write`; throws a TypeError if it is no such record. */
  read(raw: unknown): T;
}

/** The type a `RecordType` is of. */
export type RecordOf<R> = R extends { read(raw: unknown): infer T } ? T : never;

/** Records with these members. */
export function recordType<F extends Fields>(fields: F): RecordType<ValueOf<F>, GivenOf<F>> {
  const members = Object.entries(fields).map(([name, field]) => ({
    name,
    stored: name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    field,
    fallback: isDefault(field) ? field : null,
  }));
  return {
    make(given) {
      const made: Record<string, unknown> = {};
      const values = given as Readonly<Record<string, unknown>>;
      for (const { name, fallback } of members) {
        const value = values[name];
        made[name] = value === undefined && fallback !== null ? fallback.fallback : value;
      }
      return made as ValueOf<F>;
    },
    write(value) {
      const map: Record<string, Packed> = {};
      const values = value as Readonly<Record<string, unknown>>;
      for (const { name, stored, field, fallback } of members) {
        if (!(fallback?.isOmitted === true && values[name] === null)) {
          map[stored] = field.write(values[name]);
        }
      }
      return map;
    },
    read(raw) {
      if (typeof raw !== "object" || raw === null || Array.isArray(raw) || raw instanceof Uint8Array) {
        throw new TypeError("it is no map");
      }
      const values = raw as Readonly<Record<string, unknown>>;
      const made: Record<string, unknown> = {};
      for (const { name, stored, field, fallback } of members) {
        const value = Object.hasOwn(values, stored) ? values[stored] : undefined;
        if (value !== undefined) {
          made[name] = field.read(value);
        } else if (fallback !== null) {
          made[name] = fallback.fallback;
        } else {
          throw new TypeError(`${stored} is missing`);
        }
      }
      return made as ValueOf<F>;
    },
  };
}

function isDefault(field: Field<unknown>): field is DefaultField<unknown> {
  return "fallback" in field;
}

function primitive<T extends Packed>(is: (raw: unknown) => raw is T, what: string): Field<T> {
  return {
    read(raw) {
      if (!is(raw)) {
        throw new TypeError(`it is no ${what}`);
      }
      return raw;
    },
    write: (value) => value,
  };
}

/** Text. */
export const text = primitive((raw): raw is string => typeof raw === "string", "text");

/** An integer, at most 2^53 - 1 from zero. */
export const int = primitive((raw): raw is number => Number.isSafeInteger(raw), "integer");

export const bool = primitive((raw): raw is boolean => typeof raw === "boolean", "boolean");

/** Bytes; they are copied, as what is read shares the buffer that it is read from. */
export const bytes: Field<Uint8Array> = {
  read(raw) {
    if (!(raw instanceof Uint8Array)) {
      throw new TypeError("it is no bytes");
    }
    return raw.slice();
  },
  write: (value) => value,
};

/** An array. */
export function list<T>(of: Field<T>): Field<readonly T[]> {
  return {
    read(raw) {
      if (!Array.isArray(raw)) {
        throw new TypeError("it is no array");
      }
      return raw.map((one: unknown) => of.read(one));
    },
    write: (value) => value.map((one) => of.write(one)),
  };
}

/** Null, or something. */
export function orNull<T>(of: Field<T>): Field<T | null> {
  return {
    read: (raw) => (raw === null ? null : of.read(raw)),
    write: (value) => (value === null ? null : of.write(value)),
  };
}

/** With a default for a map in which it is missing. */
export function withDefault<T>(of: Field<T>, fallback: T): DefaultField<T> {
  return { read: (raw) => of.read(raw), write: (value) => of.write(value), fallback, isOmitted: false };
}

/** Left out of the map where it is null. */
export function orMissing<T>(of: Field<T>): DefaultField<T | null> {
  return { ...withDefault(orNull(of), null), isOmitted: true };
}

/** Values by name. */
export function mapOf<T>(of: Field<T>): Field<ReadonlyMap<string, T>> {
  return {
    read(raw) {
      if (typeof raw !== "object" || raw === null || Array.isArray(raw) || raw instanceof Uint8Array) {
        throw new TypeError("it is no map");
      }
      return new Map(Object.entries(raw).map(([name, value]) => [name, of.read(value)]));
    },
    write: (value) => Object.fromEntries([...value].map(([name, one]) => [name, of.write(one)])) as Packed,
  };
}
