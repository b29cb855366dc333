"""The cases of Wycheproof, run through this room's own wrappers, and keys that nobody should use at every place."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import crypto_samples as samples
import pytest
from crypto_samples import BOB, SMALL_ORDER_X25519, P, cases, initiate
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from ratchet_samples import start

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidSignature, UndecryptableMessage
from phantom_messenger.crypto.keys import PeerIdentity
from phantom_messenger.crypto.ratchet import RatchetHeader
from phantom_messenger.labels import SIGNED_PREKEY
from support.structs import replace

Case = dict[str, Any]


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def refuses(refusal: type[Exception], call: Callable[..., object], *arguments: bytes) -> bool:
    try:
        call(*arguments)
    except refusal:
        return True
    return False


# --- whether one case comes out as its file says ----------------------------------


def ed25519(group: Case, case: Case) -> bool:
    key, signature, message = raw(group["publicKey"]["pk"]), raw(case["sig"]), raw(case["msg"])
    refused = refuses(InvalidSignature, primitives.ed25519_verify, key, signature, message)
    return refused is (case["result"] == "invalid")


def x25519(_: Case, case: Case) -> bool:
    private, public, shared = (raw(case[name]) for name in ("private", "public", "shared"))
    if shared == bytes(32) or int.from_bytes(public, "little") >= P:  # RFC 7748 would take the latter
        return refuses(InvalidKey, primitives.x25519, private, public)
    return primitives.x25519(private, public) == shared


def aes_256_gcm(_: Case, case: Case) -> bool:
    key, nonce, aad, plaintext = (raw(case[name]) for name in ("key", "iv", "aad", "msg"))
    sealed = raw(case["ct"] + case["tag"])
    if case["result"] == "invalid":
        return refuses(UndecryptableMessage, primitives.unseal, key, nonce, sealed, aad)
    sealed_here = primitives.seal(key, nonce, plaintext, aad)
    return sealed_here == sealed and primitives.unseal(key, nonce, sealed, aad) == plaintext


def hkdf(_: Case, case: Case) -> bool:
    def derive() -> bytes:
        return primitives.hkdf(raw(case["ikm"]), salt=raw(case["salt"]), info=raw(case["info"]), length=case["size"])

    if case["result"] == "invalid":
        return refuses(ValueError, derive)
    return derive() == raw(case["okm"])


def hmac(group: Case, case: Case) -> bool:
    tag = primitives.hmac_sha256(raw(case["key"]), raw(case["msg"]))[: group["tagSize"] // 8]
    return (tag == raw(case["tag"])) is (case["result"] == "valid")


def kem_key(_: Case, case: Case) -> bool:
    return primitives.kem_public(raw(case["seed"])) == raw(case["ek"])


def kem_decapsulation(_: Case, case: Case) -> bool:
    seed, ciphertext = raw(case["seed"]), raw(case["c"])
    if case["result"] == "invalid":
        return refuses(InvalidKey, primitives.kem_decapsulate, seed, ciphertext)
    return primitives.kem_decapsulate(seed, ciphertext) == raw(case["K"])


def kem_encapsulation(_: Case, case: Case) -> bool:
    """Whether the key is taken. What comes out is random here; ``test_crypto_kem_oracle`` sees to that."""
    refused = refuses(InvalidKey, primitives.kem_encapsulate, raw(case["ek"]))
    return refused is (case["result"] == "invalid")


SIZES: Final = {"keySize": 256, "ivSize": 96, "tagSize": 128}
"""The only ones of AES-GCM that are used here."""

USED: Final[dict[str, tuple[Callable[[Case, Case], bool], int, dict[str, int]]]] = {
    "ed25519_test.json": (ed25519, 151, {"valid": 88, "invalid": 63}),
    "x25519_test.json": (x25519, 518, {"valid": 264, "acceptable": 254}),
    "aes_gcm_test.json": (aes_256_gcm, 316, {"valid": 39, "invalid": 27}),
    "hkdf_sha256_test.json": (hkdf, 86, {"valid": 83, "invalid": 3}),
    "hmac_sha256_test.json": (hmac, 174, {"valid": 66, "invalid": 108}),
    "mlkem_768_keygen_seed_test.json": (kem_key, 100, {"valid": 100}),
    "mlkem_768_test.json": (kem_decapsulation, 193, {"valid": 153, "invalid": 40}),
    "mlkem_768_encaps_test.json": (kem_encapsulation, 265, {"valid": 133, "invalid": 132}),
}
"""Of each file: the wrapper, the cases in it, and those that are run, by the file's own verdict."""

NOT_WRAPPED: Final = {"chacha20_poly1305_test.json": 325}


