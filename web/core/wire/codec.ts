/**
 * Texts to frames and back.
 *
 * `decodeRelay` is what a client uses; `decodeClient`, what a relay would say, is here so that this client can judge
 * its own frames in tests. Both return a frame that is valid in form, or throw `RequestError`.
 */

import { utf8 } from "../bytes.ts";
import { canonical } from "./canonical.ts";
import { Reason, RequestError } from "./codes.ts";
import {
  ANY_SHAPE,
  CLIENT_SHAPES,
  type ClientFrame,
  type Frame,
  RELAY_SHAPES,
  type RelayFrame,
  type RoutedFrame,
  type SignedFrame,
  metadataShape,
} from "./frames.ts";
import { type Json, type JsonObject, type Read, type ReadObject, depth, exact, isObject, parse } from "./json.ts";
import { MAX_DEPTH, MAX_ENCRYPTED_CHARS, MAX_MESSAGE_BYTES, MAX_METADATA_BYTES } from "./limits.ts";
import { type Pending, type Shape, checkBase64 } from "./shapes.ts";

/** Levels around `metadata`: the envelope and the payload. */
const METADATA_DEPTH = 2;

/** A frame as it is sent: canonical JSON. */
export function encode(frame: Frame): string {
  return canonical(frame as unknown as Json);
}

/** The canonical text that a frame's signature covers, without the label in front of it. */
export function signedText(frame: Frame | Omit<SignedFrame, "signature">): string {
  const { signature: _, ...rest } = frame as unknown as JsonObject;
  return canonical(rest);
}

/** Removes what the relay added, so that the sender's signature can be verified. */
export function original(frame: RoutedFrame): SignedFrame {
  const { seq: _, ...rest } = frame;
  const { senderId: __, ...payload } = frame.payload;
  return { ...rest, payload } as unknown as SignedFrame;
}

/**
 * Reads what a relay sent; null for a type that this version does not know.
 *
 * @throws RequestError The relay broke the protocol.
 */
export function decodeRelay(text: string): RelayFrame | null {
  const { value, hasDuplicates } = parse(text);
  const type = typeOf(value);
  if (type === "") throw new RequestError(Reason.TYPE);
  const shape = shapeOf(RELAY_SHAPES, type);
  if (shape !== undefined) return checked(shape, value, hasDuplicates) as unknown as RelayFrame;
  ANY_SHAPE.check(value, "", []);
  return null;
}

/** A client's frame, and the text that its signature covers. */
export interface Decoded {
  readonly frame: ClientFrame;
  readonly signedText: string;
}

/**
 * Reads what a client sent, as a relay does.
 *
 * @throws RequestError As the relay would answer.
 */
export function decodeClient(text: string): Decoded {
  if (utf8(text).length > MAX_MESSAGE_BYTES) throw new RequestError(Reason.MESSAGE_SIZE);
  const { value, hasDuplicates } = parse(text);
  const shape = shapeOf(CLIENT_SHAPES, typeOf(value));
  if (shape === undefined) throw new RequestError(Reason.TYPE);
  const frame = checked(shape, value, hasDuplicates) as unknown as ClientFrame;
  return { frame, signedText: signedText(frame) };
}

function shapeOf(shapes: Readonly<Record<string, Shape<unknown>>>, type: string): Shape<unknown> | undefined {
  return Object.hasOwn(shapes, type) ? shapes[type] : undefined;
}

function typeOf(value: Read): string {
  if (!isObject(value)) throw new RequestError(Reason.JSON);
  const type = Object.hasOwn(value, "type") ? value["type"] : "";
  if (typeof type !== "string") throw new RequestError(Reason.TYPE, "type");
  return type;
}

function checked(shape: Shape<unknown>, value: Read, hasDuplicates: boolean): Json {
  const frame = isObject(value) ? value : {};
  const payload = isObject(frame["payload"]) ? frame["payload"] : {};
  if (frame["type"] === "MESSAGE") checkSizes(payload);
  const pending: Pending[] = [];
  shape.check(value, "", pending);
  if (hasDuplicates) throw new RequestError(Reason.DUPLICATE_NAME);
  if (frame["type"] === "MESSAGE") checkMetadata(payload);
  if (depth(value) > MAX_DEPTH) throw new RequestError(Reason.TOO_DEEP);
  const found = exact(value);
  checkBase64(pending);
  return found;
}

function checkSizes(payload: ReadObject): void {
  const encrypted = payload["encrypted"];
  if (typeof encrypted === "string" && encrypted.length > MAX_ENCRYPTED_CHARS) {
    throw new RequestError(Reason.ENCRYPTED_SIZE);
  }
}

function checkMetadata(payload: ReadObject): void {
  const metadata = payload["metadata"];
  if (metadata === undefined) return;
  if (depth(metadata) > MAX_DEPTH - METADATA_DEPTH) throw new RequestError(Reason.TOO_DEEP);
  if (utf8(canonical(exact(metadata))).length > MAX_METADATA_BYTES) throw new RequestError(Reason.METADATA_SIZE);
  metadataShape.check(metadata, "payload.metadata", []);
}
