"""A profile whose file is damaged: what can be read of it goes on."""

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import pytest
from click.testing import CliRunner
from vault_file_samples import ALL, PAGE, TEXTS, opened, texts
from vault_file_samples import passphrase_in_the_environment as _env  # noqa: F401 - a fixture
from vault_file_samples import path_of_profile as _path  # noqa: F401 - a fixture
from vault_file_samples import whole_profile as _whole  # noqa: F401 - a fixture

from phantom_messenger.cli.main import phantom
from phantom_messenger.client import records, vault_file
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.records import SentRecord
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.sqlite import database


def page_of(whole: bytes, name: str) -> int:
    """The root page of a table or index, counted from 0."""
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", whole[:18] + b"\x01\x01" + whole[20:])
    found = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    assert found is not None
    return int(str(found[0])) - 1


# --- a damaged page ---------------------------------------------------------------


LEAF: Final = 13
"""The first byte of a page that has rows of a table."""


def zeroed(page: bytes) -> bytes:
    return bytes(len(page))


def flipped(page: bytes) -> bytes:
    return bytes((page[0] ^ 4,)) + page[1:]


def scrambled(page: bytes) -> bytes:
    return page[:8] + bytes(byte ^ 0x5A for byte in page[8:])


DAMAGES = {"zeros": zeroed, "a bit": flipped, "noise": scrambled}
COMMANDS = [
    ["id"],
    ["contacts", "list"],
    ["contacts", "add", "other", "kVBikGD7gJtCIn60+8zgLcO1ZY7ulZRferV8WMX7Dd8="],
    ["history", "friend"],
    ["export", "file", "--force"],
    ["id", "--json"],
]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_page_is_never_called_a_bug_or_a_full_disk(
    path: Path, whole: bytes, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parents[1])
    monkeypatch.setenv("PHANTOM_EXPORT_PASSPHRASE", "battery staple")
    runner = CliRunner()
    opens, pages = 0, range(0, len(whole), PAGE if damage is zeroed else 3 * PAGE)
    for at in pages:
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:at] + damage(whole[at : at + PAGE]) + whole[at + PAGE :])
        command = COMMANDS[at // PAGE % len(COMMANDS)]
        done = runner.invoke(phantom, command)
        said = done.output
        assert isinstance(done.exception, SystemExit | None), f"page {at // PAGE}: {command} {done.exception!r}"
        assert not re.search(r"bug|please report|free some|Corrupt|Traceback", said), f"page {at // PAGE}: {said}"
        if done.exit_code:
            assert "restore it from a backup" in said or "try again" in said, f"page {at // PAGE}: {said}"
        opens += not done.exit_code
    assert opens > len(pages) // 2, "most pages hold nothing that the rest cannot go on without"


def led_back(page: bytes, cell: int) -> bytes:
    """A leaf of a table, one of whose rows has the number 1: whoever reads on from there comes back."""
    at = int.from_bytes(page[8 + 2 * cell : 10 + 2 * cell])
    while page[at] & 0x80:  # the length of the row, before its number
        at += 1
    end = at + 1
    while page[end] & 0x80:
        end += 1
    return page[: at + 1] + b"\x80" * (end - at - 1) + b"\x01" + page[end + 1 :]


def test_row_that_leads_back_ends_no_reading(path: Path, whole: bytes) -> None:
    leaves = [at for at in range(PAGE, len(whole), PAGE) if whole[at] == LEAF and whole[at + 3 : at + 5] > b"\x00\x08"]
    at = leaves[len(leaves) // 2]
    for cell in range(int.from_bytes(whole[at + 3 : at + 5])):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:at] + led_back(whole[at : at + PAGE], cell) + whole[at + PAGE :])
        vault = apsw.Connection(str(path))
        saved = vault_file.salvage(vault, path, lambda _: True)
        assert saved
        vault.close()
        assert texts(path) <= ALL
        assert len(texts(path)) > len(ALL) * 0.8


class Counted:
    """A damaged vault, and how often it is asked for a row."""

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._connection = apsw.Connection(str(path))

    def execute(self, statement: str, values: tuple[int, ...] = ()) -> apsw.Cursor:
        self.count += "WHERE position >" in statement
        return self._connection.execute(statement, values)


def without_end(path: Path, *, tells: bool) -> None:
    """Make a vault whose last rows cannot be read; where they end it ``tells`` wrongly, or not at all."""
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'records'", (2**60,))
    connection.close()
    whole = path.read_bytes()
    root = page_of(whole, "records") * PAGE
    last = (int.from_bytes(whole[root + 8 : root + 12]) - 1) * PAGE
    assert whole[last] == LEAF
    for at in (last,) if tells else (last, page_of(whole, "sqlite_sequence") * PAGE):
        whole = whole[:at] + bytes(PAGE) + whole[at + PAGE :]
    path.write_bytes(whole)


@pytest.mark.parametrize("tells", [True, False], ids=["told wrongly", "not told"])
def test_rows_that_cannot_be_read_are_tried_so_many_in_a_row(
    path: Path, monkeypatch: pytest.MonkeyPatch, tells: bool
) -> None:
    without_end(path, tells=tells)
    tried = []
    for bound in (50, 500):  # the second one is the control: it is this that ends it
        monkeypatch.setattr(vault_file, "_BEYOND", bound)
        old, new = Counted(path), apsw.Connection(":memory:")
        database.migrate(new, vault_file._STEPS)
        vault_file._copy(old, new)  # type: ignore[arg-type]
        found = int(vault_file._one(new, "SELECT count(*) FROM records"))
        assert found > len(ALL) * 0.8
        tried.append(old.count - found)
    assert tried[1] - tried[0] == 500 - 50
    assert 0 <= tried[0] - 50 < len(ALL), "beside those between the rows that were found"


