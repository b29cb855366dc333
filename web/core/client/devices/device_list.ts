/**
 * The list of a person's devices, which the first of them signs (devices.md, "Device list").
 *
 * It names keys, from which the ids follow, so nobody can swap one; and each device has signed that it belongs to the
 * person, so nobody can put somebody else's into a list. There is one way to write it in bytes.
 */
import { concat, isAllZero, isEqual, readU32, toHex, u32, u64, utf8 } from "../../bytes.ts";
import { InvalidMessage } from "../../crypto/errors.ts";
import { type OwnIdentity, PeerIdentity } from "../../crypto/keys.ts";
import { SIGNATURE_BYTES, sha256 } from "../../crypto/primitives.ts";
import { NewerList } from "./errors.ts";

const LIST = utf8("phantom/1 device-list\n");
const CONSENT = utf8("phantom/1 device-consent\n");
const HASH = utf8("phantom/1 device-list hash\n");

export const VERSION = 1;
/** Each one more is a head in every message to this person, and a mailbox that can be lost. */
export const MAX_DEVICES = 6;
export const DAY_MS = 86_400_000;
/** How long a list brings new devices in: so long at most can a relay keep a newer one back unnoticed. */
export const LIFE_MS = 90 * DAY_MS;
/** The first day of the year 9999, as in contents. */
export const LAST_TIME_MS = 253_370_764_800_000;
/** `previous` of the first list, and of one whose maker does not know the one before. */
export const NOTHING: Uint8Array = new Uint8Array(32);

// Where things are: version, revision, previous, at, until, count; then the devices: key, added, consent.
const REVISION_AT = 1;
const PREVIOUS_AT = 5;
const AT_AT = 37;
const UNTIL_AT = 45;
const COUNT_AT = 53;
const HEAD_BYTES = 54;
const KEY_BYTES = 32;
const TIME_BYTES = 8;
const DEVICE_BYTES = KEY_BYTES + TIME_BYTES + SIGNATURE_BYTES;

/** A device in a list. */
export interface Device {
  /** Its Ed25519 key, 32 bytes. */
  readonly key: Uint8Array;
  /** When it came in: milliseconds since 1970, by the clock of the first device; to be shown. */
  readonly added: number;
  /** Its signature that it belongs to the person, 64 bytes. */
  readonly consent: Uint8Array;
}

/** What a list says. */
export interface Listed {
  /** From 1; rises with each list. */
  readonly revision: number;
  /** The hash of the one before, or `NOTHING`. */
  readonly previous: Uint8Array;
  /** When it was made: milliseconds since 1970 by the maker's clock. */
  readonly at: number;
  /** Until when it brings new devices in. */
  readonly until: number;
  /** 1 to 6; the first one is the person. */
  readonly devices: readonly Device[];
}

/** A list that is in order by itself. */
export interface DeviceList extends Listed {
  /** Its bytes with the signature. */
  readonly encoded: Uint8Array;
  /** What names this list and no other: 32 bytes. */
  readonly hash: Uint8Array;
  /** The raw user id of the person: that of the first device. */
  readonly person: Uint8Array;
  /** The raw user ids of all devices, the person's own first. */
  readonly ids: readonly Uint8Array[];
}

/** A device's signature that it belongs to a person (a raw user id). */
export function consent(device: OwnIdentity, person: Uint8Array): Uint8Array {
  return device.sign(concat(CONSENT, person));
}

/**
 * Checks that the device of this key belongs to a person.
 *
 * @throws InvalidSignature It has not said so.
 */
export function checkConsent(key: Uint8Array, person: Uint8Array, signature: Uint8Array): void {
  new PeerIdentity(key).verify(signature, concat(CONSENT, person));
}

/**
 * Makes a list.
 *
 * @param first the identity of the first device, which is the person
 * @throws InvalidMessage, InvalidKey, InvalidSignature Nobody would take it up.
 */
export function signList(first: OwnIdentity, list: Listed): DeviceList {
  const { revision, previous, at, until, devices } = list;
  const rows = devices.map(({ key, added, consent: own }) => concat(key, u64(added), own));
  const head = [Uint8Array.of(VERSION), u32(revision), previous, u64(at), u64(until), Uint8Array.of(devices.length)];
  const signed = concat(...head, ...rows);
  return parseList(concat(signed, first.sign(concat(LIST, signed))));
}

/**
 * Reads a list and checks all that it says of itself, in the order of the document.
 *
 * @throws NewerList It is of another version.
 * @throws InvalidMessage It has not the form of a list.
 * @throws InvalidKey One of its keys is not one that an identity may have.
 * @throws InvalidSignature Its person has not signed it, or a device has not consented.
 */
export function parseList(encoded: Uint8Array): DeviceList {
  const [version = 0] = encoded;
  if (version > VERSION) throw new NewerList("a device list is of a version that is not known here");
  const count = encoded[COUNT_AT] ?? 0;
  const size = HEAD_BYTES + count * DEVICE_BYTES + SIGNATURE_BYTES;
  if (version !== VERSION || count < 1 || count > MAX_DEVICES || encoded.length !== size) {
    throw new InvalidMessage("a device list has another length than it must have");
  }
  const found: Listed = {
    revision: readU32(encoded, REVISION_AT),
    previous: encoded.slice(PREVIOUS_AT, AT_AT),
    at: timeAt(encoded, AT_AT),
    until: timeAt(encoded, UNTIL_AT),
    devices: Array.from({ length: count }, (_, row) => deviceAt(encoded, HEAD_BYTES + row * DEVICE_BYTES)),
  };
  checkFields(found);
  const peers = found.devices.map(({ key }) => new PeerIdentity(key));
  for (const peer of peers) void peer.agreementKey;
  const ids = peers.map(({ userId }) => userId);
  const [first] = peers;
  const [person] = ids;
  if (first === undefined || person === undefined) throw new InvalidMessage("a device list names nobody");
  const signed = encoded.subarray(0, -SIGNATURE_BYTES);
  first.verify(encoded.subarray(-SIGNATURE_BYTES), concat(LIST, signed));
  for (const device of found.devices) checkConsent(device.key, person, device.consent);
  return { ...found, encoded, person, ids, hash: sha256(concat(HASH, encoded)) };
}

function deviceAt(encoded: Uint8Array, at: number): Device {
  return {
    key: encoded.slice(at, at + KEY_BYTES),
    added: timeAt(encoded, at + KEY_BYTES),
    consent: encoded.slice(at + KEY_BYTES + TIME_BYTES, at + DEVICE_BYTES),
  };
}

/** A time; one that is too late may have lost its last digits, and is still too late. */
function timeAt(encoded: Uint8Array, at: number): number {
  return readU32(encoded, at) * 2 ** 32 + readU32(encoded, at + 4);
}

function checkFields({ revision, previous, at, until, devices }: Listed): void {
  if (revision === 0 || (revision === 1 && !isAllZero(previous))) {
    throw new InvalidMessage("a device list has a revision that it can not have");
  }
  const latest = Math.max(at, until, ...devices.map(({ added }) => added));
  if (latest > LAST_TIME_MS || until <= at || until > at + LIFE_MS) {
    throw new InvalidMessage("a device list is of a time that it can not be of");
  }
  if (new Set(devices.map(({ key }) => toHex(key))).size !== devices.length) {
    throw new InvalidMessage("a device list names a device twice");
  }
}

/** Whether two lists are one, byte for byte. */
export function isSameList(one: DeviceList, other: DeviceList): boolean {
  return isEqual(one.encoded, other.encoded);
}
