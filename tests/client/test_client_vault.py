import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from client_samples import KEY, change_file, raw_rows
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from phantom_messenger.client import vault_file
from phantom_messenger.client.errors import NoProfile, VaultDamaged, VaultError, VaultFull, VaultInUse, WrongPassphrase
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.sqlite.scrub import Scrubber


class Note(msgspec.Struct, frozen=True):
    """A record."""

    text: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "profiles" / "alice.vault"


@pytest.fixture
def vault(path: Path) -> Iterator[Vault]:
    opened = Vault(path, KEY)
    yield opened
    opened.close()


def put(vault: Vault, *names: str, kind: str = "note") -> None:
    with vault.transaction() as tx:
        for name in names:
            tx.put(kind, name, Note(f"text of {name}"))


def texts(vault: Vault, kind: str = "note", after: int = 0) -> list[str]:
    return [note.text.removeprefix("text of ") for _, note in vault.all(kind, Note, after=after)]


# --- records ----------------------------------------------------------------------


def test_record_comes_back_after_the_vault_was_closed(path: Path) -> None:
    first = Vault(path, Secret("correct horse"))
    put(first, "a")
    first.close()
    second = Vault(path, Secret("correct horse"), create=False)
    assert second.get("note", "a", Note) == Note("text of a")
    assert second.has("note", "a")
    second.close()


def test_record_has_its_name_and_its_kind(vault: Vault) -> None:
    put(vault, "a")
    put(vault, "a", kind="other")
    with vault.transaction() as tx:
        tx.put("other", "a", Note("another"))
        tx.delete("note", "a")
    assert vault.get("note", "a", Note) is None
    assert not vault.has("note", "a")
    assert vault.get("other", "a", Note) == Note("another")


def test_records_stand_in_the_order_in_which_they_were_first_put(vault: Vault) -> None:
    put(vault, "c", "a", "b")
    put(vault, "c")
    assert texts(vault) == ["c", "a", "b"]
    with vault.transaction() as tx:
        tx.delete("note", "a")
    put(vault, "a", "d")
    assert texts(vault) == ["c", "b", "a", "d"]


def test_place_of_a_deleted_record_is_never_given_again(vault: Vault) -> None:
    put(vault, "a", "b")
    (_, _), (last, _) = vault.all("note", Note)
    with vault.transaction() as tx:
        tx.delete("note", "b")
    put(vault, "c")
    assert texts(vault, after=last) == ["c"]


def test_records_behind_a_position_are_the_later_ones(vault: Vault) -> None:
    put(vault, "a", "b", "c")
    put(vault, "x", kind="other")
    position = next(position for position, note in vault.all("note", Note) if note.text == "text of a")
    assert texts(vault, after=position) == ["b", "c"]


def test_overdue_records_are_those_whose_time_has_come(vault: Vault) -> None:
    with vault.transaction() as tx:
        for name, due in (("late", 300), ("early", 100), ("never", None), ("middle", 200)):
            tx.put("note", name, Note(name), due=due)
        tx.put("other", "early", Note("of another kind"), due=1)
    assert [note.text for note in vault.overdue("note", 200, Note)] == ["early", "middle"]
    assert vault.overdue("note", 99, Note) == []
    with vault.transaction() as tx:
        tx.put("note", "early", Note("early"))
    assert [note.text for note in vault.overdue("note", 200, Note)] == ["middle"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, VaultError])
def test_transaction_that_fails_changes_nothing(vault: Vault, error: type[BaseException]) -> None:
    put(vault, "a", "b")
    before = raw_rows(vault)

    def fail() -> None:
        with vault.transaction() as tx:
            tx.put("note", "a", Note("another"))
            tx.put("note", "c", Note("text of c"))
            tx.delete("note", "b")
            raise error

    with pytest.raises(error):
        fail()
    assert raw_rows(vault) == before
    put(vault, "d")
    assert texts(vault) == ["a", "b", "d"]


def test_transaction_inside_another_is_refused(vault: Vault) -> None:
    def fail() -> None:
        with vault.transaction() as tx:
            tx.put("note", "outer", Note("text of outer"))
            put(vault, "inner")

    with pytest.raises(RuntimeError, match="hand it on"):
        fail()
    assert texts(vault) == []
    put(vault, "later")
    assert texts(vault) == ["later"]


