"""What a store has promised, in a few dictionaries, and work for it by chance.

A ``Task`` is a job with what its result means; the ``Book`` is the relay's memory of all results it got.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from disk_model import DiskStore

from phantom_messenger.engines.sqlite.tables import StoreJob, Tables
from phantom_messenger.relay.commands import AppendRefusal, CommandFailed, PublishRefusal
from phantom_messenger.relay.records import Bundle, Item, ItemKind, NewItem, PreKeyCounts
from phantom_messenger.wire.limits import MAX_ONE_TIME_PREKEYS
from support.people import key_text
from support.stores import HOUR, NOW, exchange, key_of, message, publication, receipt

USERS: Final = tuple(key_text(name) for name in ("alice", "bob", "carol", "dave"))
SIZES: Final = (0, 40, 200, 700, 1_500, 3_000, 5_000, 9_000)

X25519, ML_KEM = 1, 2

Name = tuple[ItemKind, str, str]


class Broken(AssertionError):
    """A promise was not kept."""


@dataclass
class Account:
    """What is promised to one user."""

    mail: dict[Name, Item] = field(default_factory=dict)
    removed: set[Name] = field(default_factory=set)
    last_seq: int = 0
    keys: dict[int, list[int]] = field(default_factory=lambda: {X25519: [], ML_KEM: []})
    handed_out: set[tuple[int, int]] = field(default_factory=set)
    last_seen: int | None = None

    def remove(self, name: Name) -> Item | None:
        self.removed.add(name)
        return self.mail.pop(name, None)

    def copy(self) -> "Account":
        keys = {kind: list(ids) for kind, ids in self.keys.items()}
        return Account(dict(self.mail), set(self.removed), self.last_seq, keys, set(self.handed_out), self.last_seen)


@dataclass(frozen=True)
class Task:
    """A job, and how the book is kept when it has been promised."""

    job: StoreJob
    enter: Callable[["Book", Any], None]


class Book:
    """All that was promised."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def copy(self) -> "Book":
        other = Book()
        other.accounts = {user: account.copy() for user, account in self.accounts.items()}
        return other

    def with_all(self, done: Sequence[tuple[Task, Any]]) -> "Book":
        """The book, if these results are promised too."""
        other = self.copy()
        for task, result in done:
            other.enter(task, result)
        return other

    def enter(self, task: Task, result: Any) -> None:
        if not isinstance(result, CommandFailed):
            task.enter(self, result)

    def account(self, user: str) -> Account:
        return self.accounts.get(user, Account())

    def compare(self, found: "Book") -> list[str]:
        """What is not as promised."""
        if found.accounts.keys() != self.accounts.keys():
            return [f"accounts {found.accounts.keys() ^ self.accounts.keys()} come or gone"]
        return [
            f"{user[:4]}: {fault}"
            for user, account in self.accounts.items()
            for fault in _compare(account, found.accounts[user])
        ]


def _compare(promised: Account, found: Account) -> list[str]:
    faults = [f"lost {_label(item)}" for name, item in promised.mail.items() if name not in found.mail]
    faults += [f"back or made up: {_label(item)}" for name, item in found.mail.items() if name not in promised.mail]
    faults += [f"changed {_label(item)}" for name, item in promised.mail.items() if found.mail.get(name, item) != item]
    for kind, ids in promised.keys.items():
        if found.keys[kind] != ids:
            faults.append(f"prekeys {found.keys[kind]} instead of {ids}")
    if found.last_seen != promised.last_seen:
        faults.append(f"last seen {found.last_seen} instead of {promised.last_seen}")
    return faults


def _label(item: Item) -> str:
    return f"{item.kind.name} {item.name} seq {item.seq}"


# --- what is in a store -----------------------------------------------------------


def contents(store: DiskStore) -> Book:
    """All that is in a store, in the shape of a book; fails if it is not in order."""
    [found] = store.run_jobs([_contents])
    if isinstance(found, CommandFailed):
        raise found.error
    assert isinstance(found, Book)
    return found


