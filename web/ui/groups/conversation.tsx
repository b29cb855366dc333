import type { ComponentChildren } from "preact";
import { useAction } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { Entry, Menu } from "../parts/menu.tsx";
import { Composer } from "../chat/composer.tsx";
import { Log } from "../chat/log.tsx";
import { api, attempt, type GroupTalk, isFinding, openLog, panel } from "../model.ts";
import { labelOf } from "../names.ts";
import { Called } from "../parts/called.tsx";
import { sentence } from "../sentences.ts";
import { count } from "../times.ts";
import { BothDigits } from "./digits.tsx";
import { Invitation } from "./invitation.tsx";

/** A group: what was written in it, and where to write. */
export function GroupConversation({ who, finder }: { readonly who: GroupTalk; readonly finder: ComponentChildren }) {
  if (who.relation === "invited") return <Invitation who={who} />;
  const label = labelOf(who);
  const log = openLog.value;
  return (
    <section class="conversation" aria-label={`Group ${label}`}>
      <Head who={who} />
      {finder}
      <Notices who={who} />
      {log?.peer === who.peer ? <Log key={log.view} log={log} label={label} /> : <div class="log-room" aria-busy="true" />}
      <p class="typing" />
      <Below who={who} />
    </section>
  );
}

function Head({ who }: { readonly who: GroupTalk }) {
  const { key: group } = who;
  const label = labelOf(who);
  const about = () => (panel.value = { at: "group", group });
  return (
    <header class="head">
      <button type="button" class="round to-list" aria-label="Back to the list" onClick={() => history.back()}>
        <Icon name="back" />
      </button>
      <Avatar id={who.peer} label={label} isGroup picture={who.picture} />
      <div class="who">
        <h2><bdi>{label}</bdi></h2>
        <p>{count(who.members.length, "member")}{who.isMuted && ", muted"}</p>
      </div>
      <button type="button" class="quiet compare" aria-label="Members and settings" title="Members and settings" onClick={about}>
        <Icon name="people" />
        <span>Members</span>
      </button>
      <button
        type="button"
        class="round"
        aria-label="Search here"
        title="Search here"
        aria-pressed={isFinding.value}
        onClick={() => (isFinding.value = !isFinding.value)}
      >
        <Icon name="search" />
      </button>
      <Menu label="More" icon="more">
        {(close) => (
          <ul>
            {who.mayInvite && <Entry onClick={() => (panel.value = { at: "group-add", group })} close={close}>Add people</Entry>}
            {who.mayChange && <Entry onClick={() => (panel.value = { at: "group-link", group })} close={close}>Invite by a link</Entry>}
            <Entry onClick={() => attempt(api().muteGroup({ group, isMuted: !who.isMuted }))} close={close}>{who.isMuted ? "Unmute" : "Mute"}</Entry>
            {who.relation === "member" ? (
              <Entry onClick={() => (panel.value = { at: who.mayLeave ? "group-leave" : "group", group })} close={close}>Leave</Entry>
            ) : (
              <Entry onClick={() => (panel.value = { at: "group-forget", group })} close={close}>Erase</Entry>
            )}
          </ul>
        )}
      </Menu>
    </header>
  );
}

/** What its members must know, or decide. */
function Notices({ who }: { readonly who: GroupTalk }) {
  return (
    <>
      {who.doubt === "forked" && <Fork who={who} />}
      {who.doubt === "newer" && <Newer who={who} />}
      {who.isBehind && !who.isWaiting && <Banner isSoft>Some changes to this group have not arrived yet. Other members are being asked for them.</Banner>}
      {who.isWaiting && <Missing who={who} />}
      {!who.isWaiting && who.waiting > 0 && <Banner isSoft>{count(who.waiting, "change")} of yours {who.waiting === 1 ? "is" : "are"} waiting for the relay.</Banner>}
      {who.notice !== null && <Banner>{sentence(who.notice.text)}</Banner>}
    </>
  );
}

