"""Bundles of suite 2: the lasting prekeys of a user, signed together and dated.

In suite 1 each prekey is signed alone, so that a relay can leave out the KEM key, combine keys of different times, and
hand out old ones for ever. Here one signature covers everything but the one-time keys, and the time. Of the last-resort
KEM prekey it covers the hash: so whoever gets a one-time one needs no more of the other than that.
"""

from dataclasses import dataclass
from typing import Final

from phantom_messenger import labels
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidKey, StaleBundle
from phantom_messenger.crypto.keys import PeerIdentity

DAY_MS: Final = 86_400_000

MAX_BUNDLE_AGE_MS: Final = 90 * DAY_MS
"""Owners renew their bundle every week that they are there. A longer time would let a relay go on handing out keys
that a thief may have had since; a shorter one would cut off who is away."""

MAX_BUNDLE_AHEAD_MS: Final = DAY_MS
"""How far a bundle may be in the future: clocks that are set by hand are wrong by hours, or by a time zone."""

DIGEST_BYTES: Final = 32
MAX_ID: Final = 2**32 - 1
MAX_MADE_AT: Final = 2**64 - 1
"""What fits the signed bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedBundle:
    """A peer's prekeys as they were handed out.

    ``user_id`` is the peer that was asked for (raw bytes), ``made_at`` milliseconds since 1970 by its owner's clock,
    ``kem_prekey`` the one to use: a one-time one, with a signature of its own, if ``last_resort_digest`` is there, the
    SHA-256 of the last resort; else the last resort itself. The one-time prekey may be absent.
    """

    identity: PeerIdentity
    user_id: bytes
    made_at: int
    signed_prekey: bytes
    signed_prekey_id: int
    kem_prekey: bytes
    kem_prekey_id: int
    signature: bytes
    one_time_prekey: bytes | None = None
    one_time_prekey_id: int = 0
    kem_prekey_signature: bytes = b""
    last_resort_digest: bytes | None = None
    last_resort_id: int = 0

    def signed_bytes(self) -> bytes:
        """What the owner signs."""
        kem_id, kem_digest = self.last_resort_id, self.last_resort_digest
        if kem_digest is None:
            kem_id, kem_digest = self.kem_prekey_id, primitives.sha256(self.kem_prekey)
        return labels.prekey_bundle(
            made_at=self.made_at,
            signed_id=self.signed_prekey_id,
            signed_prekey=self.signed_prekey,
            kem_id=kem_id,
            kem_digest=kem_digest,
            user_id=self.user_id,
        )

    def verify(self, *, now: int, newest: int) -> None:
        """Check that this may be used to begin a session.

        Args:
            now: milliseconds since 1970, by the wall clock: it is compared with somebody else's.
            newest: the greatest ``made_at`` that was ever accepted from this user, 0 for none. If this bundle is
                accepted, its ``made_at`` takes that place.

        Raises:
            InvalidKey: a key has no id, so that its owner could not find it, or the digest another length.
            InvalidSignature: the owner did not sign it.
            StaleBundle: too old, in the future, or older than one that was accepted before.
        """
        ids = [self.signed_prekey_id, self.kem_prekey_id]
        if self.one_time_prekey is not None:
            ids.append(self.one_time_prekey_id)
        if self.last_resort_digest is not None:
            ids.append(self.last_resort_id)
        if not all(0 < one <= MAX_ID for one in ids):
            raise InvalidKey("a prekey has no id")
        if self.last_resort_digest is not None and len(self.last_resort_digest) != DIGEST_BYTES:
            raise InvalidKey("the digest of a prekey has another length")
        if not 0 <= self.made_at <= MAX_MADE_AT:
            raise StaleBundle("a bundle is of no time")
        self.identity.verify(self.signature, self.signed_bytes())
        if not newest <= self.made_at or not now - MAX_BUNDLE_AGE_MS <= self.made_at <= now + MAX_BUNDLE_AHEAD_MS:
            raise StaleBundle("a bundle is too old, in the future, or older than an earlier one")
        if self.last_resort_digest is not None:
            self.identity.verify(self.kem_prekey_signature, labels.KEM_PREKEY + self.kem_prekey)
