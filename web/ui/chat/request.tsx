import { useEffect, useRef, useState } from "preact/hooks";
import type { Conversation } from "../../api.ts";
import type { GroupInvitation } from "../../groups_api.ts";
import { useAction } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Field, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { api, fetchOpened, openLog } from "../model.ts";
import { itemsOf } from "../log.ts";
import { labelOf, plainName } from "../names.ts";
import { count } from "../times.ts";
import { Item } from "./item.tsx";

/** A stranger's first texts. Looking at them tells nobody anything. */
export function Request({ who }: { readonly who: Conversation }) {
  const action = useAction();
  const label = labelOf(who);
  const log = openLog.value;
  const [name, setName] = useState("");
  const [invitations, setInvitations] = useState<readonly GroupInvitation[] | null>([]);
  const invites = invitations !== null && invitations.length > 0;
  const shown = useRef(who.unread);
  useEffect(() => {
    if (who.unread !== shown.current) void fetchOpened(who.peer);
    shown.current = who.unread;
  }, [who.unread]);
  useEffect(() => {
    api().invitationsOf({ peer: who.peer }).then(setInvitations, () => undefined);
  }, [who.peer, who.unread]);
  async function accept(): Promise<void> {
    await api().acceptRequest({ peer: who.peer });
    if (name.trim() !== "") await api().renameContact({ peer: who.peer, name: name.trim() });
    await fetchOpened(who.peer);
  }
  async function block(): Promise<void> {
    await api().block({ peer: who.peer, isBlocked: true });
    history.back();
  }
  return (
    <section class="conversation" aria-label={`Message request from ${label}`}>
      <header class="head">
        <button type="button" class="round to-list" aria-label="Back to the list" onClick={() => history.back()}>
          <Icon name="back" />
        </button>
        <Avatar id={who.peer} label={label} />
        <div class="who">
          <h2><bdi>{label}</bdi></h2>
          <p>Not one of your contacts</p>
        </div>
      </header>
      <div class="log" tabIndex={0} role="log" aria-live="off" aria-label="What they wrote">
        <div class="inner">
          {invitations?.map((one, index) => <Invites key={index} to={one} />)}
          {invitations === null && (
            <p class="note">
              They are writing in a group that you have not joined. If you are invited to it, accept the invitation, and this
              request goes away by itself. If you block them, you will not see what they write in groups.
            </p>
          )}
          <div role="list">{[...itemsOf(log?.blocks ?? [])].map((item) => <Item key={item.id} item={item} label={label} />)}</div>
        </div>
      </div>
      <div class="decide">
        <p>
          Someone you have not added {invites ? "invites you" : "wrote to you"}. They cannot tell that you
          looked. Names can be made up, so accept only if you know who it is.
          {invites && " If you do, you decide about the group after that."}
        </p>
        <Field label="What you call them" value={name} onValue={setName} maxLength={64} hint="Used if you accept. Only you can see it." />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="button" class="primary" disabled={action.isBusy} onClick={() => void action.run(accept)}>Accept</button>
          <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(block)}>Block</button>
          <button type="button" onClick={() => history.back()}>Not now</button>
        </div>
      </div>
    </section>
  );
}

/** The group to which somebody invites, and whom one knows there. */
function Invites({ to: { name, members, known } }: { readonly to: GroupInvitation }) {
  return (
    <p class="note">
      This is an invitation to {name === "" ? "a group without a name" : <>the group <strong><bdi>{plainName(name)}</bdi></strong></>},
      with {count(members, "member")}.{" "}
      {known.length === 0 ? "You know nobody in it." : <>You know {known.map((one, index) => <>{index > 0 && ", "}<bdi>{labelOf(one)}</bdi></>)}.</>}
    </p>
  );
}
