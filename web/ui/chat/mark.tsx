import type { Mark } from "../../api.ts";
import type { Copies } from "../../groups_api.ts";
import { Icon, type IconName } from "../parts/icon.tsx";

const ICONS: { readonly [M in Mark]: IconName } = {
  waiting: "clock",
  sent: "check",
  delivered: "checks",
  read: "checks",
  burned: "flame",
  expired: "timer",
  failed: "alert",
};

const WORDS: { readonly [M in Mark]: string } = {
  waiting: "waiting",
  sent: "sent",
  delivered: "delivered",
  read: "read",
  burned: "burned",
  expired: "expired",
  failed: "not sent",
};

/** With how many of a group: "delivered to 3 of 5". */
export function copiesWord(mark: Mark, { of, delivered, read, failed }: Copies): string {
  if (mark === "waiting" || mark === "expired") return WORDS[mark];
  if (failed > 0) return `not sent to ${failed} of ${of}`;
  if (read > 0) return `read by ${read} of ${of}`;
  return delivered > 0 ? `delivered to ${delivered} of ${of}` : WORDS[mark];
}

/** How far a text has come: a drawing and the word, which is seen beside the newest one and always heard. */
export function MarkOf({ mark, hasWord = false, word = WORDS[mark] }: { readonly mark: Mark; readonly hasWord?: boolean; readonly word?: string }) {
  return (
    <span class={`mark ${mark}`} title={word}>
      <Icon name={ICONS[mark]} />
      <span class={hasWord ? "word" : "sr"}>{word}</span>
    </span>
  );
}
