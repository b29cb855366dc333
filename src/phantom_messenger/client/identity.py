"""The identity of a profile."""

from collections.abc import Callable
from contextlib import suppress

from phantom_messenger.client import records
from phantom_messenger.client.errors import VaultDamaged, VaultError
from phantom_messenger.client.records import IdentityRecord, IntValue
from phantom_messenger.client.vault import Vault


def identity_of(vault: Vault, random: Callable[[int], bytes]) -> IdentityRecord:
    """The identity of a profile; made if it is a new one."""
    record = vault.get(records.IDENTITY, "", IdentityRecord)
    if record is None:
        if not vault.is_unused():
            raise VaultDamaged(f"{vault.path} has lost its identity; restore it from a backup")
        record = IdentityRecord(seed=random(32), server="")
        with vault.transaction() as tx:
            tx.put(records.IDENTITY, "", record)
            tx.put(records.IN_ORDER, "", IntValue(0))
    elif not vault.has(records.IN_ORDER, ""):  # it is an older version's: from now on, then
        with suppress(VaultError), vault.transaction() as tx:
            tx.put(records.IN_ORDER, "", IntValue(0))
    return record
