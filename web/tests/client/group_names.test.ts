/** Members say what they are called: to those who have not added them, beside what tells them apart. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeBase64 } from "../../core/wire/base64.ts";
import { shortId } from "../../core/client/ids.ts";
import { skeleton } from "../../core/client/names.ts";
import { checkedOwnName, MAX_NAMES, noted, shownName } from "../../core/client/groups/naming.ts";
import { labelOf } from "../../core/client/status.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { Member } from "./members.ts";
import { random } from "./support.ts";
import { Town } from "./town.ts";

/** Ada has added Ben and Cleo, who know her alone, and all three are in a group of hers. */
function strangers(named: Readonly<Record<"ben" | "cleo", string>>): [Town, Member, Member, Member, string] {
  const town = new Town();
  const [ada, ben, cleo] = [new Member(town), new Member(town), new Member(town)];
  ada.knows("Ben", ben);
  ada.knows("Cleo", cleo);
  ben.knows("Ada", ada);
  cleo.knows("Ada", ada);
  town.pass(3_000);
  const group = ada.groups.create("Tea", [ben.id, cleo.id]);
  town.pass(5_000);
  ben.groups.accept(group, named.ben);
  town.pass(3_000);
  cleo.groups.accept(group, named.cleo);
  town.pass(10_000);
  return [town, ada, ben, cleo, group];
}

/** What somebody calls another member, and what that one says. */
function seen(by: Member, other: Member, group: string): [string, string] {
  const view = new GroupView(by.person.messenger.stores, by.groups, by.id);
  const shown = view.shown(by.groups.found(group), by.person.messenger.now());
  const found = shown.members.find(({ peer }) => peer === other.id);
  return [found?.name ?? "", found?.says ?? ""];
}

test("whoever has not added a member sees what they call themselves", () => {
  const [town, ada, ben, cleo, group] = strangers({ ben: "Benny", cleo: "Ada" });
  assert.deepEqual(seen(ben, cleo, group), ["", "Ada"]);
  assert.deepEqual(seen(cleo, ben, group), ["", "Benny"]);
  assert.deepEqual(seen(ada, ben, group), ["Ben", ""], "a name that the user gave comes first");
  ben.groups.callMe(group, "Benjamin");
  town.pass(3_000);
  assert.deepEqual(seen(cleo, ben, group), ["", "Benjamin"]);
  ben.groups.callMe(group, "");
  town.pass(3_000);
  ben.groups.sendText(group, "hello");
  town.pass(3_000);
  assert.deepEqual(seen(cleo, ben, group), ["", ""], "it was withdrawn");
  assert.ok(ben.person.sent.every((frame) => !JSON.stringify(frame).includes("Benny")), "the relay was told");
});

test("who makes a group says a name with it", () => {
  const [town, ada, ben, cleo] = strangers({ ben: "", cleo: "" });
  assert.throws(() => ben.groups.create("Work", [ada.id], "(B)"), /a name needs 1 to 64 printable characters/);
  const group = ben.groups.create("Work", [ada.id], "Benny");
  town.pass(5_000);
  ada.groups.accept(group);
  town.pass(3_000);
  ben.groups.setRole(group, ada.id, "admin");
  town.pass(3_000);
  ada.groups.add(group, [cleo.id], "member");
  town.pass(5_000);
  cleo.groups.accept(group);
  town.pass(5_000);
  assert.deepEqual(seen(cleo, ben, group), ["", "Benny"]);
});

test("a newcomer is told by those who are there, and by their texts", () => {
  const [town, ada, ben, cleo, group] = strangers({ ben: "Benny", cleo: "" });
  const dan = new Member(town);
  dan.knows("Ada", ada);
  ada.groups.add(group, [dan.id], "member");
  town.pass(5_000);
  dan.groups.accept(group, "Dan");
  town.pass(5_000);
  assert.deepEqual(seen(dan, ben, group), ["", "Benny"]);
  assert.ok(ben.events(group).includes(`~Dan (${shortId(dan.id)}) has joined`));
  cleo.groups.callMe(group, "Cleo");
  dan.person.vault.transaction((tx) => dan.groups.store.put(tx, noted(dan.groups.found(group), cleo.id, "")));
  assert.deepEqual(seen(dan, cleo, group), ["", ""]);
  cleo.groups.sendText(group, "hello");
  town.pass(5_000);
  assert.deepEqual(seen(dan, cleo, group), ["", "Cleo"]);
});

test("a long name does not push the id out of sight", () => {
  const who = { name: "", userId: `${"A".repeat(43)}=`, trust: "unverified", key: null, classical: false, blocked: false } as const;
  const seen = (says: string): string => labelOf({ ...who, says }).slice(1, -1);
  assert.equal(seen("x".repeat(24)), `~${"x".repeat(24)} (${shortId(who.userId)})`);
  assert.equal(seen("x".repeat(25)), `~${"x".repeat(23)}… (${shortId(who.userId)})`);
});

