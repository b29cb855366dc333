/** What Node compresses is decompressed here; and nothing that is spoilt, or bursts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { constants, deflateSync } from "node:zlib";
import { MalformedZlib, inflate } from "../core/inflate.ts";
import { mixed } from "./mixed.ts";

const SAMPLES = [
  new Uint8Array(),
  Uint8Array.of(7),
  new Uint8Array(70_000),
  mixed(100, 256),
  mixed(50_000, 4),
  mixed(200_000, 40),
  mixed(70_000, 256),
  new TextEncoder().encode("Grüße, and once more Grüße. ".repeat(3_000)),
];

test("what was compressed in any way comes out as it was", () => {
  for (const sample of SAMPLES) {
    for (const level of [0, 1, 6, 9]) {
      for (const strategy of [constants.Z_DEFAULT_STRATEGY, constants.Z_FIXED, constants.Z_HUFFMAN_ONLY, constants.Z_RLE]) {
        const found = inflate(deflateSync(sample, { level, strategy }), sample.length);
        assert.ok(Buffer.from(found).equals(Buffer.from(sample)), `${sample.length} bytes, ${level}, ${strategy}`);
      }
    }
  }
});

test("more than it may come to is refused", () => {
  const packed = deflateSync(new Uint8Array(1_000_000));
  assert.throws(() => inflate(packed, 999_999), MalformedZlib);
  assert.equal(inflate(packed, 1_000_000).length, 1_000_000, "the control");
});

test("what is cut, longer, or changed in any byte ends with an error or with the same", () => {
  const sample = mixed(2_000, 30);
  const packed = deflateSync(sample);
  assert.throws(() => inflate(packed.subarray(0, -1), 10_000), MalformedZlib);
  assert.throws(() => inflate(Buffer.concat([packed, Buffer.of(0)]), 10_000), MalformedZlib);
  let refused = 0;
  for (let at = 0; at < packed.length; at += 1) {
    const changed = Uint8Array.from(packed);
    changed[at] = (changed[at] ?? 0) ^ 0x10;
    try {
      assert.ok(Buffer.from(inflate(changed, 10_000)).equals(Buffer.from(sample)), `byte ${at}`);
    } catch (error) {
      if (!(error instanceof MalformedZlib)) throw error;
      refused += 1;
    }
  }
  assert.ok(refused > packed.length / 2, `${refused} of ${packed.length}`);
});
