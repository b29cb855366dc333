import { Dialog } from "../parts/dialog.tsx";
import { look } from "../look.ts";

/** All keys. */
export function Keys() {
  const isSending = look.value.enterSends;
  const keys: readonly (readonly [readonly string[], string])[] = [
    [["Enter"], isSending ? "send" : "new line"],
    [["Shift", "Enter"], isSending ? "new line" : "send"],
    [["Alt", "↑"], "conversation above"],
    [["Alt", "↓"], "conversation below"],
    [["Alt", "U"], "next unread conversation"],
    [["Ctrl", "K"], "search people and texts"],
    [["Ctrl", "F"], "search in this conversation"],
    [["Page ↑"], "older texts"],
    [["Page ↓"], "newer texts"],
    [["Esc"], "close, or go to the text box"],
    [["F1"], "this list"],
  ];
  return (
    <Dialog title="Keyboard shortcuts">
      <dl class="keys">
        {keys.map(([names, what]) => (
          <div key={what}>
            <dt>{names.map((name) => <kbd key={name}>{name}</kbd>)}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p class="hint">Type any letter to move to the text box.</p>
    </Dialog>
  );
}
