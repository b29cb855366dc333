"""The file of a vault: which one it is, who has it, how it is made, and what is saved of a damaged one."""

import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import apsw

from phantom_messenger.client.errors import VaultDamaged, VaultError, VaultFull, VaultInUse
from phantom_messenger.sqlite import database, files, log_pairing
from phantom_messenger.sqlite.errors import is_corruption, is_out_of_space

_STEPS: Final = (
    """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind     TEXT NOT NULL,
    name     BLOB NOT NULL,   -- HMAC of the name, 16 bytes
    due      INTEGER,         -- ms since 1970 when the record is to go, if ever
    value    BLOB NOT NULL,   -- nonce || AES-256-GCM
    UNIQUE (kind, name)
) STRICT;
CREATE INDEX records_due ON records (due) WHERE due IS NOT NULL;
""",
)
FORMAT: Final = len(_STEPS)
"""``user_version`` of a vault: how many steps of the schema it has."""

_BEYOND: Final = 1_000_000
"""How far behind the last position that was found the next one is given, if it is not known which was given last."""

_MOST: Final = 2**62
"""No position of a vault."""

_log = logging.getLogger("phantom_messenger")


def real_path(path: Path) -> Path:
    """The one name of a vault by which everybody finds its lock.

    Raises:
        VaultError: a link leads nowhere.
        OSError: there is no way to it.
    """
    try:
        return files.real_path(path)
    except files.DanglingLink as error:
        raise VaultError(f"{path} is a link to {error}, which does not exist; mount its disk, or restore it") from None


def lock(path: Path) -> int:
    """Have a vault alone, until the handle is closed.

    Raises:
        VaultInUse: another program has it.
    """
    try:
        return files.lock(path.with_name(path.name + ".lock"))
    except BlockingIOError:
        raise VaultInUse(
            f"the profile '{path.stem}' is in use by another program, such as a chat or a listener; stop that one first"
        ) from None


def check(path: Path) -> None:
    """Look at a vault before SQLite does, which would mistake an empty file for a new one, and any log for its own.

    Raises:
        VaultError: it is no vault, or not the one that its log belongs to; the message says what to do.
        OSError: it cannot be read.
    """
    found = path.stat()
    if found.st_nlink > 1:
        _drop_parts(path, found.st_ino)
    if path.stat().st_nlink > 1:
        raise VaultError(f"{path} has a second name (a hard link), which no lock protects; give it a file of its own")
    if not found.st_size:
        raise VaultDamaged(f"{path} is empty; restore it from a backup, or delete it to start over")
    if not log_pairing.is_own_log(path):
        raise VaultDamaged(
            f"{path}-wal is the log of another state of this profile (from before a restore, perhaps);"
            " move that log away and try again"
        )


def _drop_parts(path: Path, inode: int) -> None:
    """An import that was killed may have left its working name of the file."""
    for part in path.parent.glob(f".{path.stem}.*.vault"):
        if part.lstat().st_ino == inode:
            part.unlink()


def make(path: Path, meta: list[tuple[str, bytes]]) -> None:
    """Make an empty vault, whole or not at all, so that a file without tables is one that was damaged.

    Raises:
        apsw.Error, OSError: it could not be made.
        VaultDamaged: there was one, whose log is still there.
    """
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise VaultDamaged(f"{path} is missing, but its log is there; restore it from a backup, or move the log away")
    with database.new_file(path) as (part, connection):
        database.migrate(connection, _STEPS)
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta)
        connection.close()
        part.rename(path)
    files.sync_folder(path.parent)


def delete(path: Path) -> None:
    """Delete a vault with all that lies beside it, also what was kept of damaged ones."""
    files.delete(path)
    for kept in path.parent.glob(f"{path.name}.damaged-*"):
        kept.unlink(missing_ok=True)
    path.with_name(path.name + ".lock").unlink(missing_ok=True)


