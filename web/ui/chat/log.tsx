/**
 * A conversation of any length. Of its blocks that are loaded, only those near what is seen are in the document; the others are a space of
 * their height. The newest block is always there, as it is what a screen reader listens to.
 *
 * Whatever changes above, the text at the upper edge stays where it is (`settle`), unless one is at the end: then the end
 * stays in sight.
 */
import { Fragment, type JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { isGroup } from "../../groups_api.ts";
import { type Block, itemsOf } from "../log.ts";
import { devices, loadNewer, loadOlder, loadTo, markRead, type OpenLog, target, toNewest } from "../model.ts";
import { isSeen } from "../notify.ts";
import { Guard } from "../parts/guard.tsx";
import { Icon } from "../parts/icon.tsx";
import { dayHeading, dayOf } from "../times.ts";
import { Item, newWord } from "./item.tsx";

/** What stands above the oldest text: a further device has what the first one hands over. */
function beginning(): string {
  const now = devices.value;
  if (now?.isFirst !== false) return "This is where it begins.";
  return now.history === null ? "There are no earlier texts on this device." : "There are no earlier texts on this device yet.";
}

/** The height of a text that was not drawn yet, in pixels. */
const GUESS = 56;
/** So near the end counts as at it. */
const NEAR = 48;
/** A text counts as read after it was in sight for so long. */
const READ_MS = 1000;
const LOOK_MS = 250;
/** One side's texts within this time stand close together. */
const TIGHT_MS = 300_000;

interface LogProps {
  readonly log: OpenLog;
  readonly label: string;
}

/** Where one is: at the end, or with a text at the upper edge; and where one is about to go. */
interface Place {
  isAtEnd: boolean;
  anchor: Anchor | null;
  goTo: string | null;
}

/** The first and last key of the blocks that are drawn besides the newest. */
interface Range {
  readonly from: number;
  readonly to: number;
}

/** The texts of the open conversation, which can be scrolled. */
export function Log({ log, label }: LogProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const latest = useRef(log);
  latest.current = log;
  const heights = useRef(new Map<number, number>()).current;
  const place = useRef<Place>({ isAtEnd: log.view.isAtEnd, anchor: null, goTo: firstGoal(log) }).current;
  const lastKey = log.blocks.at(-1)?.key ?? 0;
  const [range, setRange] = useState<Range>(() => around(blockAt(log.blocks, log.newFrom) ?? lastKey));
  const [isAway, setAway] = useState(false);
  const found = target.value?.peer === log.peer ? target.value : null;

  function settle(): void {
    const box = scroller.current;
    if (box === null) return;
    measure(box, heights, latest.current.blocks);
    const goal = place.goTo === null ? null : box.querySelector(place.goTo);
    if (goal !== null) {
      place.goTo = null;
      place.isAtEnd = false;
      goal.scrollIntoView({ block: goal.classList.contains("new") ? "start" : "center" });
    } else if (place.isAtEnd) box.scrollTop = box.scrollHeight;
    else if (place.anchor !== null) box.scrollTop += driftOf(place.anchor);
    look();
  }

  /** Notes where one is, and draws what comes near. */
  function look(): void {
    const box = scroller.current;
    if (box === null) return;
    const { blocks, hasOlder, hasNewer, isLoading, view } = latest.current;
    const toEnd = box.scrollHeight - box.scrollTop - box.clientHeight;
    place.isAtEnd = view.isAtEnd = toEnd < NEAR && !hasNewer;
    place.anchor = place.isAtEnd ? null : anchorOf(box);
    setAway(hasNewer || toEnd > box.clientHeight);
    const next = rangeAt(blocks, heights, box.scrollTop, box.clientHeight);
    if (place.goTo === null) setRange((now) => (now.from === next.from && now.to === next.to ? now : next));
    if (isLoading) return;
    if (hasOlder && box.scrollTop < 1.5 * box.clientHeight) void loadOlder();
    else if (hasNewer && toEnd < 1.5 * box.clientHeight) void loadNewer();
  }

  function toEnd(): void {
    if (latest.current.hasNewer) return void toNewest();
    place.isAtEnd = true;
    setRange(around(latest.current.blocks.at(-1)?.key ?? 0));
    settle();
  }

  useLayoutEffect(settle, [log.blocks, range]);
  useLayoutEffect(() => {
    const box = scroller.current;
    if (box === null || box.firstElementChild === null) return undefined;
    // What changes without this component: the window, letters that load late, a text that burns away.
    const observer = new ResizeObserver(settle);
    observer.observe(box);
    observer.observe(box.firstElementChild);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (found === null) return;
    void loadTo(found.position).then(() => {
      const block = blockAt(latest.current.blocks, found.position);
      if (block === null) return;
      place.goTo = ".found";
      setRange(around(block));
      settle();
    });
  }, [found]);
  useOwn(log, toEnd);
  useReading(scroller, log);

  const drawn = drawnBlocks(log.blocks, range);
  return (
    <div class="log-room">
      <div class="log" ref={scroller} role="log" aria-live="off" aria-label={`Texts with ${label}`} aria-busy={log.isLoading} tabIndex={0} onScroll={look}>
        <div class="inner">
          {!log.hasOlder && (
            <p class="beginning">
              {beginning()} Only {isGroup(log.peer) ? "those who are in the group" : "the two of you"} can read what is said here.
            </p>
          )}
          <Space key="above" height={heightOf(log.blocks, heights, -Infinity, (drawn[0]?.key ?? lastKey) - 1)} />
          {drawn.map((block) => (
            <BlockOf key={block.key} block={block} log={log} label={label} isNewest={false} found={found?.position ?? null} />
          ))}
          <Space key="below" height={heightOf(log.blocks, heights, (drawn.at(-1)?.key ?? lastKey) + 1, lastKey - 1)} />
          {log.blocks.slice(-1).map((block) => (
            <BlockOf key={block.key} block={block} log={log} label={label} isNewest found={found?.position ?? null} />
          ))}
        </div>
      </div>
      {isAway && (
        <button type="button" class="round to-end" aria-label="To the newest text" title="To the newest text" onClick={toEnd}>
          <Icon name="down" />
        </button>
      )}
    </div>
  );
}

/** Calls `toEnd` when a text of one's own has come behind the newest: it is always seen. */
function useOwn({ blocks, hasNewer }: OpenLog, toEnd: () => void): void {
  const last = blocks.at(-1)?.items.at(-1);
  const known = useRef({ id: last?.id, hasNewer });
  useLayoutEffect(() => {
    if (last?.isMine === true && last.id !== known.current.id && !known.current.hasNewer) toEnd();
    known.current = { id: last?.id, hasNewer };
  }, [last?.id, hasNewer]);
}

/** What is gone to when the log is shown: the divider, unless a text is sought. */
function firstGoal({ newFrom, view }: OpenLog): string | null {
  return newFrom === null || !view.isAtEnd ? null : ".new";
}

function around(key: number): Range {
  return { from: key - 2, to: key + 2 };
}

/** The key of the block that holds a position, null if it is not loaded. */
function blockAt(blocks: readonly Block[], position: number | null): number | null {
  if (position === null) return null;
  return blocks.find(({ items }) => (items.at(-1)?.position ?? -1) >= position && (items[0]?.position ?? 0) <= position)?.key ?? null;
}

function drawnBlocks(blocks: readonly Block[], { from, to }: Range): readonly Block[] {
  return blocks.slice(0, -1).filter(({ key }) => key >= from && key <= to);
}

function Space({ height }: { readonly height: number }) {
  return <div class="space" style={{ height: `${height}px` }} />;
}

function heightOf(blocks: readonly Block[], heights: ReadonlyMap<number, number>, from: number, to: number): number {
  return blocks.reduce((sum, block) => (block.key >= from && block.key <= to ? sum + guess(block, heights) : sum), 0);
}

function guess(block: Block, heights: ReadonlyMap<number, number>): number {
  return heights.get(block.key) ?? block.items.length * GUESS;
}

/** Notes how high the drawn blocks are, and forgets those that are no longer loaded. */
function measure(box: HTMLElement, heights: Map<number, number>, blocks: readonly Block[]): void {
  const [first, last] = [blocks[0]?.key ?? 0, blocks.at(-1)?.key ?? 0];
  for (const key of heights.keys()) if (key < first || key > last) heights.delete(key);
  for (const element of box.querySelectorAll<HTMLElement>("[data-block]")) {
    heights.set(Number(element.dataset["block"]), element.offsetHeight);
  }
}

/** The blocks within a window's height of what is seen. */
function rangeAt(blocks: readonly Block[], heights: ReadonlyMap<number, number>, top: number, height: number): Range {
  let [y, from, to] = [0, blocks[0]?.key ?? 0, blocks.at(-1)?.key ?? 0];
  for (const block of blocks) {
    const next = y + guess(block, heights);
    if (next < top - height) from = block.key + 1;
    if (y > top + 2 * height) {
      to = block.key - 1;
      break;
    }
    y = next;
  }
  return { from, to };
}

interface Anchor {
  readonly element: Element;
  readonly top: number;
}

/** The first text that is in sight. */
function anchorOf(box: HTMLElement): Anchor | null {
  const edge = box.getBoundingClientRect().top;
  for (const block of box.querySelectorAll("[data-block]")) {
    if (block.getBoundingClientRect().bottom <= edge) continue;
    for (const element of block.querySelectorAll(".item")) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom > edge) return { element, top };
    }
  }
  return null;
}

