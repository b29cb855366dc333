import json
from collections.abc import Callable
from pathlib import Path

import crypto_samples as samples
import pytest
from crypto_samples import IDENTITY_POINT, SMALL_ORDER_ED25519, SMALL_ORDER_X25519, P
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from phantom_messenger.crypto import primitives
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidSignature, UndecryptableMessage

SEED = bytes(range(32))
PUBLIC = primitives.ed25519_public(SEED)
MESSAGE = b"phantom/1 something\nand its content"
SIGNATURE = primitives.ed25519_sign(primitives.ed25519_secret(SEED), MESSAGE)


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def refuses(refusal: type[Exception], call: Callable[..., object], *arguments: bytes) -> bool:
    try:
        call(*arguments)
    except refusal:
        return True
    return False


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    return not refuses(InvalidSignature, primitives.ed25519_verify, public, signature, message)


# --- vectors from outside ---------------------------------------------------------


def test_absent_vectors_skip_but_fail_in_ci(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(samples, "VECTORS", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no a file in"):
        samples.vectors("a file")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no a file in"):
        samples.vectors("a file")
    (tmp_path / "a file").write_text(json.dumps([1]))
    assert samples.vectors("a file") == [1]


def test_only_case_3_of_speccheck_verifies() -> None:
    every = samples.vectors("ed25519-speccheck/cases.json")
    accepted = [
        number
        for number, case in enumerate(every)
        if verifies(raw(case["pub_key"]), raw(case["signature"]), raw(case["message"]))
    ]
    assert (len(every), accepted) == (12, [3])


def test_keys_of_speccheck_with_a_component_of_small_order_agree_on_nothing() -> None:
    """Also that of case 3, which verifies. The key of cases 6 and 7 is good; their S is not."""
    keys = [case["pub_key"] for case in samples.vectors("ed25519-speccheck/cases.json")]
    usable = [
        number
        for number, key in enumerate(keys)
        if not refuses(InvalidKey, primitives.ed25519_to_x25519_public, raw(key))
    ]
    assert usable == [6, 7]


# --- Ed25519 ----------------------------------------------------------------------


def test_signatures_are_judged_without_the_cofactor() -> None:
    """Those with a component of small order in key or R, which verifiers with the cofactor take; the page's, too."""
    every = json.loads((Path(__file__).parent / "ed25519_cofactor.json").read_bytes())
    judged = {case["name"]: verifies(*(raw(case[part]) for part in ("key", "signature", "message"))) for case in every}
    assert judged == {case["name"]: case["verifies"] for case in every}
    assert sum(judged.values()) == 5


def test_universal_signature_of_the_identity_point_never_verifies() -> None:
    universal = IDENTITY_POINT + bytes(32)
    for number in range(100):
        message = b"message %d" % number
        # A verifier that is not strict takes it for every message: the signature is universal.
        Ed25519PublicKey.from_public_bytes(IDENTITY_POINT).verify(universal, message)
        assert not verifies(IDENTITY_POINT, universal, message)


@pytest.mark.parametrize("key", SMALL_ORDER_ED25519, ids=bytes.hex)
def test_key_of_small_order_verifies_nothing_and_agrees_on_nothing(key: bytes) -> None:
    for r in SMALL_ORDER_ED25519:
        for number in range(8):
            assert not verifies(key, r + bytes(32), b"message %d" % number)
    with pytest.raises(InvalidKey):
        primitives.ed25519_to_x25519_public(key)


@pytest.mark.parametrize("key", [b"", PUBLIC[:31], PUBLIC + b"\0", PUBLIC + PUBLIC, bytes(32), b"\xff" * 32])
def test_malformed_identity_key_agrees_on_nothing(key: bytes) -> None:
    with pytest.raises(InvalidKey):
        primitives.ed25519_to_x25519_public(key)


def test_signature_verifies_and_is_64_bytes() -> None:
    assert len(SIGNATURE) == primitives.SIGNATURE_BYTES == 64
    assert verifies(PUBLIC, SIGNATURE, MESSAGE)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["key", "signature", "message"])
def test_no_bit_can_flip(part: int) -> None:
    parts = [PUBLIC, SIGNATURE, MESSAGE]
    for place in range(len(parts[part])):
        for bit in range(8):
            changed = [*parts[:part], samples.flipped(parts[part], place, bit), *parts[part + 1 :]]
            assert not verifies(*changed), (place, bit)


@pytest.mark.parametrize("moved", [1, 10, len(MESSAGE)])
def test_signature_that_swallows_the_start_of_the_message_does_not_verify(moved: int) -> None:
    assert not verifies(PUBLIC, SIGNATURE + MESSAGE[:moved], MESSAGE[moved:])


@pytest.mark.parametrize("left", [0, 1, 32, 63])
def test_signature_whose_end_is_in_the_message_does_not_verify(left: int) -> None:
    assert not verifies(PUBLIC, SIGNATURE[:left], SIGNATURE[left:] + MESSAGE)


def test_key_with_bytes_after_it_verifies_nothing() -> None:
    assert not verifies(PUBLIC + b"\0", SIGNATURE, MESSAGE)


def test_key_without_its_last_byte_verifies_nothing() -> None:
    """Beyond a short key lies memory that is not the key's; here it is known to be zero."""
    seed = next(
        seed for seed in (n.to_bytes(32) for n in range(10_000)) if primitives.ed25519_public(seed).endswith(b"\0")
    )
    public = primitives.ed25519_public(seed)
    assert not verifies(public[:31], primitives.ed25519_sign(primitives.ed25519_secret(seed), MESSAGE), MESSAGE)


# --- X25519 -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scalar", "u", "result"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
)
def test_x25519_gives_the_results_of_rfc_7748_section_5_2(scalar: str, u: str, result: str) -> None:
    *most, last = raw(u)
    assert primitives.x25519(raw(scalar), bytes((*most, last & 0x7F))).hex() == result


