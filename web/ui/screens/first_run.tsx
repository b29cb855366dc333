import { useState } from "preact/hooks";
import { guessedName } from "../device_name.ts";
import { api, linkedAs } from "../model.ts";
import { useAction } from "../parts/action.ts";
import { Check, Field, Passphrase, Refusal } from "../parts/field.tsx";
import { Frame, Honesty, Invited } from "./frame.tsx";
import { Restore } from "./restore.tsx";

export const STAY = "Anyone who can copy this browser’s data could then pose as you. If this is off, you enter your passphrase each time.";

/** Who is here for the first time: a name and a passphrase, or a backup. */
export function FirstRun() {
  const [name, setName] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [stay, setStay] = useState(false);
  const [isRestoring, setRestoring] = useState(false);
  const device = linkedAs.value;
  const isLinking = device !== null;
  const action = useAction();
  if (isRestoring) return <Restore onBack={() => setRestoring(false)} />;
  return (
    <Frame title={`Phantom at ${location.host}`}>
      <p class="lead">
        {isLinking
          ? "This browser becomes one more device of yours. Next, it shows a code for your first device."
          : "Messages that only you and the people you write to can read."}
      </p>
      <Invited />
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
          hint="Whoever has your link sees it, nobody else."
          isRequired
          hasFocus
          autocomplete="username"
          maxLength={64}
        />
        {isLinking && (
          <Field
            label="What this device is called"
            value={device}
            onValue={(value) => (linkedAs.value = value)}
            hint="Only your own devices see it."
            isRequired
            maxLength={64}
          />
        )}
        <Passphrase
          label="Passphrase"
          value={passphrase}
          onValue={setPassphrase}
          hint="It encrypts everything this browser stores. Nobody can reset it for you."
          isNew
        />
        <Check label="Stay signed in here" isOn={stay} onChange={setStay} hint={STAY} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>{isLinking ? "Show the code" : "Start"}</button>
          {isLinking ? (
            <button type="button" onClick={() => (linkedAs.value = null)}>Back</button>
          ) : (
            <>
              <button type="button" onClick={() => (linkedAs.value = guessedName())}>I have another device</button>
              <button type="button" onClick={() => setRestoring(true)}>I have a backup file</button>
            </>
          )}
        </div>
      </form>
      <Honesty host={location.host} />
    </Frame>
  );
}
