/** A worker in Node: fake-indexeddb for the disk, locks in memory, and calls as the page makes them. */
import "fake-indexeddb/auto";
import { after } from "node:test";
import type { Api, Fault, Stage, Update } from "../../api.ts";
import { dial as realDial } from "../../worker/socket.ts";
import type { Dial, SocketEnd } from "../../worker/socket.ts";
import { Service } from "../../worker/service.ts";
import { sinceStart } from "../../worker/clocks.ts";
import type { Locks } from "../../worker/locks.ts";
import * as later from "../../worker/later.ts";
import { greeting, letIn, random } from "../client/support.ts";

const services: Service[] = [];

// A worker goes on trying to connect, and Node waits for whoever has something to do.
after(() => Promise.allSettled(services.map((service) => service.call("lock", undefined))));

/** Costs next to nothing. */
export const COST = { memoryKib: 64, passes: 1, lanes: 1 };

export const PAGE = "http://127.0.0.1:8080/";
export const RELAY = process.env["PHANTOM_RELAY"] ?? "ws://127.0.0.1:9/ws";

/** Locks as a browser has them, of one origin. */
export function fakeLocks(): Locks {
  const holders = new Map<string, (error: Error) => void>();
  const request = async (
    name: string,
    options: LockOptions,
    use: (lock: Lock | null) => Promise<unknown>,
  ): Promise<unknown> => {
    const holder = holders.get(name);
    if (holder !== undefined && options.steal !== true) {
      return use(null);
    }
    holder?.(new DOMException("stolen", "AbortError"));
    return new Promise((resolve, reject) => {
      holders.set(name, reject);
      void use({ name, mode: "exclusive" }).then((result) => {
        if (holders.get(name) === reject) {
          holders.delete(name);
        }
        resolve(result);
      });
    });
  };
  return { request } as unknown as Locks;
}

/** A relay that is never there. */
export const noDial: Dial = (_, end) => {
  const timer = setTimeout(() => end.closed(null, "", false), 1);
  return { send: () => undefined, leave: () => clearTimeout(timer) };
};

/** A relay that lets everybody in, and otherwise does what a test says. */
export class FakeRelay {
  /** The types of what came, and the ids of the requests. */
  readonly heard: { readonly type: string; readonly id: string }[] = [];
  readonly ends: SocketEnd[] = [];

  readonly dial: Dial = (_, end) => {
    this.ends.push(end);
    const timer = setTimeout(() => {
      end.opened();
      this.say("CONNECTION_ACK", greeting(Date.now()));
      this.say("AUTH_SUCCESS", letIn(Date.now()), "1");
    }, 1);
    return {
      send: (text) => void this.heard.push(JSON.parse(text) as { type: string; id: string }),
      leave: () => clearTimeout(timer),
    };
  };

  /** The connection that was made last. */
  get end(): SocketEnd {
    const end = this.ends.at(-1);
    if (end === undefined) {
      throw new Error("nobody has connected");
    }
    return end;
  }

  say(type: string, payload: object, id?: string): void {
    this.end.received(JSON.stringify({ ...(id === undefined ? {} : { id }), payload, timestamp: Date.now(), type }));
  }
}

/** A tab: its calls, and what its worker has told. */
export interface Tab {
  readonly api: Api;
  readonly updates: Update[];
  readonly stage: () => Stage | null;
  readonly clocks: { wall: number };
}

const open: Api[] = [];

/** Close all tabs, so that nothing goes on that keeps the process alive. */
export async function closeAll(): Promise<void> {
  for (const api of open.splice(0)) {
    await api.lock().catch(() => undefined);
  }
}

/** Open a tab. All of one test share the disk; of one origin, the locks. */
export function tab({
  locks = fakeLocks(),
  isOnline = false,
  isKept = false,
  dial = null as Dial | null,
  deleteMs = 10_000,
} = {}): Tab {
  const updates: Update[] = [];
  const clocks = { wall: 0 };
  const wall = (): number => Date.now() + clocks.wall;
  const awake = (): number => performance.now();
  const service = new Service({
    later: () => Promise.resolve(later),
    // As `postMessage` does it.
    post: (update) => void updates.push(structuredClone(update)),
    locks,
    dial: dial ?? (isOnline ? realDial : noDial),
    deleteMs,
    random,
    wall,
    monotonic: () => Math.round(awake()),
    sinceStart: sinceStart({ wall, awake }),
    chance: Math.random,
    isOnline: () => isOnline,
    isKept: () => Promise.resolve(isKept),
    cost: COST,
  });
  services.push(service);
  const call = async (name: string, given: unknown): Promise<unknown> =>
    structuredClone(await service.call(name, structuredClone(given)));
  const api = new Proxy({} as Api, { get: (_, name) => (given: unknown) => call(String(name), given) });
  open.push(api);
  const stage = (): Stage | null => {
    const last = updates.findLast((update) => update.kind === "stage");
    return last?.kind === "stage" ? last.stage : null;
  };
  return { api, updates, stage, clocks };
}

/** Begin as a page does. */
export async function begin({ api }: Tab, remembered: string | null = null): Promise<Stage> {
  return api.begin({ relay: RELAY, page: PAGE, isSecure: true, remembered });
}

/** A new profile in a tab that has begun nothing yet. */
export async function created(one: Tab, name: string, passphrase = "secret words"): Promise<void> {
  await begin(one);
  await one.api.create({ name, passphrase, stay: false });
}

/** What a call is refused with. */
export async function fault(call: Promise<unknown>): Promise<Fault["code"]> {
  try {
    await call;
  } catch (error) {
    return (error as Fault).code;
  }
  throw new Error("it was not refused");
}

/** Wait until something is so, and return it. */
export async function until<T>(what: string, look: () => T | Promise<T>, seconds = 120): Promise<NonNullable<T>> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) {
      return found as NonNullable<T>;
    }
    if (Date.now() > end) {
      throw new Error(`it did not happen in ${seconds} s: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Forget everything that is stored, as a browser that clears an origin does. */
export async function clearDisk(names: readonly string[] = ["phantom", "phantom-marker"]): Promise<void> {
  for (const name of names) {
    await new Promise<void>((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = () => resolve();
      request.onerror = () => reject(new Error("the database cannot be deleted"));
    });
  }
}
