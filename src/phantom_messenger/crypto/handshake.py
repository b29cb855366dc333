"""PQXDH with ML-KEM-768, and plain X3DH with a peer that has no KEM prekey.

Signal's "The PQXDH Key Agreement Protocol" revision 3 and "The X3DH Key Agreement
Protocol" revision 1, with these parameters: curve X25519, hash SHA-256, KEM ML-KEM-768,
``info`` as below. Beyond them, the associated data binds both user ids, and ``info``
binds the KEM key and ciphertext (against re-encapsulation).

The handshake gives a wire header and a secret; it never sees a message.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidMessage, UnknownPreKey
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey

PQXDH_INFO: Final = b"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n"
X3DH_INFO: Final = b"phantom/1 X3DH X25519 SHA-256\n"
ASSOCIATED_DATA: Final = b"phantom/1 associated-data\n"

_F: Final = b"\xff" * 32
"""X3DH section 2.2: so that the input of the KDF is never the encoding of a curve point."""

Encapsulate = Callable[[bytes], tuple[bytes, bytes]]
"""From a KEM key: the secret and its ciphertext."""

_HEADER: Final = struct.Struct(">32s32sIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandshakeHeader:
    """What the responder needs, repeated with every message until it has answered.

    Ids are 0 where there is no such key. ``kem_ciphertext`` is empty without a KEM.
    """

    identity: PeerIdentity
    ephemeral: bytes
    signed_prekey_id: int
    one_time_prekey_id: int
    kem_prekey_id: int
    kem_ciphertext: bytes

    def encode(self) -> bytes:
        """76 bytes, and 1,088 more with a KEM."""
        return (
            _HEADER.pack(
                self.identity.public,
                self.ephemeral,
                self.signed_prekey_id,
                self.one_time_prekey_id,
                self.kem_prekey_id,
            )
            + self.kem_ciphertext
        )

    @classmethod
    def decode(cls, data: bytes, *, has_kem: bool) -> tuple["HandshakeHeader", bytes]:
        """Read a header from the start of ``data``; returns it and the rest.

        Raises:
            InvalidMessage: too short.
        """
        end = _HEADER.size + (primitives.KEM_CIPHERTEXT_BYTES if has_kem else 0)
        if len(data) < end:
            raise InvalidMessage("a handshake header is cut short")
        identity, ephemeral, signed, one_time, kem = _HEADER.unpack_from(data)
        header = cls(
            identity=PeerIdentity(identity),
            ephemeral=ephemeral,
            signed_prekey_id=signed,
            one_time_prekey_id=one_time,
            kem_prekey_id=kem,
            kem_ciphertext=data[_HEADER.size : end],
        )
        if has_kem != bool(kem):
            raise InvalidMessage("a handshake header names a KEM key without its ciphertext, or the other way round")
        return header, data[end:]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What both sides hold after the handshake: 32 secret bytes, and what they are bound to.

    ``post_quantum``: a KEM secret is in them.
    """

    secret: bytes
    associated_data: bytes
    post_quantum: bool

    def __repr__(self) -> str:
        return "Agreement(...)"


def associated_data(
    initiator: PeerIdentity,
    responder: PeerIdentity,
    initiator_id: bytes,
    responder_id: bytes,
    *,
    label: bytes = ASSOCIATED_DATA,
) -> bytes:
    """What every message of a session authenticates: who talks to whom (X3DH section 3.3, and user ids)."""
    return b"".join(
        (
            label,
            initiator.public,
            responder.public,
            struct.pack(">H", len(initiator_id)),
            initiator_id,
            struct.pack(">H", len(responder_id)),
            responder_id,
        )
    )


