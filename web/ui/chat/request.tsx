import { useEffect, useRef, useState } from "preact/hooks";
import type { Conversation } from "../../api.ts";
import { useAction } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Field, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { api, fetchOpened, openLog } from "../model.ts";
import { itemsOf } from "../log.ts";
import { labelOf } from "../names.ts";
import { Item } from "./item.tsx";

/** A stranger's first texts. Looking at them tells nobody anything. */
export function Request({ who }: { readonly who: Conversation }) {
  const action = useAction();
  const label = labelOf(who);
  const log = openLog.value;
  const [name, setName] = useState("");
  const shown = useRef(who.unread);
  useEffect(() => {
    if (who.unread !== shown.current) void fetchOpened(who.peer);
    shown.current = who.unread;
  }, [who.unread]);
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
          <div role="list">{[...itemsOf(log?.blocks ?? [])].map((item) => <Item key={item.id} item={item} label={label} />)}</div>
        </div>
      </div>
      <div class="decide">
        <p>
          Someone you have not added wrote to you. They cannot tell that you looked. Names can be made up, so accept only
          if you know who it is.
        </p>
        <Field label="What you call them" value={name} onValue={setName} maxLength={64} hint="If you accept. Only you can see it." />
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
