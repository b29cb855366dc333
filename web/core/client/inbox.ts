/**
 * Received messages: stored before they are acknowledged, unread until the user has seen them, gone when it is time.
 */
import { InvalidMessage, UndecryptableMessage } from "../crypto/errors.ts";
import type { RoutedMessage } from "../wire/frames.ts";
import type { Acks } from "./acks.ts";
import type { Newer, Text } from "./content.ts";
import * as content2 from "./content2.ts";
import type { Conversations, Opened } from "./conversations.ts";
import type { Extra, Slot } from "./extension.ts";
import type { DeviceBook } from "./devices/book.ts";
import { dropEarly, forgetEarly, noteEarly, takeEarly } from "./devices/early.ts";
import type { Receipts } from "./receipts.ts";
import * as records from "./records.ts";
import { erased, isThere, SentRecord } from "./records.ts";
import type { NewerRecord, ReceivedRecord } from "./records.ts";
import type { Recovery } from "./recovery.ts";
import { DeliveryState, reached } from "./status.ts";
import type { Transaction, Vault } from "./vault.ts";

/** How long the id of a receipt is remembered against duplicates; one that comes later says nothing new. */
export const KEEP_SEEN_RECEIPTS_MS = 90 * 86_400_000;

/** How often a message that arrives again is acknowledged again: each time costs a message. */
export const ACKNOWLEDGE_AGAIN_MS = 60_000;

/** Messages of which it is remembered that they were acknowledged again. */
export const MAX_ACKNOWLEDGED_AGAIN = 1_000;

/** What the inbox works with. */
export interface InboxParts {
  /** Opens messages. */
  readonly conversations: Conversations;
  /** `read` and `burned` for the relay. */
  readonly acks: Acks;
  /** For their senders. */
  readonly receipts: Receipts;
  /** What could not be read. */
  readonly recovery: Recovery;
  /** Knows contents that are not known here. */
  readonly slot: Slot;
  /** Whose a message is, see `Stores`. */
  readonly devices: DeviceBook | null;
}

/** A message that was decrypted and kept; `extra`: what it says, if an extension knows that. */
export interface Arrived extends Opened {
  readonly extra: Extra | null;
}

/**
 * The received messages of a profile; times are milliseconds of the device's persistent clock. `sender` is a person
 * below, unless it says otherwise.
 */
export class Inbox {
  readonly #vault: Vault;
  readonly #parts: InboxParts;
  /** Ids of unread messages, by sender. */
  readonly #unread = new Map<string, Set<string>>();
  readonly #acknowledgedAgain = new Map<string, number>();

  constructor(vault: Vault, parts: InboxParts) {
    this.#vault = vault;
    this.#parts = parts;
    for (const [, { sender, messageId }] of vault.all(records.INBOX)) {
      this.#unreadOf(sender).add(messageId);
    }
  }

  /** Whether a message of this user, or of another device of the same person, was received before. */
  hasSeen(sender: string, messageId: string): boolean {
    const whose = this.#personOf(sender);
    const hasSeen = (one: string): boolean => this.#vault.has(records.SEEN, records.key(one, messageId));
    return hasSeen(sender) || (whose !== sender && hasSeen(whose));
  }

