"""What size and time do to a relay: a big store beside a small one, and a soak."""

import base64
import os
import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import uvloop
from relays import Relay
from scenarios import BODY_CHARS, Figures, Settings, closed_run, say

from phantom_messenger.engines.sqlite import SQLiteStore
from phantom_messenger.engines.sqlite.tables import StoreJob, Tables
from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.generator import LoadGenerator
from phantom_messenger.relay.commands import CommandFailed
from phantom_messenger.relay.records import ItemKind, NewItem

_BATCH: Final = 1_000
_IN_FLIGHT: Final = 8
_MESSAGES: Final = 20_000
_SOAK_PAIRS: Final = 100
CHURN: Final = 0.01
"""Of all connections, those that go and come again, each second of a soak."""


def _key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def _bind(user: str, key: str, other: str, store: Tables) -> None:
    store.directory.bind(user, key, certified=True)
    if store.directory.public_key(other) is not None:
        store.directory.record_written(other, user, "bench")


def _item(sender: str, recipient: str) -> NewItem:
    """A message as a relay keeps it, but for a true signature: nobody will look at it."""
    name = str(uuid.uuid4())
    body = base64.b64encode(os.urandom(BODY_CHARS * 3 // 4))
    payload = wire.canonical(
        {"conversationId": "bench", "encrypted": body.decode(), "messageId": name}
        | {"recipientId": recipient, "senderId": sender}
    )
    mark = base64.b64encode(os.urandom(64))
    tail = b',"signature":"%b","timestamp":%d,"type":"MESSAGE"}' % (mark, time.time_ns() // 1_000_000)
    return NewItem(
        kind=ItemKind.MESSAGE, sender=sender, name=name, head=b'{"payload":%b,"seq":' % payload, tail=tail, content=body
    )


def _put(sender: str, recipient: str, now: int, store: Tables) -> None:
    store.mailboxes.append(recipient, _item(sender, recipient), known=True, now=now)


def fill(folder: Path, messages: int, accounts: int, virtual_users: Sequence[wire.VirtualUser]) -> None:
    """Fill a store with messages, spread over the mailboxes of so many accounts; the users are some of them."""
    users = [(_key(), _key()) for _ in range(accounts)]
    for number, user in enumerate(virtual_users):
        users[number * accounts // len(virtual_users)] = (user.id, base64.b64encode(user.public).decode())
    now = time.time_ns() // 1_000_000
    store = SQLiteStore(folder)
    try:
        binding: list[StoreJob] = [partial(_bind, *user, users[number - 1][0]) for number, user in enumerate(users)]
        for start in range(0, accounts, _BATCH):
            _run(store, binding[start : start + _BATCH])
            say(f"{start:,} of {accounts:,} accounts made")
        for start in range(0, messages, _BATCH):
            numbers = range(start, min(start + _BATCH, messages))
            _run(store, [partial(_put, users[n % accounts - 1][0], users[n % accounts][0], now) for n in numbers])
            say(f"{start:,} of {messages:,} messages stored")
    finally:
        say("the store is closed ...")
        store.close()


def _run(store: SQLiteStore, jobs: Sequence[StoreJob]) -> None:
    for result in store.run_jobs(jobs):
        if isinstance(result, CommandFailed):
            raise result.error


def growth(settings: Settings) -> list[Figures]:
    """What a message costs with few messages stored, and with many; what a start costs then."""
    found = []
    for messages, accounts in settings.sizes.stored:
        users = [wire.VirtualUser() for _ in range(2 * settings.sizes.stored_pairs)]
        with tempfile.TemporaryDirectory(prefix="phantom-bench-") as folder:
            data = Path(folder) / "data"
            fill(data, messages, accounts, users)
            with Relay(settings.patch, data) as relay:
                resting = relay.resident()
                generator = LoadGenerator(relay.url, settings.sizes.stored_pairs, acks=settings.acks, users=users)
                count = min(_MESSAGES, messages * 10)
                run = uvloop.run(closed_run(relay, generator, _IN_FLIGHT, count, settings.sizes.rest))
                found.append(
                    {
                        "stored": messages,
                        "accounts": accounts,
                        "start_seconds": relay.start_seconds,
                        "resting_mb": resting / 1e6,
                        "store_mb": (data / "relay.db").stat().st_size / 1e6,
                        **run,
                    }
                )
    return found


def slope(points: Sequence[tuple[float, float]]) -> float:
    """By how much the second number of each point grows with the first: least squares; 0 if there is one point."""
    count = len(points)
    middle_x = sum(x for x, _ in points) / count
    middle_y = sum(y for _, y in points) / count
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0


async def _soak(relay: Relay, settings: Settings, seconds: float) -> Figures:
    rate = settings.sizes.soak_rate
    resident: list[tuple[float, float]] = []
    log, turn = 0, 0
    async with LoadGenerator(relay.url, _SOAK_PAIRS, acks=True) as generator:
        await generator.connect(say)
        await generator.make_contacts()
        began = time.perf_counter()
        while (passed := time.perf_counter() - began) < seconds:
            generator.prepare(int(rate), BODY_CHARS)
            await generator.open_loop(rate)
            for _ in range(round(2 * _SOAK_PAIRS * CHURN)):
                await generator.reconnect(turn)
                turn += 1
            resident.append((passed / 3_600, relay.resident() / 1e6))
            log = max(log, relay.log_bytes())
            say(f"soak: {passed:,.0f} of {seconds:,.0f} s, {resident[-1][1]:.1f} MB")
    later = resident[len(resident) // 3 :]
    stats = generator.stats
    return {
        "seconds": passed,
        "sent": stats.sent,
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "renewed": turn,
        "growth_mb_per_hour": slope(later),
        "most_mb": max(size for _, size in resident),
        "wal_mib": log / 2**20,
        "resident_mb": [round(size, 2) for _, size in resident],
    }


def soak(settings: Settings, seconds: float) -> Figures:
    """Hours of an even load while connections come and go: what the memory does after the first third."""
    with Relay(settings.patch) as relay:
        found: dict[str, Any] = uvloop.run(_soak(relay, settings, seconds))
        return found
