import type { Mark } from "../../api.ts";
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

/** How far a text has come: a drawing and the word, which is seen beside the newest one and always heard. */
export function MarkOf({ mark, hasWord = false }: { readonly mark: Mark; readonly hasWord?: boolean }) {
  return (
    <span class={`mark ${mark}`} title={WORDS[mark]}>
      <Icon name={ICONS[mark]} />
      <span class={hasWord ? "word" : "sr"}>{WORDS[mark]}</span>
    </span>
  );
}
