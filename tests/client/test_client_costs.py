"""What a message costs on a device, and that it costs no more in a profile of years."""

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from client_samples import KEY, Town, change_file, fast_folder, pass_time, randomness, settle
from client_years import copied, enter_all, fill, made, opened, put_text, some_id

from phantom_messenger.client import conversation_index, records
from phantom_messenger.client.conversation_index import BATCH
from phantom_messenger.client.conversations import Conversations
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.history import HistoryEntry
from phantom_messenger.client.housekeeping import INDEX_MS, INTERVAL_MS, PEERS_AT_ONCE, Housekeeping
from phantom_messenger.client.messenger import HISTORY_INDEX_MS, Messenger
from phantom_messenger.client.records import (
    ContactRecord,
    InboxPageRecord,
    InboxRecord,
    PageRecord,
    SentRecord,
)
from phantom_messenger.client.vault import Transaction, Vault
from phantom_messenger.crypto import suites
from support.amounts import LONG, amount
from support.simulated import SECOND

CONTACTS: Final = amount(150, 10_000)
TEXTS: Final = amount(1_000, 1_000_000)
MOST_MS: Final = 5
"""How long sending and adding a contact may take; judged in the long form alone."""

MOST_OPENING_SECONDS: Final = 1


class Cost(NamedTuple):
    """Records decrypted, sessions parsed, and commits that changed something."""

    records: int
    sessions: int
    commits: int


