"""Encrypted sessions with peers: begin, seal, open. Synchronous, on one vault.

Each step that changes a ratchet is part of the transaction that stores what it was for: so
a message is never encrypted twice with one key, and never acked before it is on disk.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import msgspec

from phantom_messenger.client import content_suites, records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.content import NO_MARKS, Claim, Ends, Marks, Newer, Receipt, Said, Text
from phantom_messenger.client.groups.contents import GroupSaid
from phantom_messenger.client.prekey_store import PreKeyStore
from phantom_messenger.client.records import ContactRecord, OutboxRecord, Seen, Strength
from phantom_messenger.client.sessions import Change, Sessions, StoredSessions
from phantom_messenger.client.status import Trust
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto import handshake, handshake2, ratchet, session, session2, suites
from phantom_messenger.crypto.errors import (
    CryptoError,
    InvalidKey,
    InvalidSignature,
    UndecryptableMessage,
)
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity, PeerIdentity
from phantom_messenger.crypto.prekeys import PreKeyBundle
from phantom_messenger.crypto.session2 import Session2
from phantom_messenger.crypto.suites import AnyParsed, AnySession, suite_of
from phantom_messenger.wire import codec, frames, signing

MAX_SESSIONS: Final = 5
"""Sessions kept with a peer: the one in use, and older ones for messages still under way."""

MAX_STRANGER_SESSIONS: Final = 3
"""The same for a stranger, whose messages must not make us try, and store, more."""

MAX_STRANGER_SKIPPED_KEYS: Final = 50
"""Skipped keys kept of a stranger, and how far one of their messages may jump ahead."""

MAX_TRIES: Final = 3
"""Sessions that a message is tried on, if its header does not say which one it is of."""

UNANSWERED_MS: Final = 86_400_000
"""For how long somebody who writes in suite 1 is believed not to know yet of the session of suite 2 with them."""

S = TypeVar("S", bound=AnySession)

_CONVERSATION: Final = b"phantom/1 conversation\n"

CERTIFIED_ID_BYTES: Final = 32
"""Ids of this length certify their key; others are claimed, and bound to the first key that was seen."""


class ChangedKey(InvalidKey):
    """A claimed id has another key than before; nothing is sent until the user has accepted it."""


class WeakBundle(CryptoError):
    """A bundle with which no session can begin that is safe enough, and the user has not said that one will do.

    ``strength``: what it would be. ``had_better``: this user's program had more before.
    """

    def __init__(self, strength: Strength, *, had_better: bool) -> None:
        super().__init__("the keys are weaker than they must be")
        self.strength = strength
        self.had_better = had_better


class Opened(NamedTuple):
    """A message that was decrypted and believed.

    ``late``: one that was written after it has come before it. ``is_new``: it began a session.
    ``is_known``: its sender has the key that the user knows. ``strength``: of its session. ``is_weak``: that is one
    that nothing may be sent in. ``has_fallen``: it is in suite 1, and its sender had written in suite 2 before.
    ``lags``: it is in suite 1, and its sender may not know yet that suite 2 was begun with them. ``payload``: of the
    frame that it came in. ``key``: the sender's. ``claim``: of a content about a group, what it says of devices.
    """

    content: Said | Newer | GroupSaid
    late: bool
    is_new: bool
    is_known: bool
    strength: Strength
    is_weak: bool
    has_fallen: bool
    lags: bool
    payload: frames.RoutedMessagePayload
    key: bytes
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class PeerState:
    """What is known of a peer, and the sessions with them: loaded once for each step."""

    contact: ContactRecord
    stored: StoredSessions

    @property
    def sessions(self) -> list[AnySession]:
        """The sessions, the one in use first."""
        return self.stored.all

    @property
    def sending(self) -> AnySession | None:
        """The first that can send, that is with the key which the user knows, and as safe as it must be."""
        for found in self.stored:
            is_usable = found.ratchet.cks is not None and self.contact.key in {b"", found.peer.public}
            if is_usable and strength_of(found) >= self.contact.floor:
                return found
        return None

    @property
    def sending_to_many(self) -> Session2 | None:
        """As ``sending``, of suite 2: the only one that has bodies which others can read, too."""
        for found in self.stored:
            is_usable = found.ratchet.cks is not None and self.contact.key in {b"", found.peer.public}
            if isinstance(found, Session2) and is_usable:
                return found
        return None

    def begins_with(self, bundle: PreKeyBundle) -> bool:
        """Whether a session is to begin with these keys: there is none, or it would be of a later suite."""
        current = self.sending
        return current is None or (bundle.dated is not None and suite_of(current) != session2.SUITE)

    @property
    def budget(self) -> tuple[int, int]:
        """How many sessions, and how many skipped keys, are kept of this user."""
        if self.contact.is_known:
            return MAX_SESSIONS, ratchet.MAX_SKIPPED_KEYS
        return MAX_STRANGER_SESSIONS, MAX_STRANGER_SKIPPED_KEYS


class Conversations:
    """All sessions of one identity. Times are milliseconds since 1970.

    Args:
        vault: holds them.
        book: what is known of the peers.
        identity: one's own.
        prekeys: one's own.
        random: a source of random bytes.
    """

    def __init__(
        self,
        vault: Vault,
        book: AddressBook,
        identity: OwnIdentity,
        prekeys: PreKeyStore,
        random: Callable[[int], bytes],
    ) -> None:
        self._vault = vault
        self._book = book
        self._identity = identity
        self._own_id = identity.peer.user_id
        self._prekeys = prekeys
        self._random = random
        self._sessions = Sessions(vault)

    def load(self, peer: str) -> PeerState:
        """What is known of a peer now."""
        return PeerState(self._book.get(peer), self._sessions.load(peer))

    def load_several(self, peers: Sequence[str]) -> list[PeerState]:
        """As ``load``, of several peers."""
        sessions = self._sessions.load_several(peers)
        return [PeerState(self._book.get(peer), sessions[peer]) for peer in peers]

    def has_session(self, peer: str) -> bool:
        """Whether something can be sealed for this peer now."""
        return self.load(peer).sending is not None

    def begin(
        self, tx: Transaction, state: PeerState, bundle: PreKeyBundle, ephemeral: KeyPair, *, now: int, wall: int
    ) -> None:
        """Start a session with the owner of a bundle, and use it from now on: of suite 2 if the bundle is dated.

        Args:
            tx: stores it.
            state: of the peer.
            bundle: the peer's prekeys; checked here.
            ephemeral: fresh, for this session alone.
            now: milliseconds of persistent time.
            wall: milliseconds since 1970, by the wall clock.

        Raises:
            ChangedKey: a claimed id has another key than before; ``note_offered`` it.
            WeakBundle: the session would be weaker than it must be with this peer.
            StaleBundle: the bundle is not of this time, or older than one that was used before.
            CryptoError: the bundle is not this peer's, or not in order.
        """
        contact = state.contact
        _check_certified(contact.user_id, bundle.identity)
        started = self._started(contact, bundle, ephemeral, now=now, wall=wall)
        # Behind the check of the bundle: a key for which nobody can sign is no reason to warn the user.
        if contact.key not in {b"", bundle.identity.public}:
            raise ChangedKey("the key behind this id is another one than before")
        strength = strength_of(started)
        if strength < contact.floor:
            raise WeakBundle(strength, had_better=contact.had(strength))
        if bundle.dated is not None:
            contact = msgspec.structs.replace(contact, newest=bundle.dated.made_at)
        self._note_key(tx, contact, bundle.identity.public, in_use=started, seen=strength)
        self._store(tx, state, [started, *state.sessions])

    def _started(
        self, contact: ContactRecord, bundle: PreKeyBundle, ephemeral: KeyPair, *, now: int, wall: int
    ) -> AnySession:
        if bundle.dated is None:
            return session.start(
                self._identity,
                bundle,
                ephemeral,
                own_id=self._own_id,
                peer_id=base64.b64decode(contact.user_id),
                random=self._random,
            )
        # A claimed id with another key is another user, whose clock may be another, too.
        newest = contact.newest if contact.key == bundle.identity.public else 0
        return session2.start(
            self._identity,
            bundle.dated,
            ephemeral,
            own_id=self._own_id,
            now=wall,
            persistent_now=now,
            newest=newest,
            random=self._random,
        )

    def note_offered(self, tx: Transaction, peer: str, key: bytes) -> None:
        """Remember the other key of a claimed id, for the user to look at."""
        self._note_key(tx, self._book.get(peer), key, in_use=None, seen=Strength.CLASSICAL)

    def seal(
        self,
        tx: Transaction,
        state: PeerState,
        entry: OutboxRecord,
        receipts: dict[str, list[str]] | None = None,
        claim: Claim | None = None,
    ) -> OutboxRecord:
        """Encrypt an entry of the outbox.

        Args:
            tx: stores the result, too.
            state: of its recipient.
            entry: a message, or a receipt.
            receipts: what a receipt says: message ids by status.
            claim: what it says of one's own device list, if there is one.

        Raises:
            UndecryptableMessage: there is no session to send with.
        """
        chosen = state.sending
        if chosen is None:
            raise UndecryptableMessage("there is no session with this peer")
        said: Said
        marks = NO_MARKS if claim is None else Marks(claim=claim)
        if entry.text is None:
            said = receipt_of(entry.made_at, receipts or {}, marks)
        else:
            said = Text(sent_at=entry.made_at, body=entry.text, marks=marks)
        peer = base64.b64decode(entry.peer)
        ends = Ends(self._own_id, self._identity.peer.public, peer, chosen.peer.public)
        padded = content_suites.encode(said, ends, suite=suite_of(chosen))
        after, message = suites.encrypt(chosen, padded, self._random)
        most, most_skipped = state.budget
        self._sessions.renew(tx, state.stored, chosen, after, most=most, most_skipped=most_skipped)
        return msgspec.structs.replace(entry, sealed=message, key=chosen.peer.public)

    def seal_heads(
        self, tx: Transaction, chosen: Sequence[tuple[PeerState, Session2]], key: bytes, sealed_body: bytes
    ) -> list[bytes]:
        """Encrypt the key of a body for those who are to read it.

        Args:
            tx: stores the result, too.
            chosen: the recipients, each with one of their sessions: ``sending_to_many``.
            key: of the body.
            sealed_body: as it is sent.
        """
        digest = hashlib.sha256(sealed_body).digest()
        sealed = [session2.encrypt_head(one, key, sealed_body, self._random, digest=digest) for _, one in chosen]
        self._sessions.renew_several(
            tx,
            [
                Change(state.stored, one, after, *state.budget)
                for (state, one), (after, _) in zip(chosen, sealed, strict=True)
            ],
        )
        return [head for _, head in sealed]

    def open(self, tx: Transaction, frame: frames.RoutedMessage, signed_text: bytes, now: int) -> Opened:
        """Decrypt a message.

        Args:
            tx: stores what it says, too.
            frame: as the relay delivered it.
            signed_text: what the sender's signature covers.
            now: milliseconds of persistent time.

        Raises:
            CryptoError: it is not to be believed; roll back.
        """
        sender = frame.payload.sender_id
        message = suites.parse(base64.b64decode(frame.payload.encrypted))
        state = self.load(sender)
        contact, sessions = state.contact, state.sessions
        is_new = message.handshake is not None and not any(
            known.id == message.handshake.ephemeral for known in sessions
        )
        self._check_signature(state, message, frame.signature, signed_text)
        if is_new:
            sessions = self._answered(tx, contact, message, sessions, now)
        before, after, plaintext = self._decrypt(message, sessions, now, most=state.budget[1])
        # Once more, with the key of the session that has opened it: above, any key of this sender would do.
        after.peer.verify(base64.b64decode(frame.signature), signing.envelope_bytes(signed_text))
        ends = Ends(base64.b64decode(sender), after.peer.public, self._own_id, self._identity.peer.public)
        found = content_suites.decode(plaintext, ends, suite=suite_of(after))
        # Who asks for something again has lost the other sessions, perhaps also the one that would win.
        is_asking = isinstance(found, Receipt) and bool(found.undecryptable)
        first = is_asking or not _stays(_in_use(sessions, contact.floor), before)
        sessions = _renewed(sessions, before, after, first=first)
        self._store(tx, state, sessions)
        strength = strength_of(after)
        is_weak = strength < contact.floor
        in_use = _in_use(sessions, contact.floor)
        contact = self._note_key(tx, contact, after.peer.public, in_use=in_use, seen=strength)
        late = (message.header.dh, message.header.n) in before.ratchet.mkskipped
        is_known = contact.key == after.peer.public
        later = [one for one in sessions if isinstance(one, Session2)]
        has_fallen = strength < Strength.SUITE_2 and any(one.ratchet.ckr is not None for one in later)
        lags = strength is Strength.SUITE_1 and bool(later) and all(_may_be_unknown(one, now) for one in later)
        claim = content_suites.claim_of(plaintext) if isinstance(found, GroupSaid) else None
        key = after.peer.public
        return Opened(found, late, is_new, is_known, strength, is_weak, has_fallen, lags, frame.payload, key, claim)

    def check(self, frame: frames.RoutedMessage) -> None:
        """Whether a message is signed by its sender: all that is done for a stranger's.

        Raises:
            CryptoError: it is not, or it is no message of this version.
        """
        sender = frame.payload.sender_id
        message = suites.parse(base64.b64decode(frame.payload.encrypted))
        signed_text = codec.signed_text(codec.original(frame))
        self._check_signature(self.load(sender), message, frame.signature, signed_text)

    def _check_signature(self, state: PeerState, message: AnyParsed, signature: str, signed_text: bytes) -> None:
        """Before any work: the envelope is signed by somebody with whom there is a session, or begins one.

        Raises:
            InvalidSignature: it is not; nobody's message was lost.
            UndecryptableMessage: nothing is known to check it with.
        """
        keys = {found.peer.public for found in state.sessions} | {state.contact.key} - {b""}
        if message.handshake is not None:
            _check_certified(state.contact.user_id, message.handshake.identity)
            keys = {message.handshake.identity.public}
        if not keys:
            raise UndecryptableMessage("there is no session with this peer")
        for key in keys:
            with suppress(InvalidSignature):
                PeerIdentity(key).verify(base64.b64decode(signature), signing.envelope_bytes(signed_text))
                return
        raise InvalidSignature("the envelope is not signed by its sender")

    def forget_old(self, tx: Transaction, peer: str, now: int) -> None:
        """Erase keys with a peer that are too old to be kept."""
        state = self.load(peer)
        sending = state.sending
        self._sessions.forget_old(tx, state.stored, now, in_use=None if sending is None else sending.id)

    def forget(self, tx: Transaction, peer: str) -> None:
        """Erase all sessions with a peer."""
        self._sessions.forget(tx, peer)

    def _answered(
        self, tx: Transaction, contact: ContactRecord, message: AnyParsed, sessions: list[AnySession], now: int
    ) -> list[AnySession]:
        """The sessions with the one that this message's handshake begins."""
        header = message.handshake
        assert header is not None  # noqa: S101 - the caller looked
        fingerprint = base64.b64encode(hashlib.sha256(header.encode()).digest()).decode()
        if self._vault.has(records.HANDSHAKE, fingerprint):
            raise UndecryptableMessage("this handshake was seen before")
        fresh = self._joined(contact.user_id, header, suite_of(message), now)
        # In the transaction that keeps the message: if that is not believed, the keys are still there for the true one.
        self._prekeys.consume(tx, header)
        # The last-resort prekey is not erased with its use, so nothing else would stop a replay.
        tx.put(records.HANDSHAKE, fingerprint, Seen(now), due=now)
        return _ordered(fresh, sessions, contact.floor)

    def _joined(self, peer: str, header: HandshakeHeader, suite: int, now: int) -> AnySession:
        """The session that a handshake of a suite begins."""
        signed, one_time, kem = self._prekeys.named_in(header)
        ends = {"own_id": self._own_id, "peer_id": base64.b64decode(peer)}
        if suite == session.SUITE:
            agreement = handshake.respond(
                self._identity, header, signed_prekey=signed, one_time_prekey=one_time, kem_prekey=kem, **ends
            )
            return session.answer(header, agreement, signed.pair)
        assert kem is not None  # noqa: S101 - a header of suite 2 always names one
        agreement = handshake2.respond(
            self._identity, header, signed_prekey=signed, one_time_prekey=one_time, kem_prekey=kem, **ends
        )
        return session2.answer(header, agreement, signed.pair, now=now)

    def _decrypt(
        self, message: AnyParsed, sessions: list[AnySession], now: int, *, most: int
    ) -> tuple[AnySession, AnySession, bytes]:
        """The session that opened it, before and after, and the plaintext; at most so many keys are derived for it."""
        last: CryptoError = UndecryptableMessage("there is no session with this peer")
        for known in _candidates(message, sessions):
            jump = ratchet.reach(known.ratchet, message.header)
            if jump is None or jump > most:
                last = UndecryptableMessage("its key was used already, or it jumps too far ahead")
                continue
            # Over all sessions together: a forged header is not to cost more for being tried on several.
            most -= jump
            try:
                after, plaintext = suites.decrypt(known, message, random=self._random, now=now)
            except CryptoError as error:
                last = error
            else:
                return known, after, plaintext
        raise last

    def _note_key(
        self, tx: Transaction, contact: ContactRecord, key: bytes, *, in_use: AnySession | None, seen: Strength
    ) -> ContactRecord:
        """Remember the key of a peer; if another one is known, only the user can give it that place.

        Args:
            tx: stores it.
            contact: the peer, as known until now; what else has changed in it is stored, too.
            key: the peer's.
            in_use: the session with this key that is used.
            seen: what the peer has shown now that their program can do.
        """
        classical = in_use is not None and in_use.classical
        if contact.key in {b"", key}:
            after = contact.seen_with(seen, key=key, classical=classical)
        else:
            before = self._book.get(contact.user_id)
            after = msgspec.structs.replace(before, offered=key, trust=str(Trust.CHANGED), offered_classical=classical)
        if after != self._book.get(contact.user_id):
            self._book.put(tx, after)
        return after

    def _store(self, tx: Transaction, state: PeerState, sessions: list[AnySession]) -> None:
        most, most_skipped = state.budget
        self._sessions.put(tx, state.stored, sessions, most=most, most_skipped=most_skipped)


