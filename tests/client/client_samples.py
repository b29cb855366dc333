"""Devices of people at a simulated relay, parties without any relay, and what tests look at in them.

Nothing sleeps: frames move when a test moves them, and time passes when it says so.
"""

import base64
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import apsw
import msgspec

from phantom_messenger.client import content, records
from phantom_messenger.client.address_book import AddressBook
from phantom_messenger.client.backup import export_profile, import_profile
from phantom_messenger.client.conversations import Conversations, Opened, conversation_id
from phantom_messenger.client.faults import Aside
from phantom_messenger.client.groups.stepping import Stepping
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.prekey_store import PreKeyStore, Publication
from phantom_messenger.client.records import OutboxRecord, SentRecord, SessionRecord
from phantom_messenger.client.sessions import Sessions
from phantom_messenger.client.status import DeliveryState, Event, WarningEvent
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.crypto import primitives, suites
from phantom_messenger.crypto.bundle import DatedBundle
from phantom_messenger.crypto.keys import KeyPair, OwnIdentity
from phantom_messenger.crypto.prekeys import KemPreKey, PreKey, PreKeyBundle
from phantom_messenger.crypto.suites import AnySession
from phantom_messenger.wire import codec, frames, signing
from support.people import Frame, canonical
from support.simulated import HOST, SECOND, FakeConnection, World

CLAIMED: Final = b"an id of 20 bytes..."
WORDS: Final = "a passphrase for the file"
KEY: Final = Secret("a random key of a keyring", stretched=False)
YEAR: Final = 365 * 86_400_000
DAY: Final = 86_400_000
MADE_AT: Final = 10**12
"""When parties sign their prekeys and use those of others."""

DATED_FIELDS: Final = ("madeAt", "bundleSignature", "lastResortKemPreKey")
"""What suite 2 needs of a KEY_EXCHANGE_RESPONSE, beside what suite 1 does."""

KEM_FIELDS: Final = ("kemPreKey", "kemPreKeyId", "kemPreKeySignature", *DATED_FIELDS)
"""What a relay leaves out that wants a classical session."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name

E = TypeVar("E", bound=Event)


def _not_tolerated(_: Stepping | Aside, error: Exception) -> list[Event]:
    raise error


TOLERATED: Final = {kind: kind.failed for kind in (Stepping, Aside)}
"""What users' clients do about a fault; those of tests end with it."""
Stepping.failed = Aside.failed = _not_tolerated  # type: ignore[method-assign,assignment]

Tamper = Callable[[Frame], list[Frame]]
"""What a malicious relay makes of a frame for a device."""


def randomness(name: str) -> Callable[[int], bytes]:
    """Bytes that are the same in every run."""
    return random.Random(name).randbytes  # noqa: S311 - the same in every run


@contextmanager
def fast_folder(usual: Path) -> Iterator[Path]:
    """A folder in memory where there is one, for vaults whose syncs to disk are not what is tested."""
    if not MEMORY.is_dir():
        yield usual
        return
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def raw_rows(opened: Vault) -> list[tuple[Any, ...]]:
    """All records as they stand on disk; each write makes another nonce, so equal rows mean: none was written."""
    with _beside(opened.path) as connection:
        return connection.execute("SELECT position, kind, name, due, value FROM records ORDER BY position").fetchall()


def change_file(path: Path, statement: str, *values: Any) -> None:
    """What somebody who has the file, but not its key, can do."""
    with _beside(path) as connection:
        connection.execute(statement, values)


