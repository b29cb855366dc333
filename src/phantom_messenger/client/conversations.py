"""Encrypted sessions with peers: begin, seal, open. Synchronous, on one vault.

Each step that changes a ratchet happens inside a transaction of the caller's, together
with what it was for: so a text is never encrypted twice with one key, and never acked
before it is on disk.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from phantom_messenger.client import content, records
from phantom_messenger.client.prekeychain import PreKeyChain
from phantom_messenger.client.records import ContactRecord, Mark, OutboxRecord, SessionsRecord
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import handshake, session
from phantom_messenger.crypto.errors import CryptoError, InvalidKey, InvalidMessage, UndecryptableMessage
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.crypto.session import Parsed, Session
from phantom_messenger.wire import frames, signing

MAX_SESSIONS: Final = 40
"""Sessions kept with a peer: the one in use, and older ones for messages still under way."""

_CONVERSATION: Final = b"phantom/1 conversation\n"


class Opened(NamedTuple):
    """A message that was decrypted and believed.

    ``late``: one that was written after it has come before it. ``is_new``: it began a session.
    """

    content: content.Content
    late: bool
    is_new: bool


class Conversations:
    """All sessions of one identity.

    Args:
        vault: holds them.
        identity: one's own.
        prekeys: one's own.
        random: a source of random bytes.
    """

    def __init__(
        self, vault: Vault, identity: OwnIdentity, prekeys: PreKeyChain, random: Callable[[int], bytes]
    ) -> None:
        self._vault = vault
        self._identity = identity
        self._own_id = identity.peer.user_id
        self._prekeys = prekeys
        self._random = random

    def has_session(self, peer: str) -> bool:
        """Whether texts to this peer can be sealed now."""
        return any(_can_send(found) for found in self._load(peer))

    def is_classical(self, peer: str) -> bool:
        """Whether the session in use has no post-quantum secret in it."""
        found = self._load(peer)
        return bool(found) and found[0].classical

    def begin(self, peer: str, bundle: PreKeyBundle, ephemeral: KeyPair) -> None:
        """Start a session with the owner of a bundle.

        Raises:
            CryptoError: the bundle is not this peer's, or not in order.
        """
        if bundle.identity.user_id != base64.b64decode(peer):
            raise InvalidKey("the relay handed out a key that is not this user's")
        started = session.start(
            self._identity,
            bundle,
            ephemeral,
            own_id=self._own_id,
            peer_id=base64.b64decode(peer),
            random=self._random,
        )
        with self._vault.transaction():
            self._store(peer, [started, *self._load(peer)])
            self._remember_key(peer, bundle.identity.public)

    def seal(self, entry: OutboxRecord) -> OutboxRecord:
        """Encrypt a text of the outbox; call it inside a transaction that stores the result.

        Raises:
            UndecryptableMessage: there is no session to send with.
        """
        sessions = self._load(entry.peer)
        chosen = next((found for found in sessions if _can_send(found)), None)
        if chosen is None:
            raise UndecryptableMessage("there is no session with this peer")
        padded = content.encode(
            content.Content(
                body=entry.text,
                sent_at=entry.made_at,
                sender=self._own_id,
                recipient=base64.b64decode(entry.peer),
                sender_key=self._identity.peer.public,
                recipient_key=chosen.peer.public,
            )
        )
        after, message = session.encrypt(chosen, padded, self._random)
        self._store(entry.peer, [after if found is chosen else found for found in sessions])
        return OutboxRecord(
            message_id=entry.message_id,
            peer=entry.peer,
            text=entry.text,
            burn=entry.burn,
            expires_in=entry.expires_in,
            made_at=entry.made_at,
            sealed=message,
        )

    def open(self, frame: frames.RoutedMessage, signed_text: bytes, now: int) -> Opened:
        """Decrypt a message; call it inside a transaction that stores what it says.

        Args:
            frame: as the relay delivered it.
            signed_text: what the sender's signature covers.
            now: milliseconds since 1970.

        Raises:
            CryptoError: it is not to be believed; roll back.
        """
        sender = frame.payload.sender_id
        message = session.parse(base64.b64decode(frame.payload.encrypted))
        sessions = self._load(sender)
        is_new = message.handshake is not None and not any(
            known.id == message.handshake.ephemeral for known in sessions
        )
        if is_new:
            sessions = self._answered(sender, message, sessions, now)
        opened, plaintext, late, sessions = self._decrypt(message, sessions, now)
        opened.peer.verify(base64.b64decode(frame.signature), signing.envelope_bytes(signed_text))
        found = content.decode(plaintext)
        if (found.sender, found.recipient, found.sender_key, found.recipient_key) != (
            base64.b64decode(sender),
            self._own_id,
            opened.peer.public,
            self._identity.peer.public,
        ):
            raise InvalidMessage("the content names other people than its envelope")
        self._store(sender, sessions)
        self._remember_key(sender, opened.peer.public)
        return Opened(found, late, is_new)

    def _answered(self, sender: str, message: Parsed, sessions: list[Session], now: int) -> list[Session]:
        """The sessions with the one that this message's handshake begins."""
        header = message.handshake
        assert header is not None  # noqa: S101 - the caller looked
        if header.identity.user_id != base64.b64decode(sender):
            raise InvalidKey("the key is not this user's")
        fingerprint = base64.b64encode(hashlib.sha256(header.encode()).digest()).decode()
        if self._vault.has(records.HANDSHAKE, fingerprint):
            raise UndecryptableMessage("this handshake was seen before")
        signed, one_time, kem = self._prekeys.named_in(header)
        agreement = handshake.respond(
            self._identity,
            header,
            signed_prekey=signed,
            one_time_prekey=one_time,
            kem_prekey=kem,
            own_id=self._own_id,
            peer_id=base64.b64decode(sender),
        )
        fresh = session.answer(header, agreement, signed.pair)
        self._prekeys.consume(header)
        self._vault.put(records.HANDSHAKE, fingerprint, Mark(now))
        return _ordered(fresh, sessions)

    def _decrypt(
        self, message: Parsed, sessions: list[Session], now: int
    ) -> tuple[Session, bytes, bool, list[Session]]:
        """The session that opened it, the plaintext, whether it is late, and all sessions with that one renewed."""
        last: CryptoError = UndecryptableMessage("there is no session with this peer")
        for index, known in enumerate(sessions):
            if message.handshake is not None and known.id != message.handshake.ephemeral:
                continue
            try:
                after, plaintext = session.decrypt(known, message, random=self._random, now=now)
            except CryptoError as error:
                last = error
                continue
            late = (message.header.dh, message.header.n) in known.ratchet.mkskipped
            others = [*sessions[:index], *sessions[index + 1 :]]
            if index and not _is_rival(sessions[0], known):
                return after, plaintext, late, [after, *others]
            return after, plaintext, late, [*sessions[:index], after, *sessions[index + 1 :]]
        raise last

    def _remember_key(self, peer: str, key: bytes) -> None:
        contact = self._vault.get(records.CONTACT, peer, ContactRecord) or ContactRecord(user_id=peer)
        if contact.key != key:
            self._vault.put(
                records.CONTACT,
                peer,
                ContactRecord(user_id=peer, name=contact.name, key=key, trust=contact.trust, greeted=contact.greeted),
            )

    def _load(self, peer: str) -> list[Session]:
        stored = self._vault.get(records.SESSIONS, peer, SessionsRecord)
        return [] if stored is None else [session.load(data) for data in stored.sessions]

    def _store(self, peer: str, sessions: list[Session]) -> None:
        kept = sessions[:MAX_SESSIONS]
        self._vault.put(records.SESSIONS, peer, SessionsRecord(sessions=[session.dump(found) for found in kept]))


