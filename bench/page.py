"""What the page in the browser costs its users, in Chromium at a real relay, beside the goals: ``make bench-page``."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import click
from relays import Relay

WEB: Final = Path(__file__).parents[1] / "web"
SECONDS: Final = 600
GOALS: Final = (
    ("bytes", "first load, compressed (bytes)", 102_400),
    ("paint", "first paint (ms)", 300),
    ("sent", "a text: Enter until it is stored and shown, median (ms)", 50),
    ("late", "the same, 99th percentile (ms)", None),
    ("read", "waiting texts read after unlocking (ms)", 5_000),
)


@click.command(help=__doc__)
@click.option("--texts", default=1_000, show_default=True, help="How many are written, and wait.")
def main(texts: int) -> None:
    """Measure, and show."""
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if browser is None:
        raise SystemExit("This needs Chromium: install chromium-headless-shell or chromium.")
    with Relay(cores=2) as relay:
        run = subprocess.run(
            ["node", "test.mjs", "tests/journeys/figures.test.ts"],
            cwd=WEB,
            env={
                **os.environ,
                "PHANTOM_CHROMIUM": browser,
                "PHANTOM_RELAY": relay.url,
                "PHANTOM_FIGURES": str(texts),
            },
            stdout=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    found = re.search(r"FIGURES (\{.*\})", run.stdout)
    if run.returncode or found is None:
        sys.stdout.write(run.stdout)
        raise SystemExit("it could not be measured")
    figures = json.loads(found[1])
    for name, words, goal in GOALS:
        met = "" if goal is None else f"  goal {goal:,}: {'met' if figures[name] <= goal else 'missed'}"
        click.echo(f"{words:<60}{figures[name]:>10,.0f}{met}")


if __name__ == "__main__":
    main()
