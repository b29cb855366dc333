// The page's parts that need no browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Item } from "../../api.ts";
import { addressesIn } from "../../ui/addresses.ts";
import { beginningOf, lineOf } from "../../ui/excerpt.ts";
import { invitationIn, joinLinkIn, otherHost } from "../../ui/invitation.ts";
import { BLOCK, type Block, blocksOf, bounded, itemsOf, oldest, withItems, withNewer, withOlder } from "../../ui/log.ts";
import { hueOf, initialOf, labelOf, plainName, shortId } from "../../ui/names.ts";
import { sizeOf } from "../../ui/parts/size.ts";
import { strengthOf } from "../../ui/strength.ts";
import { modulesOf, readCode } from "../../ui/qr.ts";
import { soon } from "./soon.ts";

function text(position: number, changed: Partial<Item> = {}): Item {
  const usual = { isMine: false, kind: "text", text: "", at: position, mark: null, burns: false, expiresAt: null, isUnread: false, fault: "" } as const;
  return { id: `id-${position}`, peer: "p", position, ...usual, ...changed };
}

const texts = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => text(from + index));
const positions = (blocks: readonly Block[]) => [...itemsOf(blocks)].map((item) => item.position);

test("pages of any size become blocks with consecutive keys, in order", () => {
  for (const many of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7]) {
    const blocks = blocksOf(texts(0, many), 10);
    assert.deepEqual(positions(blocks), texts(0, many).map((item) => item.position));
    assert.ok(blocks.every((block, index) => block.key === (blocks[0]?.key ?? 0) + index && block.items.length <= BLOCK));
    if (many > 0) assert.equal(blocks.at(-1)?.key, 10);
  }
});

test("an older page comes before, without doubles, and leaves the blocks behind it as they are", () => {
  const newer = withOlder([], texts(50, 100));
  const both = withOlder(newer, texts(10, 60));
  assert.deepEqual(positions(both), texts(10, 100).map((item) => item.position));
  assert.deepEqual(both.slice(-newer.length), newer);
  assert.ok(newer.every((block) => both.includes(block)));
  assert.equal(oldest(both), 10);
});

test("a changed text makes one new block", () => {
  const before = withOlder([], texts(0, 3 * BLOCK));
  const after = withItems(before, [text(BLOCK + 3, { text: "changed" })], { hasOlder: false });
  assert.equal(after.filter((block) => !before.includes(block)).length, 1);
  assert.equal([...itemsOf(after)].find((item) => item.position === BLOCK + 3)?.text, "changed");
});

test("new texts go to the end, late ones to their place, and those older than what is loaded wait for their page", () => {
  let blocks = withOlder([], texts(100, 100 + BLOCK));
  blocks = withItems(blocks, [text(300), text(301)], { hasOlder: true });
  blocks = withItems(blocks, [text(250), text(50)], { hasOlder: true });
  assert.deepEqual(positions(blocks), [...texts(100, 100 + BLOCK).map((item) => item.position), 250, 300, 301]);
  assert.deepEqual(positions(withItems(blocks, [text(50)], { hasOlder: false }))[0], 50);
  assert.deepEqual(positions(withItems([], [text(7)], { hasOlder: false })), [7]);
});

test("a newer page comes behind without doubles, and nothing newer comes before it", () => {
  const blocks = withOlder([], texts(100, 200));
  assert.deepEqual(positions(withItems(blocks, [text(400), text(150)], { hasOlder: true, hasNewer: true })), positions(blocks));
  const both = withNewer(blocks, texts(180, 260));
  assert.deepEqual(positions(both), texts(100, 260).map((item) => item.position));
  assert.deepEqual(both.map(({ key }) => key), both.map((_, index) => (both[0]?.key ?? 0) + index));
});

test("what is kept is bounded, in texts and in characters, at the end that is not looked at", () => {
  const many = withOlder([], texts(0, 10_000));
  assert.ok(many.length > 300);
  for (const [drop, first, last] of [["oldest", 7_000, 9_999], ["newest", 0, 2_999]] as const) {
    const kept = positions(bounded(many, drop));
    assert.ok(Math.abs((kept[0] ?? 0) - first) <= BLOCK && Math.abs((kept.at(-1) ?? 0) - last) <= BLOCK, `${kept[0]} to ${kept.at(-1)}`);
    const long = withOlder([], texts(0, 2_000).map((one) => ({ ...one, text: "x".repeat(20_000) })));
    assert.equal(bounded(long, drop).length, 12);
  }
  const few = withOlder([], texts(0, 300));
  assert.equal(bounded(few, "oldest"), few);
});

test("a text that was moved stands once, at its new position", () => {
  const blocks = withItems(withOlder([], texts(0, 5)), [text(9, { id: "id-2" })], { hasOlder: false });
  assert.equal([...itemsOf(blocks)].filter((item) => item.id === "id-2").length, 1);
});

