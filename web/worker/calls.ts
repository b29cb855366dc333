/**
 * The calls of `api.ts` on an open profile: each is one step of the core, answered once what it has changed is stored.
 */
import type { Api, Conversation, Found, Item, Me, Notice, Page, SafetyNumber, Settings } from "../api.ts";
import type { DeviceCalls } from "../devices_api.ts";
import type { GroupCalls } from "../groups_api.ts";
import { grouped } from "../core/crypto/safety.ts";
import { NoKeyYet, UnknownContact } from "../core/client/errors.ts";
import { plainId, shortId, writtenId } from "../core/client/ids.ts";
import { checkedName } from "../core/client/names.ts";
import * as records from "../core/client/records.ts";
import { MeRecord, OutboxRecord } from "../core/client/records.ts";
import { DeliveryState, labelOf } from "../core/client/status.ts";
import * as view from "../core/client/view.ts";
import { Refused } from "./faults.ts";
import type { Core, Loop } from "./loop.ts";
import type { PassingState } from "./passing.ts";
import type { Changes } from "./updates.ts";

/** How long a search looks before others have their turn. */
const SEARCH_STEP_MS = 20;

/** A core, and what notes its changes. */
export interface OpenCore extends Core {
  readonly changes: Changes;
}

/** What surrounds the calls. */
export interface CallPorts {
  readonly loop: Loop;
  readonly passing: PassingState;
  /** The page's address. */
  readonly page: string;
  /** Of the core that the loop runs. */
  readonly changesOf: (core: Core) => Changes;
  readonly isKept: () => Promise<boolean | null>;
  readonly staysSignedIn: () => boolean;
  /** The own name has changed. */
  readonly renamed: (name: string) => Promise<void>;
  readonly monotonic: () => number;
}

/** The calls that need an open profile, but those that end it, take long, or are about devices or groups. */
export type ProfileCalls = Omit<
  Api,
  | keyof DeviceCalls
  | keyof GroupCalls
  | "begin"
  | "create"
  | "unlock"
  | "restore"
  | "takeOver"
  | "forget"
  | "lock"
  | "backup"
  | "changePassphrase"
  | "staySignedIn"
  | "deleteAccount"
>;

/** Make them. */
export function callsOn(ports: CallPorts): ProfileCalls {
  const { loop } = ports;
  return {
    me: () => meOf(ports),
    rename: async ({ name }) => {
      const checked = checkedName(name);
      await loop.call(({ vault }) => {
        const before = vault.get(records.ME, "") ?? MeRecord.make({ name: checked });
        vault.transaction((tx) => tx.put(records.ME, "", { ...before, name: checked }));
      });
      await ports.renamed(checked);
      return meOf(ports);
    },
    settings: (given) => loop.call(({ messenger }) => settingsOf(messenger, given)),
    connection: () => Promise.resolve(loop.connection),
    retryNow: () => {
      loop.retryNow();
      return Promise.resolve();
    },

    conversations: () => loop.call((core): readonly Conversation[] => ports.changesOf(core).conversations()),
    items: ({ peer, before, limit }) =>
      loop.call(({ messenger }): Page => {
        if (view.isRequest(messenger.stores, peer)) {
          return { items: [], hasOlder: false }; // a stranger's are shown by `peek` alone
        }
        return view.pageOf(messenger.stores, peer, messenger.now(), { before, limit });
      }),
    search: (given) => search(ports, given),
    send: ({ peer, text, burn, expiresIn }) =>
      loop.call(({ messenger, vault }) => {
        const { messageId } = messenger.sendText(peer, text, { burn, expiresIn });
        vault.transaction((tx) => tx.delete(records.DRAFT, peer));
        return itemOf(messenger, peer, messageId, true);
      }),
    sendAgain: ({ peer, id }) => loop.call((core) => sendAgain(core, peer, id)),
    removeItem: ({ peer, id }) => loop.call((core) => removeItem(core, peer, id)),
    read: ({ peer, ids }) => loop.call((core) => read(core, peer, ids)),
    openOnce: ({ peer, id }) => loop.call((core) => openOnce(core, peer, id)),
    draft: ({ peer, text }) =>
      loop.call(({ vault }) =>
        vault.transaction((tx) => {
          if (text === "") {
            tx.delete(records.DRAFT, peer);
          } else {
            tx.put(records.DRAFT, peer, { peer, text });
          }
        }),
      ),
    lasting: ({ peer, expiresIn }) =>
      loop.call(({ vault }) => vault.transaction((tx) => tx.put(records.LASTING, peer, { peer, expiresIn }))),
    typing: ({ peer }) => loop.call(({ messenger }) => messenger.tellTyping(peer)),
    presence: ({ status }) => loop.call(({ messenger }) => messenger.tellPresence(status)),
    watch: ({ peer }) => loop.call(({ messenger }) => messenger.askPresence(peer)),

    add: ({ who, name }) => loop.call(({ messenger }) => add(messenger, who, name)),
    renameContact: ({ peer, name }) =>
      loop.call(({ messenger }) => {
        messenger.contacts.add(name, peer);
      }),
    safetyNumber: ({ peer }) => loop.call(({ messenger }) => safetyNumber(messenger, peer)),
    verify: ({ peer, code, isSame }) => loop.call((core) => verify(ports, core, peer, { code, isSame })),
    acceptKey: ({ peer, key }) => loop.call((core) => acceptKey(core, peer, key)),
    allowOlder: ({ peer, notice }) => loop.call((core) => allowOlder(ports, core, peer, notice)),
    peek: ({ peer }) =>
      loop.call(({ messenger }): readonly Item[] =>
        messenger.look(peer).map(({ messageId }) => itemOf(messenger, peer, messageId, false)),
      ),
    acceptRequest: ({ peer }) =>
      loop.call(({ messenger }) => {
        messenger.contacts.letIn(peer);
      }),
    block: ({ peer, isBlocked }) =>
      loop.call(({ messenger }) => (isBlocked ? messenger.block(peer) : messenger.unblock(peer))),
    removeContact: ({ peer, history }) =>
      loop.call(({ messenger }) => {
        messenger.contacts.remove(peer, { history });
        ports.passing.notices.delete(peer);
      }),
  };
}