@contextmanager
def _beside(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    try:
        yield connection
    finally:
        connection.close()


def found_in_files(folder: Path, *needles: bytes) -> list[tuple[str, bytes]]:
    """Which of these bytes stand in which file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [(path.name, needle) for path in files for needle in needles if needle in path.read_bytes()]


# --- without a relay --------------------------------------------------------------


def publication_of(prekeys: PreKeyStore, *, one_time: int, kem: int, now: int, made_at: int = 0) -> Publication:
    """A publication at once, however long it takes; arguments as ``PreKeyStore.publication``."""
    steps = prekeys.publication(one_time=one_time, kem=kem, now=now, made_at=made_at)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Publication = end.value
            return made


class Party:
    """Somebody's identity, prekeys and conversations on a vault, with no relay at all."""

    def __init__(self, folder: Path, name: str) -> None:
        self.vault = Vault(folder / f"{name}.vault", KEY)
        self.random = randomness(name)
        self.identity = OwnIdentity(hashlib.sha256(name.encode()).digest())
        self.raw_id = self.identity.peer.user_id
        self.id = base64.b64encode(self.raw_id).decode()
        self._open()
        self.published: Publication = publication_of(self.prekeys, one_time=95, kem=22, now=0, made_at=MADE_AT)
        self._handed_out = 0
        self._texts = 0

    def _open(self) -> None:
        self.book = AddressBook(self.vault)
        self.prekeys = PreKeyStore(self.vault, self.identity, self.random)
        self.conversations = Conversations(self.vault, self.book, self.identity, self.prekeys, self.random)

    def reopen(self) -> None:
        """The program ends and starts again."""
        self.vault.close()
        self.vault = Vault(self.vault.path, KEY)
        self._open()

    def bundle(self, *, one_time: bool = True, kem: bool = True, dated: bool = True) -> PreKeyBundle:
        """As the relay would hand it out; one-time keys once each, else the last-resort KEM key.

        ``dated``: with what suite 2 needs, if ``kem``; else as of a program that knows only suite 1.
        """
        place, self._handed_out = self._handed_out, self._handed_out + one_time
        first = self.published.one_time[place]
        encapsulation = self.published.kem[place] if one_time else self.published.last_resort
        return PreKeyBundle(
            identity=self.identity.peer,
            signed_prekey=self.published.signed.pair.public,
            signed_prekey_signature=self.published.signed.signature,
            signed_prekey_id=self.published.signed.id,
            one_time_prekey=first.pair.public if one_time else None,
            one_time_prekey_id=first.id if one_time else 0,
            kem_prekey=encapsulation.public if kem else None,
            kem_prekey_signature=encapsulation.signature if kem else b"",
            kem_prekey_id=encapsulation.id if kem else 0,
            dated=self._dated(first, encapsulation, one_time=one_time) if kem and dated else None,
        )

    def _dated(self, first: PreKey, encapsulation: KemPreKey, *, one_time: bool) -> DatedBundle:
        return DatedBundle(
            identity=self.identity.peer,
            user_id=self.raw_id,
            made_at=self.published.made_at,
            signed_prekey=self.published.signed.pair.public,
            signed_prekey_id=self.published.signed.id,
            kem_prekey=encapsulation.public,
            kem_prekey_id=encapsulation.id,
            signature=self.published.bundle_signature,
            one_time_prekey=first.pair.public if one_time else None,
            one_time_prekey_id=first.id if one_time else 0,
            kem_prekey_signature=encapsulation.signature,
            last_resort_digest=primitives.sha256(self.published.last_resort.public) if one_time else None,
            last_resort_id=self.published.last_resort.id if one_time else 0,
        )

    def allow_classical(self, other: "Party") -> None:
        """The user has said that texts to them may go without a post-quantum secret."""
        with self.vault.transaction() as tx:
            self.book.put(tx, msgspec.structs.replace(self.book.get(other.id), allows_classical=True))

    def allow_older(self, other: "Party") -> None:
        """The user has said that texts to them may go in suite 1."""
        with self.vault.transaction() as tx:
            self.book.put(tx, msgspec.structs.replace(self.book.get(other.id), allows_older=True))

    def begin(self, other: "Party", **bundle: bool) -> None:
        self.begin_with(other, other.bundle(**bundle), KeyPair.from_private(self.random(32)))

    def begin_with(self, other: "Party", bundle: PreKeyBundle, ephemeral: KeyPair) -> None:
        with self.vault.transaction() as tx:
            self.conversations.begin(tx, self.conversations.load(other.id), bundle, ephemeral, now=0, wall=MADE_AT)

    def write(self, to: "Party", text: str) -> frames.RoutedMessage:
        """Seal a text and send it; as the recipient gets it."""
        self._texts += 1
        number = f"00000000-0000-4000-8000-{self._texts:012d}"
        entry = OutboxRecord(message_id=number, peer=to.id, text=text, burn=False, expires_in=None, made_at=self._texts)
        with self.vault.transaction() as tx:
            return self.routed(to, self.conversations.seal(tx, self.conversations.load(to.id), entry).sealed, number)

    def routed(self, to: "Party", sealed: bytes, number: str) -> frames.RoutedMessage:
        """Sign an envelope around a sealed text."""
        payload = frames.MessagePayload(
            conversation_id=conversation_id(self.id, to.id),
            encrypted=base64.b64encode(sealed).decode(),
            message_id=number,
            recipient_id=to.id,
        )
        bare = frames.Message(payload=payload, signature="", timestamp=0)
        mark = self.identity.sign(signing.envelope_bytes(codec.signed_text(bare)))
        signed = frames.Message(payload=payload, signature=base64.b64encode(mark).decode(), timestamp=0)
        routed: frames.RoutedMessage = codec.route(signed, self.id)
        return routed

    def read(self, frame: frames.RoutedMessage) -> Opened:
        """Open a message as the messenger does: all or nothing."""
        with self.vault.transaction() as tx:
            return self.conversations.open(tx, frame, codec.signed_text(codec.original(frame)), 0)

    def text(self, frame: frames.RoutedMessage) -> str:
        found = self.read(frame).content
        assert isinstance(found, content.Text)
        return found.body

    def sessions(self, other: "Party") -> list[AnySession]:
        """The one to send with first."""
        return Sessions(self.vault).load(other.id).all


def acquainted(one: Party, other: Party, *, dated: bool = True) -> None:
    """Both have written to each other; in suite 1, as both users allow, if not ``dated``."""
    if not dated:
        one.allow_older(other)
        other.allow_older(one)
    one.begin(other, dated=dated)
    other.read(one.write(other, "hello"))
    one.read(other.write(one, "hello yourself"))


def all_sessions(opened: Vault) -> list[AnySession]:
    """The sessions with everybody."""
    peers = dict.fromkeys(stored.peer for _, stored in opened.all(records.SESSION, SessionRecord))
    return [found for peer in peers for found in Sessions(opened).load(peer).all]


# --- at a simulated relay ---------------------------------------------------------


class Device:
    """A messenger on a vault, and its connection to a simulated relay.

    ``up`` and ``down`` hold what is on its way to the relay and to the messenger. ``sent``
    and ``received`` are all frames that arrived there and here. A ``tamper`` sits
    where a malicious relay would.
    """

    def __init__(
        self, world: World, folder: Path, name: str, *, wall_error: int = 0, strangers: str = "accept"
    ) -> None:
        self.world = world
        self.name = name
        self.folder = folder
        self.wall_error = wall_error
        self.strangers = strangers
        self.boot = "this boot"
        self.booted_at = 0
        self.tamper: Tamper | None = None
        self.events: list[Event] = []
        self.sent: list[Frame] = []
        self.received: list[Frame] = []
        self.closes: list[tuple[int | None, str]] = []
        self.may_reconnect = True
        self.up: list[str] = []
        self.down: list[bytes] = []
        self._lives = 0
        self._is_closed = False
        self._connection: FakeConnection | None = None
        self._taken = 0
        folder.mkdir(exist_ok=True)
        self._start(folder / f"{name}.vault")
        self.id = self.messenger.user_id

    def _start(self, path: Path) -> None:
        self.vault = Vault(path, KEY)
        self.messenger = Messenger(
            self.vault,
            wall=lambda: self.world.clock.wall_ms() + self.wall_error,
            monotonic=self.world.clock.monotonic_ms,
            random=randomness(f"{self.name} {self._lives}"),
            strangers=self.strangers,
            since_boot=lambda: self.world.clock.monotonic_ms() - self.booted_at,
            boot=self.boot,
        )

    # --- the connection -----------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    def connect(self) -> None:
        """Open a connection; the login waits for its frames to move."""
        assert self._connection is None
        connection = FakeConnection(lambda: self.world.turns(lambda: self.world.relay.disconnected(relay_session)))
        relay_session = self.world.relay.connect(connection, address=self.address, host=HOST)
        self._session = relay_session
        self._connection = connection
        self._taken = 0
        self.world.run()
        self.messenger.connected(HOST)

    @property
    def address(self) -> str:
        """An address of its own."""
        return f"10.{'.'.join(map(str, hashlib.sha256(self.name.encode()).digest()[:3]))}"

    def login(self) -> "Device":
        """Connect, and move frames until nothing moves."""
        self.connect()
        settle(self)
        assert self.messenger.is_online, self.events
        return self

    def cut(self) -> None:
        """The network is gone, and all that was on its way with it."""
        assert self._connection is not None
        self._end(None, "the connection was lost")
        self.world.relay.disconnected(self._session)
        self.world.run()

    def _end(self, code: int | None, reason: str) -> None:
        self._connection = None
        self.up.clear()
        self.down.clear()
        self.closes.append((code, reason))
        self.may_reconnect = self.messenger.disconnected(code, reason)
        self.hear()

    def fetch(self) -> None:
        """Take what either side has written onto the way."""
        if self._connection is None:
            return
        self.up += self.messenger.drain()
        self.down += self._connection.written[self._taken :]
        self._taken = len(self._connection.written)

    def step_up(self) -> bool:
        """One frame arrives at the relay."""
        if not self.up or self._connection is None:
            return False
        text = self.up.pop(0)
        self.sent.append(json.loads(text))
        self.world.relay.receive(self._session, text.encode())
        self.world.run()
        return True

    def step_down(self) -> bool:
        """One frame arrives at the messenger, or after the last one the close of the connection."""
        if self._connection is None:
            return False
        self.fetch()
        if self.down:
            frame: Frame = json.loads(self.down.pop(0))
            for changed in [frame] if self.tamper is None else self.tamper(frame):
                self.received.append(changed)
                self.messenger.receive(canonical(changed).decode())
            self.hear()
            if self.messenger.is_lost:
                self.cut()
            return True
        if self._connection.closed is not None:
            self._end(*self._connection.closed)
            return True
        return False

    def hear(self) -> None:
        self.events += self.messenger.drain_events()

    # --- life and death -----------------------------------------------------------

    def kill(self) -> None:
        """Let the program die and start again, on what the disk had at that moment."""
        if self._connection is not None:
            self._connection = None
            self.world.relay.disconnected(self._session)
            self.world.run()
        self.up.clear()
        self.down.clear()
        self._lives += 1
        after = self.folder / f"{self.name}-{self._lives}.vault"
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.vault.path}{suffix}", f"{after}{suffix}")
        self.vault.close()
        self._start(after)

    def close(self) -> None:
        """Close the vault; once is enough."""
        if not self._is_closed:
            self._is_closed = True
            self.vault.close()

    # --- what tests look at -------------------------------------------------------

    def heard(self, kind: type[E]) -> list[E]:
        """The events of a type."""
        return [event for event in self.events if isinstance(event, kind)]

    def troubles(self) -> list[str]:
        """The words of all troubles."""
        return [event.code for event in self.heard(WarningEvent)]

    def send(self, to: "Device", *texts: str, **options: Any) -> list[str]:
        """Put texts into the outbox; their message ids."""
        return [self.messenger.send_text(to.id, text, **options).message_id for text in texts]

    def waiting(self) -> list[records.ReceivedRecord]:
        """The received texts that were not handled, oldest first."""
        found, position = [], 0
        while (following := self.messenger.next_received(position)) is not None:
            position, record = following
            found.append(record)
        return found

    def read_all(self) -> list[str]:
        """Read everything; the texts."""
        found = self.waiting()
        for record in found:
            self.messenger.mark_read(record.sender, record.message_id)
        return [record.text or "" for record in found]

    def states(self, numbers: list[str]) -> set[DeliveryState | None]:
        """How far these texts have come."""
        return {self.messenger.state_of(number) for number in numbers}

    def own_text(self, number: str) -> str | None:
        """What is left of a text of one's own."""
        record = self.vault.get(records.SENT, number, SentRecord)
        assert record is not None
        return record.text

    def frames_sent(self, kind: str) -> list[Frame]:
        """The frames of a type that the relay got."""
        return [frame for frame in self.sent if frame["type"] == kind]


