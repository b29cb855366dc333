"""Alice and Bob on the command line."""

from pathlib import Path

from support.command_line import phantom

NOWHERE = "ws://127.0.0.1:9/ws"
"""Where no relay is."""


def meet(home: Path, url: str) -> None:
    """Make Alice and Bob, and each the other's contact."""
    ids = {}
    for name in ("alice", "bob"):
        made = phantom(home, "init", "--profile", name, "--server", url)
        assert made.returncode == (1 if url == NOWHERE else 0), made.stderr
        ids[name] = phantom(home, "id", "--profile", name).stdout.strip()
    for name, other in (("alice", "bob"), ("bob", "alice")):
        assert phantom(home, "contacts", "add", "--profile", name, other, ids[other]).returncode == 0
