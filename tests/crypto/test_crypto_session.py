import os
from collections.abc import Callable
from typing import Any, Final

import crypto_samples as samples
import msgspec
import pytest
from crypto_samples import (
    ALICE,
    BOB,
    MALLORY,
    NOW,
    SMALL_ORDER_X25519,
    begin,
    decrypt,
    encrypt,
    established,
    flipped,
    initiate,
)

from phantom_messenger.crypto import padding, primitives, session
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidMessage, UndecryptableMessage, UnknownSuite
from phantom_messenger.crypto.ratchet import RatchetHeader, Skipped
from phantom_messenger.crypto.session import Session
from support.cases import each
from support.structs import replace


def with_skipped_keys() -> tuple[Session, Session]:
    """Alice and Bob in the middle of something: both miss messages."""
    alice, bob = established()
    for _ in range(3):
        alice, _ = encrypt(alice, b"lost")
        alice, message = encrypt(alice, b"there")
        bob, _ = decrypt(bob, message)
        bob, _ = encrypt(bob, b"lost")
        bob, message = encrypt(bob, b"back")
        alice, _ = decrypt(alice, message)
    assert len(bob.ratchet.mkskipped) == 3
    return alice, bob


# --- first messages ---------------------------------------------------------------


def test_handshake_is_repeated_until_the_peer_has_answered() -> None:
    alice = begin(BOB.bundle())
    sent = []
    for number in range(4):
        alice, message = encrypt(alice, b"%d" % number)
        sent.append(message)
    assert all(session.parse(message).handshake == alice.pending for message in sent)
    bob, text = samples.accept(sent[2])
    assert text == b"2"
    for number in (0, 3, 1):
        bob, text = decrypt(bob, sent[number])
        assert text == b"%d" % number
    bob, reply = encrypt(bob, b"reply")
    assert session.parse(reply).handshake is None
    alice, _ = decrypt(alice, reply)
    assert alice.pending is None
    assert session.parse(encrypt(alice, b"later")[1]).handshake is None


def test_refused_reply_leaves_the_handshake_pending() -> None:
    alice, first = encrypt(begin(BOB.bundle()), b"hello")
    bob, _ = samples.accept(first)
    _, reply = encrypt(bob, b"reply")
    with pytest.raises(CryptoError):
        decrypt(alice, flipped(reply, len(reply) - 1, 0))
    assert alice.pending is not None
    assert decrypt(alice, reply)[1] == b"reply"


def test_each_session_with_the_same_bundle_has_keys_of_its_own() -> None:
    one = begin(BOB.bundle(kem=False), name="one")
    other = begin(BOB.bundle(kem=False), name="other")
    assert one.id != other.id
    assert one.ratchet.rk != other.ratchet.rk
    _, message = encrypt(one, b"hello")
    bob, _ = samples.accept(message)
    with pytest.raises(CryptoError):
        decrypt(bob, encrypt(other, b"hello")[1])


def test_handshake_of_another_identity_is_refused_in_a_session() -> None:
    alice, bob = established()
    _, message = encrypt(alice, b"hello")
    parsed = replace(session.parse(message), handshake=begin(BOB.bundle(), own=MALLORY).pending)
    with pytest.raises(UndecryptableMessage):
        session.decrypt(bob, parsed, random=samples.randomness("x"), now=NOW)


def test_message_of_a_third_person_is_refused() -> None:
    _, bob = established()
    _, message = encrypt(begin(BOB.bundle(), own=MALLORY), b"hello")
    before = session.dump(bob)
    with pytest.raises(CryptoError):
        decrypt(bob, message)
    assert session.dump(bob) == before


# --- the form of a message --------------------------------------------------------


@pytest.mark.parametrize("suite", [0, 2, 3, 127, 255])
def test_message_of_another_suite_is_named_as_such(suite: int) -> None:
    _, message = encrypt(established()[0], b"hello")
    with pytest.raises(UnknownSuite):
        session.parse(bytes([suite]) + message[1:])


@each("flags", [number for number in range(256) if number not in (0, 1, 3)])
def test_message_with_unknown_flags_is_refused(flags: int) -> None:
    _, message = encrypt(begin(BOB.bundle()), b"hello")
    with pytest.raises(InvalidMessage):
        session.parse(bytes([message[0], flags]) + message[2:])


