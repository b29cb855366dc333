"""A bit that flips in an account's row, or in the index of accounts: its owner keeps the account, and it is told."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.commands import LoggedIn, LoginConflict
from phantom_messenger.relay.records import Item
from support.store_user import StoreUser

INDEX = "sqlite_autoindex_accounts_1"


class Damaged:
    """Alice and Bob, who are contacts, and a message of Bob's that waits for Alice, on a disk that forgets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SQLiteStore(folder)
        self.alice, self.bob = (StoreUser(self.store, name) for name in ("alice", "bob"))
        self.carol = StoreUser(self.store, "carol")
        self.alice.meet(self.bob)
        self.bob.write(self.alice, "m")

    def flip(self, name: str, before: bytes, change: bytes) -> None:
        """Change the bytes behind the only place of ``before`` in a table or index, and open the store again."""
        self.store.close()
        database = self.folder / "relay.db"
        connection = apsw.Connection(str(database))
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).get
        connection.close()
        content = bytearray(database.read_bytes())
        at = content.index(before, (root - 1) * 4_096, root * 4_096) + len(before)
        content[at : at + len(change)] = change
        database.write_bytes(content)
        self.store = self.alice.store = self.bob.store = SQLiteStore(self.folder)


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Damaged]:
    made = Damaged(tmp_path / "data")
    yield made
    made.store.close()


def test_row_whose_id_is_damaged_is_still_its_owners(damaged: Damaged) -> None:
    damaged.flip("accounts", damaged.alice.id[:-2].encode(), b"?")
    found = damaged.alice.log_in(may_create=False)
    assert isinstance(found, LoggedIn)
    assert found.contacts == [damaged.bob.id]
    assert damaged.alice.names() == ["m"]
    assert isinstance(damaged.bob.write(damaged.alice, "n"), Item)


@pytest.mark.parametrize("row", [3, 77], ids=["of somebody else", "that is not there"])
def test_index_that_leads_to_another_row_is_made_anew(
    damaged: Damaged, row: int, caplog: pytest.LogCaptureFixture
) -> None:
    victim = damaged.bob  # the number of the first row takes no byte in an index
    damaged.flip(INDEX, victim.id.encode(), bytes([row]))
    found = victim.log_in(may_create=False)
    assert isinstance(found, LoggedIn)
    assert found.contacts == [damaged.alice.id]
    assert "index-damaged" in caplog.text
    assert isinstance(damaged.alice.write(victim, "n"), Item)


def test_control_account_that_was_never_made_is_new(damaged: Damaged) -> None:
    stranger = StoreUser.__new__(StoreUser)
    stranger.store, stranger.id, stranger.key = damaged.store, "nobody", "key"
    stranger.certified_id, stranger.is_signed = "c", True
    assert stranger.log_in(may_create=False) is LoginConflict.NEW
