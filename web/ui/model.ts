/** Everything that is shown, as signals, and how the worker's updates change it. */
import { batch, computed, signal } from "@preact/signals";
import type { DevicesState } from "../devices_api.ts";
import { type Group, type GroupKey, isGroup } from "../groups_api.ts";
import type { Api, Connection, Conversation, Item, Me, Notice, Page, Settings, Stage, Update } from "../api.ts";
import { type Block, bounded, newest, oldest, withItems, withNewer, withOlder } from "./log.ts";
import { labelOf } from "./names.ts";
import { isSeen, notifyOf } from "./notify.ts";
import { askToKeep, isLocking, noteLocking, remember, remembered } from "./remember.ts";
import { sentenceOf } from "./remote.ts";
import { count } from "./times.ts";

/** What lies over the conversations; at most one at a time. */
export type Panel =
  | { readonly at: "new"; readonly who: string; readonly name: string }
  | { readonly at: "me" | "settings" | "backup" | "delete" | "keys" }
  | { readonly at: "devices"; readonly shows?: string }
  | { readonly at: "verify" | "rename" | "remove" | "block"; readonly peer: string }
  | { readonly at: "group-new" }
  | { readonly at: "group-join"; readonly link: string }
  | { readonly at: "group" | "group-add" | "group-link" | "group-leave" | "group-close" | "group-forget"; readonly group: GroupKey }
  | { readonly at: "group-member" | "group-remove"; readonly group: GroupKey; readonly person: string }
  | { readonly at: "group-copies"; readonly group: GroupKey; readonly id: string };

/** A group, as a conversation of the list. */
export interface GroupTalk extends Group {
  readonly peer: GroupKey;
  readonly isBlocked: false;
}

/** With a person or a group. */
export type Talk = Conversation | GroupTalk;

/** Whether it is one with a group. */
export function isOfGroup(talk: Talk): talk is GroupTalk {
  return "key" in talk;
}

/** A link somebody gave to this page's user: to a person, or to a group. */
export type Invitation = { readonly who: string; readonly name: string } | { readonly join: string };

/** The texts of the open conversation. */
export interface OpenLog {
  readonly peer: string;
  readonly blocks: readonly Block[];
  readonly hasOlder: boolean;
  /** Whether there are newer ones than those, as after a long look back. */
  readonly hasNewer: boolean;
  readonly isLoading: boolean;
  /** Whether its end is what is looked at, which what draws it says; another object for texts of another place. */
  readonly view: { isAtEnd: boolean };
  /** Where the divider "new" stands: before the item at this position; null for nowhere. It stays until one leaves. */
  readonly newFrom: number | null;
}

/** A text that was found. */
export interface Target {
  readonly peer: string;
  readonly id: string;
  readonly position: number;
}

export interface Warning {
  readonly id: number;
  readonly peer: string | null;
  readonly notice: Notice;
}

export interface Outage {
  readonly since: number;
  /** What was said last, or ''. */
  readonly reason: string;
}

/** How many texts are fetched at a time. */
const PAGE = 60;
/** How many before a text that was found, and behind it, are fetched with it. */
const AROUND = 150;

export const stage = signal<Stage | null>(null);
export const isBroken = signal(false);
export const me = signal<Me | null>(null);
export const connection = signal<Connection | null>(null);
/** Since when there has been no connection, and why: trying again is a part of it. Null while there is one. */
export const outage = signal<Outage | null>(null);
export const settings = signal<Settings | null>(null);
export const people = signal<ReadonlyMap<string, Conversation>>(new Map());
export const devices = signal<DevicesState | null>(null);
export const groups = signal<ReadonlyMap<string, GroupTalk>>(new Map());
export const isFull = signal(false);
export const panel = signal<Panel | null>(null);
export const invitation = signal<Invitation | null>(null);
/** If who begins now has another device, to which this one is to be linked: what this one is called. */
export const linkedAs = signal<string | null>(null);
/** Whether the open conversation is being searched. */
export const isFinding = signal(false);
export const openPeer = signal<string | null>(null);
export const openLog = signal<OpenLog | null>(null);
/** A text of the open conversation to go to. */
export const target = signal<Target | null>(null);
export const warnings = signal<readonly Warning[]>([]);
/** What a screen reader is told of things that happen out of its sight. */
export const spoken = signal("");
/** What is being written, by peer: newer than what the worker has told of it. */
export const drafts = new Map<string, string>();
/** Texts that burn, while they are seen: the id, and until when. */
export const uncovered = signal<ReadonlyMap<string, { readonly text: string; readonly until: number }>>(new Map());

