"""Two people's story at a simulated relay; the program of one dies somewhere in it and is started again.

What comes of it must be what comes of the same story without a death.
"""

import base64
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
from client_samples import DAY, Device, pass_time
from vault_disk import Crash, Fate, Plan, VaultDisk

from phantom_messenger.client import records
from phantom_messenger.client.errors import UnknownContact, VaultError
from phantom_messenger.client.records import ReceivedRecord, SentRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.client.vault import Vault
from phantom_messenger.crypto import suites
from support.simulated import SECOND, World

MEMORY = Path("/dev/shm")  # noqa: S108 - a file system; folders in it have random names
TYPES: dict[str, type[Any]] = {
    records.IDENTITY: records.IdentityRecord,
    records.CONTACT: records.ContactRecord,
    records.SESSIONS: records.SessionsRecord,
    records.SESSION: records.SessionRecord,
    records.SKIPPED: records.SkippedRecord,
    records.PREKEY: records.PreKeyRecord,
    records.LAST_PREKEY_ID: records.IntValue,
    records.OUTBOX: records.OutboxRecord,
    records.SENT: records.SentRecord,
    records.INBOX: records.InboxRecord,
    records.RECEIVED: records.ReceivedRecord,
    records.SEEN: records.Seen,
    records.HANDSHAKE: records.Seen,
    records.CLOCK_OFFSET: records.IntValue,
    records.CLOCK: records.ClockRecord,
    records.ACK: records.AckRecord,
    records.UNREADABLE: records.UnreadableRecord,
    records.RECEIPT: records.ReceiptRecord,
    records.UNANSWERED: records.UnansweredRecord,
    records.RECOVERY: records.RecoveryRecord,
    records.REQUEST: records.RequestRecord,
    records.PAGE: records.PageRecord,
    records.INBOX_PAGE: records.InboxPageRecord,
    records.INDEXED: records.IntValue,
    records.IN_ORDER: records.IntValue,
    records.OLD_KEYS: records.IntValue,
}
LEFT_OVER = (records.RECEIPT, records.UNANSWERED, records.UNREADABLE, records.RECOVERY)
"""Records that are gone once everything has been told, and was readable."""


def readable_records(vault: Vault) -> int:
    """How many records a vault has; an error if one cannot be read."""
    found = sum(1 for kind, type_ in TYPES.items() for _ in vault.all(kind, type_))
    [(there,)] = vault._connection.execute("SELECT count(*) FROM records").fetchall()
    assert found == there, "a record of an unknown kind"
    return found


class Mortal(Device):
    """A device whose vaults are on a disk that lets it die."""

    def __init__(self, world: World, folder: Path, name: str, disk: VaultDisk) -> None:
        self.disk = disk
        super().__init__(world, folder, name)

    def _start(self, path: Path) -> None:
        try:
            with self.disk.mounted():
                super()._start(path)
                self.disk.check()
        except BaseException:
            if hasattr(self, "vault"):
                self.vault.close()
            raise
        readable_records(self.vault)

    def die(self) -> int:
        """Start again from what the crash has left; what the socket had been given may still have left.

        Returns:
            How often it died, for it can while it starts.
        """
        if self._connection is not None:
            while self.up and self.disk.coin():
                self.step_up()
            self._connection = None
            self.world.relay.disconnected(self._session)
            self.world.run()
        self.up.clear()
        self.down.clear()
        self._lives += 1
        after = self.folder / f"{self.name}-{self._lives}.vault"
        self.vault.close()
        self.disk.revive(after)
        try:
            self._start(after)
        except Crash:
            return 1 + self.die()
        return 1


@dataclass
class Outcome:
    """What comes of a story for one person."""

    read: list[str]
    states: list[tuple[str, DeliveryState]]
    kept: list[str | None]
    contacts: list[str]
    waiting: int
    pending_receipts: int
    unread: int
    at_the_relay: int
    left_over: dict[str, int]
    troubles: list[str]


