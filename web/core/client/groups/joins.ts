/**
 * Links to groups that this user has opened: the next invitation of such an admin is accepted without asking again.
 *
 * A link does not say to which group it leads, so what was noted of one is kept no longer than somebody remembers that
 * they have asked, and ends with whatever they decide about a group of that admin. Times are persistent.
 */
import { encodeBase64 } from "../../wire/base64.ts";
import type { Transaction, Vault } from "../vault.ts";
import { GROUP_JOIN } from "./records.ts";
import type { GroupJoinRecord } from "./records.ts";
import { adminsOf } from "./state.ts";
import type { GroupState } from "./state.ts";

/** How long an admin has time to answer: as long as a link serves, if nothing else was said. */
export const KEEP_MS = 7 * 86_400_000;

const KEEP_REFUSED_MS = 30 * 86_400_000;

/** What is noted of them, by admin: the last link that was opened of each. */
export class Joins {
  readonly #vault: Vault;

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  /** A link of an admin was opened. */
  put(tx: Transaction, record: GroupJoinRecord): void {
    tx.put(GROUP_JOIN, record.admin, record, { due: record.at + KEEP_MS });
  }

  /** The link of an admin that waits for an answer; one of long ago waits no more. */
  find(admin: string, now: number): GroupJoinRecord | null {
    const found = this.#vault.find(GROUP_JOIN, admin);
    return found !== null && now - found.at < KEEP_MS ? found : null;
  }

  /** The same; it serves once. */
  take(tx: Transaction, admin: string, now: number): GroupJoinRecord | null {
    const found = this.find(admin, now);
    this.drop(tx, admin);
    return found;
  }

  /** No link of an admin waits for an answer. */
  drop(tx: Transaction, admin: string): void {
    tx.delete(GROUP_JOIN, admin);
  }

  /** The user has joined a group, declined it or left it: what they have asked of its admins may be answered. */
  decided(tx: Transaction, group: GroupState): void {
    for (const admin of adminsOf(group)) {
      this.drop(tx, admin);
    }
  }

  /** An admin has said that a link serves no more: it need not be asked again. */
  refused(tx: Transaction, join: GroupJoinRecord, now: number): void {
    this.drop(tx, join.admin);
    tx.put(GROUP_JOIN, refusedName(join.token), join, { due: now + KEEP_REFUSED_MS });
  }

  /** Whether an admin has said so of this link. */
  wasRefused(token: Uint8Array): boolean {
    return this.#vault.has(GROUP_JOIN, refusedName(token));
  }
}

function refusedName(token: Uint8Array): string {
  return `refused ${encodeBase64(token)}`;
}
