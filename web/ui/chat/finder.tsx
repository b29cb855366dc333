import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Found } from "../../api.ts";
import { Icon } from "../parts/icon.tsx";
import { api, isFinding, target } from "../model.ts";
import { count } from "../times.ts";

const SEARCH_MS = 250;
const MOST_FOUND = 200;

/** Searches one conversation, from the newest text to the oldest. */
export function Finder({ peer }: { readonly peer: string }) {
  const [sought, setSought] = useState("");
  const [found, setFound] = useState<readonly Found[]>([]);
  const [at, setAt] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const text = sought.trim();
  useLayoutEffect(() => input.current?.focus(), []);

  function go(to: number, all: readonly Found[]): void {
    const { item } = all[to] ?? {};
    setAt(to);
    if (item !== undefined) target.value = { peer, id: item.id, position: item.position };
  }

  useEffect(() => {
    if (text === "") {
      setFound([]);
      return undefined;
    }
    let isCurrent = true;
    const show = (all: readonly Found[]) => {
      if (!isCurrent) return;
      const newestFirst = all.toSorted((a, b) => b.item.position - a.item.position);
      setFound(newestFirst);
      go(0, newestFirst);
    };
    const timer = setTimeout(() => void api().search({ text, peer, limit: MOST_FOUND }).then(show, () => show([])), SEARCH_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [text]);

  function close(): void {
    isFinding.value = false;
    target.value = null;
    document.getElementById("composer")?.focus();
  }

  const last = found.length - 1;
  return (
    <form
      class="finder"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        go(at < last ? at + 1 : 0, found);
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        close();
      }}
    >
      <Icon name="search" />
      <input
        type="search"
        dir="auto"
        autocomplete="off"
        aria-label="Search in this conversation"
        placeholder="Search in this conversation"
        ref={input}
        value={sought}
        onInput={(event) => setSought(event.currentTarget.value)}
      />
      <span role="status">{text === "" ? "" : found.length === 0 ? "nothing" : `${at + 1} of ${count(found.length, "text")}`}</span>
      <button type="button" class="round" aria-label="Older" disabled={at >= last} onClick={() => go(at + 1, found)}>
        <Icon name="up" />
      </button>
      <button type="button" class="round" aria-label="Newer" disabled={at <= 0} onClick={() => go(at - 1, found)}>
        <Icon name="down" />
      </button>
      <button type="button" class="round" aria-label="End the search" onClick={close}>
        <Icon name="close" />
      </button>
    </form>
  );
}
