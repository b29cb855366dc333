"""Bundles of suite 2, and the handshakes that they begin."""

from typing import Any, Final

import crypto_samples as suite1
import pytest
from crypto_samples import ALICE, BOB, EPHEMERAL, IDENTITY_POINT, MALLORY, NOW, SMALL_ORDER_X25519
from suite2_samples import LAST_RESORT, begin, bundle, respond

from phantom_messenger import labels
from phantom_messenger.crypto import handshake, handshake2, primitives
from phantom_messenger.crypto.bundle import MAX_BUNDLE_AGE_MS, MAX_BUNDLE_AHEAD_MS, DatedBundle
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidSignature, StaleBundle, UnknownPreKey
from phantom_messenger.crypto.handshake import Agreement, HandshakeHeader
from phantom_messenger.crypto.keys import PeerIdentity
from support.structs import replace

DAY_MS: Final = 86_400_000


def initiate(given: DatedBundle, *, now: int = NOW, newest: int = 0) -> tuple[HandshakeHeader, Agreement]:
    return handshake2.initiate(ALICE.identity, EPHEMERAL, given, own_id=ALICE.id, now=now, newest=newest)


# --- agreement ----------------------------------------------------------------------


@pytest.mark.parametrize("one_time", [True, False])
@pytest.mark.parametrize("one_time_kem", [True, False])
def test_both_sides_agree(one_time: bool, one_time_kem: bool) -> None:
    header, agreement = initiate(bundle(one_time=one_time, one_time_kem=one_time_kem))
    assert respond(header) == agreement
    assert agreement.post_quantum
    assert header.one_time_prekey_id == (BOB.one_time.id if one_time else 0)
    assert header.kem_prekey_id == (BOB.kem.id if one_time_kem else LAST_RESORT[BOB.id].id)
    assert len(header.encode()) == 1_164


def test_id_without_a_one_time_prekey_is_not_named() -> None:
    given = replace(bundle(one_time=False, one_time_kem=False), one_time_prekey_id=5, last_resort_id=6)
    header, agreement = initiate(given)
    assert (header.one_time_prekey_id, header.kem_prekey_id) == (0, LAST_RESORT[BOB.id].id)
    assert respond(header) == agreement


def test_same_keys_give_another_secret_than_in_suite_1() -> None:
    """Prekeys serve both suites."""
    secret, ciphertext = primitives.kem_encapsulate(BOB.kem.public)

    def encapsulate(public: bytes) -> tuple[bytes, bytes]:
        assert public == BOB.kem.public
        return secret, ciphertext

    ends: dict[str, Any] = {"own_id": ALICE.id, "encapsulate": encapsulate}
    old = handshake.initiate(ALICE.identity, EPHEMERAL, BOB.bundle(), peer_id=BOB.id, **ends)
    new = handshake2.initiate(ALICE.identity, EPHEMERAL, bundle(), now=NOW, newest=0, **ends)
    assert old[0] == new[0]
    assert old[1].secret != new[1].secret
    assert old[1].associated_data != new[1].associated_data


def test_control_same_label_gives_the_same_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake2, "PQXDH_INFO", handshake.PQXDH_INFO)
    with pytest.raises(AssertionError):
        test_same_keys_give_another_secret_than_in_suite_1()


@pytest.mark.parametrize("end", ["own_id", "peer_id"])
def test_another_user_id_gives_other_associated_data(end: str) -> None:
    header, agreement = initiate(bundle())
    changed: dict[str, Any] = {end: MALLORY.id}
    assert respond(header, **changed).associated_data != agreement.associated_data


@pytest.mark.parametrize(
    "change",
    [{"signed_prekey_id": 12}, {"one_time_prekey_id": 23}, {"one_time_prekey_id": 0}, {"kem_prekey_id": 34}],
    ids=lambda change: f"{next(iter(change))} {next(iter(change.values()))}",
)
def test_header_that_names_other_prekeys_is_refused(change: dict[str, int]) -> None:
    header = replace(initiate(bundle())[0], **change)
    with pytest.raises(UnknownPreKey):
        handshake2.respond(
            BOB.identity,
            header,
            signed_prekey=BOB.signed,
            one_time_prekey=BOB.one_time,
            kem_prekey=BOB.kem,
            own_id=BOB.id,
            peer_id=ALICE.id,
        )


def test_changed_kem_ciphertext_gives_another_secret() -> None:
    header, agreement = initiate(bundle())
    for place in (0, 500, 1_087):
        changed = suite1.flipped(header.kem_ciphertext, place, 0)
        assert respond(replace(header, kem_ciphertext=changed)).secret != agreement.secret


