"""``phantom export`` and ``phantom import``: a profile in one encrypted file."""

import os
import sys
from pathlib import Path
from typing import Final

import click

from phantom_messenger.cli.common import check_new_passphrase, one_line, open_client, profile_option, reports_errors
from phantom_messenger.client.backup import check_source, check_target
from phantom_messenger.client.client import Client
from phantom_messenger.client.errors import PassphraseNeeded, ProfileExists
from phantom_messenger.client.profile import home_folder, is_there, vault_path

PASSPHRASE: Final = "PHANTOM_EXPORT_PASSPHRASE"  # noqa: S105 - the name of a variable


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@profile_option
@click.option("--force", is_flag=True, help="overwrite FILE if it is there")
@reports_errors
def export(file: Path, profile: str, force: bool) -> None:
    """Write your identity, contacts and history to FILE, encrypted with a passphrase of its own.

    The passphrase comes from PHANTOM_EXPORT_PASSPHRASE, or you are asked. Texts that burn or expire are left out.
    """
    client = open_client(profile)
    try:
        check_target(file, replace=force)
        done = client.export_to(file, _passphrase("New passphrase for the file", new=True), replace=force)
    finally:
        client.close()
    click.echo(f"exported {done.contacts} contact(s) and {done.texts} text(s) to {one_line(str(file))}")
    if done.damaged:
        click.echo(f"phantom: {done.damaged} damaged record(s) could not be read and are left out", err=True)
    click.echo("Whoever has this file and its passphrase is you. Nobody can restore a passphrase that is lost.")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@profile_option
@click.option("--server", metavar="URL", help="another relay than the one in the file")
@reports_errors
def import_(file: Path, profile: str, server: str | None) -> None:
    """Make a profile from FILE, which 'phantom export' wrote. Conversations go on by themselves.

    The file's passphrase comes from PHANTOM_EXPORT_PASSPHRASE, or you are asked.
    """
    path = vault_path(profile, home_folder(None))
    if is_there(path):
        raise ProfileExists(f"there is a profile '{profile}' already; import under another name with --profile NAME")
    check_source(file)
    opens = _passphrase("Passphrase of the file", new=False)
    given = os.environ.get("PHANTOM_PASSPHRASE")
    if given:
        check_new_passphrase(given)
    try:
        done = Client.import_from(file, opens, profile=profile, server=server)
    except PassphraseNeeded:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PassphraseNeeded(
                "a passphrase is needed for the new profile and there is no terminal to ask; set PHANTOM_PASSPHRASE"
            ) from None
        own = click.prompt(f"New passphrase for '{profile}'", hide_input=True, confirmation_prompt=True, err=True)
        check_new_passphrase(own)
        done = Client.import_from(file, opens, profile=profile, server=server, passphrase=own)
    click.echo(f"imported {done.contacts} contact(s) and {done.texts} text(s) as profile '{profile}'")
    click.echo(
        "Use this identity in one place at a time: if the old profile still exists,"
        " run 'phantom destroy --local-only' there."
    )


def _passphrase(prompt: str, *, new: bool) -> str:
    found = os.environ.get(PASSPHRASE)
    if not found:
        if sys.stdin is None or not sys.stdin.isatty():
            raise PassphraseNeeded(
                f"a passphrase for the file is needed and there is no terminal to ask; set {PASSPHRASE}"
            )
        found = str(click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True))
    if new:
        check_new_passphrase(found)
    return found
