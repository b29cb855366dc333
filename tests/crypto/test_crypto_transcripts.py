"""100 conversations of 50 messages over a network that loses, repeats and reorders; 1,000 in the long form.

What must be read is told by a second, plain account of the specification (``Reader``): numbers only, no keys.
"""

import random
from collections.abc import Callable
from typing import Any, Final

import crypto_samples as samples
import pytest
from crypto_samples import BOB, NOW, begin

from phantom_messenger.crypto import ratchet, session
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage
from phantom_messenger.crypto.ratchet import RatchetHeader, RatchetState
from phantom_messenger.crypto.session import Session
from support.amounts import amount
from support.structs import replace

TRANSCRIPTS: Final = amount(100, 1_000)
MESSAGES: Final = 50
BLOCKS: Final = TRANSCRIPTS // 100
OTHER: Final = {"alice": "bob", "bob": "alice"}


class Reader:
    """Which messages one side can still read, in numbers alone (The Double Ratchet, section 3.5, and 5 chains)."""

    def __init__(self) -> None:
        self.chain = b""
        self.next = 0
        self.missing: list[tuple[bytes, int]] = []
        self._ended: set[bytes] = set()

    def reads(self, header: RatchetHeader) -> bool:
        """Whether a message that its peer really sent can be read, which it then is."""
        if (header.dh, header.n) in self.missing:
            self.missing.remove((header.dh, header.n))
            return True
        if header.dh == self.chain and header.n < self.next:
            return False
        if header.dh in self._ended:
            return False
        if header.dh != self.chain:
            self._pass_over(header.pn)
            self._ended.add(self.chain)
            self.chain, self.next = header.dh, 0
        self._pass_over(header.n)
        self.next = header.n + 1
        return True

    def _pass_over(self, until: int) -> None:
        if not self.chain:
            return
        self.missing += [(self.chain, n) for n in range(self.next, until)]
        newest = list(dict.fromkeys(chain for chain, _ in reversed(self.missing)))[:5]
        self.missing = [(chain, n) for chain, n in self.missing if chain in newest]


