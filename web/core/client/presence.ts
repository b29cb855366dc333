/**
 * What others may learn of what this user does: presence, typing, and when to stay silent.
 *
 * What the user wants to be shown as holds over connections: a session that is to look absent begins so, with the
 * feature `absent` of AUTH.
 */
import type { Presence as PresenceFrame, PresenceStatus } from "../wire/frames.ts";
import { conversationId } from "./ids.ts";
import { SettingsStore } from "./settings.ts";
import type { Settings } from "./settings.ts";
import type { Transaction, Vault } from "./vault.ts";

/** A frame that is still to get its id and time. */
type UnsentPresence = Pick<PresenceFrame, "type" | "payload">;

/** How this user is shown. */
export class Presence {
  readonly #store: SettingsStore;
  #wanted: PresenceStatus = "online";
  #isAnnounced = true;

  constructor(vault: Vault) {
    this.#store = new SettingsStore(vault);
  }

  /** Called within each transaction that changes the settings. */
  set follow(follow: (tx: Transaction) => void) {
    this.#store.follow = follow;
  }

  /** What others may learn. */
  get settings(): Settings {
    return this.#store.current;
  }

  /** Whether nobody is to learn that this device is there. */
  get looksAbsent(): boolean {
    return this.#wanted === "offline" || !this.settings.presence;
  }

  get #shown(): PresenceStatus {
    return this.looksAbsent ? "offline" : this.#wanted;
  }

  /** Change what others may learn. */
  change(changes: Partial<Settings>): Settings {
    const before = this.#shown;
    this.#store.change(changes);
    this.#noteChange(before);
    return this.settings;
  }

  /** Be shown as this from now on, as far as the settings let others see anything. */
  want(status: Exclude<PresenceStatus, "typing">): void {
    const before = this.#shown;
    this.#wanted = status;
    this.#noteChange(before);
  }

  #noteChange(before: PresenceStatus): void {
    this.#isAnnounced = this.#isAnnounced && this.#shown === before;
  }

  /** A connection begins; whether its session is to look absent from the start. */
  connected(): boolean {
    this.#isAnnounced = this.#shown !== "idle";
    return this.looksAbsent;
  }

  /** What the relay does not know yet, or null; `announced` once it was sent. */
  toAnnounce(): UnsentPresence | null {
    return this.#isAnnounced ? null : frame({ status: this.#shown });
  }

  /** The relay was told. */
  announced(): void {
    this.#isAnnounced = true;
  }

  /** What says that one is writing to somebody, if that may be said, or null; two persons: their devices share it. */
  typing(own: string, peer: string): UnsentPresence | null {
    if (!this.settings.typing || this.looksAbsent) {
      return null;
    }
    return frame({ status: "typing", conversationId: conversationId(own, peer) });
  }

  /** What asks the relay what a contact is doing. */
  question(peer: string): UnsentPresence {
    return frame({ userId: peer });
  }
}

const BUSIEST: readonly PresenceStatus[] = ["online", "idle", "offline"];

/** What others are seen to do in this connection: of a person with several devices, what the busiest one shows. */
export class Sightings {
  readonly #of = new Map<string, readonly [PresenceStatus, number | null]>();

  /** A new connection: nothing is known. */
  clear(): void {
    this.#of.clear();
  }

  /** Take what was said of one of these devices, all of one person; what their person does. */
  note(
    device: string,
    status: PresenceStatus,
    lastSeen: number | null,
    devices: readonly string[],
  ): readonly [PresenceStatus, number | null] {
    const isTyping = status === "typing"; // who types on one device types, whatever the others show
    this.#of.set(device, [isTyping ? "online" : status, lastSeen]);
    if (isTyping) return [status, null];
    const found = devices.flatMap((one) => {
      const seen = this.#of.get(one);
      return seen === undefined ? [] : [seen];
    });
    const busiest = BUSIEST.find((one) => found.some(([seen]) => seen === one)) ?? status;
    const times = found.flatMap(([, at]) => at ?? []);
    return [busiest, busiest === "offline" && times.length > 0 ? Math.max(...times) : null];
  }
}

function frame(payload: PresenceFrame["payload"]): UnsentPresence {
  return { type: "PRESENCE", payload };
}
