"""``phantom chat``: type and read in one window."""

import asyncio
import contextlib
import io
import os
import sys
import threading
import time

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.patch_stdout import patch_stdout

from phantom_messenger.cli.common import one_line, open_client, profile_option, reports_errors
from phantom_messenger.cli.history import history_line
from phantom_messenger.cli.listen import message_line
from phantom_messenger.cli.times import clock_time
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import UsageError
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    MessageEvent,
    PresenceEvent,
    TroubleEvent,
)

MARKS = {
    DeliveryState.QUEUED: "· waiting",
    DeliveryState.ACCEPTED: "✓ sent",
    DeliveryState.DELIVERED: "✓✓ delivered",
    DeliveryState.READ: "✓✓ read",
    DeliveryState.BURNED: "✓✓ read and burned",
    DeliveryState.EXPIRED: "✗ expired",
    DeliveryState.FAILED: "✗ failed",
}
TYPING_EVERY = 4.0
"""Seconds between two typing notices: the relay allows 30 a minute."""

TYPING_SHOWN = 6.0
FLUSH_SECONDS = 30.0
MAX_LINES = 100
SHOWN_BEFORE = 20
"""Texts of the past that are shown when a chat opens."""


class Screen:
    """What the line under the prompt says."""

    def __init__(self, contact: Contact) -> None:
        self._contact = contact
        self._connection = "connecting"
        self._reason = ""
        self._presence = ""
        self._typing_until = 0.0
        self._last: tuple[str, DeliveryState] | None = None

    def sent(self, message_id: str) -> None:
        """A text has left the keyboard."""
        self._last = (message_id, DeliveryState.QUEUED)

    def take(self, event: object) -> str | None:
        """Note an event; returns a line to print for it, if it deserves one."""
        match event:
            case DeliveryEvent() if self._last is not None and self._last[0] == event.message_id:
                self._last = (event.message_id, event.state)
            case ConnectionEvent() if event.state is ConnectionState.ONLINE and self._reason:
                self._connection, self._reason = str(event.state), ""
                return "(online again)"
            case PresenceEvent() if event.peer.user_id == self._contact.user_id:
                if event.status == "typing":
                    self._typing_until = time.monotonic() + TYPING_SHOWN
                else:
                    self._typing_until = 0.0
                    self._presence = event.status + _since(event.last_seen)
            case MessageEvent() if event.peer.user_id != self._contact.user_id:
                return f"({one_line(event.peer.label)} has written too; see 'phantom listen')"
            case MessageEvent():
                self._typing_until = 0.0
            case ConnectionEvent():
                self._connection = str(event.state)
                if event.state is not ConnectionState.ONLINE:
                    self._presence, self._typing_until = "", 0.0
                changed, self._reason = event.reason != self._reason, event.reason or self._reason
                if event.state is ConnectionState.ONLINE:
                    self._reason = ""
                elif changed and event.reason:
                    return f"({event.state}: {one_line(event.reason)})"
            case TroubleEvent():
                if event.peer is not None and event.peer.user_id == self._contact.user_id:
                    self._contact = event.peer  # a changed key, or no post-quantum one
                return f"({one_line(event.sentence)})"
            case _:
                pass
        return None

    def toolbar(self) -> str:
        """The line itself."""
        typing = time.monotonic() < self._typing_until
        parts = [
            f"you: {self._connection}",
            f"{one_line(self._contact.label)}: {'typing…' if typing else self._presence or 'presence unknown'}",
            str(self._contact.trust),
        ]
        if self._contact.classical:
            parts.append("classical")
        if self._last is not None:
            parts.append(f"last text {MARKS[self._last[1]]}")
        return "   ".join(parts)


@click.command()
@click.argument("who")
@profile_option
@reports_errors
def chat(who: str, profile: str) -> None:
    """Talk with WHO, a contact's name or an id; Ctrl-D or Ctrl-C leaves."""
    client = open_client(profile)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_chat(client, who))


async def _chat(client: Client, who: str) -> None:
    contact = client.contacts.find(who)
    async with client:
        screen = Screen(contact)
        interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        session: PromptSession[str] | None = PromptSession() if interactive else None
        tasks = [
            asyncio.create_task(_print_messages(client, contact)),
            asyncio.create_task(_print_events(client, screen, session)),
            asyncio.create_task(_ask_presence(client, who)),
        ]
        try:
            if session is not None:
                with patch_stdout():
                    await _type(client, who, screen, session)
            else:
                await _pipe(client, who)
            await _leave(client, who, FLUSH_SECONDS if session is None else 2.0)
        finally:
            for task in tasks:
                task.cancel()


async def _type(client: Client, who: str, screen: Screen, session: "PromptSession[str]") -> None:
    last_typing = 0.0

    def on_change(_: object) -> None:
        nonlocal last_typing
        if session.default_buffer.text and time.monotonic() - last_typing >= TYPING_EVERY:
            last_typing = time.monotonic()
            client.set_typing(who)

    session.default_buffer.on_text_changed += on_change
    contact = client.contacts.find(who)
    for entry in client.history(who, limit=SHOWN_BEFORE):
        if not entry.is_waiting:  # that one comes in a moment, and is read then
            click.echo(history_line(entry, contact))
    click.echo(f"talking with {one_line(contact.label)}; Enter sends, Ctrl-D leaves")
    while True:
        try:
            line = await session.prompt_async(HTML("<b>you:</b> "), bottom_toolbar=screen.toolbar, refresh_interval=1.0)
        except (EOFError, KeyboardInterrupt):
            return
        if line.strip():
            try:
                screen.sent((await client.send(who, line)).message_id)
            except UsageError as error:
                click.echo(f"({error})")


async def _pipe(client: Client, who: str) -> None:
    """Send the lines of standard input until it ends; what comes is printed meanwhile."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(MAX_LINES)

    def read() -> None:
        # A thread, for standard input may be a file, a pipe, or nothing at all.
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input
            for line in io.TextIOWrapper(os.fdopen(os.dup(0), "rb"), errors="replace"):
                asyncio.run_coroutine_threadsafe(lines.put(line.rstrip("\n")), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    if sys.stdin is None:
        return
    threading.Thread(target=read, daemon=True).start()
    while (text := await lines.get()) is not None:
        if text:
            try:
                await client.send(who, text)
            except UsageError as error:
                click.echo(f"phantom: a line was not sent: {error}", err=True)


async def _leave(client: Client, who: str, patience: float) -> None:
    waiting = await client.flush(patience, who=who)
    if waiting:
        click.echo(f"phantom: {waiting} text(s) wait on this machine and leave at the next contact", err=True)
    await client.settle()


async def _print_messages(client: Client, contact: Contact) -> None:
    async for message in client.messages(sender=contact.user_id):
        click.echo(message_line(message))
        sys.stdout.flush()
        await message.mark_read()


async def _print_events(client: Client, screen: Screen, session: "PromptSession[str] | None") -> None:
    async for event in client.events():
        line = screen.take(event)
        if line is not None:
            click.echo(line, err=session is None)
        if session is not None:
            session.app.invalidate()


async def _ask_presence(client: Client, who: str) -> None:
    """What was said of the other before an outage is old news after it."""
    events = client.events()
    await client.wait_online()
    client.ask_presence(who)
    async for event in events:
        if isinstance(event, ConnectionEvent) and event.state is ConnectionState.ONLINE:
            client.ask_presence(who)


def _since(last_seen: int | None) -> str:
    if last_seen is None:
        return ""
    return clock_time(last_seen, ", last seen %Y-%m-%d %H:%M")
