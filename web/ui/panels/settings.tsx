import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Connection, Settings } from "../../api.ts";
import { useAction } from "../parts/action.ts";
import { Copy } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Check, Choice, Field, Refusal } from "../parts/field.tsx";
import { api, attempt, connection, lock, me, panel, settings } from "../model.ts";
import { ChangePassphrase } from "./passphrase.tsx";
import { type Look, look, prefer } from "../look.ts";
import { chime, mayNotify } from "../notify.ts";
import { sentence } from "../sentences.ts";
import { moment } from "../times.ts";

/** Everything that can be set, on one page. */
export function SettingsPanel() {
  return (
    <Dialog title="Settings" isWide>
      <You />
      <BackupPart />
      <Part title="Your devices">
        <p class="hint">Read and write as yourself on several devices.</p>
        <button type="button" onClick={() => (panel.value = { at: "devices" })}>Your devices</button>
      </Part>
      <Browser />
      <Others />
      <Notifications />
      <LookPart />
      <Relay />
      <Part title="Delete account">
        <p class="hint">Erases everything the relay and this browser store about you.</p>
        <button type="button" class="danger" onClick={() => (panel.value = { at: "delete" })}>Delete account</button>
      </Part>
    </Dialog>
  );
}

function Part({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  return (
    <section class="part">
      <h3>{title}</h3>
      {children}
    </section>
  );
}

function You() {
  const who = me.value;
  const [name, setName] = useState(who?.name ?? "");
  const action = useAction();
  if (who === null) return null;
  return (
    <Part title="You">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => {
            me.value = await api().rename({ name: name.trim() });
          });
        }}
      >
        <Field label="Your name" value={name} onValue={setName} isRequired maxLength={64} />
        <Refusal text={action.fault} />
        {name.trim() !== who.name && <button type="submit" disabled={action.isBusy || name.trim() === ""}>Save name</button>}
      </form>
      <p class="hint">Your ID: <span class="mono">{who.writtenId}</span></p>
      <div class="buttons">
        <Copy text={who.link} label="Copy my link" />
        <button type="button" onClick={() => (panel.value = { at: "me" })}>Show my code</button>
      </div>
    </Part>
  );
}

function BackupPart() {
  const at = me.value?.backupAt ?? null;
  return (
    <Part title="Backup">
      <p class="hint">{at === null ? "You have not saved one yet." : `Last saved: ${moment(at, Date.now())}.`}</p>
      <button type="button" onClick={() => (panel.value = { at: "backup" })}>Save a backup</button>
    </Part>
  );
}

/** Whether the browser has promised it. */
const KEPT = {
  true: "This browser has promised to keep it.",
  false: "This browser may delete it when space runs low: save a backup.",
  null: "This browser has not been asked yet to keep it.",
} as const;

function Browser() {
  const who = me.value;
  const action = useAction();
  if (who === null) return null;
  async function change(stay: boolean): Promise<void> {
    me.value = await api().staySignedIn({ stay });
  }
  const kept = KEPT[String(who.isKept) as "null" | "true" | "false"];
  return (
    <Part title="This browser">
      <Check
        label="Stay signed in"
        isOn={who.staysSignedIn}
        onChange={(stay) => attempt(change(stay))}
        hint="Anyone who can copy this browser’s data could then pose as you. If this is off, you enter your passphrase."
      />
      <ChangePassphrase />
      <dl class="facts">
        <dt>Your data</dt>
        <dd>{kept}</dd>
      </dl>
      <Refusal text={action.fault} />
      <button type="button" disabled={action.isBusy} onClick={() => void action.run(lock)}>Lock now</button>
    </Part>
  );
}

const OTHERS: readonly (readonly [keyof Settings, string, string])[] = [
  ["readReceipts", "Show when I have read a text", "If this is off, a text that burns is still erased here, but its sender keeps it."],
  ["typing", "Show when I am typing", ""],
  ["presence", "Show when I am online", ""],
];

function Others() {
  const now = settings.value;
  if (now === null) return null;
  async function change(key: keyof Settings, isOn: boolean): Promise<void> {
    settings.value = await api().settings({ [key]: isOn });
  }
  return (
    <Part title="What others see">
      {OTHERS.map(([key, label, hint]) => (
        <Check
          key={key}
          label={label}
          isOn={now[key]}
          onChange={(isOn) => attempt(change(key, isOn))}
          {...(hint === "" ? {} : { hint })}
        />
      ))}
    </Part>
  );
}

function Notifications() {
  const [isRefused, setRefused] = useState(false);
  async function choose(notify: Look["notify"]): Promise<void> {
    const may = notify === "off" || (await mayNotify());
    setRefused(!may);
    if (may) prefer({ notify });
  }
  return (
    <Part title="Notifications">
      <Choice
        label="While this page is open, show"
        value={look.value.notify}
        options={[["off", "Nothing"], ["name", "The name"], ["text", "Name and text"]]}
        onChoose={(notify) => void choose(notify)}
      />
      {isRefused && <Refusal text="Your browser does not allow this. Allow notifications for this page in its settings." />}
      <Check
        label="Play a sound"
        isOn={look.value.sound}
        onChange={(sound) => {
          prefer({ sound });
          if (sound) chime();
        }}
      />
    </Part>
  );
}

function LookPart() {
  const { theme, size, direction, enterSends } = look.value;
  return (
    <Part title="Appearance and keyboard">
      <Choice
        label="Colours"
        value={theme}
        options={[["system", "System"], ["light", "Light"], ["dark", "Dark"]]}
        onChoose={(next) => prefer({ theme: next })}
      />
      <Choice
        label="Text size"
        value={size}
        options={[["small", "Small"], ["normal", "Normal"], ["large", "Large"]]}
        onChoose={(next) => prefer({ size: next })}
      />
      <Choice
        label="Layout"
        value={direction}
        options={[["ltr", "Left to right"], ["rtl", "Right to left"]]}
        onChoose={(next) => prefer({ direction: next })}
      />
      <Check
        label="Enter sends"
        isOn={enterSends}
        onChange={(next) => prefer({ enterSends: next })}
        hint="Shift+Enter then starts a new line. If this is off, it is the other way round."
      />
      <button type="button" onClick={() => (panel.value = { at: "keys" })}>Keyboard shortcuts</button>
    </Part>
  );
}

/** The name of this page's program: what `phantom web verify` compares. */
const PROGRAM = new URL(import.meta.url).pathname.split("/").at(-1) ?? "";

const STATES: Readonly<Record<Connection["state"], string>> = {
  connecting: "Connecting …",
  online: "Connected.",
  offline: "Not connected.",
  refused: "The relay does not let you in.",
  replaced: "In use elsewhere.",
};

function Relay() {
  const now = connection.value;
  return (
    <Part title="Relay">
      <dl class="facts">
        <dt>Address</dt>
        <dd class="mono">{me.value?.relay}</dd>
        <dt>Connection</dt>
        <dd>{now !== null && `${STATES[now.state]} ${sentence(now.reason)}`}</dd>
        <dt>This page’s program</dt>
        <dd class="mono">{PROGRAM}</dd>
      </dl>
      <p class="hint">
        This program comes from <strong>{location.host}</strong> every time the page loads. Check it against the release:{" "}
        <code>phantom web verify {location.origin}</code>
      </p>
    </Part>
  );
}
