/**
 * Whole clients at a small relay in memory, whose answers a test may change: it believes everybody, and keeps what waits.
 */
import { createHash } from "node:crypto";
import { Messenger } from "../../core/client/messenger.ts";
import type { Extend } from "../../core/client/extension.ts";
import type { Event } from "../../core/client/status.ts";
import { newVault } from "../../core/client/vault.ts";
import type { Vault } from "../../core/client/vault.ts";
import { decodeClient, encode } from "../../core/wire/codec.ts";
import type { MessageMany } from "../../core/wire/frames.ts";
import * as later from "../../worker/later.ts";
import { greeting, random } from "./support.ts";

/** What the relay calls a user in an order: base64 of 16 bytes. */
export function authorOf(order: Uint8Array, user: string): string {
  return createHash("sha256").update(order).update(`\n${user}`).digest().subarray(0, 16).toString("base64");
}

interface Order {
  readonly revision: number;
  readonly author: string;
  readonly writers: readonly string[];
  readonly messageId: string;
}

const KEY = new Uint8Array(32).fill(5);
const AMOUNTS = { oneTime: { target: 3, refillBelow: 2 }, kem: { target: 2, refillBelow: 1 } };

/** A frame as JSON has it. */
export interface Frame {
  readonly id?: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly seq?: number;
  readonly signature?: string;
  readonly timestamp: number;
  readonly type: string;
}

interface Published {
  readonly signedPreKey: Readonly<Record<string, unknown>>;
  readonly lastResortKemPreKey: Readonly<Record<string, unknown>>;
  readonly oneTimePreKeys: Readonly<Record<string, unknown>>[];
  readonly kemPreKeys: Readonly<Record<string, unknown>>[];
  readonly bundleSignature?: string;
  readonly madeAt?: number;
  readonly deviceList?: string;
}

/** Somebody with a device. */
export class Person {
  readonly vault: Vault = newVault(KEY, random);
  messenger: Messenger;
  readonly events: Event[] = [];
  readonly sent: Frame[] = [];
  /** What the relay makes of a frame on its way to this person; nothing, or more. */
  tamper: (frame: Frame) => readonly Frame[] = (frame) => [frame];
  /** Whether what a client does by itself may fail, for groups or with what waits: if not, a test ends with it. */
  toleratesFaults = false;
  published: Published | null = null;
  key = "";
  /** What waits for this person, until it is acknowledged. */
  readonly mailbox: Frame[] = [];
  isOnline = false;

  constructor(
    readonly town: Town,
    extend?: Extend,
  ) {
    this.messenger = this.#begin(extend);
    this.messenger.setServer("ws://relay.test/ws");
  }

  #begin(extend?: Extend): Messenger {
    const { clock } = this.town;
    const given = { wall: () => clock.wall, monotonic: () => clock.monotonic, random, amounts: AMOUNTS, later };
    return new Messenger(this.vault, given, extend);
  }

  /** The program of this device ends, and is begun anew: what it did not store is gone. */
  beginAnew(extend?: Extend): void {
    this.disconnect();
    this.messenger = this.#begin(extend);
    this.connect();
  }

  get id(): string {
    return this.messenger.userId;
  }

  /** The codes of the warnings so far. */
  get warnings(): string[] {
    return this.events.flatMap((event) => (event.kind === "warning" ? [event.code] : []));
  }

  /** The texts of a conversation, the oldest first: received ones, or sent ones. */
  received(): string[] {
    return this.events.flatMap((event) => {
      if (event.kind !== "message") return [];
      const entry = this.messenger.stores.history.find(event.peer.userId, event.messageId, false);
      return entry?.kind === "received" ? [entry.record.text ?? ""] : [];
    });
  }

  connect(): void {
    this.messenger.connected("relay.test");
    this.isOnline = true;
    this.hear("CONNECTION_ACK", { ...greeting(this.town.clock.wall, this.town.messagesPerMinute) });
  }

  disconnect(): void {
    this.isOnline = false;
    this.messenger.disconnected(null, "");
  }

  /** The relay says something, as it may be changed. */
  hear(type: string, payload: Frame["payload"], more: Partial<Frame> = {}): void {
    this.get({ payload, timestamp: this.town.clock.wall, type, ...more });
  }

  /** The relay sends a frame, as it may be changed. */
  get(frame: Frame): void {
    for (const one of this.isOnline ? this.tamper(frame) : []) {
      this.messenger.receive(JSON.stringify(one));
    }
  }

  /** Let what was sent get to the relay; whether there was something. */
  turn(): boolean {
    const texts = this.messenger.drain();
    this.events.push(...this.messenger.drainEvents());
    const fault = this.warnings.find((code) => code === "groups-failed" || code === "aside");
    if (!this.toleratesFaults && fault !== undefined) throw new Error(`a fault: ${fault}`);
    this.vault.takeBatch();
    for (const text of texts) {
      const frame = JSON.parse(text) as Frame;
      this.sent.push(frame);
      this.town.take(this, frame);
    }
    return texts.length > 0;
  }
}

