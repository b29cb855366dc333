/** The worker's messages: calls in, results and updates out. */
import type { FromWorker, ToWorker } from "../api.ts";
import { COST } from "../core/client/vault.ts";
import { sinceStart } from "./clocks.ts";
import { faultOf } from "./faults.ts";
import { Service } from "./service.ts";
import { dial } from "./socket.ts";

const post = (message: FromWorker): void => self.postMessage(message);
const awake = (): number => performance.now();

const service = new Service({
  post: (update) => post({ update }),
  locks: navigator.locks,
  dial,
  random: (size) => crypto.getRandomValues(new Uint8Array(size)),
  wall: () => Date.now(),
  monotonic: () => Math.round(awake()),
  sinceStart: sinceStart({ wall: () => Date.now(), awake }),
  chance: () => Math.random(),
  isOnline: () => navigator.onLine,
  isKept: async () => (await navigator.storage?.persisted?.()) ?? null,
  cost: COST,
});

self.addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  const { id, call, given } = data;
  service.call(call, given).then(
    (result) => post({ id, result }),
    (error: unknown) => post({ id, fault: isFault(error) ? error : faultOf(error) }),
  );
});
self.addEventListener("online", () => service.suspect());
self.addEventListener("offline", () => service.suspect());

function isFault(error: unknown): error is ReturnType<typeof faultOf> {
  return typeof error === "object" && error !== null && "code" in error && "text" in error;
}
