"""A disk forgets a bit: what is damaged is never delivered, and stands in nobody's way."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bit_rot_files import COLUMNS, INDEXES, Sample
from bit_rot_look import Outcome, Rotten

from phantom_messenger.engines.sqlite import item_rows
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.records import Item
from support.amounts import amount, seeds
from support.stores import ALICE, BOB, CAROL, key_of

PARTS = ("payload size", "row id", "record header", "link", *COLUMNS[1:])
"""Of a row."""

CELL = ("row id", "payload size", "record header", "link")
"""What SQLite goes by to find a row."""

IN_INDEXES = [f"{index}: {part}" for index in INDEXES for part in ("pointers", "entries", "row ids")]
IN_ITEMS = [name for name in IN_INDEXES if "accounts" not in name]
FLIPS = seeds(4, 500)
"""Of each part."""

ANYWHERE = seeds(40, 10_000)
"""Of the whole file."""

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name


@contextmanager
def unless_told(outcome: Outcome, part: str, structure: Sequence[str]) -> Iterator[None]:
    """Damage to SQLite's own structure, not to what an item holds, may have worse ends, if the relay tells of it."""
    try:
        yield
    except AssertionError:
        if part not in structure or not is_told(outcome):
            raise


class Silent:
    """Ends that nobody is told of, in parts where they are known: docs/guarantees.md, Every kind of damage.

    Args:
        part: in which the bits are.
        known: parts in which there are such ends; at most half of the bits may have one.
    """

    def __init__(self, part: str, known: Sequence[str]) -> None:
        self._is_known = part in known
        self._ends = self._bits = 0

    @contextmanager
    def end(self) -> Iterator[None]:
        self._bits += 1
        try:
            yield
        except AssertionError:
            self._ends += 1
            if not self._is_known:
                raise

    def check(self) -> None:
        assert self._ends * 2 <= self._bits


def is_told(outcome: Outcome) -> bool:
    """Whether the store refused, failed, or wrote to its log."""
    results = [*outcome.mail.values(), outcome.early, outcome.expired, *outcome.removals, *outcome.appended]
    return bool(outcome.refused or outcome.log) or any(isinstance(one, CommandFailed) for one in results)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(tmp_path_factory.mktemp("sample") / "data")


