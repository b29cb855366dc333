import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import type { Group, GroupKey, JoinLink, Relation } from "../../groups_api.ts";
import { api, type GroupTalk, groups, open, panel, people, warnings } from "../model.ts";
import { labelOf } from "../names.ts";
import { useAction } from "../parts/action.ts";
import { Called } from "../parts/called.tsx";
import { Code } from "../parts/code.tsx";
import { Copy } from "../parts/copy.tsx";
import { closePanel, Dialog } from "../parts/dialog.tsx";
import { Choice, Field, Refusal } from "../parts/field.tsx";
import { sentence } from "../sentences.ts";
import { count, moment } from "../times.ts";
import { OWN_NAME, OWN_NAME_HINT } from "./people.tsx";

const DAY_MS = 86_400_000;

type Uses = "1" | "10" | "100";
type Lasts = "1" | "7" | "30";

const USES: readonly (readonly [Uses, string])[] = [["1", "1 person"], ["10", "10 people"], ["100", "100 people"]];
const LASTS: readonly (readonly [Lasts, string])[] = [["1", "1 day"], ["7", "1 week"], ["30", "30 days"]];

/** A link with which people can join, its code, and those that still serve. */
export function InviteByLink({ group }: { readonly group: GroupKey }) {
  const one = groups.value.get(group);
  const [links, setLinks] = useState<readonly JoinLink[]>([]);
  const [link, setLink] = useState<JoinLink | null>(null);
  const [uses, setUses] = useState<Uses>("1");
  const [lasts, setLasts] = useState<Lasts>("7");
  const action = useAction();
  useEffect(() => {
    void action.run(async () => setLinks(await api().groupLinks({ group })));
  }, [group]);
  if (one === undefined) return null;
  const back = () => (panel.value = { at: "group", group });
  async function make(): Promise<void> {
    setLink(await api().groupLink({ group, uses: Number(uses), lasts: Number(lasts) * DAY_MS }));
    setLinks(await api().groupLinks({ group }));
  }
  async function end(): Promise<void> {
    await api().endGroupLinks({ group });
    setLink(null);
    setLinks([]);
  }
  return (
    <Dialog title={`Invite to “${labelOf(one)}” by a link`}>
      {link === null ? (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run(make);
          }}
        >
          <p>Anybody who has the link can join, so give it only to people who should be in the group. Your browser adds them, so this page has to be open then.</p>
          <Choice label="How many people can use it" value={uses} options={USES} onChoose={(next) => setUses(next)} />
          <Choice label="How long it works" value={lasts} options={LASTS} onChoose={(next) => setLasts(next)} />
          <Refusal text={action.fault} />
          <div class="buttons">
            <button type="submit" class="primary" disabled={action.isBusy}>Make a link</button>
            <button type="button" onClick={back}>Back</button>
          </div>
        </form>
      ) : (
        <>
          <Code text={link.address} label="The link as a QR code" />
          <dl class="facts">
            <dt>Works for {count(link.uses, "person", "people")}, until {moment(link.until, Date.now())}</dt>
            <dd class="mono">{link.address}</dd>
          </dl>
          <div class="buttons">
            <Copy text={link.address} label="Copy the link" />
            <Copy text={link.text} label="Copy for the command line" />
            <button type="button" onClick={back}>Done</button>
          </div>
        </>
      )}
      {links.length > 0 && (
        <div class="aside">
          <p>{count(links.length, "link")} of yours still {links.length === 1 ? "works" : "work"}.</p>
          <button type="button" class="danger" disabled={action.isBusy} onClick={() => void action.run(end)}>End all links</button>
        </div>
      )}
    </Dialog>
  );
}

/** What a group is to the user. */
const standing = ({ key, relation }: Group): string => `${relation} ${key}`;

/** The group into which the admin of a link has let one since, or to which they invite: not every link leads back into one. */
function ledTo(admin: string | null, before: readonly string[]): GroupTalk | undefined {
  const changed = [...groups.value.values()].filter((one) => one.inviter?.peer === admin && !before.includes(standing(one)));
  const led = (to: Relation) => changed.find(({ relation }) => relation === to);
  return led("member") ?? led("invited");
}

