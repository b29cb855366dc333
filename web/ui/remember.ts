/** What this browser notes beside the profile: if the note is there and the profile is not, its keys were deleted. */

const PLACE = "phantom:user";

/** The user id that was noted, null if none. */
export function remembered(): string | null {
  try {
    return localStorage.getItem(PLACE);
  } catch {
    return null; // storage is forbidden: then nothing else is stored either
  }
}

/** Notes a user id; null forgets it. */
export function remember(userId: string | null): void {
  try {
    if (userId === null) localStorage.removeItem(PLACE);
    else localStorage.setItem(PLACE, userId);
  } catch {
    // As above.
  }
}

const LOCKING = "phantom:locking";

/** Whether the profile was to be locked, and the page was left before it was done. */
export function isLocking(): boolean {
  try {
    return localStorage.getItem(LOCKING) !== null;
  } catch {
    return false;
  }
}

/** Notes at once that the profile is to be locked: the worker ends with the page, whatever it was doing. */
export function noteLocking(is: boolean): void {
  try {
    if (is) localStorage.setItem(LOCKING, "");
    else localStorage.removeItem(LOCKING);
  } catch {
    // As above.
  }
}

let wasAsked = false;

/** Asks the browser to keep what this page stores; some ask their user. Once: an answer that is no stays no. */
export async function askToKeep(): Promise<void> {
  if (wasAsked || !("persist" in navigator.storage)) return;
  wasAsked = true;
  await navigator.storage.persist();
}
