"""What a relay carries on this machine: ``make bench``, some minutes.

The relay runs on one core, the load on another. A run counts if the load was less than 90 %
busy and the relay at least 90 %; what does not count says so. Results go to a JSON file
and a picture.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from picture import curves
from relays import WITHOUT_SYNCING, WITHOUT_VERIFYING, Relay, cores, machine

from phantom_messenger.bench.histogram import Histogram
from phantom_messenger.bench.load import Crowd, LoadError

BODY_CHARS: Final = 1_024
CLOSED: Final = ((1, 1), (64, 1), (64, 8), (1_000, 4))
SHARES: Final = (0.25, 0.5, 0.7, 0.9)
BUSY: Final = 0.9
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is measured.

    ``seconds``: about how long each run takes. ``acks``: recipients acknowledge by themselves.
    """

    seconds: float
    acks: bool
    patch: str
    idle: int


def say(text: str) -> None:
    """Show where it is."""
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def _relay(settings: Settings) -> Relay:
    own = cores()
    return Relay(own[0] if len(own) > 1 else None, settings.patch)


async def _closed(relay: Relay, settings: Settings, senders: int, in_flight: int, count: int) -> Figures:
    crowd = Crowd(relay.url, senders, acks=settings.acks)
    try:
        await crowd.connect(say)
        crowd.prepare(count, BODY_CHARS, say)
        await asyncio.sleep(1.5)  # the relay forgets the pace of the logins
        say(f"{senders} x {in_flight}, {count:,} messages ...")
        relay_before, load_before = relay.cpu_seconds(), time.process_time()
        seconds = await crowd.closed_loop(in_flight)
        busy, load = relay.cpu_seconds() - relay_before, time.process_time() - load_before
    finally:
        crowd.close()
    await asyncio.sleep(0.2)
    return {
        "senders": senders,
        "in_flight": in_flight,
        "messages": count,
        "per_second": count / seconds,
        "relay_us": busy / count * 1e6,
        "load_us": load / count * 1e6,
        "relay_busy": busy / seconds,
        "load_busy": load / seconds,
        "counts": load / seconds < BUSY and (busy / seconds >= BUSY or senders * in_flight < 100),  # noqa: PLR2004 - a lone one waits
        "ack_ms": crowd.ledger.acks.figures(),
        "delivery_ms": crowd.ledger.deliveries.figures(),
    }


def closed(settings: Settings) -> list[Figures]:
    """Messages a second when each sender waits for its answers."""
    found = []
    with _relay(settings) as relay:
        for senders, in_flight in CLOSED:
            try:
                uvloop.run(_closed(relay, settings, senders, in_flight, senders * in_flight * 2))
            except LoadError as error:
                print(f"\n{senders:,} x {in_flight} cannot be carried: {error}", file=sys.stderr)
                continue
            probe = uvloop.run(_closed(relay, settings, senders, in_flight, max(200, senders * in_flight * 2)))
            count = int(probe["per_second"] * settings.seconds)
            found.append(uvloop.run(_closed(relay, settings, senders, in_flight, max(count, 100))))
    return found


async def _open(relay: Relay, settings: Settings, rate: float) -> Figures:
    crowd = Crowd(relay.url, 64, acks=settings.acks)
    try:
        await crowd.connect(say)
        crowd.prepare(int(rate * settings.seconds), BODY_CHARS, say)
        await asyncio.sleep(1.5)
        say(f"{rate:,.0f} messages a second ...")
        await crowd.open_loop(rate)
    finally:
        crowd.close()
    ledger = crowd.ledger
    return {"rate": rate, "ack_ms": ledger.acks.figures(), "delivery_ms": ledger.deliveries.figures()}


def opened(settings: Settings, most: float) -> list[Figures]:
    """Latencies at a given rate, from the moment at which each message was due."""
    found = []
    with _relay(settings) as relay:
        for share in SHARES:
            found.append({"share": share, **uvloop.run(_open(relay, settings, most * share))})
    return found


def fsync_ms(count: int = 300) -> float:
    """The median of this machine's own fdatasync, behind 4 KiB that were appended."""
    times = Histogram()
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(count):
            file.write(bytes(4_096))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.add(int((time.perf_counter() - began) * 1e6))
    return float(times.figures()["p50"])


