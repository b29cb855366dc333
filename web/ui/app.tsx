import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import type { Stage } from "../api.ts";
import { Main } from "./chat/main.tsx";
import { isBroken, stage } from "./model.ts";
import { FirstRun } from "./screens/first_run.tsx";
import { Locked } from "./screens/locked.tsx";
import { Broken, Deleted, Elsewhere, Evicted, Insecure, Newer, Working } from "./screens/stages.tsx";

type Resting = Exclude<Stage, { at: "working" }>;

/** The screen for what the worker can do at the moment. */
export function App() {
  const resting = useRef<Resting | null>(null);
  const focused = useRef<Element | null>(null);
  const now = stage.value;
  const isWorking = now?.at === "working";
  if (now !== null && now.at !== "working") resting.current = now;
  useLayoutEffect(() => {
    if (isWorking) focused.current = document.activeElement;
    else if (focused.current instanceof HTMLElement) {
      focused.current.focus();
      focused.current = null;
    }
  }, [isWorking]);
  if (isBroken.value) return <Broken />;
  // What was entered stays: the work may be refused, as with a wrong passphrase.
  return (
    <>
      {isWorking && <Working {...now} />}
      <div class="resting" hidden={isWorking}>
        {screenOf(resting.current)}
      </div>
    </>
  );
}

function screenOf(at: Resting | null): ComponentChildren {
  switch (at?.at) {
    case undefined:
      return <main class="frame" aria-busy="true" />;
    case "first-run":
      return <FirstRun />;
    case "locked":
      return <Locked name={at.name} />;
    case "evicted":
      return <Evicted />;
    case "elsewhere":
      return <Elsewhere />;
    case "insecure":
      return <Insecure />;
    case "newer-profile":
      return <Newer />;
    case "deleted":
      return <Deleted isRemoved={at.isRemoved === true} />;
    case "open":
      return <Main />;
  }
}
