// What the keyboard does, and where it does it, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { SKIP } from "./browser.ts";
import { setScene } from "./scene.ts";
import { openTalk } from "./screens.ts";
import { soon } from "./soon.ts";

describe("keys", { skip: SKIP }, () => {
  const scene = setScene();
  const { focus, items, load } = scene;
  let page: Page;
  const log = () => page.getByRole("log");
  beforeEach(() => {
    ({ page } = scene);
  });

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
    await reach("textbox", "Contact ID or link");
    await keys.type("ph1abcdefghijkl");
    await reach("textbox", "What you call them");
    await keys.type("Carol");
    await keys.press("Enter");
    await focus('[aria-label="Write to Carol"]');
    await keys.type("Good morning");
    await keys.press("Enter");
    await items().filter({ hasText: "Good morning" }).filter({ hasText: "read" }).waitFor();
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
    await focus("#composer");
    await log().focus();
    await page.keyboard.press("h");
    await soon(async () => assert.equal(await page.getByRole("textbox", { name: "Write to Bob" }).inputValue(), "h"));
    await page.keyboard.press("F1");
    await page.getByRole("dialog", { name: "Keyboard shortcuts" }).waitFor();
  });

  /** Waits until something is in the document, and says whether it had the focus at that very moment. */
  async function begins(selector: string, key: string): Promise<boolean> {
    await page.evaluate((sought) => {
      const seen = new Promise<boolean>((done) => {
        setTimeout(() => done(false), 100_000);
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
      await soon(async () => assert.ok(await button.evaluate((element) => element === document.activeElement), String(close)));
    }
  });

  test("on a phone, 'back' leads from a conversation to the list", async () => {
    await page.setViewportSize({ width: 360, height: 640 });
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.locator("nav").waitFor({ state: "hidden" });
    await page.goBack();
    await page.getByRole("navigation").waitFor();
    await openTalk(page, "Bob");
    await page.getByRole("button", { name: "Back to the list" }).click();
    await page.getByRole("navigation").waitFor();
  });

  /** Presses keys so fast that the page draws what each does, and is not seen in between. */
  const pressAtOnce = (...keys: readonly { readonly code: string; readonly altKey?: boolean; readonly ctrlKey?: boolean }[]) =>
    page.evaluate(async (pressed) => {
      for (const key of pressed) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { ...key, bubbles: true, cancelable: true }));
        for (let turns = 0; turns < 50; turns++) await Promise.resolve();
      }
      const heads = [...document.querySelectorAll("main h2")].map(({ textContent }) => textContent);
      const frame = () => new Promise(requestAnimationFrame);
      await frame();
      await frame();
      await new Promise((done) => setTimeout(done, 100)); // what is done after a picture is done
      return heads;
    }, keys);
  const up = { code: "ArrowUp", altKey: true };
  const down = { code: "ArrowDown", altKey: true };
  const find = { code: "KeyF", ctrlKey: true };
  const finder = () => page.getByRole("searchbox", { name: "Search in this conversation" });

  test("a search that is begun as soon as another conversation is open is one of that conversation", async () => {
    await load("saved=1");
    await openTalk(page, "Amélie");
    await page.keyboard.press("Control+f");
    await finder().waitFor(); // its part of the page is loaded
    await page.keyboard.press("Escape");
    assert.deepEqual(await pressAtOnce(down, find), ["Bob"]);
    await finder().waitFor();
    await finder().fill("the");
    await page.getByText(/^1 of/).waitFor();
    assert.deepEqual(await pressAtOnce(find, up), ["Amélie"]);
    await finder().waitFor({ state: "detached" });
  });

  test("a search that is begun before its part of the page is loaded appears with it", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((done) => (release = done));
    await page.route(/panels\./, (route) => held.then(() => route.continue()));
    await load("saved=1");
    await openTalk(page, "Amélie");
    assert.deepEqual(await pressAtOnce(down, find), ["Bob"]);
    assert.equal(await finder().count(), 0);
    release();
    await focus("[type=search][aria-label='Search in this conversation']");
  });

  test("what was being written is there for whoever is back before it was stored", async () => {
    await load("saved=1&never=draft");
    await openTalk(page, "Bob");
    await page.getByRole("textbox", { name: "Write to Bob" }).fill("half a thou");
    await pressAtOnce(up, down);
    await soon(async () => assert.equal(await page.getByRole("textbox", { name: "Write to Bob" }).inputValue(), "half a thou"));
  });
});
