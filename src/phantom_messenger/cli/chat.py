"""``phantom chat``: write and read in one window."""

import asyncio
import contextlib
import functools
import io
import os
import re
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.patch_stdout import patch_stdout

from phantom_messenger.cli.common import (
    count,
    one_line,
    open_client,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    sentence,
)
from phantom_messenger.cli.group_lines import news_line
from phantom_messenger.cli.keys import chat_keys
from phantom_messenger.cli.listen import know_of_removal
from phantom_messenger.cli.notices import Notices
from phantom_messenger.cli.status_line import StatusLine
from phantom_messenger.cli.talk import GroupTalk, Talk, own_line, talk_with
from phantom_messenger.cli.times import Duration
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PhantomError, RelayError, UsageError, VaultError
from phantom_messenger.client.ids import short_id
from phantom_messenger.client.sanitize import is_blank, plain_lines
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, GroupEvent, WarningEvent, WrittenEvent

HELP = """(Enter sends; Alt-Enter starts a new line; Ctrl-C clears the line; Ctrl-Z suspends; Ctrl-D leaves)
(/burn TEXT sends a message that is deleted on their side after it has been read)
(/expire TIME TEXT sends one that is deleted everywhere after 30s, 10m, 1h, 7d)
(/quit or /exit leaves; //TEXT sends /TEXT)"""
OF_PERSONS = ("(/burn ", "(/expire ")
"""How the lines begin that say what is not there for groups."""

SHOWN_OF_WORD = 40
COMMANDS = frozenset({"help", "quit", "exit", "burn", "expire"})
TYPING_EVERY = 4.0
"""Seconds between two typing notifications: the relay allows 30 a minute."""

