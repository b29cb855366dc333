"""Suite 2 reads exactly what suite 1 reads: both carry the same conversation over the same bad network.

10,000 messages, a million in the long form, that are lost, repeated, reordered, and written by people who come back
from backups. The KEM in the ratchet may cost no message: what suite 1 reads of a schedule, suite 2 reads, and what
suite 1 refuses, it refuses. Who cannot read begins a new session, as session recovery does.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import crypto_samples as suite1
import pytest
import suite2_samples as suite2
from crypto_samples import NOW, randomness

from phantom_messenger.crypto import head, padding, primitives, session, session2
from phantom_messenger.crypto.errors import CryptoError, UndecryptableMessage
from phantom_messenger.crypto.head import KemKey
from phantom_messenger.crypto.session import Session
from phantom_messenger.crypto.session2 import Session2
from support.amounts import amount
from support.structs import replace

MESSAGES: Final = amount(10_000, 1_000_000)
A_SEED: Final = 500
"""Messages of one schedule."""

MAX_STATE_BYTES: Final = 1_800
OTHER: Final = {"alice": "bob", "bob": "alice"}
HOUR_MS: Final = 3_600_000


class Line1:
    """Two sessions of suite 1; the responder's exists from the first message on."""

    def __init__(self, begins: str, name: str) -> None:
        self.state: dict[str, Session] = {begins: suite1.begin(suite1.BOB.bundle(kem=False), name=name)}
        self.fresh = randomness(f"suite 1, {name}")

    def write(self, who: str, text: bytes) -> bytes:
        self.state[who], message = session.encrypt(self.state[who], text, self.fresh)
        return message

    def read(self, who: str, message: bytes, now: int) -> bytes:
        if who not in self.state:
            self.state[who], text = suite1.accept(message)
        else:
            self.state[who], text = session.decrypt(self.state[who], session.parse(message), random=self.fresh, now=now)
        return text

    def stored(self, who: str) -> bytes:
        return session.dump(self.state[who])

    def restore(self, who: str, stored: bytes) -> None:
        self.state[who] = session.load(stored)


class Line2:
    """The same of suite 2."""

    def __init__(self, begins: str, name: str, now: int) -> None:
        begun = suite2.begin(suite2.bundle(one_time=False, one_time_kem=False), name=name)
        self.state: dict[str, Session2] = {begins: replace(begun, kem=replace(begun.kem, at=now))}
        self.fresh = randomness(f"suite 2, {name}")
        self.parts: Counter[int] = Counter()

    def write(self, who: str, text: bytes) -> bytes:
        self.state[who], message = session2.encrypt(self.state[who], padding.pad(text), self.fresh)
        self.parts[message[1]] += 1
        return message

    def read(self, who: str, message: bytes, now: int) -> bytes:
        if who not in self.state:
            self.state[who], text = suite2.accept(message, now)
            return text
        before, stored = self.state[who], self.stored(who)
        try:
            self.state[who], padded = session2.decrypt(before, head.parse(message), random=self.fresh, now=now)
        except UndecryptableMessage:
            assert self.stored(who) == stored
            raise
        return padding.unpad(padded)

    def stored(self, who: str) -> bytes:
        return session2.dump(self.state[who])

    def restore(self, who: str, stored: bytes) -> None:
        self.state[who] = session2.load(stored)

    def looks_right(self) -> None:
        """A seed is kept exactly as long as its offer, and nothing grows but skipped keys."""
        for state in self.state.values():
            assert bool(state.kem.seed) is isinstance(state.kem.carried, KemKey)
            bare = replace(state, ratchet=replace(state.ratchet, mkskipped={}))
            assert len(session2.dump(bare)) <= MAX_STATE_BYTES


Letter = tuple[str, tuple[bytes, bytes], bytes]
"""For whom, as encrypted by either suite, and what it says."""


