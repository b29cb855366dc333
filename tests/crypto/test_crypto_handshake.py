"""X3DH and PQXDH: both sides agree, and on nothing else than what a second computation gives."""

import hashlib
import hmac
from itertools import combinations
from typing import Any, Final

import crypto_samples as samples
import pytest
from crypto_samples import ALICE, BOB, EPHEMERAL, P, initiate
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from phantom_messenger.crypto import handshake, session
from phantom_messenger.crypto.errors import InvalidKey, InvalidMessage, InvalidSignature, UnknownPreKey
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey
from support.structs import replace

KINDS: Final = pytest.mark.parametrize(
    ("one_time", "kem"),
    [(True, True), (False, True), (True, False), (False, False)],
    ids=["PQXDH-one-time", "PQXDH", "X3DH-one-time", "X3DH"],
)


# --- agreement --------------------------------------------------------------------


@KINDS
def test_both_sides_agree(one_time: bool, kem: bool) -> None:
    header, alice = initiate(BOB.bundle(one_time=one_time, kem=kem))
    bob = samples.respond(header)
    assert bob == alice
    assert len(bob.secret) == 32
    assert (alice.post_quantum, bob.post_quantum) == (kem, kem)


@KINDS
def test_header_names_the_keys_that_were_used(one_time: bool, kem: bool) -> None:
    header, _ = initiate(BOB.bundle(one_time=one_time, kem=kem))
    assert header.identity == ALICE.identity.peer
    assert header.ephemeral == EPHEMERAL.public
    assert header.signed_prekey_id == BOB.signed.id
    assert header.one_time_prekey_id == (BOB.one_time.id if one_time else 0)
    assert header.kem_prekey_id == (BOB.kem.id if kem else 0)
    assert len(header.kem_ciphertext) == (1088 if kem else 0)


def test_number_of_a_key_that_is_not_there_is_not_named() -> None:
    bundle = replace(BOB.bundle(), one_time_prekey=None, kem_prekey=None)
    assert bundle.one_time_prekey_id
    assert bundle.kem_prekey_id
    header, _ = initiate(bundle)
    assert (header.one_time_prekey_id, header.kem_prekey_id, header.kem_ciphertext) == (0, 0, b"")


def test_bundle_without_numbers_has_zeros() -> None:
    least = PreKeyBundle(
        identity=BOB.identity.peer,
        signed_prekey=BOB.signed.pair.public,
        signed_prekey_signature=BOB.signed.signature,
    )
    assert least == replace(BOB.bundle(one_time=False, kem=False), signed_prekey_id=0)


@KINDS
def test_session_is_classical_exactly_without_a_kem(one_time: bool, kem: bool) -> None:
    alice, bob = samples.established(one_time=one_time, kem=kem)
    assert (alice.classical, bob.classical) == (not kem, not kem)
    assert (alice.initiated, bob.initiated) == (True, False)
    assert alice.id == bob.id
    assert (alice.peer, bob.peer) == (BOB.identity.peer, ALICE.identity.peer)


def test_one_time_key_without_a_number_is_not_used() -> None:
    """A header cannot name it: a responder would compute without it and never read anything."""
    header, agreement = initiate(replace(BOB.bundle(kem=False), one_time_prekey_id=0))
    assert header.one_time_prekey_id == 0
    assert agreement == initiate(BOB.bundle(one_time=False, kem=False))[1]
    header, agreement = initiate(replace(BOB.bundle(), one_time_prekey_id=0))
    assert (header.one_time_prekey_id, header.kem_prekey_id) == (0, BOB.kem.id)
    assert samples.respond(header) == agreement
    assert agreement.secret == recomputed(header)


def test_kem_key_without_a_number_is_not_used_and_the_session_is_classical() -> None:
    bundle = replace(BOB.bundle(), kem_prekey_id=0)
    header, agreement = initiate(bundle)
    assert (header.kem_prekey_id, header.kem_ciphertext) == (0, b"")
    assert agreement == initiate(BOB.bundle(kem=False))[1] == samples.respond(header)
    assert not agreement.post_quantum
    alice = samples.begin(bundle)
    _, message = samples.encrypt(alice, b"hello")
    bob, text = samples.accept(message)
    assert (alice.classical, bob.classical, text) == (True, True, b"hello")


def test_kem_key_without_a_number_has_its_signature_checked_all_the_same() -> None:
    with pytest.raises(InvalidSignature):
        initiate(replace(BOB.bundle(), kem_prekey_id=0, kem_prekey_signature=bytes(64)))


