"""Looks for what a vault has erased in its files."""

from typing import NamedTuple

from client_samples import raw_rows

from phantom_messenger.client.vault import Vault
from support.markers import is_unused

PIECE = 16
"""Bytes of a sealed record that are looked for: they are as good as random."""


class Leftover(NamedTuple):
    """A piece of a sealed value that was to be gone."""

    file: str
    at: int
    is_stale: bool
    """It stands where SQLite keeps nothing."""


class Watch:
    """All sealed values that a vault ever held."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._seen: set[bytes] = set()

    def look(self) -> None:
        """Remember what it holds now."""
        self._seen |= {row[4] for row in raw_rows(self._vault)}

    def leftovers(self) -> list[Leftover]:
        """What the files hold of values that the vault does not hold any more; one place in each file for each."""
        gone = self._seen - {row[4] for row in raw_rows(self._vault)}
        assert gone
        found = []
        for file in self._vault.path.parent.glob(f"{self._vault.path.name}*"):
            content = file.read_bytes()
            for value in gone:
                pieces = (value[start : start + PIECE] for start in range(0, len(value) - PIECE, PIECE))
                places = [at for piece in pieces if (at := content.find(piece)) >= 0]
                if places:
                    found.append(Leftover(file.name, places[0], all(is_unused(content, at) for at in places)))
        return found
