import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Guard } from "../parts/guard.tsx";
import { Ghost } from "../parts/icon.tsx";
import { opened, openPeer, panel, people, spoken, warn } from "../model.ts";
import type { Panels } from "../panels/panels.tsx";
import { Conversation } from "./conversation.tsx";
import { Request } from "./request.tsx";
import { Side } from "./side.tsx";
import { Warnings } from "./warnings.tsx";

/** A moment in which nobody waits for anything yet, in milliseconds. */
const QUIET_MS = 300;

/** What lies over the conversations is a chunk of its own: nobody needs it to begin. */
const panels = signal<typeof Panels | null>(null);

async function loadPanels(): Promise<void> {
  panels.value ??= (await import("../panels/panels.tsx")).Panels;
}

function Over() {
  const isWanted = panel.value !== null;
  useEffect(() => {
    if (panels.value !== null) return undefined;
    const fail = () => {
      if (isWanted) warn(null, { code: "refused", text: "Part of this page could not be loaded. Check your connection, then try again." });
      panel.value = null;
    };
    const timer = setTimeout(() => void loadPanels().catch(fail), isWanted ? 0 : QUIET_MS);
    return () => clearTimeout(timer);
  }, [isWanted]);
  const Loaded = panels.value;
  return Loaded === null ? null : <Guard of={panel.value} instead={<NoPanel />}><Loaded /></Guard>;
}

function NoPanel() {
  useEffect(() => {
    warn(null, { code: "refused", text: "This could not be shown." });
    panel.value = null;
  }, []);
  return null;
}

/** Two columns where there is room, else the list or the conversation. */
export function Main() {
  const who = opened.value;
  return (
    <div class={openPeer.value === null ? "main at-list" : "main at-conversation"}>
      <Side />
      <main class="stage">
        {who === null ? (
          <Nobody />
        ) : (
          <Guard key={who.peer} of={who}>{who.isRequest ? <Request who={who} /> : <Conversation who={who} />}</Guard>
        )}
      </main>
      <Warnings />
      <p class="sr" role="status">{spoken.value}</p>
      <Over />
    </div>
  );
}

/** No conversation is open. */
function Nobody() {
  const isEmpty = people.value.size === 0;
  return (
    <div class="nobody">
      <Ghost />
      <h2>{isEmpty ? "Write to someone" : "Choose a conversation"}</h2>
      <p>
        {isEmpty
          ? "Give someone your link, or enter theirs. Then only the two of you can read what you write."
          : "Only you and the other person can read it."}
      </p>
      {isEmpty && (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => (panel.value = { at: "me" })}>Show my link</button>
        </div>
      )}
    </div>
  );
}
