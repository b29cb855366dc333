/** How hard a passphrase is to guess, in one plain word: a hint while typing, never a condition. */

/** Characters that the worker asks for. */
export const LEAST = 8;

export type Strength = "weak" | "fair" | "good" | "strong";

/** The beginnings of what is tried first. */
const COMMON = /^(pass(word|phrase)?|qwert[yz]|abc|123|111|000|let ?me ?in|iloveyou|admin|welcome|monkey|dragon|hallo|hello)/iu;
const CLASSES: readonly (readonly [RegExp, number])[] = [
  [/\p{Ll}/u, 26],
  [/\p{Lu}/u, 26],
  [/\p{Nd}/u, 10],
  [/[\p{P}\p{S}]/u, 30],
  [/\p{Lo}/u, 60],
];

/** Characters that are not just the one before, or the next in the alphabet. */
function surprises(text: string): number {
  const codes = [...text].map((char) => char.codePointAt(0) ?? 0);
  return codes.filter((code, at) => at === 0 || Math.abs(code - (codes[at - 1] ?? 0)) > 1).length;
}

/** The word for a passphrase; null for an empty one. */
export function strengthOf(passphrase: string): Strength | null {
  const text = passphrase.trim();
  if (text === "") return null;
  const pool = CLASSES.reduce((sum, [pattern, size]) => (pattern.test(text) ? sum + size : sum), 0);
  const guessable = COMMON.test(text) ? 8 : 0;
  const letters = Math.max(0, Math.min(surprises(text), new Set(text).size * 2) - guessable);
  const words = new Set(text.split(/\s+/u).filter((word) => word.length > 2)).size;
  // Words are worth less than their letters: some 12 bits each; letters of what people think up, about half of random ones.
  const bits = words > 2 ? Math.max(words * 12.5, letters * 1.6) : letters * Math.log2(pool || 1) * 0.6;
  if (bits < 28) return "weak";
  if (bits < 42) return "fair";
  return bits < 60 ? "good" : "strong";
}
