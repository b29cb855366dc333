// The licences of what the page is made of: their texts have to come with it.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const RULE = "-".repeat(80);

/** The packages whose code is in bundles, by name, from what esbuild says of them (`metafile`). */
export function packagesIn(metafiles) {
  const files = metafiles.flatMap((metafile) =>
    Object.values(metafile.outputs).flatMap((output) =>
      Object.entries(output.inputs)
        .filter(([, input]) => input.bytesInOutput > 0)
        .map(([name]) => name),
    ),
  );
  const names = files.map((file) => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1]);
  return [...new Set(names.filter((name) => name !== undefined))].sort();
}

/** One text of the licences of these packages; fails if one of them has none. */
export async function licencesOf(packages, folder) {
  const parts = [];
  for (const name of packages) {
    const place = join(folder, "node_modules", name);
    const { version, license } = JSON.parse(await readFile(join(place, "package.json"), "utf8"));
    const files = (await readdir(place)).sort().filter((entry) => /^licen[cs]e([.-]|$)/i.test(entry));
    const file = files.find((entry) => /-mit$/i.test(entry)) ?? files[0]; // where one may choose
    if (file === undefined) throw new Error(`${name} comes without the text of its licence`);
    const text = (await readFile(join(place, file), "utf8")).replaceAll("\r\n", "\n").trim();
    parts.push(`${RULE}\n${name} ${version}, ${license}\n${RULE}\n\n${text}\n`);
  }
  return `What this page is made of, besides its own code.\n\n${parts.join("\n")}`;
}
