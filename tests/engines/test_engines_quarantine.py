"""Rows that are not as they were written: set aside, left out, told once, and in nobody's way."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.item_rows import checksum, checksum_in_sql
from phantom_messenger.engines.sqlite.mailboxes import KEEP_QUARANTINED_MS, SQLiteMailboxes, Times
from phantom_messenger.events import Event
from phantom_messenger.relay.commands import AcknowledgeHidden, DeliveryOutcome, MessageName
from phantom_messenger.relay.records import ItemKind, NewItem
from phantom_messenger.wire.frames import Status
from support.store_user import StoreUser
from support.store_user import expire as expire_everything
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    HOUR,
    NOW,
    acknowledge,
    append,
    bind,
    failing,
    message,
    names,
    receipt,
    run,
    waiting,
)

PAGE = 4_096
COLUMNS = ("recipient", "seq", "kind", "sender", "name", "expires_at", "text", "checksum", "stored_at")
DAMAGE = {
    "seq": "seq + 1000",
    "kind": "3",
    "sender": f"'{CAROL}'",
    "name": "'another'",
    "expires_at": "expires_at + 1",
    "text": "CAST('<another 2>' AS BLOB)",
    "checksum": "checksum + 1",
    "stored_at": "stored_at + 1",
}
"""For each column: what stands in it instead."""


@pytest.fixture
def box(store: SQLiteStore) -> SQLiteStore:
    """A store in which three messages wait for Bob."""
    bind(store, ALICE, BOB, CAROL)
    for name in ("before", "damaged", "behind"):
        append(store, message(name, expires_at=NOW + 10))
    return store


def damage(store: SQLiteStore, column: str, name: str = "damaged") -> None:
    sql = f"UPDATE items SET {column} = {DAMAGE[column]} WHERE name = ?"  # noqa: S608 - of constants
    store._connection.execute(sql, (name,))


def rows(store: SQLiteStore, table: str, columns: tuple[str, ...] = COLUMNS) -> list[tuple[Any, ...]]:
    return list(store._connection.execute(f"SELECT {', '.join(columns)} FROM {table}"))  # noqa: S608 - of constants


def expire(store: SQLiteStore, now: int) -> list[str]:
    return [one.name for one in run(store, lambda tx: tx.mailboxes.expire(now, 100))]


def events(caplog: pytest.LogCaptureFixture, event: Event) -> list[int]:
    """The counts with which an event was logged."""
    found = [record for record in caplog.records if event.value.message in record.getMessage()]
    return [int(record.getMessage().partition("count=")[2].split()[0]) for record in found]


# --- wrong checksums -------------------------------------------------------------------


@pytest.mark.parametrize("column", DAMAGE)
def test_damaged_item_is_set_aside_as_it_is_and_the_others_are_read(
    box: SQLiteStore, column: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(box, column)
    damaged = [row for row in rows(box, "items") if row != rows(box, "items")[0] and row != rows(box, "items")[2]]
    assert names(waiting(box)) == ["before", "behind"]
    assert rows(box, "set_aside") == damaged
    assert rows(box, "set_aside", ("at",)) == [(NOW,)]
    assert len(rows(box, "items")) == 2
    waiting(box)
    assert events(caplog, Event.ITEMS_QUARANTINED) == [1], "told once"


def test_damaged_items_of_a_page_are_told_together(box: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    damage(box, "text")
    damage(box, "stored_at", "behind")
    assert names(waiting(box)) == ["before"]
    assert events(caplog, Event.ITEMS_QUARANTINED) == [2]


def times(store: SQLiteStore, name: str) -> Times | None:
    return run(store, lambda tx: tx.mailboxes.times(BOB, ALICE, name))


def test_healthy_mailbox_tells_nothing(box: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    assert len(waiting(box)) == 3
    assert expire(box, NOW + 10) == ["before", "damaged", "behind"]
    assert caplog.messages == []
    assert rows(box, "set_aside") == []


def test_damaged_item_does_not_count_as_expired(box: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    damage(box, "text")
    assert expire(box, NOW + 10) == ["before", "behind"]
    assert len(rows(box, "set_aside")) == 1
    assert events(caplog, Event.ITEMS_QUARANTINED) == [1]


def test_item_that_is_set_aside_can_be_acknowledged(box: SQLiteStore) -> None:
    damage(box, "text")
    waiting(box)
    assert times(box, "damaged") == Times(NOW, NOW + 10)
    assert acknowledge(box, "damaged")
    assert times(box, "damaged") is None
    assert rows(box, "set_aside") == []
    assert not acknowledge(box, "damaged")


def test_item_that_is_set_aside_goes_when_it_expires(box: SQLiteStore) -> None:
    damage(box, "text")
    waiting(box)
    expire(box, NOW + 9)
    assert len(rows(box, "set_aside")) == 1
    expire(box, NOW + 10)
    assert rows(box, "set_aside") == []


@pytest.mark.parametrize("expires_at", [None, NOW, NOW + 2 * KEEP_QUARANTINED_MS])
def test_item_that_is_set_aside_is_kept_for_a_week(store: SQLiteStore, expires_at: int | None) -> None:
    bind(store, ALICE, BOB)
    append(store, message("damaged", expires_at=expires_at))
    damage(store, "text")
    waiting(store)
    expire(store, NOW + KEEP_QUARANTINED_MS - 1)
    assert len(rows(store, "set_aside")) == 1
    expire(store, NOW + KEEP_QUARANTINED_MS)
    assert rows(store, "set_aside") == []


def test_quarantine_goes_with_its_owner(box: SQLiteStore) -> None:
    damage(box, "text")
    waiting(box)
    while not run(box, lambda tx: tx.directory.delete(BOB)):
        """A bounded part at a time."""
    assert (rows(box, "items"), rows(box, "set_aside")) == ([], [])


@pytest.mark.parametrize("row", [(1, 2, 3, b"\xff", b"n", None, b"t"), (1, 2, 3, b"s", b"n", None, None)])
def test_row_without_a_checksum_has_one_that_no_row_has(row: tuple[object, ...]) -> None:
    assert checksum_in_sql(*row) == -1
    assert checksum_in_sql(1, 2, 3, b"s", b"n", None, b"t") == checksum(1, 2, 3, "s", "n", None, b"t")


# --- items that did not note when they were stored -------------------------------------


def without_a_time(store: SQLiteStore) -> None:
    """Make the items those of a version that did not note when they were stored."""
    for entry, *row in rows(
        store, "items", ("entry", "recipient", "seq", "kind", "sender", "name", "expires_at", "text")
    ):
        sql = "UPDATE items SET stored_at = NULL, checksum = ? WHERE entry = ?"
        store._connection.execute(sql, (checksum(*row), entry))


def expire_stored(store: SQLiteStore, now: int, before: int) -> list[str]:
    return [one.name for one in run(store, lambda tx: tx.mailboxes.expire(now, 100, before=before))]


def test_item_without_a_time_ages_from_when_ages_were_first_asked_for(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    append(store, message("m"), now=NOW - 1_000)
    without_a_time(store)
    assert expire_stored(store, NOW, NOW - 1) == []
    assert expire_stored(store, NOW + 5, NOW - 1) == []
    assert names(waiting(store)) == ["m"]
    assert expire_stored(store, NOW + 9, NOW) == ["m"]


def test_ages_were_not_asked_for_if_that_was_undone(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    append(store, message("m"))
    without_a_time(store)
    with pytest.raises(ZeroDivisionError):
        run(store, failing(lambda tx: tx.mailboxes.expire(NOW, 100, before=NOW - 1)))
    assert expire_stored(store, NOW + 5, NOW + 4) == []
    assert expire_stored(store, NOW + 9, NOW + 5) == ["m"]


def test_item_without_a_time_is_acknowledged_without_one(store: SQLiteStore) -> None:
    bind(store, ALICE, BOB)
    append(store, message("m"))
    without_a_time(store)
    assert times(store, "m") == Times(None, None)


def test_item_without_a_time_that_is_received_in_hiding_counts_as_stored_now(store: SQLiteStore) -> None:
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    bob.meet(alice)
    alice.write(bob, "m")
    without_a_time(store)
    name = MessageName(alice.id, "m")
    command = AcknowledgeHidden(actor=bob.actor, messages=[name], status=Status.READ, now=NOW + HOUR, mail_life_ms=HOUR)
    assert store.run([command]) == [[(name, DeliveryOutcome(Status.READ, NOW + HOUR, NOW + 2 * HOUR))]]


# --- pages that cannot be read ---------------------------------------------------------


@pytest.fixture
def torn(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store of Bob's, in which the pages of the message "torn" lead nowhere."""
    data = tmp_path / "data"
    store = SQLiteStore(data)
    bind(store, ALICE, BOB)
    for name, size in (("before", 0), ("torn", 4 * PAGE), ("behind", 0)):
        item = NewItem(ItemKind.MESSAGE, ALICE, name, b"<" + b"x" * size, b">", expires_at=NOW + 10)
        append(store, item)
    store.close()
    with (data / "relay.db").open("r+b") as file:
        content = file.read()
        chain = [start for start in range(0, len(content), PAGE) if content[start + 4 : start + 104] == b"x" * 100]
        assert len(chain) > 1
        for start in chain:
            os.pwrite(file.fileno(), (0x7FFF_FFF0).to_bytes(4), start)
    made = SQLiteStore(data)
    yield made
    made.close()


