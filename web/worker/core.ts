/** The worker but its beginning: loaded when somebody begins, unlocks, or stays signed in. */
import type { Update } from "../api.ts";
import { COST } from "../core/client/vault.ts";
import { sinceStart } from "./clocks.ts";
import { NOT_LOADED, Refused } from "./faults.ts";
import { Service } from "./service.ts";
import { dial } from "./socket.ts";

/** The whole worker in a browser; `post` tells the page. */
export function start(post: (update: Update) => void): Service {
  const awake = (): number => performance.now();
  return new Service({
    post,
    locks: navigator.locks,
    dial,
    random: (size) => crypto.getRandomValues(new Uint8Array(size)),
    wall: () => Date.now(),
    monotonic: () => Math.round(awake()),
    sinceStart: sinceStart({ wall: () => Date.now(), awake }),
    chance: () => Math.random(),
    isOnline: () => navigator.onLine,
    isKept: async () => (await navigator.storage?.persisted?.()) ?? null,
    later: () => import("./later.ts").catch(() => Promise.reject(new Refused("offline", NOT_LOADED))),
    cost: COST,
  });
}
