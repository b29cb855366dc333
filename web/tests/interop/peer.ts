/**
 * The browser's client as a process: the worker's loop and the core, with a file in place of IndexedDB.
 *
 * Run it as `node peer.js PATH URL [FILE PASSPHRASE]`; of an exported file, a new profile is made. It is told what to
 * do by lines of JSON, {"id": 1, "do": "send", ...}, and answers each by a line with that id. What happens by itself is
 * a line {"event": ...}.
 */
import { webcrypto } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { contentOf, exportContent, putContent, readFile } from "../../core/client/backup.ts";
import { ConversationIndex } from "../../core/client/conversation_index.ts";
import type { Devices } from "../../core/client/devices/devices.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import type { Event } from "../../core/client/status.ts";
import { openVault } from "../../core/client/vault.ts";
import type { CallPorts, ProfileCalls } from "../../worker/calls.ts";
import { Loop } from "../../worker/loop.ts";
import type { Core } from "../../worker/loop.ts";
import * as later from "../../worker/later.ts";
import { dial } from "../../worker/socket.ts";
import type { SocketEnd } from "../../worker/socket.ts";
import { store, storedIn } from "./disk.ts";

const KEY = new Uint8Array(32).fill(7);
const PASSPHRASE = "battery staple";
/** What a file costs to open whose passphrase is no secret. */
const CHEAP = { memoryKib: 64, passes: 1, lanes: 1 };
const HOLD_MS = 700;
const PAGE = "https://page.test/";

type Given = Readonly<Record<string, unknown>>;

const random = (size: number): Uint8Array => webcrypto.getRandomValues(new Uint8Array(size));
const monotonic = (): number => Math.round(performance.now());
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const [path = "", url = "", file = "", passphrase = ""] = process.argv.slice(2);
let isOffline = false;
let mixes = false;
/** Where the process is to die, and after how many times that it has come there. */
let death: { point: string; left: number } | null = null;

function dieAt(point: "before" | "after"): void {
  if (death?.point === point && --death.left <= 0) {
    process.kill(process.pid, "SIGKILL");
  }
}

function open(): Core {
  const vault = openVault(KEY, random, storedIn(path));
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "ascii").trim();
  const sinceBoot = (): number => Math.round(Number(readFileSync("/proc/uptime", "ascii").split(" ")[0]) * 1000);
  const groups = new later.GroupsOfCore();
  const messenger = new Messenger(vault, { wall: Date.now, monotonic, random, sinceBoot, boot, later }, groups.extend);
  groups.watch(vault, messenger);
  if (messenger.server === "") {
    messenger.setServer(url);
  }
  return { vault, messenger, groups };
}

/** Make a profile of an exported file. */
function restore(): void {
  const vault = openVault(KEY, random, []);
  new ConversationIndex(vault); // enters what is put
  const content = readFile(readFileSync(file), passphrase);
  vault.transaction((tx) => putContent(tx, content, url));
  store(path, vault.takeBatch());
}

function shown(event: Event): Given {
  switch (event.kind) {
    case "connection":
      return { kind: event.kind, state: event.state, reason: event.reason };
    case "delivery":
      return { kind: event.kind, id: event.messageId, peer: event.peer.userId, state: wordOf(event.state) };
    case "message":
      return { kind: event.kind, id: event.messageId, peer: event.peer.userId };
    case "warning":
      return { kind: event.kind, peer: event.peer?.userId ?? null, code: event.code };
    case "presence":
      return { kind: event.kind, peer: event.peer.userId, status: event.status };
    case "request":
      return { kind: event.kind, peer: event.peer.userId, waiting: event.waiting };
    case "group":
      return { kind: event.kind, group: event.group, news: event.news };
    case "group-message":
      return { kind: event.kind, group: event.group, id: event.messageId, peer: event.peer.userId };
    case "linking":
      return { ...event };
  }
}

function wordOf(state: number): string {
  return Object.entries(DeliveryState).find(([, one]) => one === state)?.[0].toLowerCase() ?? "";
}

/** While `mixes`, what is written to this user arrives the other way round, as many as come within a while. */
function mixed(end: SocketEnd): SocketEnd["received"] {
  const held: (string | Uint8Array)[] = [];
  const release = (): void => {
    for (const one of held.splice(0).reverse()) {
      end.received(one);
    }
  };
  return (message) => {
    if (!mixes || !String(message).includes('"type":"MESSAGE"}')) {
      end.received(message);
    } else if (held.push(message) === 1) {
      setTimeout(release, HOLD_MS);
    }
  };
}

