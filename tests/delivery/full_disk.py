"""What happens on a disk that is really full; run by ``test_d06_full_disk.py`` as a program with a disk of its own.

    python full_disk.py SCENARIO FOLDER [without-reserve]

FOLDER is the mount point of a tmpfs; nothing else is on it. A scenario that finds something wrong raises.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import apsw

from phantom_messenger.engines.sqlite import SQLiteStore, reserve
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.records import Item
from support.amounts import LONG, amount, seeds
from support.people import Frame
from support.reference_client import ReferenceClient
from support.relay_process import SERVE, RelayProcess, patched
from support.stores import (
    ALICE,
    BOB,
    HOUR,
    NOW,
    acknowledge,
    acknowledging,
    append,
    append_all,
    appending,
    bind,
    exchange,
    message,
    names,
    receipt,
    run,
    waiting,
)

PATIENCE: Final = 60.0
QUICK: Final = patched("import phantom_messenger.relay.server as server; server.SCRUB_SECONDS = 2.0")
RECOVERY: Final = amount(2, 20) + 5.0
"""Seconds in which the relay recovers: it looks every 20, in the short form every 2."""

SLACK: Final = 30.0
"""Seconds more for a machine that has much else to do."""


class SmallDisk:
    """The tmpfs, and the file of somebody else that fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, *, but: int = 0) -> None:
        """Fill it to the last byte, or leave some bytes."""
        with self._filler.open("ab", buffering=0) as file:
            while (size := self.free - but) > 0:
                file.write(bytes(min(size, 65_536)))

    def release(self) -> None:
        self._filler.unlink(missing_ok=True)

    def shrink(self, share: float) -> None:
        if self._filler.exists():
            os.truncate(self._filler, int(self._filler.stat().st_size * share))

    def open(self) -> SQLiteStore:
        return SQLiteStore(self.folder / "data")


def is_refused(result: Any) -> bool:
    """Whether a job failed because there is no room."""
    return isinstance(result, CommandFailed) and result.is_out_of_space


def filled(disk: SmallDisk, count: int = 60, size: int = 20_000) -> tuple[SQLiteStore, list[str]]:
    """A store with mail for Bob on a disk that is full; the store has noticed."""
    store = disk.open()
    bind(store, ALICE, BOB)
    sent = [f"{number}" for number in range(count)]
    for name in sent:
        append(store, message(name, size=size))
    disk.fill()
    for number in range(1_000):
        [result] = store.run_jobs([appending(message(f"more {number}", size=size))])
        if is_refused(result):
            return store, sent
        assert isinstance(result, Item)
        sent.append(result.name)
    raise AssertionError("the disk never was full")


def check_removals(store: SQLiteStore, sent: Sequence[str]) -> None:
    """Read all, remove all."""
    assert names(waiting(store)) == list(sent), "nothing that was accepted is lost"
    for number, name in enumerate(sent):
        [result] = store.run_jobs([acknowledging(name)])
        assert result is True, f"acknowledging message {number} of {len(sent)}: {result}"
    assert waiting(store) == []


# --- of the store -----------------------------------------------------------------


def removals_go_on(disk: SmallDisk) -> None:
    store, sent = filled(disk)
    assert store.is_out_of_space
    disk.fill()
    check_removals(store, sent)
    assert isinstance(append(store, message("again", size=2_000)), Item), "there is room where something was removed"
    acknowledge(store, "again")
    store.close()
    assert waiting(disk.open()) == []


def other_removals_go_on(disk: SmallDisk) -> None:
    store = disk.open()
    bind(store, ALICE, BOB)
    kept = append_all(store, [receipt("r", text="x" * 3_000), exchange("INIT", text="x" * 3_000)])
    for number in range(8):
        append(store, message(f"{number}", size=3_000, expires_at=NOW + HOUR))
    disk.fill()
    while not is_refused(store.run_jobs([appending(message(str(time.monotonic_ns()), size=9_000))])[0]):
        pass
    disk.fill()
    for item in kept:
        run(store, lambda tx, item=item: tx.mailboxes.confirm(BOB, [item.seq]))  # type: ignore[misc]
    gone = run(store, lambda tx: tx.mailboxes.expire(NOW + HOUR, 256))
    assert len(gone) == 8
    while not run(store, lambda tx: tx.directory.delete(BOB)):
        pass
    assert run(store, lambda tx: tx.directory.public_key(BOB)) is None


