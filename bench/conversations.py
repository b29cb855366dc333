"""Two people who write to each other, with our encryption and with that of others.

Each library is brought to the same few methods. A message passes between the two as bytes
where the library has a form for that.
"""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import doubleratchet
import vodozemac
import x3dh
from doubleratchet.recommended import HashFunction, aead_aes_hmac, kdf_hkdf, kdf_separate_hmacs
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet
from x3dh.crypto_provider import HashFunction as X3DHHashFunction

from phantom_messenger.crypto import handshake, primitives, session
from phantom_messenger.crypto.errors import CryptoError
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle, SignedPreKey
from phantom_messenger.crypto.session import Session

ALICE: Final = 0
BOB: Final = 1
HELLO: Final = b"hello"
WORDS: Final = (b"from here".ljust(256), b"from there".ljust(256))
"""As long as the shortest padded content, which is the shortest text of suite 2."""

Message = TypeVar("Message")
Stored = TypeVar("Stored", bytes, str)


class Conversation(ABC, Generic[Message, Stored]):
    """Alice and Bob, each with a session.

    ``turn`` is whose it is in a ping-pong, ``greeting`` what Bob read in the first message.
    """

    turn: int = ALICE
    greeting: bytes = b""
    stored: list[Stored]

    @abstractmethod
    def encrypt(self, who: int, text: bytes) -> Message:
        """A message of one of them."""

    @abstractmethod
    def decrypt(self, who: int, message: Message) -> bytes:
        """The text that one of them reads."""

    @abstractmethod
    def dump(self, who: int) -> Stored:
        """The state of one of them as it would be stored."""

    @abstractmethod
    def load(self, who: int, state: Stored) -> None:
        """Undo ``dump``."""

    @staticmethod
    @abstractmethod
    def size(message: Message) -> int:
        """Bytes that a message takes on its way."""

    def in_a_row(self, text: bytes) -> bytes:
        """One more message of Alice."""
        return self.decrypt(BOB, self.encrypt(ALICE, text))

    def ping_pong(self, text: bytes) -> bytes:
        """A message of whose turn it is: each brings a ratchet step."""
        self.turn = 1 - self.turn
        return self.decrypt(self.turn, self.encrypt(1 - self.turn, text))

    def keep(self) -> None:
        """Store both states, for what follows."""
        self.stored = [self.dump(ALICE), self.dump(BOB)]

    def in_a_row_stored(self, text: bytes) -> bytes:
        """As ``in_a_row``, but both have nothing except what they stored."""
        return self._carry_stored(ALICE, text)

    def ping_pong_stored(self, text: bytes) -> bytes:
        """As ``ping_pong``, but both have nothing except what they stored."""
        self.turn = 1 - self.turn
        return self._carry_stored(1 - self.turn, text)

    def _carry_stored(self, sender: int, text: bytes) -> bytes:
        receiver = 1 - sender
        self.load(sender, self.stored[sender])
        message = self.encrypt(sender, text)
        self.stored[sender] = self.dump(sender)
        self.load(receiver, self.stored[receiver])
        read = self.decrypt(receiver, message)
        self.stored[receiver] = self.dump(receiver)
        return read

    def works(self) -> bool:
        """Whether a message each way arrives."""
        return all(self.ping_pong(text) == text for text in WORDS)

    def greeted(self) -> bool:
        """Whether the first message arrived, and one each way after it."""
        return self.greeting == HELLO and self.works()


# --- ours -------------------------------------------------------------------------


class OurConversation(Conversation[bytes, bytes]):
    """Two of our sessions."""

    def __init__(self, alice: Session, bob: Session) -> None:
        self.sessions = [alice, bob]

    def encrypt(self, who: int, text: bytes) -> bytes:
        """As the interface says; ``text`` counts as padded."""
        self.sessions[who], message = session.encrypt(self.sessions[who], text, os.urandom)
        return message

    def decrypt(self, who: int, message: bytes) -> bytes:
        """As the interface says, with the parsing."""
        self.sessions[who], text = session.decrypt(
            self.sessions[who], session.parse(message), random=os.urandom, now=time.time_ns() // 1_000_000
        )
        return text

    def dump(self, who: int) -> bytes:
        """The state in the clear: the vault around it encrypts."""
        return session.dump(self.sessions[who])

    def load(self, who: int, state: bytes) -> None:
        """Undo ``dump``."""
        self.sessions[who] = session.load(state)

    @staticmethod
    def size(message: bytes) -> int:
        """As the interface says."""
        return len(message)


def refuses_changes(talk: Conversation[bytes, bytes], text: bytes) -> bool:
    """Whether Bob turns down a message in which one bit was flipped, wherever, and reads the true one."""
    message = talk.encrypt(ALICE, text)
    return (
        all(
            _refuses(talk, message[:place] + bytes([message[place] ^ 1]) + message[place + 1 :])
            for place in range(2, len(message), 7)
        )
        and talk.decrypt(BOB, message) == text
    )


def _refuses(talk: Conversation[bytes, bytes], message: bytes) -> bool:
    try:
        talk.decrypt(BOB, message)
    except CryptoError:
        return True
    return False