const loop = new Loop({
  open: () => Promise.resolve(open()),
  commit: async (batch) => {
    dieAt("before");
    store(path, batch);
    dieAt("after");
    await Promise.resolve();
  },
  told: ({ events }) => events.forEach((event) => say({ event: shown(event) })),
  troubled: (error) => say({ trouble: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  dial: (address, end) => dial(isOffline ? "ws://127.0.0.1:9/ws" : address, { ...end, received: mixed(end) }),
  monotonic,
  wall: Date.now,
  chance: Math.random,
  isOnline: () => !isOffline,
});

/** The calls about groups, as the page makes them; those about people are commands of this program. */
const groupCalls = later.callsWithGroups({ loop, page: PAGE, monotonic } as CallPorts, {} as ProfileCalls);

/** Everything that is known of the texts with a peer, the oldest first. */
function history({ messenger }: Core, peer: string): Given[] {
  return [...messenger.stores.history.newest(peer)].reverse().map((entry) => {
    if (entry.kind === "sent") {
      const { messageId, state, text } = entry.record;
      return { id: messageId, isMine: true, text, state: wordOf(state) };
    }
    if (entry.kind === "received") {
      const { burn, messageId, newer, read, text } = entry.record;
      return { id: messageId, isMine: false, text, burn, read, isNewer: newer !== null };
    }
    return { id: entry.record.messageId, isMine: false, text: null, isUnreadable: true };
  });
}

function readAll({ messenger, vault }: Core, peer: string): string[] {
  const unread = [...vault.all(records.INBOX)].filter(([, one]) => one.sender === peer);
  return unread.map(([, one]) => {
    const text = vault.get(records.RECEIVED, records.key(peer, one.messageId))?.text ?? "";
    messenger.markRead(peer, one.messageId);
    return text;
  });
}

function devicesOf({ devices }: Messenger): Devices {
  if (devices === null) {
    throw new Error("it knows no devices");
  }
  return devices;
}

function status({ messenger, vault }: Core): Given {
  return {
    userId: messenger.userId,
    isOnline: messenger.isOnline,
    waiting: messenger.waitingFor(),
    pendingReceipts: messenger.pendingReceipts,
    isPublished: messenger.prekeysConfirmed,
    unreadable: vault.count(records.UNREADABLE),
    damaged: vault.unreadable,
  };
}

const COMMANDS: Readonly<Record<string, (core: Core, given: Given) => unknown>> = {
  status,
  add: ({ messenger }, { name, peer }) => messenger.contacts.add(String(name), String(peer)).userId,
  accept: ({ messenger }, { peer }) => messenger.contacts.letIn(String(peer)).userId,
  allowOlder: ({ messenger }, { peer }) => messenger.contacts.allowOlder(String(peer)).userId,
  safetyNumber: ({ messenger }, { peer }) => messenger.contacts.safetyNumber(String(peer)),
  block: ({ messenger }, { peer }) => messenger.block(String(peer)),
  unblock: ({ messenger }, { peer }) => messenger.unblock(String(peer)),
  send: ({ messenger }, { burn, expiresIn, peer, text }) => {
    const given = { burn: burn === true, expiresIn: typeof expiresIn === "number" ? expiresIn : null };
    return messenger.sendText(String(peer), String(text), given).messageId;
  },
  readAll: (core, { peer }) => readAll(core, String(peer)),
  requests: ({ messenger }) => messenger.stores.requests.listed().map((one) => [one.contact.userId, one.waiting]),
  peek: ({ messenger }, { peer }) => messenger.look(String(peer)).map((one) => one.text),
  history: (core, { peer }) => history(core, String(peer)),
  typing: ({ messenger }, { peer }) => messenger.tellTyping(String(peer)),
  settings: ({ messenger }, { changes }) => messenger.changeSettings(changes as Given),
  loseSessions: ({ messenger, vault }, { peer }) =>
    vault.transaction((tx) => messenger.stores.conversations.forget(tx, String(peer))),
  flush: ({ messenger }) => messenger.flush(),
  showLinkCode: ({ messenger }, { name }) => devicesOf(messenger).showCode(messenger.server, String(name)),
  agreeToLink: ({ messenger }) => {
    devicesOf(messenger).linking.agree();
    messenger.devicesChanged();
  },
  linkDevice: ({ messenger }, { history, line }) => {
    devicesOf(messenger).linking.begin(String(line), { history: history === true });
    messenger.devicesChanged();
  },
  typeDigits: ({ messenger }, { digits }) => {
    const isRight = devicesOf(messenger).linking.type(String(digits));
    messenger.devicesChanged();
    return isRight;
  },
  removeDevice: ({ messenger }, { device }) => {
    devicesOf(messenger).desk.remove(String(device));
    messenger.devicesChanged();
  },
  devices: ({ messenger }) => devicesOf(messenger).everybody(),
  isHistoryComing: ({ messenger }) => devicesOf(messenger).historyIn.isComing,
  isRemoved: ({ messenger }) => messenger.stores.devices?.isRemoved === true,
  contacts: ({ messenger }) => messenger.contacts.everybody().map(({ name, trust, userId }) => ({ name, trust, userId })),
  export: ({ vault }, { to }) => {
    const file = exportContent(contentOf(vault), PASSPHRASE, random, { cost: CHEAP });
    writeFileSync(String(to), file);
  },
  deleteAccount: ({ messenger }) => messenger.deleteAccount(),
};

async function obey(given: Given): Promise<unknown> {
  switch (given["do"]) {
    case "offline":
      isOffline = true;
      await loop.call(() => undefined);
      loop.drop("the network is off");
      return null;
    case "online":
      isOffline = false;
      loop.retryNow();
      return null;
    case "mix":
      mixes = given["on"] === true;
      return null;
    case "call": {
      const call = groupCalls[given["name"] as keyof typeof groupCalls] as (given: unknown) => Promise<unknown>;
      return await call(given["given"]);
    }
    case "die":
      death = { point: String(given["point"]), left: Number(given["times"]) };
      return null;
    case "stop":
      await loop.stop();
      setImmediate(() => process.exit(0));
      return null;
    default: {
      const command = COMMANDS[String(given["do"])];
      if (command === undefined) {
        throw new Error(`there is no command ${String(given["do"])}`);
      }
      return await loop.call((core) => command(core, given));
    }
  }
}

if (file !== "" && !existsSync(path)) {
  restore();
}
loop.start(open());
for await (const line of createInterface({ input: process.stdin })) {
  const given = JSON.parse(line) as Given;
  void obey(given).then(
    (result) => say({ id: given["id"], result: result ?? null }),
    (error: unknown) => say({ id: given["id"], error: String(error) }),
  );
}
process.exit(0);
