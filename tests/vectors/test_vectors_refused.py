"""What must be refused is refused, with the kind of refusal that is listed and with no other one."""

from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from client_samples import fast_folder
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_scalarmult
from nacl.exceptions import RuntimeError as SodiumError
from vector_refusals import KINDS, Refusals
from vector_replay import Json, people, vectors

from phantom_messenger.crypto import padding, primitives
from phantom_messenger.crypto.errors import InvalidKey, InvalidSignature
from phantom_messenger.wire.codes import RequestError

LISTED: Final = vectors("refused.json")
REFUSED: Final = LISTED["refused"]
CONTROLS: Final = LISTED["controls"]
EVERYBODY: Final = people(vectors("prekeys.json"))


@pytest.fixture
def refusals(tmp_path: Path) -> Refusals:
    return Refusals(EVERYBODY, LISTED, tmp_path)


def assert_refused(refusals: Refusals, case: Json) -> None:
    """Exactly the named error, and nothing else."""
    expect = case["expect"]
    found: Exception | None = None
    try:
        refusals.give(case)
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        found = error
    assert found is not None, "it was accepted"
    if type(found) is not KINDS[expect["error"]]:
        raise AssertionError(f"{type(found).__name__} instead of {expect['error']}") from found
    if isinstance(found, RequestError):
        assert str(found.reason) == expect["reason"]


def test_every_kind_and_every_operation_has_its_refusals_and_its_control(refusals: Refusals) -> None:
    kinds = Counter(case["expect"]["error"] for case in REFUSED)
    assert set(kinds) == set(KINDS)
    assert {case["operation"] for case in REFUSED} == set(refusals.operations)
    assert {case["operation"] for case in CONTROLS} == set(refusals.operations)
    assert len(REFUSED) >= 200
    assert len({case["name"] for case in REFUSED + CONTROLS}) == len(REFUSED) + len(CONTROLS)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case["name"])
def test_it_is_refused(case: Json, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        assert_refused(Refusals(EVERYBODY, LISTED, folder), case)


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case["name"])
def test_control_is_accepted(case: Json, tmp_path: Path) -> None:
    assert case["expect"] == {"accepted": True}
    with fast_folder(tmp_path) as folder:
        Refusals(EVERYBODY, LISTED, folder).give(case)


# --- controls: what is listed, or the code, is another one ------------------------


def red(refusals: Refusals, *operations: str) -> set[str]:
    """Names of the refusals of some operations that are not as listed."""
    found = set()
    for case in REFUSED:
        if case["operation"] in operations:
            try:
                assert_refused(refusals, case)
            except AssertionError:
                found.add(case["name"])
    return found


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case["name"])
def test_control_listed_as_refused_goes_red(case: Json, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder, pytest.raises(AssertionError, match="accepted"):
        assert_refused(Refusals(EVERYBODY, LISTED, folder), {**case, "expect": {"error": "InvalidMessage"}})


@pytest.mark.parametrize("operation", ["verify", "x25519", "initiate", "respond", "parse", "unpad", "content"])
def test_control_another_kind_goes_red(operation: str, refusals: Refusals) -> None:
    for case in REFUSED:
        if case["operation"] == operation:
            with pytest.raises(AssertionError, match="instead of Refused"):
                assert_refused(refusals, {**case, "expect": {"error": "Refused", "reason": "json"}})


def test_control_signatures_that_are_not_checked_strictly_go_red(
    refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lax(public: bytes, signature: bytes, message: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (WrongSignature, ValueError):
            raise InvalidSignature("no") from None

    assert red(refusals, "verify") == set()
    monkeypatch.setattr(primitives, "ed25519_verify", lax)
    assert red(refusals, "verify") == {"verify-small-r", *(f"verify-small-key-{number}" for number in range(14))}


def test_control_keys_that_are_not_canonical_go_red(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    def lax(private: bytes, public: bytes) -> bytes:
        if len(public) != 32:
            raise InvalidKey("no")
        try:
            return crypto_scalarmult(private, public)
        except SodiumError:
            raise InvalidKey("no") from None

    monkeypatch.setattr(primitives, "x25519", lax)
    assert red(refusals, "x25519") == {f"x25519-non-canonical-{number}" for number in range(3)}
    assert red(refusals, "initiate") == {
        "initiate-non-canonical-signed-prekey",
        "initiate-non-canonical-one-time-prekey",
    }


def test_control_keys_outside_the_main_group_go_red(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    def lax(public: bytes) -> bytes:
        y = int.from_bytes(public, "little") % 2**255
        p = 2**255 - 19
        return ((1 + y) * pow(1 - y, p - 2, p) % p).to_bytes(32, "little")

    monkeypatch.setattr(primitives, "ed25519_to_x25519_public", lax)
    assert "agreement-key-mixed-order" in red(refusals, "agreement-key")
    assert red(refusals, "initiate") == {"initiate-mixed-identity"}


def test_control_padding_that_is_not_checked_goes_red(refusals: Refusals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padding, "unpad", lambda padded: padded.rstrip(b"\0")[:-1])
    assert len(red(refusals, "unpad")) >= 3
