/** What becomes of a message before it has come: to this device it may be on its way, and another own one was faster. */
import * as records from "../records.ts";
import type { DeliveryState } from "../status.ts";
import type { Transaction, Vault } from "../vault.ts";

const KEEP_MS = 30 * 86_400_000;

/** Messages of which it is remembered, of each kind: most of what is told of others was erased here long ago. */
export const MAX_EARLY = 1_000;

/** What was said to somebody, or what was read of theirs. */
type Kind = typeof records.EARLY_SENT | typeof records.EARLY_READ;

/** It has come so far with a message that is not there; `person`: who has it from us, or has sent it. */
export function noteEarly(
  [vault, tx]: readonly [Vault, Transaction],
  kind: Kind,
  { messageId, now, person, state }: { person: string; messageId: string; state: DeliveryState; now: number },
): void {
  const name = records.key(person, messageId);
  const known = vault.find(kind, name)?.value;
  if (known !== undefined || vault.count(kind) < MAX_EARLY) {
    tx.put(kind, name, { value: Math.max(known ?? 0, state) }, { due: now + KEEP_MS });
  }
}

/** It is there now: how far it has come; null if nothing is known. */
export function takeEarly(
  [vault, tx]: readonly [Vault, Transaction],
  kind: Kind,
  person: string,
  messageId: string,
): DeliveryState | null {
  const name = records.key(person, messageId);
  const known = vault.find(kind, name);
  tx.delete(kind, name);
  return known === null ? null : (known.value as DeliveryState);
}

/** What never came is remembered no longer. */
export function forgetEarly(tx: Transaction, now: number): void {
  tx.deleteDue(records.EARLY_SENT, now);
  tx.deleteDue(records.EARLY_READ, now);
}
