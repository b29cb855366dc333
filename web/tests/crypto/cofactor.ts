/** Signatures on which verifiers differ that multiply by the cofactor, and those that do not, as both of ours. */
import { fromHex } from "../../core/bytes.ts";
import { InvalidSignature } from "../../core/crypto/errors.ts";
import { ed25519Verify } from "../../core/crypto/primitives.ts";

/** One of `tests/crypto/ed25519_cofactor.json`; bytes are in hex. */
export interface SignatureCase {
  readonly name: string;
  readonly key: string;
  readonly signature: string;
  readonly message: string;
  readonly verifies: boolean;
}

/** The names of those that are judged otherwise than they should be. */
export function misjudged(cases: readonly SignatureCase[]): readonly string[] {
  return cases.filter((one) => verifies(one) !== one.verifies).map(({ name }) => name);
}

function verifies({ key, signature, message }: SignatureCase): boolean {
  try {
    ed25519Verify(fromHex(key), fromHex(signature), fromHex(message));
    return true;
  } catch (error) {
    if (error instanceof InvalidSignature) return false;
    throw error;
  }
}
