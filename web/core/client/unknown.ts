/** What is said of somebody whom the relay does not know: perhaps another device of this user's. */
import * as notices from "./notices.ts";
import type { WarningEvent } from "./status.ts";
import type { Stores } from "./stores.ts";

export function unknown({ book, devices }: Stores, peer: string): WarningEvent {
  return devices?.isOwn(peer) === true
    ? notices.unknownDevice(devices.names().get(peer)?.name ?? "", peer === devices.person)
    : notices.unknownUser(book.contact(peer));
}
