/** What is asked before something is done to a group that cannot be undone. */
import type { ComponentChildren } from "preact";
import type { GroupKey } from "../../groups_api.ts";
import { api, groups, leave, panel } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { Called } from "../parts/called.tsx";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Refusal } from "../parts/field.tsx";

interface GroupProps {
  readonly group: GroupKey;
}

interface AskProps {
  readonly title: string;
  readonly yes: string;
  act(): Promise<unknown>;
  back(): void;
  readonly children: ComponentChildren;
}

function Ask({ title, yes, act, back, children }: AskProps) {
  const action = useAction();
  return (
    <Dialog title={title}>
      {children}
      <Refusal text={action.fault} />
      <div class="buttons">
        <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(act)}>{yes}</button>
        <button type="button" onClick={back}>Cancel</button>
      </div>
    </Dialog>
  );
}

const toAbout = (group: GroupKey) => () => void (panel.value = { at: "group", group });

export function LeaveGroup({ group }: GroupProps) {
  const one = groups.value.get(group);
  if (one === undefined) return null;
  return (
    <Ask
      title={`Leave “${labelOf(one)}”?`}
      yes="Leave"
      back={closePanel}
      act={async () => {
        await api().leaveGroup({ group });
        closePanel();
      }}
    >
      <p>You no longer get what is written in it, and the others see that you have left. What was said stays here until you erase it.</p>
    </Ask>
  );
}

export function CloseGroup({ group }: GroupProps) {
  const one = groups.value.get(group);
  if (one === undefined) return null;
  return (
    <Ask
      title={`Close “${labelOf(one)}” for everybody?`}
      yes="Close the group"
      back={toAbout(group)}
      act={async () => {
        await api().closeGroup({ group });
        closePanel();
      }}
    >
      <p>Nobody can write in it any more, and it cannot be reopened. Everybody keeps what was said.</p>
    </Ask>
  );
}

export function ForgetGroup({ group }: GroupProps) {
  const one = groups.value.get(group);
  if (one === undefined) return null;
  return (
    <Ask
      title={`Erase “${labelOf(one)}”?`}
      yes="Erase"
      back={closePanel}
      act={async () => {
        await api().forgetGroup({ group });
        closePanel();
        leave();
      }}
    >
      <p>The group and everything that was said in it are erased here, and only here: the others keep what they have.</p>
    </Ask>
  );
}

export function RemoveMember({ group, person }: GroupProps & { readonly person: string }) {
  const one = groups.value.get(group);
  const member = one?.members.find(({ peer }) => peer === person);
  if (one === undefined || member === undefined) return null;
  const label = labelOf(member);
  return (
    <Ask
      title={`Remove ${label}?`}
      yes="Remove"
      back={toAbout(group)}
      act={async () => {
        await api().removeFromGroup({ group, people: [person] });
        toAbout(group)();
      }}
    >
      <p>
        From then on, nothing written in “<bdi>{labelOf(one)}</bdi>” is encrypted for <Called who={member} />. They keep what they
        have, and the members see that you removed them.
      </p>
    </Ask>
  );
}
