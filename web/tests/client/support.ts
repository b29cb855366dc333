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

/** What a relay begins with, at this time of its clock. */
export function greeting(serverTime: number, messagesPerMinute: number | null = null): object {
  const limits = { backlog: 1000, encryptedChars: 61440, messageBytes: 65536, messagesPerMinute, metadataBytes: 1024 };
  return { challenge: someId(7), connectionId: "x", limits, protocolVersion: 1, serverName: "phantom", serverTime };
}

/** What it says to whom it lets in. */
export function letIn(serverTime: number): object {
  return { features: ["suite2"], serverTime, sessionId: "x" };
}

/** The cases of a file of `protocol/vectors`. */
export function vectors(name: string): unknown {
  return JSON.parse(readFileSync(join(PROJECT, "protocol", "vectors", name), "utf8"));
}