class Story:
    """The story; ``close`` it.

    Args:
        folder: for the vaults.
        victim: whose disk follows the plan.
        plan: what happens on that disk.
    """

    def __init__(self, folder: Path, victim: str, plan: Plan | None) -> None:
        self.world = World()
        self._stack = ExitStack()
        self._stack.callback(self.world.close)
        self._folder = folder
        self.disk = VaultDisk(plan)
        self._stack.callback(self.disk.unregister)
        self._victim = victim
        self.deaths = 0
        self._read: dict[str, list[str]] = {"alice": [], "bob": []}
        self._made: dict[str, list[tuple[str, str]]] = {"alice": [], "bob": []}
        self._is_away: set[str] = set()

    def close(self) -> None:
        self._stack.close()

    def play(self) -> dict[str, Outcome]:
        """Tell it to the end; what has come of it, by name."""
        alice, bob = self._born("alice"), self._born("bob")
        self.people = [alice, bob]
        self._rest()
        self._name(alice, bob, "bob")
        self._name(bob, alice, "alice")
        self._write(alice, bob, "first", rest=False)
        self._write(bob, alice, "first at the same time")
        self._read_all(bob)
        self._write(bob, alice, "answer")
        self._read_all(alice)
        self._write(alice, bob, "a text that burns", burn=True)
        self._read_all(bob)
        self._write(bob, alice, "never read in time", expires_in=20 * SECOND)
        self._write(alice, bob, "read in time", expires_in=60 * SECOND)
        self._read_all(bob)
        self._rest(70 * SECOND, step=5 * SECOND)
        self._read_all(alice)
        self._both_are_away(alice, bob)
        self._name(alice, bob, "robert")
        self._write(alice, bob, "a last text")
        self._write(bob, alice, "a last answer")
        self._read_all(alice)
        self._read_all(bob)
        self._rest()
        return {device.name: self._outcome(device) for device in self.people}

    def _both_are_away(self, alice: Device, bob: Device) -> None:
        """They write to each other while away for so long that prekeys are renewed at their return."""
        self._leave(bob)
        for text in ("one", "two", "three"):
            self._write(alice, bob, text)
        self._leave(alice)
        self._write(bob, alice, "crossing")
        self._write(alice, bob, "four")
        self.world.clock.advance(8 * DAY)
        self._is_away.clear()
        self._rest()
        self._read_all(bob)
        self._read_all(alice)

    # --- deeds, each of which may be cut short ------------------------------------

    def _born(self, name: str) -> Device:
        folder = self._folder / name
        if name != self._victim:
            device = Device(self.world, folder, name)
            self._stack.callback(device.close)
            return device
        while True:
            try:
                device = Mortal(self.world, folder, name, self.disk)
            except Crash:
                self.deaths += 1
                for suffix in ("", "-wal", "-shm", "-journal"):
                    Path(f"{folder / name}.vault{suffix}").unlink(missing_ok=True)
                self.disk.revive(folder / f"{name}.vault")
            except VaultError:
                self.deaths += 1
            else:
                self._stack.callback(device.close)
                return device

    def _try(self, deed: Callable[[], object]) -> bool:
        """Do something; whether it came to its end."""
        try:
            deed()
            self.disk.check()
        except Crash:
            victim = next(device for device in self.people if isinstance(device, Mortal))
            self.deaths += victim.die() - 1
        except (VaultError, apsw.FullError) as error:
            # The program goes on, and connects again: see ConnectionLoop.
            victim = next(device for device in self.people if isinstance(device, Mortal))
            if victim.is_connected:
                victim._end(None, str(error))
                self.world.relay.disconnected(victim._session)
                self.world.run()
        else:
            return True
        self.deaths += 1
        return False

    def _rest(self, time: int = 6 * SECOND, step: int = 2 * SECOND) -> None:
        """Let time pass and frames move; who is not away is connected."""
        done = False
        while not done:
            here = [device for device in self.people if device.name not in self._is_away]
            if not here:
                self.world.clock.advance(time)
                return
            done = self._try(lambda here=here: pass_time(time, *here, step=step, reconnect=True))  # type: ignore[misc]

    def _leave(self, device: Device) -> None:
        self._is_away.add(device.name)
        if device.is_connected:
            device.cut()

    def _name(self, device: Device, other: Device, name: str) -> None:
        while not self._try(lambda: device.messenger.contacts.add(name, other.id)):
            names = [contact.name for contact in device.messenger.contacts.everybody()]
            assert names in ([], [""], ["bob"], ["alice"], [name]), names
        self._rest()

    def _write(self, device: Device, other: Device, text: str, *, rest: bool = True, **options: Any) -> None:
        """Send a text; one that was cut short is sent again if nothing of it is there."""
        while not self._try(lambda: device.send(other, text, **options)):
            if any(sent.text == text for sent in _all(device, SentRecord)):
                break
        found = [sent.message_id for sent in _all(device, SentRecord) if sent.text == text]
        assert len(found) == 1, f"{len(found)} times '{text}'"
        self._made[device.name].append((text, found[0]))
        if rest:
            self._rest()

    def _read_all(self, device: Device) -> None:
        """Read what waits; a reading that was cut short is done again if the text is still there."""
        while found := self._waiting(device):
            record = found[0]
            done = self._try(lambda record=record: device.messenger.mark_read(record.sender, record.message_id))  # type: ignore[misc]
            if done or record.message_id not in [left.message_id for left in self._waiting(device)]:
                self._read[device.name].append(record.text or "")
        self._rest()

    def _waiting(self, device: Device) -> list[ReceivedRecord]:
        """What waits to be read; to look at it takes away what has expired."""
        found: list[ReceivedRecord] = []
        while not self._try(lambda: found.extend(device.waiting())):
            found.clear()
        return found

    # --- what has come of it ------------------------------------------------------

    def _outcome(self, device: Device) -> Outcome:
        numbers = dict(self._made[device.name])
        texts = {number: text for text, number in numbers.items()}
        states = [(texts[sent.message_id], DeliveryState(sent.state)) for sent in _all(device, SentRecord)]
        kept = [record.text for record in (*_all(device, SentRecord), *_all(device, ReceivedRecord))]
        readable_records(device.vault)
        assert_sealed_once(device)
        named = []
        with suppress(UnknownContact):
            named = [contact.name for contact in device.messenger.contacts.everybody()]
        return Outcome(
            read=self._read[device.name],
            states=states,
            kept=kept,
            contacts=named,
            waiting=device.messenger.waiting,
            pending_receipts=device.messenger.pending_receipts,
            unread=len(self._waiting(device)),
            at_the_relay=len(self.world.peek(lambda tx: tx.mailboxes.read(device.id, 0, 1 << 30, 0).items)),
            left_over={kind: len(list(device.vault.all(kind, TYPES[kind]))) for kind in LEFT_OVER},
            troubles=device.troubles(),
        )


