/** What has changed of what the page sees: noted while the core works, told once it is stored. */
import type { Conversation, Item, Update } from "../api.ts";
import type { Messenger } from "../core/client/messenger.ts";
import * as records from "../core/client/records.ts";
import { DeliveryState } from "../core/client/status.ts";
import type { Event } from "../core/client/status.ts";
import type { Vault } from "../core/client/vault.ts";
import * as view from "../core/client/view.ts";
import type { PassingState } from "./passing.ts";

/** A message that was changed. */
interface Changed {
  readonly peer: string;
  readonly id: string;
  readonly isMine: boolean;
}

/** Notes what changes in a core, and makes updates of it. */
export class Changes {
  /** Of the core whose changes these are. */
  readonly messenger: Messenger;
  readonly #passing: PassingState;
  readonly #post: (update: Update) => void;
  readonly #peers = new Set<string>();
  readonly #items = new Map<string, Changed>();
  readonly #incoming = new Map<string, string[]>();
  /** Where messages stand that could not be read: one that turns out to be nothing to be shown leaves a gap there. */
  readonly #unreadable = new Map<string, number>();

  constructor(vault: Vault, messenger: Messenger, passing: PassingState, post: (update: Update) => void) {
    this.messenger = messenger;
    this.#passing = passing;
    this.#post = post;
    this.#watch(vault);
  }

  /** All conversations may have changed. */
  changedAll(): void {
    for (const peer of [...view.peersOf(this.messenger.stores), ...this.#passing.told.keys()]) {
      this.#peers.add(peer);
    }
  }

  /** A conversation has changed in what is not stored. */
  changed(peer: string): void {
    this.#peers.add(peer);
  }

  /** What has happened in a step; the connection is told by others. */
  happened(events: readonly Event[]): void {
    for (const event of events) {
      this.#happened(event);
    }
  }

  #happened(event: Event): void {
    switch (event.kind) {
      case "message":
        if (this.#passing.notices.get(event.peer.userId)?.code === "unknown-user") {
          this.#passing.notices.delete(event.peer.userId); // they are there
        }
        this.#hasWritten(event.peer.userId);
        this.#push(event.peer.userId, event.messageId);
        break;
      case "request":
        this.#peers.add(event.peer.userId);
        break;
      case "presence":
        this.#passing.presence.set(event.peer.userId, { status: event.status, lastSeen: event.lastSeen });
        this.#peers.add(event.peer.userId);
        break;
      case "delivery":
        if (event.state !== DeliveryState.FAILED && this.#passing.notices.delete(event.peer.userId)) {
          this.#peers.add(event.peer.userId);
        }
        break;
      case "connection":
        if (event.state !== "online") {
          this.#forgetPresence();
        }
        break;
      case "warning": {
        const notice = view.lastingNotice(event);
        const peer = event.peer?.userId ?? null;
        if (peer !== null && notice !== null) {
          this.#passing.notices.set(peer, notice);
        }
        if (peer !== null) {
          this.#peers.add(peer);
        }
        this.#post({ kind: "warning", peer, notice: { code: event.code, text: event.message } });
        break;
      }
    }
  }

