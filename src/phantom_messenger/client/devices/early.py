"""What becomes of a message before it has come: to this device it may be on its way, and another own one was faster."""

from typing import Final

from phantom_messenger.client import records
from phantom_messenger.client.devices.records import EARLY, EarlyRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Transaction, Vault

KEEP_MS: Final = 30 * 86_400_000
MAX_EARLY: Final = 1_000
"""Messages of which it is remembered: most of what is told of others was erased here long ago."""


class Early:
    """Remembers it, until the message is there.

    Args:
        vault: holds it.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def note(self, tx: Transaction, person: str, message_id: str, state: DeliveryState, now: int) -> None:
        """A message is not there, and has come so far; ``person``: who has it from us, or has sent it."""
        name = records.key(person, message_id)
        known = self._vault.find(EARLY, name, EarlyRecord)
        if known is None and self._vault.count(EARLY) >= MAX_EARLY:
            return
        furthest = int(state) if known is None else max(known.state, int(state))
        tx.put(EARLY, name, EarlyRecord(state=furthest), due=now + KEEP_MS)

    def take(self, tx: Transaction, person: str, message_id: str) -> DeliveryState | None:
        """It is there now: how far it has come; None if nothing is known."""
        name = records.key(person, message_id)
        known = self._vault.find(EARLY, name, EarlyRecord)
        if known is None:
            return None
        tx.delete(EARLY, name)
        return DeliveryState(known.state)

    @staticmethod
    def forget(tx: Transaction, now: int) -> None:
        """What never came is remembered no longer."""
        tx.delete_due(EARLY, now)
