"""Relays that share a PostgreSQL database on this machine: ``make bench-several``, some minutes.

Relays, database, standbys and load share all cores. Each user writes to somebody at the next relay. In each round all
forms are run, and beside them one relay with its store in SQLite, and ejabberd if it is installed (``make bench-peers``
does that); a message counts as it does there.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop
from databases import Database
from peers.common import SYSTEM, PeerError, closed_loop
from peers.xmpp import Ejabberd
from relays import CORES, Relay, machine
from scenarios import BODY_CHARS, drain, say

from phantom_messenger.loadgen.generator import LoadError, LoadGenerator

PAIRS, IN_FLIGHT = 64, 8
BACKLOG: Final = 1_000
LONE: Final = 200

EJABBERD: Final = "ejabberd"

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form:
    """Relays on a database; ``standbys`` -1 for one relay with a store in SQLite."""

    name: str
    relays: int
    standbys: int


FORMS: Final = (
    Form("SQLite, 1 relay", 1, -1),
    Form("PostgreSQL, 1 relay", 1, 0),
    Form("PostgreSQL, 2 relays", 2, 0),
    Form("quorum, 2 relays", 2, 2),
    Form("quorum, 3 relays", 3, 2),
)


@dataclass(slots=True)
class Running:
    """What was started for a form."""

    relays: list[Relay]
    database: Database | None

    @property
    def urls(self) -> list[str]:
        """Of the relays."""
        return [relay.url for relay in self.relays]

    def spent(self) -> list[float]:
        """Processor time so far: of the relays, the primary, the standbys; in seconds."""
        database = self.database.cpu_seconds() if self.database else [0.0]
        return [sum(relay.cpu_seconds() for relay in self.relays), database[0], sum(database[1:])]


@contextlib.contextmanager
def running(form: Form) -> Iterator[Running]:
    """Start everything, and end it."""
    with contextlib.ExitStack() as stack:
        if form.standbys < 0:
            relay = stack.enter_context(Relay(cores=len(CORES)))
            yield Running([relay], None)
            return
        database = stack.enter_context(Database(form.standbys))
        options = ["--store", database.url, "--durability", "quorum" if form.standbys else "single"]

        relays = [stack.enter_context(Relay(options=options, cores=len(CORES))) for _ in range(form.relays)]
        yield Running(relays, database)


async def _closed(run: Running, count: int, *, acks: bool) -> Figures:
    async with LoadGenerator(run.urls, PAIRS, acks=acks) as generator:
        await generator.connect(say)
        await generator.make_contacts()
        generator.prepare(count, BODY_CHARS, say)
        await asyncio.sleep(1.5)
        before, load = run.spent(), time.process_time()
        seconds = await generator.closed_loop(IN_FLIGHT)
        spent = [now - then for now, then in zip(run.spent(), before, strict=True)]
        load = time.process_time() - load
    relay, primary, standbys = (one / count * 1e6 for one in spent)
    return {
        "per_second": generator.stats.delivered / seconds,
        "relay_us": relay,
        "primary_us": primary,
        "standbys_us": standbys,
        "load_us": load / count * 1e6,
        "ack_ms": generator.stats.acks.figures(),
    }


def throughput(run: Running, seconds: float, *, acks: bool) -> Figures:
    """A closed loop of about so many seconds; one before tells how many messages that are."""
    count = 2 * PAIRS * IN_FLIGHT
    for _ in range(2):
        found = uvloop.run(_closed(run, count, acks=acks))
        count = max(int(found["per_second"] * seconds), count)
    return found


async def _lone(run: Running) -> Figures:
    async with LoadGenerator(run.urls, 1) as generator:
        await generator.connect()
        await generator.make_contacts()
        for _ in range(LONE):
            generator.prepare(1, BODY_CHARS)
            await generator.closed_loop(1)
            await asyncio.sleep(0.005)
    stats = generator.stats
    return {"ack_ms": stats.acks.figures(), "delivery_ms": stats.deliveries.figures()}


def backlog(run: Running) -> Figures:
    """Messages that waited, brought to a client that comes back; the median of five."""
    times = sorted(uvloop.run(asyncio.wait_for(drain(run.urls, BACKLOG), 60)) for _ in range(5))
    return {"ms": times[2], "range_ms": [times[0], times[-1]]}


async def _come_back(run: Running, count: int) -> Figures:
    assert run.database is not None  # noqa: S101 - narrows the type
    async with LoadGenerator(run.urls, count // 2) as generator:
        began = time.perf_counter()
        await generator.connect(say)
        new_seconds = time.perf_counter() - began
        everybody = list(enumerate(one.user for pair in generator.pairs for one in pair))
        say(f"the database is killed, and {count:,} connections are dropped ...")
        await asyncio.to_thread(run.database.restart)
        generator.close()
        began = time.perf_counter()
        refused = 0
        remaining = iter(everybody)

        async def worker() -> None:
            nonlocal refused
            for number, user in remaining:
                while True:
                    try:
                        await generator.login(user, number)
                        break
                    except LoadError:
                        refused += 1
                        await asyncio.sleep(0.5)

        async with asyncio.timeout(300):
            await asyncio.gather(*(worker() for _ in range(128)))
        return {
            "logins": count,
            "seconds": time.perf_counter() - began,
            "refused": refused,
            "new_seconds": new_seconds,
        }


def come_back(run: Running, count: int) -> Figures:
    """Logins of everybody at once, after the database was killed and started again."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    return uvloop.run(_come_back(run, min(count, files - 500)))


