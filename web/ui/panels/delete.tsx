import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Check, Refusal } from "../parts/field.tsx";
import { api, devices } from "../model.ts";

/** Deletes the account, after one has said that one knows what it means. */
export function DeleteAccount() {
  const [isSure, setSure] = useState(false);
  const action = useAction();
  const hasOthers = (devices.value?.devices.length ?? 0) > 1;
  return (
    <Dialog title="Delete account">
      {devices.value?.isFirst === false ? (
        <>
          <p>
            This browser is one of your further devices. It erases its keys, contacts and texts, and the relay erases what
            it stores about this device. Your other devices keep theirs, and you stay who you are.
          </p>
          <p>
            Nobody can undo this. Your first device goes on listing this browser until you remove it there, and removing it
            is enough.
          </p>
        </>
      ) : (
        <>
          <p>The relay erases everything it stores about you, and this browser erases your keys, contacts and texts.</p>
          {hasOthers ? (
            <p>
              Nobody can undo this. Your other devices go on as you, and without this one nobody can remove them: do so first,
              in “Your devices”.
            </p>
          ) : (
            <p>Nobody can undo this. People you wrote to keep what they have, but can no longer reach you under this ID.</p>
          )}
        </>
      )}
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
