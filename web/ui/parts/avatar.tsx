import { hueOf, initialOf } from "../names.ts";

/** A round picture made of a letter; the name stands beside it. */
export function Avatar({ id, label, isOnline = false }: { readonly id: string; readonly label: string; readonly isOnline?: boolean }) {
  return (
    <span class={`avatar hue-${hueOf(id)}`} aria-hidden="true">
      {initialOf(label)}
      {isOnline && <span class="dot" />}
    </span>
  );
}
