"""Two sides of a ratchet, and what can be done to them."""

from dataclasses import dataclass
from typing import Final

import pytest
from crypto_samples import NOW, randomness

from phantom_messenger.crypto import ratchet
from phantom_messenger.crypto.errors import UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair
from phantom_messenger.crypto.ratchet import RatchetHeader, RatchetState

SECRET: Final = bytes(range(100, 132))
ASSOCIATED: Final = b"who talks to whom"

Sent = tuple[RatchetHeader, bytes]


class Side:
    """A state and what can be done to it; a failure leaves it as it is."""

    def __init__(self, name: str, state: RatchetState) -> None:
        self.state = state
        self._fresh = randomness(name)
        self._nonces = randomness(f"nonces of {name}")

    def send(self, plaintext: bytes = b"") -> Sent:
        nonce = self._nonces(12)
        self.state, header, ciphertext = ratchet.encrypt(self.state, plaintext, ASSOCIATED, nonce)
        assert ciphertext.startswith(nonce)
        assert len(ciphertext) == 12 + len(plaintext) + 16
        return header, ciphertext

    def send_many(self, number: int) -> list[Sent]:
        return [self.send(b"%d" % index) for index in range(number)]

    def receive(self, message: Sent, associated: bytes = ASSOCIATED) -> bytes:
        self.state, plaintext = ratchet.decrypt(self.state, *message, associated, random=self._fresh, now=NOW)
        return plaintext

    def refuses(self, message: Sent, error: type[Exception] = UndecryptableMessage) -> None:
        before = repr_of_all(self.state)
        with pytest.raises(error):
            self.receive(message)
        assert repr_of_all(self.state) == before


def repr_of_all(state: RatchetState) -> str:
    """Everything in a state, in order, as a text that later changes cannot reach."""
    names = ("dhs", "dhr", "rk", "cks", "ckr", "ns", "nr", "pn")
    skipped = [(key, kept.mk, kept.at) for key, kept in state.mkskipped.items()]
    return repr([getattr(state, name) for name in names] + [skipped, state.dhs.private])


@dataclass
class Pair:
    alice: Side
    bob: Side

    def exchange(self) -> None:
        """A message each way that arrives: both take a ratchet step."""
        self.bob.receive(self.alice.send())
        self.alice.receive(self.bob.send())


def start() -> Pair:
    prekey = KeyPair.from_private(randomness("prekey")(32))
    own = KeyPair.from_private(randomness("own")(32))
    return Pair(
        Side("alice", ratchet.start_initiator(SECRET, prekey.public, own)),
        Side("bob", ratchet.start_responder(SECRET, prekey)),
    )
