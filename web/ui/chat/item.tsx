import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Item as Text, Mark } from "../../api.ts";
import { isGroup } from "../../groups_api.ts";
import { useAction } from "../parts/action.ts";
import { Called } from "../parts/called.tsx";
import { minute, useNow } from "../parts/clock.ts";
import { Guard, NotShown } from "../parts/guard.tsx";
import { Icon } from "../parts/icon.tsx";
import { api, attempt, keep, panel, settings, uncover, uncovered } from "../model.ts";
import { addressesIn } from "../addresses.ts";
import { beginningOf } from "../excerpt.ts";
import { hueOf, labelOf } from "../names.ts";
import { sentence } from "../sentences.ts";
import { clock, count, moment, secondsUntil } from "../times.ts";
import { copiesWord, MarkOf } from "./mark.tsx";

/** So long a text waits before it can be deleted, in milliseconds. */
const WAITS_MS = 10_000;

interface ItemProps {
  readonly item: Text;
  /** Who the other side is. */
  readonly label: string;
  /** Whether the one before is of the same side and about the same time. */
  readonly isTight?: boolean;
  /** Whether it is the newest of one's own, whose mark is also written out. */
  readonly isLatest?: boolean;
  readonly isFound?: boolean;
}

/** One text. New ones of the other side are spoken by the log around it; one's own are not. */
export function Item(given: ItemProps) {
  return (
    <Guard of={given.item} instead={<div role="listitem" class="item" data-id={given.item.id}><NotShown /></div>}>
      <Shown {...given} />
    </Guard>
  );
}

function Shown({ item, label, isTight = false, isLatest = false, isFound = false }: ItemProps) {
  if (item.kind === "event") return <div role="listitem" class="item event" data-id={item.id}><p>{item.text}</p></div>;
  const author = item.group?.author ?? null;
  if (author !== null) label = labelOf(author);
  const shown = item.isMine ? undefined : uncovered.value.get(item.id);
  const classes = ["item", item.isMine ? "mine" : "theirs", isTight ? "tight" : "", isFound ? "found" : ""];
  return (
    <div
      role="listitem"
      class={classes.join(" ")}
      data-id={item.id}
      {...(item.isMine ? { "aria-live": "off" as const } : {})}
      {...(item.isUnread && item.kind !== "covered" ? { "data-unread": "" } : {})}
    >
      <div class="bubble">
        {author !== null && !isTight
          ? <strong class={`author hue-${hueOf(author.peer)}`}><Called who={author} /><span class="sr">: </span></strong>
          : <span class="sr">{item.isMine ? "You: " : <><bdi>{label}</bdi>: </>}</span>}
        {shown === undefined ? <Body item={item} label={label} /> : <Burning id={item.id} text={shown.text} until={shown.until} />}
        <span class="meta">
          {item.burns && item.kind === "text" && <Small icon="flame" word="burns after reading" />}
          {item.expiresAt !== null && item.kind !== "gone" && <Small icon="timer" word={`disappears ${moment(item.expiresAt, Date.now())}`} />}
          <time dateTime={new Date(item.at).toISOString()}>{clock(item.at)}</time>
          {item.mark !== null && <Reached item={item} mark={item.mark} hasWord={isLatest || item.mark === "failed" || item.mark === "waiting"} />}
        </span>
      </div>
      {item.mark === "failed" && <Failed item={item} />}
      {item.mark === "waiting" && <Waiting item={item} />}
    </div>
  );
}

/** How far it has come; in a group, with how many, and who they are. */
function Reached({ item, mark, hasWord }: { readonly item: Text; readonly mark: Mark; readonly hasWord: boolean }) {
  const { peer, id, group } = item;
  const word = group?.copies == null ? undefined : copiesWord(mark, group.copies);
  if (word === undefined || !isGroup(peer)) return <MarkOf mark={mark} hasWord={hasWord} />;
  return (
    <button type="button" class="copies" title="Who has received it" onClick={() => (panel.value = { at: "group-copies", group: peer, id })}>
      <MarkOf mark={mark} hasWord={hasWord} word={word} />
    </button>
  );
}

function Small({ icon, word }: { readonly icon: "flame" | "timer"; readonly word: string }) {
  return (
    <span class={`small-sign ${icon}`} title={word}>
      <Icon name={icon} />
      <span class="sr">{word}</span>
    </span>
  );
}

