"""A data folder of any earlier version becomes one of this version, wholly or not at all."""

import re
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest
from migration_faults import FailingDisk, open_in_a_process, version_of
from migration_samples import FOLDER, LATER, MAIL, SEQ_LIMIT, sample, script_names, write_database

from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.engines.sqlite import migrations as engine
from phantom_messenger.engines.sqlite.item_rows import checksum
from phantom_messenger.engines.sqlite.migrations import migrate, migrations
from phantom_messenger.relay.records import Item, PreKeyCounts
from support.amounts import amount
from support.people import key_text
from support.stores import ALICE, BOB, CAROL, NOW, append, bind, key_of, message, publication, run, waiting

PRESENT = len(migrations())
EARLIER = list(range(1, PRESENT))
DATED = 5
"""The version from which on prekeys can be dated."""

KILLS = amount(4, 60)
BIG = amount(1_500, 20_000)
"""Items of the database whose migration is killed."""


@pytest.fixture(params=EARLIER)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A data folder of each earlier version."""
    folder = tmp_path / "old"
    write_database(folder, request.param)
    return folder


@pytest.fixture
def store(old: Path) -> Iterator[SQLiteStore]:
    """The same, opened by this version."""
    found = SQLiteStore(old)
    yield found
    found.close()


def items_of(account: int) -> list[Item]:
    return [mail.item for mail in MAIL if mail.account == account]


def assert_present(folder: Path) -> None:
    """All that was in the sample is there, at the present version."""
    store = SQLiteStore(folder)
    try:
        assert [waiting(store, user) for user in (BOB, CAROL)] == [items_of(2), items_of(3)]
    finally:
        store.close()
    assert version_of(folder) == PRESENT


# --- what stays -------------------------------------------------------------------


def test_items_are_all_readable(store: SQLiteStore, caplog: pytest.LogCaptureFixture) -> None:
    assert waiting(store, BOB) == items_of(2)
    assert waiting(store, CAROL) == items_of(3)
    assert waiting(store, ALICE) == []
    assert caplog.messages == []


def test_checksums_are_right(store: SQLiteStore) -> None:
    rows: list[Any] = store._connection.execute(
        "SELECT recipient, seq, kind, sender, name, expires_at, text, checksum FROM items"
    ).fetchall()
    assert len(rows) == len(MAIL)
    assert [row for row in rows if checksum(*row[:7]) != row[7]] == []


def test_item_with_a_wrong_checksum_would_not_be_readable(store: SQLiteStore) -> None:
    """The control of the two above."""
    store._connection.execute("UPDATE items SET checksum = 0")
    assert waiting(store, BOB) == []


def test_items_expire_when_they_did_before(store: SQLiteStore) -> None:
    due = {mail.item.name for mail in MAIL if mail.item.expires_at is not None}
    assert run(store, lambda tx: tx.mailboxes.expire(LATER, 100)) == []
    assert {one.name for one in run(store, lambda tx: tx.mailboxes.expire(LATER + 10_000, 100))} == due


def test_message_that_waits_is_still_a_duplicate(store: SQLiteStore) -> None:
    first = items_of(2)[0]
    assert not isinstance(append(store, message(first.name, first.sender)), Item)


def test_numbers_go_on(store: SQLiteStore) -> None:
    numbers = [append(store, message(str(number))).seq for number in range(3)]
    assert numbers == [SEQ_LIMIT + 1, SEQ_LIMIT + 2, SEQ_LIMIT + 3]


def test_accounts_stay(store: SQLiteStore) -> None:
    directory = store.tables.directory
    assert [directory.public_key(user) for user in (ALICE, BOB, CAROL)] == [
        key_of(user) for user in (ALICE, BOB, CAROL)
    ]
    assert [directory.last_seen(user) for user in (ALICE, BOB, CAROL)] == [NOW, None, NOW - 60_000]
    assert not run(store, lambda tx: tx.directory.bind(ALICE, key_text("another"), certified=True)), "it is certified"


def test_new_account_gets_a_number_of_its_own(store: SQLiteStore) -> None:
    newcomer = key_text("newcomer")
    bind(store, newcomer)
    assert run(store, lambda tx: tx.directory.public_key(newcomer)) == key_of(newcomer)
    assert waiting(store, newcomer) == []


def test_who_has_written_to_whom_stays(store: SQLiteStore) -> None:
    directory = store.tables.directory
    assert [directory.contacts(user) for user in (ALICE, BOB, CAROL)] == [[BOB], [ALICE], []]
    assert directory.participants(ALICE, "c1") == [BOB]
    assert directory.has_written(CAROL, BOB)
    assert not directory.has_written(BOB, CAROL)


def test_prekeys_and_the_hours_limit_stay(store: SQLiteStore, request: pytest.FixtureRequest) -> None:
    counts = run(store, lambda tx: tx.prekeys.counts(BOB))
    assert (counts.one_time, counts.one_time_kem, counts.signed_id, counts.last_resort_kem_id) == (4, 1, 7, 8)
    bundle = run(store, lambda tx: tx.prekeys.hand_out(BOB, ALICE, NOW + 1))
    assert bundle is not None
    assert bundle.one_time is None, "ten were handed out in this hour"
    bundle = run(store, lambda tx: tx.prekeys.hand_out(BOB, ALICE, NOW + 3_600_001))
    assert bundle is not None
    assert bundle.one_time is not None
    assert bundle.one_time.key == key_text("one-time 11"), "the oldest first"
    is_dated = request.node.callspec.params["old"] >= DATED
    assert (bundle.dating is not None, bundle.last_resort_kem is not None) == (is_dated, is_dated)


def test_prekeys_that_were_there_can_be_dated(store: SQLiteStore) -> None:
    wanted = publication(made_at=NOW)
    assert isinstance(run(store, lambda tx: tx.prekeys.publish(BOB, wanted)), PreKeyCounts)
    bundle = run(store, lambda tx: tx.prekeys.hand_out(BOB, ALICE, NOW))
    assert bundle is not None
    assert (bundle.dating, bundle.last_resort_kem) == (wanted.dating, wanted.last_resort_kem)


def test_prekey_that_was_published_once_is_not_taken_again(store: SQLiteStore) -> None:
    counts = run(store, lambda tx: tx.prekeys.publish(BOB, publication(range(9, 17))))
    assert isinstance(counts, PreKeyCounts)
    assert counts.one_time == 4 + 2


def test_second_start_changes_nothing(old: Path) -> None:
    for _ in range(2):
        assert_present(old)


# --- the steps --------------------------------------------------------------------


def test_steps_are_numbered_without_a_gap() -> None:
    numbers = [int(found[1]) for name in script_names() if (found := re.fullmatch(r"(\d{4})_[a-z_]+\.sql", name))]
    assert numbers == list(range(1, len(script_names()) + 1))


def missing_samples(scripts: list[str], samples: list[str]) -> list[str]:
    """The samples of versions that are old."""
    wanted = [f"version_{number}.sql" for number in range(1, len(scripts))]
    return [name for name in wanted if name not in samples]


def test_each_earlier_version_has_a_sample() -> None:
    """If this fails, write the missing ones as migration_samples.py says, before the new step is taken."""
    samples = [file.name for file in FOLDER.iterdir()]
    assert missing_samples(script_names(), samples) == []
    assert missing_samples([*script_names(), "9999_new.sql"], samples) == [f"version_{PRESENT}.sql"], "the control"


@pytest.mark.parametrize("version", EARLIER)
def test_step_that_was_released_is_not_changed(version: int) -> None:
    """A sample is what the first steps make of it, so none of them can be changed afterwards."""
    assert (FOLDER / f"version_{version}.sql").read_text() == sample(version)


def test_sample_of_this_version_can_be_written() -> None:
    """For the day on which it is an earlier one."""
    assert f"PRAGMA user_version = {PRESENT};" in sample(PRESENT)


# --- a step that fails ------------------------------------------------------------

HALF = "CREATE TABLE half (x INTEGER); INSERT INTO half VALUES (1); UPDATE items SET seq = seq + 5000;"
FAILING = {
    "no such table": "INSERT INTO nowhere VALUES (1);",
    "no SQL": "this is no SQL",
    "constraint": "INSERT INTO accounts SELECT * FROM accounts;",
}


def is_untouched(connection: apsw.Connection, version: int) -> bool:
    """Whether nothing of a failed step is left."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").get
    highest = connection.execute("SELECT max(seq) FROM items").get
    return (connection.pragma("user_version"), tables, highest) == (version, 0, MAIL[-1].item.seq)


