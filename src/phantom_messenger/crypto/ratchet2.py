"""The ratchet of suite 2: the Double Ratchet of suite 1 with ML-KEM-768 in its root now and then.

The shape is that of Apple's PQ3 ("iMessage with PQ3", 2024; Stebila, "Security analysis of the iMessage PQ3 protocol",
2024): at intervals one side offers a fresh KEM key, the other answers with a ciphertext, and the secret goes into the
root key beside the Diffie-Hellman result. Whoever stole a state then cannot follow, not even with a quantum computer.

Sending chains of the two sides strictly alternate, and every message of a chain carries the same part. So an offer in
one of my chains has reached whoever begins the next chain of the peer, and that chain must carry the answer. At most
one offer is open, loss and reordering need no special case, and who breaks the rule is refused.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from phantom_messenger.crypto import primitives, ratchet
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.crypto.handshake import Encapsulate, HandshakeHeader
from phantom_messenger.crypto.head import KemCiphertext, KemKey, Parsed, Part
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import Randomness, RatchetState

ROOT_INFO: Final = b"phantom/1 ratchet root 2\n"

OFFER_AFTER_MESSAGES: Final = 50
"""Messages in both directions after which a KEM secret is due. PQ3's figure: an offer and its answer are 2,272 bytes,
repeated by every message of two chains; that is about 110 bytes a message if people take turns of three."""

OFFER_AFTER_MS: Final = 7 * 86_400_000
"""Time after which one is due, however little was said: a stolen state of a quiet conversation heals too."""


class KemState(msgspec.Struct, frozen=True, kw_only=True):
    """What the ratchet of suite 2 holds beside that of suite 1.

    ``carried``: what every message of the sending chain carries. ``seed``: the 64-byte private half if that is an
    offer, else empty. ``messages``: sent and received since the last KEM secret, counted up to
    ``OFFER_AFTER_MESSAGES``. ``at``: when that was, in milliseconds of persistent time.
    """

    carried: Part = None
    seed: bytes = b""
    messages: int = 0
    at: int

    def __repr__(self) -> str:
        return f"KemState(carried={type(self.carried).__name__}, messages={self.messages}, at={self.at})"

    def counted(self) -> "KemState":
        """One message later."""
        return replace(self, messages=min(self.messages + 1, OFFER_AFTER_MESSAGES))

    def is_due(self, now: int) -> bool:
        """Whether a KEM secret is to be offered."""
        # A time in the future comes from a clock that was wrong.
        return self.messages >= OFFER_AFTER_MESSAGES or not 0 <= now - self.at < OFFER_AFTER_MS


def start_initiator(
    secret: bytes, peer_ratchet_key: bytes, own: KeyPair, handshake: HandshakeHeader, now: int
) -> tuple[RatchetState, KemState]:
    """The state after a handshake that this side began; its first chain carries the handshake header.

    Args:
        secret: 32 bytes of the handshake.
        peer_ratchet_key: the responder's signed prekey.
        own: a fresh pair.
        handshake: the header.
        now: milliseconds of persistent time.
    """
    rk, cks = kdf_rk(secret, primitives.x25519(own.private, peer_ratchet_key))
    return RatchetState(dhs=own, dhr=peer_ratchet_key, rk=rk, cks=cks), KemState(carried=handshake, at=now)


def start_responder(secret: bytes, own: KeyPair, now: int) -> tuple[RatchetState, KemState]:
    """The state after a handshake that the peer began; ``own`` is the signed prekey that it used."""
    return ratchet.start_responder(secret, own), KemState(at=now)


def decrypt(
    state: RatchetState,
    kem: KemState,
    message: Parsed,
    associated_data: bytes,
    *,
    random: Randomness,
    now: int,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> tuple[RatchetState, KemState, bytes]:
    """Double Ratchet section 3.5 with a KEM: the states afterwards, and the key of the body.

    Args:
        state: unchanged by this call, whatever happens.
        kem: the same.
        message: as parsed.
        associated_data: of the session.
        random: asked for 32 bytes if the peer has taken a ratchet step, then for 64 if an offer is due.
        now: milliseconds of persistent time.
        encapsulate: draws its own randomness; replaced when vectors are made.

    Raises:
        UndecryptableMessage: it does not authenticate, its key is gone, it jumps too far, or it carries another part
            than a new chain must carry here.
        InvalidKey: the peer's ratchet key contributes nothing, or the KEM key that it offers is malformed.
    """
    header, aad = message.header, message.aad(associated_data)
    spent = ratchet.spend_skipped(state, header)
    if spent is not None or header.dh == state.dhr:
        state, mk = spent or ratchet.take_key(state, header.n, now)
        return state, kem.counted(), ratchet.open_sealed(mk, message.sealed, aad)
    # Before any key is derived: a part in the wrong place must not cost anything, nor enter the root key.
    _check_part(state, kem, message.part)
    state = _begin_receiving(ratchet.end_chain(state, header, now), kem, message)
    state, mk = ratchet.take_key(state, header.n, now)
    key = ratchet.open_sealed(mk, message.sealed, aad)
    # Only now: for a forged message no key is made.
    return *_begin_sending(state, kem, message.part, random=random, now=now, encapsulate=encapsulate), key


def kdf_rk(rk: bytes, dh: bytes, shared: bytes = b"", exchanged: bytes = b"") -> tuple[bytes, bytes]:
    """The next root key, and a chain key.

    Args:
        rk: the root key, 32 bytes.
        dh: a Diffie-Hellman result, 32 bytes.
        shared: a KEM secret, 32 bytes, or empty.
        exchanged: EK || CT of that secret: bound, against re-encapsulation (PQXDH section 4.11).
    """
    bound = primitives.sha256(exchanged) if exchanged else b""
    out = primitives.hkdf(dh + shared, salt=rk, info=ROOT_INFO + bound, length=64)
    return out[:32], out[32:]


def _check_part(state: RatchetState, kem: KemState, part: Part) -> None:
    """Refuse a new chain that carries something else than it must."""
    if isinstance(part, HandshakeHeader) != (state.dhr is None):
        raise UndecryptableMessage("a handshake header stands in the first chain of its session, and in no other")
    if isinstance(part, KemCiphertext) != isinstance(kem.carried, KemKey):
        raise UndecryptableMessage("an offered KEM key is answered by the next chain, and nothing else is")


def _begin_receiving(state: RatchetState, kem: KemState, message: Parsed) -> RatchetState:
    """The first half of DHRatchet (section 3.5): the peer's new chain."""
    shared = exchanged = b""
    if isinstance(message.part, KemCiphertext) and isinstance(kem.carried, KemKey):
        shared = primitives.kem_decapsulate(kem.seed, message.part.ciphertext)
        exchanged = kem.carried.public + message.part.ciphertext
    dh = primitives.x25519(state.dhs.private, message.header.dh)
    rk, ckr = kdf_rk(state.rk, dh, shared, exchanged)
    return replace(state, dhr=message.header.dh, rk=rk, ckr=ckr, nr=0)


