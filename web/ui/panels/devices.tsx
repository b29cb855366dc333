import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { DevicesState, Linking, OwnDevice } from "../../devices_api.ts";
import { guessedName } from "../device_name.ts";
import { api, devices, me } from "../model.ts";
import { useAction } from "../parts/action.ts";
import { Code, Scanner } from "../parts/code.tsx";
import { Copy } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { Check, Field, Passphrase, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { moment } from "../times.ts";

/** The user's devices: which there are, one more, one less. `shows`: what this one is called, and it shows its code at once. */
export function DevicesPanel({ shows }: { readonly shows?: string | undefined }) {
  const now = devices.value;
  const action = useAction();
  async function begin(): Promise<void> {
    if (shows === undefined) return take(await api().devices());
    try {
      take(await api().showLinkCode({ name: shows }));
    } catch (error) {
      take(await api().devices());
      throw error;
    }
  }
  useEffect(() => void action.run(begin), []);
  return (
    <Dialog title="Your devices" isWide>
      <Refusal text={action.fault} />
      {now !== null && !action.isBusy && <Parts now={now} />}
    </Dialog>
  );
}

function take(state: DevicesState): void {
  devices.value = state;
}

function Parts({ now }: { readonly now: DevicesState }) {
  const { linking } = now;
  if (linking !== null) return <Going now={linking} />;
  return (
    <>
      <List now={now} />
      {now.history !== null && <Coming {...now.history} />}
      {now.isRestored && <Restored />}
      {now.isUnused && <LinkThis />}
      {now.isFirst && <LinkOther isUnlikely={now.isUnused} />}
    </>
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

// --- which there are -----------------------------------------------------------------------------

/** What a device is called here. */
function nameOf({ isFirst, isThis, name, writtenId }: OwnDevice): string {
  if (name !== "") return name;
  if (isFirst) return "Your first device";
  return isThis ? "This browser" : `${writtenId.slice(0, 11)}…`;
}

function List({ now }: { readonly now: DevicesState }) {
  if (now.devices.length === 0) return <p>This is your only device.</p>;
  return (
    <>
      <ul class="devices">
        {now.devices.map((one) => <Entry key={one.id} one={one} canRemove={now.isFirst && !one.isFirst} />)}
      </ul>
      {!now.isFirst && <p class="hint">Only your first device can link others and remove them.</p>}
    </>
  );
}

function Entry({ one, canRemove }: { readonly one: OwnDevice; readonly canRemove: boolean }) {
  const [isSure, setSure] = useState(false);
  const action = useAction();
  const name = nameOf(one);
  const facts = [
    one.isThis ? "this browser" : "",
    one.isFirst ? "first device" : `since ${moment(one.addedAt, Date.now())}`,
    one.heardAt === null ? "" : `last heard from ${moment(one.heardAt, Date.now())}`,
  ].filter((fact) => fact !== "");
  const remove = () => void action.run(async () => take(await api().removeDevice({ device: one.id })));
  return (
    <li>
      <div class="who">
        <strong><bdi>{name}</bdi></strong>
        <span class="hint">{facts.join(", ")}</span>
      </div>
      {canRemove && !isSure && (
        <button type="button" aria-label={`Remove ${name}`} onClick={() => setSure(true)}>Remove</button>
      )}
      {isSure && (
        <div class="sure">
          <p>
            <bdi>{name}</bdi> will receive nothing more, and erases what it holds as soon as it is online. What it
            has read stays read. What it has written comes in first, if the relay can be reached.
          </p>
          <Refusal text={action.fault} />
          <div class="buttons">
            <button type="button" class="danger" disabled={action.isBusy} onClick={remove}>Remove it</button>
            <button type="button" onClick={() => setSure(false)}>Keep it</button>
          </div>
        </div>
      )}
    </li>
  );
}

/** Earlier texts on their way to this device. */
function Coming({ texts, left }: { readonly texts: number; readonly left: number }) {
  const all = texts + left;
  return (
    <div role="status">
      <p>
        Your earlier texts are coming over from your first device: {texts.toLocaleString()}
        {left > 0 && <> of about {all.toLocaleString()}</>}. You can write meanwhile; both devices should stay online.
      </p>
      <progress aria-label="Earlier texts" {...(all === 0 ? {} : { value: texts, max: all })} />
    </div>
  );
}

/** After a restore: the list in a backup may name a device that was removed since. */
function Restored() {
  const action = useAction();
  return (
    <Part title="Are these still your devices?">
      <p>
        You have restored this profile from a backup. A device that you had removed after the backup may be on the list
        again: remove it above. If the list is right, confirm it.
      </p>
      <Refusal text={action.fault} />
      <button
        type="button"
        class="primary"
        disabled={action.isBusy}
        onClick={() => void action.run(async () => take(await api().keepDevices()))}
      >
        These are my devices
      </button>
    </Part>
  );
}

// --- one more ------------------------------------------------------------------------------------

/** On the first device. `isUnlikely`: it may as well be a new one, which is to be another's. */
function LinkOther({ isUnlikely }: { readonly isUnlikely: boolean }) {
  const [isOpen, setOpen] = useState(false);
  const [isScanning, setScanning] = useState(false);
  const [line, setLine] = useState("");
  const [passphrase, setPassphrase] = useState("");
  const [history, setHistory] = useState(true);
  const action = useAction();
  if (!isOpen) {
    return (
      <div class="buttons">
        <button type="button" class={isUnlikely ? "" : "primary"} onClick={() => setOpen(true)}>Link a device</button>
      </div>
    );
  }
  return (
    <Part title="Link a device">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => take(await api().linkDevice({ line: line.trim(), passphrase, history })));
        }}
      >
        <p>
          On the new device, open this page and choose “I have another device”, or run <code>phantom devices link</code> in
          a new profile. It shows a code.
        </p>
        {isScanning && (
          <Scanner
            label="Camera picture"
            onFound={(text) => {
              setLine(text);
              setScanning(false);
            }}
          />
        )}
        <Field label="Code of the new device" value={line} onValue={setLine} isRequired hasFocus hint="It begins with phantom:link" />
        <button type="button" onClick={() => setScanning(!isScanning)}>
          <Icon name="camera" />
          {isScanning ? "Stop the camera" : "Scan the code"}
        </button>
        <p class="note">
          The new device gets your contacts with the names you gave them. From then on it reads what is written to you, and
          writes as you. Link only a device that is yours and in your hands: never because someone asked you to.
        </p>
        <Check
          label="Hand over earlier texts, too"
          isOn={history}
          onChange={setHistory}
          hint="They go over in the background. Texts that burn or expire stay here."
        />
        <Passphrase label="Your passphrase" value={passphrase} onValue={setPassphrase} />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Link it</button>
          <button type="button" onClick={() => setOpen(false)}>Cancel</button>
        </div>
      </form>
    </Part>
  );
}

