/**
 * Invitations by link: a text that names a relay, an admin and a token, for others to ask to be added (groups.md,
 * "Links"). The token says nothing of the group; the admin's client knows which it is for.
 */

import { decodeBase64, encodeBase64 } from "../../wire/base64.ts";
import { UsageError } from "../errors.ts";
import { isUserId, plainId, writtenId } from "../ids.ts";

export const TOKEN_BYTES = 16;
/** How often a token serves at most, and for how long. */
export const MAX_USES = 100;
export const MAX_LIFE_MS = 30 * 86_400_000;

/** Characters of a link. */
const MAX_LINK = 600;
const START = "phantom:join?";
const LINK = /^phantom:join\?v=1&relay=([A-Za-z0-9%._~-]+)&admin=(ph1[a-z0-9]+)&token=([A-Za-z0-9_-]{22})$/;

export interface JoinLink {
  /** The relay's URL. */
  readonly relay: string;
  /** User id in base64. */
  readonly admin: string;
  /** 16 bytes. */
  readonly token: Uint8Array;
}

/** The link. */
export function linkText({ relay, admin, token }: JoinLink): string {
  const written = encodeBase64(token).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${START}v=1&relay=${quoted(relay)}&admin=${writtenId(admin)}&token=${written}`;
}

/** Percent-encoded but for letters, digits and `-._~`. */
function quoted(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * Reads a link.
 *
 * @throws UsageError It is none, or has a wrong character.
 */
export function parseLink(given: string): JoinLink {
  const text = given.trim();
  const [, quotedRelay = "", written = "", token64 = ""] = (text.length <= MAX_LINK && LINK.exec(text)) || [];
  if (token64 === "") {
    throw new UsageError("this is not an invitation to a group; ask for the whole link, 'phantom:join?...'");
  }
  const [admin, relay] = [plainId(written), unquoted(quotedRelay)];
  const token = decodeBase64(`${token64.replaceAll("-", "+").replaceAll("_", "/")}==`);
  if (!isUserId(admin) || token === null || !/^wss?:\/\//.test(relay)) {
    throw new UsageError("this invitation is damaged; copy the link again");
  }
  return { relay, admin, token };
}

function unquoted(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

/** Whether a text can only be meant as such a link. */
export function isLink(text: string): boolean {
  return text.trim().startsWith(START);
}
