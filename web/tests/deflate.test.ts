/** What is compressed here is read by Node, and here; and it comes to little more than what Node makes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync, inflateSync } from "node:zlib";
import { deflate } from "../core/deflate.ts";
import { inflate } from "../core/inflate.ts";
import { mixed } from "./mixed.ts";

const encoder = new TextEncoder();
const SAMPLES = [
  new Uint8Array(),
  Uint8Array.of(0),
  Uint8Array.of(7),
  Uint8Array.of(1, 2, 1, 2),
  new Uint8Array(3),
  new Uint8Array(70_000),
  mixed(100, 256),
  mixed(50_000, 4),
  mixed(200_000, 40),
  mixed(70_000, 256),
  encoder.encode("Grüße, and once more Grüße. ".repeat(3_000)),
  encoder.encode(Array.from({ length: 5_000 }, (_, at) => `${at}: ${(at * at) % 9_973} of ${at % 17}`).join("\n")),
  Buffer.concat([mixed(40_000, 250), mixed(40_000, 250)]), // again, and further back than can be pointed
  Buffer.concat([mixed(32_700, 250), mixed(40_000, 250)]), // as far back as can be
];

test("what was compressed comes out as it was, with any program", () => {
  for (const sample of SAMPLES) {
    const packed = deflate(sample);
    assert.ok(inflateSync(packed).equals(sample), `${sample.length} bytes`);
    assert.ok(Buffer.from(inflate(packed, sample.length)).equals(sample), `${sample.length} bytes`);
  }
});

test("bytes of any number and kind come out as they were", () => {
  for (let size = 0; size < 700; size += 1) {
    for (const alphabet of [1, 2, 3, 17, 250]) {
      const sample = mixed(size, alphabet);
      assert.ok(inflateSync(deflate(sample)).equals(sample), `${size} bytes of ${alphabet} kinds`);
    }
  }
});

test("symbols that are used ever more rarely get no words that are too long", () => {
  // Fibonacci's numbers: without a bound the rarest would have a word of 19 bits.
  const counts = [1, 1];
  while (counts.length < 20) counts.push((counts.at(-1) ?? 0) + (counts.at(-2) ?? 0));
  const sample = Uint8Array.from(counts.flatMap((count, byte) => new Array<number>(count).fill(byte)));
  // In an order in which little stands again.
  const order = mixed(2 * sample.length, 256);
  const placeOf = (at: number): number => (order[2 * at] ?? 0) * 256 + (order[2 * at + 1] ?? 0);
  const places = [...sample.keys()].sort((one, other) => placeOf(one) - placeOf(other) || one - other);
  const shuffled = Uint8Array.from(places, (at) => sample[at] ?? 0);
  assert.ok(inflateSync(deflate(shuffled)).equals(shuffled));
});

test("it comes to little more than what Node makes of it", () => {
  for (const sample of SAMPLES.filter(({ length }) => length > 1_000)) {
    const [own, other] = [deflate(sample).length, deflateSync(sample).length];
    assert.ok(own <= other * 1.02 + 100, `${own} of ${other}, of ${sample.length} bytes`);
  }
});
