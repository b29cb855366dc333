"""What messages to many cost a relay, and what others notice of them: ``make bench-many``, two minutes.

Pairs write to each other at a fixed rate; beside them somebody writes to a hundred people who are away, ten times a
second. Rounds with and without that take turns. Then the processor time of such a message is measured by itself, with
SQLite and with PostgreSQL. The relay runs on one core and the load on the other; the database uses all.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from statistics import median
from typing import Any, Final, Self
from urllib.parse import urlsplit

import uvloop
from databases import Database
from relays import CORES, Relay, machine
from scenarios import BODY_CHARS, LATE_US, say

from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.connection import Connection
from phantom_messenger.loadgen.generator import LoadGenerator

PAIRS: Final = 32
MANY: Final = 100
A_SECOND: Final = 10
MOST_OF_ONE: Final = 250
"""Messages to a group that one sender may have waiting in a mailbox are a few more."""

HEAD: Final = base64.b64encode(bytes(105)).decode()
COMMON: Final = base64.b64encode(bytes(795)).decode()
"""With the head 1.2 KB; a frame to a hundred is one of 33 KB."""

REST_SECONDS: Final = 1.5
"""A relay forgets the pace of logins meanwhile."""

Figures = dict[str, Any]


class Writer(Connection):
    """A connection with the feature ``many``, which keeps what it is answered."""

    answers: asyncio.Queue[Figures]

    def _handle_other(self, frame: Figures) -> bytes:
        match frame["type"]:
            case "CONNECTION_ACK":
                self.answers = asyncio.Queue()
                super()._handle_other(frame)
                return wire.text_frame(self.user.auth(frame, self._host, ["many"]))
            case "MANY_RESULT" | "ERROR":
                self.answers.put_nowait(frame)
                return b""
        return super()._handle_other(frame)

    async def answered(self) -> None:
        """Take one answer: everybody has to have been accepted."""
        answer = await self.answers.get()
        if answer["payload"].get("accepted") != MANY:
            raise SystemExit(f"not everybody was accepted: {json.dumps(answer)[:300]}")


class Group:
    """Somebody who writes to many, and those who are away."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def begin(self, url: str, count: int) -> None:
        """Make the accounts, have everybody write to everybody once, and sign so many messages."""
        sets, where = -(-count // MOST_OF_ONE), urlsplit(url)
        async with LoadGenerator(url, sets * MANY // 2) as others:
            _, self._writer = await asyncio.get_running_loop().create_connection(
                lambda: Writer(wire.VirtualUser(), others.stats, where, acks=False),
                where.hostname or "",
                where.port or 80,
            )
            self._writer.begin()
            await self._writer.ready
            await others.connect(say)
            everybody = [one for pair in others.pairs for one in pair]
            for one in everybody:
                one.frames.append(one.user.message(self._writer.user.id, "c2VjcmV0", one.now_ms()))
                one.send(1)
            while others.stats.missing:
                await asyncio.sleep(0.01)
        people = [one.user.id for one in everybody]
        for number in range(sets + count):
            at = number % sets * MANY
            self._frames.append(_to_many(self._writer.user, people[at : at + MANY], self._writer.now_ms()))
            say(f"{number + 1:,} of {sets + count:,} messages to {MANY} signed")
        rest, self._frames = self._frames[sets:], self._frames[:sets]
        await self.write_in_turn()
        self._frames = rest
        await asyncio.sleep(REST_SECONDS)

    async def write(self, rate: float) -> None:
        """Write all of them at this rate, whatever is answered."""
        began = time.perf_counter()
        for number, frame in enumerate(self._frames):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            self._writer.write(frame)
        for _ in self._frames:
            await self._writer.answered()

    async def write_in_turn(self) -> None:
        """Write the next one when the last one is answered."""
        for frame in self._frames:
            self._writer.write(frame)
            await self._writer.answered()


def _to_many(user: wire.VirtualUser, recipients: list[str], at: int) -> bytes:
    """A masked MESSAGE_MANY, with all signatures."""
    shared = {"conversationId": "bench", "messageId": str(uuid.uuid4())}
    parts = []
    for recipient in recipients:
        whole = {**shared, "encrypted": HEAD + COMMON, "recipientId": recipient}
        signature = json.loads(user.signed("MESSAGE", whole, at))["signature"]
        parts.append({"recipientId": recipient, "head": HEAD, "signature": signature})
    return wire.text_frame(
        user.signed("MESSAGE_MANY", {**shared, "common": COMMON, "group": True, "recipients": parts}, at)
    )


async def _others(relay: Relay, rate: float, seconds: float, *, beside: bool) -> Figures:
    """What pairs see, at so many messages a second, with messages to many beside them or without."""
    async with LoadGenerator(relay.url, PAIRS) as generator, contextlib.AsyncExitStack() as stack:
        await generator.connect(say)
        await generator.make_contacts()
        generator.prepare(int(rate * seconds), BODY_CHARS, say)
        writing: list[asyncio.Task[None]] = []
        if beside:
            group = await stack.enter_async_context(Group())
            await group.begin(relay.url, int(A_SECOND * seconds))
            writing.append(asyncio.create_task(group.write(A_SECOND)))
        else:
            await asyncio.sleep(REST_SECONDS)
        before, began = relay.cpu_seconds(), time.perf_counter()
        await generator.open_loop(rate, spins=len(CORES) > 1)
        busy = (relay.cpu_seconds() - before) / (time.perf_counter() - began)
        await asyncio.gather(*writing)
    stats = generator.stats
    return {
        "ack_ms": stats.acks.figures(),
        "delivery_ms": stats.deliveries.figures(),
        "refused": stats.refused.total(),
        "busy": busy,
        "late": stats.lateness.quantile(0.99) > LATE_US,
    }


async def _alone(relay: Relay, database: Database | None, count: int) -> Figures:
    """Processor time of a message to many, one after another."""
    async with Group() as group:
        await group.begin(relay.url, count)
        before = relay.cpu_seconds(), sum(database.cpu_seconds()) if database else 0.0
        began = time.perf_counter()
        await group.write_in_turn()
        seconds = time.perf_counter() - began
        spent = relay.cpu_seconds() - before[0], (sum(database.cpu_seconds()) if database else 0.0) - before[1]
    return {"relay_ms": spent[0] / count * 1e3, "database_ms": spent[1] / count * 1e3, "ms": seconds / count * 1e3}


@contextlib.contextmanager
def _relay_on(engine: str) -> Iterator[tuple[Relay, Database | None]]:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(Database()) if engine == "PostgreSQL" else None
        options = ["--store", database.url] if database else []
        yield stack.enter_context(Relay(options=options)), database


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long the pairs write in each")
    parser.add_argument("--rate", type=float, default=1_000.0, help="messages a second of all pairs (1,000)")
    parser.add_argument("--count", type=int, default=100, help="messages to many that are measured by themselves (100)")
    options = parser.parse_args()
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[1]})
    print(*machine(), sep="\n")
    print(f"\n{options.rate:,.0f} messages a second of {PAIRS} pairs: p50, p99 and p99.9 of others in ms")
    found: dict[bool, list[Figures]] = {False: [], True: []}
    for _ in range(options.rounds):
        for beside, runs in found.items():
            with Relay() as relay:
                run = uvloop.run(_others(relay, options.rate, options.seconds, beside=beside))
            runs.append(run)
            what = f"with {A_SECOND} messages a second to {MANY}" if beside else "without messages to many"
            doubt = " (the load was late)" if run["late"] else ""
            say("")
            print(f"  {what:<36} {_shown(run)}; relay {run['busy']:.0%} busy{doubt}", flush=True)
    for beside, runs in found.items():
        p99 = median(run["delivery_ms"]["p99"] for run in runs)
        print(f"median of the p99 of deliveries, {'with' if beside else 'without'}: {p99:.1f} ms")
    print(f"\none message to {MANY}, {options.count} in turn")
    for engine in ("SQLite", "PostgreSQL"):
        with _relay_on(engine) as (relay, database):
            run = uvloop.run(_alone(relay, database, options.count))
        say("")
        spent = f"relay {run['relay_ms']:.1f} ms, database {run['database_ms']:.1f} ms"
        print(f"  {engine:<12} {spent} of processor time, answered in {run['ms']:.1f} ms")


def _shown(run: Figures) -> str:
    parts = []
    for name, key in (("accepted", "ack_ms"), ("delivered", "delivery_ms")):
        figures = run[key]
        parts.append(f"{name} {figures['p50']:.1f}, {figures['p99']:.1f}, {figures['p99.9']:.1f}")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
