/** What a user sees of groups: values of `groups_api.ts`, made of the stores each time. */
import type { Item, Mark, Page } from "../../../api.ts";
import type {
  Copies,
  Copy,
  Group as ShownGroup,
  GroupInvitation,
  GroupMember,
  GroupPerson,
  InGroup,
} from "../../../groups_api.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { writtenId } from "../ids.ts";
import { wallAt } from "../moment.ts";
import type { Moment } from "../moment.ts";
import { skeleton } from "../names.ts";
import * as coreRecords from "../records.ts";
import { oneLine } from "../sanitize.ts";
import { DeliveryState } from "../status.ts";
import type { Stores } from "../stores.ts";
import { MARKS } from "../view.ts";
import type { Groups } from "./groups.ts";
import { invitationsOf, wasNoAdmin } from "./invitations.ts";
import { memberOf } from "./naming.ts";
import { Persons } from "./persons.ts";
import { pictureName, typeOf } from "./picture.ts";
import { eventsOf, textsOf } from "./records.ts";
import type { GroupEventRecord, GroupTextRecord } from "./records.ts";
import { mayInvite, mayWrite } from "./state.ts";
import { idOf, keyOf, stateOf } from "./store.ts";
import type { Group } from "./store.ts";

/** Of an id, to tell groups apart whose names look alike. */
const BEGINNING = 6;

/** Everything that is shown of the groups of a profile. */
export class GroupView {
  readonly #stores: Stores;
  readonly #groups: Groups;
  readonly #persons: Persons;
  /** Ids of groups whose names are not theirs alone. */
  #alike: ReadonlySet<string> = new Set();

  constructor(stores: Stores, groups: Groups, ownId: string) {
    this.#stores = stores;
    this.#groups = groups;
    this.#persons = new Persons({ stores, ownId });
  }

  // --- groups -----------------------------------------------------------------------