def _contents(tx: Tables) -> Book:
    found = Book()
    for user in USERS:
        key = tx.directory.public_key(user)
        if key is None:
            continue
        page = tx.mailboxes.read(user, 0, 10**9, 0)
        seqs = [item.seq for item in page.items]
        if not page.complete or key != key_of(user) or seqs != sorted(set(seqs)):
            raise Broken(f"the mailbox of {user[:4]} is not in order: {seqs}")
        account = found.accounts[user] = Account({(item.kind, item.sender, item.name): item for item in page.items})
        account.last_seen = tx.directory.last_seen(user)
        for kind in account.keys:
            account.keys[kind] = _keys_left(tx, user, kind)
    return found


def _keys_left(tx: Tables, user: str, kind: int) -> list[int]:
    assert isinstance(tx, Tables)
    rows = tx.connection.execute(
        "SELECT id FROM one_time_prekeys JOIN accounts USING (account) WHERE user_id = ? AND kind = ? ORDER BY entry",
        (user, kind),
    )
    return [row[0] for row in rows]


def check_integrity(store: DiskStore) -> None:
    pragma = store._connection.pragma
    if (found := pragma("integrity_check")) != "ok" or pragma("foreign_key_check") is not None:
        raise Broken(f"the file is corrupt: {found}")
    if store._connection.execute("SELECT count(*) FROM set_aside").get:
        raise Broken("an item has a wrong checksum")


# --- tasks ------------------------------------------------------------------------


def bind(user: str) -> Task:
    def enter(book: Book, result: Any) -> None:
        assert result is True
        book.accounts.setdefault(user, Account())

    return Task(lambda tx: tx.directory.bind(user, key_of(user), certified=False), enter)


def delete(user: str) -> Task:
    """All steps of it, in one transaction."""

    def job(tx: Tables) -> None:
        while not tx.directory.delete(user):
            pass

    def enter(book: Book, _: Any) -> None:
        book.accounts.pop(user, None)

    return Task(job, enter)


def note_last_seen(user: str, at: int) -> Task:
    def enter(book: Book, _: Any) -> None:
        if user in book.accounts:
            book.account(user).last_seen = at

    return Task(lambda tx: tx.directory.record_last_seen(user, at), enter)


def append(user: str, item: NewItem, now: int = NOW) -> Task:
    name = item.kind, item.sender, item.name

    def enter(book: Book, result: Any) -> None:
        account = book.account(user)
        if result is AppendRefusal.DUPLICATE:
            if name not in account.mail and name not in account.removed:
                raise Broken(f"{item.name} is refused as a duplicate of nothing")
            return
        if result is AppendRefusal.NO_ACCOUNT:
            if user in book.accounts:
                raise Broken(f"the account of {user[:4]} is not found")
            return
        if result is AppendRefusal.FULL and item.kind is ItemKind.RECEIPT:
            return  # news of a removal is not promised when the disk is full
        assert isinstance(result, Item), result
        if result.seq <= account.last_seq:
            raise Broken(f"seq {result.seq} of {user[:4]} was given before")
        if result.text != b"%b%d%b" % (item.head, result.seq, item.tail):
            raise Broken(f"{item.name} was changed")
        account.last_seq = result.seq
        account.mail.pop(name, None)
        account.mail[name] = result

    return Task(lambda tx: tx.mailboxes.append(user, item, known=True, now=now), enter)


def acknowledge(user: str, sender: str, name: str, now: int = NOW) -> Task:
    def enter(book: Book, result: Any) -> None:
        known = book.account(user).remove((ItemKind.MESSAGE, sender, name))
        if (result is True) != (known is not None):
            raise Broken(f"{name} was there: {known is not None}, acknowledged: {result}")

    return Task(lambda tx: bool(tx.mailboxes.acknowledge(user, sender, name, now)), enter)


def confirm(user: str, seq: int) -> Task:
    def enter(book: Book, _: Any) -> None:
        mail = book.account(user).mail.items()
        for name in [name for name, item in mail if item.seq == seq and name[0] is not ItemKind.MESSAGE]:
            book.account(user).remove(name)

    return Task(lambda tx: tx.mailboxes.confirm(user, [seq]), enter)


