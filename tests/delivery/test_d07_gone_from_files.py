"""D7: within a minute nothing of a burned or expired message is in any file of the relay's data folder."""

import base64
import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from d07_relay import changed
from d07_traffic import PROMISED_SECONDS, Traffic
from msgspec import structs

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.sqlite.scrub import Scrubber
from support.amounts import LONG, amount, seeds
from support.markers import Leftover, Markers, described
from support.reference_client import Connect, ReferenceClient, members
from support.relay_process import RelayProcess, StartRelay
from support.stores import (
    ALICE,
    BOB,
    CAROL,
    NOW,
    acknowledge,
    acknowledging,
    append,
    bind,
    message,
    run,
    waiting,
)

AMOUNT = amount(400, 1_000)
MAIL = [1, *range(2, seeds(2, 20))]
SMALL_MAIL = range(seeds(3, 200))
ORDERS = range(seeds(4, 1_000))
NEVER = 1_000_000.0
MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name

# --- a simulated relay, scrubbed as the server does ---------------------------------


class Seen:
    """What was left after runs of several seeds."""

    def __init__(self) -> None:
        self.left: dict[str, list[Leftover]] = {}
        self.unreadable: list[str] = []

    def look(self, name: str, traffic: Traffic) -> None:
        traffic.pass_seconds(PROMISED_SECONDS)
        if found := traffic.leftovers():
            self.left[name] = found
        if traffic.readable() != traffic.stays:
            self.unreadable.append(name)
        traffic.world.close()
        shutil.rmtree(traffic.data)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: what is in the files is tested, not how they are synced."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else tmp_path_factory.mktemp("d07")) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def seen(place: Path) -> Seen:
    """Many burned and as many expired of all sizes for each seed, and fewer small ones for many seeds."""
    found = Seen()
    for seed in MAIL:
        traffic = Traffic(place / f"mail {seed}", seed)
        traffic.run(burned=AMOUNT, expired=AMOUNT, delivered=AMOUNT // 5, kept=AMOUNT // 2)
        found.look(f"seed {seed}", traffic)
    for seed in SMALL_MAIL:
        traffic = Traffic(place / f"small mail {seed}", seed, biggest=1_500)
        traffic.run(burned=150, expired=150, delivered=30, kept=75)
        found.look(f"small, seed {seed}", traffic)
    return found


def test_texts_that_stay_are_all_readable(seen: Seen) -> None:
    assert seen.unreadable == []


def test_no_file_holds_anything_of_a_removed_text(seen: Seen) -> None:
    assert {name: described(left) for name, left in seen.left.items()} == {}


@pytest.mark.parametrize("off", ["scrubbing", "overwriting"])
def test_search_finds_what_is_there(tmp_path: Path, off: str) -> None:
    """The control: with the protection off, the same run leaves texts."""
    traffic = Traffic(tmp_path / "data", 1, scrubs=off != "scrubbing", overwrites=off != "overwriting")
    traffic.run(burned=100, expired=100, delivered=20, kept=50)
    traffic.pass_seconds(PROMISED_SECONDS)
    found = traffic.leftovers()
    assert {one.file for one in found} >= {"relay.db-wal" if off == "scrubbing" else "relay.db"}
    assert len({one.number for one in found}) > 20
    traffic.world.close()


def test_search_finds_the_decoded_bytes_too(tmp_path: Path) -> None:
    markers = Markers(1)
    (tmp_path / "encoded").write_text(markers.that_goes(100))
    (tmp_path / "decoded").write_bytes(b"..." + base64.b64decode(markers.that_goes(100)))
    (tmp_path / "stays").write_text(markers.that_stays(100))
    assert {one.file for one in markers.leftovers(tmp_path)} == {"encoded", "decoded"}


# --- the store alone: many orders of removal --------------------------------------


def come_and_go(store: SQLiteStore, markers: Markers, seed: int) -> None:
    """Five hundred items of two mailboxes, removed in a random order with others between them."""
    chance = random.Random(f"order {seed}")  # noqa: S311 - the same in every run
    biggest = chance.choice([300, 1_000, 4_500, 9_000])
    goes: list[tuple[str, str]] = []
    for number in range(500):
        stays = chance.random() < 0.5
        text = (markers.that_stays if stays else markers.that_goes)(chance.randint(100, biggest))
        user = chance.choice([BOB, CAROL])
        append(store, structs.replace(message(str(number)), head=text.encode()), user)
        if not stays:
            goes.append((str(number), user))
        if goes and chance.random() < 0.45:
            name, user = goes.pop(chance.randrange(len(goes)))
            assert acknowledge(store, name, user=user)
        if chance.random() < 0.02:
            store.scrub()
    store.run_jobs([acknowledging(name, user=user) for name, user in goes])
    store.scrub()


def left_by_orders(place: Path, seeds: Iterable[int]) -> dict[int, list[Leftover]]:
    """What each order of coming and going leaves, if anything."""
    found: dict[int, list[Leftover]] = {}
    for seed in seeds:
        folder = place / f"order {seed}"
        store = SQLiteStore(folder)
        bind(store, ALICE, BOB, CAROL)
        markers = Markers(seed)
        come_and_go(store, markers, seed)
        if left := markers.leftovers(folder):
            found[seed] = left
        store.close()
        shutil.rmtree(folder)
    return found


def test_no_order_of_removals_leaves_anything(place: Path) -> None:
    assert {seed: described(left) for seed, left in left_by_orders(place, ORDERS).items()} == {}


def test_without_erasing_stale_copies_of_cells_are_left(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: secure_delete alone does not reach what SQLite leaves when it rebalances a b-tree."""
    monkeypatch.setattr(Scrubber, "_scrub", lambda *_: False)
    for seed in range(24):
        if found := left_by_orders(place, [seed]):
            assert all(one.is_stale for left in found.values() for one in left)
            return
    pytest.fail("no order has left any")


# --- the other ways to go ---------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def box(folder: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(folder)
    bind(store, ALICE, BOB, CAROL)
    yield store
    store.close()


def fill(store: SQLiteStore, markers: Markers, expires_at: int | None = None) -> None:
    """Sixty items for Bob, of which nothing may stay, and as many for Carol."""
    for number in range(60):
        text = markers.that_goes(markers.size()).encode()
        append(store, structs.replace(message(str(number), expires_at=expires_at), head=text))
        append(store, structs.replace(message(str(number)), head=markers.that_stays(markers.size()).encode()), CAROL)


def damage(store: SQLiteStore) -> None:
    """As if the disk had forgotten something of each of Bob's items."""
    account = store.tables.directory.account(BOB)
    store._connection.execute("UPDATE items SET checksum = checksum + 1 WHERE recipient = ?", (account,))


def delete_account(store: SQLiteStore) -> None:
    while not run(store, lambda tx: tx.directory.delete(BOB)):
        pass


def expire_set_aside(store: SQLiteStore) -> None:
    damage(store)
    assert waiting(store) == []
    assert run(store, lambda tx: tx.mailboxes.expire(NOW + 1, 1_000)) == []


def delete_set_aside(store: SQLiteStore) -> None:
    damage(store)
    assert waiting(store) == []
    delete_account(store)


def keep_set_aside_for_a_week(store: SQLiteStore) -> None:
    store._connection.execute("UPDATE items SET expires_at = NULL")
    damage(store)
    assert waiting(store) == []
    run(store, lambda tx: tx.mailboxes.expire(NOW + 7 * 86_400_000, 1_000))


def burn_set_aside(store: SQLiteStore) -> None:
    """Bob got them before they were damaged; his client burns them now."""
    damage(store)
    assert waiting(store) == []
    store.run_jobs([acknowledging(str(number)) for number in range(60)])


@pytest.mark.parametrize(
    "remove",
    [
        delete_account,
        expire_set_aside,
        delete_set_aside,
        keep_set_aside_for_a_week,
        burn_set_aside,
    ],
)
def test_items_that_go_another_way_leave_nothing(
    box: SQLiteStore, folder: Path, remove: Callable[[SQLiteStore], None]
) -> None:
    markers = Markers(7)
    fill(box, markers, expires_at=NOW + 1)
    remove(box)
    box.scrub()
    found = markers.leftovers(folder)
    assert not found, described(found)
    assert len(waiting(box, CAROL)) == 60


# --- the relay as a process -------------------------------------------------------


def contact(connect: Connect, relay: RelayProcess, alice: ReferenceClient) -> ReferenceClient:
    """Somebody with whom Alice has exchanged messages, who acknowledges by hand."""
    found = connect(relay).login(["ack"])
    found.send(found.person.message(alice.person))
    alice.send(alice.person.message(found.person))
    alice.send(alice.person.ack(alice.until("MESSAGE")))
    found.send(found.person.ack(found.until("MESSAGE")))
    found.settle()
    return found


AT_ONCE: Final = 1_000
"""Messages that are to go and have not gone yet: half of them wait for Carol, whose mailbox has 1,000 places."""


class RealTraffic:
    """Half of the messages are burned by Bob, half expire before Carol comes."""

    def __init__(self, connect: Connect, relay: RelayProcess, count: int) -> None:
        self.markers = Markers(count)
        self.relay = relay
        self.alice = connect(relay).login()
        self.bob, self.carol = (contact(connect, relay, self.alice) for _ in range(2))
        self.carol.close()
        self.stays = [self.markers.that_stays(self.markers.size()) for _ in range(count // 4)]
        self._goes(count)

    def _goes(self, count: int) -> None:
        alice, bob, carol, ends = self.alice, self.bob, self.carol, set()
        for number in range(count):
            burned = alice.person.message(bob.person, encrypted=self._text())
            expiring = alice.person.message(carol.person, encrypted=self._text(), metadata={"expiresIn": 1_000})
            for frame in (burned, expiring):
                alice.send(frame)
            if number < len(self.stays):
                alice.send(alice.person.message(carol.person, encrypted=self.stays[number]))
            bob.send(bob.person.ack(bob.until("MESSAGE"), "burned"))
            ends |= {(burned["payload"]["messageId"], "burned"), (expiring["payload"]["messageId"], "expired")}
            if len(ends) >= AT_ONCE or number == count - 1:
                while ends:
                    ends.discard(members(alice.until("MESSAGE_ACK", PROMISED_SECONDS), "messageId", "status"))

    def _text(self) -> str:
        return self.markers.that_goes(self.markers.size())

    def left_after(self, seconds: float) -> list[Leftover]:
        """What is left when nothing is left, or when the time is over."""
        deadline = time.monotonic() + seconds
        while (found := self.markers.leftovers(self.relay.data)) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found


@pytest.mark.timeout(300)
def test_real_relay_leaves_nothing(start_relay: StartRelay, connect: Connect, tmp_path: Path) -> None:
    more = None if LONG else changed(tmp_path / "startup", scrub_seconds=1.0)
    relay = start_relay("--limits", "off", more=more)
    traffic = RealTraffic(connect, relay, amount(40, 1_000))
    found = traffic.left_after(PROMISED_SECONDS)
    assert not found, described(found)
    again = connect(relay, traffic.carol.person).login(["ack"])
    assert [again.until("MESSAGE")["payload"]["encrypted"] for _ in traffic.stays] == traffic.stays


def test_real_relay_that_never_scrubs_leaves_texts(start_relay: StartRelay, connect: Connect, tmp_path: Path) -> None:
    """The control."""
    more = changed(tmp_path / "startup", scrub_seconds=NEVER)
    traffic = RealTraffic(connect, start_relay("--limits", "off", more=more), 20)
    assert traffic.left_after(2.0)
