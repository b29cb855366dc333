// People with browsers at a real relay, which serves them the page: what they do, and what they see. Only with
// PHANTOM_RELAY, the relay's URL; PHANTOM_CLI, a JSON list, is the command line, for journeys with it; PHANTOM_JOURNEYS=regexp
// picks some; PHANTOM_PAGE is the page's address if not the relay serves it.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test, type TestContext } from "node:test";
import { promisify } from "node:util";
import type { Browser } from "playwright-core";
import { launched, SKIP } from "../ui/browser.ts";
import { soon } from "../ui/soon.ts";
import { type Line, openLine } from "./line.ts";
import { PASSPHRASE, Person } from "./person.ts";

const relay = process.env["PHANTOM_RELAY"];
const cli = JSON.parse(process.env["PHANTOM_CLI"] ?? "[]") as readonly string[];
const wanted = new RegExp(process.env["PHANTOM_JOURNEYS"] ?? "");

/** Runs the command line, while browsers go on. */
async function phantom(...args: readonly string[]): Promise<string> {
  const [program = "", ...first] = cli;
  return (await promisify(execFile)(program, [...first, ...args], { encoding: "utf8", timeout: 120_000 })).stdout;
}

function journey(name: string, act: (context: TestContext) => Promise<void>): void {
  if (wanted.test(name)) test(name, act);
}

