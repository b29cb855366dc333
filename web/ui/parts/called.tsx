/** How somebody is called, where it is read. */
import { labelOf, type Named, saidOf } from "../names.ts";

/** Their name; what they say of themselves stands apart from their id, so that nobody can write one into it. */
export function Called({ who, isBrief = false }: { readonly who: Named; readonly isBrief?: boolean }) {
  const said = saidOf(who, isBrief);
  if (said === null) return <bdi>{labelOf(who)}</bdi>;
  return (
    <span class="called">
      <bdi>{said.name}</bdi> <bdi class="said-id" dir="ltr">({said.id})</bdi>
    </span>
  );
}