/** On a new device. */
function LinkThis() {
  const [name, setName] = useState(guessedName());
  const action = useAction();
  return (
    <Part title="I have another device">
      <p>
        If you use Phantom already, this browser can become one more device of yours: it then reads and writes as you. As
        long as nobody was written to from here, that is possible.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => take(await api().showLinkCode({ name })));
        }}
      >
        <Field label="What this device is called" value={name} onValue={setName} isRequired maxLength={64} hint="Only your own devices see it." />
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy}>Show the code</button>
        </div>
      </form>
    </Part>
  );
}

// --- while it goes on ----------------------------------------------------------------------------

function Going({ now }: { readonly now: Linking }) {
  const action = useAction();
  const cancel = () => void action.run(async () => take(await api().cancelLink()));
  const isOver = now.at === "linked" || now.at === "ended";
  const stop = (
    <button type="button" class={isOver ? "primary" : ""} disabled={action.isBusy} onClick={cancel}>
      {isOver ? "Done" : now.at === "digits" ? "No, stop" : "Cancel"}
    </button>
  );
  return (
    <div class="linking">
      <div role="status">{sayingOf(now)}</div>
      {now.at === "code" && <ShownCode line={now.line} />}
      {(now.at === "digits" || now.at === "agreed") && <Digits now={now} />}
      {(now.at === "typing" || now.at === "confirmed") && (
        <p>
          It asks whether this is your own ID: <span class="mono">{me.value?.writtenId}</span>
        </p>
      )}
      {now.at === "typing" && <TypeDigits name={now.name} stop={stop} />}
      <Refusal text={action.fault} />
      {now.at !== "typing" && (
        <div class="buttons">
          {now.at === "digits" && <Agree />}
          {stop}
        </div>
      )}
    </div>
  );
}