def receipt_of(sent_at: int, statuses: dict[str, list[str]], marks: Marks = NO_MARKS) -> Receipt:
    """What a receipt says: message ids by status."""
    return Receipt(
        sent_at=sent_at,
        delivered=statuses.get("delivered", []),
        read=statuses.get("read", []),
        burned=statuses.get("burned", []),
        undecryptable=statuses.get("undecryptable", []),
        marks=marks,
    )


def strength_of(one: AnySession) -> Strength:
    """How safe a session is."""
    if suite_of(one) == session2.SUITE:
        return Strength.SUITE_2
    return Strength.CLASSICAL if one.classical else Strength.SUITE_1


def _may_be_unknown(one: Session2, now: int) -> bool:
    """Whether a session was begun here lately, and the peer has not written in it."""
    return one.ratchet.ckr is None and 0 <= now - one.kem.at < UNANSWERED_MS


def _candidates(message: AnyParsed, sessions: list[AnySession]) -> list[AnySession]:
    """The sessions that a message can be of: the one that its header names, or else a few that may follow."""
    sessions = [known for known in sessions if suite_of(known) == suite_of(message)]
    if message.handshake is not None:
        return [known for known in sessions if known.id == message.handshake.ephemeral]
    header = message.header
    for known in sessions:
        if header.dh == known.ratchet.dhr or (header.dh, header.n) in known.ratchet.mkskipped:
            return [known]
    return [known for known in sessions if ratchet.reach(known.ratchet, header) is not None][:MAX_TRIES]


