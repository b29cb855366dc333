/** Every screen: which made story leads to it, and what one does to see it. */
import type { Page } from "playwright-core";
import { writtenId } from "./fake_people.ts";

export interface Screen {
  readonly name: string;
  readonly query: string;
  /** Something to wait for, and to do. */
  act(page: Page): Promise<unknown>;
}

const heading = (name: string | RegExp) => (page: Page) => page.getByRole("heading", { name, level: 1 }).waitFor();
const press = (page: Page, name: string | RegExp) => page.getByRole("button", { name, exact: typeof name === "string" }).click();

/** Opens a conversation of the list. */
export async function openTalk(page: Page, name: string): Promise<void> {
  await page.getByRole("navigation").getByRole("button", { name }).first().click();
  await page.getByRole("log").waitFor();
}

/** Lets somebody write. */
export async function say(page: Page, name: string, text: string, burns = false): Promise<void> {
  await page.evaluate((command) => new BroadcastChannel("fake").postMessage(command), { say: name, text, burns });
}

async function inMenu(page: Page, entry: string): Promise<void> {
  await openTalk(page, "Bob");
  await press(page, "More");
  await press(page, entry);
}

/** Opens "Your devices". */
async function yourDevices(page: Page): Promise<void> {
  await press(page, "Settings");
  await press(page, "Your devices");
  await page.getByRole("heading", { name: "Your devices", level: 2 }).waitFor();
  await page.getByRole("button", { name: /Link a device|Show the code|Close/ }).last().waitFor();
}

/** Opens an invitation of the list. */
async function openGroup(page: Page, name: string): Promise<void> {
  await page.getByRole("navigation").getByRole("button", { name }).click();
  await page.getByRole("region", { name: "Who is in it" }).waitFor();
}

async function aboutGroup(page: Page, name: string): Promise<void> {
  await openTalk(page, name);
  await press(page, "Members and settings");
  await page.getByRole("dialog").getByRole("list", { name: "Digits of the group" }).waitFor();
}

const list = (page: Page) => page.getByRole("navigation", { name: "Conversations" }).waitFor();

