/**
 * Export and import: a profile in one file, encrypted with a passphrase; protocol/encryption.md, Exported file.
 *
 * It is the same file that the command line writes and reads. It holds the identity, contacts and history, and messages
 * and receipts that still wait to be sent; of the page, the own name, drafts, and how long new texts last; and groups. Never in it: sessions and prekeys, so that no key and nonce can be used
 * twice, and no thief of the file reads what the relay or the network kept; and messages that burn or expire, for a
 * file cannot forget. After an import conversations recover.
 */
import { concat, isEqual, NO_BYTES, readU32, u32, utf8 } from "../bytes.ts";
import type { Random } from "../bytes.ts";
import { UndecryptableMessage } from "../crypto/errors.ts";
import { OwnIdentity } from "../crypto/keys.ts";
import { argon2id, KEY_BYTES, NONCE_BYTES, seal, TAG_BYTES, unseal } from "../crypto/primitives.ts";
import { pack, unpack } from "../msgpack.ts";
import { encodeBase64 } from "../wire/base64.ts";
import { MAX_EXPIRES_IN_MS } from "../wire/limits.ts";
import { LAST_TIME_MS } from "./content.ts";
import { pastNames } from "./conversation_index.ts";
import { BackupError, UsageError, WrongPassphrase } from "./errors.ts";
import { areUsable, gatherGroups, gatherMany, GroupCopy, putGroups, putMany } from "./groups/copying.ts";
import { decodedId } from "./ids.ts";
import { groupOf } from "./groups/store.ts";
import { CopiesRecord, ManyRecord } from "./many/records.ts";
import * as passphrases from "./passphrase.ts";
import { int, list, orMissing, recordType, text, withDefault } from "./record_types.ts";
import type { RecordOf } from "./record_types.ts";
import * as records from "./records.ts";
import {
  BlockRecord,
  ContactRecord,
  DeviceRecord,
  DevicesRecord,
  DraftRecord,
  erased,
  hadKem,
  IdentityRecord,
  InboxRecord,
  isThere,
  LastingRecord,
  OutboxRecord,
  PersonRecord,
  ReceiptRecord,
  ReceivedRecord,
  RequestRecord,
  SentRecord,
  SettingsRecord,
  UnansweredRecord,
} from "./records.ts";
import { DeliveryState, TRUSTS } from "./status.ts";
import { COST, isAllowed } from "./vault.ts";
import type { Cost, Progress, Transaction, Vault } from "./vault.ts";

export const MAGIC: Uint8Array = utf8("phantom/1 backup\n");
const VERSION = 1;
const SALT_BYTES = 16;
const HEADER_BYTES = MAGIC.length + 1 + 3 * 4 + SALT_BYTES;

/** The content is padded to a multiple of this, so that the file's size says little about it. */
export const STEP_BYTES = 65_536;
const PADDING = 0x80;

export const MAX_FILE_BYTES = 256 * 2 ** 20;

/** How long a receipt is kept that was sent and of which nothing was heard. */
const KEEP_RECEIPTS_MS = 30 * 86_400_000;
const STATUSES: readonly string[] = ["delivered", "read", "burned", "undecryptable"];
const STATES: readonly number[] = Object.values(DeliveryState);
const FILE = "the file";

/** In it: whose device this is, the device lists that were taken up, and one's own devices. */
const DevicesContent = recordType({
  person: PersonRecord,
  lists: withDefault(list(DevicesRecord), []),
  own: withDefault(list(DeviceRecord), []),
});
type DevicesContent = RecordOf<typeof DevicesContent>;

/** What is encrypted: a MessagePack map of records. */
export const Content = recordType({
  identity: IdentityRecord,
  lastPrekeyId: int,
  contacts: list(ContactRecord),
  sent: list(SentRecord),
  received: list(ReceivedRecord),
  outbox: list(OutboxRecord),
  unanswered: list(UnansweredRecord),
  inbox: list(InboxRecord),
  receipts: list(ReceiptRecord),
  settings: withDefault(SettingsRecord, SettingsRecord.make({})),
  blocks: withDefault(list(BlockRecord), []),
  requests: withDefault(list(RequestRecord), []),
  // Missing if there are none.
  devices: orMissing(DevicesContent),
  many: orMissing(list(ManyRecord)),
  copies: orMissing(list(CopiesRecord)),
  groups: orMissing(list(GroupCopy)),
  // What the page alone has; missing if there is nothing of it, and passed over by the command line.
  name: orMissing(text),
  drafts: orMissing(list(DraftRecord)),
  lasting: orMissing(list(LastingRecord)),
});
export type Content = RecordOf<typeof Content>;

