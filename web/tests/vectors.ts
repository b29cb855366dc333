/**
 * The vectors of `protocol/vectors/` as cases that can be played in Node and in a browser: the files' contents come in
 * as parsed JSON, and nothing here reads a disk.
 */

import { type ListedPerson, type People, peopleOf } from "./crypto/base.ts";
import { playContent, playRead2, playRefused2, playWritten2 } from "./crypto/play_content.ts";
import {
  type LinkCase,
  type LinkGround,
  playCode,
  playFollowing,
  playLink,
  playList,
  playRefusedList,
  playRouting,
  playTaking,
} from "./crypto/play_devices.ts";
import {
  type GroupsGround,
  playAsked,
  playChain,
  playHeads,
  playInvitation,
  playJoinLink,
  playMember,
  playNames,
  playRefusedChange,
  playState,
} from "./crypto/play_groups.ts";
import { playDeliveries } from "./crypto/play_open.ts";
import { Play, type Transcript } from "./crypto/play_ratchet.ts";
import { playRefused } from "./crypto/play_refused.ts";
import { playHandshake, playIdentity, playLength, playPadding, playPerson, playSafety } from "./crypto/play_small.ts";
import { type SessionsTranscript, playSessions2 } from "./crypto/play_sessions2.ts";
import {
  type Refusal,
  type Transcript2,
  playBody,
  playHandshake2,
  playLength2,
  playRefusal2,
  playTranscript2,
} from "./crypto/play_suite2.ts";
import { playFrame, playMistaken, playPair, playValue, playWritten } from "./wire/play_wire.ts";

/** The files that are played here. Those of whole clients are played where whole clients are tested. */
export const FILES = [
  "canonical.json",
  "user-ids.json",
  "written-ids.json",
  "prekeys.json",
  "handshakes.json",
  "ratchet.json",
  "ratchet-limits.json",
  "padding.json",
  "safety-numbers.json",
  "content.json",
  "content-2.json",
  "refused.json",
  "suite2-handshakes.json",
  "suite2-bodies.json",
  "suite2-ratchet.json",
  "suite2-sessions.json",
  "devices.json",
  "groups.json",
] as const;
export type FileName = (typeof FILES)[number];

/** A list of cases in a file: `file` and the member's name. */
export type ListName = `${FileName}/${string}`;

/** Parsed files by name. */
export type Files = Readonly<Record<FileName, Readonly<Record<string, unknown>>>>;

export interface Case {
  readonly list: ListName;
  readonly name: string;
  /** As the file lists it. */
  readonly listed: object;
  /** Plays this case, or a changed one in its place; throws if anything is not as it is listed. */
  readonly play: (listed: object) => void;
}

/** What all cases of a run stand on. */
interface Ground {
  readonly people: People;
  readonly conversations: ReadonlyMap<string, Transcript>;
  readonly link: LinkGround;
  readonly groups: GroupsGround;
}

type Player = (listed: never, ground: Ground) => unknown;

const PLAYERS: Readonly<Record<ListName, Player>> = {
  "canonical.json/values": playValue,
  "canonical.json/frames": playFrame,
  "user-ids.json/identities": playIdentity,
  "user-ids.json/conversations": playPair,
  "written-ids.json/written": playWritten,
  "written-ids.json/mistaken": playMistaken,
  "prekeys.json/people": playPerson,
  "handshakes.json/cases": playHandshake,
  "ratchet.json/transcripts": (one: Transcript, { people }: Ground) => new Play(people, one),
  "ratchet-limits.json/transcripts": (one: Transcript, { people }: Ground) => new Play(people, one),
  "padding.json/contents": playPadding,
  "padding.json/lengths": (one: Parameters<typeof playLength>[0]) => playLength(one),
  "safety-numbers.json/cases": playSafety,
  "content.json/contents": playContent,
  "content.json/conversations": (one: Parameters<typeof playDeliveries>[1], { people }: Ground) =>
    playDeliveries(people, one),
  "content-2.json/contents": playWritten2,
  "content-2.json/read": playRead2,
  "content-2.json/refused": playRefused2,
  "refused.json/conversations": (one: Transcript, { people }: Ground) => new Play(people, one),
  "refused.json/refused": playRefused,
  "refused.json/controls": playRefused,
  "suite2-handshakes.json/cases": playHandshake2,
  "suite2-handshakes.json/refused": (one: Refusal, { people }: Ground) => playRefusal2(people, one),
  "suite2-bodies.json/bodies": playBody,
  "suite2-bodies.json/lengths": playLength2,
  "suite2-bodies.json/refused": (one: Refusal, { people }: Ground) => playRefusal2(people, one),
  "suite2-bodies.json/controls": (one: Refusal, { people }: Ground) => playRefusal2(people, one),
  "suite2-ratchet.json/transcripts": (one: Transcript2, { people }: Ground) => playTranscript2(people, one),
  "suite2-sessions.json/transcripts": (one: SessionsTranscript, { people }: Ground) => playSessions2(people, one),
  "devices.json/lists": playList,
  "devices.json/refused": playRefusedList,
  "devices.json/takings": playTaking,
  "devices.json/following": playFollowing,
  "devices.json/codes": playCode,
  "devices.json/links": (one: LinkCase, { link }: Ground) => playLink(one, link),
  "devices.json/routings": playRouting,
  "groups.json/people": playMember,
  "groups.json/names": playNames,
  "groups.json/chains": (one: Parameters<typeof playChain>[0], { groups }: Ground) => playChain(one, groups),
  "groups.json/refused": (one: Parameters<typeof playRefusedChange>[0], { groups }: Ground) =>
    playRefusedChange(one, groups),
  "groups.json/states": playState,
  "groups.json/invitations": playInvitation,
  "groups.json/heads": (one: Parameters<typeof playHeads>[0], { groups }: Ground) => playHeads(one, groups),
  "groups.json/links": playJoinLink,
  "groups.json/asked": playAsked,
};

