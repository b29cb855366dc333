/** Prekeys of several users are asked for at once: of those to whom there is a message to many and no session. */
import { Feature } from "../../wire/frames.ts";
import type { ErrorFrame, PreKeyBundles } from "../../wire/frames.ts";
import { MAX_FETCH_TARGETS } from "../../wire/limits.ts";
import type { ExtensionPorts } from "../extension.ts";
import { EXCHANGE_MS } from "../key_exchanges.ts";
import type { Link } from "../link.ts";
import type { Moment } from "../moment.ts";
import { asked, SOON_MS } from "../pacing.ts";
import type { Event } from "../status.ts";
import { unknown } from "../unknown.ts";
import type { ManyStore } from "./store.ts";

/** How many of a minute's exchanges are left to others: who is in a group may be made up by somebody. */
const KEEP_EXCHANGES = 3;

/** When it is looked again whether there is room for more. */
const FETCH_AGAIN_MS = 5_000;

/** Asks for them; what they are for is the business of `KeyExchanges`. */
export class Fetching {
  readonly #ports: ExtensionPorts;
  readonly #store: ManyStore;
  /** Who was asked for, by the request that is under way. */
  readonly #requests = new Map<string, readonly string[]>();

  /** When there may be room to ask for more. */
  #from = 0;
  /** Of how many the relay has said, since the last request was open, that it does not know them; and one of them. */
  #strange: readonly string[] = [];

  constructor(ports: ExtensionPorts, store: ManyStore) {
    this.#ports = ports;
    this.#store = store;
  }

  disconnected(): void {
    this.#requests.clear();
    this.#strange = [];
  }

  /** Milliseconds until more may be asked for. */
  waits(now: number): number[] {
    return this.#from > now ? [this.#from - now] : [];
  }

  /** Ask for the prekeys of these users: together, if the relay knows how. */
  want(link: Link, peers: readonly string[], now: Moment): void {
    const { exchanges, pacing } = this.#ports.sending;
    if (!link.relayFeatures.has(Feature.MANY)) {
      for (const peer of peers) {
        exchanges.want(link, peer, now, { toMany: true });
      }
      return;
    }
    const mayAsk = (peer: string): boolean =>
      exchanges.mayAsk(peer, now, { toMany: true }) && !exchanges.isUnderWay(peer, now);
    const left = peers.filter(mayAsk);
    const limit = link.limit("KEY_EXCHANGE");
    while (left.length > 0) {
      if (pacing.free("KEY_EXCHANGE", limit, now.monotonic) <= Math.min(KEEP_EXCHANGES, (limit ?? 0) >> 1)) {
        this.#from = now.monotonic + FETCH_AGAIN_MS;
        return;
      }
      if (!pacing.acquire("KEY_EXCHANGE", limit, now.monotonic)) {
        return;
      }
      const targets = left.splice(0, MAX_FETCH_TARGETS);
      for (const peer of targets) {
        exchanges.began(peer, now, { recovers: false, toMany: true, introduces: false });
      }
      this.#send(link, targets, now);
    }
  }

  /** Ask for those of one user; whether the relay knows how. */
  one(link: Link, peer: string, now: Moment): boolean {
    const isKnown = link.relayFeatures.has(Feature.MANY);
    if (isKnown) this.#send(link, [peer], now);
    return isKnown;
  }

  #send(link: Link, targets: readonly string[], now: Moment): void {
    this.#requests.set(link.send({ type: "PREKEY_FETCH", payload: { targets } }, now.monotonic), targets);
  }

  /** Prekeys have come; of one whom nobody asked for, nothing follows. */
  fetched(frame: PreKeyBundles, now: Moment): Event[] {
    const { sending, stores } = this.#ports;
    const { exchanges, pacing } = sending;
    const targets = this.#taken(frame.id);
    const events: Event[] = [];
    for (const payload of frame.payload.bundles) {
      if (targets.includes(payload.senderId)) {
        events.push(...exchanges.receive(payload, now));
      }
    }
    for (const peer of targets) {
      // Those whom the answer passes over are asked for again later, too.
      if (exchanges.ended(peer) && pacing.unknownPeer(peer, now.monotonic) && frame.payload.missing.includes(peer)) {
        const isOfUser = stores.book.isKnown(peer) || stores.devices?.isOwn(peer) === true;
        if (isOfUser) events.push(unknown(stores, peer));
        else this.#strange = [...this.#strange, peer];
      }
    }
    const [first] = this.#strange;
    if (first !== undefined && this.#requests.size === 0) {
      events.push(this.#strange.length > 1 ? unknownMembers(this.#strange.length) : unknown(stores, first));
      this.#strange = [];
    }
    return events;
  }

  #taken(request: string | undefined): readonly string[] {
    const targets = this.#requests.get(request ?? "") ?? [];
    this.#requests.delete(request ?? "");
    return targets;
  }

  /** An error has come; null if it was for none of these. What is wrong is with the question, or with the relay. */
  refused(error: ErrorFrame, now: Moment): Event[] | null {
    const [first, ...others] = this.#taken(error.id);
    if (first === undefined) {
      return null;
    }
    const { exchanges, pacing, pauses } = this.#ports.sending;
    const wait = Math.max(asked(error.payload.retryAfter, EXCHANGE_MS), SOON_MS);
    pacing.pause("KEY_EXCHANGE", now.monotonic + wait);
    for (const peer of [first, ...others]) {
      exchanges.ended(peer);
    }
    return pauses.refused(first, this.#store.count(), wait, now.monotonic);
  }
}

/** The relay does not know several people of groups, who are no contacts: it is said once. */
function unknownMembers(count: number): Event {
  const message = `the relay does not know ${count} members of your groups; messages wait until they have connected once`;
  return { kind: "warning", peer: null, code: "unknown-members", message };
}