OTHERS: Final[dict[str, dict[str, SignedPreKey | PreKey | KemPreKey | None]]] = {
    "another signed": {"signed": replace(BOB.signed, id=12)},
    "another one-time": {"one_time": replace(BOB.one_time, id=23)},
    "another KEM": {"kem": replace(BOB.kem, id=34)},
    "no one-time": {"one_time": None},
    "no KEM": {"kem": None},
    "neither": {"one_time": None, "kem": None},
    "without numbers": {"one_time": replace(BOB.one_time, id=0), "kem": replace(BOB.kem, id=0)},
}


def respond_with(
    header: HandshakeHeader, *, signed: SignedPreKey, one_time: PreKey | None, kem: KemPreKey | None
) -> Agreement:
    return handshake.respond(
        BOB.identity,
        header,
        signed_prekey=signed,
        one_time_prekey=one_time,
        kem_prekey=kem,
        own_id=BOB.id,
        peer_id=ALICE.id,
    )


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
def test_responder_refuses_prekeys_that_the_header_does_not_name(changes: dict[str, Any]) -> None:
    header, agreement = initiate(BOB.bundle())
    named: dict[str, Any] = {"signed": BOB.signed, "one_time": BOB.one_time, "kem": BOB.kem}
    assert respond_with(header, **named) == agreement
    with pytest.raises(UnknownPreKey):
        respond_with(header, **{**named, **changes})


@pytest.mark.parametrize(("one_time", "kem"), [(True, False), (False, True), (True, True)])
def test_responder_refuses_prekeys_where_the_header_names_none(one_time: bool, kem: bool) -> None:
    header, _ = initiate(BOB.bundle(one_time=False, kem=False))
    with pytest.raises(UnknownPreKey):
        respond_with(
            header,
            signed=BOB.signed,
            one_time=BOB.one_time if one_time else None,
            kem=BOB.kem if kem else None,
        )


def test_kem_number_without_its_ciphertext_agrees_on_nothing() -> None:
    header, _ = initiate(BOB.bundle())
    with pytest.raises(InvalidKey):
        samples.respond(replace(header, kem_ciphertext=b""))


def test_every_kind_of_handshake_gives_another_secret() -> None:
    bundles = [BOB.bundle(one_time=one_time, kem=kem) for one_time in (True, False) for kem in (True, False)]
    secrets = [initiate(bundle)[1].secret for bundle in bundles]
    for one, other in combinations(secrets, 2):
        assert one != other


def test_kem_makes_the_secret_fresh_even_with_the_same_ephemeral() -> None:
    assert initiate(BOB.bundle())[1].secret != initiate(BOB.bundle())[1].secret
    classical = BOB.bundle(kem=False)
    assert initiate(classical)[1].secret == initiate(classical)[1].secret


@pytest.mark.parametrize("has_kem", [True, False])
def test_header_is_read_as_it_was_written(has_kem: bool) -> None:
    header, _ = initiate(BOB.bundle(kem=has_kem))
    encoded = header.encode()
    assert len(encoded) == 76 + (1088 if has_kem else 0)
    assert HandshakeHeader.decode(encoded + b"rest", has_kem=has_kem) == (header, b"rest")
    for size in range(len(encoded)):
        with pytest.raises(InvalidMessage):
            HandshakeHeader.decode(encoded[:size], has_kem=has_kem)


@pytest.mark.parametrize("number", [1, 33, 2**32 - 1])
def test_header_has_a_kem_number_exactly_with_a_ciphertext(number: int) -> None:
    with_kem, _ = initiate(BOB.bundle())
    without, _ = initiate(BOB.bundle(kem=False))
    good = replace(with_kem, kem_prekey_id=number)
    assert HandshakeHeader.decode(good.encode(), has_kem=True) == (good, b"")
    with pytest.raises(InvalidMessage):
        HandshakeHeader.decode(replace(with_kem, kem_prekey_id=0).encode(), has_kem=True)
    with pytest.raises(InvalidMessage):
        HandshakeHeader.decode(replace(without, kem_prekey_id=number).encode() + bytes(2000), has_kem=False)