class Meter:
    """Counts what is done on a vault."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, watched: Vault) -> None:
        self._counts = [0, 0, 0]
        changes = 0
        read, load, committed = Vault._read, suites.load, Transaction.committed

        def counting_read(vault: Vault, *arguments: Any) -> Any:
            self._counts[0] += vault is watched
            return read(vault, *arguments)

        def counting_load(data: bytes) -> suites.AnySession:
            self._counts[1] += 1
            return load(data)

        def counting_commit(tx: Transaction) -> None:
            nonlocal changes
            if tx._vault is watched and watched._connection.total_changes() != changes:
                changes = watched._connection.total_changes()
                self._counts[2] += 1
            committed(tx)

        changes = watched._connection.total_changes()
        monkeypatch.setattr(Vault, "_read", counting_read)
        monkeypatch.setattr(suites, "load", counting_load)
        monkeypatch.setattr(Transaction, "committed", counting_commit)

    def during(self, act: Callable[[], object]) -> Cost:
        """What something costs."""
        self._counts = [0, 0, 0]
        act()
        return Cost(*self._counts)


def test_message_that_can_leave_at_once_costs_two_records_one_session_and_one_commit(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = town.friends("alice", "bob")
    alice.send(bob, "hello")
    settle(alice, bob)
    pass_time(10 * SECOND, alice, bob)
    meter = Meter(monkeypatch, alice.vault)
    assert meter.during(lambda: alice.send(bob, "hello again")) == Cost(records=2, sessions=1, commits=1)
    settle(alice, bob)
    assert [record.text for record in bob.waiting()] == ["hello", "hello again"]


def test_message_that_waits_for_another_is_encrypted_when_it_leaves(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = town.friends("alice", "bob")
    settle(alice, bob)
    meter = Meter(monkeypatch, alice.vault)
    alice.send(bob, "one")
    assert meter.during(lambda: alice.send(bob, "two")).sessions == 0
    settle(alice, bob)
    assert [record.text for record in bob.waiting()] == ["one", "two"]


# --- profiles of years ------------------------------------------------------------


Years = Callable[..., Path]


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Years]:
    """Folders with a profile of so many contacts and texts, each made once: tests use copies."""
    with fast_folder(tmp_path_factory.mktemp("years")) as folder:
        yield cache(partial(made, folder))


@pytest.fixture(params=[(10, 20), (CONTACTS, TEXTS)], ids=["small", "large"])
def profile(request: pytest.FixtureRequest, years: Years, tmp_path: Path) -> Iterator[Vault]:
    yield from copied(years(*request.param), tmp_path)


@pytest.fixture(params=[(10, 20), (CONTACTS, TEXTS)], ids=["small", "large"])
def backlog(request: pytest.FixtureRequest, years: Years, tmp_path: Path) -> Iterator[Vault]:
    """The same, and no text was handled."""
    yield from copied(years(*request.param, waiting=True), tmp_path)


@pytest.fixture(params=[(10, 20), (CONTACTS, TEXTS)], ids=["small", "large"])
def entered(request: pytest.FixtureRequest, years: Years, tmp_path: Path) -> Iterator[Vault]:
    """Such a backlog, entered in the index."""
    yield from copied(years(*request.param, waiting=True, entered=True), tmp_path)


def test_work_does_not_grow_with_a_profile(profile: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    messenger = opened(profile)
    contacts = messenger.contacts
    meter = Meter(monkeypatch, profile)
    assert meter.during(lambda: contacts.find("friend 7")) == Cost(0, 0, 0)
    assert meter.during(lambda: contacts.add("somebody new", some_id(-1))) == Cost(0, 0, 1)
    assert meter.during(lambda: messenger.send_text(some_id(3), "hello")) == Cost(0, 0, 1)
    enter_all(messenger)
    assert meter.during(messenger.tick).records <= 3 * PEERS_AT_ONCE
    assert meter.during(lambda: messenger.next_received(0)) == Cost(0, 0, 0)


# --- one sender of many -----------------------------------------------------------

ONES_OWN: Final = 2 * -(-TEXTS // CONTACTS)
"""How many records there are of what was said with one user, at most."""


def of_one(messenger: Messenger) -> dict[str, Callable[[], object]]:
    """What concerns one user alone."""
    return {
        "messages": lambda: messenger.next_received(0, some_id(2)),
        "block": lambda: messenger.block(some_id(4)),
        "remove": lambda: messenger.remove(some_id(6), history=False),
        "remove with history": lambda: messenger.remove(some_id(8), history=True),
    }


@pytest.mark.parametrize("name", ["messages", "block", "remove", "remove with history"])
def test_what_concerns_one_user_costs_only_what_is_theirs(
    entered: Vault, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    messenger = opened(entered)
    act = of_one(messenger)[name]
    costs: list[Cost] = []
    meter = Meter(monkeypatch, entered)
    database = steps(entered, lambda: costs.append(meter.during(act)))
    assert costs[0].records <= 10 + ONES_OWN
    assert database <= 20 + 5 * ONES_OWN


def test_control_without_the_index_what_concerns_one_user_costs_all(
    backlog: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    messenger = opened(backlog)
    everything = sum(1 for _ in backlog.all(records.INBOX, InboxRecord))
    meter = Meter(monkeypatch, backlog)
    assert meter.during(lambda: messenger.next_received(0, some_id(-1))).records >= everything
    assert meter.during(lambda: messenger.block(some_id(4))).records >= everything


def all_of(messenger: Messenger, sender: str | None) -> list[str]:
    """Take all that waits, as an application does."""
    found, position = [], 0
    while (following := messenger.next_received(position, sender)) is not None:
        position, record = following
        found.append(record.message_id)
        messenger.handled(record.sender, record.message_id)
    return found


@pytest.mark.parametrize("entered", ["all", "half", "none"])
def test_messages_of_one_sender_are_handed_out_in_order_and_the_others_stay(tmp_path: Path, entered: str) -> None:
    messenger = behind(tmp_path, 0, step=0)
    vault, senders = messenger._vault, (some_id(2), some_id(4))
    sent: dict[str, list[str]] = {sender: [] for sender in senders}
    for number in range(0, 1_000, 2):
        sender = senders[number % 4 // 2]
        with vault.transaction() as tx:
            put_text(tx, number, sender, waiting=True)
        sent[sender].append(f"00000000-0000-4000-8000-{number:012d}")
        if (entered, number) in {("half", 600), ("all", 998)}:
            enter_all(messenger)
    assert (messenger._stores.index.position > 0) is (entered != "none")
    assert all_of(messenger, senders[0]) == sent[senders[0]]
    assert all_of(messenger, senders[0]) == []
    assert all_of(messenger, None) == sent[senders[1]]
    enter_all(messenger)
    assert list(vault.all(records.INBOX_PAGE, InboxPageRecord)) == [], "pages go with what they name"
    vault.close()


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ("UPDATE records SET value = zeroblob(60)", 0),  # the newest one, which was stored first
        ("UPDATE records SET value = zeroblob(60)", 1),
        ("DELETE FROM records", 1),
        ("DELETE FROM records", -1),
    ],
)
def test_page_that_cannot_be_read_costs_time_and_no_message(tmp_path: Path, damage: str, place: int) -> None:
    messenger = behind(tmp_path, 0, step=0)
    vault = messenger._vault
    with vault.transaction() as tx:
        for number in range(0, 1_000, 2):
            put_text(tx, number, some_id(2), waiting=True)
    enter_all(messenger)
    pages = [position for position, _ in vault.all(records.INBOX_PAGE, InboxPageRecord)]
    assert len(pages) == 5
    change_file(vault.path, f"{damage} WHERE position = ?", pages[place])
    assert len(all_of(messenger, some_id(2))) == 500
    vault.close()


RUNS: Final = 5


def looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """With whom old keys were looked for in a few runs of one tick each."""
    found: set[str] = set()
    monkeypatch.setattr(Conversations, "forget_old", lambda _, __, peer, ___: found.add(peer))
    for run in range(RUNS):
        vault = Vault(folder / "alice.vault", KEY)
        messenger = opened(vault)
        if not run:
            fill(vault, RUNS * PEERS_AT_ONCE - 10, 0)
            messenger = opened(vault)
        messenger.tick()
        if run == 1:  # the one at whom the last round stopped
            messenger.remove(some_id(2 * PEERS_AT_ONCE - 1), history=True)
        vault.close()
    return found


def test_old_keys_are_looked_for_with_everybody_in_short_runs_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(looked_at(tmp_path, monkeypatch)) == RUNS * PEERS_AT_ONCE - 10


def test_without_a_stored_position_the_same_would_be_looked_at_in_each_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Housekeeping, "_in_turn", lambda self: self._stores.book.user_ids())
    assert len(looked_at(tmp_path, monkeypatch)) == PEERS_AT_ONCE


@pytest.mark.parametrize(("step", "most"), [(4, 3), (0, PEERS_AT_ONCE)], ids=["slow", "control"])
def test_step_ends_early_if_there_is_much_to_look_through(
    step: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(Conversations, "forget_old", lambda _, __, peer, ___: found.append(peer))
    messenger = behind(tmp_path, 0, step=step)
    everybody = messenger._stores.book.user_ids()
    messenger.tick()
    assert found == everybody[:most]
    for _ in range(20):
        messenger._housekeeping.hasten()
        messenger.tick()
    assert found == everybody
    messenger._vault.close()


def steps(vault: Vault, act: Callable[[], object]) -> int:
    """Instructions of SQLite's machine, in hundreds: rows that are passed over or sorted show here."""
    count = 0

    def counting() -> bool:
        nonlocal count
        count += 1
        return False

    vault._connection.set_progress_handler(counting, 100)
    act()
    vault._connection.set_progress_handler(None)
    return count


