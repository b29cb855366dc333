import { isBroken, stage } from "./model.ts";
import { Main } from "./chat/main.tsx";
import { FirstRun } from "./screens/first_run.tsx";
import { Locked } from "./screens/locked.tsx";
import { Broken, Deleted, Elsewhere, Evicted, Insecure, Newer, Working } from "./screens/stages.tsx";

/** The screen for what the worker can do at the moment. */
export function App() {
  if (isBroken.value) return <Broken />;
  const now = stage.value;
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
      return <Working {...now} />;
    case "deleted":
      return <Deleted />;
    case "open":
      return <Main />;
  }
}
