/** Another passphrase for a profile. */
import { UsageError } from "../core/client/errors.ts";
import { makeLock, openLock } from "../core/client/vault.ts";
import type { Cost } from "../core/client/vault.ts";
import { Refused } from "./faults.ts";
import type { Storage } from "./storage.ts";

/** Characters of a new one, as on the command line. */
const LEAST = 8;

/** Throws a UsageError if a new one is too short. Profiles and files that there are keep theirs. */
export function checkNewPassphrase(passphrase: string): void {
  if ([...passphrase].length < LEAST) {
    throw new UsageError(`a new passphrase needs at least ${LEAST} characters; use several unrelated words`);
  }
}

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
  checkNewPassphrase(passphrase);
  const key = await keyOf(storage, current);
  await storage.changeProfile({ lock: makeLock(key, passphrase, random, { cost }) });
}