def initiate(
    own: OwnIdentity,
    ephemeral: KeyPair,
    bundle: PreKeyBundle,
    *,
    own_id: bytes,
    peer_id: bytes,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> tuple[HandshakeHeader, Agreement]:
    """Start a session with the owner of a bundle.

    Args:
        own: the user's own identity.
        ephemeral: fresh, used for this session alone.
        bundle: the peer's prekeys; their signatures are checked here.
        own_id: the user's own id, raw bytes.
        peer_id: the peer's user id, raw bytes.
        encapsulate: draws its own randomness, as the library demands; replaced when vectors are made.

    Raises:
        InvalidSignature: the peer did not sign its prekeys.
        InvalidKey: one of the keys contributes nothing.
    """
    bundle.verify()
    # A key without an id cannot be named in the header, so the peer would never find it.
    one_time_prekey = bundle.one_time_prekey if bundle.one_time_prekey_id else None
    kem_prekey = bundle.kem_prekey if bundle.kem_prekey_id else None
    secrets = initiator_secrets(own, ephemeral, bundle.identity, bundle.signed_prekey, one_time_prekey)
    ciphertext = b""
    info = X3DH_INFO
    if kem_prekey is not None:
        shared, ciphertext = encapsulate(kem_prekey)
        secrets.append(shared)
        info = PQXDH_INFO + primitives.sha256(kem_prekey + ciphertext)
    header = HandshakeHeader(
        identity=own.peer,
        ephemeral=ephemeral.public,
        signed_prekey_id=bundle.signed_prekey_id,
        one_time_prekey_id=0 if one_time_prekey is None else bundle.one_time_prekey_id,
        kem_prekey_id=0 if kem_prekey is None else bundle.kem_prekey_id,
        kem_ciphertext=ciphertext,
    )
    bound = associated_data(own.peer, bundle.identity, own_id, peer_id)
    return header, Agreement(derive_secret(secrets, info), bound, post_quantum=kem_prekey is not None)


def respond(
    own: OwnIdentity,
    header: HandshakeHeader,
    *,
    signed_prekey: SignedPreKey,
    one_time_prekey: PreKey | None,
    kem_prekey: KemPreKey | None,
    own_id: bytes,
    peer_id: bytes,
) -> Agreement:
    """Join a session that a peer started; the arguments are the prekeys that its header names.

    Raises:
        UnknownPreKey: the header names other prekeys.
        InvalidKey: one of the peer's keys contributes nothing.
    """
    check_named(header, signed_prekey, one_time_prekey, kem_prekey)
    secrets = responder_secrets(own, header, signed_prekey, one_time_prekey)
    info = X3DH_INFO
    if kem_prekey is not None:
        secrets.append(primitives.kem_decapsulate(kem_prekey.seed, header.kem_ciphertext))
        info = PQXDH_INFO + primitives.sha256(kem_prekey.public + header.kem_ciphertext)
    bound = associated_data(header.identity, own.peer, peer_id, own_id)
    return Agreement(derive_secret(secrets, info), bound, post_quantum=kem_prekey is not None)


# --- the parts that do not depend on the suite --------------------------------------


def initiator_secrets(
    own: OwnIdentity, ephemeral: KeyPair, peer: PeerIdentity, signed_prekey: bytes, one_time_prekey: bytes | None
) -> list[bytes]:
    """DH1 to DH3, and DH4 if there is a one-time prekey (X3DH section 3.3).

    Raises:
        InvalidKey: one of the peer's keys contributes nothing.
    """
    secrets = [
        primitives.x25519(own.agreement_key, signed_prekey),
        primitives.x25519(ephemeral.private, peer.agreement_key),
        primitives.x25519(ephemeral.private, signed_prekey),
    ]
    if one_time_prekey is not None:
        secrets.append(primitives.x25519(ephemeral.private, one_time_prekey))
    return secrets


def responder_secrets(
    own: OwnIdentity, header: HandshakeHeader, signed_prekey: SignedPreKey, one_time_prekey: PreKey | None
) -> list[bytes]:
    """The same from the other side; arguments and errors as ``respond``."""
    secrets = [
        primitives.x25519(signed_prekey.pair.private, header.identity.agreement_key),
        primitives.x25519(own.agreement_key, header.ephemeral),
        primitives.x25519(signed_prekey.pair.private, header.ephemeral),
    ]
    if one_time_prekey is not None:
        secrets.append(primitives.x25519(one_time_prekey.pair.private, header.ephemeral))
    return secrets


def check_named(
    header: HandshakeHeader, signed_prekey: SignedPreKey, one_time_prekey: PreKey | None, kem_prekey: KemPreKey | None
) -> None:
    """Refuse prekeys that are not those which a header names.

    Raises:
        UnknownPreKey: they are others.
    """
    given = (signed_prekey.id, _id_of(one_time_prekey), _id_of(kem_prekey))
    if given != (header.signed_prekey_id, header.one_time_prekey_id, header.kem_prekey_id):
        raise UnknownPreKey("the handshake names other prekeys")


def derive_secret(secrets: list[bytes], info: bytes) -> bytes:
    """SK: X3DH section 2.2, with all secrets of the agreement."""
    return primitives.hkdf(_F + b"".join(secrets), salt=bytes(32), info=info, length=32)


def _id_of(prekey: PreKey | KemPreKey | None) -> int:
    return 0 if prekey is None else prekey.id
