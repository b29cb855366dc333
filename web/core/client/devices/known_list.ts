/**
 * What is known of a person's devices, and how a newer list takes its place (devices.md, "Taking a list up").
 *
 * Whoever brings a list is not asked, a relay, a peer or the person: it stands for itself. It only ever goes forward.
 */
import { isEqual } from "../../bytes.ts";
import { DAY_MS, type DeviceList, NOTHING, isSameList } from "./device_list.ts";
import { EarlyList, ForeignList, ForkedList, StaleList } from "./errors.ts";

/** How far a list may be in the future: as for bundles of prekeys. */
export const MAX_AHEAD_MS = DAY_MS;
/** After what time the first device signs the list again, with the same devices. */
export const RENEW_MS = 7 * DAY_MS;
/** How far the revision jumps after a restore from a backup: lists that were signed since then must not win. */
export const RESTORE_STEP = 1_024;
/** For how long the first device is connected without hearing from another one until it removes that. */
export const ASLEEP_MS = 30 * DAY_MS;
/** For how long a linked device is connected without writing to the first one until it says that it is there. */
export const HERE_MS = 7 * DAY_MS;

/** The newest list that was taken up of a person. */
export interface KnownList {
  readonly newest: DeviceList;
  /**
   * Raw ids of the devices that something is sent to and taken from, the person's own first: all of the list, unless it
   * had run out when it came: then those of them that were usable before.
   */
  readonly usable: readonly Uint8Array[];
}

/** Whether the list has run out (`now` in milliseconds since 1970): its person has not renewed it. */
export function isOverdue({ newest }: KnownList, now: number): boolean {
  return now > newest.until;
}

/**
 * What is known after a list has come; `known` itself if the list is that one.
 *
 * @param known what was known before
 * @param person raw id of the person whose list it should be
 * @param now milliseconds since 1970, by the wall clock: it is compared with somebody else's
 * @throws ForeignList, EarlyList, StaleList, ForkedList It is not taken up.
 */
export function takeUp(known: KnownList | null, found: DeviceList, person: Uint8Array, now: number): KnownList {
  if (!isEqual(found.person, person)) throw new ForeignList("a device list is another person's");
  if (found.at > now + MAX_AHEAD_MS) throw new EarlyList("a device list is of the future");
  if (known !== null) {
    if (isSameList(found, known.newest)) return known;
    checkFollows(known.newest, found);
  }
  const before = known?.usable ?? [person];
  const isPast = now > found.until;
  const usable = isPast ? found.ids.filter((one) => before.some((other) => isEqual(one, other))) : found.ids;
  return { newest: found, usable };
}

function checkFollows(newest: DeviceList, found: DeviceList): void {
  if (found.revision < newest.revision) throw new StaleList("a device list is older than the one that is known");
  const isNext = found.revision === newest.revision + 1;
  if (found.revision === newest.revision || (isNext && !isEqual(found.previous, newest.hash))) {
    throw new ForkedList("there are two device lists where there can be one");
  }
}

/**
 * Revision and `previous` of the list that the first device makes next.
 *
 * @param known its newest one, null if it has none
 * @param isRestored its profile came from a backup, and it has signed none since
 */
export function following(
  known: DeviceList | null,
  isRestored: boolean,
): { readonly revision: number; readonly previous: Uint8Array } {
  const step = isRestored ? RESTORE_STEP : 1;
  if (known === null) return { revision: isRestored ? 1 + RESTORE_STEP : 1, previous: NOTHING };
  return { revision: known.revision + step, previous: known.hash };
}
