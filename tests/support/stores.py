"""What tests of the SQLite engine need: work on its tables, one piece at a time, and things to store."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.tables import StoreJob, Tables
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.records import Dating, Item, ItemKind, NewItem, OneTimeKey, Publication, SignedKey
from support.people import base64_text, key_text

NOW = 1_750_000_020_000
HOUR = 3_600_000
ALICE, BOB, CAROL = (key_text(name) for name in ("alice", "bob", "carol"))
T = TypeVar("T")


def run(store: SQLiteStore, job: Callable[[Tables], T]) -> T:
    """Run one job; what it returns, or the error with which it failed."""
    [result] = store.run_jobs([job])
    if isinstance(result, CommandFailed):
        raise result.error
    found: T = result
    return found


def bind(store: SQLiteStore, *users: str) -> None:
    """Make accounts."""
    for user in users:
        assert run(store, lambda tx, user=user: tx.directory.bind(user, key_of(user), certified=False))  # type: ignore[misc]


def key_of(user: str) -> str:
    return key_text(f"key of {user}")


def message(name: str, sender: str = ALICE, *, size: int = 0, expires_at: int | None = None) -> NewItem:
    return NewItem(
        kind=ItemKind.MESSAGE,
        sender=sender,
        name=name,
        head=f"<{name}{'x' * size} ".encode(),
        tail=b">",
        expires_at=expires_at,
    )


def receipt(name: str, sender: str = ALICE, text: str = "") -> NewItem:
    return NewItem(kind=ItemKind.RECEIPT, sender=sender, name=name, head=f"({name}{text} ".encode(), tail=b")")


def exchange(name: str, sender: str = ALICE, text: str = "") -> NewItem:
    return NewItem(kind=ItemKind.KEY_EXCHANGE, sender=sender, name=name, head=f"[{name}{text} ".encode(), tail=b"]")


def append(store: SQLiteStore, item: NewItem, to: str = BOB, *, known: bool = True, now: int = NOW) -> Any:
    """Append and return the item, or why not."""
    return run(store, appending(item, to, known=known, now=now))


def append_all(store: SQLiteStore, items: Sequence[NewItem], to: str = BOB, *, known: bool = True) -> list[Any]:
    """Append in one transaction."""
    return store.run_jobs([appending(item, to, known=known) for item in items])


def appending(item: NewItem, to: str = BOB, *, known: bool = True, now: int = NOW) -> StoreJob:
    return lambda tx: tx.mailboxes.append(to, item, known=known, now=now)


def acknowledging(name: str, sender: str = ALICE, user: str = BOB, *, now: int = NOW) -> StoreJob:
    return lambda tx: bool(tx.mailboxes.acknowledge(user, sender, name, now))


def failing(*jobs: StoreJob, error: Exception | None = None) -> StoreJob:
    """Do these and then fail."""

    def job(tx: Tables) -> None:
        for done in jobs:
            done(tx)
        raise error or ZeroDivisionError("on purpose")

    return job


def waiting(store: SQLiteStore, user: str = BOB, *, after: int = 0, now: int = NOW) -> list[Item]:
    """All that waits for a user."""
    page = run(store, lambda tx: tx.mailboxes.read(user, after, 10**9, now))
    assert page.complete
    return page.items


def names(items: Sequence[Item]) -> list[str]:
    return [item.name for item in items]


def acknowledge(store: SQLiteStore, name: str, sender: str = ALICE, user: str = BOB, *, now: int = NOW) -> bool:
    return bool(run(store, acknowledging(name, sender, user, now=now)))


def publication(
    one_time: Sequence[int] = (),
    kem: Sequence[int] = (),
    *,
    last_resort: bool = False,
    made_at: int | None = None,
    replace: bool = False,
    device_list: str = "",
) -> Publication:
    """One whose keys are named by their ids; with ``made_at`` it is dated, and has a last resort."""

    def signed(name: str, number: int) -> SignedKey:
        return SignedKey(number, key_text(f"{name} {number}"), base64_text(bytes(64)))

    return Publication(
        signed=signed("signed", 1),
        last_resort_kem=signed("last resort", 900) if last_resort or made_at is not None else None,
        one_time=[OneTimeKey(number, key_text(f"one-time {number}")) for number in one_time],
        one_time_kem=[signed("KEM", number) for number in kem],
        replace=replace,
        device_list=device_list or None,
        dating=None if made_at is None else Dating(made_at, base64_text(made_at.to_bytes(64))),
    )
