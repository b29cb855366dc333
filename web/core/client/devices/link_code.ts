/**
 * What a new device shows, so that the first device can find it and be sure of it: a QR code, and a line to paste.
 *
 * Its id certifies its key, so nobody who passes the code on can put another key behind it without changing the code;
 * the secret shows the new device that whoever writes to it has seen the code.
 */
import { InvalidMessage } from "../../crypto/errors.ts";
import { decodeBase64, encodeBase64 } from "../../wire/base64.ts";

export const SECRET_BYTES = 16;
export const ID_BYTES = 32;
export const MAX_CODE_CHARS = 1_024;

const PREFIX = "phantom:link?";
const NAME = /^[a-z]{1,16}$/;
const SHOWN = /^[!-~]*$/;
const RELAY = /^wss?:\/\/[^/?#]/;
/** What the one-line form leaves as it is in a relay's URL: letters, digits, and these. */
const ESCAPED = /[^A-Za-z0-9_.~:/-]/g;

export interface LinkCode {
  /** The URL of the new device's relay. */
  readonly relay: string;
  /** Its raw user id, 32 bytes. */
  readonly id: Uint8Array;
  /** 16 random bytes, good for one link. */
  readonly secret: Uint8Array;
}

/** The code as one line. */
export function linkLine({ relay, id, secret }: LinkCode): string {
  const escaped = relay.replace(ESCAPED, (one) => encodeURIComponent(one).replace(/[!'()*]/g, percent));
  return `${PREFIX}v=1&relay=${escaped}&id=${written(id)}&s=${written(secret)}`;
}

/** A character that `encodeURIComponent` leaves as it is. */
function percent(one: string): string {
  return `%${one.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** Whether a text can only be meant as such a line. */
export function looksLikeLinkLine(text: string): boolean {
  return text.trim().startsWith(PREFIX);
}

/**
 * Reads a code.
 *
 * @throws InvalidMessage It is none, or one of a later version.
 */
export function parseLinkLine(given: string): LinkCode {
  const text = given.trim();
  if (!text.startsWith(PREFIX) || text.length > MAX_CODE_CHARS || !SHOWN.test(text)) {
    throw new InvalidMessage("this is not the code that a new device shows");
  }
  const members = new Map<string, string>();
  for (const part of text.slice(PREFIX.length).split("&")) {
    const at = part.indexOf("=");
    const name = part.slice(0, Math.max(at, 0));
    if (!NAME.test(name) || members.has(name)) {
      throw new InvalidMessage("the code of a new device has a part that it cannot have");
    }
    members.set(name, part.slice(at + 1));
  }
  if (members.get("v") !== "1") {
    throw new InvalidMessage("the code of a new device is of a version that is not known here");
  }
  return {
    relay: relayOf(members.get("relay") ?? ""),
    id: readBytes(members.get("id") ?? "", ID_BYTES),
    secret: readBytes(members.get("s") ?? "", SECRET_BYTES),
  };
}

function relayOf(escaped: string): string {
  let relay = "";
  try {
    relay = decodeURIComponent(escaped);
  } catch {
    // Not UTF-8: nobody's URL.
  }
  const hasForm = SHOWN.test(relay) && RELAY.test(relay) && URL.canParse(relay);
  if (!hasForm || new URL(relay).port === "0") throw new InvalidMessage("the code of a new device names no relay");
  return relay;
}

/** Base64url without padding. */
function written(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Bytes of a length in the one form that there is. */
function readBytes(text: string, size: number): Uint8Array {
  const plain = text.replaceAll("-", "+").replaceAll("_", "/");
  const bytes = decodeBase64(plain.padEnd(Math.ceil(plain.length / 4) * 4, "="));
  if (bytes === null || bytes.length !== size || written(bytes) !== text) {
    throw new InvalidMessage("the code of a new device has a wrong or a missing character");
  }
  return bytes;
}