class Conversation:
    """Two people and a network, all from one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same in every run
        self.fresh = samples.randomness(f"conversation {seed}")
        self.now = NOW
        self.pace = self.dice.uniform(0.2, 0.95)
        self.delay = self.dice.uniform(0, 0.4)
        kinds = {"one_time": self.dice.random() < 0.5, "kem": self.dice.random() < 0.1}
        self.state: dict[str, Session | None] = {"alice": begin(BOB.bundle(**kinds), name=f"begin {seed}"), "bob": None}
        self.reader = {"alice": Reader(), "bob": Reader()}
        self.under_way: list[tuple[str, bytes, bytes]] = []
        self.held_back: list[tuple[str, bytes, bytes]] = []
        self.delivered: list[tuple[str, bytes]] = []
        self.said = self.lost = self.read = self.out_of_order = self.too_late = self.refused_again = self.restarts = 0

    def say(self) -> None:
        able = [name for name, state in self.state.items() if state is not None]
        sender = self.dice.choice(able)
        state = self.state[sender]
        assert state is not None
        text = b"%d from %s" % (self.said, sender.encode())
        self.state[sender], message = session.encrypt(state, text, self.fresh)
        self.said += 1
        luck = self.dice.random()
        if luck < 0.15:
            self.lost += 1
        elif luck < 0.15 + self.delay:
            self.held_back.append((OTHER[sender], message, text))
        else:
            self.under_way.append((OTHER[sender], message, text))

    def deliver(self) -> None:
        place = self.dice.randrange(len(self.under_way)) if self.dice.random() < 0.4 else 0
        to, message, text = self.under_way.pop(place)
        self.out_of_order += place > 0
        self.now += self.dice.randrange(60_000)
        header = session.parse(message).header
        if not self.reader[to].reads(header):
            self.refuses(to, message)
            self.too_late += 1
            return
        assert self.receive(to, message) == text
        self.read += 1
        self.delivered.append((to, message))

    def receive(self, to: str, message: bytes) -> bytes:
        state = self.state[to]
        if state is None:
            self.state[to], text = samples.accept(message)
        else:
            self.state[to], text = session.decrypt(state, session.parse(message), random=self.fresh, now=self.now)
        return text

    def repeat(self) -> None:
        self.refuses(*self.dice.choice(self.delivered))
        self.refused_again += 1

    def refuses(self, to: str, message: bytes) -> None:
        state = self.state[to]
        assert state is not None
        before = session.dump(state)
        with pytest.raises(UndecryptableMessage):
            self.receive(to, message)
        assert self.state[to] is state
        assert session.dump(state) == before

    def restart(self) -> None:
        for name, state in self.state.items():
            if state is not None:
                loaded = session.load(session.dump(state))
                assert loaded == state
                self.state[name] = session.forget_old(loaded, self.now)
                assert self.state[name] is loaded
        self.restarts += 1

    def run(self) -> None:
        while self.said < MESSAGES:
            self.say()
            while self.under_way and self.dice.random() < self.pace:
                self.deliver()
            if self.delivered and self.dice.random() < 0.2:
                self.repeat()
            if self.dice.random() < 0.1:
                self.restart()
        self.dice.shuffle(self.held_back)
        self.under_way += self.held_back
        while self.under_way:
            self.deliver()
        for _ in range(3):
            self.repeat()
        for name, reader in self.reader.items():
            state = self.state[name]
            assert state is not None
            assert list(state.ratchet.mkskipped) == reader.missing


def run(seed: int) -> Conversation:
    talk = Conversation(seed)
    try:
        talk.run()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    return talk


def run_all(seeds: range) -> list[Conversation]:
    return [run(seed) for seed in seeds]


@pytest.mark.parametrize("block", range(BLOCKS))
def test_every_message_that_arrives_is_read_once_and_right(block: int) -> None:
    size = TRANSCRIPTS // BLOCKS
    talks = run_all(range(block * size, (block + 1) * size))
    assert {talk.said for talk in talks} == {MESSAGES}
    assert all(talk.read + talk.lost + talk.too_late == talk.said for talk in talks)
    # Each kind of trouble did come, in each of these blocks.
    assert sum(talk.read for talk in talks) > size * MESSAGES * 0.7
    for count in ("lost", "out_of_order", "refused_again", "restarts"):
        assert sum(getattr(talk, count) for talk in talks) > size * 2, count
    assert sum(talk.too_late for talk in talks) > size / 20


# --- the same without a protection ------------------------------------------------

Decrypt = Callable[..., tuple[RatchetState, bytes]]


def _no_key_is_skipped(patch: pytest.MonkeyPatch) -> None:
    real = ratchet._skip

    def skip(state: RatchetState, until: int, now: int) -> RatchetState:
        return replace(real(state, until, now), mkskipped=state.mkskipped)

    patch.setattr(ratchet, "_skip", skip)


def _used_key_is_kept(patch: pytest.MonkeyPatch) -> None:
    real: Decrypt = ratchet.decrypt

    def decrypt(state: RatchetState, *arguments: Any, **named: Any) -> tuple[RatchetState, bytes]:
        after, plaintext = real(state, *arguments, **named)
        return replace(after, mkskipped={**state.mkskipped, **after.mkskipped}), plaintext

    patch.setattr(ratchet, "decrypt", decrypt)


def _every_chain_is_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ratchet, "MAX_RECEIVING_CHAINS", 1_000)


def _end_of_a_chain_is_dropped(patch: pytest.MonkeyPatch) -> None:
    real: Decrypt = ratchet.decrypt

    def decrypt(
        state: RatchetState, header: RatchetHeader, *arguments: Any, **named: Any
    ) -> tuple[RatchetState, bytes]:
        after, plaintext = real(state, header, *arguments, **named)
        if header.dh == state.dhr:
            return after, plaintext
        kept = {key: value for key, value in after.mkskipped.items() if key in state.mkskipped or key[0] == header.dh}
        return replace(after, mkskipped=kept), plaintext

    patch.setattr(ratchet, "decrypt", decrypt)


def _restart_loses_skipped_keys(patch: pytest.MonkeyPatch) -> None:
    real = session.load

    def load(data: bytes) -> Session:
        loaded = real(data)
        return replace(loaded, ratchet=replace(loaded.ratchet, mkskipped={}))

    patch.setattr(session, "load", load)


def _restart_loses_the_handshake(patch: pytest.MonkeyPatch) -> None:
    real = session.load
    patch.setattr(session, "load", lambda data: replace(real(data), pending=None))


ERRORS: Final = {
    "no key is skipped": _no_key_is_skipped,
    "a used key is kept": _used_key_is_kept,
    "every chain is kept": _every_chain_is_kept,
    "the end of a chain is dropped": _end_of_a_chain_is_dropped,
    "a restart loses skipped keys": _restart_loses_skipped_keys,
    "a restart loses the handshake": _restart_loses_the_handshake,
}


@pytest.mark.parametrize("error", ERRORS)
def test_control_error_is_noticed(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ERRORS[error](monkeypatch)
    with pytest.raises((AssertionError, CryptoError, pytest.fail.Exception)):
        run_all(range(100))
