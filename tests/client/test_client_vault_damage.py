"""A profile whose file is damaged, empty, cut, linked or restored, or on a full disk: what can be read goes on."""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw
import pytest
from click.testing import CliRunner

from phantom_messenger.cli.main import phantom
from phantom_messenger.client import records, vault_file
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError, VaultDamaged, VaultError, VaultFull, VaultInUse
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.sqlite import database, log_pairing

PAGE = 4_096
FRIEND = "z2AqYYYiV3EnBBZxXMu5SST7h/4YpmXBPXc3pxwXOT0="
TEXTS = 120


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHANTOM_PASSPHRASE", "p")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A profile of some 40 pages, with a contact and a history."""
    home = tmp_path_factory.mktemp("whole")
    client = Client.open("a", server="ws://127.0.0.1:9/ws", home=home, passphrase="p")
    client.contacts.add("friend", FRIEND)
    vault = client._vault
    with vault.transaction() as tx:
        for number in range(TEXTS):
            text = f"text {number} " * (400 if number % 40 == 3 else 20)
            sent = SentRecord(message_id=f"{number}", peer=FRIEND, text=text, made_at=number, burn=False, state=1)
            tx.put(records.SENT, sent.message_id, sent, due=number if number % 3 else None)
            got = ReceivedRecord(
                message_id=f"{number}",
                sender=FRIEND,
                text=text,
                sent_at=1,
                received_at=1,
                burn=False,
                expires_at=None,
            )
            tx.put(records.RECEIVED, records.key(FRIEND, f"{number}"), got)
    client.close()
    return (home / "profiles" / "a.vault").read_bytes()


