import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";
import { launched, SKIP } from "../ui/browser.ts";
import { casesOf, FILES, type Files } from "../vectors.ts";
import type { SignatureCase } from "./cofactor.ts";
import { filesOnDisk, signaturesOnDisk } from "./files.ts";
import type { Played } from "./in_browser.ts";

declare const PROJECT: string;

test("the vectors are played in Chromium, too", { skip: SKIP }, async () => {
  const entry = join(PROJECT, "web", "tests", "crypto", "in_browser.ts");
  const made = await build({ entryPoints: [entry], bundle: true, format: "iife", target: "chrome120", write: false });
  const files = filesOnDisk();
  const browser = await launched();
  try {
    const page = await browser.newPage();
    await page.addScriptTag({ content: made.outputFiles[0]?.text ?? "" });
    const play = (given: Files): Played => (globalThis as unknown as { played: (files: Files) => Played }).played(given);
    const { count, wrong } = await page.evaluate(play, files);
    assert.deepEqual(wrong, []);
    assert.equal(count, casesOf(files).length);
    const judge = (given: readonly SignatureCase[]): readonly string[] =>
      (globalThis as unknown as { misjudged: (cases: readonly SignatureCase[]) => readonly string[] }).misjudged(given);
    const signatures = signaturesOnDisk();
    assert.deepEqual(await page.evaluate(judge, signatures), []);
    const turned = signatures.map((one) => ({ ...one, verifies: !one.verifies }));
    assert.equal((await page.evaluate(judge, turned)).length, signatures.length, "a control");
    // A control: another expectation goes red there.
    const [first, ...rest] = files["padding.json"]["contents"] as readonly object[];
    const few = {
      ...Object.fromEntries(FILES.map((name) => [name, {}])),
      "prekeys.json": files["prekeys.json"],
      "refused.json": { conversations: [] },
      "padding.json": { contents: [{ ...first, expect: { padded: "00" } }, ...rest] },
    } as unknown as Files;
    const spoilt = await page.evaluate(play, few);
    assert.equal(spoilt.wrong.length, 1);
  } finally {
    await browser.close();
  }
});