@pytest.fixture
def connection(old: Path) -> Iterator[apsw.Connection]:
    found = apsw.Connection(str(old / "relay.db"))
    yield found
    found.close()


@pytest.mark.parametrize("why", FAILING)
def test_step_that_fails_half_way_leaves_nothing(connection: apsw.Connection, why: str) -> None:
    version = connection.pragma("user_version")
    taken = migrations()[:version]
    with pytest.raises(apsw.ConstraintError if why == "constraint" else apsw.SQLError):
        migrate(connection, [*taken, f"{HALF} {FAILING[why]}"])
    assert is_untouched(connection, version)
    assert not connection.in_transaction
    migrate(connection, [*taken, "CREATE TABLE half (x INTEGER)"])
    assert connection.pragma("user_version") == version + 1


def test_step_without_a_transaction_would_leave_its_half(connection: apsw.Connection) -> None:
    """The control: the same with the transaction ended inside the script."""
    version = connection.pragma("user_version")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [*migrations()[:version], f"{HALF} COMMIT; {FAILING['no such table']}"])
    assert not is_untouched(connection, version)


def test_step_before_the_one_that_fails_stays(connection: apsw.Connection) -> None:
    version = connection.pragma("user_version")
    good, bad, repaired = "CREATE TABLE good (x INTEGER)", f"{HALF} rubbish", "CREATE TABLE half (x INTEGER)"
    with pytest.raises(apsw.SQLError):
        migrate(connection, [*migrations()[:version], good, bad])
    assert is_untouched(connection, version + 1)
    migrate(connection, [*migrations()[:version], good, repaired])
    assert connection.pragma("user_version") == version + 2