@pytest.mark.parametrize("kem", [True, False])
def test_message_is_suite_flags_handshake_header_and_ciphertext(kem: bool) -> None:
    alice = begin(BOB.bundle(kem=kem))
    assert alice.pending is not None
    _, message = encrypt(alice, bytes(256))
    parsed = session.parse(message)
    assert parsed.handshake == alice.pending
    assert parsed.prefix == bytes([1, 3 if kem else 1]) + alice.pending.encode()
    assert parsed.prefix + parsed.header.encode() + parsed.ciphertext == message
    assert len(parsed.ciphertext) == 12 + 256 + 16
    assert len(message) == 2 + 76 + (1088 if kem else 0) + 40 + 12 + 256 + 16


def test_later_message_has_no_handshake_and_70_more_bytes_than_its_content() -> None:
    for state in established():
        assert len(encrypt(state, bytes(256))[1]) == 256 + 2 + 40 + 12 + 16


def test_nonce_is_12_bytes_of_the_randomness_given_and_stands_before_the_ciphertext() -> None:
    asked = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    for state in (begin(BOB.bundle()), *established()):
        _, message = session.encrypt(state, b"hello", random_bytes)
        assert session.parse(message).ciphertext[:12] == message[-33:-21] == bytes(range(12))
    assert asked == [12, 12, 12]


def test_message_cut_anywhere_is_refused() -> None:
    alice = begin(BOB.bundle())
    _, first = encrypt(alice, b"hello")
    for size in range(len(first)):
        with pytest.raises(CryptoError):
            samples.accept(first[:size])
    alice, bob = established()
    _, message = encrypt(alice, b"hello")
    for size in range(len(message)):
        with pytest.raises(CryptoError):
            decrypt(bob, message[:size])


def test_longest_message_is_its_padded_content_and_max_overhead() -> None:
    content = padding.pad(bytes(padding.MAX_PADDED - 1))
    _, message = encrypt(begin(BOB.bundle()), content)
    assert len(message) == padding.MAX_PADDED + session.MAX_OVERHEAD
    assert session.MAX_OVERHEAD == 2 + 76 + 1088 + 40 + 12 + 16 == 1234
    assert padding.MAX_PADDED + session.MAX_OVERHEAD <= 46_080


# --- somebody changes a bit -------------------------------------------------------


def test_no_bit_of_a_message_can_flip_and_nothing_changes() -> None:
    alice, bob = with_skipped_keys()
    _, message = encrypt(alice, padding.pad(b"hello"))
    before = session.dump(bob)
    for place in range(len(message)):
        for bit in range(8):
            with pytest.raises(CryptoError):
                decrypt(bob, flipped(message, place, bit))
            assert session.dump(bob) == before
    assert padding.unpad(decrypt(bob, message)[1]) == b"hello"


def test_no_bit_of_a_late_message_can_flip_and_its_key_stays() -> None:
    alice, bob = established()
    alice, late = encrypt(alice, b"late")
    _, message = encrypt(alice, b"there")
    bob, _ = decrypt(bob, message)
    before = session.dump(bob)
    for place in range(len(late)):
        for bit in range(8):
            with pytest.raises(CryptoError):
                decrypt(bob, flipped(late, place, bit))
            assert session.dump(bob) == before
    assert decrypt(bob, late)[1] == b"late"


@pytest.mark.parametrize("any_number", [True, False])
@pytest.mark.parametrize("kem", [True, False])
def test_no_byte_of_a_first_message_can_change(kem: bool, any_number: bool) -> None:
    _, message = encrypt(begin(BOB.bundle(kem=kem)), b"hello")
    for place in range(len(message)):
        with pytest.raises(CryptoError):
            samples.accept(flipped(message, place, place % 8), any_number=any_number)
    assert samples.accept(message, any_number=any_number)[1] == b"hello"


