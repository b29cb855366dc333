"""Receipts for the senders of received messages, end to end encrypted, so that no relay can forge them.

A status is on disk before anybody learns of it. Those of one sender are gathered into one
message, a batch; they are kept until the relay says that it was delivered, and it is sent again
if the sender could not read it.
"""

from typing import Final, TypeVar

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.content import MAX_RECEIPTS
from phantom_messenger.client.outbox import Outbox
from phantom_messenger.client.records import ReceiptRecord
from phantom_messenger.client.recovery import MAX_RESENDS
from phantom_messenger.client.vault import Transaction, Vault

KEEP_MS: Final = 30 * 86_400_000
"""How long a receipt is kept that was sent and of which nothing was heard."""

UNDECRYPTABLE: Final = "undecryptable"

K = TypeVar("K")


class Receipts:
    """Statuses still to be reported to their senders.

    Args:
        vault: holds them.
        outbox: knows which batches wait and are not encrypted yet, so that more can be said in them.
    """

    def __init__(self, vault: Vault, outbox: Outbox) -> None:
        self._vault = vault
        self._outbox = outbox
        self._known: dict[str, dict[str, ReceiptRecord]] = {}
        """By sender and message."""
        self._waiting: dict[str, dict[str, ReceiptRecord]] = {}
        """Those of them that are in no batch yet."""
        self._batches: dict[tuple[str, str], dict[str, ReceiptRecord]] = {}
        """Those that are, by sender and batch."""
        self._resends: dict[str, int] = {}
        for _, record in vault.all(records.RECEIPT, ReceiptRecord):
            self._remember(record)

    def senders(self) -> list[str]:
        """Whose messages have a status that is in no batch yet."""
        return list(self._waiting)

    def is_urgent(self, sender: str) -> bool:
        """Whether this sender is to be asked for something again."""
        return any(record.status == UNDECRYPTABLE for record in self._waiting.get(sender, {}).values())

    def put(self, tx: Transaction, sender: str, message_id: str, status: str, now: int) -> None:
        """Note a status, in place of an earlier one of this message.

        A batch that is open says the newer one. If it only stood in a later batch, the first would
        seem to pass this message over, and its sender would send it again.
        """
        known = self._known.get(sender, {}).get(message_id)
        batch = known.carrier if known is not None and self._outbox.is_open(known.carrier) else ""
        self._put(tx, ReceiptRecord(message_id=message_id, sender=sender, status=status, at=now, carrier=batch))

    def assign(self, tx: Transaction, sender: str, batch: str) -> None:
        """Put what waits for a sender into a batch, as much as fits."""
        for record in list(self._waiting.get(sender, {}).values())[:MAX_RECEIPTS]:
            self._put(tx, msgspec.structs.replace(record, carrier=batch))

    def statuses(self, sender: str, batch: str) -> dict[str, list[str]]:
        """What a batch says: message ids by status."""
        found: dict[str, list[str]] = {"delivered": [], "read": [], "burned": [], UNDECRYPTABLE: []}
        for record in self._batches.get((sender, batch), {}).values():
            found[record.status].append(record.message_id)
        return found

    def acknowledged(self, tx: Transaction, sender: str, batch: str) -> None:
        """A batch has arrived; of anything else this is no news."""
        for record in list(self._batches.get((sender, batch), {}).values()):
            self._drop(tx, record)
        tx.on_commit(lambda: self._arrived(sender, batch))

    def _arrived(self, sender: str, batch: str) -> None:
        self._batches.pop((sender, batch), None)
        self._resends.pop(batch, None)

    def may_resend(self, tx: Transaction, sender: str, batch: str) -> bool:
        """Whether a batch that could not be read is to be sent again, and count it.

        Under its old id, so that it replaces the old one at the relay, even if there is nothing left to say.
        """
        count = self._resends.get(batch, 0)
        if (sender, batch) not in self._batches or count >= MAX_RESENDS:
            return False
        tx.on_commit(lambda: self._resent(batch, count + 1))
        return True

    def _resent(self, batch: str, count: int) -> None:
        self._resends[batch] = count

    def forget(self, tx: Transaction, now: int) -> None:
        """Drop what is too old."""
        for record in self._vault.overdue(records.RECEIPT, now, ReceiptRecord):
            self._drop(tx, record)

    def drop(self, tx: Transaction, sender: str) -> None:
        """This user gets no receipts any more."""
        for record in list(self._known.get(sender, {}).values()):
            self._drop(tx, record)

    def _put(self, tx: Transaction, record: ReceiptRecord) -> None:
        name = records.key(record.sender, record.message_id)
        tx.put(records.RECEIPT, name, record, due=record.at + KEEP_MS)
        tx.on_commit(lambda: self._remember(record))

    def _drop(self, tx: Transaction, record: ReceiptRecord) -> None:
        tx.delete(records.RECEIPT, records.key(record.sender, record.message_id))
        tx.on_commit(lambda: self._forget(record))

    def _forget(self, record: ReceiptRecord) -> None:
        _pop(self._known, record.sender, record.message_id)
        _pop(self._waiting, record.sender, record.message_id)
        _pop(self._batches, (record.sender, record.carrier), record.message_id)

    def _remember(self, record: ReceiptRecord) -> None:
        """One position for each message."""
        sender, message_id = record.sender, record.message_id
        before = self._known.get(sender, {}).get(message_id)
        self._known.setdefault(sender, {})[message_id] = record
        if before is not None and before.carrier and before.carrier != record.carrier:
            self._batches.get((sender, before.carrier), {}).pop(message_id, None)
        if record.carrier:
            _pop(self._waiting, sender, message_id)
            self._batches.setdefault((sender, record.carrier), {})[message_id] = record
        else:
            self._waiting.setdefault(sender, {})[message_id] = record


def _pop(found: dict[K, dict[str, ReceiptRecord]], key: K, message_id: str) -> None:
    """Take a record out, and its group with the last of it."""
    group = found.get(key, {})
    group.pop(message_id, None)
    if not group:
        found.pop(key, None)
