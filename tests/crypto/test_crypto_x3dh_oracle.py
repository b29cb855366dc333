"""Our handshake without a KEM agrees with ``x3dh``, in both roles; with ``doubleratchet`` it is a whole conversation.

What the library lets us set: the format of identities, the hash, ``info``, how keys are encoded where they are
signed, and bytes behind the associated data. What it does not: the label that our associated data begins with, so
that is taken off before they are compared. It numbers no keys, so ids are ours. It has no KEM, so PQXDH is compared
with a computation of our own (``test_crypto_handshake``) and ML-KEM with ``kyber_py`` (``test_crypto_kem_oracle``).
"""

from dataclasses import dataclass
from typing import Final, Protocol

import crypto_samples as samples
import pytest
from crypto_samples import ALICE, BOB, EPHEMERAL, NOW, Person
from doubleratchet import AuthenticationFailedException
from oracles import LIMIT, X3DH_LABEL, OracleSide, OracleState, done
from x3dh import Bundle, HashFunction, Header, IdentityKeyFormat, KeyAgreementException
from x3dh.identity_key_pair import IdentityKeyPairSeed

from phantom_messenger.crypto import handshake, padding, ratchet, session
from phantom_messenger.crypto.errors import CryptoError, InvalidSignature
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from support.structs import replace

LABEL: Final = b"phantom/1 associated-data\n"
KINDS: Final = pytest.mark.parametrize("one_time", [True, False], ids=["one-time", "no one-time"])
SIGNED_ID: Final = 7
ONE_TIME_ID: Final = 8


def oracle(person: Person) -> OracleState:
    """Somebody with our identity, and prekeys that the library made."""
    return OracleState.create(
        IdentityKeyFormat.ED_25519,
        HashFunction.SHA_256,
        X3DH_LABEL,
        IdentityKeyPairSeed(person.identity.seed),
        pre_key_refill_threshold=1,
        pre_key_refill_target=1,
    )


def appendix(initiator: Person, responder: Person) -> bytes:
    """What our associated data has behind both keys: each user id with its length."""
    return b"\0\x20" + initiator.id + b"\0\x20" + responder.id


def to_theirs(bundle: PreKeyBundle) -> Bundle:
    return Bundle(
        identity_key=bundle.identity.public,
        signed_pre_key=bundle.signed_prekey,
        signed_pre_key_sig=bundle.signed_prekey_signature,
        pre_keys=frozenset() if bundle.one_time_prekey is None else frozenset({bundle.one_time_prekey}),
    )


def to_ours(bundle: Bundle, *, one_time: bool) -> PreKeyBundle:
    (prekey,) = bundle.pre_keys
    return PreKeyBundle(
        identity=PeerIdentity(bundle.identity_key),
        signed_prekey=bundle.signed_pre_key,
        signed_prekey_signature=bundle.signed_pre_key_sig,
        signed_prekey_id=SIGNED_ID,
        one_time_prekey=prekey if one_time else None,
        one_time_prekey_id=ONE_TIME_ID if one_time else 0,
    )


@dataclass
class Both:
    """What each side has at the end."""

    ours: Agreement
    their_secret: bytes
    their_associated: bytes

    def agree(self) -> None:
        assert self.ours.secret == self.their_secret
        assert self.ours.associated_data == LABEL + self.their_associated
        assert not self.ours.post_quantum


def we_begin(*, one_time: bool) -> Both:
    bob = oracle(BOB)
    bundle = to_ours(bob.bundle, one_time=one_time)
    header, agreement = handshake.initiate(ALICE.identity, EPHEMERAL, bundle, own_id=ALICE.id, peer_id=BOB.id)
    theirs = Header(header.identity.public, header.ephemeral, bundle.signed_prekey, bundle.one_time_prekey)
    secret, associated, pair = done(bob.get_shared_secret_passive(theirs, appendix(ALICE, BOB), one_time))
    assert pair.pub == bundle.signed_prekey
    return Both(agreement, secret, associated)


def they_begin(*, one_time: bool) -> Both:
    bundle = to_theirs(BOB.bundle(one_time=one_time, kem=False))
    secret, associated, theirs = done(
        oracle(ALICE).get_shared_secret_active(bundle, appendix(ALICE, BOB), require_pre_key=one_time)
    )
    assert theirs.signed_pre_key == BOB.signed.pair.public
    assert theirs.pre_key == (BOB.one_time.pair.public if one_time else None)
    return Both(samples.respond(to_our_header(theirs)), secret, associated)


def to_our_header(theirs: Header) -> HandshakeHeader:
    return HandshakeHeader(
        identity=PeerIdentity(theirs.identity_key),
        ephemeral=theirs.ephemeral_key,
        signed_prekey_id=BOB.signed.id,
        one_time_prekey_id=0 if theirs.pre_key is None else BOB.one_time.id,
        kem_prekey_id=0,
        kem_ciphertext=b"",
    )


class Begin(Protocol):
    """Either side can."""

    def __call__(self, *, one_time: bool) -> Both: ...


@KINDS
@pytest.mark.parametrize("begin", [we_begin, they_begin])
def test_both_agree(begin: Begin, one_time: bool) -> None:
    for _ in range(20):
        begin(one_time=one_time).agree()


def test_identity_is_the_same_key_to_both() -> None:
    assert oracle(ALICE).bundle.identity_key == ALICE.identity.peer.public


