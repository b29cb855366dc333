/**
 * What a group is after a change: its name, its members and their roles, and the head that everybody compares.
 *
 * A state is only made by the changes that lead to it, or read from an invitation whose change names its head
 * (groups.md, "State").
 */

import { NO_BYTES, compare, concat, fromUtf8, isEqual, readU32, u32, u64, utf8 } from "../../bytes.ts";
import { InvalidMessage } from "../../crypto/errors.ts";
import { sha256, sha512 } from "../../crypto/primitives.ts";
import { encodeBase64, fromBase64 } from "../../wire/base64.ts";
import { MAX_EXPIRES_IN_MS } from "../../wire/limits.ts";
import { type Change, ID_BYTES, MAX_NAME_BYTES, NONE, type Op, RefusedChange, type Role } from "./change.ts";
import { pictureName } from "./picture.ts";

export const MAX_MEMBERS = 100;
/** As many as the relay lets write one order. */
export const MAX_ADMINS = 16;
/** How far a revision may be ahead of the last one: what was refused in between, or lost by a relay, is left out. */
export const MAX_AHEAD = 1024;
/** How often the head is hashed for people: twenty digits are few, and so each try costs an attacker more. */
export const DIGIT_ROUNDS = 100_000;

/** The first byte of a state without a picture, and of one with. */
const FORMS = [1, 2] as const;
const HEAD = utf8("phantom/1 group-head\n");
const DIGITS = utf8("phantom/1 group-digits\n");
const CONVERSATION = utf8("phantom/1 group conversation\n");
const ORDER = utf8("phantom/1 order\n");

/** How a role is written, and which of two is more. */
const RANKS = { member: 1, admin: 2 } as const;

/** A group after its change `revision`; before the first one, 0 and no members. */
export interface GroupState {
  /** 32 bytes. */
  readonly group: Uint8Array;
  readonly revision: number;
  readonly name: string;
  /** Milliseconds after which texts expire, 0: not. */
  readonly timer: number;
  /** What one must be for it, at least. */
  readonly invite: Role;
  readonly write: Role;
  readonly isClosed: boolean;
  /** The name of its picture, 32 bytes; empty if it has none. */
  readonly picture: Uint8Array;
  /** Roles by user id in base64, in the order of the raw ids. */
  readonly members: ReadonlyMap<string, Role>;
}

/** A group before its first change. */
export function emptyState(group: Uint8Array): GroupState {
  const members: ReadonlyMap<string, Role> = new Map();
  const rights = { invite: "admin", write: "member" } as const;
  return { group, revision: 0, name: "", timer: 0, ...rights, isClosed: false, picture: NO_BYTES, members };
}

/** Who may change a group, in the order of the ids. */
export function adminsOf(state: GroupState): string[] {
  return [...state.members].filter(([, role]) => role === "admin").map(([person]) => person);
}

/** Whether texts of a person are shown now. */
export function mayWrite(state: GroupState, person: string): boolean {
  return !state.isClosed && hasAtLeast(state, person, state.write);
}

/** Whether a person may have others invited now. */
export function mayInvite(state: GroupState, person: string): boolean {
  return !state.isClosed && hasAtLeast(state, person, state.invite);
}

function hasAtLeast({ members }: GroupState, person: string, role: Role): boolean {
  const has = members.get(person);
  return has !== undefined && RANKS[has] >= RANKS[role];
}

// --- bytes ------------------------------------------------------------------------

/** The one form of a state, in bytes. */
export function encodeState(state: GroupState): Uint8Array {
  const name = utf8(state.name);
  const rights = Uint8Array.of(RANKS[state.invite], RANKS[state.write], Number(state.isClosed), name.length);
  const people = [...state.members].flatMap(([person, role]) => [fromBase64(person), Uint8Array.of(RANKS[role])]);
  const form = Uint8Array.of(FORMS[state.picture.length > 0 ? 1 : 0]);
  const before = [form, state.group, u32(state.revision), u64(state.timer), rights, name, state.picture];
  return concat(...before, Uint8Array.of(state.members.size), ...people);
}

const AT_REVISION = 1 + ID_BYTES;
const AT_TIMER = AT_REVISION + 4;
const AT_RIGHTS = AT_TIMER + 8;
const AT_NAME = AT_RIGHTS + 4;
const PERSON_BYTES = ID_BYTES + 1;

/**
 * Reads a state.
 *
 * @throws InvalidMessage These bytes are no state, or not in the one form that it has.
 */
export function decodeState(encoded: Uint8Array): GroupState {
  const found = readState(encoded);
  if (found === null || found.revision === 0 || !fits(found) || !isEqual(encodeState(found), encoded)) {
    throw new InvalidMessage("the state of the group is not valid");
  }
  return found;
}

/** What the bytes say, if they have its length; what they say too much shows when they are written again. */
function readState(encoded: Uint8Array): GroupState | null {
  const [invite, write, closed = 0, length = 0] = encoded.subarray(AT_RIGHTS, AT_NAME);
  const named = AT_NAME + length;
  const start = named + (encoded[0] === FORMS[1] ? ID_BYTES : 0);
  const count = encoded[start];
  if (count === undefined || encoded.length !== start + 1 + count * PERSON_BYTES) return null;
  const people = Array.from({ length: count }, (_, index) => {
    const at = start + 1 + index * PERSON_BYTES;
    return [encoded.slice(at, at + ID_BYTES), roleOf(encoded[at + ID_BYTES])] as const;
  });
  const rights = { invite: roleOf(invite), write: roleOf(write) };
  const name = textOf(encoded.subarray(AT_NAME, named));
  if (rights.invite === null || rights.write === null || name === null) return null;
  const members = new Map<string, Role>();
  for (const [person, role] of people.sort(([one], [other]) => compare(one, other))) {
    if (role === null) return null;
    members.set(encodeBase64(person), role);
  }
  return {
    group: encoded.slice(1, AT_REVISION),
    revision: readU32(encoded, AT_REVISION),
    name,
    timer: readU32(encoded, AT_TIMER) * 2 ** 32 + readU32(encoded, AT_TIMER + 4),
    invite: rights.invite,
    write: rights.write,
    isClosed: closed === 1,
    picture: encoded.slice(named, start),
    members,
  };
}

