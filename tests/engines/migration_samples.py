"""Databases of earlier versions, as text; this writes the one of a version that is about to become old.

    python tests/engines/migration_samples.py 2 > tests/engines/migration_data/version_2.sql

Beside the schema's scripts only plain SQL is used here, so that no sample depends on later code.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from phantom_messenger.engines.sqlite.migrations import migrate, migrations
from phantom_messenger.relay.records import Item, ItemKind
from support.people import base64_text, key_text
from support.stores import ALICE, BOB, CAROL, NOW, key_of

FOLDER: Final = Path(__file__).parent / "migration_data"
LATER: Final = NOW + 86_400_000
SEQ_LIMIT: Final = 2_000
SIGNATURE: Final = base64_text(bytes(64))

Rows = Sequence[Sequence[Any]]


class Mail(NamedTuple):
    """An item of Bob's or Carol's mailbox."""

    account: int
    item: Item


def _mail() -> Iterator[Mail]:
    """Every kind, with and without an end, of an account and of one that is gone."""
    plan = [(2, ItemKind.MESSAGE, ALICE), (2, ItemKind.MESSAGE, CAROL), (3, ItemKind.MESSAGE, ALICE)]
    plan += [(2, ItemKind.RECEIPT, ALICE), (2, ItemKind.KEY_EXCHANGE, ALICE), (3, ItemKind.MESSAGE, key_text("gone"))]
    for seq, (account, kind, sender) in enumerate(plan * 2, start=1_001):
        name = f"{kind.name.lower()} {seq}"
        text = f'{{"name":"{name}","seq":{seq},"umlaut":"ü"}}'.encode() + b"x" * (seq % 5 * 50)
        ends = LATER + seq if kind is ItemKind.MESSAGE and seq % 2 else None
        yield Mail(account, Item(seq, kind, sender, name, text, ends))


MAIL: Final = list(_mail())
ROWS: Final[dict[str, tuple[str, Rows]]] = {
    "accounts": (
        "account, user_id, public_key, certified, last_seen, seq_limit",
        [
            (1, ALICE, key_of(ALICE), 1, NOW, 0),
            (2, BOB, key_of(BOB), 0, None, SEQ_LIMIT),
            (3, CAROL, key_of(CAROL), 1, NOW - 60_000, SEQ_LIMIT),
        ],
    ),
    "written": (
        "sender, recipient, conversation",
        [(1, 2, ""), (2, 1, "c1"), (1, 2, "c1"), (3, 2, "c2"), (1, 3, "c3")],
    ),
    "signed_prekeys": (
        "account, kind, id, key, signature",
        [(2, 1, 7, key_text("signed"), SIGNATURE), (2, 2, 8, key_text("last resort"), SIGNATURE)],
    ),
    "one_time_prekeys": (
        "account, kind, id, key, signature",
        [(2, 1, number, key_text(f"one-time {number}"), "") for number in range(11, 15)]
        + [(2, 2, 21, key_text("KEM"), SIGNATURE)],
    ),
    "prekey_ids": ("account, kind, highest", [(2, 1, 14), (2, 2, 21)]),
    "handouts": ("target, requester, at", [(2, 1, NOW)] * 10),
    "items": (
        "recipient, seq, kind, sender, name, expires_at, text",
        [
            (mail.account, item.seq, item.kind.value, item.sender, item.name, item.expires_at, item.text)
            for mail in MAIL
            for item in [mail.item]
        ],
    ),
}
"""What is in the tables of version 1."""

ADDED: Final[dict[int, list[str]]] = {
    2: [
        "UPDATE items SET checksum = item_checksum("
        " recipient, seq, kind, CAST(sender AS BLOB), CAST(name AS BLOB), expires_at, text)",
    ],
    3: ["INSERT INTO relay_limits VALUES (1, zeroblob(32), X'80', 2546252205)"],
    4: ["INSERT INTO blocks SELECT 2, user_id FROM accounts WHERE account = 3"],
    5: ["INSERT INTO bundle_signatures SELECT account, 1750000020000, signature FROM signed_prekeys WHERE kind = 1"],
    6: [
        "INSERT INTO written_in_groups VALUES (3, 1)",
        "INSERT INTO orders (name, revision, writers, last, written_on)"
        " VALUES (zeroblob(32), 7, zeroblob(32), zeroblob(16), 20254)",
        "INSERT INTO device_lists VALUES (2, 'AAAA')",
    ],
    7: ["UPDATE orders SET author = zeroblob(16)"],
}
"""What each later version adds."""


def sample(version: int) -> str:
    """A database with the first so many steps, as SQL."""
    connection = apsw.Connection(":memory:")
    migrate(connection, migrations()[:version])
    for table, (columns, rows) in ROWS.items():
        marks = ", ".join("?" for _ in columns.split(","))
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)  # noqa: S608 - constants
    for statement in (statement for number in range(2, version + 1) for statement in ADDED[number]):
        connection.execute(statement)
    lines = [f"-- A database of version {version}, written by migration_samples.py.", ""]
    schema = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    lines += [f"{sql};" for (sql,) in connection.execute(schema)]
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
    for (name,) in connection.execute(tables).fetchall():
        lines += ["", *_inserts(connection, str(name))]
    lines += ["", f"PRAGMA user_version = {version};", ""]
    return "\n".join(lines)


def _inserts(connection: apsw.Connection, table: str) -> Iterator[str]:
    columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})")]
    quoted = " || ', ' || ".join(f"quote({column})" for column in columns)
    for (values,) in connection.execute(f"SELECT {quoted} FROM {table} ORDER BY {', '.join(columns[:2])}"):  # noqa: S608 - names of the schema
        yield f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values});"  # noqa: S608


def script_names() -> list[str]:
    """The files of the schema's steps."""
    return sorted(file.name for file in (resources.files("phantom_messenger.engines.sqlite") / "sql").iterdir())


def write_database(folder: Path, version: int) -> None:
    """Make a data folder as a relay of an earlier version left it."""
    folder.mkdir(parents=True)
    connection = apsw.Connection(str(folder / "relay.db"))
    connection.pragma("journal_mode", "wal")
    with connection:
        connection.execute((FOLDER / f"version_{version}.sql").read_text(encoding="utf-8"))
    connection.close()


if __name__ == "__main__":
    sys.stdout.write(sample(int(sys.argv[1])))
