/** The people one talks to: names for ids, and what is known of their keys. */
import { NO_BYTES } from "../bytes.ts";
import type { OwnIdentity } from "../crypto/keys.ts";
import { safetyNumber } from "../crypto/safety.ts";
import { encodeBase64, fromBase64 } from "../wire/base64.ts";
import { publicOf } from "./address_book.ts";
import type { AddressBook } from "./address_book.ts";
import { ContactExists, InvalidUserId, NoKeyYet, UnknownContact } from "./errors.ts";
import { isUserId, plainId } from "./ids.ts";
import { checkedName } from "./names.ts";
import type { ContactRecord } from "./records.ts";
import { isolated } from "./sanitize.ts";
import { labelOf } from "./status.ts";
import type { Contact, Trust } from "./status.ts";
import type { Stores } from "./stores.ts";
import type { Vault } from "./vault.ts";

/** Whose contacts they are: the messenger, which acts on what has changed. */
export interface Owner {
  /** Somebody was added, or is to be treated otherwise than before; in the vault already. */
  contactChanged(userId: string): void;
  /** Forget a user, and what was said if `history`. */
  remove(peer: string, given: { readonly history: boolean }): void;
}

/** Whose they are, at each moment: on a linked device, its person. */
export interface Self {
  /** One's user id, base64. */
  readonly ownId: string;
  /** One's public identity key, 32 bytes. */
  readonly ownKey: Uint8Array;
  /** Acts on changes. */
  readonly owner: Owner;
}

/** On a linked device, others see its person: safety numbers are theirs. */
export function selfOf({ devices }: Stores, { peer }: OwnIdentity, owner: Owner): Self {
  const userId = encodeBase64(peer.userId);
  return {
    owner,
    get ownId() {
      return devices?.person ?? userId;
    },
    get ownKey() {
      return devices?.personKey ?? peer.public;
    },
  };
}

/** The address book of a profile. */
export class Contacts {
  readonly #vault: Vault;
  readonly #book: AddressBook;
  readonly #self: Self;

  constructor(vault: Vault, book: AddressBook, self: Self) {
    this.#vault = vault;
    this.#book = book;
    this.#self = self;
  }

  /** All contacts, in the order in which they were met. */
  everybody(): Contact[] {
    return this.#book.everybody();
  }

  /**
   * The contact with this name or user id (in either form); throws UnknownContact, or InvalidUserId for a slip in one.
   */
  find(who: string): Contact {
    const userId = plainId(who);
    const found = who === "" ? "" : (this.#book.named(who) ?? userId);
    if (this.#book.has(found) || isUserId(found)) {
      return this.of(found);
    }
    throw new UnknownContact("there is no such contact; add them first");
  }

  /** The contact with this user id, whether it is known or not. */
  of(userId: string): Contact {
    return this.#book.contact(userId);
  }

  /**
   * Give a user id a name, or another name.
   *
   * Throws InvalidUserId if it is no user id, or one's own; ContactExists if another contact has the name, or one that
   * looks like it; UsageError if it cannot be a name.
   */
  add(given: string, id: string): Contact {
    const userId = plainId(id);
    this.#checkId(userId);
    const name = checkedName(given);
    const owner = this.#book.named(name);
    if (owner !== null && owner !== userId) {
      throw new ContactExists(`'${isolated(name)}' is already another contact; choose another name`);
    }
    const twin = this.#book.alike(name).find(([other]) => other !== userId);
    if (twin !== undefined) {
      const other = isolated(twin[1]);
      throw new ContactExists(`'${isolated(name)}' looks like your contact '${other}'; choose another name`);
    }
    return this.#store({ ...this.#book.get(userId), name });
  }

  /** 60 digits to compare with the contact, who sees the same ones unless somebody is in the middle; NoKeyYet. */
  safetyNumber(who: string): string {
    const contact = this.find(who);
    if (contact.key === null) {
      throw new NoKeyYet(`the key of ${labelOf(contact)} has not been seen yet; exchange a message first`);
    }
    const { ownId, ownKey } = this.#self;
    return safetyNumber({ key: ownKey, id: fromBase64(ownId) }, { key: contact.key, id: fromBase64(contact.userId) });
  }

  /** Record that safety numbers match ("verified"), or have to be compared again; throws NoKeyYet. */
  setTrust(who: string, trust: "verified" | "unverified"): Contact {
    const contact = this.find(who);
    const record = this.#book.get(contact.userId);
    if (record.key.length === 0 && record.offered.length === 0) {
      throw new NoKeyYet(`the key of ${labelOf(contact)} has not been seen yet; exchange a message first`);
    }
    if (record.offered.length > 0 && trust !== "verified") {
      return contact; // it stays changed
    }
    return this.#store(settled(record, trust));
  }

  /** Accept a contact's changed key without comparing it; does nothing if it has not changed. */
  accept(who: string): Contact {
    const contact = this.find(who);
    return contact.trust === "changed" ? this.#store(settled(this.#book.get(contact.userId), "unverified")) : contact;
  }

  /** Allow messages without post-quantum protection, until the contact's program offers a key for it again. */
  allowClassical(who: string): Contact {
    return this.#store({ ...this.#book.get(this.find(who).userId), allowsClassical: true });
  }

  /** Allow messages in suite 1, the older encryption, until the contact's program is seen with suite 2. */
  allowOlder(who: string): Contact {
    return this.#store({ ...this.#book.get(this.find(who).userId), allowsOlder: true });
  }

  /** Accept a stranger. */
  letIn(userId: string): Contact {
    if (this.#book.isKnown(userId)) {
      return this.of(userId);
    }
    return this.#store({ ...this.#book.get(userId), accepted: true });
  }

  /**
   * Delete a contact: name, key, sessions and messages that wait to be sent; and the messages exchanged, if `history`.
   *
   * They become a stranger; if they are blocked, they stay blocked. Returns who it was.
   */
  remove(who: string, { history = false } = {}): Contact {
    const contact = this.find(who);
    this.#self.owner.remove(contact.userId, { history });
    return contact;
  }

  #store(record: ContactRecord): Contact {
    this.#vault.transaction((tx) => this.#book.put(tx, record));
    this.#self.owner.contactChanged(record.userId);
    return publicOf(record);
  }

  #checkId(userId: string): void {
    if (!isUserId(userId)) {
      throw new InvalidUserId("this is not a user ID or a link to one; ask your contact for theirs");
    }
    if (userId === this.#self.ownId) {
      throw new InvalidUserId("this is your own ID; ask your contact for theirs");
    }
  }
}

/** A contact whose key the user has judged: an offered one is theirs from now on, and of somebody new. */
function settled(record: ContactRecord, trust: Trust): ContactRecord {
  if (record.offered.length === 0) {
    return { ...record, trust };
  }
  return {
    ...record,
    trust,
    key: record.offered,
    offered: NO_BYTES,
    classical: record.offeredClassical,
    allowsClassical: false,
    allowsOlder: false,
    suite: 1,
    newest: 0,
  };
}
