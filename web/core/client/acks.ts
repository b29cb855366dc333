/**
 * Telling the relay what was read: kept on disk until a PONG shows that the relay has got it.
 *
 * The relay answers PING after everything before it was stored or refused.
 */
import type { ErrorFrame, MessageAck } from "../wire/frames.ts";
import type { Link } from "./link.ts";
import { asked, SOON_MS } from "./pacing.ts";
import * as records from "./records.ts";
import type { AckRecord } from "./records.ts";
import type { Transaction, Vault } from "./vault.ts";

type MessageAckPayload = MessageAck["payload"];

/** How often a PING may follow acks. */
export const PING_MS = 2_000;

/** Requests remembered that are answered only if they are refused. */
export const MAX_UNANSWERED = 1_000;

/** The `read` and `burned` of this profile that the relay may not have yet. */
export class Acks {
  private readonly kept = new Map<string, AckRecord>();
  /** Those sent on this connection: the number of the PING behind them, null if there is none yet. */
  private readonly covered = new Map<string, number | null>();
  private readonly requests = new Map<string, string>();
  private pausedUntil = 0;
  /** Requests that say `delivered` and may still be refused, the oldest first. */
  private readonly confirmed = new Map<string, MessageAckPayload>();
  private again: MessageAckPayload[] = [];

  constructor(private readonly vault: Vault) {
    for (const [, ack] of vault.all(records.ACK)) {
      this.kept.set(records.key(ack.sender, ack.messageId), ack);
    }
  }

  get size(): number {
    return this.kept.size;
  }

  /** Keep one, together with what it is about. */
  put(tx: Transaction, sender: string, messageId: string, status: "read" | "burned"): void {
    const record: AckRecord = { messageId, sender, status };
    const name = records.key(sender, messageId);
    tx.put(records.ACK, name, record);
    tx.onCommit(() => this.kept.set(name, record));
  }

  /** Forget those about this user's messages. */
  drop(tx: Transaction, sender: string): void {
    for (const [name, ack] of [...this.kept]) {
      if (ack.sender === sender) {
        this.delete(tx, name);
      }
    }
  }

  private delete(tx: Transaction, name: string): void {
    tx.delete(records.ACK, name);
    tx.onCommit(() => {
      this.kept.delete(name);
      this.covered.delete(name);
    });
  }

  /** A new connection: nothing was sent on it yet. */
  connected(): void {
    this.covered.clear();
    this.requests.clear();
    this.confirmed.clear();
    this.again = [];
    this.pausedUntil = 0;
  }

  /** Say that an item is safe here. After a login the relay delivers again what was not acknowledged. */
  confirm(link: Link, payload: MessageAckPayload, now: number): void {
    this.confirmed.set(send(link, payload, now), payload);
    if (this.confirmed.size > MAX_UNANSWERED) {
      for (const oldest of this.confirmed.keys()) {
        this.confirmed.delete(oldest);
        break;
      }
    }
  }

  /** Send what was not sent on this connection, and a PING behind it. */
  tick(link: Link, now: number): void {
    if (now < this.pausedUntil) {
      return;
    }
    const again = this.again;
    this.again = [];
    for (const payload of again) {
      this.confirm(link, payload, now);
    }
    for (const [name, ack] of this.kept) {
      if (!this.covered.has(name)) {
        this.covered.set(name, null);
        const status = ack.status === "burned" ? "burned" : "read";
        const payload: MessageAckPayload = { messageId: ack.messageId, senderId: ack.sender, status };
        this.requests.set(send(link, payload, now), name);
      }
    }
    if (this.hasUncovered() && link.mayPing(now, PING_MS)) {
      const number = link.ping(now);
      for (const [name, covered] of this.covered) {
        this.covered.set(name, covered ?? number);
      }
    }
  }

  /** Milliseconds until there is something to do; null if there is nothing. */
  wait(now: number): number | null {
    if (now < this.pausedUntil) {
      return this.pausedUntil - now;
    }
    return this.hasUncovered() ? PING_MS : this.again.length > 0 ? 0 : null;
  }

  private hasUncovered(): boolean {
    for (const covered of this.covered.values()) {
      if (covered === null) {
        return true;
      }
    }
    return false;
  }

  /** The relay has answered this PING. */
  answered(number: number): void {
    const isStored = ([, covered]: readonly [string, number | null]): boolean => covered !== null && covered <= number;
    const stored = new Set([...this.covered].filter(isStored).map(([name]) => name));
    if (stored.size === 0) {
      return;
    }
    this.vault.transaction((tx) => {
      for (const name of stored) {
        this.delete(tx, name);
      }
    });
    for (const [request, name] of this.requests) {
      if (stored.has(name)) {
        this.requests.delete(request);
      }
    }
  }

  /** An error has come; whether it was for one of these, which is then sent again. */
  refused(error: ErrorFrame, now: number): boolean {
    const request = error.id ?? "";
    const payload = this.confirmed.get(request);
    const name = this.requests.get(request);
    this.confirmed.delete(request);
    this.requests.delete(request);
    if (payload !== undefined) {
      this.again.push(payload);
    } else if (name !== undefined) {
      this.covered.delete(name);
    } else {
      return false;
    }
    this.pausedUntil = now + Math.max(asked(error.payload.retryAfter, SOON_MS), SOON_MS);
    return true;
  }
}

/** Send a MESSAGE_ACK; returns its request id. */
function send(link: Link, payload: MessageAckPayload, now: number): string {
  return link.send({ type: "MESSAGE_ACK", payload }, now);
}
