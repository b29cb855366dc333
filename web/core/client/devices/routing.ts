/**
 * To which devices something goes, and whose is what comes from one (devices.md, "Whose a message is").
 *
 * A person is named by the user id of their first device, and most persons have no other.
 */

/** What is known of devices, at one moment. */
export interface Known {
  /** One's own person. */
  readonly person: string;
  /** This device; the same on a first device. */
  readonly device: string;
  /** The usable devices of everybody of whom a list is known, oneself too, in the order in which they were known. */
  readonly usable: ReadonlyMap<string, readonly string[]>;
  /** Whether the user knows somebody as a person by their own right. */
  readonly isPerson: (userId: string) => boolean;
}

export class Routing {
  constructor(private readonly known: Known) {}

  /** What a message to a person is encrypted for, their first device first; never one that counts as another's. */
  devicesOf(person: string): readonly string[] {
    return (this.known.usable.get(person) ?? [person]).filter((one) => this.personOf(one) === person);
  }

  /** One's other devices. */
  ownOthers(): readonly string[] {
    return (this.known.usable.get(this.known.person) ?? []).filter((one) => one !== this.known.device);
  }

  /** Everybody to whom a message for a person goes: their devices, then one's own others. */
  recipients(person: string): readonly string[] {
    return [...this.devicesOf(person), ...this.ownOthers()];
  }

  /**
   * Whose a message of this sender is.
   *
   * One's own devices come first, then who is known as a person: a list of somebody else can take nobody away. Of two
   * lists that name a device, the one that was known first counts. Whoever is in none is a person.
   */
  personOf(sender: string): string {
    const { person, device, usable, isPerson } = this.known;
    if (sender === device || usable.get(person)?.includes(sender) === true) return person;
    if (isPerson(sender) || usable.has(sender)) return sender;
    for (const [other, devices] of usable) if (devices.includes(sender)) return other;
    return sender;
  }

  /** Whether a message is a copy of one's own, or something to bring one's devices in step. */
  isOwn(sender: string): boolean {
    return this.personOf(sender) === this.known.person;
  }

  /**
   * The person with whom a text was exchanged; null if it is to be refused.
   *
   * @param sender the device that wrote it
   * @param to for whom it is, as it says itself; null if it does not, as where nobody has a second device
   */
  conversationOf(sender: string, to: string | null): string | null {
    const whose = this.personOf(sender);
    const { person } = this.known;
    if (whose !== person) return to === null || to === person ? whose : null;
    return to !== null && to !== person && this.personOf(to) === to ? to : null;
  }
}
