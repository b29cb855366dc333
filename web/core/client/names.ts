/** Names that people give each other: one form of each, and which can be taken for another. */
import { UsageError } from "./errors.ts";
import { isUserId, looksWritten } from "./ids.ts";
import { isBlank, oneLine } from "./sanitize.ts";

/** Characters of a name. */
export const MAX_NAME = 64;

/** What looks like what: Cyrillic, Greek, and Latin and digits among themselves. */
const ALIKE: ReadonlyMap<string, string> = new Map([
  ...zipped("АВЕКМНОРСТУХЅІЈԌЗаеорсухіјѕһԁԛԝьвкмнтгп", "ABEKMHOPCTYXSIJG3aeopcyxijshdqwbbkmhtrn"),
  ...zipped("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικυτγχω", "ABEZHIKMNOPTYXaovpikutyxw"),
  ...zipped("0I\u01311|", "olill"),
]);
const GROUPS = [
  ["rn", "m"],
  ["vv", "w"],
  ["i", "l"],
  ["j", "l"],
] as const;
const IGNORED = /[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f]/gu;

function zipped(many: string, others: string): [string, string][] {
  const found = [...others];
  return [...many].map((one, index) => [one, found[index] ?? one]);
}

/**
 * A name in its one form (NFC, without white space around).
 *
 * Throws a UsageError if it cannot be a name: empty, blank, too long, of several lines, with what must not be shown, or
 * a user id.
 */
export function checkedName(given: string): string {
  const name = normalName(given);
  const isId = isUserId(name) || looksWritten(name);
  if (name === "" || [...name].length > MAX_NAME || isBlank(name) || oneLine(name) !== name || isId) {
    throw new UsageError(`a name needs 1 to ${MAX_NAME} printable characters and cannot be a user ID; choose another`);
  }
  return name;
}

/** The form in which names are compared: composed, however they were typed. */
export function normalName(name: string): string {
  return name.normalize("NFC").trim();
}

/**
 * What is left of a name to the eye: names with the same are taken for each other.
 *
 * A small part of UTS 39 (Confusable Detection): compatibility forms, case, and the letters and digits of Latin, Greek
 * and Cyrillic that look alike; not those of other scripts.
 */
export function skeleton(name: string): string {
  const once = alike(name.replace(IGNORED, "").normalize("NFKC"));
  const text = alike(folded(once));
  return GROUPS.reduce((found, [many, one]) => found.replaceAll(many, one), text);
}

/** Without case. */
export function folded(text: string): string {
  return text.toLowerCase().toUpperCase().toLowerCase();
}

function alike(text: string): string {
  return [...text].map((one) => ALIKE.get(one) ?? one).join("");
}
