/** Screens that say how things stand and what can be done about it. */
import { useState } from "preact/hooks";
import type { Stage } from "../../api.ts";
import { useAction } from "../parts/action.ts";
import { Refusal } from "../parts/field.tsx";
import { api } from "../model.ts";
import { Frame } from "./frame.tsx";
import { Restore } from "./restore.tsx";

/** Another tab has the profile open. */
export function Elsewhere() {
  const action = useAction();
  return (
    <Frame title="Open in another tab" focusHeading>
      <p class="lead">Phantom is used in one tab at a time, so that no text is lost or sent twice.</p>
      <Refusal text={action.fault} />
      <div class="buttons">
        <button type="button" class="primary" disabled={action.isBusy} onClick={() => void action.run(() => api().takeOver())}>
          Use it here
        </button>
      </div>
    </Frame>
  );
}

/** The browser has thrown the keys away. */
export function Evicted() {
  const [at, setAt] = useState<"asked" | "restoring" | "sure">("asked");
  const action = useAction();
  if (at === "restoring") return <Restore onBack={() => setAt("asked")} />;
  return (
    <Frame title="This browser has deleted your keys" focusHeading>
      <p class="lead">
        Browsers do that when space is short, or when somebody clears the data of websites. Without the keys, nothing
        that was stored here can be read, and nobody can bring them back but a backup.
      </p>
      <Refusal text={action.fault} />
      {at === "asked" ? (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => setAt("restoring")}>Restore a backup</button>
          <button type="button" onClick={() => setAt("sure")}>Start anew</button>
        </div>
      ) : (
        <>
          <p class="note">
            You will have a new id. The people you write to see a new person, and have to be given the new id by you.
          </p>
          <div class="buttons">
            <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(() => api().forget())}>
              Start anew with a new id
            </button>
            <button type="button" onClick={() => setAt("asked")}>Back</button>
          </div>
        </>
      )}
    </Frame>
  );
}

/** Without a secure origin browsers offer no cryptography, and anybody on the way could change this page. */
export function Insecure() {
  return (
    <Frame title="This address is not safe" focusHeading>
      <p class="lead">
        This page came over a connection that anybody on the way can read and change. Nothing that it encrypts would be
        safe, so it does nothing.
      </p>
      <p>
        Open <strong>https://{location.host}</strong> instead. If you run this relay yourself and try it on your own
        machine, open <strong>http://localhost:{location.port || "80"}</strong> there.
      </p>
    </Frame>
  );
}

/** What is stored was written by a newer version. */
export function Newer() {
  return (
    <Frame title="Stored by a newer version" focusHeading>
      <p class="lead">
        What this browser keeps was written by a newer version of this page. Nothing was changed. Load the page again;
        if this stays, the relay serves an older version than before: ask the people who run {location.host}.
      </p>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => location.reload()}>Load again</button>
      </div>
    </Frame>
  );
}

const WORKING = {
  opening: "Opening …",
  creating: "Making your keys …",
  restoring: "Restoring the backup …",
  saving: "Saving …",
} as const;

/** Something that takes seconds: a passphrase is stretched on purpose. */
export function Working({ what, progress }: Extract<Stage, { at: "working" }>) {
  return (
    <Frame title={WORKING[what]} focusHeading>
      <progress aria-label={WORKING[what]} {...(progress === null ? {} : { value: progress, max: 1 })} />
      <p class="hint">This takes a few seconds: it makes guessing the passphrase slow for others.</p>
    </Frame>
  );
}

/** The account is gone. */
export function Deleted() {
  return (
    <Frame title="Your account is deleted" focusHeading>
      <p class="lead">
        The relay has erased what it stored of you, and this browser has erased your keys and texts. What others have
        received from you stays with them.
      </p>
      <div class="buttons">
        <button type="button" onClick={() => location.reload()}>Begin anew</button>
      </div>
    </Frame>
  );
}

/** The worker has failed. */
export function Broken() {
  return (
    <Frame title="Something went wrong" focusHeading>
      <p class="lead">This page has stopped because of a fault in it. What you have written is stored.</p>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => location.reload()}>Load again</button>
      </div>
    </Frame>
  );
}
