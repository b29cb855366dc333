"""Both engines do the same: random batches of commands, run by each, have the same results and leave the same mail."""

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import structs

from phantom_messenger.engines.postgres import PostgresStore, calls
from phantom_messenger.engines.sqlite import SQLiteStore, stranger_quota
from phantom_messenger.relay.commands import (
    AcceptMany,
    AcceptMessage,
    AcknowledgeHidden,
    AskPresence,
    Block,
    Copy,
    CountPreKeys,
    Expire,
    Expired,
    FetchPreKeys,
    FindTypingWatchers,
    FindWatchers,
    LogIn,
    MessageName,
    Order,
    PublishPreKeys,
    StoreReceipts,
    Unblock,
)
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.records import Item
from phantom_messenger.wire.frames import Status
from phantom_messenger.wire.orders import digest
from support.amounts import amount, seeds
from support.postgres_server import PostgresServer
from support.store_user import NOW, WALL, StoreUser
from support.stores import publication

SMALL = {
    "MAX_BACKLOG": 12,
    "MAX_STRANGER_BACKLOG": 3,
    "MAX_STRANGERS_BACKLOG": 6,
    "MAX_RECEIPT_BACKLOG": 5,
    "MAX_KEY_EXCHANGE_BACKLOG": 2,
    "MAX_GROUP_BACKLOG": 4,
}
PEOPLE = ("alice", "bob", "carol", "dave", "erin")
STATUSES = (Status.DELIVERED, Status.READ, Status.BURNED)


