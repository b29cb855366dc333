import pytest
from crypto_samples import ALICE, BOB, MALLORY, Person, flipped

from phantom_messenger.crypto.safety import grouped, safety_number

# From libsignal's tests of its fingerprints, version 0.
ALICE_KEY = bytes.fromhex("0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")
BOB_KEY = bytes.fromhex("05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")
ALICE_ID = b"+14152222222"
BOB_ID = b"+14153333333"
DISPLAYED = "300354477692869396892869876765458257569162576843440918079131"


def test_safety_number_is_that_of_libsignal() -> None:
    assert safety_number(ALICE_KEY, ALICE_ID, BOB_KEY, BOB_ID) == DISPLAYED
    assert safety_number(BOB_KEY, BOB_ID, ALICE_KEY, ALICE_ID) == DISPLAYED


@pytest.mark.parametrize(
    ("one", "other"),
    [(ALICE, BOB), (ALICE, MALLORY), (BOB, MALLORY)],
    ids=["alice-bob", "alice-mallory", "bob-mallory"],
)
def test_both_sides_see_the_same_60_digits(one: Person, other: Person) -> None:
    seen = [
        safety_number(own.identity.peer.public, own.id, peer.identity.peer.public, peer.id)
        for own, peer in ((one, other), (other, one))
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == 60
    assert set(seen[0]) <= set("0123456789")


def test_safety_number_differs_with_each_key_and_each_id() -> None:
    numbers = {
        safety_number(ALICE_KEY, ALICE_ID, BOB_KEY, BOB_ID),
        safety_number(flipped(ALICE_KEY, 32, 0), ALICE_ID, BOB_KEY, BOB_ID),
        safety_number(ALICE_KEY, flipped(ALICE_ID, 11, 0), BOB_KEY, BOB_ID),
        safety_number(ALICE_KEY, ALICE_ID, flipped(BOB_KEY, 1, 0), BOB_ID),
        safety_number(ALICE_KEY, ALICE_ID, BOB_KEY, flipped(BOB_ID, 0, 7)),
    }
    assert len(numbers) == 5


def test_number_is_shown_in_twelve_groups_of_five() -> None:
    shown = grouped(DISPLAYED)
    assert shown.startswith("30035 44776 92869 ")
    assert [len(group) for group in shown.split(" ")] == [5] * 12
    assert shown.replace(" ", "") == DISPLAYED
