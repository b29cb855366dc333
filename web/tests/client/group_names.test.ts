/** Members say what they are called: to those who have not added them, beside what tells them apart. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { shortId } from "../../core/client/ids.ts";
import { checkedOwnName, MAX_NAMES, noted, shownName } from "../../core/client/groups/naming.ts";
import { labelOf } from "../../core/client/status.ts";
import { GroupView } from "../../core/client/groups/view.ts";
import { Member } from "./members.ts";
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