export const talks = computed<ReadonlyMap<string, Talk>>(() => new Map<string, Talk>([...people.value, ...groups.value]));
/** Latest first; those without texts by name at the end. */
export const ordered = computed(() =>
  [...talks.value.values()].toSorted((a, b) => (b.last?.at ?? 0) - (a.last?.at ?? 0) || a.name.localeCompare(b.name)),
);
export const opened = computed(() => talks.value.get(openPeer.value ?? "") ?? null);
export const unreadTexts = computed(() => ordered.value.reduce((sum, one) => (isQuiet(one) ? sum : sum + one.unread), 0));

/** Whether it is a group that one was invited to, and has not decided about. */
export function isInvitation(talk: Talk): boolean {
  return isOfGroup(talk) && talk.relation === "invited";
}

/** Whether nothing is to be heard of it. */
export function isQuiet(talk: Talk): boolean {
  return talk.isBlocked || talk.isRequest || (isOfGroup(talk) && talk.isMuted);
}

let worker: Api | null = null;

/** The worker's calls. */
export function api(): Api {
  if (worker === null) throw new Error("the worker was not started");
  return worker;
}

/** Asks the worker how things stand, and begins. */
export async function begin(calls: Api): Promise<void> {
  worker = calls;
  if (!window.isSecureContext) {
    stage.value = { at: "insecure" };
    return;
  }
  const { href } = location;
  const page = href.split("#")[0] ?? href;
  const found = await calls.begin({ relay: relayUrl(page), page, isSecure: true, remembered: remembered(), isLocking: isLocking() });
  if (found.at !== "newer-profile") noteLocking(false);
  await enter(found);
}

function relayUrl(page: string): string {
  const named = document.querySelector<HTMLMetaElement>('meta[name="phantom-relay"]')?.content ?? "";
  if (named !== "") return named;
  const url = new URL("ws", page);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  return url.href;
}

let asked = 0;

async function enter(next: Stage): Promise<void> {
  // A backup is made while everything stays on the screen.
  if (next.at === "working" && next.what === "saving" && stage.value?.at === "open") return;
  if (next.at !== "open") {
    // Also after "start anew": there is no profile any more that could be missed.
    if (next.at === "deleted" || next.at === "first-run") remember(null);
    batch(() => {
      stage.value = next;
      if (next.at !== "working") close();
    });
    return;
  }
  asked += 1;
  const turn = asked;
  const [who, wish, link, all, several] = await Promise.all([
    api().me(),
    api().settings({}),
    api().connection(),
    api().conversations(),
    api().groups(),
  ]);
  if (turn !== asked) return;
  takeMe(who);
  batch(() => {
    settings.value = wish;
    takeConnection(link);
    people.value = new Map(all.map((one) => [one.peer, one]));
    groups.value = changedGroups(several, []);
    stage.value = next;
    const invited = invitation.value;
    if (linkedAs.value !== null) panel.value = { at: "devices", shows: linkedAs.value };
    else if (invited !== null) panel.value = panelOf(invited);
    invitation.value = null;
    linkedAs.value = null;
  });
}

function takeMe(who: Me): void {
  me.value = who;
  remember(who.userId);
  if (who.isKept !== false) return;
  askToKeep().then(async () => (me.value = await api().me()), () => undefined);
}

function takeConnection(link: Connection): void {
  const before = outage.value;
  const isOver = link.state === "online";
  batch(() => {
    connection.value = link;
    outage.value = isOver
      ? null
      : { since: Math.min(before?.since ?? link.since, link.since), reason: link.reason === "" ? (before?.reason ?? "") : link.reason };
  });
}

