"""The store on PostgreSQL: a batch of commands is one transaction, and one round trip.

The database may be a single server or one that keeps what is committed on other servers too; ``Durability`` says which,
and each transaction makes sure of it. What the relay is told is committed has been: if the answer to a commit does not
come, or comes with a warning, the commands of the batch have failed, and their clients send again, under the same ids.
"""

import contextlib
import math
import secrets
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import psycopg
from msgspec import structs
from psycopg import sql

from phantom_messenger.clock import ClockSnapshot, boot_id, since_boot_ms
from phantom_messenger.engines.postgres import arrays, calls, schema
from phantom_messenger.engines.postgres.arrays import Blobs, Numbers, Texts
from phantom_messenger.engines.postgres.batches import Group, grouped, locked_by, session_of
from phantom_messenger.engines.postgres.connect import (
    Durability,
    Fault,
    connect,
    fault_of,
    refuse_old,
    take_place,
    unusable,
)
from phantom_messenger.engines.postgres.erasure import Erasure
from phantom_messenger.engines.postgres.statements import Row, Setting, Statement, columns
from phantom_messenger.engines.postgres.watchdog import Watchdog
from phantom_messenger.events import Event, log
from phantom_messenger.relay import commands
from phantom_messenger.relay.commands import (
    SESSION_OVER,
    Actor,
    AnyCommand,
    CommandFailed,
    Expired,
    IdleAccounts,
    StoreReceipts,
)
from phantom_messenger.relay.records import ItemKind
from phantom_messenger.wire.frames import Status

MAX_BATCH: Final = 512
"""Commands in one transaction."""

LEAST_BATCH: Final = 64
"""So many are not divided however slow the database seems: what takes long may take as long for one of them."""

_DIAL_SECONDS: Final = 1.0
"""Between two attempts to connect; commands fail at once meanwhile."""

_FULL_SECONDS: Final = 10.0
"""After a disk was found to be full, until it counts as having room again."""

_ATTEMPTS: Final = 5
"""At a transaction that was in the way of another one."""

_SESSION: Final = {
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    # Everything is found by a key, for each element of the arrays of a call. The server, which estimates from tables
    # that are nearly always empty, would read whole partitions instead, and keep that plan when they are full.
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
    "lock_timeout": "10s",
    "plan_cache_mode": "force_generic_plan",
    "statement_timeout": "30s",
    "synchronous_commit": "on",
    "tcp_keepalives_count": "3",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_user_timeout": "20s",
}
_SESSIONS_OVER: Final = "PH002"
"""Raised by ``begin_batch``, with the numbers of the sessions."""

_AGAIN: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.ForeignKeyViolation,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UniqueViolation,
)
"""What a second try, which sees what another transaction has committed, does not meet again."""

_LATER: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.InsufficientResources,
    psycopg.errors.ReadOnlySqlTransaction,
)


_STANDBYS: Final = "SELECT current_setting('synchronous_standby_names')"
_TAKEN: Final = Statement("SELECT (extract(epoch FROM clock_timestamp() - now()) * 1000)::float8")
"""How many milliseconds the transaction has taken so far."""

_LEAST_MS: Final = 0.01
"""That a command takes."""

_ALONE: Final = (commands.Expire, commands.FindIdleAccounts)
"""What takes more than one round trip, and is a transaction of its own."""
_LATER_FAULTS: Final = {Fault.NOT_KEPT, Fault.RIGHTS, Fault.NEWER}


class _NotKept(Exception):
    """A commit came back with a warning: it may not be on the standbys."""


class _NotDialled(psycopg.OperationalError):
    """It is too early to try again."""


