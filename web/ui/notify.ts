/** What is heard and seen outside the page when somebody writes: never a text that burns or disappears. */
import { effect, type ReadonlySignal } from "@preact/signals";
import type { Item } from "../api.ts";
import type { Talk } from "./model.ts";
import { look } from "./look.ts";
import { labelOf } from "./names.ts";

/** Whether the page is what its user looks at. */
export function isSeen(): boolean {
  return document.hasFocus() && document.visibilityState === "visible";
}

const QUIET_MS = 1000;
let chimedAt = -QUIET_MS;

/** Tells that texts have come, as its user wants it; a click calls `onClick`. */
export function notifyOf(who: Talk, came: readonly Item[], onClick: () => void): void {
  const name = labelOf(who);
  const { notify, sound } = look.value;
  // A flood of texts is one tone a second.
  if (sound && performance.now() - chimedAt > QUIET_MS) {
    chimedAt = performance.now();
    chime();
  }
  if (notify === "off" || isSeen() || !("Notification" in window) || Notification.permission !== "granted") return;
  const last = came.at(-1);
  const body = notify === "text" && last?.kind === "text" && !last.burns && last.expiresAt === null ? `${last.group?.author ? `${labelOf(last.group.author)}: ` : ""}${last.text.slice(0, 200)}` : "New message";
  try {
    const shown = new Notification(name, { body, tag: who.peer, icon: document.querySelector<HTMLLinkElement>('link[rel="icon"]')?.href ?? "" });
    shown.onclick = () => {
      window.focus();
      onClick();
      shown.close();
    };
  } catch {
    // Some phones show notifications from a service worker only; the count in the title remains.
  }
}

/** Asks the browser for the permission that a choice needs; whether it is there. */
export async function mayNotify(): Promise<boolean> {
  if (!("Notification" in window)) return false;
  return Notification.permission === "granted" || (await Notification.requestPermission()) === "granted";
}

let sounds: AudioContext | null = null;

/** Two soft tones, made here: there is no file to load. */
export function chime(): void {
  sounds ??= new AudioContext();
  const now = sounds.currentTime;
  for (const [at, hertz] of [[0, 660], [0.12, 880]] as const) {
    const tone = new OscillatorNode(sounds, { frequency: hertz });
    const volume = new GainNode(sounds, { gain: 0 });
    volume.gain.setTargetAtTime(0.08, now + at, 0.01);
    volume.gain.setTargetAtTime(0, now + at + 0.08, 0.05);
    tone.connect(volume).connect(sounds.destination);
    tone.start(now + at);
    tone.stop(now + at + 0.5);
  }
}

/** Keeps the number of unread texts in the title and on the installed page's icon. */
export function countOutside(many: ReadonlySignal<number>): void {
  effect(() => {
    const unread = many.value;
    document.title = unread > 0 ? `(${unread}) Phantom` : "Phantom";
    if ("setAppBadge" in navigator) void (unread > 0 ? navigator.setAppBadge(unread) : navigator.clearAppBadge()).catch(() => undefined);
  });
}
