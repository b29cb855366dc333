"""``phantom store``: what is done to a relay's store while no relay works on it."""

import contextlib
import os
import sys
import time
from typing import Final

import click

from phantom_messenger.cli.groups import Group
from phantom_messenger.engines.copying import Copied, Step, copy_store, is_url
from phantom_messenger.engines.errors import StoreError, StoreUnusable

VARIABLE: Final = "env:"
REPORT_SECONDS: Final = 0.1


@click.group(cls=Group, short_help="Copy a relay's store to another place.")
def store() -> None:
    """Work on a relay's store: a data folder, or a PostgreSQL database."""


def _place(ctx: click.Context, param: click.Parameter, value: str) -> str:
    place = value
    if value.startswith(VARIABLE):
        place = os.environ.get(value.removeprefix(VARIABLE), "").strip()
        if not place:
            raise click.BadParameter(f"the variable {value.removeprefix(VARIABLE)} is not set", ctx, param)
    if "://" in place and not is_url(place):
        raise click.BadParameter("name a data folder, or a URL that begins with postgresql://", ctx, param)
    return place


@store.command(short_help="Copy a store, between SQLite and PostgreSQL too.")
@click.argument("source", metavar="FROM", callback=_place)
@click.argument("target", metavar="TO", callback=_place)
@click.option("--leave-out-damaged", is_flag=True, help="copy the rest if items are damaged, and say how many are not")
def copy(source: str, target: str, leave_out_damaged: bool) -> None:
    """Copy the store FROM to TO and check the copy, while no relay works on either.

    Each is a data folder or postgresql://USER@HOST/DATABASE, or env:NAME if that stands in the variable NAME, where
    other users of the machine do not see a password. TO has to be a new or empty folder, or a database without
    accounts.
    """
    progress = Progress()
    try:
        with contextlib.closing(copy_store(source, target, leave_out_damaged=leave_out_damaged)) as steps:
            for step in steps:
                if isinstance(step, Step):
                    progress.show(step)
                else:
                    progress.clear()
                    _report(step, progress.seconds)
    except StoreError as error:
        progress.clear()
        click.echo(f"phantom store copy: {error}", err=True)
        sys.exit(2 if isinstance(error, StoreUnusable) else 1)
    except ImportError:
        click.echo(
            "phantom store copy: a PostgreSQL store needs psycopg: pip install 'phantom-messenger[postgres]'", err=True
        )
        sys.exit(1)


def _report(done: Copied, seconds: float) -> None:
    rows = sum(digest.count for digest in done.digests.values())
    for table, digest in done.digests.items():
        click.echo(f"{table:<17} {digest.count:>12,}  {digest}")
    noun = "row" if rows == 1 else "rows"
    click.echo(f"copied {rows:,} {noun} in {seconds:.0f} s and read them again: each table is the same on both sides")
    if done.left_out:
        were = "damaged item was" if done.left_out == 1 else "damaged items were"
        click.echo(f"phantom store copy: {done.left_out:,} {were} left out", err=True)


class Progress:
    """How far a copy is, on the line that the next output will overwrite; nothing if nobody looks."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._began = self._began_table = time.monotonic()
        self._shown_at = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def show(self, step: Step) -> None:
        """Show a step, a few times a second."""
        now = time.monotonic()
        if not step.done:
            self._began_table = now
        if self._is_shown and now - self._shown_at >= REPORT_SECONDS:
            self._shown_at = now
            rate = step.done / max(now - self._began_table, REPORT_SECONDS)
            text = f"{step.doing} {step.table}: {step.done:,} of {step.total:,} rows, {rate:,.0f} a second"
            click.echo(f"{text:<78}\r", nl=False, err=True)

    def clear(self) -> None:
        """Leave an empty line."""
        if self._is_shown:
            click.echo(f"{'':<78}\r", nl=False, err=True)
