from collections.abc import Callable
from typing import Final

import crypto_samples as samples
import pytest
from crypto_samples import NOW, SMALL_ORDER_X25519, randomness
from ratchet_samples import ASSOCIATED, SECRET, Pair, Sent, Side, repr_of_all, start

from phantom_messenger.crypto import primitives, ratchet
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import MAX_SKIP, MAX_SKIPPED_KEYS, RatchetHeader
from support.structs import replace


@pytest.fixture
def pair() -> Pair:
    """Two sides of which nobody has said anything."""
    return start()


@pytest.fixture
def talking(pair: Pair) -> Pair:
    """Two sides that have heard each other."""
    assert pair.bob.receive(pair.alice.send(b"hello")) == b"hello"
    assert pair.alice.receive(pair.bob.send(b"hi")) == b"hi"
    return pair


# --- order ------------------------------------------------------------------------


def test_messages_in_order_are_read(pair: Pair) -> None:
    for turn in range(10):
        sender, receiver = (pair.alice, pair.bob) if turn % 2 == 0 else (pair.bob, pair.alice)
        for number in range(turn + 1):
            text = b"turn %d, number %d" % (turn, number)
            assert receiver.receive(sender.send(text)) == text
    assert not pair.alice.state.mkskipped
    assert not pair.bob.state.mkskipped


def test_messages_in_reverse_order_are_read(pair: Pair) -> None:
    sent = pair.alice.send_many(20)
    assert [pair.bob.receive(message) for message in reversed(sent)] == [b"%d" % n for n in reversed(range(20))]
    assert not pair.bob.state.mkskipped


def test_message_of_an_earlier_chain_is_read_after_the_peer_took_a_step(talking: Pair) -> None:
    late = talking.alice.send(b"late")
    talking.bob.receive(talking.alice.send())
    last = talking.alice.send(b"last of the chain, too")
    talking.alice.receive(talking.bob.send())
    assert talking.bob.receive(talking.alice.send(b"next chain")) == b"next chain"
    talking.alice.receive(talking.bob.send())
    talking.exchange()
    talking.exchange()
    assert talking.bob.receive(last) == b"last of the chain, too"
    assert talking.bob.receive(late) == b"late"


def test_lost_messages_do_not_stop_the_others(talking: Pair) -> None:
    for _ in range(5):
        talking.alice.send(b"lost")
        assert talking.bob.receive(talking.alice.send(b"there")) == b"there"
        talking.bob.send(b"lost")
        assert talking.alice.receive(talking.bob.send(b"back")) == b"back"
    assert len(talking.bob.state.mkskipped) == len(talking.alice.state.mkskipped) == 5


def test_lost_end_of_a_chain_does_not_stop_the_others(talking: Pair) -> None:
    talking.bob.receive(talking.alice.send())
    talking.alice.send_many(7)
    talking.alice.receive(talking.bob.send())
    assert talking.bob.receive(talking.alice.send(b"there")) == b"there"
    assert len(talking.bob.state.mkskipped) == 7


@pytest.mark.parametrize("late", [False, True], ids=["in order", "skipped"])
def test_message_is_read_once(talking: Pair, late: bool) -> None:
    first, second = talking.alice.send_many(2)
    for message in (second, first) if late else (first, second):
        talking.bob.receive(message)
    talking.bob.refuses(first)
    talking.bob.refuses(second)


def test_message_of_a_finished_chain_is_read_once(talking: Pair) -> None:
    message = talking.alice.send()
    talking.bob.receive(message)
    talking.alice.receive(talking.bob.send())
    talking.exchange()
    talking.bob.refuses(message)


# --- the parts of the specification -----------------------------------------------


def test_both_sides_begin_at_zero(pair: Pair) -> None:
    for side in (pair.alice.state, pair.bob.state):
        assert (side.ns, side.nr, side.pn, side.ckr, side.mkskipped) == (0, 0, 0, None, {})
    assert (pair.bob.state.dhr, pair.bob.state.cks, pair.bob.state.rk) == (None, None, SECRET)
    assert pair.alice.state.dhr == pair.bob.state.dhs.public


