"""Stores with everything in them, and what is in their tables, read without the code that copies them."""

import random
import sqlite3
from pathlib import Path
from typing import Any, Final

import psycopg
from test_engines_agree import Side, commands

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.copying import Copied, copy_store
from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.relay.commands import DeleteAccount, PublishPreKeys, RecordDeparture, SaveClock, SaveLimits
from phantom_messenger.relay.records import KeptLimits
from support.store_user import NOW, StoreUser, run
from support.stores import publication

Dump = dict[str, list[tuple[Any, ...]]]

SQLITE: Final = {
    "accounts": "account, user_id, public_key, certified, last_seen, active_on",
    "mailboxes": "account, seq_limit",
    "written": "entry, sender, recipient, conversation",
    "blocks": "blocker, blocked",
    "written_in_groups": "sender, recipient",
    "orders": "name, revision, writers, last, author, written_on",
    "device_lists": "account, list",
    "signed_prekeys": "account, kind, id, key, signature",
    "one_time_prekeys": "entry, account, kind, id, key, signature",
    "bundle_signatures": "account, made_at, signature",
    "prekey_ids": "account, kind, highest",
    "handouts": "target, requester, at",
    "items": "recipient, seq, kind, sender, name, stored_at, expires_at, mark, text, grouped",
    "relay_limits": "hash_key, times",
}
"""Columns, in an order that both engines can give."""

POSTGRES: Final = {
    **SQLITE,
    "accounts": SQLITE["accounts"].replace("certified", "standing"),
    "mailboxes": "account, seq",
}


def fill(folder: Path, seed: int = 0, batches: int = 60) -> None:
    """Make a store in which no table is empty, by random commands and some of each kind."""
    chance = random.Random(seed)  # noqa: S311 - the same in every run
    store = SQLiteStore(folder)
    side = Side(store)
    for moment in range(batches):
        store.run(commands(chance, side, moment))
    gone, asked, asking = StoreUser(store, "gone"), StoreUser(store, "asked"), StoreUser(store, "asking")
    unsigned = StoreUser(store, "unsigned", signed=False)
    run(store, PublishPreKeys(actor=asked.actor, publication=publication(range(1, 9), range(11, 15), made_at=NOW)))
    for number in range(3):
        asking.exchange(asked, f"init {number}", wants_bundle=True, mark=number)
    unsigned.write(gone, "to somebody who goes")
    gone.write(asked, "of somebody who is gone", mark=7)
    run(store, RecordDeparture(user_id=asked.id, last_seen=NOW - 60_000, now=NOW))
    run(store, DeleteAccount(actor=gone.actor))
    last = StoreUser(store, "last")  # whose number nobody may get again
    run(store, DeleteAccount(actor=last.actor))
    run(store, SaveLimits(limits=KeptLimits(bytes(range(32)), {b"party": [NOW, NOW + 5], b"other": [NOW]})))
    run(store, SaveClock(snapshot=ClockSnapshot("another boot", 5_000, NOW, NOW)))
    store.close()
    with sqlite3.connect(folder / "relay.db") as connection:
        connection.execute("INSERT INTO blocks VALUES (1, 'somebody without an account')")
    connection.close()


def copied(source: str | Path, target: str | Path, **options: Any) -> Copied:
    """Copy to the end."""
    *_, last = copy_store(str(source), str(target), **options)
    assert isinstance(last, Copied)
    return last


def dump_folder(folder: Path) -> Dump:
    """Sorted rows of each table; those of a relay's own upkeep are left out."""
    connection = sqlite3.connect(f"file:{folder / 'relay.db'}?mode=ro", uri=True)
    found = {
        name: sorted(
            connection.execute(f"SELECT {columns} FROM {'accounts' if name == 'mailboxes' else name}"),  # noqa: S608
            key=repr,
        )
        for name, columns in SQLITE.items()
    }
    [(highest,)] = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'accounts'")
    connection.close()
    return {**found, "numbers": [(highest,)]}


def dump_database(url: str) -> Dump:
    """As of a folder."""
    with psycopg.connect(url, options="-c search_path=phantom") as connection:
        found = {
            name: sorted(connection.execute(f"SELECT {columns} FROM {name}".encode()), key=repr)  # noqa: S608
            for name, columns in POSTGRES.items()
        }
        [(highest,)] = connection.execute("SELECT last_value - (NOT is_called)::integer FROM accounts_account_seq")
    return {**found, "numbers": [(highest,)]}
