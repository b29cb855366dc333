/** Another passphrase for a profile. */
import { makeLock, openLock } from "../core/client/vault.ts";
import type { Cost } from "../core/client/vault.ts";
import { Refused } from "./faults.ts";
import type { Storage } from "./storage.ts";

/** Throws WrongPassphrase if it is not the one in use. */
export async function checkPassphrase(storage: Storage, passphrase: string): Promise<void> {
  await keyOf(storage, passphrase);
}

async function keyOf(storage: Storage, passphrase: string): Promise<Uint8Array> {
  const profile = await storage.profile();
  if (profile === null) {
    throw new Refused("damaged", "this browser has deleted its data; reload this page");
  }
  return openLock(profile.lock, passphrase);
}

/** Lock the profile by another passphrase. Throws WrongPassphrase if `current` is not the one in use. */
export async function changePassphrase(
  storage: Storage,
  { current, passphrase }: { readonly current: string; readonly passphrase: string },
  { random, cost }: { readonly random: (size: number) => Uint8Array; readonly cost: Cost },
): Promise<void> {
  const key = await keyOf(storage, current);
  await storage.changeProfile({ lock: makeLock(key, passphrase, random, { cost }) });
}