  #personOf(sender: string): string {
    return this.#parts.devices?.personOf(sender) ?? sender;
  }

  /**
   * Decrypt a message that was not seen before, and keep it; the caller stores what follows from it as well.
   *
   * What an extension knows is not kept here, only that it has come. Throws a CryptoError if it cannot be read: undo
   * the transaction.
   *
   * @param frame as the relay delivered it
   * @param wall milliseconds since 1970 by the device's clock, to be shown
   * @param came when it came, in persistent time, if that was not now
   */
  receive(
    tx: Transaction,
    frame: RoutedMessage,
    now: number,
    { wall, came = now }: { readonly wall: number; readonly came?: number },
  ): Arrived {
    const { senderId: sender, messageId } = frame.payload;
    const { devices } = this.#parts;
    const opened = this.#parts.conversations.open(tx, frame, now);
    const { content } = opened;
    const extra = this.#extraIn(opened);
    if (extra !== null || content.kind === "receipt" || content.kind === "between") {
      tx.put(records.SEEN, records.key(sender, messageId), { at: now }, { due: now + KEEP_SEEN_RECEIPTS_MS });
    } else if (devices?.isOnlyExpected(sender) === true) {
      throw new InvalidMessage("a device that is to be linked has nothing else to say");
    } else {
      const isOwn = devices?.isOwn(sender) === true;
      const peer = this.#conversationOf(sender, content);
      const whose = this.#personOf(sender);
      if (isOwn) {
        this.#putCopy(tx, frame, content, { peer, came });
      } else {
        const received = this.#put(tx, frame, content, { came, wall });
        if (received.newer !== null || takeEarly([this.#vault, tx], records.EARLY_READ, whose, messageId) === null) {
          this.#handOut(tx, whose, messageId);
        } else {
          this.#putRead(tx, received, false);
        }
        this.#tell(tx, sender, messageId, "delivered", now);
      }
      tx.put(records.SEEN, records.key(whose, messageId), { at: now });
    }
    this.#parts.recovery.readable(tx, sender, messageId);
    return { ...opened, extra };
  }

  #extraIn({ content }: Opened): Extra | null {
    return content.kind === "newer" ? this.#parts.slot.is.read(content) : null;
  }

  /** With whom a text was exchanged; throws InvalidMessage if it is for another person than one is. */
  #conversationOf(sender: string, said: Text | Newer): string {
    const { devices } = this.#parts;
    // Of what is newer, nobody knows yet whom it is for: it shows as its sender's.
    const isOpen = devices === null || (said.kind === "newer" && !devices.isOwn(sender));
    const found = isOpen ? this.#personOf(sender) : devices.conversationOf(sender, said.marks?.to);
    if (found === null && said.kind === "text") {
      throw new InvalidMessage("a message is for somebody else");
    }
    return found ?? "";
  }

  /** All devices of a person learn what becomes of a message. */
  #tell(tx: Transaction, sender: string, messageId: string, status: "delivered" | "read" | "burned", now: number): void {
    for (const device of this.#parts.devices?.told(sender) ?? [sender]) {
      this.#parts.receipts.put(tx, device, messageId, status, now);
    }
  }

  /** Something that another own device has sent to somebody. */
  #putCopy(
    tx: Transaction,
    frame: RoutedMessage,
    said: Text | Newer,
    { came, peer }: { readonly came: number; readonly peer: string },
  ): void {
    const { messageId } = frame.payload;
    if (said.kind !== "text" || this.#vault.has(records.SENT, messageId)) {
      return; // what a newer version has sent shows once this one is newer, too; and what is here stays
    }
    const { burn, expiresIn } = optionsOf(frame);
    const expiresAt = expiresIn === null ? null : came + expiresIn;
    const early = takeEarly([this.#vault, tx], records.EARLY_SENT, peer, messageId) ?? DeliveryState.ACCEPTED;
    const state = reached(early, burn);
    const text = state === DeliveryState.BURNED ? null : said.body;
    const given = { messageId, peer, text, madeAt: said.sentAt, burn, state, expiresIn, expiresAt };
    tx.put(records.SENT, messageId, SentRecord.make(given), { due: text === null ? null : expiresAt });
  }

  #put(
    tx: Transaction,
    frame: RoutedMessage,
    said: Text | Newer,
    { came, wall }: { readonly came: number; readonly wall: number },
  ): ReceivedRecord {
    const { messageId, senderId } = frame.payload;
    const sender = this.#personOf(senderId);
    const name = records.key(sender, messageId);
    const { burn, expiresIn } = optionsOf(frame);
    const expiresAt = expiresIn === null ? null : came + expiresIn;
    const received: ReceivedRecord = {
      messageId,
      sender,
      text: said.kind === "text" ? said.body : null,
      sentAt: said.sentAt,
      receivedAt: wall,
      burn,
      expiresAt,
      read: false,
      quiet: false,
      newer: said.kind === "newer" ? said.whole : null,
      device: sender === senderId ? null : senderId,
    };
    tx.put(records.RECEIVED, name, received, { due: expiresAt });
    if (said.kind === "newer") {
      tx.put(records.NEWER, name, { messageId, sender });
    }
    return received;
  }

  /** The user has not seen it yet. */
  #handOut(tx: Transaction, sender: string, messageId: string): void {
    tx.put(records.INBOX, records.key(sender, messageId), { messageId, sender });
    tx.onCommit(() => this.#unreadOf(sender).add(messageId));
  }

  /**
   * Decrypt and keep a stranger's message, and hand it to nobody yet.
   *
   * Throws a CryptoError if it cannot be read.
   */
  look(
    tx: Transaction,
    frame: RoutedMessage,
    now: number,
    times: { readonly came: number; readonly wall: number },
  ): void {
    const opened = this.#parts.conversations.open(tx, frame, now);
    if (this.#extraIn(opened) !== null) {
      throw new UndecryptableMessage("this waits until its sender is let in");
    }
    if (opened.content.kind !== "receipt" && opened.content.kind !== "between") {
      this.#put(tx, frame, opened.content, times);
    }
    tx.put(records.SEEN, records.key(frame.payload.senderId, frame.payload.messageId), { at: now });
  }

  /** A stranger's message that was decrypted; null if there is none, or not any more. */
  lookedAt(sender: string, messageId: string, now: number): ReceivedRecord | null {
    const found = this.#vault.find(records.RECEIVED, records.key(sender, messageId));
    const isGone = found === null || !isThere(found) || (found.expiresAt !== null && found.expiresAt <= now);
    return isGone ? null : found;
  }

  /** A stranger's message that was looked at is handed out now; false if it is gone. */
  letIn(tx: Transaction, sender: string, messageId: string, now: number): boolean {
    const found = this.lookedAt(sender, messageId, now);
    if (found === null) {
      return false;
    }
    const whose = this.#personOf(sender);
    if (whose !== sender) {
      // A stranger then, a device of somebody now.
      tx.delete(records.RECEIVED, records.key(sender, messageId));
      const after = { ...found, sender: whose, device: sender };
      tx.put(records.RECEIVED, records.key(whose, messageId), after, { due: found.expiresAt });
      tx.put(records.SEEN, records.key(whose, messageId), { at: now });
    }
    this.#handOut(tx, whose, messageId);
    this.#tell(tx, sender, messageId, "delivered", now);
    return true;
  }

  /** Leave nothing of a stranger's message that was looked at and not let in, but that it has come. */
  erase(tx: Transaction, sender: string, messageId: string): void {
    const name = records.key(sender, messageId);
    const found = this.#vault.find(records.RECEIVED, name);
    if (found !== null && isThere(found)) {
      tx.delete(records.RECEIVED, name);
    }
  }

  /** The status with which to acknowledge a message that arrived again, '' if none; not too often. */
  dueAgain(sender: string, messageId: string, now: number): "" | "delivered" | "read" | "burned" {
    const name = records.key(this.#personOf(sender), messageId);
    const last = this.#acknowledgedAgain.get(name);
    const received = this.#vault.find(records.RECEIVED, name);
    if (received === null || (last !== undefined && now - last < ACKNOWLEDGE_AGAIN_MS)) {
      return "";
    }
    return received.quiet || !received.read ? "delivered" : received.burn ? "burned" : "read";
  }

  /** A message that arrived again is acknowledged again: not so soon the next time. */
  acknowledgedAgain(tx: Transaction, sender: string, messageId: string, now: number): void {
    tx.onCommit(() => {
      const name = records.key(this.#personOf(sender), messageId);
      this.#acknowledgedAgain.delete(name);
      this.#acknowledgedAgain.set(name, now);
      if (this.#acknowledgedAgain.size > MAX_ACKNOWLEDGED_AGAIN) {
        for (const oldest of this.#acknowledgedAgain.keys()) {
          this.#acknowledgedAgain.delete(oldest);
          break;
        }
      }
    });
  }

  /** How many messages of somebody the user has not seen. */
  unread(sender: string): number {
    return this.#unread.get(sender)?.size ?? 0;
  }

  /** Whether the user has not seen a message. */
  isUnread(sender: string, messageId: string): boolean {
    return this.#unread.get(sender)?.has(messageId) === true;
  }

  /** Whose messages the user has not seen. */
  senders(): string[] {
    return [...this.#unread].filter(([, ids]) => ids.size > 0).map(([sender]) => sender);
  }

  /** The user has seen that a message is there. */
  handled(sender: string, messageId: string): void {
    this.#vault.transaction((tx) => this.#handled(tx, sender, messageId));
  }

  #handled(tx: Transaction, sender: string, messageId: string): void {
    tx.delete(records.INBOX, records.key(sender, messageId));
    tx.onCommit(() => this.#unread.get(sender)?.delete(messageId));
  }

  /** Nothing of this user is unread any more, and nothing told of them is remembered. */
  drop(tx: Transaction, sender: string): void {
    dropEarly(tx, sender);
    for (const messageId of this.#unread.get(sender) ?? []) {
      this.#handled(tx, sender, messageId);
    }
  }

  /**
   * The user has read a message: it is handled, and burns if asked. `quiet`: its sender is not notified.
   *
   * A newer one counts as handled and not as read: the user has seen nothing of it, so it waits for a version that can
   * show it. Returns whether it counts as read.
   */
  markRead(sender: string, messageId: string, now: number, { quiet = false } = {}): boolean {
    const name = records.key(sender, messageId);
    const received = this.#vault.find(records.RECEIVED, name);
    if (received === null || received.read) {
      return true;
    }
    if (received.newer !== null) {
      this.handled(sender, messageId);
      return false;
    }
    const status = received.burn ? "burned" : "read";
    const device = received.device ?? sender;
    this.#vault.transaction((tx) => {
      this.#putRead(tx, received, quiet);
      if (!quiet) {
        this.#parts.acks.put(tx, device, messageId, status);
        this.#tell(tx, device, messageId, status, now);
      }
      if ((this.#parts.devices?.ownOthers().length ?? 0) > 0) {
        tx.put(records.SYNC, name, { messageId, sender, group: "" });
      }
    });
    return true;
  }

  #putRead(tx: Transaction, received: ReceivedRecord, quiet: boolean): void {
    const { messageId, sender } = received;
    const after: ReceivedRecord = { ...received, read: true, quiet, text: received.burn ? null : received.text };
    const due = after.text === null ? null : received.expiresAt;
    tx.put(records.RECEIVED, records.key(sender, messageId), after, { due });
    this.#handled(tx, sender, messageId);
  }

  /** Another own device has read a message, and told whom it concerns. */
  readElsewhere(tx: Transaction, sender: string, messageId: string, now: number): void {
    const received = this.#vault.find(records.RECEIVED, records.key(sender, messageId));
    if (received !== null && !received.read && received.newer === null) {
      this.#putRead(tx, received, false);
    } else if (received === null && !this.hasSeen(sender, messageId)) {
      const state = DeliveryState.READ;
      noteEarly([this.#vault, tx], records.EARLY_READ, { person: sender, messageId, state, now });
    }
  }

  /** A person says what became of a message of ours that this device does not know (yet). */
  toldEarly(tx: Transaction, person: string, messageId: string, state: DeliveryState, now: number): void {
    const { devices } = this.#parts;
    if (devices !== null && devices.own !== null && !this.hasSeen(devices.person, messageId)) {
      noteEarly([this.#vault, tx], records.EARLY_SENT, { person, messageId, state, now });
    }
  }

  /** Erase the messages whose time has come. */
  forgetExpired(tx: Transaction, now: number): void {
    for (const received of this.#vault.overdue(records.RECEIVED, now)) {
      tx.put(records.RECEIVED, records.key(received.sender, received.messageId), erased(received));
      this.#handled(tx, received.sender, received.messageId);
    }
    tx.deleteDue(records.SEEN, now);
    forgetEarly(tx, now);
  }

  #unreadOf(sender: string): Set<string> {
    const found = this.#unread.get(sender) ?? new Set<string>();
    this.#unread.set(sender, found);
    return found;
  }

  // --- newer messages -----------------------------------------------------------

  /** Whether there is something newer, and this version reads more than the one that has looked at it last. */
  mayReadNewer(): boolean {
    if (!this.#vault.hasKind(records.NEWER)) {
      return false;
    }
    const tried = this.#vault.find(records.KNOWN_KINDS, "");
    return tried === null || tried.kinds.join("\n") !== content2.known(this.#parts.conversations.more).join("\n");
  }

  /** Hand out again what an older version could not show, of those who may write. */
  handOutNewer(mayWrite: (sender: string) => boolean): void {
    if (!this.mayReadNewer()) {
      return;
    }
    this.#vault.transaction((tx) => {
      for (const [sender, messageIds] of this.readNewer(tx)) {
        if (mayWrite(sender)) {
          this.waitAgain(tx, sender, messageIds);
        }
      }
    });
  }

  /** Read again what was newer than the version that received it: what this one knows, by senders. */
  readNewer(tx: Transaction): Map<string, string[]> {
    const read = new Map<string, string[]>();
    for (const [, marker] of this.#vault.all(records.NEWER)) {
      if (this.#readAgain(tx, marker)) {
        read.set(marker.sender, [...(read.get(marker.sender) ?? []), marker.messageId]);
      }
    }
    tx.put(records.KNOWN_KINDS, "", { kinds: content2.known(this.#parts.conversations.more) });
    return read;
  }

  /** Whether this version could read it. */
  #readAgain(tx: Transaction, marker: NewerRecord): boolean {
    const name = records.key(marker.sender, marker.messageId);
    const received = this.#vault.find(records.RECEIVED, name);
    if (received === null || received.newer === null) {
      tx.delete(records.NEWER, name);
      return false;
    }
    let said: ReturnType<typeof content2.readAgain>;
    try {
      said = content2.readAgain(received.newer, this.#parts.conversations.more);
    } catch (error) {
      if (error instanceof InvalidMessage) {
        return false; // it stays: nothing of it can be shown, and a later version may be more tolerant
      }
      throw error;
    }
    if (said.kind !== "text") {
      return false;
    }
    tx.put(records.RECEIVED, name, { ...received, text: said.body, newer: null }, { due: received.expiresAt });
    tx.delete(records.NEWER, name);
    return true;
  }

  /** Messages of a sender that were handled already are unread again: nothing of them was seen. */
  waitAgain(tx: Transaction, sender: string, messageIds: readonly string[]): void {
    for (const messageId of messageIds) {
      this.#handOut(tx, sender, messageId);
    }
  }
}

/** What the metadata of a message says; its form was checked when the frame was read. */
export function optionsOf(frame: RoutedMessage): { readonly burn: boolean; readonly expiresIn: number | null } {
  const { burnAfterRead, expiresIn } = frame.payload.metadata ?? {};
  return { burn: burnAfterRead === true, expiresIn: typeof expiresIn === "number" ? expiresIn : null };
}
