// What the page costs its users, in a real browser at a real relay: 'make bench-page'. Prints one JSON line.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launched } from "../ui/browser.ts";
import { Person } from "./person.ts";

const relay = process.env["PHANTOM_RELAY"] ?? "";
const count = Number(process.env["PHANTOM_FIGURES"] ?? 0);
const LOADS = 7;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

/** First paint, in milliseconds after the navigation began, and what was fetched for it, in bytes as transferred. */
async function firstLoad(browser: Browser, url: string): Promise<{ readonly paint: number; readonly bytes: number }> {
  const stranger = await Person.at(browser, url, "");
  await stranger.box("Your name").waitFor();
  const found = await stranger.page.evaluate(async () => ({
    paint: await new Promise<number>((resolve) => {
      const seen = new PerformanceObserver((list) => {
        const [first] = list.getEntriesByName("first-contentful-paint");
        if (first !== undefined) resolve(first.startTime);
      });
      seen.observe({ type: "paint", buffered: true });
    }),
    bytes: performance.getEntries().reduce((sum, one) => sum + ("encodedBodySize" in one ? Number(one.encodedBodySize) : 0), 0),
  }));
  await stranger.leave();
  return found;
}

/** Milliseconds from Enter until a text is shown, stored, and the next one may be written; of each text. */
async function writeMany(page: Page, name: string, texts: number): Promise<readonly number[]> {
  const box = page.getByRole("textbox", { name: `Write to ${name}`, exact: true });
  const times: number[] = [];
  for (let number = 1; number <= texts; number++) {
    await box.fill(`text ${number} of many`);
    times.push(
      await box.evaluate(async (element, text) => {
        const log = document.querySelector('[role="log"]');
        const isShown = (): boolean => [...(log?.querySelectorAll('[role="listitem"], li') ?? [])].some((item) => item.textContent?.includes(text));
        const begun = performance.now();
        element.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
        while (!isShown()) await new Promise((resolve) => setTimeout(resolve, 0));
        return performance.now() - begun;
      }, `text ${number} of many`),
    );
  }
  return times;
}

test("figures", { skip: count === 0 && "PHANTOM_FIGURES says of how many texts" }, async () => {
  const browser = await launched("--enable-precise-memory-info");
  const url = `${relay.replace(/^ws/, "http").replace(/\/ws$/, "")}/`;
  try {
    const loads = [];
    for (let load = 0; load < LOADS; load++) loads.push(await firstLoad(browser, url));
    const alice = await Person.started(browser, url, "Alice");
    const bob = await Person.started(browser, url, "Bob");
    await alice.add((await bob.me()).link, "Bob");
    await bob.add((await alice.me()).link, "Alice");
    await alice.write("Bob", "the first");
    await bob.sees("the first");
    await bob.page.goto("about:blank");
    const written = await writeMany(alice.page, "Bob", count);
    await alice.marked(`text ${count} of many`, "sent", "delivered", "read");
    await bob.page.goto(url);
    await bob.box("Passphrase").waitFor();
    await bob.box("Passphrase").fill("seven green bottles");
    await bob.button("Unlock").click();
    await bob.list().waitFor();
    const unlocked = Date.now();
    const last = bob.list().getByText(`text ${count} of many`);
    await last.waitFor();
    const read = Date.now() - unlocked;
    await bob.open("Alice");
    await bob.sees(`text ${count} of many`);
    await Promise.all([alice.leave(), bob.leave()]);
    assert.ok(loads.every(({ bytes }) => bytes > 0));
    const late = [...written].sort((one, other) => one - other)[Math.floor(written.length * 0.99)];
    const figures = { paint: median(loads.map(({ paint }) => paint)), bytes: loads[0]?.bytes, sent: median(written), late, read };
    process.stdout.write(`FIGURES ${JSON.stringify(figures)}\n`);
  } finally {
    await browser.close();
  }
});