function sayingOf(now: Linking): ComponentChildren {
  switch (now.at) {
    case "code":
      return (
        <p>
          On your first device, open <strong>Settings</strong>, <strong>Your devices</strong>, <strong>Link a device</strong>;
          scan this code there, or paste the line. It is good for five minutes. Show it to nobody else.
        </p>
      );
    case "digits":
      return <p>Type these digits on your first device:</p>;
    case "agreed":
      return <p>Waiting for your first device. Type these digits there, unless you have already:</p>;
    case "reaching":
      return <p>Looking for the new device …</p>;
    case "typing":
      return <p><bdi>{now.name}</bdi> shows six digits. Type them here if you have it in your hands.</p>;
    case "confirmed":
      return <p>The digits are right. Now say yes on <bdi>{now.name}</bdi>.</p>;
    case "linked":
      return (
        <p class="note good">
          <Icon name="verified" />
          {now.name === "" ? "The device is" : <><bdi>{now.name}</bdi> is</>} one of your devices now.
        </p>
      );
    case "ended":
      return <p class="note bad">Not linked: {now.reason}.</p>;
  }
}

function ShownCode({ line }: { readonly line: string }) {
  return (
    <>
      <p>
        If that is the command line, run <code>phantom devices link '…'</code> there, with the line between the quotes.
      </p>
      <Code text={line} label="Code of this device as a QR code" />
      <p class="mono line">{line}</p>
      <div class="buttons">
        <Copy text={line} label="Copy the line" />
        <Copy text={`phantom devices link '${line}'`} label="Copy the command" />
      </div>
    </>
  );
}

function Digits({ now }: { readonly now: Extract<Linking, { digits: string }> }) {
  return (
    <>
      <p class="digits" dir="ltr" aria-label={[...now.digits].join(" ")}>{now.digits.slice(0, 3)} {now.digits.slice(3)}</p>
      <p>
        This browser will belong to <span class="mono">{now.person}</span>. Go on only if that is your own ID.
      </p>
    </>
  );
}

function Agree() {
  const action = useAction();
  return (
    <>
      <button
        type="button"
        class="primary"
        disabled={action.isBusy}
        onClick={() => void action.run(async () => take(await api().agreeToLink()))}
      >
        Yes, go on
      </button>
      {action.fault !== "" && <Refusal text={action.fault} />}
    </>
  );
}

/** @param stop the button that ends it */
function TypeDigits({ name, stop }: { readonly name: string; readonly stop: ComponentChildren }) {
  const [digits, setDigits] = useState("");
  const [isWrong, setWrong] = useState(false);
  const action = useAction();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void action.run(async () => {
          setWrong(false);
          const isRight = await api().typeDigits({ digits });
          setWrong(!isRight);
          if (!isRight) setDigits("");
        });
      }}
    >
      <Field label="Six digits" value={digits} onValue={setDigits} isRequired hasFocus maxLength={16} />
      <Refusal text={isWrong ? `These are not the digits that ${name} shows. Look again; three wrong tries end it.` : action.fault} />
      <div class="buttons">
        <button type="submit" class="primary" disabled={action.isBusy}>Go on</button>
        {stop}
      </div>
    </form>
  );
}
