"""Mailboxes inside the SQLite engine; what it promises is in tests/contract."""

from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.mailboxes import ExpiredItem
from phantom_messenger.engines.sqlite.stranger_quota import ROW_BYTES
from phantom_messenger.relay.commands import AppendRefusal
from phantom_messenger.relay.records import Item, ItemKind, NewItem, Page
from support.people import key_text
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    acknowledge,
    acknowledging,
    append,
    append_all,
    appending,
    bind,
    exchange,
    failing,
    message,
    names,
    receipt,
    run,
    waiting,
)

TEN_MINUTES = 600_000
GOES, STAYS = (key_text(f"what {what}") for what in ("goes", "stays"))


@pytest.fixture
def box(store: SQLiteStore) -> SQLiteStore:
    """A store with the accounts of Alice, Bob and Carol."""
    bind(store, ALICE, BOB, CAROL)
    return store


def read(store: SQLiteStore, after: int, max_bytes: int, now: int = NOW) -> Page:
    return run(store, lambda tx: tx.mailboxes.read(BOB, after, max_bytes, now))


# --- order ------------------------------------------------------------------------


def test_mailboxes_are_apart(box: SQLiteStore) -> None:
    append(box, message("1"), BOB)
    append(box, message("1"), CAROL)
    assert len(waiting(box, BOB)) == len(waiting(box, CAROL)) == 1
    assert waiting(box, ALICE) == []
    assert waiting(box, "nobody") == []


def test_nobody_has_no_mailbox(box: SQLiteStore) -> None:
    assert append(box, message("m"), "nobody") is AppendRefusal.NO_ACCOUNT


# --- pages ------------------------------------------------------------------------


def test_page_leaves_out_what_has_expired(box: SQLiteStore) -> None:
    append(box, message("1", expires_at=NOW))
    late = append(box, message("2", expires_at=NOW + 1))
    assert read(box, 0, 1_000) == Page([late], complete=True)
    assert read(box, 0, 1_000, NOW + 1) == Page([], complete=True)


# --- duplicates -------------------------------------------------------------------


@pytest.mark.parametrize("make", [receipt, exchange])
def test_receipt_and_exchange_take_the_place_of_an_older_one(box: SQLiteStore, make: type) -> None:
    older = append(box, make("one", text="older"))
    append(box, make("other"))
    newer = append(box, make("one", text="newer"))
    assert newer.seq > older.seq
    assert [item.text for item in waiting(box) if item.name == "one"] == [newer.text]
    append(box, make("one", CAROL))
    assert len(waiting(box)) == 3


# --- replacement ------------------------------------------------------------------


def encrypted(
    name: str, content: str, sender: str = ALICE, *, expires_at: int | None = None, mark: str = ""
) -> NewItem:
    """A message with this content; ``mark`` is what else differs when it is sent again."""
    return NewItem(
        kind=ItemKind.MESSAGE,
        sender=sender,
        name=name,
        head=f'{{"{content}",'.encode(),
        tail=f',"{mark}"}}'.encode(),
        expires_at=expires_at,
        content=content.encode(),
    )


def holds_text(store: SQLiteStore, text: str) -> bool:
    """Whether any row of any table of mail has it."""
    rows = [row for table in ("items", "set_aside") for row in store._connection.execute(f"SELECT * FROM {table}")]  # noqa: S608
    assert rows
    return any(text.encode() in value for row in rows for value in row if isinstance(value, bytes))


def test_message_encrypted_again_takes_the_place_of_the_one_that_waits(box: SQLiteStore) -> None:
    first = append(box, encrypted("m", "first"))
    other = append(box, encrypted("n", "other"))
    second = append(box, encrypted("m", "second"))
    assert second == Item(second.seq, ItemKind.MESSAGE, ALICE, "m", b'{"second",%d,""}' % second.seq)
    assert second.seq > other.seq > first.seq
    assert waiting(box) == [other, second]
    assert read(box, first.seq, 1_000) == Page([other, second], complete=True)
    assert append(box, encrypted("m", "second", mark="signed anew")) is AppendRefusal.DUPLICATE


