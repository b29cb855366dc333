// How the page behaves, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { SKIP } from "./browser.ts";
import { item, person, writtenId } from "./fake_people.ts";
import { laidOut, setScene } from "./scene.ts";
import { openTalk, say } from "./screens.ts";
import { soon } from "./soon.ts";

describe("the page", { skip: SKIP }, () => {
  const scene = setScene();
  const { focus, items, load, update } = scene;
  let page: Page;
  beforeEach(() => {
    ({ page } = scene);
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
    await items().filter({ hasText: "one" }).waitFor();
    await soon(async () => assert.equal(await box.inputValue(), ""));
  });

  test("what cannot be drawn is said in its place, and the rest of the page goes on", async () => {
    // No calendar has such a day.
    const never = 9e20;
    const fault = page.getByText("This could not be shown.");
    const text = item("Bob+/=", 1000, { id: "00000000-0000-4000-8000-999999999999", text: "From never", at: never });
    const seen = (lastSeen: number | null) => {
      const bob = person("Bob", { presence: { status: "offline", lastSeen } });
      return update({ kind: "conversations", changed: [bob], removed: [] });
    };
    await load("saved=1");
    await openTalk(page, "Bob");
    await items().filter({ hasText: "And call me when you are there." }).waitFor();

    await update({ kind: "items", peer: "Bob+/=", items: [text], incoming: [] });
    await items().filter({ has: fault }).waitFor();
    await items().filter({ hasText: "And call me when you are there." }).waitFor();
    await update({ kind: "items", peer: "Bob+/=", items: [{ ...text, at: Date.now() }], incoming: [] });
    await items().filter({ hasText: "From never" }).waitFor();
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
    const waiting = items().filter({ hasText: "On my way" });
    await waiting.getByRole("button", { name: "Delete" }).click();
    await items().filter({ hasText: "Erased" }).waitFor();
    await waiting.waitFor({ state: "detached" });
    assert.equal(await items().getByRole("button", { name: "Delete" }).count(), 0);
    await openTalk(page, "Dave");
    await items().filter({ hasText: "Which platform?" }).getByRole("button", { name: "Delete" }).click();
    await items().filter({ hasText: "Erased" }).waitFor();
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
    await soon(async () => assert.equal(await box.inputValue(), "do not lose me"));
  });

  test("a text that is too long is told so before it is sent", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await page.getByRole("textbox", { name: "Write to Bob" }).fill("ä".repeat(20_001));
    await page.getByRole("alert").filter({ hasText: "too long" }).waitFor();
    await soon(async () => assert.ok(await page.getByRole("button", { name: "Send" }).isDisabled()));
  });

  test("an invitation is asked about, and leaves the address", async () => {
    await load("saved=1#c=ph1abcdefghijkl&n=Carol");
    await page.getByRole("dialog", { name: "Add this contact?" }).waitFor();
    await soon(async () => assert.equal(new URL(page.url()).hash, ""));
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
    const told = () => page.getByRole("alert").getByRole("paragraph").allInnerTexts();
    const both = ["Bob could not read 1 of your messages; it is being sent again.", "Bob: The disk is full."];
    await soon(async () => assert.deepEqual(await told(), both));
  });

  test("a short outage is not worth a word, a longer one is told with the next try in seconds", async () => {
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    const away = (ago: number) =>
      page.evaluate((since) => {
        const connection = { state: "offline", reason: "", since: Date.now() - since, nextTryAt: Date.now() + 90_000, waiting: 2 };
        new BroadcastChannel("fake").postMessage({ update: { kind: "connection", connection } });
      }, ago);
    await away(-60_000); // as if it had just begun, for a minute
    await page.waitForTimeout(700);
    assert.equal(await page.getByText("No connection").count(), 0);
    await away(3000);
    await page.locator(".side").getByText(/Next try in [1-9]\d s/).waitFor();
    await page.getByText("2 texts are waiting here.").waitFor();
    await page.getByRole("button", { name: "Try now" }).click();
    await page.getByText("No connection.").waitFor({ state: "detached" });
  });

  for (const [where, width] of [["list", 1000], ["open conversation of a phone", 390]] as const) {
    test(`an outage is shown until it is over, also while it is being tried again: ${where}`, async () => {
      await page.setViewportSize({ width, height: 700 });
      await load("saved=1");
      await openTalk(page, "Bob");
      const since = Date.now() - 60_000;
      const told = (state: string, reason: string, nextTryAt: number | null, at: number) =>
        update({ kind: "connection", connection: { state, reason, since: at, nextTryAt, waiting: 0 } });
      const shown = page.locator(width < 720 ? ".outage p" : ".side .banner").filter({ hasText: "No connection" });
      const next = shown.getByText(/Trying|Next try/);
      const button = shown.getByRole("button", { name: "Try now" });
      await told("offline", "the relay does not answer", Date.now() + 60_000, since);
      await next.filter({ hasText: /Next try in \d+ s/ }).waitFor();
      await laidOut(page, width, 700);
      const [before, place] = [await shown.boundingBox(), await button.boundingBox()];
      assert.ok(place !== null && place.x >= 0 && place.x + place.width <= width, "the button is in sight");
      if (width < 720) assert.ok((before?.height ?? 99) < 50, "one line");
      // A moment without it counts, too.
      await page.evaluate((selector) => {
        const seen = Object.assign(window, { gone: 0 });
        new MutationObserver(() => {
          if (!(document.querySelector(selector)?.textContent ?? "").includes("No connection")) seen.gone += 1;
        }).observe(document.body, { subtree: true, childList: true, characterData: true });
      }, width < 720 ? ".outage" : ".side");
      const gone = () => page.evaluate(() => (window as unknown as { gone: number }).gone);
      await told("connecting", "", null, Date.now());
      await next.filter({ hasText: "Trying …" }).waitFor();
      assert.deepEqual([await shown.boundingBox(), await button.boundingBox()], [before, place], "nothing jumps");
      if (width >= 720) await shown.getByText("The relay does not answer.").waitFor();
      await told("offline", "the relay does not answer", Date.now() + 60_000, Date.now());
      await next.filter({ hasText: /Next try in \d+ s/ }).waitFor();
      assert.equal(await gone(), 0);
      await told("online", "", null, Date.now());
      await shown.waitFor({ state: "detached" });
      await soon(async () => assert.ok((await gone()) > 0, "the control"));
      await told("connecting", "", null, Date.now() + 60_000); // a new outage, which has only just begun
      await page.waitForTimeout(700);
      assert.equal(await shown.count(), 0);
    });
  }

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
    const own = items().filter({ hasText: "I agree" });
    await own.waitFor();
    const id = await own.getAttribute("data-id");
    const put = (changed: object) =>
      page.evaluate((one) => {
        const update = { kind: "items", peer: "Bob+/=", items: [one], incoming: [] };
        new BroadcastChannel("fake").postMessage({ update });
      }, changed);
    await put({ ...item("Bob+/=", 9_001, { text: "I do not agree" }), id });
    const said = () => items().filter({ hasText: /agree/ }).locator(".text").allTextContents();
    await soon(async () => assert.deepEqual(await said(), ["I agree", "I do not agree"]));
    await page.getByRole("button", { name: "Read once" }).click();
    const uncovered = items().filter({ hasText: "4711" });
    await uncovered.getByRole("button", { name: "30 s more" }).click(); // time enough for a busy browser
    await put({ ...item("Bob+/=", 9_002, { isMine: true, text: "my own" }), id: await uncovered.getAttribute("data-id") });
    await items().filter({ hasText: "my own" }).waitFor();
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
    await soon(async () => assert.equal(await box.inputValue(), "wrong"));
    await focus("input[type=password]");
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
    for (const text of ["Did you get the keys", "Bob"]) await soon(async () => assert.equal(await page.getByText(text).count(), 0));
  });

  test("who leaves the page while it is being locked finds it locked", async () => {
    await load("saved=1&never=lock");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Lock now" }).click();
    await page.reload();
    await page.getByRole("heading", { name: /^Welcome back/ }).waitFor();
    // And only then: what comes after is no business of it.
    await page.reload();
    await page.getByRole("navigation", { name: "Conversations" }).waitFor();
  });

  test("in the settings, the passphrase is changed, and one chooses to stay signed in", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "Settings" }).click();
    const stay = page.getByRole("checkbox", { name: "Stay signed in" });
    assert.equal(await stay.isChecked(), false);
    await stay.click();
    await soon(async () => assert.equal(await stay.isChecked(), true));
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

  test("who has another device sees its code at once, with what to do on either kind of first device", async () => {
    await load("scene=first-run&patient=1");
    await page.getByRole("button", { name: "I have another device" }).click();
    await page.getByText("Whoever has your link sees it, nobody else.").waitFor();
    await page.getByRole("textbox", { name: "Your name" }).fill("Alice");
    await page.getByRole("textbox", { name: "What this device is called" }).fill("Laptop");
    await page.getByRole("textbox", { name: "Passphrase" }).fill("seven green bottles");
    await page.getByRole("button", { name: "Show the code" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText(/^phantom:link\?/).waitFor();
    await dialog.getByText("phantom devices link '…'").waitFor();
    await dialog.getByRole("button", { name: "Copy the command" }).waitFor();
    assert.equal(await dialog.getByRole("button", { name: /^(Show the code|Link a device)$/ }).count(), 0);
  });

  test("on a device that nothing was done with, linking this one to another is what stands out", async () => {
    const prominent = page.getByRole("dialog").locator("button.primary");
    for (const [scene, name] of [["scene=empty", "Show the code"], ["devices=2", "Link a device"]] as const) {
      await load(scene);
      await page.getByRole("button", { name: "Settings" }).click();
      await page.getByRole("button", { name: "Your devices" }).click();
      await page.getByRole("dialog").getByRole("button", { name }).waitFor();
      await soon(async () => assert.deepEqual(await prominent.allTextContents(), [name]));
    }
  });

  test("a further device does not remind of a backup, for another one is linked in its place; the first one does", async () => {
    const reminder = page.getByText("Your keys exist only in this browser");
    const note = page.getByRole("dialog").getByText("This browser is one of your further devices.");
    for (const [query, isFirst] of [["devices=2&linked=1", false], ["devices=2", true]] as const) {
      await load(query);
      await page.getByRole("navigation", { name: "Conversations" }).waitFor();
      await reminder.waitFor({ state: isFirst ? "visible" : "detached" });
      await page.getByRole("button", { name: "Settings" }).click();
      await page.getByRole("button", { name: "Save a backup" }).click();
      await page.getByRole("dialog").getByRole("textbox", { name: "Passphrase" }).waitFor();
      await note.waitFor({ state: isFirst ? "detached" : "visible" });
    }
  });

  test("whoever links a device sees the ID that it asks about, until it is linked", async () => {
    await load("devices=2");
    const own = page.getByRole("dialog").getByText(writtenId("Alice"), { exact: true });
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Your devices" }).click();
    await page.getByRole("button", { name: "Link a device" }).click();
    await page.getByRole("textbox", { name: "Code of the new device" }).fill("phantom:link?v=1");
    await page.getByRole("textbox", { name: "Your passphrase" }).fill("correct horse");
    assert.equal(await own.count(), 0);
    await page.getByRole("button", { name: "Link it" }).click();
    await page.getByRole("textbox", { name: "Six digits" }).waitFor();
    await own.waitFor();
    const typed = { devices: [], isFirst: true, isUnused: false, isRestored: false, history: null };
    await update({ kind: "devices", state: { ...typed, linking: { at: "confirmed", name: "Laptop" } } });
    await page.getByText("The digits are right.").waitFor();
    await own.waitFor();
    await update({ kind: "devices", state: { ...typed, linking: { at: "linked", name: "Laptop" } } });
    await page.getByText("one of your devices now").waitFor();
    await own.waitFor({ state: "detached" });
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
});
