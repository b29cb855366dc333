import random
from typing import Final

import pytest
from cryptography.exceptions import InvalidSignature as Lenient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey as LenientKey
from nacl.bindings import crypto_sign, crypto_sign_open, crypto_sign_seed_keypair
from nacl.exceptions import BadSignatureError

from phantom_messenger.relay import signatures
from support.vectors import vectors

SPECCHECK_ACCEPTED = 3
"""The one case of "Taming the many EdDSAs" that a strict check accepts."""


@pytest.mark.parametrize("number", range(12))
def test_speccheck_case(number: int) -> None:
    case = vectors("ed25519-speccheck/cases.json")[number]
    key, signature, message = (bytes.fromhex(case[name]) for name in ("pub_key", "signature", "message"))
    assert signatures.verify([(key, signature, message)]) == [number == SPECCHECK_ACCEPTED]


def test_wycheproof_cases_have_their_verdict() -> None:
    for group in vectors("wycheproof/ed25519_test.json")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            if len(signature) == 64:  # the codec lets no other length through
                verdict = signatures.verify([(key, signature, message)])
                assert verdict == [case["result"] == "valid"], case["tcId"]


def test_verdicts_of_a_batch_stand_in_its_order() -> None:
    cases = vectors("ed25519-speccheck/cases.json")
    batch = [
        (bytes.fromhex(case["pub_key"]), bytes.fromhex(case["signature"]), bytes.fromhex(case["message"]))
        for case in cases
    ]
    expected = [number == SPECCHECK_ACCEPTED for number in range(12)]
    assert signatures.verify(batch * 3) == expected * 3
    assert signatures.verify([]) == []


# --- the same verdicts as libsodium -----------------------------------------------

P: Final = 2**255 - 19
L: Final = 2**252 + 27742317777372353535851937790883648493
SECRET: Final = crypto_sign_seed_keypair(bytes(range(32)))[1]


def by_libsodium(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def encoded(y: int, sign: int) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


SMALL: Final = [
    *(encoded(y, sign) for y in (0, 1, P - 1, P, P + 1) for sign in (0, 1)),
    *(bytes.fromhex(one) for one in ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",)),
    *(bytes.fromhex(one) for one in ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",)),
]
"""Encodings of points of order 1, 2, 4 and 8, canonical and not."""


def odd_signatures() -> list[tuple[bytes, bytes, bytes]]:
    """Triples in which one thing is as it should not be, and a good one."""
    chance = random.Random(1)  # noqa: S311 - the same in every run
    message = b"message"
    key, good = SECRET[32:], crypto_sign(message, SECRET)[:64]
    s = int.from_bytes(good[32:], "little")
    points = [*SMALL, *(encoded(P + y, sign) for y in range(19) for sign in (0, 1))]
    points += [encoded(y, sign) for y in range(2, 40) for sign in (0, 1)]
    found = [(key, good, message), (key, good, b"massage")]
    found += [(point, good, message) for point in points]
    found += [(key, point + good[32:], message) for point in points]
    found += [(point, point + bytes(32), message) for point in points]
    found += [(point, other + bytes(32), bytes([n])) for point in SMALL for other in SMALL for n in range(8)]
    found += [(key, good[:32] + (s + k * L).to_bytes(32, "little"), message) for k in range(16)]
    found += [(key[:n], good, message) for n in (0, 31)] + [(key, good[:n], message) for n in (0, 32, 63)]
    found += [(key + b"m", good, message[1:]), (key, good + b"m", message[1:])]
    for _ in range(300):  # a bit flipped somewhere
        parts = [bytearray(key), bytearray(good), bytearray(message)]
        part = chance.choice(parts)
        part[chance.randrange(len(part))] ^= 1 << chance.randrange(8)
        found.append((bytes(parts[0]), bytes(parts[1]), bytes(parts[2])))
    return found


def test_odd_keys_and_signatures_have_the_verdict_of_libsodium() -> None:
    for key, signature, message in odd_signatures():
        wanted = len(key) == 32 and len(signature) == 64 and by_libsodium(key, signature, message)
        assert signatures.verify([(key, signature, message)]) == [wanted], (key.hex(), signature.hex())


def test_control_point_of_order_eight_verifies_without_strictness() -> None:
    """Among the odd ones are some that a check of the equation alone lets through."""
    found = []
    for key, signature, message in odd_signatures():
        try:
            LenientKey.from_public_bytes(key).verify(signature, message)
        except (Lenient, ValueError):
            continue
        found.append(key)
    assert len({key for key in found if key in SMALL}) > 2


def test_verdicts_do_not_depend_on_what_else_is_in_the_batch() -> None:
    """Keys are decoded once for a batch, and none longer than that."""
    checks = odd_signatures()
    assert signatures.verify(checks * 2) == [verdict for check in checks for verdict in signatures.verify([check])] * 2
