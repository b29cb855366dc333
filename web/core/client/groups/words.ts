/** What people are told about groups, in sentences. */
import { isolated } from "../sanitize.ts";
import type { Change, Op } from "./change.ts";
import type { GroupRecord } from "./records.ts";

const UNITS = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
  ["second", 1_000],
] as const;

/** How a group is called. */
export function title(name: string): string {
  return name === "" ? "a group without a name" : `“${isolated(name)}”`;
}

/** How a person is called: a name, or "you". */
export type Label = (person: string) => string;

/**
 * What a change does.
 *
 * @param before the group before it. Of members who have said that they leave nobody has to hear that they were removed;
 * and of one who had not accepted it is not everybody's to know whether they have declined.
 * @param byLink whom it adds has opened a link of this user's: it is they who have acted.
 */
export function done({ author, ops }: Change, label: Label, before: GroupRecord, byLink: boolean): string {
  const all = ops ?? [];
  if (byLink) {
    return all.map((op) => ("person" in op ? `${label(op.person)} joins by your link` : "")).join("");
  }
  const gone = all.flatMap((op) => (op.op === "remove" ? [op.person] : []));
  if (gone.length > 0 && gone.length === all.length) {
    const names = capital(listed(gone.map(label)));
    const are = gone.length === 1 ? "is" : "are";
    if (gone.every((person) => before.leaving.includes(person))) {
      return `${names} ${gone.length === 1 ? "is no longer a member" : "are no longer members"}`;
    }
    if (label(author) !== "you" && gone.every((person) => before.absent.includes(person))) {
      return `${names} ${are} no longer invited`;
    }
  }
  const self = label(author) === "you" ? "yourself" : "themselves";
  // Several who are added, or removed, are named together.
  const people = (wanted: (op: Op) => boolean, say: string): string[] => {
    const names = all.flatMap((op) => ("person" in op && wanted(op) ? [label(op.person)] : []));
    return names.length > 0 ? [`${say} ${listed(names)}`] : [];
  };
  const isPlain = (op: Op): boolean => op.op === "add" && op.role === "member";
  const others = all.filter((op) => !isPlain(op) && op.op !== "remove");
  const said = [
    ...people(isPlain, "added"),
    ...people((op) => op.op === "remove", "removed"),
    ...others.map((op) => doneBy(op, (one) => (one === author ? self : label(one)))),
  ];
  return `${capital(label(author))} ${listed(said)}`;
}

function doneBy(op: Op, label: Label): string {
  switch (op.op) {
    case "add":
      return `added ${label(op.person)}${op.role === "admin" ? " as an admin" : ""}`;
    case "remove":
      return `removed ${label(op.person)}`;
    case "role":
      return `made ${label(op.person)} ${op.role === "admin" ? "an admin" : "a member"}`;
    case "name":
      return `renamed the group to ${title(op.text)}`;
    case "timer":
      return op.ms > 0 ? `made texts disappear after ${lasting(op.ms)}` : "turned off disappearing texts";
    case "rights":
      return `allowed ${who(op.write)} to write and ${who(op.invite)} to invite`;
    case "picture":
      return op.data.length > 0 ? "gave the group another picture" : "took the group’s picture away";
    case "close":
      return "closed the group";
  }
}

function who(role: string): string {
  return role === "admin" ? "only admins" : "all members";
}

/** A time in the largest unit that fits it. */
export function lasting(milliseconds: number): string {
  const [unit, size] = UNITS.find(([, one]) => milliseconds % one === 0) ?? ["millisecond", 1];
  const count = milliseconds / size;
  return `${count.toLocaleString("en-US")} ${unit}${count === 1 ? "" : "s"}`;
}

/** Several things in a row. */
export function listed(said: readonly string[]): string {
  const [last = "", ...before] = [...said].reverse();
  return before.length > 0 ? `${before.reverse().join(", ")} and ${last}` : last;
}

/** Why nothing can be done any more in a group of which one was a member. */
export function over(group: string, relation: string): string {
  return relation === "closed" ? `${group} is closed` : `you are no longer a member of ${group}`;
}

/** Texts of a member have not come. */
export function missing(count: number, name: string, group: string): string {
  const [texts, are] = count === 1 ? ["text", "is"] : ["texts", "are"];
  return `${count.toLocaleString("en-US")} ${texts} of ${name} to ${group} ${are} missing`;
}

/** Somebody invites; `isBack`: to a group in which this user was, and they were no admin then. */
export function invited(name: string, isBack: boolean): string {
  return `${name} invited you${isBack ? ", and was no admin of this group when you were in it" : ""}`;
}

/** Somebody invites to another group of the same id than `first` has before. */
export function invitesElsewhere(name: string, first: string): string {
  return (
    `${name} invited you, too, but with other members or other changes than ${first} has shown you. Ask both of them who ` +
    `is right: to see the group of ${name}, leave this one, or decline it`
  );
}

/** Somebody has another group under the same name. */
export function forked(name: string, group: string): string {
  return (
    `${name} has been told other changes of ${group} than you, so its members may not be who you think, and nothing ` +
    "is sent to it now; compare its digits with them and the others"
  );
}

/** Somebody has changed a group with a later version of this page. */
export function newer(name: string, group: string): string {
  return (
    `${name === "you" ? "you have" : `${name} has`} changed ${group} with a newer version of Phantom, so nothing is sent to it now; reload this page later ` +
    "to write to it again, or go on with the members that are shown here"
  );
}

/** A change waits for one of somebody else's. */
export function waiting(name: string, group: string, isOwn: boolean): string {
  if (name === "you") {
    return `you have changed ${group} in a way that is not known here any more; the other members are asked for it`;
  }
  return (
    `${name === "" ? "somebody" : name} changed ${group}${isOwn ? " before you" : ""}, says the relay, and their change has not ` +
    `arrived here; ${isOwn ? "yours follows it" : "whoever has left is removed"} once it comes, when they are online`
  );
}

/** With a capital at its beginning, if that is a letter. */
export function capital(text: string): string {
  return text === "you" ? "You" : text;
}
