/**
 * What is said inside an encrypted message: values, whatever the version of the content that carries them.
 *
 * `content1.ts` and `content2.ts` write and read them; `content_suites.ts` knows which of the two belongs to a session.
 */

import { utf8 } from "../bytes.ts";
import type { DeviceSaid } from "./devices/kinds.ts";
import { MessageTooLong } from "./errors.ts";

/** Longest text in bytes of UTF-8; with everything around it, it fits a MESSAGE. */
export const MAX_TEXT_BYTES = 40_000;
/** Message ids in one receipt: about 8 KB. More wait for the next one. */
export const MAX_RECEIPTS = 200;
/** A receipt needs so much: with less, a short message would show that it is none. */
export const LEAST_PADDED = 512;
/** The first day of the year 9999: later times cannot be shown in every time zone. */
export const LAST_TIME_MS = 253_370_764_800_000;

/** The newest device list that the sender knows of its own person. */
export interface Claim {
  readonly revision: number;
  /** 32 bytes. */
  readonly hash: Uint8Array;
}

/** What content 2 says besides, of persons with several devices (devices.md); most says nothing. */
export interface Marks {
  /** Raw id of the person whom a text is for. */
  readonly to?: Uint8Array;
  readonly claim?: Claim;
  /** A device list, as bytes. */
  readonly deviceList?: Uint8Array;
}

/** Something that a person wrote; `sentAt` in milliseconds since 1970, by the sender's clock. */
export interface Text {
  readonly kind: "text";
  readonly sentAt: number;
  readonly body: string;
  readonly marks?: Marks;
}

/** What became of messages of the other side, by their ids. */
export interface Outcomes {
  readonly delivered: readonly string[];
  readonly read: readonly string[];
  readonly burned: readonly string[];
  /** Asks for them again: they could not be read, and the session that this came in is to be used from now on. */
  readonly undecryptable: readonly string[];
}

export interface Receipt extends Outcomes {
  readonly kind: "receipt";
  readonly sentAt: number;
  readonly marks?: Marks;
}

/** Something that devices say to each other. */
export interface Between {
  readonly kind: "between";
  readonly sentAt: number;
  readonly said: DeviceSaid;
  readonly marks?: Marks;
}

/** Something of a kind or a version that is not known here; `whole`: the content as it came, without padding. */
export interface Newer {
  readonly kind: "newer";
  readonly sentAt: number;
  readonly whole: Uint8Array;
  readonly marks?: Marks;
}

export type Said = Text | Receipt;

/** Who wrote to whom: raw user ids and Ed25519 keys. */
export interface Ends {
  readonly sender: Uint8Array;
  readonly senderKey: Uint8Array;
  readonly recipient: Uint8Array;
  readonly recipientKey: Uint8Array;
}

export const OUTCOMES = ["delivered", "read", "burned", "undecryptable"] as const;

/** A receipt with these outcomes, and none of the others. */
export function receiptOf(sentAt: number, outcomes: Partial<Outcomes>, marks: Pick<Receipt, "marks"> = {}): Receipt {
  return { kind: "receipt", sentAt, delivered: [], read: [], burned: [], undecryptable: [], ...outcomes, ...marks };
}

/** `sentAt` of what is written now, by a clock that may show anything. */
export function timeOf(wall: number): number {
  return Math.min(Math.max(wall, 0), LAST_TIME_MS);
}

/**
 * Refuses a message that would not fit.
 *
 * @throws MessageTooLong With the limit.
 */
export function checkLength(text: string): void {
  const size = utf8(text).length;
  if (size > MAX_TEXT_BYTES) {
    const [is, most] = [size, MAX_TEXT_BYTES].map((bytes) => bytes.toLocaleString("en-US"));
    throw new MessageTooLong(`the message has ${is} bytes, and ${most} is the limit; split it`);
  }
}
