import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { Passphrase, Refusal } from "../parts/field.tsx";
import { api } from "../model.ts";

/** Another passphrase for this browser: the one in use is asked for, as whoever changes it may be somebody else. */
export function ChangePassphrase() {
  const [isOpen, setOpen] = useState(false);
  const [isDone, setDone] = useState(false);
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const action = useAction();
  async function change(): Promise<void> {
    await api().changePassphrase({ current, passphrase: next });
    setCurrent("");
    setNext("");
    setOpen(false);
    setDone(true);
  }
  if (!isOpen) {
    return (
      <>
        <p role="status">{isDone && "Your passphrase is changed. Backups that you saved before keep theirs."}</p>
        <button type="button" onClick={() => setOpen(true)}>Change passphrase</button>
      </>
    );
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void action.run(change);
      }}
    >
      <Passphrase label="Passphrase now" value={current} onValue={setCurrent} hasFocus />
      <Passphrase label="New passphrase" value={next} onValue={setNext} hint="Nobody can reset it for you." isNew />
      <Refusal text={action.fault} />
      <div class="buttons">
        <button type="submit" class="primary" disabled={action.isBusy}>{action.isBusy ? "Changing …" : "Change"}</button>
        <button type="button" onClick={() => setOpen(false)}>Cancel</button>
      </div>
    </form>
  );
}
