// Groups: what is said, who may do what, and what one has to decide, in a real Chromium with the made worker.
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { Page } from "playwright-core";
import type { GroupPerson } from "../../groups_api.ts";
import { SKIP } from "./browser.ts";
import { group, inGroup } from "./fake_groups.ts";
import { item, writtenId } from "./fake_people.ts";
import { setScene } from "./scene.ts";
import { openTalk, say } from "./screens.ts";
import { soon } from "./soon.ts";

describe("groups", { skip: SKIP }, () => {
  const scene = setScene();
  const { focus, items, load, resize, update } = scene;
  let page: Page;
  beforeEach(() => {
    ({ page } = scene);
  });

  const list = () => page.getByRole("navigation", { name: "Conversations" });
  const dialog = () => page.getByRole("dialog");
  const button = (name: string | RegExp) => page.getByRole("button", { name, exact: typeof name === "string" });
  const event = (text: string) => page.locator(".item.event").filter({ hasText: text });
  const families = "group:Family+/=";

  async function about(name: string): Promise<void> {
    await openTalk(page, name);
    await button("Members and settings").click();
    await dialog().waitFor();
  }

  test("a group is made, written in and looked at by keyboard alone", async () => {
    const keys = page.keyboard;
    const reach = async (role: "button" | "textbox" | "checkbox", name: string | RegExp) => {
      const open = (await dialog().count()) > 0 ? dialog() : page; // what is below cannot be reached
      const goal = open.getByRole(role, { name, exact: typeof name === "string" });
      await goal.first().waitFor();
      for (let tabs = 0; tabs < 60; tabs++) {
        if (await goal.first().evaluate((element) => element === document.activeElement)) return;
        await keys.press("Tab");
      }
      assert.fail(`${String(name)} cannot be reached`);
    };
    await load("saved=1&groups&pace=50");
    await reach("button", "New group");
    await keys.press("Enter");
    await focus("dialog[open] input[type=text]");
    await keys.type("Sunday walks");
    await reach("checkbox", "Amélie");
    await keys.press("Space");
    await reach("checkbox", "Dave");
    await keys.press("Space");
    await page.getByText("2 people chosen").waitFor();
    await reach("textbox", "What members can call you (optional)");
    await keys.type("Ali");
    await reach("button", "Create group");
    await keys.press("Enter");
    await focus("#composer");
    await event("You created the group").waitFor();
    await keys.type("Ten o’clock?");
    await keys.press("Enter");
    await items().filter({ hasText: "Ten o’clock?" }).waitFor();
    await reach("button", "Members and settings");
    await keys.press("Enter");
    await dialog().getByRole("heading", { name: "3 members" }).waitFor();
    const called = dialog().getByRole("textbox", { name: "What members can call you (optional)" });
    await soon(async () => assert.equal(await called.inputValue(), "Ali"));
    await reach("button", /^Dave/);
    await keys.press("Enter");
    await dialog().getByText("has not accepted yet").waitFor();
    await keys.press("Escape");
    await page.locator("dialog").waitFor({ state: "detached" });
  });

  test("who wrote is said once for what stands together, and what has happened is a sentence of its own", async () => {
    await load("saved=1&groups");
    await openTalk(page, "Family");
    await items().filter({ hasText: "I have six." }).waitFor();
    const names = async () => (await page.locator(".author").allInnerTexts()).map((name) => name.replace(/\s*:\s*$/, ""));
    await soon(async () => assert.deepEqual((await names()).slice(-3), ["Amélie", "ليلى حداد", "Bob"]));
    assert.equal(await page.locator(".item.event .bubble").count(), 0);
    await event("You added Σοφία").waitFor();
    const heard = items().filter({ hasText: "And the dog comes" }).locator(".sr").first();
    await soon(async () => assert.equal(await heard.textContent(), "Amélie: "));
  });

  test("what has happened is not counted among the new texts", async () => {
    await load("saved=1&groups");
    const bob = inGroup("Bob", "Bob");
    const author = { author: bob, copies: null };
    const told = [
      item(families, 100, { text: "one", isUnread: true, at: Date.now(), group: author }),
      item(families, 101, { kind: "event", text: "Bob is an admin now", at: Date.now(), group: author }),
    ];
    await openTalk(page, "Family");
    await page.getByRole("separator", { name: "2 new texts" }).waitFor();
    await update({ kind: "items", peer: families, items: told, incoming: [] });
    await event("Bob is an admin now").waitFor();
    await page.getByRole("separator", { name: "3 new texts" }).waitFor();
  });

  test("how far a text has come is said with numbers, and who they are on request", async () => {
    await load("saved=1&groups&pace=50");
    await openTalk(page, "Family");
    await page.getByRole("textbox", { name: "Write to Family" }).fill("Bring a coat");
    await page.keyboard.press("Enter");
    const mine = items().filter({ hasText: "Bring a coat" });
    await mine.getByRole("button", { name: "read by 3 of 3" }).click();
    await dialog().getByRole("listitem").filter({ hasText: "Amélie" }).filter({ hasText: "delivered" }).waitFor();
    await dialog().getByRole("listitem").filter({ hasText: "Σοφία" }).filter({ hasText: "sent" }).waitFor();
  });

  test("an invitation is decided on, and looking at it tells nobody", async () => {
    await load("saved=1&groups");
    await list().getByRole("button", { name: /Weekend.*Bob has invited you/ }).click();
    await page.getByText("Until then they learn nothing.").waitFor();
    assert.equal(await page.getByRole("textbox", { name: /^Write to/ }).count(), 0);
    await button("Not now").click();
    await list().getByRole("button", { name: /Weekend.*Bob has invited you/ }).click();
    await button("Accept").click();
    await page.getByRole("textbox", { name: "Write to Weekend" }).waitFor();
    await event("You accepted the invitation").waitFor();
  });

  test("an invitation of a stranger says what accepting means, and can be declined", async () => {
    await load("saved=1&groups");
    await page.getByRole("heading", { name: "2 invitations to groups" }).waitFor();
    await list().getByRole("button", { name: /^Old school/ }).click();
    await page.getByText("Somebody you have not added invites you.").waitFor();
    await resize(320, 640);
    await soon(async () => {
      const [who, below] = await Promise.all([page.locator(".invites").boundingBox(), page.locator(".decide").boundingBox()]);
      assert.ok(who !== null && below !== null && who.y + who.height <= below.y, "on a small phone it is seen who invites");
    });
    await resize(1000, 700);
    await button("Decline").click();
    await page.getByRole("heading", { name: "1 invitation to a group" }).waitFor();
    await list().getByText("Old school").waitFor({ state: "detached" });
  });

  test("a new invitation of a contact is heard, and stands above the conversations", async () => {
    await load("saved=1");
    await list().getByText("Bob").waitFor();
    await update({ kind: "groups", changed: [group("Weekend", { relation: "invited", inviter: inGroup("Bob", "Bob") })], removed: [] });
    await page.getByRole("heading", { name: "1 invitation to a group" }).waitFor();
    await page.getByRole("status").filter({ hasText: "You are invited to Weekend" }).waitFor({ state: "attached" });
    await list().getByRole("button", { name: /Weekend.*Bob has invited you/ }).waitFor();
  });

  test("a stranger's request says to which group it invites, and whom one knows there", async () => {
    await load("saved=1&groups");
    await openTalk(page, writtenId("Ines").slice(0, 9));
    await page.getByText("An invitation to the group Chess evenings, with 12 members. You know Bob, Amélie.").waitFor();
    await page.getByText("you decide about the group after that").waitFor();
  });

  test("a stranger's request says that they write in a group that one has not joined, if so", async () => {
    await load("saved=1&groups&fellow");
    const note = page.getByText("They are writing in a group that you have not joined.");
    await openTalk(page, writtenId("Uwe").slice(0, 9));
    await note.waitFor();
    await page.getByText("If you block them, you will not see what they write in groups.").waitFor();
    await page.getByText("Someone you have not added wrote to you.").waitFor();
    await page.getByRole("button", { name: "Not now" }).click();
    await openTalk(page, writtenId("Ines").slice(0, 9));
    await page.getByText("Someone you have not added invites you.").waitFor();
    assert.equal(await note.count(), 0, "the control");
  });

  test("an admin names others, removes members and sets the rules", async () => {
    await load("saved=1&groups");
    await about("Family");
    await dialog().getByRole("button", { name: /^Amélie/ }).click();
    await button("Make an admin").click();
    await dialog().getByRole("button", { name: /^Amélie\s*admin/ }).click();
    await button("Remove").click();
    await page.getByRole("heading", { name: "Remove Amélie?" }).waitFor();
    await dialog().getByText("nothing written in “Family” is encrypted for Amélie.").waitFor();
    await button("Remove").click();
    await dialog().getByRole("heading", { name: "4 members" }).waitFor();
    await dialog().getByRole("group", { name: "Who can write" }).getByRole("radio", { name: "Admins" }).check({ force: true });
    await dialog().getByRole("radio", { name: "1 day" }).check();
    await dialog().getByRole("textbox", { name: "Name of the group" }).fill("The family");
    await button("Save name").click();
    await dialog().getByRole("heading", { name: "The family" }).waitFor();
    await page.keyboard.press("Escape");
    for (const text of ["Amélie is an admin now", "You removed Amélie", "You changed who can do what", "You changed how long texts last", "You named the group The family"]) {
      await event(text).waitFor();
    }
    await page.getByText("Disappears after 1 day").waitFor();
  });

  test("a member sees the rules and can change none of them", async () => {
    await load("saved=1&groups");
    await about("Book club");
    await dialog().getByText("Admins decide this.").waitFor();
    await soon(async () => assert.equal(await dialog().getByRole("textbox").count(), 1, "the own name, and nothing of the group's"));
    assert.equal(await dialog().getByRole("radio").count(), 0);
    await dialog().getByText(/^~Mia M\. \(ph1/).waitFor();
    const saidId = dialog().locator(".said-id").first();
    await soon(async () => assert.match(await saidId.innerText(), /^\(ph1\S+\)$/, "nobody writes an id into a name"));
    const own = dialog().getByRole("textbox", { name: "What members can call you (optional)" });
    await own.fill("Ali");
    await button("Save").click();
    await button("Save").waitFor({ state: "detached" });
    await soon(async () => assert.equal(await own.inputValue(), "Ali"));
    for (const name of ["Add people", "Invite by a link", "Close for everybody …"]) assert.equal(await button(name).count(), 0, name);
    await dialog().getByRole("button", { name: /^Bob/ }).click();
    await button("Write to them").waitFor();
    for (const name of ["Make an admin", "Remove"]) assert.equal(await button(name).count(), 0, name);
  });

  test("on a further device its user is told where groups are changed", async () => {
    const said = (part: string) => dialog().locator(".part", { hasText: part }).getByText("Groups are changed on your first device.");
    for (const [query, times] of [["devices=2&linked=1", 1], ["devices=2", 0]] as const) {
      await load(`saved=1&groups&${query}`);
      await list().getByText("Family").waitFor();
      const none = { mayInvite: false, mayChange: false, mayLeave: false };
      await update({ kind: "groups", changed: [group("Family", none)], removed: [] });
      await about("Family");
      await dialog().getByText(times > 0 ? "Groups are changed" : "You are the only admin.").first().waitFor();
      await soon(async () => {
        for (const part of ["5 members", "Who can write", "Leave"]) assert.equal(await said(part).count(), times, part);
        assert.equal(await dialog().getByText("Admins decide this.").count(), 1 - times);
        assert.equal(await dialog().getByText("You are the only admin.").count(), 1 - times);
      });
    }
  });

  test("a time that cannot be chosen here is named exactly", async () => {
    await load("saved=1&groups");
    await list().getByText("Book club").waitFor();
    await about("Book club");
    for (const [expiresIn, word] of [[10_000, "10 seconds"], [90_000, "90 seconds"], [129_600_000, "36 hours"], [604_800_000, "1 week"]] as const) {
      await update({ kind: "groups", changed: [group("Book club", { role: "member", expiresIn })], removed: [] });
      await dialog().locator(".facts").getByText(word, { exact: true }).waitFor();
    }
  });

  test("the only admin is told what there is to do before leaving", async () => {
    await load("saved=1&groups");
    await list().getByText("Family").waitFor();
    await update({ kind: "groups", changed: [group("Family", { mayLeave: false })], removed: [] });
    await openTalk(page, "Family");
    await button("More").click();
    await button("Leave").click();
    await dialog().getByText("You are the only admin.").waitFor();
    assert.equal(await button("Leave …").count(), 0);
    await button("Close for everybody …").click();
    await button("Close the group").click();
    await page.getByText("This group is closed").waitFor();
    assert.equal(await page.getByRole("textbox", { name: /^Write to/ }).count(), 0);
    await button("Erase …").click();
    await button("Erase").click();
    await list().getByText("Family").waitFor({ state: "detached" });
  });

  test("a link is made, and none of them works any more once they are ended", async () => {
    await load("saved=1&groups");
    await about("Family");
    await button("Invite by a link").click();
    await dialog().getByRole("group", { name: "How many people can use it" }).getByRole("radio", { name: "10 people" }).check({ force: true });
    await button("Make a link").click();
    await dialog().getByText(/#g=phantom%3Ajoin%3F/).waitFor();
    await dialog().getByText(/^Works for 10 people, until (\d+ \w+|\w+ \d+), /).waitFor();
    await button("End all links").click();
    await button("Make a link").waitFor();
    await button("End all links").waitFor({ state: "detached" });
  });

  test("a link to a group asks before it joins, whether it is opened or typed, and leaves the address", async () => {
    await load("saved=1&groups#g=phantom%3Ajoin%3Frelay%3Dr%26token%3Dabc");
    await page.getByRole("heading", { name: "Join this group?" }).waitFor();
    await soon(async () => assert.equal(new URL(page.url()).hash, ""));
    await page.getByRole("textbox", { name: "What members can call you (optional)" }).fill("Ali");
    await button("Ask to join").click();
    await page.getByRole("status").filter({ hasText: "has been asked" }).waitFor();
    const [admin, other] = [inGroup("ليلى حداد", "ليلى حداد"), inGroup("Bob", "Bob")];
    await update({ kind: "groups", changed: [group("Another", { inviter: other })], removed: [] });
    await list().getByText("Another").waitFor();
    await page.getByRole("heading", { name: "You have asked to join" }).waitFor();
    await update({ kind: "groups", changed: [group("Sailing", { inviter: admin })], removed: [] });
    await page.getByRole("heading", { name: "You are in the group" }).waitFor();
    await button("Open it").click();
    await page.getByRole("heading", { name: "Sailing" }).waitFor();
    await button("New conversation").click();
    await page.getByRole("textbox", { name: "Contact ID or link" }).fill("phantom:join?relay=r&x=1");
    await button("Add").click();
    await button("Ask to join").click();
    await page.getByRole("alert").filter({ hasText: "This link is not whole." }).waitFor();
    const refuse = (peer: string) => update({ kind: "warning", peer, notice: { code: "link-refused", text: `${peer} says no` } });
    await button("Not now").click();
    await refuse(admin.peer); // an earlier link of theirs
    await page.getByText(`${admin.peer} says no`).waitFor();
    await button("New conversation").click();
    await page.getByRole("textbox", { name: "Contact ID or link" }).fill("phantom:join?relay=r&token=x");
    await button("Add").click();
    await button("Ask to join").click();
    await refuse(other.peer);
    await page.getByText(`${other.peer} says no`).waitFor();
    await page.getByRole("heading", { name: "You have asked to join" }).waitFor();
    await refuse(admin.peer);
    await page.getByRole("heading", { name: "You were not let in" }).waitFor();
    await dialog().getByText(`${admin.peer} says no`).waitFor();
    const notice = page.locator(".warning").filter({ hasText: `${admin.peer} says no` });
    await soon(async () => assert.equal(await notice.count(), 0, "once, and no notice besides"));
    assert.equal(await page.locator(".warning").filter({ hasText: `${other.peer} says no` }).count(), 1, "the control");
  });

  test("who opens a link of somebody in whose groups they are, or are invited to, is led there", async () => {
    await load("saved=1&groups");
    await list().getByText("Family").waitFor(); // what is told before the worker listens is lost
    const admin = inGroup("ليلى حداد", "ليلى حداد", { role: "admin" });
    const members = [{ ...admin, role: "member" as const }, inGroup("Bob", "Bob", { role: "admin" })];
    const others = [group("Chess", { members }), group("Past", { relation: "left", members: [admin] })];
    const invited = group("Jazz", { relation: "invited", inviter: members[1] ?? null, members: [admin] });
    await update({ kind: "groups", changed: [...others, invited], removed: [] });
    await list().getByText("Jazz").waitFor();
    const join = async () => {
      await button("New conversation").click();
      await page.getByRole("textbox", { name: /^contact id or link$/i }).fill("phantom:join?relay=r&token=x");
      await button("Add").click();
      await button("Ask to join").click();
      await page.getByRole("heading", { name: "You have asked to join" }).waitFor();
    };
    await join();
    await button("Open Family").waitFor();
    assert.equal(await dialog().getByRole("button", { name: /Chess|Past/ }).count(), 0, "the control");
    await button("See the invitation to Jazz").click();
    await page.getByRole("heading", { name: "Jazz" }).waitFor();
    await button("Accept").waitFor();
    await dialog().waitFor({ state: "detached" });
    await join();
    await button("Open Family").click();
    await page.getByRole("textbox", { name: /^Write to Family/ }).waitFor();
  });

  test("who is invited by the link, as it leads back into no group by itself, is shown the invitation", async () => {
    await load("saved=1&groups");
    await list().getByText("Family").waitFor(); // what is told before the worker listens is lost
    const [admin, other] = [inGroup("ليلى حداد", "ليلى حداد"), inGroup("Bob", "Bob")];
    const invitation = (name: string, inviter: GroupPerson) => group(name, { relation: "invited", inviter, wasNoAdmin: true });
    await update({ kind: "groups", changed: [invitation("Earlier", admin), group("Chess", { relation: "left" })], removed: [] });
    await list().getByText("Earlier").waitFor();
    await button("New conversation").click();
    await page.getByRole("textbox", { name: /^contact id or link$/i }).fill("phantom:join?relay=r&token=x");
    await button("Add").click();
    await button("Ask to join").click();
    await page.getByRole("heading", { name: "You have asked to join" }).waitFor();
    const earlier = { ...invitation("Earlier", admin), revision: 8 };
    await update({ kind: "groups", changed: [earlier, invitation("Of Bob", other)], removed: [] });
    await list().getByText("Of Bob").waitFor();
    assert.equal(await page.getByRole("heading", { name: "You have asked to join" }).count(), 1, "the control");
    await update({ kind: "groups", changed: [invitation("Chess", admin)], removed: [] });
    await page.getByRole("heading", { name: "You are invited" }).waitFor();
    await dialog().getByRole("status").filter({ hasText: /invites you to “Chess”\. You are in it once you accept\./ }).waitFor();
    await button("See the invitation").click();
    await page.getByText("was no admin then").waitFor();
    await dialog().waitFor({ state: "detached" });
    await page.getByRole("heading", { name: "Chess" }).waitFor();
    await button("Accept").waitFor();
  });

  test("a group with two histories says so plainly, and sends nothing until one goes on", async () => {
    await load("saved=1&groups");
    await openTalk(page, "House");
    const alert = page.getByRole("alert").filter({ hasText: "Bob has a different history of this group than you." });
    await alert.waitFor();
    await page.waitForFunction(() => /^(\d{5}){4}$/.test(document.querySelector(".number.four")?.textContent ?? ""));
    const other = alert.locator("div", { has: page.getByRole("term").filter({ hasText: "Bob" }) }).last();
    await other.getByRole("list", { name: "Digits of the other history" }).waitFor();
    await soon(async () => {
      const [own, theirs] = await alert.getByRole("list").allTextContents();
      assert.match(theirs ?? "", /^(\d{5}){4}$/);
      assert.notEqual(own, theirs);
    });
    assert.equal(await page.getByRole("textbox", { name: /^Write to/ }).count(), 0);
    await button("Go on with these members").click();
    await page.getByRole("textbox", { name: "Write to House" }).waitFor();
    await alert.waitFor({ state: "detached" });
  });

  test("a muted group is counted in the list, and nowhere else", async () => {
    await load("saved=1&groups");
    await list().getByRole("button", { name: /Book club\s*, group\s*, muted.*1 new/ }).waitFor();
    await soon(async () => assert.match(await page.title(), /^\(\d+\) Phantom$/));
    const before = await page.title();
    await say(page, "Book club", "psst");
    await list().getByRole("button", { name: /Book club.*2 new/ }).waitFor();
    assert.equal(await page.title(), before);
    assert.equal(await page.getByText("1 new text in Book club").count(), 0);
    await say(page, "Family", "hello");
    await page.getByText("1 new text in Family").waitFor();
    await soon(async () => assert.notEqual(await page.title(), before));
    await page.keyboard.press("Alt+u");
    await page.getByRole("textbox", { name: /^Write to (Bob|Family)/ }).waitFor();
  });

  test("a picture is made small before it is sent, and one that is too large is not shown", async () => {
    await load("saved=1&groups");
    await about("Family");
    await dialog().getByLabel("Picture").setInputFiles({ name: "big.png", mimeType: "image/png", buffer: await page.screenshot() });
    const shown = dialog().locator(".avatar.many img");
    await shown.waitFor();
    await soon(async () => {
      const [width, height] = await shown.evaluate((image) => [(image as HTMLImageElement).naturalWidth, (image as HTMLImageElement).naturalHeight]);
      assert.ok(width === height && width > 0 && width <= 96, `${width} by ${height} pixels`);
    });
    await button("Remove the picture").click();
    await shown.waitFor({ state: "detached" });
    await page.keyboard.press("Escape");
    const huge = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 4, 1, 0, 0, 0, 9]);
    await update({ kind: "groups", changed: [group("Family", { picture: { type: "image/png", data: huge, name: "huge" }, revision: 99 })], removed: [] });
    await update({ kind: "groups", changed: [group("Later")], removed: [] });
    await list().getByText("Later").waitFor();
    await soon(async () => assert.equal(await list().locator(".avatar.many img").count(), 1)); // that of another group
  });

  test("a group has a name of 128 bytes, and one that is too long is said to be, and not cut", async () => {
    await load("saved=1&groups");
    const box = page.getByRole("textbox", { name: "Name of the group" });
    const said = dialog().getByText("This name is too long.");
    await button("New group").click();
    for (const most of ["x".repeat(128), "ä".repeat(64)]) {
      await box.fill(`${most}y`);
      await said.waitFor();
      await soon(async () => assert.equal(await box.inputValue(), `${most}y`));
      await soon(async () => assert.ok(await button("Create group").isDisabled()));
      await box.fill(most);
      await said.waitFor({ state: "detached" });
      await soon(async () => assert.ok(await button("Create group").isEnabled()));
    }
    await button("Create group").click();
    await page.getByRole("heading", { name: "ä".repeat(64) }).waitFor();
    await button("Members and settings").click();
    await box.fill("x".repeat(129));
    await said.waitFor();
    await soon(async () => assert.ok(await button("Save name").isDisabled()));
    await box.fill("x".repeat(128));
    await button("Save name").click();
    await dialog().getByRole("heading", { name: "x".repeat(128) }).waitFor();
  });

  test("that a picture was refused is no longer said once the group is renamed", async () => {
    await load("saved=1&groups");
    await about("Family");
    const refused = dialog().getByText("This browser cannot read the picture.");
    await dialog().getByLabel("Picture").setInputFiles({ name: "a.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await refused.waitFor();
    await dialog().getByRole("textbox", { name: "Name of the group" }).fill("The family");
    assert.equal(await refused.count(), 1, "the control");
    await button("Save name").click();
    await dialog().getByRole("heading", { name: "The family" }).waitFor();
    await refused.waitFor({ state: "detached" });
  });

  test("nothing of a group stays on the page when it is locked", async () => {
    await load("saved=1&groups");
    await openTalk(page, "Family");
    await items().filter({ hasText: "I have six." }).waitFor();
    await button("Settings").click();
    await button("Lock now").click();
    await page.getByRole("heading", { name: /^Welcome back/ }).waitFor();
    await soon(async () => assert.equal(await page.getByText("Family").count(), 0));
  });
});
