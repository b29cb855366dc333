/**
 * Texts of others, made safe to show in one line: a peer or a relay must not change what stands beside its words.
 *
 * Whatever changes what is seen elsewhere (control characters, embeddings, overrides and isolates of the direction of
 * writing) is shown as its code point; so is what nobody would see. What scripts and emoji need stays. The texts of
 * conversations are isolated by the page instead, and shown as they are.
 */

/** Characters of a name or a sentence that are shown. */
export const MAX_LINE = 300;

/** Characters of a relay's own words that are shown. */
export const MAX_QUOTED = 160;

/** What looks like the end of a quotation; within a word it is an apostrophe. */
const QUOTES = /\B['"`´′″‚„\p{Pi}\p{Pf}]|['"`´′″‚„\p{Pi}\p{Pf}]\B/gu;

const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;

/**
 * Characters of the category Cf that may be shown: soft hyphen; marks of direction, which turn nothing beyond their
 * neighbours; spaces of no width and joiners, in Khmer, Thai, Persian, Indic scripts and emoji; signs under numbers;
 * how hieroglyphs are arranged.
 */
const FORMATS = new RegExp(
  "[\\u00ad\\u061c\\u200e\\u200f\\u200b\\u200c\\u200d\\u2060\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2" +
    "\\u{110bd}\\u{110cd}\\u{13430}-\\u{1343f}]",
  "u",
);

/** White space, and what nobody sees: Unicode's Default_Ignorable_Code_Point, and the empty Braille sign. */
const BLANK = /^[\s\p{Default_Ignorable_Code_Point}\u2800\ufff0-\ufff8]*$/u;

/** Code points kept for emoji (UTS 51, Extended_Pictographic), of which there are more than this browser knows of. */
const EMOJI = /[\u{1f000}-\u{1faff}\u{1fc00}-\u{1fffd}]/u;
const UNASSIGNED = /\p{Cn}/u;

/** The flag of a part of a country: a black flag, tag letters, the end (UTS 51, ED-14a). */
const FLAG = /(\u{1f3f4}[\u{e0030}-\u{e0039}\u{e0061}-\u{e007a}]{3,6}\u{e007f})/u;

/** A text with what must not be shown as code points, in one line of bounded length: for names and sentences. */
export function oneLine(text: string): string {
  const characters = [...text];
  const line = characters.slice(0, MAX_LINE).join("");
  const shown = line.trim() !== "" && isBlank(line) ? coded(line) : shownOf(line);
  return shown + (characters.length > MAX_LINE ? "…" : "");
}

/** Characters that are shown of what a member says of themselves, so that the id behind it is seen. */
export const MAX_SAID = 24;

/** A text of so many characters at most, with '…' for what is left out. */
export function cut(text: string, most: number): string {
  const characters = [...text];
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("").trimEnd()}…`;
}

/** A name as a part of a sentence, whose direction of writing it does not turn: between FSI and PDI (UAX 9). */
export function isolated(text: string): string {
  return `\u2068${oneLine(text)}\u2069`;
}

/** What a relay says, as a part of a sentence: its words, and seen to be its words to the last. */
export function quoted(text: string): string {
  const characters = [...text];
  const said = characters.slice(0, MAX_QUOTED).join("").replace(QUOTES, "");
  const line = oneLine(said).replace(/[.\s]+$/, "");
  return `the relay said '${line}${characters.length > MAX_QUOTED ? "…" : ""}'`;
}

/** Whether there is nothing to see in a text. */
export function isBlank(text: string): boolean {
  return BLANK.test(text);
}

function shownOf(text: string): string {
  const isFlag = (_: string, index: number): boolean => index % 2 === 1;
  return text
    .split(FLAG)
    .flatMap((part, index) => (isFlag(part, index) ? part : [...part].map((one) => (isShown(one) ? one : code(one)))))
    .join("");
}

function coded(text: string): string {
  return [...text].map((character) => (character === " " ? character : code(character))).join("");
}

function code(character: string): string {
  return `<${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}>`;
}

function isShown(character: string): boolean {
  return (
    !HIDDEN.test(character) || FORMATS.test(character) || (UNASSIGNED.test(character) && EMOJI.test(character))
  );
}
