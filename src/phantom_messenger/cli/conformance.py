"""``phantom conformance``: whether a relay does what the protocol says."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Collection, Sequence
from typing import Final

import click

from phantom_messenger.cli.relay_url import relay_url
from phantom_messenger.conformance import report
from phantom_messenger.conformance.cases import CASES
from phantom_messenger.conformance.run import Run
from phantom_messenger.conformance.socket import Target
from phantom_messenger.conformance.verdict import Case, Outcome, Result, Score

_WIDTH: Final = 78
_ONE_ADDRESS: Final = (
    "all cases come from one address, which may make 5 accounts a minute, so that this can take an hour;"
    " with --rate-auth 1000 at the relay, and --skip limits here, it takes a minute or two"
)
_GROUPS: Final = tuple(dict.fromkeys(case.group for case in CASES))


def _chosen(only: Collection[str], skipped: Collection[str]) -> list[Case]:
    """The cases of these groups, or with these names.

    Raises:
        click.UsageError: a name is unknown, or nothing is left.
    """
    known = {name for case in CASES for name in (case.group, case.full_name)}
    for name in (*only, *skipped):
        if name not in known:
            raise click.UsageError(f"there is no group or case '{name}'; the groups are {', '.join(_GROUPS)}")
    found = [
        case
        for case in CASES
        if (not only or {case.group, case.full_name} & set(only)) and not {case.group, case.full_name} & set(skipped)
    ]
    if not found:
        raise click.UsageError("nothing is left to judge")
    return found


class Progress:
    """Shows on a terminal how far a run is, on the line that the next output will overwrite.

    Args:
        total: how many cases there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._failed = 0

    def __call__(self, result: Result, left: int) -> None:
        """A case was judged; so many are still to come."""
        self._failed += result.outcome is Outcome.FAILED
        told = f", {self._failed} failed" if self._failed else ""
        self.show(f"{self._total - left} of {self._total}{told}: {result.case.full_name}")

    @staticmethod
    def show(line: str) -> None:
        """Show a line, instead of the one before."""
        if sys.stderr.isatty():
            click.echo(f"{line[:_WIDTH]:<{_WIDTH}}\r", nl=False, err=True)


@click.command(short_help="Judge a relay by what the protocol says.")
@click.argument("url", callback=relay_url)
@click.option("--long", "with_long", is_flag=True, help="also what takes minutes: timeouts, full mailboxes")
@click.option("--only", multiple=True, metavar="GROUP", help="judge this group, or this case, alone; can be repeated")
@click.option("--skip", multiple=True, metavar="GROUP", help="leave out this group, or this case; can be repeated")
@click.option(
    "--patience",
    type=click.IntRange(1, 120),
    default=10,
    show_default=True,
    help="seconds to wait for what the relay must send",
)
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def conformance(  # noqa: PLR0917 - click passes them by name
    url: str, with_long: bool, only: Sequence[str], skip: Sequence[str], patience: int, as_json: bool
) -> None:
    """Judge a relay by what the protocol says, from outside: temporary users log in, and do what it allows and forbids.

    Exit code 0: everything that was judged has passed.
    """
    cases = _chosen(only, skip)
    run = Run(Target(url, patience), Progress(len(cases)))
    began = time.monotonic()
    try:
        score = asyncio.run(_play(run, cases, with_long=with_long))
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        Progress.show("")
        left = run.accounts_left
        told = f"{left} temporary accounts are left at the relay" if left else "no account is left at the relay"
        click.echo(f"phantom: interrupted; {told}", err=True)
        sys.exit(1 if isinstance(stopped, KeyboardInterrupt) else 128 + signal.SIGTERM)
    Progress.show("")
    _tell(url, score, time.monotonic() - began, as_json=as_json)
    sys.exit(0 if score.is_passed else 1)


async def _play(run: Run, cases: Sequence[Case], *, with_long: bool) -> Score:
    """Play the cases; SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if await run.is_slow():
        click.echo(_ONE_ADDRESS, err=True)
    return await run.play(cases, with_long=with_long)


def _tell(url: str, score: Score, seconds: float, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.to_json(url, score, seconds)))
    elif score.trouble:
        click.echo(f"phantom: {report.summary(score)}", err=True)
    else:
        click.echo(report.text(score))
    if score.accounts_left:
        click.echo(f"phantom: {score.accounts_left} temporary accounts are left at the relay", err=True)
