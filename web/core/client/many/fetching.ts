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

/** Asks for them; what they are for is the business of `KeyExchanges`. */
export class Fetching {
  readonly #ports: ExtensionPorts;
  readonly #store: ManyStore;
  /** Who was asked for, by the request that is under way. */
  readonly #requests = new Map<string, readonly string[]>();

  constructor(ports: ExtensionPorts, store: ManyStore) {
    this.#ports = ports;
    this.#store = store;
  }

  disconnected(): void {
    this.#requests.clear();
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
    while (left.length > 0) {
      if (!pacing.acquire("KEY_EXCHANGE", link.limit("KEY_EXCHANGE"), now.monotonic)) {
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
        events.push(unknown(stores, peer));
      }
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