def test_store_whose_step_failed_opens_after_the_step_is_repaired(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_of(old)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "migrations", lambda: [*migrations()[:version], f"{HALF} rubbish"])
        with pytest.raises(StoreError):
            SQLiteStore(old)
    assert version_of(old) == version
    assert_present(old)


def test_newer_version_is_refused(old: Path) -> None:
    connection = apsw.Connection(str(old / "relay.db"))
    connection.pragma("user_version", PRESENT + 1)
    connection.close()
    before = (old / "relay.db").read_bytes()
    with pytest.raises(StoreError) as found:
        SQLiteStore(old)
    assert str(found.value) == (
        f"the data folder {old} was written by a newer version of Phantom Messenger; install that version"
    )
    assert (old / "relay.db").read_bytes() == before


# --- a machine that fails ---------------------------------------------------------


def test_migration_outlives_a_failure_of_each_write(old: Path, tmp_path: Path) -> None:
    """In the short form every fifth write, from one of the first five on: each version has its own."""
    version, failures = version_of(old), 0
    for fails_at in count(version % amount(5, 1) + 1, amount(5, 1)):
        folder = tmp_path / str(fails_at)
        shutil.copytree(old, folder)
        name = f"failing {fails_at}"
        disk = FailingDisk(name, fails_at)
        try:
            store = SQLiteStore(folder, vfs=name)
        except StoreError:
            failures += 1
        else:
            disk.fails_at = 0
            store.close()
        finally:
            disk.unregister()
        assert version <= version_of(folder) <= PRESENT, f"write {fails_at}"
        assert_present(folder)
        shutil.rmtree(folder)
        if not disk.has_failed:
            break
    assert failures > amount(1, 5), "the control: most failures were seen"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of version 1 with much mail for Carol."""
    folder = tmp_path_factory.mktemp("big") / "data"
    write_database(folder, 1)
    connection = apsw.Connection(str(folder / "relay.db"))
    with connection:
        connection.executemany(
            "INSERT INTO items (recipient, seq, kind, sender, name, text) VALUES (3, ?, 1, 'sender', ?, ?)",
            [(number, str(number), b"text %d" % number * 200) for number in range(2_001, 2_001 + BIG)],
        )
    connection.close()
    return folder


@pytest.mark.timeout(600)
def test_migration_that_was_killed_is_finished_by_the_next_start(big: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(big, whole)
    steps = open_in_a_process(whole)
    assert steps is not None
    assert steps > KILLS, "it is big enough to be killed in its middle"
    versions = []
    for number in range(1, KILLS + 1):
        folder = tmp_path / f"killed {number}"
        shutil.copytree(big, folder)
        at = steps * number // (KILLS + 1)
        assert open_in_a_process(folder, kill_at=at) is None, f"not killed at step {at} of {steps}"
        versions.append(version_of(folder))
        store = SQLiteStore(folder)
        page = run(store, lambda tx: tx.mailboxes.read(CAROL, 0, 10**9, NOW))
        store.close()
        assert [item.text for item in page.items[-BIG:]] == [b"text %d" % n * 200 for n in range(2_001, 2_001 + BIG)]
        assert len(page.items) == BIG + len(items_of(3))
        assert version_of(folder) == PRESENT
        shutil.rmtree(folder)
    assert set(versions) <= set(range(1, PRESENT + 1))
    assert 1 in versions, "the control: some died before the end of the step"