def test_responder_that_heard_nothing_cannot_send(pair: Pair) -> None:
    with pytest.raises(UndecryptableMessage):
        pair.bob.send()


def test_initiator_refuses_a_message_under_the_prekey_itself(pair: Pair) -> None:
    assert pair.alice.state.dhr is not None
    pair.alice.refuses((RatchetHeader(pair.alice.state.dhr, 0, 0), bytes(28)))


def test_ratchet_key_is_new_with_every_turn_and_only_then(talking: Pair) -> None:
    keys = []
    for _ in range(5):
        one, other = talking.alice.send_many(2)
        assert one[0].dh == other[0].dh
        keys.append(one[0].dh)
        talking.bob.receive(one)
        talking.alice.receive(talking.bob.send())
    assert len(set(keys)) == 5


def test_header_counts_this_chain_and_the_previous_one(talking: Pair) -> None:
    sent = talking.alice.send_many(3)
    assert [(header.pn, header.n) for header, _ in sent] == [(1, 0), (1, 1), (1, 2)]
    talking.bob.receive(sent[0])
    talking.alice.receive(talking.bob.send())
    assert [(header.pn, header.n) for header, _ in talking.alice.send_many(2)] == [(3, 0), (3, 1)]


def test_header_is_key_and_two_big_endian_numbers() -> None:
    header = RatchetHeader(bytes(range(32)), 0x01020304, 0xFFFFFFFF)
    assert header.encode() == bytes(range(32)) + b"\x01\x02\x03\x04\xff\xff\xff\xff"
    assert RatchetHeader.decode(header.encode() + b"rest") == RatchetHeader.decode(header.encode()) == header
    for size in range(ratchet.HEADER_BYTES):
        with pytest.raises(InvalidMessage):
            RatchetHeader.decode(header.encode()[:size])


def test_no_key_and_nonce_are_used_twice(talking: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    real, used = primitives.seal, []

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, associated)

    monkeypatch.setattr(primitives, "seal", seal)
    for _ in range(20):
        for sender, receiver in ((talking.alice, talking.bob), (talking.bob, talking.alice)):
            for message in sender.send_many(5):
                receiver.receive(message)
    assert len(used) == 200
    assert len({key for key, _ in used}) == len({nonce for _, nonce in used}) == 200
    assert {(len(key), len(nonce)) for key, nonce in used} == {(32, 12)}


def test_state_restored_from_a_copy_repeats_no_key_with_its_nonce(
    talking: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, used = primitives.seal, []

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, associated)

    monkeypatch.setattr(primitives, "seal", seal)
    restored = [Side(f"restored {number}", talking.alice.state) for number in range(3)]
    texts = [b"this text", b"that text", b"this text"]
    sent = [side.send(text) for side, text in zip(restored, texts, strict=True)]
    assert len({header for header, _ in sent}) == len({key for key, _ in used}) == 1
    assert len({ciphertext[:12] for _, ciphertext in sent}) == len({nonce for _, nonce in used}) == 3
    assert len({ciphertext[12:] for _, ciphertext in sent}) == 3
    for message, text in zip(sent, texts, strict=True):
        bob = Side("bob again", talking.bob.state)
        assert bob.receive(message) == text
        for other in sent:
            bob.refuses(other)


def test_own_message_sent_back_is_refused(talking: Pair) -> None:
    talking.alice.refuses(talking.alice.send())