@pytest.fixture
def path(tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That profile, in a home of its own."""
    monkeypatch.setenv("PHANTOM_HOME", str(tmp_path))
    monkeypatch.setenv("PHANTOM_PROFILE", "a")
    place = tmp_path / "profiles" / "a.vault"
    place.parent.mkdir(mode=0o700)
    place.write_bytes(whole)
    return place


def opened(path: Path) -> Client:
    return Client.open("a", home=path.parents[1], passphrase="p", create=False)


def texts(path: Path) -> set[str]:
    vault = Vault(path, Secret("p"), create=False)
    found = {f"sent {record.message_id}" for _, record in vault.all(records.SENT, SentRecord)}
    found |= {f"got {record.message_id}" for _, record in vault.all(records.RECEIVED, ReceivedRecord)}
    vault.close()
    return found


ALL = {f"{way} {number}" for way in ("sent", "got") for number in range(TEXTS)}


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
            assert path.read_bytes() == damaged, "what cannot be mended is left as it is"
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


def test_damage_that_is_met_while_it_is_written_is_mended_for_the_next_time(path: Path, whole: bytes) -> None:
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


# --- an empty file, a part of one -------------------------------------------------


@pytest.mark.parametrize("passphrase", ["p", "another"])
def test_empty_file_is_damage_and_never_a_new_identity(path: Path, passphrase: str) -> None:
    os.truncate(path, 0)
    done = CliRunner().invoke(phantom, ["id", "-p", "a"], env={"PHANTOM_PASSPHRASE": passphrase})
    assert done.exit_code == 1
    assert done.output == f"phantom: {path} is empty; restore it from a backup, or delete it to start over\n"
    for command in (["init", "-p", "a"], ["import", "none", "-p", "a"]):
        assert CliRunner().invoke(phantom, command).exit_code
    assert path.read_bytes() == b""
    with pytest.raises(VaultDamaged):
        Client.open("a", home=path.parents[1], passphrase="p", create=True)


def test_file_without_tables_is_damage(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(VaultDamaged, match="holds nothing; restore it from a backup, or delete it to start over"):
        opened(path)
    assert path.read_bytes() == before


def test_file_cut_at_any_page_is_damage_and_left_as_it_is(path: Path, whole: bytes) -> None:
    for size in range(0, len(whole), PAGE):
        path.write_bytes(whole[:size])
        with pytest.raises(VaultDamaged, match="restore it from a backup"):
            opened(path)
        assert path.read_bytes() == whole[:size]


def test_log_without_its_vault_is_damage(path: Path) -> None:
    path.rename(path.with_name("a.vault-wal"))
    with pytest.raises(VaultDamaged, match="is missing, but its log is there"):
        Client.open("a", home=path.parents[1], passphrase="p", create=True)


def test_making_that_was_killed_leaves_nothing_in_the_way(path: Path) -> None:
    path.rename(path.with_name("a.vault.new"))
    client = Client.open("a", home=path.parents[1], passphrase="p", create=True)
    client.close()
    assert {file.name for file in path.parent.iterdir()} == {"a.vault", "a.vault.lock"}


# --- a restored file --------------------------------------------------------------


def killed(path: Path, to: Path, *words: str) -> None:
    """What a program that wrote these and was killed leaves behind."""
    vault = Vault(path, Secret("p"), create=False)
    for word in words:
        with vault.transaction() as tx:
            tx.put(records.SEEN, word, records.Seen(1))
    to.mkdir()
    for suffix in ("", "-wal"):
        subprocess.run(["cp", f"{path}{suffix}", to / f"a.vault{suffix}"], check=True)
    vault.close()


@pytest.mark.parametrize("rounds", [1, 2])
def test_restored_file_beside_a_later_log_is_refused_and_left_as_it_is(
    path: Path, whole: bytes, tmp_path: Path, rounds: int
) -> None:
    """After one round the log holds all that came since, and would quietly roll the file forward."""
    for number in range(rounds):
        killed(path, tmp_path / f"killed-{number}", *map(str, range(10)))
    path.write_bytes(whole)
    shutil.copy(tmp_path / f"killed-{rounds - 1}" / "a.vault-wal", path.parent)
    for command in (["id", "-p", "a"], ["contacts", "list", "-p", "a"]):
        done = CliRunner().invoke(phantom, command)
        assert done.exit_code == 1
        assert re.search(r"a\.vault-wal is the log of another state .*; move that log away and try again", done.output)
        assert path.read_bytes() == whole
    path.with_name("a.vault-wal").unlink()
    assert texts(path) == ALL


@pytest.mark.parametrize("times", range(4))
def test_profile_of_a_killed_program_opens_with_what_it_wrote(path: Path, tmp_path: Path, times: int) -> None:
    for number in range(times):
        killed(path, tmp_path / str(number), f"word {number}")
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / str(number) / f"a.vault{suffix}", path.parent)
    vault = Vault(path, Secret("p"), create=False)
    assert [vault.has(records.SEEN, f"word {number}") for number in range(4)] == [n < times for n in range(4)]
    vault.close()


def test_control_without_the_look_a_restored_file_is_rolled_forward(
    path: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pairing, "is_own_log", lambda _: True)
    killed(path, tmp_path / "killed", "later")
    path.write_bytes(whole)
    shutil.copy(tmp_path / "killed" / "a.vault-wal", path.parent)
    vault = Vault(path, Secret("p"), create=False)
    assert vault.has(records.SEEN, "later")
    vault.close()


# --- links ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["symlink", "folder"])
def test_link_is_in_use_as_the_profile_itself_is(path: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other"
    if kind == "folder":
        other.symlink_to(tmp_path)
    else:
        (other / "profiles").mkdir(parents=True)
        (other / "profiles" / "a.vault").symlink_to(path)
    first = opened(path)
    with pytest.raises(VaultInUse, match="in use by another program"):
        Client.open("a", home=other, passphrase="p")
    first.close()
    second = Client.open("a", home=other, passphrase="p")
    with pytest.raises(VaultInUse, match="in use by another program"):
        opened(path)
    second.close()


def test_hard_link_is_refused(path: Path) -> None:
    path.with_name("b.vault").hardlink_to(path)
    for name in ("a", "b"):
        with pytest.raises(VaultError, match=r"has a second name \(a hard link\)"):
            Client.open(name, home=path.parents[1], passphrase="p")
    path.with_name("b.vault").unlink()
    opened(path).close()


def test_working_name_that_a_killed_import_left_is_taken_away(path: Path) -> None:
    path.with_name(".a.0123abcd.vault").hardlink_to(path)
    opened(path).close()
    assert not path.with_name(".a.0123abcd.vault").exists()


def test_control_without_the_look_for_links_a_profile_is_opened_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault_file, "check", lambda _: None)
    path.with_name("b.vault").hardlink_to(path)
    first = opened(path)
    try:
        Client.open("b", home=path.parents[1], passphrase="p").close()
    except VaultDamaged as error:  # as it must come of two logs of one database
        assert "is damaged and cannot be read" in str(error)  # noqa: PT017 - one of two bad ends
    first.close()


def test_link_that_leads_nowhere_is_no_new_profile(path: Path, tmp_path: Path) -> None:
    path.unlink()
    path.symlink_to(tmp_path / "unmounted" / "a.vault")
    for command in (["id", "-p", "a"], ["init", "-p", "a"]):
        done = CliRunner().invoke(phantom, command)
        assert done.exit_code
        assert "which does not exist; mount its disk, or restore it" in done.output


# --- a full disk, and folders without rights --------------------------------------


class Full(apsw.VFS):
    """A disk on which nothing can be written, nor the index of a log be made."""

    def __init__(self) -> None:
        super().__init__("full", "unix")

    def xOpen(self, name: object, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - apsw's name
        return FullFile("unix", name, flags)  # type: ignore[arg-type] # as SQLite gave it


class FullFile(apsw.VFSFile):
    def xWrite(self, data: object, offset: int) -> None:  # noqa: N802, ARG002
        raise apsw.FullError

    def xSync(self, flags: int) -> None:  # noqa: N802
        """Nothing to do."""


@pytest.fixture
def full() -> Iterator[None]:
    disk = Full()
    usual = apsw.vfs_names()[0]
    apsw.set_default_vfs("full")
    yield
    apsw.set_default_vfs(usual)
    disk.unregister()


@pytest.mark.usefixtures("full")
def test_profile_on_a_full_disk_is_read_and_the_disk_is_named_when_it_is_written(path: Path) -> None:
    runner = CliRunner()
    for command in (["id", "-p", "a"], ["contacts", "list", "-p", "a"], ["history", "friend", "-p", "a"]):
        done = runner.invoke(phantom, command)
        assert done.exit_code == 0, done.output
        assert done.output
    done = runner.invoke(phantom, ["contacts", "add", "-p", "a", "x", "kVBikGD7gJtCIn60+8zgLcO1ZY7ulZRferV8WMX7Dd8="])
    assert done.exit_code == 1
    assert re.search(r"cannot write to .*: the disk is full, or broken .*; free some disk space", done.output)
    client = opened(path)
    with pytest.raises(VaultFull):
        client.contacts.add("x", "kVBikGD7gJtCIn60+8zgLcO1ZY7ulZRferV8WMX7Dd8=")
    client.close()


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(PAGE))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="it mounts a disk")
def test_profile_on_a_real_full_disk_is_read(whole: bytes, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("it may not mount a disk")
    try:
        (disk / "profiles").mkdir()
        (disk / "profiles" / "a.vault").write_bytes(whole)
        fill(disk / "filler")
        client = Client.open("a", home=disk, passphrase="p", create=False)
        assert [contact.name for contact in client.contacts.everybody()] == ["friend"]
        with pytest.raises(VaultFull):
            client.contacts.add("x", "kVBikGD7gJtCIn60+8zgLcO1ZY7ulZRferV8WMX7Dd8=")
        client.close()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_folder_without_room_for_a_new_profile_is_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(vault_file, "lock", full)
    with pytest.raises(VaultFull, match="the disk is full; free some disk space"):
        Vault(tmp_path / "new.vault", Secret("p"))


@pytest.mark.parametrize("command", [["id"], ["init"], ["contacts", "list"], ["import", "file"], ["export", "file"]])
def test_home_of_somebody_else_is_one_sentence_and_exit_code_2(
    path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    real = Path.lstat

    def closed(self: Path) -> os.stat_result:
        if "profiles" in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(Path, "lstat", closed)
    done = CliRunner().invoke(phantom, [*command, "-p", "a"])
    assert done.exit_code == 2
    assert done.output == (
        f"phantom: cannot reach {path}: Permission denied; set PHANTOM_HOME to a folder of your own\n"
    )


def test_all_errors_of_a_vault_are_of_the_sdk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError, apsw.BusyError, apsw.PermissionsError):

        def fail(*_: object, error: type[Exception] = error) -> None:
            raise error("made up")

        with monkeypatch.context() as patch:
            patch.setattr(apsw, "Connection", fail)
            with pytest.raises(PhantomError, match=re.escape(str(path))):
                opened(path)
