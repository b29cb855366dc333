import { Code } from "../parts/code.tsx";
import { Copy } from "../parts/copy.tsx";
import { Dialog } from "../parts/dialog.tsx";
import { me } from "../model.ts";

/** What one gives to others, so that they can write. */
export function MyId() {
  const who = me.value;
  if (who === null) return null;
  const share = () => navigator.share({ title: "Phantom", url: who.link }).catch(() => undefined);
  return (
    <Dialog title="My ID and link">
      <p>Give this to people who should be able to write to you. It is not secret: it only lets them ask.</p>
      <Code text={who.link} label="My link as a QR code" />
      <dl class="facts">
        <dt>My link</dt>
        <dd class="mono">{who.link}</dd>
        <dt>My ID</dt>
        <dd class="mono">{who.writtenId}</dd>
      </dl>
      <div class="buttons">
        <Copy text={who.link} label="Copy the link" />
        <Copy text={who.writtenId} label="Copy the ID" />
        {"share" in navigator && <button type="button" onClick={() => void share()}>Share</button>}
      </div>
    </Dialog>
  );
}
