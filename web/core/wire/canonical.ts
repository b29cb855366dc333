/**
 * Canonical JSON (RFC 8785, JCS). Signatures cover canonical text, so two programs must never write one value in two
 * ways.
 */

import { Reason, RequestError } from "./codes.ts";
import { type Json, type JsonObject, depth, exact, parse } from "./json.ts";
import { MAX_DEPTH } from "./limits.ts";

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * A JSON value in its canonical form, as RFC 8785 section 3.2 prescribes.
 *
 * @throws RequestError `number` or `json` for a value that I-JSON does not have.
 */
export function canonical(value: Json): string {
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return written(value);
  if (typeof value === "number") return numeral(value);
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map((item) => canonical(item)).join(",")}]`;
  if (typeof value !== "object") throw new RequestError(Reason.JSON);
  // Names are ordered as arrays of UTF-16 code units, which is how JavaScript compares strings.
  const members = Object.entries(value as JsonObject).sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${members.map(([name, member]) => `${written(name)}:${canonical(member)}`).join(",")}}`;
}

/**
 * Reads JSON that must be unambiguous: no duplicate name, no number that is not exact, not too deep.
 *
 * @param levels Of nesting that are allowed.
 * @throws RequestError `json`, `duplicate-name`, `too-deep` or `number`.
 */
export function parseStrictly(text: string, levels: number = MAX_DEPTH): Json {
  const { value, hasDuplicates } = parse(text);
  if (depth(value) > levels) throw new RequestError(Reason.TOO_DEEP);
  if (hasDuplicates) throw new RequestError(Reason.DUPLICATE_NAME);
  return exact(value);
}

function written(text: string): string {
  if (LONE_SURROGATE.test(text)) throw new RequestError(Reason.JSON);
  return JSON.stringify(text);
}

function numeral(value: number): string {
  const isUnsafe = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
  if (!Number.isFinite(value) || isUnsafe) throw new RequestError(Reason.NUMBER);
  return JSON.stringify(value);
}