@pytest.mark.parametrize(
    "change",
    [
        lambda header, ciphertext: (replace(header, n=header.n + 1), ciphertext),
        lambda header, ciphertext: (replace(header, pn=header.pn + 1), ciphertext),
        lambda header, ciphertext: (replace(header, dh=samples.ALICE.signed.pair.public), ciphertext),
        lambda header, ciphertext: (replace(header, dh=samples.flipped(header.dh, 31, 7)), ciphertext),
        lambda header, ciphertext: (header, ciphertext[:-1]),
        lambda header, ciphertext: (header, ciphertext + b"\0"),
        lambda header, ciphertext: (header, ciphertext[1:]),
        lambda header, ciphertext: (header, b"\0" + ciphertext),
        lambda header, ciphertext: (header, ciphertext[12:]),
        lambda header, ciphertext: (header, bytes(12) + ciphertext[12:]),
        lambda header, ciphertext: (header, ciphertext[:27]),
        lambda header, ciphertext: (header, ciphertext[:12]),
        lambda header, ciphertext: (header, ciphertext[:11]),
        lambda header, _: (header, b""),
    ],
    ids=[
        "n",
        "pn",
        "ratchet key",
        "highest bit of the ratchet key",
        "cut short",
        "longer",
        "nonce cut short",
        "nonce longer",
        "no nonce",
        "another nonce",
        "tag cut short",
        "nonce alone",
        "part of a nonce",
        "empty",
    ],
)
@pytest.mark.parametrize("skipped", [False, True])
def test_changed_message_is_refused_and_changes_nothing(
    talking: Pair, change: Callable[[RatchetHeader, bytes], Sent], skipped: bool
) -> None:
    message = talking.alice.send(b"text")
    if skipped:
        talking.bob.receive(talking.alice.send())
    talking.bob.refuses(change(*message), CryptoError)
    assert talking.bob.receive(message) == b"text"


@pytest.mark.parametrize("skipped", [False, True])
def test_no_bit_of_the_nonce_can_flip(talking: Pair, skipped: bool) -> None:
    header, ciphertext = talking.alice.send(b"text")
    if skipped:
        talking.bob.receive(talking.alice.send())
    for place in range(12):
        for bit in range(8):
            talking.bob.refuses((header, samples.flipped(ciphertext, place, bit)))
    assert talking.bob.receive((header, ciphertext)) == b"text"


def test_nonce_of_another_message_does_not_open_this_one(talking: Pair) -> None:
    one, other = talking.alice.send_many(2)
    talking.bob.refuses((one[0], other[1][:12] + one[1][12:]))
    talking.bob.refuses((other[0], one[1][:12] + other[1][12:]))
    assert [talking.bob.receive(one), talking.bob.receive(other)] == [b"0", b"1"]


def test_message_under_other_associated_data_is_refused(talking: Pair) -> None:
    message = talking.alice.send(b"text")
    before = repr_of_all(talking.bob.state)
    with pytest.raises(UndecryptableMessage):
        talking.bob.receive(message, ASSOCIATED + b"!")
    assert repr_of_all(talking.bob.state) == before
    assert talking.bob.receive(message) == b"text"


@pytest.mark.parametrize("key", SMALL_ORDER_X25519, ids=bytes.hex)
def test_ratchet_key_of_small_order_is_refused_and_changes_nothing(key: bytes) -> None:
    new, talking = start(), start()
    talking.bob.receive(talking.alice.send())
    talking.alice.receive(talking.bob.send())
    for receiver in (new.bob, talking.alice, talking.bob):
        receiver.refuses((RatchetHeader(key, 0, 0), bytes(28)), InvalidKey)
        receiver.refuses((RatchetHeader(key, 3, 3), bytes(28)), InvalidKey)
    with pytest.raises(InvalidKey):
        ratchet.start_initiator(SECRET, key, KeyPair.from_private(SECRET))


def test_state_is_the_same_value_after_use(talking: Pair) -> None:
    """Functions return a new state; the one they were given can be used again."""
    talking.alice.send()
    talking.bob.receive(talking.alice.send())
    late, message = talking.alice.send_many(2)
    state, before = talking.bob.state, repr_of_all(talking.bob.state)
    for _ in range(2):
        for sent in (message, late):
            ratchet.decrypt(state, *sent, ASSOCIATED, random=randomness("fresh"), now=NOW)
        ratchet.encrypt(state, b"", ASSOCIATED, bytes(12))
        assert repr_of_all(state) == before


