/** What plays vectors stands on: comparing, hex, listed randomness, and the users of `prekeys.json`. No Node in it. */

import { NO_BYTES, type Random, fromHex, toHex } from "../../core/bytes.ts";
import { CryptoError, UnknownPreKey } from "../../core/crypto/errors.ts";
import {
  type Agreement,
  type HandshakeHeader,
  type Ids,
  type NamedPreKeys,
  respond,
} from "../../core/crypto/handshake.ts";
import { respond as respond2 } from "../../core/crypto/handshake2.ts";
import { OwnIdentity, keyPairFrom } from "../../core/crypto/keys.ts";
import {
  type KemPreKey,
  type PreKey,
  type PreKeyBundle,
  type SignedPreKey,
  makeKemPreKey,
  makeSignedPreKey,
} from "../../core/crypto/prekeys.ts";
import { sha256 } from "../../core/crypto/primitives.ts";

export { fromHex, toHex };

/** Something is not as it is listed. */
export class Differs extends Error {
  override readonly name = "Differs";
}

/** Compares two values by what they hold; byte strings as hex. */
export function same(found: unknown, expected: unknown, what: string): void {
  const [one, other] = [printed(found), printed(expected)];
  if (one !== other) throw new Differs(`${what}: ${shortened(one)} instead of ${shortened(other)}`);
}

function printed(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Uint8Array) return toHex(part);
    if (part === null || typeof part !== "object" || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([one], [other]) => (one < other ? -1 : 1)));
  });
}

function shortened(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}... (${text.length})` : text;
}

/** Bytes of hex; none where there are none. */
export function raw(hex: string | null | undefined): Uint8Array {
  return hex === null || hex === undefined ? NO_BYTES : fromHex(hex);
}

/** The same with null for null. */
export function rawOrNull(hex: string | null): Uint8Array | null {
  return hex === null ? null : fromHex(hex);
}

export function sha256Hex(bytes: Uint8Array): string {
  return toHex(sha256(bytes));
}

/** The name of the error with which something ends, null if it does not. Errors that are nobody's are not caught. */
export function errorOf(act: () => unknown): string | null {
  try {
    act();
    return null;
  } catch (error) {
    if (error instanceof Differs || !(error instanceof Error) || !isListed(error)) throw error;
    return error.name;
  }
}

/** The same as the vectors list it. */
export function endOf(act: () => unknown): object {
  const error = errorOf(act);
  return error === null ? { accepted: true } : { error };
}

function isListed(error: Error): boolean {
  return error instanceof CryptoError || error.name === "TooLong";
}

/** Gives what is listed, in this order, in place of random bytes, and nothing that is not; null is not listed. */
export function listed(...values: readonly (string | null | undefined)[]): Random {
  const left = values.filter((value) => value !== null && value !== undefined).map((value) => fromHex(value));
  return (size) => {
    const next = left.shift();
    if (next === undefined || next.length !== size) throw new Differs(`${size} random bytes are not listed`);
    return next;
  };
}

/** Gives one listed value as often as it is asked for: a message may be tried on several sessions. */
export function repeated(value: string | null | undefined): Random {
  return (size) => listed(value)(size);
}

// --- the users of prekeys.json -----------------------------------------------------------------

interface ListedKey {
  readonly id: number;
  readonly private: string;
  readonly public: string;
  readonly signed_bytes: string;
  readonly signature: string;
}

interface ListedKem {
  readonly id: number;
  readonly seed: string;
  readonly public: string;
  readonly signed_bytes: string;
  readonly signature: string;
}

export interface ListedPerson {
  readonly name: string;
  readonly expect: {
    readonly identity: Readonly<Record<"seed" | "public" | "x25519_private" | "x25519_public", string>>;
    readonly user_id: string;
    readonly signed_prekey: ListedKey;
    readonly one_time_prekey: ListedKey;
    readonly kem_prekey: ListedKem;
    readonly last_resort_kem_prekey: ListedKem;
  };
}

export type KemName = "one-time" | "last-resort";

/** A user, from the secrets alone. */
export interface Person {
  readonly identity: OwnIdentity;
  readonly id: Uint8Array;
  readonly signed: SignedPreKey;
  readonly oneTime: PreKey;
  readonly kems: Readonly<Record<KemName, KemPreKey>>;
}

export type People = ReadonlyMap<string, Person>;

/** A signed prekey of which only the key matters. */
export function signedPreKey(id: number, secret: string): SignedPreKey {
  return { id, pair: keyPairFrom(raw(secret)), signature: NO_BYTES };
}

export function personOf({ expect }: ListedPerson): Person {
  const identity = new OwnIdentity(raw(expect.identity.seed));
  const kem = (one: ListedKem): KemPreKey => makeKemPreKey(identity, one.id, raw(one.seed));
  return {
    identity,
    id: identity.peer.userId,
    signed: makeSignedPreKey(identity, expect.signed_prekey.id, raw(expect.signed_prekey.private)),
    oneTime: { id: expect.one_time_prekey.id, pair: keyPairFrom(raw(expect.one_time_prekey.private)) },
    kems: { "one-time": kem(expect.kem_prekey), "last-resort": kem(expect.last_resort_kem_prekey) },
  };
}

/** Everybody of `prekeys.json`. */
export function peopleOf(file: { readonly people: readonly ListedPerson[] }): People {
  return new Map(file.people.map((one) => [one.name, personOf(one)]));
}

export function member<T>(map: ReadonlyMap<string, T>, name: string): T {
  const found = map.get(name);
  if (found === undefined) throw new Differs(`${name} is not there`);
  return found;
}

/** What the relay hands out of somebody's prekeys for suite 1. */
export function bundleFrom(person: Person, oneTime: boolean, kem: KemName | null): PreKeyBundle {
  const kemPrekey = kem === null ? null : person.kems[kem];
  return {
    identity: person.identity.peer,
    signedPrekey: person.signed.pair.public,
    signedPrekeySignature: person.signed.signature,
    signedPrekeyId: person.signed.id,
    oneTimePrekey: oneTime ? person.oneTime.pair.public : null,
    oneTimePrekeyId: oneTime ? person.oneTime.id : 0,
    kemPrekey: kemPrekey?.public ?? null,
    kemPrekeySignature: kemPrekey?.signature ?? NO_BYTES,
    kemPrekeyId: kemPrekey?.id ?? 0,
    dated: null,
  };
}

/** Takes part in a handshake of a suite, with the prekeys that it names. */
export function answerOf(person: Person, header: HandshakeHeader, ids: Ids, suite: 1 | 2): Agreement {
  const kem = Object.values(person.kems).find(({ id }) => id === header.kemPrekeyId) ?? null;
  if (kem === null && (header.kemPrekeyId > 0 || suite === 2)) throw new UnknownPreKey("there is no such KEM prekey");
  const named: NamedPreKeys = {
    signedPrekey: person.signed,
    oneTimePrekey: header.oneTimePrekeyId > 0 ? person.oneTime : null,
    kemPrekey: kem,
  };
  if (suite === 1 || kem === null) return respond(person.identity, header, { ...named, ...ids });
  return respond2(person.identity, header, { ...named, kemPrekey: kem, ...ids });
}
