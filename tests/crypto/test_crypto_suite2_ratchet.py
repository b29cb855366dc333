"""The KEM in the ratchet of suite 2: when it comes, whom it locks out, what it costs, and who breaks its rules."""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final
from unittest.mock import patch

import pytest
from crypto_samples import ALICE, MALLORY, NOW, SMALL_ORDER_X25519, randomness
from suite2_samples import accept, answer, answered_offer, begin, decrypt, encrypt, established, offering

from phantom_messenger.crypto import head, padding, primitives, ratchet, ratchet2, session2
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, UndecryptableMessage
from phantom_messenger.crypto.head import KemCiphertext, KemKey, Part
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet2 import OFFER_AFTER_MESSAGES, OFFER_AFTER_MS
from phantom_messenger.crypto.session2 import Session2
from support.structs import replace

DAY_MS: Final = 86_400_000


def carrying(state: Session2, part: Part) -> Session2:
    """Somebody whose messages carry another part than they should."""
    return replace(state, kem=replace(state.kem, carried=part))


def refuses(state: Session2, message: bytes, error: type[CryptoError] = UndecryptableMessage) -> None:
    before = session2.dump(state)
    with pytest.raises(error):
        decrypt(state, message)
    assert session2.dump(state) == before


# --- when -------------------------------------------------------------------------


def test_an_offer_and_its_answer_come_after_50_messages_of_both_sides_together() -> None:
    alice, bob = established()
    parts = []
    for _ in range(60):
        alice, message = encrypt(alice, b"text")
        bob, _ = decrypt(bob, message)
        parts.append(message[1])
        bob, message = encrypt(bob, b"text")
        alice, _ = decrypt(alice, message)
        parts.append(message[1])
    assert parts[47:51] == [0, 2, 3, 0]
    first_offer = parts.index(2)
    second_offer = parts.index(2, first_offer + 1)
    # Whoever answered counts 50 more messages, the answer the first of them, and then begins its next chain.
    assert second_offer - first_offer == OFFER_AFTER_MESSAGES + 1
    assert Counter(parts) == {0: 116, 2: 2, 3: 2}


def test_an_offer_comes_with_the_first_new_chain_after_seven_days() -> None:
    for now, is_due in ((NOW + OFFER_AFTER_MS - 1, False), (NOW + OFFER_AFTER_MS, True)):
        alice, bob = established()
        bob, _ = decrypt(bob, encrypt(alice, b"text")[1], now)
        assert isinstance(bob.kem.carried, KemKey) is is_due
        assert bob.kem.at == NOW


def test_a_clock_that_was_ahead_makes_an_offer_due() -> None:
    alice, bob = established()
    bob, _ = decrypt(bob, encrypt(alice, b"text")[1], NOW - 1)
    assert isinstance(bob.kem.carried, KemKey)


def test_every_message_of_a_chain_carries_the_same_part() -> None:
    bob, alice, _ = answered_offer()
    for state, part in ((bob, 2), (alice, 3), (begin(), 1), (established()[0], 0)):
        carried = set()
        for _ in range(5):
            state, message = encrypt(state, b"text")  # noqa: PLW2901 - the same one goes on
            carried.add((message[1], message[2:-408] if part else b""))
        assert {kind for kind, _ in carried} == {part}
        assert len({bytes_of_it[:1_000] for _, bytes_of_it in carried}) == 1


def test_any_message_of_a_chain_brings_its_part() -> None:
    """The first three of a chain are lost or late, of the offer as of the answer."""
    alice, bob = offering()
    late = []
    for _ in range(3):
        bob, message = encrypt(bob, b"late")
        late.append(message)
    bob, message = encrypt(bob, b"there")
    alice, _ = decrypt(alice, message)
    for _ in range(3):
        alice, message = encrypt(alice, b"lost")
    alice, message = encrypt(alice, b"there")
    bob, _ = decrypt(bob, message)
    assert (bob.kem.carried, bob.kem.seed, bob.kem.messages) == (None, b"", 0)
    for one in late:
        alice, text = decrypt(alice, one)
        assert text == b"late"


def test_a_secret_begins_a_new_count_on_both_sides() -> None:
    bob, alice, _ = answered_offer()
    assert (alice.kem.messages, alice.kem.at) == (0, NOW)
    alice, message = encrypt(alice, b"text")
    later = NOW + DAY_MS
    bob, _ = decrypt(bob, message, later)
    assert (alice.kem.messages, bob.kem.messages, bob.kem.at) == (1, 0, later)


# --- whom it locks out --------------------------------------------------------------