def wrong(file: str) -> list[int]:
    """The cases that do not come out as they should."""
    check, number, verdicts = USED[file]
    every = cases(f"wycheproof/{file}")
    assert len(every) == number
    if file == "aes_gcm_test.json":
        every = [(group, case) for group, case in every if SIZES.items() <= group.items()]
    results = [case["result"] for _, case in every]
    assert {verdict: results.count(verdict) for verdict in results} == verdicts
    return [case["tcId"] for group, case in every if not check(group, case)]


@pytest.mark.parametrize("file", USED)
def test_every_case_of_wycheproof_comes_out_as_it_should(file: str) -> None:
    assert wrong(file) == []


def test_every_file_is_used_or_is_of_a_primitive_that_is_not_wrapped() -> None:
    samples.vectors("wycheproof/x25519_test.json")
    files = {file.name for file in (samples.VECTORS / "wycheproof").iterdir()}
    assert files == {*USED, *NOT_WRAPPED}
    assert len(files) == 9
    assert [name for name in vars(primitives) if "chacha" in name.lower()] == []
    for file, number in NOT_WRAPPED.items():
        assert len(cases(f"wycheproof/{file}")) == number


def test_31_shared_secrets_of_zero_are_refused() -> None:
    zeros = [case for _, case in cases("wycheproof/x25519_test.json") if raw(case["shared"]) == bytes(32)]
    assert len(zeros) == 31
    assert [case["tcId"] for case in zeros if "ZeroSharedSecret" not in case["flags"]] == []
    for case in zeros:
        with pytest.raises(InvalidKey):
            primitives.x25519(raw(case["private"]), raw(case["public"]))


# --- the same with a wrapper that errs --------------------------------------------


def scalarmult_without_check(private: bytes, public: bytes) -> bytes:
    """X25519 whose result may be zero."""
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return bytes(32)


