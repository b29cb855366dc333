/** Whose devices are whose: a member is a person, who may have several (devices.md, "Groups"). */
import type { Claim } from "../content.ts";
import { UsageError } from "../errors.ts";
import type { ExtensionPorts } from "../extension.ts";
import { isUserId } from "../ids.ts";
import { labelOf } from "../status.ts";

/** Answers it; everybody whose list is not known has one device. */
export class Persons {
  readonly #ports: Pick<ExtensionPorts, "ownId" | "stores">;

  constructor(ports: Pick<ExtensionPorts, "ownId" | "stores">) {
    this.#ports = ports;
  }

  /** This user as a member: the person, whichever device this is. */
  get own(): string {
    return this.#ports.stores.devices?.person ?? this.#ports.ownId;
  }

  /** Whether this device is the person: it alone changes groups. */
  get isFirst(): boolean {
    return this.#ports.stores.devices?.isFirst !== false;
  }

  /** Whether this user has another device. */
  get hasOthers(): boolean {
    return (this.#ports.stores.devices?.ownOthers().length ?? 0) > 0;
  }

  /** What contents say of one's own device list. */
  get claim(): Claim | null {
    return this.#ports.stores.devices?.claim() ?? null;
  }

  /** Whose a message of a device is. */
  of(device: string): string {
    return this.#ports.stores.devices?.personOf(device) ?? device;
  }

  /** Whether somebody is no device of a person whose list is known. */
  isPerson(id: string): boolean {
    return this.of(id) === id;
  }

  /** See that these people can be added, or removed, by this user. */
  check(people: readonly string[]): void {
    if (people.some((person) => !isUserId(person))) {
      throw new UsageError("only people with an ID that certifies their key can be in a group");
    }
    if (people.includes(this.own)) {
      throw new UsageError("this is your own ID; to leave a group, choose Leave");
    }
  }

  /** See that these people can be added: no device of somebody. */
  checkNew(people: readonly string[]): void {
    this.check(people);
    const device = people.find((person) => !this.isPerson(person));
    if (device !== undefined) {
      const whose = labelOf(this.#ports.stores.book.contact(this.of(device)));
      throw new UsageError(`this is the ID of a device of ${whose}; add their own ID`);
    }
  }

  /** All devices of these people but this one, each once; `withOwn`: one's own, too. */
  devicesOf(people: readonly string[], { withOwn = false } = {}): string[] {
    const { devices } = this.#ports.stores;
    const theirs = people.flatMap((person) => devices?.devicesOf(person) ?? [person]);
    const all = new Set([...theirs, ...(withOwn ? (devices?.ownOthers() ?? []) : [])]);
    all.delete(this.#ports.ownId);
    return [...all];
  }
}
