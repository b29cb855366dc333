/** Messages to many, as one part of a client: what the core asks of it. */
import { Feature } from "../../wire/frames.ts";
import { NOTHING } from "../extension.ts";
import type { Extension, ExtensionPorts } from "../extension.ts";
import { Fetching } from "./fetching.ts";
import { Outgoing } from "./outgoing.ts";
import { SendingMany } from "./sending.ts";
import { ManyStore } from "./store.ts";

/** What other parts send with, and what they ask about what was sent. */
export interface Many {
  readonly outgoing: Outgoing;
  readonly store: ManyStore;
  readonly sending: SendingMany;
  readonly extension: Extension;
}

/** Make it. */
export function manyOf(ports: ExtensionPorts): Many {
  const store = new ManyStore(ports.stores.vault);
  const fetching = new Fetching(ports, store);
  const sending = new SendingMany(ports, store, fetching);
  const outgoing = new Outgoing(ports, store, sending);
  const extension: Extension = {
    ...NOTHING,
    outgoing,
    features: [Feature.MANY],
    isBusy: (peer) => store.isBusy(peer),
    // One that waits for somebody's first device, and besides for devices of which one has heard since, is one.
    waiting: (peer) =>
      peer === undefined ? store.countBut((messageId) => ports.stores.outbox.waits(messageId)) : store.count(peer),
    sendPending: (link, now) => sending.send(link, now),
    receive: (frame, now) => (frame.type === "MANY_RESULT" ? sending.result(frame, now) : fetching.fetched(frame, now)),
    accepted(messageId, recipient, now, isAccepted) {
      if (store.waiting(messageId)?.copies.get(recipient)?.waits !== true) {
        return null;
      }
      return isAccepted ? sending.accepted(messageId, [recipient], now) : [];
    },
    answered: (...answer) => sending.answered(...answer),
    refused: (error, now) => fetching.refused(error, now) ?? sending.refused(error, now),
    disconnected() {
      fetching.disconnected();
      sending.disconnected();
    },
    askFor: (link, peer, now) => fetching.one(link, peer, now),
    drop: (tx, peer) => store.drop(tx, peer),
    follow: (tx, messageId, peer, state, now) =>
      store.get(messageId)?.copies.has(peer) === true ? sending.follow(tx, messageId, peer, state, now) : null,
    isOfGroupTo(messageId, peer) {
      const message = store.get(messageId);
      return message?.record.group === true && message.copies.has(peer);
    },
    unseal: (tx, peer) => store.unseal(tx, peer),
    resend: (tx, peer, messageIds, now, key) => store.resend(tx, peer, messageIds, now, key),
    presumedLost: (now) => store.presumedLost(now),
    forgetExpired: (tx, now) => store.forgetExpired(tx, now),
    waits: (now) => sending.waits(now),
  };
  return { outgoing, store, sending, extension };
}