function Banner({ children, isSoft = false }: { readonly children: ComponentChildren; readonly isSoft?: boolean }) {
  return (
    <div class={isSoft ? "banner notice soft" : "banner notice"} role="status">
      <Icon name={isSoft ? "clock" : "alert"} />
      <p>{children}</p>
    </div>
  );
}

/** What the user has changed waits for changes of others, who may be away for long. */
function Missing({ who: { key: group, waiting } }: { readonly who: GroupTalk }) {
  const action = useAction();
  return (
    <div class="banner notice soft" role="status">
      <Icon name="clock" />
      <div>
        <p>
          This group was changed before, and that has not arrived yet: {count(waiting, "change")} of yours{" "}
          {waiting === 1 ? "waits" : "wait"} for it. It comes once the device of whoever has it is online.
        </p>
        <Refusal text={action.fault} />
        <p class="next">
          <button type="button" class="small" disabled={action.isBusy} onClick={() => void action.run(() => api().goOnInGroup({ group }))}>
            Go on without it
          </button>
        </p>
      </div>
    </div>
  );
}

/** A later version has changed the group, and what it is now cannot be known here. */
function Newer({ who: { key: group } }: { readonly who: GroupTalk }) {
  const action = useAction();
  return (
    <div class="banner notice" role="status">
      <Icon name="alert" />
      <div>
        <p>This group was changed by a newer version of Phantom. Reload this page later to write in it again.</p>
        <Refusal text={action.fault} />
        <p class="next">
          <button type="button" class="small" onClick={() => (panel.value = { at: "group", group })}>See the members</button>
          <button type="button" class="small" disabled={action.isBusy} onClick={() => void action.run(() => api().goOnInGroup({ group }))}>
            Go on with these members
          </button>
        </p>
      </div>
    </div>
  );
}

/** Two histories are known: nobody can tell but the members which is the right one. */
function Fork({ who }: { readonly who: GroupTalk }) {
  const action = useAction();
  const { key: group, rival } = who;
  return (
    <div class="banner notice bad" role="alert">
      <Icon name="alert" />
      <div>
        <p>
          <strong>{rival === null ? "Somebody" : <Called who={rival} />} has a different history of this group than you.</strong>{" "}
          Somebody may be showing you different members. Nothing is sent until this is settled. Compare these digits with the
          others by phone or in person: whoever has different digits has the other history.
        </p>
        <BothDigits who={who} />
        <Refusal text={action.fault} />
        <p class="next">
          <button type="button" class="small" onClick={() => (panel.value = { at: "group", group })}>See the members</button>
          <button type="button" class="small" disabled={action.isBusy} onClick={() => void action.run(() => api().goOnInGroup({ group }))}>
            Go on with these members
          </button>
        </p>
      </div>
    </div>
  );
}

function whyNot({ doubt, members }: GroupTalk): string {
  if (doubt !== "") return "Nothing can be sent for now: see above.";
  return members.length < 2 ? "There is nobody else in this group yet. Add people to write to them." : "Only admins can write in this group.";
}

const ENDED = {
  left: "You have left this group.",
  removed: "You were removed from this group.",
  closed: "This group is closed: nobody can write in it any more.",
} as const;

/** Where one writes, or why one cannot. */
function Below({ who }: { readonly who: GroupTalk }) {
  const { relation, key: group } = who;
  if (relation === "left" || relation === "removed" || relation === "closed") {
    return (
      <div class="decide">
        <p>{ENDED[relation]} What was said stays here until you erase it.</p>
        <div class="buttons">
          <button type="button" onClick={() => (panel.value = { at: "group-forget", group })}>Erase …</button>
        </div>
      </div>
    );
  }
  if (who.mayWrite) return <Composer who={who} />;
  return (
    <div class="decide">
      <p>{whyNot(who)}</p>
    </div>
  );
}
