/** Plays `groups.json`. */

import { Chain } from "../../core/client/groups/chain.ts";
import * as changes from "../../core/client/groups/change.ts";
import { decodeSaid } from "../../core/client/groups/contents.ts";
import { linkText, parseLink } from "../../core/client/groups/link.ts";
import { conversationOf, decodeState, digitsOf, emptyState, encodeState, headOf, orderOf } from "../../core/client/groups/state.ts";
import { UsageError } from "../../core/client/errors.ts";
import { CryptoError } from "../../core/crypto/errors.ts";
import { OwnIdentity } from "../../core/crypto/keys.ts";
import { encodeBase64, fromBase64 } from "../../core/wire/base64.ts";
import { Differs, raw, same, toHex } from "./base.ts";

interface Member {
  readonly name: string;
  readonly seed: string;
  readonly id: string;
  readonly key: string;
}

interface Step {
  readonly change: string;
  /** By whom it can be made anew. */
  readonly author?: string;
  readonly expect: { readonly verdict: string; readonly code: string; readonly state?: string; readonly head?: string };
}

interface ChainCase {
  readonly group: string;
  readonly steps: readonly Step[];
}

interface Named {
  readonly revision: number;
  readonly head: string;
  readonly expect: string;
}

/** A change that is skipped; the first one tells of which group. */
export interface RefusedGroupChange {
  readonly state?: string;
  readonly digest?: string;
  readonly change: string;
  readonly expect: { readonly code: string };
}

/** What cases of the file stand on. */
export interface GroupsGround {
  readonly members: readonly Member[];
  readonly refused: readonly RefusedGroupChange[];
}

export function playMember({ seed, id, key }: Member): void {
  const { peer } = new OwnIdentity(raw(seed));
  same({ id: peer.userId, key: peer.public }, { id, key }, "identity");
}

export function playChain(given: ChainCase, ground: GroupsGround): Chain {
  let chain = Chain.of(raw(given.group));
  for (const { change, author, expect } of given.steps) {
    const { verdict, code, chain: after } = chain.judge(raw(change));
    const found = { verdict, code };
    const whole = { ...found, state: encodeState(after.state), head: after.head };
    same(verdict === "applied" ? whole : found, expect, "what comes of it");
    same(decodedAgain(after), after.state.revision > 0 ? encodeState(after.state) : "", "the state read again");
    if (author !== undefined) playWriting(raw(change), memberOf(ground, author));
    chain = after;
  }
  return chain;
}

function decodedAgain({ state }: Chain): Uint8Array | string {
  return state.revision > 0 ? encodeState(decodeState(encodeState(state))) : "";
}

/** Who has made it makes it anew, byte by byte; and what is kept of it is what it was. */
function playWriting(encoded: Uint8Array, { seed }: Member): void {
  const found = changes.read(encoded);
  same(changes.readOwn(encoded), found, "read again");
  same(changes.write(new OwnIdentity(raw(seed)), { ...found, ops: found.ops ?? [] }).encoded, encoded, "written");
}

function memberOf({ members }: GroupsGround, name: string): Member {
  const found = members.find((one) => one.name === name);
  if (found === undefined) throw new Differs(`${name} is not there`);
  return found;
}

export function playRefusedChange(given: RefusedGroupChange, { refused }: GroupsGround): void {
  const [first] = refused;
  const { state = first?.state, digest = first?.digest } = given;
  const chain = new Chain(decodeState(raw(state)), raw(digest));
  const judged = chain.judge(raw(given.change));
  same({ verdict: judged.verdict, code: judged.code }, { verdict: "skipped", code: given.expect.code }, "why");
  same(judged.chain === chain, true, "the group stays as it is");
  same(refused.some((one) => follows(one, chain)), true, "what is refused would follow this head");
}

function follows({ change }: RefusedGroupChange, { head }: Chain): boolean {
  const found = orNull(() => changes.read(raw(change)));
  return found !== null && toHex(found.previous) === toHex(head);
}

export function playState({ state, expect }: { readonly state: string; readonly expect: { readonly is_state: boolean } }): void {
  const encoded = raw(state);
  const found = orNull(() => decodeState(encoded));
  same(found !== null, expect.is_state, "whether it is a state");
  if (found !== null) same(encodeState(found), encoded, "written");
}

interface Invitation {
  readonly state: string;
  readonly base: string;
  readonly change: string;
  readonly expect: { readonly head: string | null };
}

export function playInvitation({ state, base, change, expect }: Invitation): void {
  const found = orNull(() => Chain.joined(raw(state), raw(base), raw(change)));
  same(found?.head ?? null, expect.head, "head");
}

export function playHeads(given: ChainCase & { readonly named: readonly Named[] }, ground: GroupsGround): void {
  const chain = playChain(given, ground);
  for (const { revision, head, expect } of given.named) same(chain.compare(revision, raw(head)), expect, "standing");
}

interface LinkCase {
  readonly link: string;
  readonly expect: { readonly admin: string; readonly relay: string; readonly token: string } | null;
}

export function playJoinLink({ link, expect }: LinkCase): void {
  const found = orNull(() => parseLink(link));
  const shown = found === null ? null : { ...found, admin: fromBase64(found.admin) };
  same(shown, expect, "what it says");
  if (found !== null) same(linkText(found), link, "written");
}

interface AskedCase {
  readonly content: string;
  readonly expect: { readonly kind: string; readonly token: string } | null;
}

export function playAsked({ content, expect }: AskedCase): void {
  const found = orNull(() => decodeSaid(raw(content)));
  const shown = found !== null && "token" in found ? { kind: found.kind, token: found.token } : null;
  same(shown, expect, "what it says");
}

interface NamesCase {
  readonly group: string;
  readonly head: string;
  readonly expect: { readonly conversation: string; readonly order: string; readonly digits: string };
}

export function playNames({ group, head, expect }: NamesCase): void {
  const [id, digits] = [raw(group), digitsOf(raw(head)).join(" ")];
  same({ conversation: conversationOf(id), order: orderOf(id), digits }, {
    ...expect,
    conversation: encodeBase64(raw(expect.conversation)),
  }, "names");
  same(headOf(raw(head), emptyState(id)), new Uint8Array(32), "nothing comes before the first change");
}

function orNull<T>(act: () => T): T | null {
  try {
    return act();
  } catch (error) {
    if (error instanceof CryptoError || error instanceof UsageError) return null;
    throw error;
  }
}
