"""Questions that are asked while everything else goes on."""

import asyncio
import os
import termios
import threading
from contextlib import suppress

import click


async def line(question: str) -> str:
    """Ask on standard error, and wait for a line of standard input.

    Whoever stops waiting, because the answer does not matter any more or after Ctrl-C, need not wait for Enter: a
    thread goes on reading, and ends with the program. It reads the file itself: what Python has read ahead of a line
    would be lost, and its locks would be held at the end.

    Raises:
        click.Abort: the input has ended.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def tell(found: bytes) -> None:
        if not answer.done():
            answer.set_result(found)

    def read() -> None:
        found = _read()
        with suppress(RuntimeError):  # the loop has ended before the input has
            loop.call_soon_threadsafe(tell, found)

    if os.isatty(0):
        termios.tcflush(0, termios.TCIFLUSH)  # what was typed before a question is no answer to it
    click.echo(question, nl=False, err=True)
    threading.Thread(target=read, daemon=True).start()
    try:
        found = await answer
    except asyncio.CancelledError:
        click.echo(err=True)
        raise
    if not found.endswith(b"\n"):
        click.echo(err=True)
        if not found:
            raise click.Abort
    return found.decode(errors="replace").strip()


def _read() -> bytes:
    """A line; without its end if the input has ended before."""
    found = b""
    while not found.endswith(b"\n"):
        try:
            one = os.read(0, 1)
        except OSError:
            break
        if not one:
            break
        found += one
    return found


async def is_so(question: str) -> bool:
    """Ask until the answer is yes or no; just Enter is no.

    Raises:
        click.Abort: the input has ended.
    """
    while True:
        answer = (await line(f"{question} [y/N]: ")).lower()
        if answer in {"y", "yes"}:
            return True
        if answer in {"n", "no", ""}:
            return False
        click.echo("type y or n", err=True)
