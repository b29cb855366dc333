/** What was said in groups before this device was linked, as one's first device hands it over: it only shows. */
import * as records from "../records.ts";
import type { Transaction, Vault } from "../vault.ts";
import { GROUP_PAST, GROUP_PAST_PAGE } from "./records.ts";
import type { GroupTextRecord, GroupTexts } from "./records.ts";

/** Texts of a page. */
export const PAGE = 64;

/** Texts of one group among which one is looked for that comes from its writer as well. */
const NEWEST = 1_000;

/** The number of pages of a group that the user has erased while it was being handed over. */
const ERASED = -1;

/** The pages of all groups, known here or not yet. */
export class GroupPast {
  readonly #vault: Vault;
  /** Names of the newest texts of each group, as far as they were looked for. */
  readonly #newest = new Map<string, ReadonlySet<string>>();

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  /** Keep texts, the newest first, that are older than all that were put before; `names`: of writers, for `names`. */
  put(tx: Transaction, group: string, texts: readonly GroupTextRecord[], names: GroupTexts["names"]): void {
    const first = this.#count(group);
    const count = Math.ceil(texts.length / PAGE);
    for (let page = 0; page < count; page += 1) {
      tx.put(GROUP_PAST_PAGE, `${group} ${first + page}`, { texts: texts.slice(page * PAGE, (page + 1) * PAGE), names: page === 0 ? names : new Map() });
    }
    tx.put(GROUP_PAST, group, { value: first + count });
    tx.onCommit(() => this.#newest.delete(group));
  }

  /** What writers call themselves, as far as it came before the group was known. */
  names(group: string): GroupTexts["names"] {
    const numbers = Array.from({ length: this.#count(group) }, (_, number) => `${group} ${number}`);
    return new Map(numbers.flatMap((name) => [...(this.#vault.find(GROUP_PAST_PAGE, name)?.names ?? [])]));
  }

  /** The texts of a group before a position, the newest first, each with its own, which is below zero. */
  *newest(group: string, before = Infinity): Generator<[number, GroupTextRecord]> {
    const first = Math.max(0, -before);
    for (let number = Math.floor(first / PAGE); number < this.#count(group); number += 1) {
      const { texts } = this.#vault.find(GROUP_PAST_PAGE, `${group} ${number}`) ?? { texts: [] };
      for (const [offset, text] of texts.entries()) {
        const place = number * PAGE + offset;
        if (place >= first) {
          yield [-1 - place, text];
        }
      }
    }
  }

  /** Whether a text is among the newest of these; `sender`: '' for an own one. */
  has(group: string, sender: string, messageId: string): boolean {
    const found = this.#newest.get(group) ?? this.#lookedAt(group);
    this.#newest.set(group, found);
    return found.has(records.key(sender, messageId));
  }

  #lookedAt(group: string): ReadonlySet<string> {
    const found = new Set<string>();
    for (const [, { messageId, sender }] of this.newest(group)) {
      if (found.size === NEWEST) {
        break;
      }
      found.add(records.key(sender, messageId));
    }
    return found;
  }

  /** Erase what was said in a group, and what of it is still to be handed over. */
  erase(tx: Transaction, group: string): void {
    for (let number = this.#count(group) - 1; number >= 0; number -= 1) {
      tx.delete(GROUP_PAST_PAGE, `${group} ${number}`);
    }
    tx.delete(GROUP_PAST, group);
    if (this.#vault.has(records.HISTORY_IN, "")) {
      tx.put(GROUP_PAST, group, { value: ERASED });
    }
    tx.onCommit(() => this.#newest.delete(group));
  }

  /** Whether the user has erased it while its texts were being handed over. */
  isErased(group: string): boolean {
    return this.#value(group) === ERASED;
  }

  #count(group: string): number {
    return Math.max(0, this.#value(group));
  }

  #value(group: string): number {
    return this.#vault.find(GROUP_PAST, group)?.value ?? 0;
  }
}
