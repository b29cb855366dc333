"""``phantom serve``: run a relay."""

import os
import sys
from pathlib import Path

import click

from phantom_messenger.relay.config import REPLACED, SETTINGS, ConfigError, default_of, load_config, unknown_variables
from phantom_messenger.relay.http import WEBSOCKET_PATH
from phantom_messenger.relay.main import StoreError, StoreUnusable, run_relay
from phantom_messenger.web import files

PAGE = """
Open {page} in a browser, and once more in another browser or a private window: two people can talk.
"""

INTRO = """
{begin} a second terminal, create two users who know each other (each command asks for a passphrase,
unless your system has a keyring or PHANTOM_PASSPHRASE is set):

  alias phantom=$PWD/.venv/bin/phantom
  phantom init -p alice --server {url}
  phantom init -p bob   --server {url}
  phantom contacts add -p alice bob $(phantom id -p bob)
  phantom contacts add -p bob alice $(phantom id -p alice)
  phantom chat -p alice bob

In a third terminal, answer:

  {here}/.venv/bin/phantom chat -p bob alice

Stop the relay with Ctrl-C.
"""


def _setting(name: str) -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    if name in REPLACED:
        return click.Option([flag, name], is_flag=True, default=None, flag_value="on", hidden=True)
    default = default_of(name)
    text = SETTINGS[name].help + (f"  [default: {default}]" if default else "")
    return click.Option([flag, name], metavar="VALUE", help=text)


def _intro(url: str, *, has_page: bool) -> str:
    """What to do with a relay that has just been started."""
    page = PAGE.format(page="http" + url.removeprefix("ws").removesuffix(WEBSOCKET_PATH) + "/") if has_page else ""
    begin = "Or on the command line: in" if has_page else "In"
    return page + INTRO.format(begin=begin, url=url, here=Path.cwd())


@click.command(short_help="Run a relay.", params=[_setting(name) for name in (*SETTINGS, *REPLACED)])
@click.option(
    "--config",
    envvar="PHANTOM_CONFIG",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="read settings from a TOML file",
)
@click.option("--intro", is_flag=True, hidden=True)
def serve(config: Path | None, intro: bool, **given: str | None) -> None:
    """Run a relay in the foreground. Every setting can also be given as PHANTOM_<NAME>."""
    try:
        settings = load_config(given, os.environ, config)

        def ready(url: str) -> None:
            click.echo(f"listening on {url}")
            if intro:
                click.echo(_intro(url, has_page=settings.web and files.DIST.is_dir()))

        run_relay(settings, ready, unknown=unknown_variables(os.environ))
    except ConfigError as error:
        click.echo(f"phantom serve: {error}", err=True)
        sys.exit(2)
    except StoreError as error:
        click.echo(f"phantom serve: {error}", err=True)
        sys.exit(2 if isinstance(error, StoreUnusable) else 1)