def test_memory_follows_what_was_stored(vault: Vault) -> None:
    seen: list[str] = []

    def write(*, fails: bool) -> None:
        with vault.transaction() as tx:
            tx.on_commit(lambda: seen.append("stored"))
            tx.on_rollback(lambda: seen.append("undone second"))
            tx.on_rollback(lambda: seen.append("undone first"))
            if fails:
                raise LookupError

    write(fails=False)
    with pytest.raises(LookupError):
        write(fails=True)
    assert seen == ["stored", "undone first", "undone second"]


class Stubborn:
    """A connection on a failing disk: nothing can be committed, nor rolled back, or so it says."""

    def __init__(self, connection: apsw.Connection, *, rolls_back: bool) -> None:
        self._real = connection
        self._rolls_back = rolls_back

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            raise apsw.FullError
        if statement == "ROLLBACK":
            if self._rolls_back:
                self._real.execute(statement)
            raise apsw.IOError
        return self._real.execute(statement, *values)


@pytest.mark.parametrize("rolls_back", [True, False])
def test_memory_is_put_back_even_if_rolling_back_fails(vault: Vault, *, rolls_back: bool) -> None:
    seen: list[str] = []

    def write() -> None:
        with vault.transaction() as tx:
            tx.on_rollback(lambda: seen.append("undone"))
            tx.put("note", "a", Note("never stored"))

    put(vault, "before")
    vault._connection = Stubborn(vault._connection, rolls_back=rolls_back)  # type: ignore[assignment] # stands in for it
    with pytest.raises(VaultFull):
        write()
    assert seen == ["undone"]
    if rolls_back:
        vault._connection = vault._connection._real  # type: ignore[attr-defined] # of Stubborn
    put(vault, "after")
    assert texts(vault) == ["before", "after"]
    path = vault.path
    vault.close()
    again = Vault(path, KEY)
    assert texts(again) == ["before", "after"]
    again.close()


