import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { Check, Passphrase, Refusal } from "../parts/field.tsx";
import { api } from "../model.ts";
import { plainName } from "../names.ts";
import { STAY } from "./first_run.tsx";
import { Frame, Invited } from "./frame.tsx";

/** The profile is here, and encrypted. */
export function Locked({ name }: { readonly name: string }) {
  const [passphrase, setPassphrase] = useState("");
  const [stay, setStay] = useState(false);
  const action = useAction();
  return (
    <Frame title={name === "" ? "Welcome back" : `Welcome back, ${plainName(name)}`}>
      <Invited />
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(() => api().unlock({ passphrase, stay }));
        }}
      >
        {/* For programs that keep passphrases: whose this is. */}
        <input type="text" autocomplete="username" value={name} hidden readOnly />
        <Passphrase label="Passphrase" value={passphrase} onValue={setPassphrase} hasFocus />
        <Check label="Stay signed in here" isOn={stay} onChange={setStay} hint={STAY} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Unlock</button>
        </div>
      </form>
      <details class="honesty">
        <summary>I forgot my passphrase</summary>
        <p>
          Nobody can reset it: neither this page nor the people who run {location.host}. If you have a backup file and
          know its passphrase, clear the data of {location.host} in your browser’s settings, reload this page and
          restore the backup. Without a backup, what is stored here can no longer be read.
        </p>
      </details>
    </Frame>
  );
}
