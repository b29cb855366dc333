import type { GroupKey } from "../../groups_api.ts";
import { api, groups, open, panel, people } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Refusal } from "../parts/field.tsx";
import { wordsOf } from "./people.tsx";

/** One member, and what can be done about them. */
export function Member({ group, person }: { readonly group: GroupKey; readonly person: string }) {
  const one = groups.value.get(group);
  const member = one?.members.find(({ peer }) => peer === person);
  const action = useAction();
  if (one === undefined || member === undefined) return null;
  const { peer, role, writtenId } = member;
  const known = people.value.get(peer);
  const isContact = known !== undefined && !known.isRequest;
  const back = () => (panel.value = { at: "group", group });
  const change = () => api().changeRole({ group, person: peer, role: role === "admin" ? "member" : "admin" });
  return (
    <Dialog title={labelOf(member)}>
      <dl class="facts">
        <dt>In <bdi>{labelOf(one)}</bdi></dt>
        <dd>{role === "admin" ? "" : "member, "}{wordsOf(member)}</dd>
        <dt>ID</dt>
        <dd class="mono">{writtenId}</dd>
      </dl>
      {!isContact && <p class="hint">They are not one of your contacts, so there is no name that you could rely on.</p>}
      {one.mayChange && role === "admin" && <p class="hint">Admins decide who is in the group, its name and its rules.</p>}
      <Refusal text={action.fault} />
      <div class="buttons">
        {isContact ? (
          <button
            type="button"
            class="primary"
            onClick={() => {
              closePanel();
              void open(peer);
            }}
          >
            Write to them
          </button>
        ) : (
          <button type="button" onClick={() => (panel.value = { at: "new", who: writtenId, name: "" })}>Add to contacts</button>
        )}
        {isContact && <button type="button" onClick={() => (panel.value = { at: "verify", peer })}>Compare</button>}
        {one.mayChange && (
          <>
            <button type="button" disabled={action.isBusy} onClick={() => void action.run(change).then((isDone) => isDone && back())}>
              {role === "admin" ? "Make a member" : "Make an admin"}
            </button>
            <button type="button" class="danger" onClick={() => (panel.value = { at: "group-remove", group, person: peer })}>Remove</button>
          </>
        )}
        <button type="button" onClick={back}>Back</button>
      </div>
    </Dialog>
  );
}
