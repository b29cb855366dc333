import { useEffect } from "preact/hooks";
import type { Conversation as Person } from "../../api.ts";
import { Guard } from "../parts/guard.tsx";
import { Ghost } from "../parts/icon.tsx";
import { type GroupTalk, isFinding, isOfGroup, opened, openPeer, panel, spoken, type Talk, talks, warn } from "../model.ts";
import { OfflineLine } from "./banners.tsx";
import { Conversation, Find } from "./conversation.tsx";
import { groupParts, panels, warnOfLater } from "./later.ts";
import { Side } from "./side.tsx";
import { Warnings } from "./warnings.tsx";

/** A moment in which nobody waits for anything yet, in milliseconds. */
const QUIET_MS = 300;

function Over() {
  const isWanted = panel.value !== null;
  const isOfGroups = panel.value?.at.startsWith("group") === true;
  const part = isOfGroups ? groupParts : panels;
  useEffect(() => {
    if (part.loaded.value !== null) return undefined;
    const fail = () => {
      if (isWanted) warnOfLater();
      panel.value = null;
    };
    const timer = setTimeout(() => void part.load().catch(fail), isWanted ? 0 : QUIET_MS);
    return () => clearTimeout(timer);
  }, [isWanted, part]);
  const Loaded = isOfGroups ? groupParts.loaded.value?.GroupPanels : panels.loaded.value?.Panels;
  return Loaded === undefined ? null : <Guard of={panel.value} instead={<NoPanel />}><Loaded /></Guard>;
}

function Stranger({ who }: { readonly who: Person }) {
  const Request = panels.use()?.Request;
  return Request === undefined ? null : <Request who={who} />;
}

function Several({ who }: { readonly who: GroupTalk }) {
  const Loaded = groupParts.use()?.GroupConversation;
  return Loaded === undefined ? null : <Loaded who={who} finder={isFinding.value && <Find peer={who.peer} />} />;
}

function Open({ who }: { readonly who: Talk }) {
  if (isOfGroup(who)) return <Several who={who} />;
  return who.isRequest ? <Stranger who={who} /> : <Conversation who={who} />;
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
        <OfflineLine />
        {who === null ? (
          <Nobody />
        ) : (
          <Guard key={who.peer} of={who}><Open who={who} /></Guard>
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
  const isEmpty = talks.value.size === 0;
  return (
    <div class="nobody">
      <Ghost />
      <h2>{isEmpty ? "Write to someone" : "Choose a conversation"}</h2>
      <p>
        {isEmpty
          ? "Give someone your link, or enter theirs. Then only the two of you can read what you write."
          : "Only those who are in it can read it."}
      </p>
      {isEmpty && (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => (panel.value = { at: "me" })}>Show my link</button>
        </div>
      )}
    </div>
  );
}
