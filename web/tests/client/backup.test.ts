import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fromHex, toHex } from "../../core/bytes.ts";
import { Content, contentOf, exportContent, putContent, readFile, sealContent } from "../../core/client/backup.ts";
import { ConversationIndex } from "../../core/client/conversation_index.ts";
import { BackupError, WrongPassphrase } from "../../core/client/errors.ts";
import { History } from "../../core/client/history.ts";
import { chosen } from "../../core/client/passphrase.ts";
import * as records from "../../core/client/records.ts";
import { newVault } from "../../core/client/vault.ts";
import type { Vault } from "../../core/client/vault.ts";
import { random, vectors } from "./support.ts";

interface Case {
  readonly passphrase: string;
  readonly salt: string;
  readonly nonce: string;
  readonly memory_kib: number;
  readonly passes: number;
  readonly lanes: number;
  readonly content: unknown;
  readonly expect: { readonly bytes: string };
}

const { cases } = vectors("export.json") as { readonly cases: readonly Case[] };
const [vector] = cases;
assert.ok(vector !== undefined && cases.length === 1);
const file = fromHex(vector.expect.bytes);
const COST = { memoryKib: 64, passes: 1, lanes: 1 };

/** Members that are bytes stand in hex in the vectors. */
const BINARY = new Set(["seed", "key", "offered", "sealed", "frame", "newer"]);

function plain(value: unknown, name = ""): unknown {
  if (Array.isArray(value)) return value.map((one) => plain(one));
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one, key)]));
  }
  return BINARY.has(name) && typeof value === "string" ? fromHex(value) : value;
}

/** A vault that a file was put into, as the worker does it. */
function imported(content: Content): Vault {
  const vault = newVault(new Uint8Array(32), random);
  new ConversationIndex(vault);
  vault.transaction((tx) => putContent(tx, content, null));
  return vault;
}

test("the file of the vectors is read member by member, and written byte by byte", () => {
  const content = readFile(file, vector.passphrase);
  assert.deepEqual(content, Content.read(plain(vector.content)));
  const given = { salt: fromHex(vector.salt), nonce: fromHex(vector.nonce) };
  const cost = { memoryKib: vector.memory_kib, passes: vector.passes, lanes: vector.lanes };
  const made = sealContent(content, chosen(vector.passphrase, "it"), { ...given, cost });
  assert.equal(toHex(made), vector.expect.bytes);
  const changed = sealContent({ ...content, lastPrekeyId: 1 }, chosen(vector.passphrase, "it"), { ...given, cost });
  assert.notEqual(toHex(changed), vector.expect.bytes);
});

test("what was imported and is exported again says the same", () => {
  const content = readFile(file, vector.passphrase);
  const vault = imported(content);
  const again = readFile(exportContent(contentOf(vault), "other", random, { cost: COST }), "other");
  const withoutSessions = content.contacts.map((contact) => ({
    ...contact,
    classical: false,
    postQuantum: records.hadKem(contact),
    askedAt: null,
  }));
  assert.deepEqual({ ...again, sent: [] }, { ...content, contacts: withoutSessions, sent: [] });
  const left = [content.sent, again.sent].map((sent) => sent.map((one) => [one.messageId, one.text]));
  assert.deepEqual(left[0], left[1]);
});

test("a conversation is in the order of the clock", () => {
  const content = readFile(file, vector.passphrase);
  const peer = content.contacts[0]?.userId ?? "";
  const sent = [10, 30, 50].map((madeAt) =>
    records.SentRecord.make({ messageId: `s${madeAt}`, peer, text: "", madeAt, burn: false, state: 1 }),
  );
  const received = [20, 25, 40, 60].map((receivedAt) =>
    records.ReceivedRecord.make({
      messageId: `r${receivedAt}`, sender: peer, text: "", sentAt: 0, receivedAt, burn: false, expiresAt: null,
    }),
  );
  const vault = imported({ ...content, sent, received });
  const found = [...new History(vault, new ConversationIndex(vault)).newest(peer)].reverse();
  const ids = found.map((entry) => entry.record.messageId);
  assert.deepEqual(ids, ["s10", "r20", "r25", "s30", "r40", "s50", "r60"]);
});

