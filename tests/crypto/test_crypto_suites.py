"""Whoever holds sessions of either suite gets what the suite's own module does, and never one suite for the other."""

from collections.abc import Callable
from typing import Any, Final

import crypto_samples as suite1
import pytest
import suite2_samples as suite2
from crypto_samples import BOB, NOW, randomness

from phantom_messenger.crypto import padding, prekeys, session, session2, suites
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage, UnknownSuite
from phantom_messenger.crypto.ratchet import MAX_SKIPPED_AGE_MS
from phantom_messenger.crypto.suites import AnySession

MODULES: Final[dict[int, Any]] = {1: session, 2: session2}
ESTABLISHED: Final[dict[int, Callable[[], tuple[AnySession, AnySession]]]] = {
    1: suite1.established,
    2: suite2.established,
}
EACH: Final = pytest.mark.parametrize("suite", [1, 2])


@EACH
def test_message_is_written_and_read_as_by_the_module_of_its_suite(suite: int) -> None:
    alice, bob = ESTABLISHED[suite]()
    module = MODULES[suite]
    assert suites.suite_of(alice) == suites.suite_of(bob) == suite
    content = padding.pad(b"hello")
    after, message = suites.encrypt(alice, content, randomness("writer"))
    assert (after, message) == module.encrypt(alice, content, randomness("writer"))
    parsed = suites.parse(message)
    assert suites.suite_of(parsed) == message[0] == suite
    read = suites.decrypt(bob, parsed, random=randomness("reader"), now=NOW + 5)
    assert read == module.decrypt(bob, parsed, random=randomness("reader"), now=NOW + 5)
    assert read[1] == content


@EACH
def test_session_is_stored_and_loaded_whole(suite: int) -> None:
    alice, _ = ESTABLISHED[suite]()
    assert suites.dump(alice) == MODULES[suite].dump(alice)
    assert suites.load(suites.dump(alice)) == alice


@EACH
def test_keys_that_are_too_old_are_forgotten(suite: int) -> None:
    alice, bob = ESTABLISHED[suite]()
    alice, _ = suites.encrypt(alice, padding.pad(b"lost"), randomness("lost"))
    _, message = suites.encrypt(alice, padding.pad(b"read"), randomness("read"))
    bob, _ = suites.decrypt(bob, suites.parse(message), random=randomness("reader"), now=NOW)
    assert len(bob.ratchet.mkskipped) == 1
    assert suites.forget_old(bob, NOW + MAX_SKIPPED_AGE_MS) is bob
    assert not suites.forget_old(bob, NOW + MAX_SKIPPED_AGE_MS + 1).ratchet.mkskipped


@EACH
def test_message_of_the_other_suite_is_refused_by_any_session(suite: int) -> None:
    alice, _ = ESTABLISHED[suite]()
    _, bob = ESTABLISHED[3 - suite]()
    _, message = suites.encrypt(alice, padding.pad(b"hello"), randomness("writer"))
    with pytest.raises(UndecryptableMessage, match="another suite"):
        suites.decrypt(bob, suites.parse(message), random=randomness("reader"), now=NOW)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", InvalidMessage),
        (b"\0", UnknownSuite),
        (b"\1", InvalidMessage),
        (b"\2", InvalidMessage),
        (b"\3", UnknownSuite),
    ],
)
def test_first_byte_tells_the_suite(message: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        suites.parse(message)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x91\xa1x", b"\x91" * 5_000])
def test_what_is_no_stored_session_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        suites.load(data)


def test_owner_signs_the_bundle_that_an_initiator_checks() -> None:
    lasting = suite2.LAST_RESORT[BOB.id]
    made = suite2.bundle()
    signature = prekeys.sign_bundle(BOB.identity, BOB.signed, lasting, made_at=NOW, user_id=BOB.id)
    assert signature == made.signature
    made.verify(now=NOW, newest=0)


@pytest.mark.parametrize("made_at", [0, 1])
def test_bundle_of_the_first_moment_of_1970_is_judged_by_its_age_alone(made_at: int) -> None:
    suite2.bundle(made_at=made_at).verify(now=1, newest=0)
