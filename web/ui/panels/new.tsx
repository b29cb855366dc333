import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { Scanner } from "../parts/code.tsx";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Field, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { api, open, panel, people } from "../model.ts";
import { joinLinkIn, otherHost } from "../invitation.ts";
import { plainName } from "../names.ts";

/** A link of another page: whoever has only the one relay is not found at the other. */
function Elsewhere({ who }: { readonly who: string }) {
  const host = otherHost(who, location.href);
  return (
    <div role="status" class="refusal-room">
      {host !== null && (
        <p class="note">
          This link is from <strong>{host}</strong>, and you are at <strong>{location.host}</strong>. You reach each other
          only if both use the same relay. If your texts stay “waiting”, open the link itself in your browser.
        </p>
      )}
    </div>
  );
}

/** Adds a contact: by what was typed, scanned, or came with a link; a link never adds anybody by itself. */
export function NewConversation({ who: given, name: givenName }: { readonly who: string; readonly name: string }) {
  const isInvited = given !== "";
  const theirName = plainName(givenName);
  const [who, setWho] = useState(given);
  const known = [...people.value.values()].find((one) => isInvited && [one.writtenId, one.peer].includes(given));
  // A link does not rename somebody who has a name here already.
  const [name, setName] = useState(known !== undefined && known.name !== "" ? known.name : theirName);
  const [isScanning, setScanning] = useState(false);
  const action = useAction();
  function enter(text: string): void {
    setWho(text);
    action.forget();
  }
  async function add(): Promise<void> {
    const link = joinLinkIn(who);
    if (link !== null) {
      panel.value = { at: "group-join", link };
      return;
    }
    const peer = await api().add({ who: who.trim(), name: name.trim() });
    closePanel();
    await open(peer);
  }
  return (
    <Dialog title={isInvited ? "Add this contact?" : "New conversation"}>
      {isInvited && (
        <p class="note">
          You opened a link from someone who{" "}
          {theirName === "" ? "gives no name" : <>goes by <strong><bdi>{theirName}</bdi></strong></>}. Add them only if
          you know who gave you the link: anyone can make one.
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(add);
        }}
      >
        <Field
          label="Contact ID or link"
          value={who}
          onValue={enter}
          isRequired
          hasFocus={!isInvited}
          hint={isInvited ? undefined : "They can find it by clicking their own name, at the top of their list."}
        />
        <Elsewhere who={who} />
        {isScanning && (
          <Scanner
            label="Camera picture"
            onFound={(text) => {
              enter(text);
              setScanning(false);
            }}
          />
        )}
        <Field label="What you call them" value={name} onValue={setName} maxLength={64} hint="Only you can see it." hasFocus={isInvited} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Add</button>
          {!isInvited && (
            <button type="button" aria-pressed={isScanning} onClick={() => setScanning(!isScanning)}>
              <Icon name="camera" />
              {isScanning ? "Stop the camera" : "Scan a code"}
            </button>
          )}
        </div>
      </form>
      {!isInvited && (
        <p class="aside">
          Or give them yours: <button type="button" class="link" onClick={() => (panel.value = { at: "me" })}>my link and code</button>.
          To write to several at once, make a <button type="button" class="link" onClick={() => (panel.value = { at: "group-new" })}>new group</button>.
        </p>
      )}
    </Dialog>
  );
}