function Body({ item, label }: { readonly item: Text; readonly label: string }) {
  switch (item.kind) {
    case "text":
      return <Words text={item.text} />;
    case "covered":
      return <Covered item={item} />;
    case "newer":
      return <p class="text instead">Sent with a newer version. Reload this page later to read it.</p>;
    case "unreadable":
      return <p class="text instead">This could not be read yet. The device of <bdi>{label}</bdi> is asked to send it again.</p>;
    case "broken":
      return <p class="text instead">This cannot be read here: it is from a newer version, or was changed or made up on its way. Ask <bdi>{label}</bdi>.</p>;
    case "event":
    case "gone":
      return <p class="text instead">{goneWord(item)}</p>;
  }
}

/** What stands in the place of a text that is gone. */
export function goneWord(item: Text): string {
  if (item.burns || item.mark === "burned") return "Burned after reading";
  return item.expiresAt !== null || item.mark === "expired" ? "Disappeared" : "Erased";
}

/** What was written; of a very long text the beginning, until more is wanted. */
function Words({ text }: { readonly text: string }) {
  const [isWhole, setWhole] = useState(false);
  const beginning = beginningOf(text);
  return (
    <>
      <p class={isBig(text) ? "text big" : "text"} dir="auto">{linked(beginning === null || isWhole ? text : `${beginning} …`)}</p>
      {beginning !== null && (
        <button type="button" class="small" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
          {isWhole ? "Show less" : "Show all"}
        </button>
      )}
    </>
  );
}

function Covered({ item }: { readonly item: Text }) {
  const action = useAction();
  if (item.isMine) return <p class="text instead">Burns after reading</p>;
  return (
    <>
      <button type="button" class="cover" disabled={action.isBusy} onClick={() => void action.run(() => uncover(item.peer, item.id))}>
        <Icon name="flame" />
        <span>
          <strong>Read once</strong>
          {/* Whose receipts are off tells nobody that it was read, so the other copy stays. */}
          <small>{settings.value?.readReceipts === false ? "It is then erased here; its sender keeps it." : "It is then erased on both sides."}</small>
        </span>
      </button>
      {action.fault !== "" && <p role="alert" class="fault">{action.fault}</p>}
    </>
  );
}

/** A text that burns, as long as it is seen. */
function Burning({ id, text, until }: { readonly id: string; readonly text: string; readonly until: number }) {
  const now = useNow(250);
  const left = secondsUntil(until, now);
  if (left === 0) queueMicrotask(() => keep(id, null));
  return (
    <div class="burning">
      <Words text={text} />
      <p class="left">
        <Icon name="flame" />
        <span aria-hidden="true">gone in {left} s</span>
        <button type="button" class="small" onClick={() => keep(id, { text, until: until + 30_000 })}>30 s more</button>
        <button type="button" class="small" onClick={() => keep(id, null)}>Done</button>
      </p>
    </div>
  );
}

function Failed({ item }: { readonly item: Text }) {
  return (
    <p class="fault">
      {sentence(item.fault)}{" "}
      <button type="button" class="small" onClick={() => attempt(api().sendAgain({ peer: item.peer, id: item.id }))}>Try again</button>{" "}
      <Delete item={item} />
    </p>
  );
}

/** One that has waited for some time; most are sent at once. */
function Waiting({ item }: { readonly item: Text }) {
  return minute.value - item.at < WAITS_MS ? null : <p><Delete item={item} /></p>;
}

function Delete({ item: { peer, id } }: { readonly item: Text }) {
  return <button type="button" class="small" onClick={() => attempt(api().removeItem({ peer, id }))}>Delete</button>;
}

/** A text in which addresses can be followed. They read from left to right, whatever stands before them. */
function linked(text: string): ComponentChildren {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const { at, address } of addressesIn(text)) {
    parts.push(text.slice(end, at), <a href={address} dir="ltr" target="_blank" rel="noopener noreferrer">{address}</a>);
    end = at + address.length;
  }
  return parts.length === 0 ? text : [...parts, text.slice(end)];
}

const EMOJI = /^(?:\p{Extended_Pictographic}|\p{Regional_Indicator}|\p{Emoji_Modifier}|\u200d|\ufe0f)+$/u;
const graphemes = new Intl.Segmenter();

/** Whether a text is up to three emoji and nothing else. */
function isBig(text: string): boolean {
  return text.length < 40 && EMOJI.test(text) && [...graphemes.segment(text)].length <= 3;
}

/** "2 new". */
export function newWord(many: number): string {
  return count(many, "new text");
}
