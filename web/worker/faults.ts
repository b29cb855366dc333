/** Errors as the page is to hear of them: a code, and a sentence for people. */
import type { Fault } from "../api.ts";
import * as errors from "../core/client/errors.ts";
import { VaultFull } from "./storage.ts";

/** A call that cannot be done now; not a fault of the program. */
export class Refused extends errors.UsageError {
  readonly code: Fault["code"];

  constructor(code: Fault["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** What the page hears of an error; the first match counts. */
const CODES: readonly (readonly [new (message: string) => Error, Fault["code"]])[] = [
  [errors.WrongPassphrase, "wrong-passphrase"],
  [errors.VaultDamaged, "damaged"],
  [errors.BackupError, "damaged"],
  [VaultFull, "storage-full"],
  [errors.MessageTooLong, "too-long"],
  [errors.UnknownContact, "unknown-contact"],
  [errors.KeyChanged, "key-changed"],
  [errors.UsageError, "usage"],
];

/** An error as the page hears of it. Of what should not happen it hears no internal text. */
export function faultOf(error: unknown): Fault {
  if (error instanceof Refused) {
    return { code: error.code, text: sentence(error.message) };
  }
  const found = CODES.find(([kind]) => error instanceof kind);
  if (found !== undefined && error instanceof Error) {
    return { code: found[1], text: sentence(error.message) };
  }
  if (error instanceof errors.VaultError) {
    return { code: "internal", text: sentence(error.message) };
  }
  return { code: "internal", text: "An internal error occurred. Nothing that was stored is lost. Reload this page." };
}

/** With a capital letter and a full stop, as a page shows it. */
export function sentence(text: string): string {
  const [first = ""] = text;
  return first.toUpperCase() + text.slice(first.length) + (/[.!?…]$/.test(text) ? "" : ".");
}

/** What is said if a chunk is missing. */
export const NOT_LOADED =
  "Part of this page could not be loaded. Nothing is lost: check your connection, then reload this page.";
