"""``phantom bench``: a relay's latency at a given rate."""

import asyncio
import signal
import sys

import click
import uvloop

from phantom_messenger.cli.relay_url import relay_url
from phantom_messenger.loadgen.generator import LoadError, LoadGenerator
from phantom_messenger.loadgen.report import latencies, latency_table

BODY_CHARS = 1_024
MOST_MESSAGES = 300_000  # they are made in advance, and held in memory


def _show(text: str) -> None:
    """Show progress on a terminal, on the line that the next output will overwrite."""
    if sys.stderr.isatty():
        click.echo(f"{text:<70}\r", nl=False, err=True)


def _fail(message: str) -> None:
    _show("")
    click.echo(f"phantom: {message}", err=True)


@click.command(short_help="Measure the latency of a relay that you operate.")
@click.argument("url", callback=relay_url)
@click.option("--seconds", type=click.IntRange(1, 240), default=10, show_default=True, help="how long to send")
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="messages per second, all users together",
)
@click.option(
    "--people", type=click.IntRange(2, 10_000), default=16, show_default=True, help="virtual users; half of them send"
)
def bench(url: str, seconds: int, rate: int, people: int) -> None:
    """Measure the latency of a relay that you operate: temporary users send messages at a steady rate.

    Latency counts from the moment at which a message was due. The relay has to run without limits
    (phantom serve --limits off), and its other users will notice the load.
    """
    if rate * seconds > MOST_MESSAGES:
        raise click.UsageError(f"that is more than {MOST_MESSAGES:,} messages; use fewer --seconds or a lower --rate")
    count = rate * seconds
    click.echo(
        f"{people - people % 2} temporary users will send {count:,} messages of about 1 KB through {url};"
        " it has to run without limits (phantom serve --limits off)",
        err=True,
    )
    try:
        done = uvloop.run(_measure(LoadGenerator(url, people // 2, acks=True), rate, count))
    except LoadError as error:
        _fail(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(1)
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    sys.exit(0 if done else 1)


async def _measure(generator: LoadGenerator, rate: int, count: int) -> bool:
    """Returns whether the relay has accepted all of it."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this is one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    is_interrupted = False
    try:
        await generator.connect(_show)
        await generator.make_contacts()
        generator.prepare(count, BODY_CHARS, _show)
        _show(f"{rate:,} messages per second ...")
        await generator.open_loop(rate)
    except asyncio.CancelledError:
        is_interrupted = True
        raise
    finally:
        deleted, made = await generator.delete_accounts()
        if is_interrupted:
            _fail(f"interrupted; {made} accounts made, {deleted} deleted")
        if deleted < made:
            _fail(f"{made - deleted} of {made} temporary accounts are left at the relay")
    stats = generator.stats
    found = latencies(stats)
    rows = {"accepted": found["ack_ms"], "delivered": found["delivery_ms"], "this program was late": found["late_ms"]}
    _show("")
    click.echo(latency_table(rows))
    refused = stats.refused.total()
    click.echo(
        f"{stats.sent:,} sent, {stats.accepted:,} accepted, {stats.delivered:,} delivered"
        + (f", {refused:,} refused because the relay was overloaded" if refused else "")
        + f"; {made} accounts made, {deleted} deleted"
    )
    return not refused