@pytest.fixture(scope="module")
def rotten(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotten]:
    """In memory where there is a folder for it: the store is opened thousands of times."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path_factory.mktemp("rotten")) as folder:
        yield Rotten(sample, Path(folder))


Looks = Callable[[str], list[tuple[int, Outcome]]]


@pytest.fixture(scope="module")
def looks(sample: Sample, rotten: Rotten) -> Looks:
    """What became of flips in a part: each bit with its outcome; looked at once for all tests."""
    return cache(lambda part: [(bit, rotten.look(bit)) for bit, _ in flips(sample, part)])


def flips(sample: Sample, part: str, count: int = FLIPS) -> list[tuple[int, int]]:
    """Random bits in a part, or all if they are few, each with the row it belongs to."""
    found = [one for one in sample.parts if one.name == part]
    bits = [(bit, one.entry) for one in found for bit in range(one.start * 8, one.end * 8)]
    assert bits, part
    chance = random.Random(part)  # noqa: S311 - the same in every run
    return bits if len(bits) <= count else chance.sample(bits, count)


def hit(sample: Sample, bit: int) -> Item:
    """The item of a row in which a bit stands."""
    [entry] = [part.entry for part in sample.parts if part.start <= bit // 8 < part.end and part.entry]
    return sample.items[entry]


def owner(sample: Sample, item: Item) -> str:
    [found] = [user for user, items in sample.mail.items() if item in items]
    return found


# --- one row is damaged -----------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_damaged_item_is_not_delivered(sample: Sample, looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        assert_nothing_is_invented(sample, outcome, bit)


def assert_nothing_is_invented(sample: Sample, outcome: Outcome, bit: int) -> None:
    assert [one for one in outcome.delivered() if one[1] not in sample.mail[one[0]]] == [], f"bit {bit}"
    for user, items in outcome.mail.items():
        if isinstance(items, list):
            numbers = [item.seq for item in items]
            assert numbers == sorted(set(numbers)), f"bit {bit}, mailbox of {user}"


@pytest.mark.parametrize("part", ["text", "checksum"])
def test_damaged_item_that_is_not_checked_is_delivered(
    sample: Sample, rotten: Rotten, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """The control: without checksums the check above goes red."""
    monkeypatch.setattr(item_rows, "checksum", AlwaysRight)
    bits = [bit for bit, _ in flips(sample, part)[:8]]
    if part == "checksum":  # what it is does not matter then: the item is right
        for bit in bits:
            assert len(rotten.look(bit).delivered()) == sum(map(len, sample.mail.values()))
        return
    for bit in bits:
        with pytest.raises(AssertionError, match=f"bit {bit}"):
            assert_nothing_is_invented(sample, rotten.look(bit), bit)


class AlwaysRight:
    """A checksum that equals any other."""

    def __init__(self, *_: object) -> None:
        pass

    def __eq__(self, _: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize("part", PARTS)
def test_damaged_item_blocks_nobody(sample: Sample, looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        item = hit(sample, bit)
        with unless_told(outcome, part, CELL):
            assert not outcome.refused, f"bit {bit}"
            for user, items in outcome.mail.items():
                others = [one for one in sample.mail[user] if one != item]
                assert not isinstance(items, CommandFailed), f"bit {bit}: {items}"
                assert [one for one in items if one != item] == others, f"bit {bit}"
            assert [type(one) for one in outcome.appended] == [Item] * 3, f"bit {bit}"


@pytest.mark.parametrize("part", PARTS)
def test_damaged_item_that_is_left_out_is_reported(sample: Sample, looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        item = hit(sample, bit)
        is_read = isinstance(outcome.mail[owner(sample, item)], list)
        is_missing = (owner(sample, item), item) not in outcome.delivered()
        assert outcome.log or not (is_read and is_missing), f"bit {bit}"


@pytest.mark.parametrize("part", ["text", "checksum", "name", "sender", "record header"])
def test_log_holds_no_user_data(looks: Looks, part: str) -> None:
    lines = {line for _, outcome in looks(part) for line in outcome.log}
    private = [ALICE, BOB, CAROL, *map(key_of, (ALICE, BOB, CAROL)), "to bob", "to carol", "of bob", "xxx"]
    assert [line for line in lines for word in private if word in line] == []
    assert lines or part not in ("text", "checksum")


@pytest.mark.parametrize("part", [*PARTS, *IN_INDEXES])
def test_damage_expires_nothing_early(looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        assert isinstance(outcome.early, CommandFailed) or outcome.early == [], f"bit {bit}"


@pytest.mark.parametrize("part", PARTS)
def test_damaged_item_keeps_no_other_from_expiring(sample: Sample, looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        expired, item = outcome.expired, hit(sample, bit)
        due = {(user, one.name) for user, items in sample.mail.items() for one in items if one.expires_at}
        with unless_told(outcome, part, CELL):
            assert not isinstance(expired, CommandFailed), f"bit {bit}: {expired}"
            found = {(one.recipient, one.name) for one in expired}
            assert due - found <= {(owner(sample, item), item.name)}, f"bit {bit}"


ACKNOWLEDGED = ("recipient", "seq", "payload size", "row id", "checksum", *IN_ITEMS)


@pytest.mark.parametrize("part", ACKNOWLEDGED)
def test_item_that_was_delivered_can_be_acknowledged(sample: Sample, rotten: Rotten, part: str) -> None:
    known = ("recipient", "seq", "sqlite_autoindex_items_1: pointers", "sqlite_autoindex_items_1: entries")
    stays = Silent(part, known)
    for bit, _ in flips(sample, part, 48 if part in known else amount(8, 48)):
        outcome = rotten.look(bit, acknowledges=True)
        with stays.end(), unless_told(outcome, part, (*CELL, *IN_INDEXES)):
            assert set(outcome.removals) <= {True}, f"bit {bit}"
    stays.check()


# --- an index is damaged ----------------------------------------------------------


STRUCTURAL = (
    "items_order: pointers",
    "sqlite_autoindex_accounts_1: row ids",
    "items_order: entries",
    "items_order: row ids",
    "sqlite_autoindex_accounts_1: pointers",
    "sqlite_autoindex_accounts_1: entries",
)


@pytest.mark.parametrize("part", IN_INDEXES)
def test_damaged_index_delivers_nothing_twice_or_to_others(sample: Sample, looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        with unless_told(outcome, part, STRUCTURAL):
            assert_nothing_is_invented(sample, outcome, bit)


@pytest.mark.parametrize("part", IN_INDEXES)
def test_damaged_index_keeps_not_all_from_expiring(looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        with unless_told(outcome, part, IN_INDEXES):
            assert not isinstance(outcome.expired, CommandFailed), f"bit {bit}: {outcome.expired}"


@pytest.mark.parametrize("part", IN_INDEXES)
def test_damaged_index_blocks_nobody(looks: Looks, part: str) -> None:
    for bit, outcome in looks(part):
        with unless_told(outcome, part, STRUCTURAL):
            assert [items for items in outcome.mail.values() if isinstance(items, CommandFailed)] == [], f"bit {bit}"


# --- anything is damaged ----------------------------------------------------------


def test_bit_anywhere_makes_nothing_up(sample: Sample, rotten: Rotten) -> None:
    """Pointers, free pages, indexes and the schema too: a mailbox may then be lost, but says so."""
    chance = random.Random("anywhere")  # noqa: S311 - the same in every run
    shown = {at for part in sample.parts if part.name in STRUCTURAL for at in range(part.start, part.end)}
    for bit in chance.sample(range(len(sample.content) * 8), ANYWHERE):
        if bit // 8 in shown:
            continue
        outcome = rotten.look(bit)
        assert_nothing_is_invented(sample, outcome, bit)
        assert isinstance(outcome.early, CommandFailed) or outcome.early == [], f"bit {bit}"


def test_refusal_of_a_damaged_schema_is_one_line(sample: Sample, rotten: Rotten) -> None:
    places = [place.span() for place in re.finditer(rb"CREATE (TABLE|INDEX|UNIQUE INDEX) [ -~\n]+", sample.content)]
    assert len(places) > 10
    bits = [bit for start, end in places for bit in range(start * 8, end * 8)]
    chance = random.Random("schema")  # noqa: S311 - the same in every run
    refusals = [rotten.look(bit).refused for bit in chance.sample(bits, FLIPS * 2)]
    assert any(refusals)
    assert [one for one in refusals if "\n" in one] == []


def test_bit_outside_of_mail_and_its_pages_changes_nothing(sample: Sample, rotten: Rotten) -> None:
    """The control of the flips: the last bytes of the last free page are nobody's."""
    free = sample.free_byte()
    assert rotten.look(free * 8).mail == sample.mail
