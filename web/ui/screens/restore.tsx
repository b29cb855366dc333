import { useId, useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { Check, Field, Passphrase, Refusal } from "../parts/field.tsx";
import { api } from "../model.ts";
import { STAY } from "./first_run.tsx";
import { Frame } from "./frame.tsx";

/** Opens a backup, of this page or of the command line, as this browser's profile. */
export function Restore({ onBack }: { onBack(): void }) {
  const id = useId();
  const [file, setFile] = useState<File | null>(null);
  const [filePassphrase, setFilePassphrase] = useState("");
  const [name, setName] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [stay, setStay] = useState(false);
  const action = useAction();
  async function restore(): Promise<void> {
    if (file === null) return;
    const bytes = new Uint8Array(await file.arrayBuffer());
    await api().restore({ file: bytes, filePassphrase, passphrase, name: name.trim(), stay });
  }
  return (
    <Frame title="Restore a backup" focusHeading>
      <p class="lead">
        Choose a file that you saved here, or made with <code>phantom export</code>. Use it in one place only: two
        copies of the same keys get in each other’s way.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(restore);
        }}
      >
        <div class="field">
          <label for={id}>Backup file</label>
          <input id={id} type="file" required onChange={(event) => setFile(event.currentTarget.files?.[0] ?? null)} />
        </div>
        <Passphrase label="Passphrase of the file" value={filePassphrase} onValue={setFilePassphrase} />
        <Field
          label="Your name"
          value={name}
          onValue={setName}
          autocomplete="nickname"
          maxLength={64}
          hint="Leave this empty to keep the name in the file. A file of the command line has no name in it."
        />
        <Passphrase
          label="New passphrase for this browser"
          value={passphrase}
          onValue={setPassphrase}
          hint="It can be the same as the file’s."
          isNew
        />
        <Check label="Stay signed in here" isOn={stay} onChange={setStay} hint={STAY} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Restore</button>
          <button type="button" onClick={onBack}>Back</button>
        </div>
      </form>
    </Frame>
  );
}
