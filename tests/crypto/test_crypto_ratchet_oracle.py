"""Our ratchet talks with ``doubleratchet``, in both directions, whatever comes in which order."""

import random
from collections.abc import Callable
from typing import Final

import oracles
import pytest
from crypto_samples import NOW, randomness
from doubleratchet import AuthenticationFailedException, DuplicateMessageException
from oracles import OracleSide

from phantom_messenger.crypto import ratchet
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import RatchetHeader, RatchetState
from support.amounts import amount

TRANSCRIPTS: Final = amount(30, 500)
MESSAGES: Final = 50
ASSOCIATED: Final = b"who talks to whom"
SECRET: Final = bytes(range(32))
PREKEY: Final = KeyPair.from_private(bytes(range(32, 64)))
REFUSALS: Final = (UndecryptableMessage, AuthenticationFailedException, DuplicateMessageException)


class OwnSide:
    """Our ratchet behind the same three functions as the oracle's."""

    def __init__(self, state: RatchetState, name: str) -> None:
        self.state = state
        self.fresh = randomness(name)

    def encrypt(self, plaintext: bytes, associated: bytes) -> tuple[bytes, bytes]:
        self.state, header, ciphertext = ratchet.encrypt(self.state, plaintext, associated, self.fresh(12))
        return header.encode(), ciphertext

    def decrypt(self, header: bytes, ciphertext: bytes, associated: bytes) -> bytes:
        self.state, plaintext = ratchet.decrypt(
            self.state, RatchetHeader.decode(header), ciphertext, associated, random=self.fresh, now=NOW
        )
        return plaintext

    def restart(self) -> None:
        """Nothing to do: the state is a value."""


Side = OwnSide | OracleSide


def own_initiator(seed: int) -> OwnSide:
    fresh = KeyPair.from_private(randomness(f"own {seed}")(32))
    return OwnSide(ratchet.start_initiator(SECRET, PREKEY.public, fresh), f"initiator {seed}")


def own_responder(seed: int) -> OwnSide:
    return OwnSide(ratchet.start_responder(SECRET, PREKEY), f"responder {seed}")


def oracle_initiator(_: int) -> OracleSide:
    return OracleSide(SECRET, peer_key=PREKEY.public)


def oracle_responder(_: int) -> OracleSide:
    return OracleSide(SECRET, own_key=PREKEY.private)


ROLES: Final[dict[str, tuple[Callable[[int], Side], Callable[[int], Side]]]] = {
    "we begin": (own_initiator, oracle_responder),
    "the oracle begins": (oracle_initiator, own_responder),
}


class Transcript:
    """Two sides, and a network that loses, repeats and reorders within a window of ten messages."""

    def __init__(self, roles: str, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same in every run
        begins, answers = ROLES[roles]
        self.side: dict[str, Side] = {"a": begins(seed), "b": answers(seed)}
        self.has_heard = {"a": True, "b": False}
        self.under_way: list[tuple[str, bytes, bytes, bytes]] = []
        self.read: list[tuple[str, bytes, bytes]] = []
        self.late = 0

    def say(self, number: int) -> None:
        sender = self.dice.choice([name for name, can in self.has_heard.items() if can])
        text = b"%d" % number
        header, ciphertext = self.side[sender].encrypt(text, ASSOCIATED)
        if number == 0 or self.dice.random() > 0.1:
            self.under_way.append(("b" if sender == "a" else "a", header, ciphertext, text))

    def deliver(self) -> None:
        place = self.dice.randrange(min(10, len(self.under_way)))
        to, header, ciphertext, text = self.under_way.pop(place)
        self.late += place > 0
        self.refuses(to, header, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))
        assert self.side[to].decrypt(header, ciphertext, ASSOCIATED) == text
        self.has_heard[to] = True
        self.read.append((to, header, ciphertext))

    def refuses(self, to: str, header: bytes, ciphertext: bytes) -> None:
        with pytest.raises(REFUSALS):
            self.side[to].decrypt(header, ciphertext, ASSOCIATED)

    def run(self) -> None:
        for number in range(MESSAGES):
            self.say(number)
            while self.under_way and self.dice.random() < 0.5:
                self.deliver()
            if self.read and self.dice.random() < 0.2:
                self.refuses(*self.dice.choice(self.read))
            if self.dice.random() < 0.1:
                self.side["a"].restart()
                self.side["b"].restart()
        while self.under_way:
            self.deliver()


