/** What this browser's user prefers of the page itself: not secret, so it is kept in localStorage and needs no worker. */
import { effect, signal } from "@preact/signals";

export interface Look {
  readonly theme: "system" | "light" | "dark";
  readonly size: "small" | "normal" | "large";
  readonly direction: "ltr" | "rtl";
  readonly enterSends: boolean;
  readonly notify: "off" | "name" | "text";
  readonly sound: boolean;
}

const PLACE = "phantom:look";
const USUAL: Look = { theme: "system", size: "normal", direction: "ltr", enterSends: true, notify: "off", sound: false };
const CHOICES: { readonly [K in keyof Look]: readonly Look[K][] } = {
  theme: ["system", "light", "dark"],
  size: ["small", "normal", "large"],
  direction: ["ltr", "rtl"],
  enterSends: [true, false],
  notify: ["off", "name", "text"],
  sound: [true, false],
};

function stored(): Look {
  try {
    const found: unknown = JSON.parse(localStorage.getItem(PLACE) ?? "{}");
    const known = Object.entries(CHOICES).filter(([key, allowed]) => {
      const value: unknown = typeof found === "object" && found !== null ? Reflect.get(found, key) : undefined;
      return (allowed as readonly unknown[]).includes(value);
    });
    return { ...USUAL, ...Object.fromEntries(known.map(([key]) => [key, Reflect.get(found as object, key)])) };
  } catch {
    return USUAL; // storage is forbidden, or somebody else wrote there
  }
}

/** The preferences. */
export const look = signal<Look>(stored());

/** Changes some of them. */
export function prefer(changed: Partial<Look>): void {
  look.value = { ...look.value, ...changed };
  try {
    localStorage.setItem(PLACE, JSON.stringify(look.value));
  } catch {
    // It then holds until the page is closed.
  }
}

/** Keeps the document as preferred. */
export function wearLook(): void {
  effect(() => {
    const root = document.documentElement;
    const { theme, size, direction } = look.value;
    root.dataset["theme"] = theme;
    root.dataset["size"] = size;
    root.dir = direction;
  });
}
