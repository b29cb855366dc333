"""``phantom chat``: write and read in one window."""

import asyncio
import contextlib
import io
import os
import re
import sys
import threading
import time
from dataclasses import dataclass

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.patch_stdout import patch_stdout

from phantom_messenger.cli.common import (
    count,
    one_line,
    open_client,
    printable,
    profile_flag,
    profile_option,
    reports_errors,
    run,
    shell_word,
)
from phantom_messenger.cli.history import history_line
from phantom_messenger.cli.keys import chat_keys
from phantom_messenger.cli.listen import message_line, request_line
from phantom_messenger.cli.times import Duration, clock_time, moment
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import UsageError, VaultError
from phantom_messenger.client.ids import short_id, written_id
from phantom_messenger.client.plain import is_blank, plain_lines
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    MessageEvent,
    PresenceEvent,
    RequestEvent,
    WarningEvent,
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
OBSTACLES = {
    "paused": "rate-limited by the relay",
    "backlog": "their mailbox is full",
    "unknown-user": "unknown to the relay",
    "storage": "the relay is out of space",
    "clock": "clocks differ",
    "key-changed": "their key has changed",
    "downgrade": "no post-quantum key",
    "classical": "no post-quantum key",
}
"""Warnings that say why a message is still here, in a few words."""

HELP = """(Enter sends; Alt-Enter starts a new line; Ctrl-C clears the line; Ctrl-Z suspends; Ctrl-D leaves)
(/burn TEXT sends a message that is deleted on their side after it has been read)
(/expire TIME TEXT sends one that is deleted everywhere after 30s, 10m, 1h, 7d)
(/quit leaves; //TEXT sends /TEXT)"""
TYPING_EVERY = 4.0
"""Seconds between two typing notifications: the relay allows 30 a minute."""

TYPING_SHOWN = 6.0
FLUSH_SECONDS = 30.0
RETRY_SECONDS = 1.0
"""Before messages are read again that could not be marked as read."""
MAX_LINES = 100
SHOWN_BEFORE = 20
"""Past messages that are shown when a chat opens."""


class Screen:
    """The line below the prompt.

    Args:
        contact: the other side.
        flag: see ``profile_flag``.
    """

    def __init__(self, contact: Contact, flag: str = "") -> None:
        self._contact = contact
        self._flag = flag
        self._connection = "connecting"
        self._reason = ""
        self._presence = ""
        self._typing_until = 0.0
        self._last: tuple[str, DeliveryState] | None = None
        self._sent_at = 0.0
        self._obstacle = ""

    def sent(self, message_id: str) -> None:
        """A message has been typed and is queued."""
        self._last = (message_id, DeliveryState.QUEUED)
        self._sent_at = time.monotonic()

    def update(self, event: object) -> str | None:
        """Apply an event; returns a line to print for it, if it deserves one."""
        match event:
            case DeliveryEvent() if self._last is not None and self._last[0] == event.message_id:
                self._last = (event.message_id, event.state)
                self._obstacle = ""
            case ConnectionEvent() if event.state is ConnectionState.ONLINE and self._reason:
                self._connection, self._reason = str(event.state), ""
                return "(online again)"
            case PresenceEvent() if event.peer.user_id == self._contact.user_id:
                if event.status == "typing":
                    self._typing_until = time.monotonic() + TYPING_SHOWN
                else:
                    self._typing_until = 0.0
                    self._presence = event.status + _since(event.last_seen)
            case RequestEvent():
                return f"({request_line(event, self._flag)})"
            case MessageEvent() if event.peer.user_id != self._contact.user_id:
                return f"(new message from {one_line(event.peer.label)}; read it with: {self._other(event.peer)})"
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
            case WarningEvent():
                if event.peer is not None and event.peer.user_id == self._contact.user_id:
                    self._contact = event.peer  # a changed key, or no post-quantum one
                if event.code in OBSTACLES and event.peer in {None, self._contact}:
                    self._obstacle = event.code
                return f"({one_line(event.message)})"
            case _:
                pass
        return None

    def _other(self, peer: Contact) -> str:
        return f"phantom chat{self._flag} {shell_word(peer.name or written_id(peer.user_id))}"

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
            parts.append(f"last message {MARKS[self._last[1]]}{self._wait()}")
        return "   ".join(parts)

    def _wait(self) -> str:
        """How long the last message has been waiting, and why."""
        if self._last is None or self._last[1] is not DeliveryState.QUEUED:
            return ""
        seconds = time.monotonic() - self._sent_at
        offline = "" if self._connection == ConnectionState.ONLINE else "not connected"
        why = offline or OBSTACLES.get(self._obstacle, "")
        return (f" {seconds:.0f} s" if seconds >= 1 else "") + (f": {why}" if why else "")


@click.command(short_help="Chat with a contact in the terminal.")
@click.argument("who")
@profile_option
@reports_errors
def chat(who: str, profile: str) -> None:
    """Chat with WHO, a contact's name or a user ID. Type /help for more; Ctrl-D leaves.

    Without a terminal, each line of standard input is sent as a message.
    """
    client = open_client(profile)
    run(_chat(client, who, profile_flag(profile)), interrupted="", code=0)


async def _chat(client: Client, who: str, flag: str) -> None:
    contact = client.contacts.find(who)
    async with client:
        screen = Screen(contact, flag)
        interactive = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))
        session: PromptSession[str] | None = None
        if interactive:
            session = PromptSession(key_bindings=chat_keys(), multiline=True, enable_suspend=True, erase_when_done=True)
        tasks = [
            asyncio.create_task(_print_messages(client, contact)),
            asyncio.create_task(_print_events(client, screen, session)),
            asyncio.create_task(_ask_presence(client, who)),
        ]
        try:
            if session is not None:
                with patch_stdout():
                    await _type(client, who, screen, session, flag)
            else:
                await _pipe(client, who)
            await _leave(client, who, FLUSH_SECONDS if session is None else 2.0)
        finally:
            for task in tasks:
                task.cancel()


