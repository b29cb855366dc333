/**
 * Receipts for the senders of received messages, end to end encrypted, so that no relay can forge them.
 *
 * A status is on disk before anybody learns of it. Those of one sender are gathered into one message, a batch; they are
 * kept until the relay says that it was delivered, and it is sent again if the sender could not read it.
 */
import { MAX_RECEIPTS } from "./content.ts";
import type { Outcomes } from "./content.ts";
import type { Outbox } from "./outbox.ts";
import * as records from "./records.ts";
import type { ReceiptRecord } from "./records.ts";
import { MAX_RESENDS } from "./recovery.ts";
import type { Transaction, Vault } from "./vault.ts";

/** How long a receipt is kept that was sent and of which nothing was heard. */
export const KEEP_MS = 30 * 86_400_000;

export const UNDECRYPTABLE = "undecryptable";

export type ReceiptStatus = keyof Outcomes;

/** Records by message, in groups. */
type Groups = Map<string, Map<string, ReceiptRecord>>;

/** Statuses still to be reported to their senders. */
export class Receipts {
  /** By sender. */
  private readonly known: Groups = new Map();
  /** Those of them that are in no batch yet. */
  private readonly waiting: Groups = new Map();
  /** Those that are, by sender and batch. */
  private readonly batches: Groups = new Map();
  private readonly resends = new Map<string, number>();

  /**
   * @param vault holds them
   * @param outbox knows which batches wait and are not encrypted yet, so that more can be said in them
   */
  constructor(
    private readonly vault: Vault,
    private readonly outbox: Outbox,
  ) {
    for (const [, record] of vault.all(records.RECEIPT)) {
      this.remember(record);
    }
  }

  /** Whose messages have a status that is in no batch yet. */
  senders(): string[] {
    return [...this.waiting.keys()];
  }

  /** Whether this sender is to be asked for something again. */
  isUrgent(sender: string): boolean {
    return [...(this.waiting.get(sender)?.values() ?? [])].some((record) => record.status === UNDECRYPTABLE);
  }

  /**
   * Note a status, in place of an earlier one of this message.
   *
   * A batch that is open says the newer one. If it only stood in a later batch, the first would seem to pass this
   * message over, and its sender would send it again.
   */
  put(tx: Transaction, sender: string, messageId: string, status: ReceiptStatus, now: number): void {
    const known = this.known.get(sender)?.get(messageId);
    const carrier = known !== undefined && this.outbox.isOpen(known.carrier) ? known.carrier : "";
    this.store(tx, { messageId, sender, status, at: now, carrier });
  }

  /** Put what waits for a sender into a batch, as much as fits. */
  assign(tx: Transaction, sender: string, batch: string): void {
    for (const record of [...(this.waiting.get(sender)?.values() ?? [])].slice(0, MAX_RECEIPTS)) {
      this.store(tx, { ...record, carrier: batch });
    }
  }

  /** What a batch says. */
  statuses(sender: string, batch: string): Outcomes {
    const said = [...(this.batches.get(records.key(sender, batch))?.values() ?? [])];
    const idsOf = (status: ReceiptStatus): string[] =>
      said.filter((record) => record.status === status).map((record) => record.messageId);
    return {
      delivered: idsOf("delivered"),
      read: idsOf("read"),
      burned: idsOf("burned"),
      undecryptable: idsOf("undecryptable"),
    };
  }

  /** A batch has arrived; of anything else this is no news. */
  acknowledged(tx: Transaction, sender: string, batch: string): void {
    const name = records.key(sender, batch);
    for (const record of [...(this.batches.get(name)?.values() ?? [])]) {
      this.dropOne(tx, record);
    }
    tx.onCommit(() => {
      this.batches.delete(name);
      this.resends.delete(batch);
    });
  }

  /**
   * Whether a batch that could not be read is to be sent again, and count it.
   *
   * Under its old id, so that it replaces the old one at the relay, even if there is nothing left to say.
   */
  mayResend(tx: Transaction, sender: string, batch: string): boolean {
    const count = this.resends.get(batch) ?? 0;
    if (!this.batches.has(records.key(sender, batch)) || count >= MAX_RESENDS) {
      return false;
    }
    tx.onCommit(() => this.resends.set(batch, count + 1));
    return true;
  }

  /** Drop what is too old. */
  forget(tx: Transaction, now: number): void {
    for (const record of this.vault.overdue(records.RECEIPT, now)) {
      this.dropOne(tx, record);
    }
  }

  /** This user gets no receipts any more. */
  drop(tx: Transaction, sender: string): void {
    for (const record of [...(this.known.get(sender)?.values() ?? [])]) {
      this.dropOne(tx, record);
    }
  }

  private store(tx: Transaction, record: ReceiptRecord): void {
    const name = records.key(record.sender, record.messageId);
    tx.put(records.RECEIPT, name, record, { due: record.at + KEEP_MS });
    tx.onCommit(() => this.remember(record));
  }

  private dropOne(tx: Transaction, record: ReceiptRecord): void {
    tx.delete(records.RECEIPT, records.key(record.sender, record.messageId));
    tx.onCommit(() => this.forgetOne(record));
  }

  private forgetOne(record: ReceiptRecord): void {
    take(this.known, record.sender, record.messageId);
    take(this.waiting, record.sender, record.messageId);
    take(this.batches, records.key(record.sender, record.carrier), record.messageId);
  }

  /** One position for each message. */
  private remember(record: ReceiptRecord): void {
    const { sender, messageId } = record;
    const before = this.known.get(sender)?.get(messageId);
    group(this.known, sender).set(messageId, record);
    if (before !== undefined && before.carrier !== "" && before.carrier !== record.carrier) {
      // Not as `take`: a batch stays known, though all that it said is said elsewhere.
      this.batches.get(records.key(sender, before.carrier))?.delete(messageId);
    }
    if (record.carrier !== "") {
      take(this.waiting, sender, messageId);
      group(this.batches, records.key(sender, record.carrier)).set(messageId, record);
    } else {
      group(this.waiting, sender).set(messageId, record);
    }
  }
}

function group(found: Groups, key: string): Map<string, ReceiptRecord> {
  let one = found.get(key);
  if (one === undefined) {
    one = new Map();
    found.set(key, one);
  }
  return one;
}

/** Take a record out, and its group with the last of it. */
function take(found: Groups, key: string, messageId: string): void {
  const one = found.get(key);
  one?.delete(messageId);
  if (one?.size === 0) {
    found.delete(key);
  }
}
