"""Two people who write to each other in suite 2, brought to the same methods as the others."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conversations import ALICE, BOB, HELLO, Conversation

from phantom_messenger import labels
from phantom_messenger.crypto import handshake2, head, primitives, session2
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey
from phantom_messenger.crypto.ratchet2 import OFFER_AFTER_MS
from phantom_messenger.crypto.session2 import Session2

SIDES: Final = (ALICE, BOB)


class Suite2Conversation(Conversation[bytes, bytes]):
    """Two sessions of suite 2.

    Args:
        alice: hers.
        bob: his.
        pace_ms: how much time passes with each message. A week makes an offer due whenever one can be.
    """

    def __init__(self, alice: Session2, bob: Session2, *, pace_ms: int = 0) -> None:
        self.sessions = [alice, bob]
        self.pace_ms = pace_ms
        self.now = alice.kem.at

    def encrypt(self, who: int, text: bytes) -> bytes:
        """As the interface says; ``text`` counts as padded."""
        self.sessions[who], message = session2.encrypt(self.sessions[who], text, os.urandom)
        return message

    def decrypt(self, who: int, message: bytes) -> bytes:
        """As the interface says, with the parsing."""
        self.now += self.pace_ms
        self.sessions[who], text = session2.decrypt(
            self.sessions[who], head.parse(message), random=os.urandom, now=self.now
        )
        return text

    def dump(self, who: int) -> bytes:
        """The state in the clear: the vault around it encrypts."""
        return session2.dump(self.sessions[who])

    def load(self, who: int, state: bytes) -> None:
        """Undo ``dump``."""
        self.sessions[who] = session2.load(state)

    @staticmethod
    def size(message: bytes) -> int:
        """As the interface says."""
        return len(message)

    def turns(self, length: int, messages: int, text: bytes) -> tuple[float, int]:
        """Both take turns: bytes that the KEM takes of a message, and the largest state that was to be stored."""
        spent = largest = 0
        for number in range(messages):
            who = number // length % 2
            message = self.encrypt(who, text)
            self.decrypt(1 - who, message)
            spent += head.HEAD_BYTES[message[1]] - head.HEAD_BYTES[head.PartKind.NOTHING]
            largest = max(largest, *(len(self.dump(side)) for side in SIDES))
        return spent / messages, largest


@dataclass(frozen=True)
class Suite2Invitation:
    """A bundle, and the one-time keys behind it, which Bob has."""

    bundle: DatedBundle
    one_time: PreKey
    kem: KemPreKey


class Suite2Strangers:
    """Alice and Bob before they met; ``pace_ms`` as for their conversation."""

    def __init__(self, *, pace_ms: int = 0) -> None:
        self.pace_ms = pace_ms
        self.now = time.time_ns() // 1_000_000
        self.alice, self.bob = (OwnIdentity(os.urandom(primitives.KEY_BYTES)) for _ in range(2))
        self.ids = [self.alice.peer.user_id, self.bob.peer.user_id]
        self.signed = SignedPreKey.make(self.bob, 1, os.urandom(primitives.KEY_BYTES))
        self.last_resort = KemPreKey.make(self.bob, 2, os.urandom(primitives.KEM_SEED_BYTES))
        self.signature = self.bob.sign(
            labels.prekey_bundle(
                made_at=self.now,
                signed_id=self.signed.id,
                signed_prekey=self.signed.pair.public,
                kem_id=self.last_resort.id,
                kem_digest=primitives.sha256(self.last_resort.public),
                user_id=self.ids[BOB],
            )
        )

    def invitations(self, count: int) -> Sequence[Suite2Invitation]:
        """So many bundles with one-time keys of their own."""
        return [self._invitation(number) for number in range(3, count + 3)]

    def _invitation(self, number: int) -> Suite2Invitation:
        one_time = PreKey(number, KeyPair.from_private(os.urandom(primitives.KEY_BYTES)))
        kem = KemPreKey.make(self.bob, number, os.urandom(primitives.KEM_SEED_BYTES))
        bundle = DatedBundle(
            identity=self.bob.peer,
            user_id=self.ids[BOB],
            made_at=self.now,
            signed_prekey=self.signed.pair.public,
            signed_prekey_id=self.signed.id,
            kem_prekey=kem.public,
            kem_prekey_id=kem.id,
            signature=self.signature,
            one_time_prekey=one_time.pair.public,
            one_time_prekey_id=one_time.id,
            kem_prekey_signature=kem.signature,
            last_resort_digest=primitives.sha256(self.last_resort.public),
            last_resort_id=self.last_resort.id,
        )
        return Suite2Invitation(bundle, one_time, kem)

    def _begin(self, bundle: DatedBundle) -> Session2:
        return session2.start(
            self.alice,
            bundle,
            KeyPair.from_private(os.urandom(primitives.KEY_BYTES)),
            own_id=self.ids[ALICE],
            now=self.now,
            persistent_now=self.now,
            newest=0,
            random=os.urandom,
        )

    def _answer(self, header: HandshakeHeader | None, invitation: Suite2Invitation) -> Session2:
        assert header is not None  # noqa: S101 - a session that was not answered has one
        agreement = handshake2.respond(
            self.bob,
            header,
            signed_prekey=self.signed,
            one_time_prekey=invitation.one_time,
            kem_prekey=invitation.kem,
            own_id=self.ids[BOB],
            peer_id=self.ids[ALICE],
        )
        return session2.answer(header, agreement, self.signed.pair, now=self.now)

    def shake(self, invitation: Suite2Invitation) -> Suite2Conversation:
        """From a bundle to two sessions."""
        alice = self._begin(invitation.bundle)
        return Suite2Conversation(alice, self._answer(alice.pending, invitation), pace_ms=self.pace_ms)

    def greet(self, invitation: Suite2Invitation) -> Suite2Conversation:
        """From a bundle to two sessions, the second made from the first message, which is read.

        A body holds whole padded contents, so here the greeting is padded.
        """
        alice, message = session2.encrypt(self._begin(invitation.bundle), HELLO.ljust(256), os.urandom)
        parsed = head.parse(message)
        bob = self._answer(parsed.handshake, invitation)
        bob, text = session2.decrypt(bob, parsed, random=os.urandom, now=self.now)
        talk = Suite2Conversation(alice, bob, pace_ms=self.pace_ms)
        talk.greeting = text.rstrip()
        return talk

    def conversation(self) -> Suite2Conversation:
        """One that has been greeted."""
        return self.greet(*self.invitations(1))


def with_kem_steps() -> Suite2Strangers:
    """People in whose conversation a KEM key is offered whenever one can be: every third message of a ping-pong."""
    return Suite2Strangers(pace_ms=OFFER_AFTER_MS)