/** Somebody's link was opened: it is asked about before anything is added, once there is a profile. */
export function invite(found: Invitation | null): void {
  if (found === null) return;
  if (stage.value?.at === "open") panel.value = panelOf(found);
  else invitation.value = found;
}

function panelOf(found: Invitation): Panel {
  return "join" in found ? { at: "group-join", link: found.join } : { at: "new", ...found };
}

/** Nothing of a profile stays on the page when it is closed. */
function close(): void {
  me.value = null;
  settings.value = null;
  devices.value = null;
  connection.value = null;
  outage.value = null;
  people.value = new Map();
  groups.value = new Map();
  panel.value = null;
  turnTo(null);
  warnings.value = [];
  drafts.clear();
}

/**
 * Another conversation is open, or none. What belongs to the open one is reset here, not by what draws it: components end
 * after the next picture, and a key may have been pressed by then.
 */
function turnTo(peer: string | null): void {
  batch(() => {
    openPeer.value = peer;
    openLog.value = null;
    uncovered.value = new Map();
    isFinding.value = false;
    if (target.value?.peer !== peer) target.value = null;
  });
}

/** Locks the profile, here and in other tabs. Whoever leaves the page before it is done finds it locked, too. */
export async function lock(): Promise<void> {
  noteLocking(true);
  await api().lock();
  noteLocking(false);
}

/** Takes in what the worker tells. */
export function apply(update: Update): void {
  switch (update.kind) {
    case "stage":
      void enter(update.stage);
      return;
    case "me":
      takeMe(update.me);
      return;
    case "connection":
      takeConnection(update.connection);
      return;
    case "conversations":
      people.value = changedPeople(update.changed, update.removed);
      if (update.removed.includes(openPeer.value ?? "")) leave();
      return;
    case "groups":
      applyGroups(update.changed, update.removed);
      if (update.removed.some((key) => key === openPeer.value)) leave();
      return;
    case "items":
      applyItems(update.peer, update.items, update.incoming);
      return;
    case "warning":
      warn(update.peer, update.notice);
      return;
    case "storage":
      isFull.value = update.isFull;
      return;
    case "devices": {
      const wasComing = devices.value?.history ?? null;
      devices.value = update.state;
      // Earlier texts are there now.
      if (wasComing !== null && update.state.history === null && openPeer.value !== null) void fetchOpened(openPeer.value);
    }
  }
}

function changedPeople(changed: readonly Conversation[], removed: readonly string[]): ReadonlyMap<string, Conversation> {
  const all = new Map(people.value);
  for (const one of changed) all.set(one.peer, one);
  for (const peer of removed) all.delete(peer);
  return all;
}

function applyGroups(changed: readonly Group[], removed: readonly GroupKey[]): void {
  const before = opened.value;
  const invited = changed.find((one) => one.relation === "invited" && !one.isRequest && !groups.value.has(one.key));
  groups.value = changedGroups(changed, removed);
  if (invited !== undefined && isSeen()) spoken.value = `You are invited to ${labelOf({ name: invited.name })}`;
  const after = opened.value;
  if (before !== null && after !== null && isInvitation(before) && !isInvitation(after)) void fetchOpened(after.peer);
}

function changedGroups(changed: readonly Group[], removed: readonly GroupKey[]): ReadonlyMap<string, GroupTalk> {
  const all = new Map(groups.value);
  for (const one of changed) all.set(one.key, { ...one, peer: one.key, isBlocked: false });
  for (const key of removed) all.delete(key);
  return all;
}

