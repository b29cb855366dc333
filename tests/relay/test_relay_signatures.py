import base64

import pytest

from phantom_messenger.relay import signatures
from support.people import key_text
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


def test_wycheproof_points_of_low_order_are_not_usable() -> None:
    found = {False: 0, True: 0}
    for group in vectors("wycheproof/x25519_test.json")["testGroups"]:
        for case in group["tests"]:
            key, shared = bytes.fromhex(case["public"]), bytes.fromhex(case["shared"])
            usable = any(shared)
            found[usable] += 1
            assert signatures.is_usable_x25519(key) is usable, case["tcId"]
    assert min(found.values()) > 10


def test_ordinary_keys_are_usable() -> None:
    for number in range(100):
        assert signatures.is_usable_x25519(base64.b64decode(key_text(str(number))))
