/** A MessagePack map that no two readers can read differently; see `core/msgpack.ts`. */

import { InvalidMessage } from "../crypto/errors.ts";
import { MalformedPack, type Packed, type PackedMap, isMap, unpack } from "../msgpack.ts";

/**
 * The map that these bytes are.
 *
 * @throws InvalidMessage They are none, there is something behind it, or two readers could disagree on it.
 */
export function decodeMap(encoded: Uint8Array): PackedMap {
  const found = read(encoded);
  if (!isMap(found)) throw new InvalidMessage("the content is not one map");
  return found;
}

function read(encoded: Uint8Array): Packed {
  try {
    return unpack(encoded);
  } catch (error) {
    if (error instanceof MalformedPack) throw new InvalidMessage(`the content cannot be read: ${error.message}`);
    throw error;
  }
}
