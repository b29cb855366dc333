import base64

from phantom_messenger.relay import public_keys
from support.people import key_text
from support.vectors import vectors


def test_wycheproof_points_of_low_order_are_not_usable() -> None:
    found = {False: 0, True: 0}
    for group in vectors("wycheproof/x25519_test.json")["testGroups"]:
        for case in group["tests"]:
            key, shared = bytes.fromhex(case["public"]), bytes.fromhex(case["shared"])
            usable = any(shared)
            found[usable] += 1
            assert public_keys.is_usable_x25519(key) is usable, case["tcId"]
    assert min(found.values()) > 10


def test_ordinary_keys_are_usable() -> None:
    for number in range(100):
        assert public_keys.is_usable_x25519(base64.b64decode(key_text(str(number))))


def test_ed25519_key_is_a_canonical_point_of_the_prime_order_group() -> None:
    base = bytes.fromhex("58" + "66" * 31)
    assert public_keys.is_usable_ed25519(base)
    for odd in (bytes([1]) + bytes(31), bytes(32), (2**255 - 19 + 3).to_bytes(32, "little"), b"\xff" * 32):
        assert not public_keys.is_usable_ed25519(odd)
