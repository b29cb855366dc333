"""A device of the simulation: a program on a vault that connects by itself, as ``client.Client`` does."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace
from simulation_checks import Checker
from simulation_network import Closed, Gone, Item, Opened, Setting, Wire
from simulation_relay import RelayPart

from phantom_messenger.client import link, records
from phantom_messenger.client.connect import OPEN_TIMEOUT
from phantom_messenger.client.errors import VaultError
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.reconnecting import Backoff
from phantom_messenger.client.records import OutboxRecord, ReceivedRecord
from phantom_messenger.client.status import ConnectionEvent, ConnectionState
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.wire.frames import Feature
from support.simulated import HOST, SECOND

KEY: Final = Secret("a random key of a keyring", stretched=False)
SHORTEST_TICK_MS: Final = 200
"""A program that is slow: from one tick to the next."""

UNBOUNDED: Final = 0xFFFF_FFFE


class DevicePart:
    """A program, the person before it, and its way to the relay.

    Args:
        setting: the run's.
        checker: hears what it hears.
        relay: where it connects.
        folder: for its vault.
        name: its own.
    """

    def __init__(self, setting: Setting, checker: Checker, relay: RelayPart, folder: Path, name: str) -> None:
        self._setting = setting
        self._checker = checker
        self._relay = relay
        self.name = name
        self.wall_error = 0
        self.boots = 1
        self.life = 0
        self.is_running = False
        self.asleep_until = 0
        self.loses_logins = False
        self.has_full_disk = False
        self.dies_unsent = False
        self.is_old = self._was_old = False
        self.wire: Wire | None = None
        self._is_open = False
        self._reason = ""
        self._backoff = Backoff()
        self._position = 0
        self._ticks = self._tick_at = 0
        self._path = folder / f"{name}.vault"
        self._start()
        self.id = self.messenger.user_id
        checker.names[self.id] = name

    @property
    def is_awake(self) -> bool:
        return self.is_running and self._setting.now >= self.asleep_until

    # --- life and death -------------------------------------------------------------

    def _start(self) -> None:
        clock = self._setting.clock
        self.vault = Vault(self._path, KEY)
        self.messenger = Messenger(
            self.vault,
            wall=lambda: clock.wall + self.wall_error,
            monotonic=clock.monotonic_ms,
            random=self._setting.randbytes(f"{self.name} {self.life}"),
            boot=f"boot {self.boots} of {self.name}",
            strangers="accept",
        )
        if self._was_old and not self.is_old:
            self._was_old = False
            self._find_old_contacts()
        self._watch_seals()
        if self._checker.extra is not None:
            self._checker.extra.watch(self.messenger)
        self._position = 0
        self._backoff = Backoff()
        self.is_running = True
        self._dial_in(0)

    def _watch_seals(self) -> None:
        """Let the checker hear in which suite something is encrypted."""
        messenger = self.messenger
        genuine = messenger._stores.conversations.seal

        def seal(tx: Any, state: Any, entry: OutboxRecord, *rest: Any) -> OutboxRecord:
            done = genuine(tx, state, entry, *rest)
            self._checker.sealed(messenger.user_id, entry.peer, done.sealed[0])
            return done

        messenger._stores.conversations.seal = seal  # type: ignore[method-assign, assignment] # of this messenger alone

    def kill(self, *, silently: bool) -> None:
        """The program dies; if ``silently``, its machine with it, and nobody is told."""
        setting = self._setting
        open_link = self.messenger._link
        if open_link is not None and open_link._outgoing:
            setting.happened("device killed with frames unsent")
        for entry in self.messenger._stores.outbox._in_flight.values():
            what = "receipt" if entry.text is None else "text"
            setting.happened(f"device killed with a {what} under way")
        if self.wire is not None:
            if silently:
                self.wire.lose()
            self.wire.up.send(Gone())
            self.wire = None
        before = self._path
        self._path = before.with_name(f"{self.name}-{self.life}.vault")
        for suffix in ("", "-wal"):
            shutil.copy(f"{before}{suffix}", f"{self._path}{suffix}")
        self._end()

    def _end(self) -> None:
        """The program has ended; somebody will start it again."""
        self.vault.close()
        self.is_running = self.dies_unsent = self.has_full_disk = False
        self.life += 1
        self._setting.after(self._setting.while_(), lambda life=self.life: self.restart(life))  # type: ignore[misc]

    def be_old(self) -> None:
        """The program knows suite 1 alone, until ``upgrade``."""
        self.is_old = self._was_old = True

    def upgrade(self) -> None:
        """The program gives way to one that knows suite 2."""
        self.is_old = False
        self._setting.happened("program upgraded", self.name)
        if self.is_running:
            self.kill(silently=False)

    def _find_old_contacts(self) -> None:
        """The contacts are as a program wrote them that knew suite 1 alone."""
        book = self.messenger._stores.book
        with self.vault.transaction() as tx:
            for user_id in book.user_ids():
                book.put(tx, replace(book.get(user_id), suite=0, newest=0, allows_older=False, asked_at=None))

    def restart(self, life: int) -> None:
        """Somebody starts the program again, unless it runs."""
        if life == self.life and not self.is_running:
            self._setting.note(f"{self.name} starts")
            self._start()

    def sleep(self, milliseconds: int) -> None:
        """The lid is closed: nothing moves, and then goes on as if nothing had been."""
        self.asleep_until = self._setting.now + milliseconds
        if self.wire is not None:
            self.wire.hold(milliseconds)

    def close(self) -> None:
        self.vault.close()

    # --- the connection -------------------------------------------------------------

    def _dial_in(self, milliseconds: int) -> None:
        self._setting.after(milliseconds, lambda life=self.life: self._dial(life))  # type: ignore[misc]

    def _dial(self, life: int) -> None:
        setting = self._setting
        if life != self.life or not self.is_running or self.wire is not None:
            return
        if not self.is_awake:
            self._dial_in(self.asleep_until - setting.now)
            return
        wire = self.wire = Wire(setting, self.name, self._relay.at_relay, self._at_device)
        self._is_open = False
        self._reason = ""
        setting.after(setting.delay(), lambda: self._relay.dialled(wire, f"address of {self.name}"))
        setting.after(int(OPEN_TIMEOUT * SECOND), lambda: self._give_up(wire))

    def _give_up(self, wire: Wire) -> None:
        if self.wire is wire and not self._is_open:
            self.lose("no answer")

    def break_wire(self, wire: Wire, fault: str) -> None:
        """One of the ways in which a connection breaks."""
        setting = self._setting
        if wire is not self.wire:
            return
        match fault:
            case "reset":
                wire.lose()
                setting.after(setting.delay(), lambda: self._relay.at_relay(wire, Gone()))
                self.lose("the connection was lost")
            case "leave":
                self.lose("the connection was lost")
            case "half-open":
                # What is on its way arrives late, and the relay does not hear that the device has gone.
                wire.up.hold(setting.while_())
                wire.down.lose()
                self.lose("the connection was lost", quietly=True)
            case "silence":
                wire.lose()
            case "deaf":
                wire.down.lose()
            case _:
                wire.hold(setting.while_())

    def lose(self, reason: str, code: int | None = None, *, quietly: bool = False) -> None:
        """The connection is gone, as far as the program knows; the relay is told, unless ``quietly``."""
        wire, self.wire = self.wire, None
        if wire is None:
            return
        if not quietly:
            wire.up.send(Gone())
        again = self.messenger.disconnected(code, reason)
        self._setting.note(f"{self.name} loses its connection: {code} {reason}")
        self._hear()
        if not again:
            self._end()
            return
        bound = self._backoff.ended(self._setting.now / SECOND)
        wait = (self.messenger.retry_after or 0) + self._setting.chance.uniform(0, bound) * SECOND
        self._dial_in(int(wait))

    def _at_device(self, wire: Wire, item: Item) -> None:
        if wire is not self.wire:
            return
        match item:
            case Opened():
                self._is_open = True
                if self.loses_logins and not self._setting.is_calm and self._setting.likely(0.3):
                    fault = self._setting.chance.choice(("half-open", "reset", "silence"))
                    self._setting.happened("login broken off")
                    self._setting.after(self._setting.chance.randint(0, 400), lambda: self.break_wire(wire, fault))
                with pytest.MonkeyPatch.context() as patch:
                    if self.is_old:
                        patch.setattr(link, "FEATURES", [Feature.ACK])
                    self.messenger.connected(HOST)
                self._tick(wire)
            case Gone():
                self.lose("the connection was lost" if self._is_open else "connection refused")
            case Closed():
                self.lose(item.reason, item.code)
            case bytes():
                with self._safely():
                    self.messenger.receive(item.decode())
                self._changed()

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """A vault that cannot be written ends the connection, as in ``client.Client``."""
        try:
            yield
        except VaultError:
            self._setting.happened("device cannot store")
            self.lose("the vault cannot be written")

    def _tick(self, wire: Wire, number: int = 0) -> None:
        if wire is not self.wire or number not in {0, self._ticks}:
            return
        if not self.is_awake:
            self._setting.after(self.asleep_until - self._setting.now, lambda: self._tick(wire))
            return
        with self._safely():
            self.messenger.tick()
        self._changed()
        self._tick_at = 0
        self._plan_tick(wire)

    def _plan_tick(self, wire: Wire) -> None:
        """Tick when the messenger wants it, also if that has become earlier."""
        wait = max(SHORTEST_TICK_MS, self.messenger.next_tick())
        if wire is self.wire and not self._setting.now <= self._tick_at <= self._setting.now + wait:
            self._ticks += 1
            self._tick_at = self._setting.now + wait
            self._setting.after(wait, lambda number=self._ticks: self._tick(wire, number))  # type: ignore[misc]

    def _changed(self) -> None:
        """As ``client.Client`` does after each call of the messenger."""
        self._hear()
        if self.messenger.is_online:
            self._backoff.online(self._setting.now / SECOND)
        wire, setting = self.wire, self._setting
        if wire is None:
            return
        open_link = self.messenger._link
        if self.dies_unsent and open_link is not None and open_link._outgoing:
            self.kill(silently=False)
        elif self.messenger.is_lost:
            self.lose(self._reason)
        elif not setting.is_calm and setting.likely(0.08):
            setting.after(setting.chance.randint(1, 300), lambda: self._pump(wire))
        else:
            self._pump(wire)
        if wire is self.wire and self._is_open and self._tick_at:
            self._plan_tick(wire)

    def _pump(self, wire: Wire) -> None:
        if wire is self.wire and self._is_open:
            for text in self.messenger.drain():
                self._setting.note(f"{self.name} sends {len(text)}")
                wire.up.send(text.encode())

    def _hear(self) -> None:
        if self.has_full_disk:
            self._checker.compare(self.id, self.messenger, self.vault)
            self._setting.counts["memory compared with a full disk"] += 1
        for event in self.messenger.drain_events():
            if isinstance(event, ConnectionEvent):
                self._reason = event.reason
                self._setting.note(f"{self.name} is {event.state}: {event.reason}")
                if event.state is ConnectionState.REPLACED:
                    self._checker.wrong(f"{self.name} was replaced by a connection of its own")
                if event.state is ConnectionState.REFUSED:
                    self._checker.wrong(f"the relay refused {self.name}: {event.reason}")
            self._checker.heard(self.id, event)

    # --- the person -----------------------------------------------------------------

    def write(self, to: "DevicePart", text: str, **options: Any) -> None:
        """Put a text into the outbox."""
        if not self.is_running:
            return
        try:
            entry = self.messenger.send_text(to.id, text, **options)
        except VaultError:
            kept = [entry for entry in self.messenger._stores.outbox._queue.in_order() if entry.text == text]
            if not kept:
                self._setting.happened("text that could not be written down")
                return
            self._checker.wrong(f"{self.name} was told that a text is not kept, and it is")
            entry = kept[0]
        burn, expires_in = options.get("burn", False), options.get("expires_in")
        self._checker.wrote(entry.message_id, self.id, to.id, text, burn=burn, expires_in=expires_in)
        self._changed()

    def add(self, other: "DevicePart") -> None:
        """Put somebody into the address book."""
        self._checker.added(self.id, other.id)
        with self._safely():
            self.messenger.contacts.add(other.name, other.id)
        self._changed()

    def take_next(self) -> tuple[str, str] | None:
        """The next text that waits is handed out; its sender and number."""
        if not self.is_running:
            return None
        try:
            found = self.messenger.next_received(self._position)
        except VaultError:
            self._setting.happened("device cannot store")
            return None
        if found is None:
            return None
        self._position, record = found
        self._checker.handed_out(self.id, record, self.life)
        return record.sender, record.message_id

    def finish(self, life: int, sender: str, number: str, *, read: bool) -> None:
        """The person is done with a text, if the program still runs that handed it out."""
        if life != self.life or not self.is_running:
            return
        try:
            if read:
                self.messenger.mark_read(sender, number)
            else:
                self.messenger.handled(sender, number)
        except VaultError:
            self._setting.happened("device cannot store")
            got = self.vault.get(records.RECEIVED, records.key(sender, number), ReceivedRecord)
            if got is None or not got.read:
                return
            self._checker.wrong(f"{self.name} was told that a text is not marked as read, and it is")
        self._checker.handled(number, read=read)
        self._changed()

    def fill_disk(self) -> None:
        """Nothing can be added to the vault any more, or nothing be written at all."""
        connection = self.vault._connection
        self.has_full_disk = True
        if self._setting.likely(0.5):
            connection.pragma("query_only", value=True)
        else:
            connection.pragma("max_page_count", connection.pragma("page_count"))

    def free_disk(self) -> None:
        """There is room again."""
        if self.is_running:
            self.has_full_disk = False
            self.vault._connection.pragma("query_only", value=False)
            self.vault._connection.pragma("max_page_count", UNBOUNDED)
