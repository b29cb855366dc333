import assert from "node:assert/strict";
import { test } from "node:test";
import { toHex } from "../core/bytes.ts";
import { pack, unpack } from "../core/msgpack.ts";
import type { Packed } from "../core/msgpack.ts";

test("values are written in their shortest form", () => {
  for (const [value, written] of [
    [null, "c0"], [false, "c2"], [true, "c3"],
    [0, "00"], [127, "7f"], [128, "cc80"], [255, "ccff"], [256, "cd0100"], [65_535, "cdffff"], [65_536, "ce00010000"],
    [4_294_967_295, "ceffffffff"], [4_294_967_296, "cf0000000100000000"], [9_007_199_254_740_991, "cf001fffffffffffff"],
    [18_446_744_073_709_551_615n, "cfffffffffffffffff"],
    [-1, "ff"], [-32, "e0"], [-33, "d0df"], [-128, "d080"], [-129, "d1ff7f"], [-32_768, "d18000"], [-32_769, "d2ffff7fff"],
    [-2_147_483_648, "d280000000"], [-2_147_483_649, "d3ffffffff7fffffff"],
    ["", "a0"], ["\u00e4", "a2c3a4"], ["x".repeat(32), `d920${"78".repeat(32)}`],
    [new Uint8Array(0), "c400"], [new Uint8Array([1, 2]), "c4020102"],
    [[1, [null]], "920191c0"], [{ a: 1, b: {} }, "82a16101a16280"],
  ] as readonly (readonly [Packed, string])[]) {
    assert.equal(toHex(pack(value)), written);
  }
});

test("what is written is read again, whatever its length", () => {
  for (const length of [15, 16, 31, 32, 255, 256, 65_535, 65_536, 70_000]) {
    const map = Object.fromEntries([...Array(length).keys()].map((number) => [`n${number}`, number - 40_000]));
    const value = ["y".repeat(length), new Uint8Array(length).fill(7), [...Array(length).keys()], map];
    assert.deepEqual(unpack(pack(value)), [value[0], value[1], value[2], Object.assign(Object.create(null), map)]);
  }
});

test("what is no exact integer is not written", () => {
  for (const value of [0.5, 127.5, 1e6 + 0.5, 2 ** 53, -1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => pack([value]), /only integers/, String(value));
  }
});
