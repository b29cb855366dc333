/** What becomes of a message before it has come: to this device it may be on its way, and another own one was faster. */
import * as records from "../records.ts";
import type { DeliveryState } from "../status.ts";
import type { Transaction, Vault } from "../vault.ts";

const KEEP_MS = 30 * 86_400_000;

/**
 * Messages of one person and kind of which it is remembered: newer news takes the place of the oldest. Most never come,
 * for they were erased here, or are from before this device was linked; those that do come soon, as a rule.
 */
export const MAX_EARLY = 100;

/**
 * Records of each kind: one for each person, and for each member of a group. A contact can make one of the first kind,
 * with receipts for what they were never sent; an own device all of them, and one that was stolen fills it.
 */
export const MAX_PERSONS = 5_000;

/** What was said to somebody, or what was read of theirs: both choose ids, so that the same one may be there twice. */
type Kind = typeof records.EARLY_SENT | typeof records.EARLY_READ;
type Early = records.EarlyRecord["messages"][number];

/** It has come so far with a message that is not there; `person`: who has it from us, or has sent it. */
export function noteEarly(
  [vault, tx]: readonly [Vault, Transaction],
  kind: Kind,
  { messageId, now, person, state }: { person: string; messageId: string; state: DeliveryState; now: number },
): void {
  const known = messagesOf(vault, kind, person);
  if (known.length === 0 && vault.count(kind) >= MAX_PERSONS) return;
  const before = known.find(({ id }) => id === messageId)?.state ?? 0;
  const others = known.filter(({ id, until }) => id !== messageId && until > now);
  put(tx, kind, person, [...others, { id: messageId, state: Math.max(before, state), until: now + KEEP_MS }].slice(-MAX_EARLY));
}

/** It is there now: how far it has come; null if nothing is known. */
export function takeEarly(
  [vault, tx]: readonly [Vault, Transaction],
  kind: Kind,
  person: string,
  messageId: string,
): DeliveryState | null {
  const known = messagesOf(vault, kind, person);
  const found = known.find(({ id }) => id === messageId);
  if (found === undefined) return null;
  put(tx, kind, person, known.filter((one) => one !== found));
  return found.state as DeliveryState;
}

/** Nothing of this person is remembered. */
export function dropEarly(tx: Transaction, person: string): void {
  tx.delete(records.EARLY_SENT, person);
  tx.delete(records.EARLY_READ, person);
}

/** What never came is remembered no longer. */
export function forgetEarly(tx: Transaction, now: number): void {
  tx.deleteDue(records.EARLY_SENT, now);
  tx.deleteDue(records.EARLY_READ, now);
}

function messagesOf(vault: Vault, kind: Kind, person: string): readonly Early[] {
  return vault.find(kind, person)?.messages ?? [];
}

function put(tx: Transaction, kind: Kind, person: string, messages: readonly Early[]): void {
  const last = messages.at(-1);
  if (last === undefined) tx.delete(kind, person);
  else tx.put(kind, person, { messages }, { due: last.until });
}
