import { useState } from "preact/hooks";
import { api, open } from "../model.ts";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Field, Refusal } from "../parts/field.tsx";
import { ChooseContacts } from "./choose.tsx";
import { GroupName, tooLongBy } from "./name.tsx";
import { OWN_NAME, OWN_NAME_HINT } from "./people.tsx";

/** A new group, with a name and contacts. */
export function NewGroup() {
  const [name, setName] = useState("");
  const [ownName, setOwnName] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const action = useAction();
  async function create(): Promise<void> {
    const group = await api().createGroup({ name: name.trim(), people: [...chosen], ownName });
    closePanel();
    await open(group);
  }
  return (
    <Dialog title="New group">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (tooLongBy(name) === 0) void action.run(create);
        }}
      >
        <GroupName value={name} onValue={setName} hasFocus hint="The members see it. The relay does not." />
        <ChooseContacts label="Who should be in it" chosen={chosen} onChoose={setChosen} />
        <Field label={OWN_NAME} value={ownName} onValue={setOwnName} maxLength={64} hint={OWN_NAME_HINT} />
        <p class="hint">They are invited, and can accept or decline. You are the group’s admin, and can make others admins, too.</p>
        <Refusal text={action.fault} />
        <div class="buttons">
          <button type="submit" class="primary" disabled={action.isBusy || tooLongBy(name) > 0}>Create group</button>
          <button type="button" onClick={closePanel}>Cancel</button>
        </div>
      </form>
    </Dialog>
  );
}
