import { useState } from "preact/hooks";
import type { GroupKey, Role } from "../../groups_api.ts";
import { api, groups, panel } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { Dialog } from "../parts/dialog.tsx";
import { Choice, Refusal } from "../parts/field.tsx";
import { ChooseContacts } from "./choose.tsx";

const ROLES: readonly (readonly [Role, string])[] = [["member", "Members"], ["admin", "Admins"]];

/** Contacts, who are invited to a group. */
export function AddPeople({ group }: { readonly group: GroupKey }) {
  const one = groups.value.get(group);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [role, setRole] = useState<Role>("member");
  const action = useAction();
  if (one === undefined) return null;
  const back = () => (panel.value = { at: "group", group });
  return (
    <Dialog title={`Add people to “${labelOf(one)}”`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run(async () => {
            await api().addToGroup({ group, people: [...chosen], role });
            back();
          });
        }}
      >
        <ChooseContacts label="Who" chosen={chosen} onChoose={setChosen} without={new Set(one.members.map(({ peer }) => peer))} />
        {one.mayChange && <Choice label="As" value={role} options={ROLES} onChoose={(next) => setRole(next)} />}
        <p class="hint">
          {one.mayChange
            ? "They are invited, and can accept or decline. They cannot read what was written before."
            : "You are not an admin, so an admin’s program is asked to invite them: it happens once one is online."}
        </p>
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy || chosen.size === 0}>Add</button>
          <button type="button" onClick={back}>Back</button>
        </div>
      </form>
    </Dialog>
  );
}
