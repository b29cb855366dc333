"""One's own prekeys: made, published, renewed, and erased when used up or old."""

from collections.abc import Callable, Generator, Iterator
from typing import Final

from msgspec.structs import replace

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.records import IntValue, PreKeyRecord
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto.bundle import MAX_BUNDLE_AGE_MS, MAX_BUNDLE_AHEAD_MS
from phantom_messenger.crypto.errors import UnknownPreKey
from phantom_messenger.crypto.handshake import HandshakeHeader
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, SignedPreKey, sign_bundle
from phantom_messenger.wire.limits import MAX_ONE_TIME_PREKEYS

ONE_TIME_TARGET: Final = 100
KEM_TARGET: Final = 25
"""One-time prekeys at the relay; KEM keys are 1.7 KB each on the wire, so fewer of them."""

REFILL_BELOW: Final = 25
KEM_REFILL_BELOW: Final = 10
_DAY_MS: Final = 86_400_000
ROTATE_MS: Final = 7 * _DAY_MS
"""How old a signed prekey gets; a thief of the device reads handshakes no older than twice that."""

KEEP_RETIRED_MS: Final = 7 * _DAY_MS
KEEP_HANDED_OUT_MS: Final = 90 * _DAY_MS
"""How long a one-time prekey that the relay has no more waits for the first message made with it."""

MAX_KEPT: Final = 500
"""One-time prekeys of a sort that are kept although the relay has been given others: the newest. A relay that says at
each login that all are gone would have more made and kept each time."""

LAST_CLOCK_ID: Final = 0xF000_0000
"""Ids beyond this are only counted: a clock that was wrong once must not use up all ids."""

MAX_AHEAD: Final = 30 * 86_400
"""How far a relay's highest id may be ahead of the seconds since 1970."""

MADE_AT_ONCE: Final = 20
KEM_MADE_AT_ONCE: Final = 8
"""Prekeys that are made and stored in one step: some 4 ms."""

SIGNED: Final = "signed"
ONE_TIME: Final = "one-time"
KEM: Final = "kem"
LAST_RESORT: Final = "last-resort"


class Publication:
    """What is to be published, as crypto types; ``made_at`` 0: without a date, and so without ``bundle_signature``."""

    def __init__(
        self,
        signed: SignedPreKey,
        last_resort: KemPreKey,
        one_time: list[PreKey],
        kem: list[KemPreKey],
        *,
        made_at: int = 0,
        bundle_signature: bytes = b"",
    ) -> None:
        self.signed = signed
        self.last_resort = last_resort
        self.one_time = one_time
        self.kem = kem
        self.made_at = made_at
        self.bundle_signature = bundle_signature


