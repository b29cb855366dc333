"""One session with one peer: a handshake, a ratchet, and messages as bytes.

A message is ``suite || flags || [handshake header] || ratchet header || ciphertext``.
Everything before the ciphertext is authenticated with it. The suite byte says how to
read the rest: this is suite 1; suite 2 is ``session2``.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from phantom_messenger.crypto import primitives, ratchet
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage, UnknownSuite
from phantom_messenger.crypto.handshake import Agreement, Encapsulate, HandshakeHeader, initiate
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.crypto.ratchet import Randomness, RatchetHeader, RatchetState
from phantom_messenger.crypto.stored import Key, Number, StoredSkipped, dump_skipped, load_skipped

SUITE: Final = 1
HAS_HANDSHAKE: Final = 0b01
HAS_KEM: Final = 0b10
MAX_OVERHEAD: Final = (
    2 + 76 + primitives.KEM_CIPHERTEXT_BYTES + ratchet.HEADER_BYTES + primitives.NONCE_BYTES + primitives.TAG_BYTES
)
"""At most how many bytes a message is longer than its padded content."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a session; ``id`` is the initiator's ephemeral key.

    ``pending`` is the handshake header that an initiator repeats until it is answered.
    ``classical``: the peer had no KEM prekey, so a quantum computer could read the session later.
    """

    id: bytes
    peer: PeerIdentity
    associated_data: bytes
    ratchet: RatchetState
    pending: HandshakeHeader | None
    initiated: bool
    classical: bool


class Parsed(msgspec.Struct, frozen=True):
    """A parsed message; nothing in it has been authenticated yet."""

    handshake: HandshakeHeader | None
    header: RatchetHeader
    prefix: bytes
    ciphertext: bytes


def parse(message: bytes) -> Parsed:
    """Parse a message.

    Raises:
        UnknownSuite: made by another version, by its first byte; the rest is not looked at.
        InvalidMessage: cut short or with flags that do not exist.
    """
    if not message:
        raise InvalidMessage("a message is empty")
    if message[0] != SUITE:
        raise UnknownSuite(f"suite {message[0]} is not known here")
    if len(message) < 2:  # noqa: PLR2004 - suite and flags
        raise InvalidMessage("a message is cut short")
    flags = message[1]
    if flags not in (0, HAS_HANDSHAKE, HAS_HANDSHAKE | HAS_KEM):
        raise InvalidMessage("a message has unknown flags")
    rest = message[2:]
    handshake = None
    if flags & HAS_HANDSHAKE:
        handshake, rest = HandshakeHeader.decode(rest, has_kem=bool(flags & HAS_KEM))
    header = RatchetHeader.decode(rest)
    ciphertext = rest[ratchet.HEADER_BYTES :]
    prefix = message[: len(message) - len(rest)]
    return Parsed(handshake, header, prefix, ciphertext)


def start(
    own: OwnIdentity,
    bundle: PreKeyBundle,
    ephemeral: KeyPair,
    *,
    own_id: bytes,
    peer_id: bytes,
    random: Randomness,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> Session:
    """Begin a session with the owner of a bundle; arguments and errors as ``handshake.initiate``."""
    header, agreement = initiate(own, ephemeral, bundle, own_id=own_id, peer_id=peer_id, encapsulate=encapsulate)
    return Session(
        id=ephemeral.public,
        peer=bundle.identity,
        associated_data=agreement.associated_data,
        ratchet=ratchet.start_initiator(
            agreement.secret, bundle.signed_prekey, KeyPair.from_private(random(primitives.KEY_BYTES))
        ),
        pending=header,
        initiated=True,
        classical=not agreement.post_quantum,
    )


def answer(header: HandshakeHeader, agreement: Agreement, signed_prekey: KeyPair) -> Session:
    """Join a session that a peer began; ``agreement`` is from ``handshake.respond``."""
    return Session(
        id=header.ephemeral,
        peer=header.identity,
        associated_data=agreement.associated_data,
        ratchet=ratchet.start_responder(agreement.secret, signed_prekey),
        pending=None,
        initiated=False,
        classical=not agreement.post_quantum,
    )


def encrypt(session: Session, plaintext: bytes, random: Randomness) -> tuple[Session, bytes]:
    """Encrypt one padded content; store the new session before the message is sent."""
    flags = 0
    handshake = b""
    # With every message until one is answered: any of them may be the first to arrive.
    if session.pending is not None:
        flags = HAS_HANDSHAKE | (HAS_KEM if session.pending.kem_ciphertext else 0)
        handshake = session.pending.encode()
    prefix = bytes((SUITE, flags)) + handshake
    associated = session.associated_data + prefix
    nonce = random(primitives.NONCE_BYTES)
    state, header, ciphertext = ratchet.encrypt(session.ratchet, plaintext, associated, nonce)
    return replace(session, ratchet=state), prefix + header.encode() + ciphertext


def decrypt(session: Session, message: Parsed, *, random: Randomness, now: int) -> tuple[Session, bytes]:
    """Decrypt one message; store the new session and the plaintext together.

    Args:
        session: unchanged by this call.
        message: as returned by ``parse``.
        random: a source of random bytes.
        now: milliseconds since 1970.

    Raises:
        UndecryptableMessage, InvalidKey: as ``ratchet.decrypt``; the session is unchanged.
    """
    associated = session.associated_data + message.prefix
    if message.handshake is not None and message.handshake.identity != session.peer:
        raise UndecryptableMessage("it is from another identity")
    state, plaintext = ratchet.decrypt(
        session.ratchet, message.header, message.ciphertext, associated, random=random, now=now
    )
    # The peer has answered: it knows the handshake.
    return replace(session, ratchet=state, pending=None), plaintext


def forget_old(session: Session, now: int) -> Session:
    """The session without keys that are too old (``ratchet.forget_old``); the same object if there are none."""
    state = ratchet.forget_old(session.ratchet, now)
    return session if state is session.ratchet else replace(session, ratchet=state)


# --- storage ----------------------------------------------------------------------


class _Stored(msgspec.Struct, array_like=True):
    """Version 2. In version 1 skipped keys had no time, and the public half of ``dhs`` was derived.

    Versions are counted over all suites, so that the first member tells how to read the rest: 3 is ``session2``'s.
    """

    version: int
    id: Key
    peer: Key
    associated_data: bytes
    dhs: Key
    dhr: Key | None
    rk: Key
    cks: Key | None
    ckr: Key | None
    ns: Number
    nr: Number
    pn: Number
    skipped: list[StoredSkipped]
    pending: bytes | None
    initiated: bool
    classical: bool
    dhs_public: Key | None = None

    def __repr__(self) -> str:
        return "_Stored(...)"


STATE_VERSION: Final = 2


def dump(session: Session) -> bytes:
    """Serialise a session, secrets and all: for encrypted storage only."""
    state = session.ratchet
    return msgspec.msgpack.encode(
        _Stored(
            version=STATE_VERSION,
            id=session.id,
            peer=session.peer.public,
            associated_data=session.associated_data,
            dhs=state.dhs.private,
            dhr=state.dhr,
            rk=state.rk,
            cks=state.cks,
            ckr=state.ckr,
            ns=state.ns,
            nr=state.nr,
            pn=state.pn,
            skipped=dump_skipped(state),
            pending=None if session.pending is None else session.pending.encode(),
            initiated=session.initiated,
            classical=session.classical,
            dhs_public=state.dhs.public,
        )
    )


def load(data: bytes) -> Session:
    """Undo ``dump``.

    Raises:
        InvalidMessage: not a session of a known version.
    """
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidMessage("a stored session cannot be read") from None
    if not 1 <= stored.version <= STATE_VERSION:
        raise InvalidMessage("a stored session is of another version")
    pending = None
    if stored.pending is not None:
        pending, rest = HandshakeHeader.decode(stored.pending, has_kem=not stored.classical)
        if rest:
            raise InvalidMessage("a stored session is damaged")
    return Session(
        id=stored.id,
        peer=PeerIdentity(stored.peer),
        associated_data=stored.associated_data,
        ratchet=RatchetState(
            dhs=KeyPair.from_private(stored.dhs)
            if stored.dhs_public is None
            else KeyPair(stored.dhs, stored.dhs_public),
            dhr=stored.dhr,
            rk=stored.rk,
            cks=stored.cks,
            ckr=stored.ckr,
            ns=stored.ns,
            nr=stored.nr,
            pn=stored.pn,
            mkskipped=load_skipped(stored.skipped),
        ),
        pending=pending,
        initiated=stored.initiated,
        classical=stored.classical,
    )