@pytest.mark.parametrize("value", [samples.P, samples.P + 9, 2**255 - 1, 2**255 + 9, 2**256 - 1])
def test_diffie_hellman_key_that_is_not_canonical_is_refused(value: int) -> None:
    with pytest.raises(InvalidKey):
        primitives.x25519(SEED, value.to_bytes(32, "little"))


def test_largest_canonical_diffie_hellman_key_is_taken() -> None:
    assert primitives.x25519(SEED, (samples.P - 2).to_bytes(32, "little")) != bytes(32)


def test_x25519_iterated_gives_the_results_of_rfc_7748_section_5_2() -> None:
    k = u = (9).to_bytes(32, "little")
    after = {}
    for times in range(1, 1001):
        k, u = primitives.x25519(k, u), k
        after[times] = k.hex()
    assert after[1] == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert after[1000] == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_x25519_agrees_as_in_rfc_7748_section_6_1() -> None:
    alice = raw("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob = raw("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice_public = raw("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    bob_public = raw("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    shared = raw("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert (primitives.x25519_public(alice), primitives.x25519_public(bob)) == (alice_public, bob_public)
    assert primitives.x25519(alice, bob_public) == primitives.x25519(bob, alice_public) == shared


@pytest.mark.parametrize("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_key_of_small_order_is_refused_by_every_private_key(key: bytes) -> None:
    for private in (SEED, bytes(32), b"\xff" * 32):
        with pytest.raises(InvalidKey):
            primitives.x25519(private, key)


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_diffie_hellman_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidKey):
        primitives.x25519(SEED, b"\x09" * size)
    with pytest.raises(InvalidKey):
        primitives.x25519(b"\x09" * size, (9).to_bytes(32, "little"))
    with pytest.raises(ValueError, match="32 bytes"):
        primitives.x25519_public(b"\x09" * size)


@pytest.mark.parametrize("number", range(20))
def test_image_of_an_identity_belongs_to_the_image_of_its_seed(number: int) -> None:
    seed = number.to_bytes(32)
    public = primitives.ed25519_public(seed)
    image = primitives.ed25519_to_x25519_public(public)
    assert primitives.x25519_public(primitives.ed25519_to_x25519_private(seed)) == image
    y = int.from_bytes(public, "little") & (2**255 - 1)
    assert int.from_bytes(image, "little") == (1 + y) * pow(1 - y, -1, P) % P


# --- KEM and AEAD -----------------------------------------------------------------


def test_sizes_are_those_of_the_standards() -> None:
    assert (primitives.KEY_BYTES, primitives.NONCE_BYTES, primitives.TAG_BYTES) == (32, 12, 16)
    assert primitives.KEM_SEED_BYTES == 64
    assert len(primitives.kem_public(bytes(64))) == primitives.KEM_PUBLIC_BYTES == 1184
    assert len(primitives.seal(bytes(32), bytes(12), b"", b"")) == primitives.TAG_BYTES


def test_kem_secret_reaches_the_owner_and_differs_each_time() -> None:
    seed = bytes(range(64))
    made = [primitives.kem_encapsulate(primitives.kem_public(seed)) for _ in range(2)]
    assert [primitives.kem_decapsulate(seed, ciphertext) for _, ciphertext in made] == [secret for secret, _ in made]
    assert made[0] != made[1]
    assert {(len(secret), len(ciphertext)) for secret, ciphertext in made} == {(32, primitives.KEM_CIPHERTEXT_BYTES)}


def test_forged_kem_ciphertext_gives_an_unrelated_secret() -> None:
    seed = bytes(range(64))
    secret, ciphertext = primitives.kem_encapsulate(primitives.kem_public(seed))
    assert primitives.kem_decapsulate(seed, samples.flipped(ciphertext, 500, 3)) != secret


@pytest.mark.parametrize("size", [0, 1, 15])
def test_ciphertext_shorter_than_its_tag_does_not_authenticate(size: int) -> None:
    with pytest.raises(UndecryptableMessage):
        primitives.unseal(bytes(32), bytes(12), bytes(size), b"")


@pytest.mark.parametrize("change", ["key", "nonce", "ciphertext", "associated"])
def test_aead_opens_only_what_was_sealed(change: str) -> None:
    parts = {"key": SEED, "nonce": bytes(12), "associated": b"associated"}
    sealed = {**parts, "ciphertext": primitives.seal(**parts, plaintext=b"plaintext")}
    assert primitives.unseal(**sealed) == b"plaintext"
    with pytest.raises(CryptoError):
        primitives.unseal(**{**sealed, change: samples.flipped(sealed[change], 0, 0)})
