"""Identities, purposes, and that nothing secret is ever printed."""

import base64
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass
from enum import Enum
from typing import Final

import crypto_samples as samples
import msgspec
import pytest
import suite2_samples as suite2
from crypto_samples import ALICE, BOB, begin, decrypt, encrypt, established

from phantom_messenger import crypto, labels
from phantom_messenger.crypto import handshake, head, primitives, ratchet, session, session2, suites
from phantom_messenger.crypto.errors import CryptoError, InvalidSignature
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, SignedPreKey
from phantom_messenger.wire import signing
from support.cases import each
from support.structs import replace

MODULES: Final = [
    importlib.import_module(f"{crypto.__name__}.{module.name}") for module in pkgutil.iter_modules(crypto.__path__)
]


# --- identities and purposes ------------------------------------------------------


@pytest.mark.parametrize("someone", [ALICE, BOB], ids=["alice", "bob"])
def test_user_id_is_the_one_that_the_wire_certifies(someone: samples.Person) -> None:
    peer = someone.identity.peer
    assert base64.b64encode(peer.user_id).decode() == signing.certified_user_id(peer.public)


def test_prekey_signatures_are_over_the_bytes_that_the_wire_names() -> None:
    peer = BOB.identity.peer
    peer.verify(BOB.signed.signature, signing.signed_prekey_bytes(BOB.signed.pair.public))
    peer.verify(BOB.kem.signature, signing.kem_prekey_bytes(BOB.kem.public))


def every_label() -> list[bytes]:
    return [
        value
        for module in (*MODULES, labels)
        for value in vars(module).values()
        if isinstance(value, bytes) and value.startswith(b"phantom/1 ")
    ]


def test_every_label_is_used_for_one_purpose_and_begins_no_other() -> None:
    every = every_label()
    assert set(every) >= {handshake.PQXDH_INFO, handshake.X3DH_INFO, handshake.ASSOCIATED_DATA}
    assert set(every) >= {ratchet.ROOT_INFO, ratchet.MESSAGE_INFO, labels.SIGNED_PREKEY, labels.ENVELOPE}
    for label in every:
        assert label.index(b"\n") == len(label) - 1
        assert [other for other in every if other.startswith(label)] == [label]


def test_signature_verifies_under_its_own_identity_alone() -> None:
    signature = ALICE.identity.sign(b"text")
    ALICE.identity.peer.verify(signature, b"text")
    for peer, message in ((BOB.identity.peer, b"text"), (ALICE.identity.peer, b"texts")):
        with pytest.raises(InvalidSignature):
            peer.verify(signature, message)


def test_prekeys_are_made_again_from_the_same_secret() -> None:
    assert SignedPreKey.make(BOB.identity, 11, BOB.signed.pair.private) == BOB.signed
    assert KemPreKey.make(BOB.identity, 33, BOB.kem.seed) == BOB.kem
    assert OwnIdentity(BOB.identity.seed).peer == BOB.identity.peer
    assert OwnIdentity(BOB.identity.seed).agreement_key == BOB.identity.agreement_key


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secret_of_another_length_makes_no_key(size: int) -> None:
    with pytest.raises(ValueError, match=r"seed|32 bytes"):
        OwnIdentity(bytes(size))
    with pytest.raises(ValueError, match=r"seed|32 bytes"):
        KeyPair.from_private(bytes(size))


# --- secrets do not print ---------------------------------------------------------


def everything() -> list[object]:
    """At least one object of every class of this room, with all the secrets it can hold."""
    pending = begin(BOB.bundle())
    alice, bob = established()
    alice, _ = encrypt(alice, b"lost")
    alice, message = encrypt(alice, b"there")
    parsed = session.parse(message)
    bob, _ = session.decrypt(bob, parsed, random=samples.randomness("bob"), now=samples.NOW)
    assert bob.ratchet.mkskipped
    assert bob.ratchet.ckr
    header, agreement = handshake.initiate(
        ALICE.identity, KeyPair.from_private(bytes(32)), BOB.bundle(), own_id=ALICE.id, peer_id=BOB.id
    )
    stored = msgspec.msgpack.decode(session.dump(bob), type=session._Stored)
    version = msgspec.msgpack.decode(session.dump(bob), type=suites._Version)
    people = [value for someone in (ALICE, BOB) for value in vars(someone).values()]
    return [
        *people,
        *(ALICE.identity.peer, BOB.signed.pair, BOB.bundle(), header, agreement, parsed, parsed.header, stored),
        version,
        *(next(iter(bob.ratchet.mkskipped.values())), stored.skipped[0]),
        *(state for owner in (pending, alice, bob) for state in (owner, owner.ratchet)),
        *everything_of_suite_2(),
    ]


