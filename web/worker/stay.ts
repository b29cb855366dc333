/**
 * "Stay signed in": the vault key, wrapped by a key of the browser that no script can read out.
 *
 * It protects against nobody who can copy the browser's profile, and the page says so.
 */
import type { StayKey } from "./storage.ts";

const NONCE_BYTES = 12;

/** What opens the vault without a passphrase; `nonce` is 12 random bytes. */
export async function wrapForStay(vaultKey: Uint8Array, nonce: Uint8Array): Promise<StayKey> {
  if (nonce.length !== NONCE_BYTES) {
    throw new RangeError("the nonce has 12 bytes");
  }
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
  const wrapped = await crypto.subtle.encrypt({ name: "AES-GCM", iv: copied(nonce) }, key, copied(vaultKey));
  return { key, nonce, wrapped: new Uint8Array(wrapped) };
}

/** The vault key; null if this cannot be opened. */
export async function openStay({ key, nonce, wrapped }: StayKey): Promise<Uint8Array | null> {
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: copied(nonce) }, key, copied(wrapped)));
  } catch {
    return null;
  }
}

/** Bytes in a buffer of their own, as the browser wants them. */
function copied(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
