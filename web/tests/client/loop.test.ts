/** The worker's loop: nothing leaves before it is stored, and what could not be stored counts for nobody. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Messenger } from "../../core/client/messenger.ts";
import type { Batch, StoredRecord } from "../../core/client/vault.ts";
import { openVault } from "../../core/client/vault.ts";
import { Loop, MOST_WAITING } from "../../worker/loop.ts";
import type { Core, Step } from "../../worker/loop.ts";
import type { SocketEnd } from "../../worker/socket.ts";
import { greeting, letIn, random, someId } from "./support.ts";

const KEY = new Uint8Array(32).fill(1);
const URL = "ws://relay.test/ws";

/** A loop whose disk, network and clock are in the hands of a test. */
class World {
  readonly disk = new Map<string, StoredRecord>();
  /** What happens, in order. */
  readonly happened: string[] = [];
  readonly steps: Step[] = [];
  readonly troubles: unknown[] = [];
  ends: SocketEnd[] = [];
  isFull = false;
  /** At what the client fails whenever it comes. */
  poison: string | null = null;
  /** What the client was given. */
  readonly given: string[] = [];
  chance = 0;
  readonly loop: Loop;

  constructor() {
    this.loop = new Loop({
      open: () => Promise.resolve(this.open()),
      commit: (batch) => this.commit(batch),
      told: (step) => {
        this.happened.push("told");
        this.steps.push(step);
      },
      troubled: (error) => this.troubles.push(error),
      dial: (_, end) => {
        this.happened.push("dial");
        this.ends.push(end);
        return {
          send: (text) => this.happened.push(`send ${(JSON.parse(text) as { type: string }).type}`),
          leave: () => this.happened.push("leave"),
        };
      },
      monotonic: () => Math.round(performance.now()),
      wall: () => Date.now(),
      chance: () => this.chance,
      isOnline: () => true,
    });
  }

  open(): Core {
    const vault = openVault(KEY, random, this.disk.values());
    const monotonic = (): number => Math.round(performance.now());
    const messenger = new Messenger(vault, { wall: Date.now, monotonic, random });
    messenger.setServer(URL);
    const receive = messenger.receive.bind(messenger);
    messenger.receive = (text) => {
      this.given.push(String(text));
      if (this.poison !== null && String(text).includes(this.poison)) {
        throw new RangeError("a mistake of ours");
      }
      receive(text);
    };
    return { vault, messenger };
  }

  async commit(batch: Batch): Promise<void> {
    await Promise.resolve();
    if (this.isFull) {
      throw new Error("the disk is full");
    }
    this.happened.push("commit");
    for (const one of batch.puts) {
      this.disk.set(`${one.kind} ${one.name}`, one);
    }
    for (const one of batch.deletes) {
      this.disk.delete(`${one.kind} ${one.name}`);
    }
  }

  get end(): SocketEnd {
    const end = this.ends.at(-1);
    assert.ok(end !== undefined, "nothing was dialled");
    return end;
  }

  /** The relay lets this client in. */
  async login(): Promise<void> {
    this.end.opened();
    this.say("CONNECTION_ACK", greeting(Date.now()));
    this.say("AUTH_SUCCESS", letIn(Date.now()), "1");
    await this.until(() => this.happened.includes("send PREKEY_STATUS"));
  }

  say(type: string, payload: object, id?: string): void {
    this.end.received(JSON.stringify({ ...(id === undefined ? {} : { id }), payload, timestamp: Date.now(), type }));
  }

