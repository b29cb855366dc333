/** Keys that work everywhere on the page. */
import { isFinding, isInvitation, isQuiet, open, openPeer, ordered, panel, stage } from "./model.ts";

function focusOn(id: string): void {
  document.getElementById(id)?.focus();
}

/** Opens the conversation so many rows further down. */
function step(by: 1 | -1): void {
  const peers = ordered.value.filter((one) => !one.isRequest && !isInvitation(one)).map((one) => one.peer);
  const at = peers.indexOf(openPeer.value ?? "");
  const next = peers[at < 0 ? 0 : at + by];
  if (next !== undefined) void open(next);
}

function nextUnread(): void {
  const next = ordered.value.find((one) => one.unread > 0 && !isQuiet(one) && one.peer !== openPeer.value);
  if (next !== undefined) void open(next.peer);
}

function scrollLog(pages: 1 | -1): void {
  const log = document.querySelector("[role=log]");
  if (log !== null) log.scrollTop += pages * log.clientHeight * 0.85;
}

const WITH_ALT: Readonly<Record<string, () => void>> = {
  ArrowUp: () => step(-1),
  ArrowDown: () => step(1),
  KeyU: nextUnread,
};

const WITH_CTRL: Readonly<Record<string, () => void>> = {
  KeyK: () => focusOn("search"),
  KeyF: () => {
    if (openPeer.value === null) focusOn("search");
    else isFinding.value = true;
  },
};

const ALONE: Readonly<Record<string, () => void>> = {
  F1: () => (panel.value = { at: "keys" }),
  Escape: () => focusOn("composer"),
};

const PAGES: Readonly<Record<string, () => void>> = { PageUp: () => scrollLog(-1), PageDown: () => scrollLog(1) };

function actionOf(event: KeyboardEvent): (() => void) | undefined {
  const { code, altKey, ctrlKey, metaKey, shiftKey } = event;
  if (altKey && !ctrlKey && !metaKey && !shiftKey) return WITH_ALT[code];
  if ((ctrlKey || metaKey) && !altKey && !shiftKey) return WITH_CTRL[code];
  if (altKey || ctrlKey || metaKey) return undefined;
  if (event.target instanceof HTMLTextAreaElement && PAGES[code] !== undefined) return PAGES[code];
  return ALONE[code];
}

/** Does what a key stands for; a letter outside of a text box goes to the composer. */
export function onKey(event: KeyboardEvent): void {
  if (stage.value?.at !== "open" || panel.value !== null || event.isComposing) return;
  const action = actionOf(event);
  if (action !== undefined) {
    event.preventDefault();
    action();
  } else if (isLetter(event)) focusOn("composer");
}

function isLetter({ key, altKey, ctrlKey, metaKey, target }: KeyboardEvent): boolean {
  if (altKey || ctrlKey || metaKey || !/^[\p{L}\p{N}]$/u.test(key)) return false;
  return !(target instanceof HTMLElement && target.matches("input, textarea, select, summary, [role=radio]"));
}