def test_rows_behind_more_of_them_are_given_up_and_behind_fewer_are_saved(
    path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = [at for at in range(PAGE, len(whole), PAGE) if whole[at] == LEAF and whole[at + 3 : at + 5] > b"\x00\x08"]
    at = leaves[len(leaves) // 2]
    kept = []
    for bound in (1, vault_file._BEYOND):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
        monkeypatch.setattr(vault_file, "_BEYOND", bound)
        vault = apsw.Connection(str(path))
        assert vault_file.salvage(vault, path, lambda _: True)
        vault.close()
        kept.append(len(texts(path)))
    assert kept[0] < len(ALL) * 0.8 < kept[1]


def test_what_can_be_read_of_a_damaged_profile_is_saved_and_the_file_is_kept(path: Path, whole: bytes) -> None:
    saved, lost = 0, 0
    for at in range(PAGE, len(whole), PAGE):
        for left in path.parent.iterdir():
            left.unlink()
        damaged = whole[:at] + bytes(PAGE) + whole[at + PAGE :]
        path.write_bytes(damaged)
        try:
            found = texts(path)
        except VaultDamaged:
            assert path.read_bytes() == damaged, "what cannot be repaired is left as it is"
            lost += 1
            continue
        assert len(found) > len(ALL) * 0.8
        assert found <= ALL
        kept = list(path.parent.glob("a.vault.damaged-*"))
        if found != ALL or kept:
            assert [file.read_bytes() for file in kept] == [damaged], f"page {at // PAGE}"
            saved += 1
        client = opened(path)
        with suppress(VaultDamaged):  # met at a write: it is saved, and has to be tried again
            client.contacts.add("third", "kVBikGD7gJtCIn60+8zgLcO1ZY7ulZRferV8WMX7Dd8=")
        client.contacts.add("fourth", "9YZsBKGQ55/U+lCe5z3nqwPJaZJ7RYEXaNHEuEKdRbk=")
        client.close()
        assert texts(path) == found
        if list(path.parent.glob("a.vault.damaged-*")):  # else nobody has met the damage yet
            connection = apsw.Connection(str(path))
            assert connection.pragma("integrity_check") == "ok"
            connection.close()
    assert saved > 15
    assert lost <= 4, "the key, the root of the records, and the page of the identity"


def test_destroying_a_profile_deletes_what_was_kept_of_a_damaged_one(path: Path, whole: bytes) -> None:
    at = page_of(whole, "sqlite_autoindex_records_1") * PAGE
    path.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
    assert texts(path) == ALL
    assert list(path.parent.glob("a.vault.damaged-*"))
    Vault(path, Secret("p"), create=False).destroy()
    assert list(path.parent.iterdir()) == []


def test_control_without_salvage_a_damaged_page_ends_a_command(
    path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_file, "salvage", lambda *_: False)
    at = page_of(whole, "sqlite_autoindex_records_1") * PAGE
    path.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
    with pytest.raises(VaultDamaged, match="restore it from a backup"):
        opened(path)


def test_damage_that_is_met_while_it_is_written_is_repaired_for_the_next_time(path: Path, whole: bytes) -> None:
    at = page_of(whole, "records_due") * PAGE
    path.write_bytes(whole[:at] + bytes(PAGE) + whole[at + PAGE :])
    vault = Vault(path, Secret("p"), create=False)

    def put() -> None:
        with vault.transaction() as tx:
            tx.put(records.SEEN, "a", records.Seen(1), due=5)

    with pytest.raises(VaultDamaged, match="what could be read has been saved: try again"):
        put()
    put()
    assert vault.overdue(records.SEEN, 5, records.Seen) == [records.Seen(1)]
    vault.close()
    assert texts(path) == ALL


def test_transaction_that_went_on_without_what_it_could_not_read_is_undone(path: Path, whole: bytes) -> None:
    vault = Vault(path, Secret("p"), create=False)
    at = page_of(whole, "sqlite_autoindex_records_1") * PAGE
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(PAGE))
    vault._connection.pragma("shrink_memory")

    def go_on() -> None:
        with vault.transaction():
            try:
                found = vault.get(records.SENT, "1", SentRecord)
            except VaultDamaged:  # as for what can be made anew
                found = None
            assert found is not None or vault._is_damaged

    with pytest.raises(VaultDamaged, match="try again"):
        go_on()
    go_on()
    assert vault.get(records.SENT, "1", SentRecord) is not None
    vault.close()
    assert texts(path) == ALL


def test_profile_without_its_identity_gets_no_new_one(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("DELETE FROM records WHERE kind = 'identity'")
    connection.close()
    with pytest.raises(VaultDamaged, match="has lost its identity; restore it from a backup"):
        opened(path)


def test_export_leaves_damaged_records_out_and_counts_them(path: Path, tmp_path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(
        "UPDATE records SET value = zeroblob(60) WHERE position % 40 = 7 AND kind IN ('sent', 'received')"
    )
    damaged = connection.changes()
    connection.close()
    assert damaged > 3
    client = opened(path)
    done = client.export_to(tmp_path / "file", "q")
    client.close()
    assert (done.damaged, done.messages) == (damaged, 2 * TEXTS - damaged)
    assert (
        Client.import_from(tmp_path / "file", "q", profile="b", home=tmp_path / "new", passphrase="p").messages
        == done.messages
    )
    again = CliRunner().invoke(
        phantom, ["export", str(tmp_path / "file"), "--force"], env={"PHANTOM_EXPORT_PASSPHRASE": "battery staple"}
    )
    assert f"{damaged} damaged records" in again.output
