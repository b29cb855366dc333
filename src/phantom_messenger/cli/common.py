"""What the commands share: options, opening a profile, one-line errors, safe printing."""

import asyncio
import functools
import inspect
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar

import click

from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import (
    NoKeyYet,
    NoProfile,
    PassphraseNeeded,
    PhantomError,
    UsageError,
    WrongPassphrase,
)
from phantom_messenger.client.profile import home_folder, is_there, vault_path
from phantom_messenger.client.sanitize import one_line, printable

__all__ = [
    "check_new_passphrase",
    "check_quoted",
    "column",
    "count",
    "current_flag",
    "one_line",
    "open_client",
    "print_qr",
    "printable",
    "profile_flag",
    "profile_option",
    "reports_errors",
    "run",
    "sentence",
    "shell_word",
]

T = TypeVar("T")

LEAST_PASSPHRASE: Final = 8
_SUGGESTED: Final = re.compile(
    r"\bphantom (?:contacts(?: (?:add|verify|accept|unblock))?+|requests|listen|send|chat"
    r"|groups(?: (?:accept|go-on|join|leave|members|timer))?+|devices(?: (?:link|remove|renew))?+)"
    r"\b(?!(?: [a-z-]+)? -p)"
)
"""Commands that the SDK's sentences suggest to this user; 'phantom id' and 'phantom export' are for somebody else."""

_TWICE_QUOTED: Final = frozenset('"$`\\!')
"""What a shell takes for more than itself between double quotes."""

DEFAULT_SERVER: Final = "ws://127.0.0.1:8080/ws"


class ProfileOption(click.Option):
    """``--profile``: what was said before a subcommand counts more than the environment."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, click.core.ParameterSource]:
        """See ``click.Parameter``."""
        if opts.get("profile") is None and ctx.default_map and "profile" in ctx.default_map:
            return ctx.default_map["profile"], click.core.ParameterSource.DEFAULT_MAP
        return super().consume_value(ctx, opts)


def profile_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--profile``."""
    return click.option(
        "--profile",
        "-p",
        cls=ProfileOption,
        default="default",
        envvar="PHANTOM_PROFILE",
        metavar="NAME",
        show_default=True,
        help="profile to use; also PHANTOM_PROFILE",
    )(command)


def profile_flag(profile: str) -> str:
    """The option that a suggested command needs to use the same profile: '' for the default one."""
    return "" if profile == "default" else f" -p {profile}"


def current_flag() -> str:
    """The same for the profile of this command."""
    context = click.get_current_context(silent=True)
    return profile_flag("default" if context is None else context.params.get("profile", "default"))


def sentence(text: str) -> str:
    """A sentence of the SDK on one line, in which suggested commands name the profile of this command."""
    return _SUGGESTED.sub(rf"\g<0>{current_flag()}", one_line(text))


def open_client(profile: str, *, server: str | None = None, create: bool = False, strangers: str = "ask") -> Client:
    """Open a profile; ask for its passphrase if it is nowhere else and there is a terminal.

    It is closed when the command ends, however it ends, unless it was closed before.

    Raises:
        PhantomError: it cannot be opened; the message says why.
    """
    client = _opened(profile, server=server, create=create, strangers=strangers)
    click.get_current_context().call_on_close(client.close)
    return client


def _opened(profile: str, *, server: str | None, create: bool, strangers: str) -> Client:
    path = vault_path(profile, home_folder(None))
    is_new = not is_there(path)
    if is_new and not create:
        raise NoProfile(f"profile '{profile}' does not exist; create it with: phantom init{profile_flag(profile)}")
    given = os.environ.get("PHANTOM_PASSPHRASE")
    if is_new and given:
        check_new_passphrase(given)
    try:
        return Client.open(profile, server=server, create=create, strangers=strangers)
    except WrongPassphrase as error:
        source = "the passphrase in PHANTOM_PASSPHRASE" if given else "the passphrase"
        raise WrongPassphrase(_of_profile(error, profile, source)) from None
    except PassphraseNeeded:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PassphraseNeeded(
                "a passphrase is needed, but there is no terminal to ask for it; set PHANTOM_PASSPHRASE"
            ) from None
    if is_new:
        passphrase = new_passphrase(new_passphrase_prompt(profile))
    else:
        passphrase = click.prompt(f"Passphrase for '{profile}'", hide_input=True, err=True)
    try:
        return Client.open(profile, server=server, create=create, passphrase=passphrase, strangers=strangers)
    except WrongPassphrase as error:
        raise WrongPassphrase(_of_profile(error, profile)) from None


def _of_profile(error: WrongPassphrase, profile: str, source: str = "the passphrase") -> str:
    """The sentence of an error, about the profile as the user names it."""
    named = str(error).replace(str(vault_path(profile, home_folder(None))), f"the profile '{profile}'")
    return named.replace("the passphrase", source, 1)


