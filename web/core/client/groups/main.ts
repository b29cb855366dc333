/** Groups and messages to many, as the further parts of a client. */
import type { Extension, ExtensionPorts, Extra } from "../extension.ts";
import { manyOf } from "../many/main.ts";
import { decodeSaid } from "./contents.ts";
import type { GroupHeard } from "./contents.ts";
import { takePast, toldGroups } from "./handed_over.ts";
import { Groups } from "./groups.ts";
import { Persons } from "./persons.ts";
import { GroupStore, idOf } from "./store.ts";

/** The groups of a client, and what the core asks of them. */
export interface WithGroups {
  readonly groups: Groups;
  readonly extension: Extension;
}

/** Make them. */
export function groupsOf(ports: ExtensionPorts): WithGroups {
  const many = manyOf(ports);
  const persons = new Persons(ports);
  const store = new GroupStore(ports.stores.vault, (device) => persons.of(device));
  const groups = new Groups(ports, many, store);
  const extension: Extension = {
    ...many.extension,
    synced: {
      follow: (listener) => store.follow(listener),
      members: () => store.all().flatMap((group) => (group.record.relation === "member" ? [idOf(group)] : [])),
      of: (group) => store.synced(group),
      told: () => toldGroups(store),
      takePast: (tx, past) => takePast(store, tx, past, persons.own),
      written: (person, now, maxAge) => store.written(person, now, maxAge),
      take: (tx, said, now) => groups.arrivals.synced(tx, said, now),
      isMuted: (id) => store.memberOf(id)?.record.muted ?? null,
      mute: (tx, id, muted) => store.mute(tx, id, muted),
      muted: () => store.all().flatMap((group) => (group.record.muted ? [idOf(group)] : [])),
      readElsewhere: (tx, texts, device) => texts.forEach((text) => groups.arrivals.texts.readElsewhere(tx, text, device)),
    },
    drop(tx, peer) {
      many.extension.drop(tx, peer);
      store.joins.drop(tx, peer); // whoever is kept away answers no link
    },
    read: ({ whole }) => decodeSaid(whole),
    expects: (frame, now, isNew) => groups.arrivals.strangers.expects(frame, now, isNew),
    mayAskAgain: (frame, now) => groups.arrivals.strangers.mayAskAgain(frame, now),
    concerns: (sender, said, now) => groups.arrivals.strangers.concerns(sender, heard(said), now),
    isVain: (frame, now, said) => {
      return groups.arrivals.strangers.asksInVain(frame, now, said ? heard(said) : said);
    },
    take: (tx, frame, said, now) => groups.arrivals.take(tx, frame, heard(said), now),
    cameAgain: (frame) => groups.arrivals.texts.cameAgain(frame),
    mayNotify: (peer) => store.isFellow(persons.of(peer)),
    forgetExpired(tx, now) {
      many.extension.forgetExpired(tx, now);
      store.forgetExpired(tx, now);
    },
    waits: (now) => [...many.extension.waits(now), ...groups.waits(now)],
    step: () => groups.step(),
    flush: () => groups.flush(),
  };
  return { groups, extension };
}

/** What `read` has made. */
function heard(said: Extra): GroupHeard {
  return said as GroupHeard;
}