@pytest.mark.parametrize("fails", [True, False])
def test_one_action_that_fails_keeps_no_other_from_being_done(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    seen: list[str] = []

    def broken(name: str) -> None:
        raise LookupError(name)

    def write() -> None:
        with vault.transaction() as tx:
            for note in (tx.on_commit, tx.on_rollback):
                note(lambda: seen.append("one"))
                note(lambda: broken("one"))
                note(lambda: broken("two"))
                note(lambda: seen.append("two"))
            if fails:
                raise ZeroDivisionError

    monkeypatch.setattr(Scrubber, "committed", lambda _: seen.append("scrubber"))
    with pytest.raises(LookupError, match="two" if fails else "one"):
        write()
    assert seen == (["two", "one"] if fails else ["one", "two", "scrubber"])


def test_transaction_is_on_disk_when_it_has_ended(vault: Vault, tmp_path: Path) -> None:
    put(vault, "a")
    copied = tmp_path / "copied.vault"
    for suffix in ("", "-wal"):
        (tmp_path / f"copied.vault{suffix}").write_bytes(Path(f"{vault.path}{suffix}").read_bytes())
    copy = Vault(copied, KEY)
    assert texts(copy) == ["a"]
    copy.close()


def test_disk_is_waited_for_and_what_is_deleted_is_overwritten(vault: Vault) -> None:
    assert vault._connection.pragma("synchronous") == 2
    assert vault._connection.pragma("secure_delete") == 1
    assert vault._connection.pragma("journal_mode") == "wal"


# --- who may open it --------------------------------------------------------------


@pytest.mark.parametrize(
    "secret",
    [Secret("Correct horse"), Secret("correct horse "), Secret(""), Secret("correct horse", stretched=False)],
    ids=["case", "space", "nothing", "as a key"],
)
def test_wrong_passphrase_does_not_open_it(path: Path, secret: Secret) -> None:
    Vault(path, Secret("correct horse")).close()
    with pytest.raises(WrongPassphrase, match="does not open"):
        Vault(path, secret)
    Vault(path, Secret("correct horse")).close()


@pytest.mark.usefixtures("real_passphrases")
def test_passphrase_is_stretched_as_shipped_with_64_mib(path: Path) -> None:
    salt = bytes(range(16))
    expected = Argon2id(salt=salt, length=32, iterations=3, lanes=4, memory_cost=65_536).derive(b"correct horse")
    assert Secret("correct horse").key(salt) == expected
    Vault(path, Secret("correct horse")).close()
    with pytest.raises(WrongPassphrase):
        Vault(path, Secret("wrong"))
    Vault(path, Secret("correct horse")).close()


def test_two_vaults_with_one_passphrase_have_different_keys(tmp_path: Path) -> None:
    one, other = (Vault(tmp_path / f"{name}.vault", KEY) for name in ("one", "other"))
    put(one, "a")
    put(other, "a")
    ((_, _, one_name, _, one_value),) = raw_rows(one)
    ((_, _, other_name, _, _),) = raw_rows(other)
    assert one_name != other_name
    change_file(other.path, "UPDATE records SET value = ?", one_value)
    with pytest.raises(VaultDamaged):
        other.get("note", "a", Note)
    one.close()
    other.close()


def test_absent_vault_is_not_made_unless_asked(path: Path) -> None:
    with pytest.raises(NoProfile, match=r"phantom init"):
        Vault(path, KEY, create=False)
    assert not path.parent.exists()


OPEN = """
import sys, time
from pathlib import Path
from phantom_messenger.client.errors import PhantomError
from phantom_messenger.client.vault import Secret, Vault
try:
    vault = Vault(Path(sys.argv[1]), Secret("a random key of a keyring", stretched=False))
except PhantomError as error:
    print(type(error).__name__, error)
else:
    print("open", flush=True)
    sys.stdin.read()
"""


def other_process(path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_second_process_is_told_that_it_is_in_use(vault: Vault) -> None:
    with other_process(vault.path) as process:
        said, _ = process.communicate(timeout=60)
    assert said.startswith("VaultInUse the profile 'alice' is in use by another program")
    put(vault, "a")
    assert texts(vault) == ["a"]


def test_vault_of_a_killed_process_opens(path: Path) -> None:
    with other_process(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(VaultInUse):
            Vault(path, KEY)
        process.kill()
        process.wait(60)
    Vault(path, KEY).close()


@pytest.mark.parametrize("secret", [Secret("wrong"), KEY], ids=["refused", "opened"])
def test_vault_can_be_opened_again_after_it_was_closed_or_refused(path: Path, secret: Secret) -> None:
    Vault(path, KEY).close()
    try:
        Vault(path, secret).close()
    except WrongPassphrase:
        assert secret is not KEY
    Vault(path, KEY).close()


# --- files ------------------------------------------------------------------------


def test_only_the_owner_may_read_the_files(path: Path) -> None:
    before = os.umask(0)
    try:
        opened = Vault(path, KEY)
        put(opened, "a")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        opened.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(
        ("alice.vault", "alice.vault-wal", "alice.vault-shm", "alice.vault.lock"),
        0o600,
    )
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_destroying_it_removes_all_its_files_and_no_others(vault: Vault) -> None:
    other = Vault(vault.path.with_name("bob.vault"), KEY)
    put(vault, "a")
    put(other, "b")
    vault.destroy()
    assert {file.name.partition(".")[0] for file in vault.path.parent.iterdir()} == {"bob"}
    assert texts(other) == ["b"]
    other.close()
    Vault(vault.path, KEY).destroy()
    vault.__init__(vault.path, KEY)  # type: ignore[misc] # for the fixture to close


def test_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(VaultError, match=r"cannot write to .*PHANTOM_HOME"):
        Vault(tmp_path / "file" / "alice.vault", KEY)


# --- damage -----------------------------------------------------------------------


def test_vault_of_a_newer_version_is_left_alone(path: Path) -> None:
    Vault(path, KEY).close()
    change_file(path, "PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(VaultError, match="newer version of Phantom Messenger"):
        Vault(path, KEY)
    assert path.read_bytes() == before
    change_file(path, f"PRAGMA user_version = {vault_file.FORMAT}")
    Vault(path, KEY).close()


@pytest.mark.parametrize("garbage", [b"no database" * 1_000, os.urandom(8_192)], ids=["text", "noise"])
def test_garbage_is_not_a_vault_and_is_left_alone(path: Path, garbage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(garbage)
    with pytest.raises(VaultDamaged, match="cannot be read"):
        Vault(path, KEY)
    assert path.read_bytes() == garbage


def test_half_a_vault_is_damaged(path: Path) -> None:
    opened = Vault(path, KEY)
    put(opened, *map(str, range(200)))
    opened.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VaultError, match=r"."):
        texts(Vault(path, KEY))


BAD_META = {
    "no key": ("DELETE FROM meta WHERE name = 'key'", VaultDamaged),
    "no salt": ("DELETE FROM meta WHERE name = 'salt'", VaultDamaged),
    "nothing": ("DELETE FROM meta", VaultDamaged),
    "empty key": ("UPDATE meta SET value = x'' WHERE name = 'key'", VaultError),
    "short key": ("UPDATE meta SET value = substr(value, 1, 20) WHERE name = 'key'", VaultError),
    "other salt": ("UPDATE meta SET value = randomblob(16) WHERE name = 'salt'", VaultError),
    "short salt": ("UPDATE meta SET value = x'00' WHERE name = 'salt'", VaultError),
}


@pytest.mark.parametrize(("statement", "error"), BAD_META.values(), ids=BAD_META)
def test_vault_without_its_key_is_a_vault_error(path: Path, statement: str, error: type[VaultError]) -> None:
    Vault(path, Secret("correct horse")).close()
    change_file(path, statement)
    with pytest.raises(error):
        Vault(path, Secret("correct horse"))


BAD_VALUES = {
    "a flipped bit": (
        "UPDATE records SET value = CAST(substr(value, 1, 20) || iif(substr(value, 21, 1) = x'00', x'01', x'00')"
        " || substr(value, 22) AS BLOB)"
    ),
    "another nonce": "UPDATE records SET value = CAST(zeroblob(12) || substr(value, 13) AS BLOB)",
    "nothing but a nonce": "UPDATE records SET value = substr(value, 1, 12)",
    "less than a nonce": "UPDATE records SET value = x'0102'",
    "nothing": "UPDATE records SET value = x''",
    "another name": "UPDATE records SET kind = 'other'",
}


@pytest.mark.parametrize("statement", BAD_VALUES.values(), ids=BAD_VALUES)
def test_changed_record_is_left_out_and_counted(vault: Vault, statement: str) -> None:
    put(vault, "a")
    assert [note for _, note in vault.all("note", Note)] == [Note("text of a")]
    change_file(vault.path, statement)
    put(vault, "b")
    ((_, kind, _, _, _), _) = raw_rows(vault)
    assert [note for _, note in vault.all(kind, Note)] == [Note("text of b")] * (kind == "note")
    assert vault.find("note", "a", Note) is None
    assert vault.unreadable == 2 - (kind != "note")


@pytest.mark.parametrize("statement", list(BAD_VALUES.values())[:-1], ids=list(BAD_VALUES)[:-1])
def test_changed_record_that_is_asked_for_is_damage(vault: Vault, statement: str) -> None:
    put(vault, "a")
    change_file(vault.path, statement)
    with pytest.raises(VaultDamaged):
        vault.get("note", "a", Note)


def test_record_under_the_name_of_another_is_refused(vault: Vault) -> None:
    put(vault, "a", "b")
    (_, _, _, _, first), (_, _, second_name, _, second) = raw_rows(vault)
    change_file(vault.path, "UPDATE records SET value = ? WHERE name = ?", first, second_name)
    with pytest.raises(VaultDamaged):
        vault.get("note", "b", Note)
    assert vault.get("note", "a", Note) == Note("text of a")
    change_file(vault.path, "UPDATE records SET value = ? WHERE name = ?", second, second_name)
    assert vault.get("note", "b", Note) == Note("text of b")


def test_record_of_another_form_is_damage(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.put("note", "a", {"number": 1})
    with pytest.raises(VaultDamaged):
        vault.get("note", "a", Note)


def test_full_disk_is_told_and_undone(vault: Vault) -> None:
    put(vault, "a")
    vault._connection.pragma("max_page_count", 1 + vault._connection.pragma("page_count"))
    with pytest.raises(VaultError, match="free some disk space"):
        put(vault, *(f"{number:0500}" for number in range(200)))
    assert texts(vault) == ["a"]


def test_secret_does_not_print() -> None:
    assert repr(Secret("correct horse")) == "Secret(...)"
    assert "correct" not in f"{Secret('correct horse')}"
