/** Prekeys at the relay: asked for after login and now and then, published when they run low or grow old. */
import { encodeBase64 } from "../wire/base64.ts";
import { ErrorCode } from "../wire/codes.ts";
import type { ErrorFrame, PreKeyPublish, PreKeyStatus } from "../wire/frames.ts";
import type { Link } from "./link.ts";
import type { Moment } from "./moment.ts";
import { asked, reasonOf, SOON_MS } from "./pacing.ts";
import type { PreKeyStore, Publication } from "./prekey_store.ts";

/** How often the relay is asked what is left; prekeys are renewed then too. */
export const QUERY_MS = 6 * 3_600_000;

/** Publications on one connection: the first may hold keys that the relay has already, the second none. */
export const MOST_AT_ONCE = 2;

/** Publications in an hour, over all connections: a relay can name any reason for one. */
export const MOST_AN_HOUR = 20;

const HOUR_MS = 3_600_000;

/** Longer than the time over which the relay counts. */
export const MINUTE_MS = 61_000;

/** The steps that are left of a publication, and whether it replaces what the relay has. */
interface BeingMade {
  readonly steps: Generator<void, Publication, void>;
  readonly replace: boolean;
}

/** The conversation with the relay about one's prekeys. */
export class PreKeyUpload {
  /** Whether the relay has said that it has enough. */
  confirmed = false;
  private beingMade: BeingMade | null = null;
  private underWay: { readonly request: string; readonly publication: Publication } | null = null;
  private queryAt = 0;
  private query = "";
  private left = MOST_AT_ONCE;
  /** When publications of the last hour were begun. */
  private begunAt: readonly number[] = [];
  private takesDates = false;
  private takesLists = false;
  /** One's own device list, if the relay does not have it. */
  deviceList: () => Uint8Array | null = () => null;
  /** Called once it has. */
  listPublished: (encoded: Uint8Array) => void = () => undefined;
  private listUnderWay: Uint8Array | null = null;
  /** The list that was new when the relay was asked last. */
  private listAsked: Uint8Array | null = null;
  /** Whether the relay has refused a date: it has a later one, which is replaced with all that it has. */
  private isOutdated = false;

  constructor(private readonly prekeys: PreKeyStore) {}

  /** A login is through: ask. `takesDates`: the relay keeps dates of prekeys, `takesLists`: lists of devices. */
  connected(
    now: number,
    { takesDates, takesLists = false }: { readonly takesDates: boolean; readonly takesLists?: boolean },
  ): void {
    this.takesDates = takesDates;
    this.takesLists = takesLists;
    this.listAsked = null;
    this.beingMade = this.underWay = null;
    this.queryAt = now;
    this.left = MOST_AT_ONCE;
    this.confirmed = false;
  }

  /** Ask if it is time. */
  tick(link: Link, now: number): void {
    const list = this.list();
    if (now >= this.queryAt || (list !== null && list !== this.listAsked)) {
      this.listAsked = list;
      this.queryAt = now + QUERY_MS;
      this.left = MOST_AT_ONCE;
      this.query = link.send({ type: "PREKEY_STATUS" }, now);
    }
  }

  /** Milliseconds until there is something to do. */
  wait(now: number): number {
    return this.beingMade !== null ? 0 : Math.max(0, this.queryAt - now);
  }

  /** The relay says what it has; `publish` what it lacks. */
  handle(frame: PreKeyStatus, now: Moment): void {
    if (this.underWay !== null && frame.id === this.underWay.request) {
      this.prekeys.published(this.underWay.publication);
      this.underWay = null;
      this.isOutdated = false;
      if (this.listUnderWay !== null) {
        this.listPublished(this.listUnderWay);
      }
    }
    const { payload } = frame;
    const signedId = payload.signedPreKeyId ?? null;
    const highestId = payload.highestPreKeyId ?? null;
    this.prekeys.noteHighest(highestId);
    this.begunAt = this.begunAt.filter((at) => now.monotonic - at < HOUR_MS);
    const mayPublish = this.left > 0 && this.begunAt.length < MOST_AN_HOUR;
    const isAhead = this.takesDates && this.prekeys.isAhead(now.wall);
    const replace = this.prekeys.isBehind({ signedId, highestId }) || isAhead || this.isOutdated;
    let oneTime = payload.oneTimePreKeys;
    let kem = payload.kemPreKeys;
    if (replace && mayPublish) {
      this.prekeys.catchUp(highestId, now.persistent);
      oneTime = kem = 0;
    }
    const has = { oneTime, kem, signedId, lastResortId: payload.lastResortKemPreKeyId ?? null };
    const isLate = this.takesDates && this.prekeys.isLate(now.wall);
    const hasNews = isLate || this.list() !== null;
    const isDue = replace || hasNews || this.prekeys.due(has, { now: now.persistent, takesDates: this.takesDates });
    this.confirmed = !isDue;
    if (isDue && mayPublish) {
      this.left -= 1;
      this.begunAt = [...this.begunAt, now.monotonic];
      const madeAt = this.takesDates ? this.prekeys.date(now.wall) : 0;
      this.beingMade = { steps: this.prekeys.publication({ oneTime, kem, now: now.persistent, madeAt }), replace };
    }
  }

