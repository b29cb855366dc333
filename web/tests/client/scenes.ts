/** Plays whole clients, as `protocol/vectors` lists them: each gets what is listed, and must do what is expected. */
import assert from "node:assert/strict";
import { fromHex, toHex } from "../../core/bytes.ts";
import { parseList } from "../../core/client/devices/device_list.ts";
import type { Extend } from "../../core/client/extension.ts";
import type { Groups } from "../../core/client/groups/groups.ts";
import { groupsOf } from "../../core/client/groups/main.ts";
import { textsOf } from "../../core/client/groups/records.ts";
import { GroupStore, idOf, stateOf } from "../../core/client/groups/store.ts";
import { Messenger } from "../../core/client/messenger.ts";
import * as records from "../../core/client/records.ts";
import { DeliveryState } from "../../core/client/status.ts";
import type { Event } from "../../core/client/status.ts";
import { openVault } from "../../core/client/vault.ts";
import type { Vault } from "../../core/client/vault.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { Feature } from "../../core/wire/frames.ts";
import * as later from "../../worker/later.ts";
import { random } from "./support.ts";

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
  readonly contact: string;
  readonly user_id: string;
  readonly body: string;
  readonly burn_after_read: boolean;
  readonly expires_in: number | null;
  readonly message: string;
  readonly group: string;
  readonly title: string;
  readonly people: readonly string[];
  readonly role: "member" | "admin";
  readonly name: string;
  readonly relay: string;
  readonly code: number | string | null;
  readonly digits: string;
}

export interface Scene {
  readonly name: string;
  readonly after?: string;
  readonly steps: readonly Step[];
}

/** The greatest suite that they know. */
export type Suite = 1 | 2;

/** What the clients of a file know. */
export interface Knows {
  readonly suite: Suite;
  readonly groups?: boolean;
  readonly devices?: boolean;
  /** Whose parts are played; all if left out. */
  readonly clients?: readonly string[];
}

const AMOUNTS = { oneTime: { target: 3, refillBelow: 1 }, kem: { target: 2, refillBelow: 1 } };

type Facts = Map<string, unknown>;

/** A client that lives through its steps. */
class Part {
  private at = 0;
  private readonly began: number;
  private draws: Drawn[] = [];
  private facts: Facts = new Map();
  private readonly vault: Vault;
  private messenger: Messenger | null = null;

  private groups: Groups | null = null;

  constructor(
    began: number,
    private readonly knows: Knows,
  ) {
    this.at = this.began = began;
    this.vault = openVault(new Uint8Array(32), random, []);
  }

  play(step: Step): void {
    this.at = step.at;
    this.draws.push(...step.randomness);
    if (this.messenger === null) {
      assert.equal(step.do, "open");
      const given = {
        wall: () => this.at,
        monotonic: () => 1_000_000 + this.at - this.began,
        random: (size: number) => this.draw(size),
        amounts: AMOUNTS,
        ...(this.knows.devices === true ? { later } : {}),
      };
      this.messenger = new Messenger(this.vault, given, this.knows.groups === true ? this.extend : undefined);
      if (this.knows.suite === 1) {
        knowsNoBetter(this.messenger);
      }
    } else if (step.do.startsWith("device-")) {
      obeyWithDevices(this.messenger, step);
    } else if (this.groups !== null && step.do.startsWith("group-")) {
      obeyInGroup(this.groups, step);
    } else {
      obey(this.messenger, this.vault, this.knows.suite === 1 ? undated(step) : step);
    }
    this.compare(step, this.messenger);
  }

  private readonly extend: Extend = (ports) => {
    const { extension, groups } = groupsOf(ports);
    this.groups = groups;
    const features = this.knows.devices === true ? [Feature.DEVICES, Feature.ALLOWANCE] : [];
    return { ...extension, features: [...extension.features, ...features] };
  };

  private draw(size: number): Uint8Array {
    // In what order things of different sizes are drawn within a step is nobody's concern.
    const place = this.draws.findIndex(({ value }) => value.length === 2 * size);
    const [drawn] = place < 0 ? [] : this.draws.splice(place, 1);
    assert.ok(drawn !== undefined, `${size} bytes are drawn that are not listed`);
    const value = fromHex(drawn.value);
    return value;
  }

