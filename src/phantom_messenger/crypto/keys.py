"""Identity keys. The user's own and a peer's are different types, and secrets do not print."""

import hashlib
from dataclasses import dataclass

from phantom_messenger import labels
from phantom_messenger.crypto import primitives


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """Somebody's long-term Ed25519 public key, 32 bytes."""

    public: bytes

    @property
    def user_id(self) -> bytes:
        """The 32-byte user id that certifies this key."""
        return hashlib.sha256(labels.USER_ID + self.public).digest()

    @property
    def agreement_key(self) -> bytes:
        """Its X25519 image, for Diffie-Hellman.

        Raises:
            InvalidKey: nobody should use this key.
        """
        return primitives.ed25519_to_x25519_public(self.public)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check a signature of this identity, strictly.

        Raises:
            InvalidSignature: it does not verify.
        """
        primitives.ed25519_verify(self.public, signature, message)


class OwnIdentity:
    """The user's own long-term key pair.

    Args:
        seed: 32 random bytes; they are the identity.
    """

    __slots__ = ("_secret", "_seed", "peer")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._secret = primitives.ed25519_secret(seed)
        self.peer = PeerIdentity(primitives.ed25519_public(seed))
        """The half that others may know."""

    def __repr__(self) -> str:
        return f"OwnIdentity(public={self.peer.public.hex()})"

    @property
    def seed(self) -> bytes:
        """The secret itself, to be stored encrypted and shown to nobody."""
        return self._seed

    @property
    def agreement_key(self) -> bytes:
        """The X25519 private key that belongs to ``peer.agreement_key``."""
        return primitives.ed25519_to_x25519_private(self._seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of bytes that begin with a label for their purpose."""
        return primitives.ed25519_sign(self._secret, message)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair with its private half: an ephemeral, a prekey, or a ratchet step."""

    private: bytes
    public: bytes

    @classmethod
    def from_private(cls, private: bytes) -> "KeyPair":
        """Make it from 32 random bytes."""
        return cls(private, primitives.x25519_public(private))

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public.hex()})"