FLUSH_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""Before messages are read again that could not be marked as read."""
MAX_LINES = 100
HELD_SECONDS = 15.0
"""For which a notice about a group waits at most for the messages that came before it: they may have expired."""
SHOWN_BEFORE = 20
"""Past messages that are shown when a chat opens."""


@click.command(short_help="Chat with a contact in the terminal.")
@click.argument("who")
@profile_option
@reports_errors
def chat(who: str, profile: str) -> None:
    """Chat with WHO, a contact's name, a user ID or a group. Type /help for more; Ctrl-D leaves.

    Without a terminal, each line of standard input is taken as if it was typed here.
    """
    client = open_client(profile)
    run(_chat(client, who, profile_flag(profile)), interrupted="", code=0)


async def _chat(client: Client, who: str, flag: str) -> None:
    talk = talk_with(client, who, flag)
    async with client:
        status = StatusLine(talk.contact, flag, talk.about)
        interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        session: PromptSession[str] | None = None
        if interactive:
            session = PromptSession(key_bindings=chat_keys(), multiline=True, enable_suspend=True, erase_when_done=True)
        notices = Notices(talk.unread())
        tasks = [
            asyncio.create_task(_print_messages(client, talk, notices)),
            asyncio.create_task(_print_events(client, talk, status, session, flag, notices)),
            asyncio.create_task(_ask_presence(client, talk)),
        ]
        try:
            await _as_long_as_it_works(_take_lines(client, talk, status, session, flag), tasks)
        finally:
            notices.release()


async def _as_long_as_it_works(lines: Coroutine[Any, Any, None], others: list[asyncio.Task[None]]) -> None:
    """Take lines beside the other tasks of a chat.

    Raises:
        PhantomError: one of them has failed: what is typed on a device that was removed would be lost, and a chat
            that shows nothing any more must not look as if it did. A relay that lets this identity in no more is no
            such failure: the line at the bottom says so, and what is typed is saved.
    """
    taking = asyncio.create_task(lines)
    waiting = {taking, *others}
    try:
        while not taking.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {taking}:
                with contextlib.suppress(RelayError):
                    task.result()
        taking.result()
    finally:
        for task in (taking, *others):
            task.cancel()
        await asyncio.gather(taking, *others, return_exceptions=True)  # what has ended one, ends the others too


async def _take_lines(
    client: Client, talk: Talk, status: StatusLine, session: "PromptSession[str] | None", flag: str
) -> None:
    """Take lines until there are no more, and wait until they are sent."""
    unsent = 0
    if session is not None:
        with patch_stdout():
            await _type(client, talk, status, session, flag)
    else:
        unsent = await _pipe(talk)
    await _leave(client, talk, FLUSH_SECONDS if session is None else 2.0)
    if unsent:
        raise PhantomError(f"{count(unsent, 'line')} not sent, as said above")


async def _type(client: Client, talk: Talk, status: StatusLine, session: "PromptSession[str]", flag: str) -> None:
    last_typing = 0.0

    def on_change(_: object) -> None:
        nonlocal last_typing
        if session.default_buffer.text and time.monotonic() - last_typing >= TYPING_EVERY:
            last_typing = time.monotonic()
            talk.typing()

    session.default_buffer.on_text_changed += on_change
    for line in talk.past(SHOWN_BEFORE):
        click.echo(line)
    status.waits(talk.unsent())
    if any(one.contact.user_id == talk.contact.user_id for one in client.requests()):
        begin = short_id(talk.contact.user_id).removesuffix("…")
        click.echo(
            f"(their messages wait for you to accept them: phantom requests show{flag} {begin}; writing accepts them)"
        )
    click.echo(f"talking with {talk.label}; Enter sends, Ctrl-D leaves, /help shows more")
    kept = ""
    with session.app.input.raw_mode():  # between two prompts too: Ctrl-C is a key there, not the end of the program
        while True:
            try:
                line = await session.prompt_async(
                    HTML("<b>you:</b> "),
                    bottom_toolbar=lambda: status.show(session.app.output.get_size().columns),
                    refresh_interval=1.0,
                    default=kept,
                )
            except (EOFError, KeyboardInterrupt):
                return
            kept = ""
            try:
                if line.strip() and not await _do(talk, status, plain_lines(line).rstrip()):
                    return
            except VaultError as error:  # a full disk, say: what was typed is nowhere else
                kept = line
                click.echo(f"(not saved and not sent: {sentence(str(error))})")
                click.echo("(what you typed is in the line again: Enter tries once more)")


async def _do(talk: Talk, status: StatusLine, line: str) -> bool:
    """Send a line, or do what it asks for; returns whether to go on."""
    try:
        order = parse_line(line)
        if isinstance(order, str):
            click.echo(help_with(talk) if order == HELP else order)
        elif order is None:
            return False
        else:
            sent = await talk.send(order.text, burn=order.burn, expires_in=order.expires_in)
            status.sent(sent.message_id)
            expires = order.expires_in is not None or talk.expires()
            marks = [mark for mark, is_set in (("burns", order.burn), ("expires", expires)) if is_set]
            mark = f" ({', '.join(marks)})" if marks else ""
            click.echo(own_line(order.text, mark))
    except UsageError as error:
        click.echo(f"({sentence(str(error))})")
    return True


def help_with(talk: Talk) -> str:
    """The commands that can be used with the other side."""
    return "\n".join(
        line for line in HELP.splitlines() if not (isinstance(talk, GroupTalk) and line.startswith(OF_PERSONS))
    )


@dataclass(frozen=True, slots=True)
class Text:
    """A message to send. ``expires_in``: seconds."""

    text: str
    burn: bool = False
    expires_in: float | None = None


def parse_line(line: str) -> Text | str | None:
    """What a line asks for: a message to send, a line to show, or None to leave.

    What looks like a command and is none is not sent: somebody who has mistyped ``/burn`` meant it not to stay.
    """
    word, rest = _split(line)
    match word:
        case "/help":
            return HELP
        case "/quit" | "/exit":
            return None
        case "/burn":
            return Text(rest, burn=True) if rest else "(usage: /burn TEXT)"
        case "/expire":
            return _expiring(rest)
    begin = line.lstrip()
    if begin.startswith("//"):
        return Text(line.replace("//", "/", 1))
    if begin.startswith("/") and not _is_path(begin):
        return f"(not sent: {_no_command(line, word)}; /help lists the commands, and //TEXT sends /TEXT)"
    if is_blank(line):
        return "(not sent: it has no visible characters)"
    return Text(line)


def _split(line: str) -> tuple[str, str]:
    """The first word, with what is before it, and the rest."""
    word = re.match(r"\s*\S*", line)
    end = word.end() if word else 0
    return line[:end], line[end:].strip()


def _expiring(rest: str) -> Text | str:
    time_, text = _split(rest)
    if not text:
        return "(usage: /expire TIME TEXT)"
    try:
        return Text(text, expires_in=Duration().convert(time_, None, None))
    except click.BadParameter as error:
        return f"({error.message})"


def _is_path(begin: str) -> bool:
    """Whether a line that begins with a slash begins with a path, as /etc/passwd: with a second slash in its word.

    What begins with the name of a command is none: ``/burn/x``.
    """
    found = re.match(r"/([^\W\d_]*)[^\s/]*/", begin)
    return found is not None and found[1].lower() not in COMMANDS


def _no_command(line: str, word: str) -> str:
    if word != word.lstrip() or re.match(r"/\s+\w", line):
        return "a command has no space before or behind its slash"
    return f"there is no command {one_line(word[:SHOWN_OF_WORD])}"


async def _pipe(talk: Talk) -> int:
    """Do what the lines of standard input ask for until it ends; what arrives is printed meanwhile.

    Returns:
        How many lines were not sent.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    room = threading.Semaphore(MAX_LINES)

    def read() -> None:
        # A thread, because standard input may be a file, a pipe, or nothing at all.
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input has
            for line in io.TextIOWrapper(os.fdopen(os.dup(0), "rb"), errors="replace"):
                room.acquire()
                loop.call_soon_threadsafe(lines.put_nowait, line.rstrip("\n"))
            loop.call_soon_threadsafe(lines.put_nowait, None)

    if sys.stdin is None:
        return 0
    threading.Thread(target=read, daemon=True).start()
    unsent = number = 0
    while (line := await lines.get()) is not None:
        room.release()
        number += 1
        text = plain_lines(line) if number == 1 else line
        try:
            order = None if is_blank(text) else parse_line(text)
            if order is None and not is_blank(text):
                click.echo(f"phantom: {one_line(text.strip())} ends it; what follows is not read", err=True)
                break
            if isinstance(order, Text):
                await talk.send(order.text, burn=order.burn, expires_in=order.expires_in)
            elif order == HELP:
                click.echo(help_with(talk), err=True)
            elif order is not None:
                raise UsageError(order[1:-1])
        except UsageError as error:
            unsent += 1
            why = sentence(str(error)).removeprefix("not sent: ")
            click.echo(f"phantom: a line was not sent: {why}", err=True)
        except VaultError as error:
            raise PhantomError(f"line {number:,} and what follows it was not sent: {error}") from None
    return unsent