# --- what the bundle's signature covers ------------------------------------------------

LAST_RESORT_DIGEST: Final = primitives.sha256(LAST_RESORT[BOB.id].public)
CHANGES: Final[dict[str, dict[str, Any]]] = {
    "identity": {"identity": MALLORY.identity.peer},
    "user id": {"user_id": MALLORY.id},
    "user id of another length": {"user_id": BOB.id[:16]},
    "time": {"made_at": NOW - 1},
    "signed prekey": {"signed_prekey": MALLORY.signed.pair.public},
    "id of the signed prekey": {"signed_prekey_id": 12},
    "last resort": {"last_resort_digest": primitives.sha256(MALLORY.kem.public)},
    "bit of the last resort": {"last_resort_digest": suite1.flipped(LAST_RESORT_DIGEST, 31, 0)},
    "one-time KEM prekey as last resort": {"last_resort_digest": None, "last_resort_id": 0},
    "id of the last resort": {"last_resort_id": 45},
    "signature": {"signature": bytes(64)},
    "signature of another bundle": {"signature": bundle(made_at=NOW + 1).signature},
    "signature of a prekey alone": {"signature": BOB.signed.signature},
    "one-time KEM prekey": {"kem_prekey": MALLORY.kem.public},
    "signature of the one-time KEM prekey": {"kem_prekey_signature": MALLORY.kem.signature},
    "no signature of the one-time KEM prekey": {"kem_prekey_signature": b""},
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_bundle_is_refused(change: str) -> None:
    with pytest.raises(InvalidSignature):
        initiate(replace(bundle(), **CHANGES[change]))


@pytest.mark.parametrize("change", CHANGES)
def test_control_bundle_whose_signatures_nobody_checks_is_taken(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeerIdentity, "verify", lambda *_: None)
    initiate(replace(bundle(), **CHANGES[change]))


def test_another_last_resort_is_refused_if_it_is_used() -> None:
    """The signature of a KEM prekey alone does not make it the last resort."""
    given = bundle(one_time_kem=False)
    for change in ({"kem_prekey": BOB.kem.public, "kem_prekey_signature": BOB.kem.signature}, {"kem_prekey_id": 45}):
        with pytest.raises(InvalidSignature):
            initiate(replace(given, **change))


def test_last_resort_is_the_same_by_its_digest() -> None:
    """What an owner signs does not depend on what is handed out."""
    assert bundle(one_time_kem=False).signed_bytes() == bundle(one_time_kem=True).signed_bytes()


@pytest.mark.parametrize("digest", [b"", LAST_RESORT_DIGEST[:-1], LAST_RESORT_DIGEST + b"\0"], ids=len)
def test_digest_of_another_length_is_refused(digest: bytes) -> None:
    """Although its owner has signed it."""
    with pytest.raises(InvalidKey, match="length"):
        initiate(signed_again(bundle(), last_resort_digest=digest))


def test_keys_of_two_bundles_cannot_be_combined() -> None:
    """In suite 1 a relay can: each key is signed alone."""
    old, new = bundle(made_at=NOW - DAY_MS), bundle(made_at=NOW)
    for name in ("made_at", "signature"):
        with pytest.raises(InvalidSignature):
            initiate(replace(new, **{name: getattr(old, name)}))


def test_moved_byte_between_id_and_end_is_another_bundle() -> None:
    """The length of the user id is signed, so no byte can move between it and what stands before."""
    given = bundle()
    assert given.signed_bytes()[-34:-32] == (32).to_bytes(2)
    assert len(given.signed_bytes()) == len(labels.PREKEY_BUNDLE) + 8 + 4 + 32 + 4 + 32 + 2 + 32


# --- time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "taken"),
    [
        (MAX_BUNDLE_AGE_MS, True),
        (MAX_BUNDLE_AGE_MS + 1, False),
        (0, True),
        (-MAX_BUNDLE_AHEAD_MS, True),
        (-MAX_BUNDLE_AHEAD_MS - 1, False),
    ],
)
def test_bundle_of_another_time_is_refused(age: int, taken: bool) -> None:
    given = bundle(made_at=NOW - age)
    if taken:
        initiate(given)
        return
    with pytest.raises(StaleBundle):
        initiate(given)


