// How a conversation is read, however long it is, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { BrowserContext, Locator, Page } from "playwright-core";
import { IS_LONG } from "../amounts.ts";
import { SKIP } from "./browser.ts";
import { item, person } from "./fake_people.ts";
import { setScene } from "./scene.ts";
import { openTalk, say } from "./screens.ts";
import { soon } from "./soon.ts";

/** How far a text is from the upper edge of the log, in pixels; null if it is not in the document. */
const topOf = (page: Page, text: string) =>
  page.evaluate((sought) => {
    const log = document.querySelector("[role=log]");
    const found = [...document.querySelectorAll("[role=listitem] .text")].find((one) => one.textContent === sought);
    if (log === null || found === undefined) return null;
    return found.getBoundingClientRect().top - log.getBoundingClientRect().top;
  }, text);

/** The first text in sight, how far it is from the upper edge, and whether older ones are on their way; of a picture that is drawn. */
const highest = (page: Page) =>
  page.evaluate(async () => {
    for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
    const log = document.querySelector("[role=log]");
    const edge = log?.getBoundingClientRect().top ?? 0;
    const texts = [...document.querySelectorAll("[role=listitem] .text")];
    const first = texts.find((one) => one.getBoundingClientRect().top > edge + 50);
    return {
      text: first?.textContent ?? "",
      top: (first?.getBoundingClientRect().top ?? NaN) - edge,
      number: Number.parseInt(first?.textContent ?? ""),
      isMoreComing: log?.getAttribute("aria-busy") === "true",
    };
  });

