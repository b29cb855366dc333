"""A relay or a peer that swaps keys, numbers or signatures, or sends keys that contribute nothing."""

from collections.abc import Callable
from typing import Any, Final

import crypto_samples as samples
import pytest
from crypto_samples import (
    ALICE,
    BOB,
    IDENTITY_POINT,
    MALLORY,
    SMALL_ORDER_ED25519,
    SMALL_ORDER_X25519,
    begin,
    encrypt,
    initiate,
)

from phantom_messenger.crypto import handshake, primitives, session
from phantom_messenger.crypto.errors import (
    CryptoError,
    InvalidKey,
    InvalidMessage,
    InvalidSignature,
    UndecryptableMessage,
    UnknownPreKey,
)
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle, SignedPreKey
from phantom_messenger.labels import KEM_PREKEY, SIGNED_PREKEY
from support.cases import each
from support.structs import replace

# --- somebody swaps something -----------------------------------------------------


UNSIGNED_SWAPS: Final = {
    "identity": {"identity": MALLORY.identity.peer},
    "signed prekey": {"signed_prekey": MALLORY.signed.pair.public},
    "signature": {"signed_prekey_signature": MALLORY.signed.signature},
    "signed prekey and its signature": {
        "signed_prekey": MALLORY.signed.pair.public,
        "signed_prekey_signature": MALLORY.signed.signature,
    },
    "no signature": {"signed_prekey_signature": b""},
    "signature for another purpose": {
        "signed_prekey_signature": BOB.identity.sign(KEM_PREKEY + BOB.signed.pair.public)
    },
    "signature without a purpose": {"signed_prekey_signature": BOB.identity.sign(BOB.signed.pair.public)},
    "KEM key": {"kem_prekey": MALLORY.kem.public},
    "KEM signature": {"kem_prekey_signature": MALLORY.kem.signature},
    "no KEM signature": {"kem_prekey_signature": b""},
    "KEM key and its signature": {"kem_prekey": MALLORY.kem.public, "kem_prekey_signature": MALLORY.kem.signature},
    "KEM signature for another purpose": {"kem_prekey_signature": BOB.identity.sign(SIGNED_PREKEY + BOB.kem.public)},
}


@pytest.mark.parametrize("changes", UNSIGNED_SWAPS.values(), ids=UNSIGNED_SWAPS.keys())
def test_bundle_that_its_identity_did_not_sign_is_refused(changes: dict[str, Any]) -> None:
    bundle = BOB.bundle()
    bundle.verify()
    with pytest.raises(InvalidSignature):
        initiate(replace(bundle, **changes))


UNNOTICED_SWAPS: Final = {
    "one-time key": {"one_time_prekey": MALLORY.one_time.pair.public},
    "whole bundle": {
        name: getattr(MALLORY.bundle(), name)
        for name in ("identity", "signed_prekey", "signed_prekey_signature", "kem_prekey", "kem_prekey_signature")
    },
    "earlier signed prekey": {
        "signed_prekey": SignedPreKey.make(BOB.identity, 10, bytes(32)).pair.public,
        "signed_prekey_signature": SignedPreKey.make(BOB.identity, 10, bytes(32)).signature,
    },
}
"""What an initiator cannot see by itself."""


@pytest.mark.parametrize("changes", UNNOTICED_SWAPS.values(), ids=UNNOTICED_SWAPS.keys())
def test_message_to_a_bundle_with_a_swapped_key_does_not_open(changes: dict[str, Any]) -> None:
    _, message = encrypt(begin(replace(BOB.bundle(), **changes)), b"hello")
    with pytest.raises(CryptoError):
        samples.accept(message)


HEADER_SWAPS: Final[dict[str, tuple[dict[str, Any], type[CryptoError]]]] = {
    "identity": ({"identity": MALLORY.identity.peer}, UndecryptableMessage),
    "ephemeral": ({"ephemeral": MALLORY.signed.pair.public}, UndecryptableMessage),
    "signed prekey's number": ({"signed_prekey_id": 12}, UnknownPreKey),
    "one-time prekey's number": ({"one_time_prekey_id": 23}, UnknownPreKey),
    "no one-time prekey": ({"one_time_prekey_id": 0}, UndecryptableMessage),
    "KEM prekey's number": ({"kem_prekey_id": 34}, UnknownPreKey),
    "no KEM prekey's number": ({"kem_prekey_id": 0}, InvalidMessage),
    "KEM ciphertext": ({"kem_ciphertext": bytes(1088)}, UndecryptableMessage),
    "no KEM ciphertext": ({"kem_ciphertext": b""}, InvalidMessage),
    "no KEM": ({"kem_prekey_id": 0, "kem_ciphertext": b""}, UndecryptableMessage),
}


