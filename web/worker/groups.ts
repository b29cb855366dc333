/**
 * Groups in the worker: the calls of `groups_api.ts` and those of `api.ts` that are about a group, and what the page is
 * told of groups on its own. Loaded with `later.ts`.
 */
import type { Api, Found, Item, Page, Update } from "../api.ts";
import type { GroupCalls, GroupKey, JoinLink, Group as ShownGroup } from "../groups_api.ts";
import { isGroup } from "../groups_api.ts";
import { UsageError } from "../core/client/errors.ts";
import { extendAnd } from "../core/client/extend.ts";
import type { Extend } from "../core/client/extension.ts";
import type { Groups } from "../core/client/groups/groups.ts";
import { isLink, parseLink } from "../core/client/groups/link.ts";
import { eventsOf, GROUP, GROUP_INBOX, GROUP_PAST, textsOf } from "../core/client/groups/records.ts";
import { digitsOf } from "../core/client/groups/state.ts";
import { groupOf, idOf, keyOf, peopleOf, stateOf } from "../core/client/groups/store.ts";
import type { Group } from "../core/client/groups/store.ts";
import { GroupView } from "../core/client/groups/view.ts";
import * as words from "../core/client/groups/words.ts";
import type { Messenger } from "../core/client/messenger.ts";
import * as records from "../core/client/records.ts";
import { DeliveryState, labelOf } from "../core/client/status.ts";
import type { Event } from "../core/client/status.ts";
import type { Transaction, Vault } from "../core/client/vault.ts";
import { comparable } from "../core/client/view.ts";
import type { CallPorts, ProfileCalls } from "./calls.ts";
import type { Core } from "./loop.ts";

/** How long a search looks before others have their turn. */
const SEARCH_STEP_MS = 20;

