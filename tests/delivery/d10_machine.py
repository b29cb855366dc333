"""One relay in a simulation and its model, driven by hypothesis."""

import base64
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar, Final
from unittest.mock import patch

from d10_model import BACKLOG, STRANGER, STRANGERS, Entry, Line, Model, Told
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from phantom_messenger.engines.postgres import PostgresStore, calls
from phantom_messenger.engines.sqlite import SQLiteStore, stranger_quota
from phantom_messenger.relay.ports import Store
from support.people import Frame, key_text
from support.postgres_server import PostgresServer
from support.simulated import HOUR, MINUTE, SECOND, Client, World

NAMES: Final = ("alice", "bob", "carol")
NOBODY: Final = key_text("nobody")
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a file system; the folder in it has a random name
LOGIN_MS: Final = 30_000
SWEEP_AGAIN_MS: Final = 10_000
MOST_LINES: Final = 6
DAY: Final = 24 * HOUR
BOUNDS: Final = {"MAX_BACKLOG": BACKLOG, "MAX_STRANGERS_BACKLOG": STRANGERS, "MAX_STRANGER_BACKLOG": STRANGER}

Effect = Callable[[int, bool], None]
"""What the store is to do for a frame: called with the time of the answer, and whether the disk is full."""

numbers = st.integers(0, 1_000)
names = st.sampled_from(NAMES)
lifetimes = st.sampled_from([None, None, HOUR, *(seconds * SECOND for seconds in (1, 2, 3, 5, 8, 13, 20))])
passes = st.sampled_from([(1, SECOND), (3, SECOND), (6, SECOND), (2, 10 * SECOND), (11, MINUTE)])
jumps = st.sampled_from([-400 * DAY, -HOUR, -MINUTE, MINUTE, HOUR, 400 * DAY])


