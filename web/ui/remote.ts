/** The worker as the page sees it: calls that are answered once, and updates. */
import type { Api, Fault, FromWorker, ToWorker, Update } from "../api.ts";
import { sentence } from "./sentences.ts";

declare const WORKER_URL: string;

interface ScriptUrls {
  createScriptURL(url: string): string;
}

interface TrustedTypes {
  createPolicy(name: string, rules: ScriptUrls): ScriptUrls;
}

declare global {
  interface Window {
    readonly trustedTypes?: TrustedTypes;
  }
}

/** The only address that this page ever runs code from by a string; the policy's name is in the relay's headers. */
const rules: ScriptUrls = {
  createScriptURL: (url) => {
    if (url !== WORKER_URL) throw new TypeError("this page runs one worker only");
    return url;
  },
};

/** Starts the worker. */
export function startWorker(): Worker {
  const policy = window.trustedTypes?.createPolicy("phantom", rules) ?? rules;
  return new Worker(policy.createScriptURL(WORKER_URL), { type: "module", name: "phantom" });
}

const BROKEN: Fault = {
  code: "internal",
  text: "Something went wrong in this page. Reload it; what you have sent is saved.",
};

/**
 * The worker's calls, each a promise that rejects with a `Fault`.
 *
 * @param onUpdate is given what the worker tells on its own.
 * @param onBroken is called when the worker has failed and will answer no more.
 */
export function callsOf(worker: Worker, onUpdate: (update: Update) => void, onBroken: () => void): Api {
  const open = new Map<number, { resolve(value: unknown): void; reject(fault: Fault): void }>();
  let last = 0;
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
    if ("update" in data) return onUpdate(data.update);
    const call = open.get(data.id);
    open.delete(data.id);
    if ("fault" in data) call?.reject(data.fault);
    else call?.resolve(data.result);
  };
  worker.onerror = () => {
    for (const call of open.values()) call.reject(BROKEN);
    open.clear();
    onBroken();
  };
  function call(name: keyof Api, given: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      last += 1;
      open.set(last, { resolve, reject });
      const message: ToWorker = { id: last, call: name, given };
      worker.postMessage(message);
    });
  }
  return new Proxy({} as Api, { get: (_, name) => (given: unknown) => call(name as keyof Api, given) });
}

/** The sentence of what a call was refused with. */
export function sentenceOf(error: unknown): string {
  const text = typeof error === "object" && error !== null && "text" in error ? error.text : null;
  return typeof text === "string" && text !== "" ? sentence(text) : BROKEN.text;
}