class Thief:
    """Has a copy of a state, and goes on from there with what else is revealed.

    Args:
        state: the copy.
        privates: whether all later X25519 private keys of this side are revealed: a quantum computer computes them.
        kem: whether the secrets of all later KEM steps are.
    """

    def __init__(self, state: Session2, *, privates: bool, kem: bool) -> None:
        self.state = session2.load(session2.dump(state))
        self.privates, self.kem = privates, kem
        self.guesses = randomness("guesses of a thief")

    def reads(self, message: bytes, real: Session2, answered: tuple[bytes, bytes]) -> bool:
        """Whether the next message can be read; ``real`` is the owner's state after it."""

        def random(size: int) -> bytes:
            if size == primitives.KEY_BYTES and self.privates:
                return real.ratchet.dhs.private
            if size == primitives.KEM_SEED_BYTES and self.kem:
                return real.kem.seed
            return self.guesses(size)

        def encapsulate(_: bytes) -> tuple[bytes, bytes]:
            # The ciphertext is on the network; the secret is not.
            return (answered[0] if self.kem else self.guesses(32)), answered[1]

        try:
            self.state, _ = session2.decrypt(
                self.state, head.parse(message), random=random, now=NOW, encapsulate=encapsulate
            )
        except CryptoError:
            return False
        # What the owner sends in between is on the network too, but not the seed of an offer.
        seed = real.kem.seed if self.kem else self.guesses(len(real.kem.seed))
        self.state = replace(self.state, kem=replace(real.kem, seed=seed))
        return True


def what_a_thief_reads(*, privates: bool, kem: bool, turns: int = 70) -> list[bool]:
    """Of the messages that Bob gets after his state was copied, one a turn."""
    alice, bob = established()
    thief = Thief(bob, privates=privates, kem=kem)
    read = []
    draws = randomness("of a victim")
    for _ in range(turns):
        answers: list[tuple[bytes, bytes]] = [(b"", b"")]

        def encapsulate(public: bytes, made: list[tuple[bytes, bytes]] = answers) -> tuple[bytes, bytes]:
            made[0] = primitives.kem_encapsulate(public)
            return made[0]

        alice, message = encrypt(alice, b"text")
        bob, _ = session2.decrypt(bob, head.parse(message), random=draws, now=NOW, encapsulate=encapsulate)
        read.append(thief.reads(message, bob, answers[0]))
        bob, reply = encrypt(bob, b"reply")
        alice, _ = decrypt(alice, reply)
    return read


def test_thief_of_a_state_with_a_quantum_computer_is_locked_out_by_the_next_answer() -> None:
    read = what_a_thief_reads(privates=True, kem=False)
    # As long as no KEM step has come everything can be read, and nothing afterwards.
    assert read[:24] == [True] * 24
    assert read[30:] == [False] * 40
    assert read == sorted(read, reverse=True)


def test_thief_who_learns_every_later_kem_secret_is_locked_out_by_the_next_step() -> None:
    read = what_a_thief_reads(privates=False, kem=True)
    assert read[:1] == [True]
    assert read[1:] == [False] * 69


def test_control_thief_who_learns_both_reads_everything() -> None:
    assert all(what_a_thief_reads(privates=True, kem=True))


def test_control_ratchet_without_kem_secrets_locks_no_quantum_computer_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ratchet2.kdf_rk
    monkeypatch.setattr(ratchet2, "kdf_rk", lambda rk, dh, _=b"", exchanged=b"": real(rk, dh, b"", exchanged))
    assert all(what_a_thief_reads(privates=True, kem=False))


def test_offered_seed_is_gone_once_it_was_answered() -> None:
    bob, alice, _ = answered_offer()
    seed = bob.kem.seed
    assert len(seed) == 64
    assert seed in session2.dump(bob)
    bob, _ = decrypt(bob, encrypt(alice, b"text")[1])
    assert seed not in session2.dump(bob)


# --- what it costs ------------------------------------------------------------------


def bytes_for_the_kem(turn: int, messages: int) -> tuple[float, int]:
    """Bytes of parts a message if both take turns of this length, and the largest stored state."""
    sides = list(established())
    spent = largest = 0
    for number in range(messages):
        sender = number // turn % 2
        sides[sender], message = encrypt(sides[sender], b"text")
        sides[1 - sender], _ = decrypt(sides[1 - sender], message)
        spent += head.HEAD_BYTES[message[1]] - head.HEAD_BYTES[head.PartKind.NOTHING]
        largest = max(largest, *(len(session2.dump(side)) for side in sides))
    return spent / messages, largest


def test_turns_of_three_cost_at_most_120_bytes_a_message_and_a_state_at_most_1800() -> None:
    spent, largest = bytes_for_the_kem(3, 3_000)
    assert 100 < spent <= 120
    assert 1_600 < largest <= 1_800
    assert len(session2.dump(begin())) <= 1_800


