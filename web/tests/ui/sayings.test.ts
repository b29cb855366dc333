// What the page says, hints at and holds back, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { SKIP } from "./browser.ts";
import { setScene } from "./scene.ts";
import { openTalk, say } from "./screens.ts";
import { soon } from "./soon.ts";

describe("the page says", { skip: SKIP }, () => {
  const scene = setScene();
  const { load, resize, update } = scene;
  let page: Page;
  let context: BrowserContext;
  beforeEach(() => {
    ({ page, context } = scene);
  });

  test("an invitation is not lost while the profile is locked", async () => {
    await load("scene=locked#c=ph1abcdefghijkl&n=Carol");
    await page.getByText("gave you a link to start a conversation").waitFor();
  });

  test("a link of another page is spoken of, and can be added", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "New conversation" }).click();
    const box = page.getByRole("textbox", { name: "Contact ID or link" });
    const hint = page.getByRole("dialog").getByRole("status").filter({ hasText: "both use the same relay" });
    await box.fill(`${new URL("/", page.url()).href}#c=ph1abcdefghijkl`);
    assert.equal(await hint.count(), 0);
    await box.fill("https://other.example/#c=ph1abcdefghijkl");
    await hint.filter({ hasText: "other.example" }).waitFor();
    assert.equal(await page.getByRole("button", { name: "Add" }).isEnabled(), true);
  });

  test("that something is no link is no longer said once something else is entered", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "New conversation" }).click();
    const box = page.getByRole("textbox", { name: "Contact ID or link" });
    const refused = page.getByRole("dialog").getByText("This is neither an id nor a link.");
    await box.fill("nobody");
    await page.getByRole("button", { name: "Add" }).click();
    await refused.waitFor();
    await page.getByRole("textbox", { name: "What you call them" }).fill("Carol");
    assert.equal(await refused.count(), 1, "the control");
    await box.fill("ph1abcdefghijkl");
    await refused.waitFor({ state: "detached" });
  });

  test("the settings say in a sentence whether the browser keeps what is stored", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "Settings", exact: true }).click();
    const said = page.getByRole("dialog").locator("dt", { hasText: "Your data" }).locator("xpath=following-sibling::dd[1]");
    const me = { name: "Alice", userId: "Alice+/=", writtenId: "ph1alice", link: "", relay: "", backupAt: Date.now(), staysSignedIn: false };
    for (const [isKept, words] of [
      [true, "This browser has promised to keep it."],
      [false, "This browser may delete it when space runs low: save a backup."],
      [null, "This browser has not been asked yet to keep it."],
    ] as const) {
      await soon(async () => {
        await update({ kind: "me", me: { ...me, isKept } }); // again: the page may still be told of itself by what it was loaded with
        assert.equal(await said.textContent(), words);
      });
    }
  });

  test("who has no conversation yet is shown the way to their link, on a phone too, and once", async () => {
    await load("scene=empty");
    for (const width of [390, 1000]) {
      await resize(width, 700);
      const shown = page.getByRole("button", { name: "Show my link" });
      await shown.click();
      await page.getByRole("heading", { name: "My ID and link" }).waitFor();
      await page.keyboard.press("Escape");
      await page.locator("dialog").waitFor({ state: "detached" });
    }
    await load("saved=1");
    await resize(390, 700);
    await page.getByRole("navigation").getByText("Bob").waitFor();
    assert.equal(await page.getByRole("button", { name: "Show my link" }).count(), 0, "the control");
  });

  test("a preview shows the author and the beginning of their id, and leaves room for the text", async () => {
    await load("saved=1&groups");
    await resize(360, 700);
    const preview = page.getByRole("navigation").getByRole("button", { name: /^Book club/ }).locator(".preview");
    const author = preview.locator(".draft");
    await soon(async () => {
      assert.match(await author.innerText(), /^~Mia M\. \(ph1\w{4}…\):$/);
      const [all, who] = await Promise.all([preview.boundingBox(), author.boundingBox()]);
      assert.ok((who?.width ?? Infinity) < 0.72 * (all?.width ?? 0), `${who?.width} of ${all?.width} pixels`);
    });
    await openTalk(page, "Book club");
    const own = () => page.locator(".author").first().innerText();
    await soon(async () => assert.match(await own(), /^~Mia M\. \(ph1\w{8}…\)/, "where there is room, more of it"));
  });

  test("what is said of a text that burns is true with receipts and without", async () => {
    await load("saved=1");
    const covered = page.getByRole("button", { name: "Read once" }).locator("small");
    await openTalk(page, "Bob");
    await soon(async () => assert.equal(await covered.textContent(), "It is then erased on both sides."));
    await page.getByRole("button", { name: "Settings" }).click();
    const receipts = page.getByRole("checkbox", { name: "Show when I have read a text" });
    await page.getByText("If this is off, a text that burns is still erased here, but its sender keeps it.").waitFor();
    await receipts.uncheck();
    await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    await soon(async () => assert.equal(await covered.textContent(), "It is then erased here; its sender keeps it."));
  });

  for (const [query, isLinked, said] of [
    ["devices=3&linked=1", true, "Your other devices keep theirs, and you stay who you are."],
    ["devices=3", false, "Your other devices go on as you, and without this one nobody can remove them"],
    ["devices=1", false, "can no longer reach you under this ID"],
  ] as const) {
    test(`what can be done and what is deleted is said for each device as it is: ${query}`, async () => {
      await load(`saved=1&groups&${query}`);
      await openTalk(page, "Family");
      await page.getByRole("button", { name: "Members and settings" }).click();
      await page.getByRole("dialog").getByRole("checkbox", { name: "Mute" }).waitFor();
      const called = page.getByRole("textbox", { name: "What members can call you (optional)" });
      await called.waitFor({ state: isLinked ? "detached" : "visible" });
      await page.getByRole("dialog").getByRole("button", { name: "Close", exact: true }).click();
      await page.getByRole("button", { name: "Settings", exact: true }).click();
      await page.getByRole("button", { name: "Delete account" }).click();
      await page.getByText(said).waitFor();
    });
  }

  for (const [query, said] of [
    ["devices=3&linked=1", "There are no earlier texts on this device."],
    ["devices=3&linked=1&history=1", "There are no earlier texts on this device yet."],
    ["devices=3", "This is where it begins."],
    ["devices=0", "This is where it begins."],
  ] as const) {
    test(`a conversation begins on a further device with what that has: ${query}`, async () => {
      await load(`saved=1&groups&${query}`);
      for (const [name, who] of [["Amélie", "the two of you"], ["Choir", "those who are in the group"]] as const) {
        await openTalk(page, name);
        const log = page.getByRole("log", { name: `Texts with ${name}` });
        await log.getByText(`${said} Only ${who} can read what is said here.`, { exact: true }).waitFor();
      }
    });
  }

  test("the settings say in words how the connection is", async () => {
    await load("saved=1");
    await page.getByRole("button", { name: "Settings", exact: true }).click();
    const said = page.getByRole("dialog").locator("dt", { hasText: "Connection" }).locator("xpath=following-sibling::dd[1]");
    await soon(async () => assert.equal(await said.textContent(), "Connected. "));
    for (const [state, reason, words] of [
      ["offline", "the relay does not answer", "Not connected. The relay does not answer."],
      ["replaced", "the same identity logged in elsewhere", "In use elsewhere. The same identity logged in elsewhere."],
      ["refused", "the account is gone", "The relay does not let you in. The account is gone."],
      ["connecting", "", "Connecting …"],
    ] as const) {
      const connection = { state, reason, since: Date.now(), nextTryAt: null, waiting: 0 };
      await update({ kind: "connection", connection });
      await said.getByText(words, { exact: true }).waitFor();
    }
  });

  test("how somebody is, in the head of a conversation, takes two lines at most, beside the list too", async () => {
    await load("saved=1");
    await openTalk(page, "ليلى");
    const lines = page.locator(".head .who p").filter({ hasText: /last seen \d/ });
    const dot = () =>
      lines.evaluate((all) => {
        const [first, second] = [...all.children].map((one) => one.getBoundingClientRect());
        const isBelow = (second?.top ?? 0) >= (first?.bottom ?? 0) - 1;
        return [isBelow, (second?.left ?? 0) > all.getBoundingClientRect().left];
      });
    for (const width of [320, 719, 720, 768, 899, 900, 1100]) {
      await resize(width, 700);
      await soon(async () => {
        const height = (await lines.boundingBox())?.height ?? 0;
        assert.ok(height > 0 && height < 48, `${height} pixels at ${width}`);
        const [isBelow, isBeside] = await dot();
        assert.notEqual(isBelow, isBeside, `the dot stands between the two, or is cut off at the edge, at ${width}`);
      });
    }
  });

  test("a very long text has a 'Show all' instead of growing for ever", async () => {
    await load("saved=1");
    await openTalk(page, "Bob");
    await say(page, "Bob", Array.from({ length: 39_000 / 2 }, (_, line) => (line % 1_000 === 0 ? `${line}` : "")).join("\n"));
    const bubble = page.getByRole("log").getByRole("listitem").last();
    const whole = bubble.getByRole("button", { name: "Show all" });
    await whole.waitFor();
    const height = async () => (await bubble.boundingBox())?.height ?? 0;
    const before = await height();
    assert.ok(before < 1_500, `${before} pixels`);
    await whole.click();
    await bubble.getByText("19000").waitFor();
    await soon(async () => assert.ok((await height()) > 100_000));
    await bubble.getByRole("button", { name: "Show less" }).click();
    await whole.waitFor();
    await soon(async () => assert.equal(await height(), before));
  });

  test("in the background a text is told as its user wants it, and never one that burns", async () => {
    await context.grantPermissions(["notifications"]);
    await page.addInitScript(() => {
      const told: (readonly [string, string | undefined])[] = [];
      const Real = Notification;
      // The browser's own, and a list of what it was given: without a desktop nothing is seen, or even allowed.
      window.Notification = class extends Real {
        static override readonly permission = "granted";
        constructor(title: string, options?: NotificationOptions) {
          super(title, options);
          told.push([title, options?.body]);
        }
      };
      const isSeen = () => sessionStorage.getItem("away") === null;
      document.hasFocus = isSeen;
      Object.assign(window, { told });
    });
    const away = (is: boolean) => page.evaluate((now) => (now ? sessionStorage.setItem("away", "") : sessionStorage.removeItem("away")), is);
    const choose = async (name: string) => {
      await page.getByRole("button", { name: "Settings" }).click();
      await page.getByRole("radio", { name, exact: true }).check();
      await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
    };
    // One after the other: the count in the list shows that a text has come.
    const count = page.getByRole("navigation").getByRole("button", { name: "Bob" }).locator(".count");
    let unread = 3;
    const hears = async (text: string, isBurning = false) => {
      await say(page, "Bob", text, isBurning);
      unread += 1;
      await count.filter({ hasText: `${unread}` }).waitFor();
    };
    await load("saved=1");
    await page.getByRole("navigation").waitFor();
    await away(true);
    await hears("nobody has asked for it");
    await choose("The name");
    await hears("a secret");
    await away(false);
    await hears("it is seen anyway");
    await away(true);
    await choose("Name and text");
    await hears("lunch?");
    await hears("burns", true);
    const heard = () => page.evaluate(() => (window as unknown as { told: readonly unknown[] }).told);
    let told = await heard();
    for (let looks = 0; looks < 200 && told.length < 3; looks++) {
      await page.waitForTimeout(50);
      told = await heard();
    }
    assert.deepEqual(told, [["Bob", "New message"], ["Bob", "lunch?"], ["Bob", "New message"]]);
    assert.match(await page.title(), /^\(\d+\) Phantom$/);
  });
});
