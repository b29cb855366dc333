/** Texts in one line of a list. */

const MOST = 120;
/** Letters that a narrow list shows. */
const SEEN = 18;
const BEFORE = 10;

/** The beginning of a text, or what is around the first place of what was sought in it. */
export function lineOf(text: string, sought = ""): string {
  const at = text.toLocaleLowerCase().indexOf(sought.toLocaleLowerCase());
  const start = Math.min(at - BEFORE, text.length - SEEN);
  if (start <= 0) return oneLine(text);
  const space = text.slice(start, at).search(/\s/);
  return `…${oneLine(text.slice(space < 0 ? at : start + space)).trimStart()}`;
}

function oneLine(text: string): string {
  return text.slice(0, MOST).replace(/\s+/g, " ");
}