function roleOf(rank: number | undefined): Role | null {
  return rank === RANKS.member ? "member" : rank === RANKS.admin ? "admin" : null;
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return fromUtf8(bytes);
  } catch {
    return null;
  }
}

function fits(state: GroupState): boolean {
  const admins = adminsOf(state).length;
  return (
    state.members.size <= MAX_MEMBERS &&
    admins >= 1 &&
    admins <= MAX_ADMINS &&
    utf8(state.name).length <= MAX_NAME_BYTES &&
    state.timer <= MAX_EXPIRES_IN_MS
  );
}

// --- changing ---------------------------------------------------------------------

/**
 * The state that a change leads to, whatever head it follows.
 *
 * @throws RefusedChange `group`, `closed`, `revision`, `author`, `newer`, `ops` or `bounds`.
 */
export function stateAfter(state: GroupState, change: Change): GroupState {
  checkMay(state, change);
  if (change.ops === null) throw new RefusedChange("newer");
  checkClear(change.ops);
  const members = new Map(state.members);
  let after: GroupState = { ...state, revision: change.revision };
  for (const op of change.ops) {
    applyToMembers(members, op);
    after = withOp(after, op);
  }
  after = { ...after, members: inOrder(members) };
  if (state.revision === 0 && after.members.get(change.author) !== "admin") throw new RefusedChange("author");
  if (!fits(after)) throw new RefusedChange("bounds");
  return after;
}

function checkMay(state: GroupState, change: Change): void {
  const { revision } = state;
  if (!isEqual(change.group, state.group)) throw new RefusedChange("group");
  if (state.isClosed) throw new RefusedChange("closed");
  const last = revision === 0 ? 1 : revision + MAX_AHEAD;
  if (change.revision <= revision || change.revision > last) throw new RefusedChange("revision");
  if (revision > 0 && state.members.get(change.author) !== "admin") throw new RefusedChange("author");
}

/** Nothing is said twice: so the order of what a change does makes no difference. */
function checkClear(ops: readonly Op[]): void {
  const said = ops.map((op) => ("person" in op ? `person ${op.person}` : op.op));
  if (new Set(said).size !== said.length) throw new RefusedChange("ops");
}

function applyToMembers(members: Map<string, Role>, op: Op): void {
  if (!("person" in op)) return;
  if (members.has(op.person) !== (op.op !== "add")) throw new RefusedChange("ops");
  if (op.op === "remove") members.delete(op.person);
  else members.set(op.person, op.role);
}

function withOp(state: GroupState, op: Op): GroupState {
  switch (op.op) {
    case "name":
      return { ...state, name: op.text };
    case "timer":
      return { ...state, timer: op.ms };
    case "rights":
      return { ...state, invite: op.invite, write: op.write };
    case "picture":
      return { ...state, picture: pictureName(op.data) };
    case "close":
      return { ...state, isClosed: true };
    default:
      return state;
  }
}

function inOrder(members: ReadonlyMap<string, Role>): ReadonlyMap<string, Role> {
  const sorted = [...members].map(([person, role]) => [fromBase64(person), person, role] as const);
  sorted.sort(([one], [other]) => compare(one, other));
  return new Map(sorted.map(([, person, role]) => [person, role]));
}

/** What of some ops would still change a group: others may have done it meanwhile, or made it impossible. */
export function stillToSay(ops: readonly Op[], state: GroupState): Op[] {
  return ops.filter((op) => saysSomething(op, state));
}

function saysSomething(op: Op, state: GroupState): boolean {
  switch (op.op) {
    case "add":
      return !state.members.has(op.person);
    case "remove":
      return state.members.has(op.person);
    case "role":
      return (state.members.get(op.person) ?? op.role) !== op.role;
    case "name":
      return op.text !== state.name;
    case "timer":
      return op.ms !== state.timer;
    case "rights":
      return op.invite !== state.invite || op.write !== state.write;
    case "picture":
      return !isEqual(pictureName(op.data), state.picture);
    case "close":
      return !state.isClosed;
  }
}

// --- names and heads --------------------------------------------------------------

/** What everybody compares: 32 bytes that name a change and all that the group is after it. */
export function headOf(digest: Uint8Array, state: GroupState): Uint8Array {
  return state.revision === 0 ? NONE : sha256(concat(HEAD, digest, encodeState(state)));
}

/** A head as four groups of five digits, for people to compare. It takes a while. */
export function digitsOf(head: Uint8Array): string[] {
  let found = sha512(concat(DIGITS, head));
  const both = new Uint8Array(found.length + head.length);
  both.set(head, found.length);
  for (let round = 0; round < DIGIT_ROUNDS; round += 1) {
    both.set(found);
    found = sha512(both);
  }
  return [0, 5, 10, 15].map((at) => {
    const [first = 0] = found.subarray(at);
    const group = (first * 2 ** 32 + readU32(found, at + 1)) % 100_000;
    return String(group).padStart(5, "0");
  });
}

/** The conversation id of a group's messages at the relay, in base64. */
export function conversationOf(group: Uint8Array): string {
  return encodeBase64(sha256(concat(CONVERSATION, group)));
}

/** The name under which the relay puts a group's changes in order, before base64. */
export function orderOf(group: Uint8Array): Uint8Array {
  return sha256(concat(ORDER, group));
}