/**
 * The file of what `contentOf` has gathered. Takes a second or two.
 *
 * Throws BackupError if it is too large, UsageError if the passphrase cannot be one.
 */
export function exportContent(
  content: Content,
  passphrase: string,
  random: Random,
  { progress = () => undefined, cost = COST }: { readonly progress?: Progress; readonly cost?: Cost } = {},
): Uint8Array {
  const words = passphrases.chosen(passphrase, FILE);
  return sealContent(content, words, { salt: random(SALT_BYTES), nonce: random(NONCE_BYTES), cost }, progress);
}

/** The file of some content; `cost`: what it will take to open it. */
export function sealContent(
  content: Content,
  words: Uint8Array,
  { salt, nonce, cost }: { readonly salt: Uint8Array; readonly nonce: Uint8Array; readonly cost: Cost },
  progress: Progress = () => undefined,
): Uint8Array {
  const { memoryKib, passes, lanes } = cost;
  const header = concat(MAGIC, new Uint8Array([VERSION]), u32(memoryKib), u32(passes), u32(lanes), salt);
  const key = argon2id(words, { salt, ...cost, onProgress: progress });
  const plain = pack(Content.write(content));
  const padded = new Uint8Array(Math.ceil((plain.length + 1) / STEP_BYTES) * STEP_BYTES);
  padded.set(plain);
  padded[plain.length] = PADDING;
  const file = concat(header, nonce, seal(key, nonce, padded, header));
  if (file.length > MAX_FILE_BYTES) {
    throw new BackupError(`the profile is larger than ${MAX_FILE_BYTES >> 20} MiB, the limit of a backup`);
  }
  return file;
}

/**
 * What is in a file. Takes a second or two.
 *
 * Throws WrongPassphrase if the passphrase does not open it, or it is damaged; BackupError if it is no such file, or of
 * a newer version.
 */
export function readFile(file: Uint8Array, passphrase: string, progress: Progress = () => undefined): Content {
  if (passphrase === "") {
    throw new UsageError("the file needs a passphrase; enter the one that it was saved with");
  }
  const cost = costOf(file);
  const header = file.subarray(0, HEADER_BYTES);
  const salt = header.subarray(HEADER_BYTES - SALT_BYTES);
  const nonce = file.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  const sealed = file.subarray(HEADER_BYTES + NONCE_BYTES);
  for (const words of passphrases.candidates(passphrase, FILE)) {
    const plain = unsealed(argon2id(words, { salt, ...cost, onProgress: progress }), nonce, sealed, header);
    if (plain !== null) {
      return parsed(plain);
    }
  }
  throw new WrongPassphrase("the passphrase does not open this file, or the file is damaged; try again");
}

/** Whether a file can be an exported profile. */
export function isBackup(file: Uint8Array): boolean {
  return isEqual(file.subarray(0, MAGIC.length), MAGIC);
}

function costOf(file: Uint8Array): Cost {
  if (!isBackup(file)) {
    throw new BackupError("this is not a backup of Phantom Messenger; choose another file");
  }
  const version = file[MAGIC.length] ?? 0;
  if (version > VERSION) {
    throw new BackupError("this file was saved by a newer version; reload this page, then try again");
  }
  if (file.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) {
    throw new BackupError("this file is incomplete; use another copy");
  }
  if (file.length > MAX_FILE_BYTES) {
    throw new BackupError("this file is too large to be a backup; choose another one");
  }
  const at = MAGIC.length + 1;
  const cost = { memoryKib: readU32(file, at), passes: readU32(file, at + 4), lanes: readU32(file, at + 8) };
  const { memoryKib, passes, lanes } = cost;
  if (version !== VERSION || passes === 0 || lanes === 0 || memoryKib < 8 * lanes) {
    throw new BackupError("this file is damaged; use another copy");
  }
  if (!isAllowed(cost)) {
    throw new BackupError("this file asks for more memory or time than is allowed; use another copy");
  }
  return cost;
}

function unsealed(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  header: Uint8Array,
): Uint8Array | null {
  try {
    return unseal(key, nonce, sealed, header);
  } catch (error) {
    if (error instanceof UndecryptableMessage) {
      return null;
    }
    throw error;
  }
}

function parsed(plain: Uint8Array): Content {
  let content: Content | null = null;
  try {
    content = Content.read(unpack(plain.subarray(0, plain.findLastIndex((byte) => byte !== 0))));
  } catch {
    // It is said below: nothing else can be done about it.
  }
  if (content === null || !isUsable(content)) {
    throw new BackupError("this file is of a version that this page does not know; reload this page, then try again");
  }
  return content;
}