type Messenger = Core["messenger"];

/** Who the user is. */
export async function meOf(ports: CallPorts): Promise<Me> {
  const isKept = await ports.isKept();
  return ports.loop.call(({ messenger, vault }) => {
    const { name, backupAt } = vault.get(records.ME, "") ?? MeRecord.make({ name: "" });
    const userId = messenger.person;
    return {
      name,
      userId,
      writtenId: writtenId(userId),
      link: view.linkOf(ports.page, userId, name),
      relay: messenger.server,
      backupAt,
      // Before there is anybody to lose, nobody is asked.
      isKept: messenger.stores.book.size === 0 ? null : isKept,
      staysSignedIn: ports.staysSignedIn(),
    };
  });
}

function settingsOf(messenger: Messenger, given: Partial<Settings>): Settings {
  const changes = Object.entries(given).filter(([, value]) => typeof value === "boolean");
  return changes.length > 0 ? messenger.changeSettings(Object.fromEntries(changes)) : messenger.presence.settings;
}

/** In several steps, so that a long history keeps nobody waiting. */
async function search(
  ports: CallPorts,
  { text, peer, limit }: { readonly text: string; readonly peer: string | null; readonly limit: number },
): Promise<readonly Found[]> {
  const found: Found[] = [];
  let looked: { readonly core: Core; readonly items: Generator<Item | null> } | null = null;
  const step = (core: Core): boolean => {
    if (looked?.core !== core) {
      const { messenger } = core;
      looked = { core, items: view.search(messenger.stores, text, peer, messenger.now()) };
      found.length = 0;
    }
    const end = ports.monotonic() + SEARCH_STEP_MS;
    for (let next = looked.items.next(); next.done !== true; next = looked.items.next()) {
      if (next.value !== null) {
        found.push({ peer: next.value.peer, item: next.value });
      }
      if (found.length >= limit) {
        return true;
      }
      if (ports.monotonic() >= end) {
        return false;
      }
    }
    return true;
  };
  while (text.trim() !== "" && !(await ports.loop.call(step))) {
    // It goes on.
  }
  return found.sort((one, other) => other.item.at - one.item.at);
}

function itemOf(messenger: Messenger, peer: string, id: string, isMine: boolean): Item {
  const item = view.itemById(messenger.stores, peer, id, isMine, messenger.now());
  if (item === null) {
    throw new Refused("usage", "this message is gone");
  }
  return item;
}

