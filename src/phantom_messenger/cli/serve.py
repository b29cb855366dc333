"""``phantom serve``: run a relay."""

import os
import sys
from pathlib import Path

import click

from phantom_messenger.relay.config import REPLACED, SETTINGS, ConfigError, default_of, load_config, unknown_variables
from phantom_messenger.relay.main import StoreError, StoreUnusable, run_relay

INTRO = """
In a second terminal, create two users who know each other (each command asks for a passphrase,
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

    def ready(url: str) -> None:
        click.echo(f"listening on {url}")
        if intro:
            click.echo(INTRO.format(url=url, here=Path.cwd()))

    try:
        run_relay(load_config(given, os.environ, config), ready, unknown=unknown_variables(os.environ))
    except ConfigError as error:
        click.echo(f"phantom serve: {error}", err=True)
        sys.exit(2)
    except StoreError as error:
        click.echo(f"phantom serve: {error}", err=True)
        sys.exit(2 if isinstance(error, StoreUnusable) else 1)