/** The relay, and everybody at it. */
export class Town {
  readonly clock = { wall: 1_800_000_000_000, monotonic: 1_000_000 };
  readonly people: Person[] = [];
  /** What the relay says that it knows. */
  features: readonly string[] = ["suite2", "many", "devices"];
  /** What it says that it lets through; null: it sets no limits. */
  messagesPerMinute: number | null = null;
  /** How many messages one ALLOWANCE is. */
  allowed = 256;
  /** Whether it says who has written the last revision of an order. */
  namesAuthors = true;
  /** Why the relay does not take a message to many for somebody, by user. */
  readonly refusals = new Map<string, { readonly code: number; readonly reason: string }>();
  /** The last revision of each order, and who may write the next one. */
  readonly orders = new Map<string, Order>();
  #seq = 0;

  /** Somebody who is online and has published prekeys; `extend`: with further parts. */
  person(extend?: Extend): Person {
    const person = new Person(this, extend);
    this.people.push(person);
    person.connect();
    this.settle();
    return person;
  }

  /** Two who are contacts and have written to each other. */
  friends(): readonly [Person, Person] {
    const [alice, bob] = [this.person(), this.person()];
    alice.messenger.contacts.add("Bob", bob.id);
    bob.messenger.contacts.add("Alice", alice.id);
    this.settle();
    alice.messenger.sendText(bob.id, "hello");
    this.settle();
    bob.messenger.sendText(alice.id, "hello");
    this.pass(10_000);
    for (const one of [alice, bob]) {
      one.events.length = one.sent.length = 0;
    }
    return [alice, bob];
  }

  /** Until nobody has anything more to say. */
  settle(): void {
    for (let turns = 0; this.people.map((one) => one.turn()).some(Boolean); turns += 1) {
      if (turns > 1_000) throw new Error("they never come to an end");
    }
  }

  /** Time passes, and everybody does what is due. */
  pass(milliseconds: number): void {
    const step = 1_000;
    for (let left = milliseconds; left > 0; left -= step) {
      this.clock.wall += Math.min(step, left);
      this.clock.monotonic += Math.min(step, left);
      for (const one of this.people) one.messenger.tick();
      this.settle();
    }
  }

  /** What the relay does with a frame. */
  take(from: Person, frame: Frame): void {
    const { id = "", payload, type } = frame;
    switch (type) {
      case "AUTH":
        from.key = String(payload["publicKey"]);
        from.hear("AUTH_SUCCESS", { features: this.features, serverTime: this.clock.wall, sessionId: "x" }, { id });
        for (const one of from.mailbox) from.get(one);
        break;
      case "PING":
        from.hear("PONG", {}, { id });
        break;
      case "PREKEY_PUBLISH":
        from.published = { deviceList: from.published?.deviceList, ...structuredClone(payload) } as unknown as Published;
        from.hear("PREKEY_STATUS", statusOf(from), { id });
        break;
      case "PREKEY_STATUS":
        from.hear("PREKEY_STATUS", statusOf(from), { id });
        break;
      case "KEY_EXCHANGE_INIT":
        this.#handOut(from, String(payload["targetId"]), id);
        break;
      case "MESSAGE":
        this.#accept(from, frame);
        this.#pass(from, frame);
        break;
      case "MESSAGE_MANY":
        this.#passMany(from, frame as unknown as MessageMany);
        break;
      case "PREKEY_FETCH":
        this.#handOutMany(from, payload["targets"] as readonly string[], id);
        break;
      case "MESSAGE_ACK":
        acknowledge(from, payload);
        break;
      case "ALLOWANCE": {
        const left = { messages: this.allowed, expiresIn: 600_000 };
        from.hear("ALLOWANCE", { ...left, ...payload }, { id });
        this.#find(payload["senderId"])?.hear("ALLOWANCE", { ...left, recipientId: from.id });
        break;
      }
      case "BLOCK":
        from.hear("BLOCK", payload, { id }); // that it is so is enough here: nobody's presence is told
        break;
    }
  }

