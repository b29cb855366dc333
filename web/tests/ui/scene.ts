/** The set-up of tests in a browser: each has a page of its own, in which nothing may go wrong. */
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import type { BrowserContext, Locator, Page } from "playwright-core";
import { noonZone, openStage, type Stage } from "./browser.ts";

/** What a test acts on: the page of the test that runs. */
export interface Scene {
  readonly context: BrowserContext;
  readonly page: Page;
  /** Opens the page with what the made worker is to play. */
  load(query: string): Promise<void>;
  /** Waits until something has the focus: a busy browser moves it a little later. */
  focus(selector: string): Promise<void>;
  /** Gives the window another size, and waits until the page is laid out for it. */
  resize(width: number, height: number): Promise<void>;
  /** The texts of the open conversation. */
  items(): Locator;
  /** Lets the made worker tell something. */
  update(update: object): Promise<void>;
}

/** Waits until the page is laid out for a window of this size: a busy browser learns of it a little later. */
export async function laidOut(page: Page, width: number, height: number): Promise<void> {
  await page.waitForFunction(([across, down]) => innerWidth === across && innerHeight === down, [width, height] as const);
  await page.evaluate(async () => {
    for (let frames = 0; frames < 2; frames++) await new Promise(requestAnimationFrame);
  });
}

/** Sets the scene for the tests of a `describe`. */
export function setScene(): Scene {
  let stage: Stage;
  let context: BrowserContext;
  let page: Page;
  let faults: string[];
  before(async () => {
    stage = await openStage();
  });
  after(() => stage.close());
  beforeEach(async () => {
    context = await stage.browser.newContext({ viewport: { width: 1000, height: 700 }, timezoneId: noonZone() });
    page = await context.newPage();
    page.setDefaultTimeout(120_000);
    faults = [];
    page.on("pageerror", (error) => faults.push(String(error)));
  });
  afterEach(async () => {
    await context.close();
    assert.deepEqual(faults, []);
  });
  return {
    get context() {
      return context;
    },
    get page() {
      return page;
    },
    async load(query) {
      await page.goto(`${stage.url}?${query}`);
    },
    focus: (selector) => page.locator(`${selector}:focus`).waitFor(),
    async resize(width, height) {
      await page.setViewportSize({ width, height });
      await laidOut(page, width, height);
    },
    items: () => page.getByRole("log").getByRole("listitem"),
    update: (update) => page.evaluate((one) => new BroadcastChannel("fake").postMessage({ update: one }), update),
  };
}