@dataclass(frozen=True)
class OurInvitation:
    """A bundle, and the one-time keys behind it, which Bob has."""

    bundle: PreKeyBundle
    one_time: PreKey
    kem: KemPreKey | None


class OurStrangers:
    """Alice and Bob before they met; ``kem``: Bob has left a KEM prekey too."""

    def __init__(self, *, kem: bool) -> None:
        self.alice, self.bob = (OwnIdentity(os.urandom(primitives.KEY_BYTES)) for _ in range(2))
        self.ids = [self.alice.peer.user_id, self.bob.peer.user_id]
        self.signed = SignedPreKey.make(self.bob, 1, os.urandom(primitives.KEY_BYTES))
        self.kem = kem

    def invitations(self, count: int) -> Sequence[OurInvitation]:
        """So many bundles with one-time keys of their own."""
        return [self._invitation(number) for number in range(2, count + 2)]

    def _invitation(self, number: int) -> OurInvitation:
        one_time = PreKey(number, KeyPair.from_private(os.urandom(primitives.KEY_BYTES)))
        kem = KemPreKey.make(self.bob, number, os.urandom(primitives.KEM_SEED_BYTES)) if self.kem else None
        bundle = PreKeyBundle(
            identity=self.bob.peer,
            signed_prekey=self.signed.pair.public,
            signed_prekey_signature=self.signed.signature,
            signed_prekey_id=self.signed.id,
            one_time_prekey=one_time.pair.public,
            one_time_prekey_id=one_time.id,
            kem_prekey=None if kem is None else kem.public,
            kem_prekey_signature=b"" if kem is None else kem.signature,
            kem_prekey_id=0 if kem is None else kem.id,
        )
        return OurInvitation(bundle, one_time, kem)

    def _begin(self, bundle: PreKeyBundle) -> Session:
        return session.start(
            self.alice,
            bundle,
            KeyPair.from_private(os.urandom(primitives.KEY_BYTES)),
            own_id=self.ids[ALICE],
            peer_id=self.ids[BOB],
            random=os.urandom,
        )

    def _answer(self, header: HandshakeHeader | None, invitation: OurInvitation) -> Session:
        assert header is not None  # noqa: S101 - a session that was not answered has one
        agreement = handshake.respond(
            self.bob,
            header,
            signed_prekey=self.signed,
            one_time_prekey=invitation.one_time,
            kem_prekey=invitation.kem,
            own_id=self.ids[BOB],
            peer_id=self.ids[ALICE],
        )
        return session.answer(header, agreement, self.signed.pair)

    def shake(self, invitation: OurInvitation) -> OurConversation:
        """From a bundle to two sessions."""
        alice = self._begin(invitation.bundle)
        return OurConversation(alice, self._answer(alice.pending, invitation))

    def greet(self, invitation: OurInvitation) -> OurConversation:
        """From a bundle to two sessions, the second made from the first message, which is read."""
        alice, message = session.encrypt(self._begin(invitation.bundle), HELLO, os.urandom)
        parsed = session.parse(message)
        bob = self._answer(parsed.handshake, invitation)
        bob, text = session.decrypt(bob, parsed, random=os.urandom, now=time.time_ns() // 1_000_000)
        talk = OurConversation(alice, bob)
        talk.greeting = text
        return talk


# --- vodozemac --------------------------------------------------------------------


class OlmConversation(Conversation[tuple[int, bytes], str]):
    """Two Olm sessions of vodozemac."""

    pickle_key: Final = bytes(range(32))

    def __init__(self, alice: vodozemac.Session, bob: vodozemac.Session) -> None:
        self.sessions = [alice, bob]

    def encrypt(self, who: int, text: bytes) -> tuple[int, bytes]:
        """As the interface says."""
        return self.sessions[who].encrypt(text).to_parts()

    def decrypt(self, who: int, message: tuple[int, bytes]) -> bytes:
        """As the interface says."""
        return self.sessions[who].decrypt(vodozemac.AnyOlmMessage.from_parts(*message))

    def dump(self, who: int) -> str:
        """The only form it has: encrypted, in Base64."""
        return self.sessions[who].pickle(self.pickle_key)

    def load(self, who: int, state: str) -> None:
        """Undo ``dump``."""
        self.sessions[who] = vodozemac.Session.from_pickle(state, self.pickle_key)

    @staticmethod
    def size(message: tuple[int, bytes]) -> int:
        """The bytes, and one for the type beside them."""
        return 1 + len(message[1])


OlmInvitation = tuple[vodozemac.Curve25519PublicKey, bytes, vodozemac.Ed25519Signature]


class OlmStrangers:
    """Alice and Bob before they met. Bob signs his one-time keys, as Matrix has it."""

    def __init__(self) -> None:
        self.alice, self.bob = vodozemac.Account(), vodozemac.Account()

    def invitations(self, count: int) -> Sequence[OlmInvitation]:
        """So many signed one-time keys of Bob, who keeps no others."""
        self.bob = vodozemac.Account()
        self.bob.generate_one_time_keys(count)
        keys = list(self.bob.one_time_keys.values())
        self.bob.mark_keys_as_published()
        return [(key, key.to_bytes(), self.bob.sign(key.to_bytes())) for key in keys]

    def greet(self, invitation: OlmInvitation) -> OlmConversation:
        """From a one-time key to two sessions; the second cannot be made without a message."""
        key, signed, signature = invitation
        self.bob.ed25519_key.verify_signature(signed, signature)
        alice = self.alice.create_outbound_session(self.bob.curve25519_key, key)
        first = vodozemac.AnyOlmMessage.from_parts(*alice.encrypt(HELLO).to_parts()).to_pre_key()
        assert first is not None  # noqa: S101 - for the type
        bob, text = self.bob.create_inbound_session(self.alice.curve25519_key, first)
        talk = OlmConversation(alice, bob)
        talk.greeting = text
        return talk


# --- x3dh and doubleratchet -------------------------------------------------------

Result = TypeVar("Result")


def finished(pure: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that waits for nothing: no event loop is paid for."""
    try:
        pure.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError("it did wait for something")


class _RootKDF(kdf_hkdf.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench root"


class _MessageKDF(kdf_separate_hmacs.KDF):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class _AEAD(aead_aes_hmac.AEAD):
    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench message"


class _Ratchet(doubleratchet.DoubleRatchet):
    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        return (
            associated_data
            + header.ratchet_pub
            + header.previous_sending_chain_length.to_bytes(4, "big")
            + header.sending_chain_length.to_bytes(4, "big")
        )


class _X3DH(x3dh.BaseState):
    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return key_format.value.encode() + pub


_CONFIGURATION: Final[dict[str, Any]] = {
    "diffie_hellman_ratchet_class": DiffieHellmanRatchet,
    "root_chain_kdf": _RootKDF,
    "message_chain_kdf": _MessageKDF,
    "message_chain_constant": b"\x01\x02",
    "dos_protection_threshold": 2_000,
    "max_num_skipped_message_keys": 2_000,
    "aead": _AEAD,
}


class RatchetConversation(Conversation[doubleratchet.EncryptedMessage, str]):
    """Two sessions of ``doubleratchet``."""

    def __init__(self, alice: _Ratchet, bob: _Ratchet, associated: bytes) -> None:
        self.ratchets = [alice, bob]
        self.associated = associated

    def encrypt(self, who: int, text: bytes) -> doubleratchet.EncryptedMessage:
        """As the interface says; it has no form in bytes."""
        return finished(self.ratchets[who].encrypt_message(text, self.associated))

    def decrypt(self, who: int, message: doubleratchet.EncryptedMessage) -> bytes:
        """As the interface says."""
        return finished(self.ratchets[who].decrypt_message(message, self.associated))

    def dump(self, who: int) -> str:
        """Its model as JSON."""
        return self.ratchets[who].model.model_dump_json()

    def load(self, who: int, state: str) -> None:
        """Undo ``dump``."""
        self.ratchets[who] = _Ratchet.from_json(json.loads(state), **_CONFIGURATION)

    @staticmethod
    def size(message: doubleratchet.EncryptedMessage) -> int:
        """The ciphertext, and the header counted as a key and two numbers of four bytes."""
        return len(message.header.ratchet_pub) + 8 + len(message.ciphertext)


RatchetInvitation = tuple[x3dh.Bundle, _X3DH]


class RatchetStrangers:
    """Alice and Bob before they met."""

    def __init__(self) -> None:
        self.alice = self._somebody()

    @staticmethod
    def _somebody() -> _X3DH:
        return _X3DH.create(x3dh.IdentityKeyFormat.ED_25519, X3DHHashFunction.SHA_256, b"bench x3dh")

    def invitations(self, count: int) -> Sequence[RatchetInvitation]:
        """So many people with one one-time key each: it looks through all of them in every handshake."""
        made = []
        for _ in range(count):
            bob = self._somebody()
            bob.generate_pre_keys(1)
            made.append((bob.bundle, bob))
        return made

    def agree(self, invitation: RatchetInvitation) -> tuple[bytes, bytes]:
        """The secret of both sides, without a session."""
        bundle, bob = invitation
        active, _, header = finished(self.alice.get_shared_secret_active(bundle))
        passive, _, _ = finished(bob.get_shared_secret_passive(header))
        return active, passive

    def greet(self, invitation: RatchetInvitation) -> RatchetConversation:
        """From a bundle to two sessions; neither can be made without a message."""
        bundle, bob = invitation
        secret, associated, header = finished(self.alice.get_shared_secret_active(bundle))
        alice, first = finished(
            _Ratchet.encrypt_initial_message(
                **_CONFIGURATION,
                shared_secret=secret,
                recipient_ratchet_pub=bundle.signed_pre_key,
                message=HELLO,
                associated_data=associated,
            )
        )
        secret, associated, signed = finished(bob.get_shared_secret_passive(header))
        answer, text = finished(
            _Ratchet.decrypt_initial_message(
                **_CONFIGURATION,
                shared_secret=secret,
                own_ratchet_priv=signed.priv,
                message=first,
                associated_data=associated,
            )
        )
        talk = RatchetConversation(alice, answer, associated)
        talk.greeting = text
        return talk
