"""One side of a transcript of several sessions: the production code's conversations, and what they draw."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from client_samples import KEY

from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.content import Ends, Text
from phantom_messenger.client.content_suites import encode
from phantom_messenger.client.conversations import Conversations, conversation_id
from phantom_messenger.client.records import ContactRecord, OutboxRecord
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import padding, session2
from phantom_messenger.crypto.errors import UnknownPreKey
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKeyBundle, SignedPreKey
from phantom_messenger.crypto.suites import AnySession
from phantom_messenger.wire import codec, frames, signing

NUMBER = "00000000-0000-4000-8000-000000000001"
Draw = Callable[[str, int], bytes]
"""Takes a purpose and a size."""


class Owner(NamedTuple):
    """A user, with the raw id that they use, and the prekeys that last, of which none is ever used up."""

    identity: OwnIdentity
    user_id: bytes
    signed: SignedPreKey
    last_resort: KemPreKey

    def named_in(self, header: HandshakeHeader) -> tuple[SignedPreKey, None, KemPreKey]:
        """As ``PreKeyStore.named_in``."""
        if (header.signed_prekey_id, header.kem_prekey_id) != (self.signed.id, self.last_resort.id):
            raise UnknownPreKey("there is no such prekey")
        return self.signed, None, self.last_resort

    def consume(self, *_: Any) -> None:
        """Nothing."""


class _Watched(Conversations):
    """Notes what was read: the session's id and the padded content."""

    read: tuple[bytes, bytes]

    def _decrypt(self, *given: Any, **named: Any) -> Any:
        found = super()._decrypt(*given, **named)
        self.read = found[1].id, found[2]
        return found


class Side:
    """A user's sessions with another one.

    Args:
        path: of a vault.
        own: the user.
        peer: the other one.
        draw: gives what would be random.
    """

    def __init__(self, path: Path, own: Owner, peer: Owner, draw: Draw) -> None:
        self._own, self._peer, self._draw = own, peer, draw
        self._peer_id = _text(peer.user_id)
        self._vault = Vault(path, KEY)
        book = AddressBook(self._vault)
        with self._vault.transaction() as tx:
            book.put(tx, ContactRecord(user_id=self._peer_id, name="peer"))
        self._conversations = _Watched(self._vault, book, own.identity, own, self._random)  # type: ignore[arg-type] # prekeys that do not end
        self._conversations._own_id = own.user_id
        self._purposes: dict[int, str] = {}

    def _random(self, size: int) -> bytes:
        return self._draw(self._purposes[size], size)

    def close(self) -> None:
        """Give back the file."""
        self._vault.close()

    def sessions(self) -> list[AnySession]:
        """All of them, the current one first."""
        return self._conversations.load(self._peer_id).sessions

    def begin(self, bundle: PreKeyBundle, ephemeral: KeyPair, now: int) -> None:
        """Begin a session."""
        self._purposes = {32: "ratchet_private"}
        with self._vault.transaction() as tx:
            state = self._conversations.load(self._peer_id)
            self._conversations.begin(tx, state, bundle, ephemeral, now=now, wall=now)

    def write(self, text: str, now: int) -> tuple[bytes, bytes, bytes]:
        """The id of the session that was used, the content, and the message."""
        self._purposes = {32: "key", 12: "nonce"}
        state = self._conversations.load(self._peer_id)
        assert state.sending is not None
        entry = OutboxRecord(message_id=NUMBER, peer=self._peer_id, text=text, burn=False, expires_in=None, made_at=now)
        with self._vault.transaction() as tx:
            message = self._conversations.seal(tx, state, entry).sealed
        own, peer = self._own, self._peer
        ends = Ends(own.user_id, own.identity.peer.public, peer.user_id, peer.identity.peer.public)
        content = padding.unpad(encode(Text(sent_at=now, body=text), ends, suite=session2.SUITE))
        return state.sending.id, content, message

    def read(self, message: bytes, signer: OwnIdentity, now: int) -> tuple[bytes, bytes]:
        """The id of the session, and the padded content, of a message in an envelope that somebody has signed."""
        self._purposes = {32: "ratchet_private"}
        payload = frames.MessagePayload(
            conversation_id=conversation_id(self._peer_id, _text(self._own.user_id)),
            encrypted=_text(message),
            message_id=NUMBER,
            recipient_id=_text(self._own.user_id),
        )
        bare = frames.Message(payload=payload, signature="", timestamp=0)
        mark = _text(signer.sign(signing.envelope_bytes(codec.signed_text(bare))))
        signed = frames.Message(payload=payload, signature=mark, timestamp=0)
        routed: frames.RoutedMessage = codec.route(signed, self._peer_id)
        with self._vault.transaction() as tx:
            self._conversations.open(tx, routed, codec.signed_text(codec.original(routed)), now)
        return self._conversations.read

    def lose_sessions(self) -> None:
        """All of them."""
        with self._vault.transaction() as tx:
            self._conversations.forget(tx, self._peer_id)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
