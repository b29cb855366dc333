// Runs tests/**/*.test.ts, or those named, in Node: each is bundled by esbuild first, as Node 20 reads no TypeScript.
// `node test.mjs --bundle ENTRY FILE` makes a program that a test written in another language runs.
import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));

async function testsUnder(folder) {
  const entries = await readdir(folder, { recursive: true });
  return entries.filter((name) => name.endsWith(".test.ts")).map((name) => join(folder, name));
}

async function bundle(entry, file) {
  await build({
    absWorkingDir: here,
    bundle: true,
    entryPoints: [entry],
    outfile: file,
    format: "esm",
    platform: "node",
    sourcemap: "inline",
    target: "node20",
  });
}

async function run(named) {
  const tests = named.length > 0 ? named : await testsUnder(join(here, "tests"));
  const folder = await mkdtemp(join(here, ".tests-"));
  try {
    await build({
      absWorkingDir: here,
      bundle: true,
      entryPoints: tests,
      outdir: folder,
      format: "esm",
      platform: "node",
      packages: "external",
      sourcemap: "inline",
      target: "node20",
      define: { PROJECT: JSON.stringify(join(here, "..")) },
    });
    const made = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".test.js"));
    const flags = ["--enable-source-maps", "--experimental-websocket", "--no-warnings", "--test"];
    const runner = spawn(process.execPath, [...flags, ...made.map((name) => join(folder, name))], { stdio: "inherit" });
    process.exitCode = await new Promise((done) => runner.on("close", (code) => done(code ?? 1)));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const named = process.argv.slice(2);
await (named[0] === "--bundle" ? bundle(named[1], named[2]) : run(named));
