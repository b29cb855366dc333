/** Texts in one line of a list, which shows about thirty letters of them. */

const MOST = 120;
const BEFORE = 12;

/** The beginning of a text, or what is around the first place of what was sought in it. */
export function lineOf(text: string, sought = ""): string {
  const at = text.toLocaleLowerCase().indexOf(sought.toLocaleLowerCase());
  if (at <= BEFORE) return oneLine(text);
  const space = text.slice(at - BEFORE, at).search(/\s/);
  const from = space < 0 ? at : at - BEFORE + space;
  return `…${oneLine(text.slice(from)).trimStart()}`;
}

function oneLine(text: string): string {
  return text.slice(0, MOST).replace(/\s+/g, " ");
}