  /** Names may be others now: which groups look by theirs like a contact, or another group, and did not, or no more. */
  compareNames(): string[] {
    const found = new Map<string, string[]>();
    const note = (name: string, group: string): void => {
      const looks = skeleton(name);
      found.set(looks, [...(found.get(looks) ?? []), group]);
    };
    for (const { name } of this.#stores.book.everybody()) {
      if (name !== "") note(name, "");
    }
    for (const group of this.#groups.store.all()) {
      note(stateOf(group).name, idOf(group));
    }
    const before = this.#alike;
    const alike = [...found.values()].filter((several) => several.length > 1).flat();
    this.#alike = new Set(alike.filter((group) => group !== ""));
    return [...new Set([...before, ...this.#alike])].filter((group) => before.has(group) !== this.#alike.has(group));
  }

  /** A group as it is now. */
  shown(group: Group, now: Moment): ShownGroup {
    const { record } = group;
    const state = stateOf(group);
    const id = idOf(group);
    const isIn = record.relation === "member";
    const isClear = isIn && record.doubt === "";
    const role = state.members.get(this.#persons.own) ?? null;
    const { book, vault } = this.#stores;
    return {
      key: keyOf(id),
      name: state.name === "" ? "" : oneLine(state.name),
      twin: this.#alike.has(id) ? id.slice(0, BEGINNING) : "",
      relation: record.relation as ShownGroup["relation"],
      role: isIn ? role : null,
      inviter: record.inviter === "" ? null : this.#person(record.inviter, group),
      wasNoAdmin: wasNoAdmin(record),
      isRequest: record.relation === "invited" && !book.isKnown(record.inviter),
      doubt: record.doubt as ShownGroup["doubt"],
      rival: record.rival === "" || record.doubt === "" ? null : this.#person(record.rival, group),
      isBehind: this.#groups.isBehind(group),
      isWaiting: this.#groups.isWaiting(group),
      members: [...state.members].map(([person, one]): GroupMember => {
        const [hasJoined, isLeaving] = [!record.absent.includes(person), record.leaving.includes(person)];
        return { ...this.#person(person, group), role: one, hasJoined, isLeaving };
      }),
      picture: pictureOf(record.picture),
      expiresIn: state.timer > 0 ? state.timer : null,
      invite: state.invite,
      write: state.write,
      mayWrite: isClear && mayWrite(state, this.#persons.own) && state.members.size > 1,
      mayInvite: isClear && this.#persons.isFirst && (role === "admin" || mayInvite(state, this.#persons.own)),
      mayChange: isClear && this.#persons.isFirst && role === "admin",
      mayLeave: this.#persons.isFirst && this.#groups.mayLeave(group),
      isMuted: record.muted,
      ownName: record.ownName,
      unread: record.relation === "invited" ? 0 : this.#groups.store.unread(id),
      draft: vault.find(coreRecords.DRAFT, keyOf(id))?.text ?? "",
      last: record.relation === "invited" ? null : (this.page(group, now, { before: null, limit: 1 }).items[0] ?? null),
      waiting: isIn ? record.wishes.length : 0,
      revision: state.revision,
      notice: null,
    };
  }

  /** To which groups a stranger invites; null if they say something about groups, and invite to none. */
  invitationsOf(stranger: string, now: Moment): GroupInvitation[] | null {
    const found = invitationsOf(this.#stores, stranger, this.#persons.own, now.persistent);
    const shown = found?.map(({ members, name, timer }) => {
      const people = [...members.keys()].map((person) => this.#person(person));
      return {
        name: name === "" ? "" : oneLine(name),
        members: members.size,
        admins: [...members.values()].filter((role) => role === "admin").length,
        known: people.filter((one) => !one.isMe && one.name !== ""),
        expiresIn: timer > 0 ? timer : null,
      };
    });
    return shown ?? null;
  }

  #person(person: string, group: Group | null = null): GroupPerson {
    const contact = this.#stores.book.contact(person);
    const isMe = person === this.#persons.own;
    const name = isMe || contact.name === "" ? "" : oneLine(contact.name);
    const says = isMe || group === null ? "" : (memberOf(group, contact).says ?? "");
    return { peer: person, writtenId: writtenId(person), name, says, trust: contact.trust, isMe };
  }

  // --- items ------------------------------------------------------------------------

  /** At most `limit` items of a group before a position, or the newest. */
  page(group: Group, now: Moment, { before, limit }: { readonly before: number | null; readonly limit: number }): Page {
    const items: Item[] = [];
    if (group.record.relation === "invited") {
      return { items, hasOlder: false };
    }
    for (const item of this.#newest(group, now, before ?? Number.POSITIVE_INFINITY)) {
      if (items.length === limit) {
        return { items: items.reverse(), hasOlder: true };
      }
      items.push(item);
    }
    return { items: items.reverse(), hasOlder: false };
  }

  /** Texts and events, the newest first. */
  *#newest(group: Group, now: Moment, before: number): Generator<Item> {
    const { vault } = this.#stores;
    const texts = vault.backwards(textsOf(group.record.number), before);
    const events = vault.backwards(eventsOf(group.record.number), before);
    let [text, event] = [texts.next(), events.next()];
    while (text.done !== true || event.done !== true) {
      if (event.done === true || (text.done !== true && text.value[0] > event.value[0])) {
        const [position, record] = text.value as [number, GroupTextRecord];
        yield this.#textItem(group, record, position, now);
        text = texts.next();
      } else {
        const [position, record] = event.value;
        yield this.#eventItem(group, record, position);
        event = events.next();
      }
    }
    for (const [position, record] of this.#groups.store.past.newest(idOf(group), before)) {
      yield this.#textItem(group, record, position, now);
    }
  }

  /** The item of a text; null if there is none, or nothing is shown of its group yet. */
  text(group: Group, sender: string, messageId: string, now: Moment): Item | null {
    const record = group.record.relation === "invited" ? null : this.#groups.store.text(group, sender, messageId);
    const position = this.#groups.store.position(group, sender, messageId);
    return record === null ? null : this.#textItem(group, record, position, now);
  }

  /** The item of what has happened, by the name of its record. */
  event(group: Group, name: string): Item | null {
    const kind = eventsOf(group.record.number);
    const record = group.record.relation === "invited" ? null : this.#stores.vault.find(kind, name);
    return record === null ? null : this.#eventItem(group, record, this.#stores.vault.position(kind, name));
  }

  #textItem(group: Group, record: GroupTextRecord, position: number, now: Moment): Item {
    const { expiresAt, keptAt, messageId, sender, sentAt, state, text } = record;
    const isMine = sender === "";
    const isOver = expiresAt !== null && expiresAt <= now.persistent;
    const isGone = text === null || isOver;
    const isFailed = state === DeliveryState.FAILED;
    const id = idOf(group);
    return {
      ...blank(group, position, isMine ? sentAt : keptAt), // an own one may come from another device, late
      id: isMine ? messageId : `${messageId} ${sender}`,
      isMine,
      kind: isGone ? "gone" : "text",
      text: isGone ? "" : text,
      mark: !isMine || (isGone && isFailed) ? null : isGone ? "expired" : markOf(state),
      expiresAt: expiresAt === null ? null : wallAt(now, expiresAt),
      isUnread: !isGone && !isMine && this.#groups.store.isUnread(id, sender, messageId),
      fault: isMine && isFailed && !isGone ? "The relay refused it, or it was cancelled here." : "",
      group: { author: isMine ? null : this.#person(sender, group), copies: isMine ? this.#copies(messageId) : null },
    };
  }

  #eventItem(group: Group, { at, by, text }: GroupEventRecord, position: number): Item {
    const inGroup: InGroup = { author: by === "" ? null : this.#person(by, group), copies: null };
    const id = `event ${position}`;
    return { ...blank(group, position, at), id, isMine: by === "", kind: "event", text, group: inGroup };
  }

  #copies(messageId: string): Copies | null {
    const states = [...this.#groups.progress(messageId).values()];
    const count = (...those: readonly DeliveryState[]): number => {
      return states.filter((state) => those.includes(state)).length;
    };
    const { ACCEPTED, BURNED, DELIVERED, EXPIRED, FAILED, READ } = DeliveryState;
    const read = count(READ, BURNED);
    const delivered = read + count(DELIVERED);
    const accepted = delivered + count(ACCEPTED, EXPIRED);
    return states.length === 0 ? null : { of: states.length, accepted, delivered, read, failed: count(FAILED) };
  }

  /** How far an own text has come with each member. */
  copiesOf(messageId: string): Copy[] {
    return [...this.#groups.progress(messageId)].map(([person, state]) => {
      return { person: this.#person(person), mark: markOf(state) };
    });
  }

  /** Items in which a text stands, the newest first; null for each that was looked at in vain. */
  *search(group: Group, wanted: (text: string) => boolean, now: Moment): Generator<Item | null> {
    if (group.record.relation === "invited") {
      return;
    }
    for (const item of this.#newest(group, now, Number.POSITIVE_INFINITY)) {
      yield item.kind === "text" && wanted(item.text) ? item : null;
    }
  }
}

function blank(group: Group, position: number, at: number): Omit<Item, "id" | "isMine" | "kind" | "text"> {
  const [peer, fault] = [keyOf(idOf(group)), ""];
  return { peer, position, at, mark: null, burns: false, expiresAt: null, isUnread: false, fault };
}

function markOf(state: number): Mark {
  return MARKS[state] ?? "waiting";
}

function pictureOf(data: Uint8Array): ShownGroup["picture"] {
  const type = typeOf(data);
  return type === "" ? null : { type, data, name: encodeBase64(pictureName(data)) };
}
