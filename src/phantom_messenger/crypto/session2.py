"""One session of suite 2 with one peer: handshake, ratchet with a KEM, and messages of head and body.

It has the shape of a session of suite 1 (``session``), so that whoever holds sessions need not ask which one it is.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from phantom_messenger.crypto import body, head, primitives, ratchet, ratchet2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.handshake import Agreement, Encapsulate, HandshakeHeader
from phantom_messenger.crypto.handshake2 import initiate
from phantom_messenger.crypto.head import KemKey, Parsed
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.ratchet import Randomness, RatchetState
from phantom_messenger.crypto.ratchet2 import KemState
from phantom_messenger.crypto.stored import Key, Number, StoredSkipped, dump_skipped, load_skipped

SUITE: Final = head.SUITE


class Session2(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a session; ``id`` is the initiator's ephemeral key."""

    id: bytes
    peer: PeerIdentity
    associated_data: bytes
    ratchet: RatchetState
    kem: KemState
    initiated: bool

    @property
    def pending(self) -> HandshakeHeader | None:
        """The handshake header that an initiator repeats until it is answered."""
        return self.kem.carried if isinstance(self.kem.carried, HandshakeHeader) else None

    @property
    def classical(self) -> bool:
        """Never: there is no suite 2 without a KEM."""
        return False


