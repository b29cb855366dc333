"""Published prekeys in SQLite."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import apsw

from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.relay.commands import PublishRefusal
from phantom_messenger.relay.records import Bundle, Dating, OneTimeKey, PreKeyCounts, Publication, SignedKey
from phantom_messenger.wire.limits import MAX_ONE_TIME_PREKEYS, PREKEY_HOUR_PER_REQUESTER, PREKEY_HOUR_PER_TARGET

X25519: Final = 1
ML_KEM: Final = 2
ALL: Final = 0
"""In ``prekey_ids``: the highest id of signed and one-time keys of both kinds."""

_HOUR_MS: Final = 3_600_000

K = TypeVar("K", OneTimeKey, SignedKey)


class SQLitePreKeys:
    """Published prekeys.

    Args:
        connection: to the database.
        directory: of the accounts.
        has_room: whether so many bytes can be added.
    """

    def __init__(
        self, connection: apsw.Connection, directory: SQLiteDirectory, has_room: Callable[[int], bool]
    ) -> None:
        self._connection = connection
        self._has_room = has_room
        self._directory = directory

    def publish(self, user_id: str, publication: Publication) -> PreKeyCounts | PublishRefusal:
        """Replace the signed keys, add the one-time keys; no change if that is refused.

        A one-time key whose id is not above all ids published before is left out: it may have
        been handed out already.
        """
        account = self._directory.account(user_id)
        if self._is_outdated(account, publication):
            return PublishRefusal.OUTDATED
        one_time = self._unseen(account, X25519, publication.one_time)
        kem = self._unseen(account, ML_KEM, publication.one_time_kem)
        before = self.counts(user_id)
        kept = (0, 0) if publication.replace else (before.one_time, before.one_time_kem)
        if max(kept[0] + len(one_time), kept[1] + len(kem)) > MAX_ONE_TIME_PREKEYS:
            return PublishRefusal.FULL
        if not self._has_room(publication.size):
            raise apsw.FullError("no room")
        if publication.replace:
            self._connection.execute("DELETE FROM one_time_prekeys WHERE account = ?", (account,))
        self._replace_signed(account, X25519, publication.signed)
        if publication.last_resort_kem is not None:
            self._replace_signed(account, ML_KEM, publication.last_resort_kem)
        if publication.dating is not None:
            self._connection.execute(
                "INSERT OR REPLACE INTO bundle_signatures (account, made_at, signature) VALUES (?, ?, ?)",
                (account, publication.dating.made_at, publication.dating.signature),
            )
        if publication.device_list is not None:
            self._connection.execute(
                "INSERT OR REPLACE INTO device_lists (account, list) VALUES (?, ?)", (account, publication.device_list)
            )
        rows = [(account, X25519, key.id, key.key, "") for key in one_time]
        rows += [(account, ML_KEM, key.id, key.key, key.signature) for key in kem]
        self._connection.executemany(
            "INSERT INTO one_time_prekeys (account, kind, id, key, signature) VALUES (?, ?, ?, ?, ?)", rows
        )
        self._connection.executemany(
            "INSERT INTO prekey_ids (account, kind, highest) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET highest = excluded.highest",
            [(account, kind, max(key.id for key in keys)) for kind, keys in ((X25519, one_time), (ML_KEM, kem)) if keys]
            + [(account, ALL, max(publication.highest_id, before.highest_id or 0))],
        )
        return self.counts(user_id)

    def counts(self, user_id: str) -> PreKeyCounts:
        """What is left."""
        account = self._directory.account(user_id)
        one_time = dict(
            self._connection.execute(
                "SELECT kind, count(*) FROM one_time_prekeys WHERE account = ? GROUP BY kind", (account,)
            )
        )
        signed = dict(self._connection.execute("SELECT kind, id FROM signed_prekeys WHERE account = ?", (account,)))
        highest = self._connection.execute("SELECT max(highest) FROM prekey_ids WHERE account = ?", (account,)).get
        ids = [*signed.values(), *([] if highest is None else [highest])]
        return PreKeyCounts(
            one_time=one_time.get(X25519, 0),
            one_time_kem=one_time.get(ML_KEM, 0),
            signed_id=signed.get(X25519),
            last_resort_kem_id=signed.get(ML_KEM),
            highest_id=max(ids, default=None),
        )

    def hand_out(self, target: str, requester: str, now: int) -> Bundle | None:
        """Hand out a bundle; None if the target has published nothing.

        Beyond the hourly limits a bundle has no one-time X25519 key, and the last-resort KEM key.
        """
        account = self._directory.account(target)
        signed = self._signed(account, X25519)
        identity_key = self._directory.public_key(target)
        if signed is None or identity_key is None:
            return None
        last_resort, dating = self._signed(account, ML_KEM), self._dating(account)
        x25519 = kem = None
        asking = self._directory.account(requester)
        if self._may_hand_out(account, asking, now):
            x25519 = self._pop(account, X25519)
            kem = self._pop(account, ML_KEM)
            if x25519 is not None or kem is not None:
                self._connection.execute(
                    "INSERT INTO handouts (target, requester, at) VALUES (?, ?, ?)", (account, asking, now)
                )
        return Bundle(
            identity_key=identity_key,
            signed=signed,
            one_time=None if x25519 is None else OneTimeKey(x25519.id, x25519.key),
            kem=kem or last_resort,
            left=self.counts(target),
            dating=dating,
            last_resort_kem=None if dating is None else last_resort,
            device_list=self._connection.execute("SELECT list FROM device_lists WHERE account = ?", (account,)).get,
        )

    def forget_handouts(self, now: int) -> None:
        """Forget who was given what more than an hour ago."""
        self._connection.execute("DELETE FROM handouts WHERE at <= ?", (now - _HOUR_MS,))

    def _unseen(self, account: int | None, kind: int, keys: Sequence[K]) -> list[K]:
        """Those with an id above all that were published before: the others may have been handed out."""
        highest = self._connection.execute(
            "SELECT highest FROM prekey_ids WHERE account = ? AND kind = ?", (account, kind)
        ).get
        unseen: dict[int, K] = {}
        for key in keys:
            if highest is None or key.id > highest:
                unseen.setdefault(key.id, key)
        return list(unseen.values())

    def _is_outdated(self, account: int | None, publication: Publication) -> bool:
        """Whether prekeys of a later date are stored, and are to stay."""
        stored = self._dating(account)
        if publication.dating is None or publication.replace or stored is None:
            return False
        return publication.dating.made_at < stored.made_at

    def _dating(self, account: int | None) -> Dating | None:
        row: Any = self._connection.execute(
            "SELECT made_at, signature FROM bundle_signatures WHERE account = ?", (account,)
        ).fetchone()
        return None if row is None else Dating(*row)

    def _replace_signed(self, account: int | None, kind: int, key: SignedKey) -> None:
        """Put a key in its place; the signature over those that were there does not fit another one."""
        stored = self._signed(account, kind)
        if stored is not None and (stored.id, stored.key) != (key.id, key.key):
            self._connection.execute("DELETE FROM bundle_signatures WHERE account = ?", (account,))
        self._connection.execute(
            "INSERT OR REPLACE INTO signed_prekeys (account, kind, id, key, signature) VALUES (?, ?, ?, ?, ?)",
            (account, kind, key.id, key.key, key.signature),
        )

    def _signed(self, account: int | None, kind: int) -> SignedKey | None:
        row: Any = self._connection.execute(
            "SELECT id, key, signature FROM signed_prekeys WHERE account = ? AND kind = ?", (account, kind)
        ).fetchone()
        return None if row is None else SignedKey(*row)

    def _pop(self, account: int | None, kind: int) -> SignedKey | None:
        row: Any = self._connection.execute(
            "DELETE FROM one_time_prekeys WHERE entry ="
            " (SELECT min(entry) FROM one_time_prekeys WHERE account = ? AND kind = ?) RETURNING id, key, signature",
            (account, kind),
        ).fetchall()
        return SignedKey(*row[0]) if row else None

    def _may_hand_out(self, target: int | None, requester: int | None, now: int) -> bool:
        self._connection.execute("DELETE FROM handouts WHERE target = ? AND at <= ?", (target, now - _HOUR_MS))
        total, by_requester = self._connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE requester = ?) FROM handouts WHERE target = ?",
            (requester, target),
        ).fetchone() or (0, 0)
        return bool(total < PREKEY_HOUR_PER_TARGET and by_requester < PREKEY_HOUR_PER_REQUESTER)