test("a text of the other side with the id of one of one's own takes no place of it", () => {
  const mine = text(3, { id: "id", isMine: true, text: "I agree" });
  const blocks = withItems(withOlder([], [text(2), mine]), [text(4, { id: "id", text: "forged" })], { hasOlder: false });
  assert.deepEqual([...itemsOf(blocks)].map((item) => item.text), ["", "I agree", "forged"]);
  const changed = withItems(blocks, [{ ...mine, mark: "read" }], { hasOlder: false });
  assert.deepEqual([...itemsOf(changed)].map((item) => item.mark), [null, "read", null]);
});

test("names hide nothing: what turns the direction of writing is shown as its code point", () => {
  assert.equal(plainName("Bob\u202egnp"), "Bob<U+202E>gnp");
  assert.equal(plainName("a\u200bb\u2066c"), "a<U+200B>b<U+2066>c");
  for (const name of ["Zoë", "ליאור", "👩‍👧", "নাম"]) assert.equal(plainName(name), name);
});

test("who has no name is called by a short form of the id", () => {
  const writtenId = "ph1abcdefghijklmnopqrstuvwxyz";
  assert.equal(labelOf({ name: "", writtenId }), shortId(writtenId));
  assert.equal(labelOf({ name: "", says: "Bob\u202e", writtenId }), `~Bob<U+202E> (${shortId(writtenId)})`);
  assert.equal(labelOf({ name: "Bob", says: "Rob", writtenId }), "Bob");
  assert.equal(labelOf({ name: "", says: "x".repeat(60), writtenId }), `~${"x".repeat(23)}… (${shortId(writtenId)})`);
  assert.equal(shortId(writtenId), `${writtenId.slice(0, 11)}…`, "as in the sentences of the worker");
  assert.deepEqual(["Tea", ""].map((name) => labelOf({ name, twin: "aB3d5f" })), ["Tea (aB3d5f)", "Group without a name (aB3d5f)"]);
  assert.equal(initialOf("«émile»"), "É");
  assert.equal(initialOf("…"), "?");
  assert.equal(hueOf("abc"), hueOf("abc"));
});

test("links invite by what is behind '#', in both forms of an id", () => {
  assert.deepEqual(invitationIn("#c=ph1abc&n=Bob%20B"), { who: "ph1abc", name: "Bob B" });
  assert.deepEqual(invitationIn("#c=a%2Bb/c%3D"), { who: "a+b/c=", name: "" });
  assert.deepEqual(invitationIn("#c=a+b/c="), { who: "a+b/c=", name: "" });
  for (const other of ["", "#", "#n=Bob", "#c=", "#section"]) assert.equal(invitationIn(other), null);
});

test("of a very long text the beginning is shown: so many lines, or characters, and no half ones", () => {
  for (const whole of ["", "short", "a".repeat(4_000), "line\n".repeat(39)]) assert.equal(beginningOf(whole), null);
  assert.equal(beginningOf("\n".repeat(39_000)), "\n".repeat(39));
  assert.equal(beginningOf("a".repeat(4_001)), "a".repeat(4_000));
  assert.equal(beginningOf(`${"a".repeat(3_999)}\u{1f44b}`), "a".repeat(3_999));
  assert.equal(beginningOf(`${"a".repeat(9_000)}${"\n".repeat(90)}`)?.length, 4_000);
});

test("a link of another page is told from one of this, and from everything else", () => {
  const here = "https://chat.example/";
  assert.equal(otherHost(" https://other.example:8443/#c=ph1abc&n=Bob ", here), "other.example:8443");
  for (const same of ["https://chat.example/#c=ph1abc", "HTTPS://CHAT.example:443/x#c=ph1abc", "ph1abc", "https://other.example/", "https://", "", "phantom:#c=ph1abc"]) {
    assert.equal(otherHost(same, here), null, same);
  }
});

test("the word for a passphrase rises with what it takes to guess it", () => {
  assert.equal(strengthOf("  "), null);
  for (const weak of ["a", "12345678", "password123", "aaaaaaaaaaaaaaaaaaaaaaaa", "abcdefghijk", "Sommer22"]) assert.equal(strengthOf(weak), "weak", weak);
  for (const fair of ["seven green bottles", "kZ8!mq2x"]) assert.equal(strengthOf(fair), "fair", fair);
  for (const strong of ["correct horse battery staple and more", "xK9#mQ2$vL7!pR4&wT"]) assert.equal(strengthOf(strong), "strong", strong);
});

test("a code that was drawn can be read", () => {
  const text = `https://relay.example.org/#c=ph1${"x".repeat(58)}&n=%D0%9D`;
  const modules = modulesOf(text);
  const scale = 4;
  const size = modules.length * scale;
  const data = new Uint8ClampedArray(size * size * 4).fill(255);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      if (modules[Math.floor(y / scale)]?.[Math.floor(x / scale)] === true) data.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
    }
  }
  assert.equal(readCode({ width: size, height: size, data }), text);
  assert.equal(readCode({ width: size, height: size, data: data.fill(255) }), null);
});

