"""Prekeys: keys left at the relay, so that others can start a session while their owner is away.

X3DH section 3.2, PQXDH section 3.2. Every signature has a prefix of its own.
"""

from dataclasses import dataclass

from phantom_messenger import labels
from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity


@dataclass(frozen=True, slots=True)
class PreKey:
    """A one-time X25519 prekey with its private half."""

    id: int
    pair: KeyPair


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """A signed X25519 prekey with its private half."""

    id: int
    pair: KeyPair
    signature: bytes

    @classmethod
    def make(cls, identity: OwnIdentity, number: int, private: bytes) -> "SignedPreKey":
        """Make it from 32 random bytes."""
        pair = KeyPair.from_private(private)
        return cls(number, pair, identity.sign(labels.SIGNED_PREKEY + pair.public))


@dataclass(frozen=True, slots=True)
class KemPreKey:
    """A signed ML-KEM-768 prekey with its private half; ``seed`` is its 64-byte private form."""

    id: int
    seed: bytes
    public: bytes
    signature: bytes

    @classmethod
    def make(cls, identity: OwnIdentity, number: int, seed: bytes) -> "KemPreKey":
        """Make it from 64 random bytes."""
        public = primitives.kem_public(seed)
        return cls(number, seed, public, identity.sign(labels.KEM_PREKEY + public))

    def __repr__(self) -> str:
        return f"KemPreKey(id={self.id})"


def sign_bundle(
    identity: OwnIdentity, signed: SignedPreKey, last_resort: KemPreKey, made_at: int, *, user_id: bytes
) -> bytes:
    """Sign one's own prekeys that last, together with the time; see ``DatedBundle``.

    Args:
        identity: one's own.
        signed: the signed prekey.
        last_resort: the KEM prekey that serves when there is no one-time one.
        made_at: milliseconds since 1970, by one's own clock.
        user_id: one's own, raw bytes.

    Returns:
        The signature: 64 bytes.
    """
    return identity.sign(
        labels.prekey_bundle(
            made_at=made_at,
            signed_id=signed.id,
            signed_prekey=signed.pair.public,
            kem_id=last_resort.id,
            kem_digest=primitives.sha256(last_resort.public),
            user_id=user_id,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreKeyBundle:
    """A peer's prekeys as they were handed out. Ids are 0 where the peer gave none.

    ``dated``: the same for suite 2, if their owner has dated them. Suite 1 does not look at it.
    """

    identity: PeerIdentity
    signed_prekey: bytes
    signed_prekey_signature: bytes
    signed_prekey_id: int = 0
    one_time_prekey: bytes | None = None
    one_time_prekey_id: int = 0
    kem_prekey: bytes | None = None
    kem_prekey_signature: bytes = b""
    kem_prekey_id: int = 0
    dated: DatedBundle | None = None

    def verify(self) -> None:
        """Check that the identity signed the prekeys.

        Raises:
            InvalidSignature: it did not sign one of them.
        """
        self.identity.verify(self.signed_prekey_signature, labels.SIGNED_PREKEY + self.signed_prekey)
        if self.kem_prekey is not None:
            self.identity.verify(self.kem_prekey_signature, labels.KEM_PREKEY + self.kem_prekey)