/** By how much it has moved since; 0 if it is no longer there. */
function driftOf({ element, top }: Anchor): number {
  return element.isConnected ? element.getBoundingClientRect().top - top : 0;
}

interface BlockProps {
  readonly block: Block;
  readonly log: OpenLog;
  readonly label: string;
  readonly isNewest: boolean;
  /** Its position. */
  readonly found: number | null;
}

/** A run of texts: of one day, and on one side of the divider. */
interface Run {
  /** When its day begins with it. */
  readonly day: number | null;
  readonly isNew: boolean;
  readonly items: readonly Block["items"][number][];
}

function BlockOf({ block, log, label, isNewest, found }: BlockProps) {
  const before = lastBefore(log.blocks, block.key);
  const memory = useRef<{ readonly key: readonly unknown[]; readonly drawn: JSX.Element } | null>(null);
  const many = isNewest || block.items.some(({ position }) => position === log.newFrom) ? newSince(log) : 0;
  const key = [block, before, log.newFrom, many, label, isNewest, found, dayOf(Date.now())];
  const kept = memory.current;
  if (kept?.key.every((value, index) => value === key[index]) === true) return kept.drawn;
  const latest = isNewest ? block.items.findLast((item) => item.isMine)?.id : undefined;
  const drawn = (
    <div data-block={block.key} class="block" aria-live={isNewest ? "polite" : "off"}>
      {runsOf(block, before, log.newFrom).map((run) => (
        <Fragment key={run.items[0]?.position}>
          {run.day !== null && <Guard of={run.day}><Day at={run.day} /></Guard>}
          {run.isNew && <div class="new" role="separator" aria-label={newWord(many)}><span>{newWord(many)}</span></div>}
          <div role="list">
            {run.items.map((item, index) => (
              <Item
                key={keyOf(item)}
                item={item}
                label={label}
                isTight={isTight(run.items[index - 1], item)}
                isLatest={item.id === latest}
                isFound={item.position === found}
              />
            ))}
          </div>
        </Fragment>
      ))}
    </div>
  );
  memory.current = { key, drawn };
  return drawn;
}

