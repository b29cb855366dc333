/** What can be done with a contact. */
import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Check, Field, Refusal } from "../parts/field.tsx";
import { api, people } from "../model.ts";
import { labelOf } from "../names.ts";

interface ContactProps {
  readonly peer: string;
}

/** Another name for a contact, which only this user sees. */
export function Rename({ peer }: ContactProps) {
  const who = people.value.get(peer);
  const [name, setName] = useState(who?.name ?? "");
  const action = useAction();
  if (who === undefined) return null;
  return (
    <Dialog title="Rename">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => {
            await api().renameContact({ peer, name: name.trim() });
            closePanel();
          });
        }}
      >
        <Field label="What you call them" value={name} onValue={setName} isRequired hasFocus maxLength={64} hint="Only you can see it." />
        <p class="hint">Their ID: <span class="mono">{who.writtenId}</span></p>
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Save</button>
          <button type="button" onClick={closePanel}>Cancel</button>
        </div>
      </form>
    </Dialog>
  );
}

/** Lets nothing more of a contact in. */
export function BlockPanel({ peer }: ContactProps) {
  const who = people.value.get(peer);
  const action = useAction();
  if (who === undefined) return null;
  return (
    <Dialog title={`Block ${labelOf(who)}?`}>
      <p>What they write will no longer reach you, and they will not see when you are online. They are not told.</p>
      <Refusal text={action.fault} />
      <div class="buttons">
        <button
          type="button"
          class="danger"
          disabled={action.isBusy}
          onClick={() =>
            void action.run(async () => {
              await api().block({ peer, isBlocked: true });
              closePanel();
            })
          }
        >
          Block
        </button>
        <button type="button" onClick={closePanel}>Cancel</button>
      </div>
    </Dialog>
  );
}

/** Takes a contact out of the list. */
export function Remove({ peer }: ContactProps) {
  const who = people.value.get(peer);
  const [history, setHistory] = useState(false);
  const action = useAction();
  if (who === undefined) return null;
  return (
    <Dialog title={`Remove ${labelOf(who)}?`}>
      <p>They are removed from your contacts. If they write again, you get a message request.</p>
      <Check label="Erase what you have written to each other" isOn={history} onChange={setHistory} hint="It is erased only here: they keep what they have." />
      <Refusal text={action.fault} />
      <div class="buttons">
        <button
          type="button"
          class="danger"
          disabled={action.isBusy}
          onClick={() =>
            void action.run(async () => {
              await api().removeContact({ peer, history });
              closePanel();
            })
          }
        >
          Remove
        </button>
        <button type="button" onClick={closePanel}>Cancel</button>
      </div>
    </Dialog>
  );
}