def _all(device: Device, type_: type[Any]) -> list[Any]:
    kind = next(kind for kind, known in TYPES.items() if known is type_)
    return [record for _, record in device.vault.all(kind, type_)]


def assert_sealed_once(device: Device) -> None:
    """No text was encrypted twice, and no two with one key."""
    sealed: dict[str, str] = {}
    keys: dict[tuple[bytes, int], str] = {}
    for frame in device.frames_sent("MESSAGE"):
        number, text = frame["payload"]["messageId"], frame["payload"]["encrypted"]
        header = suites.parse(base64.b64decode(text)).header
        assert sealed.setdefault(number, text) == text, "a text was encrypted again"
        assert keys.setdefault((header.dh, header.n), number) == number, "two texts were encrypted with one key"


def told(folder: Path, victim: str, plan: Plan | None) -> tuple[dict[str, Outcome], int, int]:
    """A whole story: what comes of it, how many operations the victim's disk saw, how often it died."""
    story = Story(folder, victim, plan)
    try:
        return story.play(), story.disk.operations, story.deaths
    finally:
        story.close()


def check(victim: str, plan: Plan, undisturbed: dict[str, Outcome]) -> int:
    """The same comes of the story as without a death; returns how many there were."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        found, operations, deaths = told(Path(folder), victim, plan)
    for name, outcome in found.items():
        for part, value in vars(outcome).items():
            expected = getattr(undisturbed[name], part)
            assert value == expected, f"{victim}, {plan}: {name}'s {part}: {value}, not {expected}"
    assert deaths or plan.fate is Fate.FULL or operations <= plan.at, f"{victim}, {plan}: nothing has happened"
    return deaths


def undisturbed(victim: str) -> tuple[dict[str, Outcome], int]:
    """What comes of the story without a death, and how many operations the victim's disk sees."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        found, operations, _ = told(Path(folder), victim, None)
    return found, operations
