/**
 * Two browsers and a real relay, call by call as the page makes them. `PHANTOM_RELAY` is the relay's URL; without it
 * these are skipped (`tests/web/test_web_worker.py` starts one). Each browser is a thread, so that it has a disk of its
 * own.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import type { Api, Conversation, FromWorker, Item, ToWorker, Update } from "../../api.ts";
import { fault, PAGE, RELAY, tab, until } from "./support.ts";

/** A browser with one tab. */
class Browser {
  readonly updates: Update[] = [];
  readonly api: Api;
  readonly #thread = new Worker(new URL(import.meta.url));
  readonly #open = new Map<number, (message: FromWorker) => void>();
  #last = 0;

  constructor() {
    this.#thread.on("message", (message: FromWorker) => {
      if ("update" in message) {
        this.updates.push(message.update);
      } else {
        this.#open.get(message.id)?.(message);
      }
    });
    this.api = new Proxy({} as Api, { get: (_, name) => (given: unknown) => this.#call(name as keyof Api, given) });
  }

  #call(call: keyof Api, given: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#last += 1;
      this.#open.set(this.#last, (message) => {
        if ("fault" in message) {
          reject(Object.assign(new Error(message.fault.text), message.fault));
        } else if ("result" in message) {
          resolve(message.result);
        }
      });
      const message: ToWorker = { id: this.#last, call, given };
      this.#thread.postMessage(message);
    });
  }

  begin(): ReturnType<Api["begin"]> {
    return this.api.begin({ relay: RELAY, page: PAGE, isSecure: true });
  }

  async online(): Promise<void> {
    await until("it is online", async () => (await this.api.connection()).state === "online");
  }

  async conversation(peer: string): Promise<Conversation | null> {
    return (await this.api.conversations()).find((one) => one.peer === peer) ?? null;
  }

  async items(peer: string): Promise<readonly Item[]> {
    return (await this.api.items({ peer, before: null, limit: 1000 })).items;
  }

  /** Wait for an item that is so, among what the page holds. */
  item(peer: string, what: string, is: (item: Item) => boolean): Promise<Item> {
    return until(what, async () => (await this.items(peer)).find(is));
  }

  /** What the page would hold by updates alone, by id, in order. */
  held(peer: string): Item[] {
    const found = new Map<string, Item>();
    for (const update of this.updates) {
      if (update.kind === "items" && update.peer === peer) {
        for (const item of update.items) {
          found.set(item.id, item);
        }
      }
    }
    return [...found.values()].sort((one, other) => one.position - other.position);
  }

  send(peer: string, text: string, { burn = false, expiresIn = null as number | null } = {}): Promise<Item> {
    return this.api.send({ peer, text, burn, expiresIn });
  }

  async close(): Promise<void> {
    await this.#thread.terminate();
  }
}

/** Somebody who has just begun. */
async function person(name: string): Promise<{ browser: Browser; id: string; link: string }> {
  const browser = new Browser();
  await browser.begin();
  await browser.api.create({ name, passphrase: "secret words", stay: false });
  await browser.online();
  const { userId, link } = await browser.api.me();
  return { browser, id: userId, link };
}

const skip = process.env["PHANTOM_RELAY"] === undefined ? "there is no relay" : false;

if (isMainThread) {
  test("two browsers talk", { skip, timeout: 300_000 }, async () => {
    const [alice, bob] = [await person("Alice"), await person("Bob")];
    try {
      await meet(alice.browser, bob);
      await answered(alice, bob);
      await burned(alice, bob);
      await expired(alice, bob);
      await away(alice, bob);
      await restored(alice, bob);
      await deleted(alice.browser);
    } finally {
      await alice.browser.close();
      await bob.browser.close();
    }
  });
} else {
  const one = tab({ isOnline: true, isKept: true });
  one.updates.push = (update: Update) => {
    parentPort?.postMessage({ update });
    return 0;
  };
  parentPort?.on("message", ({ id, call, given }: ToWorker) => {
    const asked = one.api[call] as (given: unknown) => Promise<unknown>;
    asked(given).then(
      (result) => parentPort?.postMessage({ id, result }),
      (refused: unknown) => parentPort?.postMessage({ id, fault: refused }),
    );
  });
}

type Person = Awaited<ReturnType<typeof person>>;

/** A stranger writes: nothing of it is shown before it is asked for, and she hears nothing before he lets her in. */
async function meet(alice: Browser, bob: Person): Promise<void> {
  assert.equal(await alice.api.add({ who: bob.link, name: "" }), bob.id);
  const { userId } = await alice.api.me();
  await alice.send(bob.id, "hello, stranger");
  const request = await until("the request", async () => bob.browser.conversation(userId));
  assert.deepEqual([request.isRequest, request.unread, request.name, request.last], [true, 1, "", null]);
  assert.deepEqual(await bob.browser.items(userId), []);
  const peeked = await bob.browser.api.peek({ peer: userId });
  assert.deepEqual(peeked.map((item) => item.text), ["hello, stranger"]);
  assert.equal((await alice.item(bob.id, "it is sent", (item) => item.mark === "sent")).mark, "sent");
  await bob.browser.api.acceptRequest({ peer: userId });
  await bob.browser.api.renameContact({ peer: userId, name: "Alice" });
  const item = await bob.browser.item(userId, "it is let in", (one) => one.isUnread);
  assert.equal(item.text, "hello, stranger");
  await alice.item(bob.id, "it is delivered", (one) => one.mark === "delivered");
  await bob.browser.api.read({ peer: userId, ids: [item.id] });
  await alice.item(bob.id, "it is read", (one) => one.mark === "read");
  assert.equal((await bob.browser.conversation(userId))?.unread, 0);
  const number = await alice.api.safetyNumber({ peer: bob.id });
  assert.deepEqual(number, await bob.browser.api.safetyNumber({ peer: userId }));
  assert.equal(number?.groups.length, 12);
  const other = [...(number?.code ?? "")].reverse().join("");
  assert.equal(await fault(alice.api.verify({ peer: bob.id, code: other, isSame: true })), "key-changed");
  assert.equal((await alice.conversation(bob.id))?.trust, "unverified");
  await alice.api.verify({ peer: bob.id, code: number?.code ?? "", isSame: true });
  assert.equal((await alice.conversation(bob.id))?.trust, "verified");
}