# --- bounds -----------------------------------------------------------------------


def test_bounds_are_256() -> None:
    assert (MAX_SKIP, MAX_SKIPPED_KEYS) == (256, 256)


def test_jump_of_max_skip_is_read_and_one_more_is_refused(talking: Pair) -> None:
    sent = talking.alice.send_many(MAX_SKIP + 2)
    talking.bob.refuses(sent[MAX_SKIP + 1])
    assert talking.bob.receive(sent[MAX_SKIP]) == b"%d" % MAX_SKIP
    assert len(talking.bob.state.mkskipped) == MAX_SKIP
    assert talking.bob.receive(sent[MAX_SKIP + 1]) == b"%d" % (MAX_SKIP + 1)
    assert talking.bob.receive(sent[0]) == b"0"
    assert talking.bob.receive(sent[MAX_SKIP - 1]) == b"%d" % (MAX_SKIP - 1)


def test_jump_of_max_skip_is_read_in_the_first_message_and_one_more_is_refused(pair: Pair) -> None:
    sent = pair.alice.send_many(MAX_SKIP + 2)
    pair.bob.refuses(sent[MAX_SKIP + 1])
    assert pair.bob.receive(sent[MAX_SKIP]) == b"%d" % MAX_SKIP


@pytest.mark.parametrize("old", [0, 1, MAX_SKIP // 2, MAX_SKIP - 1, MAX_SKIP])
@pytest.mark.parametrize("one_more", ["none", "old chain", "new chain"])
def test_end_of_a_chain_and_start_of_the_next_may_lose_max_skip_together(
    talking: Pair, old: int, one_more: str
) -> None:
    new = MAX_SKIP - old + (one_more == "new chain")
    old += one_more == "old chain"
    talking.bob.receive(talking.alice.send())
    before = talking.alice.send_many(old)
    talking.alice.receive(talking.bob.send())
    after = talking.alice.send_many(new)
    message = talking.alice.send(b"there")
    if one_more != "none":
        talking.bob.refuses(message)
        if after:
            # It is not lost for good: what was said before it brings it into reach.
            assert talking.bob.receive(after[-1]) == b"%d" % (new - 1)
            assert talking.bob.receive(message) == b"there"
        return
    assert talking.bob.receive(message) == b"there"
    assert len(talking.bob.state.mkskipped) == MAX_SKIP
    for sent in (before, after):
        for number in {0, len(sent) - 1} if sent else ():
            assert talking.bob.receive(sent[number]) == b"%d" % number


def test_what_was_received_of_a_chain_does_not_count_as_lost(talking: Pair) -> None:
    for message in talking.alice.send_many(10):
        talking.bob.receive(message)
    talking.alice.receive(talking.bob.send())
    message = talking.alice.send_many(MAX_SKIP + 1)[-1]
    assert message[0].pn == 10
    assert talking.bob.receive(message) == b"%d" % MAX_SKIP


def count_derivations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that derive something, one for each call from now on."""
    derived: list[str] = []
    for name in ("hmac_sha256", "hkdf", "x25519"):

        def counted(*_: object, name: str = name, **__: object) -> bytes:
            derived.append(name)
            return bytes(64)

        monkeypatch.setattr(primitives, name, counted)
    return derived


NR: Final = 5
"""Messages that were received of the chain in these tests."""


def in_a_chain() -> Pair:
    pair = start()
    for message in pair.alice.send_many(NR):
        pair.bob.receive(message)
    assert pair.bob.state.nr == NR
    return pair


NEW_KEY: Final = samples.ALICE.signed.pair.public


@pytest.mark.parametrize("too_far", [MAX_SKIP + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("where", ["this chain", "previous chain", "next chain", "both chains", "first message"])
def test_jump_too_far_is_refused_before_any_key_is_derived(
    where: str, too_far: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = start() if where == "first message" else in_a_chain()
    header = {
        "this chain": RatchetHeader(pair.bob.state.dhr or b"", 0, min(NR + too_far, 2**32 - 1)),
        "previous chain": RatchetHeader(NEW_KEY, min(NR + too_far, 2**32 - 1), 0),
        "next chain": RatchetHeader(NEW_KEY, NR, too_far),
        "both chains": RatchetHeader(NEW_KEY, NR + MAX_SKIP, too_far),
        "first message": RatchetHeader(NEW_KEY, 0, too_far),
    }[where]
    derived = count_derivations(monkeypatch)
    with pytest.raises(UndecryptableMessage):
        ratchet.decrypt(pair.bob.state, header, bytes(28), ASSOCIATED, random=randomness("fresh"), now=NOW)
    assert derived == []


@pytest.mark.parametrize(
    ("pn", "n"),
    [
        (NR + 1, MAX_SKIP),
        (NR + MAX_SKIP, 1),
        (NR + MAX_SKIP // 2, MAX_SKIP // 2 + 1),
        (NR + MAX_SKIP // 2 + 1, MAX_SKIP // 2),
        (0, MAX_SKIP + 1),
        (0, MAX_SKIP + NR),
        (NR - 1, MAX_SKIP + 1),
        (2**32 - 1, 2**32 - 1),
    ],
)
def test_jump_over_the_end_of_a_chain_counts_both_before_any_key_is_derived(
    pn: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A previous chain that is said to be shorter than what was received of it gives no credit."""
    pair = in_a_chain()
    derived = count_derivations(monkeypatch)
    with pytest.raises(UndecryptableMessage):
        pair.bob.receive((RatchetHeader(NEW_KEY, pn, n), bytes(28)))
    assert derived == []


@pytest.mark.parametrize(("pn", "n"), [(NR, MAX_SKIP), (NR + MAX_SKIP, 0), (NR + 200, MAX_SKIP - 200), (0, MAX_SKIP)])
def test_forged_message_makes_at_most_max_skip_keys_and_its_own(
    pn: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = in_a_chain()
    before = repr_of_all(pair.bob.state)
    real, steps = ratchet.kdf_ck, []

    def counted(ck: bytes) -> tuple[bytes, bytes]:
        steps.append(ck)
        return real(ck)

    monkeypatch.setattr(ratchet, "kdf_ck", counted)
    with pytest.raises(UndecryptableMessage):
        pair.bob.receive((RatchetHeader(NEW_KEY, pn, n), bytes(28)))
    assert len(steps) == MAX_SKIP + 1
    assert repr_of_all(pair.bob.state) == before


def test_skipped_keys_go_oldest_first_beyond_the_limit(talking: Pair) -> None:
    first = talking.alice.send_many(MAX_SKIP + 1)
    assert talking.bob.receive(first[-1])
    more = talking.alice.send_many(4)
    assert talking.bob.receive(more[-1]) == b"3"
    assert len(talking.bob.state.mkskipped) == MAX_SKIPPED_KEYS
    for number in range(3):
        talking.bob.refuses(first[number])
    for message in (first[3], first[MAX_SKIP - 1], *more[:3]):
        assert talking.bob.receive(message)


def test_keys_skipped_in_an_earlier_chain_go_first(talking: Pair) -> None:
    old = talking.alice.send_many(10)
    talking.exchange()
    talking.bob.receive(talking.alice.send())
    new = talking.alice.send_many(MAX_SKIP - 4)
    talking.bob.receive(new[-1])
    assert len(talking.bob.state.mkskipped) == MAX_SKIPPED_KEYS
    for message in old[:5]:
        talking.bob.refuses(message)
    for message in (*old[5:], new[0], new[-2]):
        assert talking.bob.receive(message)


def test_refused_message_evicts_no_skipped_key(talking: Pair) -> None:
    sent = talking.alice.send_many(MAX_SKIP + 1)
    talking.bob.receive(sent[-1])
    header, ciphertext = talking.alice.send_many(5)[-1]
    talking.bob.refuses((header, samples.flipped(ciphertext, 0, 0)))
    assert talking.bob.receive(sent[0]) == b"0"