class Side:
    """One engine with its users, whose numbers differ from the other's."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.people = [StoreUser(store, name) for name in PEOPLE]

    def mail(self) -> list[list[Any]]:
        return [[plain(item) for item in person.mailbox()] for person in self.people]


def plain(result: Any) -> Any:
    """A result without the numbers of items, which each engine gives as it likes."""
    if isinstance(result, Expired):
        return result.deleted, sorted(map(str, plain(result.receipts)))
    if isinstance(result, Item):
        return (
            result.kind,
            result.sender,
            result.name,
            re.sub(rb"\d+(?=\W*$)|(?<=\"seq\":)\d+", b"#", result.text),
            result.expires_at,
        )
    if isinstance(result, list):
        return [plain(one) for one in result]
    if isinstance(result, tuple):
        return type(result).__name__, [plain(one) for one in result]
    if hasattr(result, "items"):
        return [plain(item) for item in result.items], result.complete
    return result


def commands(chance: random.Random, side: Side, moment: int) -> list[Any]:
    """A batch; the same for both sides if ``chance`` is."""
    people = side.people
    now = NOW + moment * 1_000
    return [_command(chance, people, now) for _ in range(chance.choice((1, 2, 5, 30)))]


def _command(  # noqa: C901, PLR0911, PLR0912 - a case a command
    chance: random.Random, people: list[StoreUser], now: int
) -> Any:
    one, other = chance.sample(people, 2)
    name, content = str(chance.randrange(8)), chance.choice(("", "a", "b"))
    names = [MessageName(other.id, str(chance.randrange(8))) for _ in range(chance.choice((1, 1, 4)))]
    status = chance.choice(STATUSES)
    mark, size = chance.randrange(3), chance.choice((0, 0, 300, 2_000))
    expires_at = now + chance.randrange(1, 30_000) if chance.random() < 0.5 else None
    conversation = chance.choice("xyz")
    kinds = (
        *(["message"] * 8),
        *(["acknowledge"] * 4),
        *(["many"] * 4),
        "fetch",
        *("hidden", "receipts", "exchange", "publish", "count", "block", "unblock", "expire", "read", "login"),
        *("watchers", "typing", "presence"),
    )
    match chance.choice(kinds):
        case "message":
            return one.message(
                other, name, content, size=size, mark=mark, expires_at=expires_at, conversation=conversation, now=now
            )
        case "many":
            messages = [
                one.message(to, name, content, size=size, mark=mark, expires_at=expires_at, now=now)
                for to in chance.sample(people, chance.randrange(6))
                if to is not one
            ]
            return _to_many(chance, people, one, messages, now)
        case "fetch":
            return FetchPreKeys(actor=one.actor, targets=[each.id for each in chance.sample(people, 3)], now=now)
        case "acknowledge":
            return _acknowledge(one, names, status, may_notify=chance.random() < 0.9, now=now)
        case "hidden":
            return AcknowledgeHidden(actor=one.actor, messages=names, status=status, now=now, mail_life_ms=10**6)
        case "receipts":
            return StoreReceipts(recipient=one.id, outcomes=[(found, status) for found in names], wall_ms=WALL, now=now)
        case "exchange":
            return one.exchanging(other, chance.choice(("init", "response")), content, mark=mark, now=now)
        case "publish":
            number, kem = chance.randrange(20), chance.randrange(9)
            made_at = NOW + number if kem % 3 else None
            wanted = publication([number], [kem], made_at=made_at, replace=number == 7, device_list=content)
            return PublishPreKeys(actor=one.actor, publication=wanted)
        case "count":
            return CountPreKeys(actor=one.actor)
        case "block":
            return Block(actor=one.actor, other=other.id)
        case "unblock":
            return Unblock(actor=one.actor, other=other.id)
        case "expire":
            return Expire(stored_before=0, limit=chance.choice((1, 100)), wall_ms=WALL, now=now)
        case "read":
            return one.reading(max_bytes=10**9, now=now)
        case "login":
            return LogIn(
                user_id=one.id,
                public_key=one.key,
                certified_id=one.certified_id,
                is_signed=True,
                may_create=False,
                now=now,
                page_bytes=10**9,
            )
        case "watchers":
            return FindWatchers(actor=one.actor)
        case "typing":
            return FindTypingWatchers(actor=one.actor, conversation_id=conversation)
        case _:
            return AskPresence(actor=one.actor, other=other.id)


def _to_many(
    chance: random.Random, people: list[StoreUser], one: StoreUser, messages: list[AcceptMessage], now: int
) -> AcceptMany:
    """One message in place of several, to a group or not; half of them the next revision, or another one."""
    is_group, order = chance.random() < 0.7, None
    if chance.random() < 0.5:
        name = bytes([chance.randrange(3)]) * 32
        order = Order(
            name=name,
            revision=1 + (now - NOW) // 1_000 + chance.randrange(3),
            author=digest(name, one.id),
            writers=tuple(digest(name, writer.id) for writer in chance.sample(people, 3)),
            last=digest(name, one.id, messages[0].item.name if messages else ""),
        )
    expires_at = messages[0].item.expires_at if len(messages) == 1 else None  # of two, either may go first
    items = [structs.replace(each.item, is_group=is_group, expires_at=expires_at) for each in messages]
    copies = [Copy(each.recipient, item) for each, item in zip(messages, items, strict=True)]
    return AcceptMany(actor=one.actor, copies=copies, conversation_id=chance.choice("xyz"), order=order, now=now)


def _acknowledge(one: StoreUser, names: list[MessageName], status: Status, *, may_notify: bool, now: int) -> Any:
    return one.acknowledging(names, status=status, may_notify=may_notify, now=now)


def confirm_some(chance: random.Random, sides: tuple[Side, Side]) -> None:
    """Confirm the same items on both sides, messages too, which stay."""
    person, count = chance.randrange(len(PEOPLE)), chance.randrange(4)
    for side in sides:
        user = side.people[person]
        user.confirm(*(item.seq for item in user.mailbox()[:count]))


@pytest.fixture
def sides(postgres: PostgresServer, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Side, Side]]:
    for name, value in SMALL.items():
        monkeypatch.setattr(stranger_quota, name, value)
        monkeypatch.setattr(calls, name, value)
    url = postgres.make_database(template)
    stores = SQLiteStore(None), PostgresStore(url)
    yield Side(stores[0]), Side(stores[1])
    for store in stores:
        store.close()
    postgres.drop_database(url)


def run_both(sides: tuple[Side, Side], seed: int, steps: int) -> None:
    """Raises ``AssertionError`` at the first difference."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    for moment in range(steps):
        state = chance.getstate()
        results = []
        for side in sides:
            chance.setstate(state)
            batch = commands(chance, side, moment)
            results.append(
                [
                    (type(command).__name__, plain(result))
                    for command, result in zip(batch, side.store.run(batch), strict=True)
                ]
            )
        assert results[0] == results[1], f"seed {seed}, step {moment}"
        confirm_some(chance, sides)
        assert sides[0].mail() == sides[1].mail(), f"seed {seed}, step {moment}"


@pytest.mark.parametrize("seed", range(seeds(2, 50)))
def test_engines_agree(sides: tuple[Side, Side], seed: int) -> None:
    run_both(sides, seed, amount(40, 200))


def test_control_engine_with_another_limit_is_found(sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_STRANGER_BACKLOG", 4)
    with pytest.raises(AssertionError, match="seed"):
        run_both(sides, 0, 40)
