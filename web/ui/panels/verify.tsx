import { useEffect, useState } from "preact/hooks";
import type { SafetyNumber } from "../../api.ts";
import { useAction } from "../parts/action.ts";
import { Code, Scanner } from "../parts/code.tsx";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { api, people } from "../model.ts";
import { labelOf } from "../names.ts";

/** Compares safety numbers, by voice, by eye or by camera. */
export function Verify({ peer }: { readonly peer: string }) {
  const who = people.value.get(peer);
  const [number, setNumber] = useState<SafetyNumber | null | undefined>(undefined);
  const [seen, setSeen] = useState<"nothing" | "scanning" | "same" | "other">("nothing");
  const action = useAction();
  useEffect(() => {
    void action.run(async () => setNumber(await api().safetyNumber({ peer })));
  }, [peer]);
  if (who === undefined) return null;
  const label = labelOf(who);
  const decide = (isSame: boolean) =>
    void action.run(async () => {
      try {
        await api().verify({ peer, code: number?.code ?? "", isSame });
      } catch (error) {
        setSeen("nothing");
        setNumber(await api().safetyNumber({ peer }));
        throw error;
      }
      closePanel();
    });
  return (
    <Dialog title={`Is this really ${label}?`} isWide>
      {who.trust === "changed" && (
        <p class="note">
          <bdi>{label}</bdi> has a different key than when you last wrote. Compare again by phone or in person, not in this
          conversation.
        </p>
      )}
      {number === null && <p>There is no key for <bdi>{label}</bdi> yet. It arrives once they have been online.</p>}
      {number !== null && number !== undefined && (
        <>
          <p>Compare with <bdi>{label}</bdi> by phone or face to face. You must both see the same sixty digits:</p>
          <div class="verify">
            <ol class="number" dir="ltr" aria-label="Safety number">
              {number.groups.map((group, index) => <li key={index}>{group}</li>)}
            </ol>
            <Code text={number.code} label="Safety number as a QR code" />
          </div>
          {seen === "scanning" && (
            <Scanner label="Camera picture" onFound={(text) => setSeen(text === number.code ? "same" : "other")} />
          )}
          <div role="alert" class="refusal-room">
            {seen === "same" && <p class="note good"><Icon name="verified" />The codes match. Confirm it below.</p>}
            {seen === "other" && (
              <p class="note bad">
                The codes differ. If you scanned the code for this conversation on the device of <bdi>{label}</bdi>, someone may be
                intercepting your texts: do not write.
              </p>
            )}
          </div>
        </>
      )}
      <Refusal text={action.fault} />
      <div class="buttons">
        {number !== null && number !== undefined && (
          <>
            <button type="button" class="primary" disabled={action.isBusy} onClick={() => decide(true)}>They match</button>
            <button type="button" class="danger" disabled={action.isBusy} onClick={() => decide(false)}>They differ</button>
            <button type="button" onClick={() => setSeen(seen === "scanning" ? "nothing" : "scanning")}>
              <Icon name="camera" />
              {seen === "scanning" ? "Stop the camera" : "Scan their code"}
            </button>
          </>
        )}
        <button type="button" onClick={closePanel}>Not now</button>
      </div>
      {who.trust === "unverified" && <p class="hint">You can write without comparing; they stay “not verified”.</p>}
    </Dialog>
  );
}
