"""What a relay carries on this machine: ``make bench``, some minutes.

The relay runs on one core, the load on another; in ``both`` they share all. A closed loop
counts if the load was less than 90 % busy and the relay at least 90 %; what does not count
says so. Results go to a JSON file and a picture. ``growth`` and a soak are run when they are asked for.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from goals import Figures, tables
from growth import growth, soak
from picture import picture
from relays import CORES, WITHOUT_SYNCING, WITHOUT_VERIFYING, machine
from scenarios import QUICK, Settings, Sizes, backlog, both, closed, idle, logins, lone, opened, say
from stages import stages

SCENARIOS: Final[dict[str, Callable[[Settings], Any]]] = {
    "closed": closed,
    "both": both,
    "lone": lone,
    "logins": logins,
    "idle": idle,
    "backlog": backlog,
}
"""What is measured unless something else is asked for; then open loops, at shares of what was reached, and stages."""

PATCHES: Final = {"sync": WITHOUT_SYNCING, "verify": WITHOUT_VERIFYING}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--only",
        choices=[*SCENARIOS, "open", "stages", "growth"],
        action="append",
        help="this alone; may be given again",
    )
    add("--seconds", type=float, help="about how long each loop lasts (8)")
    add("--acks", action="store_true", help="users confirm what they receive (feature ack)")
    add("--without", choices=[*PATCHES], action="append", default=[], help="take this away from the relay")
    add("--idle", type=int, help="idle connections (10,000)")
    add("--rate", type=float, help="the maximum that open loops are shares of, instead of the measured one")
    add("--soak", type=float, metavar="SECONDS", help="an even load for so long, connections coming and going; alone")
    add("--quick", action="store_true", help="everything in tiny sizes: shows that it works, measures nothing")
    add("--out", type=Path, default=Path(__file__).parent / "results", help="folder for JSON and picture")
    options = parser.parse_args()
    if "open" in (options.only or ()) and not (options.rate or "closed" in options.only):
        parser.error("open loops are shares of a maximum: add --only closed, or --rate")
    return options


def _settings(options: argparse.Namespace) -> Settings:
    given = {name: getattr(options, name) for name in ("seconds", "idle") if getattr(options, name) is not None}
    base = QUICK if options.quick else Sizes()
    sizes = Sizes(**{name: given.get(name, getattr(base, name)) for name in Sizes.__slots__})
    return Settings(sizes, options.acks, "".join(PATCHES[name] for name in options.without))


def guarantees(without: list[str], *, acks: bool) -> str:
    """What the relay promises in this run."""
    kept = [
        "L1: survives kill -9, nothing is synced" if "sync" in without else "L2: synced before the answer",
        "signatures are not checked" if "verify" in without else "S: every signature checked",
        "clients confirm (ack)" if acks else "what a socket took is delivered (no ack)",
    ]
    return "; ".join(kept)


def _measure(options: argparse.Namespace, settings: Settings, found: Figures) -> None:
    if options.soak:
        found["soak"] = soak(settings, options.soak)
        return
    wanted = options.only or [*SCENARIOS, "open", "stages"]
    for name, scenario in SCENARIOS.items():
        if name in wanted:
            _announce(name)
            found[name] = scenario(settings)
    if "open" in wanted:
        _announce("open")
        most = options.rate or max((run.get("per_second", 0) for run in found.get("closed", [])), default=0)
        if most:
            found["open"] = opened(settings, most)
        else:
            print("no closed loop was carried: there is no maximum to take shares of", file=sys.stderr)
    if "stages" in wanted:
        _announce("stages")
        runs = [run for run in found.get("closed", []) if "failed" not in run]
        best = max(runs, key=lambda run: float(run["per_second"]), default=None)
        found["stages"] = stages(settings, best["relay_us"] if best else None)
    if "growth" in wanted:
        _announce("growth")
        found["growth"] = growth(settings)


def _announce(name: str) -> None:
    say("")
    print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure what was asked for."""
    options = _options()
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[1]})
    else:
        print("only one core: relay and load share it, and closed loops do not count", file=sys.stderr)
    found: Figures = {
        "machine": [*machine()],
        "guarantees": guarantees(options.without, acks=options.acks),
        "quick": options.quick,
    }
    _measure(options, _settings(options), found)
    say("")
    print(tables(found))
    options.out.mkdir(parents=True, exist_ok=True)
    name = options.out / time.strftime("%Y%m%d-%H%M%S")
    name.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    name.with_suffix(".svg").write_text(picture(found))
    print(f"\nresults: {name}.json and .svg")


if __name__ == "__main__":
    main()
