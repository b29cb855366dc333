"""A profile whose file is empty, cut, linked or restored, or on a full disk."""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import pytest
from click.testing import CliRunner
from vault_file_samples import ALL, PAGE, opened, texts
from vault_file_samples import passphrase_in_the_environment as _env  # noqa: F401 - a fixture
from vault_file_samples import path_of_profile as _path  # noqa: F401 - a fixture
from vault_file_samples import whole_profile as _whole  # noqa: F401 - a fixture

from phantom_messenger.cli.main import phantom
from phantom_messenger.client import records, vault_file
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError, VaultDamaged, VaultError, VaultFull, VaultInUse
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.sqlite import log_pairing

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
