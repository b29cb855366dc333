"""The Double Ratchet (Signal, revision 1, section 3), as pure functions over a frozen state.

Names are the specification's: root key, sending and receiving chain, message keys,
``PN``, ``N``, skipped message keys. A function returns a new state; what it was given
is unchanged, so a message that fails to authenticate changes nothing.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair

MAX_SKIP: Final = 256
"""How far one message may jump ahead in a chain. Each skipped key is computed and stored, so more would let a peer burn
our time and disk (256 take about 1 ms and 12 KB). A relay delivers in order: more are missing only if as many were
lost, and then a new session is begun."""

MAX_SKIPPED_KEYS: Final = 256
"""Skipped keys a session keeps, oldest out first: what a peer can make us store (12 KB; 62 KB of SQLite's log)."""

MAX_RECEIVING_CHAINS: Final = 5
"""Chains of the peer of which skipped keys are kept, the newest with gaps: a gap in an older one has been
overtaken by five later gaps. More would keep keys that a thief could use."""

MAX_SKIPPED_AGE_MS: Final = 30 * 86_400_000
"""How long a skipped key is kept: its message was overtaken, so the relay has lost or withheld it. Longer would
let somebody who steals the device read what was recorded on the network; shorter would lose what arrives late."""

UNDATED: Final = -1
"""The time of a skipped key that was stored before they had one; it is dated when it is next seen."""

MAX_NUMBER: Final = 2**32 - 1
"""Largest message number that the header can carry."""

ROOT_INFO: Final = b"phantom/1 ratchet root\n"
MESSAGE_INFO: Final = b"phantom/1 message key\n"

_HEADER: Final = struct.Struct(">32sII")
HEADER_BYTES: Final = _HEADER.size


class RatchetHeader(msgspec.Struct, frozen=True):
    """Section 3.1, HEADER: the sender's ratchet key, the length of its previous chain, the message's number."""

    dh: bytes
    pn: int
    n: int

    def encode(self) -> bytes:
        """40 bytes."""
        return _HEADER.pack(self.dh, self.pn, self.n)

    @classmethod
    def decode(cls, data: bytes) -> "RatchetHeader":
        """Read the first 40 bytes.

        Raises:
            InvalidMessage: too short.
        """
        if len(data) < HEADER_BYTES:
            raise InvalidMessage("a ratchet header is cut short")
        return cls(*_HEADER.unpack_from(data))


Randomness = Callable[[int], bytes]
"""Returns this many random bytes."""

SkippedKey = tuple[bytes, int]
"""A ratchet key of the peer and a message number."""


class Skipped(msgspec.Struct, frozen=True):
    """A skipped message key, and when it was skipped (milliseconds since 1970)."""

    mk: bytes
    at: int

    def __repr__(self) -> str:
        return f"Skipped(at={self.at})"


class RatchetState(msgspec.Struct, frozen=True, kw_only=True):
    """Section 3.2: the state of one side. All byte strings are 32 bytes.

    A msgspec struct, because it is copied for every message: with dataclasses a message took half as long again.
    """

    dhs: KeyPair
    dhr: bytes | None
    rk: bytes
    cks: bytes | None = None
    ckr: bytes | None = None
    ns: int = 0
    nr: int = 0
    pn: int = 0
    mkskipped: Mapping[SkippedKey, Skipped] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"RatchetState(ns={self.ns}, nr={self.nr}, pn={self.pn}, skipped={len(self.mkskipped)})"


def start_initiator(secret: bytes, peer_ratchet_key: bytes, own: KeyPair) -> RatchetState:
    """Section 3.3, RatchetInitAlice.

    Args:
        secret: 32 bytes of the handshake.
        peer_ratchet_key: the responder's signed prekey.
        own: a fresh pair.
    """
    rk, cks = _kdf_rk(secret, primitives.x25519(own.private, peer_ratchet_key))
    return RatchetState(dhs=own, dhr=peer_ratchet_key, rk=rk, cks=cks)


def start_responder(secret: bytes, own: KeyPair) -> RatchetState:
    """Section 3.3, RatchetInitBob; ``own`` is the signed prekey that the initiator used."""
    return RatchetState(dhs=own, dhr=None, rk=secret)


def encrypt(
    state: RatchetState, plaintext: bytes, associated: bytes, nonce: bytes
) -> tuple[RatchetState, RatchetHeader, bytes]:
    """Section 3.4, RatchetEncrypt.

    The nonce is random and travels with the message, although a message key is meant to be
    used once: a state restored from a copy would use it again, and under GCM a repeated pair
    of key and nonce reveals both plaintexts.

    Args:
        state: with a sending chain; a responder has one after the first message it received.
        plaintext: already padded.
        associated: authenticated together with the header.
        nonce: 12 random bytes.

    Returns:
        The new state, the header, and nonce || ciphertext || tag.

    Raises:
        UndecryptableMessage: a responder that has received nothing yet cannot send, nor a chain of 2^32 - 1 messages.
    """
    state, header, mk = next_key(state)
    ciphertext = primitives.seal(message_key(mk), nonce, plaintext, associated + header.encode())
    return state, header, nonce + ciphertext


def decrypt(
    state: RatchetState, header: RatchetHeader, ciphertext: bytes, associated: bytes, *, random: Randomness, now: int
) -> tuple[RatchetState, bytes]:
    """Section 3.5, RatchetDecrypt.

    Args:
        state: unchanged by this call, whatever happens.
        header: as received.
        ciphertext: nonce || ciphertext || tag.
        associated: as for ``encrypt``.
        random: asked for 32 bytes if the peer has taken a ratchet step.
        now: milliseconds since 1970; the time of the keys that are skipped.

    Raises:
        UndecryptableMessage: it does not authenticate, its key is gone, or it jumps too far.
        InvalidKey: the peer's ratchet key contributes nothing.
    """
    # Before any step: a late message of a chain that has ended must not begin that chain anew.
    skipped = spend_skipped(state, header)
    if skipped is not None:
        state, mk = skipped
    else:
        if header.dh != state.dhr:
            state = _dh_ratchet(end_chain(state, header, now), header, random)
        state, mk = take_key(state, header.n, now)
    return state, open_sealed(mk, ciphertext, associated + header.encode())


# --- the parts that do not depend on the suite --------------------------------------


def next_key(state: RatchetState) -> tuple[RatchetState, RatchetHeader, bytes]:
    """The next message key of the sending chain, and the header that goes with it.

    Raises:
        UndecryptableMessage: as for ``encrypt``.
    """
    if state.cks is None:
        raise UndecryptableMessage("nothing was received yet, so there is no sending chain")
    if state.ns >= MAX_NUMBER:
        raise UndecryptableMessage("the sending chain is used up until the peer answers")
    cks, mk = kdf_ck(state.cks)
    return replace(state, cks=cks, ns=state.ns + 1), RatchetHeader(state.dhs.public, state.pn, state.ns), mk


def spend_skipped(state: RatchetState, header: RatchetHeader) -> tuple[RatchetState, bytes] | None:
    """Section 3.5, TrySkippedMessageKeys: the message key if it was skipped, and the state without it."""
    skipped = state.mkskipped.get((header.dh, header.n))
    if skipped is None:
        return None
    # Used once and gone: a key that stayed would open a replay, and what an eavesdropper has recorded.
    left = {key: kept for key, kept in state.mkskipped.items() if key != (header.dh, header.n)}
    return replace(state, mkskipped=left), skipped.mk


def end_chain(state: RatchetState, header: RatchetHeader, now: int) -> RatchetState:
    """The state in which the keys that are missing at the end of the receiving chain are skipped.

    Raises:
        UndecryptableMessage: with those of the next chain they are too many; no key was derived.
    """
    if max(0, header.pn - state.nr) + header.n > MAX_SKIP:
        raise UndecryptableMessage(f"it jumps more than {MAX_SKIP} messages ahead")
    return _skip(state, header.pn, now)


def take_key(state: RatchetState, n: int, now: int) -> tuple[RatchetState, bytes]:
    """The message key of number ``n`` in the receiving chain; those before it are skipped.

    Raises:
        UndecryptableMessage: its key was used, it jumps too far, or there is no chain.
    """
    if n < state.nr:
        raise UndecryptableMessage("its key was used already")
    state = _skip(state, n, now)
    if state.ckr is None:
        raise UndecryptableMessage("there is no receiving chain")
    ckr, mk = kdf_ck(state.ckr)
    return replace(state, ckr=ckr, nr=state.nr + 1), mk


def open_sealed(mk: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    """What was sealed under a message key; ``ciphertext`` is nonce || ciphertext || tag.

    Raises:
        UndecryptableMessage: it does not authenticate.
    """
    nonce, sealed = ciphertext[: primitives.NONCE_BYTES], ciphertext[primitives.NONCE_BYTES :]
    if len(sealed) < primitives.TAG_BYTES:
        raise UndecryptableMessage("it is cut short")
    return primitives.unseal(message_key(mk), nonce, sealed, aad)


def kdf_ck(ck: bytes) -> tuple[bytes, bytes]:
    """Section 5.2: HMAC with the chain key over one constant byte; 0x01 gives the message key."""
    return primitives.hmac_sha256(ck, b"\x02"), primitives.hmac_sha256(ck, b"\x01")


def message_key(mk: bytes) -> bytes:
    """The AEAD key of one message."""
    return primitives.hkdf(mk, salt=bytes(32), info=MESSAGE_INFO, length=primitives.KEY_BYTES)


def reach(state: RatchetState, header: RatchetHeader) -> int | None:
    """How many keys would be derived to skip to a message; None if this state cannot read it, whatever it contains.

    It derives nothing, so the cost of trying is known beforehand.
    """
    if (header.dh, header.n) in state.mkskipped:
        return 0
    if header.dh == state.dhr:
        return header.n - state.nr if state.ckr is not None and header.n >= state.nr else None
    # ``PN`` counts what the peer had sent in the chain before: not fewer than came, and none where there was none.
    if header.pn < state.nr or (state.ckr is None and header.pn):
        return None
    return header.pn - state.nr + header.n


def forget_old(state: RatchetState, now: int) -> RatchetState:
    """The state without skipped keys older than ``MAX_SKIPPED_AGE_MS``; the same object if there are none.

    Args:
        state: any.
        now: milliseconds since 1970.
    """
    skipped = state.mkskipped
    if all(kept.at != UNDATED and 0 <= now - kept.at <= MAX_SKIPPED_AGE_MS for kept in skipped.values()):
        return state
    return replace(
        state,
        mkskipped={
            # A time in the future comes from a clock that was wrong.
            key: replace(kept, at=now) if kept.at == UNDATED or kept.at > now else kept
            for key, kept in skipped.items()
            if kept.at == UNDATED or now - kept.at <= MAX_SKIPPED_AGE_MS
        },
    )


def _dh_ratchet(state: RatchetState, header: RatchetHeader, random: Randomness) -> RatchetState:
    """Section 3.5, DHRatchet."""
    rk, ckr = _kdf_rk(state.rk, primitives.x25519(state.dhs.private, header.dh))
    # The old private key ends with the old state: whoever steals a later one cannot derive this chain from it.
    fresh = KeyPair.from_private(random(primitives.KEY_BYTES))
    rk, cks = _kdf_rk(rk, primitives.x25519(fresh.private, header.dh))
    return replace(state, dhs=fresh, dhr=header.dh, rk=rk, cks=cks, ckr=ckr, pn=state.ns, ns=0, nr=0)


def _skip(state: RatchetState, until: int, now: int) -> RatchetState:
    """Section 3.5, SkipMessageKeys. The jump is bounded before any key is derived."""
    if until - state.nr > MAX_SKIP:
        raise UndecryptableMessage(f"it jumps more than {MAX_SKIP} messages ahead")
    if state.ckr is None or state.dhr is None or until <= state.nr:
        return state
    # A copy: until the message has authenticated, the old state is the one that holds.
    skipped, ckr = dict(state.mkskipped), state.ckr
    for n in range(state.nr, until):
        ckr, mk = kdf_ck(ckr)
        skipped[(state.dhr, n)] = Skipped(mk, now)
    return replace(state, ckr=ckr, nr=until, mkskipped=_bounded(skipped))


def _bounded(skipped: dict[SkippedKey, Skipped]) -> dict[SkippedKey, Skipped]:
    """The newest of them: at most ``MAX_RECEIVING_CHAINS`` chains, and at most ``MAX_SKIPPED_KEYS`` keys."""
    # A dict keeps the order in which keys were skipped, so the oldest come first.
    chains = list(dict.fromkeys(dh for dh, _ in skipped))
    old = set(chains[:-MAX_RECEIVING_CHAINS])
    kept = {key: value for key, value in skipped.items() if key[0] not in old} if old else skipped
    while len(kept) > MAX_SKIPPED_KEYS:
        del kept[next(iter(kept))]
    return kept


def _kdf_rk(rk: bytes, dh_out: bytes) -> tuple[bytes, bytes]:
    """Section 5.2: HKDF with the root key as salt."""
    out = primitives.hkdf(dh_out, salt=rk, info=ROOT_INFO, length=64)
    return out[:32], out[32:]
