import { useState } from "preact/hooks";
import { api, type GroupTalk } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Called } from "../parts/called.tsx";
import { Field, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { count } from "../times.ts";
import { inOrder, OWN_NAME, OWN_NAME_HINT, PersonLine, wordsOf } from "./people.tsx";

/** Somebody has added one to a group: nobody learns anything until one has decided. */
export function Invitation({ who }: { readonly who: GroupTalk }) {
  const { key: group, inviter, isRequest } = who;
  const action = useAction();
  const [ownName, setOwnName] = useState("");
  const label = labelOf(who);
  async function decline(): Promise<void> {
    await api().leaveGroup({ group });
    history.back();
  }
  async function block(): Promise<void> {
    if (inviter !== null) await api().block({ peer: inviter.peer, isBlocked: true });
    await decline();
  }
  return (
    <section class="conversation" aria-label={`Invitation to ${label}`}>
      <header class="head">
        <button type="button" class="round to-list" aria-label="Back to the list" onClick={() => history.back()}>
          <Icon name="back" />
        </button>
        <Avatar id={group} label={label} isGroup picture={who.picture} />
        <div class="who">
          <h2><bdi>{label}</bdi></h2>
          <p>Group of {count(who.members.length, "member")}</p>
        </div>
      </header>
      <div class="log" tabIndex={0} role="region" aria-label="Who is in it">
        <div class="inner">
          <p class="invites"><strong>{inviter === null ? "Somebody" : <Called who={inviter} />}</strong> invites you to this group.</p>
          {who.wasNoAdmin && inviter !== null && (
            <p class="hint">
              You were in it before, and <Called who={inviter} /> was no admin then. It can look right, as what you have from before
              is shown in it, so ask one of the others before you accept.
            </p>
          )}
          <ul class="members">
            {inOrder(who).filter(({ isMe }) => !isMe).map((member) => (
              <li key={member.peer}><PersonLine person={member}>{wordsOf(member)}</PersonLine></li>
            ))}
          </ul>
        </div>
      </div>
      <div class="decide">
        <p>
          {isRequest && "Somebody you have not added invites you. Names can be made up, so accept only if you know what this is. "}
          If you accept, everybody in the group can see your ID, what you write in it, and that texts have reached you. They do
          not become your contacts. Until then they learn nothing.
        </p>
        <Field label={OWN_NAME} value={ownName} onValue={setOwnName} maxLength={64} hint={OWN_NAME_HINT} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="button" class="primary" disabled={action.isBusy} onClick={() => void action.run(() => api().acceptGroup({ group, ownName }))}>Accept</button>
          <button type="button" class={isRequest ? undefined : "danger"} disabled={action.isBusy} onClick={() => void action.run(decline)}>Decline</button>
          {isRequest && inviter !== null && (
            <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(block)}>Block them</button>
          )}
          <button type="button" onClick={() => history.back()}>Not now</button>
        </div>
      </div>
    </section>
  );
}
