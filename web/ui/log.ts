/**
 * The texts of the open conversation, in blocks that do not change: a changed text makes a new block, so that only it is
 * drawn anew. What is loaded is without gaps, and no more than `bounded` leaves: the rest comes again from the worker.
 */
import type { Item } from "../api.ts";

/** How many texts a block begins with at most; drawing one is the unit of scrolling. */
export const BLOCK = 30;

/** Neighbours in order; keys are consecutive integers, and stay when older blocks come before. */
export interface Block {
  readonly key: number;
  readonly items: readonly Item[];
}

/** Cuts items, oldest first, into blocks of which the last one has the key `lastKey`. */
export function blocksOf(items: readonly Item[], lastKey: number): Block[] {
  const blocks: Block[] = [];
  const many = Math.ceil(items.length / BLOCK);
  for (let index = 0; index < many; index++) {
    const from = items.length - (many - index) * BLOCK;
    blocks.push({ key: lastKey - many + 1 + index, items: items.slice(Math.max(0, from), from + BLOCK) });
  }
  return blocks;
}

/** With an older page before them. */
export function withOlder(blocks: readonly Block[], older: readonly Item[]): readonly Block[] {
  const first = blocks[0];
  if (first === undefined) return blocksOf(older, 0);
  const known = first.items[0]?.position ?? Infinity;
  return [...blocksOf(older.filter((item) => item.position < known), first.key - 1), ...blocks];
}

/** With a newer page behind them. */
export function withNewer(blocks: readonly Block[], newer: readonly Item[]): readonly Block[] {
  const known = newest(blocks) ?? -1;
  return newer.reduce((found, item) => (item.position > known ? withItem(found, item, true) : found), blocks);
}

/** What is not loaded on either side. */
export interface Beyond {
  readonly hasOlder: boolean;
  readonly hasNewer?: boolean;
}

/** With changed or new items. Those older or newer than what is loaded come with their page. */
export function withItems(blocks: readonly Block[], changed: readonly Item[], { hasOlder, hasNewer = false }: Beyond): readonly Block[] {
  const last = hasNewer ? (newest(blocks) ?? -1) : Infinity;
  return changed.reduce((found, item) => (item.position > last ? found : withItem(found, item, hasOlder)), blocks);
}

/** The most that is kept. A page of the worker has its place, whatever is in it. */
const MOST_BLOCKS = 100;
const MOST_CHARACTERS = 6_000_000;
const LEAST_BLOCKS = 12;

/** Without what is too much, at the end that nobody looks at. */
export function bounded(blocks: readonly Block[], drop: "oldest" | "newest"): readonly Block[] {
  const from = drop === "oldest" ? blocks.toReversed() : blocks;
  let characters = 0;
  const end = from.findIndex(({ items }, index) => {
    for (const { text } of items) characters += text.length;
    return index >= MOST_BLOCKS || (index >= LEAST_BLOCKS && characters > MOST_CHARACTERS);
  });
  if (end < 0) return blocks;
  return drop === "oldest" ? blocks.slice(-end) : blocks.slice(0, end);
}

function withItem(blocks: readonly Block[], item: Item, hasOlder: boolean): readonly Block[] {
  const last = blocks.at(-1);
  if (last === undefined) return hasOlder ? blocks : [{ key: 0, items: [item] }];
  const same = blocks.findIndex((block) => block.items.some((one) => isSame(one, item)));
  if (same >= 0) return blocks.map((block, index) => (index === same ? replaced(block, item) : block)).filter(isFilled);
  if (item.position > (last.items.at(-1)?.position ?? -Infinity)) {
    if (last.items.length >= BLOCK) return [...blocks, { key: last.key + 1, items: [item] }];
    return [...blocks.slice(0, -1), { ...last, items: [...last.items, item] }];
  }
  const at = blocks.findLastIndex((block) => (block.items[0]?.position ?? 0) < item.position);
  if (at < 0 && hasOlder) return blocks;
  return blocks.map((block, index) => (index === Math.max(0, at) ? inserted(block, item) : block));
}

function replaced(block: Block, item: Item): Block {
  const items = block.items.map((one) => (isSame(one, item) ? item : one));
  return { ...block, items: items.toSorted((a, b) => a.position - b.position) };
}

function inserted(block: Block, item: Item): Block {
  return { ...block, items: [...block.items, item].toSorted((a, b) => a.position - b.position) };
}

function isFilled(block: Block): boolean {
  return block.items.length > 0;
}

/** Whether two are of the same text: ids are their author's, so the other side may choose one of ours. */
function isSame(one: Item, other: Item): boolean {
  return one.id === other.id && one.isMine === other.isMine;
}

/** All items, oldest first. */
export function* itemsOf(blocks: readonly Block[]): Generator<Item> {
  for (const block of blocks) yield* block.items;
}

/** The newest position that is loaded, null if nothing is. */
export function newest(blocks: readonly Block[]): number | null {
  return blocks.at(-1)?.items.at(-1)?.position ?? null;
}

/** The oldest position that is loaded, null if nothing is. */
export function oldest(blocks: readonly Block[]): number | null {
  return blocks[0]?.items[0]?.position ?? null;
}