def ejabberd(seconds: float) -> Figures:
    """The same closed loop at ejabberd, which may use all cores; it signs and stores nothing."""
    count = 2_000
    for _ in range(2):
        with Ejabberd(len(CORES)) as program:
            run = uvloop.run(closed_loop(program, PAIRS, IN_FLIGHT, count, "A" * BODY_CHARS))
        count = max(int(run["per_second"] * seconds), count)
    shown = {name: run[name] for name in ("per_second", "load_us", "ack_ms")}
    return {"closed": {**shown, "relay_us": run["server_us"], "primary_us": 0.0, "standbys_us": 0.0}}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    names = ["closed", "acks", "lone", "backlog", "logins"]
    add("--only", choices=names, action="append", help="this alone, logins if they are asked for; may be given again")
    add("--form", choices=[form.name for form in FORMS], action="append", help="this form alone; may be given again")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=5.0, help="about how long each loop lasts")
    add("--logins", type=int, default=10_000, help="people who come back at once (10,000)")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for JSON")
    options = parser.parse_args()
    options.only = options.only or names[:-1]
    return options


def _measure(form: Form, options: argparse.Namespace) -> Figures:
    scenarios: dict[str, Callable[[Running], Figures]] = {
        "closed": lambda run: throughput(run, options.seconds, acks=False),
        "acks": lambda run: throughput(run, options.seconds, acks=True),
        "lone": lambda run: uvloop.run(_lone(run)),
        "backlog": backlog,
        "logins": lambda run: come_back(run, options.logins) if run.database else {},
    }
    found: Figures = {}
    with running(form) as run:
        for name in options.only:
            try:
                found[name] = scenarios[name](run)
            except (LoadError, TimeoutError) as error:
                found[name] = {"failed": str(error) or type(error).__name__}
    return found


def table(found: dict[str, list[Figures]]) -> str:
    """The medians of the rounds."""
    lines = [*machine(), ""]
    for name in ("closed", "acks"):
        lines.append(f"{name:<24}{'msg/s':>8}{'range':>16}{'relays us':>11}{'primary':>9}{'standbys':>9}{'load':>7}")
        for form, runs in found.items():
            good = [run[name] for run in runs if name in run and "failed" not in run[name]]
            failed = [run[name]["failed"] for run in runs if name in run and "failed" in run[name]]
            if good:
                rates = [one["per_second"] for one in good]
                us = [median(one[key] for one in good) for key in ("relay_us", "primary_us", "standbys_us", "load_us")]
                lines.append(
                    f"{form:<24}{median(rates):>8,.0f}{f'{min(rates):,.0f}-{max(rates):,.0f}':>16}{us[0]:>11,.0f}"
                    f"{us[1]:>9,.0f}{us[2]:>9,.0f}{us[3]:>7,.0f}"
                )
            lines += [f"{form:<24}{why}" for why in failed]
    lines.append(f"{'':<24}{'lone ack p50, p99':>20}{'push above it, p50':>20}{'backlog ms':>12}")
    for form, runs in found.items():
        lone = [run["lone"] for run in runs if "ack_ms" in run.get("lone", ())]
        slow = [run["backlog"]["ms"] for run in runs if "ms" in run.get("backlog", ())]
        if lone:
            p50, p99 = (median(one["ack_ms"][name] for one in lone) for name in ("p50", "p99"))
            push = median(one["delivery_ms"]["p50"] - one["ack_ms"]["p50"] for one in lone)
            shown = f"{form:<24}{f'{p50:.2f}, {p99:.2f} ms':>20}{f'{push:.2f} ms':>20}"
            lines.append(shown + (f"{median(slow):>12,.0f}" if slow else ""))
    for form, runs in found.items():
        for one in (run["logins"] for run in runs if "seconds" in run.get("logins", ())):
            lines.append(
                f"{form}: {one['logins']:,} logins after the database was killed in {one['seconds']:.1f} s"
                f" ({one['refused']:,} tries were refused); with new accounts before it in {one['new_seconds']:.1f} s"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure."""
    options = _options()
    forms = [form for form in FORMS if not options.form or form.name in options.form]
    found: dict[str, list[Figures]] = {form.name: [] for form in forms}
    for number in range(options.rounds):
        for form in forms:
            say("")
            print(f"{time.strftime('%H:%M:%S')} round {number + 1}: {form.name}", file=sys.stderr, flush=True)
            found[form.name].append(_measure(form, options))
        if not options.form and "closed" in options.only and shutil.which("ejabberdctl", path=SYSTEM):
            print(f"{time.strftime('%H:%M:%S')} round {number + 1}: {EJABBERD}", file=sys.stderr, flush=True)
            try:
                found.setdefault(EJABBERD, []).append(ejabberd(options.seconds))
            except (PeerError, OSError, TimeoutError) as error:
                print(f"  {error}", file=sys.stderr)
    say("")
    print(table(found))
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / f"several-{time.strftime('%Y%m%d-%H%M%S')}.json"
    name.write_text(json.dumps({"machine": [*machine()], "cores": len(CORES), "runs": found}, indent=1) + "\n")
    print(f"\nresults: {name}")


if __name__ == "__main__":
    main()
