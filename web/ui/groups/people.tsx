/** People as groups show them. */
import type { ComponentChildren } from "preact";
import type { Group, GroupMember, GroupPerson } from "../../groups_api.ts";
import { Avatar } from "../parts/avatar.tsx";
import { Called } from "../parts/called.tsx";
import { me } from "../model.ts";
import { labelOf, plainName } from "../names.ts";

/** What is said of the name that one says to members. */
export const OWN_NAME = "What members can call you (optional)";
export const OWN_NAME_HINT = "Shown to those who have not added you, beside your ID. The relay cannot read it.";

interface PersonLineProps {
  readonly person: GroupPerson;
  /** What stands below the name. */
  readonly children?: ComponentChildren;
}

/** Picture, name, and something about them. */
export function PersonLine({ person, children }: PersonLineProps) {
  const label = nameOf(person);
  return (
    <span class="person">
      <Avatar id={person.peer} label={label} />
      <span>
        <strong>{person.isMe ? <><bdi>{label}</bdi> (you)</> : <Called who={person} />}</strong>
        {children !== undefined && <small>{children}</small>}
      </span>
    </span>
  );
}

/** What the user calls somebody, and themselves. */
function nameOf(person: GroupPerson): string {
  return person.isMe ? plainName(me.value?.name ?? "") : labelOf(person);
}

/** What there is to say of a member, in a few words. */
export function wordsOf({ role, hasJoined, isLeaving, trust, isMe }: GroupMember): string {
  const words = [role === "admin" ? "admin" : "", hasJoined ? "" : "has not accepted yet", isLeaving ? "is leaving" : "", isMe ? "" : TRUST[trust]];
  return words.filter((word) => word !== "").join(", ");
}

const TRUST = { verified: "verified", unverified: "not verified", changed: "new key" } as const;

/** Admins first, then by name; oneself at the end. */
export function inOrder({ members }: Group): readonly GroupMember[] {
  const rank = ({ isMe, role }: GroupMember) => (isMe ? 2 : role === "admin" ? 0 : 1);
  return members.toSorted((a, b) => rank(a) - rank(b) || labelOf(a).localeCompare(labelOf(b)));
}
