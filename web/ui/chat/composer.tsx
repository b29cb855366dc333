import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { api, attempt, drafts, isOfGroup, settings, type Talk } from "../model.ts";
import { Icon } from "../parts/icon.tsx";
import { Menu } from "../parts/menu.tsx";
import { look } from "../look.ts";
import { labelOf } from "../names.ts";
import { sentenceOf } from "../remote.ts";
import { count } from "../times.ts";

/** The most bytes of one text: `MAX_TEXT_BYTES` of the clients. */
const MOST_BYTES = 40_000;
const DRAFT_MS = 400;
/** Peers are told at most so often that one types. */
const TYPING_MS = 5000;

const HOUR_MS = 3_600_000;
/** How long texts can last, in milliseconds. */
export const LASTS: readonly (readonly [number | null, string])[] = [
  [null, "Never"],
  [5 * 60_000, "5 minutes"],
  [HOUR_MS, "1 hour"],
  [8 * HOUR_MS, "8 hours"],
  [24 * HOUR_MS, "1 day"],
  [7 * 24 * HOUR_MS, "1 week"],
  [28 * 24 * HOUR_MS, "4 weeks"],
];

const encoder = new TextEncoder();

/** Where texts are written. It belongs to one conversation, with its draft. */
export function Composer({ who }: { readonly who: Talk }) {
  const { peer } = who;
  const label = labelOf(who);
  const box = useRef<HTMLTextAreaElement>(null);
  const [text, setText] = useState(drafts.get(peer) ?? who.draft);
  const [burn, setBurn] = useState(false);
  const [chosen, setLast] = useState(who.expiresIn);
  // In a group its own timer counts, which an admin sets.
  const isMany = isOfGroup(who);
  const last = isMany ? who.expiresIn : chosen;
  const [fault, setFault] = useState("");
  const keepDraft = useDraft(peer);
  const bytes = text.length > MOST_BYTES / 4 ? encoder.encode(text).length : 0;
  const isTooLong = bytes > MOST_BYTES;

  useGrowing(box, text);
  useLayoutEffect(() => box.current?.focus({ preventScroll: true }), []);

  function change(next: string): void {
    setText(next);
    keepDraft(next);
    if (next.trim() !== "" && !isMany) tellTyping(peer);
  }

  function send(): void {
    if (text.trim() === "" || isTooLong) return;
    setFault("");
    change("");
    api().send({ peer, text, burn, expiresIn: isMany ? null : last }).catch((error: unknown) => {
      // It was not stored: nothing of what was written may be lost.
      setFault(sentenceOf(error));
      setText((now) => {
        const both = now === "" ? text : `${text}\n${now}`;
        keepDraft(both);
        return both;
      });
    });
    box.current?.focus();
  }

  function onKey(event: KeyboardEvent): void {
    // Safari ends the composing before it tells of the key that ended it, under the code 229.
    if (event.key !== "Enter" || event.isComposing || event.keyCode === 229 || event.altKey || event.metaKey) return;
    if (look.value.enterSends === (event.shiftKey || event.ctrlKey)) return;
    event.preventDefault();
    send();
  }

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div role="status" class="lasts">
        {burn && <span class="chip warm"><Icon name="flame" />Burns after reading</span>}
        {last !== null && <span class="chip"><Icon name="timer" />Disappears after {lastsWord(last)}</span>}
      </div>
      {isTooLong && (
        <p role="alert" class="fault">
          This text is too long: it has {Math.ceil(bytes / 1000)} KB, and the limit is {MOST_BYTES / 1000} KB. Send it in parts.
        </p>
      )}
      {fault !== "" && <p role="alert" class="fault">{fault}</p>}
      <div class="line">
        {!isMany && (
          <Timer
            last={last}
            onChoose={(next) => {
              attempt(api().lasting({ peer, expiresIn: next }));
              setLast(next);
            }}
          />
        )}
        <textarea
          id="composer"
          ref={box}
          rows={1}
          dir="auto"
          value={text}
          aria-label={`Write to ${label}`}
          placeholder={`Write to ${label}`}
          autocomplete="off"
          enterkeyhint={look.value.enterSends ? "send" : "enter"}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={onKey}
        />
        {!isMany && (
          <button
            type="button"
            class={burn ? "round burn on" : "round burn"}
            aria-pressed={burn}
            aria-label="Burn after reading"
            title="Burn after reading"
            onClick={() => setBurn(!burn)}
          >
            <Icon name="flame" />
          </button>
        )}
        <button type="submit" class="round primary" aria-label="Send" title="Send" disabled={text.trim() === "" || isTooLong}>
          <Icon name="send" />
        </button>
      </div>
    </form>
  );
}

const UNITS = [[24 * HOUR_MS, "day"], [HOUR_MS, "hour"], [60_000, "minute"], [1000, "second"]] as const;

/** How long texts last, in words: other clients set other times than those that can be chosen here. */
export function lastsWord(expiresIn: number | null): string {
  const chosen = LASTS.find(([ms]) => ms === expiresIn)?.[1];
  if (chosen !== undefined || expiresIn === null) return chosen ?? "";
  const [size, unit] = UNITS.find(([ms]) => expiresIn % ms === 0) ?? [1, "millisecond"];
  return count(expiresIn / size, unit);
}

function Timer({ last, onChoose }: { readonly last: number | null; onChoose(last: number | null): void }) {
  return (
    <Menu label="How long texts last" icon="timer" isOn={last !== null} opens="up">
      {() => (
        <fieldset class="lasting">
          <legend>New texts disappear after</legend>
          {LASTS.map(([ms, word]) => (
            <label key={word}>
              <input type="radio" name="lasting" checked={ms === last} onChange={() => onChoose(ms)} />
              {word}
            </label>
          ))}
        </fieldset>
      )}
    </Menu>
  );
}

/** Keeps what is being written: some moments after a change, and at once when one leaves. */
function useDraft(peer: string): (text: string) => void {
  const waiting = useRef<{ timer: number; text: string } | null>(null);
  function flush(): void {
    if (waiting.current === null) return;
    clearTimeout(waiting.current.timer);
    attempt(api().draft({ peer, text: waiting.current.text }));
    waiting.current = null;
  }
  useLayoutEffect(() => {
    addEventListener("pagehide", flush);
    return () => {
      removeEventListener("pagehide", flush);
      flush();
    };
  }, []);
  return (text) => {
    drafts.set(peer, text); // whoever is back before the worker has stored it finds it here
    if (waiting.current !== null) clearTimeout(waiting.current.timer);
    waiting.current = { text, timer: window.setTimeout(flush, DRAFT_MS) };
    if (text === "") flush();
  };
}

/** As high as its text, until the style's limit. */
function useGrowing(box: { readonly current: HTMLTextAreaElement | null }, text: string): void {
  function grow(): void {
    const area = box.current;
    if (area === null) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
  }
  useLayoutEffect(grow, [text]);
  useEffect(() => {
    addEventListener("resize", grow);
    return () => removeEventListener("resize", grow);
  }, []);
}

let toldAt = 0;
let toldTo = "";

function tellTyping(peer: string): void {
  const now = Date.now();
  if (settings.value?.typing !== true || (peer === toldTo && now - toldAt < TYPING_MS)) return;
  [toldAt, toldTo] = [now, peer];
  api().typing({ peer }).catch(() => undefined);
}
