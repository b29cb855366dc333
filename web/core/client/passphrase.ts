/**
 * Passphrases in one form, so that the same one opens a file whatever machine it is typed on.
 *
 * The form is that of RFC 8265, section 4.2 (OpaqueString): other spaces are U+0020, then Unicode's NFC. A line end
 * behind it, as files with secrets have, does not belong to it. See protocol/encryption.md, Passphrases.
 */
import { UsageError } from "./errors.ts";

/** The bytes of a passphrase for something new; throws a UsageError if it is empty, or no text to be typed again. */
export function chosen(text: string, what: string): Uint8Array {
  const normal = normalOf(text);
  if (normal === "") {
    throw new UsageError(`${what} needs a passphrase; choose one`);
  }
  if (/\p{Cc}/u.test(normal)) {
    throw new UsageError(`the passphrase of ${what} contains a control character; choose one without`);
  }
  return encoded(normal, what);
}

/**
 * What may have been meant when something is opened, most likely first.
 *
 * The form above; then, for what was made before it was asked for: as it was given, without the line end, and as some
 * keyboards give it, decomposed (NFD). Mostly all are the same, and there is one to try. Throws a UsageError if it is
 * no text.
 */
export function candidates(text: string, what: string): Uint8Array[] {
  const line = lineOf(text);
  const found = new Set([normalOf(text), text, line, line.normalize("NFD")]);
  return [...found].map((one) => encoded(one, what));
}

function normalOf(text: string): string {
  return lineOf(text).replace(/\p{Zs}/gu, " ").normalize("NFC");
}

function lineOf(text: string): string {
  return text.replace(/\n$/, "").replace(/\r$/, "");
}

function encoded(text: string, what: string): Uint8Array {
  if (/\p{Cs}/u.test(text)) {
    throw new UsageError(`the passphrase of ${what} contains half a character; use another one`);
  }
  return new TextEncoder().encode(text);
}
