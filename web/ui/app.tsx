import { useLayoutEffect, useRef } from "preact/hooks";
import type { Stage } from "../api.ts";
import { isBroken, stage } from "./model.ts";
import { Main } from "./chat/main.tsx";
import { FirstRun } from "./screens/first_run.tsx";
import { Locked } from "./screens/locked.tsx";
import { Broken, Deleted, Elsewhere, Evicted, Insecure, Newer, Working } from "./screens/stages.tsx";

/**
 * The screen for what the worker can do at the moment. While the worker does something slow, the screen from which it was
 * asked for stays, unseen: with what was typed there, and with why it was refused, if it is.
 */
export function App() {
  const now = stage.value;
  const asked = useRef<Stage | null>(null);
  const focused = useRef<Element | null>(null);
  const isCovered = now?.at === "working" && now.what !== "saving"; // a backup's dialog says itself that it is being saved
  if (now?.at !== "working") asked.current = now;
  if (isCovered) focused.current ??= document.activeElement;
  useLayoutEffect(() => {
    if (isCovered || !(focused.current instanceof HTMLElement)) return;
    focused.current.focus();
    focused.current = null;
  }, [isCovered]);
  if (isBroken.value) return <Broken />;
  return (
    <>
      <div class="asked" hidden={isCovered}>{screenOf(asked.current)}</div>
      {isCovered && <Working {...now} />}
    </>
  );
}

function screenOf(now: Stage | null) {
  if (now === null) return <main class="frame" aria-busy="true" />;
  switch (now.at) {
    case "first-run":
      return <FirstRun />;
    case "locked":
      return <Locked name={now.name} />;
    case "evicted":
      return <Evicted />;
    case "elsewhere":
      return <Elsewhere />;
    case "insecure":
      return <Insecure />;
    case "newer-profile":
      return <Newer />;
    case "working":
      return null;
    case "deleted":
      return <Deleted />;
    case "open":
      return <Main />;
  }
}