class MemoryMachine(RuleBasedStateMachine):
    """Rules, and after each of them: what came is what the model says, and nothing else."""

    by_mailbox: ClassVar[bool] = False
    """How the engine orders what expires in one millisecond: see ``Model``."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = ExitStack()
        for name, value in BOUNDS.items():
            for engine in (stranger_quota, calls):
                self.ending.enter_context(patch.object(engine, name, value))
        self.model = Model(by_mailbox=self.by_mailbox)
        self.world = World(store=self.opened())
        self.people = {name: self.world.person(name) for name in NAMES}
        self.clients: dict[Line, Client] = {}
        self.lines = 0
        self.received: dict[str, list[Entry]] = {name: [] for name in NAMES}
        self.sent: list[tuple[str, str, str, str]] = []
        self.waiting: list[Effect] = []
        self.is_sweeping = False
        self.sweep_at = 0

    # --- the engine ---------------------------------------------------------------

    def opened(self) -> Store:
        """A new store."""
        return SQLiteStore(None)

    def reopened(self) -> Store:
        """The store after the process has died; one in memory lives on."""
        store: Store = self.world.store
        return store

    # --- helpers ------------------------------------------------------------------

    @property
    def now(self) -> int:
        """On a clock that nobody sets."""
        return self.world.clock.monotonic_ms()

    @property
    def is_held(self) -> bool:
        return self.world.writer.holding

    def guests(self) -> list[Line]:
        """Connections that have not asked for a login."""
        return [line for line in self.clients if not (line.is_dead or line.has_asked)]

    def users(self) -> list[Line]:
        """Connections that are logged in."""
        return [line for line in self.clients if line.is_open]

    def put(self, line: Line, frame: Frame, effect: Effect) -> None:
        """A frame arrives; what the store is to do for it waits while the store does."""
        self.waiting.append(effect)
        self.clients[line].put(frame)
        self.run()

    def run(self) -> None:
        self.world.run()
        if not self.is_held:
            while self.waiting:
                self.waiting.pop(0)(self.now, self.world.writer.full)

    def sleep(self, milliseconds: int) -> None:
        """Time passes; those who are there have sent a PING before."""
        for line in self.users():
            self.put(line, self.people[line.user].ping(), lambda _, full, line=line: self.model.ping(line, full=full))  # type: ignore[misc]
        self.world.clock.advance(milliseconds)

    def step(self, milliseconds: int) -> None:
        """Time passes, then the timer fires."""
        self.sleep(milliseconds)
        for line in self.clients:
            if not line.is_open and self.now - line.opened_at >= LOGIN_MS:
                line.close(4000)
        if not self.is_sweeping and self.now >= self.sweep_at:
            self.sweep()
        self.world.relay.tick()
        self.run()

    def sweep(self) -> None:
        """Until nothing is found, each step behind what else waits for the store."""
        asked_at, self.is_sweeping = self.now, True

        def effect(now: int, full: bool) -> None:
            self.is_sweeping = False
            if full:
                self.sweep_at = now + SWEEP_AGAIN_MS
            elif self.model.sweep(asked_at, now):
                self.sweep()

        self.waiting.append(effect)

    # --- connections --------------------------------------------------------------

    @initialize(count=st.integers(0, len(NAMES)), friends=st.booleans())
    def some_are_there(self, count: int, friends: bool) -> None:
        for name in NAMES[:count]:
            self.login(name)
        if friends:
            for line in self.users():
                for to in NAMES[:count]:
                    self.message(line, to, self.people[line.user].new_message_id(), None)

    @precondition(lambda self: len(self.clients) < MOST_LINES)
    @rule(name=names)
    def login(self, name: str) -> None:
        self.connect(name)
        self.auth(-1)

    def connect(self, name: str) -> None:
        self.lines += 1
        line = Line(name, self.now, self.lines)
        self.clients[line] = self.world.connect(self.people[name])
        line.address = self.clients[line].session.address

    @precondition(lambda self: self.guests())
    @rule(number=numbers)
    def auth(self, number: int) -> None:
        found = self.guests()
        line, asked_at = found[number % len(found)], self.now
        line.has_asked = True
        frame = self.clients[line].auth(["ack"])
        if asked_at - line.opened_at > LOGIN_MS:  # and the timer has not fired yet
            line.tell("AUTH_FAILURE")
            line.close(4001)
            self.clients[line].put(frame)
            self.run()
            return

        def login(now: int, full: bool) -> None:
            self.model.login(line, asked_at, now, full=full)

        def ask(now: int, full: bool) -> None:
            """Somebody new counts first, and gets an account behind what waits by then, if still connected."""
            if full or line.user in self.model.accounts:
                login(now, full)
            elif not line.is_dead:
                self.waiting.append(login)

        self.put(line, frame, ask)

    @rule(
        what=st.sampled_from(
            ["connect", "speak", "cut", "cut", "kill", "restart", "skew", "skew", "fill", "hold", "scrub"]
        ),
        number=numbers,
        jump=jumps,
    )
    def disturb(self, what: str, number: int, jump: int) -> None:
        """What people do not mean to happen."""
        match what:
            case "connect" if len(self.clients) < MOST_LINES:
                self.connect(NAMES[number % len(NAMES)])
            case "speak" if self.guests():
                self.speak(self.guests()[number % len(self.guests())])
            case "cut" if self.clients:
                self.cut(list(self.clients)[number % len(self.clients)])
            case "kill":
                self.waiting.clear()
                self.start_again()
            case "restart":
                self.restart()
            case "skew":
                self.world.clock.wall += jump
            case "fill":
                self.world.writer.full = True
            case "hold":
                self.world.writer.holding = True
            case "scrub":
                self.world.store.scrub()

    def speak(self, line: Line) -> None:
        """Before the login."""
        line.tell("error", 1002, "not-authenticated")
        line.close(4000)
        self.clients[line].put(self.people[line.user].message(self.people["bob"]))
        self.run()

    def cut(self, line: Line) -> None:
        self.model.leave(line)
        self.clients.pop(line).drop()
        self.run()

    def restart(self) -> None:
        """As it is asked to: what is on its way is done before."""
        if self.is_held:
            self.go_on(is_full=False)
            self.check()
        stopped: list[bool] = []
        self.world.relay.stop(lambda: stopped.append(True))
        self.run()
        assert stopped
        for line in self.clients:
            line.close(1001)
        self.check()
        self.start_again()

    def start_again(self) -> None:
        """A new process, perhaps after a kill: what the writer held is lost."""
        self.world.writer.full = False
        self.clients.clear()
        self.model.here.clear()
        self.is_sweeping, self.sweep_at = False, 0
        self.world = World(store=self.reopened(), clock=self.world.clock)

    # --- frames -------------------------------------------------------------------

    @precondition(lambda self: self.users())
    @rule(
        messages=st.lists(st.tuples(numbers, st.sampled_from((*NAMES, *NAMES, "")), lifetimes), min_size=2, max_size=8)
    )
    def send(self, messages: list[tuple[int, str, int | None]]) -> None:
        for number, to, lifetime in messages:
            line = self.user(number)
            self.message(line, to, self.people[line.user].new_message_id(), lifetime)

    @precondition(lambda self: self.users() and self.sent)
    @rule(number=numbers, which=numbers, to_another=st.booleans(), encrypted_again=st.booleans(), lifetime=lifetimes)
    def send_again(
        self, number: int, which: int, to_another: bool, encrypted_again: bool, lifetime: int | None
    ) -> None:
        """The same, for no answer came, or encrypted again, for its recipient could not read it."""
        line = self.user(number)
        own = [one for one in self.sent if one[0] == line.user and one[1]] or self.sent
        _, to, name, text = own[-1 - which % len(own)]
        to = NAMES[which % len(NAMES)] if to_another else to
        self.message(line, to, name, lifetime, None if encrypted_again else text)

    def user(self, number: int) -> Line:
        found = self.users()
        return found[number % len(found)]

    def message(self, line: Line, to: str, name: str, lifetime: int | None, text: str | None = None) -> None:
        """Send one; with a text of its own, as if it was encrypted just now, if none is given."""
        text = text or base64.b64encode(f"text {len(self.sent)}".encode()).decode()
        self.sent.append((line.user, to, name, text))
        frame = self.people[line.user].message(
            self.people[to] if to else NOBODY,
            message_id=name,
            encrypted=text,
            metadata=None if lifetime is None else {"expiresIn": lifetime},
        )
        asked_at = self.now
        self.put(
            line,
            frame,
            lambda now, full: self.model.send(
                line, to, name, text, lifetime=lifetime, asked_at=asked_at, now=now, full=full
            ),
        )

    def acknowledge(self, number: int, which: int, status: str) -> None:
        """A message that was received at any time, or one of another name."""
        line = self.user(number)
        known = [entry for entry in self.received[line.user] if entry.kind == "message"]
        sender, name = NAMES[which % len(NAMES)], self.people[line.user].new_message_id()
        if known and which % 10:
            sender, name = known[-1 - which % len(known)].sender, known[-1 - which % len(known)].name
        payload = {"messageId": name, "senderId": self.people[sender].id, "status": status}
        asked_at = self.now
        self.put(
            line,
            self.people[line.user].frame("MESSAGE_ACK", payload),
            lambda now, full: self.model.acknowledge(line, sender, name, status, asked_at=asked_at, now=now, full=full),
        )

    @precondition(lambda self: self.users())
    @rule(
        acks=st.lists(
            st.tuples(numbers, numbers, st.sampled_from(["delivered", "read", "burned"])), min_size=1, max_size=4
        )
    )
    def ack(self, acks: list[tuple[int, int, str]]) -> None:
        for number, which, status in acks:
            self.acknowledge(number, which, status)

    @precondition(lambda self: self.users())
    @rule(number=numbers, which=numbers)
    def confirm(self, number: int, which: int) -> None:
        line = self.user(number)
        known = self.received[line.user]
        seq = (known[-1 - which % len(known)].seq or 0) if known else which
        self.put(
            line,
            self.people[line.user].confirm(seq),
            lambda _, full: self.model.confirm(line, seq, full=full),
        )

    # --- time, disk, life and death -----------------------------------------------

    @rule(how=passes, ticks=st.booleans())
    def expire(self, how: tuple[int, int], ticks: bool) -> None:
        """Time passes, in steps; the timer may be late."""
        for _ in range(how[0]):
            if ticks:
                self.step(how[1])
            else:
                self.sleep(SECOND)

    @precondition(lambda self: self.world.writer.full or self.is_held)
    @rule(is_full=st.booleans())
    def go_on(self, is_full: bool) -> None:
        """There is room again; what was held is done now, or found no room."""
        self.world.writer.full = is_full and self.is_held
        self.world.writer.holding = False
        self.world.writer.run_held()
        self.run()
        self.world.writer.full = False

    # --- what must hold -----------------------------------------------------------

    @invariant()
    def check(self) -> None:
        """Each connection got what it was to get, in order, and nothing else."""
        for line, client in list(self.clients.items()):
            expected, line.told = line.told, []
            found = [frame for frame in client.take() if not self.is_presence(line, frame)]
            assert list(map(self.told, found)) == [what for what, _ in expected], f"to {line.user}"
            for frame, (_, entry) in zip(found, expected, strict=True):
                if entry is not None:
                    self.note_number(line, entry, frame["seq"])
            assert client.close_code() == line.close_code
            if line.is_dead:
                self.model.leave(line)
                del self.clients[line]

    def note_number(self, line: Line, entry: Entry, seq: int) -> None:
        """The order of a mailbox grows, and an item keeps its number."""
        assert seq > line.last_seq, f"to {line.user}: {seq} after {line.last_seq}"
        assert entry.seq in (None, seq), f"to {line.user}: {seq} was {entry.seq}"
        line.last_seq, entry.seq = seq, seq
        known = self.received[line.user]
        if entry not in known:
            assert seq > max((one.seq or 0 for one in known if one.born < entry.born), default=0), "given before"
            known.append(entry)

    def is_presence(self, line: Line, frame: Frame) -> bool:
        """Presence is not followed here; but only contacts are told."""
        if frame["type"] != "PRESENCE":
            return False
        assert self.model.are_contacts(line.user, self.name_of(frame["payload"]["userId"]))
        return True

    def name_of(self, user_id: str) -> str:
        return next((name for name, person in self.people.items() if person.id == user_id), "")

    def told(self, frame: Frame) -> Told:
        payload = frame.get("payload", {})
        match frame["type"]:
            case "MESSAGE":
                return "message", self.name_of(payload["senderId"]), payload["messageId"], payload["encrypted"]
            case "MESSAGE_ACK" if payload["status"] == "accepted":
                return "accepted", self.name_of(payload["recipientId"]), payload["messageId"]
            case "MESSAGE_ACK":
                return "receipt", self.name_of(payload["recipientId"]), payload["messageId"], payload["status"]
            case "ERROR":
                return "error", payload["code"], payload["details"]["reason"]
            case other:
                return (other,)

    def teardown(self) -> None:
        """Everybody logs in once more, to a relay that was started again."""
        try:
            self.world.writer.full = False
            self.restart()
            for name in NAMES:
                self.login(name)
                self.check()
        finally:
            self.world.close()
            self.ending.close()


class FolderMachine(MemoryMachine):
    """The same on a store in a folder."""

    def opened(self) -> SQLiteStore:
        found = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.folder = Path(self.ending.enter_context(found))
        self.lives = 0
        return SQLiteStore(self.folder / "0")

    def reopened(self) -> SQLiteStore:
        """On the files as they are at this moment: nothing is closed before."""
        before, self.lives = self.folder / str(self.lives), self.lives + 1
        after = self.folder / str(self.lives)
        after.mkdir()
        for name in ("relay.db", "relay.db-wal"):
            shutil.copy(before / name, after / name)
        self.world.store.close()
        shutil.rmtree(before)
        self.model.forget_removed()
        return SQLiteStore(after)


class PostgresMachine(MemoryMachine):
    """The same on PostgreSQL, where a relay that is started again finds what was deleted a moment ago."""

    by_mailbox = True  # its mailboxes are numbered one by one: nothing says which of two was written to first
    server: ClassVar[PostgresServer]
    template: ClassVar[str]

    def opened(self) -> Store:
        self.url = self.server.make_database(self.template)
        self.ending.callback(self.server.drop_database, self.url)
        return PostgresStore(self.url)

    def reopened(self) -> Store:
        self.world.store.close()
        return PostgresStore(self.url)