/** Every list of cases in the files, whether somebody plays it or not. */
export function listsIn(files: Files): ReadonlyMap<ListName, readonly object[]> {
  const all = FILES.flatMap((file) =>
    Object.entries(files[file])
      .filter((entry): entry is [string, object[]] => Array.isArray(entry[1]))
      .map(([list, cases]) => [`${file}/${list}`, whole(cases as readonly Continued[])] as const),
  );
  return new Map(all);
}

interface Continued {
  readonly name: string;
  /** The transcript whose steps come first; it stands before this one. */
  readonly after?: string;
  readonly steps: readonly object[];
}

/** The cases, each transcript with all of its steps. */
function whole(cases: readonly Continued[]): readonly object[] {
  const found = new Map<string, Continued>();
  return cases.map(({ after, ...one }) => {
    if (after === undefined) {
      found.set(one.name, one);
      return one;
    }
    const all = { ...one, steps: [...(found.get(after)?.steps ?? []), ...one.steps] };
    found.set(one.name, all);
    return all;
  });
}

/**
 * All cases that are played here.
 *
 * @throws Error There is a list that nobody knows how to play.
 */
export function casesOf(files: Files): readonly Case[] {
  const ground: Ground = {
    people: peopleOf(files["prekeys.json"] as unknown as { readonly people: readonly ListedPerson[] }),
    conversations: named(files["refused.json"]["conversations"] as readonly Transcript[]),
    link: files["devices.json"]["link"] as LinkGround,
    groups: {
      members: files["groups.json"]["people"] as GroupsGround["members"],
      refused: files["groups.json"]["refused"] as GroupsGround["refused"],
    },
  };
  return [...listsIn(files)].flatMap(([list, cases]) => cases.map((listed) => caseOf(list, listed, ground)));
}

function named<T extends { readonly name: string }>(all: readonly T[]): ReadonlyMap<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}

function caseOf(list: ListName, listed: object, ground: Ground): Case {
  const player = PLAYERS[list];
  if (player === undefined) throw new Error(`nobody plays ${list}`);
  const { name = "" } = listed as { readonly name?: string };
  return { list, name, listed, play: (given) => void player(given as never, ground) };
}

// --- negative controls -------------------------------------------------------------------------

/** Members that only name something. */
const NAMES: ReadonlySet<string> = new Set(
  "name description op by message session order as from type recipient id operation now".split(" "),
);
/** Of `routings`, ids that may be others without anything coming of it: whoever is in no list is like anybody else. */
const IDS: ReadonlySet<string> = new Set("person device people ids sender to".split(" "));
/** How heads stand to a group that another wrong head does as well. */
const ANYTHING_ELSE: ReadonlySet<string> = new Set(["ahead", "fork", "unknown"]);
const HEX = /^(?:[0-9a-f]{2})+$/;

/** The case with one value changed, for each that a player must look at; `where` says which. */
export function* spoilt({ list, listed }: Case): Generator<{ readonly where: string; readonly listed: object }> {
  const isRouting = list === "devices.json/routings";
  for (const path of leavesOf(listed, [])) {
    if (isRouting && path.some((part) => IDS.has(part))) continue;
    const copy = structuredClone(listed) as Record<string, unknown>;
    let place: Record<string, unknown> = copy;
    for (const part of path.slice(0, -1)) place = place[part] as Record<string, unknown>;
    const last = path.at(-1) ?? "";
    place[last] = other(place[last]);
    yield { where: path.join("."), listed: copy };
  }
}

function* leavesOf(value: unknown, path: readonly string[]): Generator<readonly string[]> {
  if (Array.isArray(value)) {
    for (const [index, one] of value.entries()) yield* leavesOf(one, [...path, String(index)]);
  } else if (typeof value === "object" && value !== null) {
    const { expect } = value as { readonly expect?: { readonly error?: unknown } | string };
    for (const [name, one] of Object.entries(value)) {
      // Another wrong input is refused as well: of a refusal only what is expected is changed.
      const isRefused = typeof expect === "string" ? ANYTHING_ELSE.has(expect) : expect?.error !== undefined;
      const isInput = isRefused && name !== "expect";
      if (!NAMES.has(name) && !isInput) yield* leavesOf(one, [...path, name]);
    }
  } else if (value !== null && value !== "" && (path.includes("expect") || isHex(value))) {
    yield path;
  }
}

function isHex(value: unknown): boolean {
  return typeof value === "string" && HEX.test(value);
}

/** A value that differs in one byte, one digit or one character. */
function other(value: unknown): unknown {
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value + 1;
  const text = String(value);
  // Not the lowest bits: X25519 clears them in a private key. Nor the end: the second half of a KEM key's seed is only
  // used for ciphertexts that are wrong.
  if (isHex(text)) return (Number.parseInt(text.slice(0, 2), 16) ^ 8).toString(16).padStart(2, "0") + text.slice(2);
  const place = Math.floor(text.length / 2);
  return `${text.slice(0, place)}${text[place] === "1" ? "2" : "1"}${text.slice(place + 1)}`;
}
