/** Names that people give each other: one form of each, and which can be taken for another. */
import { UsageError } from "./errors.ts";
import { isUserId, looksWritten } from "./ids.ts";
import { isBlank, oneLine } from "./sanitize.ts";

/** Characters of a name. */
export const MAX_NAME = 64;

/** Cyrillic and Greek that looks like Latin. */
const OTHER_SCRIPTS: ReadonlyMap<string, string> = new Map([
  ...zipped("АВЕКМНОРСТУХЅІЈԌЗаеорсухіјѕһԁԛԝьвкмнтгп", "ABEKMHOPCTYXSIJG3aeopcyxijshdqwbbkmhtrn"),
  ...zipped("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαονρικυτγχω", "ABEZHIKMNOPTYXaovpikutyxw"),
]);
/** With Latin and digits among themselves. */
const ALIKE: ReadonlyMap<string, string> = new Map([...OTHER_SCRIPTS, ...zipped("0I\u01311|", "olill")]);
const GROUPS = [
  ["rn", "m"],
  ["vv", "w"],
  ["i", "l"],
  ["j", "l"],
] as const;
const IGNORED = /[\s\u00ad\u034f\u061c\u200b-\u200f\u2060-\u206f\ufe00-\ufe0f]/gu;
/** Nothing to see, or a space so narrow that it parts no words. */
const NARROW = /[\u00ad\u034f\u061c\u2004-\u2006\u2008-\u200f\u202f\u205f-\u206f\ufe00-\ufe0f]/gu;

/**
 * The beginning of a written id (`ids.ts`): all small letters and digits stand in one but "b", "i", "o" and "1", of which
 * the last two look like "0" and "l".
 *
 * With a digit among what is shown of one: four characters, as nobody compares all eight. Without: as many as are shown,
 * in a word of its own.
 */
const BETWEEN = "[-_.:/ \u2010-\u2015]*";
const ONE_AND_FOUR = `(?:1${BETWEEN}(?:[ac-hj-z0-9]${BETWEEN}){4}|l${BETWEEN}(?=[ac-hj-z]{0,7}[0-9])[ac-hj-z0-9]{4})`;
const LIKE_ID = new RegExp(
  `ph${ONE_AND_FOUR}|(?:^|[^a-z0-9])p${BETWEEN}h${BETWEEN}${ONE_AND_FOUR}|(?:^|[^a-z0-9])phl${BETWEEN}[ac-hj-z]{8}`,
  "u",
);

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
  const once = alike(name.replace(IGNORED, "").normalize("NFKC"), ALIKE);
  const text = alike(folded(once), ALIKE);
  return GROUPS.reduce((found, [many, one]) => found.replaceAll(many, one), text);
}

/** Without case. */
export function folded(text: string): string {
  return text.toLowerCase().toUpperCase().toLowerCase();
}

/**
 * Whether somebody may take a part of a name for the beginning of a written id, as strangers are shown by.
 *
 * Letters of other scripts count as what they look like, so do "l", "I" and "|" as "1", and "o" as "0". What cannot stand
 * in an id, or is too short, is none: Philipp and a Phlegmatic may be called that.
 */
export function isLikeId(name: string): boolean {
  const text = alike(name.replace(NARROW, "").normalize("NFKC"), OTHER_SCRIPTS);
  return LIKE_ID.test(folded(text.replace(/I+/gu, stroke).replace(/[|\u0131]/gu, "l")));
}

/** Capital "I": beside another capital it is seen to be a letter, else it is a stroke, as "l" and "1" are. */
function stroke(found: string, start: number, text: string): string {
  const beside = text.slice(Math.max(0, start - 1), start) + text.charAt(start + found.length);
  return (/[A-Z]/u.test(beside) ? "i" : "l").repeat(found.length);
}

function alike(text: string, pairs: ReadonlyMap<string, string>): string {
  return [...text].map((one) => pairs.get(one) ?? one).join("");
}
