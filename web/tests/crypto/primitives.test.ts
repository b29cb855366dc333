import assert from "node:assert/strict";
import { test } from "node:test";
import { ED25519_TORSION_SUBGROUP, ed25519 } from "@noble/curves/ed25519.js";
import { concat, fromHex, toHex } from "../../core/bytes.ts";
import { InvalidKey, InvalidSignature, UndecryptableMessage } from "../../core/crypto/errors.ts";
import {
  argon2id,
  ed25519Public,
  ed25519Signer,
  ed25519ToX25519Public,
  ed25519Verify,
  kemDecapsulate,
  kemEncapsulate,
  kemPublic,
  seal,
  sha512,
  unseal,
} from "../../core/crypto/primitives.ts";
import { misjudged, type SignatureCase } from "./cofactor.ts";
import { signaturesOnDisk } from "./files.ts";

const { Point } = ed25519;
const seed = new Uint8Array(32).fill(5);
const message = fromHex("6869");

function number(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function bytes(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, index) => Number((value >> (8n * BigInt(index))) & 0xffn));
}

/** A signature that its signer has made so that R is its point and one of order 8. */
function withTorsion(): { readonly key: Uint8Array; readonly signature: Uint8Array } {
  const { scalar } = ed25519.utils.getExtendedPublicKey(seed);
  const small = ED25519_TORSION_SUBGROUP.map((hex) => Point.fromHex(hex, true));
  const torsion = small.find((one) => !one.double().double().is0());
  assert.ok(torsion !== undefined);
  const nonce = 1234567n;
  const r = Point.BASE.multiply(nonce).add(torsion).toBytes();
  const key = ed25519Public(seed);
  const challenge = Point.Fn.create(number(sha512(concat(r, key, message))));
  return { key, signature: concat(r, bytes(Point.Fn.create(nonce + challenge * scalar))) };
}

test("a signature with a point of small order in R is refused, although the library accepts it", () => {
  const { key, signature } = withTorsion();
  assert.ok(ed25519.verify(signature, message, key, { zip215: false }));
  assert.throws(() => ed25519Verify(key, signature, message), InvalidSignature);
  ed25519Verify(key, ed25519Signer(seed)(message), message);
});

test("signatures are judged without the cofactor, as the SDK judges them; the library judges many otherwise", () => {
  const cases = signaturesOnDisk();
  assert.deepEqual(misjudged(cases), []);
  const library = ({ key, signature, message: signed }: SignatureCase): boolean =>
    ed25519.verify(fromHex(signature), fromHex(signed), fromHex(key), { zip215: false });
  assert.equal(cases.filter((one) => library(one) !== one.verifies).length, 8);
});

test("signatures are those of the library, which are deterministic", () => {
  const sign = ed25519Signer(seed);
  for (const one of [message, new Uint8Array(0), new Uint8Array(1_000).fill(7)]) {
    assert.deepEqual(sign(one), ed25519.sign(one, seed));
  }
});

test("a signature is of its message, its key and its length", () => {
  const key = ed25519Public(seed);
  const signature = ed25519Signer(seed)(message);
  const others: readonly (readonly [Uint8Array, Uint8Array, Uint8Array])[] = [
    [key, signature, fromHex("6868")],
    [ed25519Public(new Uint8Array(32)), signature, message],
    [key, signature.slice(0, 63), message],
    [key, concat(signature, fromHex("00")), message],
    [key.slice(1), concat(key.slice(0, 1), signature), message],
    [key, concat(signature.slice(0, 32), bytes(number(signature.slice(32)) + Point.Fn.ORDER)), message],
  ];
  for (const [one, two, three] of others) assert.throws(() => ed25519Verify(one, two, three), InvalidSignature);
});

test("a key outside the prime-order group has no X25519 image", () => {
  for (const hex of ED25519_TORSION_SUBGROUP) assert.throws(() => ed25519ToX25519Public(fromHex(hex)), InvalidKey);
  const torsion = Point.fromHex(ED25519_TORSION_SUBGROUP[1] ?? "", true);
  const mixed = Point.fromBytes(ed25519Public(seed)).add(torsion).toBytes();
  assert.throws(() => ed25519ToX25519Public(mixed), InvalidKey);
});

test("a malformed KEM key is refused before anything is drawn; a forged ciphertext gives another secret", () => {
  const kemSeed = new Uint8Array(64).fill(3);
  const key = kemPublic(kemSeed);
  const [shared, ciphertext] = kemEncapsulate(key, (size) => new Uint8Array(size).fill(9));
  assert.deepEqual(kemDecapsulate(kemSeed, ciphertext), shared);
  ciphertext[0] = (ciphertext[0] ?? 0) ^ 1;
  assert.notDeepEqual(kemDecapsulate(kemSeed, ciphertext), shared);
  assert.throws(() => kemDecapsulate(kemSeed, ciphertext.slice(1)), InvalidKey);
  const never = (): Uint8Array => assert.fail("randomness was drawn");
  for (const [at, low, high] of [[0, 0x01, 0x0d], [1150, 0xff, 0xff]] as const) {
    const spoilt = key.slice();
    spoilt[at] = low;
    spoilt[at + 1] = ((spoilt[at + 1] ?? 0) & 0xf0) | high;
    assert.throws(() => kemEncapsulate(spoilt, never), InvalidKey);
  }
  assert.throws(() => kemEncapsulate(key.slice(1), never), InvalidKey);
});

test("what was sealed opens with the same key, nonce and associated bytes alone", () => {
  const [key, nonce] = [new Uint8Array(32).fill(1), new Uint8Array(12).fill(2)];
  const sealed = seal(key, nonce, message, seed);
  assert.deepEqual(unseal(key, nonce, sealed, seed), message);
  assert.throws(() => unseal(key, nonce, sealed, message), UndecryptableMessage);
  assert.throws(() => unseal(key, nonce, sealed.slice(0, 15), seed), UndecryptableMessage);
  for (let at = 0; at < sealed.length; at += 1) {
    const spoilt = sealed.slice();
    spoilt[at] = (spoilt[at] ?? 0) ^ 1;
    assert.throws(() => unseal(key, nonce, spoilt, seed), UndecryptableMessage);
  }
});

test("Argon2id is that of RFC 9106, up to the memory that an exported file may ask for", () => {
  const salt = new Uint8Array(16).fill(2);
  const parts: number[] = [];
  const cost = { salt, memoryKib: 64, passes: 1, lanes: 4, onProgress: (part: number) => void parts.push(part) };
  // Computed with the Python SDK.
  const expected = "6a64a4c0d021ba208b0f57059552ad246422e4a0b01e80034d051f86b0579200";
  assert.equal(toHex(argon2id(message, cost)), expected);
  assert.ok(parts.length > 0 && parts.every((part) => part >= 0 && part <= 1));
  assert.equal(argon2id(message, { salt, memoryKib: 262_144, passes: 1, lanes: 1 }).length, 32);
});
