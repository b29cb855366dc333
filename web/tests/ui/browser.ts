/** The page with its made worker in a real Chromium, under the headers that the relay sends. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { type Browser, chromium } from "playwright-core";

declare const PROJECT: string;

/** The file that says them, by itself: it needs nothing of the package around it. */
const PRINT_HEADERS = `
import json, runpy, sys
print(json.dumps(runpy.run_path(sys.argv[1])["security_headers"]()))
`;

/** What the relay sends with every file of the page. */
function headersOfRelay(): Record<string, string> {
  const file = join(PROJECT, "src/phantom_messenger/web/headers.py");
  const printed = spawnSync("python3", ["-c", PRINT_HEADERS, file], { encoding: "utf8" });
  if (printed.status !== 0) throw new Error(`python3 could not print the headers: ${printed.stderr}`);
  return JSON.parse(printed.stdout) as Record<string, string>;
}

const TYPES: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** The Chromium to test in. Without one, whoever runs the tests of Node alone does not wait for those of the browser. */
export const CHROMIUM = process.env["PHANTOM_CHROMIUM"] ?? "";

/** Why tests of the browser are left out, or false. */
export const SKIP = CHROMIUM === "" && "PHANTOM_CHROMIUM names no browser";

async function answerFrom(folder: string, path: string): Promise<{ type: string; body: Buffer } | null> {
  const name = normalize(path === "/" ? "/index.html" : path);
  try {
    return { type: TYPES[extname(name)] ?? "application/octet-stream", body: await readFile(join(folder, name)) };
  } catch {
    return null;
  }
}

async function serve(folder: string): Promise<Server> {
  const headers = headersOfRelay();
  const server = createServer((request, response) => {
    void answerFrom(folder, new URL(request.url ?? "/", "http://localhost").pathname).then((found) => {
      response.writeHead(found === null ? 404 : 200, { ...headers, "Content-Type": found?.type ?? "text/plain" });
      response.end(found?.body);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

/** How often Chromium is started anew if it does not come up: a busy machine may not give it its time. */
const STARTS = 3;

/** Starts Chromium; ``args`` are added to what it is started with. */
export async function launched(...args: readonly string[]): Promise<Browser> {
  const isRoot = process.getuid?.() === 0;
  const faults: string[] = [];
  while (faults.length < STARTS) {
    try {
      return await chromium.launch({ executablePath: CHROMIUM, args: [...args, ...(isRoot ? ["--no-sandbox"] : [])], timeout: 90_000 });
    } catch (error) {
      faults.push(String(error));
    }
  }
  throw new Error(`Chromium did not start, ${STARTS} times:\n${faults.join("\n\n")}`);
}

/** A time zone in which it is about noon: no test depends on which texts are of yesterday. */
export function noonZone(): string {
  const ahead = 12 - new Date().getUTCHours();
  return `Etc/GMT${ahead > 0 ? "-" : "+"}${Math.abs(ahead)}`;
}

/** A browser, the address of the page, and how to end both. */
export interface Stage {
  readonly browser: Browser;
  readonly url: string;
  readonly folder: string;
  close(): Promise<void>;
}

/** Builds the page with the made worker, serves it on loopback, starts Chromium. */
export async function openStage(): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), "phantom-page-"));
  const made = spawnSync(process.execPath, ["build.mjs", folder, "--worker", "tests/ui/fake_worker.ts"], { cwd: join(PROJECT, "web") });
  if (made.status !== 0) throw new Error(made.stderr.toString());
  const server = await serve(folder);
  const browser = await launched();
  return {
    browser,
    folder,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      await browser.close();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
