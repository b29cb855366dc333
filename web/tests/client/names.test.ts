import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "../../core/client/errors.ts";
import { writtenId } from "../../core/client/ids.ts";
import { checkedName, folded, skeleton } from "../../core/client/names.ts";
import { candidates, chosen } from "../../core/client/passphrase.ts";
import * as notices from "../../core/client/notices.ts";
import { isBlank, oneLine } from "../../core/client/sanitize.ts";
import type { Contact } from "../../core/client/status.ts";
import { someId } from "./support.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

test("names have one form, and what is no name is refused", () => {
  assert.equal(checkedName("  Zoe\u0308 "), "Zo\u00eb");
  assert.equal(checkedName("\u{1f469}\u200d\u{1f4bb} Ada"), "\u{1f469}\u200d\u{1f4bb} Ada");
  const bads = ["", "  ", "\u200b", "\u3164", "a\nb", "a\u202eb", "x".repeat(65), someId(1), writtenId(someId(1))];
  for (const bad of bads) {
    assert.throws(() => checkedName(bad), UsageError, JSON.stringify(bad));
  }
});

test("names that look alike have the same skeleton, and others have not", () => {
  const twins = { Bob: "B\u043eb", Bill: "Bi11", modern: "modem", Alice: "A lice", PayPal: "paypaI" };
  for (const [one, other] of Object.entries(twins)) {
    assert.equal(skeleton(one), skeleton(other), `${one} ${other}`);
  }
  assert.notEqual(skeleton("Bob"), skeleton("Rob"));
  assert.equal(folded("STRASSE"), folded("stra\u00dfe"));
});

test("what would change what stands beside it is shown as code points, and scripts and emoji are not", () => {
  assert.equal(oneLine("a\u202eb\u0007c"), "a<202E>b<0007>c");
  assert.equal(oneLine("\u200d\u200d"), "<200D><200D>");
  const flag = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
  const persian = "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645";
  for (const fine of [persian, `Hi ${flag}`, "\u{1f468}\u200d\u{1f469}\u200d\u{1f467}"]) {
    assert.equal(oneLine(fine), fine);
  }
  assert.equal(oneLine("\u{e0067}"), "<E0067>");
  assert.equal(oneLine("y".repeat(400)), `${"y".repeat(300)}\u2026`);
  assert.deepEqual([isBlank(" \u2800\u3164"), isBlank("a")], [true, false]);
});

test("passphrases are the bytes that encryption.md gives", () => {
  assert.equal(hex(chosen("caf\u00e9", "it")), "636166c3a9");
  assert.equal(hex(chosen("cafe\u0301", "it")), "636166c3a9");
  assert.equal(hex(chosen("a\u3000b\n", "it")), "612062");
  assert.deepEqual(candidates("plain", "it").map(hex), [hex(Buffer.from("plain"))]);
  assert.deepEqual(candidates("caf\u00e9\r\n", "it").map(hex), ["636166c3a9", "636166c3a90d0a", "63616665cc81"]);
  for (const bad of ["", "\n", "a\u0007b", "a\ud800"]) {
    assert.throws(() => chosen(bad, "it"), UsageError);
  }
});

test("a name does not turn the sentence that it stands in, and cannot leave its place", () => {
  const contact = (name: string): Contact => ({
    name,
    userId: someId(66),
    trust: "changed",
    key: null,
    classical: false,
    blocked: false,
  });
  const name = "\u05d3\u05d5\u05d3";
  assert.match(notices.keyChanged(contact(name)).message, new RegExp(`^\u2068${name}\u2069 has a new key`));
  assert.match(notices.backlog(contact(name)).message, new RegExp(`of \u2068${name}\u2069 is full`));
  assert.match(notices.keyChanged(contact("")).message, /^\u2068ph1[^\u2068\u2069]*\u2069 has a new key/);
  const sly = notices.keyChanged(contact("a\u2069\u202eb")).message;
  assert.deepEqual(sly.match(/[\u202a-\u202e\u2066-\u2069]/g), ["\u2068", "\u2069"]);
});
