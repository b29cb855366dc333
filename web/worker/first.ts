/** What is seen first, which is found out without the core: most of the page's code, loaded once it is needed. */
import type { Api, Stage } from "../api.ts";
import { openStay } from "./stay.ts";
import { marker, NewerProfile, openStorage } from "./storage.ts";
import type { Storage } from "./storage.ts";

/** The stage at the beginning; null if there is a profile that opens by itself. Throws a VaultError. */
export async function firstStage(given: Parameters<Api["begin"]>[0]): Promise<Stage | null> {
  if (!given.isSecure) {
    return { at: "insecure" };
  }
  let storage: Storage;
  try {
    storage = await openStorage();
  } catch (error) {
    if (error instanceof NewerProfile) {
      return { at: "newer-profile" };
    }
    throw error;
  }
  try {
    if (given.isLocking === true) {
      await storage.lock();
    }
    return await stageOf(storage, given.remembered ?? null);
  } finally {
    storage.close();
  }
}

async function stageOf(storage: Storage, remembered: string | null): Promise<Stage | null> {
  const profile = await storage.profile();
  if (profile === null) {
    const userId = (await marker()) ?? remembered;
    return userId === null ? { at: "first-run" } : { at: "evicted", userId };
  }
  const stay = await storage.stayKey();
  const isOpen = stay !== null && (await openStay(stay)) !== null;
  return isOpen ? null : { at: "locked", name: profile.name, userId: profile.userId };
}
