"""How long and of how many chains the keys of overtaken messages are kept, and when randomness is drawn."""

from collections.abc import Callable
from typing import Final

import crypto_samples as samples
import pytest
from crypto_samples import BOB, NOW, encrypt, established, randomness
from ratchet_samples import ASSOCIATED, Pair, Sent, Side, repr_of_all, start

from phantom_messenger.crypto import ratchet, session
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import (
    MAX_RECEIVING_CHAINS,
    MAX_SKIPPED_AGE_MS,
    UNDATED,
    RatchetHeader,
    RatchetState,
    Skipped,
    SkippedKey,
)
from phantom_messenger.crypto.session import Session
from support.structs import replace

DAYS_30: Final = 30 * 24 * 60 * 60 * 1000
TURNED_OFF: Final = (AssertionError, CryptoError, pytest.fail.Exception)
"""What a check that found something raises."""


def read_at(side: Side, message: Sent, now: int) -> bytes:
    """Receive at a time of one's own."""
    side.state, plaintext = ratchet.decrypt(side.state, *message, ASSOCIATED, random=randomness("fresh"), now=now)
    return plaintext


@pytest.fixture
def talking() -> Pair:
    pair = start()
    pair.exchange()
    return pair


def dated(*times: int) -> RatchetState:
    """A state with a skipped key of each of these times, and nothing else to lose."""
    state = start().bob.state
    return replace(state, mkskipped={(bytes(32), n): Skipped(n.to_bytes(32), at) for n, at in enumerate(times)})


def times_of(state: RatchetState) -> list[int]:
    return [kept.at for kept in state.mkskipped.values()]


# --- age --------------------------------------------------------------------------


def test_bounds_are_30_days_and_5_chains() -> None:
    assert (MAX_SKIPPED_AGE_MS, MAX_RECEIVING_CHAINS) == (DAYS_30, 5)


def test_skipped_key_has_the_time_of_the_message_that_overtook_it(talking: Pair) -> None:
    one, two, three, four = talking.alice.send_many(4)
    read_at(talking.bob, two, NOW)
    read_at(talking.bob, four, NOW + 7)
    assert times_of(talking.bob.state) == [NOW, NOW + 7]
    assert read_at(talking.bob, three, NOW + 9) == b"2"
    assert times_of(talking.bob.state) == [NOW]
    assert read_at(talking.bob, one, NOW + 9) == b"0"


def test_key_skipped_at_the_end_of_a_chain_has_the_time_of_the_next_chain(talking: Pair) -> None:
    talking.bob.receive(talking.alice.send())
    talking.alice.send_many(2)
    talking.alice.receive(talking.bob.send())
    talking.alice.send()
    read_at(talking.bob, talking.alice.send(), NOW + 3)
    assert times_of(talking.bob.state) == [NOW + 3] * 3


def is_kept_30_days_and_no_longer() -> None:
    pair = start()
    pair.exchange()
    late, message = pair.alice.send_many(2)
    read_at(pair.bob, message, NOW)
    state = pair.bob.state
    for age in (0, 1, DAYS_30 - 1, DAYS_30):
        pair.bob.state = ratchet.forget_old(state, NOW + age)
        assert pair.bob.state is state
        assert read_at(pair.bob, late, NOW + age) == b"0"
    pair.bob.state = ratchet.forget_old(state, NOW + DAYS_30 + 1)
    assert pair.bob.state.mkskipped == {}
    pair.bob.refuses(late)
    assert replace(pair.bob.state, mkskipped=state.mkskipped) == state


def test_skipped_key_is_kept_30_days_and_not_a_millisecond_longer() -> None:
    is_kept_30_days_and_no_longer()


@pytest.mark.parametrize("limit", [DAYS_30 - 1, DAYS_30 + 1, 10**15])
def test_control_another_age_is_noticed(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "MAX_SKIPPED_AGE_MS", limit)
    with pytest.raises(TURNED_OFF):
        is_kept_30_days_and_no_longer()


def test_control_key_that_is_never_forgotten_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "forget_old", lambda state, _: state)
    with pytest.raises(TURNED_OFF):
        is_kept_30_days_and_no_longer()