def translated(path: Path, error: Exception) -> VaultError:
    """An error of SQLite or of the operating system, as users see it."""
    reason = str(error).partition("\n")[0] if isinstance(error, apsw.Error) else getattr(error, "strerror", None) or "?"
    if is_corruption(error) or isinstance(error, apsw.NotADBError | apsw.SQLError):
        return damaged(path)
    if isinstance(error, apsw.BusyError):
        return VaultError(f"another program (a backup?) holds {path}; it is tried again")
    if is_out_of_space(error) or _is_full(error):
        return VaultFull(f"cannot write to {path}: the disk is full, or broken ({reason}); free some disk space")
    return VaultError(f"cannot use {path} ({reason}); it must be a file that you may read and write")


def damaged(path: Path) -> VaultDamaged:
    """What to say when nothing of it can be saved."""
    return VaultDamaged(f"{path} is damaged and cannot be read; restore it from a backup")


def unreachable(folder: Path, error: OSError) -> VaultError:
    """What to say when there is no way to the folder of the profiles, or nothing can be made in it."""
    if _is_full(error):
        return VaultFull(f"cannot write to {folder}: the disk is full; free some disk space")
    return VaultError(f"cannot write to {folder}: {error.strerror}; set PHANTOM_HOME to another folder")


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def salvage(old: apsw.Connection, path: Path, is_enough: Callable[[apsw.Connection], bool]) -> bool:
    """Put what can be read of a damaged vault into a new file of its name, and keep the damaged one beside it.

    Args:
        old: to the vault; closed if it was replaced.
        path: of it.
        is_enough: whether the new one holds what it cannot be used without.

    Returns:
        Whether it was done; if not, nothing was changed.
    """
    try:
        with database.new_file(path) as (part, connection):
            database.migrate(connection, _STEPS)
            connection.executemany("INSERT INTO meta SELECT ?, ?", old.execute("SELECT name, value FROM meta"))
            with connection:
                _copy(old, connection)
            if not is_enough(connection):
                return False
            log_pairing.end(connection)
            connection.close()
            # Before the names change: what it still writes must not end up beside the new file.
            old.close()
            # A second name first, and then the replacement: at no moment is there no file of this name.
            kept = _keep(path)
            part.replace(path)
            for suffix in files.SUFFIXES[1:]:
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
        files.sync_folder(path.parent)
    except (apsw.Error, OSError):
        return False
    _log.warning(
        "the profile %s was damaged: what could be read of it was saved, and the damaged file is now %s; delete that"
        " when it is not needed any more",
        path,
        kept,
    )
    return True


def _keep(path: Path) -> Path:
    """Give a file a second name, under which it stays when the first is another's."""
    stem = f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    kept = path.with_name(stem)
    count = 1
    while kept.exists():
        count += 1
        kept = path.with_name(f"{stem}-{count}")
    try:
        kept.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, kept)
        kept.chmod(0o600)
    return kept


def _copy(old: apsw.Connection, new: apsw.Connection) -> None:
    """Copy row by row: at one that cannot be read, its neighbours are looked for by their positions."""
    try:
        last: int | None = int(_one(old, "SELECT seq FROM sqlite_sequence WHERE name = 'records'") or 0)
    except apsw.Error:
        last = None
    position, bound = 0, _BEYOND if last is None else min(last, _BEYOND)
    while position < bound:
        try:
            row: Any = old.execute(
                "SELECT position, kind, name, due, value FROM records WHERE position > ? ORDER BY position LIMIT 1",
                (position,),
            ).fetchone()
        except apsw.Error as error:
            if not is_corruption(error):
                raise
            position += 1
            continue
        if row is None:
            break
        if not position < row[0] <= (_MOST if last is None else last):  # garbage, which could lead back for ever
            position += 1
            continue
        position = row[0]
        bound = position + _BEYOND if last is None else min(last, position + _BEYOND)
        with contextlib.suppress(apsw.ConstraintError):  # garbage: of another type, or a second of its name
            new.execute("INSERT INTO records (position, kind, name, due, value) VALUES (?, ?, ?, ?, ?)", row)
    end = last if last is not None else position + _BEYOND
    new.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
    new.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", (end,))


def _one(connection: apsw.Connection, statement: str) -> Any:
    row: Any = connection.execute(statement).fetchone()
    return None if row is None else row[0]
