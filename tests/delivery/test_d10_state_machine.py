"""D10: any sequence of what can happen to a relay, compared with a model of plain lists."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from d10_machine import FolderMachine, MemoryMachine, PostgresMachine
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from phantom_messenger.engines.sqlite import store
from phantom_messenger.engines.sqlite.directory import SQLiteDirectory
from phantom_messenger.engines.sqlite.execute import execute
from phantom_messenger.engines.sqlite.mailboxes import SQLiteMailboxes
from phantom_messenger.engines.sqlite.stranger_quota import StrangerQuota
from phantom_messenger.engines.sqlite.tables import Tables
from phantom_messenger.engines.sqlite.tombstones import RecentlyDeleted
from phantom_messenger.relay.commands import AnyCommand, Expire
from phantom_messenger.relay.mailbox_push import MailboxPush
from phantom_messenger.relay.records import Item, Page
from phantom_messenger.relay.session import Session
from support.amounts import LONG, amount, seeds
from support.faults import Faults
from support.postgres_server import PostgresServer
from support.simulated import SECOND, Clock, SimulatedWriter

MACHINES = [MemoryMachine, FolderMachine]
STEPS = amount(50, 100)
FORM = settings(
    database=None,
    derandomize=not LONG,
    max_examples=seeds(8, 500),
    print_blob=LONG,
    stateful_step_count=STEPS,
    suppress_health_check=list(HealthCheck),
)
ON_POSTGRES = settings(FORM, max_examples=seeds(3, 100), phases=tuple(Phase) if LONG else [Phase.generate])
"""The short form shows what it finds as it was found. It waits for the server some thousand times, each time for its
turn: on a busy machine, making it smaller would outlast the limit of the test, which hides what was found."""


@pytest.mark.timeout(14_400 if LONG else 300)
@pytest.mark.parametrize("machine", MACHINES)
def test_relay_does_what_the_model_does(machine: type[MemoryMachine]) -> None:
    run_state_machine_as_test(machine, settings=FORM)


@pytest.mark.timeout(14_400 if LONG else 1_800)
def test_relay_on_postgres_does_what_the_model_does(on_postgres: type[MemoryMachine]) -> None:
    run_state_machine_as_test(on_postgres, settings=ON_POSTGRES)


def expire_in_one_millisecond(machine: MemoryMachine) -> None:
    """Bob hears of two messages in two mailboxes; the one to himself was stored first."""
    machine.some_are_there(count=2, friends=False)
    machine.send([(0, "bob", None), (1, "bob", SECOND)])
    machine.send([(0, "alice", None), (1, "alice", SECOND)])
    machine.check()
    machine.expire(how=(1, SECOND), ticks=True)
    try:
        machine.check()
    finally:
        machine.world.close()
        machine.ending.close()


@pytest.fixture
def on_postgres(postgres: PostgresServer, template: str, monkeypatch: pytest.MonkeyPatch) -> type[MemoryMachine]:
    monkeypatch.setattr(PostgresMachine, "server", postgres, raising=False)
    monkeypatch.setattr(PostgresMachine, "template", template, raising=False)
    return PostgresMachine


@pytest.mark.parametrize("machine", MACHINES)
def test_messages_that_expire_in_one_millisecond_go_in_the_order_in_which_they_were_stored(
    machine: type[MemoryMachine],
) -> None:
    expire_in_one_millisecond(machine())


def test_messages_that_expire_in_one_millisecond_go_mailbox_by_mailbox_on_postgres(
    on_postgres: type[MemoryMachine], monkeypatch: pytest.MonkeyPatch
) -> None:
    expire_in_one_millisecond(on_postgres())
    monkeypatch.setattr(on_postgres, "by_mailbox", False)
    with pytest.raises(AssertionError, match="to bob"):  # the control
        expire_in_one_millisecond(on_postgres())


def test_message_to_somebody_whose_first_login_is_under_way_comes_before_the_account() -> None:
    machine = MemoryMachine()
    machine.login("alice")
    machine.disturb(what="hold", number=0, jump=0)
    machine.login("carol")
    machine.send([(0, "alice", None), (0, "carol", None)])
    machine.go_on(is_full=False)
    machine.check()
    assert machine.model.accounts == {"alice", "carol"}
    machine.teardown()


# --- the controls: with a protection off, the machine finds it --------------------


def deletes_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteMailboxes, "acknowledge", lambda *_: True)


def knows_nothing_of_removed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RecentlyDeleted, "holds", lambda *_: False)


def takes_messages_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteMailboxes, "_entry_of", lambda *_: None)


def replaces_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteMailboxes, "_is_same", lambda *_: True)


def replaces_what_is_the_same(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteMailboxes, "_is_same", lambda *_: False)


def expires_early(patch: pytest.MonkeyPatch) -> None:
    expire = SQLiteMailboxes.expire
    patch.setattr(
        SQLiteMailboxes, "expire", lambda self, now, limit, **how: expire(self, now + 2 * SECOND, limit, **how)
    )


def never_expires(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteMailboxes, "expire", lambda *_, **__: [])


def delivers_what_has_expired(patch: pytest.MonkeyPatch) -> None:
    read = SQLiteMailboxes.read
    patch.setattr(SQLiteMailboxes, "read", lambda self, user, after, size, _: read(self, user, after, size, 0))
    patch.setattr(MailboxPush, "push", push_anyway)


def push_anyway(mailboxes: MailboxPush, session: Session, item: Item) -> None:
    session.cursor.last_pushed = item.seq
    mailboxes._replies.send(session, item.text)


def follows_the_wall_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Clock, "persistent_ms", Clock.wall_ms)


def tells_strangers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SQLiteDirectory, "has_written", lambda *_: True)


def reads_backwards(patch: pytest.MonkeyPatch) -> None:
    read = SQLiteMailboxes.read

    def backwards(self: SQLiteMailboxes, user: str, after: int, size: int, now: int) -> Page:
        page = read(self, user, after, size, now)
        return Page(page.items[::-1], complete=page.complete)

    patch.setattr(SQLiteMailboxes, "read", backwards)


def gives_numbers_again(patch: pytest.MonkeyPatch) -> None:
    """Counting goes on behind what waits, not behind what was ever given."""

    def again(self: SQLiteMailboxes, account: int) -> int:
        self._reserved[account] = 0
        return int(
            self._connection.execute("SELECT 1 + ifnull(max(seq), 0) FROM items WHERE recipient = ?", (account,)).get
        )

    patch.setattr(SQLiteMailboxes, "_reserve", again)


def forgets_what_was_accepted(patch: pytest.MonkeyPatch) -> None:
    """Accepted before it is on disk: what the writer holds when the process dies is lost."""
    call = SimulatedWriter.__call__

    def early(self: SimulatedWriter, commands: Sequence[AnyCommand], done: Callable[[list[Any]], None]) -> None:
        with pytest.MonkeyPatch.context() as undoing:
            undoing.setattr(store, "execute", undone)
            results = [failed.error.args[0] for failed in self.store.run(commands)]
        is_sweep = any(isinstance(command, Expire) for command in commands)
        if self.holding and not is_sweep:  # which would go on for ever
            self._schedule(lambda: done(results))
        else:
            call(self, commands, done)

    patch.setattr(SimulatedWriter, "__call__", early)


class Done(Exception):
    """Carries the result of a command that is undone."""


def undone(tables: Tables, command: AnyCommand) -> None:
    raise Done(execute(tables, command))


def has_no_bounds(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StrangerQuota, "take", lambda *_: True)


FAULTS = [
    deletes_nothing,
    knows_nothing_of_removed,
    takes_messages_twice,
    replaces_nothing,
    replaces_what_is_the_same,
    expires_early,
    never_expires,
    delivers_what_has_expired,
    follows_the_wall_clock,
    tells_strangers,
    reads_backwards,
    gives_numbers_again,
    forgets_what_was_accepted,
    has_no_bounds,
]


@seed(0)
class SeededMachine(MemoryMachine):
    """With this seed each of the faults is found soon; any other one will do."""


@pytest.mark.parametrize("fault", FAULTS)
def test_machine_finds_a_fault(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None], faults: Faults
) -> None:
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            SeededMachine, settings=settings(FORM, derandomize=True, max_examples=500, phases=[Phase.generate])
        )
    faults.take()  # some of them the relay notices itself
