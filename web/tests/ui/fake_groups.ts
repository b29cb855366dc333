/** Invented groups for the made worker: every relation and doubt that a group can be in, and the calls about them. */
import type { Fault, Item, Mark, Update } from "../../api.ts";
import type { Copy, Group, GroupCalls, GroupKey, GroupMember, GroupPerson, GroupPicture, InGroup, JoinLink, Role } from "../../groups_api.ts";
import { item, NOW, writtenId } from "./fake_people.ts";

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

/** Somebody in a group; a contact if there is a name. */
export function inGroup(id: string, name: string, changed: Partial<GroupMember> = {}): GroupMember {
  return { peer: `${id}+/=`, writtenId: writtenId(id), name, says: "", trust: "unverified", isMe: false, role: "member", hasJoined: true, isLeaving: false, ...changed };
}

const ME = inGroup("Alice", "Alice", { isMe: true, role: "admin" });
const BOB = inGroup("Bob", "Bob", { trust: "verified" });
const AMELIE = inGroup("Amélie", "Amélie");
const LAYLA = inGroup("ليلى حداد", "ليلى حداد", { role: "admin" });
const SOPHIA = inGroup("Σοφία", "Σοφία", { hasJoined: false });
const STRANGER = inGroup("Mia", "", { says: "Mia M." });

/** A group with what differs from a usual one, of which one is an admin. */
export function group(name: string, changed: Partial<Group> = {}): Group {
  const relation = changed.relation ?? "member";
  const role: Role | null = relation === "member" ? (changed.role ?? "admin") : null;
  const isAdmin = role === "admin";
  return {
    key: `group:${name.replaceAll(" ", "")}+/=`,
    name,
    twin: "",
    relation,
    role,
    inviter: null,
    wasNoAdmin: false,
    isRequest: false,
    doubt: "",
    rival: null,
    isBehind: false,
    isWaiting: false,
    members: [ME, BOB, AMELIE, LAYLA, SOPHIA],
    picture: null,
    expiresIn: null,
    invite: "admin",
    write: "member",
    mayWrite: relation === "member",
    mayInvite: isAdmin,
    mayChange: isAdmin,
    mayLeave: relation === "member",
    isMuted: false,
    ownName: "",
    unread: 0,
    draft: "",
    last: null,
    waiting: 0,
    revision: 7,
    notice: null,
    ...changed,
  };
}

/** A stranger whose request is an invitation, without a text. */
export const INVITER = "Ines+/=";
/** A stranger who writes in a group to which somebody else invites. */
export const FELLOW = "Uwe+/=";

/** 16 pixels wide and high. */
const PICTURE =
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAABwElEQVR42g3LobJFUAAAwPc5N8uyfKLZJAiSEU80kiBIRjzR" +
  "SIIgGdFnPdv37+fNvLm38AYvb+1tvdE7eCfv4k3e3Xt6b+/fz5N5ck/hCR6e2tN6omfwTJ7Fkzy75/Tcni9cmSt3Fa7g4qpd" +
  "rSu6BtfkWlzJtbtO1+36wpE5ckfhCA6O2tE6omNwTI7FkRy743Tcji9smS23FbZgY6ttrS3aBttkW2zJtttO2237QsqkXCqk" +
  "IJFqqZWiNEiTtEhJ2qVTuqUvrJk1txbWYGWtra01WgfrZF2sybpbT+tt/cKcmXNzYQ5m5trcmqN5ME/mxZzMu/k03+YvjJkx" +
  "NxbGYGSsja0xGgfjZFyMybgbT+Nt/EKf6XN9oQ96+lrf6qN+0E/6RZ/0u/7U3/ovxEzMxUIMIrEWWzGKgziJi5jEXTzFW/xC" +
  "l+lyXaELOrpa1+qibtBNukWXdLvu1N26LzSZJtcUmqChqTWtJmoGzaRZNEmza07NrflClalyVaEKKqpa1aqialBNqkWVVLvq" +
  "VN2qL5SZMlcWyqCkrJWtMioH5aRclEm5K0/lrfxCyIRcKIQgEGqhFaIwCJOwCEnYhVO4hX9fQlkQF3IzNgAAAABJRU5ErkJg" +
  "gg==";

const PAINTED: GroupPicture = { type: "image/png", data: Uint8Array.from(atob(PICTURE), (char) => char.charCodeAt(0)), name: "painted" };

/** The groups. */
export const GROUPS: readonly Group[] = [
  group("Family"),
  group("Book club", { role: "member", members: [{ ...ME, role: "member" }, BOB, LAYLA, STRANGER], isMuted: true, expiresIn: 7 * DAY }),
  group("House", { doubt: "forked", rival: BOB, mayWrite: false, mayChange: false }),
  group("Choir", { picture: PAINTED, role: "member", write: "admin", mayWrite: false, isBehind: true, waiting: 2 }),
  group("Football", { relation: "removed", mayLeave: false }),
  group("Weekend", { relation: "invited", inviter: BOB, members: [ME, BOB, AMELIE].map((one) => ({ ...one, hasJoined: !one.isMe })) }),
  group("Old school", { relation: "invited", inviter: STRANGER, isRequest: true, members: [ME, STRANGER, { ...STRANGER, peer: "Tom+/=", writtenId: writtenId("Tom") }] }),
];

