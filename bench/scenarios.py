"""What is measured: each scenario starts a relay of its own and gives figures that JSON can hold."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from relays import CORES, Relay

from phantom_messenger.loadgen.generator import LoadError, LoadGenerator
from phantom_messenger.loadgen.histogram import Histogram
from phantom_messenger.loadgen.report import latencies

BODY_CHARS: Final = 1_024
SHARES: Final = (0.25, 0.5, 0.7, 0.9)
BUSY: Final = 0.9
LATE_US: Final = 1_500
"""In an open loop, how late the load may be with one message in a hundred: it has a core of its own."""

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured.

    Attributes:
        seconds: about how long a closed or open loop lasts.
        closed: senders, and how many unanswered messages of each.
        both: the same, where the relay may use every core.
        rest: seconds between logins and messages: the relay forgets the pace of the logins.
        open_pairs: senders in an open loop.
        idle: connections that do nothing, and for how long.
        stage_turns: turns of which the stages are timed.
        stored: messages and accounts of a small store and of a big one.
    """

    seconds: float = 8.0
    rest: float = 1.5
    closed: tuple[tuple[int, int], ...] = ((1, 1), (64, 1), (64, 8), (1_000, 4))
    both: tuple[int, int] = (64, 8)
    open_pairs: int = 64
    lone: int = 200
    logins: int = 2_000
    idle: int = 10_000
    idle_seconds: float = 20.0
    backlog: int = 1_000
    backlogs: int = 5
    stored: tuple[tuple[int, int], tuple[int, int]] = ((1_000, 200), (1_000_000, 100_000))
    stored_pairs: int = 64
    stage_turns: int = 40
    soak_rate: float = 2_000.0


QUICK: Final = Sizes(
    seconds=0.2,
    rest=0.1,
    closed=((1, 1), (8, 4)),
    both=(8, 4),
    open_pairs=8,
    lone=10,
    logins=40,
    idle=60,
    idle_seconds=1.0,
    backlog=50,
    backlogs=1,
    stored=((40, 20), (400, 200)),
    stored_pairs=4,
    stage_turns=3,
    soak_rate=100.0,
)
"""Enough to see that everything works; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured: ``acks``: whether users confirm what they receive; ``patch``: see ``Relay``."""

    sizes: Sizes = Sizes()
    acks: bool = False
    patch: str = ""


def say(text: str) -> None:
    """Show progress on a terminal, where the next line will be."""
    if sys.stderr.isatty():
        print(f"{text:<78}\r", end="", file=sys.stderr, flush=True)


# --- closed loop ------------------------------------------------------------------


async def closed_run(relay: Relay, generator: LoadGenerator, in_flight: int, count: int, rest: float) -> Figures:
    """People who each wait for answers write so many messages together; they leave at the end."""
    async with generator:
        await generator.connect(say)
        await generator.make_contacts()
        generator.prepare(count, BODY_CHARS, say)
        await asyncio.sleep(rest)
        say(f"{len(generator.senders):,} x {in_flight}: {count:,} messages ...")
        relay_before, load_before, began = relay.cpu_seconds(), time.process_time(), time.perf_counter()
        seconds = await generator.closed_loop(in_flight)
        whole = time.perf_counter() - began
        busy, load = relay.cpu_seconds() - relay_before, time.process_time() - load_before
    stats = generator.stats
    return {
        "senders": len(generator.senders),
        "in_flight": in_flight,
        "messages": count,
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "receipts": stats.receipts,
        "per_second": stats.delivered / seconds,
        "relay_us": busy / count * 1e6,
        "load_us": load / count * 1e6,
        "relay_busy": busy / whole,
        "load_busy": load / whole,
        "doubt": doubt(busy / whole, load / whole),
        "ack_ms": stats.acks.figures(),
        "delivery_ms": stats.deliveries.figures(),
    }


def doubt(relay_busy: float, load_busy: float) -> str:
    """Why a closed loop does not say what the relay can carry, '' if it does."""
    if len(CORES) < 2:  # noqa: PLR2004 - one for each
        return "relay and load share a core"
    if load_busy >= BUSY:
        return "the load was the limit"
    return "" if relay_busy >= BUSY else "the relay was not busy"