function applyItems(peer: string, items: readonly Item[], incoming: readonly string[]): void {
  const log = openLog.value;
  const came = items.filter((item) => !item.isMine && incoming.includes(item.id));
  if (log?.peer === peer) {
    const isAway = !isSeen() && log.newFrom === null;
    const newFrom = isAway ? (came[0]?.position ?? null) : log.newFrom;
    openLog.value = trimmed({ ...log, blocks: withItems(log.blocks, items, log), newFrom }, log.view.isAtEnd ? "oldest" : "newest");
    const isOwn = items.some((item) => item.isMine && item.position > (newest(log.blocks) ?? -1));
    if (isOwn && log.hasNewer) void toNewest(); // what one writes is always seen
  }
  const who = talks.value.get(peer);
  if (came.length === 0 || who === undefined || isQuiet(who)) return;
  if (isSeen() && openPeer.value === peer) return;
  if (isSeen()) spoken.value = `${count(came.length, "new text")} ${isOfGroup(who) ? "in" : "from"} ${labelOf(who)}`;
  notifyOf(who, came, () => void open(peer));
}

let lastWarning = 0;

/** Shows a sentence until it is closed, the same one once. */
export function warn(peer: string | null, notice: Notice): void {
  const others = warnings.value.filter((one) => one.peer !== peer || one.notice.code !== notice.code);
  lastWarning += 1;
  warnings.value = [...others, { id: lastWarning, peer, notice }].slice(-3);
}

/** Does something that needs no answer; a refusal is shown. */
export function attempt(call: Promise<unknown>): void {
  call.catch((error: unknown) => warn(null, { code: "refused", text: sentenceOf(error) }));
}

/** Opens a conversation at its first unread text, or at its end. */
export async function open(peer: string): Promise<void> {
  if (openPeer.value === peer) return;
  // "Back" of a phone leads to the list again.
  if (openPeer.value === null) history.pushState({ phantom: "conversation" }, "");
  turnTo(peer);
  await fetchOpened(peer);
}

/** Fetches the newest texts of the open conversation: also after a stranger was let in. */
export async function fetchOpened(peer: string): Promise<void> {
  const who = talks.value.get(peer);
  try {
    if (who !== undefined && isInvitation(who)) {
      show(peer, [], false, null);
      return;
    }
    if (who?.isRequest === true) {
      const items = await api().peek({ peer });
      show(peer, items, false, null);
      return;
    }
    if (!isGroup(peer)) void api().watch({ peer }).catch(() => undefined);
    const unread = who?.unread ?? 0;
    const { items, hasOlder } = await api().items({ peer, before: null, limit: Math.min(Math.max(PAGE, unread + 20), 1000) });
    show(peer, items, hasOlder, items.find((item) => item.isUnread)?.position ?? null);
  } catch (error) {
    warn(peer, { code: "refused", text: sentenceOf(error) });
  }
}

function show(peer: string, items: readonly Item[], hasOlder: boolean, newFrom: number | null): void {
  if (openPeer.value !== peer) return;
  const blocks = withOlder([], items);
  openLog.value = { peer, blocks, hasOlder, hasNewer: false, isLoading: false, view: { isAtEnd: true }, newFrom };
}

/** With no more than is kept. */
function trimmed(log: OpenLog, drop: "oldest" | "newest"): OpenLog {
  const blocks = bounded(log.blocks, drop);
  if (blocks === log.blocks) return log;
  return drop === "oldest" ? { ...log, blocks, hasOlder: true } : { ...log, blocks, hasNewer: true };
}

/** Shows the list alone again. */
export function leave(): void {
  turnTo(null);
}

/** Changes the open log by what was fetched for it; whether that went well, and it is still the same. */
async function fetched(log: OpenLog, ask: () => Promise<Page>, change: (now: OpenLog, page: Page) => OpenLog): Promise<boolean> {
  openLog.value = { ...log, isLoading: true };
  const isCurrent = () => openLog.value?.view === log.view;
  try {
    const page = await ask();
    if (openLog.value === null || !isCurrent()) return false;
    openLog.value = { ...change(openLog.value, page), isLoading: false };
    return true;
  } catch (error) {
    if (openLog.value !== null && isCurrent()) openLog.value = { ...openLog.value, isLoading: false, hasOlder: false };
    warn(log.peer, { code: "refused", text: sentenceOf(error) });
    return false;
  }
}