@pytest.mark.parametrize("claims_to_be", [ALICE, MALLORY], ids=["alice", "mallory"])
@pytest.mark.parametrize(("changes", "error"), HEADER_SWAPS.values(), ids=HEADER_SWAPS.keys())
def test_first_message_with_a_swapped_header_field_does_not_open(
    changes: dict[str, Any], error: type[CryptoError], claims_to_be: samples.Person
) -> None:
    """Nor with a responder that uses the same private keys for every number: the number alone must count."""
    start = begin(BOB.bundle())
    assert start.pending is not None
    _, message = encrypt(start, b"hello")
    rest = message[2 + len(start.pending.encode()) :]
    header = replace(start.pending, **changes)
    flags = 3 if header.kem_ciphertext else 1
    swapped = bytes([1, flags]) + header.encode() + rest
    with pytest.raises(error):
        samples.accept(swapped, peer_id=claims_to_be.id)
    with pytest.raises(UndecryptableMessage if error is UnknownPreKey else error):
        samples.accept(swapped, peer_id=claims_to_be.id, any_number=True)


def test_control_first_message_with_its_own_header_opens() -> None:
    _, message = encrypt(begin(BOB.bundle()), b"hello")
    for any_number in (True, False):
        assert samples.accept(message, peer_id=ALICE.id, any_number=any_number)[1] == b"hello"


@pytest.mark.parametrize(
    "ids",
    [(MALLORY.id, BOB.id), (ALICE.id, MALLORY.id), (BOB.id, ALICE.id), (b"", BOB.id), (b"", ALICE.id + BOB.id)],
    ids=["initiator's", "responder's", "both exchanged", "none", "both as one"],
)
def test_message_between_other_user_ids_does_not_open(ids: tuple[bytes, bytes]) -> None:
    _, message = encrypt(begin(BOB.bundle()), b"hello")
    with pytest.raises(CryptoError):
        samples.accept(message, peer_id=ids[0], own_id=ids[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": MALLORY.identity},
        {"signed": MALLORY.signed},
        {"one_time": MALLORY.one_time},
        {"kem": MALLORY.kem},
    ],
    ids=lambda changes: str(*changes),
)
def test_responder_with_another_private_key_cannot_read(changes: dict[str, Any]) -> None:
    _, message = encrypt(begin(BOB.bundle()), b"hello")
    with pytest.raises(CryptoError):
        samples.accept(message, own=replace(BOB, **changes), own_id=BOB.id)


def test_initiator_without_the_private_key_of_its_identity_is_not_believed() -> None:
    start = begin(BOB.bundle(), own=MALLORY, own_id=ALICE.id)
    assert start.pending is not None
    forged = replace(
        start,
        pending=replace(start.pending, identity=ALICE.identity.peer),
        associated_data=handshake.associated_data(ALICE.identity.peer, BOB.identity.peer, ALICE.id, BOB.id),
    )
    _, message = encrypt(forged, b"it is me, alice")
    with pytest.raises(CryptoError):
        samples.accept(message)


# --- what the header says is what the secret was made of --------------------------


@pytest.mark.parametrize("number", ["one_time_prekey_id", "kem_prekey_id"])
def test_message_to_a_bundle_whose_key_lost_its_number_is_read(number: str) -> None:
    changes: dict[str, Any] = {number: 0}
    _, message = encrypt(begin(replace(BOB.bundle(), **changes)), b"hello")
    assert samples.accept(message)[1] == b"hello"


def test_session_with_an_unused_kem_ciphertext_is_never_called_post_quantum() -> None:
    """The initiator runs X3DH, sends a ciphertext that is not used, and names no KEM prekey."""
    start = begin(BOB.bundle(kem=False))
    assert start.pending is not None
    start = replace(start, pending=replace(start.pending, kem_ciphertext=bytes(1088)))
    assert start.pending is not None
    _, message = encrypt(start, b"hello")
    with pytest.raises(InvalidMessage):
        session.parse(message)
    agreement = samples.respond(start.pending)
    assert not agreement.post_quantum
    assert session.answer(start.pending, agreement, BOB.signed.pair).classical