def closed(settings: Settings) -> list[Figures]:
    """Messages a second when each sender waits for its answers."""
    found: list[Figures] = []
    for senders, in_flight in settings.sizes.closed:
        count = max(200, 2 * senders * in_flight)
        try:
            with Relay(settings.patch) as relay:
                for _ in range(2):  # the first tells how many messages fill the time
                    generator = LoadGenerator(relay.url, senders, acks=settings.acks)
                    run = uvloop.run(closed_run(relay, generator, in_flight, count, settings.sizes.rest))
                    count = max(int(run["per_second"] * settings.sizes.seconds), count)
            found.append(run)
        except LoadError as error:
            found.append({"senders": senders, "in_flight": in_flight, "failed": str(error)})
    return found


def both(settings: Settings) -> Figures:
    """Messages a second when the relay and its helpers may use every core, and the load too."""
    senders, in_flight = settings.sizes.both
    count = max(200, 2 * senders * in_flight)
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        with Relay(settings.patch, cores=len(CORES)) as relay:
            time.sleep(settings.sizes.rest)  # its helpers start meanwhile
            resting = relay.resident()
            for _ in range(2):
                generator = LoadGenerator(relay.url, senders, acks=settings.acks)
                run = uvloop.run(closed_run(relay, generator, in_flight, count, settings.sizes.rest))
                count = max(int(run["per_second"] * settings.sizes.seconds), count)
    except LoadError as error:
        return {"senders": senders, "in_flight": in_flight, "failed": str(error)}
    finally:
        os.sched_setaffinity(0, mine)
    return {**run, "resting_mb": resting / 1e6, "doubt": "the load was the limit" if run["load_busy"] >= BUSY else ""}


# --- open loop --------------------------------------------------------------------


async def _open(relay: Relay, settings: Settings, rate: float) -> Figures:
    async with LoadGenerator(relay.url, settings.sizes.open_pairs, acks=settings.acks) as generator:
        await generator.connect(say)
        await generator.make_contacts()
        generator.prepare(max(int(rate * settings.sizes.seconds), 1), BODY_CHARS, say)
        await asyncio.sleep(settings.sizes.rest)
        say(f"{rate:,.0f} messages a second ...")
        before, began = relay.cpu_seconds(), time.perf_counter()
        await generator.open_loop(rate, spins=len(CORES) > 1)
        busy = (relay.cpu_seconds() - before) / (time.perf_counter() - began)
    stats = generator.stats
    return {
        "rate": rate,
        "sent": stats.sent,
        "accepted": stats.accepted,
        "delivered": stats.delivered,
        "refused": stats.refused.total(),
        "relay_busy": busy,
        "doubt": "the load was late" if stats.lateness.quantile(0.99) > LATE_US else "",
        **latencies(stats),
    }


def opened(settings: Settings, most: float) -> list[Figures]:
    """Latencies at shares of the most that the relay carries, from when each message was due."""
    found: list[Figures] = []
    for share in SHARES:
        with Relay(settings.patch) as relay:
            try:
                run = uvloop.run(_open(relay, settings, most * share))
            except LoadError as error:
                run = {"rate": most * share, "failed": str(error)}
        found.append({"share": share, **run})
    return found


# --- single figures ---------------------------------------------------------------


def fsync_ms(folder: Path, count: int = 300) -> float:
    """The median of the disk's own fdatasync, behind 4 KiB that were appended."""
    times = Histogram()
    file = folder / "fsync"
    with file.open("wb", buffering=0) as handle:
        for _ in range(count):
            handle.write(bytes(4_096))
            began = time.perf_counter()
            os.fdatasync(handle.fileno())
            times.add(int((time.perf_counter() - began) * 1e6))
    file.unlink()
    return times.figures()["p50"]


