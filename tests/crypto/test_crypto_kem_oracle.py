"""ML-KEM-768 of our wrappers and of ``kyber_py``, a second implementation of FIPS 203 in plain Python."""

from collections.abc import Callable
from typing import Final

import pytest
from crypto_samples import ALICE, BOB, EPHEMERAL, cases, flipped, randomness, respond
from kyber_py.ml_kem import ML_KEM_768

from phantom_messenger.crypto import handshake, primitives
from support.amounts import amount

NUMBER: Final = amount(25, 250)
FRESH: Final = randomness("seeds of ML-KEM")
SEEDS: Final = [bytes(64), b"\xff" * 64, *(FRESH(64) for _ in range(NUMBER - 2))]


def their_keys(seed: bytes) -> tuple[bytes, bytes]:
    """The public key, and the expanded private one."""
    public, private = ML_KEM_768.key_derive(seed)
    return bytes(public), bytes(private)


def test_oracle_encapsulates_as_wycheproof_says() -> None:
    """Our wrapper draws its own randomness, so that what it makes can be compared only by way of the oracle."""
    valid = [case for _, case in cases("wycheproof/mlkem_768_encaps_test.json") if case["result"] == "valid"]
    assert len(valid) == 133
    for case in valid:
        secret, ciphertext = ML_KEM_768._encaps_internal(bytes.fromhex(case["ek"]), bytes.fromhex(case["m"]))
        assert (secret.hex(), ciphertext.hex()) == (case["K"], case["c"])


def same_keys() -> None:
    for seed in SEEDS:
        assert primitives.kem_public(seed) == their_keys(seed)[0]


def what_we_encapsulate_they_open() -> None:
    for seed in SEEDS:
        public, private = their_keys(seed)
        secret, ciphertext = primitives.kem_encapsulate(public)
        assert ML_KEM_768.decaps(private, ciphertext) == secret


def what_they_encapsulate_we_open() -> None:
    for seed in SEEDS:
        secret, ciphertext = ML_KEM_768.encaps(primitives.kem_public(seed))
        assert primitives.kem_decapsulate(seed, ciphertext) == secret


def both_reject_alike() -> None:
    """A forged ciphertext gives both the same secret, made of z and the ciphertext (FIPS 203 algorithm 18)."""
    for number, seed in enumerate(SEEDS):
        _, private = their_keys(seed)
        secret, ciphertext = primitives.kem_encapsulate(primitives.kem_public(seed))
        forged = flipped(ciphertext, 43 * number % len(ciphertext), number % 8)
        rejected = primitives.kem_decapsulate(seed, forged)
        assert rejected != secret
        assert ML_KEM_768.decaps(private, forged) == rejected


CHECKS: Final = [same_keys, what_we_encapsulate_they_open, what_they_encapsulate_we_open, both_reject_alike]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.replace("_", " "))
def test_both_do_the_same(check: Callable[[], None]) -> None:
    check()


def _with_another_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """d and z exchanged."""
    public, opened = primitives.kem_public, primitives.kem_decapsulate
    monkeypatch.setattr(primitives, "kem_public", lambda seed: public(seed[32:] + seed[:32]))
    monkeypatch.setattr(primitives, "kem_decapsulate", lambda seed, c: opened(seed[32:] + seed[:32], c))


def _with_another_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    made, opened = primitives.kem_encapsulate, primitives.kem_decapsulate
    monkeypatch.setattr(primitives, "kem_encapsulate", lambda key: (bytes(32), made(key)[1]))
    monkeypatch.setattr(primitives, "kem_decapsulate", lambda seed, c: opened(seed, c)[::-1])


NOTICED_BY: Final = {
    same_keys: _with_another_seed,
    what_we_encapsulate_they_open: _with_another_secret,
    what_they_encapsulate_we_open: _with_another_secret,
    both_reject_alike: _with_another_secret,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.replace("_", " "))
def test_control_wrapper_that_errs_is_noticed(check: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    NOTICED_BY[check](monkeypatch)
    with pytest.raises(AssertionError):
        check()


def test_handshake_with_a_ciphertext_of_the_oracle_gives_both_sides_the_same_secret() -> None:
    made = []

    def encapsulate(public: bytes) -> tuple[bytes, bytes]:
        made.append(ML_KEM_768.encaps(public))
        secret, ciphertext = made[-1]
        return bytes(secret), bytes(ciphertext)

    header, agreement = handshake.initiate(
        ALICE.identity, EPHEMERAL, BOB.bundle(), own_id=ALICE.id, peer_id=BOB.id, encapsulate=encapsulate
    )
    assert [header.kem_ciphertext] == [ciphertext for _, ciphertext in made]
    assert agreement.post_quantum
    assert respond(header) == agreement
