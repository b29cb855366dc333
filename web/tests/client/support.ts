/** What tests of the client's core share. */
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

declare const PROJECT: string;

export const random = (size: number): Uint8Array => webcrypto.getRandomValues(new Uint8Array(size));

/** A user id of nobody. */
export function someId(byte: number): string {
  return Buffer.alloc(32, byte).toString("base64");
}

/** The cases of a file of `protocol/vectors`. */
export function vectors(name: string): unknown {
  return JSON.parse(readFileSync(join(PROJECT, "protocol", "vectors", name), "utf8"));
}
