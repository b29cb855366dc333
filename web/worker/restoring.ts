/** A profile made of a backup. */
import type { Api } from "../api.ts";
import { putContent, readFile } from "../core/client/backup.ts";
import type { Content } from "../core/client/backup.ts";
import { ConversationIndex } from "../core/client/conversation_index.ts";
import { checkedName } from "../core/client/names.ts";
import { makeLock, newKey, newVault } from "../core/client/vault.ts";
import type { Cost, Progress, Vault, VaultLock } from "../core/client/vault.ts";
import { Refused } from "./faults.ts";
import { putName, within } from "./new_profile.ts";
import { checkNewPassphrase } from "./passphrase.ts";

/** What there is of it; nothing is stored yet. */
export interface Restored {
  readonly key: Uint8Array;
  readonly lock: VaultLock;
  readonly vault: Vault;
  readonly name: string;
}

/** What it is made with. */
export interface Means {
  readonly random: (size: number) => Uint8Array;
  readonly wall: () => number;
  readonly cost: Cost;
}

/** Open a file, and make a profile of it with a passphrase of its own. Takes seconds. Throws as `readFile` does. */
export function profileOf(given: Parameters<Api["restore"]>[0], means: Means, progress: Progress): Restored {
  checkNewPassphrase(given.passphrase);
  const asked = given.name === "" ? null : checkedName(given.name);
  const content = readFile(given.file, given.filePassphrase, within(progress, 0, 0.5));
  const name = asked ?? nameIn(content);
  const { random, cost } = means;
  const key = newKey(random);
  const lock = makeLock(key, given.passphrase, random, { progress: within(progress, 0.5, 1), cost });
  const vault = newVault(key, random);
  // It enters the messages into pages as they come; the client that is opened on what is stored has one of its own.
  new ConversationIndex(vault);
  vault.transaction((tx) => putContent(tx, content, null));
  putName(vault, name, means.wall());
  return { key, lock, vault, name };
}

/** The own name that a file holds; those of the command line hold none. */
function nameIn({ name }: Content): string {
  if (name === null) {
    throw new Refused("usage", "this file does not hold your name: enter it");
  }
  return checkedName(name);
}
