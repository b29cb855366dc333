/**
 * Plays what needs the sessions of a whole client: `open` of `refused.json`, and the conversations of `content.json`.
 */

import { AddressBook } from "../../core/client/address_book.ts";
import type { Said } from "../../core/client/content.ts";
import { Conversations } from "../../core/client/conversations.ts";
import { PreKeyStore } from "../../core/client/prekey_store.ts";
import { PREKEY } from "../../core/client/records.ts";
import { type Vault, newVault } from "../../core/client/vault.ts";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { decodeRelay } from "../../core/wire/codec.ts";
import { Differs, type People, type Person, endOf, member, raw, same } from "./base.ts";

const NOW = 1_770_000_000_000;

/** Bytes that nothing here looks at, each time others: no pair of key and nonce must come twice. */
function unwatched(): (size: number) => Uint8Array {
  let count = 0;
  return (size) => {
    count += 1;
    const bytes = new Uint8Array(size).fill(0x2a);
    new DataView(bytes.buffer).setUint32(0, count);
    return bytes;
  };
}

/** Somebody with a vault, the prekeys of `prekeys.json` and nothing else. */
class Device {
  readonly #vault: Vault;
  readonly #conversations: Conversations;

  constructor(person: Person) {
    const random = unwatched();
    this.#vault = newVault(new Uint8Array(32).fill(7), random);
    const prekeys = new PreKeyStore(this.#vault, person.identity, random);
    const book = new AddressBook(this.#vault);
    this.#conversations = new Conversations(this.#vault, book, person.identity, prekeys, random);
    const kept = [
      ["signed", person.signed.id, person.signed.pair.private],
      ["one-time", person.oneTime.id, person.oneTime.pair.private],
      ["kem", person.kems["one-time"].id, person.kems["one-time"].seed],
      ["last-resort", person.kems["last-resort"].id, person.kems["last-resort"].seed],
    ] as const;
    this.#vault.transaction((tx) => {
      for (const [sort, id, secret] of kept) {
        const rest = { madeAt: NOW, published: false, retiredAt: null, dated: 0 };
        tx.put(PREKEY, `${sort}:${id}`, { sort, id, private: secret, ...rest });
      }
    });
  }

  /** Reads a MESSAGE as the relay delivers it. */
  open(text: string, now: number): Said {
    const frame = decodeRelay(text);
    if (frame?.type !== "MESSAGE") throw new Differs("it is not a MESSAGE");
    const { content } = this.#vault.transaction((tx) => this.#conversations.open(tx, frame, now));
    if (content.kind === "newer" || content.kind === "between") throw new Differs("it is newer");
    return content;
  }

  /** The key of whom the session in use is with. */
  keyOf(peer: string): Uint8Array | undefined {
    return this.#conversations.load(peer).sessions[0]?.peer.public;
  }

  loseSessions(peer: string): void {
    this.#vault.transaction((tx) => this.#conversations.forget(tx, peer));
  }
}

interface OpenCase {
  readonly recipient: string;
  readonly before: readonly ({ readonly deliver: string } | { readonly lose_sessions: string })[];
  readonly text: string;
}

export function playOpen(people: People, input: unknown): object {
  const { recipient, before, text } = input as OpenCase;
  const device = new Device(member(people, recipient));
  for (const step of before) {
    if ("deliver" in step) device.open(step.deliver, NOW);
    else device.loseSessions(step.lose_sessions);
  }
  return endOf(() => device.open(text, NOW));
}

interface Conversation {
  readonly recipient: string;
  readonly now: number;
  readonly deliveries: readonly {
    readonly text: string;
    readonly expect: { readonly content: Readonly<Record<string, unknown>> };
  }[];
}

export function playDeliveries(people: People, { recipient, now, deliveries }: Conversation): void {
  const person = member(people, recipient);
  const device = new Device(person);
  for (const { text, expect } of deliveries) {
    const said = device.open(text, now);
    const { sender, version } = expect.content;
    const id = encodeBase64(raw(String(sender)));
    const named = { recipient: person.id, recipientKey: person.identity.peer.public, senderKey: device.keyOf(id) };
    same({ ...said, ...named, sender, version }, expect.content, "content");
    same(text.includes(id), true, "the sender is named by the envelope");
  }
}
