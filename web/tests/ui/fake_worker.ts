/**
 * A worker that knows no cryptography: it answers the calls of `api.ts` with invented people, so that screens can be made
 * and tested without a relay. The page's address says what it plays: `?scene=chat&slow=2000&fail=send&never=lock&long=5000`.
 * A test can make things happen: `new BroadcastChannel("fake").postMessage({ say: "Bob", text: "Hello" })`.
 */
import type { Api, Connection, Conversation, Fault, FromWorker, Item, Me, Settings, Stage, ToWorker, Update } from "../../api.ts";
import { type Group, isGroup } from "../../groups_api.ts";
import { fakeDevices } from "./fake_devices.ts";
import { changeGroup, FELLOW, fromBob, groupCallsOn, GROUPS, INVITER, type Ports, saidIn, sentTo } from "./fake_groups.ts";
import { item, longTalk, NOW, PEOPLE, person, TALKS, writtenId } from "./fake_people.ts";

interface Port {
  postMessage(message: FromWorker): void;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

/** What a test tells by the channel. */
type Command =
  | { readonly say: string; readonly text: string; readonly burns?: boolean }
  | { readonly update: Update };

const port = self as unknown as Port;
const people = new Map<string, Conversation>();
const talks = new Map<string, Item[]>();
const groups = new Map<string, Group>();
let query = new URLSearchParams();
let passphrase = "correct horse";
let settings: Settings = { readReceipts: true, typing: true, presence: true };
let connection: Connection = { state: "online", reason: "", since: NOW, nextTryAt: null, waiting: 0 };
let me: Me = {
  name: "Alice",
  userId: "Alice+/=",
  writtenId: writtenId("Alice"),
  link: "",
  relay: "",
  backupAt: null,
  isKept: null,
  staysSignedIn: false,
};

const tell = (update: Update): void => port.postMessage({ update });
const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

function refuse(code: Fault["code"], text: string): never {
  const fault: Fault = { code, text };
  throw fault;
}

function talkOf(peer: string): Item[] {
  const found = talks.get(peer) ?? [];
  talks.set(peer, found);
  return found;
}

function personOf(peer: string): Conversation {
  return people.get(peer) ?? refuse("unknown-contact", "There is no such contact.");
}

/** Changes a conversation, derives what is derived, and tells the page. */
function change(peer: string, changed: { readonly draft?: string } & Partial<Conversation> = {}): void {
  if (isGroup(peer)) return changeGroup(groupPorts, peer, changed.draft === undefined ? {} : { draft: changed.draft });
  const talk = talkOf(peer);
  const next = { ...personOf(peer), ...changed, last: talk.at(-1) ?? null, unread: talk.filter((one) => one.isUnread).length };
  people.set(peer, next);
  tell({ kind: "conversations", changed: [next], removed: [] });
}

function put(changed: Item, isIncoming = false): void {
  const talk = talkOf(changed.peer);
  const at = talk.findIndex(({ id }) => id === changed.id);
  if (at < 0) talk.push(changed);
  else talk[at] = changed;
  tell({ kind: "items", peer: changed.peer, items: [changed], incoming: isIncoming ? [changed.id] : [] });
  change(changed.peer);
}

function nextPosition(peer: string): number {
  return (talkOf(peer).at(-1)?.position ?? 0) + 1;
}

function populate(): void {
  if (query.get("scene") === "empty") return;
  for (const one of PEOPLE) {
    people.set(one.peer, one);
    talks.set(one.peer, (TALKS[one.name] ?? []).map((text, index) => item(one.peer, index * 2 + 1, text)));
  }
  const stranger = person("", { peer: "Mallory+/=", writtenId: writtenId("Mallory"), isRequest: true });
  people.set(stranger.peer, stranger);
  talks.set(stranger.peer, [item(stranger.peer, 1, { text: "Hi, this is Mia from the book club. Is this you?", at: NOW - 700_000, isUnread: true })]);
  const long = Number(query.get("long") ?? 0);
  if (long > 0) {
    const one = person("Long");
    const far = Number(query.get("far") ?? 1); // positions of groups are not close together
    people.set(one.peer, one);
    talks.set(one.peer, longTalk(long).map((text, index) => item(one.peer, (index + 1) * far, text)));
  }
  if (query.has("groups")) {
    for (const one of GROUPS) {
      groups.set(one.key, one);
      talks.set(one.key, saidIn(one));
    }
    people.set(INVITER, person("", { peer: INVITER, writtenId: writtenId("Ines"), isRequest: true }));
    if (query.has("fellow")) people.set(FELLOW, person("", { peer: FELLOW, writtenId: writtenId("Uwe"), isRequest: true }));
  }
  for (const peer of [...people.keys(), ...groups.keys()]) change(peer);
}

function stageOf(): Stage {
  switch (query.get("scene")) {
    case "first-run":
      return { at: "first-run" };
    case "locked":
      return { at: "locked", name: me.name, userId: me.userId };
    case "evicted":
      return { at: "evicted", userId: me.userId };
    case "elsewhere":
      return { at: "elsewhere" };
    case "insecure":
      return { at: "insecure" };
    case "newer-profile":
      return { at: "newer-profile" };
    case "deleted":
      return { at: "deleted" };
    case "removed":
      return { at: "deleted", isRemoved: true };
    case "working":
      return { at: "working", what: "creating", progress: null };
    default:
      return { at: "open" };
  }
}

/** Works for a while, as the worker does; a refusal leads back to where one was. */
async function openAfter(what: "opening" | "creating" | "restoring", refusal?: Fault): Promise<void> {
  tell({ kind: "stage", stage: { at: "working", what, progress: null } });
  await wait(150);
  if (refusal !== undefined) {
    tell({ kind: "stage", stage: stageOf() });
    throw refusal;
  }
  tell({ kind: "stage", stage: { at: "open" } });
}

async function deliver(sent: Item): Promise<void> {
  let now = sent;
  for (const mark of ["sent", "delivered", "read"] as const) {
    await wait(Number(query.get("pace") ?? 400));
    const group = groups.get(sent.peer);
    now = { ...now, mark, ...(group === undefined ? {} : { group: sentTo(group, mark) }) };
    put(now);
  }
  if (sent.burns) put({ ...now, mark: "burned", kind: "gone", text: "" });
}

const groupPorts: Ports = { groups, talks, nameOf: (peer) => people.get(peer)?.name ?? "Mia", tell, refuse };

const devices = fakeDevices(() => query, tell);

const api: Api = {
  ...groupCallsOn(groupPorts),
  ...devices,
  async begin({ page, relay, isLocking }) {
    query = new URL(page).searchParams;
    if (isLocking === true) query.set("scene", "locked");
    me = { ...me, link: `${page.split("?")[0]}#c=${me.writtenId}&n=${me.name}`, relay, backupAt: query.has("saved") ? NOW - 3_600_000 : null };
    if (query.has("offline")) connection = { state: "offline", reason: "", since: NOW - 10_000, nextTryAt: NOW + 60_000, waiting: 1 };
    populate();
    if (query.has("full")) tell({ kind: "storage", isFull: true });
    const stage = stageOf();
    if (stage.at === "open") tell({ kind: "devices", state: await devices.devices() });
    return stage;
  },
  async create({ name, passphrase: chosen }) {
    me = { ...me, name };
    passphrase = chosen;
    await openAfter("creating");
  },
  async unlock(given) {
    const isWrong = given.passphrase !== passphrase;
    await openAfter("opening", isWrong ? { code: "wrong-passphrase", text: "This is not the passphrase. Try again." } : undefined);
  },
  async restore({ name }) {
    me = { ...me, name };
    await openAfter("restoring");
  },
  takeOver: () => openAfter("opening"),
  async forget() {
    tell({ kind: "stage", stage: { at: "first-run" } });
  },
  async lock() {
    query.set("scene", "locked");
    tell({ kind: "stage", stage: { at: "locked", name: me.name, userId: me.userId } });
  },
  async backup() {
    tell({ kind: "stage", stage: { at: "working", what: "saving", progress: null } });
    await wait(100);
    me = { ...me, backupAt: Date.now() };
    tell({ kind: "stage", stage: { at: "open" } });
    tell({ kind: "me", me });
    return new Uint8Array([1, 2, 3]);
  },
  async changePassphrase(given) {
    if (given.current !== passphrase) refuse("wrong-passphrase", "This is not the passphrase. Try again.");
    passphrase = given.passphrase;
  },
  async staySignedIn({ stay }) {
    me = { ...me, staysSignedIn: stay };
    return me;
  },
  async deleteAccount() {
    tell({ kind: "stage", stage: { at: "deleted" } });
  },
  me: async () => me,
  async rename({ name }) {
    me = { ...me, name };
    return me;
  },
  async settings(given) {
    settings = { ...settings, ...given };
    return settings;
  },
  connection: async () => connection,
  async retryNow() {
    connection = { state: "online", reason: "", since: Date.now(), nextTryAt: null, waiting: 0 };
    tell({ kind: "connection", connection });
  },
  conversations: async () => [...people.values()],
  async items({ peer, before, limit }) {
    const older = talkOf(peer).filter((one) => before === null || one.position < before);
    return { items: older.slice(-limit), hasOlder: older.length > limit };
  },
  async search({ text, peer, limit }) {
    const sought = text.toLocaleLowerCase();
    const all = [...talks].filter(([one]) => peer === null || one === peer).flatMap(([, talk]) => talk);
    const found = all.filter((one) => one.text.toLocaleLowerCase().includes(sought)).toSorted((a, b) => b.at - a.at);
    return found.slice(0, limit).map((one) => ({ peer: one.peer, item: one }));
  },
  async send({ peer, text, burn, expiresIn }) {
    const at = Date.now();
    const group = groups.get(peer);
    const sent = item(peer, nextPosition(peer), {
      isMine: true,
      text,
      at,
      mark: "waiting",
      burns: burn,
      expiresAt: expiresIn === null ? null : at + expiresIn,
      ...(group === undefined ? {} : { group: sentTo(group, "waiting") }),
    });
    put(sent);
    change(peer, { draft: "" });
    if (connection.state === "online") void deliver(sent);
    return sent;
  },
  async sendAgain({ peer, id }) {
    const failed = talkOf(peer).find((one) => one.id === id);
    if (failed !== undefined) put({ ...failed, mark: "waiting", fault: "" });
  },
  async removeItem({ peer, id }) {
    const sent = talkOf(peer).find((one) => one.id === id);
    if (sent !== undefined) put({ ...sent, kind: "gone", text: "", mark: null, fault: "" });
  },
  async read({ peer, ids }) {
    for (const one of talkOf(peer)) if (ids.includes(one.id)) put({ ...one, isUnread: false });
  },
  async openOnce({ peer, id }) {
    const covered = talkOf(peer).find((one) => one.id === id);
    if (covered === undefined) return refuse("usage", "This text is gone.");
    put({ ...covered, kind: "gone", isUnread: false });
    return "The code of the door is 4711. Do not write it down.";
  },
  async draft({ peer, text }) {
    change(peer, { draft: text });
  },
  async lasting({ peer, expiresIn }) {
    change(peer, { expiresIn });
  },
  async typing() {},
  async presence() {},
  async watch() {},
  async add({ who, name }) {
    if (who.length < 8) refuse("usage", "This is neither an id nor a link. Ids begin with ph1 and have 61 characters.");
    const peer = `${who}+/=`;
    people.set(peer, person(name, { peer, writtenId: writtenId(who) }));
    change(peer);
    return peer;
  },
  async renameContact({ peer, name }) {
    change(peer, { name });
  },
  async safetyNumber() {
    const groups = Array.from({ length: 12 }, (_, index) => String((index * 48_271 + 12_345) % 100_000).padStart(5, "0"));
    return { groups, code: `phantom-safety:${groups.join("")}` };
  },
  async verify({ peer, isSame }) {
    change(peer, { trust: isSame ? "verified" : "changed", notice: null });
  },
  async acceptKey({ peer }) {
    change(peer, { trust: "unverified", notice: null });
  },
  async allowOlder({ peer }) {
    change(peer, { allowsOlder: true, notice: null });
  },
  peek: async ({ peer }) => talkOf(peer).map((one) => ({ ...one, isUnread: false })),
  async acceptRequest({ peer }) {
    change(peer, { isRequest: false });
  },
  async block({ peer, isBlocked }) {
    change(peer, { isBlocked });
  },
  async removeContact({ peer }) {
    people.delete(peer);
    tell({ kind: "conversations", changed: [], removed: [peer] });
  },
};

async function answer({ id, call, given }: ToWorker): Promise<void> {
  try {
    const isSlow = query.get("slowly") === call || query.has("slow");
    if (isSlow) await wait(Number(query.get("slow") ?? 1000));
    if (query.get("never") === call) return;
    if (query.get("fail") === call) refuse("internal", "It did not work, on purpose. Try again.");
    const result: unknown = await (api[call] as (given: unknown) => Promise<unknown>)(given);
    port.postMessage({ id, result });
  } catch (fault) {
    port.postMessage({ id, fault: fault as Fault });
  }
}

function obey(command: Command): void {
  if ("update" in command) return tell(command.update);
  const group = [...groups.values()].find((one) => one.name === command.say);
  const peer = group?.key ?? [...people.values()].find((one) => one.name === command.say)?.peer ?? "";
  const said = group === undefined ? {} : { group: fromBob };
  const burns = command.burns === true;
  put(
    item(peer, nextPosition(peer), { text: burns ? "" : command.text, at: Date.now(), isUnread: true, burns, kind: burns ? "covered" : "text", ...said }),
    true,
  );
}

port.onmessage = ({ data }) => void answer(data);
new BroadcastChannel("fake").onmessage = ({ data }: MessageEvent<Command>) => obey(data);
