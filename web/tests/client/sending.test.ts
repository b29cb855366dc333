/** When what leaves: windows and pauses, the queues of the outbox, and one connection's login and clock. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { Link, LOGIN_MS, LONGEST_PONG_MS, PING_MS, PONG_MS } from "../../core/client/link.ts";
import { Queue } from "../../core/client/outbox_queue.ts";
import { about, asked, LONGEST_UNKNOWN_USER_MS, PACE_SPAN_MS, Pacing, span } from "../../core/client/pacing.ts";
import { OutboxRecord } from "../../core/client/records.ts";
import { greeting, letIn, someId } from "./support.ts";

function entry(messageId: string, peer: string, more: Partial<OutboxRecord> = {}): OutboxRecord {
  const text = messageId.startsWith("r") ? null : messageId;
  return OutboxRecord.make({ messageId, peer, text, burn: false, expiresIn: null, madeAt: 0, ...more });
}

test("no more leaves in any minute than is allowed", () => {
  const pacing = new Pacing();
  const taken: number[] = [];
  for (let now = 0; now < 4 * PACE_SPAN_MS; now += 700) {
    if (pacing.acquire("MESSAGE", 7, now)) {
      taken.push(now);
    }
  }
  for (const [place, at] of taken.entries()) {
    assert.ok(at - (taken[place - 7] ?? -Infinity) >= PACE_SPAN_MS);
  }
  assert.ok(taken.length >= 21, `${taken.length} left`);
});

test("the relay's pause of a class ends with its connection, and that of an unknown user does not", () => {
  const pacing = new Pacing();
  pacing.pause("MESSAGE", 1_000);
  pacing.pausePeer("busy", 1_000);
  assert.equal(pacing.unknownPeer("unknown", 0), true, "the user hears of it");
  assert.equal(pacing.maySend("MESSAGE", 999), false);
  pacing.disconnected();
  assert.equal(pacing.maySend("MESSAGE", 0), true);
  assert.equal(pacing.mayReach("busy", 0), true);
  assert.equal(pacing.mayReach("unknown", 1_000), false);
  for (let times = 0; times < 9; times += 1) {
    const wait = Math.max(...pacing.waits(0));
    assert.equal(pacing.unknownPeer("unknown", 0), wait >= 30_000, "and again not too soon");
  }
  assert.equal(pacing.mayReach("unknown", LONGEST_UNKNOWN_USER_MS), true);
  pacing.resetPeer("unknown");
  assert.equal(pacing.mayReach("unknown", 0), true);
});

test("what a relay asks for is kept within reason, and said in words", () => {
  assert.equal(asked(undefined, 5), 5);
  assert.equal(asked(7, 5), 7);
  assert.equal(asked(10 ** 12, 5), 600_000);
  assert.deepEqual([1, 1_000, 61_000, 120_001, 7_200_001, 172_800_000].map(span), [
    "1 second",
    "1 second",
    "61 seconds",
    "3 minutes",
    "3 hours",
    "2 days",
  ]);
  assert.deepEqual([1, 240_000, 7_200_020, 7_199_900, 400 * 86_400_000 + 5].map(about), [
    "1 second",
    "4 minutes",
    "2 hours",
    "2 hours",
    "400 days",
  ]);
});

test("each user's queue keeps its order, and what is encrypted keeps its place before what is sent again", () => {
  const queue = new Queue();
  for (const one of [entry("1", "bob"), entry("2", "eve"), entry("3", "bob"), entry("r4", "bob")]) {
    queue.put(one);
  }
  const ids = (found: readonly OutboxRecord[]): string[] => found.map((one) => one.messageId);
  assert.deepEqual(ids(queue.firsts(new Set())), ["1", "2"]);
  assert.deepEqual(ids(queue.firsts(new Set(["bob"]))), ["2"]);
  assert.deepEqual([queue.texts.of("bob"), queue.receipts.of("bob"), queue.fresh.total], [2, 1, 3]);
  queue.put(entry("1", "bob", { sealed: new Uint8Array(1) }));
  queue.put(entry("5", "bob", { again: true }), { first: true });
  assert.deepEqual(ids(queue.of("bob")), ["1", "5", "3", "r4"]);
  queue.put(entry("3", "bob"), { first: true });
  queue.remove("1");
  queue.remove("1");
  assert.deepEqual(ids(queue.of("bob")), ["3", "5", "r4"]);
  assert.deepEqual([queue.texts.of("bob"), queue.fresh.of("bob"), queue.texts.total], [2, 1, 3]);
});

const IDENTITY = new OwnIdentity(new Uint8Array(32).fill(9));

function link(now = 0): Link {
  return new Link(IDENTITY, { userId: someId(1), audience: "relay.test", now, wall: 1_000_000 });
}

function frame(type: string, payload: object, id?: string): string {
  return JSON.stringify({ ...(id === undefined ? {} : { id }), payload, timestamp: 0, type });
}

function greets(given: object = {}): string {
  return frame("CONNECTION_ACK", { ...greeting(5), ...given });
}

function loggedIn(): Link {
  const one = link();
  assert.deepEqual(one.receive(greets(), 0), []);
  assert.equal(one.drain().length, 1);
  const events = one.receive(frame("AUTH_SUCCESS", letIn(5), "1"), 0);
  assert.deepEqual(events, [{ kind: "logged-in" }]);
  return one;
}

test("a login names the relay and its challenge, by the relay's clock", () => {
  const one = link();
  one.receive(greets(), 100);
  const [text = ""] = one.drain();
  const auth = JSON.parse(text) as { readonly payload: object; readonly timestamp: number; readonly type: string };
  assert.equal(auth.type, "AUTH");
  assert.equal(auth.timestamp, 5);
  const { audience, challenge, features } = auth.payload as Readonly<Record<string, unknown>>;
  assert.deepEqual([audience, challenge, features], ["relay.test", someId(7), ["ack", "suite2"]]);
});

test("a relay that is silent, speaks another version, or something else, is left", () => {
  assert.equal(link().tick(LOGIN_MS)[0]?.kind, "lost");
  assert.deepEqual(link().receive(greets({ protocolVersion: 2 }), 0), [
    {
      kind: "login-failed",
      reason: "the relay speaks version 2 of the protocol; update this program",
      code: "version",
      retryAfter: null,
      isFinal: null,
    },
  ]);
  for (const text of ["", "{}", '{"type":"PONG","timestamp":1,"timestamp":2}', new Uint8Array(3)]) {
    assert.equal(link().receive(text, 0)[0]?.kind, "lost");
  }
  const one = loggedIn();
  one.tick(PING_MS);
  assert.match(one.drain().join(), /"PING"/);
  assert.deepEqual(one.tick(PING_MS + PONG_MS - 1), []);
  assert.equal(one.tick(PING_MS + PONG_MS)[0]?.kind, "lost");
});

test("a relay that says much and answers no PING is left in the end", () => {
  const one = loggedIn();
  one.tick(PING_MS);
  let now = PING_MS;
  for (; one.state === "open" && now < 10 * LONGEST_PONG_MS; now += PONG_MS / 2) {
    one.receive(frame("ERROR", { code: 1001, message: "" }), now);
    one.tick(now);
  }
  assert.equal(now, PING_MS + LONGEST_PONG_MS + PONG_MS / 2);
});

test("whether a refused login is final is the relay's to say", () => {
  const refused = (payload: object): unknown => {
    const [event] = link().receive(frame("AUTH_FAILURE", { code: 1002, reason: "No.", ...payload }), 0);
    return event?.kind === "login-failed" ? [event.isFinal, event.retryAfter] : null;
  };
  assert.deepEqual(refused({ details: { reason: "identity" } }), [true, null]);
  assert.deepEqual(refused({ details: { reason: "audience" } }), [false, null]);
  assert.deepEqual(refused({}), [null, null]);
  assert.deepEqual(refused({ code: 1003 }), [false, 10_000]);
  assert.deepEqual(refused({ retryAfter: 3, details: { reason: "rate" } }), [false, 3]);
});

test("the relay's time counts where it refuses a signed frame of one's own, and nowhere else", () => {
  const one = loggedIn();
  const before = one.offset;
  const details = { reason: "clock", serverTime: 77_000_000 };
  one.receive(frame("ERROR", { code: 1001, details, message: "" }, "99"), 0);
  assert.equal(one.offset, before);
  const signed = { type: "ACCOUNT_DELETE", payload: { audience: "relay.test", challenge: someId(7) } } as const;
  const id = one.sendSigned(signed, 0);
  one.receive(frame("ERROR", { code: 1001, details: { ...details, reason: "rate" }, message: "" }, id), 0);
  assert.equal(one.offset, before);
  const again = one.sendSigned(signed, 0);
  one.receive(frame("ERROR", { code: 1001, details, message: "" }, again), 0);
  assert.equal(one.relayTime(0), 77_000_000);
});

test("a relay whose clock no calendar has is left before anything is sent to it", () => {
  const one = link();
  const [event] = one.receive(greets({ serverTime: Number.MAX_SAFE_INTEGER }), 0);
  assert.equal(event?.kind, "lost");
  assert.deepEqual([one.state, one.drain()], ["failed", []]);
});
