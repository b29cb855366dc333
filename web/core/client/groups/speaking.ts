/** Sends contents about groups: one body for all who are to have it. */
import { timeOf } from "../content.ts";
import type { ExtensionPorts } from "../extension.ts";
import type { Outgoing } from "../many/outgoing.ts";
import type { OrderRecord } from "../many/records.ts";
import { ANSWER } from "../many/store.ts";
import type { Moment } from "../moment.ts";
import type { Transaction } from "../vault.ts";
import { encodeSaid } from "./contents.ts";
import type { GroupSaid } from "./contents.ts";
import { Persons } from "./persons.ts";
import { conversationOf } from "./state.ts";
import type { Group } from "./store.ts";

/** Purposes of messages to many: of the first two something is heard, of the last nothing. */
export const TEXT = "group-text";
export const CHANGE = "group-change";
export const QUIET = "group-quiet";

/** In larger groups nobody is told that a text has arrived, only that it was read. */
export const MAX_TOLD = 32;

/** How something is said. */
export interface Saying {
  readonly purpose?: string;
  /** The revision that it brings. */
  readonly order?: OrderRecord | null;
  readonly expiresIn?: number | null;
  /** A UUID, if it is known already. */
  readonly messageId?: string;
  /** Stores what belongs to it, in the same transaction. */
  readonly also?: (tx: Transaction) => void;
  /** No other devices of the recipients get it. */
  readonly alone?: boolean;
}

/** Says something about a group to some of its members. */
export class Speaking {
  readonly #ports: ExtensionPorts;
  readonly #outgoing: Outgoing;
  readonly #persons: Persons;

  constructor(ports: ExtensionPorts, outgoing: Outgoing) {
    this.#ports = ports;
    this.#persons = new Persons(ports);
    this.#outgoing = outgoing;
    for (const purpose of [QUIET, ANSWER]) outgoing.listen(purpose, { advanced: () => [], ordered: () => [] });
  }

  /**
   * Put it into the outbox; returns the message id.
   *
   * @param about what the conversation id is made of: the group, or the token of a link
   * @param people user ids; of each, all devices get it, and of texts and changes one's own other ones, too
   */
  say(
    about: Uint8Array,
    people: readonly string[],
    said: GroupSaid,
    now: Moment,
    { alone = false, ...given }: Saying = {},
  ): string {
    const { userId: sender, public: senderKey } = this.#ports.identity.peer;
    const { claim } = this.#persons;
    const whole = encodeSaid(said, { sentAt: timeOf(now.wall), sender, senderKey, claim });
    const conversationId = conversationOf(about);
    const withOwn = given.purpose === TEXT || given.purpose === CHANGE;
    const recipients = alone ? people : this.#persons.devicesOf(people, { withOwn });
    const answered = given.purpose === TEXT && people.length < MAX_TOLD ? true : null;
    const sent = { purpose: QUIET, ...given, recipients, said: whole, conversationId, group: true, answered };
    return this.#outgoing.sendMany(sent);
  }

  /** Say to members that one is there, and what one is called. */
  greet(
    { chain, record }: Group,
    people: readonly string[],
    now: Moment,
    { also, name }: Pick<Saying, "also"> & { readonly name?: string },
  ): void {
    const hello = { kind: "group-hello", group: record.group, revision: chain.state.revision, head: chain.head } as const;
    const said = name === undefined ? hello : { ...hello, name };
    this.say(record.group, people, said, now, also === undefined ? {} : { also });
  }

  /** Whether something of a message is still to be sent. */
  isWaiting(messageId: string): boolean {
    return this.#outgoing.isWaiting(messageId);
  }

  /** Erase a message, and send no copy that still waits. */
  forget(tx: Transaction, messageId: string): void {
    this.#outgoing.forget(tx, messageId);
  }
}
