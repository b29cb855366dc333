import { useEffect, useState } from "preact/hooks";
import type { Conversation as Talk } from "../../api.ts";
import { useAction } from "../parts/action.ts";
import { Avatar } from "../parts/avatar.tsx";
import { minute } from "../parts/clock.ts";
import { Refusal } from "../parts/field.tsx";
import { Icon } from "../parts/icon.tsx";
import { Entry, Menu } from "../parts/menu.tsx";
import { api, attempt, isFinding, openLog, panel } from "../model.ts";
import { labelOf } from "../names.ts";
import { sentence } from "../sentences.ts";
import { moment } from "../times.ts";
import { Composer } from "./composer.tsx";
import { panels } from "./later.ts";
import { Log } from "./log.tsx";

/** Typing is shown for so long after it was told. */
const TYPING_MS = 10_000;

/** One conversation: who, what was written, and where to write. */
export function Conversation({ who }: { readonly who: Talk }) {
  const label = labelOf(who);
  const log = openLog.value;
  return (
    <section class="conversation" aria-label={`Conversation with ${label}`}>
      <Head who={who} />
      {isFinding.value && <Find peer={who.peer} />}
      <NoticeOf who={who} />
      {log?.peer === who.peer ? <Log key={log.view} log={log} label={label} /> : <div class="log-room" aria-busy="true" />}
      <Typing who={who} />
      <Below who={who} />
    </section>
  );
}

/** Searches it, once that part of the page is there. */
export function Find({ peer }: { readonly peer: string }) {
  const Finder = panels.use()?.Finder;
  return Finder === undefined ? null : <Finder peer={peer} />;
}

function Head({ who }: { readonly who: Talk }) {
  const label = labelOf(who);
  const { status } = who.presence;
  return (
    <header class="head">
      <button type="button" class="round to-list" aria-label="Back to the list" onClick={() => history.back()}>
        <Icon name="back" />
      </button>
      <Avatar id={who.peer} label={label} isOnline={status === "online" || status === "typing"} />
      <div class="who">
        <h2><bdi>{label}</bdi></h2>
        <p>
          {who.trust === "verified" && <span class="trust good"><Icon name="verified" />verified</span>}
          {who.trust === "unverified" && <span class="trust">not verified</span>}
          {who.trust === "changed" && <span class="trust bad"><Icon name="alert" />new key</span>}
          <Presence who={who} />
        </p>
      </div>
      {who.trust !== "changed" && (
        <button type="button" class="quiet compare" aria-label="Compare" title="Compare safety numbers" onClick={() => (panel.value = { at: "verify", peer: who.peer })}>
          <Icon name="shield" />
          <span>Compare</span>
        </button>
      )}
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
      <More who={who} />
    </header>
  );
}

function Presence({ who }: { readonly who: Talk }) {
  const now = minute.value;
  const { status, lastSeen } = who.presence;
  if (status === "online" || status === "typing") return <span>online</span>;
  if (status === "idle") return <span>away</span>;
  if (status === "offline" && lastSeen !== null) return <span>last seen {moment(lastSeen, now)}</span>;
  return status === "offline" ? <span>offline</span> : null;
}

function More({ who }: { readonly who: Talk }) {
  const { peer } = who;
  const choose = (at: "rename" | "remove" | "block") => () => (panel.value = { at, peer });
  return (
    <Menu label="More" icon="more">
      {(close) => (
        <ul>
          <Entry onClick={choose("rename")} close={close}>Rename</Entry>
          {who.isBlocked ? (
            <Entry onClick={() => attempt(api().block({ peer, isBlocked: false }))} close={close}>Unblock</Entry>
          ) : (
            <Entry onClick={choose("block")} close={close}>Block</Entry>
          )}
          <Entry onClick={choose("remove")} close={close}>Remove</Entry>
        </ul>
      )}
    </Menu>
  );
}

/** What its user must know or decide, in the worker's words. */
function NoticeOf({ who }: { readonly who: Talk }) {
  const { notice } = who;
  const action = useAction();
  if (notice === null || who.trust === "changed") return null;
  const canAllow = /older|classical|downgrade/.test(notice.code) && !who.allowsOlder;
  return (
    <div class="banner notice">
      <Icon name="alert" />
      <div>
        <p>{sentence(notice.text)}</p>
        <Refusal text={action.fault} />
        {canAllow && (
          <p class="next">
            <button type="button" class="small" disabled={action.isBusy} onClick={() => void action.run(() => api().allowOlder({ peer: who.peer, notice }))}>
              Allow older encryption
            </button>
          </p>
        )}
      </div>
    </div>
  );
}

function Typing({ who }: { readonly who: Talk }) {
  const [isShown, setShown] = useState(false);
  const isTyping = who.presence.status === "typing";
  useEffect(() => {
    setShown(isTyping);
    if (!isTyping) return undefined;
    const timer = setTimeout(() => setShown(false), TYPING_MS);
    return () => clearTimeout(timer);
  }, [isTyping, who.presence]);
  return (
    <p class="typing" aria-live="off">
      {isShown && <><bdi>{labelOf(who)}</bdi> is typing <span class="dots" aria-hidden="true"><i /><i /><i /></span></>}
    </p>
  );
}

/** Where one writes, or why one cannot. */
function Below({ who }: { readonly who: Talk }) {
  const action = useAction();
  const { peer } = who;
  if (who.isBlocked) {
    return (
      <div class="decide">
        <p>You have blocked <bdi>{labelOf(who)}</bdi>. What they write does not reach you.</p>
        <div class="buttons">
          <button type="button" onClick={() => attempt(api().block({ peer, isBlocked: false }))}>Unblock</button>
        </div>
      </div>
    );
  }
  if (who.trust !== "changed") return <Composer who={who} />;
  return (
    <div class="decide changed">
      <p>
        <strong><bdi>{labelOf(who)}</bdi> has a new key.</strong> They may have a new device, or somebody may pretend to be
        them. Nothing is sent until you compare or accept it.
      </p>
      <Refusal text={action.fault} />
      <div class="buttons">
        <button type="button" class="primary" onClick={() => (panel.value = { at: "verify", peer })}>Compare</button>
        <button type="button" disabled={action.isBusy} onClick={() => void action.run(() => api().acceptKey({ peer, key: who.newKey }))}>Accept</button>
      </div>
    </div>
  );
}