const WORDS_LIKE_ONE = [
  ...["Phlegmatic", "Phlegmatiker", "PHLEGMATIKER", "Phlox Anne", "Phlox-Annette", "phlogiston", "Phlebotomist"],
  ...["Philipp", "Phillip", "Philippa", "PHILIPPA", "Philadelphia", "PHILADELPHIA", "Phil2000", "PHIL2000", "\u03a6il"],
  ...["Joseph 1980s", "Ph. Langenfeld", "P. H. Lautensack", "Camp H1 2000", "Ph. Lang 77", "Ralph 12345", "PhD 2001"],
  ...["Phil Lambert 2", "Josephlein", "Rudolphlangenfeld", "Ph1", "Ph. 1", "Joseph 1980", "Joseph I. Lee"],
];

test("who is called nearly like an id may be", () => {
  for (const name of WORDS_LIKE_ONE) assert.deepEqual([shownName(name), checkedOwnName(name)], [name, name]);
});

test("the control: the rule of before, four letters after what looks like the beginning, kept people from their names", () => {
  const refused = WORDS_LIKE_ONE.filter((name) => /phl[-_.:/]*[a-z0-9]{4}/u.test(skeleton(name)));
  for (const name of ["Phlegmatic", "Phlox Anne", "Philipp", "Philippa"]) assert.ok(refused.includes(name), name);
});

test("nobody can be called like an id as strangers are shown, in whatever letters", () => {
  const ids = Array.from({ length: 300 }, () => shortId(encodeBase64(random(32))));
  const wide = (one: string): string => (one === "…" ? one : String.fromCodePoint((one.codePointAt(0) ?? 0) + 0xfee0));
  const imitations: ((id: string) => string)[] = [
    (id) => id,
    (id) => `Bob ${id}`,
    (id) => `${id.slice(0, -1)} Bob`,
    (id) => id.replace("1", "l"),
    (id) => id.replace("1", "I"),
    (id) => id.replace("1", "|"),
    (id) => id.replace("1", "\u0131"),
    (id) => id.replace("1", "l").replaceAll("0", "o"),
    (id) => id.replace("1", "l").replaceAll("l", "I"),
    (id) => id.replaceAll("p", "\u0440").replaceAll("h", "\u04bb").replace("1", "\u0406"),
    (id) => id.replaceAll("a", "\u0430").replaceAll("e", "\u0435").replace("1", "l"),
    (id) => [...id].join("\u200b"),
    (id) => [...id.replace("1", "l")].join("\u200a"),
    (id) => [...id].map(wide).join(""),
    (id) => `${id.slice(0, 3)} ${id.slice(3)}`,
    (id) => `${id.slice(0, 2)} ${id.slice(2)}`,
    (id) => `${id.slice(0, 1)} ${id.slice(1)}`,
    (id) => [...id].join(" "),
    (id) => `${id.slice(0, 5)}-${id.slice(5)}`,
    (id) => `${id.slice(0, 3)}\u2013${id.slice(3)}`.replace("1", "l"),
    (id) => id.toUpperCase(),
  ];
  for (const imitated of imitations) {
    for (const id of ids) assert.equal(shownName(imitated(id)), "", imitated(id));
  }
});

test("the control: without a look at other letters, an id in them is another name", () => {
  const plain = /ph1[ac-hj-z0-9]{4}/u;
  const id = shortId(encodeBase64(random(32)));
  assert.ok(plain.test(id) && !plain.test(id.replace("1", "l")));
});

test("what others say is made safe, and what nobody could be shown is refused", () => {
  const cases = [
    ["Bob (x)", "Bob x"],
    ["[Bob] {x} \u2768y\u2769 \uff3bz\uff3d \u239dw\u23a0 <v>", "Bob x y z w v"],
    ["Bob (ph1qqqqqqq…)", ""],
    ["Bob P\uff481qqqqqqq", ""],
    ["Bob \u0440h1q7w2e3r", ""],
    ["Bob phlq7w2", ""],
    ["Bob ph1-q7w2", ""],
    ["Bob \u02c2x\u02c3 \u23b0y\u23b1", "Bob x y"],
    ["O\u2019Brien & S\u00f8n", "O\u2019Brien & S\u00f8n"],
    ["~Bob", "Bob"],
    ["a\nb", ""],
    ["\u202eevil", ""],
    [" \u200b ", ""],
    ["", ""],
    ["~", ""],
    ["Bob\uff09 \uff08x", "Bob x"],
    ["x".repeat(64), "x".repeat(64)],
    ["x".repeat(65), ""],
    ["Rene\u0301", "Ren\u00e9"],
  ] as const;
  for (const [said, shown] of cases) {
    assert.equal(shownName(said), shown);
    const isKept = shown === said.normalize("NFC").trim();
    if (isKept) assert.equal(checkedOwnName(said), shown);
    else assert.throws(() => checkedOwnName(said), /a name needs 1 to 64 printable characters/);
  }
  const [, , ben, cleo, group] = strangers({ ben: "", cleo: "Cleo" });
  let found = ben.groups.found(group);
  for (let number = 0; number < MAX_NAMES + 20; number += 1) {
    found = noted(found, `${number}`, "Somebody");
  }
  assert.equal(found.record.names.size, MAX_NAMES);
  assert.equal(found.record.names.get(cleo.id), "Cleo", "who is there stays");
});