async def _lone(relay: Relay, settings: Settings) -> Figures:
    crowd = Crowd(relay.url, 1, acks=settings.acks)
    try:
        await crowd.connect()
        for _ in range(200):
            crowd.prepare(1, BODY_CHARS)
            crowd.ledger.accepted = crowd.ledger.delivered = 0
            await crowd.closed_loop(1)
            await asyncio.sleep(0.005)
    finally:
        crowd.close()
    return crowd.ledger.acks.figures()


def lone(settings: Settings) -> Figures:
    """A message on an idle relay, beside the disk's own sync."""
    with _relay(settings) as relay:
        say("a lone message ...")
        found = uvloop.run(_lone(relay, settings))
        return {"ack_ms": found, "fsync_ms": fsync_ms()}


async def _idle(relay: Relay, count: int) -> Figures:
    sources = [f"127.0.0.{number}" for number in range(1, 9)]
    crowd = Crowd(relay.url, count // 2, acks=True, sources=sources)
    before = relay.resident()
    began, cpu = time.perf_counter(), relay.cpu_seconds()
    try:
        await crowd.connect(say)
        logins = count / (time.perf_counter() - began)
        login_us = (relay.cpu_seconds() - cpu) / count * 1e6
        await asyncio.sleep(2)
        held = relay.resident() - before
        say(f"{count:,} idle connections ...")
        cpu, began = relay.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(20)
        idle = (relay.cpu_seconds() - cpu) / (time.perf_counter() - began) / count * 1e6
    finally:
        crowd.close()
    return {
        "connections": count,
        "rss_kb": held / count / 1_024,
        "cpu_us": idle,
        "logins_per_second": logins,
        "login_us": login_us,
    }


def idle(settings: Settings) -> Figures:
    """Connections that do nothing, and the logins that made them."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    with _relay(settings) as relay:
        resting = relay.resident()
        return {"idle_relay_mb": resting / 1e6, **uvloop.run(_idle(relay, min(settings.idle, files - 100)))}


async def _backlog(relay: Relay, count: int) -> float:
    crowd = Crowd(relay.url, 1, acks=True)
    await crowd.connect()
    [sender], [recipient] = crowd.senders, crowd.recipients
    # Contacts may fill all of a mailbox: the recipient has written first.
    recipient.frames.append(recipient.person.message(sender.person.id, "c2VjcmV0", time.time_ns() // 1_000_000))
    recipient.send(1)
    await crowd._settled(1)  # noqa: SLF001 - the same load
    recipient.close()
    await asyncio.sleep(0.3)
    crowd.prepare(count, BODY_CHARS)
    sender.window = 50
    sender.send(50)
    while crowd.ledger.accepted < count + 1:
        await asyncio.sleep(0.01)
    before = crowd.ledger.delivered
    began = time.perf_counter()
    again = await crowd.login(recipient.person)
    while crowd.ledger.delivered - before < count:
        await asyncio.sleep(0.0005)
    seconds = time.perf_counter() - began
    again.close()
    crowd.close()
    return seconds * 1_000


def backlog(settings: Settings) -> Figures:
    """A thousand messages that waited, brought to a client that comes back."""
    with _relay(settings) as relay:
        say("a backlog of 1,000 ...")
        times = sorted(uvloop.run(_backlog(relay, 1_000)) for _ in range(5))
        return {"messages": 1_000, "ms": times[2], "range_ms": [times[0], times[-1]]}


# --- goals and tables ---------------------------------------------------------------


def goals(found: Figures) -> list[tuple[str, str, str, bool]]:
    """Each goal: what, how much, what was seen, whether it is met."""
    rows: list[tuple[str, str, str, bool]] = []

    def row(what: str, goal: float, seen: float, unit: str, *, least: bool = False) -> None:
        met = seen >= goal if least else seen <= goal
        rows.append((what, f"{'>=' if least else '<='} {goal:,g} {unit}", f"{seen:,.4g} {unit}", met))

    if "closed" in found:
        best = max(run["per_second"] for run in found["closed"])
        row("accepted and delivered, one core", 11_000, best, "msg/s", least=True)
    for run in found.get("open", []):
        if run["share"] == 0.5:  # noqa: PLR2004 - the goal's
            for name, limit in (("p50", 3), ("p99", 8), ("p99.9", 20)):
                row(f"ack {name} at half the maximum", limit, run["ack_ms"][name], "ms")
                row(f"delivery {name} at half the maximum", limit + 1, run["delivery_ms"][name], "ms")
    if "lone" in found:
        row(
            "a lone message above the disk's sync",
            1.5,
            found["lone"]["ack_ms"]["p50"] - found["lone"]["fsync_ms"],
            "ms",
        )
    if "idle" in found:
        row("memory of an idle connection", 16, found["idle"]["rss_kb"], "KB")
        row("processor time of an idle connection", 5, found["idle"]["cpu_us"], "us/s")
        row("logins", 4_000, found["idle"]["logins_per_second"], "/s", least=True)
        row("memory of an idle relay", 60, found["idle"]["idle_relay_mb"], "MB")
    if "backlog" in found:
        row("a backlog of 1,000 drained", 60, found["backlog"]["ms"], "ms")
    return rows


def tables(found: Figures) -> str:
    """Everything that was seen, in words and columns."""
    lines = [", ".join(found["machine"]), ""]
    if "closed" in found:
        head = ("senders x in flight", "msg/s", "relay us", "load us", "relay busy", "load busy", "ack p50", "ack p99")
        lines.append("".join(f"{name:>{20 if not index else 12}}" for index, name in enumerate(head)))
        for run in found["closed"]:
            lines.append(
                f"{run['senders']:>14,} x {run['in_flight']:<3}{run['per_second']:>12,.0f}{run['relay_us']:>12.1f}"
                f"{run['load_us']:>12.1f}{run['relay_busy']:>12.0%}{run['load_busy']:>12.0%}"
                f"{run['ack_ms']['p50']:>12.2f}{run['ack_ms']['p99']:>12.2f}"
                f"{'' if run['counts'] else '  does not count: the load was the limit, or the relay was idle'}"
            )
        lines.append("")
    if "open" in found:
        lines.append(
            f"{'rate':>10}"
            + "".join(f"{f'{kind} {name}':>15}" for kind in ("ack", "delivery") for name in ("p50", "p99", "p99.9"))
        )
        for run in found["open"]:
            cells = [run[f"{kind}_ms"][name] for kind in ("ack", "delivery") for name in ("p50", "p99", "p99.9")]
            lines.append(f"{run['rate']:>10,.0f}" + "".join(f"{cell:>12.2f} ms" for cell in cells))
        lines.append("")
    lines.append(f"{'goal':<44}{'wanted':>18}{'seen':>18}")
    lines += [f"{what:<44}{goal:>18}{seen:>18}  {'met' if met else 'MISSED'}" for what, goal, seen, met in goals(found)]
    return "\n".join(lines)


SCENARIOS: Final[dict[str, Callable[[Settings], Any]]] = {
    "closed": closed,
    "lone": lone,
    "idle": idle,
    "backlog": backlog,
}


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*SCENARIOS, "open"], action="append", help="this alone; may be given again")
    parser.add_argument("--seconds", type=float, default=8.0, help="about how long each run takes")
    parser.add_argument("--acks", action="store_true", help="recipients acknowledge by themselves (feature ack)")
    parser.add_argument("--without", choices=["sync", "verify"], action="append", default=[], help="take this away")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections")
    parser.add_argument("--rate", type=float, help="the maximum that open loops are shares of, if not measured")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder for JSON and picture"
    )
    options = parser.parse_args()
    patch = (WITHOUT_SYNCING if "sync" in options.without else "") + (
        WITHOUT_VERIFYING if "verify" in options.without else ""
    )
    settings = Settings(options.seconds, options.acks, patch, options.idle)
    own = cores()
    if len(own) > 1:
        os.sched_setaffinity(0, {own[1]})
    else:
        print("only one core: relay and load share it, and nothing counts", file=sys.stderr)
    found: Figures = {"machine": [*machine()], "without": options.without, "acks": options.acks}
    wanted = options.only or [*SCENARIOS, "open"]
    for name, scenario in SCENARIOS.items():
        if name in wanted:
            found[name] = scenario(settings)
    if "open" in wanted:
        most = options.rate or max(run["per_second"] for run in found["closed"])
        found["open"] = opened(settings, most)
    say("")
    print(file=sys.stderr)
    print(tables(found))
    options.out.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S")
    (options.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / f"{name}.svg").write_text(curves(found))
    print(f"\nresults: {options.out / name}.json and .svg")


if __name__ == "__main__":
    main()