describe("the log", { skip: SKIP }, () => {
  const scene = setScene();
  const { items, load, update } = scene;
  let page: Page;
  let context: BrowserContext;
  const log = () => page.getByRole("log");
  beforeEach(() => {
    ({ page, context } = scene);
  });

  /** Scrolls to the middle; again if the log was just about to stay at its end. */
  const lookBack = () =>
    soon(async () => {
      await log().evaluate((box) => (box.scrollTop = box.scrollHeight / 2));
      assert.ok(await page.getByRole("button", { name: "To the newest text" }).isVisible());
    });

  /** Waits until the log has what it asked for, and draws nothing more that moves it. */
  const settled = () =>
    log().evaluate(async (box) => {
      for (let [top, still] = [-1, 0]; still < 10; top = box.scrollTop) {
        await new Promise(requestAnimationFrame);
        still = box.scrollTop === top && box.getAttribute("aria-busy") !== "true" ? still + 1 : 0;
      }
    });

  test("texts are read once they were seen, and a covered one only when it is opened", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("separator", { name: "3 new texts" }).waitFor();
    await page.getByRole("navigation").getByRole("button", { name: /^Bob.* 1 new/ }).waitFor();
    await page.getByRole("button", { name: "Read once" }).click();
    await page.getByRole("button", { name: "30 s more" }).click(); // time enough for a busy browser
    await items().filter({ hasText: "4711" }).waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await items().filter({ hasText: "4711" }).waitFor({ state: "detached" });
    await page.getByRole("separator", { name: /new texts/ }).waitFor();
    await openTalk(page, "Amélie");
    await openTalk(page, "Bob");
    await items().filter({ hasText: "And call me when you are there." }).waitFor();
    assert.equal(await page.getByRole("separator").count(), 0);
  });

  test("a new text below what is seen is not read, and does not move what is seen", async () => {
    await load("saved=1&long=300");
    await openTalk(page, "Long");
    await page.getByText(/^300: /).first().waitFor();
    await lookBack();
    await settled();
    const top = await log().evaluate((box) => box.scrollTop);
    await say(page, "Long", "down here");
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor();
    await page.waitForTimeout(1500);
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor();
    assert.equal(await log().evaluate((box) => box.scrollTop), top);
    await page.getByRole("button", { name: "To the newest text" }).click();
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor({ state: "detached" });
  });

  test("what burns counts down, and can be seen longer", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "Read once" }).click();
    await page.getByRole("button", { name: "30 s more" }).click();
    const left = async () => Number(/gone in (\d+) s/.exec(await page.locator(".burning").innerText())?.[1]);
    const begun = await left();
    assert.ok(begun > 10 && begun <= 40, `${begun} s`); // without more it would be ten
    await soon(async () => assert.ok((await left()) < begun));
  });

  test("screen readers hear new texts of the other side once, and nothing else of the log", async () => {
    await load("saved=1&long=200&pace=100");
    await openTalk(page, "Long");
    await say(page, "Long", "spoken");
    await items().filter({ hasText: "spoken" }).waitFor();
    await page.getByRole("textbox", { name: "Write to Long" }).fill("mine");
    await page.keyboard.press("Enter");
    await items().filter({ hasText: "mine" }).filter({ hasText: "read" }).waitFor();
    const live = await page.evaluate(() => {
      const nearest = (text: string) => {
        const found = [...document.querySelectorAll("[role=listitem]")].find((one) => one.textContent?.includes(text) === true);
        return found?.closest("[aria-live]")?.getAttribute("aria-live");
      };
      const blocks = [...document.querySelectorAll("[role=log] [data-block]")].map((one) => one.getAttribute("aria-live"));
      return { spoken: nearest("spoken"), mine: nearest("mine"), blocks };
    });
    assert.equal(live.spoken, "polite");
    assert.equal(live.mine, "off");
    assert.ok(live.blocks.length > 1);
    assert.deepEqual([...new Set(live.blocks.slice(0, -1))], ["off"]);
    const spoken = (where: Page | Locator) => where.getByText("spoken", { exact: true }).count();
    await soon(async () => assert.equal(await spoken(page), 1 + (await spoken(page.getByRole("navigation")))));
  });

  test("of 5,000 texts a few are in the document, and the place is kept while older ones come", async () => {
    await load("saved=1&long=5000&slowly=items"); // older ones take a second
    await openTalk(page, "Long");
    await page.getByText(/^5000: /).first().waitFor();
    let drawn = 0;
    let seen = await highest(page);
    for (let step = 0; step < 30 || (step < 2000 && !(seen.number < 4800 && seen.isMoreComing)); step++) {
      await log().evaluate((box) => (box.scrollTop -= 900));
      seen = await highest(page);
      drawn = Math.max(drawn, await items().count());
    }
    assert.ok(drawn < 250, `${drawn} texts are drawn`);
    assert.ok(seen.number < 4800 && seen.isMoreComing, `only at ${seen.text}`);
    await settled();
    const moved = ((await topOf(page, seen.text)) ?? Infinity) - seen.top;
    assert.ok(Math.abs(moved) < 1, `it moves by ${moved} pixels`);
  });

  test("a frame of scrolling through 5,000 texts costs less than a 60th of a second of processor time, and they fit in 60 MB", async () => {
    const texts = IS_LONG ? 5000 : 1000;
    await load(`saved=1&long=${texts}`);
    await openTalk(page, "Long");
    await page.getByText(new RegExp(`^${texts}: `)).first().waitFor();
    const tools = await context.newCDPSession(page);
    await tools.send("Performance.enable", { timeDomain: "threadTicks" });
    const busy = async () => {
      const { metrics } = await tools.send("Performance.getMetrics");
      return metrics.find(({ name }) => name === "TaskDuration")?.value ?? 0;
    };
    const begun = await busy();
    const frames = await page.evaluate(async () => {
      const box = document.querySelector("[role=log]");
      let many = 0;
      while (box !== null && many < 3000 && document.querySelector(".beginning") === null) {
        await new Promise(requestAnimationFrame);
        box.scrollTop -= 250;
        many += 1;
      }
      return many;
    });
    const cost = ((await busy()) - begun) / frames;
    const used = async () => {
      await tools.send("HeapProfiler.collectGarbage");
      return (await tools.send("Runtime.getHeapUsage")).usedSize;
    };
    process.stdout.write(`# ${frames} frames of ${(cost * 1000).toFixed(2)} ms, ${((await used()) / 1e6).toFixed(1)} MB\n`);
    assert.ok(frames > texts / 10 && cost < 1 / 60, `${frames} frames of ${cost * 1000} ms`);
    await soon(async () => {
      const bytes = await used();
      assert.ok(bytes < 10e6 + 10e3 * texts, `${bytes} bytes`);
    }, 20);
  });

  test("a text that was found is shown, however far back it is", async () => {
    await load("saved=1&long=5000");
    await openTalk(page, "Long");
    await page.getByRole("button", { name: "Search here" }).click();
    await page.getByRole("searchbox", { name: "Search in this conversation" }).fill("123: ");
    await page.getByText(/of \d+ texts/).waitFor();
    for (let times = 0; times < 4; times++) await page.getByRole("button", { name: "Older" }).click();
    await page.locator(".item.found").filter({ hasText: "123: " }).last().waitFor();
    const found = page.locator(".item.found");
    await found.waitFor();
    await page.waitForFunction(() => {
      const box = document.querySelector("[role=log]")?.getBoundingClientRect();
      const item = document.querySelector(".item.found")?.getBoundingClientRect();
      return box !== undefined && item !== undefined && item.top >= box.top && item.bottom <= box.bottom;
    });
    assert.match(await found.innerText(), /^\d*123: |\n\d*123: /);
  });

  test("from a text that was found far back one reads on without a gap, and what one writes is seen", async () => {
    await load("saved=1&long=5000&far=777");
    await openTalk(page, "Long");
    await page.getByRole("button", { name: "Search here" }).click();
    await page.getByRole("searchbox", { name: "Search in this conversation" }).fill("4200: ");
    await page.locator(".item.found").filter({ hasText: /4200: / }).waitFor();
    const numbers = () =>
      page.evaluate(() => [...document.querySelectorAll("[role=listitem] .text")].map(({ textContent }) => Number.parseInt(textContent ?? "")));
    let seen = 4200;
    while (seen < 4500) {
      const before = await log().evaluate(async (box) => {
        const [top, height] = [box.scrollTop, box.scrollHeight];
        box.scrollTop += 400;
        for (let frames = 0; frames < 3; frames++) await new Promise(requestAnimationFrame);
        return box.scrollTop === top ? height : 0;
      });
      // At the end of what is loaded: more is on its way.
      if (before > 0) await page.waitForFunction((height) => (document.querySelector("[role=log]")?.scrollHeight ?? 0) > height, before);
      const drawn = (await numbers()).filter((number) => number >= seen);
      assert.ok((drawn[0] ?? 0) <= seen + 1, `${drawn[0]} comes after ${seen}`);
      for (const number of drawn) if (number === seen + 1) seen = number;
    }
    await page.getByRole("button", { name: "End the search" }).click();
    await page.getByRole("textbox", { name: "Write to Long" }).fill("back at the end");
    await page.keyboard.press("Enter");
    await items().filter({ hasText: "back at the end" }).waitFor();
    await page.getByRole("main").getByText(/^5000: /).waitFor();
  });

  test("a flood of long texts does not stay in the page, neither at the end nor while one looks back", async () => {
    await load("saved=1&long=300");
    await openTalk(page, "Long");
    await page.getByText(/^300: /).first().waitFor();
    const tools = await context.newCDPSession(page);
    const used = async () => {
      await tools.send("HeapProfiler.collectGarbage");
      return (await tools.send("Runtime.getHeapUsage")).usedSize;
    };
    let position = 1000;
    const flood = async (until: number) => {
      await page.evaluate(
        ([one, from, to]) => {
          const channel = new BroadcastChannel("fake");
          const lines = "\n".repeat(60); // so that little of each is drawn
          for (let at = from; at < to; at += 20) {
            const places = Array.from({ length: 20 }, (_, index) => at + index + 1);
            const items = places.map((place) => ({ ...one, id: `flood-${place}`, position: place, text: `${place}${lines}`.padEnd(40_000, "x") }));
            channel.postMessage({ update: { kind: "items", peer: one.peer, items, incoming: [] } });
          }
        },
        [item("Long+/=", 0, {}), position, until] as const,
      );
      position = until;
      const last = item("Long+/=", (position += 1), { text: `end ${position}` });
      await update({ kind: "conversations", changed: [person("Long", { last })], removed: [] });
      await update({ kind: "items", peer: "Long+/=", items: [last], incoming: [] });
      await page.getByRole("navigation").getByText(`end ${position}`).waitFor();
    };
    const before = await used();
    const little = () =>
      soon(async () => {
        const more = (await used()) - before;
        assert.ok(more < 20e6, `${more} bytes more`); // they are 24 million letters
      }, 20);
    await flood(1600);
    await items().filter({ hasText: `end ${position}` }).waitFor();
    await little();
    await lookBack();
    await flood(2200);
    await little();
  });
});
