/** Who is in a group already is not added again, and who is not is not removed: it is said. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { Fault } from "../../api.ts";
import { closeAll, created, tab } from "./support.ts";

after(closeAll);

async function text(call: Promise<unknown>): Promise<string> {
  return call.then(() => "", (fault: Fault) => fault.text.replaceAll(/[\u2068\u2069]/g, ""));
}

test("a change of members that would change nothing is refused with a sentence", async () => {
  const one = tab();
  await created(one, "Alice");
  const other = `${"A".repeat(43)}=`;
  const bob = await one.api.add({ who: other, name: "Bob" });
  const group = await one.api.createGroup({ name: "Tea", people: [], ownName: "Ali" });
  assert.equal((await one.api.groups())[0]?.ownName, "Ali");
  assert.match(await text(one.api.removeFromGroup({ group, people: [bob] })), /^Bob is not a member of “Tea” any more/);
  assert.equal(await text(one.api.addToGroup({ group, people: [bob], role: "member" })), "", "the control");
  const me = (await one.api.groups())[0]?.members[0]?.peer ?? "";
  assert.match(await text(one.api.addToGroup({ group, people: [me], role: "member" })), / is in “Tea” already/);
});