const digits = (from: number): readonly string[] => [0, 1, 2, 3].map((at) => String((from * 7_919 + at * 48_271) % 100_000).padStart(5, "0"));

type Said = Partial<Item> & { readonly by?: GroupPerson };

const by = (author: GroupPerson, text: string, minutes: number, more: Partial<Item> = {}): Said => ({ text, at: NOW - minutes * MINUTE, by: author, ...more });
const happened = (text: string, minutes: number): Said => ({ kind: "event", text, at: NOW - minutes * MINUTE });
const mine = (text: string, minutes: number, of: number, delivered: number, read: number): Said => ({
  text,
  at: NOW - minutes * MINUTE,
  isMine: true,
  mark: read === of ? "read" : delivered === of ? "delivered" : "sent",
  group: { author: null, copies: { of, accepted: of, delivered, read, failed: 0 } },
});

const SAID: Readonly<Record<string, readonly Said[]>> = {
  Family: [
    happened("You created the group", 3000),
    happened("You added Bob, Amélie and ليلى حداد", 2999),
    by(BOB, "Finally all in one place!", 2990),
    mine("Who comes on Sunday?", 2980, 3, 3, 3),
    happened("ليلى حداد is an admin now", 2000),
    by(AMELIE, "Moi ! J\u2019apporte le dessert.", 45),
    by(AMELIE, "And the dog comes, too \u{1f436}", 44),
    by(LAYLA, "سأصل في الساعة الثانية", 30),
    mine("Then we are five. See https://example.org/map for the way.", 20, 4, 3, 1),
    happened("You added Σοφία", 19),
    by(BOB, "Shall I bring chairs?", 4, { isUnread: true }),
    by(BOB, "I have six.", 3, { isUnread: true }),
  ],
  "Book club": [happened("ليلى حداد added you", 9000), by(STRANGER, "The next one is on the 12th.", 8000, { isUnread: true })],
  House: [by(BOB, "The landlord has answered.", 600), happened("Bob shows another history of this group", 10)],
  Choir: [by(LAYLA, "Rehearsal at seven.", 400)],
  Football: [by(BOB, "Saturday at ten?", 20_000), happened("Bob removed you", 19_000)],
};

/** What was said in a group, oldest first. */
export function saidIn(one: Group): Item[] {
  return (SAID[one.name] ?? []).map(({ by: author, ...text }, index) =>
    item(one.key, index + 1, { ...text, group: text.group ?? { author: author ?? null, copies: null } }),
  );
}

/** A text of one's own that has come so far with all. */
export function sentTo(one: Group, mark: Mark): InGroup {
  const of = one.members.filter(({ hasJoined, isMe }) => hasJoined && !isMe).length;
  const reached = (...marks: readonly Mark[]) => (marks.includes(mark) ? of : 0);
  return {
    author: null,
    copies: { of, accepted: reached("sent", "delivered", "read"), delivered: reached("delivered", "read"), read: reached("read"), failed: 0 },
  };
}

/** A text of somebody else, as it comes just now. */
export const fromBob: InGroup = { author: BOB, copies: null };

/** What the made worker gives to the calls about groups. */
export interface Ports {
  readonly groups: Map<string, Group>;
  readonly talks: Map<string, Item[]>;
  readonly nameOf: (peer: string) => string;
  readonly tell: (update: Update) => void;
  readonly refuse: (code: Fault["code"], text: string) => never;
}

/** Changes a group, and tells the page. */
export function changeGroup({ groups, talks, tell }: Ports, key: string, changed: Partial<Group>): void {
  const found = groups.get(key);
  if (found === undefined) return;
  const talk = talks.get(key) ?? [];
  const next = { ...found, ...changed, last: talk.at(-1) ?? null, unread: talk.filter((one) => one.isUnread).length };
  groups.set(key, next);
  tell({ kind: "groups", changed: [next], removed: [] });
}

