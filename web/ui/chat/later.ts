/** What nobody needs to begin: chunks of their own. */
import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { warn } from "../model.ts";

/** A part of the page that is loaded when it is needed. */
export interface Part<T> {
  /** Null until it is loaded. */
  readonly loaded: ReadonlySignal<T | null>;
  /** Loads it, unless it is there. */
  load(): Promise<void>;
  /** It, for a component that needs it now; null until it is loaded. */
  use(): T | null;
}

function part<T>(fetch: () => Promise<T>): Part<T> {
  const loaded = signal<T | null>(null);
  const load = async (): Promise<void> => {
    loaded.value ??= await fetch();
  };
  const use = (): T | null => {
    useEffect(() => void load().catch(warnOfLater), []);
    return loaded.value;
  };
  return { loaded, load, use };
}

/** What lies over the conversations, the search in one, and what strangers have written. */
export const panels = part(() => import("../panels/panels.tsx"));
/** Groups, but for their lines in the list. */
export const groupParts = part(() => import("../groups/groups.tsx"));

/** Tells that it could not be loaded. */
export function warnOfLater(): void {
  warn(null, { code: "refused", text: "Part of this page could not be loaded. Check your connection, then try again." });
}
