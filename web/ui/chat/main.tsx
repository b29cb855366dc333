import { useEffect } from "preact/hooks";
import type { Conversation as Talk } from "../../api.ts";
import { Guard } from "../parts/guard.tsx";
import { Ghost } from "../parts/icon.tsx";
import { opened, openPeer, panel, people, spoken, warn } from "../model.ts";
import { Conversation } from "./conversation.tsx";
import { later, loadLater, useLater, warnOfLater } from "./later.ts";
import { Side } from "./side.tsx";
import { Warnings } from "./warnings.tsx";

/** A moment in which nobody waits for anything yet, in milliseconds. */
const QUIET_MS = 300;

function Over() {
  const isWanted = panel.value !== null;
  useEffect(() => {
    if (later.value !== null) return undefined;
    const fail = () => {
      if (isWanted) warnOfLater();
      panel.value = null;
    };
    const timer = setTimeout(() => void loadLater().catch(fail), isWanted ? 0 : QUIET_MS);
    return () => clearTimeout(timer);
  }, [isWanted]);
  const Loaded = later.value?.Panels;
  return Loaded === undefined ? null : <Guard of={panel.value} instead={<NoPanel />}><Loaded /></Guard>;
}

function Stranger({ who }: { readonly who: Talk }) {
  const Request = useLater()?.Request;
  return Request === undefined ? null : <Request who={who} />;
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
          <Guard key={who.peer} of={who}>{who.isRequest ? <Stranger who={who} /> : <Conversation who={who} />}</Guard>
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
