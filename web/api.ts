/**
 * What the page and its worker say to each other. Nothing here holds a key: private keys never leave the worker.
 *
 * The page calls; the worker answers each call once, and tells on its own what has changed (`Update`). All times are
 * milliseconds since 1970 by this device's clock; user ids are base64 as in frames, `writtenId` is the form for people.
 */
import type { DeviceCalls, DevicesUpdate } from "./devices_api.ts";
import type { GroupCalls, GroupsUpdate, InGroup } from "./groups_api.ts";

/** How far a text of one's own has come; the word is what a screen reader says. */
export type Mark = "waiting" | "sent" | "delivered" | "read" | "burned" | "expired" | "failed";

/** What the worker can do at the moment, which decides the screen. */
export type Stage =
  | { at: "first-run" }
  | { at: "locked"; name: string; userId: string }
  | { at: "evicted"; userId: string }
  | { at: "elsewhere" }
  | { at: "insecure" }
  | { at: "newer-profile" }
  | { at: "working"; what: "opening" | "creating" | "restoring" | "saving"; progress: number | null }
  | { at: "open" }
  /** `isRemoved`: this device only, by the user's first one. */
  | { at: "deleted"; isRemoved?: boolean };

/** Who the user is. */
export interface Me {
  readonly name: string;
  readonly userId: string;
  readonly writtenId: string;
  /** What one gives to others: the page's address with the id and the name behind `#`. */
  readonly link: string;
  readonly relay: string;
  /** When a backup was last saved, null if never. */
  readonly backupAt: number | null;
  /**
   * Whether the browser has promised to keep what this page stores; null before there is a contact. When it becomes
   * false, the page calls `navigator.storage.persist()`, which no worker can, and asks for `me` again.
   */
  readonly isKept: boolean | null;
  readonly staysSignedIn: boolean;
}

export interface Connection {
  readonly state: "connecting" | "online" | "offline" | "refused" | "replaced";
  /** A sentence for people, or ''. */
  readonly reason: string;
  /** When it became so. */
  readonly since: number;
  /** When it is tried again, null if it is not. */
  readonly nextTryAt: number | null;
  /** How many texts wait here. */
  readonly waiting: number;
}

export type Trust = "unverified" | "verified" | "changed";

/** Something about a conversation that its user must know or decide; the worker's words are shown as they are. */
export interface Notice {
  readonly code: string;
  readonly text: string;
}

export interface Conversation {
  readonly peer: string;
  readonly writtenId: string;
  /** '' for a stranger. */
  readonly name: string;
  readonly trust: Trust;
  /** While `trust` is "changed": the new key that the user is to judge, base64; else ''. */
  readonly newKey: string;
  /** A stranger who has written, and was not let in. */
  readonly isRequest: boolean;
  readonly isBlocked: boolean;
  /** Whether the user has allowed all older encryption with this peer: no weaker one is left to be asked about. */
  readonly allowsOlder: boolean;
  readonly unread: number;
  readonly draft: string;
  /** How long new texts last, in milliseconds; null: they stay. */
  readonly expiresIn: number | null;
  readonly last: Item | null;
  readonly presence: { readonly status: "online" | "typing" | "idle" | "offline" | "unknown"; readonly lastSeen: number | null };
  readonly notice: Notice | null;
}

/** One text, or what stands in its place. */
export interface Item {
  readonly id: string;
  readonly peer: string;
  /** Rises in the order of the conversation; unique in it. */
  readonly position: number;
  readonly isMine: boolean;
  /**
   * text: `text` is it. covered: burns when it is opened (`openOnce`). newer: sent with a newer version. unreadable: its
   * sender is asked for it again. broken: it cannot be read, and nobody is asked for it. gone: burned, expired or
   * removed. event: something that has happened to a group, and `text` is the sentence that says it.
   */
  readonly kind: "text" | "covered" | "newer" | "unreadable" | "broken" | "gone" | "event";
  readonly text: string;
  readonly at: number;
  /** Of one's own only. */
  readonly mark: Mark | null;
  readonly burns: boolean;
  readonly expiresAt: number | null;
  readonly isUnread: boolean;
  /** Why it was not sent, or ''. */
  readonly fault: string;
  /** In a group only. */
  readonly group?: InGroup;
}

export interface Page {
  /** Oldest first. */
  readonly items: readonly Item[];
  readonly hasOlder: boolean;
}

export interface Found {
  readonly peer: string;
  readonly item: Item;
}

export interface SafetyNumber {
  /** Twelve groups of five digits. */
  readonly groups: readonly string[];
  /** What the QR code holds, and what a scanned one is compared with. */
  readonly code: string;
}

export interface Settings {
  readonly readReceipts: boolean;
  readonly typing: boolean;
  readonly presence: boolean;
}