async def _leave(client: Client, talk: Talk, patience: float) -> None:
    waiting = await client.flush(patience, who=talk.waiting())
    if waiting:
        click.echo(
            f"phantom: {count(waiting, 'message')} not sent yet; delivery continues the next time you connect", err=True
        )
    await client.flush_receipts()


async def _print_messages(client: Client, talk: Talk, notices: Notices) -> None:
    try:
        await know_of_removal(client)
    except RelayError:  # nothing more will come, and what has come is not shown
        notices.release()
        return
    while True:
        try:
            async for message_id, line, mark_read in talk.incoming():
                click.echo(line)
                sys.stdout.flush()
                notices.printed(message_id)
                await mark_read()
        except VaultError as error:  # a full disk, say: what was not marked is handed out again when there is room
            click.echo(f"({error})", err=True)
            await asyncio.sleep(RETRY_SECONDS)


async def _print_events(  # noqa: PLR0917 - what a chat is made of
    client: Client, talk: Talk, status: StatusLine, session: "PromptSession[str] | None", flag: str, notices: Notices
) -> None:
    later = asyncio.get_running_loop().call_later
    async for event in client.events():
        if isinstance(event, WarningEvent) and event.code == "device-removed":
            continue  # it is what this command ends with
        written = talk.elsewhere(event) if isinstance(event, WrittenEvent) else None
        if written is not None:
            status.written(written.message_id, written.state)
            click.echo(written.line)
            sys.stdout.flush()
        if message_id := talk.arrived(event):
            notices.arrived(message_id)
        line = news_line(client, event, flag) if isinstance(event, GroupEvent) else status.update(event)
        if line and isinstance(event, GroupEvent):
            notices.say(functools.partial(click.echo, f"({line})", err=session is None))
            later(HELD_SECONDS, notices.release)
        elif line:
            click.echo(f"({line})", err=session is None)
        if session is not None:
            session.app.invalidate()


async def _ask_presence(client: Client, talk: Talk) -> None:
    """Ask at every login: what was known before an outage may be wrong after it."""
    events = client.events()
    await client.wait_online()
    talk.ask_presence()
    async for event in events:
        if isinstance(event, ConnectionEvent) and event.state is ConnectionState.ONLINE:
            talk.ask_presence()