test("addresses of the web can be followed, and nothing else", () => {
  const found = (given: string) => addressesIn(given).map(({ address }) => address);
  assert.deepEqual(found("See (https://a.example/x?y=1), or http://b.example."), ["https://a.example/x?y=1", "http://b.example"]);
  assert.deepEqual(found("javascript:alert(1) data:text/html,x ftp://a.example file:///etc/passwd"), []);
  assert.deepEqual(found("https://a.example/\u202egpj.exe"), ["https://a.example/"]);
  assert.deepEqual(addressesIn("at https://a.example").map(({ at }) => at), [3]);
});

test("a text that is made to be slow is searched for addresses as fast as any other", () => {
  const spent = (text: string): number => {
    const before = process.cpuUsage().user;
    addressesIn(text);
    return process.cpuUsage().user - before;
  };
  // With the square of the length it would be seconds.
  assert.ok(spent(`https://a.example/${")".repeat(39_000)}x`) < 500_000);
});

test("a line of a list shows the beginning of a text, or the place that was sought", () => {
  assert.equal(lineOf("first\n\nsecond"), "first second");
  assert.equal(lineOf("The train leaves at nine", "TRAIN"), "The train leaves at nine");
  assert.equal(lineOf("The train leaves from the other\nplatform at nine", "Platform"), "…other platform at nine");
  assert.equal(lineOf("written while the relay is away", "away"), "…the relay is away");
  assert.equal(lineOf(`${"x".repeat(5000)}needle`, "needle"), "…needle");
  assert.equal(lineOf("what was found by another spelling", "elsewhere"), "what was found by another spelling");
  assert.equal(lineOf(`find${" long".repeat(9000)}`, "find").length, 120);
});

test("a link to a group is found in both forms, and nowhere else", () => {
  const link = "phantom:join?relay=wss%3A%2F%2Fchat.example%2Fws&token=abc";
  assert.equal(joinLinkIn(` ${link}\n`), link);
  const address = `https://chat.example/#g=${encodeURIComponent(`${link}+/=`)}`;
  assert.equal(joinLinkIn(address), `${link}+/=`);
  assert.deepEqual(invitationIn(new URL(address).hash), { join: `${link}+/=` });
  for (const other of ["", "ph1abc", "phantom:add?id=1", "https://chat.example/#c=ph1abc&n=Bob", "https://chat.example/#g=ph1abc", `see ${link}`]) assert.equal(joinLinkIn(other), null, other);
});

test("the size of a picture is read from its first bytes, and from no smaller one within it", () => {
  const bytes = (...parts: readonly (number | string | readonly number[])[]) =>
    Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...part].map((char) => char.charCodeAt(0)) : part)));
  const png = bytes(0x89, "PNG\r\n\x1a\n", [0, 0, 0, 13], "IHDR", [0, 0, 4, 1, 0, 0, 0, 7]);
  assert.deepEqual(sizeOf(png), { width: 1025, height: 7 });
  const frame = [0xff, 0xc0, 0, 11, 8];
  const within = [...frame, 0, 1, 0, 1, 1, 1, 0x11, 0];
  const jpeg = bytes(0xff, 0xd8, [0xff, 0xe1, 0, 2 + within.length], within, [0xff, 0xc4, 0, 3, 0], frame, [0x10, 0, 0, 0x60, 1, 1, 0x11, 0]);
  assert.deepEqual(sizeOf(jpeg), { width: 96, height: 4096 });
  const webp = (kind: string, ...fields: readonly number[]) => bytes("RIFF", [0, 0, 0, 0], "WEBP", kind, [0, 0, 0, 0], fields, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  assert.deepEqual(sizeOf(webp("VP8X", 0, 0, 0, 0, 0, 0, 1, 0xff, 3, 0)), { width: 65_537, height: 1024 });
  assert.deepEqual(sizeOf(webp("VP8 ", 0, 0, 0, 0x9d, 1, 0x2a, 0x60, 0, 0x40, 0)), { width: 96, height: 64 });
  assert.deepEqual(sizeOf(webp("VP8L", 0x2f, 0x5f, 0xc0, 0x0f, 0)), { width: 96, height: 64 });
  for (const other of [bytes(), png.slice(0, 20), bytes(0xff, 0xd8, 0xff), bytes("GIF89a", [1, 0, 1, 0, 0, 0, 0, 0, 0, 0])]) assert.equal(sizeOf(other), null);
});

test("what is expected soon is looked at again until it holds, and not for ever", async () => {
  let looks = 0;
  const third = async () => assert.equal((looks += 1), 3);
  await soon(third);
  assert.equal(looks, 3);
  looks = 3;
  await assert.rejects(soon(third, 5), assert.AssertionError);
  assert.equal(looks, 8);
  await assert.rejects(soon(() => Promise.reject(new RangeError("not what was looked at"))), RangeError);
});