def settle(*devices: Device) -> None:
    """Move frames until nothing moves."""
    for _ in range(100_000):
        for device in devices:
            device.fetch()
        moved = [device.step_up() | device.step_down() for device in devices]
        if not any(moved):
            return
    raise AssertionError("the devices never come to rest")


def pass_time(milliseconds: int, *devices: Device, step: int = SECOND, reconnect: bool = False) -> None:
    """Let time pass in steps; at each the timers fire and frames move until nothing moves."""
    world = devices[0].world
    for past in range(0, milliseconds, step):
        world.clock.advance(min(step, milliseconds - past))
        world.tick()
        for device in devices:
            if reconnect and not device.is_connected and device.may_reconnect:
                device.connect()
            device.messenger.tick()
            device.hear()
        settle(*devices)


class Town:
    """A simulated relay and the devices that live there; ends with ``close``."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.made: list[Device] = []
        self.folder = folder
        self._stack = ExitStack()

    def device(self, name: str, **options: Any) -> Device:
        """A device that has not connected yet."""
        made = Device(self.world, self.folder / name, name, **options)
        self._stack.callback(made.close)
        self.made.append(made)
        return made

    def devices(self, *names: str) -> list[Device]:
        """Devices that are logged in and have published their prekeys."""
        return [self.device(name).login() for name in names]

    def friends(self, *names: str) -> list[Device]:
        """As ``devices``; each has written to each other, and nothing of it is left to see."""
        made = self.devices(*names)
        for one in made:
            for other in made:
                if one is not other:
                    one.messenger.contacts.add(other.name, other.id)
                    one.send(other, "hello")
        settle(*made)
        for one in made:
            assert len(one.read_all()) == len(made) - 1
        settle(*made)
        pass_time(3 * SECOND, *made)
        for one in made:
            one.events.clear()
            one.sent.clear()
            one.received.clear()
        return made

    def close(self) -> None:
        self._stack.close()


def moved(device: Device, file: Path) -> Device:
    """The device's owner imports the file on a new machine, and goes on there."""
    export_profile(device.vault, file, WORDS)
    if device.is_connected:
        device.cut()
    path = device.folder / "new machine.vault"
    device.vault.close()
    import_profile(file, WORDS, path, KEY)
    device._lives += 1
    device._start(path)
    device.events.clear()
    return device