/** By updates alone, the page that only listens holds what the page that asks is told. */
async function answered(alice: Person, bob: Person): Promise<void> {
  const texts = [...Array(10).keys()].map((number) => `number ${number}`);
  for (const text of texts) {
    await bob.browser.send(alice.id, text);
  }
  await alice.browser.item(bob.id, "the last one", (item) => item.text === "number 9");
  const asked = await alice.browser.items(bob.id);
  assert.deepEqual(asked.slice(-10).map((item) => item.text), texts);
  await until("updates say the same", () => alice.browser.held(bob.id).length === asked.length);
  const places = (items: readonly Item[]): unknown[] => items.map((item) => [item.id, item.position]);
  assert.deepEqual(places(alice.browser.held(bob.id)), places(asked));
  const incoming = alice.browser.updates.flatMap((update) => (update.kind === "items" ? update.incoming : []));
  assert.equal(new Set(incoming).size, 10);
  await bob.browser.api.typing({ peer: alice.id });
  const seen = async (): Promise<string | undefined> => (await alice.browser.conversation(bob.id))?.presence.status;
  await until("he is seen typing", async () => (await seen()) === "typing");
}

/** It is covered until it is opened, once; then nothing of it is left on either side. */
async function burned(alice: Person, bob: Person): Promise<void> {
  const sent = await bob.browser.send(alice.id, "for your eyes", { burn: true });
  const covered = await alice.browser.item(bob.id, "it is covered", (item) => item.id === sent.id);
  assert.deepEqual([covered.kind, covered.text, covered.burns], ["covered", "", true]);
  await alice.browser.api.read({ peer: bob.id, ids: [sent.id] });
  assert.equal(await alice.browser.api.openOnce({ peer: bob.id, id: sent.id }), "for your eyes");
  assert.equal(await fault(alice.browser.api.openOnce({ peer: bob.id, id: sent.id })), "usage");
  const isGone = (item: Item): boolean => item.id === sent.id && item.kind === "gone";
  await alice.browser.item(bob.id, "it is gone here", isGone);
  const there = await bob.browser.item(alice.id, "it is gone there", isGone);
  assert.deepEqual([there.mark, there.text], ["burned", ""]);
}

async function expired(alice: Person, bob: Person): Promise<void> {
  const sent = await alice.browser.send(bob.id, "not for long", { expiresIn: 8_000 }); // a busy machine is not always quick
  const got = await bob.browser.item(alice.id, "it arrives", (item) => item.id === sent.id);
  assert.deepEqual([got.text, got.expiresAt !== null], ["not for long", true]);
  for (const [browser, peer] of [[alice.browser, bob.id], [bob.browser, alice.id]] as const) {
    const heard = (): boolean => browser.held(peer).find((item) => item.id === sent.id)?.kind === "gone";
    await until("the page hears that it is gone", heard);
  }
}

/** What is written while he is away waits at the relay, and what he writes without a connection waits here. */
async function away(alice: Person, bob: Person): Promise<void> {
  await bob.browser.api.lock();
  await alice.browser.send(bob.id, "while you were away");
  await alice.browser.item(bob.id, "it is sent", (item) => item.text === "while you were away" && item.mark === "sent");
  await bob.browser.api.unlock({ passphrase: "secret words", stay: false });
  await bob.browser.online();
  await bob.browser.item(alice.id, "it arrives", (item) => item.text === "while you were away");
}

/** From a backup: sessions are lost, and what could not be read is in its place once it was sent again. */
async function restored(alice: Person, bob: Person): Promise<void> {
  const file = await bob.browser.api.backup({ passphrase: "of the file" });
  await bob.browser.close();
  await alice.browser.send(bob.id, "in a session that is lost");
  const browser = new Browser();
  await browser.begin();
  const given = { file, filePassphrase: "of the file", passphrase: "another one", name: "Bob", stay: true };
  await browser.api.restore(given);
  bob.browser = browser;
  await browser.online();
  await browser.item(alice.id, "it is sent again", (item) => item.text === "in a session that is lost");
  await browser.send(alice.id, "I am back");
  await alice.browser.item(bob.id, "he answers", (item) => item.text === "I am back");
  const [his, hers] = [await browser.items(alice.id), await alice.browser.items(bob.id)];
  const texts = (items: readonly Item[]): string[] => items.map((item) => item.text).filter((text) => text !== "");
  assert.deepEqual(texts(his), texts(hers));
  assert.ok(his.every((item) => item.kind !== "unreadable"), "receipts that could not be read leave nothing behind");
}

async function deleted(alice: Browser): Promise<void> {
  await alice.api.deleteAccount();
  assert.ok(alice.updates.some((update) => update.kind === "stage" && update.stage.at === "deleted"));
  assert.deepEqual(await alice.begin(), { at: "first-run" });
}