test("what is no such file, is damaged, or asks for too much is refused", () => {
  const at = "phantom/1 backup\n".length;
  const patched = (offset: number, bytes: readonly number[]): Uint8Array => {
    const found = file.slice();
    found.set(bytes, offset);
    return found;
  };
  for (const bad of [
    new Uint8Array(0),
    file.slice(1),
    file.slice(0, 60),
    patched(at, [2]),
    patched(at, [0]),
    patched(at + 1, [0, 8, 0, 0]),
    patched(at + 5, [0, 0, 0, 0]),
    patched(at + 9, [0, 0, 0, 17]),
    new Uint8Array(256 * 2 ** 20 + 1).fill(1, 0, 0),
  ]) {
    assert.throws(() => readFile(bad, vector.passphrase), BackupError);
  }
  assert.throws(() => readFile(patched(file.length - 1, [7]), vector.passphrase), WrongPassphrase);
  assert.throws(() => readFile(file, "another"), WrongPassphrase);
});

test("what the page alone has is in the file: own name, drafts, how long texts last; or there is no such member", () => {
  const content = readFile(file, vector.passphrase);
  const peer = content.contacts[0]?.userId ?? "";
  assert.deepEqual([content.name, content.drafts, content.lasting], [null, null, null]);
  const bare = Content.write(content);
  assert.deepEqual(["name", "drafts", "lasting"].filter((member) => member in bare), []);
  const more = { name: "Alice", drafts: [{ peer, text: "not finished" }], lasting: [{ peer, expiresIn: 60_000 }] };
  const vault = imported({ ...content, ...more });
  vault.transaction((tx) => tx.put(records.ME, "", records.MeRecord.make({ name: "Alice" })));
  const again = readFile(exportContent(contentOf(vault), "other", random, { cost: COST }), "other");
  assert.deepEqual([again.name, again.drafts, again.lasting], [more.name, more.drafts, more.lasting]);
});

test("content with unknown words is refused, and with unknown members read", () => {
  const words = chosen("it", "it");
  const content = readFile(file, vector.passphrase);
  const given = { salt: random(16), nonce: random(12), cost: COST };
  const sealed = (spoilt: Content): Uint8Array => sealContent(spoilt, words, given);
  const [contact] = content.contacts;
  assert.ok(contact !== undefined);
  for (const spoilt of [
    { ...content, contacts: [{ ...contact, trust: "blind" }] },
    { ...content, identity: { ...content.identity, seed: new Uint8Array(31) } },
    { ...content, receipts: [records.ReceiptRecord.make({ messageId: "m", sender: "s", status: "eaten", at: 1 })] },
  ]) {
    assert.throws(() => readFile(sealed(spoilt), "it"), BackupError);
  }
  assert.deepEqual(Content.read({ ...Content.write(content), more: 1 }), content);
});

// For the SDK: reads its file, and writes one of what it holds.
const given = process.env["PHANTOM_EXPORTED"];
test("a file of the SDK is read and written again", { skip: given === undefined ? "there is no file" : false }, () => {
  const read = readFile(readFileSync(given ?? ""), "of the SDK");
  const vault = imported(read);
  // What the page alone has is passed over by the SDK.
  const peer = read.contacts[0]?.userId ?? "";
  vault.transaction((tx) => {
    tx.put(records.DRAFT, peer, { peer, text: "a draft" });
    tx.put(records.LASTING, peer, { peer, expiresIn: 60_000 });
    tx.put(records.ME, "", records.MeRecord.make({ name: "Alice" }));
  });
  writeFileSync(`${given ?? ""}.again`, exportContent(contentOf(vault), "of the page", random, { cost: COST }));
});

test("a file with ids that are none, or times that no calendar has, is refused before it becomes a profile", () => {
  const content = readFile(file, vector.passphrase);
  const [sent] = content.sent;
  const [contact] = content.contacts;
  assert.ok(sent !== undefined && contact !== undefined);
  const words = chosen(vector.passphrase, "it");
  const given = { salt: fromHex(vector.salt), nonce: fromHex(vector.nonce), cost: COST };
  const read = (changed: Partial<Content>): Content =>
    readFile(sealContent({ ...content, ...changed }, words, given), vector.passphrase);
  assert.deepEqual(read({}), content);
  for (const changed of [
    { sent: [{ ...sent, madeAt: Number.MAX_SAFE_INTEGER }] },
    { sent: [{ ...sent, madeAt: -1 }] },
    { sent: [{ ...sent, peer: "not base64" }] },
    { contacts: [{ ...contact, userId: "" }] },
    { drafts: [{ peer: "", text: "a draft" }] },
    { lasting: [{ peer: contact.userId, expiresIn: 0 }] },
    { lasting: [{ peer: contact.userId, expiresIn: Number.MAX_SAFE_INTEGER }] },
  ]) {
    assert.throws(() => read(changed), BackupError);
  }
});
