"""The ways to read records: by name, by position, in pages from either end, and by what has been damaged."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from client_samples import KEY, change_file, fast_folder

from phantom_messenger.client import vault as vault_module
from phantom_messenger.client.errors import VaultDamaged
from phantom_messenger.client.vault import Vault


class Note(msgspec.Struct, frozen=True):
    """A record."""

    text: str


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vault]:
    """Eight notes at the odd positions from 1, records of another kind between them; pages of three."""
    monkeypatch.setattr(vault_module, "_PAGE", 3)
    with fast_folder(tmp_path) as folder:
        opened = Vault(folder / "a.vault", KEY)
        with opened.transaction() as tx:
            for number in range(8):
                tx.put("note", f"note {number}", Note(f"note {number}"))
                tx.put("other", f"other {number}", Note(f"other {number}"), due=number)
        yield opened
        opened.close()


def numbers(found: list[Note]) -> list[int]:
    """The numbers of notes, which must be of no other kind."""
    assert all(note.text.startswith("note ") for note in found)
    return [int(note.text.removeprefix("note ")) for note in found]


@pytest.mark.parametrize("count", range(9))
def test_records_are_read_once_each_from_either_end_whatever_a_page_holds(vault: Vault, count: int) -> None:
    with vault.transaction() as tx:
        for number in range(count, 8):
            tx.delete("note", f"note {number}")
    oldest = list(vault.oldest("note", Note, after=0))
    assert oldest == list(vault.all("note", Note))
    assert [position for position, _ in oldest] == [2 * number + 1 for number in range(count)]
    assert numbers([note for _, note in oldest]) == list(range(count))
    assert numbers(list(vault.newest("note", Note))) == list(reversed(range(count)))


def test_records_behind_a_position_are_read_without_the_one_that_stands_there(vault: Vault) -> None:
    assert vault.position("note", "note 2") == 5
    assert numbers([note for _, note in vault.oldest("note", Note, after=5)]) == [3, 4, 5, 6, 7]
    assert numbers([note for _, note in vault.all("note", Note, after=5)]) == [3, 4, 5, 6, 7]
    assert numbers(list(vault.newest("note", Note, above=5))) == [7, 6, 5, 4, 3]
    assert numbers([note for _, note in vault.oldest("note", Note, after=4)]) == [2, 3, 4, 5, 6, 7]


def test_batch_looks_at_so_many_records_and_says_where_it_stopped(vault: Vault) -> None:
    found, reached = vault.batch({"note": Note}, after=0, limit=5)
    assert (numbers(found), reached) == ([0, 1, 2], 5)
    found, reached = vault.batch({"note": Note, "other": Note}, after=14, limit=5)
    assert ([note.text for note in found], reached) == (["note 7", "other 7"], 16)
    assert vault.batch({"note": Note}, after=16, limit=5) == ([], 16)
    assert vault.batch({"of later": Note}, after=0, limit=5) == ([], 5)


def test_several_are_read_together_in_the_order_in_which_they_are_named(vault: Vault) -> None:
    names = ["note 5", "note 1", "of later", "note 3"]
    assert vault.several("note", names, Note) == [Note("note 5"), Note("note 1"), None, Note("note 3")]
    assert vault.several("note", [], Note) == []
    change_file(
        vault.path, "UPDATE records SET value = zeroblob(60) WHERE position = ?", vault.position("note", "note 1")
    )
    assert vault.several("note", names, Note) == [Note("note 5"), None, None, Note("note 3")]
    with pytest.raises(VaultDamaged):
        vault.get("note", "note 1", Note)


def test_several_are_stored_together_or_none_of_them(vault: Vault) -> None:
    before, fresh = (
        list(vault.all("note", Note)),
        {f"note {number}": Note(f"note {10 + number}") for number in (6, 2, 9)},
    )

    def fails() -> None:
        with vault.transaction() as tx:
            tx.put_several("note", fresh)
            assert vault.several("note", list(fresh), Note) == list(fresh.values())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert list(vault.all("note", Note)) == before
    with vault.transaction() as tx:
        tx.put_several("note", fresh)
    assert numbers([note for _, note in vault.all("note", Note)]) == [0, 1, 12, 3, 4, 5, 16, 7, 19]


def test_what_there_is_is_known_without_reading_it(vault: Vault) -> None:
    assert (vault.has("note", "note 1"), vault.has("other", "note 1")) == (True, False)
    assert (vault.has_kind("note"), vault.has_kind("of later")) == (True, False)
    assert (vault.position("note", "note 1"), vault.position("note", "unknown")) == (3, 0)
    assert vault.last_position() == 16
    assert not vault.is_unused()
    with vault.transaction() as tx:
        for number in range(8):
            tx.delete("note", f"note {number}")
            tx.delete("other", f"other {number}")
    assert vault.last_position() == 0
    assert not vault.is_unused(), "something was there once"


def test_new_vault_is_unused(tmp_path: Path) -> None:
    made = Vault(tmp_path / "new.vault", KEY)
    assert (made.is_unused(), made.last_position()) == (True, 0)
    made.close()


def test_records_are_removed_by_time_and_by_number_and_those_of_other_kinds_stay(vault: Vault) -> None:
    with vault.transaction() as tx:
        tx.delete_due("other", 2)
        tx.delete_due("note", 2)
        tx.delete_some("note", 6)
        tx.delete_some("of later", 6)
    assert [note.text for _, note in vault.all("other", Note)] == [f"other {number}" for number in range(3, 8)]
    assert len(list(vault.all("note", Note))) == 2
    with vault.transaction() as tx:
        tx.delete_some("note", 6)
    assert not vault.has_kind("note")


def test_damaged_record_is_none_to_find_an_error_to_get_and_left_out_of_the_rest(vault: Vault) -> None:
    change_file(vault.path, "UPDATE records SET value = zeroblob(60) WHERE position IN (3, 4)")
    change_file(vault.path, "UPDATE records SET value = x'00' WHERE position = 5")
    assert vault.find("note", "note 1", Note) is None
    assert vault.find("note", "unknown", Note) is vault.get("note", "unknown", Note) is None
    assert vault.find("note", "note 3", Note) == vault.get("note", "note 3", Note) == Note("note 3")
    for number in (1, 2):
        with pytest.raises(VaultDamaged, match="cannot be read"):
            vault.get("note", f"note {number}", Note)
    assert numbers([note for _, note in vault.oldest("note", Note, after=0)]) == [0, 3, 4, 5, 6, 7]
    assert numbers(list(vault.newest("note", Note))) == [7, 6, 5, 4, 3, 0]
    assert [note.text for note in vault.overdue("other", 2, Note)] == ["other 0", "other 2"]
    assert numbers(vault.batch({"note": Note}, after=0, limit=7)[0]) == [0, 3]
    assert vault.unreadable == 8
