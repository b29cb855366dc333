/**
 * A link as it goes on: what is sent, what comes, and what the users of both devices are asked.
 *
 * It is in memory alone: whoever closes the page in between begins with a new code. Stored is what comes of it.
 */
import type { Random } from "../../bytes.ts";
import { isEqual } from "../../bytes.ts";
import { CryptoError, InvalidMessage } from "../../crypto/errors.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import type { Opened } from "../conversations.ts";
import { UsageError } from "../errors.ts";
import { shownName } from "../groups/naming.ts";
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import type { Event, LinkingEvent } from "../status.ts";
import * as records from "../records.ts";
import { isKnown } from "../records.ts";
import type { DeskParts, DeviceDesk } from "./desk.ts";
import { MAX_DEVICES } from "./device_list.ts";
import { LinkEnded } from "./errors.ts";
import type { HistoryIn } from "./history_in.ts";
import type { HistoryOut } from "./history_out.ts";
import type { InStep } from "./in_step.ts";
import { type LinkSaid, isLinkSaid } from "./kinds.ts";
import { type LinkCode, SECRET_BYTES, linkLine, parseLinkLine } from "./link_code.ts";
import { FirstDevice, LINK_MS, NONCE_BYTES, NewDevice } from "./linking.ts";

/** A first device that waits for the new one's key. */
interface Waiting {
  readonly code: LinkCode;
  readonly until: number;
}

/** What a new device gets. */
export interface LinkingParts {
  readonly random: Random;
  readonly inStep: InStep;
  readonly historyIn: HistoryIn;
  readonly historyOut: HistoryOut;
}

/** One link at a time, on either side. */
export class LinkingDesk {
  readonly #parts: DeskParts;
  readonly #desk: DeviceDesk;
  readonly #more: LinkingParts;
  readonly #random: Random;
  #new: NewDevice | null = null;
  #waiting: Waiting | null = null;
  #first: FirstDevice | null = null;
  /** How many people this new device is still to be told of. */
  #awaited: number | null = null;
  /** What the new device is called: its own name, or the one that it has told. */
  #name = "";
  /** Whether the new device gets what was said before. */
  #handsOver = false;