/** Ids are their author's: the other side may choose one of ours. */
function keyOf(item: Block["items"][number]): string {
  return `${item.isMine ? "mine" : "theirs"} ${item.id}`;
}

function Day({ at }: { readonly at: number }) {
  return <h3 class="day"><span>{dayHeading(at, Date.now())}</span></h3>;
}

function lastBefore(blocks: readonly Block[], key: number): number | null {
  return blocks.find((block) => block.key === key - 1)?.items.at(-1)?.at ?? null;
}

/** How many texts of the other side stand behind the divider, up to one's own answer. */
function newSince(log: OpenLog): number {
  const { newFrom } = log;
  if (newFrom === null) return 0;
  let many = 0;
  for (const item of itemsOf(log.blocks)) {
    if (item.position < newFrom) continue;
    if (item.isMine) break;
    if (item.kind !== "event") many += 1;
  }
  return many;
}

/** Who wrote it in a group; what has happened to it stands apart. */
function sideOf({ kind, group }: Block["items"][number]): string | undefined {
  return kind === "event" ? "" : group?.author?.peer;
}

function isTight(before: Block["items"][number] | undefined, item: Block["items"][number]): boolean {
  return before !== undefined && before.isMine === item.isMine && sideOf(before) === sideOf(item) && item.at - before.at < TIGHT_MS;
}

function runsOf(block: Block, before: number | null, newFrom: number | null): Run[] {
  const runs: { day: number | null; isNew: boolean; items: Block["items"][number][] }[] = [];
  let day = before === null ? null : dayOf(before);
  for (const item of block.items) {
    const isNew = item.position === newFrom;
    const isNextDay = dayOf(item.at) !== day;
    if (isNextDay || isNew || runs.length === 0) {
      runs.push({ day: isNextDay ? item.at : null, isNew, items: [] });
    }
    runs.at(-1)?.items.push(item);
    day = dayOf(item.at);
  }
  return runs;
}

/** Tells the worker which texts were read: seen for a second, by somebody who looks at this page. */
function useReading(scroller: { readonly current: HTMLDivElement | null }, log: OpenLog): void {
  const since = useRef(new Map<string, number>()).current;
  useEffect(() => {
    if (!someUnread(log)) return undefined;
    const timer = setInterval(() => {
      if (!isSeen() || scroller.current === null) {
        since.clear();
        return;
      }
      const ids = readNow(scroller.current, since, Date.now());
      if (ids.length > 0) markRead(log.peer, ids);
    }, LOOK_MS);
    return () => clearInterval(timer);
  }, [log.blocks]);
}

function someUnread(log: OpenLog): boolean {
  for (const item of itemsOf(log.blocks)) if (item.isUnread) return true;
  return false;
}

/** The ids of unread texts that have been in sight long enough; `since` says when each was seen first. */
function readNow(box: HTMLElement, since: Map<string, number>, now: number): string[] {
  const edges = box.getBoundingClientRect();
  const seen = [...box.querySelectorAll<HTMLElement>("[data-unread]")]
    .filter((element) => {
      const { top, bottom } = element.getBoundingClientRect();
      const middle = Math.min(bottom, top + edges.height) - 8;
      return middle <= edges.bottom && bottom > edges.top;
    })
    .map((element) => element.dataset["id"] ?? "");
  for (const id of since.keys()) if (!seen.includes(id)) since.delete(id);
  for (const id of seen) if (!since.has(id)) since.set(id, now);
  const read = seen.filter((id) => now - (since.get(id) ?? now) >= READ_MS);
  for (const id of read) since.set(id, Infinity); // told once; the worker's update takes the sign away
  return read;
}