def test_database_passes_over_nothing_that_grows_with_a_profile(profile: Vault) -> None:
    messenger = opened(profile)
    enter_all(messenger)
    messenger.tick()
    messenger._housekeeping.hasten()
    assert steps(profile, messenger.tick) <= 60
    assert steps(profile, lambda: messenger.send_text(some_id(3), "hello")) <= 20
    assert steps(profile, lambda: messenger.history(some_id(4), limit=1)) <= 30
    everything = len(list(profile.newest(records.SENT, SentRecord)))  # the control: all of a kind
    assert steps(profile, lambda: list(profile.newest(records.SENT, SentRecord))) >= everything // 20


def test_opening_reads_contacts_and_no_messages(profile: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Meter(monkeypatch, profile)
    known = sum(1 for _ in profile.all(records.CONTACT, ContactRecord))
    assert meter.during(lambda: opened(profile)).records <= known + 10


def test_conversation_is_opened_without_reading_the_others(profile: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    messenger = opened(profile)
    everything = [messenger.history(some_id(number)) for number in (3, 4)]
    enter_all(messenger)
    meter = Meter(monkeypatch, profile)
    assert meter.during(lambda: messenger.history(some_id(3), limit=2)).records <= 8
    assert [messenger.history(some_id(number)) for number in (3, 4)] == everything
    for number in range(5):
        messenger.send_text(some_id(3), f"since then {number}")
    assert [one.text for one in messenger.history(some_id(3), limit=5)] == [f"since then {n}" for n in range(5)]
    assert meter.during(lambda: messenger.history(some_id(4), limit=2)).records <= 8 + 5
    assert messenger.history(some_id(3))[:-5] == everything[0]


STEP_MS: Final = 5
"""How much time passes between two looks at the clock."""


def behind(folder: Path, texts: int, *, step: int = STEP_MS) -> Messenger:
    """A messenger whose index knows nothing of these texts, each of another conversation than the one before."""
    vault = Vault(folder / "alice.vault", KEY)
    opened(vault)
    fill(vault, 40, texts)
    times = itertools.count(0, step)
    return Messenger(vault, wall=lambda: 1, monotonic=lambda: next(times), random=randomness("anybody"))


def test_tick_enters_what_it_has_time_for_in_the_index(tmp_path: Path) -> None:
    messenger = behind(tmp_path, 1_000)
    index = messenger._stores.index
    messenger.tick()
    assert 0 < index.position <= (INDEX_MS // STEP_MS + 1) * BATCH
    for _ in range(40):
        messenger._housekeeping.hasten()
        messenger.tick()
    assert index.position >= 1_500
    messenger._vault.close()


def ticks(messenger: Messenger, times: list[int]) -> int:
    """Let time pass, as the connection loop does, until there is nothing to be done soon; how often it ticked."""
    count = 0
    while (wait := messenger.next_tick()) < INTERVAL_MS:
        times[0] += wait
        messenger.tick()
        count += 1
    return count


def of_older_version(folder: Path, times: list[int], *, looks: int) -> Messenger:
    """A profile without an index, opened; each look at the clock takes some time."""

    def monotonic() -> int:
        times[0] += looks
        return times[0]

    vault = Vault(folder / "alice.vault", KEY)
    if vault.is_unused():
        opened(vault)
        fill(vault, 40, 2_000, waiting=True)
    messenger = Messenger(vault, wall=lambda: 1, monotonic=monotonic, random=randomness("anybody"))
    messenger.tick()
    return messenger


def test_index_of_an_older_profile_is_made_by_itself_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0]
    messenger = of_older_version(tmp_path, times, looks=INDEX_MS)
    vault, index = messenger._vault, messenger._stores.index
    meter, costs = Meter(monkeypatch, vault), []
    tick = messenger.tick
    monkeypatch.setattr(messenger, "tick", lambda: costs.append(meter.during(tick)))
    count = ticks(messenger, times)
    last = max(position for position, _ in vault.all(records.INBOX, InboxRecord))
    assert index.position >= last
    assert count >= last // BATCH - 5
    housekeeping = 3 * PEERS_AT_ONCE
    assert max(cost.records for cost in costs) <= 4 * BATCH + housekeeping
    assert {cost.commits for cost in costs} <= {0, 1}
    assert messenger.drain_events() == [], "nobody is told"
    assert ticks(messenger, times) == 0
    vault.close()


def test_index_goes_on_where_a_program_has_ended(tmp_path: Path) -> None:
    times = [0]
    for _ in range(2):
        messenger = of_older_version(tmp_path, times, looks=INDEX_MS)
        for _ in range(20):
            times[0] += messenger.next_tick()
            messenger.tick()
        reached = messenger._stores.index.position
        messenger._vault.close()
    assert 25 * BATCH <= reached <= 45 * BATCH


def test_index_that_cannot_be_stored_stops_nothing_and_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = [0]
    messenger = of_older_version(tmp_path, times, looks=INDEX_MS)
    reached = messenger._stores.index.position
    with monkeypatch.context() as full:
        full.setattr(Transaction, "put", fails)
        times[0] += messenger.next_tick()
        messenger.tick()
        assert messenger.next_tick() >= INTERVAL_MS - 10 * INDEX_MS
    assert messenger._stores.index.position == reached
    times[0] += messenger.next_tick()
    messenger.tick()
    assert messenger._stores.index.position > reached
    messenger._vault.close()


def fails(*_: object, **__: object) -> None:
    raise VaultError("there is no space left")


def test_control_index_that_is_made_only_every_five_seconds_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Housekeeping, "waits", lambda *_: [])
    times = [0]
    messenger = of_older_version(tmp_path, times, looks=INDEX_MS)
    assert ticks(messenger, times) == 0
    assert messenger._stores.index.position <= 2 * BATCH
    messenger._vault.close()


def test_control_with_time_enough_a_tick_enters_everything(tmp_path: Path) -> None:
    messenger = behind(tmp_path, 1_000, step=0)
    messenger.tick()
    assert messenger._stores.index.position >= 1_500
    messenger._vault.close()


def test_history_enters_what_it_has_time_for_and_reads_less_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation_index, "MOST_BEHIND", 500)
    messenger = behind(tmp_path, 4_000)
    index, meter = messenger._stores.index, Meter(monkeypatch, messenger._vault)
    found: list[list[HistoryEntry]] = []

    def look() -> None:
        found.append(messenger.history(some_id(3)))

    costs = [meter.during(look)]
    assert 0 < index.position <= HISTORY_INDEX_MS // STEP_MS * BATCH + 100
    costs += [meter.during(look) for _ in range(4)]
    assert found[0] == found[-1]
    assert costs[0].records >= 3_000
    assert costs[-1].records <= 500
    assert [cost.commits for cost in costs] == [1, 1, 1, 1, 0]
    messenger._vault.close()


