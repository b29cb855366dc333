/** What a relay can get out of a worker, and what of a relay's floods stays in it. */
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import type { SocketEnd } from "../../worker/socket.ts";
import { someId } from "../client/support.ts";
import { clearDisk, closeAll, created, FakeRelay, tab, until } from "./support.ts";

afterEach(async () => {
  await closeAll();
  await clearDisk();
});

const SECRETS = ["Alice Liddell", "Humpty Dumpty", "correct horse", "the garden gate", "not sent yet", "made of glass"];

/** A text as it is, and as it may be hidden: in base64 at each of its three places, in hex. */
function forms(text: string): string[] {
  const raw = Buffer.from(text);
  const inside = [0, 1, 2].map((place) => Buffer.concat([Buffer.alloc(place), raw]).toString("base64").slice(4, -4));
  return [text, encodeURIComponent(text), raw.toString("hex"), ...inside];
}

function found(texts: readonly string[], secrets: readonly string[]): string[] {
  return secrets.filter((secret) => forms(secret).some((form) => texts.some((text) => text.includes(form))));
}

test("nothing that its user has written or called anybody leaves a worker readable", async () => {
  const sent: string[] = [];
  const relay = new FakeRelay();
  const one = tab({
    dial: (url: string, end: SocketEnd) => {
      const socket = relay.dial(url, end);
      return { ...socket, send: (text) => (sent.push(text), socket.send(text)) };
    },
  });
  await created(one, "Alice Liddell", "correct horse");
  const peer = await one.api.add({ who: someId(9), name: "Humpty Dumpty" });
  await one.api.send({ peer, text: "the garden gate", burn: false, expiresIn: null });
  await one.api.draft({ peer, text: "not sent yet" });
  await one.api.search({ text: "made of glass", peer: null, limit: 5 });
  await until("it asks for keys", () => sent.some((text) => text.includes("KEY_EXCHANGE_INIT")));
  // Whatever the relay says, nothing else comes back.
  for (const code of [1001, 1002, 1003, 1004, 1005, 1006, 1007]) {
    for (let id = 1; id < 12; id += 1) {
      relay.say("ERROR", { code, details: { reason: "field" }, message: "the relay's words" }, String(id));
    }
  }
  await one.api.backup({ passphrase: "correct horse" });
  await one.api.presence({ status: "idle" });
  await until("it has said so", () => sent.some((text) => text.includes('"idle"')));
  assert.deepEqual(found(sent, SECRETS), []);
  assert.deepEqual(found([...sent, Buffer.from("xthe garden gate.").toString("base64")], SECRETS), ["the garden gate"], "the control");
});

test("of presence and typing that nobody asked for nothing is kept or told", async () => {
  const relay = new FakeRelay();
  const one = tab({ dial: relay.dial });
  await created(one, "Alice");
  const peer = await one.api.add({ who: someId(9), name: "Bob" });
  await until("it is online", () => relay.heard.some(({ type }) => type === "PREKEY_STATUS"));
  const before = one.updates.length;
  for (let times = 0; times < 2_000; times += 1) {
    relay.say("PRESENCE", { status: "typing", userId: someId(10 + (times % 200)) });
    relay.say("PRESENCE", { status: "typing", userId: peer });
  }
  const typing = async () => (await one.api.conversations()).map(({ presence }) => presence.status);
  await until("the contact types", async () => (await typing()).includes("typing"));
  assert.deepEqual(await typing(), ["typing"]);
  const told = one.updates.slice(before).flatMap((update) => (update.kind === "conversations" ? update.changed : []));
  assert.deepEqual([...new Set(told.map((conversation) => conversation.peer))].filter((id) => id !== peer), []);
});