async def _type(client: Client, who: str, screen: Screen, session: "PromptSession[str]", flag: str) -> None:
    last_typing = 0.0

    def on_change(_: object) -> None:
        nonlocal last_typing
        if session.default_buffer.text and time.monotonic() - last_typing >= TYPING_EVERY:
            last_typing = time.monotonic()
            client.set_typing(who)

    session.default_buffer.on_text_changed += on_change
    contact = client.contacts.find(who)
    for entry in client.history(who, limit=SHOWN_BEFORE):
        if not entry.is_waiting:  # that one is about to be printed, and marked as read
            click.echo(history_line(entry, contact))
    if any(one.contact.user_id == contact.user_id for one in client.requests()):
        begin = short_id(contact.user_id).removesuffix("…")
        click.echo(
            f"(their messages wait for you to accept them: phantom requests show{flag} {begin}; writing accepts them)"
        )
    click.echo(f"talking with {one_line(contact.label)}; Enter sends, Ctrl-D leaves, /help shows more")
    while True:
        try:
            line = await session.prompt_async(HTML("<b>you:</b> "), bottom_toolbar=screen.toolbar, refresh_interval=1.0)
        except (EOFError, KeyboardInterrupt):
            return
        if line.strip() and not await _do(client, who, screen, plain_lines(line)):
            return


async def _do(client: Client, who: str, screen: Screen, line: str) -> bool:
    """Send a line, or do what it asks for; returns whether to go on."""
    try:
        order = parse_line(line)
        if isinstance(order, str):
            click.echo(order)
        elif order is None:
            return False
        else:
            sent = await client.send(who, order.text, burn_after_read=order.burn, expires_in=order.expires_in)
            screen.sent(sent.message_id)
            marks = [mark for mark, is_set in (("burns", order.burn), ("expires", order.expires_in)) if is_set]
            mark = f" ({', '.join(marks)})" if marks else ""
            click.echo(own_line(order.text, mark))
    except UsageError as error:
        click.echo(f"({error})")
    return True


@dataclass(frozen=True, slots=True)
class Text:
    """A message to send. ``expires_in``: seconds."""

    text: str
    burn: bool = False
    expires_in: float | None = None


def parse_line(line: str) -> Text | str | None:
    """What a typed line asks for: a message to send, a line to show, or None to leave."""
    word, _, rest = line.partition(" ")
    rest = rest.strip()
    match word:
        case "/help":
            return HELP
        case "/quit" | "/exit":
            return None
        case "/burn" if rest:
            return Text(rest, burn=True)
        case "/expire":
            time_, _, text = rest.partition(" ")
            try:
                seconds = Duration().convert(time_, None, None)
            except click.BadParameter as error:
                return f"({error.message})"
            return Text(text.strip(), expires_in=seconds) if text.strip() else "(usage: /expire TIME TEXT)"
        case "/burn":
            return "(usage: /burn TEXT)"
    if line.startswith("//"):
        return Text(line[1:])
    if re.match(r"/[a-z]+\Z", word):
        return f"(not sent: there is no command {one_line(word)}; /help lists them, and //TEXT sends /TEXT)"
    if is_blank(line):
        return "(not sent: it has no visible characters)"
    return Text(line)


def own_line(text: str, mark: str = "") -> str:
    """Your own message as you see it above the prompt."""
    shown = printable(text).replace("\n", "\n        ")
    return f"{moment(time.time_ns() // 1_000_000)} you{mark}: {shown}"


async def _pipe(client: Client, who: str) -> None:
    """Send the lines of standard input until it ends; what arrives is printed meanwhile."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(MAX_LINES)

    def read() -> None:
        # A thread, because standard input may be a file, a pipe, or nothing at all.
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input has
            for line in io.TextIOWrapper(os.fdopen(os.dup(0), "rb"), errors="replace"):
                asyncio.run_coroutine_threadsafe(lines.put(line.rstrip("\n")), loop).result()
            asyncio.run_coroutine_threadsafe(lines.put(None), loop).result()

    if sys.stdin is None:
        return
    threading.Thread(target=read, daemon=True).start()
    is_first = True
    while (line := await lines.get()) is not None:
        text = plain_lines(line) if is_first else line
        is_first = False
        if not is_blank(text):
            try:
                await client.send(who, text)
            except UsageError as error:
                click.echo(f"phantom: a line was not sent: {error}", err=True)


async def _leave(client: Client, who: str, patience: float) -> None:
    waiting = await client.flush(patience, who=who)
    if waiting:
        click.echo(
            f"phantom: {count(waiting, 'message')} not sent yet; delivery continues the next time you connect", err=True
        )
    await client.flush_receipts()


async def _print_messages(client: Client, contact: Contact) -> None:
    while True:
        try:
            async for message in client.messages(sender=contact.user_id):
                click.echo(message_line(message))
                sys.stdout.flush()
                await message.mark_read()
        except VaultError as error:  # a full disk, say: what was not marked is handed out again when there is room
            click.echo(f"({error})", err=True)
            await asyncio.sleep(RETRY_SECONDS)


async def _print_events(client: Client, screen: Screen, session: "PromptSession[str] | None") -> None:
    async for event in client.events():
        line = screen.update(event)
        if line is not None:
            click.echo(line, err=session is None)
        if session is not None:
            session.app.invalidate()


async def _ask_presence(client: Client, who: str) -> None:
    """Ask at every login: what was known before an outage may be wrong after it."""
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