class GcmWithoutTag:
    """It decrypts whatever the tag says."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def encrypt(self, nonce: bytes, plaintext: bytes, _: bytes) -> bytes:
        return self.decrypt(nonce, plaintext + bytes(16), b"") + bytes(16)

    def decrypt(self, nonce: bytes, ciphertext: bytes, _: bytes) -> bytes:
        return Cipher(AES256(self.key), CTR(nonce + (2).to_bytes(4))).decryptor().update(ciphertext[:-16])


class KemWithoutCheck:
    """It takes every key."""

    @classmethod
    def from_public_bytes(cls, _: bytes) -> "KemWithoutCheck":
        return cls()

    def encapsulate(self) -> tuple[bytes, bytes]:
        return bytes(32), bytes(1088)


class KemWithoutRejection:
    """Every ciphertext has the same secret."""

    @classmethod
    def from_seed_bytes(cls, _: bytes) -> "KemWithoutRejection":
        return cls()

    def decapsulate(self, _: bytes) -> bytes:
        return bytes(32)

    def public_key(self) -> "KemWithoutRejection":
        return self

    def public_bytes_raw(self) -> bytes:
        return bytes(1184)


class AnyLength:
    """HKDF that fills up with zeros what it cannot derive."""

    def __init__(self, *, length: int, **_: object) -> None:
        self.length = length

    def derive(self, _: bytes) -> bytes:
        return bytes(self.length)


ERRORS: Final[dict[str, tuple[str, object, int]]] = {
    "ed25519_test.json": ("crypto_sign_open", lambda signed, _: signed[64:], 51),
    "x25519_test.json": ("crypto_scalarmult", scalarmult_without_check, 15),
    "aes_gcm_test.json": ("AESGCM", GcmWithoutTag, 65),
    "hkdf_sha256_test.json": ("HKDF", AnyLength, 86),
    "hmac_sha256_test.json": ("hmac_sha256", lambda _, message: message.ljust(32)[:32], 66),
    "mlkem_768_keygen_seed_test.json": ("MLKEM768PrivateKey", KemWithoutRejection, 100),
    "mlkem_768_test.json": ("MLKEM768PrivateKey", KemWithoutRejection, 193),
    "mlkem_768_encaps_test.json": ("MLKEM768PublicKey", KemWithoutCheck, 132),
}
"""Of each file: what is put in the place of what in the wrappers, and how many cases then come out wrong."""


@pytest.mark.parametrize("file", USED)
def test_control_wrapper_that_errs_is_noticed(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken, number = ERRORS[file]
    monkeypatch.setattr(primitives, name, broken)
    assert len(wrong(file)) == number


# --- keys of small order, and in a form that is not canonical ---------------------


def in_dh1_of_the_initiator(key: bytes) -> None:
    signature = BOB.identity.sign(SIGNED_PREKEY + key)
    initiate(replace(BOB.bundle(), signed_prekey=key, signed_prekey_signature=signature))


def in_dh4_of_the_initiator(key: bytes) -> None:
    initiate(replace(BOB.bundle(), one_time_prekey=key))


def in_dh2_dh3_dh4_of_the_responder(key: bytes) -> None:
    samples.respond(replace(initiate(BOB.bundle())[0], ephemeral=key))


def in_a_ratchet_header(key: bytes) -> None:
    pair = start()
    pair.exchange()
    pair.bob.receive((RatchetHeader(key, 0, 0), bytes(28)))


PLACES: Final = {
    "signed prekey": in_dh1_of_the_initiator,
    "one-time prekey": in_dh4_of_the_initiator,
    "ephemeral": in_dh2_dh3_dh4_of_the_responder,
    "ratchet header": in_a_ratchet_header,
}
"""Where an X25519 key of somebody else comes in."""


def test_keys_of_small_order_are_all_and_in_every_form() -> None:
    values = {int.from_bytes(key, "little") for key in SMALL_ORDER_X25519}
    assert len(values) == len(SMALL_ORDER_X25519) == 14
    assert {value % 2**255 % P for value in values} == {value for value in values if value < P}
    # In a form that is not canonical: not reduced, or with the bit that is not used.
    assert len([value for value in values if value >= P]) == 9


@pytest.mark.parametrize("place", PLACES)
def test_key_of_small_order_is_refused_at_every_place_and_in_every_form(place: str) -> None:
    for key in SMALL_ORDER_X25519:
        with pytest.raises(InvalidKey):
            PLACES[place](key)


@pytest.mark.parametrize("place", PLACES)
def test_control_without_the_check_a_key_of_small_order_comes_through(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primitives, "crypto_scalarmult", scalarmult_without_check)
    monkeypatch.setattr(primitives, "_FIELD", 2**256)
    for key in SMALL_ORDER_X25519:
        with suppress(UndecryptableMessage):  # the ratchet goes on to the message, which is none
            PLACES[place](key)


NOT_CANONICAL_X25519: Final = [value.to_bytes(32, "little") for value in (P + 9, 2**255 + 9, 2**255 + P + 9)]
"""The base point in its three other forms."""


@pytest.mark.parametrize("place", PLACES)
def test_key_in_a_form_that_is_not_canonical_is_refused_at_every_place(place: str) -> None:
    for key in NOT_CANONICAL_X25519:
        with pytest.raises(InvalidKey):
            PLACES[place](key)


@pytest.mark.parametrize("place", PLACES)
def test_control_without_the_check_it_comes_through(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives, "_FIELD", 2**256)
    for key in NOT_CANONICAL_X25519:
        with suppress(UndecryptableMessage):
            PLACES[place](key)


NOT_CANONICAL_ED25519: Final = [
    (P + y | sign).to_bytes(32, "little") for y in range(2**255 - P) for sign in (0, 2**255)
]
"""All 38 of them."""


def test_identity_in_a_form_that_is_not_canonical_is_refused_on_both_sides() -> None:
    assert len(NOT_CANONICAL_ED25519) == 38
    header, _ = initiate(BOB.bundle())
    for key in NOT_CANONICAL_ED25519:
        with pytest.raises(InvalidKey):
            _ = PeerIdentity(key).agreement_key
        with pytest.raises(InvalidKey):
            samples.respond(replace(header, identity=PeerIdentity(key)))
        with pytest.raises(CryptoError):
            initiate(replace(BOB.bundle(), identity=PeerIdentity(key)))


def test_control_with_a_map_that_takes_everything_it_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives, "crypto_sign_ed25519_pk_to_curve25519", lambda _: BOB.signed.pair.public)
    assert all(PeerIdentity(key).agreement_key for key in NOT_CANONICAL_ED25519)


@pytest.mark.parametrize("place", ["ephemeral", "ratchet key"])
def test_nobody_can_bring_a_key_of_a_message_into_another_form(place: str) -> None:
    """Diffie-Hellman by RFC 7748 section 5 would give the same result."""
    start_ = samples.begin(BOB.bundle())
    assert start_.pending is not None
    _, message = samples.encrypt(start_, b"hello")
    offset = message.index(start_.pending.ephemeral if place == "ephemeral" else start_.ratchet.dhs.public)
    other = samples.flipped(message, offset + 31, 7)
    keys = [data[offset : offset + 32] for data in (message, other)]
    assert scalarmult_without_check(bytes(32), keys[0]) == scalarmult_without_check(bytes(32), keys[1])
    with pytest.raises(InvalidKey):
        samples.accept(other)
    assert samples.accept(message)[1] == b"hello"
