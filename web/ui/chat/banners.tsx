import { Icon } from "../parts/icon.tsx";
import { minute, useNow } from "../parts/clock.ts";
import { api, attempt, connection, devices, isFull, me, ordered, panel } from "../model.ts";
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

function Offline() {
  const link = connection.value;
  const isAway = link !== null && link.state !== "online";
  const now = useNow(isAway ? 500 : 0);
  if (!isAway || now - link.since < QUIET_MS) return <div role="status" />;
  const { state, reason, nextTryAt, waiting } = link;
  // Else only its user lets it connect again.
  const isTried = state === "connecting" || state === "offline";
  return (
    <div class="banner" role="status">
      <Icon name="offline" />
      <div>
        <p>
          <strong>No connection.</strong> {sentence(reason)}{" "}
          {waiting > 0 ? `${count(waiting, "text")} ${waiting === 1 ? "is" : "are"} waiting here.` : "What you write waits here."}
        </p>
        <p class="next">
          {/* Counting down is for the eye alone: a screen reader would speak every second. */}
          <span aria-hidden="true">
            {nextTryAt !== null ? `Next try in ${secondsUntil(nextTryAt, now)} s` : isTried ? "Trying …" : ""}
          </span>
          <button type="button" class="small" onClick={() => attempt(api().retryNow())}>
            {state === "replaced" ? "Use it here" : isTried ? "Try now" : "Try again"}
          </button>
        </p>
      </div>
    </div>
  );
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
