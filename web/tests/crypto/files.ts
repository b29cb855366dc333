/** The files of vectors, read from the disk. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FILES, type Files } from "../vectors.ts";
import type { SignatureCase } from "./cofactor.ts";

declare const PROJECT: string;

export function signaturesOnDisk(): readonly SignatureCase[] {
  const file = join(PROJECT, "tests", "crypto", "ed25519_cofactor.json");
  return JSON.parse(readFileSync(file, "utf8")) as readonly SignatureCase[];
}

export function filesOnDisk(): Files {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(PROJECT, "protocol", "vectors", name), "utf8"));
  return Object.fromEntries(FILES.map((name) => [name, read(name)])) as unknown as Files;
}
