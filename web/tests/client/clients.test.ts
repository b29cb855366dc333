/** Whole clients, as `protocol/vectors` lists them: each gets what is listed, and must do what is expected. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fromHex, toHex } from "../../core/bytes.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import type { Event } from "../../core/client/status.ts";
import { openVault } from "../../core/client/vault.ts";
import type { Vault } from "../../core/client/vault.ts";
import { random, vectors } from "./support.ts";

declare const PROJECT: string;

interface Drawn {
  readonly purpose: string;
  readonly value: string;
}

interface Step {
  readonly client: string;
  readonly at: number;
  readonly do: string;
  readonly randomness: readonly Drawn[];
  readonly expect: {
    readonly sends?: readonly { readonly text: string }[];
    readonly stores?: unknown;
    readonly tells?: unknown;
  };
  readonly audience: string;
  readonly text: string;
  readonly code: number | null;
  readonly contact: string;
  readonly user_id: string;
  readonly body: string;
  readonly burn_after_read: boolean;
  readonly expires_in: number | null;
  readonly message: string;
}

interface Scene {
  readonly name: string;
  readonly after?: string;
  readonly steps: readonly Step[];
}

type Suite = 1 | 2;

const AMOUNTS = { oneTime: { target: 3, refillBelow: 1 }, kem: { target: 2, refillBelow: 1 } };
const FILES = [
  [1, "clients.json"],
  [2, "suite2-clients.json"],
] as const;

type Facts = Map<string, unknown>;

/** A client that lives through its steps. */
class Part {
  private at = 0;
  private readonly began: number;
  private draws: Drawn[] = [];
  private facts: Facts = new Map();
  private readonly vault: Vault;
  private messenger: Messenger | null = null;

  /** `suite`: the greatest that it knows. */
  constructor(
    began: number,
    private readonly suite: Suite,
  ) {
    this.at = this.began = began;
    this.vault = openVault(new Uint8Array(32), random, []);
  }

  play(step: Step): void {
    this.at = step.at;
    this.draws.push(...step.randomness);
    if (this.messenger === null) {
      assert.equal(step.do, "open");
      this.messenger = new Messenger(this.vault, {
        wall: () => this.at,
        monotonic: () => 1_000_000 + this.at - this.began,
        random: (size) => this.draw(size),
        amounts: AMOUNTS,
      });
      if (this.suite === 1) {
        knowsNoBetter(this.messenger);
      }
    } else {
      obey(this.messenger, this.vault, this.suite === 1 ? undated(step) : step);
    }
    this.compare(step, this.messenger);
  }

  private draw(size: number): Uint8Array {
    const drawn = this.draws.shift();
    assert.ok(drawn !== undefined, "something is drawn that is not listed");
    const value = fromHex(drawn.value);
    assert.equal(value.length, size, drawn.purpose);
    return value;
  }

  private compare(step: Step, messenger: Messenger): void {
    const before = this.facts;
    this.facts = factsOf(this.vault, this.suite);
    const sends = messenger.drain();
    const stores = changes(before, this.facts);
    const tells = messenger.drainEvents().flatMap(told);
    assert.deepEqual(sends, (step.expect.sends ?? []).map((one) => one.text));
    assert.deepEqual(stores, step.expect.stores ?? []);
    assert.deepEqual(tells, step.expect.tells ?? []);
    assert.deepEqual(this.draws, []);
  }
}

/** A client that knows suite 1 alone: it needs nothing better of anybody, and asks for nothing. */
function knowsNoBetter(messenger: Messenger): void {
  const { book } = messenger.stores;
  const get = book.get.bind(book);
  book.get = (userId) => ({ ...get(userId), allowsOlder: true, askedAt: messenger.now().persistent });
}

/** It looks at no date. */
function undated(step: Step): Step {
  if (step.do !== "receive" || !step.text.includes('"KEY_EXCHANGE_RESPONSE"')) {
    return step;
  }
  const { payload, ...rest } = JSON.parse(step.text) as { readonly payload: object };
  const { bundleSignature: _, lastResortKemPreKey: __, madeAt: ___, ...left } = payload as Record<string, unknown>;
  return { ...step, text: JSON.stringify({ ...rest, payload: left }) };
}

function obey(messenger: Messenger, vault: Vault, step: Step): void {
  switch (step.do) {
    case "connect":
      return messenger.connected(step.audience);
    case "receive":
      return messenger.receive(step.text);
    case "disconnect":
      return void messenger.disconnected(step.code, "");
    case "tick":
      return messenger.tick();
    case "add":
      return void messenger.contacts.add(step.contact, step.user_id);
    case "write":
      return void messenger.sendText(step.user_id, step.body, {
        burn: step.burn_after_read,
        expiresIn: step.expires_in,
      });
    case "read":
      return messenger.markRead(step.user_id, step.message);
    case "accept":
      return void messenger.contacts.letIn(step.user_id);
    case "allow-older":
      return void messenger.contacts.allowOlder(step.user_id);
    case "block":
      return messenger.block(step.user_id);
    case "lose-sessions":
      return vault.transaction((tx) => messenger.stores.conversations.forget(tx, step.user_id));
    default:
      throw new Error(`there is no step ${step.do}`);
  }
}

