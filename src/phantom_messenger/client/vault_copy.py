"""A profile as it was at one moment, to be read in another thread while its owner goes on."""

from contextlib import suppress
from typing import Final

import apsw

from phantom_messenger.client import vault_file
from phantom_messenger.client.errors import ClientClosed
from phantom_messenger.client.vault import Vault

BUSY_MS: Final = 100
"""How long to wait for whoever has the file for themselves."""


class VaultCopy(Vault):
    """All records of a vault as they are when this is made: a connection of its own, in a transaction that reads.

    It is made and closed in the vault's thread, and read in one other in between. What is written meanwhile is not in
    it. Free space is scrubbed, and the log of changes ended, once it is closed.

    Args:
        of: the vault, open.

    Raises:
        ClientClosed: the vault is closed.
        VaultError: the file cannot be opened once more, as on a full disk.
    """

    def __init__(self, of: Vault) -> None:
        if of._lock is None:  # noqa: SLF001 - a part of the vault
            raise ClientClosed("this client was closed; open it again")
        of._part()  # noqa: SLF001 - a part of the vault; later nothing could be parted
        self._of = of
        self._scrubber, self._lock = None, None
        self._wrote = self._writes = self._is_damaged = False
        self._is_parted = True
        self.readers = set()
        self.unreadable = 0
        self.path = of.path
        self._cipher, self._hashed = of._cipher, of._hashed  # noqa: SLF001 - as above
        try:
            self._connection = apsw.Connection(str(of.path), flags=apsw.SQLITE_OPEN_READONLY)
            self._connection.set_busy_timeout(BUSY_MS)
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM meta").fetchall()  # from here on, nothing changes for it
        except apsw.Error as error:
            self.close()
            raise vault_file.translated(of.path, error) from None
        of.readers.add(self)

    def close(self) -> None:
        """End it; idempotent."""
        self._of.readers.discard(self)
        if hasattr(self, "_connection"):
            with suppress(apsw.Error):
                self._connection.close(True)

    def _repair(self) -> bool:
        return False  # its owner does that
