/** Another passphrase for a profile. */
import { makeLock, openLock } from "../core/client/vault.ts";
import type { Cost } from "../core/client/vault.ts";
import { Refused } from "./faults.ts";
import type { Storage } from "./storage.ts";

/** Lock the profile by another passphrase. Throws WrongPassphrase if `current` is not the one in use. */
export async function changePassphrase(
  storage: Storage,
  { current, passphrase }: { readonly current: string; readonly passphrase: string },
  { random, cost }: { readonly random: (size: number) => Uint8Array; readonly cost: Cost },
): Promise<void> {
  const profile = await storage.profile();
  if (profile === null) {
    throw new Refused("damaged", "this browser has deleted its data; reload this page");
  }
  const key = openLock(profile.lock, current);
  await storage.changeProfile({ lock: makeLock(key, passphrase, random, { cost }) });
}