/** The calls: name, what is passed, what comes back. A refused call rejects with a `Fault`. */
export interface Api extends DeviceCalls, GroupCalls {
  /**
   * The stage, once at the start; afterwards by updates. `relay` is the ws(s) URL of the relay that served the page.
   * `remembered`: the user id that the page keeps in `localStorage` while there is a profile (from `Me`, until stage
   * `deleted` or `forget`), so that it is noticed if the browser has deleted the keys; null if none. `isLocking`: the
   * profile was to be locked and the page was left meanwhile, so it is locked now.
   */
  begin(given: {
    relay: string;
    page: string;
    isSecure: boolean;
    remembered?: string | null;
    isLocking?: boolean;
  }): Promise<Stage>;
  create(given: { name: string; passphrase: string; stay: boolean }): Promise<void>;
  unlock(given: { passphrase: string; stay: boolean }): Promise<void>;
  /**
   * Opens an exported file, of this page or of the command line, as this browser's profile. `name`: '' for the one in
   * the file.
   */
  restore(given: { file: Uint8Array; filePassphrase: string; passphrase: string; name: string; stay: boolean }): Promise<void>;
  /** Takes the profile over from another tab. */
  takeOver(): Promise<void>;
  /** After `evicted`: begin anew, knowingly. */
  forget(): Promise<void>;
  lock(): Promise<void>;
  backup(given: { passphrase: string }): Promise<Uint8Array>;
  changePassphrase(given: { current: string; passphrase: string }): Promise<void>;
  /** Whether this browser opens the profile without a passphrase from now on. */
  staySignedIn(given: { stay: boolean }): Promise<Me>;
  deleteAccount(): Promise<void>;

  me(): Promise<Me>;
  rename(given: { name: string }): Promise<Me>;
  settings(given: Partial<Settings>): Promise<Settings>;
  connection(): Promise<Connection>;
  retryNow(): Promise<void>;

  conversations(): Promise<readonly Conversation[]>;
  items(given: { peer: string; before: number | null; limit: number }): Promise<Page>;
  search(given: { text: string; peer: string | null; limit: number }): Promise<readonly Found[]>;
  send(given: { peer: string; text: string; burn: boolean; expiresIn: number | null }): Promise<Item>;
  /** Once more for one that failed. */
  sendAgain(given: { peer: string; id: string }): Promise<void>;
  /** Erases a text of one's own that failed or still waits; refused if it may have left. */
  removeItem(given: { peer: string; id: string }): Promise<void>;
  /** The user has seen these. */
  read(given: { peer: string; ids: readonly string[] }): Promise<void>;
  /** Uncovers a text that burns: it is erased here and at its sender's once this was answered. */
  openOnce(given: { peer: string; id: string }): Promise<string>;
  draft(given: { peer: string; text: string }): Promise<void>;
  /** New texts of this conversation last for so long. */
  lasting(given: { peer: string; expiresIn: number | null }): Promise<void>;
  typing(given: { peer: string }): Promise<void>;
  presence(given: { status: "online" | "idle" | "offline" }): Promise<void>;
  watch(given: { peer: string }): Promise<void>;

  /** An id in either form, a link, or what a QR code holds; returns the user id. */
  add(given: { who: string; name: string }): Promise<string>;
  renameContact(given: { peer: string; name: string }): Promise<void>;
  safetyNumber(given: { peer: string }): Promise<SafetyNumber | null>;
  /** `code`: of the number that was compared; refused if it is another one by now. */
  verify(given: { peer: string; code: string; isSame: boolean }): Promise<void>;
  /** `key`: the `newKey` that the user has seen; refused if it is another one by now. */
  acceptKey(given: { peer: string; key: string }): Promise<void>;
  /** `notice`: what the user has read; refused if something else is to be decided by now. */
  allowOlder(given: { peer: string; notice: Notice }): Promise<void>;
  /** What a stranger has written; nobody is told. */
  peek(given: { peer: string }): Promise<readonly Item[]>;
  acceptRequest(given: { peer: string }): Promise<void>;
  block(given: { peer: string; isBlocked: boolean }): Promise<void>;
  removeContact(given: { peer: string; history: boolean }): Promise<void>;
}

/** What a refused call rejects with: `text` is a sentence for people that says what to do. */
export interface Fault {
  readonly code:
    | "wrong-passphrase"
    | "damaged"
    | "storage-full"
    | "too-long"
    | "usage"
    | "unknown-contact"
    | "key-changed"
    | "offline"
    | "internal";
  readonly text: string;
}

/** What the worker tells on its own. */
export type Update =
  | { readonly kind: "stage"; readonly stage: Stage }
  | { readonly kind: "me"; readonly me: Me }
  | { readonly kind: "connection"; readonly connection: Connection }
  /** New or changed ones. */
  | { readonly kind: "conversations"; readonly changed: readonly Conversation[]; readonly removed: readonly string[] }
  /** Changed or new items of a conversation. `incoming`: ids that came from its peer just now. */
  | { readonly kind: "items"; readonly peer: string; readonly items: readonly Item[]; readonly incoming: readonly string[] }
  | { readonly kind: "warning"; readonly peer: string | null; readonly notice: Notice }
  | { readonly kind: "storage"; readonly isFull: boolean }
  | DevicesUpdate
  | GroupsUpdate;

export type ToWorker = { readonly id: number; readonly call: keyof Api; readonly given: unknown };
export type FromWorker =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly fault: Fault }
  | { readonly update: Update };
