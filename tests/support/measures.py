"""What the operating system says of a process."""

from pathlib import Path


def resident(pid: int) -> int:
    """Bytes of memory that it holds: RSS, without what is shared with files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    [anonymous] = [line.split() for line in lines if line.startswith("RssAnon:")]
    return int(anonymous[1]) * 1_024


def open_files(pid: int) -> int:
    """How many file descriptors it has."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