def claim(device: Device, raw: bytes = CLAIMED) -> Device:
    """Let a device use an id that says nothing of its key, as a client of somebody else's making may."""
    messenger = device.messenger
    device.id = messenger.user_id = base64.b64encode(raw).decode()
    messenger._stores.conversations._own_id = messenger._stores.prekeys._own_id = raw
    messenger._sending._own_id = messenger._receiving._user_id = messenger.contacts._own_id = device.id
    return device


def without_field(frame: Frame, *names: str) -> Frame:
    """A frame whose payload lacks some fields."""
    return {**frame, "payload": {name: value for name, value in frame["payload"].items() if name not in names}}


def with_field(frame: Frame, **fields: Any) -> Frame:
    """A frame whose payload has other fields."""
    return {**frame, "payload": {**frame["payload"], **fields}}


def resealed(party: Party, to: Party, plaintext: bytes) -> frames.RoutedMessage:
    """A message with any content at all, under the session in use."""
    chosen, *others = party.sessions(to)
    after, sealed = suites.encrypt(chosen, plaintext, party.random)
    with party.vault.transaction() as tx:
        party.conversations._store(tx, party.conversations.load(to.id), [after, *others])
    return party.routed(to, sealed, "00000000-0000-4000-8000-00000000000f")


def again(device: Any, peer: Any, number: str, *, now: int | None = None) -> int:
    """Put a text back into the outbox as if its recipient had asked for it; how many were put back."""
    messenger = device.messenger
    at = messenger._clock.now() if now is None else now
    with messenger._vault.transaction() as tx:
        count: int = messenger._stores.outbox.resend(tx, peer.id, [number], at, peer.messenger._identity.peer.public)
    return count
