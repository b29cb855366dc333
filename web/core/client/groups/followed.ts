/** What becomes of messages to groups, as those say who have got them. */
import type { Many } from "../many/main.ts";
import type { Moment } from "../moment.ts";
import { DeliveryState } from "../status.ts";
import type { Event } from "../status.ts";
import type { Transaction } from "../vault.ts";
import type { GroupReceipt } from "./contents.ts";

/** Take in how far messages of this user have come with somebody; what is to be told. */
export function followed({ sending, store }: Many, tx: Transaction, sender: string, said: GroupReceipt, now: Moment): Event[] {
  const outcomes = [
    [DeliveryState.DELIVERED, said.delivered],
    [DeliveryState.READ, said.read],
  ] as const;
  store.suspect(sender, [...said.delivered, ...said.read], now.monotonic);
  return outcomes.flatMap(([state, messageIds]) =>
    messageIds.flatMap((messageId) => {
      const isTheirs = store.get(messageId)?.copies.has(sender) === true;
      return isTheirs ? sending.follow(tx, messageId, sender, state, now) : [];
    }),
  );
}
