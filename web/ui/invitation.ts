/** Links that people give each other: the page's address with `#c=<id>&n=<name>`; what is behind `#` goes to no server. */
import type { Invitation } from "./model.ts";

/** What the address invites to, null if to nothing. */
export function invitationIn(fragment: string): Invitation | null {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const who = given.get("c")?.trim() ?? "";
  // A "+" of base64 that was not escaped has become a space.
  return who === "" ? null : { who: who.replaceAll(" ", "+"), name: (given.get("n") ?? "").slice(0, 64) };
}

/** The host of a link that another page than this one has made; null for anything else. */
export function otherHost(text: string, here: string): string | null {
  if (!/^https?:/i.test(text.trim()) || !URL.canParse(text.trim())) return null;
  const link = new URL(text.trim());
  return invitationIn(link.hash) === null || link.host === new URL(here).host ? null : link.host;
}

/** As above, from this page's address, which forgets it: it shall not stay in the history of the browser. */
export function takeInvitation(): Invitation | null {
  const found = invitationIn(location.hash);
  if (found !== null) history.replaceState(null, "", location.href.split("#")[0]);
  return found;
}