def test_only_what_is_old_is_forgotten_and_the_order_stays() -> None:
    state = dated(NOW - DAYS_30 - 1, NOW - 1, NOW - DAYS_30, NOW - 2 * DAYS_30, NOW)
    after = ratchet.forget_old(state, NOW)
    assert [n for _, n in after.mkskipped] == [1, 2, 4]
    assert times_of(after) == [NOW - 1, NOW - DAYS_30, NOW]
    assert len(state.mkskipped) == 5


@pytest.mark.parametrize("times", [(), (NOW,), (NOW - DAYS_30,), (NOW - DAYS_30, NOW - 1, NOW)])
def test_state_with_nothing_old_is_the_same_object(times: tuple[int, ...]) -> None:
    state = dated(*times)
    assert ratchet.forget_old(state, NOW) is state


def test_undated_key_gets_the_time_when_it_is_first_looked_at() -> None:
    state = dated(UNDATED, NOW - DAYS_30, UNDATED, NOW - DAYS_30 - 1)
    after = ratchet.forget_old(state, NOW)
    assert times_of(after) == [NOW, NOW - DAYS_30, NOW]
    assert [kept.mk for kept in after.mkskipped.values()] == [n.to_bytes(32) for n in range(3)]
    assert ratchet.forget_old(after, NOW) is after
    assert times_of(ratchet.forget_old(after, NOW + DAYS_30)) == [NOW, NOW]
    assert times_of(ratchet.forget_old(after, NOW + DAYS_30 + 1)) == []


@pytest.mark.parametrize("ahead", [1, DAYS_30, 100 * DAYS_30, 2**62])
def test_time_to_come_is_pulled_back_to_now(ahead: int) -> None:
    """A clock that was wrong for a moment keeps no key for ever."""
    after = ratchet.forget_old(dated(NOW + ahead, NOW), NOW)
    assert times_of(after) == [NOW, NOW]
    assert times_of(ratchet.forget_old(after, NOW + DAYS_30 + 1)) == []


def test_clock_that_goes_back_forgets_nothing_and_starts_the_30_days_again(talking: Pair) -> None:
    late, message = talking.alice.send_many(2)
    read_at(talking.bob, message, NOW)
    before = NOW - 400 * 24 * 60 * 60 * 1000
    talking.bob.state = ratchet.forget_old(talking.bob.state, before)
    assert times_of(talking.bob.state) == [before]
    talking.bob.state = ratchet.forget_old(talking.bob.state, before + DAYS_30)
    assert read_at(talking.bob, late, before + DAYS_30) == b"0"


def test_decrypting_alone_forgets_nothing(talking: Pair) -> None:
    """A message that is read late by one call is not refused for its age; forgetting is the caller's own step."""
    late, message, another = talking.alice.send_many(3)
    read_at(talking.bob, message, NOW)
    read_at(talking.bob, another, NOW + 2 * DAYS_30)
    assert read_at(talking.bob, late, NOW + 2 * DAYS_30) == b"0"


# --- a session --------------------------------------------------------------------


def session_with(*times: int) -> Session:
    alice, _ = established()
    return replace(alice, ratchet=replace(alice.ratchet, mkskipped=dated(*times).mkskipped))


def test_session_forgets_what_its_ratchet_forgets_and_nothing_else() -> None:
    state = session_with(NOW - DAYS_30 - 1, UNDATED, NOW + 5, NOW - DAYS_30)
    after = session.forget_old(state, NOW)
    assert times_of(after.ratchet) == [NOW, NOW, NOW - DAYS_30]
    assert after.ratchet == ratchet.forget_old(state.ratchet, NOW)
    assert replace(after, ratchet=state.ratchet) == state


@pytest.mark.parametrize("times", [(), (NOW,), (NOW - DAYS_30, NOW)])
def test_session_with_nothing_old_is_the_same_object(times: tuple[int, ...]) -> None:
    state = session_with(*times)
    assert session.forget_old(state, NOW) is state


def test_session_keeps_its_handshake_when_it_forgets() -> None:
    state = samples.begin(BOB.bundle())
    state = replace(state, ratchet=replace(state.ratchet, mkskipped=dated(0, NOW).mkskipped))
    after = session.forget_old(state, NOW)
    assert after.pending == state.pending is not None
    assert times_of(after.ratchet) == [NOW]