/** Fetches the page before what is loaded. */
export async function loadOlder(): Promise<void> {
  const log = openLog.value;
  if (log === null || log.isLoading || !log.hasOlder) return;
  await fetched(log, () => api().items({ peer: log.peer, before: oldest(log.blocks), limit: PAGE }), (now, { items, hasOlder }) =>
    trimmed({ ...now, blocks: withOlder(now.blocks, items), hasOlder: hasOlder && items.length > 0 }, "newest"),
  );
}

/** Fetches the page behind what is loaded. */
export async function loadNewer(): Promise<void> {
  const log = openLog.value;
  if (log === null || log.isLoading || !log.hasNewer) return;
  const last = newest(log.blocks) ?? -1;
  await fetched(log, () => behind(log.peer, last), (now, { items }) => {
    const blocks = withNewer(now.blocks, items);
    return trimmed({ ...now, blocks, hasNewer: items.length > 0 && isBefore(newest(blocks), log.peer) }, "oldest");
  });
}

/**
 * The texts behind a position, without a gap. The worker gives those before one, and positions are whole numbers with any
 * distance: the distance is sought in which there are some, and no more than a page.
 */
async function behind(peer: string, last: number): Promise<Page> {
  const end = talks.value.get(peer)?.last?.position ?? last;
  let [empty, full, span] = [0, Infinity, PAGE];
  for (;;) {
    const page = await api().items({ peer, before: last + span + 1, limit: PAGE });
    const newer = page.items.filter(({ position }) => position > last);
    const isWhole = span <= PAGE || newer.length < page.items.length || !page.hasOlder;
    if (isWhole && (newer.length > 0 || last + span >= end)) return { ...page, items: newer };
    if (isWhole) empty = span;
    else full = span;
    span = full === Infinity ? 4 * span : Math.max(PAGE, Math.floor((empty + full) / 2));
  }
}

function isBefore(position: number | null, peer: string): boolean {
  return (position ?? -1) < (talks.value.get(peer)?.last?.position ?? -1);
}

/** Loads the newest texts alone. */
export async function toNewest(): Promise<void> {
  const log = openLog.value;
  if (log === null) return;
  target.value = null;
  await fetched(log, () => api().items({ peer: log.peer, before: null, limit: PAGE }), (now, { items, hasOlder }) => anew(now, items, hasOlder, true));
}

function anew(log: OpenLog, items: readonly Item[], hasOlder: boolean, isAtEnd: boolean): OpenLog {
  const blocks = withOlder([], items);
  const newFrom = isAtEnd ? null : log.newFrom;
  return { ...log, blocks, hasOlder, hasNewer: isBefore(newest(blocks), log.peer), newFrom, view: { isAtEnd } };
}

/** Loads what is around a position, unless it is there; whether it is. */
export async function loadTo(position: number): Promise<boolean> {
  const log = openLog.value;
  if (log === null) return false;
  if ((oldest(log.blocks) ?? Infinity) <= position && position <= (newest(log.blocks) ?? -1)) return true;
  const ask = { peer: log.peer, before: position + AROUND, limit: 2 * AROUND };
  return fetched(log, () => api().items(ask), (now, { items, hasOlder }) => anew(now, items, hasOlder, false));
}

/** The user has seen these. */
export function markRead(peer: string, ids: readonly string[]): void {
  attempt(api().read({ peer, ids }));
}

/** Uncovers a text that burns, for as long as it takes to read it. */
export async function uncover(peer: string, id: string): Promise<void> {
  const text = await api().openOnce({ peer, id });
  const seconds = Math.min(90, Math.max(10, 5 + Math.ceil(text.length / 12)));
  keep(id, { text, until: Date.now() + seconds * 1000 });
}

/** Shows an uncovered text longer, or no more (`null`). */
export function keep(id: string, shown: { readonly text: string; readonly until: number } | null): void {
  const all = new Map(uncovered.value);
  if (shown === null) all.delete(id);
  else all.set(id, shown);
  uncovered.value = all;
}