def test_signatures_of_each_are_taken_by_the_other_and_forged_ones_are_not() -> None:
    bundle = to_ours(oracle(BOB).bundle, one_time=True)
    bundle.verify()
    with pytest.raises(InvalidSignature):
        replace(bundle, signed_prekey_signature=samples.flipped(bundle.signed_prekey_signature, 40, 0)).verify()
    ours = to_theirs(BOB.bundle(kem=False))
    forged = ours._replace(signed_pre_key_sig=samples.flipped(ours.signed_pre_key_sig, 40, 0))
    with pytest.raises(KeyAgreementException):
        done(oracle(ALICE).get_shared_secret_active(forged))


@KINDS
def test_control_another_label_is_noticed(one_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "X3DH_INFO", b"phantom/1 X3DH X25519 SHA-512\n")
    for begin in (we_begin, they_begin):
        both = begin(one_time=one_time)
        with pytest.raises(AssertionError):
            both.agree()


@KINDS
def test_control_other_bytes_before_the_secrets_are_noticed(one_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_F", b"\xfe" * 32)
    for begin in (we_begin, they_begin):
        both = begin(one_time=one_time)
        with pytest.raises(AssertionError):
            both.agree()


@KINDS
def test_control_another_order_of_the_secrets_is_noticed(one_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = handshake.derive_secret
    monkeypatch.setattr(
        handshake, "derive_secret", lambda secrets, info: real([secrets[1], secrets[0], *secrets[2:]], info)
    )
    for begin in (we_begin, they_begin):
        both = begin(one_time=one_time)
        with pytest.raises(AssertionError):
            both.agree()


@KINDS
def test_control_exchanged_people_are_noticed(one_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = handshake.associated_data
    monkeypatch.setattr(handshake, "associated_data", lambda one, other, *ids: real(other, one, *ids))
    for begin in (we_begin, they_begin):
        both = begin(one_time=one_time)
        with pytest.raises(AssertionError):
            both.agree()


# --- whole conversations ----------------------------------------------------------


class Stranger:
    """A second implementation of a session, from both libraries: it makes and reads whole messages."""

    def __init__(self, associated: bytes, side: OracleSide, handshake_header: bytes = b"") -> None:
        self.associated = LABEL + associated
        self.side = side
        self.handshake_header = handshake_header

    def encrypt(self, plaintext: bytes) -> bytes:
        prefix = b"\x01\x01" + self.handshake_header if self.handshake_header else b"\x01\x00"
        header, ciphertext = self.side.encrypt(plaintext, self.associated + prefix)
        return prefix + header + ciphertext

    def decrypt(self, message: bytes) -> bytes:
        prefix = 2 + (76 if message[1] else 0)
        plaintext = self.side.decrypt(
            message[prefix : prefix + 40], message[prefix + 40 :], self.associated + message[:prefix]
        )
        self.handshake_header = b""
        return plaintext


def conversation_that_we_begin(*, one_time: bool) -> int:
    bob = oracle(BOB)
    bundle = to_ours(bob.bundle, one_time=one_time)
    alice = samples.begin(bundle)
    assert alice.pending is not None
    theirs = Header(alice.pending.identity.public, alice.id, bundle.signed_prekey, bundle.one_time_prekey)
    secret, associated, pair = done(bob.get_shared_secret_passive(theirs, appendix(ALICE, BOB), one_time))
    return talk(alice, Stranger(associated, OracleSide(secret, own_key=pair.priv)))


def conversation_that_they_begin(*, one_time: bool) -> int:
    bundle = to_theirs(BOB.bundle(one_time=one_time, kem=False))
    secret, associated, theirs = done(
        oracle(ALICE).get_shared_secret_active(bundle, appendix(ALICE, BOB), require_pre_key=one_time)
    )
    stranger = Stranger(associated, OracleSide(secret, peer_key=bundle.signed_pre_key), to_our_header(theirs).encode())
    first = stranger.encrypt(b"first")
    bob, text = samples.accept(first)
    assert text == b"first"
    return talk(bob, stranger)


def talk(own: session.Session, stranger: Stranger) -> int:
    """Ten turns each, in which the last message comes first; how many were read."""
    read = 0
    for turn in range(10):
        texts = [padding.pad(b"turn %d, number %d" % (turn, number)) for number in range(4)]
        sent = []
        for text in texts:
            own, message = session.encrypt(own, text, samples.randomness(f"{turn} {text.hex()}"))
            sent.append(message)
        for message, text in zip(reversed(sent), reversed(texts), strict=True):
            assert stranger.decrypt(message) == text
            read += 1
        sent = [stranger.encrypt(text) for text in texts]
        for message, text in zip(reversed(sent), reversed(texts), strict=True):
            fresh = samples.randomness(message.hex())
            own, got = session.decrypt(own, session.parse(message), random=fresh, now=NOW)
            assert got == text
            read += 1
        own = session.load(session.dump(own))
        stranger.side.restart()
    return read


@KINDS
def test_whole_conversation_with_a_second_implementation_is_read(one_time: bool) -> None:
    assert conversation_that_we_begin(one_time=one_time) == 80
    assert conversation_that_they_begin(one_time=one_time) == 80


@KINDS
def test_control_conversation_under_other_ids_is_noticed(one_time: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = handshake.associated_data
    monkeypatch.setattr(handshake, "associated_data", lambda *people: real(*people[:2], *people[:1:-1]))
    for talk_ in (conversation_that_we_begin, conversation_that_they_begin):
        with pytest.raises((CryptoError, AuthenticationFailedException)):
            talk_(one_time=one_time)


def test_limits_are_the_same() -> None:
    assert LIMIT == ratchet.MAX_SKIP == ratchet.MAX_SKIPPED_KEYS
