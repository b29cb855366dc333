/**
 * Messages and sessions of whichever suite: who holds sessions with a peer need not ask which one each is of.
 *
 * The first byte of a message and the first member of a stored session say which file reads the rest.
 */

import type { Random } from "../bytes.ts";
import { UndecryptableMessage } from "./errors.ts";
import type { HandshakeHeader } from "./handshake.ts";
import { type Parsed2, parse as parse2 } from "./head.ts";
import type { Reading } from "./ratchet.ts";
import * as session from "./session.ts";
import * as session2 from "./session2.ts";
import { versionOf } from "./stored.ts";

export type AnySession = session.Session | session2.Session2;
export type AnyParsed = session.Parsed | Parsed2;

/** The suite of a session, or of a message. */
export function suiteOf(one: AnySession | AnyParsed): 1 | 2 {
  return one.suite;
}

/** The handshake header that an initiator repeats until it is answered. */
export function pendingOf(one: AnySession): HandshakeHeader | null {
  return one.suite === 2 ? session2.pendingOf(one) : one.pending;
}

/**
 * Takes a message apart.
 *
 * @throws UnknownSuite Made by another version.
 * @throws InvalidMessage As `parse` of `session.ts` and of `head.ts`.
 */
export function parse(message: Uint8Array): AnyParsed {
  return message[0] === session2.SUITE ? parse2(message) : session.parse(message);
}

/** Encrypts one padded content; as `encrypt` of `session.ts` and of `session2.ts`. */
export function encrypt(one: AnySession, content: Uint8Array, random: Random): readonly [AnySession, Uint8Array] {
  return one.suite === 2 ? session2.encrypt(one, content, random) : session.encrypt(one, content, random);
}

/**
 * Decrypts one message; as `decrypt` of `session.ts` and of `session2.ts`.
 *
 * @throws UndecryptableMessage Also if the message is of another suite than the session.
 */
export function decrypt(one: AnySession, message: AnyParsed, given: Reading): readonly [AnySession, Uint8Array] {
  if (one.suite === 1 && message.suite === 1) return session.decrypt(one, message, given);
  if (one.suite === 2 && message.suite === 2) return session2.decrypt(one, message, given);
  throw new UndecryptableMessage("it is of another suite than the session");
}

/** The session without keys that are too old; the same object if there is nothing to do. */
export function forgetOld(one: AnySession, now: number): AnySession {
  return one.suite === 2 ? session2.forgetOld(one, now) : session.forgetOld(one, now);
}

/** Serialises a session, secrets and all: for encrypted storage only. */
export function dump(one: AnySession): Uint8Array {
  return one.suite === 2 ? session2.dump(one) : session.dump(one);
}

/**
 * Undoes `dump`.
 *
 * @throws InvalidMessage Not a session of a known version.
 */
export function load(data: Uint8Array): AnySession {
  return versionOf(data) === session2.STATE_VERSION ? session2.load(data) : session.load(data);
}
