"""The handshake of suite 2: PQXDH (Signal, revision 3) with ML-KEM-768, from a dated bundle, and never without a KEM.

It differs from suite 1 in its labels, in what it accepts as a bundle, and in that there is no X3DH alone. Both suites
may use the same prekeys: what comes out of the same Diffie-Hellman results and KEM secrets differs by the labels.
"""

from typing import Final

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.handshake import (
    Agreement,
    Encapsulate,
    HandshakeHeader,
    associated_data,
    check_named,
    derive_secret,
    initiator_secrets,
    responder_secrets,
)
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey

PQXDH_INFO: Final = b"phantom/1 PQXDH 2 X25519 SHA-256 ML-KEM-768\n"
ASSOCIATED_DATA: Final = b"phantom/1 associated-data 2\n"


def initiate(
    own: OwnIdentity,
    ephemeral: KeyPair,
    bundle: DatedBundle,
    *,
    own_id: bytes,
    now: int,
    newest: int,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> tuple[HandshakeHeader, Agreement]:
    """Start a session with the owner of a bundle.

    Args:
        own: the user's own identity.
        ephemeral: fresh, used for this session alone.
        bundle: the peer's prekeys; checked here.
        own_id: the user's own id, raw bytes.
        now: milliseconds since 1970, by the wall clock.
        newest: the greatest ``made_at`` accepted from this peer so far, or 0.
        encapsulate: draws its own randomness, as the library demands; replaced when vectors are made.

    Raises:
        InvalidSignature, StaleBundle: as ``DatedBundle.verify``.
        InvalidKey: as ``DatedBundle.verify``; or one of the keys contributes nothing, or is malformed.
    """
    bundle.verify(now=now, newest=newest)
    secrets = initiator_secrets(own, ephemeral, bundle.identity, bundle.signed_prekey, bundle.one_time_prekey)
    shared, ciphertext = encapsulate(bundle.kem_prekey)
    header = HandshakeHeader(
        identity=own.peer,
        ephemeral=ephemeral.public,
        signed_prekey_id=bundle.signed_prekey_id,
        one_time_prekey_id=0 if bundle.one_time_prekey is None else bundle.one_time_prekey_id,
        kem_prekey_id=bundle.kem_prekey_id,
        kem_ciphertext=ciphertext,
    )
    bound = associated_data(own.peer, bundle.identity, own_id, bundle.user_id, label=ASSOCIATED_DATA)
    return header, _agreement([*secrets, shared], bundle.kem_prekey + ciphertext, bound)


def respond(
    own: OwnIdentity,
    header: HandshakeHeader,
    *,
    signed_prekey: SignedPreKey,
    one_time_prekey: PreKey | None,
    kem_prekey: KemPreKey,
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
    shared = primitives.kem_decapsulate(kem_prekey.seed, header.kem_ciphertext)
    bound = associated_data(header.identity, own.peer, peer_id, own_id, label=ASSOCIATED_DATA)
    return _agreement([*secrets, shared], kem_prekey.public + header.kem_ciphertext, bound)


def _agreement(secrets: list[bytes], exchanged: bytes, bound: bytes) -> Agreement:
    info = PQXDH_INFO + primitives.sha256(exchanged)
    return Agreement(derive_secret(secrets, info), bound, post_quantum=True)
