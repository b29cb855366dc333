/**
 * The handshake of suite 2: PQXDH with ML-KEM-768, from a dated bundle, and never without a KEM.
 *
 * It differs from suite 1 in its labels, in what it accepts as a bundle, and in that there is no X3DH alone. Both
 * suites may use the same prekeys: what comes out of the same Diffie-Hellman results and KEM secrets differs by the
 * labels.
 */

import { type Random, concat, utf8 } from "../bytes.ts";
import { type BundleTimes, type DatedBundle, verifyBundle } from "./bundle.ts";
import {
  type Agreement,
  type HandshakeHeader,
  type Ids,
  type NamedPreKeys,
  associatedData,
  checkNamed,
  deriveSecret,
  initiatorSecrets,
  responderSecrets,
} from "./handshake.ts";
import type { KeyPair, OwnIdentity } from "./keys.ts";
import type { KemPreKey } from "./prekeys.ts";
import { kemDecapsulate, kemEncapsulate, sha256 } from "./primitives.ts";

const PQXDH_INFO = utf8("phantom/1 PQXDH 2 X25519 SHA-256 ML-KEM-768\n");
const ASSOCIATED_DATA = utf8("phantom/1 associated-data 2\n");

/** What an initiator gives beside the keys: its raw user id, the times of `verifyBundle`, and randomness. */
export interface Initiation extends BundleTimes {
  readonly ownId: Uint8Array;
  /** Asked for 32 bytes. */
  readonly random: Random;
}

/**
 * Starts a session with the owner of a bundle.
 *
 * @param ephemeral Fresh, used for this session alone.
 * @param bundle The peer's prekeys; checked here.
 * @throws InvalidSignature, StaleBundle As `verifyBundle`.
 * @throws InvalidKey As `verifyBundle`; or one of the keys contributes nothing, or is malformed.
 */
export function initiate(
  own: OwnIdentity,
  ephemeral: KeyPair,
  bundle: DatedBundle,
  given: Initiation,
): readonly [HandshakeHeader, Agreement] {
  verifyBundle(bundle, given);
  const secrets = initiatorSecrets(own, ephemeral, bundle.identity, bundle.signedPrekey, bundle.oneTimePrekey);
  const { kemPrekey, kemPrekeyId } = bundle;
  const [shared, ciphertext] = kemEncapsulate(kemPrekey, given.random);
  const header: HandshakeHeader = {
    identity: own.peer,
    ephemeral: ephemeral.public,
    signedPrekeyId: bundle.signedPrekeyId,
    oneTimePrekeyId: bundle.oneTimePrekey === null ? 0 : bundle.oneTimePrekeyId,
    kemPrekeyId,
    kemCiphertext: ciphertext,
  };
  const sides = {
    initiator: own.peer,
    responder: bundle.identity,
    initiatorId: given.ownId,
    responderId: bundle.userId,
  };
  const bound = associatedData(sides, ASSOCIATED_DATA);
  return [header, agreementOf([...secrets, shared], concat(kemPrekey, ciphertext), bound)];
}

/**
 * Joins a session that a peer started; `given` has the prekeys that its header names.
 *
 * @throws UnknownPreKey The header names other prekeys.
 * @throws InvalidKey One of the peer's keys contributes nothing.
 */
export function respond(
  own: OwnIdentity,
  header: HandshakeHeader,
  given: NamedPreKeys & { readonly kemPrekey: KemPreKey } & Ids,
): Agreement {
  checkNamed(header, given);
  const secrets = responderSecrets(own, header, given);
  const shared = kemDecapsulate(given.kemPrekey.seed, header.kemCiphertext);
  const sides = {
    initiator: header.identity,
    responder: own.peer,
    initiatorId: given.peerId,
    responderId: given.ownId,
  };
  const exchanged = concat(given.kemPrekey.public, header.kemCiphertext);
  return agreementOf([...secrets, shared], exchanged, associatedData(sides, ASSOCIATED_DATA));
}

function agreementOf(secrets: readonly Uint8Array[], exchanged: Uint8Array, bound: Uint8Array): Agreement {
  const info = concat(PQXDH_INFO, sha256(exchanged));
  return { secret: deriveSecret(secrets, info), associatedData: bound, postQuantum: true };
}
