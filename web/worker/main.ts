/**
 * The worker's messages: calls in, results and updates out. Until it is needed, the core is not loaded (`first.ts`).
 */
import type { Api, Fault, FromWorker, Stage, ToWorker } from "../api.ts";
import { faultOf, NOT_LOADED } from "./faults.ts";
import { firstStage } from "./first.ts";
import type { Service } from "./service.ts";

/** Where `core.ts` is, as seen from here. */
declare const CORE_URL: string;

type Beginning = Parameters<Api["begin"]>[0];

const UNLOADED: Fault = {
  code: "offline",
  text: NOT_LOADED,
};

let beginning: Beginning | null = null;
let service: Promise<Service> | null = null;

const post = (message: FromWorker): void => self.postMessage(message);

/** The core, which has begun. */
function core(): Promise<Service> {
  service ??= load().catch((error: unknown) => {
    service = null;
    throw error;
  });
  return service;
}

async function load(): Promise<Service> {
  const { start } = await (import(CORE_URL) as Promise<typeof import("./core.ts")>).catch(() => Promise.reject(UNLOADED));
  const made = start((update) => post({ update }));
  if (beginning !== null) await made.call("begin", beginning);
  return made;
}

async function answer(call: string, given: unknown): Promise<unknown> {
  if (call === "begin" && service === null) {
    beginning = given as Beginning;
    const stage: Stage | null = await firstStage(beginning);
    beginning = { ...beginning, isLocking: false }; // it is locked by now
    if (stage !== null) return stage;
  }
  return (await core()).call(call, given);
}

function isFault(error: unknown): error is Fault {
  return typeof error === "object" && error !== null && "code" in error && "text" in error;
}

self.addEventListener("message", ({ data: { id, call, given } }: MessageEvent<ToWorker>) => {
  answer(call, given).then(
    (result) => post({ id, result }),
    (error: unknown) => post({ id, fault: isFault(error) ? error : faultOf(error) }),
  );
});
for (const event of ["online", "offline"]) {
  self.addEventListener(event, () => void service?.then((made) => made.suspect()));
}