def test_last_of_many_contents_waits_even_if_it_was_the_first(box: SQLiteStore) -> None:
    items = [append(box, encrypted("m", content)) for content in ("first", "second", "third", "first")]
    assert {type(item) for item in items} == {Item}
    assert waiting(box) == items[-1:]


def test_message_replaced_in_one_transaction_waits_once(box: SQLiteStore) -> None:
    items = append_all(box, [encrypted("m", content) for content in ("first", "second", "second", "third")])
    assert items[2] is AppendRefusal.DUPLICATE
    assert waiting(box) == [items[3]]


def test_message_replaces_no_receipt_or_exchange_of_its_name(box: SQLiteStore) -> None:
    others = [append(box, receipt("m")), append(box, exchange("m"))]
    append(box, encrypted("m", "first"))
    second = append(box, encrypted("m", "second"))
    assert waiting(box) == [*others, second]


def test_replaced_content_is_gone_from_rows_and_files(store: SQLiteStore, tmp_path: Path) -> None:
    bind(store, BOB)
    append(store, encrypted("m", GOES))
    assert holds_text(store, GOES)
    append(store, encrypted("m", STAYS))
    assert not holds_text(store, GOES)
    assert holds_text(store, STAYS)
    while not store.scrub():
        """Erases a step at a time."""
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(GOES.encode() in content for content in files)
    assert any(STAYS.encode() in content for content in files) == bool(files)


def test_acknowledgement_after_the_replacement_removes_the_new_one(box: SQLiteStore) -> None:
    append(box, encrypted("m", "first"))
    append(box, encrypted("m", "second"))
    assert acknowledge(box, "m")
    assert waiting(box) == []
    for content in ("first", "second", "third"):
        assert append(box, encrypted("m", content), now=NOW + TEN_MINUTES - 1) is AppendRefusal.DUPLICATE
    assert not acknowledge(box, "m"), "nothing of it is there"


def test_replaced_message_is_not_known_as_removed(box: SQLiteStore) -> None:
    append(box, encrypted("m", "first"))
    append(box, encrypted("m", "second"), now=NOW + 1)
    assert isinstance(append(box, encrypted("m", "first"), now=NOW + 2), Item)


@pytest.mark.parametrize("error", [ZeroDivisionError(), apsw.FullError()], ids=["a job", "a batch"])
def test_undone_replacement_leaves_the_one_that_waits(box: SQLiteStore, error: Exception) -> None:
    first = append(box, encrypted("m", "first"))
    box.run_jobs([failing(appending(encrypted("m", "second")), error=error)])
    box.scrub()
    assert waiting(box) == [first]
    assert append(box, encrypted("m", "first")) is AppendRefusal.DUPLICATE
    second = append(box, encrypted("m", "second"))
    assert second.seq > first.seq
    assert waiting(box) == [second]