def test_history_enters_nothing_if_little_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    messenger = behind(tmp_path, 1_000)
    meter = Meter(monkeypatch, messenger._vault)
    assert meter.during(lambda: messenger.history(some_id(3))).commits == 0
    messenger._vault.close()


def test_pages_that_are_made_again_are_erased_some_at_a_time(tmp_path: Path) -> None:
    messenger = behind(tmp_path, 200)
    vault, index = messenger._vault, messenger._stores.index
    enter_all(messenger)
    with vault.transaction() as tx:
        for number in range(BATCH):
            tx.put(records.PAGE, f"{number}", PageRecord(number=0, messages=[]))
        tx.delete(records.INDEXED, "")
    before = len(list(vault.all(records.PAGE, PageRecord)))
    messenger.tick()
    assert len(list(vault.all(records.PAGE, PageRecord))) == before - BATCH > 0
    for _ in range(4):
        messenger._housekeeping.hasten()
        messenger.tick()
    assert index.position > 0
    vault.close()


@pytest.mark.skipif(not LONG, reason="times are judged in the long form, on a machine that does nothing else")
@pytest.mark.timeout(1_800)
def test_send_and_add_take_milliseconds_in_a_profile_of_years(profile: Vault) -> None:
    begun = time.perf_counter()
    messenger = opened(profile)
    opening = time.perf_counter() - begun
    adding = [timed(lambda n=n: messenger.contacts.add(f"new {n}", some_id(-n))) for n in range(1, 30)]  # type: ignore[misc] # a default that binds it
    sending = [timed(lambda n=n: messenger.send_text(some_id(n % 10), "hello")) for n in range(30)]  # type: ignore[misc] # as above
    assert opening <= MOST_OPENING_SECONDS
    assert statistics.median(adding) <= MOST_MS
    assert statistics.median(sending) <= MOST_MS


@pytest.mark.skipif(not LONG, reason="as above")
@pytest.mark.timeout(3_600)
def test_what_concerns_one_user_takes_milliseconds_in_a_profile_of_years(entered: Vault) -> None:
    messenger = opened(entered)
    for name, act in of_one(messenger).items():
        assert timed(act) <= MOST_MS, name


def timed(act: Callable[[], object]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    act()
    return 1_000 * (time.perf_counter() - begun)
