import { useEffect, useState } from "preact/hooks";
import type { Copy, GroupKey } from "../../groups_api.ts";
import { MarkOf } from "../chat/mark.tsx";
import { api } from "../model.ts";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Refusal } from "../parts/field.tsx";
import { PersonLine } from "./people.tsx";

/** How far a text of one's own has come with each member. */
export function CopiesOf({ group, id }: { readonly group: GroupKey; readonly id: string }) {
  const [copies, setCopies] = useState<readonly Copy[] | null>(null);
  const action = useAction();
  useEffect(() => {
    void action.run(async () => setCopies(await api().groupCopies({ group, id })));
  }, [id]);
  return (
    <Dialog title="Who has received it">
      <Refusal text={action.fault} />
      {copies?.length === 0 && <p>That is no longer known.</p>}
      {copies !== null && copies.length > 0 && (
        <ul class="members">
          {copies.map(({ person, mark }) => (
            <li key={person.peer}>
              <PersonLine person={person} />
              <MarkOf mark={mark} hasWord />
            </li>
          ))}
        </ul>
      )}
      <div class="buttons">
        <button type="button" onClick={closePanel}>Close</button>
      </div>
    </Dialog>
  );
}
