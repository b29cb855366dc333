/**
 * A new device becomes one of a person's, and nobody else's (devices.md, "Linking a device").
 *
 * Whoever has seen the code of a new device could make it theirs: so it asks its own user to whom it is to belong. And
 * somebody could show a person a code of their own device: so the person types six digits that both devices derive, and
 * which only fit if both speak with each other. The first device commits itself to its share of them before it sees the
 * other one's: whoever is in the middle cannot look for shares that fit, and has three guesses of a million.
 *
 * A step that throws has changed nothing; `LinkEnded` ends the link.
 */
import { NO_BYTES, concat, isEqual, isSameSecret, utf8 } from "../../bytes.ts";
import { InvalidKey, InvalidMessage, InvalidSignature } from "../../crypto/errors.ts";
import { type OwnIdentity, PeerIdentity } from "../../crypto/keys.ts";
import { hkdf, hmacSha256, sha256 } from "../../crypto/primitives.ts";
import { type Device, type DeviceList, checkConsent, consent, parseList } from "./device_list.ts";
import { LinkEnded } from "./errors.ts";
import type { LinkCode } from "./link_code.ts";

/** How long a code is good for, and how long a first device waits for the new one: persistent time. */
export const LINK_MS = 300_000;
/** Wrong digits that end a link: one in 333,333 for whoever can only guess. */
export const MAX_WRONG = 3;
export const DIGITS = 6;
export const NONCE_BYTES = 32;

const COMMITMENT = utf8("phantom/1 link-commitment\n");
const OFFER = utf8("phantom/1 link-offer\n");
const ANSWER = utf8("phantom/1 link-answer\n");
const DIGITS_INFO = utf8("phantom/1 link-digits\n");

/** What a side shows of itself: a commitment or a nonce, and that it knows the code. */
export interface Shown {
  readonly value: Uint8Array;
  readonly mac: Uint8Array;
}

/** Who is to be linked with whom: the two identities, and the secret of the code. */
class Pair {
  readonly #secret: Uint8Array;
  readonly #ends: Uint8Array;

  constructor(
    readonly person: PeerIdentity,
    readonly device: PeerIdentity,
    secret: Uint8Array,
  ) {
    this.#secret = secret;
    this.#ends = concat(person.userId, person.public, device.userId, device.public);
  }