  private compare(step: Step, messenger: Messenger): void {
    const before = this.facts;
    const groups = this.groups === null ? [] : groupFacts(this.vault);
    this.facts = new Map([...factsOf(this.vault, this.knows.suite), ...deviceFacts(this.vault), ...groups]);
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
      return void messenger.disconnected(typeof step.code === "number" ? step.code : null, "");
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

function obeyWithDevices(messenger: Messenger, step: Step): void {
  const { devices } = messenger;
  assert.ok(devices !== null);
  switch (step.do) {
    case "device-show":
      devices.linking.show(step.relay, step.name);
      break;
    case "device-link":
      return devices.linking.begin(String(step.code), { history: false });
    case "device-confirm":
      return assert.ok(devices.linking.type(step.digits));
    case "device-agree":
      return devices.linking.agree();
    case "device-remove":
      devices.desk.remove(step.user_id);
      break;
    default:
      throw new Error(`there is no step ${step.do}`);
  }
}

function obeyInGroup(groups: Groups, step: Step): void {
  const { group } = step;
  switch (step.do) {
    case "group-create":
      groups.create(step.title, step.people);
      break;
    case "group-accept":
      return groups.accept(group);
    case "group-write":
      groups.sendText(group, step.body);
      break;
    case "group-read":
      return groups.markRead(group, step.user_id, step.message);
    case "group-add":
      return groups.add(group, step.people, "member");
    case "group-remove":
      return groups.remove(group, step.people);
    case "group-role":
      return groups.setRole(group, step.user_id, step.role);
    case "group-title":
      return groups.rename(group, step.title);
    case "group-timer":
      return groups.setTimer(group, step.expires_in ?? 0);
    case "group-leave":
      return groups.leave(group);
    case "group-call-me":
      return groups.callMe(group, step.name);
    case "group-close":
      return groups.close(group);
    case "group-go-on":
      return groups.goOn(group);
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
    case "group-message":
      return [{ event: "group-text", group: event.group, message: event.messageId }];
    case "group":
      return [{ event: `group-${event.news}`, group: event.group }];
    case "linking":
      return [{ event: `link-${event.step}`, ...(event.digits === "" ? {} : { digits: event.digits }) }];
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

/** What a client has stored of devices: the list of each person. */
function deviceFacts(vault: Vault): Facts {
  const found: Facts = new Map();
  for (const [, { encoded, person }] of vault.all(records.DEVICES)) {
    const { ids, revision } = parseList(encoded);
    found.set(`devices ${person}`, { revision, devices: ids.map((id) => encodeBase64(id)) });
  }
  return found;
}

/** What a client has stored of groups, and of what was said in them. */
function groupFacts(vault: Vault): Facts {
  const found: Facts = new Map();
  const store = new GroupStore(vault);
  for (const group of store.all()) {
    const { record } = group;
    const state = stateOf(group);
    const names = [...record.names].filter(([, name]) => name !== "");
    found.set(`group ${idOf(group)}`, {
      relation: record.relation,
      doubt: record.doubt,
      revision: state.revision,
      head: toHex(group.chain.head),
      title: state.name,
      timer: state.timer,
      members: Object.fromEntries(state.members),
      absent: record.absent,
      ...(names.length > 0 ? { names: Object.fromEntries(names) } : {}),
    });
    for (const [, { messageId, read, sender, state: reached, text }] of vault.all(textsOf(record.number))) {
      const more = sender === "" ? { state: wordOf(reached) } : { read };
      found.set(`group-text ${messageId}`, { from: sender, text, ...more });
    }
    for (const [sender, { last, missing }] of store.counts(idOf(group)).others) {
      found.set(`group-numbers ${sender}`, { last, missing });
    }
  }
  for (const { messageId, status } of store.told()) {
    found.set(`group-to-tell ${messageId}`, { status });
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

/** Whether a client's part is played. */
export function isPlayed(knows: Knows, client: string): boolean {
  return knows.clients?.includes(client) ?? true;
}

/** Plays every client's part of each scene; returns how many steps there were. */
export function play(knows: Knows, scenes: readonly Scene[]): number {
  const named = new Map(scenes.map((scene) => [scene.name, scene]));
  let played = 0;
  for (const scene of scenes) {
    const whole: Step[] = [];
    for (let one: Scene | undefined = scene; one !== undefined; one = named.get(one.after ?? "")) {
      whole.unshift(...one.steps);
    }
    for (const name of new Set(scene.steps.map((step) => step.client))) {
      if (!isPlayed(knows, name)) continue;
      const steps = whole.filter((step) => step.client === name);
      const part = new Part(steps[0]?.at ?? 0, knows);
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