  async until(what: () => boolean): Promise<void> {
    for (let turn = 0; !what(); turn += 1) {
      assert.ok(turn < 2_000, `it did not happen: ${this.happened.join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function online(): Promise<World> {
  const world = new World();
  world.loop.start(world.open());
  await world.until(() => world.ends.length === 1);
  await world.login();
  return world;
}

test("what a call has changed is stored before a frame leaves, and before the page hears", async () => {
  const world = await online();
  world.say("PREKEY_STATUS", { kemPreKeys: 0, oneTimePreKeys: 0 }, "2");
  await world.until(() => world.happened.includes("send PREKEY_PUBLISH"));
  world.happened.length = 0;
  await world.loop.call(({ messenger }) => messenger.sendText(someId(2), "hello"));
  world.happened.push("answered");
  const first = world.happened.slice(0, 4);
  assert.deepEqual(first, ["commit", "send KEY_EXCHANGE_INIT", "told", "answered"]);
  await world.loop.stop();
});

test("prekeys are made in slices, and calls are answered between them", async () => {
  const world = await online();
  let answered = 0;
  world.say("PREKEY_STATUS", { kemPreKeys: 0, oneTimePreKeys: 0 }, "2");
  while (!world.happened.includes("send PREKEY_PUBLISH")) {
    await world.loop.call(({ messenger }) => messenger.isOnline);
    answered += 1;
  }
  assert.ok(answered > 5, `${answered} calls were answered`);
  await world.loop.stop();
});

test("what could not be stored never left, and is not there afterwards", async () => {
  const world = await online();
  world.isFull = true;
  world.happened.length = 0;
  const call = world.loop.call(({ messenger }) => messenger.sendText(someId(2), "never"));
  await assert.rejects(call, /the disk is full/);
  assert.ok(!world.happened.some((one) => one.startsWith("send")), world.happened.join(", "));
  assert.ok(world.happened.includes("leave"));
  assert.equal(world.loop.connection.state, "offline");
  assert.equal(world.troubles.length, 1);
  const waiting = await world.loop.call(({ messenger }) => messenger.waitingFor());
  assert.equal(waiting, 0);
  world.isFull = false;
  await world.loop.call(({ messenger }) => messenger.sendText(someId(2), "this time"));
  assert.equal(await world.loop.call(({ messenger }) => messenger.waitingFor()), 1);
  await world.until(() => world.ends.length === 2);
  await world.loop.stop();
});

test("a mistaken call is refused, and changes nothing", async () => {
  const world = await online();
  await assert.rejects(
    world.loop.call(({ messenger }) => messenger.sendText("nobody", "hello")),
    /not the ID/,
  );
  assert.equal(world.troubles.length, 0);
  assert.equal(world.loop.connection.state, "online");
  await world.loop.stop();
});

test("a core that fails is made anew, and goes on with what is stored", async () => {
  const world = await online();
  const { userId } = await world.loop.call(({ messenger }) => messenger);
  const call = world.loop.call(() => {
    throw new TypeError("a mistake of ours");
  });
  await assert.rejects(call, /a mistake of ours/);
  assert.equal((await world.loop.call(({ messenger }) => messenger)).userId, userId);
  await world.loop.stop();
});

test("a lost connection is made again, and what an old one says is not heard", async () => {
  const world = await online();
  world.chance = 0.1;
  const [old] = world.ends;
  old?.closed(1001, "", true);
  await world.until(() => world.loop.connection.state === "offline");
  assert.notEqual(world.loop.connection.nextTryAt, null);
  await world.until(() => world.ends.length === 2);
  old?.received("not JSON");
  old?.closed(1008, "", true);
  await world.login();
  await world.until(() => world.loop.connection.state === "online");
  await world.loop.stop();
});

test("who was replaced stays away until the user says otherwise", async () => {
  const world = await online();
  world.end.closed(1008, "", true);
  await world.until(() => world.loop.connection.state === "replaced");
  assert.equal(world.loop.connection.nextTryAt, null);
  world.loop.suspect();
  await world.loop.call(() => null);
  assert.equal(world.ends.length, 1);
  world.loop.retryNow();
  await world.until(() => world.ends.length === 2);
  await world.loop.stop();
});

test("a stopped loop answers nobody", async () => {
  const world = await online();
  await world.loop.stop();
  await assert.rejects(
    world.loop.call(() => null),
    /was closed/,
  );
});

test("whoever wants to connect at once does not wait for an attempt that hangs", async () => {
  const world = new World();
  world.loop.start(world.open());
  await world.until(() => world.ends.length === 1);
  const [hanging] = world.ends;
  world.loop.retryNow();
  await world.until(() => world.ends.length === 2);
  hanging?.opened();
  await world.login();
  await world.until(() => world.loop.connection.state === "online");
  world.loop.retryNow();
  await world.loop.call(() => null);
  assert.equal(world.ends.length, 2);
  await world.loop.stop();
});

test("a message at which the client fails again and again is left at the relay, and the rest goes on", async () => {
  const world = await online();
  world.poison = "poison";
  const payload = {
    encryptedContent: "poison",
    messageId: "m1",
    recipientId: someId(1),
    senderId: someId(2),
  };
  for (let time = 1; time <= 3; time += 1) {
    world.say("MESSAGE", payload);
    await world.until(() => world.troubles.length === time);
    world.happened.length = 0;
    await world.until(() => world.happened.includes("dial"));
    await world.login();
  }
  const poisoned = (): number => world.given.filter((text) => text.includes("poison")).length;
  const warnings = (): readonly string[] =>
    world.steps.flatMap(({ events }) => events.flatMap((event) => (event.kind === "warning" ? [event.code] : [])));
  assert.deepEqual([poisoned(), warnings()], [3, []]);

  world.say("MESSAGE", payload);
  await world.until(() => warnings().length > 0);
  world.end.closed(1001, "", true);
  world.happened.length = 0;
  await world.until(() => world.happened.includes("dial"));
  await world.login();
  world.say("MESSAGE", payload); // on another connection, once more
  world.say("PRESENCE", { status: "online", userId: someId(2) });
  await world.until(() => world.given.some((text) => text.includes("PRESENCE")));
  await world.loop.call(() => null);
  assert.deepEqual([poisoned(), warnings(), world.troubles.length], [3, ["aside"], 3]);
  assert.equal(world.loop.connection.state, "online");

  world.say("MESSAGE", { ...payload, messageId: "m2" }); // another one is tried
  await world.until(() => world.troubles.length === 4);
  await world.loop.stop();
});

test("a relay that floods a client is left, and keeps no call waiting", async () => {
  const world = await online();
  world.chance = 0.5;
  const error = { code: 1001, details: { reason: "field" }, message: "x".repeat(100) };
  for (let number = 0; number < MOST_WAITING - 10; number += 1) {
    world.say("ERROR", error, "99");
  }
  const before = world.given.length;
  const given = await world.loop.call(() => world.given.length);
  assert.equal(given, before, "a call goes before what the relay sends");
  const [{ length: dialled }] = [world.ends];
  for (let number = 0; number < MOST_WAITING; number += 1) {
    world.say("ERROR", error, "99");
  }
  await world.until(() => world.loop.connection.state === "offline");
  assert.match(world.loop.connection.reason, /sends more than this device can take/);
  assert.ok(world.given.length < before + MOST_WAITING, "what waited is gone");
  await world.until(() => world.ends.length > dialled);
  await world.login();
  await world.until(() => world.loop.connection.state === "online");
  await world.loop.stop();
});

test("a mailbox of the largest size comes through", async () => {
  const world = await online();
  const payload = { code: 1001, message: "x".repeat(40_000) };
  for (let number = 0; number < 1_000; number += 1) {
    world.say("ERROR", payload, "99");
  }
  const before = world.given.length;
  await world.until(() => world.given.length === before + 1_000);
  assert.equal(world.loop.connection.state, "online");
  await world.loop.stop();
});

test("a relay that ends each connection as soon as it is made is tried again later each time", async () => {
  const world = await online();
  world.chance = 0.05;
  const waits: number[] = [];
  for (let times = 1; times <= 4; times += 1) {
    world.end.closed(1001, "", true);
    await world.until(() => world.loop.connection.state === "offline");
    const { nextTryAt, since } = world.loop.connection;
    waits.push((nextTryAt ?? 0) - since);
    world.happened.length = 0;
    await world.until(() => world.ends.length === times + 1);
    await world.login();
    await world.until(() => world.loop.connection.state === "online");
  }
  assert.ok((waits[3] ?? 0) > 4 * (waits[0] ?? Infinity), waits.join());
  await world.loop.stop();
});
