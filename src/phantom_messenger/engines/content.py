"""What a store holds, whichever engine it is on: tables of rows that every engine can give and take.

Rows are the same on all engines, numbers and times included: times are persistent milliseconds, and a copy goes on
with the persistent time of its original. Who is connected is not here.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.errors import StoreError
from phantom_messenger.relay.records import KeptLimits

Row = tuple[Any, ...]

_HASH_BYTES: Final = 16


class Table(NamedTuple):
    """A name, and what is in a row."""

    name: str
    columns: tuple[str, ...]


ITEMS: Final = Table(
    "items", ("recipient", "seq", "kind", "sender", "name", "stored_at", "expires_at", "mark", "text", "grouped")
)
"""Its rows are given the oldest first."""

TOMBSTONES: Final = Table("tombstones", ("recipient", "sender", "name", "until"))
"""Messages that left a mailbox in the last ten minutes. A relay on a data folder forgets them when it stops: a folder
has some only as the copy of a database, and until a relay starts on it."""

ORDERS: Final = Table("orders", ("name", "revision", "writers", "last", "author", "written_on"))
"""What several users change: nothing in it names an account."""

NUMBERS: Final = Table("numbers", ("last_account",))
"""One row: the highest number that an account was ever given."""

LIMITS: Final = Table("limits", ("hash_key", "party", "at"))
"""What counted towards rate limits when the relay was stopped, a row each time."""

TABLES: Final = (
    Table("accounts", ("account", "user_id", "public_key", "standing", "last_seen", "active_on")),
    Table("mailboxes", ("account", "seq")),
    Table("written", ("entry", "sender", "recipient", "conversation")),
    Table("blocks", ("blocker", "blocked")),
    Table("written_in_groups", ("sender", "recipient")),
    Table("signed_prekeys", ("account", "kind", "id", "key", "signature")),
    Table("one_time_prekeys", ("entry", "account", "kind", "id", "key", "signature")),
    Table("bundle_signatures", ("account", "made_at", "signature")),
    Table("device_lists", ("account", "list")),
    Table("prekey_ids", ("account", "kind", "highest")),
    Table("handouts", ("target", "requester", "at")),
    ORDERS,
    ITEMS,
    TOMBSTONES,
    NUMBERS,
    LIMITS,
)
"""In an order in which each table names rows of those before it only."""


class Digest:
    """Of rows in any order: how many they are, and the sum of their hashes.

    Each row that is lost, doubled or changed makes it another one.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self.count = 0
        self._sum = 0
        self.add(rows)

    def add(self, rows: Iterable[Row]) -> None:
        """Count rows in."""
        for row in rows:
            self.count += 1
            self._sum += int.from_bytes(blake2b(msgspec.msgpack.encode(row), digest_size=_HASH_BYTES).digest())

    def __str__(self) -> str:
        return f"{self._sum % 256**_HASH_BYTES:032x}"


class Content(Protocol):
    """A store that nobody else works on."""

    def count(self, table: Table) -> int:
        """How many rows the store says a table has, whether or not they can be read."""

    def rows(self, table: Table) -> Iterator[Row]:
        """The rows of a table, read as they are asked for.

        Raises:
            StoreError: some cannot be read.
        """


class Original(Content, Protocol):
    """One that is copied; nothing in it changes."""

    damaged: list[int]
    """Items that are not as they were written, and were left out of ``rows``: the numbers of their entries."""

    place: str
    """Where it is, for people."""

    @property
    def quarantined(self) -> int:
        """Items that were found damaged earlier, and are not in ``rows`` either."""

    def clock(self) -> ClockSnapshot:
        """Its persistent time now, and what this machine's clocks show."""


class Writer(Protocol):
    """Takes rows of one table."""

    def __call__(self, rows: Iterable[Row], /) -> None:
        """Add rows.

        Raises:
            StoreError: there is no room for them, or they contradict others.
        """


class Copy(Content, Protocol):
    """One that is made; until it is ``finished`` and its context ends, no relay can use it."""

    def writing(self, table: Table) -> AbstractContextManager[Writer]:
        """Have rows of a table written, once for each table."""

    def finish(self, clock: ClockSnapshot) -> None:
        """All rows are there, and persistent time goes on from this moment."""


def as_limits(rows: Iterable[Row]) -> KeptLimits:
    """The rows of ``LIMITS`` as they are kept."""
    key = b""
    times: dict[bytes, list[int]] = {}
    for key, party, at in rows:  # noqa: B007 - the key is the same in all of them
        times.setdefault(party, []).append(at)
    return KeptLimits(key, times)


def limit_rows(kept: KeptLimits) -> Iterator[Row]:
    """The other way round."""
    return ((kept.key, party, at) for party, times in kept.times.items() for at in times)


def contradiction(table: str) -> StoreError:
    """What to say if an engine does not take a row."""
    return StoreError(
        f"a row of {table} does not fit others, or cannot be one: the store that is copied is damaged; restore it"
        " from a backup"
    )
