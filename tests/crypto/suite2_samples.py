"""Sessions of suite 2 between the people of ``crypto_samples``."""

import hashlib
from typing import Final

from crypto_samples import ALICE, BOB, NOW, Person, randomness, renumbered

from phantom_messenger import labels
from phantom_messenger.crypto import handshake2, head, padding, primitives, ratchet2, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.head import KemKey
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.prekeys import KemPreKey
from phantom_messenger.crypto.session2 import Session2

LAST_RESORT: Final = {
    one.id: KemPreKey.make(one.identity, 44, randomness(f"last resort of {one.id.hex()}")(64)) for one in (ALICE, BOB)
}


def bundle(
    own: Person = BOB, *, one_time: bool = True, one_time_kem: bool = True, made_at: int = NOW, user_id: bytes = b""
) -> DatedBundle:
    """What the relay hands out of somebody."""
    lasting = LAST_RESORT[own.id]
    user_id = user_id or own.id
    signed = labels.prekey_bundle(
        made_at=made_at,
        signed_id=own.signed.id,
        signed_prekey=own.signed.pair.public,
        kem_id=lasting.id,
        kem_digest=primitives.sha256(lasting.public),
        user_id=user_id,
    )
    return DatedBundle(
        identity=own.identity.peer,
        user_id=user_id,
        made_at=made_at,
        signed_prekey=own.signed.pair.public,
        signed_prekey_id=own.signed.id,
        kem_prekey=own.kem.public if one_time_kem else lasting.public,
        kem_prekey_id=own.kem.id if one_time_kem else lasting.id,
        signature=own.identity.sign(signed),
        one_time_prekey=own.one_time.pair.public if one_time else None,
        one_time_prekey_id=own.one_time.id if one_time else 0,
        kem_prekey_signature=own.kem.signature if one_time_kem else lasting.signature,
        last_resort_digest=primitives.sha256(lasting.public) if one_time_kem else None,
        last_resort_id=lasting.id if one_time_kem else 0,
    )


def begin(
    given: DatedBundle | None = None, *, name: str = "begin", own: Person = ALICE, own_id: bytes | None = None
) -> Session2:
    """Alice starts a session with the owner of a bundle."""
    fresh = randomness(name)
    return session2.start(
        own.identity,
        bundle() if given is None else given,
        KeyPair.from_private(fresh(32)),
        own_id=own.id if own_id is None else own_id,
        now=NOW,
        persistent_now=NOW,
        newest=0,
        random=fresh,
    )


def respond(
    header: HandshakeHeader, *, own: Person = BOB, own_id: bytes | None = None, peer_id: bytes | None = None
) -> Agreement:
    """Bob's side, with the prekeys that a header names."""
    return handshake2.respond(
        own.identity,
        header,
        signed_prekey=own.signed,
        one_time_prekey=own.one_time if header.one_time_prekey_id else None,
        kem_prekey=own.kem if header.kem_prekey_id == own.kem.id else LAST_RESORT[own.id],
        own_id=own.id if own_id is None else own_id,
        peer_id=header.identity.user_id if peer_id is None else peer_id,
    )


def answer(message: bytes, *, own: Person = BOB, any_number: bool = False, now: int = NOW) -> Session2:
    """Bob's session from a first message that he has not decrypted yet."""
    header = head.parse(message).handshake
    assert header is not None
    if any_number:
        own = renumbered(own, header)
    return session2.answer(header, respond(header, own=own), own.signed.pair, now=now)


_draws: Final = randomness("suite 2")


def encrypt(state: Session2, content: bytes) -> tuple[Session2, bytes]:
    """Write a message of unpadded content; no two draw the same bytes."""
    return session2.encrypt(state, padding.pad(content), _draws)


def decrypt(state: Session2, message: bytes, now: int = NOW) -> tuple[Session2, bytes]:
    """Read a message; should it bring a ratchet step, the new keys are others for each message."""
    fresh = randomness(hashlib.sha256(message).hexdigest())
    state, padded = session2.decrypt(state, head.parse(message), random=fresh, now=now)
    return state, padding.unpad(padded)


def accept(message: bytes, now: int = NOW) -> tuple[Session2, bytes]:
    """Bob reads a first message."""
    return decrypt(answer(message, now=now), message, now)


def established() -> tuple[Session2, Session2]:
    """Alice and Bob after a message each way."""
    alice, first = encrypt(begin(), b"hello")
    bob, _ = accept(first)
    bob, reply = encrypt(bob, b"hello yourself")
    alice, _ = decrypt(alice, reply)
    return alice, bob


def offering() -> tuple[Session2, Session2]:
    """Alice and Bob after the turns in which an offer becomes due: Bob has just begun a chain that carries one."""
    alice, bob = established()
    for _ in range(ratchet2.OFFER_AFTER_MESSAGES):
        alice, message = encrypt(alice, b"one of many")
        bob, _ = decrypt(bob, message)
        if isinstance(bob.kem.carried, KemKey):
            return alice, bob
        bob, reply = encrypt(bob, b"reply")
        alice, _ = decrypt(alice, reply)
    raise AssertionError("nothing was offered")


def answered_offer() -> tuple[Session2, Session2, bytes]:
    """Bob with his offer open, Alice who has answered it, and Bob's message that carries it."""
    alice, bob = offering()
    bob, message = encrypt(bob, b"with an offer")
    alice, _ = decrypt(alice, message)
    return bob, alice, message
