import { useEffect, useState } from "preact/hooks";
import type { GroupKey } from "../../groups_api.ts";
import { api, type GroupTalk } from "../model.ts";
import { Called } from "../parts/called.tsx";
import { useAction } from "../parts/action.ts";
import { Refusal } from "../parts/field.tsx";

/** What members compare: whoever sees the same digits knows the same members, roles and name. */
export function Digits({ group, revision }: { readonly group: GroupKey; readonly revision: number }) {
  const [digits, fault] = useDigits(() => api().groupDigits({ group }), [group, revision]);
  return (
    <>
      <Four digits={digits} label="Digits of the group" />
      <Refusal text={fault} />
    </>
  );
}

/** Of a group with two histories: the digits of both, if the other ones are known. */
export function BothDigits({ who }: { readonly who: GroupTalk }) {
  const { key: group, revision, rival } = who;
  const [others, fault] = useDigits(() => api().rivalDigits({ group }), [group, revision, rival?.peer]);
  return (
    <>
      <dl class="both">
        <div>
          <dt>Yours</dt>
          <dd><Digits group={group} revision={revision} /></dd>
        </div>
        {others !== null && (
          <div>
            <dt>{rival === null ? "The other ones" : <Called who={rival} />}</dt>
            <dd><Four digits={others} label="Digits of the other history" /></dd>
          </div>
        )}
      </dl>
      <Refusal text={fault} />
    </>
  );
}

/** What was asked for, null until it is here; and why it is not. */
function useDigits(ask: () => Promise<readonly string[] | null>, of: readonly unknown[]) {
  const [digits, setDigits] = useState<readonly string[] | null>(null);
  const action = useAction();
  useEffect(() => {
    let isCurrent = true;
    void action.run(async () => {
      const found = await ask();
      if (isCurrent) setDigits(found);
    });
    return () => {
      isCurrent = false;
    };
  }, of);
  return [digits, action.fault] as const;
}

function Four({ digits, label }: { readonly digits: readonly string[] | null; readonly label: string }) {
  return (
    <ol class="number four" dir="ltr" aria-label={label} aria-busy={digits === null}>
      {(digits ?? ["·····", "·····", "·····", "·····"]).map((five, index) => <li key={index}>{five}</li>)}
    </ol>
  );
}
