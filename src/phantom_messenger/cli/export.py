"""``phantom export`` and ``phantom import``: a profile in one encrypted file."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from phantom_messenger.cli.common import (
    LEAST_PASSPHRASE,
    check_new_passphrase,
    count,
    new_passphrase,
    new_passphrase_prompt,
    one_line,
    open_client,
    profile_flag,
    profile_option,
    reports_errors,
)
from phantom_messenger.client.backup import BackupSummary, check_source, check_target
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PassphraseNeeded, ProfileExists
from phantom_messenger.client.profile import checked_url, home_folder, is_there, vault_path

PASSPHRASE: Final = "PHANTOM_EXPORT_PASSPHRASE"  # noqa: S105 - the name of a variable


@click.command(short_help="Save your identity, contacts and history, encrypted.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@profile_option
@click.option("--force", is_flag=True, help="overwrite FILE if it exists")
@reports_errors
def export(file: Path, profile: str, force: bool) -> None:
    """Save your identity, contacts and history to FILE, encrypted with its own passphrase.

    The passphrase comes from PHANTOM_EXPORT_PASSPHRASE, or you are asked. Messages that burn or expire are left out.
    """
    client = open_client(profile)
    try:
        check_target(file, replace=force)
        words = _passphrase(f"New passphrase for the file (at least {LEAST_PASSPHRASE} characters)", new=True)
        done = client.export_to(file, words, replace=force)
    finally:
        client.close()
    click.echo(f"exported {_contents(done)} to {one_line(str(file))}")
    if done.damaged:
        click.echo(f"phantom: left out {count(done.damaged, 'damaged record')}", err=True)
    click.echo("Anyone with this file and its passphrase can act as you. A lost passphrase cannot be recovered.")


@click.command("import", short_help="Create a profile from an exported file.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@profile_option
@click.option("--server", metavar="URL", help="use this relay instead of the one in the file")
@reports_errors
def import_(file: Path, profile: str, server: str | None) -> None:
    """Create a profile from FILE, which 'phantom export' has written. Conversations continue on their own.

    The file's passphrase comes from PHANTOM_EXPORT_PASSPHRASE, or you are asked.
    """
    path = vault_path(profile, home_folder(None))
    if is_there(path):
        raise ProfileExists(f"profile '{profile}' already exists; choose another name with --profile NAME")
    check_source(file)
    given = os.environ.get("PHANTOM_PASSPHRASE")
    if given:  # what is refused is refused before anything is asked
        check_new_passphrase(given)
    if server is not None:
        checked_url(server)
    opens = _passphrase("Passphrase of the file", new=False)
    try:
        done = Client.import_from(file, opens, profile=profile, server=server)
    except PassphraseNeeded:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PassphraseNeeded(
                "the new profile needs a passphrase, but there is no terminal to ask for it; set PHANTOM_PASSPHRASE"
            ) from None
        own = new_passphrase(new_passphrase_prompt(profile))
        done = Client.import_from(file, opens, profile=profile, server=server, passphrase=own)
    click.echo(
        f"imported {_contents(done)} as profile '{profile}'; go on with: phantom chat{profile_flag(profile)} WHO"
    )
    click.echo(
        "Use an identity in one place at a time: if the old profile still exists,"
        " run 'phantom destroy --local-only' there."
    )


def _contents(done: BackupSummary) -> str:
    return f"{count(done.contacts, 'contact')} and {count(done.messages, 'message')}"


def _passphrase(prompt: str, *, new: bool) -> str:
    found = os.environ.get(PASSPHRASE)
    if not found:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PassphraseNeeded(
                f"the file needs a passphrase, but there is no terminal to ask for it; set {PASSPHRASE}"
            )
        return new_passphrase(prompt) if new else str(click.prompt(prompt, hide_input=True, err=True))
    if new:
        check_new_passphrase(found)
    return found
