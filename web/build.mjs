// Makes the page out of the sources: src/phantom_messenger/web/dist/, byte for byte the same from the same sources.
//
//   node build.mjs [FOLDER] [--worker ENTRY]     another folder; another worker (tests play the screens with a made one)
import { createHash } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { licencesOf, packagesIn } from "./licences.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const given = parseArgs({ options: { worker: { type: "string", default: "worker/main.ts" } }, allowPositionals: true });
const out = resolve(given.positionals[0] ?? join(here, "..", "src", "phantom_messenger", "web", "dist"));

const options = {
  absWorkingDir: here,
  bundle: true,
  charset: "utf8",
  external: ["./qr.*.js", "./core.*.js"],
  format: "esm",
  legalComments: "none", // LICENSES.txt has the licences
  metafile: true,
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

const metafiles = [];

async function bundle(entry, define = {}) {
  const result = await build({ ...options, entryPoints: [entry], define });
  metafiles.push(result.metafile);
  return Buffer.from(result.outputFiles[0].contents);
}

await rm(out, { recursive: true, force: true });
await mkdir(join(out, "assets"), { recursive: true });

/** Writes one file that is cached for ever; returns its address as seen from the page. */
async function asset(stem, suffix, bytes) {
  const name = nameOf(stem, suffix, bytes);
  await writeFile(join(out, "assets", name), bytes);
  return `assets/${name}`;
}

async function icon(stem, suffix) {
  return asset(stem, suffix, await readFile(join(here, "ui", "icons", `${stem}.${suffix}`)));
}

async function manifest() {
  const picture = async (stem, sizes, purpose) => ({ src: await icon(stem, "png"), sizes, type: "image/png", purpose });
  const found = JSON.parse(await readFile(join(here, "ui", "manifest.json"), "utf8"));
  const icons = [
    await picture("icon-192", "192x192", "any"),
    await picture("icon-512", "512x512", "any"),
    await picture("maskable-512", "512x512", "maskable"),
  ];
  await writeFile(join(out, "manifest.webmanifest"), `${JSON.stringify({ ...found, icons }, null, 2)}\n`);
  return "manifest.webmanifest";
}

/**
 * A program in chunks: the entry and what it shares with others, and what is loaded later. Each chunk gets its name after
 * those that it names itself; there are no circles. `shared`: the name of chunks that have none of their own and
 * are fetched with the entry; the others are called `part`.
 */
async function chunksOf(name, entry, { shared, define = {} }) {
  const result = await build({ ...options, entryPoints: { [name]: entry }, splitting: true, outdir: "made", define });
  metafiles.push(result.metafile);
  const texts = new Map(result.outputFiles.map(({ path, text }) => [relative(here, path), text]));
  const done = new Map();
  const first = new Set();
  const fetched = (path) => {
    first.add(path);
    for (const { path: other, kind } of result.metafile.outputs[path].imports) {
      if (kind === "import-statement" && !first.has(other)) fetched(other);
    }
  };
  fetched(`made/${name}.js`);
  async function finish(path) {
    if (done.get(path) === null) throw new Error(`${path} leads to itself: what loads a part later is not to be used in one`);
    if (done.has(path)) return done.get(path);
    done.set(path, null);
    let text = texts.get(path);
    const imports = result.metafile.outputs[path].imports.filter(({ external }) => !external);
    for (const { path: other } of imports) {
      const { url } = await finish(other);
      text = text.replaceAll(`./${basename(other)}`, url.replace("assets/", "./"));
    }
    const bytes = Buffer.from(text);
    const [stem] = basename(path, ".js").split("-");
    const others = imports.filter(({ kind }) => kind === "import-statement").map(({ path: other }) => done.get(other));
    const called = stem !== "chunk" ? stem : first.has(path) ? shared : "part";
    done.set(path, { url: await asset(called, "js", bytes), integrity: integrityOf(bytes), shared: others });
    return done.get(path);
  }
  return finish(`made/${name}.js`);
}

const core = (await chunksOf("core", "worker/core.ts", { shared: "shared" })).url;
const worker = await asset("worker", "js", await bundle(given.values.worker, { CORE_URL: JSON.stringify(core.replace("assets/", "./")) }));
const codes = await asset("qr", "js", await bundle("ui/qr.ts"));
const page = await chunksOf("app", "ui/main.tsx", {
  shared: "chunk",
  define: { WORKER_URL: JSON.stringify(worker), QR_URL: JSON.stringify(codes.replace("assets/", "./")) },
});
const preloads = page.shared.map(({ url, integrity }) => `<link rel="modulepreload" href="${url}" integrity="${integrity}" />`);
const style = await bundle("ui/style.css");

const index = Object.entries({
  ICON: await icon("phantom", "svg"),
  TOUCH_ICON: await icon("touch-180", "png"),
  MANIFEST: await manifest(),
  STYLE: await asset("style", "css", style),
  STYLE_INTEGRITY: integrityOf(style),
  SHARED: preloads.join("\n    "),
  APP: page.url,
  APP_INTEGRITY: page.integrity,
}).reduce((text, [name, value]) => text.replace(`%${name}%`, value), await readFile(join(here, "ui", "index.html"), "utf8"));
await writeFile(join(out, "index.html"), index);
await writeFile(join(out, "LICENSES.txt"), await licencesOf(packagesIn(metafiles), here));
