import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBase64, encodeBase64, fromBase64 } from "../../core/wire/base64.ts";

test("all lengths and all bytes go there and back as Node writes them", () => {
  const all = Uint8Array.from({ length: 256 }, (_, byte) => byte);
  for (let length = 0; length <= all.length; length += 1) {
    const bytes = all.slice(all.length - length);
    const text = encodeBase64(bytes);
    assert.equal(text, Buffer.from(bytes).toString("base64"));
    assert.deepEqual(decodeBase64(text), bytes);
  }
});

test("each byte has one text: of all that differ from it in a character or in its end, none is accepted", () => {
  const characters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-_ \n\u0000\u00e9\u{1f600}"];
  for (const text of ["AA==", "/w==", "AAA=", "//8=", "AAAA", "QUJD"]) {
    const bytes = decodeBase64(text);
    assert.ok(bytes !== null);
    for (let place = 0; place < text.length; place += 1) {
      for (const character of characters) {
        const other = text.slice(0, place) + character + text.slice(place + 1);
        const found = decodeBase64(other);
        if (other !== text && found !== null) {
          assert.notDeepEqual(found, bytes, other);
          assert.equal(encodeBase64(found), other);
        }
      }
    }
  }
  for (const text of ["A", "AA", "AAA", "AA=", "AA===", "====", "=", "A===", "AAAA=", "AAAA====", " AAAA", "AAAA\n"]) {
    assert.equal(decodeBase64(text), null, text);
  }
  assert.equal(decodeBase64("AB=="), null, "bits behind the last byte");
});

test("what was checked and is none is a bug", () => {
  assert.throws(() => fromBase64("A"), /not base64/);
  assert.deepEqual(fromBase64(""), new Uint8Array(0));
});
