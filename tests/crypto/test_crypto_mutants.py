"""What ``make mutants`` found that no other test notices.

The mutants that still survive change nothing that can be seen. HKDF takes no salt, 32 and 33 zeros for the same, and
HMAC another case of the hash's name. A key that is exactly p is refused as contributing nothing, too. Python assumes
big-endian. A time that is now becomes now. Nothing is skipped if nothing is to be skipped, and no chain is dropped if
none is old. 1 is HAS_HANDSHAKE, which is set already. Old keys are forgotten in the ratchet, which both suites have
alike, so either suite's function does it for both. Among what judges contents (``make mutants PACKAGE=content``), a
number of fields in four bytes could be read without the first: none that needs it fits a message.
"""

import crypto_samples as samples
import pytest
from crypto_samples import ALICE, BOB, randomness
from ratchet_samples import ASSOCIATED, SECRET, Side, start

from phantom_messenger.crypto import handshake, primitives, ratchet, session, stored
from phantom_messenger.crypto.errors import InvalidMessage, UndecryptableMessage, UnknownSuite
from phantom_messenger.crypto.handshake import Agreement
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import MAX_NUMBER, RatchetHeader
from support.structs import replace

KEY = b"a secret that is thirty-two long"


# --- primitives -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passphrase", "salt", "work", "expected"),
    [
        (b"password", b"somesalt", (256, 2, 1), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
        (b"password", b"somesalt", (256, 2, 2), "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
        (b"password", b"somesalt", (65_536, 1, 1), "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"),
        (b"password", b"diffsalt", (65_536, 2, 1), "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"),
    ],
)
def test_argon2id_is_that_of_the_reference_implementation(
    passphrase: bytes, salt: bytes, work: tuple[int, int, int], expected: str
) -> None:
    memory_kib, passes, lanes = work
    key = primitives.argon2id(passphrase, salt=salt, memory_kib=memory_kib, passes=passes, lanes=lanes)
    assert key.hex() == expected


# --- handshake --------------------------------------------------------------------


@pytest.mark.parametrize("length", [0x7FFF, 0x8000, 0xFFFF])
def test_length_of_a_user_id_has_sixteen_bits_without_a_sign(length: int) -> None:
    long, short = bytes(length), b"short"
    counted, five = length.to_bytes(2, "big"), b"\0\5"
    sides = ALICE.identity.peer, BOB.identity.peer
    assert handshake.associated_data(*sides, long, short).endswith(counted + long + five + short)
    assert handshake.associated_data(*sides, short, long).endswith(five + short + counted + long)


# --- ratchet ----------------------------------------------------------------------


def test_chain_of_sending_ends_before_its_last_number() -> None:
    alice = start().alice.state
    state, header, _ = ratchet.encrypt(replace(alice, ns=MAX_NUMBER - 1), b"", ASSOCIATED, bytes(12))
    assert (header.n, state.ns) == (MAX_NUMBER - 1, MAX_NUMBER)
    with pytest.raises(UndecryptableMessage):
        ratchet.encrypt(state, b"", ASSOCIATED, bytes(12))


def test_initiator_that_has_heard_nothing_refuses_a_later_message_under_the_signed_prekey() -> None:
    prekey = KeyPair.from_private(KEY)
    own = KeyPair.from_private(randomness("own")(32))
    alice = Side("alice", ratchet.start_initiator(SECRET, prekey.public, own))
    for number in (0, 1, 2):
        alice.refuses((RatchetHeader(prekey.public, 0, number), bytes(28)))


def test_initiator_that_has_heard_nothing_refuses_a_reply_that_counts_earlier_ones() -> None:
    pair = start()
    pair.bob.receive(pair.alice.send())
    header, ciphertext = pair.bob.send()
    pair.alice.refuses((replace(header, pn=1), ciphertext))
    pair.alice.receive((header, ciphertext))


def test_reach_is_the_number_of_keys_that_reading_skips() -> None:
    pair = start()
    first = pair.alice.send_many(3)
    assert [ratchet.reach(pair.bob.state, header) for header, _ in first] == [0, 1, 2]
    assert ratchet.reach(pair.bob.state, replace(first[0][0], pn=1)) is None  # there was no chain before
    pair.bob.receive(first[0])
    pair.alice.receive(pair.bob.send())
    second = pair.alice.send_many(4)
    # Two at the end of the first chain, and those before it in the second.
    assert [ratchet.reach(pair.bob.state, header) for header, _ in second] == [2, 3, 4, 5]
    assert ratchet.reach(pair.bob.state, replace(second[0][0], pn=0)) is None  # fewer than came
    pair.bob.receive(second[2])
    assert len(pair.bob.state.mkskipped) == 4
    assert [ratchet.reach(pair.bob.state, header) for header, _ in second] == [0, 0, None, 0]
    assert [ratchet.reach(pair.bob.state, header) for header, _ in first] == [None, 0, 0]


# --- session ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (b"", InvalidMessage),
        (b"\1", InvalidMessage),
        (b"\2", UnknownSuite),
        (b"\0", UnknownSuite),
        (b"\2\0", UnknownSuite),
        (b"\1\0", InvalidMessage),
    ],
)
def test_one_byte_is_enough_to_tell_another_suite(message: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        session.parse(message)


def test_public_half_of_the_ratchet_key_is_loaded_as_it_was_stored() -> None:
    alice, _ = samples.established()
    kept = KeyPair(KEY, b"the half that stands in the file")
    altered = replace(alice, ratchet=replace(alice.ratchet, dhs=kept))
    assert session.load(session.dump(altered)).ratchet.dhs == kept


# --- what secrets print -----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Agreement(KEY, b"bound", post_quantum=True), "Agreement(...)"),
        (stored.StoredSkipped(KEY, 1, KEY, 2), "StoredSkipped(...)"),
        (
            session._Stored(
                version=session.STATE_VERSION,
                id=KEY,
                peer=KEY,
                associated_data=b"bound",
                dhs=KEY,
                dhr=KEY,
                rk=KEY,
                cks=KEY,
                ckr=KEY,
                ns=1,
                nr=2,
                pn=3,
                skipped=[stored.StoredSkipped(KEY, 1, KEY, 2)],
                pending=None,
                initiated=True,
                classical=False,
            ),
            "_Stored(...)",
        ),
    ],
)
def test_value_with_secrets_prints_its_name_alone(value: object, text: str) -> None:
    assert repr(value) == text
