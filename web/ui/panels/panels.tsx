import { useEffect, useState } from "preact/hooks";
import { panel, warn } from "../model.ts";
import { closePanel } from "../parts/dialog.tsx";
import { Backup } from "./backup.tsx";
import { BlockPanel, Remove, Rename } from "./contact.tsx";
import { DeleteAccount } from "./delete.tsx";
import { Keys } from "./keys.tsx";
import { MyId } from "./me.tsx";
import { NewConversation } from "./new.tsx";
import { SettingsPanel } from "./settings.tsx";
import { Verify } from "./verify.tsx";

export { Finder } from "../chat/finder.tsx";
export { Request } from "../chat/request.tsx";

/** What lies over the conversations at the moment. */
export function Panels() {
  const now = panel.value;
  if (now === null) return null;
  switch (now.at) {
    case "new":
      return <NewConversation key={now.who} who={now.who} name={now.name} />;
    case "me":
      return <MyId />;
    case "settings":
      return <SettingsPanel />;
    case "devices":
      return <Devices shows={now.shows} />;
    case "backup":
      return <Backup />;
    case "delete":
      return <DeleteAccount />;
    case "keys":
      return <Keys />;
    case "verify":
      return <Verify peer={now.peer} />;
    case "rename":
      return <Rename peer={now.peer} />;
    case "remove":
      return <Remove peer={now.peer} />;
    case "block":
      return <BlockPanel peer={now.peer} />;
  }
}

/** A chunk of its own: few people have several devices. */
function Devices({ shows }: { readonly shows?: string | undefined }) {
  const [Loaded, setLoaded] = useState<(typeof import("./devices.tsx"))["DevicesPanel"] | null>(null);
  useEffect(() => {
    import("./devices.tsx").then(
      ({ DevicesPanel }) => setLoaded(() => DevicesPanel),
      () => {
        warn(null, { code: "refused", text: "Part of this page could not be loaded. Check your connection, then try again." });
        closePanel();
      },
    );
  }, []);
  return Loaded === null ? null : <Loaded shows={shows} />;
}