/**
 * Whether a profile of it could be opened: the words in it are those that this program knows, ids are ids, and every
 * calendar has its times. It may be somebody else's file, and one bad record would stop each start.
 */
function isUsable(content: Content): boolean {
  const { blocks, contacts, inbox, outbox, receipts, received, requests, sent, unanswered } = content;
  const [drafts, lasting] = [content.drafts ?? [], content.lasting ?? []];
  const { lists = [], own = [], person } = content.devices ?? {};
  const devices = [...own.map((one) => one.userId), ...lists.flatMap((one) => [one.person, ...one.usable])];
  const people = [...[...blocks, ...contacts].map((one) => one.userId), ...devices, ...(person ? [person.person] : [])];
  const drafted = drafts.filter(({ peer }) => groupOf(peer) === "");
  const peers = [...outbox, ...sent, ...unanswered, ...drafted, ...lasting].map((one) => one.peer);
  const senders = [...inbox, ...receipts, ...received, ...requests].map((one) => one.sender);
  const times = [...[...outbox, ...sent].map((one) => one.madeAt), ...received.map((one) => one.receivedAt)];
  return (
    content.identity.seed.length === KEY_BYTES &&
    [...people, ...peers, ...senders].every((id) => decodedId(id).length > 0) &&
    [...times, ...requests.map((one) => one.since)].every((at) => at >= 0 && at <= LAST_TIME_MS) &&
    lasting.every(({ expiresIn }) => expiresIn === null || (expiresIn >= 1 && expiresIn <= MAX_EXPIRES_IN_MS)) &&
    areUsable(content.groups ?? [], { many: content.many ?? [], copies: content.copies ?? [] }) &&
    content.contacts.every((contact) => TRUSTS.includes(contact.trust)) &&
    content.sent.every((sent) => STATES.includes(sent.state)) &&
    content.receipts.every((receipt) => STATUSES.includes(receipt.status))
  );
}

/** What goes into a file; throws BackupError if there is no identity. */
export function contentOf(vault: Vault): Content {
  const every = <T>(kind: records.Kind<T>): T[] => [...vault.all(kind)].map(([, record]) => record);
  const identity = vault.get(records.IDENTITY, "");
  if (identity === null) {
    throw new BackupError("there is no identity here yet");
  }
  const past = pastNames(vault);
  const allReceived = pastFirst(every(records.RECEIVED), past, (one) => one.sender);
  const received = allReceived.map((one) => (one.burn || one.expiresAt !== null ? erased(one) : one));
  const there = new Set(received.filter(isThere).map((one) => records.key(one.sender, one.messageId)));
  const { copies, many } = gatherMany(vault);
  return {
    identity,
    lastPrekeyId: vault.find(records.LAST_PREKEY_ID, "")?.value ?? 0,
    contacts: every(records.CONTACT),
    sent: pastFirst(every(records.SENT), past, (one) => one.peer).map(keptSent),
    received,
    outbox: every(records.OUTBOX)
      .filter((entry) => entry.text !== null && !entry.burn && entry.expiresIn === null)
      .map((entry) => ({ ...entry, sealed: NO_BYTES })),
    unanswered: every(records.UNANSWERED),
    inbox: every(records.INBOX).filter((one) => there.has(records.key(one.sender, one.messageId))),
    receipts: every(records.RECEIPT).map((receipt) => ({ ...receipt, carrier: "" })),
    settings: vault.get(records.SETTINGS, "") ?? SettingsRecord.make({}),
    blocks: every(records.BLOCK),
    requests: every(records.REQUEST),
    devices: devicesOf(vault, identity),
    many: some(many),
    copies: some(copies),
    groups: some(gatherGroups(vault)),
    name: vault.get(records.ME, "")?.name ?? null,
    drafts: some(every(records.DRAFT)),
    lasting: some(every(records.LASTING)),
  };
}

/** What was said before this device was linked stands first, though it has come later. */
function pastFirst<T extends { readonly messageId: string }>(
  all: readonly T[],
  past: ReadonlySet<string>,
  peerOf: (one: T) => string,
): readonly T[] {
  if (past.size === 0) {
    return all;
  }
  const nameOf = (one: T): string => records.key(peerOf(one), one.messageId);
  const byName = new Map(all.map((one) => [nameOf(one), one]));
  return [...[...past].flatMap((name) => byName.get(name) ?? []), ...all.filter((one) => !past.has(nameOf(one)))];
}

function devicesOf(vault: Vault, identity: IdentityRecord): DevicesContent | null {
  const lists = [...vault.all(records.DEVICES)].map(([, record]) => record);
  if (lists.length === 0) {
    return null;
  }
  const own = [...vault.all(records.DEVICE)].map(([, record]) => record);
  return { person: vault.get(records.PERSON, "") ?? personOf(identity), lists, own };
}

