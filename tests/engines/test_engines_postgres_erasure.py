"""What was deleted is in no file of the database."""

import itertools
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from phantom_messenger.engines.postgres import PostgresStore, erasure
from phantom_messenger.relay.commands import Barrier
from phantom_messenger.relay.records import Item
from support.people import key_text
from support.postgres_server import PostgresServer, StandbyServer, programs
from support.store_user import NOW, StoreUser, expire
from support.waiting import eventually

PATIENCE = 60.0
DELETED = "SELECT sum(n_tup_del)::integer FROM pg_stat_user_tables WHERE relname ~ '^items_[0-9]+$'"
LEAN = {"wal_recycle": "off", "wal_keep_size": "0", "autovacuum": "off"}


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own: its log is that of this test alone."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    made = PostgresServer(**LEAN)
    yield made
    made.end()


def files_with(server: PostgresServer, text: str) -> list[str]:
    """Which files of the server hold a text; relation files and the log alike."""
    return [
        str(path.relative_to(server.data))
        for path in server.data.rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def test_deleted_messages_leave_all_files_and_others_stay(server: PostgresServer) -> None:
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    secrets = {how: key_text(how) for how in ("acknowledged", "expired", "replaced", "kept")}
    for how, secret in secrets.items():
        found = alice.write(bob, how, secret, size=3_000, expires_at=NOW if how == "expired" else None)
        assert isinstance(found, Item)
    bob.acknowledge(alice, "acknowledged")
    assert expire(store, NOW).deleted == 1
    alice.write(bob, "replaced", "with something else")
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    assert all(files_with(server, secret) for secret in secrets.values()), "the control: deleting is not enough"
    store.erase()
    assert {how: bool(files_with(server, secret)) for how, secret in secrets.items()} == {
        "acknowledged": False,
        "expired": False,
        "replaced": False,
        "kept": True,
    }
    assert bob.names() == ["kept", "replaced"]
    store.close()


@pytest.mark.parametrize("keeps", ["0", "16MB", "64MB"])
def test_deleted_messages_leave_the_files_of_a_standby_and_a_log_that_is_kept(keeps: str) -> None:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    server = PostgresServer(**{**LEAN, "wal_keep_size": keeps})
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    standby = StandbyServer(server)
    try:
        deleted, kept = key_text("deleted"), key_text("kept")
        alice.write(bob, "deleted", deleted, size=3_000)
        alice.write(bob, "kept", kept, size=3_000)
        standby.catch_up(server)
        bob.acknowledge(alice, "deleted")
        store.erase()
        standby.catch_up(server)
        assert files_with(server, deleted) == []
        assert files_with(standby, deleted), "the control: its log is as long as it makes no restartpoint"
        with psycopg.connect(standby.url("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # as each checkpoint_timeout does
        assert files_with(standby, deleted) == []
        assert files_with(standby, kept)
    finally:
        standby.end()
        store.close()
        server.end()


def test_longer_log_that_is_kept_is_told(caplog: pytest.LogCaptureFixture) -> None:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed: the tests of the store on it")
    server = PostgresServer(**{**LEAN, "wal_keep_size": "80MB"})
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "m")
    bob.acknowledge(alice, "m")
    assert "log-kept" in events(caplog, store)
    store.close()
    server.end()


def test_parts_from_which_nothing_was_deleted_are_left_alone(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "m")
    store.erase()
    with psycopg.connect(url, autocommit=True) as connection:

        def places() -> list[tuple[object, ...]]:
            return connection.execute(
                "SELECT relname, relfilenode FROM pg_class WHERE relname ~ '^items_[0-9]+$' ORDER BY relname"
            ).fetchall()

        before = places()
        store.erase()
        assert places() == before
        bob.acknowledge(alice, "m")
        deadline = time.monotonic() + PATIENCE
        while connection.execute(DELETED).fetchone() != (1,):
            assert time.monotonic() < deadline
            time.sleep(0.2)  # the server counts what was deleted within ten seconds
        store.erase()
        assert sum(one != other for one, other in zip(before, places(), strict=True)) == 1
    store.close()


def test_statistics_hold_no_messages(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    bob.meet(alice)
    store.run([alice.message(bob, str(number), key_text(str(number))) for number in range(200)])
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        kept = "SELECT attname FROM pg_stats WHERE tablename LIKE 'items%'"
        found = {row[0] for row in connection.execute(kept).fetchall()}
    assert "name" in found, "the control: of other columns there are some"
    assert "text" not in found
    store.close()


def test_part_that_somebody_reads_holds_nobody_up(server: PostgresServer) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "1")
    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM phantom.items")
        begun = time.monotonic()
        store.erase()
        assert time.monotonic() - begun < PATIENCE
        assert isinstance(alice.write(bob, "2"), Item)
    store.close()


def test_program_that_reads_for_long_is_said_to_keep_what_is_deleted(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    alice.write(bob, "m")
    bob.acknowledge(alice, "m")

    def rounds() -> list[str]:
        caplog.clear()
        store.erase()
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    with psycopg.connect(url) as reader:
        reader.execute("SELECT count(*) FROM phantom.items")
        assert rounds() == [], "somebody who reads for a moment is no news"
        assert rounds() == ["log-kept"]
    assert rounds() == []
    store.close()


def events(caplog: pytest.LogCaptureFixture, store: PostgresStore) -> list[str]:
    """What a round has said."""
    caplog.clear()
    store.erase()
    return [record.getMessage().partition(":")[0] for record in caplog.records]


def test_what_an_older_view_could_see_is_gone_after_it(
    server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    secret = key_text("seen by another program")
    alice.write(bob, "m", secret, size=3_000)
    store.erase()
    with psycopg.connect(url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT 1")
        bob.acknowledge(alice, "m")
        assert eventually(lambda: _deleted(url) == 1, PATIENCE)
        assert events(caplog, store) == [], "somebody who reads for a moment is no news"
        assert files_with(server, secret), "the control: the view keeps it"
        assert events(caplog, store) == ["log-kept"]
    assert events(caplog, store) == []
    assert files_with(server, secret) == []
    store.close()


def _deleted(url: str) -> object:
    """How many rows the server has counted as deleted, which it does within ten seconds."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(DELETED).fetchone()
    return row and row[0]


@pytest.mark.parametrize("cut_at", ["the first part", "the last part", "the end of the log"])
def test_round_that_was_cut_off_is_made_good(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, cut_at: str
) -> None:
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    secret = key_text(cut_at)
    alice.write(bob, "m", secret, size=3_000)
    bob.acknowledge(alice, "m")
    parts, rewrite, end_log = iter(range(16)), erasure._rewrite, erasure.Erasure._end_log

    def cut(connection: psycopg.Connection[object]) -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (connection.info.backend_pid,))

    def rewrite_and_cut(connection: psycopg.Connection[object], part: int) -> int:
        if next(parts) == {"the first part": 0, "the last part": 15}.get(cut_at):
            cut(connection)
        return rewrite(connection, part)

    def end_and_cut(self: erasure.Erasure, connection: psycopg.Connection[object]) -> None:
        if cut_at == "the end of the log":
            cut(connection)
        end_log(self, connection)

    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_rewrite", rewrite_and_cut)
        patch.setattr(erasure.Erasure, "_end_log", end_and_cut)
        with pytest.raises(psycopg.OperationalError):
            store.erase()
    assert files_with(server, secret), "the control: what was done of the round is not enough"
    store.erase()
    assert files_with(server, secret) == []
    store.close()


def test_what_was_deleted_just_before_a_crash_is_gone_after_it(server: PostgresServer) -> None:
    """The server counts from nothing then, and may never have counted the last deletions."""
    store = PostgresStore(server.make_database())
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    secret = key_text("deleted before a crash")
    alice.write(bob, "m", secret, size=3_000)
    store.erase()
    bob.acknowledge(alice, "m")
    server.kill()
    server.start()
    assert eventually(lambda: store.run([Barrier()]) == [None], PATIENCE)
    assert files_with(server, secret), "the control: a crash erases nothing"
    store.erase()
    assert files_with(server, secret) == []
    store.close()


def test_part_that_takes_too_long_is_let_go_for_ever_longer(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.make_database()
    store = PostgresStore(url)
    alice, bob = StoreUser(store, "alice"), StoreUser(store, "bob")
    bob.meet(alice)
    secret = key_text("among much mail")
    alice.write(bob, "m", secret, size=3_000)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO phantom.items (recipient, seq, kind, sender, name, stored_at, text)"
            " SELECT recipient, seq + n, kind, sender, name || n, stored_at, decode(repeat(md5(n::text), 100), 'hex')"
            " FROM phantom.items, generate_series(1, 2000) AS n WHERE name = 'm'"
        )
        for (part,) in connection.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'phantom.items'::regclass"
        ).fetchall():
            # It would hold a lock for a moment, and another reason to wait is not what is looked at here.
            connection.execute(f"ALTER TABLE {part} SET (autovacuum_enabled = off)".encode())
    bob.acknowledge(alice, "m")
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "PART_SECONDS", 0.001)
        late = [turn for turn in range(60) if events(caplog, store).count("erasure-late")][:4]
    pauses = [after - before for before, after in itertools.pairwise(late)]
    assert len(pauses) == 3
    # A lock that somebody else holds for a moment makes a pause longer, and the next ones, too.
    assert all(pause >= at_least for pause, at_least in zip(pauses, [1, 2, 4], strict=True))
    assert files_with(server, secret), "the control: it was not written anew"
    for _ in range(100):  # a busy machine may let go of it once more
        store.erase()
        if not files_with(server, secret):
            break
    assert files_with(server, secret) == []
    assert len(bob.names()) == 2_000
    store.close()


def test_relay_that_is_paused_in_its_round_leaves_it_to_another(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.make_database()
    paused, other = PostgresStore(url), PostgresStore(url)
    alice, bob = StoreUser(other, "alice"), StoreUser(other, "bob")
    secret = key_text("paused")
    alice.write(bob, "m", secret, size=3_000)
    bob.acknowledge(alice, "m")
    settings = [one.replace("'30s'", "'200ms'") for one in erasure._SESSION]
    assert settings != list(erasure._SESSION)
    is_paused, goes_on = threading.Event(), threading.Event()

    def pause(connection: psycopg.Connection[object], part: int) -> int:
        is_paused.set()
        goes_on.wait(PATIENCE)
        return rewrite(connection, part)

    rewrite = erasure._rewrite
    with monkeypatch.context() as patch:
        patch.setattr(erasure, "_SESSION", settings)
        patch.setattr(erasure, "_rewrite", pause)
        thread = threading.Thread(target=paused._erasure._try)
        thread.start()
        assert is_paused.wait(PATIENCE)

    def is_erased() -> bool:
        other.erase()
        return not files_with(server, secret)

    assert eventually(is_erased, PATIENCE)
    goes_on.set()
    thread.join(PATIENCE)
    paused.close()
    other.close()


def test_round_that_has_ended_holds_up_no_other(server: PostgresServer) -> None:
    """A server ends a session a moment after its client has gone: what it had locked stays locked until then."""
    url = server.make_database()
    store = PostgresStore(url)
    with psycopg.connect(url, autocommit=True) as other:
        for turn in range(40):
            store.erase()
            assert other.execute("SELECT pg_try_advisory_lock(2, 0)").fetchone() == (True,), turn
            other.execute("SELECT pg_advisory_unlock(2, 0)")
    store.close()
