// How the page behaves, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { IS_LONG, openStage, SKIP, type Stage } from "./browser.ts";
import { item, person } from "./fake_people.ts";
import { openTalk, say } from "./screens.ts";

/** How far a text is from the upper edge of the log, in pixels; null if it is not in the document. */
const topOf = (page: Page, text: string) =>
  page.evaluate((sought) => {
    const log = document.querySelector("[role=log]");
    const found = [...document.querySelectorAll("[role=listitem] .text")].find((one) => one.textContent?.startsWith(sought) === true);
    if (log === null || found === undefined) return null;
    return found.getBoundingClientRect().top - log.getBoundingClientRect().top;
  }, text);

const log = (page: Page) => page.getByRole("log");
const items = (page: Page) => log(page).getByRole("listitem");

describe("the page", { skip: SKIP }, () => {
  let stage: Stage;
  let context: BrowserContext;
  let page: Page;
  let faults: string[];

  async function load(query: string): Promise<void> {
    await page.goto(`${stage.url}?${query}`);
  }

  before(async () => {
    stage = await openStage();
  });
  after(() => stage.close());
  beforeEach(async () => {
    context = await stage.browser.newContext({ viewport: { width: 1000, height: 700 } });
    page = await context.newPage();
    page.setDefaultTimeout(30_000);
    faults = [];
    page.on("pageerror", (error) => faults.push(String(error)));
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });

  /** Waits until something has the focus: a busy browser moves it a little later. */
  const focus = (selector: string): Promise<void> => page.locator(`${selector}:focus`).waitFor();

  test("everything of a first day is done by keyboard alone", async () => {
    const keys = page.keyboard;
    const reach = async (role: "button" | "textbox", name: string | RegExp) => {
      const goal = page.getByRole(role, { name, exact: typeof name === "string" });
      await goal.waitFor();
      for (let tabs = 0; tabs < 40; tabs++) {
        if (await goal.evaluate((element) => element === document.activeElement)) return;
        await keys.press("Tab");
      }
      assert.fail(`${String(name)} cannot be reached`);
    };
    await load("scene=first-run&pace=50");
    await reach("textbox", "Your name");
    await keys.type("Alice");
    await reach("textbox", "Passphrase");
    await keys.type("seven green bottles");
    await reach("button", "Start");
    await keys.press("Enter");
    await reach("button", "New conversation");
    await keys.press("Enter");
    await page.getByRole("dialog").waitFor();
    await reach("textbox", "Contact id or link");
    await keys.type("ph1abcdefghijkl");
    await reach("textbox", "What you call them");
    await keys.type("Carol");
    await keys.press("Enter");
    await page.getByRole("textbox", { name: "Write to Carol" }).waitFor();
    await keys.type("Good morning");
    await keys.press("Enter");
    await items(page).filter({ hasText: "Good morning" }).filter({ hasText: "read" }).waitFor();
    await reach("button", "Compare");
    await keys.press("Enter");
    await page.getByRole("dialog").waitFor();
    await keys.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" }); // and not closed alone, which has no role either
    await focus('[aria-label="Compare"]');
    await keys.press("Escape");
    await focus("#composer");
  });

  test("keys lead to other conversations, the search and the list of keys", async () => {
    await load("");
    await openTalk(page, "Amélie");
    await page.keyboard.press("Alt+ArrowDown");
    await page.getByRole("textbox", { name: "Write to Bob" }).waitFor();
    await page.keyboard.press("Alt+ArrowUp");
    await page.getByRole("textbox", { name: "Write to Amélie" }).waitFor();
    await page.keyboard.press("Alt+u");
    await page.getByRole("textbox", { name: "Write to Bob" }).waitFor();
    await page.keyboard.press("Control+k");
    await focus("#search");
    await page.keyboard.press("Control+f");
    await page.getByRole("searchbox", { name: "Search in this conversation" }).waitFor();
    await page.keyboard.press("Escape");
    await log(page).focus();
    await page.keyboard.press("h");
    assert.equal(await page.getByRole("textbox", { name: "Write to Bob" }).inputValue(), "h");
    await page.keyboard.press("F1");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  });

  /** Waits until something is in the document, and says whether it had the focus at that very moment. */
  async function begins(selector: string, key: string): Promise<boolean> {
    await page.evaluate((sought) => {
      const seen = new Promise<boolean>((done) => {
        setTimeout(() => done(false), 30_000);
        new MutationObserver((_, observer) => {
          const found = document.querySelector(sought);
          if (found === null) return;
          observer.disconnect();
          done(found === document.activeElement);
        }).observe(document.body, { childList: true, subtree: true });
      });
      Object.assign(window, { seen });
    }, selector);
    await page.keyboard.press(key);
    return page.evaluate(() => (window as unknown as { seen: Promise<boolean> }).seen);
  }

  test("what is typed as soon as something is shown goes there", async () => {
    await load("saved=1");
    await openTalk(page, "Amélie");
    assert.ok(await begins('[aria-label="Write to Bob"]', "Alt+ArrowDown"));
    assert.ok(await begins("[type=search][aria-label='Search in this conversation']", "Control+f"));
    await page.keyboard.press("Escape");
    await focus("#composer");
    await page.getByRole("button", { name: "New conversation" }).focus();
    assert.ok(await begins("dialog[open] input", "Enter"));
  });

  test("what a dialog has covered gets the focus back, however the dialog is closed", async () => {
    await load("saved=1");
    const button = page.getByRole("button", { name: "Settings" });
    for (const close of [
      () => page.keyboard.press("Escape"),
      () => page.getByRole("dialog").getByRole("button", { name: "Close" }).click(),
      () => page.mouse.click(5, 5),
    ]) {
      await button.focus();
      await page.keyboard.press("Enter");
      await page.getByRole("dialog").waitFor();
      await close();
      await page.locator("dialog").waitFor({ state: "detached" });
      assert.ok(await button.evaluate((element) => element === document.activeElement), String(close));
    }
  });

  test("Enter sends and Shift with Enter does not, nor Enter while a word is being composed", async () => {
    await load("saved=1");
    await openTalk(page, "Amélie");
    const box = page.getByRole("textbox", { name: "Write to Amélie" });
    await box.fill("one");
    await box.press("Shift+Enter");
    await box.pressSequentially("two");
    await box.evaluate((element) => element.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", isComposing: true, bubbles: true })));
    assert.equal(await box.inputValue(), "one\ntwo");
    await box.press("Enter");
    await items(page).filter({ hasText: "one" }).waitFor();
    assert.equal(await box.inputValue(), "");
  });

  test("what cannot be drawn is said in its place, and the rest of the page goes on", async () => {
    // No calendar has such a day.
    const never = 9e20;
    const update = (given: object) =>
      page.evaluate((one) => new BroadcastChannel("fake").postMessage({ update: one }), given);
    const fault = page.getByText("This could not be shown.");
    const text = item("Bob+/=", 1000, { id: "00000000-0000-4000-8000-999999999999", text: "From never", at: never });
    const seen = (lastSeen: number | null) => {
      const bob = person("Bob", { presence: { status: "offline", lastSeen } });
      return update({ kind: "conversations", changed: [bob], removed: [] });
    };
    await load("saved=1");
    await openTalk(page, "Bob");
    await items(page).filter({ hasText: "And call me when you are there." }).waitFor();

    await update({ kind: "items", peer: "Bob+/=", items: [text], incoming: [] });
    await items(page).filter({ has: fault }).waitFor();
    await items(page).filter({ hasText: "And call me when you are there." }).waitFor();
    await update({ kind: "items", peer: "Bob+/=", items: [{ ...text, at: Date.now() }], incoming: [] });
    await items(page).filter({ hasText: "From never" }).waitFor();
    await fault.waitFor({ state: "detached" });

    await seen(never);
    await page.getByRole("main").filter({ has: fault }).waitFor();
    await page.getByRole("navigation").getByText("Amélie").waitFor();
    await seen(null);
    await page.getByRole("textbox", { name: "Write to Bob" }).waitFor();

    const me = { name: "Alice", userId: "Alice+/=", writtenId: "ph1alice", link: "", relay: "" };
    await update({ kind: "me", me: { ...me, backupAt: never, isKept: null, staysSignedIn: false } });
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("alert").filter({ has: fault }).waitFor();
    await page.getByRole("button", { name: "Close this notice" }).click();
    await page.getByRole("button", { name: "New conversation" }).click();
    await page.getByRole("dialog").waitFor();
  });

  test("a text of one's own that waits or failed can be deleted", async () => {
    await load("saved=1");
    await openTalk(page, "Amélie");
    const waiting = items(page).filter({ hasText: "On my way" });
    await waiting.getByRole("button", { name: "Delete" }).click();
    await items(page).filter({ hasText: "Erased" }).waitFor();
    assert.equal(await waiting.count(), 0);
    assert.equal(await items(page).getByRole("button", { name: "Delete" }).count(), 0);
    await openTalk(page, "Dave");
    await items(page).filter({ hasText: "Which platform?" }).getByRole("button", { name: "Delete" }).click();
    await items(page).filter({ hasText: "Erased" }).waitFor();
  });

  test("a draft stays with its conversation", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("textbox", { name: "Write to Bob" }).fill("for Bob alone");
    await openTalk(page, "Amélie");
    assert.equal(await page.getByRole("textbox", { name: "Write to Amélie" }).inputValue(), "");
    await page.getByRole("navigation").getByText("for Bob alone").waitFor();
    await openTalk(page, "Bob");
    assert.equal(await page.getByRole("textbox", { name: "Write to Bob" }).inputValue(), "for Bob alone");
  });

  test("how long new texts last stays with its conversation", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "How long texts last" }).click();
    await page.getByRole("radio", { name: "1 hour" }).check();
    await page.getByText("Disappears after 1 hour").waitFor();
    await openTalk(page, "Amélie");
    assert.equal(await page.getByText("Disappears after").count(), 0);
    await openTalk(page, "Bob");
    await page.getByText("Disappears after 1 hour").waitFor();
  });

  test("a text that was refused goes back to where it was written", async () => {
    await load("saved=1&fail=send");
    await openTalk(page, "Bob");
    const box = page.getByRole("textbox", { name: "Write to Bob" });
    await box.fill("do not lose me");
    await box.press("Enter");
    await page.getByRole("alert").filter({ hasText: "on purpose" }).waitFor();
    assert.equal(await box.inputValue(), "do not lose me");
  });

  test("a text that is too long is told so before it is sent", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("textbox", { name: "Write to Bob" }).fill("ä".repeat(20_001));
    await page.getByRole("alert").filter({ hasText: "too long" }).waitFor();
    assert.ok(await page.getByRole("button", { name: "Send" }).isDisabled());
  });

  test("texts are read once they were seen, and a covered one only when it is opened", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("separator", { name: "3 new texts" }).waitFor();
    await page.getByRole("navigation").getByRole("button", { name: /^Bob.* 1 new/ }).waitFor();
    await page.getByRole("button", { name: "Read once" }).click();
    await items(page).filter({ hasText: "4711" }).waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await items(page).filter({ hasText: "4711" }).waitFor({ state: "detached" });
    await page.getByRole("separator", { name: /new texts/ }).waitFor();
    await openTalk(page, "Amélie");
    await openTalk(page, "Bob");
    assert.equal(await page.getByRole("separator").count(), 0);
  });

  test("a new text below what is seen is not read, and does not move what is seen", async () => {
    await load("saved=1&long=300");
    await openTalk(page, "Long");
    await log(page).evaluate((box) => (box.scrollTop = box.scrollHeight / 2));
    await page.getByRole("button", { name: "To the newest text" }).waitFor();
    const top = await log(page).evaluate((box) => box.scrollTop);
    await say(page, "Long", "down here");
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor();
    await page.waitForTimeout(1500);
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor();
    assert.equal(await log(page).evaluate((box) => box.scrollTop), top);
    await page.getByRole("button", { name: "To the newest text" }).click();
    await page.getByRole("navigation").getByRole("button", { name: /^Long.*1 new/ }).waitFor({ state: "detached" });
  });

  test("what burns counts down, and can be seen longer", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "Read once" }).click();
    await page.getByText(/gone in \d+ s/).waitFor();
    await page.getByRole("button", { name: "30 s more" }).click();
    await page.getByText(/gone in [34]\d s/).waitFor();
  });

  test("screen readers hear new texts of the other side once, and nothing else of the log", async () => {
    await load("saved=1&long=200&pace=100");
    await openTalk(page, "Long");
    await say(page, "Long", "spoken");
    await items(page).filter({ hasText: "spoken" }).waitFor();
    await page.getByRole("textbox", { name: "Write to Long" }).fill("mine");
    await page.keyboard.press("Enter");
    await items(page).filter({ hasText: "mine" }).filter({ hasText: "read" }).waitFor();
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
    assert.equal(await page.getByText("spoken", { exact: true }).count(), 1 + (await page.getByRole("navigation").getByText("spoken", { exact: true }).count()));
  });

  test("of 5,000 texts a few are in the document, and the place is kept while older ones come", async () => {
    await load("saved=1&long=5000");
    await openTalk(page, "Long");
    await page.getByText(/^5000: /).first().waitFor();
    let drawn = 0;
    for (let step = 0; step < 30; step++) {
      await log(page).evaluate((box) => (box.scrollTop -= 900));
      await page.waitForTimeout(30);
      drawn = Math.max(drawn, await items(page).count());
    }
    assert.ok(drawn < 250, `${drawn} texts are drawn`);
    const seen = await page.evaluate(() => {
      const edge = document.querySelector("[role=log]")?.getBoundingClientRect().top ?? 0;
      const first = [...document.querySelectorAll("[role=listitem]")].find((one) => one.getBoundingClientRect().top > edge + 50);
      return first?.querySelector(".text")?.textContent ?? "";
    });
    const top = await topOf(page, seen);
    await page.waitForTimeout(500);
    assert.equal(await topOf(page, seen), top);
    assert.ok(Number(seen.split(":")[0]) < 4800, `only at ${seen}`);
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
    await tools.send("HeapProfiler.collectGarbage");
    const { usedSize } = await tools.send("Runtime.getHeapUsage");
    process.stdout.write(`# ${frames} frames of ${(cost * 1000).toFixed(2)} ms, ${(usedSize / 1e6).toFixed(1)} MB\n`);
    assert.ok(frames > texts / 10 && cost < 1 / 60, `${frames} frames of ${cost * 1000} ms`);
    assert.ok(usedSize < 10e6 + 10e3 * texts, `${usedSize} bytes`);
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

  test("an invitation is asked about, and leaves the address", async () => {
    await load("saved=1#c=ph1abcdefghijkl&n=Carol");
    await page.getByRole("dialog", { name: "Add this contact?" }).waitFor();
    assert.equal(new URL(page.url()).hash, "");
    assert.equal(await page.getByRole("navigation").getByText("Carol").count(), 0);
    await page.getByRole("button", { name: "Add", exact: true }).click();
    await page.getByRole("textbox", { name: "Write to Carol" }).waitFor();
  });

  test("a link does not rename somebody who has a name here", async () => {
    await load("saved=1#c=Bob%2B/=&n=Mallory");
    const dialog = page.getByRole("dialog", { name: "Add this contact?" });
    await dialog.getByText("Mallory").waitFor();
    assert.equal(await dialog.getByRole("textbox", { name: "What you call them" }).inputValue(), "Bob");
  });

  test("an invitation survives the first run", async () => {
    await load("scene=first-run#c=ph1abcdefghijkl&n=Carol");
    await page.getByRole("textbox", { name: "Your name" }).fill("Alice");
    await page.getByRole("textbox", { name: "Passphrase" }).fill("seven green bottles");
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByRole("dialog", { name: "Add this contact?" }).waitFor();
  });

  test("a notice says once whom it is about", async () => {
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    for (const text of ["Bob could not read 1 of your messages; it is being sent again", "the disk is full"]) {
      await page.evaluate((notice) => {
        new BroadcastChannel("fake").postMessage({ update: { kind: "warning", peer: "Bob+/=", notice } });
      }, { code: text.slice(0, 5), text });
    }
    await page.getByText("Bob: The disk is full.").waitFor();
    const told = await page.getByRole("alert").getByRole("paragraph").allInnerTexts();
    assert.deepEqual(told, ["Bob could not read 1 of your messages; it is being sent again.", "Bob: The disk is full."]);
  });

  test("a short outage is not worth a word, a longer one is told with the next try in seconds", async () => {
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    const away = (ago: number) =>
      page.evaluate((since) => {
        const connection = { state: "offline", reason: "", since: Date.now() - since, nextTryAt: Date.now() + 20_000, waiting: 2 };
        new BroadcastChannel("fake").postMessage({ update: { kind: "connection", connection } });
      }, ago);
    await away(0);
    await page.waitForTimeout(700);
    assert.equal(await page.getByText("No connection.").count(), 0);
    await away(3000);
    await page.getByText(/Next try in (1\d|20) s/).waitFor();
    await page.getByText("2 texts are waiting here.").waitFor();
    await page.getByRole("button", { name: "Try now" }).click();
    await page.getByText("No connection.").waitFor({ state: "detached" });
  });

  test("a flood of texts is one tone a second", async () => {
    await page.addInitScript(() => {
      localStorage.setItem("phantom:look", JSON.stringify({ sound: true }));
      const heard = { tones: 0, now: 5000 };
      performance.now = () => heard.now;
      Object.assign(window, {
        heard,
        OscillatorNode: class extends OscillatorNode {
          override start(when?: number): void {
            heard.tones += 1 / 2; // a tone is two
            super.start(when);
          }
        },
      });
    });
    type Hearing = Window & { heard: { tones: number; now: number } };
    const tones = () => page.evaluate(() => (window as unknown as Hearing).heard.tones);
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    for (const [now, most] of [[5000, 1], [5999, 1], [6001, 2], [7000, 2], [9000, 3]] as const) {
      await page.evaluate((set) => void ((window as unknown as Hearing).heard.now = set), now);
      for (let times = 0; times < 10; times += 1) await say(page, "Bob", `flood ${now} ${times}`);
      await page.getByRole("navigation").getByRole("button", { name: new RegExp(`^Bob.*flood ${now} 9`) }).waitFor();
      await page.waitForFunction((least) => (window as unknown as Hearing).heard.tones >= least, most);
      assert.equal(await tones(), most, `at ${now}`);
    }
  });

  test("who was replaced by another device can use it here again", async () => {
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    await page.evaluate(() => {
      const reason = "the same identity logged in elsewhere";
      const connection = { state: "replaced", reason, since: Date.now() - 9000, nextTryAt: null, waiting: 0 };
      new BroadcastChannel("fake").postMessage({ update: { kind: "connection", connection } });
    });
    await page.getByText("The same identity logged in elsewhere.").waitFor();
    assert.equal(await page.getByText(/Trying|Next try/).count(), 0);
    await page.getByRole("button", { name: "Use it here" }).click();
    await page.getByText("No connection.").waitFor({ state: "detached" });
  });

  test("a text of the other side with the id of one of one's own stands beside it, and uncovers nothing there", async () => {
    await load("saved=1&pace=60000");
    await openTalk(page, "Bob");
    await page.getByRole("textbox", { name: "Write to Bob" }).fill("I agree");
    await page.keyboard.press("Enter");
    const own = items(page).filter({ hasText: "I agree" });
    await own.waitFor();
    const id = await own.getAttribute("data-id");
    const put = (changed: object) =>
      page.evaluate((one) => {
        const update = { kind: "items", peer: "Bob+/=", items: [one], incoming: [] };
        new BroadcastChannel("fake").postMessage({ update });
      }, changed);
    await put({ ...item("Bob+/=", 9_001, { text: "I do not agree" }), id });
    await items(page).filter({ hasText: "I do not agree" }).waitFor();
    assert.deepEqual(await items(page).filter({ hasText: /agree/ }).locator(".text").allTextContents(), ["I agree", "I do not agree"]);
    await page.getByRole("button", { name: "Read once" }).click();
    const uncovered = items(page).filter({ hasText: "4711" });
    await uncovered.waitFor();
    await put({ ...item("Bob+/=", 9_002, { isMine: true, text: "my own" }), id: await uncovered.getAttribute("data-id") });
    await items(page).filter({ hasText: "my own" }).waitFor();
    assert.equal(await uncovered.count(), 1);
  });

  test("another tab can be taken over, and deleted keys are never replaced without a word", async () => {
    await load("scene=elsewhere");
    await page.getByRole("button", { name: "Use it here" }).click();
    await page.getByRole("navigation", { name: "Conversations" }).waitFor();
    await load("scene=evicted");
    await page.getByRole("button", { name: "Start over" }).click();
    await page.getByText("You will get a new ID").waitFor();
    await page.getByRole("button", { name: "Start over with a new ID" }).click();
    await page.getByRole("heading", { name: /^Phantom at/ }).waitFor();
  });

  test("after a wrong passphrase, one is told so where one was, and what was typed is there", async () => {
    await load("scene=locked");
    const box = page.getByRole("textbox", { name: "Passphrase" });
    await box.fill("wrong");
    await box.press("Enter");
    await page.getByRole("alert").filter({ hasText: "This is not the passphrase" }).waitFor();
    assert.equal(await box.inputValue(), "wrong");
    assert.ok(await box.evaluate((element) => element === document.activeElement));
    await box.fill("correct horse");
    await box.press("Enter");
    await page.getByRole("navigation", { name: "Conversations" }).waitFor();
  });

  test("nothing of a profile stays on the page when it is locked", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Lock now" }).click();
    await page.getByRole("heading", { name: /^Welcome back/ }).waitFor();
    assert.equal(await page.getByText("Did you get the keys").count(), 0);
    assert.equal(await page.getByText("Bob").count(), 0);
  });

  test("in the settings, the passphrase is changed, and one chooses to stay signed in", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "Settings" }).click();
    const stay = page.getByRole("checkbox", { name: "Stay signed in" });
    assert.equal(await stay.isChecked(), false);
    await stay.click();
    assert.equal(await stay.isChecked(), true);
    await page.getByRole("button", { name: "Change passphrase" }).click();
    const [now, next] = ["Passphrase now", "New passphrase"].map((name) => page.getByRole("textbox", { name }));
    await now?.fill("wrong");
    await next?.fill("seven green bottles");
    await next?.press("Enter");
    await page.getByRole("alert").filter({ hasText: "This is not the passphrase" }).waitFor();
    await now?.fill("correct horse");
    await now?.press("Enter");
    await page.getByText("Your passphrase is changed.").waitFor();
  });

  test("a backup is a file of the browser", async () => {
    await load("");
    await page.getByRole("button", { name: "Save a backup" }).click();
    await page.getByRole("dialog").getByRole("textbox", { name: "Passphrase" }).fill("seven green bottles");
    const download = page.waitForEvent("download");
    await page.getByRole("dialog").getByRole("button", { name: "Save a backup" }).click();
    assert.match((await download).suggestedFilename(), /^phantom-\d{4}-\d\d-\d\d\.backup$/);
    await page.getByRole("heading", { name: "The backup is saved" }).waitFor();
  });

  test("the browser itself forbids the page to make code or elements from strings", async () => {
    await load("");
    await page.getByRole("navigation").waitFor();
    const refused = await page.evaluate(() => {
      const tries = [
        () => (document.body.innerHTML = "<b>x</b>"),
        () => new Worker("assets/other.js"),
        () => (window as unknown as { trustedTypes: { createPolicy(name: string, rules: object): unknown } }).trustedTypes.createPolicy("other", {}),
      ];
      return tries.map((attempt) => {
        try {
          attempt();
          return "allowed";
        } catch {
          return "refused";
        }
      });
    });
    assert.deepEqual(refused, ["refused", "refused", "refused"]);
  });

  test("on a phone, 'back' leads from a conversation to the list", async () => {
    await page.setViewportSize({ width: 360, height: 640 });
    await load("saved=1");
    await openTalk(page, "Bob");
    assert.ok(await page.getByRole("navigation").isHidden());
    await page.goBack();
    await page.getByRole("navigation").waitFor();
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "Back to the list" }).click();
    await page.getByRole("navigation").waitFor();
  });
});