def conversation_id(own: str, peer: str) -> str:
    """The conversation of two users: both derive the same (32 bytes in base64)."""
    ids = sorted((base64.b64decode(own), base64.b64decode(peer)))
    return base64.b64encode(hashlib.sha256(_CONVERSATION + b"".join(ids)).digest()).decode()


def bundle_of(payload: frames.RoutedKeyExchangeResponsePayload) -> PreKeyBundle:
    """A peer's prekeys from the frame that brought them; they are checked when a session begins."""

    def raw(text: Any) -> bytes | None:
        return None if text is UNSET else base64.b64decode(text)

    return PreKeyBundle(
        identity=PeerIdentity(base64.b64decode(payload.identity_key)),
        signed_prekey=base64.b64decode(payload.signed_pre_key),
        signed_prekey_signature=base64.b64decode(payload.pre_key_signature),
        signed_prekey_id=0 if payload.signed_pre_key_id is UNSET else payload.signed_pre_key_id,
        one_time_prekey=raw(payload.one_time_pre_key),
        one_time_prekey_id=0 if payload.one_time_pre_key_id is UNSET else payload.one_time_pre_key_id,
        kem_prekey=raw(payload.kem_pre_key),
        kem_prekey_signature=raw(payload.kem_pre_key_signature) or b"",
        kem_prekey_id=0 if payload.kem_pre_key_id is UNSET else payload.kem_pre_key_id,
    )


def _can_send(found: Session) -> bool:
    return found.ratchet.cks is not None


def _is_rival(current: Session, other: Session) -> bool:
    """Whether both sides began at once and ``current`` is the one to stay.

    Both then hold both sessions; the one with the smaller id (ephemeral key) is used by
    both, without a further message.
    """
    return current.initiated and current.pending is not None and current.id < other.id


def _ordered(fresh: Session, sessions: list[Session]) -> list[Session]:
    """Where a session that a peer began belongs: first, unless one's own unanswered one wins."""
    if sessions and _is_rival(sessions[0], fresh):
        return [sessions[0], fresh, *sessions[1:]]
    return [fresh, *sessions]