def _check_certified(peer: str, identity: PeerIdentity) -> None:
    """Refuse a key that is not that of a certified id.

    Raises:
        InvalidKey: it is another's.
    """
    raw = base64.b64decode(peer)
    if len(raw) == CERTIFIED_ID_BYTES and identity.user_id != raw:
        raise InvalidKey("the key is not this user's")


def conversation_id(own: str, peer: str) -> str:
    """The conversation of two users: both derive the same (32 bytes in base64)."""
    ids = sorted((base64.b64decode(own), base64.b64decode(peer)))
    return base64.b64encode(hashlib.sha256(_CONVERSATION + b"".join(ids)).digest()).decode()


def _in_use(sessions: list[S], floor: Strength) -> S:
    """The first that is as safe as it must be; the first of all if none is.

    Weaker ones that were read in since are passed over, and keep their place: they are in use at once if the user says
    that the peer's program knows no better.
    """
    return next((one for one in sessions if strength_of(one) >= floor), sessions[0])


def _stays(current: AnySession, other: AnySession) -> bool:
    """Whether both sides began at once and ``current`` is the one to stay, although ``other`` was read in last.

    Both then hold both sessions; the one with the smaller id (ephemeral key) is used by
    both, without a further message.
    """
    is_rival = suite_of(current) == suite_of(other) and current.initiated and current.pending is not None
    return is_rival and current.id < other.id


def _ordered(fresh: S, sessions: list[S], floor: Strength) -> list[S]:
    """Where a session that a peer began belongs: first, unless the one in use stays."""
    if sessions and _stays(current := _in_use(sessions, floor), fresh):
        return [current, fresh, *(one for one in sessions if one is not current)]
    return [fresh, *sessions]


def _renewed(sessions: list[S], before: S, after: S, *, first: bool) -> list[S]:
    """The sessions with one renewed, in its place or first."""
    if first:
        return [after, *(found for found in sessions if found is not before)]
    return [after if found is before else found for found in sessions]