/** Whoever is in the group of a link already, or invited, is not answered: which one it is, its link does not say. */
function KnownAlready({ admin }: { readonly admin: string }) {
  const isTheirs = ({ members }: Group) => members.some(({ peer, role }) => peer === admin && role === "admin");
  const known = [...groups.value.values()].filter(isTheirs);
  const invitations = known.filter(({ relation }) => relation === "invited");
  const mine = known.filter(({ relation }) => relation === "member");
  if (invitations.length + mine.length === 0) return null;
  const shows = (one: GroupTalk, what: string) => (
    <button
      key={one.key}
      type="button"
      onClick={() => {
        closePanel();
        void open(one.peer);
      }}
    >
      {what} <bdi>{labelOf(one)}</bdi>
    </button>
  );
  return (
    <div class="aside">
      {invitations.length > 0 && (
        <>
          <p>You are invited to a group of theirs already. If the link is to it, accept the invitation.</p>
          <div class="buttons">{invitations.map((one) => shows(one, "See the invitation to"))}</div>
        </>
      )}
      {mine.length > 0 && (
        <>
          <p>You are in a group of theirs already. If the link is to it, there is nothing to do.</p>
          <div class="buttons">{mine.map((one) => shows(one, "Open"))}</div>
        </>
      )}
    </div>
  );
}

/** Somebody's link to a group was opened or typed: it is asked about before anything is sent. */
export function JoinGroup({ link }: { readonly link: string }) {
  const [asked, setAsked] = useState<string | null>(null);
  const [before, setBefore] = useState<readonly string[]>([]);
  const [warned, setWarned] = useState(0);
  const [refusal, setRefusal] = useState("");
  const [ownName, setOwnName] = useState("");
  const action = useAction();
  const admin = people.value.get(asked ?? "");
  async function ask(): Promise<void> {
    setBefore([...groups.value.values()].map(standing));
    setWarned(warnings.value.at(-1)?.id ?? 0);
    setAsked(await api().joinGroup({ link, ownName }));
  }
  const told = warnings.value.find(({ id, notice, peer }) => id > warned && notice.code === "link-refused" && peer === asked);
  // Said here, it is no notice besides; before anything is painted.
  useLayoutEffect(() => {
    if (told === undefined) return;
    setRefusal(told.notice.text);
    warnings.value = warnings.value.filter(({ id }) => id !== told.id);
  }, [told]);
  const found = ledTo(asked, before);
  if (found !== undefined) {
    const isInvited = found.relation === "invited";
    const show = () => {
      closePanel();
      void open(found.peer);
    };
    return (
      <Dialog title={isInvited ? "You are invited" : "You are in the group"}>
        <p role="status">
          {isInvited && found.inviter !== null && <><Called who={found.inviter} /> invites you to </>}
          “<bdi>{labelOf(found)}</bdi>”{isInvited ? ". You are in it once you accept." : " is in your list now."}
        </p>
        <div class="buttons">
          <button type="button" class="primary" onClick={show}>{isInvited ? "See the invitation" : "Open it"}</button>
          <button type="button" onClick={closePanel}>Done</button>
        </div>
      </Dialog>
    );
  }
  if (asked !== null) {
    return (
      <Dialog title={refusal === "" ? "You have asked to join" : "You were not let in"}>
        <p role="status">
          {refusal !== "" ? sentence(refusal) : (
            <>
              {admin === undefined ? "The admin of the group" : <bdi>{labelOf(admin)}</bdi>} has been asked. The group appears in
              your list as soon as their program is online and has answered.
            </>
          )}
        </p>
        {refusal === "" && <KnownAlready admin={asked} />}
        <div class="buttons">
          <button type="button" class="primary" onClick={closePanel}>Done</button>
        </div>
      </Dialog>
    );
  }
  return (
    <Dialog title="Join this group?">
      <p>
        This is a link to a group. Join only if you know who gave it to you. The members will see your ID and what you write in
        the group, and you will see theirs.
      </p>
      <Field label={OWN_NAME} value={ownName} onValue={setOwnName} maxLength={64} hint={OWN_NAME_HINT} />
      <Refusal text={action.fault} />
      <div class="buttons">
        <button
          type="button"
          class="primary"
          data-begin
          disabled={action.isBusy}
          onClick={() => void action.run(ask)}
        >
          Ask to join
        </button>
        <button type="button" onClick={closePanel}>Not now</button>
      </div>
    </Dialog>
  );
}