def test_item_that_cannot_be_read_is_left_out_and_told_once(
    torn: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert names(waiting(torn)) == ["before", "behind"]
        torn.scrub()
    assert events(caplog, Event.ITEMS_UNREADABLE) == [1]


def test_item_that_cannot_be_read_keeps_no_other_from_expiring(
    torn: SQLiteStore, caplog: pytest.LogCaptureFixture
) -> None:
    assert expire(torn, NOW + 9) == []
    assert expire(torn, NOW + 10) == ["before", "behind"]
    assert expire(torn, NOW + 11) == []
    assert events(caplog, Event.ITEMS_UNREADABLE) == [1]


def test_mailbox_with_an_item_that_cannot_be_read_takes_others(torn: SQLiteStore) -> None:
    append(torn, message("late"))
    assert names(waiting(torn)) == ["before", "behind", "late"]
    assert acknowledge(torn, "before")
    assert names(waiting(torn)) == ["behind", "late"]


def test_item_that_cannot_be_read_keeps_no_other_from_ageing(torn: SQLiteStore) -> None:
    assert expire_stored(torn, NOW + 5, NOW - 1) == []
    assert expire_stored(torn, NOW + 5, NOW) == ["before", "behind"]
    torn.scrub()
    assert expire_stored(torn, NOW + 5, NOW) == []
    append(torn, message("late"), now=NOW + 6)
    assert expire_stored(torn, NOW + 9, NOW + 5) == []
    assert expire_stored(torn, NOW + 9, NOW + 6) == ["late"]


@pytest.mark.parametrize("stored_at", ["stored_at + 1000000", "NULL"])
def test_damaged_time_keeps_no_other_from_ageing(box: SQLiteStore, stored_at: str) -> None:
    box._connection.execute(f"UPDATE items SET stored_at = {stored_at} WHERE name = 'before'")  # noqa: S608 - constants
    assert expire_stored(box, NOW + 5, NOW) == ["damaged", "behind"]
    assert len(rows(box, "set_aside")) == 1


# --- whole pages of the table ----------------------------------------------------------

PAGES_OF_MAIL = 300
"""Messages, on several pages."""


def expired_all(store: SQLiteStore, now: int) -> tuple[int, int]:
    """How many items a sweep has deleted, and how many receipts it has left."""
    done = expire_everything(store, now)
    return done.deleted, len(done.receipts)


def spoil(data: Path, text: bytes) -> None:
    """Make a page of ``items`` one that cannot be read: the leaf on which the text stands."""
    leaf = b"\x0d"
    with (data / "relay.db").open("r+b") as file:
        content = file.read()
        pages = range(0, len(content), PAGE)
        [place] = [
            start for start in pages if content[start : start + 1] == leaf and text in content[start : start + PAGE]
        ]
        os.pwrite(file.fileno(), b"\xee", place)


@pytest.fixture
def gap(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store of Bob's, in which a page in the middle of the table cannot be read."""
    data = tmp_path / "data"
    store = SQLiteStore(data)
    bind(store, ALICE, BOB)
    for number in range(PAGES_OF_MAIL):
        append(store, message(f"{number:03}", size=200), now=NOW + number)
    store.scrub()
    store.close()
    spoil(data, b"<150")
    made = SQLiteStore(data)
    yield made
    made.close()


def sweep(store: SQLiteStore, now: int, limit: int) -> list[str]:
    """Expire by age, in steps, until nothing more is due."""
    found: list[str] = []
    while step := run(store, lambda tx: tx.mailboxes.expire(now, limit, before=now)):
        found += [one.name for one in step]
    return found


@pytest.mark.parametrize("limit", [3, 7, 100])
def test_page_that_cannot_be_read_keeps_nothing_behind_it_from_ageing(
    gap: SQLiteStore, caplog: pytest.LogCaptureFixture, limit: int
) -> None:
    everything = list(map("{:03}".format, range(PAGES_OF_MAIL)))
    unreadable = sorted(set(everything) - set(names(waiting(gap))))
    gap.scrub()
    swept = sweep(gap, NOW + HOUR, limit)
    left = sorted(set(everything) - set(swept))
    # From a page on which few are left SQLite deletes nothing, if it cannot read those beside it.
    assert set(unreadable) <= set(left)
    assert len(left) <= 3 * len(unreadable)
    gap.scrub()
    assert sweep(gap, NOW + HOUR, limit) == []
    append(gap, message("late"), now=NOW + 2 * HOUR)
    assert "late" not in sweep(gap, NOW + HOUR, limit)
    assert "late" in sweep(gap, NOW + 2 * HOUR, limit)
    assert sum(events(caplog, Event.ITEMS_UNREADABLE)) == len(left), "each is told once"


# --- receipts that cannot be stored ----------------------------------------------------


def test_old_receipt_that_cannot_be_read_keeps_no_message_from_expiring(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = SQLiteStore(tmp_path / "data")
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    bob.meet(alice)
    for name in ("one", "two", "three"):
        alice.write(bob, name, expires_at=NOW + 10)
    for number in range(PAGES_OF_MAIL):
        append(store, receipt(f"{number:03}", bob.id, "." * 200), alice.id)
    append(store, receipt("two", bob.id, "o" * 200), alice.id)
    for number in range(PAGES_OF_MAIL):
        append(store, receipt(f"later {number:03}", bob.id, "." * 200), alice.id)
    store.scrub()
    store.close()
    spoil(tmp_path / "data", b"(two" + b"o" * 200)
    torn = SQLiteStore(tmp_path / "data")
    assert expired_all(torn, NOW + 10) == (3, 2)
    assert sum(events(caplog, Event.ITEMS_UNREADABLE)) == 1
    torn.close()


def test_sender_whose_receipts_cannot_be_stored_keeps_no_message_from_expiring(
    store: SQLiteStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob, carol = (StoreUser(store, name) for name in ("alice", "bob", "carol"))
    bob.meet(alice, carol)
    for number in range(3):
        alice.write(bob, str(number), expires_at=NOW + 10)
        carol.write(bob, str(number), expires_at=NOW + 10)
    genuine = SQLiteMailboxes.append

    def damaged(self: SQLiteMailboxes, recipient: str, *arguments: Any, **more: Any) -> Any:
        if recipient == alice.id:
            raise apsw.CorruptError("a page")
        return genuine(self, recipient, *arguments, **more)

    monkeypatch.setattr(SQLiteMailboxes, "append", damaged)
    assert expired_all(store, NOW + 10) == (6, 3)
    assert events(caplog, Event.RECEIPTS_LEFT_OUT) == [1], "of one sender, told once"
