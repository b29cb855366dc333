/** Plays `devices.json`: lists, how they are taken up, codes, links, and whose a message is. */

import {
  type Device,
  type DeviceList,
  consent,
  parseList,
  signList,
} from "../../core/client/devices/device_list.ts";
import { type KnownList, following, takeUp } from "../../core/client/devices/known_list.ts";
import { type LinkCode, linkLine, parseLinkLine } from "../../core/client/devices/link_code.ts";
import { FirstDevice, LINK_MS, NewDevice } from "../../core/client/devices/linking.ts";
import { Routing } from "../../core/client/devices/routing.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { errorOf, raw, same } from "./base.ts";

/** What comes of it, or the error with which it ends, as it is listed. */
function outcome(act: () => object): object {
  let found: object = {};
  const error = errorOf(() => {
    found = act();
  });
  return error === null ? found : { error };
}

// --- lists ---------------------------------------------------------------------------------------

export interface ListCase {
  readonly seeds: readonly string[];
  readonly added: readonly number[];
  readonly revision: number;
  readonly previous: string;
  readonly at: number;
  readonly until: number;
  readonly expect: { readonly encoded: string };
}

export function playList({ seeds, added, previous, expect, revision, at, until }: ListCase): void {
  const own = seeds.map((seed) => new OwnIdentity(raw(seed)));
  const [first] = own;
  if (first === undefined) throw new Error("a list has a first device");
  const devices = own.map(
    (one, place): Device => ({
      key: one.peer.public,
      added: added[place] ?? -1,
      consent: consent(one, first.peer.userId),
    }),
  );
  const made = signList(first, { revision, previous: raw(previous), at, until, devices });
  same(shown(made), expect, "list");
  same(shown(parseList(raw(expect.encoded))), expect, "list that was read");
}

function shown({ encoded, hash, person, ids }: DeviceList): object {
  return { encoded, hash, person, ids };
}

export function playRefusedList({ encoded, expect }: { readonly encoded: string; readonly expect: object }): void {
  same(outcome(() => parseList(raw(encoded))), expect, "end");
}

export interface TakingCase {
  readonly person: string;
  readonly lists: readonly { readonly encoded: string; readonly now: number }[];
  readonly expect: object;
}

export function playTaking({ person, lists, expect }: TakingCase): void {
  let known: KnownList | null = null;
  for (const [place, { encoded, now }] of lists.entries()) {
    const before: KnownList | null = known;
    const take = (): KnownList => takeUp(before, parseList(raw(encoded)), raw(person), now);
    if (place < lists.length - 1) {
      known = take();
      continue;
    }
    const end = outcome(() => {
      const { newest, usable } = take();
      return { revision: newest.revision, usable };
    });
    same(end, expect, "what is known");
  }
}

export interface FollowingCase {
  readonly known: string | null;
  readonly is_restored: boolean;
  readonly expect: object;
}

export function playFollowing({ known, is_restored: isRestored, expect }: FollowingCase): void {
  same(following(known === null ? null : parseList(raw(known)), isRestored), expect, "the next one");
}

// --- codes ---------------------------------------------------------------------------------------

export function playCode({ text, expect }: { readonly text: string; readonly expect: object }): void {
  const found = outcome(() => {
    const code = parseLinkLine(text);
    return { ...code, shown: linkLine(code) };
  });
  same(found, expect, "code");
}

// --- links ---------------------------------------------------------------------------------------

/** What all links have in common. */
export interface LinkGround {
  readonly code: string;
  readonly first_seed: string;
  readonly new_seed: string;
  readonly first_nonce: string;
  readonly new_nonce: string;
}

type Field = "sender_key" | "commitment" | "mac" | "nonce" | "consent" | "list" | "digits";

export type LinkStep = {
  readonly do: string;
  readonly now: number;
  readonly expect: object;
} & { readonly [Name in Field]?: string };

export interface LinkCase {
  readonly steps: readonly LinkStep[];
}

/** Both sides of a link. */
class Both {
  readonly fresh: NewDevice;
  readonly first: FirstDevice;

  constructor(ground: LinkGround) {
    const code: LinkCode = parseLinkLine(ground.code);
    const [first, fresh] = [ground.first_seed, ground.new_seed].map((seed) => new OwnIdentity(raw(seed)));
    if (first === undefined || fresh === undefined) throw new Error("a link has two ends");
    this.fresh = new NewDevice(fresh, code, raw(ground.new_nonce), LINK_MS);
    this.first = new FirstDevice(first.peer, fresh.peer.public, code, raw(ground.first_nonce), 0);
  }

  play(step: LinkStep): object {
    const given = (name: Field): Uint8Array => raw(step[name]);
    const { now } = step;
    const key = given("sender_key");
    switch (step.do) {
      case "offer": {
        const { value: nonce, mac } = this.fresh.offered(key, given("commitment"), given("mac"), now);
        return { person: this.fresh.person, nonce, mac };
      }
      case "answer":
        return { nonce: this.first.answered(key, given("nonce"), given("mac"), now), digits: this.first.digits };
      case "reveal":
        return { digits: this.fresh.revealed(key, given("nonce"), now) };
      case "agree":
        return { consent: this.fresh.agreed(now) };
      case "type":
        return { right: this.first.typed(step.digits ?? "", now) };
      case "consent":
        this.first.consented(key, given("consent"), now);
        return {};
      case "take-in": {
        const device = this.first.newDevice(0);
        return device === null ? { error: "InvalidMessage" } : { consent: device.consent };
      }
      case "done":
        return { hash: this.fresh.linked(key, given("list")).hash };
      default:
        throw new Error(`nobody plays ${step.do}`);
    }
  }
}

export function playLink({ steps }: LinkCase, ground: LinkGround): void {
  const both = new Both(ground);
  for (const [place, step] of steps.entries()) {
    same(outcome(() => both.play(step)), step.expect, `step ${place}: ${step.do}`);
  }
  const offered = steps.find((step) => step.do === "offer" && !("error" in step.expect));
  if (offered === undefined) return;
  const { value: commitment, mac } = new Both(ground).first.offer();
  same({ commitment, mac }, { commitment: offered.commitment, mac: offered.mac }, "offer");
}

// --- whose a message is --------------------------------------------------------------------------

export interface RoutingCase {
  readonly person: string;
  readonly device: string;
  readonly usable: readonly { readonly person: string; readonly ids: readonly string[] }[];
  readonly people: readonly string[];
  readonly expect: {
    readonly person_of: Readonly<Record<string, string>>;
    readonly recipients: Readonly<Record<string, readonly string[]>>;
    readonly texts: readonly { readonly sender: string; readonly to: string | null; readonly with: string | null }[];
  };
}

export function playRouting({ person, device, usable, people, expect }: RoutingCase): void {
  const found = new Routing({
    person,
    device,
    usable: new Map(usable.map((one) => [one.person, one.ids])),
    isPerson: (userId) => people.includes(userId),
  });
  for (const [one, whose] of Object.entries(expect.person_of)) {
    same(found.personOf(one), whose, `person of ${one}`);
    same(found.isOwn(one), whose === person, `own: ${one}`);
  }
  for (const [one, ids] of Object.entries(expect.recipients)) same(found.recipients(one), ids, `recipients: ${one}`);
  for (const { sender, to, with: peer } of expect.texts) same(found.conversationOf(sender, to), peer, `text: ${sender}`);
}