async def _lone(relay: Relay, settings: Settings) -> Figures:
    async with LoadGenerator(relay.url, 1, acks=settings.acks) as generator:
        await generator.connect()
        await generator.make_contacts()
        for _ in range(settings.sizes.lone):
            generator.prepare(1, BODY_CHARS)
            await generator.closed_loop(1)
            await asyncio.sleep(0.005)
    return generator.stats.acks.figures()


def lone(settings: Settings) -> Figures:
    """A message on an idle relay, beside the disk's own sync."""
    with Relay(settings.patch) as relay:
        say("a lone message ...")
        resting = relay.resident()
        found = uvloop.run(_lone(relay, settings))
        return {"ack_ms": found, "fsync_ms": fsync_ms(relay.data.parent), "resting_mb": resting / 1e6}


async def _logins(relay: Relay, settings: Settings) -> Figures:
    count = settings.sizes.logins
    async with LoadGenerator(relay.url, count // 2, acks=settings.acks) as generator:
        relay_before, load_before, began = relay.cpu_seconds(), time.process_time(), time.perf_counter()
        await generator.connect(say)
        seconds = time.perf_counter() - began
        busy, load = relay.cpu_seconds() - relay_before, time.process_time() - load_before
    return {
        "logins": count,
        "per_second": count / seconds,
        "relay_us": busy / count * 1e6,
        "load_us": load / count * 1e6,
        "doubt": doubt(busy / seconds, load / seconds),
    }


def logins(settings: Settings) -> Figures:
    """Logins, each with a challenge that is signed and verified, and an account of its own."""
    with Relay(settings.patch) as relay:
        return uvloop.run(_logins(relay, settings))


async def _idle(relay: Relay, count: int, seconds: float) -> Figures:
    sources = [f"127.0.0.{number}" for number in range(1, 9)]
    before = relay.resident()
    async with LoadGenerator(relay.url, count // 2, acks=True, sources=sources) as generator:
        await generator.connect(say)
        await asyncio.sleep(2)
        held = relay.resident() - before
        say(f"{count:,} idle connections ...")
        cpu, began = relay.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(seconds)
        spent = (relay.cpu_seconds() - cpu) / (time.perf_counter() - began)
    return {"connections": count, "rss_kb": held / count / 1_024, "cpu_us": spent / count * 1e6}


def idle(settings: Settings) -> Figures:
    """Connections that are logged in and do nothing."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    count = min(settings.sizes.idle, files - 200) // 2 * 2
    if count < settings.sizes.idle:
        print(f"only {count:,} idle connections: the system allows {files:,} open files", file=sys.stderr)
    with Relay(settings.patch) as relay:
        return uvloop.run(_idle(relay, count, settings.sizes.idle_seconds))


async def drain(urls: str | Sequence[str], count: int) -> float:
    """Milliseconds from dialling until so many messages that waited for a client have reached it.

    Args:
        urls: of the relay, or of several on one store.
        count: of messages.
    """
    async with LoadGenerator(urls, 1, acks=True) as generator:
        await generator.connect()
        await generator.make_contacts()
        [sender], [recipient], stats = generator.senders, generator.recipients, generator.stats
        recipient.close()
        await asyncio.sleep(0.3)
        generator.prepare(count, BODY_CHARS)
        sender.window = 50
        sender.send(50)
        while stats.accepted < count:
            await asyncio.sleep(0.01)
        began = time.perf_counter()
        await generator.login(recipient.user, 1)
        while stats.undelivered:
            await asyncio.sleep(0.0005)
        return (time.perf_counter() - began) * 1_000


def backlog(settings: Settings) -> Figures:
    """Messages that waited, brought to a client that comes back: from dialling to the last one."""
    times: list[float] = []
    with Relay(settings.patch) as relay:
        for _ in range(settings.sizes.backlogs):
            say(f"a backlog of {settings.sizes.backlog:,} ...")
            times.append(uvloop.run(asyncio.wait_for(drain(relay.url, settings.sizes.backlog), 60)))
    times.sort()
    return {"messages": settings.sizes.backlog, "ms": times[len(times) // 2], "range_ms": [times[0], times[-1]]}
