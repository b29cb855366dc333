import { Field } from "../parts/field.tsx";

/** MAX_NAME_BYTES of protocol/groups.md. */
const MOST_BYTES = 128;

/** How much too long the name of a group is; in bytes, of which a letter that is not English takes two or more. */
export function tooLongBy(name: string): number {
  return Math.max(0, new TextEncoder().encode(name.trim().normalize("NFC")).length - MOST_BYTES);
}

interface GroupNameProps {
  readonly value: string;
  onValue(value: string): void;
  readonly hasFocus?: boolean;
  readonly hint?: string;
}

/** Where a group is named: nothing is cut off without a word. */
export function GroupName({ hint, ...given }: GroupNameProps) {
  const fault = tooLongBy(given.value) > 0 ? "This name is too long. Choose a shorter one." : "";
  return <Field label="Name of the group" isRequired fault={fault} {...given} {...(hint === undefined ? {} : { hint })} />;
}
