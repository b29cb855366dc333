/** A person's devices, put together: what the messenger works with if it has them. */
import { checkedName } from "../names.ts";
import { UsageError } from "../errors.ts";
import type { Random } from "../../bytes.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Blocking } from "../blocking.ts";
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import type { Presence } from "../presence.ts";
import type { PreKeyUpload } from "../prekey_upload.ts";
import type { Receiving } from "../receiving.ts";
import type { Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import { DeviceArrivals } from "./arrivals.ts";
import { type DeskParts, DeviceDesk } from "./desk.ts";
import { parseList } from "./device_list.ts";
import { HistoryIn } from "./history_in.ts";
import { HistoryOut } from "./history_out.ts";
import { InStep } from "./in_step.ts";
import type { DeviceSaid } from "./kinds.ts";
import { LinkingDesk } from "./linking_desk.ts";

export { DeviceBook } from "./book.ts";
export { DEVICE_KINDS } from "./kinds.ts";

/** One of one's devices, as its user sees it. */
export interface OwnDevice {
  readonly userId: string;
  /** '' if that is not known here. */
  readonly name: string;
  /** When it was linked: milliseconds since 1970, by the first device's clock. */
  readonly added: number;
  /** When something came from it last; null if nothing did. */
  readonly heardAt: number | null;
  /** It links and removes the others. */
  readonly isFirst: boolean;
  readonly isThis: boolean;
}

/** What devices are attached to. */
export interface Attached {
  readonly blocking: Blocking;
  readonly presence: Presence;
  /** Something is to be treated otherwise: a user, or, if null, what others are told. */
  readonly changed: (userId: string | null) => void;
  readonly receiving: Receiving;
  readonly preKeyUpload: PreKeyUpload;
}

/** One's devices. */
export class Devices {
  readonly desk: DeviceDesk;
  readonly linking: LinkingDesk;
  readonly historyIn: HistoryIn;
  readonly #historyOut: HistoryOut;
  readonly #inStep: InStep;
  readonly #parts: DeskParts;
  #link: Link | null = null;

  /** @param given what it is told by, and tells */
  constructor(parts: DeskParts, random: Random, given: Attached) {
    this.#parts = parts;
    const { devices, moment, stores } = parts;
    const { blocking, changed, preKeyUpload, presence, receiving } = given;
    const desk = new DeviceDesk(parts);
    this.desk = desk;
    const groups = stores.slot.is.synced;
    this.#inStep = new InStep({ stores, devices, desk, blocking, presence, groups, moment, changed });
    this.historyIn = new HistoryIn(stores, devices, desk, parts.sending);
    this.#historyOut = new HistoryOut({ ...parts, desk });
    const more = { random, inStep: this.#inStep, historyIn: this.historyIn, historyOut: this.#historyOut };
    this.linking = new LinkingDesk(parts, desk, more);
    desk.forgetDevice = (tx, device) => blocking.forgetDevice(tx, device);
    desk.between = (sender, said, now) => this.#between(sender, said, now);
    receiving.devices = new DeviceArrivals(stores, this.desk, this.linking, receiving, parts.outgoing.allowances);
    preKeyUpload.deviceList = () => devices.toPublish()?.encoded ?? null;
    preKeyUpload.listPublished = (encoded) => {
      const { hash } = parseList(encoded);
      stores.vault.transaction((tx) => devices.published(tx, hash));
    };
  }

  /** One's other device says something. */
  #between(sender: string, said: DeviceSaid, now: Moment): Event[] {
    const { devices, stores } = this.#parts;
    switch (said.kind) {
      case "sync-read":
        this.desk.readElsewhere(said.messages);
        stores.vault.transaction((tx) => stores.slot.is.synced?.readElsewhere(tx, said.inGroups ?? [], sender));
        break;
      case "sync-muted":
        this.#inStep.takeMuted(said.groups);
        break;
      case "sync-contacts":
        this.#inStep.takeContacts(said.contacts);
        break;
      case "sync-settings":
        this.#inStep.takeSettings(said);
        break;
      case "sync-devices":
        if (sender === devices.person) this.desk.takeNames(said.names);
        break;
      case "sync-group":
        if (sender !== devices.person) break;
        return stores.vault.transaction((tx) => stores.slot.is.synced?.take(tx, said, now) ?? []);
      case "history":
        if (sender === devices.person) this.historyIn.came(said, now);
        break;
      case "history-ask":
        this.#historyOut.asked(sender, said.from, said.chunks, now);
        break;
    }
    return [];
  }

  /** Time has passed, or something may be sent now. */
  run(link: Link | null, now: Moment): Event[] {
    this.#link = link;
    this.desk.run(link, now);
    this.#inStep.run();
    this.#historyOut.run(link, now);
    return [...this.linking.run(link, now), ...this.historyIn.run(link, now)];
  }

  /** Find out whether anything waits at the relay. */
  look(): void {
    this.#link?.look();
  }

  /** Whether what waited at the relay is here: what other devices have sent, too. */
  get hasFetched(): boolean {
    return this.#link?.hasFetched === true;
  }

  /** Milliseconds until there is something to do. */
  waits(now: number): number[] {
    return [...this.desk.waits(now), ...this.historyIn.waits(now), ...this.#historyOut.waits()];
  }

  /**
   * Puts a text for somebody into the outbox, if it goes to more than one device; whether it does. `isAlone`: the one for
   * its recipient goes as a message to one, which `also` is to put.
   */
  send(
    peer: string,
    text: { readonly sentAt: number; readonly body: string },
    given: {
      readonly messageId: string;
      readonly burn: boolean;
      readonly expiresIn: number | null;
      readonly also: (tx: Transaction, isAlone: boolean) => void;
    },
  ): boolean {
    if (!this.#parts.devices.isWide(peer)) return false;
    const isAlone = this.desk.goesAlone(peer);
    this.desk.send(peer, text, { ...given, also: (tx) => given.also(tx, isAlone) });
    return true;
  }

  /** All devices, the first one first; empty if there never was a second one. */
  everybody(): readonly OwnDevice[] {
    const { devices } = this.#parts;
    const names = devices.names();
    return (devices.own?.newest.devices ?? []).map(({ added }, place) => {
      const userId = encodeBase64(devices.own?.newest.ids[place] ?? new Uint8Array());
      const record = names.get(userId);
      return {
        userId,
        name: record?.name ?? "",
        added,
        heardAt: record?.heardAt ?? null,
        isFirst: place === 0,
        isThis: userId === devices.device,
      };
    });
  }

  /** On a new device: the line to give to the first one. It is good for five minutes. */
  showCode(relay: string, name: string): string {
    if (relay === "") throw new UsageError("no relay is known yet");
    return this.linking.show(relay, checkedName(name));
  }

  /** Whether this first device was restored from a backup, and others may know of later changes than it does. */
  get isRestored(): boolean {
    const { devices } = this.#parts;
    return devices.own !== null && devices.isFirst && devices.isRestored;
  }
}

/** One's devices, on a client that knows them and can send to many; null on another. */
export function devicesOn(ports: ExtensionPorts, given: Attached): Devices | null {
  const { identity, now: moment, random, sending, stores } = ports;
  const { devices } = stores;
  const { outgoing } = stores.slot.is;
  if (devices === null || outgoing === null) return null;
  return new Devices({ stores, devices, sending, outgoing, identity, moment }, random, given);
}