/** Whose device this is if nothing else is known: it is the person. */
function personOf({ seed }: IdentityRecord): PersonRecord {
  return PersonRecord.make({ person: encodeBase64(new OwnIdentity(seed).peer.userId) });
}

/** Of a person's devices. The first one may have signed lists since, so its next one goes far ahead. */
function putDevices(tx: Transaction, { devices, identity }: Content): void {
  const { lists, own, person } = devices ?? { lists: [], own: [], person: personOf(identity) };
  tx.put(records.PERSON, "", { ...person, isRestored: true, published: NO_BYTES });
  for (const known of lists) {
    tx.put(records.DEVICES, known.person, known);
  }
  for (const device of own) {
    tx.put(records.DEVICE, device.userId, device);
  }
}

function some<T>(found: readonly T[]): readonly T[] | null {
  return found.length === 0 ? null : found;
}

/** Without its text if that is to go. */
function keptSent(sent: SentRecord): SentRecord {
  const isShortLived = sent.burn || sent.expiresAt !== null || sent.expiresIn !== null;
  return isShortLived ? { ...sent, text: null } : sent;
}

/** Put what is in a file into an empty vault; `server`: the relay's URL, if it is another one than before. */
export function putContent(tx: Transaction, content: Content, server: string | null): void {
  const { identity } = content;
  tx.put(records.IDENTITY, "", server === null ? identity : { ...identity, server });
  tx.put(records.LAST_PREKEY_ID, "", { value: content.lastPrekeyId });
  tx.put(records.SETTINGS, "", content.settings);
  for (const block of content.blocks) {
    tx.put(records.BLOCK, block.userId, block);
  }
  for (const contact of content.contacts) {
    // The sessions are gone; that there was a post-quantum key is not to be forgotten with them.
    const kept = { ...contact, classical: false, postQuantum: hadKem(contact), askedAt: null };
    tx.put(records.CONTACT, contact.userId, kept);
  }
  putDevices(tx, content);
  putHistory(tx, content);
  for (const entry of content.outbox) {
    tx.put(records.OUTBOX, entry.messageId, entry);
  }
  for (const unanswered of content.unanswered) {
    tx.put(records.UNANSWERED, unanswered.messageId, unanswered);
  }
  for (const marker of content.inbox) {
    tx.put(records.INBOX, records.key(marker.sender, marker.messageId), marker);
  }
  for (const receipt of content.receipts) {
    const due = receipt.at + KEEP_RECEIPTS_MS;
    tx.put(records.RECEIPT, records.key(receipt.sender, receipt.messageId), receipt, { due });
  }
  for (const waits of content.requests) {
    // Its keys have stayed behind: it is asked for again once its sender was let in.
    tx.put(records.REQUEST, records.key(waits.sender, waits.messageId), waits, { due: waits.due });
  }
  putMany(tx, { many: content.many ?? [], copies: content.copies ?? [] });
  putGroups(tx, content.groups ?? []);
  for (const draft of content.drafts ?? []) {
    tx.put(records.DRAFT, draft.peer, draft);
  }
  for (const lasting of content.lasting ?? []) {
    tx.put(records.LASTING, lasting.peer, lasting);
  }
}

/** Sent and received messages in the order of the clock, as far as each sort's own order allows. */
function putHistory(tx: Transaction, content: Content): void {
  const waiting = new Set(content.outbox.map((entry) => entry.messageId));
  let next = 0;
  const putSentUntil = (until: number): void => {
    for (let sent = content.sent[next]; sent !== undefined && sent.madeAt <= until; sent = content.sent[next]) {
      putSent(tx, sent, waiting);
      next += 1;
    }
  };
  for (const received of content.received) {
    putSentUntil(received.receivedAt);
    putReceived(tx, received);
  }
  putSentUntil(Infinity);
}

function putSent(tx: Transaction, sent: SentRecord, waiting: ReadonlySet<string>): void {
  // What burns or expires and still waited is not in the file, so nobody will send it.
  const isLeft = sent.state === DeliveryState.QUEUED && !waiting.has(sent.messageId);
  tx.put(records.SENT, sent.messageId, isLeft ? { ...sent, state: DeliveryState.FAILED } : sent);
}

function putReceived(tx: Transaction, received: ReceivedRecord): void {
  const { messageId, sender } = received;
  const name = records.key(sender, messageId);
  tx.put(records.RECEIVED, name, received);
  tx.put(records.SEEN, name, { at: received.receivedAt });
  if (received.newer !== null) {
    tx.put(records.NEWER, name, { messageId, sender });
  }
}