def expire(now: int, limit: int) -> Task:
    def enter(book: Book, result: Any) -> None:
        for one in result:
            item = book.account(one.recipient).remove((ItemKind.MESSAGE, one.sender, one.name))
            if item is None or item.expires_at is None or item.expires_at > now:
                raise Broken(f"{one.name} has expired, but was not there or not due")

    return Task(lambda tx: tx.mailboxes.expire(now, limit), enter)


def publish(user: str, one_time: Sequence[int], kem: Sequence[int]) -> Task:
    def enter(book: Book, result: Any) -> None:
        if result is None:
            return
        keys = book.account(user).keys
        if result is PublishRefusal.FULL:
            if max(len(keys[X25519]) + len(one_time), len(keys[ML_KEM]) + len(kem)) <= MAX_ONE_TIME_PREKEYS:
                raise Broken(f"a publication was refused, although there is room: {keys} were promised")
            return
        keys[X25519] += one_time
        keys[ML_KEM] += kem
        assert isinstance(result, PreKeyCounts)
        if (result.one_time, result.one_time_kem) != (len(keys[X25519]), len(keys[ML_KEM])):
            raise Broken(f"{result} after a publication, {keys} were promised")

    return Task(lambda tx: tx.prekeys.publish(user, publication(one_time, kem)), enter)


def take(user: str, requester: str, now: int) -> Task:
    def enter(book: Book, result: Any) -> None:
        if result is None:
            return
        assert isinstance(result, Bundle)
        account = book.account(user)
        for kind, key in ((X25519, result.one_time), (ML_KEM, result.kem)):
            if key is None:
                continue
            if (kind, key.id) in account.handed_out:
                raise Broken(f"prekey {key.id} of {user[:4]} was handed out twice")
            if account.keys[kind][:1] != [key.id]:
                raise Broken(f"prekey {key.id} of {user[:4]} was handed out, the next was {account.keys[kind][:1]}")
            account.keys[kind].pop(0)
            account.handed_out.add((kind, key.id))

    return Task(lambda tx: tx.prekeys.hand_out(user, requester, now), enter)


def noted(task: Task, store: DiskStore) -> StoreJob:
    """The task's job; what it has done is also noted before the transaction ends."""

    def job(tx: Tables) -> Any:
        result = task.job(tx)
        store.attempts[-1].append((task, result))
        return result

    return job


class Chance:
    """Batches of tasks by seed."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0
        self._now = NOW

    def batch(self, book: Book) -> list[Task]:
        if len(book.accounts) < len(USERS):
            return [bind(user) for user in USERS]
        self._now += HOUR  # so that prekeys are never held back by the hourly limits
        if self._random.random() < 0.01:
            return [delete(USERS[-1])]
        return [self._task(book) for _ in range(self._random.choice((1, 1, 2, 4, 8, 20)))]

    def _task(self, book: Book) -> Task:
        user, other = self._random.sample(USERS, 2)
        self._count += 1
        name = f"{self._count}"
        account = book.account(user)
        choice = self._random.random()
        if choice < 0.4:
            return self._append(user, other, name, account)
        if choice < 0.6 and account.mail:
            _, sender, name = self._random.choice(list(account.mail))
            return acknowledge(user, sender, name, self._now)
        if choice < 0.7 and account.mail:
            return confirm(user, self._random.choice(list(account.mail.values())).seq)
        if choice < 0.8:
            return expire(self._now, self._random.choice((1, 3, 256)))
        if choice < 0.88:
            first = self._count * 100
            return publish(user, range(first, first + self._random.randrange(8)), range(first, first + 2))
        if choice < 0.97:
            return take(user, other, self._now)
        return note_last_seen(user, self._now)

    def _append(self, user: str, sender: str, name: str, account: Account) -> Task:
        kind = self._random.random()
        size = self._random.choice(SIZES)
        if kind < 0.7:
            expires_at = self._now + self._random.randrange(40) * HOUR if self._random.random() < 0.5 else None
            return append(user, message(name, sender, size=size, expires_at=expires_at), self._now)
        if kind < 0.8 and account.mail:
            _, sender, name = self._random.choice(list(account.mail))
            return append(user, message(name, sender, size=size), self._now)
        if kind < 0.9:
            return append(user, receipt(str(self._random.randrange(9)), sender, "x" * size), self._now)
        return append(user, exchange("INIT", sender, "x" * size), self._now)
