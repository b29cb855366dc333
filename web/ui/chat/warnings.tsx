import { Icon } from "../parts/icon.tsx";
import { talks, type Warning, warnings } from "../model.ts";
import { labelOf } from "../names.ts";
import { sentence } from "../sentences.ts";

/** Sentences that the worker wants its user to read; each stays until it is closed. */
export function Warnings() {
  return (
    <div class="warnings" role="alert">
      {warnings.value.map((one) => <Shown key={one.id} warning={one} />)}
    </div>
  );
}

function Shown({ warning }: { readonly warning: Warning }) {
  const who = talks.value.get(warning.peer ?? "");
  const label = who === undefined ? "" : labelOf(who);
  const { text } = warning.notice;
  return (
    <div class="warning">
      <Icon name="alert" />
      <p>
        {!text.includes(label) && <strong><bdi>{label}</bdi>: </strong>}
        {sentence(text)}
      </p>
      <button
        type="button"
        class="round"
        aria-label="Close this notice"
        onClick={() => (warnings.value = warnings.value.filter(({ id }) => id !== warning.id))}
      >
        <Icon name="close" />
      </button>
    </div>
  );
}