def start(
    own: OwnIdentity,
    bundle: DatedBundle,
    ephemeral: KeyPair,
    *,
    own_id: bytes,
    now: int,
    persistent_now: int,
    newest: int,
    random: Randomness,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> Session2:
    """Begin a session with the owner of a bundle.

    Args:
        own: the user's own identity.
        bundle: the peer's prekeys; checked here.
        ephemeral: fresh, used for this session alone.
        own_id: the user's own id, raw bytes.
        now: milliseconds since 1970 by the wall clock; the age of the bundle is judged by it.
        persistent_now: milliseconds of persistent time; the KEM secret is as old as this.
        newest: the greatest ``made_at`` accepted from this peer so far, or 0; afterwards it is ``bundle.made_at``.
        random: a source of random bytes.
        encapsulate: draws its own randomness; replaced when vectors are made.

    Raises:
        InvalidSignature, StaleBundle, InvalidKey: as ``handshake2.initiate``.
    """
    header, agreement = initiate(own, ephemeral, bundle, own_id=own_id, now=now, newest=newest, encapsulate=encapsulate)
    pair = KeyPair.from_private(random(primitives.KEY_BYTES))
    state, kem = ratchet2.start_initiator(agreement.secret, bundle.signed_prekey, pair, header, persistent_now)
    return Session2(
        id=ephemeral.public,
        peer=bundle.identity,
        associated_data=agreement.associated_data,
        ratchet=state,
        kem=kem,
        initiated=True,
    )


def answer(header: HandshakeHeader, agreement: Agreement, signed_prekey: KeyPair, *, now: int) -> Session2:
    """Join a session that a peer began; ``agreement`` is from ``handshake2.respond``, ``now`` persistent time."""
    state, kem = ratchet2.start_responder(agreement.secret, signed_prekey, now)
    return Session2(
        id=header.ephemeral,
        peer=header.identity,
        associated_data=agreement.associated_data,
        ratchet=state,
        kem=kem,
        initiated=False,
    )


def encrypt(session: Session2, content: bytes, random: Randomness) -> tuple[Session2, bytes]:
    """Encrypt one padded content for one recipient; store the new session before the message is sent.

    Args:
        session: with a sending chain.
        content: padded to a multiple of 256 bytes, at most ``body.MAX_PADDED``.
        random: asked for the 32 bytes of the body's key, then for 12 bytes.

    Raises:
        UndecryptableMessage: there is no sending chain, or it is used up.
    """
    key = random(body.KEY_BYTES)
    sealed_body = body.seal(content, key)
    session, sealed_head = encrypt_head(session, key, sealed_body, random)
    return session, sealed_head + sealed_body


def encrypt_head(
    session: Session2, key: bytes, sealed_body: bytes, random: Randomness, *, digest: bytes = b""
) -> tuple[Session2, bytes]:
    """The head with which this session's peer can read a body; the message is the head and then the body.

    Args:
        session: with a sending chain.
        key: of the body.
        sealed_body: as ``body.seal`` made it; the head is bound to it.
        random: asked for 12 bytes. The nonce is random as in suite 1: a state restored from a copy uses its message
            keys again.
        digest: SHA-256 of the body, if it is known: that of a long one for a hundred people is most of their heads.
    """
    state, header, mk = ratchet.next_key(session.ratchet)
    authenticated = head.begin(session.kem.carried) + header.encode()
    nonce = random(primitives.NONCE_BYTES)
    aad = session.associated_data + authenticated + (digest or primitives.sha256(sealed_body))
    sealed = nonce + primitives.seal(ratchet.message_key(mk), nonce, key, aad)
    return replace(session, ratchet=state, kem=session.kem.counted()), head.finish(authenticated, sealed)


def decrypt(
    session: Session2,
    message: Parsed,
    *,
    random: Randomness,
    now: int,
    encapsulate: Encapsulate = primitives.kem_encapsulate,
) -> tuple[Session2, bytes]:
    """Decrypt one message; store the new session and the padded content together.

    Args:
        session: unchanged by this call.
        message: as returned by ``head.parse``.
        random: a source of random bytes.
        now: milliseconds of persistent time.
        encapsulate: draws its own randomness; replaced when vectors are made.

    Raises:
        UndecryptableMessage, InvalidKey: as ``ratchet2.decrypt``, or the body is not the one of this head; the session
            is unchanged.
    """
    if message.handshake is not None and message.handshake.identity != session.peer:
        raise UndecryptableMessage("it is from another identity")
    state, kem, key = ratchet2.decrypt(
        session.ratchet,
        session.kem,
        message,
        session.associated_data,
        random=random,
        now=now,
        encapsulate=encapsulate,
    )
    # Before the new state is handed out: a head with a body that is not its own must not use up the head's key.
    content = body.open_sealed(message.body, key)
    return replace(session, ratchet=state, kem=kem), content


def forget_old(session: Session2, now: int) -> Session2:
    """The session without keys that are too old (``ratchet.forget_old``); the same object if there are none."""
    state = ratchet.forget_old(session.ratchet, now)
    return session if state is session.ratchet else replace(session, ratchet=state)


# --- storage ----------------------------------------------------------------------


class _Stored(msgspec.Struct, array_like=True):
    """Version 3; versions 1 and 2 are sessions of suite 1."""

    version: int
    id: Key
    peer: Key
    associated_data: bytes
    dhs: Key
    dhs_public: Key
    dhr: Key | None
    rk: Key
    cks: Key | None
    ckr: Key | None
    ns: Number
    nr: Number
    pn: Number
    skipped: list[StoredSkipped]
    part: int
    carried: bytes
    seed: bytes
    messages: Number
    at: int
    initiated: bool

    def __repr__(self) -> str:
        return "_Stored(...)"


STATE_VERSION: Final = 3


def dump(session: Session2) -> bytes:
    """Serialise a session, secrets and all: for encrypted storage only."""
    state, kem = session.ratchet, session.kem
    carried = head.begin(kem.carried)
    return msgspec.msgpack.encode(
        _Stored(
            version=STATE_VERSION,
            id=session.id,
            peer=session.peer.public,
            associated_data=session.associated_data,
            dhs=state.dhs.private,
            dhs_public=state.dhs.public,
            dhr=state.dhr,
            rk=state.rk,
            cks=state.cks,
            ckr=state.ckr,
            ns=state.ns,
            nr=state.nr,
            pn=state.pn,
            skipped=dump_skipped(state),
            part=carried[1],
            carried=carried[2:],
            seed=kem.seed,
            messages=kem.messages,
            at=kem.at,
            initiated=session.initiated,
        )
    )


def load(data: bytes) -> Session2:
    """Undo ``dump``.

    Raises:
        InvalidMessage: not a session of a known version.
    """
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except (msgspec.MsgspecError, RecursionError):
        raise InvalidMessage("a stored session cannot be read") from None
    if stored.version != STATE_VERSION:
        raise InvalidMessage("a stored session is of another version")
    carried = head.part_of(stored.part, stored.carried)
    if len(stored.seed) != (primitives.KEM_SEED_BYTES if isinstance(carried, KemKey) else 0):
        raise InvalidMessage("a stored session is damaged")
    return Session2(
        id=stored.id,
        peer=PeerIdentity(stored.peer),
        associated_data=stored.associated_data,
        ratchet=RatchetState(
            dhs=KeyPair(stored.dhs, stored.dhs_public),
            dhr=stored.dhr,
            rk=stored.rk,
            cks=stored.cks,
            ckr=stored.ckr,
            ns=stored.ns,
            nr=stored.nr,
            pn=stored.pn,
            mkskipped=load_skipped(stored.skipped),
        ),
        kem=KemState(carried=carried, seed=stored.seed, messages=stored.messages, at=stored.at),
        initiated=stored.initiated,
    )
