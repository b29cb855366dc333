/** Invitations of strangers: what they say can be seen before anything of theirs is let in. */
import { isEqual, fromUtf8 } from "../../bytes.ts";
import { CryptoError } from "../../crypto/errors.ts";
import { encodeBase64 } from "../../wire/base64.ts";
import { decodeRelay } from "../../wire/codec.ts";
import type { RequestRecord } from "../records.ts";
import type { Stores } from "../stores.ts";
import { Chain } from "./chain.ts";
import { addsPerson } from "./change.ts";
import { decodeSaid } from "./contents.ts";
import type { GroupChange, GroupHeard } from "./contents.ts";
import type { GroupState } from "./state.ts";

/** To which groups a stranger invites, each once, as it was told last; nobody is notified, and nothing is kept. */
export function invitationsOf(stores: Stores, stranger: string, ownId: string, now: number): GroupState[] {
  const found = new Map<string, GroupState>();
  for (const record of stores.requests.of(stranger)) {
    const said = looked(stores, record, now);
    const state = said?.kind === "group-change" ? stateIn(said, stranger, ownId) : null;
    // Whoever chose the id of a person wants to be taken for them.
    if (state !== null && !stores.book.has(encodeBase64(state.group))) {
      found.set(encodeBase64(state.group), state);
    }
  }
  return [...found.values()];
}

/** Undoes the reading. */
const UNDONE = new Error("it is undone");

/** What a request says of a group; null if it says nothing of one, or cannot be read. */
function looked(stores: Stores, record: RequestRecord, now: number): GroupHeard | null {
  const frame = record.frame.length > 0 ? decodeRelay(fromUtf8(record.frame)) : null;
  let said: GroupHeard | null = null;
  try {
    stores.vault.transaction((tx) => {
      if (frame?.type === "MESSAGE") {
        const { content } = stores.conversations.open(tx, frame, now);
        said = content.kind === "newer" ? decodeSaid(content.whole) : null;
      }
      throw UNDONE;
    });
  } catch (error) {
    if (error !== UNDONE && !(error instanceof CryptoError)) {
      throw error;
    }
  }
  return said;
}

/** The group that an invitation tells of; null if it would be refused once its sender is let in. */
function stateIn({ base, change, group, state }: GroupChange, stranger: string, ownId: string): GroupState | null {
  try {
    const chain = Chain.joined(state, base, change);
    const last = chain.steps.at(-1)?.change;
    const isTheirs = last?.author === stranger && addsPerson(last, ownId);
    return isTheirs && !chain.state.isClosed && isEqual(chain.state.group, group) ? chain.state : null;
  } catch (error) {
    if (error instanceof CryptoError) {
      return null;
    }
    throw error;
  }
}