class PreKeyStore:
    """The prekeys of one identity, in its vault.

    Args:
        vault: holds the private halves.
        identity: signs.
        random: a source of random bytes.
    """

    def __init__(self, vault: Vault, identity: OwnIdentity, random: Callable[[int], bytes]) -> None:
        self._vault = vault
        self._identity = identity
        self._own_id = identity.peer.user_id
        self._random = random

    def is_behind(self, *, signed_id: int | None, highest_id: int | None) -> bool:
        """Whether the relay has prekeys whose private halves are not here: a backup was restored, say."""
        if highest_id is not None and highest_id > self._last_id():
            return True
        try:
            return signed_id is not None and self._get(SIGNED, signed_id).id != signed_id
        except UnknownPreKey:
            return True

    def note_highest(self, highest_id: int | None) -> None:
        """Take what is not above the relay's highest id for published, for it is never published again.

        Its publication was perhaps stored, and only not confirmed: somebody may begin a session with such a key.
        """
        found = [] if highest_id is None else [record for record in self._unpublished() if record.id <= highest_id]
        if found:
            with self._vault.transaction() as tx:
                for record in found:
                    self._put(tx, replace(record, published=True))

    def catch_up(self, highest_id: int | None, now: int) -> None:
        """Count on behind all ids that were published."""
        # A relay that claims an id of the far future would use up all of them.
        if highest_id is None or highest_id > now // 1000 + MAX_AHEAD:
            highest_id = 0
        with self._vault.transaction() as tx:
            tx.put(records.LAST_PREKEY_ID, "", IntValue(max(self._last_id(), highest_id)))

    def date(self, wall: int) -> int:
        """The date of what is signed now, by the wall clock: it never falls, unless a clock was wrong by a day."""
        last = self._last_date()
        return max(1, wall if self.is_ahead(wall) else max(last, wall))

    def is_ahead(self, wall: int) -> bool:
        """Whether the last date is so far in the future that nobody accepts it."""
        return self._last_date() > wall + MAX_BUNDLE_AHEAD_MS

    def is_late(self, wall: int) -> bool:
        """Whether the last date is so long ago, though keys are renewed each week, that a clock was wrong then."""
        return 0 < self._last_date() < wall - MAX_BUNDLE_AGE_MS // 2

    def due(
        self,
        *,
        one_time: int,
        kem: int,
        signed_id: int | None,
        last_resort_id: int | None,
        now: int,
        takes_dates: bool = False,
    ) -> bool:
        """Whether the relay should get a publication, given what it says it has and whether it keeps dates."""
        signed, last_resort = self._current(SIGNED), self._current(LAST_RESORT)
        return (
            signed is None
            or last_resort is None
            or (takes_dates and not signed.dated == last_resort.dated != 0)
            or signed.id != signed_id
            or last_resort.id != last_resort_id
            or _is_old(signed, now)
            or one_time < REFILL_BELOW
            or kem < KEM_REFILL_BELOW
        )

    def publication(self, *, one_time: int, kem: int, now: int, made_at: int = 0) -> Generator[None, None, Publication]:
        """Make what is missing and store it, a few milliseconds' worth in each step; return what to publish.

        Keys that were made but whose publication was not confirmed are used again.

        Args:
            one_time: one-time X25519 prekeys that the relay has.
            kem: one-time ML-KEM prekeys that it has.
            now: milliseconds since 1970.
            made_at: see ``date``; 0 for a relay that does not keep it.
        """
        with self._vault.transaction() as tx:
            self._prune(tx, now)
            signed = self._renewed(tx, SIGNED, now)
            last_resort = self._renewed(tx, LAST_RESORT, now)
        one_times: list[PreKey] = []
        for some in self._fresh(ONE_TIME, max(0, ONE_TIME_TARGET - one_time), now, at_once=MADE_AT_ONCE):
            one_times += [PreKey(record.id, KeyPair.from_private(record.private)) for record in some]
            yield
        kems: list[KemPreKey] = []
        for some in self._fresh(KEM, max(0, KEM_TARGET - kem), now, at_once=KEM_MADE_AT_ONCE):
            kems += [KemPreKey.make(self._identity, record.id, record.private) for record in some]
            yield
        signed_prekey = SignedPreKey.make(self._identity, signed.id, signed.private)
        last_kem = KemPreKey.make(self._identity, last_resort.id, last_resort.private)
        signature = (
            sign_bundle(self._identity, signed_prekey, last_kem, made_at, user_id=self._own_id) if made_at else b""
        )
        return Publication(signed_prekey, last_kem, one_times, kems, made_at=made_at, bundle_signature=signature)

    def published(self, publication: Publication) -> None:
        """The relay has it."""
        lasting = {(SIGNED, publication.signed.id), (LAST_RESORT, publication.last_resort.id)}
        once = {(ONE_TIME, key.id) for key in publication.one_time} | {(KEM, key.id) for key in publication.kem}
        with self._vault.transaction() as tx:
            for record in self._all():
                name, after = (record.sort, record.id), record
                if name in lasting | once:
                    after = replace(after, published=True)
                if name in lasting and publication.made_at:
                    after = replace(after, dated=publication.made_at)
                if after != record:
                    self._put(tx, after)

    def named_in(self, header: HandshakeHeader) -> tuple[SignedPreKey, PreKey | None, KemPreKey | None]:
        """The private halves that a handshake needs.

        Raises:
            UnknownPreKey: one of them is gone.
        """
        signed = self._get(SIGNED, header.signed_prekey_id)
        one_time = kem = None
        if header.one_time_prekey_id:
            record = self._get(ONE_TIME, header.one_time_prekey_id)
            one_time = PreKey(record.id, KeyPair.from_private(record.private))
        if header.kem_ciphertext:
            try:
                record = self._get(KEM, header.kem_prekey_id)
            except UnknownPreKey:
                record = self._get(LAST_RESORT, header.kem_prekey_id)
            kem = KemPreKey.make(self._identity, record.id, record.private)
        return SignedPreKey.make(self._identity, signed.id, signed.private), one_time, kem

    def consume(self, tx: Transaction, header: HandshakeHeader) -> None:
        """Erase the one-time keys of a handshake that was accepted."""
        for sort, number in ((ONE_TIME, header.one_time_prekey_id), (KEM, header.kem_prekey_id)):
            if number:
                tx.delete(records.PREKEY, f"{sort}:{number}")

    def _all(self) -> list[PreKeyRecord]:
        return [record for _, record in self._vault.all(records.PREKEY, PreKeyRecord)]

    def _unpublished(self) -> list[PreKeyRecord]:
        return [record for record in self._all() if record.sort in {ONE_TIME, KEM} and not record.published]

    def _current(self, sort: str) -> PreKeyRecord | None:
        found = [record for record in self._all() if record.sort == sort and record.retired_at is None]
        return found[-1] if found else None

    def _last_date(self) -> int:
        """Of the newest signed prekey that has one; 0 if none has."""
        return max(((record.id, record.dated) for record in self._all() if record.dated), default=(0, 0))[1]

    def _get(self, sort: str, number: int) -> PreKeyRecord:
        try:
            record = self._vault.get(records.PREKEY, f"{sort}:{number}", PreKeyRecord)
        except VaultDamaged:
            record = None
        if record is None:
            raise UnknownPreKey(f"the {sort} prekey that it was made for is gone")
        return record

    def _renewed(self, tx: Transaction, sort: str, now: int) -> PreKeyRecord:
        current = self._current(sort)
        if current is not None and not _is_old(current, now):
            return current
        if current is not None:
            # Not erased yet: handshakes that were made with it are still on their way.
            self._put(tx, replace(current, retired_at=now))
        return self._make(tx, sort, now)

    def _fresh(self, sort: str, count: int, now: int, *, at_once: int) -> Iterator[list[PreKeyRecord]]:
        """So many that are not published, some at a time: those that are there, and then new ones."""
        waiting = [record for record in self._unpublished() if record.sort == sort][:count]
        for start in range(0, count, at_once):
            some = waiting[start : start + at_once]
            with self._vault.transaction() as tx:
                some += [self._make(tx, sort, now) for _ in range(min(at_once, count - start) - len(some))]
            yield some

    def _make(self, tx: Transaction, sort: str, now: int) -> PreKeyRecord:
        size = 64 if sort in {KEM, LAST_RESORT} else 32
        record = PreKeyRecord(sort=sort, id=self._next_id(tx, now), private=self._random(size), made_at=now)
        self._put(tx, record)
        return record

    def _next_id(self, tx: Transaction, now: int) -> int:
        """An id above all before it, as the relay demands; after a restored backup too, for time has passed.

        All sorts share one space: a handshake names a KEM prekey of either sort by its id alone.
        """
        number = max(now // 1000 if now // 1000 < LAST_CLOCK_ID else 0, self._last_id()) + 1
        tx.put(records.LAST_PREKEY_ID, "", IntValue(number))
        return number

    def _last_id(self) -> int:
        try:
            last = self._vault.get(records.LAST_PREKEY_ID, "", IntValue)
        except VaultDamaged:
            return max((record.id for record in self._all()), default=0)
        return 0 if last is None else last.value

    def _put(self, tx: Transaction, record: PreKeyRecord) -> None:
        tx.put(records.PREKEY, f"{record.sort}:{record.id}", record)

    def _prune(self, tx: Transaction, now: int) -> None:
        found = self._all()
        for sort in (ONE_TIME, KEM):
            published = [record for record in found if record.sort == sort and record.published]
            newest_first = sorted(published, key=lambda record: record.id, reverse=True)
            for place, record in enumerate(newest_first):
                # The relay keeps so many of a kind, the newest: it cannot hand the others out any more.
                is_handed_out = place >= MAX_ONE_TIME_PREKEYS
                if place >= MAX_KEPT or (is_handed_out and now - record.made_at > KEEP_HANDED_OUT_MS):
                    tx.delete(records.PREKEY, f"{sort}:{record.id}")
        for record in found:
            if record.retired_at is not None and now - record.retired_at > KEEP_RETIRED_MS:
                tx.delete(records.PREKEY, f"{record.sort}:{record.id}")
        signed = [record.made_at for record in self._all() if record.sort == SIGNED]
        if signed:
            # Older handshakes were made with prekeys that are gone, so they cannot be replayed.
            tx.delete_due(records.HANDSHAKE, min(signed) - 1)


def _is_old(record: PreKeyRecord, now: int) -> bool:
    """Whether it is to be renewed; one of the future was made by a clock that was wrong."""
    return now - record.made_at > ROTATE_MS or record.made_at > now + _DAY_MS