export const SCREENS: readonly Screen[] = [
  { name: "first-run", query: "scene=first-run", act: heading(/^Phantom at/) },
  {
    name: "first-run-filled",
    query: "scene=first-run#c=ph1abcdefghijkl&n=Bob",
    async act(page) {
      await page.getByRole("textbox", { name: "Your name" }).fill("Alice");
      await page.getByRole("textbox", { name: "Passphrase" }).fill("seven green bottles");
      await page.getByText("This page runs code from").click();
    },
  },
  {
    name: "restore",
    query: "scene=first-run",
    async act(page) {
      await press(page, "I have a backup file");
      await heading("Restore a backup")(page);
    },
  },
  {
    name: "first-run-refused",
    query: "scene=first-run&fail=create",
    async act(page) {
      await page.getByRole("textbox", { name: "Your name" }).fill("Alice");
      await page.getByRole("textbox", { name: "Passphrase" }).fill("password1");
      await press(page, "Start");
      await page.getByText("on purpose").waitFor();
    },
  },
  {
    name: "locked",
    query: "scene=locked",
    async act(page) {
      await page.getByRole("textbox", { name: "Passphrase" }).fill("wrong");
      await press(page, "Unlock");
      await page.getByText("This is not the passphrase").waitFor();
    },
  },
  { name: "locked-invited", query: "scene=locked#c=ph1abcdefghijkl&n=Bob", act: heading(/^Welcome back/) },
  { name: "working", query: "scene=working", act: heading("Making your keys …") },
  { name: "evicted", query: "scene=evicted", act: heading("This browser has deleted your keys") },
  {
    name: "evicted-sure",
    query: "scene=evicted",
    async act(page) {
      await press(page, "Start over");
    },
  },
  { name: "elsewhere", query: "scene=elsewhere", act: heading("Open in another tab") },
  { name: "insecure", query: "scene=insecure", act: heading("This address is not safe") },
  { name: "newer-profile", query: "scene=newer-profile", act: heading("Saved by a newer version") },
  { name: "deleted", query: "scene=deleted", act: heading("Your account has been deleted") },
  { name: "removed", query: "scene=removed", act: heading("This device was removed") },
  {
    name: "first-run-other-device",
    query: "scene=first-run",
    act: (page) => press(page, "I have another device"),
  },
  {
    name: "devices-alone",
    query: "scene=chat",
    act: (page) => yourDevices(page),
  },
  {
    name: "devices",
    query: "devices=3&restored=1",
    async act(page) {
      await yourDevices(page);
      await press(page, "Remove Old phone");
      await page.getByRole("button", { name: "Keep it" }).waitFor();
    },
  },
  {
    name: "devices-on-a-linked-one",
    query: "devices=3&linked=1&history=1",
    act: (page) => yourDevices(page),
  },
  {
    name: "devices-link-other",
    query: "devices=2",
    async act(page) {
      await yourDevices(page);
      await press(page, "Link a device");
      await page.getByRole("textbox", { name: "Code of the new device" }).fill("phantom:link?v=1");
    },
  },
  {
    name: "devices-type-digits",
    query: "devices=2",
    async act(page) {
      await yourDevices(page);
      await press(page, "Link a device");
      await page.getByRole("textbox", { name: "Code of the new device" }).fill("phantom:link?v=1");
      await page.getByRole("textbox", { name: "Your passphrase" }).fill("seven green bottles");
      await press(page, "Link it");
      await page.getByRole("textbox", { name: "Six digits" }).fill("000000");
      await press(page, "Go on");
      await page.getByText("Look again").waitFor();
    },
  },
  {
    name: "devices-show-code",
    query: "scene=empty&patient=1",
    async act(page) {
      await yourDevices(page);
      await press(page, "Show the code");
      await page.getByRole("button", { name: "Copy the line" }).waitFor();
      await page.locator("svg.code path + path").waitFor();
    },
  },
  {
    name: "devices-digits",
    query: "scene=empty",
    async act(page) {
      await yourDevices(page);
      await press(page, "Show the code");
      await page.getByRole("button", { name: "Yes, go on" }).waitFor();
    },
  },
  { name: "empty", query: "scene=empty", act: list },
  { name: "list", query: "scene=chat", act: list },
  {
    name: "list-offline-full",
    query: "offline=1&full=1",
    async act(page) {
      await page.getByText("No connection.").waitFor();
    },
  },
  {
    name: "chat-offline",
    query: "saved=1&offline=1",
    async act(page) {
      await openTalk(page, "Bob");
      await page.locator(".outage p").waitFor({ state: "attached" });
    },
  },
  {
    name: "search",
    query: "saved=1",
    async act(page) {
      await page.getByRole("searchbox", { name: "Search people and texts" }).fill("the");
      await page.getByRole("heading", { name: "Texts" }).waitFor();
    },
  },
  { name: "conversation", query: "saved=1", act: (page) => openTalk(page, "Bob") },
  {
    name: "conversation-writing",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Amélie");
      await page.getByRole("textbox", { name: "Write to Amélie" }).fill("First line\nsecond line\nand a third one that is longer than the others");
      await press(page, "Burn after reading");
      await press(page, "How long texts last");
      await page.getByRole("radio", { name: "1 day" }).check();
      await press(page, "How long texts last");
    },
  },
  {
    name: "burning",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Bob");
      await page.getByRole("button", { name: "Read once" }).click();
      await press(page, "30 s more"); // as long as it takes to look at it in each mode
      await page.getByText("4711").waitFor();
    },
  },
  { name: "conversation-arabic", query: "saved=1", act: (page) => openTalk(page, "ليلى") },
  { name: "conversation-failed", query: "saved=1", act: (page) => openTalk(page, "Dave") },
  { name: "conversation-blocked", query: "saved=1", act: (page) => openTalk(page, "Наталья") },
  { name: "conversation-older", query: "saved=1", act: (page) => openTalk(page, "Old") },
  {
    name: "finder",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Bob");
      await press(page, "Search here");
      await page.getByRole("searchbox", { name: "Search in this conversation" }).fill("the");
      await page.getByText(/^1 of/).waitFor();
    },
  },
  {
    name: "more",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Bob");
      await press(page, "More");
    },
  },
  { name: "request", query: "saved=1", act: (page) => openTalk(page, "Wants to write") },
  {
    name: "warning",
    query: "saved=1",
    async act(page) {
      await list(page);
      await page.evaluate(() => {
        const notice = { code: "paused", text: "3 messages wait; the relay accepts the next one in 20 s." };
        new BroadcastChannel("fake").postMessage({ update: { kind: "warning", peer: "Bob+/=", notice } });
      });
      await page.getByText("3 messages wait").waitFor();
    },
  },
  { name: "new", query: "saved=1", act: (page) => press(page, "New conversation") },
  {
    name: "new-elsewhere",
    query: "saved=1",
    async act(page) {
      await press(page, "New conversation");
      await page.getByRole("textbox", { name: "Contact ID or link" }).fill("https://other.example/#c=ph1abcdefghijkl&n=Bob");
    },
  },
  {
    name: "new-invited",
    query: "saved=1#c=ph1abcdefghijkl&n=Bob",
    act: (page) => page.getByRole("heading", { name: "Add this contact?" }).waitFor(),
  },
  {
    name: "me",
    query: "saved=1",
    async act(page) {
      await press(page, /my ID and link/);
      await page.locator("svg.code path + path").waitFor();
    },
  },
  {
    name: "verify",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Amélie");
      await press(page, "Compare");
      await page.locator("svg.code path + path").waitFor();
    },
  },
  {
    name: "verify-changed",
    query: "saved=1",
    async act(page) {
      await openTalk(page, "Dave");
      await press(page, "Compare");
      await page.locator("svg.code path + path").waitFor();
    },
  },
  { name: "settings", query: "", act: (page) => press(page, "Settings") },
  {
    name: "backup",
    query: "",
    async act(page) {
      await press(page, "Save a backup");
      await page.getByRole("dialog").getByRole("textbox", { name: "Passphrase" }).fill("seven green bottles hanging");
    },
  },
  {
    name: "delete",
    query: "",
    async act(page) {
      await press(page, "Settings");
      await press(page, "Delete account");
    },
  },
  {
    name: "keys",
    query: "",
    async act(page) {
      await list(page);
      await page.keyboard.press("F1");
    },
  },
  { name: "list-groups", query: "saved=1&groups", act: list },
  { name: "group", query: "saved=1&groups", act: (page) => openTalk(page, "Family") },
  { name: "group-muted", query: "saved=1&groups", act: (page) => openTalk(page, "Book club") },
  { name: "group-forked", query: "saved=1&groups", act: (page) => openTalk(page, "House") },
  { name: "group-behind", query: "saved=1&groups", act: (page) => openTalk(page, "Choir") },
  { name: "group-removed", query: "saved=1&groups", act: (page) => openTalk(page, "Football") },
  { name: "group-invitation", query: "saved=1&groups", act: (page) => openGroup(page, "Weekend") },
  { name: "group-request", query: "saved=1&groups", act: (page) => openGroup(page, "Old school") },
  {
    name: "request-to-group",
    query: "saved=1&groups",
    async act(page) {
      await openTalk(page, writtenId("Ines").slice(0, 9));
      await page.getByText("Chess evenings").waitFor();
    },
  },
  {
    name: "group-more",
    query: "saved=1&groups",
    async act(page) {
      await openTalk(page, "Family");
      await press(page, "More");
    },
  },
  {
    name: "group-new",
    query: "saved=1&groups",
    async act(page) {
      await press(page, "New group");
      await page.getByRole("textbox", { name: "Name of the group" }).fill("Sunday walks");
      await page.getByRole("checkbox", { name: "Bob" }).check();
    },
  },
  { name: "group-about", query: "saved=1&groups", act: (page) => aboutGroup(page, "Family") },
  { name: "group-about-member", query: "saved=1&groups", act: (page) => aboutGroup(page, "Book club") },
  {
    name: "group-member",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Family");
      await page.getByRole("dialog").getByRole("button", { name: /^Amélie/ }).click();
    },
  },
  {
    name: "group-stranger",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Book club");
      await page.getByRole("dialog").getByRole("button", { name: /^~?.*ph1/ }).click();
    },
  },
  {
    name: "group-remove",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Family");
      await page.getByRole("dialog").getByRole("button", { name: /^Amélie/ }).click();
      await press(page, "Remove");
    },
  },
  {
    name: "group-add",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Family");
      await press(page, "Add people");
      await page.getByRole("checkbox", { name: "Dave" }).check();
    },
  },
  {
    name: "group-link",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Family");
      await press(page, "Invite by a link");
      await press(page, "Make a link");
      await page.locator("svg.code path + path").waitFor();
    },
  },
  {
    name: "group-join",
    query: "saved=1&groups#g=phantom%3Ajoin%3Frelay%3Dr%26token%3Dt",
    act: (page) => page.getByRole("heading", { name: "Join this group?" }).waitFor(),
  },
  {
    name: "group-asked",
    query: "saved=1&groups#g=phantom%3Ajoin%3Frelay%3Dr%26token%3Dt",
    async act(page) {
      await press(page, "Ask to join");
      await page.getByRole("button", { name: "Open Family" }).waitFor();
    },
  },
  {
    name: "group-leave",
    query: "saved=1&groups",
    async act(page) {
      await openTalk(page, "Family");
      await press(page, "More");
      await press(page, "Leave");
    },
  },
  {
    name: "group-close",
    query: "saved=1&groups",
    async act(page) {
      await aboutGroup(page, "Family");
      await press(page, /^Close for/);
    },
  },
  {
    name: "group-copies",
    query: "saved=1&groups",
    async act(page) {
      await openTalk(page, "Family");
      await press(page, /^read by 1 of 4/);
      await page.getByRole("dialog").getByText("Amélie").waitFor();
    },
  },
  { name: "rename", query: "saved=1", act: (page) => inMenu(page, "Rename") },
  { name: "block", query: "saved=1", act: (page) => inMenu(page, "Block") },
  { name: "remove", query: "saved=1", act: (page) => inMenu(page, "Remove") },
];
