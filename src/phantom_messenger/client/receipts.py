"""What the senders of received messages are to be told, end to end encrypted, so that no relay can forge it.

A status is on disk before anybody is told. Those of one sender are gathered into one message,
the carrier; they are kept until the relay says that it was delivered, and told again by another
one if the sender could not read it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
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
        is_open: whether a carrier waits and is not encrypted yet, so that more can be said in it.
    """

    def __init__(self, vault: Vault, is_open: Callable[[str], bool]) -> None:
        self._vault = vault
        self._is_open = is_open
        self._known: dict[tuple[str, str], ReceiptRecord] = {}
        self._waiting: defaultdict[str, dict[str, ReceiptRecord]] = defaultdict(dict)
        self._carried: dict[tuple[str, str], dict[str, ReceiptRecord]] = {}
        """By sender and carrier."""
        self._resends: dict[str, int] = {}
        for _, record in vault.all(records.RECEIPT, ReceiptRecord):
            self._remember(record)

    def senders(self) -> list[str]:
        """Who is to be told something that no carrier has yet."""
        return [sender for sender, statuses in self._waiting.items() if statuses]

    def urgent(self, sender: str) -> bool:
        """Whether this sender is to be asked for something again."""
        return any(record.status == UNDECRYPTABLE for record in self._waiting[sender].values())

    def put(self, sender: str, message_id: str, status: str, now: int) -> None:
        """Note a status, in place of an earlier one of this message; call it inside a transaction.

        A carrier that is open says the newer one. If it only stood in a later carrier, the first would
        seem to pass this message over, and its sender would send it again.
        """
        known = self._known.get((sender, message_id))
        carrier = known.carrier if known is not None and known.carrier and self._is_open(known.carrier) else ""
        self._put(ReceiptRecord(message_id=message_id, sender=sender, status=status, at=now, carrier=carrier))

    def load(self, sender: str, carrier: str) -> None:
        """Give a carrier what waits for its sender, as much as fits; call it inside a transaction."""
        for record in list(self._waiting[sender].values())[:MAX_RECEIPTS]:
            self._put(msgspec.structs.replace(record, carrier=carrier))

    def carried(self, sender: str, carrier: str) -> dict[str, list[str]]:
        """What a carrier says: message ids by status."""
        found: dict[str, list[str]] = {"delivered": [], "read": [], "burned": [], UNDECRYPTABLE: []}
        for record in self._carried.get((sender, carrier), {}).values():
            found[record.status].append(record.message_id)
        return found

    def told(self, sender: str, carrier: str) -> None:
        """A carrier has arrived; of anything else this is no news."""
        with self._vault.transaction():
            for record in list(self._carried.get((sender, carrier), {}).values()):
                self._drop(record)
            self._vault.when_kept(lambda: self._arrived(sender, carrier))

    def _arrived(self, sender: str, carrier: str) -> None:
        self._carried.pop((sender, carrier), None)
        self._resends.pop(carrier, None)

    def may_resend(self, sender: str, carrier: str) -> bool:
        """Whether a carrier that could not be read is to be sent again, and count it.

        Under its old id, so that it takes its place at the relay, even if there is nothing left to say.
        """
        count = self._resends.get(carrier, 0)
        if (sender, carrier) not in self._carried or count >= MAX_RESENDS:
            return False
        self._resends[carrier] = count + 1
        return True

    def forget(self, overdue: Iterable[ReceiptRecord]) -> None:
        """Drop what is too old; call it inside a transaction."""
        for record in overdue:
            self._drop(record)

    def drop(self, sender: str) -> None:
        """This user is told nothing any more; call it inside a transaction."""
        for record in [one for (whose, _), one in self._known.items() if whose == sender]:
            self._drop(record)

    def _put(self, record: ReceiptRecord) -> None:
        name = records.pair(record.sender, record.message_id)
        self._vault.put(records.RECEIPT, name, record, due=record.at + KEEP_MS)
        self._vault.when_kept(lambda: self._remember(record))

    def _drop(self, record: ReceiptRecord) -> None:
        self._vault.delete(records.RECEIPT, records.pair(record.sender, record.message_id))
        self._vault.when_kept(lambda: self._forget(record))

    def _forget(self, record: ReceiptRecord) -> None:
        self._known.pop((record.sender, record.message_id), None)
        self._waiting[record.sender].pop(record.message_id, None)
        carried = self._carried.get((record.sender, record.carrier), {})
        carried.pop(record.message_id, None)
        if not carried and record.carrier:
            self._carried.pop((record.sender, record.carrier), None)

    def _remember(self, record: ReceiptRecord) -> None:
        """One place for each message."""
        name = record.sender, record.message_id
        before = self._known.get(name)
        self._known[name] = record
        if before is not None and before.carrier and before.carrier != record.carrier:
            self._carried.get((record.sender, before.carrier), {}).pop(record.message_id, None)
        if record.carrier:
            self._waiting[record.sender].pop(record.message_id, None)
            self._carried.setdefault((record.sender, record.carrier), {})[record.message_id] = record
        else:
            self._waiting[record.sender][record.message_id] = record
