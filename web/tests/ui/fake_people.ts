/** Invented people and texts for the screens: several languages, both directions of writing, every kind of text. */
import type { Conversation, Item, Mark } from "../../api.ts";

export const NOW = Date.now();
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";

/** A written id as long as real ones. */
export function writtenId(seed: string): string {
  let state = [...seed].reduce((sum, char) => (sum * 33 + (char.codePointAt(0) ?? 0)) >>> 0, 5381);
  let id = "ph1";
  while (id.length < 61) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    id += ALPHABET.charAt(state >>> 27);
  }
  return id;
}

let made = 0;

/** A text with what differs from a plain one of the other side. */
export function item(peer: string, position: number, changed: Partial<Item>): Item {
  made += 1;
  return {
    id: `00000000-0000-4000-8000-${String(made).padStart(12, "0")}`,
    peer,
    position,
    isMine: false,
    kind: "text",
    text: "",
    at: NOW - 5 * MINUTE,
    mark: null,
    burns: false,
    expiresAt: null,
    isUnread: false,
    fault: "",
    ...changed,
  };
}

const theirs = (text: string, minutes: number, more: Partial<Item> = {}): Partial<Item> => ({ text, at: NOW - minutes * MINUTE, ...more });
const mine = (text: string, minutes: number, mark: Mark, more: Partial<Item> = {}): Partial<Item> => ({
  ...theirs(text, minutes, more),
  isMine: true,
  mark,
});

/** What the people have written, by name, oldest first. */
export const TALKS: Readonly<Record<string, readonly Partial<Item>[]>> = {
  Bob: [
    theirs("Are you at home on Saturday?", 2 * 24 * 60),
    mine("Yes, all day. Come for lunch?", 2 * 24 * 60 - 3, "read"),
    theirs("Gladly! I bring the cake. 🍰", 2 * 24 * 60 - 5),
    mine("👍", 2 * 24 * 60 - 6, "read"),
    theirs("Did you get the keys? The neighbour said that she had put them into the box beside the door, under the old newspapers.", 42),
    mine("Yes, in the drawer", 30, "read"),
    mine("The address is https://www.openstreetmap.org/#map=16/52.52/13.40 (second floor).", 29, "delivered", { expiresAt: NOW + 7 * DAY }),
    mine("", 28, "burned", { kind: "gone", burns: true }),
    theirs("Hello?", 4, { isUnread: true }),
    theirs("", 3, { kind: "covered", burns: true, isUnread: true }),
    theirs("And call me when you are there.", 3, { isUnread: true }),
  ],
  Amélie: [
    theirs("Tu viens demain ?", 300),
    mine("Oui, vers dix heures.", 290, "delivered"),
    mine("On my way", 2, "waiting"),
  ],
  "ليلى حداد": [
    theirs("مرحبا! هل وصلت الرسالة؟", 1500),
    mine("نعم، وصلت. شكراً جزيلاً لك!", 1490, "read"),
    theirs("رقم الحجز هو ABC-123، والموعد الساعة 10:30 صباحاً.", 1480),
    theirs("", 1470, { kind: "unreadable" }),
  ],
  "Σοφία": [theirs("Καλημέρα! Πώς είσαι;", 3000), mine("Πολύ καλά, ευχαριστώ.", 2990, "sent")],
  Dave: [
    theirs("See you at the station", 5000),
    mine("Which platform?", 4000, "failed", { fault: "Dave has a new key: compare or accept it, then try again." }),
  ],
  "Наталья": [theirs("Где встречаемся?", 6000), theirs("", 5990, { kind: "newer" }), theirs("", 5980, { kind: "gone", expiresAt: NOW - DAY })],
  "דוד": [mine("שלום, מה שלומך?", 9000, "read"), theirs("בסדר גמור, תודה 😊", 8990)],
  Old: [theirs("I have not updated in a while.", 12_000)],
};

/** The other side of a talk. */
export function person(name: string, changed: Partial<Conversation> = {}): Conversation {
  return {
    peer: `${name}+/=`,
    writtenId: writtenId(name),
    name,
    trust: "unverified",
    newKey: "",
    isRequest: false,
    isBlocked: false,
    allowsOlder: false,
    unread: 0,
    draft: "",
    expiresIn: null,
    last: null,
    presence: { status: "unknown", lastSeen: null },
    notice: null,
    ...changed,
  };
}

/** The people and how things stand with each. */
export const PEOPLE: readonly Conversation[] = [
  person("Bob", { trust: "verified", presence: { status: "online", lastSeen: NOW } }),
  person("Amélie", { presence: { status: "typing", lastSeen: NOW } }),
  person("ليلى حداد", { presence: { status: "offline", lastSeen: NOW - 40 * MINUTE } }),
  person("Σοφία", { draft: "Θα σου γράψω αύριο" }),
  person("Dave", { trust: "changed", newKey: "b25l", notice: { code: "key-changed", text: "Dave has a new key." } }),
  person("Наталья", { isBlocked: true }),
  person("דוד", { trust: "verified" }),
  person("Old", {
    notice: {
      code: "older",
      text: "The relay offers no newer keys for Old: their program or the relay is outdated, or the relay is hiding them; nothing is sent until you allow older encryption.",
    },
  }),
];

const WORDS = "the river runs past our house and in summer children swim where bridge meets old mill while dogs sleep".split(" ");

/** A long conversation: lengths and sides differ, the same each time. */
export function longTalk(many: number): Partial<Item>[] {
  let state = 7;
  const next = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  return Array.from({ length: many }, (_, index) => {
    const words = Array.from({ length: 1 + next(next(5) === 0 ? 60 : 12) }, () => WORDS[next(WORDS.length)]).join(" ");
    const minutes = (many - index) * 17;
    return next(5) < 2 ? mine(`${index + 1}: ${words}`, minutes, "read") : theirs(`${index + 1}: ${words}`, minutes);
  });
}