def test_bundle_older_than_one_that_was_accepted_is_refused() -> None:
    given = bundle(made_at=NOW - DAY_MS)
    initiate(given, newest=given.made_at)
    initiate(given, newest=given.made_at - 1)
    with pytest.raises(StaleBundle):
        initiate(given, newest=given.made_at + 1)


def test_bounds_are_90_days_and_one() -> None:
    assert (MAX_BUNDLE_AGE_MS, MAX_BUNDLE_AHEAD_MS) == (90 * DAY_MS, DAY_MS)


# --- keys -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["signed_prekey_id", "kem_prekey_id", "one_time_prekey_id", "last_resort_id"])
def test_key_without_an_id_is_refused(name: str) -> None:
    with pytest.raises(InvalidKey, match="no id"):
        initiate(replace(bundle(), **{name: 0}))


@pytest.mark.parametrize("number", [-1, 2**32])
def test_id_that_does_not_fit_is_refused(number: int) -> None:
    for name in ("signed_prekey_id", "kem_prekey_id", "one_time_prekey_id", "last_resort_id"):
        with pytest.raises(InvalidKey, match="no id"):
            initiate(replace(bundle(), **{name: number}))


def test_least_and_greatest_ids_are_taken() -> None:
    names = ("signed_prekey_id", "kem_prekey_id", "one_time_prekey_id", "last_resort_id")
    for number in (1, 2**32 - 1):
        header, _ = initiate(signed_again(bundle(), **dict.fromkeys(names, number)))
        assert (header.signed_prekey_id, header.one_time_prekey_id, header.kem_prekey_id) == (number,) * 3


@pytest.mark.parametrize("made_at", [-1, 2**64])
def test_time_that_does_not_fit_is_refused(made_at: int) -> None:
    with pytest.raises(StaleBundle):
        initiate(replace(bundle(), made_at=made_at))


def signed_again(given: DatedBundle, **changes: Any) -> DatedBundle:
    """A bundle that its owner has signed with these changes."""
    changed = replace(given, **changes)
    return replace(changed, signature=BOB.identity.sign(changed.signed_bytes()))


@pytest.mark.parametrize("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_key_of_small_order_is_refused(key: bytes) -> None:
    with pytest.raises(InvalidKey):
        initiate(signed_again(bundle(), signed_prekey=key))
    with pytest.raises(InvalidKey):
        initiate(replace(bundle(), one_time_prekey=key))


def test_identity_of_small_order_is_refused() -> None:
    with pytest.raises(CryptoError):
        initiate(replace(bundle(), identity=PeerIdentity(IDENTITY_POINT)))


@pytest.mark.parametrize("key", [b"", bytes(1_183), b"\xff" * 1_184], ids=["none", "short", "malformed"])
def test_malformed_kem_key_is_refused(key: bytes) -> None:
    """Although it is signed: whoever does that has chosen a bad key, and no session begins without a KEM."""
    with pytest.raises(InvalidKey):
        initiate(signed_again(bundle(one_time_kem=False), kem_prekey=key))


def test_bundle_is_checked_in_the_order_of_the_document() -> None:
    """Everything is wrong, and is put right step by step: each time the next thing is what it is refused for."""
    old, true = bundle(made_at=1), bundle()
    found = replace(
        old,
        one_time_prekey=bytes(32),
        one_time_prekey_id=0,
        signature=bytes(64),
        kem_prekey=b"\xff" * 1_184,
        kem_prekey_signature=bytes(64),
    )
    steps: list[tuple[type[CryptoError], dict[str, Any]]] = [
        (InvalidKey, {"one_time_prekey_id": true.one_time_prekey_id}),
        (InvalidSignature, {"signature": old.signature}),
        (StaleBundle, {"made_at": true.made_at, "signature": true.signature}),
        (InvalidSignature, {"kem_prekey_signature": BOB.identity.sign(labels.KEM_PREKEY + b"\xff" * 1_184)}),
        (InvalidKey, {"one_time_prekey": true.one_time_prekey}),
        (
            InvalidKey,
            {"kem_prekey": BOB.kem.public, "kem_prekey_signature": BOB.kem.signature},
        ),
    ]
    for error, repaired in steps:
        with pytest.raises(CryptoError) as caught:
            initiate(found)
        assert caught.type is error
        found = replace(found, **repaired)
    assert found == true
    initiate(found)


def test_session_is_named_by_the_ephemeral_key_and_is_not_classical() -> None:
    alice = begin()
    assert alice.pending is not None
    assert alice.id == alice.pending.ephemeral
    assert (alice.initiated, alice.classical) == (True, False)
