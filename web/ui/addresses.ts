/** Addresses in what people write: of the web alone, so that nothing that is followed runs code in this page. */

const ADDRESS = /https?:\/\/[^\s<>"'\u2028-\u202e\u2066-\u2069]+/giu;
/** What may stand behind an address and does not belong to it. */
const BEHIND = new Set(".,:;!?)]}»”’");

/** Where each address begins, and the address, in order. */
export function addressesIn(text: string): readonly { readonly at: number; readonly address: string }[] {
  return [...text.matchAll(ADDRESS)]
    .map((match) => ({ at: match.index, address: withoutEnd(match[0]) }))
    .filter(({ address }) => URL.canParse(address));
}

/** Character by character: a pattern for the end of a text takes the square of its length, which a peer chooses. */
function withoutEnd(found: string): string {
  let end = found.length;
  while (BEHIND.has(found.charAt(end - 1))) end -= 1;
  return found.slice(0, end);
}
