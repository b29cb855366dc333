"""Messages that could not be decrypted: what may be asked for again, how often, and with how many new sessions.

A device that was restored from a backup, or whose files were damaged, has lost the keys of
messages that are under way. It begins a new session and asks for them by their ids; the
other side sends them again. Both are bounded, so that nobody can be made to work for ever.
"""

from typing import Final

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.records import RecoveryRecord, UnreadableRecord
from phantom_messenger.client.vault import Transaction, Vault

HOUR_MS: Final = 3_600_000
MAX_SESSIONS_PER_HOUR: Final = 3
"""New sessions with a peer for what could not be read. One is not enough: both sides can have lost their
state at once, and then the first is made with prekeys that are gone."""

SETTLE_MS: Final = 30_000
"""How long a session that was begun for this is believed to be good: further messages are asked for in it."""

MAX_ASKS: Final = 3
"""How often a message is asked for; the relay can have lost the question, or the answer."""

ASK_AGAIN_MS: Final = HOUR_MS

MAX_KEPT: Final = 50
MAX_KEPT_OF_STRANGER: Final = 5
"""Unreadable messages of a sender that stay in the mailbox at the relay: all of them would fill it for good."""

MAX_REMEMBERED: Final = 200
"""Unreadable messages of a sender that are remembered, and can be asked for."""

KEEP_MS: Final = 30 * 24 * HOUR_MS
"""How long they are remembered."""

MAX_RESENDS: Final = 3
"""How often a message is sent again: what a peer can make us send."""


class Recovery:
    """What could not be read, by sender. Times are milliseconds of the device's persistent clock.

    Args:
        vault: holds it.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._unreadable: dict[str, dict[str, UnreadableRecord]] = {}
        self._begun_here: dict[str, list[int]] = {}
        for _, record in vault.all(records.UNREADABLE, UnreadableRecord):
            self._unreadable.setdefault(record.sender, {})[record.message_id] = record

    def note(self, tx: Transaction, sender: str, message_id: str, now: int, *, recoverable: bool) -> bool:
        """Remember that a message cannot be read; False if that is known already, or there are too many.

        Args:
            tx: stores it.
            sender: user id.
            message_id: of the message.
            now: since when.
            recoverable: whether sending it again would help.
        """
        known = self._unreadable.get(sender, {})
        before = known.get(message_id)
        # What anybody on the way can forge must not crowd out what can be asked for.
        alike = sum(1 for one in known.values() if one.curable == recoverable)
        if alike >= MAX_REMEMBERED or (before is not None and (before.curable or not recoverable)):
            return False
        record = UnreadableRecord(message_id=message_id, sender=sender, at=now, curable=recoverable)
        self._put(tx, record)
        return True

    def keeps(self, sender: str, message_id: str, *, known: bool) -> bool:
        """Whether the relay is to keep it: the first few of a sender, fewer of a stranger."""
        found = self._unreadable.get(sender, {})
        if message_id not in found:
            return False
        alike = [name for name, one in found.items() if one.curable == found[message_id].curable]
        return message_id in alike[: MAX_KEPT if known else MAX_KEPT_OF_STRANGER]

    def forget(self, tx: Transaction, now: int) -> None:
        """Forget what nobody will send again."""
        for record in self._vault.overdue(records.UNREADABLE, now, UnreadableRecord):
            self.readable(tx, record.sender, record.message_id)

    def readable(self, tx: Transaction, sender: str, message_id: str) -> None:
        """It could be read after all."""
        if message_id in self._unreadable.get(sender, {}):
            tx.delete(records.UNREADABLE, records.key(sender, message_id))
            tx.on_commit(lambda: self._forget(sender, message_id))

    def drop(self, tx: Transaction, sender: str) -> None:
        """Nothing of this user is asked for any more."""
        for message_id in list(self._unreadable.get(sender, {})):
            self.readable(tx, sender, message_id)

    def _forget(self, sender: str, message_id: str) -> None:
        self._unreadable[sender].pop(message_id, None)

    def senders(self) -> list[str]:
        """Whose messages could not be read."""
        return [sender for sender, found in self._unreadable.items() if found]

    def due(self, sender: str, now: int) -> list[str]:
        """The messages of a sender that may be asked for now."""
        return [record.message_id for record in self._unreadable.get(sender, {}).values() if _is_due(record, now)]

    def asked(self, tx: Transaction, sender: str, message_ids: list[str], now: int) -> None:
        """They are asked for."""
        for message_id in message_ids:
            record = self._unreadable[sender][message_id]
            self._put(tx, msgspec.structs.replace(record, asked_at=now, times=record.times + 1))

    def needs_session(self, sender: str, now: int, monotonic: int) -> bool:
        """Whether to ask in a new session; else the one in use is new enough, or there were too many.

        Args:
            sender: user id.
            now: persistent time, which is kept over restarts.
            monotonic: milliseconds since this start.
        """
        begun = self._begun(sender, now)
        # Counted by both clocks: what is stored outlives a restart, and this one is moved by nobody.
        here = self._begun_here[sender] = [at for at in self._begun_here.get(sender, []) if monotonic - at < HOUR_MS]
        return (
            max(len(begun), len(here)) < MAX_SESSIONS_PER_HOUR
            and all(abs(now - at) >= SETTLE_MS for at in begun)
            and all(monotonic - at >= SETTLE_MS for at in here)
        )

    def began(self, tx: Transaction, sender: str, now: int, monotonic: int) -> None:
        """A new session was begun for this."""
        # Even if the transaction fails: one session too few is better than one after the other.
        self._begun_here.setdefault(sender, []).append(monotonic)
        tx.put(records.RECOVERY, sender, RecoveryRecord(at=[*self._begun(sender, now), now]))

    def _put(self, tx: Transaction, record: UnreadableRecord) -> None:
        name = records.key(record.sender, record.message_id)
        tx.put(records.UNREADABLE, name, record, due=record.at + KEEP_MS)
        tx.on_commit(lambda: self._remember(record))

    def _remember(self, record: UnreadableRecord) -> None:
        self._unreadable.setdefault(record.sender, {})[record.message_id] = record

    def _begun(self, sender: str, now: int) -> list[int]:
        try:
            found = self._vault.get(records.RECOVERY, sender, RecoveryRecord)
        except VaultDamaged:
            found = None
        return [] if found is None else [at for at in found.at if abs(now - at) < HOUR_MS]


def _is_due(record: UnreadableRecord, now: int) -> bool:
    if not record.curable or record.times >= MAX_ASKS:
        return False
    return record.asked_at is None or abs(now - record.asked_at) >= ASK_AGAIN_MS