def test_control_a_step_in_every_chain_costs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet2, "OFFER_AFTER_MESSAGES", 0)
    spent, _ = bytes_for_the_kem(3, 300)
    assert spent > 700


def test_nothing_grows_while_an_offer_is_not_answered_for_30_days() -> None:
    _, bob = offering()
    size, seed = len(session2.dump(bob)), bob.kem.seed
    fresh = randomness("a month of messages")
    for _ in range(30 * 40):
        bob, _ = session2.encrypt(bob, padding.pad(b"is anybody there"), fresh)
    bob = session2.forget_old(bob, NOW + 30 * DAY_MS)
    # The message's number has grown by two bytes.
    assert len(session2.dump(bob)) <= size + 2
    assert bob.kem.seed == seed
    assert bob.kem.messages == OFFER_AFTER_MESSAGES


# --- who breaks its rules -------------------------------------------------------------

CIPHERTEXT: Final = KemCiphertext(primitives.kem_encapsulate(primitives.kem_public(bytes(64)))[1])
OFFER: Final = KemKey(primitives.kem_public(bytes(64)))


def test_answer_without_an_offer_is_refused() -> None:
    alice, bob = established()
    refuses(bob, encrypt(carrying(alice, CIPHERTEXT), b"text")[1])


def overlooks(alice: Session2, message: bytes) -> Session2:
    """Alice after she has read an offer, if she does as if there was none."""
    real = ratchet2._begin_sending
    with patch.object(ratchet2, "_begin_sending", lambda state, kem, _, **named: real(state, kem, None, **named)):
        return decrypt(alice, message)[0]


@pytest.mark.parametrize("part", [None, OFFER], ids=["nothing", "another offer"])
def test_an_open_offer_is_answered_by_nothing_but_an_answer(part: Part) -> None:
    alice, bob = offering()
    bob, message = encrypt(bob, b"with an offer")
    refuses(bob, encrypt(carrying(overlooks(alice, message), part), b"text")[1])
    alice, _ = decrypt(alice, message)
    bob, text = decrypt(bob, encrypt(alice, b"the answer")[1])
    assert text == b"the answer"


def test_answer_to_another_key_is_refused() -> None:
    bob, alice, _ = answered_offer()
    refuses(bob, encrypt(carrying(alice, CIPHERTEXT), b"text")[1])


def malformed(public: bytes) -> dict[str, bytes]:
    """Keys that FIPS 203 section 7.2 refuses: a coefficient of 3329 or more, in the first and in the last place."""
    return {
        "first": b"\xff\xff" + public[2:],
        "last": public[:1_150] + b"\xff\xff" + public[1_152:],
        "least": (3_329).to_bytes(2, "little") + public[2:],
    }


@pytest.mark.parametrize("place", ["first", "last", "least"])
def test_offer_of_a_malformed_key_is_refused(place: str) -> None:
    alice, bob = established()
    refuses(bob, encrypt(carrying(alice, KemKey(malformed(OFFER.public)[place])), b"text")[1], InvalidKey)
    bob, text = decrypt(bob, encrypt(carrying(alice, OFFER), b"text")[1])
    assert text == b"text"


def test_handshake_header_in_a_later_chain_is_refused() -> None:
    first = begin()
    alice, bob = established()
    bob, message = encrypt(bob, b"reply")
    alice, _ = decrypt(alice, message)
    refuses(bob, encrypt(carrying(alice, first.pending), b"text")[1])


def test_handshake_header_of_a_responder_is_refused() -> None:
    alice, first = encrypt(begin(), b"hello")
    bob, _ = accept(first)
    alien = replace(alice.pending, identity=bob.peer)
    for part in (alice.pending, alien):
        refuses(alice, encrypt(carrying(bob, part), b"text")[1])


@pytest.mark.parametrize("part", [None, OFFER, CIPHERTEXT], ids=["nothing", "offer", "answer"])
def test_first_message_without_a_handshake_header_is_refused(part: Part) -> None:
    alice = begin()
    _, first = encrypt(alice, b"hello")
    refuses(answer(first), encrypt(carrying(alice, part), b"hello")[1])


def test_handshake_header_of_another_identity_is_refused() -> None:
    alice, first = encrypt(begin(), b"hello")
    bob = answer(first)
    assert alice.pending is not None
    refuses(bob, encrypt(carrying(alice, replace(alice.pending, identity=MALLORY.identity.peer)), b"text")[1])


