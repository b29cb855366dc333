import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { decodeClient, decodeRelay, encode, original, signedText } from "../../core/wire/codec.ts";
import { RequestError } from "../../core/wire/codes.ts";
import type { RelayFrame, RoutedMessage } from "../../core/wire/frames.ts";
import { audienceOf } from "../../core/wire/names.ts";

const key = encodeBase64(new Uint8Array(32));
const signature = encodeBase64(new Uint8Array(64));
const messageId = "0f9e8d7c-6b5a-4c3d-9e2f-1a0b9c8d7e6f";

function messageWith(payload: object, envelope: object = {}): string {
  const whole = { conversationId: "c", encrypted: "AAAA", messageId, recipientId: key, senderId: key, ...payload };
  return JSON.stringify({ type: "MESSAGE", timestamp: 1, seq: 2, signature, payload: whole, ...envelope });
}

/** The reason for which a relay's frame is refused, with the field that is to blame. */
function refusal(text: string): string {
  try {
    decodeRelay(text);
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof RequestError, String(error));
    return error.message;
  }
}

test("a relay's frame is what it is on the wire, with its type told apart", () => {
  const frame = decodeRelay(messageWith({ metadata: { expiresIn: 1000, more: [1.5, { deep: null }] } }));
  assert.ok(frame?.type === "MESSAGE");
  const routed: RoutedMessage = frame;
  assert.deepEqual(routed.payload.metadata, { expiresIn: 1000, more: [1.5, { deep: null }] });
  const sent = original(routed);
  assert.ok(!("seq" in sent) && !("senderId" in sent.payload));
  assert.ok(!signedText(sent).includes("signature"));
  assert.equal(encode(decodeRelay(encode(frame)) as RelayFrame), encode(frame));
});

test("a type that is not known is left alone, and one that is of no frame of a relay too", () => {
  for (const type of ["PUNG", "AUTH", "PING", "toString", "__proto__"]) {
    assert.equal(decodeRelay(JSON.stringify({ type, anything: [1, 2] })), null, type);
  }
  assert.equal(refusal('{"type":""}'), "type");
  assert.equal(refusal("{}"), "type");
  assert.equal(refusal('{"type":1}'), "type: type");
  assert.equal(refusal("[]"), "json");
});

test("what a relay must not send is refused, and its place is named", () => {
  const refused: readonly (readonly [string, string])[] = [
    ["field: payload.more", messageWith({ more: 1 })],
    ["field: more", messageWith({}, { more: 1 })],
    ["field: seq", messageWith({}, { seq: 1.5 })],
    ["field: timestamp", messageWith({}, { timestamp: 2 ** 53 })],
    ["field: timestamp", messageWith({}, { timestamp: null })],
    ["field: payload.messageId", messageWith({ messageId: `${messageId}\n` })],
    ["field: payload.conversationId", messageWith({ conversationId: "" })],
    ["field: id", messageWith({}, { id: "a b" })],
    ["field: payload.senderId", messageWith({ senderId: "AAAA" })],
    ["base64: payload.senderId", messageWith({ senderId: "-".repeat(44) })],
    ["base64: payload.encrypted", messageWith({ encrypted: "AB==" })],
    ["encrypted-size", messageWith({ encrypted: "A".repeat(61_444) })],
    ["metadata-size", messageWith({ metadata: { x: "a".repeat(1024) } })],
    ["field: payload.metadata.expiresIn", messageWith({ metadata: { expiresIn: 0 } })],
    ["field: payload.metadata.burnAfterRead", messageWith({ metadata: { burnAfterRead: null } })],
    ["field: payload.metadata", messageWith({ metadata: [] })],
    ["field: payload.metadata.expiresIn", messageWith({ metadata: { expiresIn: 7 } }).replace(":7}", ":7.0}")],
    ["field: payload.status", `{"type":"PRESENCE","timestamp":1,"payload":{"userId":"${key}","status":"away"}}`],
    ["number", '{"type":"ERROR","timestamp":1,"payload":{"code":1,"message":"","details":{"x":9007199254740992}}}'],
    ["duplicate-name", '{"type":"PONG","type":"PONG","timestamp":1}'],
  ];
  for (const [reason, text] of refused) assert.equal(refusal(text), reason, text.slice(0, 200));
  assert.equal(refusal(messageWith({ metadata: { expiresIn: null, burnAfterRead: true } })), "accepted");
  assert.equal(refusal(messageWith({ encrypted: "A".repeat(61_440) })), "accepted");
});

test("the audience is what was dialled, in its one form", () => {
  const named = [
    ["wss://Relay.Example/ws", "relay.example"],
    ["wss://relay.example.:443/ws", "relay.example"],
    ["ws://relay.example:8080/ws", "relay.example:8080"],
    ["ws://127.0.0.1:80/ws", "127.0.0.1"],
    ["wss://[2001:DB8:0:0::1]:8443/", "[2001:db8::1]:8443"],
    ["wss://b\u00fccher.example/ws", "xn--bcher-kva.example"],
  ] as const;
  for (const [url, audience] of named) assert.equal(audienceOf(url), audience);
});

interface Judged {
  readonly from: "client" | "relay";
  readonly text: string;
  /** The canonical form of what was read; null if it is refused. */
  readonly canonical: string | null;
  readonly signed: string | null;
}

const judged = process.env["PHANTOM_JUDGED_FRAMES"];

test("frames are judged as another implementation judges them", { skip: judged === undefined }, () => {
  const all = JSON.parse(readFileSync(judged ?? "", "utf8")) as readonly Judged[];
  const [accepted, refused] = [true, false].map((is) => all.filter((one) => (one.canonical !== null) === is).length);
  assert.ok((accepted ?? 0) >= 100 && (refused ?? 0) >= 100, `${accepted} are accepted, ${refused} refused`);
  const others = all.filter((one) => {
    const { canonical, signed } = judge(one);
    return canonical !== one.canonical || signed !== one.signed;
  });
  const shown = others.slice(0, 10).map((one) => ({ ...one, here: judge(one) }));
  assert.deepEqual(shown, [], `${others.length} of ${all.length}`);
});

function judge({ from, text }: Judged): Pick<Judged, "canonical" | "signed"> {
  try {
    if (from === "client") {
      const { frame, signedText: signed } = decodeClient(text);
      return { canonical: encode(frame), signed };
    }
    const frame = decodeRelay(text);
    return { canonical: frame === null ? "unknown" : encode(frame), signed: frame === null ? null : signedText(frame) };
  } catch (error) {
    if (error instanceof RequestError) return { canonical: null, signed: null };
    throw error;
  }
}
