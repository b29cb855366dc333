"""People with keys from fixed seeds, sessions between them, vectors from outside, keys nobody should use."""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from phantom_messenger.crypto import handshake, session
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey
from phantom_messenger.crypto.ratchet import Randomness
from phantom_messenger.crypto.session import Parsed, Session
from support.structs import replace

VECTORS: Final = Path(__file__).parents[2] / "../shared/vectors"
P: Final = 2**255 - 19
NOW: Final = 1_770_000_000_000
"""When all of it happens, milliseconds since 1970."""


def vectors(path: str) -> Any:
    """A file of vectors from outside; a checkout may lack them, but CI may not."""
    file = VECTORS / path
    if not file.is_file():
        absent = f"no {path} in ../shared/vectors"
        if "CI" in os.environ:
            pytest.fail(absent)
        pytest.skip(absent)
    return json.loads(file.read_bytes())


def cases(path: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every case of a Wycheproof file, each with its group."""
    return [(group, case) for group in vectors(path)["testGroups"] for case in group["tests"]]


# --- points of small order --------------------------------------------------------


def _every_encoding(coordinates: Iterator[int]) -> list[bytes]:
    """32 bytes for each coordinate modulo p, reduced or not, with the highest bit clear and set."""
    return [
        (form | top).to_bytes(32, "little")
        for coordinate in coordinates
        for form in (coordinate, coordinate + P)
        if form < 2**255
        for top in (0, 2**255)
    ]


SMALL_ORDER_X25519: Final = _every_encoding(
    int.from_bytes(bytes.fromhex(u), "little")
    for u in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""Montgomery u-coordinates of order 1, 2, 4 and 8, on the curve and its twist."""

SMALL_ORDER_ED25519: Final = _every_encoding(
    int.from_bytes(bytes.fromhex(y), "little")
    for y in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)
"""Edwards y-coordinates of order 1, 2, 4 and 8."""

IDENTITY_POINT: Final = (1).to_bytes(32, "little")


# --- people -----------------------------------------------------------------------


def randomness(name: str) -> Randomness:
    """Bytes that are the same in every run and differ in every call."""
    numbers = count()
    return lambda size: hashlib.shake_256(f"{name} {next(numbers)}".encode()).digest(size)


@dataclass(frozen=True)
class Person:
    """Somebody with an identity and one prekey of each kind."""

    identity: OwnIdentity
    signed: SignedPreKey
    one_time: PreKey
    kem: KemPreKey

    @property
    def id(self) -> bytes:
        return self.identity.peer.user_id

    def bundle(self, *, one_time: bool = True, kem: bool = True) -> PreKeyBundle:
        return PreKeyBundle(
            identity=self.identity.peer,
            signed_prekey=self.signed.pair.public,
            signed_prekey_signature=self.signed.signature,
            signed_prekey_id=self.signed.id,
            one_time_prekey=self.one_time.pair.public if one_time else None,
            one_time_prekey_id=self.one_time.id if one_time else 0,
            kem_prekey=self.kem.public if kem else None,
            kem_prekey_signature=self.kem.signature if kem else b"",
            kem_prekey_id=self.kem.id if kem else 0,
        )


def person(name: str) -> Person:
    fresh = randomness(name)
    identity = OwnIdentity(fresh(32))
    return Person(
        identity=identity,
        signed=SignedPreKey.make(identity, 11, fresh(32)),
        one_time=PreKey(22, KeyPair.from_private(fresh(32))),
        kem=KemPreKey.make(identity, 33, fresh(64)),
    )


ALICE: Final = person("alice")
BOB: Final = person("bob")
MALLORY: Final = person("mallory")


EPHEMERAL: Final = KeyPair.from_private(bytes(range(64, 96)))


# --- sessions ---------------------------------------------------------------------


def begin(
    bundle: PreKeyBundle, *, name: str = "begin", own: Person = ALICE, own_id: bytes | None = None, peer: Person = BOB
) -> Session:
    """Alice starts a session with the owner of a bundle."""
    fresh = randomness(name)
    return session.start(
        own.identity,
        bundle,
        KeyPair.from_private(fresh(32)),
        own_id=own.id if own_id is None else own_id,
        peer_id=peer.id,
        random=fresh,
    )


def initiate(bundle: PreKeyBundle) -> tuple[HandshakeHeader, Agreement]:
    """Alice's side, always with the same ephemeral key."""
    return handshake.initiate(ALICE.identity, EPHEMERAL, bundle, own_id=ALICE.id, peer_id=BOB.id)


def renumbered(own: Person, header: HandshakeHeader) -> Person:
    """The same private keys under the numbers that a header names: somebody who does not look at numbers."""
    return replace(
        own,
        signed=replace(own.signed, id=header.signed_prekey_id),
        one_time=replace(own.one_time, id=header.one_time_prekey_id),
        kem=replace(own.kem, id=header.kem_prekey_id),
    )


def respond(
    header: HandshakeHeader, *, own: Person = BOB, own_id: bytes | None = None, peer_id: bytes | None = None
) -> Agreement:
    """Bob's side, with the kinds of prekeys that a header names."""
    return handshake.respond(
        own.identity,
        header,
        signed_prekey=own.signed,
        one_time_prekey=own.one_time if header.one_time_prekey_id else None,
        kem_prekey=own.kem if header.kem_prekey_id else None,
        own_id=own.id if own_id is None else own_id,
        peer_id=header.identity.user_id if peer_id is None else peer_id,
    )


def accept(
    message: bytes,
    *,
    own: Person = BOB,
    own_id: bytes | None = None,
    peer_id: bytes | None = None,
    any_number: bool = False,
) -> tuple[Session, bytes]:
    """Bob reads a first message; with ``any_number`` his prekeys have the numbers that it names."""
    parsed = session.parse(message)
    assert parsed.handshake is not None
    if any_number:
        own = renumbered(own, parsed.handshake)
    agreement = respond(parsed.handshake, own=own, own_id=own_id, peer_id=peer_id)
    answered = session.answer(parsed.handshake, agreement, own.signed.pair)
    return decrypt(answered, message)


_nonces: Final = randomness("nonces")


def encrypt(state: Session, plaintext: bytes) -> tuple[Session, bytes]:
    """Write a message; no two have the same nonce."""
    return session.encrypt(state, plaintext, _nonces)


def decrypt(state: Session, message: bytes, now: int = NOW) -> tuple[Session, bytes]:
    """Read a message; should it bring a ratchet step, the new key is another for each message."""
    fresh = randomness(hashlib.sha256(message).hexdigest())
    return session.decrypt(state, session.parse(message), random=fresh, now=now)


def established(*, one_time: bool = True, kem: bool = True) -> tuple[Session, Session]:
    """Alice and Bob after a message each way."""
    alice, first = encrypt(begin(BOB.bundle(one_time=one_time, kem=kem)), b"hello")
    bob, _ = accept(first)
    bob, reply = encrypt(bob, b"hello yourself")
    alice, _ = decrypt(alice, reply)
    return alice, bob


def with_header(message: Parsed, **changes: Any) -> Parsed:
    return replace(message, header=replace(message.header, **changes))


def flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
