/** Names as they are shown. */
/** What turns the direction of writing, or is not seen at all. */
const HIDDEN = /[\p{Cc}\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/gu;
const graphemes = new Intl.Segmenter();

/** Characters that are shown of what somebody says of themselves, so that the id is seen. */
const MAX_SAID = 24;

/** A name of somebody else in which nothing is hidden: such characters are shown as their code points. */
export function plainName(name: string): string {
  return name.replace(HIDDEN, (char) => `<U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}>`);
}

/** Characters of a written id that stand for somebody without a name: as many as in the worker's sentences. */
const ID_SHOWN = 11;
/** The same of the author in a preview, which needs the line for the text. */
const PREVIEW = { said: 10, id: 7 } as const;

/** The beginning of a written id, to tell people without a name apart. */
export function shortId(writtenId: string, shown = ID_SHOWN): string {
  return writtenId.length > shown ? `${writtenId.slice(0, shown)}…` : writtenId;
}

/** Whoever is shown: a conversation, or a member of a group, who may have no name but the one that they say. */
export interface Named {
  readonly name: string;
  readonly twin?: string;
  readonly says?: string;
  readonly writtenId?: string;
}

/**
 * How a conversation is called, or a member; a group by more than its name, if that is not its alone (`twin`), and what
 * somebody says of themselves never without their id.
 */
export function labelOf({ name, twin = "", says = "", writtenId }: Named): string {
  const id = writtenId === undefined ? "Group without a name" : shortId(writtenId);
  const said = saidOf({ name, says, ...(writtenId === undefined ? {} : { writtenId }) });
  const called = name !== "" ? plainName(name) : said !== null ? `${said.name} (${said.id})` : id;
  return twin === "" ? called : `${called} (${twin})`;
}

/**
 * What somebody without a name says of themselves, and the id that tells them apart; null if nothing of that counts.
 * `isBrief`: for a preview.
 */
export function saidOf({ name, says = "", writtenId }: Named, isBrief = false): { readonly name: string; readonly id: string } | null {
  if (name !== "" || says === "" || writtenId === undefined) return null;
  const [most, shownOfId] = isBrief ? [PREVIEW.said, PREVIEW.id] : [MAX_SAID, ID_SHOWN];
  const characters = [...graphemes.segment(says)].map(({ segment }) => segment);
  const shown = characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : says;
  return { name: `~${plainName(shown)}`, id: shortId(writtenId, shownOfId) };
}

/** The letter in a round picture. */
export function initialOf(label: string): string {
  for (const { segment } of graphemes.segment(label)) if (/[\p{L}\p{N}\p{So}]/u.test(segment)) return segment.toLocaleUpperCase();
  return "?";
}

/** One of eight colours, the same for the same id. */
export function hueOf(peer: string): number {
  let sum = 0;
  for (const char of peer) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 65_521;
  return sum % 8;
}