def it_recovers(disk: SmallDisk) -> None:
    store, sent = filled(disk)
    for number in range(50):  # again and again it takes its reserve, and has to give it up
        store.scrub()
        disk.fill()
        [result] = store.run_jobs([appending(message(f"perhaps {number}", size=20_000))])
        if not is_refused(result):
            sent.append(result.name)
        acknowledge(store, sent.pop(0))
        disk.fill()
    disk.release()
    store.scrub()
    assert not store.is_out_of_space
    for number in range(20):
        sent.append(append(store, message(f"after {number}", size=20_000)).name)
    check_removals(store, sent)


def chance(disk: SmallDisk) -> None:
    """Whatever is done in whatever order: removals never fail, nothing is lost, it recovers."""
    for seed in range(seeds(5, 300)):
        try:
            _chance(disk, Random(seed))  # noqa: S311 - chance that can be repeated
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        for file in (disk.folder / "data").iterdir():
            file.unlink()


def _chance(disk: SmallDisk, random: Random) -> None:
    store = disk.open()
    bind(store, ALICE, BOB)
    sent: list[str] = []
    most = random.choice((200, 3_000, 20_000))
    for step in range(100):
        choice = random.random()
        if choice < 0.35:
            items = [message(f"{step} {number}", size=random.randrange(most)) for number in range(random.randint(1, 5))]
            results = append_all(store, items)
            assert all(isinstance(result, Item) or is_refused(result) for result in results)
            sent += [result.name for result in results if isinstance(result, Item)]
        elif choice < 0.7:
            gone = random.sample(sent, min(len(sent), random.choice((1, 1, 5, 100))))
            results = store.run_jobs([acknowledging(name) for name in gone])
            assert all(result is True for result in results), f"step {step}: {results}"
            sent = [name for name in sent if name not in gone]
        elif choice < 0.85:
            disk.fill()
        elif choice < 0.9:
            disk.shrink(random.random())
        else:
            _scrub(store, disk)
        assert names(waiting(store)) == sent, f"step {step}"
    disk.release()
    store.scrub()
    assert not store.is_out_of_space
    assert isinstance(append(store, message("in the end")), Item)
    store.close()


def _scrub(store: SQLiteStore, disk: SmallDisk) -> None:
    try:
        store.scrub()
    except apsw.FullError:
        assert disk.free == 0  # as the relay does, it is tried again later


# --- what goes wrong: each is a bug that is known ---------------------------------


def removals_go_on_after_a_start_on_a_full_disk(disk: SmallDisk) -> None:
    store = disk.open()
    bind(store, ALICE, BOB)
    sent = [append(store, message(f"{number}", size=20_000)).name for number in range(40)]
    store.close()
    disk.fill()
    store = disk.open()
    disk.fill()
    check_removals(store, sent)


def it_starts_after_it_was_stopped_on_a_full_disk(disk: SmallDisk) -> None:
    store, sent = filled(disk)
    store.close()
    disk.fill()
    check_removals(disk.open(), sent)


def large_messages_expire(disk: SmallDisk) -> None:
    store = disk.open()
    bind(store, ALICE, BOB)
    for number in range(100):
        if is_refused(store.run_jobs([appending(message(f"{number}", size=60_000, expires_at=NOW + HOUR))])[0]):
            break
    disk.fill()
    while run(store, lambda tx: tx.mailboxes.expire(NOW + HOUR, 256)):
        pass
    assert waiting(store) == []


def large_mailbox_is_deleted(disk: SmallDisk) -> None:
    store, _ = filled(disk, count=20, size=60_000)
    disk.fill()
    while not run(store, lambda tx: tx.directory.delete(BOB)):
        pass


def removals_go_on_after_a_large_batch(disk: SmallDisk) -> None:
    store = disk.open()
    bind(store, ALICE, BOB)
    disk.fill(but=1_000_000)
    results = append_all(store, [message(f"{number}", size=40_000) for number in range(20)])
    assert all(isinstance(result, Item) for result in results)
    disk.fill()
    check_removals(store, [result.name for result in results])