def test_session_is_as_post_quantum_as_its_agreement_and_not_as_its_header() -> None:
    for kem in (True, False):
        header, agreement = initiate(BOB.bundle(kem=kem))
        for post_quantum in (True, False):
            said = replace(agreement, post_quantum=post_quantum)
            assert session.answer(header, said, BOB.signed.pair).classical is not post_quantum


# --- keys that contribute nothing -------------------------------------------------


def bob_signs(key: bytes) -> PreKeyBundle:
    return replace(BOB.bundle(), signed_prekey=key, signed_prekey_signature=BOB.identity.sign(SIGNED_PREKEY + key))


BUNDLES_WITH: Final[dict[str, Callable[[bytes], PreKeyBundle]]] = {
    "signed prekey": bob_signs,
    "one-time prekey": lambda key: replace(BOB.bundle(), one_time_prekey=key),
}


@each("key", SMALL_ORDER_X25519, ids=bytes.hex)
@each("with_key", BUNDLES_WITH.values(), ids=BUNDLES_WITH.keys())
def test_bundle_with_a_key_of_small_order_is_refused(with_key: Callable[[bytes], PreKeyBundle], key: bytes) -> None:
    with pytest.raises(InvalidKey):
        initiate(with_key(key))


@each("one_time", [True, False])
@each("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_header_with_an_ephemeral_of_small_order_is_refused(key: bytes, one_time: bool) -> None:
    header, _ = initiate(BOB.bundle(one_time=one_time))
    with pytest.raises(InvalidKey):
        samples.respond(replace(header, ephemeral=key))


@pytest.mark.parametrize("key", SMALL_ORDER_ED25519, ids=bytes.hex)
def test_identity_of_small_order_is_refused_on_both_sides(key: bytes) -> None:
    header, _ = initiate(BOB.bundle())
    with pytest.raises(InvalidKey):
        samples.respond(replace(header, identity=PeerIdentity(key)))
    universal = IDENTITY_POINT + bytes(32)
    with pytest.raises(InvalidSignature):
        initiate(
            replace(
                BOB.bundle(),
                identity=PeerIdentity(key),
                signed_prekey_signature=universal,
                kem_prekey_signature=universal,
            )
        )


@pytest.mark.parametrize("broken", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [lambda _: initiate(BOB.bundle()), samples.respond], ids=["initiator", "responder"])
def test_each_of_the_four_results_is_refused_if_zero(
    side: Callable[[HandshakeHeader], object], broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, _ = initiate(BOB.bundle())
    real, calls = primitives.x25519, []

    def with_one_point_of_small_order(private: bytes, public: bytes) -> bytes:
        calls.append(public)
        return real(private, IDENTITY_POINT if len(calls) == broken else public)

    monkeypatch.setattr(primitives, "x25519", with_one_point_of_small_order)
    with pytest.raises(InvalidKey):
        side(header)
    assert len(calls) == broken


@pytest.mark.parametrize("size", [0, 31, 33])
@pytest.mark.parametrize("with_key", BUNDLES_WITH.values(), ids=BUNDLES_WITH.keys())
def test_bundle_with_a_key_of_another_length_is_refused(with_key: Callable[[bytes], PreKeyBundle], size: int) -> None:
    with pytest.raises(InvalidKey):
        initiate(with_key(b"\x09" * size))


@pytest.mark.parametrize("key", [b"", BOB.kem.public[:-1], BOB.kem.public + b"\0", b"\xff" * 1184])
def test_signed_but_malformed_kem_key_is_refused(key: bytes) -> None:
    signature = BOB.identity.sign(KEM_PREKEY + key)
    with pytest.raises(InvalidKey):
        initiate(replace(BOB.bundle(), kem_prekey=key, kem_prekey_signature=signature))


@pytest.mark.parametrize("ciphertext", [b"\0", bytes(1087), bytes(1089)])
def test_kem_ciphertext_of_another_length_is_refused(ciphertext: bytes) -> None:
    header, _ = initiate(BOB.bundle())
    with pytest.raises(InvalidKey):
        samples.respond(replace(header, kem_ciphertext=ciphertext))