# --- a second computation, line by line -------------------------------------------


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, from HMAC alone."""
    prk = hmac.digest(salt, secret, "sha256")
    okm = block = b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([number]), "sha256")
        okm += block
    return okm[:length]


def dh(private: bytes, public: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))


def image(ed25519_public: bytes) -> bytes:
    """u = (1 + y) / (1 - y), RFC 7748 section 4.1."""
    y = int.from_bytes(ed25519_public, "little") % 2**255
    return ((1 + y) * pow(1 - y, -1, P) % P).to_bytes(32, "little")


def scalar(seed: bytes) -> bytes:
    """RFC 8032 section 5.1.5; X25519 clamps it."""
    return hashlib.sha512(seed).digest()[:32]


def recomputed(header: HandshakeHeader) -> bytes:
    """SK from the initiator's private keys, the responder's public keys, and the KEM seed."""
    dh1 = dh(scalar(ALICE.identity.seed), BOB.signed.pair.public)
    dh2 = dh(EPHEMERAL.private, image(BOB.identity.peer.public))
    dh3 = dh(EPHEMERAL.private, BOB.signed.pair.public)
    km = b"\xff" * 32 + dh1 + dh2 + dh3
    if header.one_time_prekey_id:
        km += dh(EPHEMERAL.private, BOB.one_time.pair.public)
    if not header.kem_ciphertext:
        return hkdf(km, bytes(32), b"phantom/1 X3DH X25519 SHA-256\n", 32)
    km += MLKEM768PrivateKey.from_seed_bytes(BOB.kem.seed).decapsulate(header.kem_ciphertext)
    both = hashlib.sha256(BOB.kem.public + header.kem_ciphertext).digest()
    return hkdf(km, bytes(32), b"phantom/1 PQXDH X25519 SHA-256 ML-KEM-768\n" + both, 32)


@KINDS
def test_secret_is_that_of_a_second_computation(one_time: bool, kem: bool) -> None:
    header, agreement = initiate(BOB.bundle(one_time=one_time, kem=kem))
    assert agreement.secret == recomputed(header)


def test_associated_data_is_both_keys_and_both_ids_initiator_first() -> None:
    assert handshake.associated_data(ALICE.identity.peer, BOB.identity.peer, b"alice's id", b"bob's") == (
        b"phantom/1 associated-data\n"
        + ALICE.identity.peer.public
        + BOB.identity.peer.public
        + b"\x00\x0aalice's id\x00\x05bob's"
    )
    _, agreement = initiate(BOB.bundle())
    assert agreement.associated_data == handshake.associated_data(
        ALICE.identity.peer, BOB.identity.peer, ALICE.id, BOB.id
    )


def test_no_two_pairs_of_ids_give_the_same_associated_data() -> None:
    pairs = [(b"ab", b"c"), (b"a", b"bc"), (b"", b"abc"), (b"abc", b""), (b"c", b"ab")]
    made = {handshake.associated_data(ALICE.identity.peer, BOB.identity.peer, *pair) for pair in pairs}
    assert len(made) == len(pairs)


@KINDS
def test_first_messages_and_the_reply_open_in_a_second_computation(one_time: bool, kem: bool) -> None:
    fresh = samples.randomness("second computation")
    expected = samples.randomness("second computation")
    own_ratchet = expected(32)
    alice = session.start(
        ALICE.identity,
        BOB.bundle(one_time=one_time, kem=kem),
        EPHEMERAL,
        own_id=ALICE.id,
        peer_id=BOB.id,
        random=fresh,
    )
    assert alice.pending is not None
    sk = recomputed(alice.pending)
    ad = alice.associated_data
    prefix = bytes([1, 3 if kem else 1]) + alice.pending.encode()

    def open_(message: bytes, mk: bytes, prefix: bytes, nonce: bytes) -> bytes:
        end = len(prefix) + 40
        assert message.startswith(prefix)
        assert message[end : end + 12] == nonce
        key = hkdf(mk, bytes(32), b"phantom/1 message key\n", 32)
        return AESGCM(key).decrypt(nonce, message[end + 12 :], ad + message[:end])

    root = hkdf(dh(own_ratchet, BOB.signed.pair.public), sk, b"phantom/1 ratchet root\n", 64)
    chain = root[32:]
    for n in range(3):
        alice, message = session.encrypt(alice, b"text %d" % n, fresh)
        mk, chain = hmac.digest(chain, b"\x01", "sha256"), hmac.digest(chain, b"\x02", "sha256")
        assert open_(message, mk, prefix, expected(12)) == b"text %d" % n
        numbers = message[len(prefix) + 32 : len(prefix) + 40]
        assert numbers == (0).to_bytes(4) + n.to_bytes(4)

    bob, _ = samples.accept(message)
    bob, reply = session.encrypt(bob, b"reply", lambda size: b"n" * size)
    bob_ratchet = reply[2:34]
    root = hkdf(dh(own_ratchet, bob_ratchet), root[:32], b"phantom/1 ratchet root\n", 64)
    mk = hmac.digest(root[32:], b"\x01", "sha256")
    assert open_(reply, mk, bytes([1, 0]), b"n" * 12) == b"reply"