def burned_bytes_are_driven_out(disk: SmallDisk) -> None:
    marker = "MARKER-OF-SOMETHING-THAT-MUST-GO"
    store = disk.open()
    bind(store, ALICE, BOB)
    for number in range(30):
        append(store, message(f"{number}", size=20_000))
    store._connection.wal_checkpoint()
    disk.fill()
    append(store, message(marker, size=20_000))
    acknowledge(store, marker)
    _scrub(store, disk)
    _scrub(store, disk)
    found = [file.name for file in (disk.folder / "data").iterdir() if marker.encode() in file.read_bytes()]
    assert found == []


# --- of the relay -----------------------------------------------------------------


def relay_lives_on(disk: SmallDisk) -> None:
    """Senders are told to wait; reading, acknowledging and burning go on; it recovers by itself."""
    relay = RelayProcess(disk.folder.parent, "--limits", "off", command=SERVE if LONG else QUICK)
    try:
        with ReferenceClient(relay.url).login(["ack"]) as alice, ReferenceClient(relay.url).login(["ack"]) as bob:
            _greet(alice, bob)
            bob.close()
            accepted = _send_until_refused(alice, bob, disk)
            disk.fill()
            _receive_and_burn(relay, alice, bob, accepted)
            disk.release()
            _send_until_accepted(alice, bob)
        assert relay.stop() == 0
    finally:
        relay.kill()


def _greet(alice: ReferenceClient, bob: ReferenceClient) -> None:
    for sender, recipient in ((alice, bob), (bob, alice)):
        greeting = sender.person.message(recipient.person)
        sender.send(greeting)
        recipient.send(recipient.person.ack(recipient.until("MESSAGE", PATIENCE)))
        recipient.settle()


def _send(sender: ReferenceClient, recipient: ReferenceClient) -> tuple[str, Frame]:
    sent = sender.person.message(recipient.person, encrypted="QUJD" * 5_000)
    sender.send(sent)
    while True:
        frame = sender.receive(PATIENCE)
        if frame["type"] == "ERROR" or frame.get("payload", {}).get("status") == "accepted":
            return sent["payload"]["messageId"], frame


def _send_until_refused(alice: ReferenceClient, bob: ReferenceClient, disk: SmallDisk) -> list[str]:
    accepted: list[str] = []
    for number in range(300):
        if number == 30:
            disk.fill()
        name, answer = _send(alice, bob)
        if answer["type"] == "ERROR":
            assert answer["payload"]["code"] == 1007
            assert answer["payload"]["retryAfter"] > 0
            assert number > 30
            return accepted
        accepted.append(name)
    raise AssertionError("the disk never was full")


def _receive_and_burn(relay: RelayProcess, alice: ReferenceClient, bob: ReferenceClient, accepted: list[str]) -> None:
    with ReferenceClient(relay.url, bob.person).login(["ack"]) as again:
        got = [again.until("MESSAGE", PATIENCE) for _ in accepted]
        assert [frame["payload"]["messageId"] for frame in got] == accepted
        for number, frame in enumerate(got):
            again.send(again.person.ack(frame, "burned" if number % 2 else "delivered"))
        refused = [frame for frame in again.settle() if frame["type"] == "ERROR"]
        assert refused == [], "an ack was refused"
    with ReferenceClient(relay.url, bob.person).login(["ack"]) as again:
        assert [frame for frame in again.settle() if frame["type"] == "MESSAGE"] == []
    alice.settle()


def _send_until_accepted(alice: ReferenceClient, bob: ReferenceClient) -> None:
    """More than fits into what was removed, so that it has taken its reserve again."""
    deadline = time.monotonic() + RECOVERY + SLACK
    count = 0
    while count < 60:
        _, answer = _send(alice, bob)
        if answer["type"] != "ERROR":
            count += 1
            continue
        assert time.monotonic() < deadline, "it has not recovered"
        time.sleep(0.2)  # the sender waits


SCENARIOS: Final[dict[str, Callable[[SmallDisk], None]]] = {
    scenario.__name__: scenario
    for scenario in (
        removals_go_on,
        other_removals_go_on,
        it_recovers,
        chance,
        removals_go_on_after_a_start_on_a_full_disk,
        it_starts_after_it_was_stopped_on_a_full_disk,
        large_messages_expire,
        large_mailbox_is_deleted,
        removals_go_on_after_a_large_batch,
        burned_bytes_are_driven_out,
        relay_lives_on,
    )
}


def main(name: str, folder: str, *options: str) -> None:
    logging.disable()
    if options == ("without-reserve",):
        vars(reserve)["RESERVE_BYTES"] = 0  # the control
    SCENARIOS[name](SmallDisk(Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