  constructor(parts: DeskParts, desk: DeviceDesk, more: LinkingParts) {
    this.#parts = parts;
    this.#desk = desk;
    this.#more = more;
    this.#random = more.random;
    const agreed = parts.stores.vault.find(records.AGREED, "");
    if (agreed !== null) {
      this.#new = NewDevice.resumed(parts.identity, agreed.key, agreed.secret);
      parts.stores.book.expected.add(encodeBase64(this.#new.person ?? agreed.key));
    }
  }

  /** Whether a device is being linked. */
  get isOpen(): boolean {
    return this.#new !== null || this.#awaited !== null || this.#waiting !== null || this.#first !== null;
  }

  /** A further device links none, nor does it become another person's. */
  #checkFirst(): void {
    if (!this.#parts.devices.isFirst) throw new UsageError("only your first device can link others; do it there");
  }

  // --- the new device -----------------------------------------------------------

  /** Whether this device can become somebody's: nobody's yet, and its user has nothing to do with anybody. */
  get isUnused(): boolean {
    const { devices, stores } = this.#parts;
    // Whoever is known only because they link this device has not made it a used one.
    const isUsed = stores.book.everybody().some(({ blocked, userId }) => blocked || isKnown(stores.book.person(userId)));
    return devices.own === null && !isUsed;
  }

  /**
   * The code of this device, which is to become somebody's; good once, for five minutes.
   *
   * @throws UsageError It is somebody's already, or in use.
   */
  show(relay: string, name: string): string {
    const { identity, moment } = this.#parts;
    this.#checkFirst();
    if (!this.isUnused) {
      throw new UsageError("this browser is in use already; a device that is to be linked has no contacts yet");
    }
    this.cancel();
    const code = { relay, id: identity.peer.userId, secret: this.#random(SECRET_BYTES) };
    this.#new = new NewDevice(identity, code, this.#random(NONCE_BYTES), moment().persistent + LINK_MS);
    this.#name = name;
    return linkLine(code);
  }

  /** The user of the new device has seen to whom it will belong, and agrees. */
  agree(): void {
    const person = this.#new?.person ?? null;
    if (this.#new === null || person === null) throw new UsageError("no device is being linked; begin again");
    const consent = usable(() => this.#new?.agreed(this.#now));
    const { code, key } = this.#new;
    if (consent === undefined || key === null) return;
    const agreed = { key, secret: code.secret };
    this.#desk.say([encodeBase64(person)], { kind: "link-consent", consent }, (tx) => tx.put(records.AGREED, "", agreed));
  }

  // --- the first device ---------------------------------------------------------

  /** Links the device that shows a code; an event tells when its digits can be typed. `history`: of texts until now. */
  begin(line: string, { history = true } = {}): void {
    const { devices, moment, stores } = this.#parts;
    this.#checkFirst();
    const code = readable(line);
    if ((devices.own?.newest.devices.length ?? 1) >= MAX_DEVICES) {
      throw new UsageError(`you can have ${MAX_DEVICES} devices; remove one first`);
    }
    const device = encodeBase64(code.id);
    if (device === devices.device || devices.isOwn(device) || stores.book.get(device).name !== "") {
      throw new UsageError("this is the code of one of your devices, or of a contact; show one on a new device");
    }
    this.cancel();
    stores.book.expected.add(device);
    this.#parts.sending.resetBackoff(device); // whatever was wrong before
    this.#handsOver = history;
    this.#waiting = { code, until: moment().persistent + LINK_MS };
  }

  /** The user of the first device has typed the digits that the new one shows; whether they are right. */
  type(digits: string): boolean {
    const first = this.#first;
    if (first === null) throw new UsageError("no device is being linked; begin again");
    try {
      const isRight = first.typed(digits, this.#now);
      return this.#takeIn() || isRight;
    } catch (error) {
      if (error instanceof LinkEnded) this.#endFirst(true);
      throw error instanceof CryptoError ? new UsageError(error.message) : error;
    }
  }

  /** It will not be linked. */
  cancel(): void {
    const person = this.#new?.person ?? null;
    if (person !== null) this.#desk.say([encodeBase64(person)], { kind: "link-end" });
    this.#endFirst(true);
    this.#dropNew();
  }

  /** Nothing is left of a link of this new device that has come to nothing. */
  #dropNew(): void {
    const { book, vault } = this.#parts.stores;
    this.#new = null;
    book.expected.clear();
    vault.transaction((tx) => tx.delete(records.AGREED, ""));
  }

  // --- what comes ---------------------------------------------------------------

  /** Whether strangers are listened to: a code is shown here. */
  get isListening(): boolean {
    return this.#new !== null;
  }

  /**
   * Checks that what a stranger has sent is an offer of somebody who has seen the code; another one than the first of
   * them, too, for that ends the link.
   *
   * @throws InvalidMessage It is none: it waits as a request, like anybody's.
   */
  checkOffer({ content, key }: Opened): void {
    const said = content.kind === "between" && content.said.kind === "link-offer" ? content.said : null;
    if (said === null || this.#new?.isGood(key, said) !== true) {
      throw new InvalidMessage("a stranger's message is no offer");
    }
  }

  /** Something was said that may be part of a link; what is not is ignored. */
  received(sender: string, { content, key }: Opened): Event[] {
    if (content.kind !== "between") return [];
    const { said } = content;
    if (said.kind === "sync-contacts" && this.#awaited !== null) {
      return this.#parts.devices.isOwn(sender) ? this.#toldOf(said.contacts.length) : [];
    }
    if (!isLinkSaid(said)) return [];
    try {
      if (this.#new !== null) return this.#atNew(this.#new, sender, key, said);
      return this.#first === null ? [] : this.#atFirst(this.#first, key, said);
    } catch (error) {
      if (error instanceof LinkEnded) {
        this.cancel();
        return [ended(error.message)];
      }
      if (error instanceof CryptoError) return [];
      throw error;
    }
  }

  #atNew(fresh: NewDevice, sender: string, key: Uint8Array, said: LinkSaid): Event[] {
    const { stores } = this.#parts;
    switch (said.kind) {
      case "link-offer": {
        const { mac, value: nonce } = fresh.offered(key, said.commitment, said.mac, this.#now);
        stores.book.expected.add(sender);
        this.#desk.say([sender], { kind: "link-answer", nonce, mac, name: this.#name });
        return [];
      }
      case "link-reveal": {
        const digits = fresh.revealed(key, said.nonce, this.#now);
        return [{ kind: "linking", step: "digits", digits, person: sender, name: "", reason: "" }];
      }
      case "link-done":
        return this.#done(fresh, key, said);
      case "link-end":
        if (fresh.person === null || encodeBase64(fresh.person) !== sender) return [];
        this.#dropNew();
        return [ended("the other device has ended it")];
      default:
        return [];
    }
  }

  #done(fresh: NewDevice, key: Uint8Array, said: Extract<LinkSaid, { readonly kind: "link-done" }>): Event[] {
    const { devices, moment, stores } = this.#parts;
    const person = encodeBase64(fresh.linked(key, said.list).person);
    stores.vault.transaction((tx) => {
      devices.belong(tx, person);
      devices.takeUp(tx, said.list, person, moment().wall);
      if (said.history !== null) this.#more.historyIn.begin(tx, said.history, moment());
    });
    this.#dropNew();
    this.#awaited = said.people;
    return this.#toldOf(0);
  }

  /** The new device knows so many people more; it is ready once it knows all. */
  #toldOf(people: number): Event[] {
    this.#awaited = (this.#awaited ?? 0) - people;
    if (this.#awaited > 0) return [];
    this.#awaited = null;
    return [linked(this.#parts.devices.person, this.#name)];
  }

  #atFirst(first: FirstDevice, key: Uint8Array, said: LinkSaid): Event[] {
    const device = encodeBase64(first.device.userId);
    switch (said.kind) {
      case "link-answer": {
        const nonce = first.answered(key, said.nonce, said.mac, this.#now);
        this.#name = shownName(said.name);
        this.#desk.say([device], { kind: "link-reveal", nonce });
        return [{ kind: "linking", step: "answered", digits: "", person: device, name: this.#name, reason: "" }];
      }
      case "link-consent":
        first.consented(key, said.consent, this.#now);
        return this.#takeIn() ? [linked(device, this.#name)] : [];
      case "link-end":
        // One that comes before the answer is of an earlier link.
        if (!isEqual(key, first.device.public) || first.digits === null) return [];
        this.#endFirst(false);
        return [ended("the new device has ended it")];
      default:
        return [];
    }
  }

  // --- steps of the first device ------------------------------------------------

  /** Goes on: makes the offer as soon as the new device's key is there. */
  run(link: Link | null, now: Moment): Event[] {
    const waiting = this.#waiting;
    if (waiting === null) return [];
    const { identity, sending, stores } = this.#parts;
    const device = encodeBase64(waiting.code.id);
    const { key } = stores.book.get(device);
    if (key.length > 0 && stores.conversations.load(device).sending?.suite === 2) {
      const nonce = this.#random(NONCE_BYTES);
      this.#first = new FirstDevice(identity.peer, key, waiting.code, nonce, now.persistent);
      this.#waiting = null;
      const { mac, value: commitment } = this.#first.offer();
      this.#desk.say([device], { kind: "link-offer", commitment, mac });
    } else if (now.persistent > waiting.until) {
      this.#endFirst(false);
      return [ended("the new device could not be reached; show a new code")];
    } else if (link !== null) {
      sending.exchanges.want(link, device, now);
    }
    return [];
  }

  /** Makes the list with the new device, once both users have agreed; whether that is so. */
  #takeIn(): boolean {
    const { devices, moment, stores } = this.#parts;
    const device = this.#first?.newDevice(moment().wall) ?? null;
    if (this.#first === null || device === null) return false;
    const userId = encodeBase64(this.#first.device.userId);
    const changed = this.#desk.sign([...(devices.own?.newest.devices.slice(1) ?? []), device]);
    const history = stores.vault.transaction((tx) => {
      devices.name(tx, userId, this.#name);
      return this.#handsOver ? this.#more.historyOut.promise(tx, userId, moment()) : null;
    });
    this.#first = null;
    stores.book.expected.clear();
    const { inStep } = this.#more;
    const people = inStep.people();
    const list = devices.own?.newest.encoded;
    if (list !== undefined) this.#desk.say([userId], { kind: "link-done", list, people: people.length, history });
    const groups = inStep.groups(history !== null);
    const told = [...inStep.contacts(people), inStep.settings(), ...groups, ...inStep.muted()];
    for (const said of told) this.#desk.say([userId], said);
    this.#desk.spread(changed);
    return true;
  }

  #endFirst(tells: boolean): void {
    if (tells && this.#first !== null) {
      this.#desk.say([encodeBase64(this.#first.device.userId)], { kind: "link-end" });
    }
    this.#waiting = this.#first = null;
    this.#parts.stores.book.expected.clear();
  }

  get #now(): number {
    return this.#parts.moment().persistent;
  }
}

function linked(person: string, name: string): LinkingEvent {
  return { kind: "linking", step: "linked", digits: "", person, name, reason: "" };
}

function ended(reason: string): LinkingEvent {
  return { kind: "linking", step: "ended", digits: "", person: "", name: "", reason };
}

/** The code that a user has copied; what to do if it is none is said to them. */
function readable(line: string): LinkCode {
  try {
    return parseLinkLine(line);
  } catch (error) {
    throw error instanceof CryptoError ? new UsageError(`${error.message}; copy it again`) : error;
  }
}

/** What comes of something that a user has caused: what is wrong is said to them. */
function usable<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw error instanceof CryptoError ? new UsageError(error.message) : error;
  }
}
