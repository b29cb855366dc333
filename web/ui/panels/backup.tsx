import { useState } from "preact/hooks";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Passphrase, Refusal } from "../parts/field.tsx";
import { api, devices, me } from "../model.ts";
import { moment } from "../times.ts";

/** Hands a file to the browser, which asks where it shall be or puts it among the downloads. */
function download(name: string, bytes: Uint8Array): void {
  const url = URL.createObjectURL(new Blob([bytes.slice()], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** Writes everything into one encrypted file: the same as that of the command line. */
export function Backup() {
  const [passphrase, setPassphrase] = useState("");
  const [isSaved, setSaved] = useState(false);
  const action = useAction();
  const last = me.value?.backupAt ?? null;
  async function save(): Promise<void> {
    const bytes = await api().backup({ passphrase });
    download(`phantom-${new Date().toISOString().slice(0, 10)}.backup`, bytes);
    setSaved(true);
  }
  return (
    <Dialog title={isSaved ? "The backup is saved" : "Save a backup"}>
      {isSaved ? (
        <>
          <p role="status">
            Your browser has saved the file with your downloads. Move it to another device or a USB stick, so that you do
            not lose both at once.
          </p>
          <div class="buttons">
            <button type="button" class="primary" onClick={closePanel}>Done</button>
          </div>
        </>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run(save);
          }}
        >
          <p>
            One encrypted file with your keys, contacts and texts. If this browser loses them, you can use the file and its
            passphrase to continue in another browser or on the command line.
          </p>
          {devices.value?.isFirst === false && (
            <p class="note">
              This browser is one of your further devices. If it is lost, remove it on your first device and link another one:
              the backup that matters is that of the first device.
            </p>
          )}
          {last !== null && <p class="hint">Last saved: {moment(last, Date.now())}.</p>}
          <Passphrase
            label="Passphrase"
            value={passphrase}
            onValue={setPassphrase}
            hint="It protects this file, and can be the same as this browser’s. Nobody can reset it for you."
            isNew
            hasFocus
          />
          <Refusal text={action.fault} />
          <div class="buttons">
            <button type="submit" class="primary" disabled={action.isBusy}>{action.isBusy ? "Saving …" : "Save a backup"}</button>
          </div>
        </form>
      )}
    </Dialog>
  );
}
