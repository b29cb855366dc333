import assert from "node:assert/strict";
import { test } from "node:test";
import { canonical, parseStrictly } from "../../core/wire/canonical.ts";
import { RequestError } from "../../core/wire/codes.ts";
import type { Json } from "../../core/wire/json.ts";

function reason(act: () => unknown): string {
  try {
    act();
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof RequestError, String(error));
    return error.reason;
  }
}

test("what JSON.parse reads without doubt is read the same", () => {
  const texts = [
    ' { "a" : [ 1 , -2 , true , false , null , "" ] } ',
    '{"":0,"a":{"":[[]]}}',
    '"\\u0041\\/\\ud83d\\ude00\\"\\\\\\b\\f\\n\\r\\t"',
    "[0.5,-1.25e3,1E2,1e-7,0,-0.0]",
    '{"__proto__":{"x":1},"constructor":2,"toString":3}',
    "\t\r\n 0",
  ];
  for (const text of texts) assert.deepEqual(parseStrictly(text), JSON.parse(text), text);
});

test("what is no JSON is refused", () => {
  const texts = [
    ..."{ } [ ] [1,] [,1] {,} {\"a\"} {\"a\":} {\"a\":1,} {a:1} {'a':1} 01 - +1 1. .5 1e 1e+ 0x1 /*x*/1".split(" "),
    ..."NaN Infinity -Infinity tru nul True \" \"\\ \"\\x\" \"\\u12\" \"\\u12g4\" {}{} []]".split(" "),
    ..."\"\\ud800\" \"\\udc00\\ud800\"".split(" "),
    ...["", " ", '"\n"', '"\u0000"', "1 2", "\ufeff{}", "\u00a01", '{"\\ud800":1}', '"\ud800"'],
  ];
  for (const text of texts) assert.equal(reason(() => parseStrictly(text)), "json", JSON.stringify(text));
});

test("what two readers could read differently is refused", () => {
  assert.equal(reason(() => parseStrictly('{"a":1,"a":1}')), "duplicate-name");
  assert.equal(reason(() => parseStrictly('[{"a":1,"\\u0061":2}]')), "duplicate-name");
  assert.equal(reason(() => parseStrictly('{"__proto__":1,"__proto__":2}')), "duplicate-name");
  for (const text of ["9007199254740992", "-9007199254740992", "1e400", "-1e400", "9007199254740993.0", "1e20"]) {
    assert.equal(reason(() => parseStrictly(text)), "number", text);
  }
  assert.equal(reason(() => parseStrictly("1e21")), "accepted");
  assert.equal(reason(() => parseStrictly("[[[[[[[[[]]]]]]]]]")), "too-deep");
  assert.equal(reason(() => parseStrictly("[".repeat(100_000))), "too-deep");
  assert.equal(reason(() => parseStrictly("[[[[[[[[]]]]]]]]")), "accepted");
});

test("a value that JSON does not have is not written", () => {
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, -(2 ** 60)]) {
    assert.equal(reason(() => canonical(value)), "number", String(value));
  }
  for (const value of ["\ud800", { "\udc00": 1 }, undefined, 1n, () => 1] as unknown as Json[]) {
    assert.equal(reason(() => canonical(value)), "json");
  }
});