def _begin_sending(
    state: RatchetState, kem: KemState, part: Part, *, random: Randomness, now: int, encapsulate: Encapsulate
) -> tuple[RatchetState, KemState]:
    """The second half of DHRatchet: one's own new chain, and what it carries."""
    assert state.dhr is not None  # noqa: S101 - the first half has set it
    fresh = KeyPair.from_private(random(primitives.KEY_BYTES))
    shared = exchanged = b""
    match part:
        case KemKey(public):
            shared, ciphertext = encapsulate(public)
            exchanged = public + ciphertext
            kem = KemState(carried=KemCiphertext(ciphertext), at=now)
        case KemCiphertext():
            # The offer was answered, so its private half has served: it is in no later state.
            kem = KemState(at=now)
        case _:
            kem = _offered(kem.counted(), random, now)
    rk, cks = kdf_rk(state.rk, primitives.x25519(fresh.private, state.dhr), shared, exchanged)
    return replace(state, dhs=fresh, rk=rk, cks=cks, pn=state.ns, ns=0), kem


def _offered(kem: KemState, random: Randomness, now: int) -> KemState:
    """A new chain that answers nothing: it carries an offer if one is due, else nothing."""
    if not kem.is_due(now):
        return replace(kem, carried=None)
    seed = random(primitives.KEM_SEED_BYTES)
    return replace(kem, carried=KemKey(primitives.kem_public(seed)), seed=seed)