  /**
   * Make what the relay lacks: something, and more while there is time; and send it once it is whole.
   *
   * All at once if it hands out prekeys that are lost: nobody can be read who begins a session with one of those.
   */
  publish(link: Link, now: number, hasTime: () => boolean): void {
    if (this.beingMade === null) {
      return;
    }
    const { steps, replace } = this.beingMade;
    const publication = nextSteps(steps, replace ? () => true : hasTime);
    if (publication === null) {
      return;
    }
    this.beingMade = null;
    this.listUnderWay = this.list();
    const payload = payloadOf(publication, link, replace, this.listUnderWay);
    this.underWay = { request: link.sendSigned({ type: "PREKEY_PUBLISH", payload }, now), publication };
  }

  private list(): Uint8Array | null {
    return this.takesLists ? this.deviceList() : null;
  }

  /** An error has come; whether it was for a publication, and nothing here can repair it. */
  refused(error: ErrorFrame, now: number): boolean {
    const isPublication = this.underWay !== null && error.id === this.underWay.request;
    if (!isPublication && error.id !== this.query) {
      return false;
    }
    this.underWay = null;
    const wait = asked(error.payload.retryAfter, SOON_MS);
    const reason = reasonOf(error);
    if (error.payload.code === ErrorCode.RATE_LIMITED) {
      // The question and the publication behind it need two places, and the relay's time frees one.
      this.queryAt = now + Math.max(wait, MINUTE_MS);
    } else if (error.payload.code === ErrorCode.INTERNAL_ERROR || reason === "clock") {
      this.queryAt = now + Math.max(wait, SOON_MS);
    } else if (reason === "outdated" && !this.isOutdated) {
      this.isOutdated = true;
      this.queryAt = now + SOON_MS;
      return false;
    }
    return isPublication;
  }
}

/** Take at least one; what they have come to, if that was the last. */
function nextSteps(steps: Generator<void, Publication, void>, hasTime: () => boolean): Publication | null {
  do {
    const step = steps.next();
    if (step.done === true) {
      return step.value;
    }
  } while (hasTime());
  return null;
}

function payloadOf(
  publication: Publication,
  link: Link,
  replace: boolean,
  list: Uint8Array | null,
): PreKeyPublish["payload"] {
  const { kem, lastResort, madeAt, oneTime, signed } = publication;
  return {
    audience: link.audience,
    challenge: link.challenge,
    kemPreKeys: kem.map(kemPart),
    lastResortKemPreKey: kemPart(lastResort),
    oneTimePreKeys: oneTime.map((one) => ({ id: one.id, key: encodeBase64(one.pair.public) })),
    signedPreKey: {
      id: signed.id,
      key: encodeBase64(signed.pair.public),
      signature: encodeBase64(signed.signature),
    },
    ...(madeAt === 0 ? {} : { bundleSignature: encodeBase64(publication.bundleSignature), madeAt }),
    ...(list === null ? {} : { deviceList: encodeBase64(list) }),
    ...(replace ? { replace } : {}),
  };
}

function kemPart(one: { readonly id: number; readonly public: Uint8Array; readonly signature: Uint8Array }): {
  readonly id: number;
  readonly key: string;
  readonly signature: string;
} {
  return { id: one.id, key: encodeBase64(one.public), signature: encodeBase64(one.signature) };
}
