import { useEffect, useState } from "preact/hooks";
import type { Conversation, Found, Item } from "../../api.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Called } from "../parts/called.tsx";
import { minute } from "../parts/clock.ts";
import { Guard } from "../parts/guard.tsx";
import { Icon } from "../parts/icon.tsx";
import { lineOf } from "../excerpt.ts";
import { api, type GroupTalk, isInvitation, isOfGroup, me, open, openPeer, ordered, panel, type Talk, talks, target } from "../model.ts";
import { labelOf, plainName } from "../names.ts";
import { count, short } from "../times.ts";
import { Banners } from "./banners.tsx";
import { goneWord } from "./item.tsx";
import { MarkOf } from "./mark.tsx";

const SEARCH_MS = 200;
const MOST_FOUND = 50;

/** The list of conversations, and the way to everything else. */
export function Side() {
  const [sought, setSought] = useState("");
  const who = me.value;
  return (
    <div class="side">
      <header class="top">
        <button type="button" class="myself" onClick={() => (panel.value = { at: "me" })}>
          <Avatar id={who?.userId ?? ""} label={who?.name ?? ""} />
          <strong><bdi>{plainName(who?.name ?? "")}</bdi></strong>
          <span class="sr">: my ID and link</span>
        </button>
        <button type="button" class="round" aria-label="Settings" title="Settings" onClick={() => (panel.value = { at: "settings" })}>
          <Icon name="gear" />
        </button>
      </header>
      <div class="search" role="search">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          dir="auto"
          aria-label="Search people and texts"
          placeholder="Search people and texts"
          autocomplete="off"
          value={sought}
          onInput={(event) => setSought(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Escape" && setSought("")}
        />
      </div>
      <Banners />
      <nav class="list" aria-label="Conversations">
        {sought.trim() === "" ? <All /> : <Results sought={sought.trim()} onDone={() => setSought("")} />}
      </nav>
      <div class="foot">
        <button type="button" class="primary" onClick={() => (panel.value = { at: "new", who: "", name: "" })}>
          <Icon name="plus" />
          New conversation
        </button>
        <button type="button" class="round" aria-label="New group" title="New group" onClick={() => (panel.value = { at: "group-new" })}>
          <Icon name="people" />
        </button>
      </div>
    </div>
  );
}

function All() {
  const requests = ordered.value.filter((one) => one.isRequest && !one.isBlocked && !isOfGroup(one));
  const invitations = ordered.value.filter(isInvitation);
  const known = ordered.value.filter((one) => !one.isRequest && !isInvitation(one));
  const isDivided = requests.length + invitations.length > 0;
  return (
    <>
      {requests.length > 0 && <h2>{count(requests.length, "message request")}</h2>}
      {requests.length > 0 && <ul>{requests.map((one) => <Row key={one.peer} who={one} />)}</ul>}
      {invitations.length > 0 && <h2>{count(invitations.length, "invitation to a group", "invitations to groups")}</h2>}
      {invitations.length > 0 && <ul>{invitations.map((one) => <Row key={one.peer} who={one} />)}</ul>}
      {isDivided && <h2>Conversations</h2>}
      <ul>{known.map((one) => <Row key={one.peer} who={one} />)}</ul>
      {known.length === 0 && <p class="empty">No conversations yet.</p>}
      {known.length === 0 && <FirstStep />}
    </>
  );
}

/** What a wide window says beside the list, where a phone shows the list alone. */
function FirstStep() {
  return (
    <div class="first-step">
      <p>Give someone your link, or enter theirs.</p>
      <button type="button" onClick={() => (panel.value = { at: "me" })}>Show my link</button>
    </div>
  );
}

function Row({ who }: { readonly who: Talk }) {
  return <li><Guard of={who}><Line who={who} /></Guard></li>;
}

function Line({ who }: { readonly who: Talk }) {
  const isMany = isOfGroup(who);
  const now = minute.value;
  const label = labelOf(who);
  const isOpen = openPeer.value === who.peer;
  const status = isMany ? "" : who.presence.status;
  const isVerified = !isMany && who.trust === "verified";
  const isMuted = isMany && who.isMuted;
  return (
    <button
      type="button"
      class={isOpen ? "row open" : "row"}
      aria-current={isOpen ? "true" : undefined}
      onClick={() => void open(who.peer)}
    >
      <Avatar id={who.peer} label={label} isOnline={status === "online" || status === "typing"} isGroup={isMany} picture={isMany ? who.picture : null} />
      <span class="name">
        <bdi>{label}</bdi>
        {isMany && <span class="sr">, group</span>}
        {isVerified && <Icon name="verified" />}
        {isVerified && <span class="sr">, verified</span>}
        {isMuted && <Icon name="muted" />}
        {isMuted && <span class="sr">, muted</span>}
      </span>
      {who.last !== null && <time dateTime={new Date(who.last.at).toISOString()}>{short(who.last.at, now)}</time>}
      <span class="preview">{isMany ? <GroupPreview who={who} /> : <Preview who={who} />}</span>
      {who.unread > 0 && !who.isBlocked && (
        <span class={isMuted ? "count soft" : "count"}>
          {who.unread}
          <span class="sr"> new</span>
        </span>
      )}
    </button>
  );
}

/** The most important of what there is to say in one line. */
function Preview({ who }: { readonly who: Conversation }) {
  const { last } = who;
  if (who.isBlocked) return <em>Blocked</em>;
  if (who.trust === "changed") return <em class="bad">New key: compare or accept it</em>;
  if (who.presence.status === "typing") return <em class="good">Typing …</em>;
  if (last?.mark === "failed") return <em class="bad">Not sent</em>;
  if (hasDraft(who)) return <Draft who={who} />;
  if (who.isRequest) return <em>Wants to write to you</em>;
  return <Last last={last} />;
}

function GroupPreview({ who }: { readonly who: GroupTalk }) {
  const { last, inviter } = who;
  if (who.relation === "invited") return <em class="good">{inviter === null ? "You are invited" : <><Called who={inviter} isBrief /> has invited you</>}</em>;
  if (who.doubt === "forked") return <em class="bad">Two histories: look at it</em>;
  if (last?.mark === "failed") return <em class="bad">Not sent</em>;
  return hasDraft(who) ? <Draft who={who} /> : <Last last={last} />;
}

function hasDraft(who: Talk): boolean {
  return who.draft !== "" && openPeer.value !== who.peer;
}

function Draft({ who }: { readonly who: Talk }) {
  return <><em class="bad draft">Draft:</em><bdi>{lineOf(who.draft)}</bdi></>;
}

function Last({ last }: { readonly last: Item | null }) {
  if (last === null) return <em>No texts yet</em>;
  const author = last.kind === "event" ? null : (last.group?.author ?? null);
  return (
    <>
      {last.mark !== null && <MarkOf mark={last.mark} />}
      {author !== null && <em class="draft"><Called who={author} isBrief />:</em>}
      {last.kind === "text" ? <bdi>{lineOf(last.text)}</bdi> : <em>{insteadOf(last)}</em>}
    </>
  );
}

function insteadOf(last: Item): string {
  switch (last.kind) {
    case "covered":
      return "Burns after reading";
    case "newer":
      return "Sent with a newer version";
    case "unreadable":
      return "Waiting for it to be sent again";
    case "broken":
      return "Cannot be read";
    case "event":
      return last.text;
    default:
      return goneWord(last);
  }
}

function Results({ sought, onDone }: { readonly sought: string; onDone(): void }) {
  const [found, setFound] = useState<readonly Found[] | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const timer = setTimeout(() => {
      api().search({ text: sought, peer: null, limit: MOST_FOUND }).then(
        (all) => isCurrent && setFound(all),
        () => isCurrent && setFound([]),
      );
    }, SEARCH_MS);
    return () => {
      isCurrent = false;
      clearTimeout(timer);
    };
  }, [sought]);
  const folded = sought.toLocaleLowerCase();
  const named = ordered.value.filter((one) => `${labelOf(one)} ${isOfGroup(one) ? "" : one.writtenId}`.toLocaleLowerCase().includes(folded));
  const many = named.length + (found?.length ?? 0);
  return (
    <>
      <p class="sr" role="status">{found === null ? "" : count(many, "result")}</p>
      {named.length > 0 && <h2>People and groups</h2>}
      <ul>{named.map((one) => <Row key={one.peer} who={one} />)}</ul>
      {found !== null && found.length > 0 && <h2>Texts</h2>}
      <ul>
        {found?.map((one) => <FoundRow key={`${one.peer} ${one.item.position}`} found={one} sought={sought} onDone={onDone} />)}
      </ul>
      {found !== null && many === 0 && <p class="empty">Nothing found.</p>}
    </>
  );
}

interface FoundProps {
  readonly found: Found;
  readonly sought: string;
  onDone(): void;
}

function FoundRow({ found: { peer, item }, sought, onDone }: FoundProps) {
  const now = minute.value;
  const who = talks.value.get(peer);
  const label = who === undefined ? "" : labelOf(who);
  return (
    <li>
      <button
        type="button"
        class="row"
        onClick={() => {
          target.value = { peer, id: item.id, position: item.position };
          void open(peer);
          onDone();
        }}
      >
        <Avatar id={peer} label={label} isGroup={who !== undefined && isOfGroup(who)} />
        <span class="name"><bdi>{label}</bdi></span>
        <time dateTime={new Date(item.at).toISOString()}>{short(item.at, now)}</time>
        <span class="preview">
          {item.isMine && <em class="draft">You:</em>}
          {item.group?.author && <em class="draft"><Called who={item.group.author} isBrief />:</em>}
          <bdi>{lineOf(item.text, sought)}</bdi>
        </span>
      </button>
    </li>
  );
}