def test_no_bit_of_the_nonce_can_flip_in_a_first_message_or_a_later_one() -> None:
    _, first = encrypt(begin(BOB.bundle()), b"hello")
    alice, bob = established()
    _, later = encrypt(alice, b"hello")
    for message, read in ((first, samples.accept), (later, lambda data: decrypt(bob, data))):
        start = len(message) - 12 - len(b"hello") - 16
        for place in range(start, start + 12):
            for bit in range(8):
                with pytest.raises(UndecryptableMessage):
                    read(flipped(message, place, bit))
        assert read(message)[1] == b"hello"


@pytest.mark.parametrize("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_ratchet_key_of_small_order_changes_no_session(key: bytes) -> None:
    for state in with_skipped_keys():
        before = session.dump(state)
        with pytest.raises(InvalidKey):
            decrypt(state, bytes([1, 0]) + RatchetHeader(key, 0, 0).encode() + bytes(28))
        assert session.dump(state) == before


# --- storage ----------------------------------------------------------------------


def stored(state: Session, **changes: Any) -> bytes:
    """A dump in which fields were changed, by their place."""
    places = dict(zip(session._Stored.__struct_fields__, msgspec.msgpack.decode(session.dump(state)), strict=True))
    assert changes.keys() <= places.keys()
    return msgspec.msgpack.encode(list({**places, **changes}.values()))


SESSIONS: Final[dict[str, Callable[[], Session]]] = {
    "pending PQXDH": lambda: begin(BOB.bundle()),
    "pending X3DH": lambda: begin(BOB.bundle(kem=False)),
    "initiator": lambda: established()[0],
    "responder": lambda: established(kem=False)[1],
    "with skipped keys": lambda: with_skipped_keys()[1],
}


@pytest.mark.parametrize("make", SESSIONS.values(), ids=SESSIONS.keys())
def test_session_is_loaded_as_it_was_dumped(make: Callable[[], Session]) -> None:
    state = make()
    loaded = session.load(session.dump(state))
    assert loaded == state
    assert list(loaded.ratchet.mkskipped.items()) == list(state.ratchet.mkskipped.items())
    assert session.dump(loaded) == session.dump(state) == stored(state)


@pytest.mark.parametrize("make", SESSIONS.values(), ids=SESSIONS.keys())
def test_session_restored_twice_from_one_copy_repeats_no_key_with_its_nonce(
    make: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the system's randomness, as in use."""
    copy = session.dump(make())
    real, used = primitives.seal, []

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, associated)

    monkeypatch.setattr(primitives, "seal", seal)
    sent = [session.encrypt(session.load(copy), b"text %d" % number, os.urandom)[1] for number in range(20)]
    # The key does come again, so that all depends on the nonce.
    assert len({key for key, _ in used}) == 1
    assert len({nonce for _, nonce in used}) == 20
    assert len({session.parse(message).ciphertext[:12] for message in sent}) == 20


@pytest.mark.parametrize("first", [True, False], ids=["first message", "later message"])
def test_either_message_of_a_session_restored_from_a_copy_is_read(first: bool) -> None:
    alice, bob = established()
    copy = session.dump(begin(BOB.bundle()) if first else alice)
    texts = (b"before the copy came back", b"and after")
    sent = [session.encrypt(session.load(copy), text, os.urandom)[1] for text in texts]
    for message, other, text in ((*sent, texts[0]), (*reversed(sent), texts[1])):
        reader, got = samples.accept(message) if first else decrypt(bob, message)
        assert got == text
        with pytest.raises(UndecryptableMessage):
            decrypt(reader, other)


@pytest.mark.parametrize("version", [0, 3, 255, -1])
def test_session_of_another_version_is_refused(version: int) -> None:
    for known in (1, 2):
        assert session.load(stored(begin(BOB.bundle()), version=known))
    with pytest.raises(InvalidMessage):
        session.load(stored(begin(BOB.bundle()), version=version))


def test_session_of_another_version_and_shape_is_refused() -> None:
    for value in ([3], [3, {}], {"version": 3}, [3, *range(30)], [2], [2, {}], {"version": 2}, [], 2, None):
        with pytest.raises(InvalidMessage):
            session.load(msgspec.msgpack.encode(value))


def test_session_cut_anywhere_or_with_bytes_after_it_is_refused() -> None:
    data = session.dump(with_skipped_keys()[0])
    for size in range(len(data)):
        with pytest.raises(InvalidMessage):
            session.load(data[:size])
    with pytest.raises(InvalidMessage):
        session.load(data + b"\0")


def test_garbage_is_no_session() -> None:
    garbage = samples.randomness("garbage")
    for size in (*range(1, 50), 1000, 5000):
        with pytest.raises(InvalidMessage):
            session.load(garbage(size))


KEYS: Final = ("id", "peer", "dhs", "dhr", "rk", "cks", "ckr", "dhs_public")
NUMBERS: Final = ("ns", "nr", "pn")
PENDING: Final = initiate(BOB.bundle())[0].encode()
PENDING_X3DH: Final = initiate(BOB.bundle(kem=False))[0].encode()


def id_of(value: object) -> str:
    return f"{len(value)}-bytes" if isinstance(value, bytes) else str(value) if isinstance(value, int) else "short-key"


@each(
    "changes",
    [
        *({name: bytes(size)} for name in KEYS for size in (0, 31, 33, 64)),
        *({name: number} for name in NUMBERS for number in (-1, 2**32, 2**64 - 1, -(2**63))),
        *({name: None} for name in ("id", "peer", "associated_data", "dhs", "rk", "ns", "skipped", "classical")),
        {"skipped": [[bytes(32), 0, b"short"]]},
        {"skipped": [[bytes(32), 0, bytes(33)]]},
        {"skipped": [[bytes(31), 0, bytes(32)]]},
        {"skipped": [[bytes(33), 0, bytes(32)]]},
        {"skipped": [[bytes(32), -1, bytes(32)]]},
        {"skipped": [[bytes(32), 2**32, bytes(32)]]},
        {"skipped": [[bytes(32), 0, bytes(32)], [bytes(32), 1, b""]]},
        {"skipped": [[bytes(32), 0]]},
        {"skipped": [[bytes(32), 0, bytes(32), None]]},
        {"skipped": [[bytes(32), 0, bytes(32), "now"]]},
        {"pending": b""},
        {"pending": bytes(75)},
        {"pending": bytes(76)},
        {"pending": PENDING[:-1]},
        {"pending": PENDING + b"\0"},
        {"pending": PENDING[:72] + bytes(4) + PENDING[76:]},
        {"classical": True},
    ],
    ids=lambda changes: "{}-{}".format(*next((name, id_of(value)) for name, value in changes.items())),
)
def test_session_with_a_part_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        session.load(stored(begin(BOB.bundle()), **changes))


@pytest.mark.parametrize("pending", [PENDING, PENDING_X3DH + b"\0", PENDING_X3DH[:-1], PENDING_X3DH[:75] + b"\1"])
def test_classical_session_with_another_handshake_is_refused(pending: bytes) -> None:
    state = begin(BOB.bundle(kem=False))
    assert session.load(stored(state, pending=PENDING_X3DH)).classical
    with pytest.raises(InvalidMessage):
        session.load(stored(state, pending=pending))
    with pytest.raises(InvalidMessage):
        session.load(stored(state, classical=False))


def test_control_session_with_the_largest_numbers_and_absent_keys_is_loaded() -> None:
    changes = {**dict.fromkeys(NUMBERS, 2**32 - 1), "skipped": [[bytes(32), 2**32 - 1, bytes(32), NOW]]}
    loaded = session.load(stored(begin(BOB.bundle()), **changes, dhr=None, cks=None, ckr=None, pending=None))
    assert (loaded.ratchet.ns, loaded.ratchet.nr, loaded.ratchet.pn) == (2**32 - 1,) * 3
    assert loaded.ratchet.mkskipped == {(bytes(32), 2**32 - 1): Skipped(bytes(32), NOW)}
    assert (loaded.ratchet.dhr, loaded.ratchet.cks, loaded.ratchet.ckr, loaded.pending) == (None,) * 4


def test_dump_is_read_by_nobody_else() -> None:
    """What a dump of Alice holds does not make a session of Bob: his keys are not in it."""
    alice, bob = established()
    data = session.dump(alice)
    assert bob.ratchet.dhs.private not in data
    assert ALICE.identity.seed not in data