class PostgresStore:
    """A store in a PostgreSQL database; see ``relay.ports`` for the contract.

    Args:
        url: ``postgresql://user:password@host:port/database``; several hosts with commas between them.
        durability: what a commit means.
        mailbox_bytes: of one mailbox, about; None if that is not limited.

    Raises:
        StoreError: the database cannot be reached or used.
    """

    def __init__(
        self, url: str, *, durability: Durability = Durability.SINGLE, mailbox_bytes: int | None = None
    ) -> None:
        self._url = url
        self._durability = durability
        self._mailbox_bytes = mailbox_bytes
        self._relay = secrets.token_hex(8)
        self._warnings: list[str] = []
        self._looked_up_to = (0, 0)
        self._erasure = Erasure(url)
        self._watchdog = Watchdog()
        self._dial_at = time.monotonic()
        self._is_failing = False
        self._remembers = True
        """See ``Setting``."""
        self._full_until = 0.0
        """The disk counts as full until then: what takes no room goes well meanwhile."""
        self._fault: Fault | None = None
        """Why the database cannot be used, as the log has it."""
        self._ms_a_command = 0.1
        """Without the commit: that takes as long for one as for many."""
        try:
            self._connection: psycopg.Connection[Row] | None = self._connect()
        except (psycopg.Error, schema.NewerSchema) as error:
            raise unusable(error, url) from None

    def time(self) -> ClockSnapshot:
        """Now, in the persistent time that all relays on the database share.

        Raises:
            StoreError: the database has gone away since the store was made.
        """
        assert self._connection is not None  # noqa: S101 - it has just been made
        boot, before = boot_id(), since_boot_ms()
        try:
            with self._watchdog.over(self._connection):
                row = self._connection.execute("SELECT * FROM begin_clock(%s, %s)", (boot, before)).fetchone()
        except psycopg.Error as error:
            raise unusable(error, self._url) from None
        assert row is not None  # noqa: S101 - a function with one row
        between = (before + since_boot_ms()) // 2
        return ClockSnapshot(boot, between, *row)

    @property
    def is_out_of_space(self) -> bool:
        """See ``relay.ports.Store``."""
        return self._fault is not None or time.monotonic() < self._full_until

    def _connect(self) -> "psycopg.Connection[Row]":
        connection = connect(self._url)
        try:
            refuse_old(connection)
            with self._watchdog.over(connection):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        arrays.register(connection)
        connection.prepare_threshold = 0
        connection.add_notice_handler(self._notice)
        return connection

    def _prepare(self, connection: "psycopg.Connection[Row]") -> None:
        connection.execute(
            "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS s (name, value)",
            (list(_SESSION), list(_SESSION.values())),
        )
        take_place(connection)
        schema.install(connection)
        connection.execute(
            sql.SQL("SET search_path = {}, {}").format(
                sql.Identifier(schema.functions_schema()), sql.Identifier(schema.TABLES)
            )
        )
        connection.execute("SELECT begin_batch(%s, '{}', '{}')", (self._durability,))

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.sqlstate or "")

    def run(self, commands: Sequence[AnyCommand], *, budget_ms: int | None = None) -> list[Any]:
        """See ``relay.ports.Store``."""
        results: list[Any] = []
        deadline = None if budget_ms is None else time.monotonic() + budget_ms / 1_000
        while len(results) < len(commands):
            count = MAX_BATCH if deadline is None else self._count_until(deadline)
            batch = commands[len(results) : len(results) + count]
            results += self._run_batch(batch)
            if self._is_failing and not self._is_full:  # the database is away: so it is for the others
                rest = len(commands) - len(results)
                return results + [results[-1]] * rest if isinstance(results[-1], CommandFailed) else results
            if deadline is not None and time.monotonic() >= deadline:
                break
        return results

    def _count_until(self, deadline: float) -> int:
        """How many commands are begun in what is left of the time."""
        left = (deadline - time.monotonic()) * 1_000
        return min(MAX_BATCH, max(LEAST_BATCH, int(left / self._ms_a_command))) if left > 0 else 1

    def scrub(self) -> bool:
        """See ``relay.ports.Store``."""
        self._erasure.begin()
        return True

    def erase(self) -> None:
        """Have deleted messages leave the files of the database, as ``scrub`` does beside, and wait for it."""
        self._erasure.run()

    def give_up(self) -> None:
        """See ``relay.ports.Store``."""
        self._dial_at = math.inf
        self._watchdog.cut()

    def close(self) -> None:
        """Close; idempotent."""
        self._watchdog.close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- transactions ---------------------------------------------------------------------

    def _run_batch(self, batch: Sequence[AnyCommand]) -> list[Any]:
        """Run commands as one transaction, or each as its own if one of them fails; fewer if the database is away."""
        results: list[Any] = []
        for part in _parts(batch):
            results += self._run_part(part)
            if self._is_failing and not self._is_full:  # the others would wait as long for it, one after another
                break
        return results

    def _run_part(self, part: Sequence[AnyCommand]) -> list[Any]:
        try:
            results = self._transact(part)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever it was, nothing counts as stored
            failed = self._failed(error)
            if len(part) > 1 and (self._is_full or not failed.is_out_of_space):
                # Each alone: the others are not to fail for the one at fault.
                return [result for one in part for result in self._run_part([one])]
            if self._is_full and (found := self._remove(part[0])):
                return found
            return [failed] * len(part)
        self._is_failing = False
        if not isinstance(part[0], _ALONE):  # which may have found nothing to write
            self._fault = None
        return results

    def _remove(self, command: AnyCommand) -> list[Any]:
        """What finds no room is removed with less: it makes room. Empty if nothing less can be done for a command."""
        if isinstance(command, commands.Acknowledge) and command.may_notify:
            return self._run_part([structs.replace(command, may_notify=False)])
        if not (self._remembers and isinstance(command, commands.Acknowledge | commands.AcknowledgeHidden)):
            return []
        self._remembers = False
        try:
            return self._run_part([command])
        finally:
            self._remembers = True

    def _failed(self, error: Exception) -> CommandFailed:
        fault = self._fault_of(error)
        is_later = isinstance(error, _LATER) or fault in _LATER_FAULTS
        if is_later:
            self._is_failing = True
            if fault is not self._fault:
                log(Event.DATABASE_UNUSABLE, reason=fault.value)
            self._fault = fault
            if self._is_full:
                self._full_until = time.monotonic() + _FULL_SECONDS
        if self._connection is not None and self._connection.broken:
            self._disconnect()
        return CommandFailed(error, is_out_of_space=is_later)

    @property
    def _is_full(self) -> bool:
        return self._fault is Fault.DISK_FULL

    def _fault_of(self, error: Exception) -> Fault:
        if isinstance(error, _NotDialled) and self._fault is not None:
            return self._fault
        if isinstance(error, _NotKept):
            return Fault.NOT_KEPT
        fault = fault_of(error)
        return Fault.NO_ANSWER if fault is Fault.UNREACHABLE and self._watchdog.has_cut else fault

    def _transact(self, batch: Sequence[AnyCommand]) -> list[Any]:
        if self._connection is None:
            if time.monotonic() < self._dial_at:
                raise _NotDialled("the database was not there a moment ago")
            self._dial_at = time.monotonic() + _DIAL_SECONDS
            self._connection = self._connect()
            self._erasure.forget()
        for attempt in range(_ATTEMPTS):
            try:
                with self._watchdog.over(self._connection):
                    return self._transact_once(self._connection, batch)
            except _AGAIN:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _transact_once(self, connection: "psycopg.Connection[Row]", part: Sequence[AnyCommand]) -> list[Any]:
        match part[0]:
            case commands.Expire() as command:
                return [self._expire(connection, command)]
            case commands.FindIdleAccounts() as command:
                return [self._find_idle(connection, command)]
            case _:
                return self._run_current(connection, part)

    def _run_current(self, connection: "psycopg.Connection[Row]", part: Sequence[AnyCommand]) -> list[Any]:
        """Run commands, but for those of sessions that are over."""
        acting = [session_of(command) for command in part]
        over: set[Actor | None] = set()
        while True:
            rest = [command for command, actor in zip(part, acting, strict=True) if actor not in over]
            sessions = [actor for actor in dict.fromkeys(acting) if actor is not None and actor not in over]
            try:
                results = iter(self._run_groups(connection, sessions, grouped(rest)))
            except psycopg.Error as error:
                if error.sqlstate != _SESSIONS_OVER:
                    raise
                over.update(sessions[int(number) - 1] for number in str(error.diag.message_detail).split())
            else:
                return [SESSION_OVER if actor in over else next(results) for actor in acting]

    def _run_groups(
        self, connection: "psycopg.Connection[Row]", sessions: Sequence[Actor], groups: Sequence[Group]
    ) -> list[Any]:
        planned = [calls.call(group.kind, group.members, self._setting) for group in groups]
        begin = self._begin(sessions, (command for group in groups for command in group.members))
        statements = [begin, *(statement for each in planned for statement in each.statements)]
        results: list[Any] = [None] * sum(len(group.members) for group in groups)
        is_timed = len(results) >= LEAST_BATCH  # what all transactions take tells too much of a few
        answers = self._in_one_transaction(connection, [*statements, _TAKEN] if is_timed else statements)[1:]
        if is_timed:
            [(taken,)] = answers.pop()
            self._ms_a_command += (max(taken / len(results), _LEAST_MS) - self._ms_a_command) / 4
        for group, each in zip(groups, planned, strict=True):
            own, answers = answers[: len(each.statements)], answers[len(each.statements) :]
            for position, result in zip(group.positions, each.results(own), strict=True):
                results[position] = result
        return results

    @property
    def _setting(self) -> Setting:
        return Setting(self._relay, calls.bounds(self._mailbox_bytes), self._remembers)

    def _begin(self, sessions: Sequence[Actor], some: Iterable[AnyCommand]) -> Statement:
        users: set[str] = set()
        claimed: set[str] = set()
        orders: set[bytes] = set()
        for command in some:
            found = locked_by(command)
            users |= found
            if isinstance(command, commands.LogIn):
                claimed |= found
            elif isinstance(command, commands.AcceptMany) and command.order is not None:
                orders.add(command.order.name)
        names, keys, _, connected = columns(sessions, 4)
        return Statement(
            "SELECT begin_batch(%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                self._durability,
                Texts(list(users)),
                Texts(sorted(claimed)),
                self._relay,
                Texts(names),
                Texts(keys),
                Numbers(connected),
                Blobs(list(orders)),
            ),
        )

    def _in_one_transaction(
        self, connection: "psycopg.Connection[Row]", statements: Sequence[Statement]
    ) -> list[list[Row]]:
        """Run statements in one round trip; the rows of each, once they are committed."""
        self._warnings.clear()
        try:
            with connection.pipeline():
                connection.execute("BEGIN")
                cursors = [connection.execute(one.query, one.parameters, binary=True) for one in statements]
                end = connection.execute("COMMIT")
                after = None if self._durability is Durability.SINGLE else connection.execute(_STANDBYS)
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.execute("ROLLBACK")
            raise
        # To the COMMIT of a transaction that has failed the server answers ROLLBACK, which is no error.
        if end.statusmessage != "COMMIT" or self._warnings or not self._is_kept(after):
            raise _NotKept
        return [cursor.fetchall() if cursor.description else [] for cursor in cursors]

    def _is_kept(self, names: "psycopg.Cursor[Row] | None") -> bool:
        """Whether standbys were waited for: who waits is let go, without a word, when their names are taken away."""
        row = names and names.fetchone()
        return self._durability is Durability.SINGLE or bool(row and row[0])

    # --- commands that take more than one round trip --------------------------------------

    def _expire(self, connection: "psycopg.Connection[Row]", command: commands.Expire) -> Expired:
        with connection.pipeline():
            finding = connection.execute(
                "SELECT * FROM find_expired(%s, %s, %s)", (command.stored_before, command.limit, command.now)
            )
            connection.execute("SELECT forget_tombstones(%s)", (command.now,))
        found = finding.fetchall()
        if not found:
            return Expired(0, [])
        users = {user for row in found for user in row[2:]}
        self._warnings.clear()
        with connection.transaction():
            connection.execute("SELECT begin_batch(%s, %s, '{}')", (self._durability, Texts(list(users))))
            gone = connection.execute(
                "SELECT * FROM delete_expired(%s::bigint[], %s::bigint[], %s)",
                ([row[0] for row in found], [row[1] for row in found], command.now),
            ).fetchall()
            receipts = self._tell_expired(connection, gone, command)
        after = connection.execute(_STANDBYS)
        if self._warnings or not self._is_kept(after):
            raise _NotKept
        return Expired(len(gone), receipts)

    def _tell_expired(
        self, connection: "psycopg.Connection[Row]", gone: Sequence[Row], command: commands.Expire
    ) -> list[commands.StoredReceipt]:
        """Store receipts for messages that have expired, all in one round trip."""
        planned = [
            calls.store_receipts(
                StoreReceipts(
                    recipient=recipient,
                    outcomes=[(commands.MessageName(sender, name), Status.EXPIRED)],
                    wall_ms=command.wall_ms,
                    now=command.now,
                ),
                self._setting,
            )
            for kind, sender, name, recipient, grouped in gone
            if kind == ItemKind.MESSAGE and not grouped
        ]
        with connection.pipeline():
            cursors = [
                connection.execute(one.query, one.parameters, binary=True)
                for each in planned
                for one in each.statements
            ]
        return [
            receipt
            for each, cursor in zip(planned, cursors, strict=True)
            for receipt in each.results([cursor.fetchall()])[0]
        ]

    def _find_idle(self, connection: "psycopg.Connection[Row]", command: commands.FindIdleAccounts) -> IdleAccounts:
        rows = connection.execute(
            "SELECT * FROM find_idle_accounts(%s, %s, %s, %s)",
            (command.active_before // calls.DAY_MS, *self._looked_up_to, command.limit),
        ).fetchall()
        is_whole = len(rows) < command.limit
        self._looked_up_to = (0, 0) if is_whole else rows[-1][1:3]
        return IdleAccounts([row[0] for row in rows if not row[3]], not is_whole)


def _parts(batch: Sequence[AnyCommand]) -> list[list[AnyCommand]]:
    """The transactions of a batch."""
    parts: list[list[AnyCommand]] = []
    is_open = False
    for command in batch:
        is_alone = isinstance(command, _ALONE)
        if is_open and not is_alone:
            parts[-1].append(command)
        else:
            parts.append([command])
        is_open = not is_alone
    return parts