def forgotten_key_is_nowhere_in_what_is_stored() -> None:
    alice, bob = established()
    alice, late = encrypt(alice, b"late")
    alice, message = encrypt(alice, b"there")
    bob, _ = samples.decrypt(bob, message, NOW)
    (kept,) = bob.ratchet.mkskipped.values()
    assert kept.mk in session.dump(bob)
    loaded = session.load(session.dump(bob))
    assert times_of(loaded.ratchet) == [NOW]
    after = session.forget_old(loaded, NOW + DAYS_30 + 1)
    assert kept.mk not in session.dump(after)
    with pytest.raises(UndecryptableMessage):
        samples.decrypt(after, late)


def test_forgotten_key_is_nowhere_in_what_is_stored() -> None:
    forgotten_key_is_nowhere_in_what_is_stored()


def test_control_session_that_forgets_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "forget_old", lambda state, _: state)
    with pytest.raises(TURNED_OFF):
        forgotten_key_is_nowhere_in_what_is_stored()


# --- chains -----------------------------------------------------------------------


def lose_one_of_each_chain(pair: Pair, chains: int) -> list[Sent]:
    """Alice begins that many chains, and the first message of each is overtaken."""
    late = []
    for turn in range(chains):
        late.append(pair.alice.send(b"late %d" % turn))
        pair.bob.receive(pair.alice.send())
        pair.alice.receive(pair.bob.send())
    return late


def chains_of(state: RatchetState) -> list[bytes]:
    return list(dict.fromkeys(dh for dh, _ in state.mkskipped))


def keys_of_5_chains_are_kept() -> None:
    pair = start()
    pair.exchange()
    late = lose_one_of_each_chain(pair, 5)
    assert chains_of(pair.bob.state) == [header.dh for header, _ in late]
    late += lose_one_of_each_chain(pair, 1)
    assert chains_of(pair.bob.state) == [header.dh for header, _ in late[1:]]
    pair.bob.refuses(late[0])
    for number, message in enumerate(late[1:-1], 1):
        assert pair.bob.receive(message) == b"late %d" % number
    assert pair.bob.receive(late[-1]) == b"late 0"


def test_keys_of_the_5_newest_chains_are_kept_and_those_of_a_6th_go() -> None:
    keys_of_5_chains_are_kept()


@pytest.mark.parametrize("chains", [1, 4, 6, 1_000])
def test_control_another_bound_of_chains_is_noticed(chains: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, "MAX_RECEIVING_CHAINS", chains)
    with pytest.raises(TURNED_OFF):
        keys_of_5_chains_are_kept()


def test_all_keys_of_the_oldest_chain_go_together(talking: Pair) -> None:
    old = talking.alice.send_many(20)
    talking.bob.receive(old[-1])
    talking.alice.receive(talking.bob.send())
    lose_one_of_each_chain(talking, 4)
    assert len(talking.bob.state.mkskipped) == 23
    lose_one_of_each_chain(talking, 1)
    assert len(talking.bob.state.mkskipped) == 5
    assert old[0][0].dh not in chains_of(talking.bob.state)


def test_chain_of_which_nothing_is_missing_takes_no_place(talking: Pair) -> None:
    late = lose_one_of_each_chain(talking, 5)
    for _ in range(20):
        talking.exchange()
    assert [talking.bob.receive(message) for message in late] == [b"late %d" % n for n in range(5)]


def test_chain_of_which_all_was_read_late_gives_its_place_back(talking: Pair) -> None:
    late = lose_one_of_each_chain(talking, 5)
    talking.bob.receive(late[2])
    late += lose_one_of_each_chain(talking, 1)
    for number in (0, 1, 3, 4, 5):
        assert talking.bob.receive(late[number]).startswith(b"late")


def test_one_message_that_ends_a_chain_and_jumps_in_the_next_makes_two_chains(talking: Pair) -> None:
    late = lose_one_of_each_chain(talking, 4)
    talking.bob.receive(talking.alice.send())
    end = talking.alice.send(b"end")
    talking.alice.receive(talking.bob.send())
    begun = talking.alice.send(b"begun")
    talking.bob.receive(talking.alice.send())
    assert chains_of(talking.bob.state) == [*(header.dh for header, _ in late[1:]), end[0].dh, begun[0].dh]
    talking.bob.refuses(late[0])
    assert [talking.bob.receive(message) for message in (end, begun)] == [b"end", b"begun"]