/** The groups of one core. */
export class GroupsOfCore {
  /** Makes the further parts of the core's messenger. */
  readonly extend: Extend = extendAnd((groups) => (this.#groups = groups));
  #groups: Groups | null = null;
  #view: GroupView | null = null;
  #messenger: Messenger | null = null;
  /** Groups that may have changed, as the page sees them, by id. */
  readonly #changed = new Set<string>();
  /** Changed items by the name of their records, and groups by the numbers of their kinds. */
  readonly #items = new Map<string, { readonly group: string; readonly sender: string | null; readonly id: string }>();
  readonly #incoming = new Map<string, string[]>();
  readonly #watched = new Set<number>();
  /** Groups of which changes were missing when the page was told last. */
  readonly #wasBehind = new Set<string>();
  /** The groups as the page was told of them last, as JSON. */
  readonly #told = new Map<string, string>();
  /** Whether names of groups or contacts may be others than when they were compared last. */
  #areNamesNew = true;

  get groups(): Groups {
    if (this.#groups === null) {
      throw new UsageError("groups are not ready yet");
    }
    return this.#groups;
  }

  get view(): GroupView {
    if (this.#view === null) {
      throw new UsageError("groups are not ready yet");
    }
    return this.#view;
  }

  get messenger(): Messenger {
    if (this.#messenger === null) {
      throw new UsageError("groups are not ready yet");
    }
    return this.#messenger;
  }

  /** The messenger was made with `extend`: note what changes in its vault. */
  watch(vault: Vault, messenger: Messenger): void {
    this.#messenger = messenger;
    this.#view = new GroupView(messenger.stores, this.groups, messenger.userId);
    for (const group of this.groups.store.all()) {
      this.#watchTexts(vault, idOf(group), group.record.number);
      this.#changed.add(idOf(group));
    }
    vault.watch(GROUP, (_, id, record) => {
      this.#changed.add(id);
      this.#areNamesNew = true;
      if (record !== null) {
        this.#watchTexts(vault, id, record.number);
      }
    });
    vault.watch(GROUP_PAST, (_, id) => void this.#changed.add(id)); // texts are fetched when one looks back so far
    vault.watch(GROUP_INBOX, (_, name) => this.#noteText(name.split(" ")));
    vault.watch(records.DRAFT, (_, peer) => void (isGroup(peer) && this.#changed.add(groupOf(peer))));
    vault.watch(records.CONTACT, (_, peer) => {
      this.#areNamesNew = true;
      for (const group of this.groups.store.all()) {
        if (group.chain.state.members.has(peer) || group.record.inviter === peer || group.record.rival === peer) {
          this.#changed.add(idOf(group));
        }
      }
    });
  }

  #watchTexts(vault: Vault, group: string, number: number): void {
    if (this.#watched.has(number)) {
      return;
    }
    this.#watched.add(number);
    vault.watch(textsOf(number), (_: Transaction, name: string) => this.#noteText([group, ...name.split(" ")]));
    vault.watch(eventsOf(number), (_: Transaction, name: string, event: unknown) => {
      this.#changed.add(group);
      if (event !== null) {
        this.#items.set(`${group} event ${name}`, { group, sender: null, id: name });
      }
    });
  }

  #noteText([group = "", sender = "", id = ""]: readonly string[]): void {
    this.#changed.add(group);
    this.#items.set(`${group} ${sender} ${id}`, { group, sender, id });
  }

  /** What has happened in a step. */
  happened(events: readonly Event[]): void {
    for (const event of events) {
      if (event.kind === "group-message") {
        const id = `${event.messageId} ${event.peer.userId}`;
        this.#incoming.set(event.group, [...(this.#incoming.get(event.group) ?? []), id]);
      } else if (event.kind === "group" && ["forked", "newer", "waiting"].includes(event.news)) {
        this.#changed.add(event.group);
      }
    }
  }

  /** All groups, for the page that asks for them. */
  all(): ShownGroup[] {
    this.#told.clear();
    this.#compareNames();
    return this.groups.store.all().map((group) => {
      const shown = this.view.shown(group, this.messenger.now());
      this.#note(shown);
      return shown;
    });
  }

  /** Others give groups their names: those that look alike are told apart. */
  #compareNames(): void {
    if (this.#areNamesNew) {
      this.#areNamesNew = false;
      for (const group of this.view.compareNames()) this.#changed.add(group);
    }
  }

  /** Whether it is another one than the page was told of; it is from now on. */
  #note(group: ShownGroup): boolean {
    const text = JSON.stringify(group, (name, value: unknown) => (name === "data" ? undefined : value));
    const isNews = this.#told.get(group.key) !== text;
    this.#told.set(group.key, text);
    return isNews;
  }

  /** Tell what has changed; only while nothing is in the core that is not stored. */
  flush(post: (update: Update) => void): void {
    this.#tellGroups(post);
    const byGroup = new Map<string, Item[]>();
    for (const { group: id, sender, id: messageId } of this.#items.values()) {
      const item = this.#itemOf(id, sender, messageId);
      if (item !== null) {
        byGroup.set(id, [...(byGroup.get(id) ?? []), item]);
      }
    }
    this.#items.clear();
    for (const [id, items] of byGroup) {
      items.sort((one, other) => one.position - other.position);
      post({ kind: "items", peer: keyOf(id), items, incoming: this.#incoming.get(id) ?? [] });
    }
    this.#incoming.clear();
  }

  #itemOf(id: string, sender: string | null, name: string): Item | null {
    const group = this.groups.store.get(id);
    if (group === null) {
      return null;
    }
    return sender === null ? this.view.event(group, name) : this.view.text(group, sender, name, this.messenger.now());
  }

  #tellGroups(post: (update: Update) => void): void {
    const now = this.messenger.now();
    this.#compareNames();
    const changed: ShownGroup[] = [];
    const removed: GroupKey[] = [];
    for (const group of this.groups.store.all()) {
      // What is missing is not stored, so nobody says that it has changed.
      const isBehind = this.groups.isBehind(group);
      if (isBehind !== this.#wasBehind.has(idOf(group))) {
        this.#changed.add(idOf(group));
        this.#wasBehind[isBehind ? "add" : "delete"](idOf(group));
      }
    }
    for (const id of this.#changed) {
      const group = this.groups.store.get(id);
      const shown = group === null ? null : this.view.shown(group, now);
      if (shown !== null && this.#note(shown)) {
        changed.push(shown);
      } else if (shown === null && this.#told.delete(keyOf(id))) {
        removed.push(keyOf(id));
      }
    }
    this.#changed.clear();
    if (changed.length > 0 || removed.length > 0) {
      post({ kind: "groups", changed, removed });
    }
  }
}

/** What is called of groups, and what is called of every conversation. */
export type CallsWithGroups = ProfileCalls & GroupCalls;

/** The calls on an open profile, those about people and those about groups. */
export function callsWithGroups(ports: CallPorts, people: ProfileCalls): CallsWithGroups {
  return { ...people, ...sharedCalls(ports, people), ...groupCalls(ports) };
}

/** The groups of a core, which has them when a profile is open. */
function groupsIn({ groups }: Core): GroupsOfCore {
  if (groups === undefined) {
    throw new UsageError("the profile is not open");
  }
  return groups;
}

/** Does something with a group, in one step of the core. */
function on<T>(ports: CallPorts, key: string, action: (core: Core, groups: Groups, id: string) => T): Promise<T> {
  return ports.loop.call((core) => action(core, groupsIn(core).groups, groupOf(key)));
}

type Shared = Pick<Api, "items" | "search" | "send" | "sendAgain" | "removeItem" | "read">;

/** Those that are of people and of groups. */
function sharedCalls(ports: CallPorts, people: ProfileCalls): Shared {
  return {
    items: (given) =>
      isGroup(given.peer)
        ? on(ports, given.peer, (core, groups, id): Page => {
            return groupsIn(core).view.page(groups.found(id), core.messenger.now(), given);
          })
        : people.items(given),
    search: (given) => search(ports, people, given),
    send: (given) =>
      isGroup(given.peer)
        ? on(ports, given.peer, (core, groups, id): Item => {
            if (given.burn || given.expiresIn !== null) {
              throw new UsageError("texts to a group last as long as the group's timer says");
            }
            return itemOf(core, id, groups.sendText(id, given.text));
          })
        : people.send(given),
    sendAgain: (given) =>
      isGroup(given.peer)
        ? on(ports, given.peer, (_, groups, id) => {
            const text = groups.store.text(groups.found(id), "", given.id);
            if (text === null || text.text === null || text.state !== DeliveryState.FAILED) {
              throw new UsageError("this message cannot be sent again; copy its text into a new one");
            }
            groups.sendText(id, text.text);
            groups.erase(id, given.id);
          })
        : people.sendAgain(given),
    removeItem: (given) =>
      isGroup(given.peer)
        ? on(ports, given.peer, (_, groups, id) => groups.erase(id, given.id))
        : people.removeItem(given),
    read: (given) =>
      isGroup(given.peer)
        ? on(ports, given.peer, (_, groups, id) => {
            for (const name of given.ids) {
              const [messageId = "", sender = ""] = name.split(" ");
              if (sender !== "") {
                groups.markRead(id, sender, messageId);
              }
            }
          })
        : people.read(given),
  };
}

function itemOf(core: Core, id: string, messageId: string): Item {
  const { groups, view } = groupsIn(core);
  const item = view.text(groups.found(id), "", messageId, core.messenger.now());
  if (item === null) {
    throw new UsageError("this message is gone");
  }
  return item;
}

/** People's conversations first; then groups, in several steps, so that a long history keeps nobody waiting. */
async function search(
  ports: CallPorts,
  people: ProfileCalls,
  given: Parameters<Api["search"]>[0],
): Promise<readonly Found[]> {
  const { limit, peer, text } = given;
  const found = peer !== null && isGroup(peer) ? [] : [...(await people.search(given))];
  if (text.trim() === "" || (peer !== null && !isGroup(peer))) {
    return found;
  }
  const sought = comparable(text);
  const isWanted = (one: string): boolean => comparable(one).includes(sought);
  const wanted = await ports.loop.call((core) => {
    return groupsIn(core).groups.store.all().map(idOf).filter((id) => peer === null || groupOf(peer) === id);
  });
  for (const id of wanted) {
    await searchGroup(ports, id, { isWanted, limit, found });
  }
  return found.sort((one, other) => other.item.at - one.item.at).slice(0, limit);
}

/** What is searched for, and what was found. */
interface Sought {
  readonly isWanted: (text: string) => boolean;
  readonly limit: number;
  readonly found: Found[];
}

async function searchGroup(
  ports: CallPorts,
  id: string,
  { isWanted, limit, found }: Sought,
): Promise<void> {
  const start = found.length;
  let looked: { readonly core: Core; readonly items: Generator<Item | null> } | null = null;
  const step = (core: Core): boolean => {
    if (looked?.core !== core) {
      const group: Group | null = groupsIn(core).groups.store.get(id);
      if (group === null) {
        return true;
      }
      found.length = start;
      looked = { core, items: groupsIn(core).view.search(group, isWanted, core.messenger.now()) };
    }
    const end = ports.monotonic() + SEARCH_STEP_MS;
    for (const item of { [Symbol.iterator]: () => looked?.items ?? [].values() }) {
      if (item !== null) {
        found.push({ peer: item.peer, item });
      }
      if (found.length - start >= limit) {
        return true;
      }
      if (ports.monotonic() >= end) {
        return false;
      }
    }
    return true;
  };
  while (!(await ports.loop.call(step))) {
    // It goes on.
  }
}

/** Those of groups alone. */
function groupCalls(ports: CallPorts): GroupCalls {
  const { loop } = ports;
  return {
    groups: () => loop.call((core): readonly ShownGroup[] => groupsIn(core).all()),
    invitationsOf: ({ peer }) => loop.call((core) => groupsIn(core).view.invitationsOf(peer, core.messenger.now())),
    createGroup: ({ name, people, ownName }) =>
      loop.call((core) => keyOf(groupsIn(core).groups.create(name, people, ownName))),
    acceptGroup: ({ group, ownName }) => on(ports, group, (_, groups, id) => groups.accept(id, ownName)),
    callMe: ({ group, name }) => on(ports, group, (_, groups, id) => groups.callMe(id, name)),
    leaveGroup: ({ group }) => on(ports, group, (_, groups, id) => groups.leave(id)),
    forgetGroup: ({ group }) => on(ports, group, (_, groups, id) => groups.forget(id)),
    closeGroup: ({ group }) => on(ports, group, (_, groups, id) => groups.close(id)),
    addToGroup: ({ group, people, role }) =>
      on(ports, group, (core, groups, id) => {
        checkMembers(core, groups.found(id), people, { areIn: false });
        groups.add(id, people, role);
      }),
    removeFromGroup: ({ group, people }) =>
      on(ports, group, (core, groups, id) => {
        checkMembers(core, groups.found(id), people, { areIn: true });
        groups.remove(id, people);
      }),
    changeRole: ({ group, person, role }) => on(ports, group, (_, groups, id) => groups.setRole(id, person, role)),
    renameGroup: ({ group, name }) => on(ports, group, (_, groups, id) => groups.rename(id, name)),
    groupPicture: ({ group, picture }) =>
      on(ports, group, (_, groups, id) => groups.setPicture(id, picture ?? new Uint8Array())),
    groupRights: ({ group, ...rights }) => on(ports, group, (_, groups, id) => groups.setRights(id, rights)),
    groupTimer: ({ group, expiresIn }) => on(ports, group, (_, groups, id) => groups.setTimer(id, expiresIn ?? 0)),
    muteGroup: ({ group, isMuted }) => on(ports, group, (_, groups, id) => groups.mute(id, isMuted)),
    goOnInGroup: ({ group }) => on(ports, group, (_, groups, id) => groups.goOn(id)),
    groupDigits: ({ group }) => on(ports, group, (_, groups, id) => digitsOf(groups.found(id).chain.head)),
    rivalDigits: ({ group }) =>
      on(ports, group, (_, groups, id) => {
        const { doubt, rivalHead } = groups.found(id).record;
        return doubt === "forked" && rivalHead.length > 0 ? digitsOf(rivalHead) : null;
      }),
    groupLink: ({ group, uses, lasts }) =>
      on(ports, group, (core, groups, id) => {
        const { server } = core.messenger;
        return shownLink(ports, core, groups.link(id, server, { uses, lasts }));
      }),
    groupLinks: ({ group }) =>
      on(ports, group, (core, groups, id) => groups.links(id).map((token) => shownLink(ports, core, token))),
    endGroupLinks: ({ group }) => on(ports, group, (_, groups, id) => groups.endLinks(id)),
    joinGroup: ({ link, ownName }) =>
      loop.call((core) => {
        const found = parseLink(linkIn(link));
        if (found.relay !== core.messenger.server) {
          throw new UsageError("this invitation is for another relay; open it in the page of that one");
        }
        groupsIn(core).groups.join(found, ownName);
        return found.admin;
      }),
    groupCopies: ({ group, id }) => on(ports, group, (core) => groupsIn(core).view.copiesOf(id)),
  };
}

/** Refuses a change that would change nothing: somebody is a member already, or is none. */
function checkMembers(core: Core, group: Group, people: readonly string[], { areIn }: { readonly areIn: boolean }): void {
  const wrong = people.find((one) => peopleOf(group).includes(one) !== areIn);
  if (wrong !== undefined) {
    const who = labelOf(core.messenger.stores.book.contact(wrong));
    const title = words.title(stateOf(group).name);
    throw new UsageError(`${who} is ${areIn ? "not a member of" : "in"} ${title}${areIn ? " any more" : " already"}`);
  }
}

function shownLink(ports: CallPorts, core: Core, token: Parameters<Groups["linkText"]>[0]): JoinLink {
  const { messenger } = core;
  const text = groupsIn(core).groups.linkText(token, messenger.server);
  const [address = ports.page] = ports.page.split("#");
  const now = messenger.now();
  const until = now.wall + (token.until - now.persistent);
  return { text, address: `${address}#g=${encodeURIComponent(text)}`, uses: token.uses, until };
}

/** The link in the page's address, or what was given. */
function linkIn(given: string): string {
  const text = given.trim();
  const at = text.indexOf("#");
  return isLink(text) || at < 0 ? text : (new URLSearchParams(text.slice(at + 1)).get("g") ?? text);
}
