/**
 * Whether this device is still one of its person's: found out at each login, before anything is handed out.
 *
 * The list that leaves it out waits at the relay behind all that was written to it before.
 */
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import type { Event } from "../status.ts";
import type { Visibility } from "../visibility.ts";
import type { DeviceBook } from "./book.ts";
import { DEVICE_REMOVED } from "./device_notices.ts";

/** For how long it is waited at most: a large mailbox takes longer, and its user waits for what is in it. */
export const FIND_OUT_MS = 5_000;

/** Keeps back what a linked device has got, and its receipts, until it knows. */
export class Standing {
  readonly #devices: DeviceBook;
  readonly #visibility: Visibility;
  readonly #moment: () => Moment;
  #link: Link | null = null;
  #until = 0;

  /** @param visibility learns that nobody is told until then what has come */
  constructor(devices: DeviceBook, visibility: Visibility, moment: () => Moment) {
    this.#devices = devices;
    this.#visibility = visibility;
    this.#moment = moment;
  }

  /** A login is through: what waits at the relay may say that this device is nobody's. */
  loggedIn(link: Link): void {
    if (this.#devices.isFirst) return;
    link.look();
    this.#link = link;
    this.#until = this.#moment().monotonic + FIND_OUT_MS;
    this.#visibility.isUnsure = true;
  }

  /** Whether nothing that has come is to be handed out: not yet, or not at all. */
  get isHeld(): boolean {
    if (this.#link !== null && (this.#moment().monotonic >= this.#until || this.#link.hasFetched)) this.#link = null;
    this.#visibility.isUnsure = this.#link !== null || this.#devices.isRemoved;
    return this.#visibility.isUnsure;
  }

  /** Which of these the application hears now, and which it hears later, if it does. */
  letOut(events: Event[]): readonly [Event[], Event[]] {
    if (!this.isHeld) return [events, []];
    return [events.filter(mayPass), this.#devices.isRemoved ? [] : events.filter((event) => !mayPass(event))];
  }

  /** Milliseconds until it is not waited any more. */
  waits(now: number): number[] {
    return this.#link === null ? [] : [Math.max(0, this.#until - now)];
  }
}

/** Whether it says nothing of what others have written. */
function mayPass(event: Event): boolean {
  const isOfRemoval = event.kind === "warning" && event.code === DEVICE_REMOVED;
  return isOfRemoval || ["connection", "delivery", "linking"].includes(event.kind);
}