def test_refused_message_of_a_new_chain_evicts_no_chain(talking: Pair) -> None:
    late = lose_one_of_each_chain(talking, 5)
    talking.alice.send()
    header, ciphertext = talking.alice.send()
    talking.bob.refuses((header, samples.flipped(ciphertext, 20, 1)))
    assert talking.bob.receive(late[0]) == b"late 0"


# --- randomness -------------------------------------------------------------------


class Source:
    """Random bytes, and how many were asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, size: int) -> bytes:
        self.asked.append(size)
        return randomness("source")(size)


def drawn_for(side: Side, message: Sent) -> list[int]:
    """The sizes that reading a message asked for."""
    source = Source()
    side.state, _ = ratchet.decrypt(side.state, *message, ASSOCIATED, random=source, now=NOW)
    return source.asked


def one_key_is_drawn_for_a_step_and_none_otherwise() -> None:
    pair = start()
    first, late, second = pair.alice.send_many(3)
    assert drawn_for(pair.bob, first) == [32]
    assert drawn_for(pair.bob, second) == []
    assert drawn_for(pair.bob, late) == []
    assert drawn_for(pair.alice, pair.bob.send()) == [32]
    assert drawn_for(pair.alice, pair.bob.send()) == []


def test_one_key_is_drawn_for_a_ratchet_step_and_none_otherwise() -> None:
    one_key_is_drawn_for_a_step_and_none_otherwise()


def test_control_key_that_is_drawn_for_every_message_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., tuple[RatchetState, bytes]] = ratchet.decrypt

    def eager(*arguments: object, random: ratchet.Randomness, now: int) -> tuple[RatchetState, bytes]:
        key = random(32)
        return real(*arguments, random=lambda _: key, now=now)

    monkeypatch.setattr(ratchet, "decrypt", eager)
    with pytest.raises(TURNED_OFF):
        one_key_is_drawn_for_a_step_and_none_otherwise()


def test_drawn_key_is_the_next_sending_key(talking: Pair) -> None:
    message = talking.alice.send()
    state, _ = ratchet.decrypt(talking.bob.state, *message, ASSOCIATED, random=lambda size: b"\x05" * size, now=NOW)
    assert state.dhs == KeyPair.from_private(b"\x05" * 32)


def test_nothing_is_drawn_for_what_is_refused_before_a_step(talking: Pair) -> None:
    source = Source()
    used = talking.alice.send()
    talking.bob.receive(used)
    before = repr_of_all(talking.bob.state)
    refused: list[tuple[Sent, type[CryptoError]]] = [
        (used, UndecryptableMessage),
        ((RatchetHeader(used[0].dh, 0, 5_000), used[1]), UndecryptableMessage),
        ((RatchetHeader(samples.ALICE.signed.pair.public, 0, 5_000), used[1]), UndecryptableMessage),
        ((RatchetHeader(bytes(32), 0, 0), used[1]), InvalidKey),
    ]
    for message, error in refused:
        with pytest.raises(error):
            ratchet.decrypt(talking.bob.state, *message, ASSOCIATED, random=source, now=NOW)
    assert source.asked == []
    assert repr_of_all(talking.bob.state) == before


def test_session_draws_a_key_only_for_a_ratchet_step() -> None:
    alice, bob = established()
    source = Source()
    bob, reply = encrypt(bob, b"in the same chain")
    alice, _ = session.decrypt(alice, session.parse(reply), random=source, now=NOW)
    assert source.asked == []
    _, message = encrypt(alice, b"in a new one")
    session.decrypt(bob, session.parse(message), random=source, now=NOW)
    assert source.asked == [32]


def test_starting_a_session_draws_one_key() -> None:
    source = Source()
    ephemeral = KeyPair.from_private(bytes(range(32)))
    session.start(
        samples.ALICE.identity, BOB.bundle(), ephemeral, own_id=samples.ALICE.id, peer_id=BOB.id, random=source
    )
    assert source.asked == [32]


def test_key_of_a_skipped_message_is_chain_key_and_number() -> None:
    pair = start()
    late, message = pair.alice.send_many(2)
    pair.bob.receive(message)
    expected: SkippedKey = (late[0].dh, 0)
    assert list(pair.bob.state.mkskipped) == [expected]