  /** Whoever has sent what they were typing types no more. */
  #hasWritten(peer: string): void {
    const known = this.#passing.presence.get(peer);
    if (known?.status === "typing") this.#passing.presence.set(peer, { ...known, status: "online" });
  }

  /** Tell what has changed; only while nothing is in the core that is not stored. */
  flush(): void {
    const { stores } = this.messenger;
    const now = this.messenger.now();
    this.#tellConversations();
    const byPeer = new Map<string, Item[]>();
    for (const { peer, id, isMine } of this.#items.values()) {
      const item = view.itemById(stores, peer, id, isMine, now) ?? this.#gap(peer, id, isMine, now.wall);
      if (item !== null && !view.isRequest(stores, peer)) {
        byPeer.set(peer, [...(byPeer.get(peer) ?? []), item]);
      }
    }
    this.#items.clear();
    for (const [peer, items] of byPeer) {
      const incoming = this.#incoming.get(peer) ?? [];
      items.sort((one, other) => one.position - other.position);
      this.#post({ kind: "items", peer, items, incoming });
    }
    this.#incoming.clear();
  }

  #tellConversations(): void {
    const { stores } = this.messenger;
    const now = this.messenger.now();
    const changed: Conversation[] = [];
    const removed: string[] = [];
    for (const peer of this.#peers) {
      if (!view.isListed(stores, peer)) {
        if (this.#passing.told.delete(peer)) {
          removed.push(peer);
        }
        continue;
      }
      const conversation = view.conversationOf(stores, peer, now, this.#passing);
      if (this.#note(conversation)) {
        changed.push(conversation);
      }
    }
    this.#peers.clear();
    if (changed.length > 0 || removed.length > 0) {
      this.#post({ kind: "conversations", changed, removed });
    }
  }

  /** All conversations, for the page that asks for them. */
  conversations(): Conversation[] {
    const { stores } = this.messenger;
    const now = this.messenger.now();
    this.#passing.told.clear();
    return view.peersOf(stores).map((peer) => {
      const conversation = view.conversationOf(stores, peer, now, this.#passing);
      this.#note(conversation);
      return conversation;
    });
  }

  /** Whether it is another one than the page was told of; it is from now on. */
  #note(conversation: Conversation): boolean {
    const text = JSON.stringify(conversation);
    const isNews = this.#passing.told.get(conversation.peer) !== text;
    this.#passing.told.set(conversation.peer, text);
    return isNews;
  }

  #watch(vault: Vault): void {
    const { index } = this.messenger.stores;
    for (const [, { sender, messageId }] of vault.all(records.UNREADABLE)) {
      this.#rememberPlace(records.key(sender, messageId), index.position(sender, messageId, false));
    }
    vault.watch(records.SENT, (_, id, sent) => {
      if (sent !== null) {
        this.#item({ peer: sent.peer, id, isMine: true });
      }
    });
    vault.watch(records.UNREADABLE, (_, name, unreadable) => {
      if (unreadable !== null) {
        this.#rememberPlace(name, index.position(unreadable.sender, unreadable.messageId, false));
      }
      this.#named(name);
    });
    for (const kind of [records.RECEIVED, records.INBOX, records.REQUEST]) {
      vault.watch<unknown>(kind, (_, name) => this.#named(name));
    }
    for (const kind of [records.CONTACT, records.DRAFT, records.LASTING, records.PAGE]) {
      vault.watch<unknown>(kind, (_, peer) => this.#peers.add(peer));
    }
    vault.watch(records.OUTBOX, (_, __, entry) => {
      if (entry !== null) {
        this.#peers.add(entry.peer);
      }
    });
  }

  #rememberPlace(name: string, position: number | null): void {
    if (position !== null) {
      this.#unreadable.set(name, position);
    }
  }

  /** A record about a received message has changed. */
  #named(name: string): void {
    const [peer = "", id = ""] = name.split(" ");
    this.#item({ peer, id, isMine: false });
  }

  #item(changed: Changed): void {
    this.#peers.add(changed.peer);
    if (this.messenger.stores.index.isEnteringPast) {
      return; // it is fetched when one looks back so far
    }
    this.#items.set(`${changed.isMine ? "s" : "r"} ${changed.peer} ${changed.id}`, changed);
  }

  #push(peer: string, id: string): void {
    this.#incoming.set(peer, [...(this.#incoming.get(peer) ?? []), id]);
    this.#item({ peer, id, isMine: false });
  }

  /** What stands where a message stood that was nothing to be shown, a receipt; null if nothing stood there. */
  #gap(peer: string, id: string, isMine: boolean, at: number): Item | null {
    const name = records.key(peer, id);
    const position = this.#unreadable.get(name);
    if (isMine || position === undefined) {
      return null;
    }
    this.#unreadable.delete(name);
    return view.placeholder(peer, id, position, { kind: "gone", at });
  }

  #forgetPresence(): void {
    for (const peer of this.#passing.presence.keys()) {
      this.#peers.add(peer);
    }
    this.#passing.presence.clear();
  }
}
