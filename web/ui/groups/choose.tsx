import { useId, useState } from "preact/hooks";
import { people } from "../model.ts";
import { labelOf } from "../names.ts";
import { Field } from "../parts/field.tsx";
import { count } from "../times.ts";
import { Avatar } from "../parts/avatar.tsx";

/** So many contacts can be looked over without searching. */
const FEW = 8;
/** So many are shown; who has more contacts searches. */
const MOST = 200;

interface ChooseProps {
  readonly label: string;
  readonly chosen: ReadonlySet<string>;
  onChoose(chosen: ReadonlySet<string>): void;
  /** Who is there already. */
  readonly without?: ReadonlySet<string>;
}

/** Contacts, of whom some are chosen. */
export function ChooseContacts({ label, chosen, onChoose, without }: ChooseProps) {
  const id = useId();
  const [sought, setSought] = useState("");
  const all = [...people.value.values()]
    .filter((one) => !one.isRequest && !one.isBlocked && without?.has(one.peer) !== true)
    .toSorted((a, b) => labelOf(a).localeCompare(labelOf(b)));
  const folded = sought.trim().toLocaleLowerCase();
  const found = all.filter((one) => chosen.has(one.peer) || `${labelOf(one)} ${one.writtenId}`.toLocaleLowerCase().includes(folded));
  const shown = found.slice(0, MOST);
  function turn(peer: string, isOn: boolean): void {
    const next = new Set(chosen);
    if (isOn) next.add(peer);
    else next.delete(peer);
    onChoose(next);
  }
  return (
    <fieldset class="choose">
      <legend>{label}</legend>
      {all.length === 0 && <p class="hint">There is nobody to choose. Add contacts first, or invite people by a link later.</p>}
      {all.length > FEW && <Field label="Search contacts" value={sought} onValue={setSought} />}
      <ul>
        {shown.map((one) => (
          <li key={one.peer}>
            <label for={`${id}${one.peer}`}>
              <input id={`${id}${one.peer}`} type="checkbox" checked={chosen.has(one.peer)} onChange={(event) => turn(one.peer, event.currentTarget.checked)} />
              <Avatar id={one.peer} label={labelOf(one)} />
              <bdi>{labelOf(one)}</bdi>
              {one.trust === "verified" && <small>verified</small>}
            </label>
          </li>
        ))}
      </ul>
      {shown.length < found.length && <p class="hint">There are {found.length - shown.length} more. Search for them.</p>}
      <p class="hint" role="status">{chosen.size === 0 ? "" : `${count(chosen.size, "person", "people")} chosen`}</p>
    </fieldset>
  );
}