@pytest.mark.parametrize("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_ratchet_key_of_small_order_is_refused(key: bytes) -> None:
    alice, bob = established()
    _, message = encrypt(alice, b"text")
    refuses(bob, message[:2] + key + message[34:], InvalidKey)


def test_for_a_forged_message_no_key_is_made() -> None:
    alice, bob = established()
    _, message = encrypt(carrying(alice, OFFER), b"text")
    forged = head.parse(message[:-100] + bytes(100))

    def nothing(*_: object) -> Any:
        pytest.fail("it was asked for")

    with pytest.raises(CryptoError):
        session2.decrypt(bob, forged, random=nothing, now=NOW, encapsulate=nothing)
    with pytest.raises(pytest.fail.Exception):
        session2.decrypt(bob, head.parse(message), random=nothing, now=NOW, encapsulate=nothing)


def test_responder_that_heard_nothing_cannot_send() -> None:
    _, first = encrypt(begin(), b"hello")
    with pytest.raises(UndecryptableMessage):
        encrypt(answer(first), b"text")


def test_state_restored_from_a_copy_repeats_no_key_with_its_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    real, used = primitives.seal, []

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, associated)

    monkeypatch.setattr(primitives, "seal", seal)
    alice, bob = established()
    used.clear()
    stored = session2.dump(alice)
    for text in (b"this text", b"that text", b"this text"):
        _, message = encrypt(session2.load(stored), text)
        assert decrypt(bob, message)[1] == text
    # A body each and a head each; the heads under one message key.
    assert len(used) == len(set(used)) == 6
    assert len({key for key, _ in used}) == 4


CONTROLS: Final[dict[str, Callable[[], None]]] = {
    "answer without an offer": test_answer_without_an_offer_is_refused,
    "handshake header in a later chain": test_handshake_header_in_a_later_chain_is_refused,
    "nothing for an offer": lambda: test_an_open_offer_is_answered_by_nothing_but_an_answer(None),
    "offer for an offer": lambda: test_an_open_offer_is_answered_by_nothing_but_an_answer(OFFER),
    "no handshake header": lambda: test_first_message_without_a_handshake_header_is_refused(None),
}


@pytest.mark.parametrize("rule", CONTROLS)
def test_control_reader_without_the_rules_takes_anything(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet2, "_check_part", lambda *_: None)
    with pytest.raises((pytest.fail.Exception, AssertionError)):
        CONTROLS[rule]()


def test_skipped_keys_are_forgotten_as_in_suite_1() -> None:
    alice, bob = established()
    alice, late = encrypt(alice, b"late")
    alice, message = encrypt(alice, b"there")
    bob, _ = decrypt(bob, message)
    assert session2.forget_old(bob, NOW + ratchet.MAX_SKIPPED_AGE_MS) is bob
    forgotten = session2.forget_old(bob, NOW + ratchet.MAX_SKIPPED_AGE_MS + 1)
    assert (len(bob.ratchet.mkskipped), len(forgotten.ratchet.mkskipped)) == (1, 0)
    refuses(forgotten, late)
    assert decrypt(bob, late)[1] == b"late"


def test_skipped_keys_are_dated_in_a_new_chain_at_its_end_and_in_a_known_one() -> None:
    alice, bob = established()
    for now in (NOW + 1, NOW + 2):
        alice, _ = encrypt(alice, b"skipped")
        alice, message = encrypt(alice, b"there")
        bob, _ = decrypt(bob, message, now)
    alice, _ = encrypt(alice, b"skipped at the end")
    bob, message = encrypt(bob, b"reply")
    alice, _ = decrypt(alice, message)
    bob, _ = decrypt(bob, encrypt(alice, b"next chain")[1], NOW + 3)
    assert [kept.at for kept in bob.ratchet.mkskipped.values()] == [NOW + 1, NOW + 2, NOW + 3]


def test_who_has_begun_is_known_to_both() -> None:
    alice, bob = established()
    assert (alice.initiated, bob.initiated) == (True, False)
    assert alice.id == bob.id


def test_state_of_the_kem_prints_what_it_carries_and_no_bytes() -> None:
    _, bob = offering()
    assert repr(bob.kem) == f"KemState(carried=KemKey, messages={OFFER_AFTER_MESSAGES}, at={NOW})"


def test_pairs_of_the_ratchet_are_pairs() -> None:
    for state in (*established(), *offering()):
        assert state.ratchet.dhs == KeyPair.from_private(state.ratchet.dhs.private)
        if isinstance(state.kem.carried, KemKey):
            assert primitives.kem_public(state.kem.seed) == state.kem.carried.public
    assert ALICE.identity.peer == accept(encrypt(begin(), b"hello")[1])[0].peer
