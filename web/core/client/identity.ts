/** The identity of a profile. */
import type { Random } from "../bytes.ts";
import { VaultDamaged } from "./errors.ts";
import * as records from "./records.ts";
import type { IdentityRecord } from "./records.ts";
import type { Vault } from "./vault.ts";

/** The identity of a profile; made if it is a new one. */
export function identityOf(vault: Vault, random: Random): IdentityRecord {
  const found = vault.get(records.IDENTITY, "");
  if (found !== null) {
    return found;
  }
  if (!vault.isUnused()) {
    throw new VaultDamaged("this browser has lost your identity; restore a backup");
  }
  const record = { seed: random(32), server: "" };
  vault.transaction((tx) => tx.put(records.IDENTITY, "", record));
  return record;
}