class Schedule:
    """What happens in one seed's conversation."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same in every run
        self.name = f"schedule {seed}"
        self.now = NOW
        self.counts: Counter[str] = Counter()
        self.parts: Counter[int] = Counter()
        self.pace = self.dice.uniform(0.3, 0.9)
        self.talkative = self.dice.uniform(0.2, 0.8)
        self.begin("alice")

    def begin(self, who: str) -> None:
        """A new session, for both suites; what was under way in the old one is lost."""
        name = f"{self.name}, session {self.counts['sessions']}"
        self.first, self.second = Line1(who, name), Line2(who, name, self.now)
        self.both: tuple[Line1 | Line2, ...] = (self.first, self.second)
        self.under_way: list[Letter] = []
        self.read: list[Letter] = []
        self.backups: list[dict[str, tuple[bytes, bytes]]] = []
        self.was_restored = False
        self.counts["sessions"] += 1

    def say(self) -> None:
        able = sorted(self.first.state)
        sender = able[0] if len(able) == 1 or self.dice.random() < self.talkative else able[1]
        text = hashlib.sha256(f"{self.name} {self.counts['said']}".encode()).digest()
        message = (self.first.write(sender, text), self.second.write(sender, text))
        self.counts["said"] += 1
        if self.dice.random() < 0.1:
            self.counts["lost"] += 1
        else:
            self.under_way.append((OTHER[sender], message, text))

    def deliver(self, letter: Letter) -> bool:
        """Whether both suites have read it; they agree."""
        to, message, text = letter
        outcomes: list[bytes | None] = []
        for line, bytes_of_it in zip(self.both, message, strict=True):
            try:
                outcomes.append(line.read(to, bytes_of_it, self.now))
            except UndecryptableMessage:
                outcomes.append(None)
        assert outcomes in ([text, text], [None, None])
        self.second.looks_right()
        return outcomes[0] is not None

    def deliver_next(self) -> None:
        place = self.dice.randrange(len(self.under_way)) if self.dice.random() < 0.3 else 0
        letter = self.under_way.pop(place)
        if self.deliver(letter):
            self.counts["read"] += 1
            self.read.append(letter)
            return
        self.counts["refused"] += 1
        if self.was_restored:
            # Somebody came back from a backup: who cannot read begins a new session.
            self.begin(letter[0])

    def repeat(self) -> None:
        """A message that was read arrives again: only somebody who has forgotten that reads it."""
        if self.deliver(self.dice.choice(self.read)):
            assert self.was_restored
            self.counts["read again"] += 1

    def back_up(self) -> None:
        self.backups.append({who: (self.first.stored(who), self.second.stored(who)) for who in self.first.state})

    def restore(self) -> None:
        who, stored = self.dice.choice(sorted(self.dice.choice(self.backups).items()))
        for line, bytes_of_it in zip(self.both, stored, strict=True):
            line.restore(who, bytes_of_it)
        self.was_restored = True
        self.counts["restored"] += 1

    def run(self, messages: int) -> "Schedule":
        while self.counts["said"] < messages:
            self.say()
            while self.under_way and self.dice.random() < self.pace:
                self.deliver_next()
            if self.read and self.dice.random() < 0.05:
                self.repeat()
            if self.dice.random() < 0.05:
                self.back_up()
            if self.backups and self.dice.random() < 0.003:
                self.restore()
            self.now += self.dice.randrange(HOUR_MS)
            self.parts += self.second.parts
            self.second.parts.clear()
        return self


def run_all(messages: int) -> tuple[Counter[str], Counter[int]]:
    counts: Counter[str] = Counter()
    parts: Counter[int] = Counter()
    for seed in range(messages // A_SEED):
        try:
            found = Schedule(seed).run(A_SEED)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        counts += found.counts
        parts += found.parts
    return counts, parts


@pytest.mark.timeout(amount(300, 14_400))
def test_suite_2_reads_what_suite_1_reads_and_nothing_else() -> None:
    counts, parts = run_all(MESSAGES)
    assert counts["said"] == MESSAGES
    assert counts["read"] > MESSAGES * 0.75
    # Each kind of trouble did come, and the KEM had its part in it.
    assert counts["lost"] > MESSAGES * 0.05
    assert counts["restored"] > MESSAGES / 1_000
    assert counts["sessions"] > MESSAGES / A_SEED
    assert min(parts[2], parts[3]) > MESSAGES / 200


def test_the_long_form_is_a_million_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.amounts.LONG", True)
    assert amount(10_000, 1_000_000) == 1_000_000


# --- keys and nonces ------------------------------------------------------------------


def pairs_used(patch: pytest.MonkeyPatch, schedules: int) -> list[tuple[bytes, bytes]]:
    """Every pair of key and nonce that something was sealed with, in conversations with backups."""
    real, used = primitives.seal, []

    def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        used.append((key, nonce))
        return real(key, nonce, plaintext, associated)

    patch.setattr(primitives, "seal", seal)
    restored = sum(Schedule(seed).run(A_SEED).counts["restored"] for seed in range(schedules))
    assert restored >= schedules / 2
    return used


def test_no_key_and_nonce_are_used_twice_though_backups_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    used = pairs_used(monkeypatch, 6)
    # A message of suite 1, a head and a body of suite 2 each time.
    assert len(used) == 3 * 6 * A_SEED
    assert len(set(used)) == len(used)
    # Some keys did come again, so that it hung on the nonces.
    assert len({key for key, _ in used}) < len(used)


def test_control_nonces_of_heads_that_are_not_random_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = session2.encrypt_head

    def encrypt_head(state: Session2, key: bytes, made: bytes, _: object) -> tuple[Session2, bytes]:
        return real(state, key, made, bytes)

    monkeypatch.setattr(session2, "encrypt_head", encrypt_head)
    used = pairs_used(monkeypatch, 6)
    assert len(set(used)) < len(used)


# --- the same with an error ---------------------------------------------------------


def _part_stands_in_the_first_message_alone(patch: pytest.MonkeyPatch) -> None:
    real = session2.encrypt_head

    def encrypt_head(state: Session2, *arguments: object) -> tuple[Session2, bytes]:
        if state.ratchet.ns == 0 or state.pending is not None:
            return real(state, *arguments)  # type: ignore[arg-type] # passed on
        after, made = real(replace(state, kem=replace(state.kem, carried=None)), *arguments)  # type: ignore[arg-type]
        return replace(after, kem=replace(after.kem, carried=state.kem.carried)), made

    patch.setattr(session2, "encrypt_head", encrypt_head)


def _restart_loses_the_seed(patch: pytest.MonkeyPatch) -> None:
    real = session2.load

    def load(data: bytes) -> Session2:
        loaded = real(data)
        return replace(loaded, kem=replace(loaded.kem, carried=None, seed=b""))

    patch.setattr(session2, "load", load)


def _offer_is_made_again_in_each_message(patch: pytest.MonkeyPatch) -> None:
    """A sender that thinks a new offer may replace one that is open."""
    real = session2.encrypt_head
    seeds = randomness("offers")

    def encrypt_head(state: Session2, *arguments: object) -> tuple[Session2, bytes]:
        if state.kem.seed:
            seed = seeds(64)
            offer = KemKey(primitives.kem_public(seed))
            state = replace(state, kem=replace(state.kem, carried=offer, seed=seed))
        return real(state, *arguments)  # type: ignore[arg-type] # passed on

    patch.setattr(session2, "encrypt_head", encrypt_head)


ERRORS: Final[dict[str, Callable[[pytest.MonkeyPatch], None]]] = {
    "the part stands in the first message of a chain alone": _part_stands_in_the_first_message_alone,
    "a restart loses the seed of an offer": _restart_loses_the_seed,
    "an offer is replaced while it is open": _offer_is_made_again_in_each_message,
}


@pytest.mark.parametrize("error", ERRORS)
def test_control_error_is_noticed(error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ERRORS[error](monkeypatch)
    with pytest.raises((AssertionError, CryptoError)):
        run_all(5_000)