  #find(userId: unknown): Person | undefined {
    return this.people.find((one) => one.id === userId);
  }

  #handOut(to: Person, target: string, id: string): void {
    const found = this.#find(target);
    const published = found?.published;
    if (found === undefined || published === null || published === undefined) {
      to.hear("ERROR", { code: 1004, details: { reason: "user" }, message: "No such user." }, { id });
      return;
    }
    to.hear("KEY_EXCHANGE_RESPONSE", bundleOf(found, published), { id });
  }

  #handOutMany(to: Person, targets: readonly string[], id: string): void {
    const found = targets.map((target) => this.#find(target));
    const bundles = found.flatMap((one) => (one?.published ? [bundleOf(one, one.published)] : []));
    const missing = targets.filter((_, index) => !found[index]?.published);
    to.hear("PREKEY_BUNDLES", { bundles, missing }, { id });
  }

  /** A MESSAGE for each of them, as MESSAGE_MANY says. */
  #passMany(from: Person, frame: MessageMany): void {
    decodeClient(encode(frame)); // it has the form that a relay asks for
    const { id = "", payload, timestamp } = frame;
    const { common, group: _, order, recipients, ...rest } = payload;
    const refused = order === undefined ? null : this.#refusedOrder(from.id, payload.messageId, order);
    if (refused !== null) {
      from.hear("ERROR", refused, { id });
      return;
    }
    const parts = recipients.flatMap(({ recipientId }) => {
      const refusal = this.refusals.get(recipientId);
      return refusal === undefined ? [] : [{ ...refusal, recipientId }];
    });
    const result = { accepted: recipients.length - parts.length, messageId: payload.messageId, refused: parts };
    from.hear("MANY_RESULT", result, { id });
    for (const { head = "", recipientId, signature } of recipients) {
      if (!this.refusals.has(recipientId)) {
        const one = { ...rest, encrypted: head + common, recipientId };
        this.#pass(from, { payload: one, signature, timestamp, type: "MESSAGE" });
      }
    }
  }

  #namedAuthor({ author }: Order): { readonly author?: string } {
    return this.namesAuthors ? { author } : {};
  }

  #refusedOrder(from: string, messageId: string, order: NonNullable<MessageMany["payload"]["order"]>): Frame["payload"] | null {
    const { name, revision, writers } = order;
    const stored = this.orders.get(name);
    if (stored !== undefined && stored.messageId === messageId && stored.revision === revision) return null;
    if (!(stored?.writers ?? writers).includes(from)) return { code: 1002, details: { reason: "writer" }, message: "No." };
    if (stored !== undefined && revision <= stored.revision) {
      return { code: 1001, details: { reason: "order", revision: stored.revision, ...this.#namedAuthor(stored) }, message: "Too late." };
    }
    this.orders.set(name, { revision, author: authorOf(Buffer.from(name, "base64"), from), writers, messageId });
    return null;
  }

  #accept(from: Person, { id, payload }: Frame): void {
    const { messageId, recipientId } = payload;
    const accepted = { messageId, recipientId, status: "accepted", timestamp: this.clock.wall };
    from.hear("MESSAGE_ACK", accepted, id === undefined ? {} : { id });
  }

  #pass(from: Person, frame: Frame): void {
    const to = this.#find(frame.payload["recipientId"]);
    const routed = { ...frame, payload: { ...frame.payload, senderId: from.id }, seq: (this.#seq += 1) };
    to?.mailbox.push(routed);
    to?.get(routed);
  }
}

function acknowledge(from: Person, payload: Frame["payload"]): void {
  const { messageId, senderId } = payload;
  const at = from.mailbox.findIndex((one) => one.payload["messageId"] === messageId && one.payload["senderId"] === senderId);
  if (at >= 0) from.mailbox.splice(at, 1);
}

function statusOf({ published }: Person): Frame["payload"] {
  if (published === null) return { kemPreKeys: 0, oneTimePreKeys: 0 };
  return {
    kemPreKeys: published.kemPreKeys.length,
    lastResortKemPreKeyId: published.lastResortKemPreKey["id"],
    oneTimePreKeys: published.oneTimePreKeys.length,
    signedPreKeyId: published.signedPreKey["id"],
  };
}

function bundleOf(of: Person, published: Published): Frame["payload"] {
  const { lastResortKemPreKey, signedPreKey } = published;
  const oneTime = published.oneTimePreKeys.shift();
  const kem = published.kemPreKeys.shift() ?? lastResortKemPreKey;
  const digest = createHash("sha256").update(Buffer.from(String(lastResortKemPreKey["key"]), "base64")).digest("base64");
  return {
    ...(published.deviceList === undefined ? {} : { deviceList: published.deviceList }),
    identityKey: of.key,
    kemPreKey: kem["key"],
    kemPreKeyId: kem["id"],
    kemPreKeySignature: kem["signature"],
    ...(oneTime === undefined ? {} : { oneTimePreKey: oneTime["key"], oneTimePreKeyId: oneTime["id"] }),
    preKeySignature: signedPreKey["signature"],
    senderId: of.id,
    signedPreKey: signedPreKey["key"],
    signedPreKeyId: signedPreKey["id"],
    bundleSignature: published.bundleSignature,
    madeAt: published.madeAt,
    ...(kem === lastResortKemPreKey ? {} : { lastResortKemPreKey: { digest, id: lastResortKemPreKey["id"] } }),
  };
}
