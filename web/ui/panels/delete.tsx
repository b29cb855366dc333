import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Check, Refusal } from "../parts/field.tsx";
import { api } from "../model.ts";

/** Deletes the account, after one has said that one knows what it means. */
export function DeleteAccount() {
  const [isSure, setSure] = useState(false);
  const action = useAction();
  return (
    <Dialog title="Delete account">
      <p>The relay erases everything it stores about you, and this browser erases your keys, contacts and texts.</p>
      <p>Nobody can undo this. People you wrote to keep what they have, but can no longer reach you under this ID.</p>
      <Check label="I understand that this cannot be undone" isOn={isSure} onChange={setSure} />
      <Refusal text={action.fault} />
      <div class="buttons">
        <button
          type="button"
          class="danger"
          disabled={!isSure || action.isBusy}
          onClick={() => void action.run(() => api().deleteAccount())}
        >
          Delete everything
        </button>
        <button type="button" onClick={closePanel}>Cancel</button>
      </div>
    </Dialog>
  );
}
