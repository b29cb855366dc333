import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { Check, Field, Passphrase, Refusal } from "../parts/field.tsx";
import { api, invitation } from "../model.ts";
import { plainName } from "../names.ts";
import { Frame, Honesty } from "./frame.tsx";
import { Restore } from "./restore.tsx";

export const STAY = "Whoever can copy what this browser has stored can then be you. Without it, the passphrase is asked each time.";

/** Who is here for the first time: a name and a passphrase, or a backup. */
export function FirstRun() {
  const [name, setName] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [stay, setStay] = useState(false);
  const [isRestoring, setRestoring] = useState(false);
  const action = useAction();
  const invited = invitation.value;
  if (isRestoring) return <Restore onBack={() => setRestoring(false)} />;
  return (
    <Frame title={`Phantom at ${location.host}`}>
      <p class="lead">Messages that only you and the people you write to can read.</p>
      {invited !== null && (
        <p class="note">
          <strong><bdi>{invited.name === "" ? "Somebody" : plainName(invited.name)}</bdi></strong> gave you a link to write
          to them. You are asked about it after this step.
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(() => api().create({ name: name.trim(), passphrase, stay }));
        }}
      >
        <Field
          label="Your name"
          value={name}
          onValue={setName}
          hint="Only the people you write to see it."
          isRequired
          hasFocus
          autocomplete="username"
          maxLength={64}
        />
        <Passphrase
          label="Passphrase"
          value={passphrase}
          onValue={setPassphrase}
          hint="It encrypts what this browser keeps. Nobody can reset it."
          isNew
        />
        <Check label="Stay signed in here" isOn={stay} onChange={setStay} hint={STAY} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Start</button>
          <button type="button" onClick={() => setRestoring(true)}>I have a backup file</button>
        </div>
      </form>
      <Honesty host={location.host} />
    </Frame>
  );
}