  /** What fixes the first device's share of the digits without showing it. */
  commitment(nonce: Uint8Array): Uint8Array {
    return sha256(concat(COMMITMENT, nonce, this.#ends));
  }

  /** Shows that the first device has seen the code. */
  offerMac(commitment: Uint8Array): Uint8Array {
    return hmacSha256(this.#secret, concat(OFFER, this.#ends, commitment));
  }

  /** Shows that the new device has the code. */
  answerMac(commitment: Uint8Array, nonce: Uint8Array): Uint8Array {
    return hmacSha256(this.#secret, concat(ANSWER, this.#ends, commitment, nonce));
  }

  /** The six digits, leading zeros included. */
  digits(first: Uint8Array, fresh: Uint8Array): string {
    const given = { salt: this.#secret, info: concat(DIGITS_INFO, this.#ends), length: 8 };
    const derived = hkdf(concat(first, fresh), given);
    const value = derived.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
    return String(value % 10n ** BigInt(DIGITS)).padStart(DIGITS, "0");
  }
}

/** The side of the new device. It shows `code` and waits for an offer. */
export class NewDevice {
  #pair: Pair | null = null;
  #commitment: Uint8Array = NO_BYTES;
  #digits: string | null = null;
  #isAgreed = false;

  /**
   * @param nonce 32 random bytes, for this link alone
   * @param until persistent time, in milliseconds
   */
  constructor(
    private readonly identity: OwnIdentity,
    readonly code: LinkCode,
    private readonly nonce: Uint8Array,
    readonly until: number,
  ) {}

  /** One whose user had agreed before the program was closed: it waits for the list alone. */
  static resumed(identity: OwnIdentity, key: Uint8Array, secret: Uint8Array): NewDevice {
    const found = new NewDevice(identity, { relay: "", id: identity.peer.userId, secret }, NO_BYTES, 0);
    found.#pair = new Pair(new PeerIdentity(key), identity.peer, secret);
    found.#isAgreed = true;
    return found;
  }

  /** The raw key of that person; null before an offer. */
  get key(): Uint8Array | null {
    return this.#pair?.person.public ?? null;
  }

  /** The raw id of the person whose device this may become: what its user is asked about; null before an offer. */
  get person(): Uint8Array | null {
    return this.#pair?.person.userId ?? null;
  }

  /** To be shown to its user once they are there. */
  get digits(): string | null {
    return this.#digits;
  }

  get isAgreed(): boolean {
    return this.#isAgreed;
  }

  /** Whether an offer is of somebody who has seen the code; in time, or not. */
  isGood(senderKey: Uint8Array, { commitment, mac }: { readonly commitment: Uint8Array; readonly mac: Uint8Array }): boolean {
    const pair = new Pair(new PeerIdentity(senderKey), this.identity.peer, this.code.secret);
    return isSameSecret(pair.offerMac(commitment), mac);
  }

  /**
   * Somebody offers to take this device in; returns what to answer: its nonce.
   *
   * @throws InvalidSignature They have not seen the code; to be ignored.
   * @throws LinkEnded It is too late, or this is the second one who has seen it.
   */
  offered(senderKey: Uint8Array, commitment: Uint8Array, mac: Uint8Array, now: number): Shown {
    if (!this.isGood(senderKey, { commitment, mac })) {
      // First: whoever has not seen the code ends nothing.
      throw new InvalidSignature("an offer to link this device is from somebody who has not seen its code");
    }
    this.#checkTime(now);
    const pair = new Pair(new PeerIdentity(senderKey), this.identity.peer, this.code.secret);
    const before = this.#pair;
    if (before !== null && !(isEqual(before.person.public, senderKey) && isEqual(this.#commitment, commitment))) {
      throw new LinkEnded("two have seen the code of this device; show a new one, to nobody else");
    }
    this.#pair = before ?? pair;
    this.#commitment = commitment;
    return { value: this.nonce, mac: pair.answerMac(commitment, this.nonce) };
  }

  /**
   * The first device shows its nonce; returns the digits.
   *
   * @throws InvalidSignature It is not from the one who has made the offer; to be ignored.
   * @throws LinkEnded It is too late, or not the nonce that was committed to.
   */
  revealed(senderKey: Uint8Array, nonce: Uint8Array, now: number): string {
    this.#checkTime(now);
    const pair = this.#pair;
    if (pair === null || !isEqual(senderKey, pair.person.public)) {
      throw new InvalidSignature("this is not from the device that has made the offer");
    }
    if (!isSameSecret(pair.commitment(nonce), this.#commitment)) {
      throw new LinkEnded("the first device has not shown what it had committed itself to");
    }
    this.#digits = pair.digits(nonce, this.nonce);
    return this.#digits;
  }

  /**
   * The user has agreed that this device will belong to `person`; returns the consent.
   *
   * @throws InvalidMessage There are no digits yet, so the user can not have seen them.
   * @throws LinkEnded It is too late.
   */
  agreed(now: number): Uint8Array {
    this.#checkTime(now);
    if (this.#pair === null || this.#digits === null) throw new InvalidMessage("the digits are not there yet");
    this.#isAgreed = true;
    return consent(this.identity, this.#pair.person.userId);
  }

  /**
   * The list that makes this device the person's, at any time after its user has agreed.
   *
   * @throws InvalidSignature It is not from the one to whom the user has agreed; to be ignored.
   * @throws InvalidMessage This device is not in the list, or the list is not of that person.
   * @throws CryptoError As `parseList`.
   */
  linked(senderKey: Uint8Array, encoded: Uint8Array): DeviceList {
    const pair = this.#pair;
    if (pair === null || !this.#isAgreed || !isEqual(senderKey, pair.person.public)) {
      throw new InvalidSignature("nobody has agreed that this device belongs to the sender");
    }
    const found = parseList(encoded);
    const own = this.identity.peer.userId;
    if (!isEqual(found.person, pair.person.userId) || !found.ids.some((one) => isEqual(one, own))) {
      throw new InvalidMessage("this device is not in the list of its person");
    }
    return found;
  }

  #checkTime(now: number): void {
    if (now > this.until) throw new LinkEnded("the code of this device was good for five minutes; show a new one");
  }
}

/** The side of the first device, whose user has given it the code of a new one and its passphrase. */
export class FirstDevice {
  readonly device: PeerIdentity;
  readonly #pair: Pair;
  readonly #until: number;
  #digits: string | null = null;
  #wrong = 0;
  #isConfirmed = false;
  #consent: Uint8Array | null = null;

  /**
   * Begins with the key that was handed out for the id in the code.
   *
   * @param nonce 32 random bytes, for this link alone
   * @param now persistent time
   * @throws InvalidKey The key does not fit that id, or both are one's own.
   */
  constructor(
    own: PeerIdentity,
    key: Uint8Array,
    code: LinkCode,
    private readonly nonce: Uint8Array,
    now: number,
  ) {
    this.device = new PeerIdentity(key);
    if (!isEqual(this.device.userId, code.id) || isEqual(key, own.public)) {
      throw new InvalidKey("the key of the new device is not that of its code");
    }
    this.#pair = new Pair(own, this.device, code.secret);
    this.#until = now + LINK_MS;
  }

  /** The digits that the new device shows, null until it has answered; they are shown nowhere here. */
  get digits(): string | null {
    return this.#digits;
  }

  /** Whether the user has typed them. */
  get isConfirmed(): boolean {
    return this.#isConfirmed;
  }

  /** Commitment and MAC of a `link-offer`. */
  offer(): Shown {
    const value = this.#pair.commitment(this.nonce);
    return { value, mac: this.#pair.offerMac(value) };
  }

  /**
   * The new device has answered; returns the nonce, which may be shown to it now.
   *
   * @throws InvalidSignature It is not from the new device, or not in order; to be ignored.
   * @throws LinkEnded It is too late, or a second answer differs from the first.
   */
  answered(senderKey: Uint8Array, nonce: Uint8Array, mac: Uint8Array, now: number): Uint8Array {
    this.#check(senderKey, now);
    if (!isSameSecret(this.#pair.answerMac(this.#pair.commitment(this.nonce), nonce), mac)) {
      throw new InvalidSignature("an answer is not from the device that has shown its code");
    }
    const digits = this.#pair.digits(this.nonce, nonce);
    if (this.#digits !== null && digits !== this.#digits) throw new LinkEnded("the new device has answered twice");
    this.#digits = digits;
    return this.nonce;
  }

  /**
   * The user has typed the digits that the new device shows; returns whether they have been right.
   *
   * @throws InvalidMessage The new device has not answered yet.
   * @throws LinkEnded It is too late, or they were wrong for the third time.
   */
  typed(digits: string, now: number): boolean {
    this.#checkTime(now);
    if (this.#digits === null) throw new InvalidMessage("the new device has not answered yet");
    if (isSameSecret(utf8(digits.replace(/\s/g, "")), utf8(this.#digits))) {
      this.#isConfirmed = true;
      return true;
    }
    this.#wrong += 1;
    if (this.#wrong >= MAX_WRONG) throw new LinkEnded("the digits were wrong three times; show a new code");
    return this.#isConfirmed;
  }

  /**
   * The new device's user has agreed.
   *
   * @throws InvalidSignature It is not from the new device, or no consent, or of an earlier link; to be ignored.
   * @throws LinkEnded It is too late.
   */
  consented(senderKey: Uint8Array, given: Uint8Array, now: number): void {
    this.#check(senderKey, now);
    // Its user agrees after it has answered.
    if (this.#digits === null) throw new InvalidSignature("the new device has consented before it has answered");
    checkConsent(this.device.public, this.#pair.person.userId, given);
    this.#consent = given;
  }

  /**
   * The new device, for the next list; null until both users have agreed.
   *
   * @param added milliseconds since 1970
   */
  newDevice(added: number): Device | null {
    if (!this.#isConfirmed || this.#consent === null) return null;
    return { key: this.device.public, added, consent: this.#consent };
  }

  #check(senderKey: Uint8Array, now: number): void {
    this.#checkTime(now);
    if (!isEqual(senderKey, this.device.public)) {
      throw new InvalidSignature("this is not from the device that has shown its code");
    }
  }

  #checkTime(now: number): void {
    if (now > this.#until) throw new LinkEnded("the new device has not been linked within five minutes; show a new code");
  }
}
