import { useEffect, useState } from "preact/hooks";
import type { GroupKey } from "../../groups_api.ts";
import { api } from "../model.ts";
import { useAction } from "../parts/action.ts";
import { Refusal } from "../parts/field.tsx";

/** What members compare: whoever sees the same digits knows the same members, roles and name. */
export function Digits({ group, revision }: { readonly group: GroupKey; readonly revision: number }) {
  const [digits, setDigits] = useState<readonly string[] | null>(null);
  const action = useAction();
  useEffect(() => {
    let isCurrent = true;
    void action.run(async () => {
      const found = await api().groupDigits({ group });
      if (isCurrent) setDigits(found);
    });
    return () => {
      isCurrent = false;
    };
  }, [group, revision]);
  return (
    <>
      <ol class="number four" dir="ltr" aria-label="Digits of the group" aria-busy={digits === null}>
        {(digits ?? ["·····", "·····", "·····", "·····"]).map((five, index) => <li key={index}>{five}</li>)}
      </ol>
      <Refusal text={action.fault} />
    </>
  );
}
