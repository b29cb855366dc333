import { useState } from "preact/hooks";
import { Icon } from "./icon.tsx";

/** Copies a text, and says so. */
export function Copy({ text, label }: { readonly text: string; readonly label: string }) {
  const [isDone, setDone] = useState(false);
  async function copy(): Promise<void> {
    await navigator.clipboard.writeText(text);
    setDone(true);
    setTimeout(() => setDone(false), 2500);
  }
  return (
    <>
      <button type="button" onClick={() => void copy().catch(() => setDone(false))}>
        <Icon name={isDone ? "check" : "copy"} />
        {label}
      </button>
      <span role="status" class="sr">{isDone ? "Copied" : ""}</span>
    </>
  );
}
