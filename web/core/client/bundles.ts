/** A peer's prekeys, from the frame that brought them. They are checked when a session begins. */
import { NO_BYTES } from "../bytes.ts";
import type { DatedBundle } from "../crypto/bundle.ts";
import { PeerIdentity } from "../crypto/keys.ts";
import type { PreKeyBundle } from "../crypto/prekeys.ts";
import { fromBase64 } from "../wire/base64.ts";
import type { RoutedKeyExchangeResponse } from "../wire/frames.ts";

type Payload = RoutedKeyExchangeResponse["payload"];

/** The bundle of suite 1, and in it that of suite 2 if there is one. */
export function bundleOf(payload: Payload): PreKeyBundle {
  return {
    identity: new PeerIdentity(fromBase64(payload.identityKey)),
    signedPrekey: fromBase64(payload.signedPreKey),
    signedPrekeySignature: fromBase64(payload.preKeySignature),
    signedPrekeyId: payload.signedPreKeyId ?? 0,
    oneTimePrekey: raw(payload.oneTimePreKey),
    oneTimePrekeyId: payload.oneTimePreKeyId ?? 0,
    kemPrekey: raw(payload.kemPreKey),
    kemPrekeySignature: raw(payload.kemPreKeySignature) ?? NO_BYTES,
    kemPrekeyId: payload.kemPreKeyId ?? 0,
    dated: datedBundle(payload),
  };
}

/** Null if there is no date, or it lacks what it is of. */
function datedBundle(payload: Payload): DatedBundle | null {
  const { bundleSignature, lastResortKemPreKey, madeAt } = payload;
  const kem = raw(payload.kemPreKey);
  if (madeAt === undefined || bundleSignature === undefined || kem === null) {
    return null;
  }
  return {
    identity: new PeerIdentity(fromBase64(payload.identityKey)),
    userId: fromBase64(payload.senderId),
    madeAt,
    signedPrekey: fromBase64(payload.signedPreKey),
    signedPrekeyId: payload.signedPreKeyId ?? 0,
    kemPrekey: kem,
    kemPrekeyId: payload.kemPreKeyId ?? 0,
    signature: fromBase64(bundleSignature),
    oneTimePrekey: raw(payload.oneTimePreKey),
    oneTimePrekeyId: payload.oneTimePreKeyId ?? 0,
    kemPrekeySignature: raw(payload.kemPreKeySignature) ?? NO_BYTES,
    lastResortDigest: raw(lastResortKemPreKey?.digest),
    lastResortId: lastResortKemPreKey?.id ?? 0,
  };
}

function raw(text: string | undefined): Uint8Array | null {
  return text === undefined ? null : fromBase64(text);
}
