// Makes the page out of the sources: src/phantom_messenger/web/dist/, byte for byte the same from the same sources.
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "..", "src", "phantom_messenger", "web", "dist");

const options = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  format: "esm",
  legalComments: "none",
  minify: true,
  target: ["chrome120", "firefox121", "safari17"],
  write: false,
};

/** The name under which a file is cached for ever: its own hash is in it. */
function nameOf(stem, suffix, bytes) {
  return `${stem}.${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}.${suffix}`;
}

/** What a `script` or `link` element says in `integrity`. */
function integrityOf(bytes) {
  return `sha384-${createHash("sha384").update(bytes).digest("base64")}`;
}

async function bundle(entry, define = {}) {
  const result = await build({ ...options, entryPoints: [entry], define });
  return Buffer.from(result.outputFiles[0].contents);
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const worker = await bundle("worker/main.ts");
const workerName = nameOf("worker", "js", worker);
const page = await bundle("ui/main.tsx", { WORKER_URL: JSON.stringify(`assets/${workerName}`) });
const pageName = nameOf("app", "js", page);
const style = await bundle("ui/style.css");
const styleName = nameOf("style", "css", style);

const template = await readFile(join(here, "ui", "index.html"), "utf8");
const index = template
  .replace("%STYLE%", `assets/${styleName}`)
  .replace("%STYLE_INTEGRITY%", integrityOf(style))
  .replace("%APP%", `assets/${pageName}`)
  .replace("%APP_INTEGRITY%", integrityOf(page));

await mkdir(join(out, "assets"));
await writeFile(join(out, "assets", workerName), worker);
await writeFile(join(out, "assets", pageName), page);
await writeFile(join(out, "assets", styleName), style);
await writeFile(join(out, "index.html"), index);
