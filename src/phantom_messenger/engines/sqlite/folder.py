"""The data folder: which one it is, who has it, and whether the files in it are those of one relay."""

import os
from pathlib import Path

from phantom_messenger.engines.errors import StoreError, StoreUnusable
from phantom_messenger.sqlite import files, log_pairing


def lock_folder(folder: Path) -> int:
    """Lock a folder until the returned handle is closed.

    Raises:
        StoreError: another relay has it.
    """
    try:
        return files.lock(folder / "lock")
    except BlockingIOError:
        raise StoreError(
            f"another relay uses the data folder {folder}; stop it, or choose another folder with --data"
        ) from None


def own_database(database: Path) -> Path:
    """The database under the one name that all relays find it by: the lock stands beside that.

    Raises:
        StoreError: a link leads nowhere, or there is another name that cannot be told from this one.
    """
    try:
        real = files.real_path(database)
    except files.DanglingLink as link:
        raise StoreError(
            f"{database} is a link to {link.target}, which does not exist; mount its disk, or restore it"
        ) from None
    if real.exists() and real.stat().st_nlink > 1:
        raise StoreError(f"{real} has a second name (a hard link), which no lock protects; give it a file of its own")
    return real


def is_new(database: Path) -> bool:
    """Whether there is no database yet, and never was; call it with the folder locked.

    Raises:
        StoreError: there was one, or what is there is none, or it does not belong to the log beside it.
        OSError: a file cannot be read.
    """
    log = database.with_name(f"{database.name}-wal")
    if not database.exists():
        if database.with_name("reserve").exists() or (log.exists() and log.stat().st_size):
            raise StoreError(
                f"{database} is missing in a folder that was used; restore it from a backup,"
                " or empty the folder to begin with an empty relay"
            )
        return True
    if not database.stat().st_size:
        raise StoreError(
            f"{database} is empty; restore it from a backup, or empty the folder to begin with an empty relay"
        )
    if not log_pairing.is_own_log(database):
        raise StoreError(
            f"{log} is the log of another state of {database.name} (from before a restore, perhaps);"
            " move that log away and start again"
        )
    return False


def cannot_use(folder: Path, error: Exception) -> StoreError:
    """What to say when the folder, or a file in it, cannot be written."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if os.path.exists(folder) and not os.path.isdir(folder):  # noqa: PTH110, PTH112 - unlike Path's, they never raise
        why = "it is a file, not a folder"
    kind = StoreUnusable if isinstance(error, PermissionError) else StoreError
    return kind(f"cannot write to the data folder {folder} ({why}); choose another with --data")
