import { Ghost } from "../parts/icon.tsx";
import { opened, openPeer, panel, people, spoken } from "../model.ts";
import { Panels } from "../panels/panels.tsx";
import { Conversation } from "./conversation.tsx";
import { Request } from "./request.tsx";
import { Side } from "./side.tsx";
import { Warnings } from "./warnings.tsx";

/** Two columns where there is room, else the list or the conversation. */
export function Main() {
  const who = opened.value;
  return (
    <div class={openPeer.value === null ? "main at-list" : "main at-conversation"}>
      <Side />
      <main class="stage">
        {who === null ? <Nobody /> : who.isRequest ? <Request key={who.peer} who={who} /> : <Conversation key={who.peer} who={who} />}
      </main>
      <Warnings />
      <p class="sr" role="status">{spoken.value}</p>
      <Panels />
    </div>
  );
}

/** No conversation is open. */
function Nobody() {
  const isEmpty = people.value.size === 0;
  return (
    <div class="nobody">
      <Ghost />
      <h2>{isEmpty ? "Write to somebody" : "Choose a conversation"}</h2>
      <p>
        {isEmpty
          ? "Give somebody your link, or enter theirs. Then only the two of you can read what you write."
          : "Only you and the other side can read what is in it."}
      </p>
      {isEmpty && (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => (panel.value = { at: "me" })}>Show my link</button>
        </div>
      )}
    </div>
  );
}
