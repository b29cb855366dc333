"""The sessions with each peer on disk: what a message costs to store does not grow with what a peer has sent before.

A session is a record of its own, and its skipped keys are another one beside it, written only when they have changed. A
small record says which sessions there are, the one in use first. Version 0.1.0 kept all of a peer in one record; that
is read too, and gives way when the sessions are next stored.
"""

import base64
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.records import SessionRecord, SessionsRecord, SkippedRecord
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto import suites
from phantom_messenger.crypto.errors import InvalidMessage
from phantom_messenger.crypto.ratchet import Skipped, SkippedKey
from phantom_messenger.crypto.suites import AnySession

MAX_SESSION_AGE_MS: Final = 30 * 86_400_000
"""How long an older session is kept in which nothing is read any more: so long may a message wait at the relay."""

_ROW: Final = struct.Struct(">BIq32s")
"""A skipped key: place of its chain, number, since when (ms), and the key itself."""


class StoredSessions:
    """The sessions with a peer as they are on disk, the one in use first; each is read when it is looked at.

    Args:
        peer: user id.
        index: which there are.
        is_damaged: the index could not be read; which sessions there are is lost with it.
        rest: reads them, in order.
    """

    def __init__(self, peer: str, index: SessionsRecord, *, is_damaged: bool, rest: Iterator[AnySession]) -> None:
        self.peer = peer
        self.index = index
        self.is_damaged = is_damaged
        self._rest = rest
        self._read: list[AnySession] = []

    def __iter__(self) -> Iterator[AnySession]:
        yield from self._read
        for one in self._rest:
            self._read.append(one)
            yield one

    @property
    def all(self) -> list[AnySession]:
        """All of them."""
        return list(self)


class Change(NamedTuple):
    """What has become of one session that a message was sent in; the rest is as ``Sessions.put`` has it."""

    before: StoredSessions
    one: AnySession
    after: AnySession
    most: int
    most_skipped: int


