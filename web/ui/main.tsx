/** The page begins: the worker first, then what it says. */
import { render } from "preact";
import { App } from "./app.tsx";
import { takeInvitation } from "./invitation.ts";
import { onKey } from "./keys.ts";
import { wearLook } from "./look.ts";
import { api, apply, begin, invite, isBroken, leave, openPeer, stage, unreadTexts } from "./model.ts";
import { countOutside } from "./notify.ts";
import { Guard } from "./parts/guard.tsx";
import { callsOf, startWorker } from "./remote.ts";
import { Broken } from "./screens/stages.tsx";

function fail(): void {
  isBroken.value = true;
}

function tellPresence(): void {
  if (stage.value?.at !== "open") return;
  const status = document.visibilityState === "visible" ? "online" : "idle";
  api().presence({ status }).catch(() => undefined);
}

wearLook();
countOutside(unreadTexts);
invite(takeInvitation());
addEventListener("hashchange", () => invite(takeInvitation()));
addEventListener("popstate", () => openPeer.value !== null && leave());
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", tellPresence);
const root = document.getElementById("app");
if (root !== null) render(<Guard of={stage} instead={<Broken />}><App /></Guard>, root);
begin(callsOf(startWorker(), apply, fail)).catch(fail);
