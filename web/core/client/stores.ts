/** Everything that a profile holds, as parts on one vault; each is the only one who writes its records. */
import type { Random } from "../bytes.ts";
import type { OwnIdentity } from "../crypto/keys.ts";
import { Acks } from "./acks.ts";
import { AddressBook } from "./address_book.ts";
import { ConversationIndex } from "./conversation_index.ts";
import { Conversations } from "./conversations.ts";
import type { DeviceBook } from "./devices/book.ts";
import { NOTHING } from "./extension.ts";
import type { Slot } from "./extension.ts";
import { History } from "./history.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import { AMOUNTS, PreKeyStore } from "./prekey_store.ts";
import type { Amounts } from "./prekey_store.ts";
import { Receipts } from "./receipts.ts";
import { Recovery } from "./recovery.ts";
import { Requests } from "./requests.ts";
import type { Later } from "./surroundings.ts";
import type { Vault } from "./vault.ts";

/** The parts, and the vault for transactions over several of them. */
export interface Stores {
  readonly vault: Vault;
  readonly book: AddressBook;
  /** Whose devices are whose; null for a client that is not to know. */
  readonly devices: DeviceBook | null;
  readonly prekeys: PreKeyStore;
  readonly conversations: Conversations;
  readonly acks: Acks;
  readonly outbox: Outbox;
  readonly receipts: Receipts;
  readonly recovery: Recovery;
  readonly inbox: Inbox;
  readonly requests: Requests;
  readonly index: ConversationIndex;
  readonly history: History;
  /** Takes part in what these do, once it is there. */
  readonly slot: Slot;
}

/**
 * Read what is to be in memory.
 *
 * @param vault open, with an identity
 * @param identity the one in it
 * @param asks whether what strangers write waits until the user lets them in
 * @param amounts how many prekeys are published
 * @param later what is loaded later of the client; null if it is to do without
 */
export function storesOf(
  vault: Vault,
  identity: OwnIdentity,
  random: Random,
  {
    asks,
    amounts = AMOUNTS,
    later = null,
  }: { readonly asks: boolean; readonly amounts?: Amounts; readonly later?: Later | null },
): Stores {
  const slot: Slot = { is: NOTHING };
  const index = new ConversationIndex(vault);
  const book = new AddressBook(vault, slot);
  const outbox = new Outbox(vault, slot);
  const acks = new Acks(vault);
  const recovery = new Recovery(vault);
  const prekeys = new PreKeyStore(vault, identity, random, amounts);
  const conversations = new Conversations(vault, book, identity, prekeys, random);
  const receipts = new Receipts(vault, outbox);
  const devices = later === null ? null : new later.DeviceBook(vault, book, identity);
  if (later !== null && devices !== null) {
    conversations.claim = () => devices.claim();
    conversations.more = later.DEVICE_KINDS;
  }
  const inbox = new Inbox(vault, { conversations, acks, receipts, recovery, slot, devices });
  const requests = new Requests(vault, book, conversations, inbox, { asks });
  const history = new History(vault, index);
  return {
    vault,
    book,
    devices,
    prekeys,
    conversations,
    acks,
    outbox,
    receipts,
    recovery,
    inbox,
    requests,
    index,
    history,
    slot,
  };
}