function wordOf(state: number): string {
  return Object.entries(DeliveryState).find(([, one]) => one === state)?.[0].toLowerCase() ?? "";
}

function told(event: Event): unknown[] {
  switch (event.kind) {
    case "message":
      return [{ event: "text", message: event.messageId }];
    case "delivery":
      return [{ event: wordOf(event.state), message: event.messageId }];
    case "request":
      return [{ event: "request", waiting: event.waiting }];
    case "warning":
      return [{ event: "trouble", word: event.code }];
    default:
      return [];
  }
}

/** What a client has stored of texts, receipts and people. */
function factsOf(vault: Vault, suite: Suite): Facts {
  const found: Facts = new Map();
  for (const [, { messageId, state, text }] of vault.all(records.SENT)) {
    found.set(`sent ${messageId}`, { state: wordOf(state), text });
  }
  for (const [, { messageId, newer, read, text }] of vault.all(records.RECEIVED)) {
    const more = newer === null ? {} : { newer: toHex(newer) };
    found.set(`received ${messageId}`, { text, read, ...more });
  }
  for (const [, { messageId, times }] of vault.all(records.UNREADABLE)) {
    found.set(`unreadable ${messageId}`, { asked: times });
  }
  for (const [, { carrier, messageId, status }] of vault.all(records.RECEIPT)) {
    found.set(`to-tell ${messageId}`, { status, under_way: carrier !== "" });
  }
  for (const [, { frame, messageId }] of vault.all(records.REQUEST)) {
    found.set(`request ${messageId}`, { is_open: frame.length === 0 });
  }
  for (const [, one] of vault.all(records.CONTACT)) {
    found.set(`person ${one.userId}`, {
      contact: one.name,
      trust: one.trust,
      public: toHex(one.key),
      blocked: one.blocked,
      ...(suite === 1 ? {} : { suite: one.suite, newest: one.newest, may_be_older: one.allowsOlder }),
    });
  }
  return found;
}

function changes(before: Facts, after: Facts): unknown[] {
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name) => {
    const now = after.get(name) ?? null;
    const [about = "", id = ""] = name.split(" ");
    return JSON.stringify(now) === JSON.stringify(before.get(name) ?? null) ? [] : [{ about, id, now }];
  });
}

/** Plays every client's part of each scene; returns how many steps there were. */
function play(suite: Suite, scenes: readonly Scene[]): number {
  const named = new Map(scenes.map((scene) => [scene.name, scene]));
  let played = 0;
  for (const scene of scenes) {
    const whole: Step[] = [];
    for (let one: Scene | undefined = scene; one !== undefined; one = named.get(one.after ?? "")) {
      whole.unshift(...one.steps);
    }
    for (const name of new Set(scene.steps.map((step) => step.client))) {
      const steps = whole.filter((step) => step.client === name);
      const part = new Part(steps[0]?.at ?? 0, suite);
      for (const [number, step] of steps.entries()) {
        try {
          part.play(step);
        } catch (error) {
          throw new Error(`${scene.name}, ${name}, step ${number} (${step.do})`, { cause: error });
        }
        played += 1;
      }
    }
  }
  return played;
}

for (const [suite, file] of FILES) {
  const isThere = existsSync(join(PROJECT, "protocol", "vectors", file));
  test(`whole clients that know suite ${suite} do what is listed`, { skip: !isThere }, () => {
    const { scenes } = vectors(file) as { readonly scenes: readonly Scene[] };
    const played = play(suite, scenes);
    assert.ok(played > 300, `${played} steps`);
  });
  test(`a step of suite ${suite} that is not listed so is noticed`, { skip: !isThere }, () => {
    const { scenes } = vectors(file) as { readonly scenes: readonly Scene[] };
    const [first] = scenes;
    assert.ok(first !== undefined);
    for (const [what, other] of [
      [/"status":"delivered"/, '"status":"read"'],
      [/"event":"text"/, '"event":"read"'],
      [/"purpose":"nonce","value":"\w{24}"/, `"purpose":"nonce","value":"${"00".repeat(12)}"`],
    ] as const) {
      const spoilt = JSON.stringify(first).replace(what, other);
      assert.notEqual(spoilt, JSON.stringify(first));
      assert.throws(() => play(suite, [JSON.parse(spoilt) as Scene]), what.source);
    }
  });
}
