/**
 * Links that people give each other: the page's address with `#c=<id>&n=<name>`, or `#g=<link to a group>`; what is behind
 * `#` goes to no server.
 */
import type { Invitation } from "./model.ts";

const JOIN = "phantom:join?";

/** The link to a group in what somebody gave: it, or an address with it; null if there is none. */
export function joinLinkIn(text: string): string | null {
  const trimmed = text.trim();
  if (trimmed.startsWith(JOIN)) return trimmed;
  const link = new URLSearchParams(trimmed.slice(trimmed.indexOf("#") + 1)).get("g");
  return link?.startsWith(JOIN) === true ? link : null;
}

/** What the address invites to, null if to nothing. */
export function invitationIn(fragment: string): Invitation | null {
  const join = joinLinkIn(fragment);
  if (join !== null) return { join };
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
