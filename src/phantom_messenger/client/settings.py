"""What a user tells others of their doings: the settings of a profile."""

from dataclasses import asdict, dataclass, fields
from typing import Protocol

import msgspec

from phantom_messenger.client import records
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.records import SettingsRecord
from phantom_messenger.client.vault import Transaction, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What others may learn about you.

    ``read_receipts``: that you have read a message, or read and burned it. ``typing``: that you are typing.
    ``presence``: that you are online; without it you appear offline, and delivery receipts are sent only when you write
    to the sender, or read the message while read receipts are on.
    """

    read_receipts: bool = True
    typing: bool = True
    presence: bool = True


class Follower(Protocol):
    """Whoever stores something along with the settings: the other own devices are to know."""

    def settings_changed(self, tx: Transaction) -> None:
        """The user has changed something."""


class SettingsStore:
    """The settings, on disk.

    Args:
        vault: holds them.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        record = vault.get(records.SETTINGS, "", SettingsRecord) or SettingsRecord()
        self.current = Settings(**msgspec.structs.asdict(record))
        self.follower: Follower | None = None

    def change(self, **changes: bool) -> Settings:
        """Change some of them; all are on disk when this returns.

        Raises:
            UsageError: there is no such setting, or a value is no bool.
        """
        names = [field.name for field in fields(Settings)]
        for name, value in changes.items():
            if name not in names or not isinstance(value, bool):
                raise UsageError(
                    f"'{name}' cannot be set to {value!r}; the settings are {', '.join(names)}: True or False"
                )
        with self._vault.transaction() as tx:
            self.store(tx, **changes)
            if self.follower is not None:
                self.follower.settings_changed(tx)
        return self.current

    def store(self, tx: Transaction, **changes: bool) -> None:
        """Store other values for some of them."""
        after = Settings(**{**asdict(self.current), **changes})
        tx.put(records.SETTINGS, "", SettingsRecord(**asdict(after)))
        tx.on_commit(lambda: self._set(after))

    def _set(self, after: Settings) -> None:
        self.current = after
