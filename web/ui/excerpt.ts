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

/** Of a longer text, so much is shown at first. */
const MOST_LINES = 40;
const MOST_CHARACTERS = 4_000;

/** The beginning of a very long text; null of one that is shown as a whole. */
export function beginningOf(text: string): string | null {
  let end = -1;
  for (let lines = 0; lines < MOST_LINES; lines++) {
    end = text.indexOf("\n", end + 1);
    if (end === -1) break;
  }
  if (end === -1 && text.length <= MOST_CHARACTERS) return null;
  const cut = text.slice(0, end === -1 ? MOST_CHARACTERS : Math.min(end, MOST_CHARACTERS));
  return cut.replace(/[\ud800-\udbff]$/, "");
}
