/** What a new profile begins with, and how far its making has come. */
import * as records from "../core/client/records.ts";
import { MeRecord } from "../core/client/records.ts";
import type { Progress, Vault } from "../core/client/vault.ts";

/** Progress that is shown as a part, between two shares, of something longer. */
export function within(progress: Progress, from: number, to: number): Progress {
  return (share) => progress(from + (to - from) * share);
}

/** Note the own name in a new profile. */
export function putName(vault: Vault, name: string, madeAt: number): void {
  vault.transaction((tx) => tx.put(records.ME, "", MeRecord.make({ name, madeAt })));
}