/** The calls about groups: each is done at once. */
export function groupCallsOn(ports: Ports): GroupCalls {
  const { groups, talks, nameOf, tell, refuse } = ports;
  const links = new Map<string, JoinLink[]>();
  const find = (key: string): Group => groups.get(key) ?? refuse("usage", "There is no such group.");
  function happen(key: GroupKey, text: string): void {
    const talk = talks.get(key) ?? [];
    const one = item(key, talk.length + 1, { kind: "event", text, at: Date.now(), group: { author: null, copies: null } });
    talks.set(key, [...talk, one]);
    tell({ kind: "items", peer: key, items: [one], incoming: [] });
  }
  function change(key: GroupKey, text: string, changed: Partial<Group>): void {
    happen(key, text);
    changeGroup(ports, key, { ...changed, revision: find(key).revision + 1 });
  }
  const members = (key: string, each: (one: GroupMember) => GroupMember | null): readonly GroupMember[] =>
    find(key).members.map(each).filter((one) => one !== null);
  const added = (ids: readonly string[], role: Role): GroupMember[] =>
    ids.map((peer) => inGroup(peer.slice(0, -3), nameOf(peer), { peer, role, hasJoined: false }));
  return {
    groups: async () => [...groups.values()],
    async invitationsOf({ peer }) {
      if (peer !== INVITER) return peer === FELLOW ? null : [];
      return [{ name: "Chess evenings", members: 12, admins: 1, known: [BOB, AMELIE], expiresIn: null }];
    },
    async createGroup({ name, people, ownName }) {
      const made = group(name, { ownName, members: [ME, ...added(people, "member")], revision: 1 });
      groups.set(made.key, made);
      change(made.key, "You created the group", {});
      return made.key;
    },
    async callMe({ group: key, name }) {
      changeGroup(ports, key, { ownName: name });
    },
    async acceptGroup({ group: key, ownName = "" }) {
      change(key, "You accepted the invitation", { ownName, relation: "member", role: "member", isRequest: false, mayWrite: true, mayLeave: true });
    },
    async leaveGroup({ group: key }) {
      if (find(key).relation === "invited") {
        groups.delete(key);
        tell({ kind: "groups", changed: [], removed: [key] });
      } else change(key, "You left the group", { relation: "left", role: null, mayWrite: false, mayInvite: false, mayChange: false });
    },
    async forgetGroup({ group: key }) {
      groups.delete(key);
      talks.delete(key);
      tell({ kind: "groups", changed: [], removed: [key] });
    },
    async closeGroup({ group: key }) {
      change(key, "You closed the group", { relation: "closed", role: null, mayWrite: false, mayInvite: false, mayChange: false });
    },
    async addToGroup({ group: key, people, role }) {
      change(key, `You added ${people.map(nameOf).join(", ")}`, { members: [...find(key).members, ...added(people, role)] });
    },
    async removeFromGroup({ group: key, people }) {
      change(key, `You removed ${people.map(nameOf).join(", ")}`, { members: members(key, (one) => (people.includes(one.peer) ? null : one)) });
    },
    async changeRole({ group: key, person, role }) {
      change(key, `${nameOf(person)} is ${role === "admin" ? "an admin" : "a member"} now`, {
        members: members(key, (one) => (one.peer === person ? { ...one, role } : one)),
      });
    },
    async renameGroup({ group: key, name }) {
      change(key, `You named the group ${name}`, { name });
    },
    async groupPicture({ group: key, picture }) {
      const shown = picture === null ? null : ({ type: "image/jpeg", data: picture, name: String(picture.length) } as const);
      change(key, "You changed the picture", { picture: shown });
    },
    async groupRights({ group: key, invite, write }) {
      change(key, "You changed who can do what", { invite, write });
    },
    async groupTimer({ group: key, expiresIn }) {
      change(key, "You changed how long texts last", { expiresIn });
    },
    async muteGroup({ group: key, isMuted }) {
      changeGroup(ports, key, { isMuted });
    },
    async goOnInGroup({ group: key }) {
      changeGroup(ports, key, { doubt: "", rival: null, mayWrite: true, mayChange: true });
    },
    groupDigits: async ({ group: key }) => digits(find(key).revision),
    rivalDigits: async ({ group: key }) => (find(key).doubt === "forked" ? digits(find(key).revision + 1) : null),
    async groupLink({ group: key, uses, lasts }) {
      const text = `phantom:join?relay=ws%3A%2F%2F127.0.0.1%3A8080%2Fws&admin=${writtenId("Alice")}&token=QUJDREVGR0hJSktMTU5PUA`;
      const link = { text, address: `${location.origin}/#g=${encodeURIComponent(text)}`, uses, until: Date.now() + lasts };
      links.set(key, [...(links.get(key) ?? []), link]);
      return link;
    },
    groupLinks: async ({ group: key }) => links.get(key) ?? [],
    async endGroupLinks({ group: key }) {
      links.delete(key);
    },
    async joinGroup({ link }) {
      if (!link.includes("token=")) refuse("usage", "This link is not whole. Ask for it again.");
      return LAYLA.peer;
    },
    groupCopies: async (): Promise<readonly Copy[]> => [
      { person: BOB, mark: "read" },
      { person: AMELIE, mark: "delivered" },
      { person: LAYLA, mark: "delivered" },
      { person: SOPHIA, mark: "sent" },
    ],
  };
}