def run_all(roles: str, number: int) -> list[Transcript]:
    made = [Transcript(roles, seed) for seed in range(number)]
    for seed, transcript in enumerate(made):
        try:
            transcript.run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    return made


@pytest.mark.parametrize("roles", ROLES)
def test_each_message_of_one_side_is_read_by_the_other(roles: str) -> None:
    made = run_all(roles, TRANSCRIPTS)
    assert sum(len(transcript.read) for transcript in made) > TRANSCRIPTS * MESSAGES * 0.8
    assert sum(transcript.late for transcript in made) > TRANSCRIPTS * 5


@pytest.mark.parametrize("roles", ROLES)
def test_a_jump_of_256_is_read_by_both(roles: str) -> None:
    begins, answers = (make(0) for make in ROLES[roles])
    sent = [begins.encrypt(b"%d" % number, ASSOCIATED) for number in range(257)]
    for number in (256, 0, 255):
        assert answers.decrypt(*sent[number], ASSOCIATED) == b"%d" % number
    assert begins.decrypt(*answers.encrypt(b"reply", ASSOCIATED), ASSOCIATED) == b"reply"


@pytest.mark.parametrize("roles", ROLES)
def test_a_message_under_other_associated_data_is_refused_by_both(roles: str) -> None:
    begins, answers = (make(0) for make in ROLES[roles])
    message = begins.encrypt(b"text", ASSOCIATED)
    with pytest.raises(REFUSALS):
        answers.decrypt(*message, ASSOCIATED + b"!")
    assert answers.decrypt(*message, ASSOCIATED) == b"text"
    reply = answers.encrypt(b"text", ASSOCIATED)
    with pytest.raises(REFUSALS):
        begins.decrypt(*reply, b"")
    assert begins.decrypt(*reply, ASSOCIATED) == b"text"


# --- the same with another parameter ----------------------------------------------


def _swapped(ck: bytes) -> tuple[bytes, bytes]:
    return _KDF_CK(ck)[::-1]


_KDF_CK: Final = ratchet.kdf_ck
_KDF_RK: Final = ratchet._kdf_rk

CHANGES: Final[dict[str, tuple[str, object]]] = {
    "label of the root": ("ROOT_INFO", b"phantom/1 ratchet roof\n"),
    "label of the message": ("MESSAGE_INFO", b"phantom/2 message key\n"),
    "constants of the chain": ("kdf_ck", _swapped),
    "halves of the root": ("_kdf_rk", lambda rk, dh_out: _KDF_RK(rk, dh_out)[::-1]),
    "salt of the root": ("_kdf_rk", lambda rk, dh_out: _KDF_RK(dh_out, rk)),
}


@pytest.mark.parametrize("roles", ROLES)
@pytest.mark.parametrize("change", CHANGES)
def test_control_another_parameter_of_ours_is_noticed(change: str, roles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratchet, *CHANGES[change])
    with pytest.raises(REFUSALS):
        run_all(roles, 1)


def _moved(key: bytes) -> bytes:
    """Its bytes in another order, with a last one that leaves it canonical."""
    return key[1:31] + key[:1] + key[31:]


@pytest.mark.parametrize("roles", ROLES)
def test_control_another_order_of_the_header_is_noticed(roles: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = oracles.encoded
    monkeypatch.setattr(
        oracles, "encoded", lambda header: real(header._replace(ratchet_pub=_moved(header.ratchet_pub)))
    )
    with pytest.raises(REFUSALS):
        run_all(roles, 1)