class Sessions:
    """The sessions of all peers.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def load(self, peer: str) -> StoredSessions:
        """The sessions with a peer; what is damaged counts as lost."""
        try:
            index = self._vault.get(records.SESSIONS, peer, SessionsRecord) or SessionsRecord()
            is_damaged = False
        except VaultDamaged:
            index, is_damaged = SessionsRecord(), True
        return StoredSessions(peer, index, is_damaged=is_damaged, rest=self._each(peer, index))

    def load_several(self, peers: Sequence[str]) -> dict[str, StoredSessions]:
        """As ``load``, read together: which sessions there are with each, and then those in use."""
        found = self._vault.several(records.SESSIONS, peers, SessionsRecord)
        indexes = {peer: index for peer, index in zip(peers, found, strict=True) if index is not None}
        names = {peer: _name(peer, index.ids[0]) for peer, index in indexes.items() if index.ids}
        first = dict(zip(names, self._vault.several(records.SESSION, names.values(), SessionRecord), strict=True))
        return {
            peer: StoredSessions(peer, index, is_damaged=False, rest=self._each(peer, index, first.get(peer)))
            if (index := indexes.get(peer)) is not None
            else self.load(peer)  # there is none, or it is damaged
            for peer in peers
        }

    def _each(self, peer: str, index: SessionsRecord, first: SessionRecord | None = None) -> Iterator[AnySession]:
        for data in index.sessions:
            with suppress(InvalidMessage):
                yield suites.load(data)
        for identity in index.ids:
            with suppress(InvalidMessage, VaultDamaged):
                stored, first = first or self._vault.get(records.SESSION, _name(peer, identity), SessionRecord), None
                if stored is not None:
                    one = suites.load(stored.state)
                    yield self._with_skipped(peer, one) if stored.skipped else one

    def renew(self, tx: Transaction, before: StoredSessions, one: AnySession, after: AnySession, **most: int) -> None:
        """Store what has become of one session that a message was sent in; arguments as ``put``."""
        if _is_alone(before.index, one, after):
            self._put_bare(tx, before.peer, after)
        else:
            self.put(tx, before, [after if found is one else found for found in before.all], **most)

    def renew_several(self, tx: Transaction, changes: Iterable[Change]) -> None:
        """As ``renew``, of several peers: what is stored of those whose session changes alone is stored together."""
        alone: dict[str, SessionRecord] = {}
        for change in changes:
            peer, after = change.before.peer, change.after
            if _is_alone(change.before.index, change.one, after):
                alone[_name(peer, after.id)] = _bare(peer, after)
            else:
                self.renew(tx, *change[:3], most=change.most, most_skipped=change.most_skipped)
        if alone:
            tx.put_several(records.SESSION, alone)

    def _put_bare(self, tx: Transaction, peer: str, one: AnySession) -> None:
        tx.put(records.SESSION, _name(peer, one.id), _bare(peer, one))

    def put(
        self, tx: Transaction, before: StoredSessions, sessions: list[AnySession], *, most: int, most_skipped: int
    ) -> None:
        """Store the sessions with a peer.

        Args:
            tx: stores them.
            before: as they were loaded; what is still the same object need not be written.
            sessions: the one in use first; the last ones give way.
            most: how many are kept.
            most_skipped: how many skipped keys are kept in all. Those of the session that was used longest ago go
                first, and of one session the oldest.
        """
        peer, index, after = before.peer, before.index, sessions[:most]
        if before.is_damaged:
            self._forget_unnamed(tx, peer)
        loaded = {} if index.sessions else {one.id: one for one in before.all}
        since = dict(zip(index.ids, index.since, strict=False))
        for one in _within(after, most_skipped):
            known = loaded.get(one.id)
            if known is one:
                continue
            since[one.id] = 0
            if known is None or known.ratchet.mkskipped is not one.ratchet.mkskipped:
                self._put_skipped(tx, peer, one)
            self._put_bare(tx, peer, one)
        ids = [one.id for one in after]
        for identity in set(index.ids) - set(ids):
            self._drop(tx, peer, identity)
        times = [since.get(identity, 0) if position else 0 for position, identity in enumerate(ids)]
        fresh = SessionsRecord(ids=ids, since=times)
        if fresh != index:
            tx.put(records.SESSIONS, peer, fresh)

    def forget(self, tx: Transaction, peer: str) -> None:
        """Erase all sessions with a peer."""
        for identity in self.load(peer).index.ids:
            self._drop(tx, peer, identity)
        tx.delete(records.SESSIONS, peer)

    def forget_old(self, tx: Transaction, before: StoredSessions, now: int, *, in_use: bytes | None) -> None:
        """Erase skipped keys, and sessions, that are too old to be kept.

        Args:
            tx: stores what is left.
            before: the sessions with a peer as they were loaded.
            now: milliseconds of persistent time.
            in_use: the session that is sent with, which stays; weaker ones may stand before it.
        """
        peer, index = before.peer, before.index
        kept = [suites.forget_old(found, now) for found in before.all]
        if index.sessions or any(one is not other for one, other in zip(kept, before.all, strict=True)):
            self.put(tx, before, kept, most=len(kept), most_skipped=sum(len(one.ratchet.mkskipped) for one in kept))
            index = self.load(peer).index
        # A session is dated when it is first seen not to be in use; a time to come is that of a clock that was wrong.
        dated = dict(zip(index.ids[1:], index.since[1:], strict=False))
        dated = {identity: at if 0 < at <= now else now for identity, at in dated.items() if identity != in_use}
        since = [dated.get(identity, 0) for identity in index.ids]
        old = {identity for identity, at in zip(index.ids, since, strict=True) if at and now - at > MAX_SESSION_AGE_MS}
        for identity in old:
            self._drop(tx, peer, identity)
        after = [(identity, at) for identity, at in zip(index.ids, since, strict=True) if identity not in old]
        fresh = SessionsRecord(ids=[identity for identity, _ in after], since=[at for _, at in after])
        if fresh != index:
            tx.put(records.SESSIONS, peer, fresh)

    def _forget_unnamed(self, tx: Transaction, peer: str) -> None:
        """Which sessions there are cannot be read: they are lost, and their keys are not to stay behind."""
        for _, one in self._vault.all(records.SESSION, SessionRecord):
            if one.peer == peer:
                self._drop(tx, peer, one.id)

    def _drop(self, tx: Transaction, peer: str, identity: bytes) -> None:
        tx.delete(records.SESSION, _name(peer, identity))
        tx.delete(records.SKIPPED, _name(peer, identity))

    def _with_skipped(self, peer: str, one: AnySession) -> AnySession:
        try:
            stored = self._vault.get(records.SKIPPED, _name(peer, one.id), SkippedRecord)
        except VaultDamaged:
            return one
        return one if stored is None else replace(one, ratchet=replace(one.ratchet, mkskipped=_unpacked(stored)))

    def _put_skipped(self, tx: Transaction, peer: str, one: AnySession) -> None:
        name, skipped = _name(peer, one.id), one.ratchet.mkskipped
        if skipped:
            tx.put(records.SKIPPED, name, _packed(skipped))
        else:
            tx.delete(records.SKIPPED, name)


def _is_alone(index: SessionsRecord, one: AnySession, after: AnySession) -> bool:
    """Whether nothing but the record of a session changes with it."""
    since = dict(zip(index.ids, index.since, strict=False))
    return not (index.sessions or since.get(one.id) or after.ratchet.mkskipped is not one.ratchet.mkskipped)


def _bare(peer: str, one: AnySession) -> SessionRecord:
    """All of a session but its skipped keys."""
    skipped = bool(one.ratchet.mkskipped)
    bare = replace(one, ratchet=replace(one.ratchet, mkskipped={})) if skipped else one
    return SessionRecord(peer=peer, id=one.id, state=suites.dump(bare), skipped=skipped)


def _name(peer: str, identity: bytes) -> str:
    return f"{peer} {base64.b64encode(identity).decode()}"


def _within(sessions: list[AnySession], most: int) -> list[AnySession]:
    """Sessions with so many skipped keys in all; those that need not be shortened are the same objects."""
    kept: list[AnySession] = []
    for one in sessions:
        skipped = one.ratchet.mkskipped
        surplus = len(skipped) - most
        if surplus > 0:
            newest = dict(list(skipped.items())[surplus:])
            kept.append(replace(one, ratchet=replace(one.ratchet, mkskipped=newest)))
        else:
            kept.append(one)
        most -= len(kept[-1].ratchet.mkskipped)
    return kept


def _packed(skipped: Mapping[SkippedKey, Skipped]) -> SkippedRecord:
    """In rows, 45 bytes a key: they are many."""
    chains = list(dict.fromkeys(dh for dh, _ in skipped))
    places = {dh: place for place, dh in enumerate(chains)}
    rows = [_ROW.pack(places[dh], n, kept.at, kept.mk) for (dh, n), kept in skipped.items()]
    return SkippedRecord(chains=chains, keys=b"".join(rows))


def _unpacked(stored: SkippedRecord) -> dict[SkippedKey, Skipped]:
    """Undo ``_packed``."""
    return {(stored.chains[place], n): Skipped(mk, at) for place, n, at, mk in _ROW.iter_unpack(stored.keys)}
