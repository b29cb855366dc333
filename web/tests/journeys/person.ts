/** Somebody with a browser, who does what people do: by the names that a screen reader reads out. */
import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";

export const PASSPHRASE = "seven green bottles";

/** Somebody at the page. */
export class Person {
  readonly name: string;
  readonly context: BrowserContext;
  page: Page;
  /** What the page has complained about: errors, and what its policy forbids. */
  readonly faults: string[] = [];

  private constructor(name: string, context: BrowserContext, page: Page) {
    this.name = name;
    this.context = context;
    this.page = page;
    this.watch(page);
  }

  /** A new browser profile, at the page. */
  static async at(browser: Browser, url: string, name: string): Promise<Person> {
    const context = await browser.newContext({ acceptDownloads: true });
    const page = await context.newPage();
    const person = new Person(name, context, page);
    await page.goto(url);
    return person;
  }

  /** The same, who has begun. */
  static async started(browser: Browser, url: string, name: string): Promise<Person> {
    const person = await Person.at(browser, url, name);
    await person.start();
    return person;
  }

  watch(page: Page): void {
    page.setDefaultTimeout(240_000);
    // What a line that is cut leads to is no fault of the page.
    const isOfTheLine = (text: string) => /WebSocket connection to|ERR_CONNECTION|ERR_EMPTY_RESPONSE/.test(text);
    page.on("console", (message) => message.type() === "error" && !isOfTheLine(message.text()) && this.faults.push(message.text()));
    page.on("pageerror", (error) => this.faults.push(String(error)));
  }

  box(name: string): Locator {
    return this.page.getByRole("textbox", { name, exact: true });
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: typeof name === "string" });
  }

  heading(name: string | RegExp): Locator {
    return this.page.getByRole("heading", { name });
  }

  list(): Locator {
    return this.page.getByRole("navigation", { name: "Conversations" });
  }

  /** First run. */
  async start(): Promise<void> {
    await this.box("Your name").fill(this.name);
    await this.box("Passphrase").fill(PASSPHRASE);
    await this.button("Start").click();
    await this.list().waitFor();
  }

  /** First run of somebody with another device; the line that this one shows. */
  async begunAsDevice(device: string): Promise<string> {
    await this.button("I have another device").click();
    await this.box("Your name").fill(this.name);
    await this.box("Passphrase").fill(PASSPHRASE);
    await this.box("What this device is called").fill(device);
    await this.button("Show the code").click();
    return this.page.getByRole("dialog").getByText(/^phantom:link/).innerText();
  }

  async yourDevices(): Promise<void> {
    await this.button("Settings").click();
    await this.button("Your devices").click();
    await this.heading("Your devices").waitFor();
  }

  async unlock(): Promise<void> {
    await this.box("Passphrase").fill(PASSPHRASE);
    await this.button("Unlock").click();
    await this.list().waitFor();
  }

  /** One's id and link, as one would copy them. */
  async me(): Promise<{ readonly id: string; readonly link: string }> {
    await this.button(/my ID and link/).click();
    const described = this.page.getByRole("dialog").locator("dd");
    await described.filter({ hasText: "ph1" }).first().waitFor();
    const texts = await described.allTextContents();
    await this.page.keyboard.press("Escape");
    const id = texts.find((text) => text.startsWith("ph1"));
    const link = texts.find((text) => text.startsWith("http"));
    assert.ok(id !== undefined && link !== undefined, String(texts));
    return { id, link };
  }

  async add(who: string, name: string): Promise<void> {
    await this.button("New conversation").click();
    await this.box("Contact ID or link").fill(who);
    await this.box("What you call them").fill(name);
    await this.button("Add").click();
    await this.box(`Write to ${name}`).waitFor();
  }

  async open(name: string): Promise<void> {
    await this.list().getByRole("button", { name: new RegExp(name) }).first().click();
    await this.page.getByRole("log").waitFor();
  }

  async write(name: string, text: string): Promise<void> {
    await this.box(`Write to ${name}`).fill(text);
    await this.button("Send").click();
  }

  /** The text in the conversation that is open. */
  text(text: string): Locator {
    return this.page.getByRole("log").getByRole("listitem").filter({ hasText: text });
  }

  async sees(text: string): Promise<void> {
    await this.text(text).first().waitFor();
  }

  /** Waits until a text of one's own has come so far, or further. */
  async marked(text: string, ...marks: readonly string[]): Promise<void> {
    const mark = this.page.getByText(new RegExp(`^(${marks.join("|")})$`));
    await this.text(text).filter({ has: mark }).first().waitFor();
  }

  async backup(): Promise<string> {
    await this.button("Settings").click();
    await this.page.getByRole("dialog").getByRole("button", { name: "Save a backup" }).click();
    await this.box("Passphrase").fill(PASSPHRASE);
    const saved = this.page.waitForEvent("download");
    await this.page.getByRole("dialog").getByRole("button", { name: "Save a backup" }).click();
    const file = join(await mkdtemp(join(tmpdir(), "phantom-backup-")), "saved");
    await (await saved).saveAs(file);
    await this.button("Done").click();
    return file;
  }

  async restore(file: string): Promise<void> {
    await this.page.getByLabel("Backup file").setInputFiles(file);
    await this.box("Passphrase of the file").fill(PASSPHRASE);
    await this.box("Your name").fill(this.name);
    await this.box("New passphrase for this browser").fill(PASSPHRASE);
    await this.button("Restore").click();
    await this.list().waitFor();
  }

  async leave(): Promise<void> {
    await this.context.close();
    assert.deepEqual(this.faults, []);
  }
}