describe("journeys", { skip: relay === undefined ? "no relay is given" : SKIP }, () => {
  let browser: Browser;
  let line: Line;
  let url: string;

  before(async () => {
    line = await openLine(new URL((relay ?? "").replace(/^ws/, "http")));
    url = process.env["PHANTOM_PAGE"] ?? `http://${line.host}/`;
    browser = await launched("--host-resolver-rules=MAP relay.test 127.0.0.1");
  });
  after(async () => {
    await browser.close();
    await line.close();
  });

  /** Two people who know each other, each with the other's conversation open. */
  async function pair(): Promise<readonly [Person, Person]> {
    const alice = await Person.started(browser, url, "Alice");
    const bob = await Person.started(browser, url, "Bob");
    await alice.add((await bob.me()).link, "Bob");
    await bob.add((await alice.me()).id, "Alice");
    return [alice, bob];
  }

  journey("first run, and the same person after the page was loaded again", async () => {
    const alice = await Person.at(browser, url, "Alice");
    await alice.heading(/^Phantom at 127\.0\.0\.1/).waitFor();
    await alice.page.getByText("This page runs code from").waitFor();
    await alice.start();
    const { id, link } = await alice.me();
    assert.match(link, new RegExp(`^http://${line.host}/#c=`));
    await alice.page.reload();
    await alice.heading("Welcome back, Alice").waitFor();
    await alice.box("Passphrase").fill("not the right one");
    await alice.button("Unlock").click();
    await alice.page.getByRole("alert").filter({ hasText: "the passphrase is wrong" }).waitFor();
    await alice.unlock();
    assert.equal((await alice.me()).id, id);
    await alice.leave();
  });

  journey("two browsers chat, see how far a text has come, and compare", async () => {
    const [alice, bob] = await pair();
    await alice.write("Bob", "Can anybody else read this?");
    await bob.sees("Can anybody else read this?");
    await alice.marked("Can anybody", "read");
    await bob.write("Alice", "שלום, \u{1f44b} only you");
    await alice.sees("only you");
    await bob.marked("only you", "read");
    await alice.button("Compare").first().click();
    await alice.page.getByRole("list", { name: "Safety number" }).waitFor();
    const digits = await alice.page.getByRole("list", { name: "Safety number" }).innerText();
    await bob.button("Compare").first().click();
    await soon(async () => assert.equal(await bob.page.getByRole("list", { name: "Safety number" }).innerText(), digits));
    await alice.button("They match").click();
    await alice.list().getByRole("button", { name: /Bob\s*, verified/ }).waitFor();
    await Promise.all([alice.leave(), bob.leave()]);
  });

  journey("a link asks before it adds anybody; a stranger waits to be let in", async () => {
    const alice = await Person.started(browser, url, "Alice");
    const { link } = await alice.me();
    const carol = await Person.at(browser, link, "Carol");
    await carol.start();
    await carol.heading("Add this contact?").waitFor();
    assert.ok(!carol.page.url().includes("#"), "the link does not stay in the history");
    await carol.box("What you call them").fill("Alice");
    await carol.button("Add").click();
    await carol.write("Alice", "It is me");
    await carol.marked("It is me", "sent");
    await alice.list().getByRole("button", { name: /Wants to write to you/ }).click();
    await alice.sees("It is me");
    await carol.marked("It is me", "sent");
    await alice.box("What you call them").fill("Carol");
    await alice.button("Accept").click();
    await alice.box("Write to Carol").waitFor();
    await carol.marked("It is me", "delivered", "read");
    await Promise.all([alice.leave(), carol.leave()]);
  });

  journey("a browser and the command line write to each other", async (context) => {
    if (cli.length === 0) return context.skip("no command line is given");
    const alice = await Person.started(browser, url, "Alice");
    const { id } = await alice.me();
    await phantom("init", "-p", "bob", "--server", `ws://${line.host}/ws`);
    const bob = (await phantom("id", "-p", "bob")).trim();
    await phantom("contacts", "add", "-p", "bob", "alice", id);
    await alice.add(bob, "Bob");
    await phantom("send", "-p", "bob", "alice", "From the command line", "--wait", "delivered");
    await alice.sees("From the command line");
    await alice.write("Bob", "From the browser");
    await alice.marked("From the browser", "sent");
    assert.match(await phantom("listen", "-p", "bob", "--count", "1"), /From the browser/);
    await alice.marked("From the browser", "read");
    await alice.leave();
  });

  journey("what is written without a connection waits on disk, and goes when there is one", async () => {
    const [alice, bob] = await pair();
    await alice.write("Bob", "before");
    await bob.sees("before");
    line.cut();
    try {
      await alice.write("Bob", "one");
      await alice.marked("one", "waiting");
      await alice.write("Bob", "two");
      await alice.page.getByText("No connection.").waitFor();
      await alice.page.reload();
      await alice.unlock();
      await alice.open("Bob");
      await alice.marked("two", "waiting");
    } finally {
      line.restore();
    }
    await alice.marked("two", "delivered", "read");
    await soon(async () => {
      const texts = await bob.page.getByRole("log").getByRole("listitem").allInnerTexts();
      const order = texts.map((text) => /\b(before|one|two)\b/.exec(text)?.[1]);
      assert.deepEqual(order, ["before", "one", "two"]);
    });
    await Promise.all([alice.leave(), bob.leave()]);
  });

  journey("a second browser becomes a device of the same person, with what was said before, until it is removed", async () => {
    const [alice, bob] = await pair();
    await alice.write("Bob", "before the laptop");
    await bob.sees("before the laptop");
    await bob.write("Alice", "on one device");
    await alice.sees("on one device");
    const { id } = await alice.me();
    const laptop = await Person.at(browser, url, "Alice");
    const line = await laptop.begunAsDevice("Laptop");
    await alice.yourDevices();
    await alice.button("Link a device").click();
    await alice.box("Code of the new device").fill(line);
    await alice.box("Your passphrase").fill(PASSPHRASE);
    await alice.button("Link it").click();
    await laptop.page.getByText(id).waitFor();
    await alice.box("Six digits").fill(await laptop.page.locator(".digits").innerText());
    await alice.button("Go on").click();
    await alice.page.getByText("The digits are right.").waitFor();
    await laptop.button("Yes, go on").click();
    for (const one of [alice, laptop]) {
      await one.page.getByText(/one of your devices now/).waitFor();
      await one.button("Done").click();
      await one.page.keyboard.press("Escape");
    }
    await laptop.open("Bob");
    await laptop.sees("before the laptop");
    await laptop.sees("on one device");
    await laptop.write("Bob", "from the laptop");
    await bob.sees("from the laptop");
    await alice.sees("from the laptop");
    await bob.write("Alice", "to both");
    for (const one of [alice, laptop]) await one.sees("to both");
    assert.equal((await laptop.me()).id, id);
    await alice.yourDevices();
    await alice.button("Remove Laptop").click();
    await alice.button("Remove it").click();
    await laptop.heading("This device was removed").waitFor();
    await laptop.page.reload();
    await laptop.heading(/^Phantom at/).waitFor();
    await Promise.all([alice.leave(), laptop.leave(), bob.leave()]);
  });

  journey("one tab at a time, and the profile goes where it is wanted", async () => {
    const [alice, bob] = await pair();
    const first = alice.page;
    const second = await alice.context.newPage();
    alice.watch(second);
    alice.page = second;
    await second.goto(url);
    const elsewhere = (at: typeof first) => at.getByRole("heading", { name: "Open in another tab" });
    await Promise.race([elsewhere(second).waitFor(), alice.unlock().then(() => elsewhere(second).waitFor())]);
    await alice.button("Use it here").click();
    await elsewhere(first).waitFor();
    await alice.list().waitFor();
    await alice.open("Bob");
    await alice.write("Bob", "from the second tab");
    await bob.sees("from the second tab");
    await Promise.all([alice.leave(), bob.leave()]);
  });

  journey("keys that the browser has deleted are missed, and come back from a backup", async () => {
    const [alice, bob] = await pair();
    await alice.write("Bob", "kept in the backup");
    await bob.sees("kept in the backup");
    const { id } = await alice.me();
    const file = await alice.backup();
    await alice.page.goto("about:blank");
    await alice.page.goto(`${url}manifest.webmanifest`);
    await alice.page.evaluate(async () => {
      for (const { name } of await indexedDB.databases()) {
        await new Promise((done) => (indexedDB.deleteDatabase(name ?? "").onsuccess = done));
      }
    });
    await alice.page.goto(url);
    await alice.heading("This browser has deleted your keys").waitFor();
    await alice.button("Restore a backup").click();
    await alice.restore(file);
    assert.equal((await alice.me()).id, id);
    await alice.open("Bob");
    await alice.sees("kept in the backup");
    await bob.write("Alice", "are you back?");
    await alice.sees("are you back?");
    await alice.write("Bob", "I am");
    await bob.sees("I am");
    await Promise.all([alice.leave(), bob.leave()]);
  });

  journey("a backup opens in another browser, and in the command line", async () => {
    const [alice, bob] = await pair();
    await alice.write("Bob", "from the old browser");
    await bob.sees("from the old browser");
    const { id } = await alice.me();
    const file = await alice.backup();
    await alice.leave();
    const again = await Person.at(browser, url, "Alice");
    await again.button("I have a backup file").click();
    await again.restore(file);
    assert.equal((await again.me()).id, id);
    await again.open("Bob");
    await again.write("Bob", "from the new browser");
    await bob.sees("from the new browser");
    await again.leave();
    if (cli.length > 0) {
      await phantom("import", "-p", "moved", file);
      assert.equal((await phantom("id", "-p", "moved")).trim(), id);
      assert.match(await phantom("history", "-p", "moved", "Bob"), /from the old browser/);
    }
    await bob.leave();
  });

  journey("a text that burns is read once, and then nowhere", async () => {
    const [alice, bob] = await pair();
    await alice.button("Burn after reading").click();
    await alice.write("Bob", "the key is under the mat");
    await alice.marked("the key", "sent", "delivered");
    await bob.button(/^Read once/).click();
    await bob.sees("the key is under the mat");
    await bob.button("Done").click();
    await bob.text("the key").waitFor({ state: "detached" });
    await alice.marked("", "burned");
    await alice.text("the key").waitFor({ state: "detached" });
    await Promise.all([alice.leave(), bob.leave()]);
  });

  journey("three browsers make a group, write in it, and one is removed", async () => {
    const [alice, bob] = await pair();
    const carol = await Person.started(browser, url, "Carol");
    await carol.add((await alice.me()).link, "Alice");
    await alice.add((await carol.me()).id, "Carol");
    await alice.button("New group").click();
    await alice.box("Name of the group").fill("Tea");
    for (const name of ["Bob", "Carol"]) await alice.page.getByRole("checkbox", { name }).check();
    await alice.button("Create group").click();
    await alice.box("Write to Tea").waitFor();
    for (const one of [bob, carol]) {
      await one.list().getByRole("button", { name: /^Tea/ }).click();
      await one.button("Accept").click();
      await one.box("Write to Tea").waitFor();
    }
    await alice.write("Tea", "Four o’clock?");
    await bob.sees("Four o’clock?");
    await carol.sees("Four o’clock?");
    await alice.text("Four o’clock?").getByRole("button", { name: "read by 2 of 2" }).waitFor();
    await carol.write("Tea", "I bring the cake");
    await bob.sees("I bring the cake");
    await alice.text("I bring the cake").getByText("Carol").waitFor();
    await alice.button("Members and settings").click();
    await alice.page.getByRole("dialog").getByRole("button", { name: /^Carol/ }).click();
    await alice.button("Remove").click();
    await alice.button("Remove").click();
    await carol.page.getByText("You were removed from this group.").waitFor();
    await alice.page.keyboard.press("Escape");
    await alice.write("Tea", "Now we are two");
    await bob.sees("Now we are two");
    assert.equal(await carol.text("Now we are two").count(), 0);
    await Promise.all([alice.leave(), bob.leave(), carol.leave()]);
  });

  journey("who stays signed in, locks and leaves the page at once is asked for the passphrase", async () => {
    const alice = await Person.started(browser, url, "Alice");
    await alice.button("Settings").click();
    const stays = alice.page.getByRole("checkbox", { name: "Stay signed in" });
    await stays.click();
    await alice.page.waitForFunction(() => document.querySelector<HTMLInputElement>("dialog input[type=checkbox]")?.checked === true);
    await alice.page.reload();
    await alice.button("Settings").click(); // nothing was asked
    await alice.button("Lock now").evaluate((button) => {
      if (button instanceof HTMLElement) button.click();
      location.reload();
    });
    await alice.heading("Welcome back, Alice").waitFor();
    await alice.leave();
  });

  journey("an address that is not safe gets no keys", async () => {
    const eve = await Person.at(browser, url.replace("127.0.0.1", "relay.test"), "Eve");
    await eve.heading("This address is not safe").waitFor();
    assert.equal(await eve.page.getByRole("textbox").count(), 0);
    await eve.context.close();
  });

  journey("the page is there at once", async (context) => {
    const alice = await Person.at(browser, url, "Alice");
    await alice.box("Your name").waitFor();
    const [paint] = await alice.page.evaluate(() => performance.getEntriesByType("paint").map(({ startTime }) => startTime));
    const loaded = await alice.page.evaluate(() =>
      performance.getEntries().map((entry) => ("encodedBodySize" in entry ? Number(entry.encodedBodySize) : 0)),
    );
    context.diagnostic(`first paint after ${Math.round(paint ?? NaN)} ms, ${loaded.reduce((sum, size) => sum + size, 0)} bytes`);
    await alice.leave();
  });
});
