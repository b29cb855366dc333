"""No pair of message key and nonce is used twice, whatever backup a side comes back from.

Under GCM such a pair gives both texts away, and the key with which tags are forged. A state that is restored from
a copy does use its message keys again, so that all depends on the nonces; these are the system's random bytes here.
"""

import os
import random
from collections.abc import Callable
from typing import Final

import pytest
from crypto_samples import BOB, NOW, accept, begin

from phantom_messenger.crypto import primitives, ratchet, session
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.crypto.session import Session
from support.amounts import amount

MESSAGES: Final = amount(20_000, 1_000_000)
WITHOUT_BACKUPS: Final = amount(5_000, 100_000)
A_SESSION: Final = 2_000
"""Messages of one session, then another begins."""

Random = Callable[[int], bytes]
Backup = dict[str, bytes]


class Seal:
    """Stands in the place of ``primitives.seal`` and remembers what it was called with."""

    def __init__(self) -> None:
        self._real = primitives.seal
        self.pairs: set[bytes] = set()
        self.keys: set[bytes] = set()
        self.calls = 0

    def __call__(self, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        assert (len(key), len(nonce)) == (32, 12)
        self.calls += 1
        self.pairs.add(key + nonce)
        self.keys.add(key)
        return self._real(key, nonce, plaintext, associated)


@pytest.fixture
def seal(monkeypatch: pytest.MonkeyPatch) -> Seal:
    spy = Seal()
    monkeypatch.setattr(primitives, "seal", spy)
    return spy


class Pair:
    """Two people who talk, of whom one or both come back from a backup now and then."""

    def __init__(self, dice: random.Random, seal: Seal, fresh: Random, *, backups: bool) -> None:
        alice = begin(BOB.bundle(kem=False), name=f"session after {seal.calls}")
        alice, first = session.encrypt(alice, b"first", fresh)
        bob, _ = accept(first)
        self.state: dict[str, Session] = {"alice": alice, "bob": bob}
        self.dice = dice
        self.seal = seal
        self.fresh = fresh
        self.may_restore = backups
        self.backups: list[Backup] = [self.backup()]
        self.restored = 0

    def backup(self) -> Backup:
        return {name: session.dump(state) for name, state in self.state.items()}

    def restore(self, *names: str) -> None:
        copy = self.dice.choice(self.backups)
        for name in names:
            self.state[name] = session.load(copy[name])
        self.restored += 1

    def turn(self, sender: str, receiver: str, most: int) -> int:
        """One side writes some messages, of which one arrives; how many."""
        number = min(most, self.dice.randint(1, 40))
        arrives = self.dice.randrange(number)
        message = b""
        for place in range(number):
            self.state[sender], sealed = session.encrypt(self.state[sender], b"text", self.fresh)
            if place == arrives:
                message = sealed
        parsed = session.parse(message)
        try:
            self.state[receiver], _ = session.decrypt(self.state[receiver], parsed, random=self.fresh, now=NOW)
        except UndecryptableMessage:
            # One of them came back from another time than the other.
            assert self.restored
            self.restore("alice", "bob")
        return number

    def talk(self, messages: int) -> None:
        left = messages
        while left:
            for sender, receiver in (("alice", "bob"), ("bob", "alice")):
                left -= self.turn(sender, receiver, left) if left else 0
            if self.may_restore and self.dice.random() < 0.2:
                self.backups = [*self.backups[-4:], self.backup()]
            if self.may_restore and self.dice.random() < 0.1:
                self.restore(*self.dice.choice([("alice",), ("bob",), ("alice", "bob")]))


def talk(seal: Seal, messages: int, *, fresh: Random = os.urandom, backups: bool = True) -> int:
    """So many messages in sessions of ``A_SESSION``; how often somebody came back from a backup."""
    dice = random.Random(messages)  # noqa: S311 - the same in every run
    restored = 0
    while seal.calls < messages:
        sealed = seal.calls
        pair = Pair(dice, seal, fresh, backups=backups)
        begun = seal.calls - sealed
        pair.talk(min(A_SESSION, messages - sealed) - begun)
        restored += pair.restored
    assert seal.calls == messages
    return restored


def test_the_long_form_is_a_million_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.amounts.LONG", True)
    assert amount(20_000, 1_000_000) == 1_000_000


@pytest.mark.timeout(amount(300, 1_200))
def test_no_key_and_nonce_are_used_twice_though_backups_come_back(seal: Seal) -> None:
    restored = talk(seal, MESSAGES)
    assert restored > MESSAGES / 500
    # Some keys did come again, so that it hung on the nonces.
    assert len(seal.keys) < MESSAGES * 0.98
    assert len(seal.pairs) == MESSAGES


def test_no_key_is_used_twice_without_backups(seal: Seal) -> None:
    assert talk(seal, WITHOUT_BACKUPS, backups=False) == 0
    assert len(seal.keys) == len(seal.pairs) == WITHOUT_BACKUPS


# --- the same without a protection ------------------------------------------------


def test_control_nonce_that_is_not_random_is_noticed(seal: Seal) -> None:
    talk(seal, 2_000, fresh=lambda size: bytes(size) if size == primitives.NONCE_BYTES else os.urandom(size))
    assert len(seal.pairs) < 2_000


def test_control_nonce_that_counts_is_noticed(seal: Seal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of the message as nonce would do, if no state ever came back."""
    real = ratchet.encrypt

    def encrypt(
        state: ratchet.RatchetState, plaintext: bytes, associated: bytes, _: bytes
    ) -> tuple[ratchet.RatchetState, ratchet.RatchetHeader, bytes]:
        return real(state, plaintext, associated, state.ns.to_bytes(primitives.NONCE_BYTES))

    monkeypatch.setattr(ratchet, "encrypt", encrypt)
    talk(seal, 2_000)
    assert len(seal.pairs) < 2_000


def test_control_chain_that_stands_still_is_noticed(seal: Seal, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ratchet.kdf_ck
    monkeypatch.setattr(ratchet, "kdf_ck", lambda ck: (ck, real(ck)[1]))
    talk(seal, 2_000, backups=False)
    assert len(seal.keys) < 2_000
    assert len(seal.pairs) == 2_000