def test_full_disk_refuses_a_replacement_and_the_one_that_waits_stays(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind(store, BOB)
    first = append(store, encrypted("m", "first"))
    with monkeypatch.context() as patch:
        patch.setattr(store.tables.mailboxes, "_has_room", lambda _: False)
        with pytest.raises(apsw.FullError):
            append(store, encrypted("m", "second"))
        assert append(store, encrypted("m", "first")) is AppendRefusal.DUPLICATE
        assert waiting(store) == [first]
    store.scrub()
    assert isinstance(append(store, encrypted("m", "second")), Item)


@pytest.mark.parametrize(
    ("count", "known", "senders"),
    [(1_000, True, "a"), (100, False, "a"), (500, False, "abcde")],
    ids=["a mailbox", "a stranger's share", "the strangers' share"],
)
def test_replacement_needs_no_room_and_makes_none(box: SQLiteStore, count: int, known: bool, senders: str) -> None:
    one = key_text(senders[0])
    many = [encrypted(f"{number}", "first", key_text(senders[number % len(senders)])) for number in range(count)]
    append_all(box, many, known=known)
    late = encrypted("late", "first", one)
    assert append(box, late, known=known) is AppendRefusal.FULL
    assert isinstance(append(box, encrypted("0", "second", one), known=known), Item)
    assert append(box, late, known=known) is AppendRefusal.FULL
    assert len(waiting(box)) == count
    assert names(waiting(box))[-1] == "0"


def test_stranger_gains_nothing_by_replacing(box: SQLiteStore) -> None:
    append_all(box, [encrypted(f"{number}", "first") for number in range(99)], known=False)
    for turn in range(5):
        assert isinstance(append(box, encrypted("7", f"turn {turn}"), known=False), Item)
    assert isinstance(append(box, encrypted("the 100th", "first"), known=False), Item)
    assert append(box, encrypted("late", "first"), known=False) is AppendRefusal.FULL


@pytest.mark.parametrize(
    ("before", "after"), [(NOW + 5, None), (None, NOW + 5), (NOW + 5, NOW + 9), (NOW + 9, NOW + 5)]
)
def test_time_of_the_new_one_counts(box: SQLiteStore, before: int | None, after: int | None) -> None:
    append(box, encrypted("m", "first", expires_at=before))
    second = append(box, encrypted("m", "second", expires_at=after))
    assert second.expires_at == after
    end = after or NOW + 99
    assert run(box, lambda tx: tx.mailboxes.expire(end - 1, 10)) == []
    assert waiting(box, now=end - 1) == [second]
    assert run(box, lambda tx: tx.mailboxes.expire(end, 10)) == ([ExpiredItem(ALICE, BOB, "m")] if after else [])


def test_expired_message_that_was_not_swept_is_replaced(box: SQLiteStore) -> None:
    append(box, encrypted("m", "first", expires_at=NOW))
    assert append(box, encrypted("m", "first"), now=NOW + 1) is AppendRefusal.DUPLICATE
    second = append(box, encrypted("m", "second", expires_at=NOW + 5), now=NOW + 1)
    assert run(box, lambda tx: tx.mailboxes.expire(NOW + 4, 10)) == []
    assert waiting(box, now=NOW + 4) == [second]


def test_replacement_that_has_expired_is_not_read_and_expires_once(box: SQLiteStore) -> None:
    append(box, encrypted("m", "first"))
    append(box, encrypted("m", "second", expires_at=NOW))
    assert waiting(box) == []
    assert run(box, lambda tx: tx.mailboxes.expire(NOW, 10)) == [ExpiredItem(ALICE, BOB, "m")]
    assert run(box, lambda tx: tx.mailboxes.expire(NOW + 365 * 86_400_000, 10)) == []


# --- what is not kept -------------------------------------------------------------


@pytest.mark.parametrize("make", [message, exchange])
def test_item_of_a_blocked_sender_leaves_no_row_and_no_place(box: SQLiteStore, make: Callable[[str], NewItem]) -> None:
    for _ in range(3):
        assert run(box, lambda tx: tx.mailboxes.discard(BOB, make("m"), now=NOW)) is None
    run(box, lambda tx: tx.mailboxes.discard("nobody", make("m"), now=NOW))
    assert waiting(box) == []
    assert box._connection.execute("SELECT count(*) FROM items").get == 0
    kept = append(box, make("m"))
    assert isinstance(kept, Item) is (make is exchange), "a message counts as one that has just been removed"
    later = append(box, make("m"), now=NOW + TEN_MINUTES)
    assert isinstance(later, Item)
    assert waiting(box, now=NOW + TEN_MINUTES) == [later]


def test_full_disk_refuses_an_item_that_would_not_be_kept_like_any_other(box: SQLiteStore) -> None:
    box.run_jobs([failing(error=apsw.FullError("full"))])
    for job in (
        lambda tx: tx.mailboxes.append(BOB, message("m", size=100_000), known=True, now=NOW),
        lambda tx: tx.mailboxes.discard(BOB, message("m", size=100_000), now=NOW),
    ):
        with pytest.raises(apsw.FullError):
            run(box, job)
    assert box.is_out_of_space
    box.scrub()
    run(box, lambda tx: tx.mailboxes.discard(BOB, message("m", size=100_000), now=NOW))


@pytest.fixture
def small() -> Iterator[SQLiteStore]:
    """A store whose mailboxes have room for three messages of 100 bytes and what they take beside it."""
    made = SQLiteStore(None, mailbox_bytes=3 * (100 + ROW_BYTES))
    bind(made, ALICE, BOB)
    yield made
    made.close()


def of_100_bytes(name: str) -> NewItem:
    return NewItem(ItemKind.MESSAGE, ALICE, name, b"<" * 50, b">" * 50)


def test_item_takes_its_text_and_what_is_beside_it(small: SQLiteStore) -> None:
    item = of_100_bytes("0")
    assert len(item.head) + len(item.tail) == 100
    kinds = [type(append(small, of_100_bytes(name))) for name in "0123"]
    assert kinds == [Item, Item, Item, AppendRefusal]
    assert acknowledge(small, "0")
    small.run_jobs([failing()])  # what was counted is forgotten, and the numbers in the texts count too
    assert append(small, of_100_bytes("4")) is AppendRefusal.FULL
    assert isinstance(append(small, message("4", size=80)), Item)


# --- removal ----------------------------------------------------------------------


def test_acknowledging_touches_no_receipt_of_the_same_name(box: SQLiteStore) -> None:
    append(box, receipt("m"))
    assert not acknowledge(box, "m")
    assert names(waiting(box)) == ["m"]


def test_expired_messages_are_removed_up_to_a_number(box: SQLiteStore) -> None:
    for number in range(5):
        append(box, message(str(number), expires_at=NOW + number))
    append(box, message("for ever"))
    append(box, receipt("r"))
    assert run(box, lambda tx: tx.mailboxes.expire(NOW + 3, 3)) == [ExpiredItem(ALICE, BOB, str(n)) for n in range(3)]
    assert run(box, lambda tx: tx.mailboxes.expire(NOW + 3, 3)) == [ExpiredItem(ALICE, BOB, "3")]
    assert run(box, lambda tx: tx.mailboxes.expire(NOW + 3, 3)) == []
    assert names(waiting(box)) == ["4", "for ever", "r"]


# --- seq --------------------------------------------------------------------------


def test_seq_is_not_given_again_when_the_mailbox_was_emptied(box: SQLiteStore) -> None:
    seen: list[int] = []
    for turn in range(5):
        jobs = [
            job
            for number in range(500)
            for job in (appending(message(f"{turn} {number}")), acknowledging(f"{turn} {number}"))
        ]
        results = box.run_jobs(jobs)
        assert all(result is True for result in results[1::2])
        seen += [item.seq for item in results[::2]]
    assert seen == sorted(set(seen))
    assert len(seen) == 2_500


@pytest.mark.parametrize("error", [ZeroDivisionError(), apsw.FullError()], ids=["a job", "a batch"])
def test_seq_is_not_given_again_after_the_failure_of(box: SQLiteStore, error: Exception) -> None:
    seen = [append(box, message("1")).seq]
    for number in range(2, 30):
        results = box.run_jobs(
            [appending(message(f"{number} good")), failing(appending(message(f"{number} bad")), error=error)]
        )
        seen += [result.seq for result in results if isinstance(result, Item)]
        box.scrub()
        seen.append(append(box, message(str(number))).seq)
    assert seen == sorted(set(seen))
    assert [item.seq for item in waiting(box)] == seen
