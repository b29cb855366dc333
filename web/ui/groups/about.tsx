import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { GroupKey, Role } from "../../groups_api.ts";
import { LASTS, lastsWord } from "../chat/composer.tsx";
import { api, attempt, devices, type GroupTalk, groups, panel } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { Dialog } from "../parts/dialog.tsx";
import { Check, Choice, Field, Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { count } from "../times.ts";
import { Digits } from "./digits.tsx";
import { GroupName, tooLongBy } from "./name.tsx";
import { inOrder, OWN_NAME, OWN_NAME_HINT, PersonLine, wordsOf } from "./people.tsx";
import { ChoosePicture } from "./picture.tsx";

interface AboutProps {
  readonly who: GroupTalk;
}

const ELSEWHERE = "Groups are changed on your first device.";

/** Whether this is a further device of a member, where they can change nothing of it. */
function isElsewhere({ relation }: GroupTalk): boolean {
  return relation === "member" && devices.value?.isFirst === false;
}

/** Who is in a group, and everything that can be set for it. */
export function About({ group }: { readonly group: GroupKey }) {
  const who = groups.value.get(group);
  if (who === undefined) return null;
  return (
    <Dialog title={labelOf(who)} isWide>
      <Members who={who} />
      <Part title="Does everybody see the same group?">
        <p class="hint">If somebody in the group has the same digits, you both see the same members, roles and name.</p>
        <Digits group={group} revision={who.revision} />
      </Part>
      {who.mayChange ? <Rules who={who} /> : <RulesAsTheyAre who={who} />}
      <Part title="For you">
        {who.relation === "member" && !isElsewhere(who) && <OwnName who={who} />}
        <Check
          label="Mute"
          isOn={who.isMuted}
          onChange={(isMuted) => attempt(api().muteGroup({ group, isMuted }))}
          hint="New texts make no sound and show no notification."
        />
      </Part>
      <Ending who={who} />
    </Dialog>
  );
}

/** What one is called by members who have not added one. */
function OwnName({ who: { key: group, ownName } }: AboutProps) {
  const [name, setName] = useState(ownName);
  const naming = useAction();
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void naming.run(() => api().callMe({ group, name: name.trim() }));
      }}
    >
      <Field label={OWN_NAME} value={name} onValue={setName} maxLength={64} hint={OWN_NAME_HINT} />
      <Refusal text={naming.fault} />
      {name.trim() !== ownName && <button type="submit" disabled={naming.isBusy}>Save</button>}
    </form>
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

function Members({ who }: AboutProps) {
  const { key: group } = who;
  return (
    <section class="part first">
      <h3>{count(who.members.length, "member")}</h3>
      {isElsewhere(who) && <p class="hint">{ELSEWHERE}</p>}
      <ul class="members">
        {inOrder(who).map((member) => (
          <li key={member.peer}>
            {member.isMe ? (
              <PersonLine person={member}>{wordsOf(member)}</PersonLine>
            ) : (
              <button type="button" onClick={() => (panel.value = { at: "group-member", group, person: member.peer })}>
                <PersonLine person={member}>{wordsOf(member)}</PersonLine>
                <Icon name="next" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {who.mayInvite && (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => (panel.value = { at: "group-add", group })}>Add people</button>
          {who.mayChange && <button type="button" onClick={() => (panel.value = { at: "group-link", group })}>Invite by a link</button>}
        </div>
      )}
    </section>
  );
}

const WHO: readonly (readonly [Role, string])[] = [["member", "All members"], ["admin", "Admins"]];

/** What admins decide. */
function Rules({ who }: AboutProps) {
  const { key: group, invite, write } = who;
  const [name, setName] = useState(who.name);
  const naming = useAction();
  const picturing = useAction();
  return (
    <>
      <Part title="Name and picture">
        <form
          onSubmit={(event) => {
            event.preventDefault();
            picturing.forget();
            if (tooLongBy(name) === 0) void naming.run(() => api().renameGroup({ group, name: name.trim() }));
          }}
        >
          <GroupName value={name} onValue={setName} />
          <Refusal text={naming.fault} />
          {name.trim() !== who.name && <button type="submit" disabled={naming.isBusy || name.trim() === "" || tooLongBy(name) > 0}>Save name</button>}
        </form>
        <ChoosePicture who={who} action={picturing} />
      </Part>
      <Part title="Rules">
        <Choice label="Who can write" value={write} options={WHO} onChoose={(next) => attempt(api().groupRights({ group, invite, write: next }))} />
        <Choice label="Who can add people" value={invite} options={WHO} onChoose={(next) => attempt(api().groupRights({ group, invite: next, write }))} />
        <fieldset class="lasting">
          <legend>New texts disappear after</legend>
          {LASTS.map(([ms, word]) => (
            <label key={word}>
              <input type="radio" name="group-lasting" checked={ms === who.expiresIn} onChange={() => attempt(api().groupTimer({ group, expiresIn: ms }))} />
              {word}
            </label>
          ))}
        </fieldset>
      </Part>
    </>
  );
}

function RulesAsTheyAre({ who }: AboutProps) {
  const word = (role: Role) => WHO.find(([one]) => one === role)?.[1];
  return (
    <Part title="Rules">
      <dl class="facts">
        <dt>Who can write</dt>
        <dd>{word(who.write)}</dd>
        <dt>Who can add people</dt>
        <dd>{word(who.invite)}</dd>
        <dt>New texts disappear after</dt>
        <dd>{lastsWord(who.expiresIn)}</dd>
      </dl>
      {who.relation === "member" && <p class="hint">{who.role === "admin" && isElsewhere(who) ? ELSEWHERE : "Admins decide this."}</p>}
    </Part>
  );
}

function Ending({ who }: AboutProps) {
  const { key: group, relation, mayLeave, mayChange } = who;
  if (relation !== "member") {
    return (
      <Part title="Erase">
        <p class="hint">Erases what was said in it from this browser.</p>
        <button type="button" class="danger" onClick={() => (panel.value = { at: "group-forget", group })}>Erase …</button>
      </Part>
    );
  }
  return (
    <Part title="Leave">
      {!mayLeave && (
        <p class="hint">
          {isElsewhere(who) ? ELSEWHERE : "You are the only admin. Make somebody else an admin before you leave, or close the group."}
        </p>
      )}
      <div class="buttons">
        {mayLeave && <button type="button" class="danger" onClick={() => (panel.value = { at: "group-leave", group })}>Leave …</button>}
        {mayChange && <button type="button" class="danger" onClick={() => (panel.value = { at: "group-close", group })}>Close for everybody …</button>}
      </div>
    </Part>
  );
}
