/** A sentence as it stands in a text: the worker gives some as they would stand behind a colon. */
export function sentence(text: string): string {
  if (text === "") return "";
  const begun = text.charAt(0).toLocaleUpperCase("en") + text.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}
