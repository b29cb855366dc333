/** What is sent again goes behind what is sent for the first time: it may be much, for a device that was linked. */
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import type { Pacing } from "../pacing.ts";
import type { ManyMessage } from "./store.ts";

/** Messages of a minute that what is sent again leaves to what was not sent yet. */
export const KEEP_FREE = 10;

/** A message, and those to whom it may leave now. */
type Ready = readonly [ManyMessage, readonly string[]];

/** Whether a message goes to nobody now but those to whom it is sent again. */
export function isAgain([{ copies }, peers]: Ready): boolean {
  return peers.length > 0 && peers.every((peer) => (copies.get(peer)?.resends ?? 0) > 0);
}

/** The same messages, those behind the others that are only sent again. */
export function againLast(ready: readonly Ready[]): readonly Ready[] {
  return [...ready.filter((one) => !isAgain(one)), ...ready.filter(isAgain)];
}

/** Whether what is sent again would leave enough of this minute. */
export function hasRoom(pacing: Pacing, link: Link, { monotonic }: Moment): boolean {
  const limit = link.limit("MESSAGE");
  return limit === null || pacing.free("MESSAGE", limit, monotonic) > Math.min(KEEP_FREE, Math.floor(limit / 2));
}