function sendAgain({ messenger, vault }: Core, peer: string, id: string): void {
  const sent = messenger.stores.outbox.sent(id, peer);
  if (sent === null || sent.text === null || sent.state !== DeliveryState.FAILED) {
    throw new Refused("usage", "this message cannot be sent again; copy its text into a new one");
  }
  const { messageId, text, burn, expiresIn, madeAt } = sent;
  vault.transaction((tx) => {
    tx.put(records.SENT, id, { ...sent, state: DeliveryState.QUEUED });
    messenger.stores.outbox.put(tx, OutboxRecord.make({ messageId, peer, text, burn, expiresIn, madeAt }));
  });
  messenger.contactChanged(peer);
}

function removeItem({ messenger, vault }: Core, peer: string, id: string): void {
  const { outbox } = messenger.stores;
  const sent = outbox.sent(id, peer);
  if (sent === null || !vault.transaction((tx) => outbox.erase(tx, sent))) {
    throw new Refused("usage", "this message may have been sent already");
  }
}

/** Those that burn are read by `openOnce` alone. */
function read({ messenger, vault }: Core, peer: string, ids: readonly string[]): void {
  for (const id of ids) {
    const received = vault.find(records.RECEIVED, records.key(peer, id));
    if (received !== null && !received.burn) {
      messenger.markRead(peer, id);
    } else if (received?.text === null) {
      messenger.handled(peer, id);
    }
  }
}

function openOnce({ messenger, vault }: Core, peer: string, id: string): string {
  const received = vault.find(records.RECEIVED, records.key(peer, id));
  const isOver = received?.expiresAt !== null && (received?.expiresAt ?? 0) <= messenger.now().persistent;
  if (received === null || received.text === null || !received.burn || isOver) {
    throw new Refused("usage", "this message is gone");
  }
  messenger.markRead(peer, id);
  return received.text;
}

function add(messenger: Messenger, who: string, given: string): string {
  const invitation = view.invitationOf(who);
  const name = given.trim() === "" ? invitation.name : given;
  const shown = name.trim() === "" ? nameFor(messenger, invitation.who) : name;
  return messenger.contacts.add(shown, invitation.who).userId;
}

/** A name for somebody who was given none: what there is, or the beginning of the id. */
function nameFor(messenger: Messenger, who: string): string {
  const userId = plainId(who);
  const { name } = messenger.contacts.of(userId);
  return name === "" ? shortId(userId).replace("…", "") : name;
}

function safetyNumber(messenger: Messenger, peer: string): SafetyNumber | null {
  try {
    const digits = messenger.contacts.safetyNumber(peer);
    return { groups: grouped(digits), code: digits };
  } catch (error) {
    if (error instanceof NoKeyYet || error instanceof UnknownContact) {
      return null;
    }
    throw error;
  }
}

/** What was compared counts, and not what the relay or the peer has put in its place meanwhile. */
function verify(
  ports: CallPorts,
  core: Core,
  peer: string,
  { code, isSame }: { readonly code: string; readonly isSame: boolean },
): void {
  if (isSame && safetyNumber(core.messenger, peer)?.code !== code) {
    throw new Refused("key-changed", "the safety number has just changed; compare the new one");
  }
  const label = labelOf(core.messenger.contacts.of(peer));
  core.messenger.contacts.setTrust(peer, isSame ? "verified" : "unverified");
  if (isSame) {
    ports.passing.notices.delete(peer);
  } else {
    const risk = `someone may be intercepting your texts with ${label}`;
    const text = `The numbers differ: ${risk}. Do not write anything secret.`;
    ports.passing.notices.set(peer, { code: "differs", text });
  }
  ports.changesOf(core).changed(peer);
}

/** The key that the user has been told of, and not one that came meanwhile. */
function acceptKey({ messenger }: Core, peer: string, key: string): void {
  const now = view.newKeyOf(messenger.contacts.of(peer));
  if (now !== "" && now !== key) {
    throw new Refused("key-changed", "their key has just changed once more; decide about the new one");
  }
  messenger.contacts.accept(peer);
}

/** What the notice at the conversation asks for: the one that the user has read, not one that came meanwhile. */
function allowOlder(ports: CallPorts, core: Core, peer: string, read: Notice): void {
  const { code, text } = ports.passing.notices.get(peer) ?? { code: "", text: "" };
  if (code !== read.code || text !== read.text) {
    throw new Refused("usage", "the notice has just changed; read it again before you decide");
  }
  ports.passing.notices.delete(peer);
  const { contacts, stores } = core.messenger;
  if (code === "classical" || stores.book.get(peer).allowsOlder) {
    contacts.allowClassical(peer);
  } else {
    contacts.allowOlder(peer);
  }
  ports.changesOf(core).changed(peer);
}
