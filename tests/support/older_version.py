"""An older version of the program, from the history of the repository, where that is at hand."""

import io
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MIGRATIONS = ":(glob)src/phantom_messenger/engines/postgres/sql/*.sql"


def git(*arguments: str) -> bytes | None:
    """What git answers; None if it cannot."""
    try:
        asked = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, timeout=60, check=False)
    except FileNotFoundError:
        return None
    return asked.stdout if asked.returncode == 0 else None


def before_the_tables_changed() -> str | None:
    """The last commit before the newest migration of PostgreSQL came; None if there is no history."""
    changed = git("log", "-1", "--diff-filter=A", "--format=%H", "--", MIGRATIONS)
    found = git("rev-parse", "--verify", f"{changed.decode().strip()}^") if changed else None
    return found.decode().strip() if found else None


def unpack(commit: str, folder: Path) -> str | None:
    """Unpack the source of a commit; Python text that has a relay run it, None if there is no such commit."""
    packed = git("archive", commit, "src")
    if packed is None:
        return None
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return f"import sys\nsys.path.insert(0, {str(folder / 'src')!r})"
