/** The files of vectors, read from the disk. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FILES, type Files } from "../vectors.ts";

declare const PROJECT: string;

export function filesOnDisk(): Files {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(PROJECT, "protocol", "vectors", name), "utf8"));
  return Object.fromEntries(FILES.map((name) => [name, read(name)])) as unknown as Files;
}
