"""The exported file: opened by its passphrase alone, and neither it nor a profile is ever left half made."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from backup_samples import changed, opened
from client_samples import (
    KEY,
    WORDS,
    Town,
)

from phantom_messenger.client import backup, records
from phantom_messenger.client.backup import Content, export_profile, import_profile
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import BackupError, ProfileExists, UsageError, VaultError, WrongPassphrase
from phantom_messenger.client.records import (
    ContactRecord,
    IdentityRecord,
    ReceiptRecord,
    SentRecord,
)
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto import primitives


def failing(error: BaseException) -> Callable[..., Any]:
    """A function that does not work."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def changed_bytes(file: Path, at: int, value: bytes) -> None:
    data = bytearray(file.read_bytes())
    data[at : at + len(value)] = value
    file.write_bytes(data)


def test_file_is_its_owners_alone_and_a_multiple_of_64_kib(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    found = (tmp_path / "file").stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert (found.st_size - 46 - 12 - 16) % 65_536 == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("file")] == ["file"]


def test_wrong_passphrase_makes_nothing(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    with pytest.raises(WrongPassphrase):
        import_profile(tmp_path / "file", "another", tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("new*"))


def test_no_byte_of_the_file_can_change(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    file = tmp_path / "file"
    export_profile(alice.vault, file, WORDS)
    whole = file.read_bytes()
    for at in [*range(80), *range(80, len(whole), 311), *range(len(whole) - 20, len(whole))]:
        changed_bytes(file, at, bytes((whole[at] ^ 1,)))
        with pytest.raises((WrongPassphrase, BackupError)):
            import_profile(file, WORDS, tmp_path / "new.vault", KEY)
        file.write_bytes(whole)
    import_profile(file, WORDS, tmp_path / "new.vault", KEY)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (17, b"\x02"),
        (17, b"\x00"),
        (18, b"\x00\x10\x00\x01"),
        (18, b"\x00\x00\x00\x00"),
        (22, b"\x00\x00\x00\x41"),
        (22, b"\x00\x00\x00\x00"),
        (26, b"\x00\x00\x00\x41"),
        (26, b"\xff\xff\xff\xff"),
    ],
)
def test_file_that_asks_for_too_much_or_is_newer_is_refused_before_any_work(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int, value: bytes
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    changed_bytes(tmp_path / "file", at, value)

    monkeypatch.setattr(primitives, "argon2id", failing(AssertionError("it worked")))
    with pytest.raises(BackupError):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


@pytest.mark.parametrize("size", [0, 5, 17, 18, 45, 60])
def test_file_that_is_cut_or_another_is_refused(town: Town, tmp_path: Path, size: int) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    (tmp_path / "cut").write_bytes((tmp_path / "file").read_bytes()[:size])
    (tmp_path / "other").write_text("a letter to somebody " * 10)
    for name in ("cut", "other", "absent"):
        with pytest.raises(BackupError):
            import_profile(tmp_path / name, WORDS, tmp_path / "new.vault", KEY)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_export_that_fails_leaves_no_half_file(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    alice, _ = town.friends("alice", "bob")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("an older export")
    monkeypatch.setattr(os, step, failing(OSError(28, "No space left on device")))
    with pytest.raises(BackupError, match="No space left"):
        export_profile(alice.vault, folder / "file", WORDS, replace=True)
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "an older export"


def test_what_is_no_file_is_not_replaced(town: Town, tmp_path: Path) -> None:
    """As ``/dev/null``, if one may do all: others write there, too."""
    alice, _ = town.friends("alice", "bob")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BackupError, match="pipe is not a file; choose another place"):
        export_profile(alice.vault, tmp_path / "pipe", WORDS, replace=True)
    assert (tmp_path / "pipe").is_fifo()


def test_file_that_somebody_else_makes_meanwhile_is_left_alone(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = town.friends("alice", "bob")
    folder = tmp_path / "folder"
    folder.mkdir()
    gather = backup._gather

    def slowly(opened: Vault) -> Content:
        (folder / "file").write_text("a letter")
        return gather(opened)

    monkeypatch.setattr(backup, "_gather", slowly)
    with pytest.raises(BackupError, match="already"):
        export_profile(alice.vault, folder / "file", WORDS)
    assert [path.read_text() for path in folder.iterdir()] == ["a letter"]


def test_file_system_without_hard_links_will_do(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _ = town.friends("alice", "bob")
    monkeypatch.setattr(os, "link", failing(PermissionError(1, "Operation not permitted")))
    export_profile(alice.vault, tmp_path / "file", WORDS)
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    Vault(tmp_path / "new.vault", KEY, create=False).close()
    with pytest.raises(FileExistsError):
        backup._give_name(tmp_path / "file", tmp_path / "new.vault", replace=False)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_name_that_no_file_can_have_is_refused(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    for replace in (False, True):
        for name in ("x" * 300, "no folder/x"):
            with pytest.raises(BackupError, match="choose another place"):
                export_profile(alice.vault, tmp_path / name, WORDS, replace=replace)


@pytest.mark.parametrize("words", ["", "half a character \ud800"])
def test_passphrase_that_is_none_opens_and_closes_nothing(town: Town, tmp_path: Path, words: str) -> None:
    alice, _ = town.friends("alice", "bob")
    with pytest.raises(UsageError):
        export_profile(alice.vault, tmp_path / "file", words)
    assert not (tmp_path / "file").exists()
    export_profile(alice.vault, tmp_path / "file", WORDS)
    with pytest.raises(UsageError):
        import_profile(tmp_path / "file", words, tmp_path / "new.vault", KEY)


def test_file_over_the_limit_is_neither_written_nor_read(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    size = (tmp_path / "file").stat().st_size
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", size)
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", size - 1)
    with monkeypatch.context() as patch:
        patch.setattr(primitives, "argon2id", failing(AssertionError("it worked")))
        with pytest.raises(BackupError, match="too large"):
            import_profile(tmp_path / "file", WORDS, tmp_path / "other.vault", KEY)
    with pytest.raises(BackupError, match="larger than"):
        export_profile(alice.vault, tmp_path / "second", WORDS)
    assert not (tmp_path / "second").exists()


def test_file_without_an_end_is_read_no_further_than_the_limit(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe tells no size; it holds more than may be read, and how much is left in it shows how much was."""
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    monkeypatch.setattr(backup, "MAX_FILE_BYTES", 1_000)
    for head, sentence in ((bytes(18), "not an exported profile"), (backup.MAGIC + b"\x01", "too large")):
        reader, writer = os.pipe()
        os.write(writer, head + bytes(60_000))
        os.close(writer)
        with pytest.raises(BackupError, match=sentence):
            import_profile(Path(f"/dev/fd/{reader}"), WORDS, tmp_path / "new.vault", KEY)
        assert len(os.read(reader, 100_000)) > 40_000
        os.close(reader)


def test_want_of_memory_is_told(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    monkeypatch.setattr(primitives, "argon2id", failing(MemoryError()))
    with pytest.raises(BackupError, match="of memory"):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


UNUSABLE: list[dict[str, Any]] = [
    {"identity": IdentityRecord(seed=bytes(31), server="")},
    {"contacts": [ContactRecord(user_id="x", trust="friend")]},
    {"receipts": [ReceiptRecord(message_id="1", sender="x", status="liked", at=0)]},
    {"sent": [SentRecord(message_id="1", peer="x", text=None, made_at=0, burn=False, state=99)]},
    {"last_prekey_id": "many"},
]


@pytest.mark.parametrize("fields", UNUSABLE, ids=[next(iter(fields)) for fields in UNUSABLE])
def test_profile_that_could_not_be_opened_is_not_made(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    alice, _ = town.friends("alice", "bob")
    changed(monkeypatch, **fields)
    export_profile(alice.vault, tmp_path / "file", WORDS)
    with pytest.raises(BackupError, match="newer"):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("*new*"))


def test_fields_of_later_versions_are_passed_over(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(ContactRecord, frozen=True, kw_only=True):
        colour: str

    alice, bob = town.friends("alice", "bob")
    changed(monkeypatch, contacts=[Later(user_id=bob.id, name="bob", colour="green")])
    export_profile(alice.vault, tmp_path / "file", WORDS)
    assert b"green" in opened(tmp_path / "file")
    summary = import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert summary.contacts == 1


def test_file_that_is_there_is_overwritten_only_on_demand(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    (tmp_path / "file").write_text("a letter")
    with pytest.raises(BackupError, match="already"):
        export_profile(alice.vault, tmp_path / "file", WORDS)
    assert (tmp_path / "file").read_text() == "a letter"
    export_profile(alice.vault, tmp_path / "file", WORDS, replace=True)
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


def test_profile_that_is_there_is_left_alone(town: Town, tmp_path: Path) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    Vault(tmp_path / "new.vault", KEY).close()
    before = (tmp_path / "new.vault").read_bytes()
    with pytest.raises(ProfileExists):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert (tmp_path / "new.vault").read_bytes() == before


def test_profile_that_somebody_makes_meanwhile_is_left_alone(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    read = backup._read

    def slowly(path: Path, words: list[bytes]) -> Content:
        other = Vault(tmp_path / "new.vault", KEY)
        with other.transaction() as tx:
            tx.put(records.IDENTITY, "", IdentityRecord(seed=bytes(32), server="theirs"))
        other.close()
        return read(path, words)

    monkeypatch.setattr(backup, "_read", slowly)
    with pytest.raises(ProfileExists):
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    found = Vault(tmp_path / "new.vault", KEY)
    assert found.get(records.IDENTITY, "", IdentityRecord) == IdentityRecord(seed=bytes(32), server="theirs")
    found.close()
    assert not list(tmp_path.glob(".new*"))


def test_profile_is_not_there_under_its_name_before_it_is_whole(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vault without an identity would get a new one from the next command."""
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    put, close, looks = Transaction.put, Vault.close, []

    def putting(self: Transaction, kind: str, *arguments: Any, **options: Any) -> None:
        looks.append((tmp_path / "new.vault").exists())
        put(self, kind, *arguments, **options)

    def closing(self: Vault) -> None:
        close(self)
        looks.append((tmp_path / "new.vault").exists())

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "put", putting)
        patch.setattr(Vault, "close", closing)
        import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert len(looks) > 5
    assert not any(looks)
    assert [path.name for path in tmp_path.glob("*new*")] == ["new.vault"]
    assert stat.S_IMODE((tmp_path / "new.vault").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", [records.IDENTITY, records.RECEIVED])
def test_import_that_fails_half_way_leaves_no_profile(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    put = Transaction.put

    def fail(self: Transaction, of: str, *arguments: Any, **options: Any) -> None:
        if of == kind:
            raise apsw.FullError
        put(self, of, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Transaction, "put", fail)
        with pytest.raises(VaultError, match="disk space"):
            import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("*new*"))
    import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)


def test_import_whose_log_could_not_be_written_back_is_not_taken_for_whole(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = town.friends("alice", "bob")
    export_profile(alice.vault, tmp_path / "file", WORDS)
    close = Vault.close

    def closing(self: Vault) -> None:
        close(self)
        self.path.with_name(f"{self.path.name}-wal").touch()

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "close", closing)
        with pytest.raises(VaultError, match="disk space"):
            import_profile(tmp_path / "file", WORDS, tmp_path / "new.vault", KEY)
    assert not list(tmp_path.glob("*new*"))


def test_sdk_exports_and_imports(tmp_path: Path) -> None:
    with_words = {"home": tmp_path, "passphrase": "own words"}
    client = Client.open("old", server="ws://127.0.0.1:1/ws", **with_words)  # type: ignore[arg-type] # a home and words
    summary = client.export_to(tmp_path / "file", WORDS)
    user_id = client.user_id
    client.close()
    assert (summary.contacts, summary.messages) == (0, 0)
    Client.import_from(tmp_path / "file", WORDS, profile="new", home=tmp_path, passphrase="other words")
    again = Client.open("new", home=tmp_path, passphrase="other words")
    assert (again.user_id, again.server) == (user_id, "ws://127.0.0.1:1/ws")
    again.close()
    assert backup.VERSION == 1
