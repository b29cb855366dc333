/** Plays `content.json` and `content-2.json`. */

import { type Ends, type Said, receiptOf } from "../../core/client/content.ts";
import * as content1 from "../../core/client/content1.ts";
import * as content2 from "../../core/client/content2.ts";
import { encode } from "../../core/client/content_suites.ts";
import { decodeMap } from "../../core/client/strict_map.ts";
import { unpad } from "../../core/crypto/padding.ts";
import { errorOf, raw, same } from "./base.ts";

type Listed = Readonly<Record<string, unknown>>;

interface ContentCase {
  readonly content: Listed;
  readonly expect: { readonly encoded: string; readonly padded: string };
}

export function playContent({ content, expect }: ContentCase): void {
  const padded = raw(expect.padded);
  const [said, members] = content1.read(padded);
  same(members, content, "members");
  same(unpad(padded), expect.encoded, "without padding");
  const bytes = (name: string): Uint8Array => raw(content[name] as string);
  const ends: Ends = {
    sender: bytes("sender"),
    senderKey: bytes("senderKey"),
    recipient: bytes("recipient"),
    recipientKey: bytes("recipientKey"),
  };
  same(content1.decode(padded, ends), said, "read by its recipient");
  same(content1.encode(said, ends), padded, "written");
}

interface Content2Case {
  readonly sender: string;
  readonly sender_key: string;
}

function endsOf(given: Content2Case): Ends {
  const nobody = new Uint8Array(0);
  return { sender: raw(given.sender), senderKey: raw(given.sender_key), recipient: nobody, recipientKey: nobody };
}

/** As `content-2.json` lists it. */
function saidIn(given: Content2Case, encoded: Uint8Array): Listed {
  const found = content2.decode(encoded, endsOf(given));
  if (found.kind !== "newer") return { ...found };
  same(found.whole, encoded, "what is kept");
  return { newer: true, sentAt: found.sentAt };
}

interface Written2 extends Content2Case, ContentCase {
  readonly said: Said;
}

export function playWritten2(given: Written2): void {
  const { said, content, expect } = given;
  const encoded = raw(expect.encoded);
  same(unpad(raw(expect.padded)), encoded, "without padding");
  same(saidIn(given, encoded), said, "read");
  const whole: Said = said.kind === "text" ? said : receiptOf(said.sentAt, said);
  same(encode(whole, endsOf(given), 2), expect.padded, "written");
  same(decodeMap(encoded), content, "members");
}

interface Read2 extends Content2Case {
  readonly encoded: string;
  /** A run of the same bytes that is left out of `encoded`. */
  readonly repeated?: { readonly at: number; readonly bytes: string; readonly times: number };
}

function encodedIn({ encoded, repeated }: Read2): Uint8Array {
  if (repeated === undefined) return raw(encoded);
  const { at, bytes, times } = repeated;
  return raw(encoded.slice(0, 2 * at) + bytes.repeat(times) + encoded.slice(2 * at));
}

export function playRead2(given: Read2 & { readonly expect: { readonly said: Listed } }): void {
  same(saidIn(given, encodedIn(given)), given.expect.said, "read");
}

export function playRefused2(given: Read2 & { readonly expect: { readonly error: string } }): void {
  same(errorOf(() => saidIn(given, encodedIn(given))), given.expect.error, "error");
}
