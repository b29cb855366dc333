"""``phantom``: the command with all the others below it."""

import importlib
import io
import os
import signal
import sys
from typing import Any, Final, NoReturn

import click

from phantom_messenger.cli.groups import Group
from phantom_messenger.version import __version__

COMMANDS: Final = {
    "init": "init:init",
    "id": "id:show_id",
    "contacts": "contacts:contacts",
    "requests": "requests:requests",
    "devices": "devices:devices",
    "send": "send:send",
    "listen": "listen:listen",
    "chat": "chat:chat",
    "history": "history:history",
    "groups": "group_commands:groups",
    "settings": "settings:settings",
    "export": "export:export",
    "import": "export:import_",
    "destroy": "destroy:destroy",
    "serve": "serve:serve",
    "store": "store:store",
    "web": "web:web",
    "bench": "bench:bench",
    "conformance": "conformance:conformance",
}
"""Each command's module and name. A module is loaded when its command is used, so a relay loads no encryption."""

_UNTIL_CTRL_C: Final = frozenset({"listen", "chat"})
"""Commands that go on until Ctrl-C ends them, which is no failure."""


class Commands(Group):
    """The group of ``COMMANDS``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        """In the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Load one."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found: click.Command = getattr(importlib.import_module(f"phantom_messenger.cli.{module}"), name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See ``click.Group``."""
        ctx.invoked_subcommand = args[0]  # click says so after its module was loaded only
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """See ``click.Command``. Ctrl-C ends a command while it begins as it does later."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):  # click's question for the passphrase makes one of the other
            if ctx.invoked_subcommand not in _UNTIL_CTRL_C:
                raise
            ctx.exit(0)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="phantom")
def phantom() -> None:
    """End-to-end encrypted messages through a relay that cannot read them."""


def main() -> None:
    """Run the command line; usage errors are one line and exit code 2."""
    if "serve" not in sys.argv[1:2]:  # which holds nothing yet that it would have to close
        signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A message that this terminal cannot show must not stop anything.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = phantom.main(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of the output has gone (`phantom listen | head -1`): there is nobody to report to.
        _drop_output()
        sys.exit(1)
    except click.exceptions.Abort as error:
        # Ctrl-C comes at any moment; only a question answered with "no" is known to come before anything was done.
        outcome = "interrupted" if isinstance(error.__cause__, KeyboardInterrupt) else "nothing was done"
        click.echo(f"phantom: {outcome}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "phantom"
        message = " ".join(error.format_message().split()).rstrip(".")
        if isinstance(error, click.NoSuchOption) and path == "phantom" and error.option_name in {"-p", "--profile"}:
            message = f"put '{error.option_name} NAME' behind the command: phantom COMMAND {error.option_name} NAME"
        see = " See" if message.endswith("?") else "; see"
        click.echo(f"{path}: {message}{see} '{path} --help'", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if os.environ.get("PHANTOM_DEBUG"):
            raise
        _drop_output()
        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"phantom: {place}{error.strerror or type(error).__name__}", err=True)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("PHANTOM_DEBUG"):
            raise
        click.echo(f"phantom: {type(error).__name__}; this is a bug: set PHANTOM_DEBUG=1 to see where", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _terminate(*_: object) -> NoReturn:
    """End as a command does that is running: what is open is closed."""
    sys.exit(128 + signal.SIGTERM)


def _drop_output() -> None:
    """Discard what could not be written, or Python would try again at exit and complain a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main()
