import type { Connection } from "../../api.ts";
import { Icon } from "../parts/icon.tsx";
import { minute, useNow } from "../parts/clock.ts";
import { api, attempt, connection, devices, isFull, me, ordered, outage, panel } from "../model.ts";
import { sentence } from "../sentences.ts";
import { count, secondsUntil } from "../times.ts";

/** Shorter outages are not worth a word. */
const QUIET_MS = 3000;
/** A profile without a backup for so long is worth a reminder. */
const OLD_BACKUP_MS = 30 * 86_400_000;

/** What concerns all conversations, above their list. */
export function Banners() {
  return (
    <>
      <Offline />
      {isFull.value && (
        <div class="banner bad" role="alert">
          <Icon name="alert" />
          <p>
            <strong>This browser has run out of space.</strong> Nothing can be sent or received until you free some space on
            this device.
          </p>
        </div>
      )}
      <BackupReminder />
    </>
  );
}

/** The connection and its outage, if that has lasted long enough to be worth a word. */
function useOutage(): { readonly link: Connection; readonly reason: string; readonly next: string; readonly act: string } | null {
  const [link, away] = [connection.value, outage.value];
  const now = useNow(away === null ? 0 : 500);
  if (link === null || away === null || now - away.since < QUIET_MS) return null;
  const { state, nextTryAt } = link;
  // Else only its user lets it connect again.
  const isTried = state === "connecting" || state === "offline";
  return {
    link,
    reason: away.reason,
    next: nextTryAt !== null ? `Next try in ${secondsUntil(nextTryAt, now)} s` : isTried ? "Trying …" : "",
    act: state === "replaced" ? "Use it here" : isTried ? "Try now" : "Try again",
  };
}

function Offline() {
  const out = useOutage();
  if (out === null) return <div role="status" />;
  const { waiting } = out.link;
  return (
    <div class="banner" role="status">
      <Icon name="offline" />
      <div>
        <p>
          <strong>No connection.</strong> {sentence(out.reason)}{" "}
          {waiting > 0 ? `${count(waiting, "text")} ${waiting === 1 ? "is" : "are"} waiting here.` : "What you write waits here."}
        </p>
        <p class="next">
          {/* Counting down is for the eye alone: a screen reader would speak every second. */}
          {out.next !== "" && <span class="tries" aria-hidden="true">{out.next}</span>}
          <TryNow>{out.act}</TryNow>
        </p>
      </div>
    </div>
  );
}

/** The same in one line above an open conversation, where a phone hides the list. */
export function OfflineLine() {
  const out = useOutage();
  return (
    <div class="outage" role="status">
      {out !== null && (
        <p>
          <Icon name="offline" />
          <strong>No connection</strong>
          {out.next !== "" && <span class="tries" aria-hidden="true">{out.next}</span>}
          <TryNow>{out.act}</TryNow>
        </p>
      )}
    </div>
  );
}

function TryNow({ children }: { readonly children: string }) {
  return <button type="button" class="small" onClick={() => attempt(api().retryNow())}>{children}</button>;
}

function BackupReminder() {
  const now = minute.value;
  const who = me.value;
  if (who === null || ordered.value.length === 0 || panel.value !== null) return null;
  if (devices.value?.isFirst === false) return null; // another one is linked in its place
  if (who.backupAt !== null && now - who.backupAt < OLD_BACKUP_MS) return null;
  if (who.backupAt === null && who.isKept === true && ordered.value.length < 2) return null;
  return (
    <div class="banner soft">
      <Icon name="key" />
      <div>
        <p>
          {who.backupAt === null
            ? "Your keys exist only in this browser, and browsers can lose them."
            : "Your last backup is more than a month old."}
        </p>
        <p class="next">
          <button type="button" class="small" onClick={() => (panel.value = { at: "backup" })}>Save a backup</button>
        </p>
      </div>
    </div>
  );
}
