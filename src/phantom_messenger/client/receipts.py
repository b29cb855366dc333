"""What the senders of received messages are to be told, end to end encrypted, so that no relay can forge it.

A status is on disk before anybody is told. Those of one sender are gathered into one message,
the carrier; they are kept until the relay says that it was delivered, and told again by another
one if the sender could not read it.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.content import MAX_RECEIPTS
from phantom_messenger.client.healing import MAX_RESENDS
from phantom_messenger.client.records import ReceiptRecord
from phantom_messenger.client.vault import Vault

KEEP_MS: Final = 30 * 86_400_000
"""How long a receipt is kept that was sent and of which nothing was heard."""

UNDECRYPTABLE: Final = "undecryptable"


class Receipts:
    """Statuses still to be told.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._waiting: defaultdict[str, dict[str, ReceiptRecord]] = defaultdict(dict)
        self._carried: defaultdict[str, dict[str, ReceiptRecord]] = defaultdict(dict)
        self._resends: dict[str, int] = {}
        for _, record in vault.readable(records.RECEIPT, ReceiptRecord):
            self._remember(record)

    def senders(self) -> list[str]:
        """Who is to be told something that no carrier has yet."""
        return [sender for sender, statuses in self._waiting.items() if statuses]

    def urgent(self, sender: str) -> bool:
        """Whether this sender is to be asked for something again."""
        return any(record.status == UNDECRYPTABLE for record in self._waiting[sender].values())

    def put(self, sender: str, message_id: str, status: str, now: int) -> ReceiptRecord:
        """Note a status, in place of an earlier one of this message; call it inside a transaction, then ``keep``."""
        record = ReceiptRecord(message_id=message_id, sender=sender, status=status, at=now)
        self._put(record)
        return record

    def keep(self, *noted: ReceiptRecord) -> None:
        """The transaction of ``put`` is on disk."""
        for record in noted:
            self._remember(record)

    def load(self, sender: str, carrier: str) -> bool:
        """Give a carrier what waits for its sender, as much as fits; whether there was something."""
        taken = list(self._waiting[sender].values())[:MAX_RECEIPTS]
        if not taken:
            return False
        loaded = [msgspec.structs.replace(record, carrier=carrier) for record in taken]
        with self._vault.transaction():
            for record in loaded:
                self._put(record)
        self.keep(*loaded)
        return True

    def carried(self, carrier: str) -> dict[str, list[str]]:
        """What a carrier says: message ids by status."""
        found: dict[str, list[str]] = {"delivered": [], "read": [], "burned": [], UNDECRYPTABLE: []}
        for record in self._carried.get(carrier, {}).values():
            found[record.status].append(record.message_id)
        return found

    def is_carrier(self, message_id: str) -> bool:
        """Whether this is the id of a carrier that is not known to have arrived."""
        return message_id in self._carried

    def told(self, carrier: str) -> None:
        """A carrier has arrived."""
        gone = self._carried.pop(carrier, {})
        self._resends.pop(carrier, None)
        with self._vault.transaction():
            for record in gone.values():
                self._vault.delete(records.RECEIPT, records.pair(record.sender, record.message_id))

    def may_resend(self, carrier: str) -> bool:
        """Whether a carrier that could not be read is to be sent again, and count it.

        Under its old id, so that it takes its place at the relay, even if there is nothing left to say.
        """
        count = self._resends.get(carrier, 0)
        if carrier not in self._carried or count >= MAX_RESENDS:
            return False
        self._resends[carrier] = count + 1
        return True

    def forget(self, overdue: Iterable[ReceiptRecord]) -> None:
        """Drop what is too old; call it inside a transaction."""
        for record in overdue:
            self._vault.delete(records.RECEIPT, records.pair(record.sender, record.message_id))
            self._waiting[record.sender].pop(record.message_id, None)
            self._carried.pop(record.carrier, None)

    def _put(self, record: ReceiptRecord) -> None:
        name = records.pair(record.sender, record.message_id)
        self._vault.put(records.RECEIPT, name, record, due=record.at + KEEP_MS)

    def _remember(self, record: ReceiptRecord) -> None:
        """One place for each message: a newer status takes it from a carrier that has not arrived."""
        for carried in self._carried.values():
            known = carried.get(record.message_id)
            if known is not None and known.sender == record.sender:
                del carried[record.message_id]
        if record.carrier:
            self._waiting[record.sender].pop(record.message_id, None)
            self._carried[record.carrier][record.message_id] = record
        else:
            self._waiting[record.sender][record.message_id] = record
