"""How a profile comes to be open: what ``Client`` offers before there is one."""

import asyncio
import functools
from pathlib import Path
from typing import Self, TypeVar

from phantom_messenger.client import profile as profiles
from phantom_messenger.client.backup import BackupSummary, export_profile, import_profile
from phantom_messenger.client.errors import ProfileExists, UsageError
from phantom_messenger.client.translate import guarded
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.client.vault_copy import VaultCopy

T = TypeVar("T")
P = TypeVar("P", bound="ProfileFront")


@guarded
class ProfileFront:
    """Opens, exports and imports; ``Client`` is the rest.

    Args:
        vault: open.
        server: the relay's URL, checked; None: the one in the vault.
        strangers: "ask" or "accept".
    """

    def __init__(self, vault: Vault, server: str | None, strangers: str = "ask") -> None:
        del server, strangers
        self._vault = vault

    @classmethod
    def open(
        cls,
        profile: str = "default",
        *,
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
        create: bool = True,
        strangers: str = "ask",
    ) -> Self:
        """Open a profile; its identity is made on first use.

        Deriving the key from the passphrase (Argon2id) takes about half a second, during which the caller waits:
        ``open_async`` does it in a thread.

        Args:
            profile: a name of letters, digits, '.', '_' and '-'.
            server: the relay's URL, ws:// or wss://; remembered, so later calls may leave it out.
            home: the folder of all profiles; if None, ``PHANTOM_HOME`` or the platform's folder for application data.
            passphrase: encrypts the profile; if None, ``PHANTOM_PASSPHRASE`` or the system's keyring is used.
            create: make the profile if it does not exist.
            strangers: "ask": messages from strangers wait, still encrypted, for ``peek`` and ``accept``. "accept": they
                arrive through ``messages`` at once, as a bot wants it; receipts still go only to users you know.

        Raises:
            UsageError: an argument is invalid.
            VaultError: the profile cannot be opened; its subclasses say why.
        """
        if strangers not in {"ask", "accept"}:
            raise UsageError(f"strangers can be 'ask' or 'accept', not '{strangers}'")
        path = profiles.vault_path(profile, profiles.home_folder(home))
        url = None if server is None else profiles.checked_url(server)
        if not create and not profiles.is_there(path):
            # Before a passphrase is asked for in vain.
            Vault(path, Secret(""), create=False)
        return cls(Vault(path, profiles.secret_for(path, passphrase), create=create), url, strangers)

    @classmethod
    async def open_async(
        cls,
        profile: str = "default",
        *,
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
        create: bool = True,
        strangers: str = "ask",
    ) -> Self:
        """As ``open``, in a thread: for programs whose event loop must not wait.

        ``async with await Client.open_async(...) as me`` connects.
        """
        open_it = functools.partial(
            cls.open, profile, server=server, home=home, passphrase=passphrase, create=create, strangers=strangers
        )
        opening = asyncio.get_running_loop().run_in_executor(None, open_it)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_opened)  # a thread cannot be cancelled
            raise

    def close(self) -> None:
        """Close the profile."""
        self._vault.close()

    def export_to(self, path: Path, passphrase: str, *, replace: bool = False) -> BackupSummary:
        """Write identity, contacts and history to a file, encrypted with a passphrase; this takes a second or more.

        Args:
            path: the file.
            passphrase: encrypts the file; at least 8 characters are wise.
            replace: overwrite a file that exists.

        Raises:
            BackupError, VaultError: it could not be done; the message says why.
        """
        return export_profile(self._vault, path, passphrase, replace=replace)

    async def export_async(self, path: Path, passphrase: str, *, replace: bool = False) -> BackupSummary:
        """As ``export_to``, in a thread: for programs whose event loop must not wait.

        The file has what there was when this was called. If the call is cancelled, it may be written all the same.
        Arguments and errors are those of ``export_to``; ``ClientClosed`` if it was closed.
        """
        copy = VaultCopy(self._vault)
        try:
            write = functools.partial(export_profile, copy, path, passphrase, replace=replace)
            writing = asyncio.get_running_loop().run_in_executor(None, write)
        except BaseException:
            copy.close()
            raise
        writing.add_done_callback(lambda _: copy.close())
        return await _finished(writing)

    @classmethod
    def import_from(
        cls,
        path: Path,
        file_passphrase: str,
        *,
        profile: str = "default",
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
    ) -> BackupSummary:
        """Make a profile from an exported file; ``open`` it afterwards. Sessions with contacts recover on their own.

        Args:
            path: the file.
            file_passphrase: opens the file.
            profile: name of the new profile.
            server: the relay's URL, if it is not the one in the file.
            home: as for ``open``.
            passphrase: of the new profile, as for ``open``.

        Raises:
            ProfileExists, WrongPassphrase, BackupError, VaultError: nothing was made; the message says why.
        """
        target = profiles.vault_path(profile, profiles.home_folder(home))
        url = None if server is None else profiles.checked_url(server)
        if profiles.is_there(target):
            raise ProfileExists(f"profile '{profile}' already exists; import under another name")
        return import_profile(path, file_passphrase, target, profiles.secret_for(target, passphrase), server=url)

    @classmethod
    async def import_async(
        cls,
        path: Path,
        file_passphrase: str,
        *,
        profile: str = "default",
        server: str | None = None,
        home: Path | str | None = None,
        passphrase: str | None = None,
    ) -> BackupSummary:
        """As ``import_from``, in a thread; if the call is cancelled, the profile may be made all the same."""
        make = functools.partial(
            cls.import_from, path, file_passphrase, profile=profile, server=server, home=home, passphrase=passphrase
        )
        return await _finished(asyncio.get_running_loop().run_in_executor(None, make))


async def _finished(working: "asyncio.Future[T]") -> T:
    """What a thread, which cannot be cancelled, makes; an error that nobody waits for any more is not told."""
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        working.add_done_callback(lambda done: done.cancelled() or done.exception())
        raise


def _close_opened(opening: "asyncio.Future[P]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
