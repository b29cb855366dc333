/** What nobody needs to begin: a chunk of its own. */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { warn } from "../model.ts";

/** The chunk, null until it is loaded. */
export const later = signal<typeof import("../panels/panels.tsx") | null>(null);

/** Loads it, unless it is there. */
export async function loadLater(): Promise<void> {
  later.value ??= await import("../panels/panels.tsx");
}

/** Tells that it could not be loaded. */
export function warnOfLater(): void {
  warn(null, { code: "refused", text: "Part of this page could not be loaded. Check your connection, then try again." });
}

/** The chunk for what needs it now. */
export function useLater(): typeof later.value {
  useEffect(() => void loadLater().catch(warnOfLater), []);
  return later.value;
}
