"""Other programs and ours, on this machine and in this run: ``make bench-peers``, some minutes.

Each server runs on one core, the load on another. Pairs of users who are all connected write
messages of 1 KB to each other, with some unanswered per sender; a message counts once the program
has confirmed it to its sender and delivered it. Each round runs every program once, A B C A B C;
ratios are taken within a round.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop
from peers.common import SYSTEM, VENV, PeerError, Program, closed_loop
from peers.mqtt import Mosquitto
from peers.nats import Nats
from peers.nostr import Nostr
from peers.redis import Redis
from peers.xmpp import Ejabberd, Prosody
from relays import CORES, Relay, machine
from scenarios import BODY_CHARS, closed_run, say

from phantom_messenger.loadgen.generator import LoadError, LoadGenerator

PEERS: Final[dict[str, type[Program]]] = {
    "nostr": Nostr,
    "ejabberd": Ejabberd,
    "prosody": Prosody,
    "mosquitto": Mosquitto,
    "redis": Redis,
    "nats": Nats,
}
NEEDED: Final = ("ejabberdctl", "prosody", "mosquitto", "redis-server")
OURS: Final = "Phantom"
GUARANTEES: Final = """L0: acknowledged from memory.
L1: what was acknowledged survives kill -9. L2: it is synced to disk before.
S: the signature of every message is verified."""
XMPP_GOAL: Final = 2
NOSTR_GOAL: Final = 5

Runs = dict[str, list[dict[str, Any]]]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", choices=PEERS, action="append", help="this one alone, beside ours; may be given again")
    add("--rounds", type=int, default=3)
    add("--pairs", type=int, default=64)
    add("--in-flight", type=int, default=8)
    add("--seconds", type=float, default=5.0, help="about how long each run lasts")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for JSON")
    return parser.parse_args()


def ours(pairs: int, in_flight: int, count: int) -> dict[str, Any]:
    """The same with our relay, on one core as the others."""
    with Relay(options=("--verify-workers", "0")) as relay:
        run = uvloop.run(closed_run(relay, LoadGenerator(relay.url, pairs), in_flight, count, 1.0))
    return {**run, "server_us": run["relay_us"], "server_busy": run["relay_busy"]}


def theirs(kind: type[Program], pairs: int, in_flight: int, count: int) -> dict[str, Any]:
    """One run of another program."""
    with kind() as program:
        return uvloop.run(closed_loop(program, pairs, in_flight, count, "A" * BODY_CHARS))


def compare(options: argparse.Namespace) -> tuple[Runs, dict[str, str]]:
    """All runs by name, and why some programs have none."""
    found: Runs = {OURS: []}
    failed: dict[str, str] = {}
    counts: dict[str, int] = {}
    chosen = {name: kind for name, kind in PEERS.items() if not options.only or name in options.only}
    for number in range(options.rounds + 1):  # the first tells how many messages fill the time
        for name, kind in ((OURS, None), *chosen.items()):
            if name in failed:
                continue
            count = counts.get(name, 2_000)
            print(
                f"{time.strftime('%H:%M:%S')} round {number}: {name}, {count:,} messages", file=sys.stderr, flush=True
            )
            try:
                if kind is None:
                    run = ours(options.pairs, options.in_flight, count)
                else:
                    run = theirs(kind, options.pairs, options.in_flight, count)
            except (PeerError, LoadError, OSError, TimeoutError) as error:
                failed[name] = " ".join(str(error).split())[:200] or type(error).__name__
                print(f"  {failed[name]}", file=sys.stderr)
                continue
            if number:
                found.setdefault(name, []).append(run)
            counts[name] = max(int(run["per_second"] * options.seconds), 2_000)
    return found, failed


def table(found: Runs, failed: dict[str, str]) -> str:
    """The medians, ranges, and ratios of rounds."""
    head = f"{'':<20}{'guarantee':<18}{'msg/s':>8}{'range':>16}{'us each':>9}{'ack p50':>9}{'p99':>8}  ours is"
    lines = [*machine(), GUARANTEES, "", head]
    for name, runs in found.items():
        if not runs:
            continue
        kind = PEERS.get(name)
        rates = [run["per_second"] for run in runs]
        ratios = _ratios(found, name)
        doubt = [word for word in (_doubt(run) for run in runs) if word]
        lines.append(
            f"{kind.name if kind else OURS:<20}{kind.guarantee if kind else 'L2, S':<18}{median(rates):>8,.0f}"
            f"{f'{min(rates):,.0f}-{max(rates):,.0f}':>16}{median(run['server_us'] for run in runs):>9,.0f}"
            f"{median(run['ack_ms']['p50'] for run in runs):>9.1f}{median(run['ack_ms']['p99'] for run in runs):>8.1f}"
            f"  {median(ratios):.2f} x ({min(ratios):.2f}-{max(ratios):.2f})" + (f"  {doubt[0]}" if doubt else "")
        )
        if kind:
            lines.append(f"  not like for like: {kind.unlike}")
    lines += [f"{PEERS[name].name if name in PEERS else name}: {why}" for name, why in failed.items()]
    return "\n".join([*lines, "", *_goals(found)])


def _doubt(run: dict[str, Any]) -> str:
    if run["load_busy"] >= 0.9:  # noqa: PLR2004 - as for our own figures
        return "the load was the limit"
    return "" if run["server_busy"] >= 0.9 else f"not busy ({run['server_busy']:.0%})"  # noqa: PLR2004


def _ratios(found: Runs, name: str) -> list[float]:
    """By how much ours is faster, round by round."""
    return [mine["per_second"] / its["per_second"] for mine, its in zip(found[OURS], found[name], strict=False)]


def _goals(found: Runs) -> list[str]:
    xmpp = [name for name in ("ejabberd", "prosody") if found.get(name)]
    wanted = [("nostr", f"at least {NOSTR_GOAL} x nostr-relay", NOSTR_GOAL)] if found.get("nostr") else []
    if xmpp:
        best = max(xmpp, key=lambda name: median(run["per_second"] for run in found[name]))
        wanted.append((best, f"at least {XMPP_GOAL} x the best XMPP server", XMPP_GOAL))
    return [_goal(what, median(_ratios(found, name)), goal) for name, what, goal in wanted]


def _goal(what: str, seen: float, wanted: float) -> str:
    return f"{what:<40}{seen:.2f} x  {'met' if seen >= wanted else 'MISSED'}"


def main() -> None:
    """Compare."""
    options = _options()
    missing = [program for program in NEEDED if not shutil.which(program, path=SYSTEM)]
    if missing or not VENV.exists():
        print("run it as `make bench-peers`, which installs the other programs", file=sys.stderr)
        print(f"missing: {', '.join([*missing, *([] if VENV.exists() else ['.venv-peers'])])}", file=sys.stderr)
        sys.exit(1)
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[1]})
    found, failed = compare(options)
    say("")
    print(table(found, failed))
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / f"peers-{time.strftime('%Y%m%d-%H%M%S')}.json"
    name.write_text(json.dumps({"runs": found, "failed": failed}, indent=1) + "\n")
    print(f"\nresults: {name}")


if __name__ == "__main__":
    main()
