"""Where profiles are on this machine, and what opens them."""

import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import platformdirs

from phantom_messenger.client.errors import PassphraseNeeded, UsageError
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.wire.names import join_name, normal_host

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_HOST: Final = re.compile(r"[\w.:\[\]-]+\Z")
_PATH: Final = re.compile(r"[!-~]*\Z")
_SERVICE: Final = "phantom-messenger"
_DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
_OF_PAGES: Final = {"http": "ws", "https": "wss"}
"""The scheme of a relay by that of its page."""


def home_folder(home: Path | str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of all profiles: the argument, ``PHANTOM_HOME``, or the platform's place for data."""
    chosen = home or environ.get("PHANTOM_HOME")
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir(_SERVICE, appauthor=False))


def vault_path(profile: str, home: Path) -> Path:
    """The file of a profile.

    Raises:
        UsageError: the name cannot be one of a file.
    """
    if not _NAME.match(profile):
        raise UsageError(f"'{profile}' cannot be a profile name; use letters, digits, '.', '_' and '-'")
    return home / "profiles" / f"{profile}.vault"


def is_there(path: Path) -> bool:
    """Whether there is a profile, or what is left of one: a link that leads nowhere, an empty file.

    Raises:
        UsageError: there is no way to where it would be.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UsageError(f"cannot reach {path}: {error.strerror}; set PHANTOM_HOME to a folder of your own") from None
    return True


def secret_for(path: Path, passphrase: str | None, environ: Mapping[str, str] = os.environ) -> Secret:
    """What opens the profile at ``path``: the argument, ``PHANTOM_PASSPHRASE``, or the system's keyring.

    For a new profile a random key is put into the keyring, if there is one.

    Raises:
        PassphraseNeeded: none of them is there.
    """
    text = passphrase or environ.get("PHANTOM_PASSPHRASE")
    if text:
        return Secret(text)
    stored = _from_keyring(path)
    if stored is None:
        raise PassphraseNeeded("the profile needs a passphrase; set PHANTOM_PASSPHRASE or run it in a terminal")
    return Secret(stored, stretched=False)


def forget_secret(path: Path) -> None:
    """Take the profile's key out of the keyring, if it is there."""
    import keyring  # noqa: PLC0415 - loading it takes longer than most commands
    import keyring.errors  # noqa: PLC0415

    try:
        keyring.delete_password(_SERVICE, str(path.resolve()))
    except keyring.errors.KeyringError:
        return


def checked_url(url: str) -> str:
    """A relay's URL in full.

    Raises:
        UsageError: not ws:// or wss:// with a host.
    """
    try:
        parts = urlsplit(url.strip())
        is_good = (
            parts.scheme in _DEFAULT_PORTS
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.query or parts.fragment or parts.username or parts.password)
            and _HOST.match(parts.netloc) is not None
            and _PATH.match(parts.path) is not None
        )
        name = parts.netloc if not is_good or parts.netloc.isascii() else audience_of(url.strip())
        if is_good:
            normal_host(parts.hostname or "")  # a name that nobody can look up raises
    except ValueError:
        is_good = False
    if not is_good:
        raise UsageError(f"'{url}' is not the URL of a relay{url_hint(url)}")
    return f"{parts.scheme}://{name}{parts.path.rstrip('/') or '/ws'}"


def url_hint(url: str) -> str:
    """What to give instead of something that is not the URL of a relay: what follows it in a sentence."""
    try:
        parts = urlsplit(url.strip())
        if parts.scheme in _OF_PAGES and parts.netloc:
            return f", but of its page; the relay's is {_OF_PAGES[parts.scheme]}://{parts.netloc}/ws"
    except ValueError:
        pass
    return ", which is like ws://127.0.0.1:8080/ws or wss://HOST/ws"


def audience_of(url: str) -> str:
    """host[:port] of a URL in the one form that the relay compares: without the scheme's default port."""
    parts = urlsplit(url)
    try:
        host = normal_host(parts.hostname or "")
    except ValueError:  # nobody can dial it either
        host = parts.hostname or ""
    return join_name(host, None if parts.port == _DEFAULT_PORTS[parts.scheme] else parts.port)


def erase(opened: Vault) -> None:
    """Delete an open profile, and what opens it."""
    opened.destroy()
    forget_secret(opened.path)


def _from_keyring(path: Path) -> str | None:
    import keyring  # noqa: PLC0415 - as above
    import keyring.errors  # noqa: PLC0415

    name = str(path.resolve())
    try:
        if keyring.get_keyring().priority <= 0:
            return None
        found = keyring.get_password(_SERVICE, name)
        if found is None and not is_there(path):
            found = secrets.token_urlsafe(32)
            keyring.set_password(_SERVICE, name, found)
    except (keyring.errors.KeyringError, RuntimeError, OSError):
        return None
    return found