def everything_of_suite_2() -> list[object]:
    """The same of suite 2: one that has offered a KEM key, and one that has answered."""
    bob, alice, message = suite2.answered_offer()
    answer = head.parse(suite2.encrypt(alice, b"text")[1])
    offer = head.parse(message)
    skipping, _ = suite2.decrypt(bob, suite2.encrypt(suite2.encrypt(alice, b"lost")[0], b"there")[1])
    stored = [msgspec.msgpack.decode(session2.dump(state), type=session2._Stored) for state in (bob, skipping)]
    assert stored[0].seed
    assert stored[1].skipped
    states = [state for owner in (bob, alice, skipping) for state in (owner, owner.kem, owner.ratchet)]
    return [suite2.bundle(), offer, offer.part, answer, answer.part, *stored, *stored[1].skipped, *states]


SECRET_NAMES: Final = ("seed", "private", "secret", "rk", "cks", "ckr", "dhs", "mk")


def secrets_of(value: object) -> Iterator[bytes]:
    """The secret bytes in an object, at any depth."""
    inner = [getattr(value, name, None) for name in SECRET_NAMES]
    yield from (part for part in inner if isinstance(part, bytes) and part)
    if isinstance(value, OwnIdentity):
        yield value.agreement_key
    if is_dataclass(value):
        for field in fields(value):
            yield from secrets_of(getattr(value, field.name))
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets_of(getattr(value, name))
    if isinstance(value, ratchet.RatchetState):
        yield from (kept.mk for kept in value.mkskipped.values())
    if isinstance(value, session._Stored | session2._Stored):
        yield from (kept.mk for kept in value.skipped)


def shows(text: str, secret: bytes) -> bool:
    forms = (repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode(), str(int.from_bytes(secret)))
    return any(form in text for form in forms)


def test_control_secrets_are_found_where_they_are_shown() -> None:
    pair = BOB.signed.pair
    for text in (repr(pair.private), f"x{pair.private.hex()}y", str([1, pair.private])):
        assert shows(text, pair.private)
    assert list(secrets_of(pair)) == [pair.private]
    assert BOB.identity.agreement_key in list(secrets_of(BOB.identity))
    assert len(list(secrets_of(established()[1]))) == 4


def test_every_class_is_looked_at() -> None:
    classes = {
        value
        for module in MODULES
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not issubclass(value, Exception | Enum)
    }
    # A cipher's key is in the library's hands: what is asked of values here is asked of it below.
    assert {type(value) for value in everything()} == classes - {primitives.Cipher}


def test_cipher_does_not_show_its_key() -> None:
    key = bytes(range(200, 232))
    cipher = primitives.Cipher(key)
    assert not any(shows(f"{form(cipher)} {vars(cipher)}", key) for form in (repr, str))


def test_values_cannot_be_changed() -> None:
    for value in everything():
        if is_dataclass(value):
            for field in fields(value):
                with pytest.raises(FrozenInstanceError):
                    setattr(value, field.name, None)
        elif isinstance(value, msgspec.Struct) and value.__struct_config__.frozen:
            for name in value.__struct_fields__:
                with pytest.raises(AttributeError):
                    setattr(value, name, None)
        assert not hasattr(value, "__dict__")


@each("index", range(len(everything())), ids=[type(value).__name__ for value in everything()])
def test_no_object_prints_a_secret(index: int) -> None:
    value = everything()[index]
    secrets = list(secrets_of(value))
    for text in (repr(value), str(value), f"{value}", repr([value]), repr({1: (value,)})):
        assert [name for name in secrets if shows(text, name)] == []


def test_no_error_tells_a_secret() -> None:
    alice, bob = established()
    _, message = encrypt(alice, b"the text")
    secrets = [*secrets_of(alice), *secrets_of(bob), *secrets_of(BOB.identity), *secrets_of(BOB.kem), b"the text"]
    assert len(secrets) > 8
    attempts: list[Callable[[], object]] = [
        lambda: decrypt(bob, samples.flipped(message, len(message) - 1, 0)),
        lambda: decrypt(bob, samples.flipped(message, 41, 0)),
        lambda: decrypt(bob, bytes([1, 0]) + bytes(60)),
        lambda: decrypt(alice, message),
        lambda: session.parse(message[:20]),
        lambda: session.load(session.dump(bob)[:-1]),
        lambda: samples.initiate(replace(BOB.bundle(), signed_prekey_signature=bytes(64))),
        lambda: samples.initiate(replace(BOB.bundle(), one_time_prekey=bytes(32))),
        lambda: samples.respond(replace(samples.initiate(BOB.bundle())[0], signed_prekey_id=12)),
        lambda: samples.respond(replace(samples.initiate(BOB.bundle())[0], kem_ciphertext=bytes(5))),
        lambda: session.load(msgspec.msgpack.encode([*msgspec.msgpack.decode(session.dump(bob))[:-1], 0])),
    ]
    for attempt in attempts:
        with pytest.raises(CryptoError) as caught:
            attempt()
        told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.args)
        assert [secret for secret in secrets if shows(told, secret)] == []