def confirmed(question: str, *, err: bool = False, instead: str = "--yes") -> bool:
    """Ask; Ctrl-C and the end of the input abort, on a line of their own.

    Args:
        question: what is asked.
        err: ask on standard error.
        instead: the options that answer without a question.

    Raises:
        PhantomError: there is nobody to answer.
    """
    try:
        return click.confirm(question, err=err)
    except click.Abort:
        click.echo(err=True)
        if sys.stdin is None or not sys.stdin.isatty():
            raise PhantomError(f"nothing was done: there is nobody to answer; answer with {instead}") from None
        raise


def new_passphrase(prompt: str) -> str:
    """Ask for one until it will do, and was typed twice: somebody who types blindly goes on typing."""
    while True:
        passphrase = str(click.prompt(prompt, hide_input=True, err=True))
        try:
            check_new_passphrase(passphrase)
        except UsageError as error:
            click.echo(f"phantom: {error}", err=True)
            continue
        if click.prompt("Type it again", hide_input=True, default="", show_default=False, err=True) == passphrase:
            return passphrase
        click.echo("phantom: the two passphrases differ; type it twice again", err=True)


def new_passphrase_prompt(profile: str) -> str:
    """What a new passphrase is asked for with: what it needs is said before it is typed twice."""
    return f"New passphrase for '{profile}' (at least {LEAST_PASSPHRASE} characters)"


def check_new_passphrase(passphrase: str) -> None:
    """Reject one that is easily guessed. Profiles and files that exist keep the one they have.

    Raises:
        UsageError: it is too short.
    """
    if len(passphrase) < LEAST_PASSPHRASE and not any("\ud800" <= one <= "\udfff" for one in passphrase):
        # What is not text is rejected for that, further in.
        raise UsageError(f"a new passphrase needs at least {LEAST_PASSPHRASE} characters; use several unrelated words")


def is_of_call(error: PhantomError) -> bool:
    """Whether what was asked for cannot be done as it was asked for: exit code 2; everything else is 1."""
    return isinstance(error, UsageError) and not isinstance(error, NoKeyYet)  # the key may come


def reports_errors(command: Callable[..., T]) -> Callable[..., T]:
    """Turn the SDK's errors into one line and an exit code."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> T:
        try:
            return command(*args, **kwargs)
        except PhantomError as error:
            click.echo(f"phantom: {sentence(str(error))}", err=True)
            sys.exit(2 if is_of_call(error) else 1)

    return wrapper


def run(main: Coroutine[Any, Any, T], *, interrupted: str = "interrupted", code: int = 1) -> T:
    """Run a command's coroutine; Ctrl-C and SIGTERM end it as a failure, without a traceback.

    Args:
        main: what it does.
        interrupted: printed after Ctrl-C; '' if ``main`` prints something itself.
        code: exit code after Ctrl-C; 0 for commands that are always ended this way.
    """

    async def until_stopped() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this is one
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await asyncio.sleep(0)  # a signal that has come by now ends it before it begins
        return await main

    whole = until_stopped()
    try:
        return asyncio.run(whole)
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)
    except KeyboardInterrupt:
        if not interrupted and inspect.getcoroutinestate(main) == inspect.CORO_CREATED:
            raise  # it has not begun, and could not print anything
        if interrupted:
            click.echo(f"phantom: {interrupted}", err=True)
        sys.exit(code)
    finally:
        for coroutine in (whole, main):  # a signal may have come before it was awaited
            coroutine.close()


def column(text: str, width: int) -> str:
    """Pad a text to a number of terminal columns; some characters take two, or none."""
    from prompt_toolkit.utils import get_cwidth  # noqa: PLC0415 - most commands do without

    return text + " " * (width - get_cwidth(text))


def shell_word(text: str) -> str:
    """A name quoted for a shell, for commands that are to be copied: "Ben's party" rather than 'Ben'"'"'s party'."""
    word = one_line(text)
    if "'" in word and not _TWICE_QUOTED & set(word):
        return f'"{word}"'
    return shlex.quote(word)


def check_quoted(text: str, what: str) -> None:
    """Refuse what a shell has left of a code or a link that was not in quotes.

    Raises:
        UsageError: it is that.
    """
    if text.startswith("phantom:") and "&" not in text:
        raise UsageError(f"the shell has cut off {what} at its first '&'; put it in quotes")


def count(number: int, noun: str) -> str:
    """'1 message', '2 messages'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_qr(text: str, *, error: str) -> None:
    """Show a QR code; with colours on a terminal without block characters.

    Args:
        text: what it contains. Digits and capital letters make it smaller.
        error: error correction level: l, m, q or h.
    """
    import segno  # noqa: PLC0415 - most commands do without

    try:
        "\u2580\u2584\u2588".encode(getattr(sys.stdout, "encoding", None) or "ascii")
        is_plain = False
    except UnicodeEncodeError:
        is_plain = True
    segno.make(text, error=error, micro=False).terminal(compact=not is_plain)
