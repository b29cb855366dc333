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
      <p class="lead">Phantom can be open in only one tab at a time, so that no text is lost or sent twice.</p>
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
        Browsers do this when space runs low, or when someone clears website data. Without your keys, nothing that was
        stored here can be read, and only a backup can bring them back.
      </p>
      <Refusal text={action.fault} />
      {at === "asked" ? (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => setAt("restoring")}>Restore a backup</button>
          <button type="button" onClick={() => setAt("sure")}>Start over</button>
        </div>
      ) : (
        <>
          <p class="note">
            You will get a new ID. To the people you write to, you will be someone new, and you will have to give them
            your new ID.
          </p>
          <div class="buttons">
            <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(() => api().forget())}>
              Start over with a new ID
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
        This page was loaded over a connection that others can read and change. Nothing that it encrypts would be safe,
        so it has stopped here.
      </p>
      <p>
        Open <strong>https://{location.host}</strong> instead. If you run this relay yourself and are trying it out on
        your own machine, open <strong>http://localhost:{location.port || "80"}</strong> there.
      </p>
    </Frame>
  );
}

/** What is stored was written by a newer version. */
export function Newer() {
  return (
    <Frame title="Saved by a newer version" focusHeading>
      <p class="lead">
        The data in this browser was saved by a newer version of this page. Nothing has been changed. Reload the page.
        If you still see this, the server has gone back to an older version: ask the people who run {location.host}.
      </p>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => location.reload()}>Reload</button>
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
      <p class="hint">
        This takes a few seconds on purpose: it slows down anyone who tries to guess the passphrase.
        {what === "restoring" && " A backup with many texts takes longer."}
      </p>
    </Frame>
  );
}

/** The account is gone. */
export function Deleted({ isRemoved }: { readonly isRemoved: boolean }) {
  if (isRemoved) {
    return (
      <Frame title="This device was removed" focusHeading>
        <p class="lead">
          Your first device has removed this one. This browser has erased your keys and texts; your other devices keep
          theirs.
        </p>
        <div class="buttons">
          <button type="button" onClick={() => location.reload()}>Start over</button>
        </div>
      </Frame>
    );
  }
  return (
    <Frame title="Your account has been deleted" focusHeading>
      <p class="lead">
        The relay has erased what it stored about you, and this browser has erased your keys and texts. Other people
        keep what you have sent them.
      </p>
      <div class="buttons">
        <button type="button" onClick={() => location.reload()}>Start over</button>
      </div>
    </Frame>
  );
}

/** The worker has failed. */
export function Broken() {
  return (
    <Frame title="Something went wrong" focusHeading>
      <p class="lead">This page has stopped because of an error. What you have sent is saved.</p>
      <div class="buttons">
        <button type="button" class="primary" onClick={() => location.reload()}>Reload</button>
      </div>
    </Frame>
  );
}
