"""A real relay that scrubs at other times than it does."""

from pathlib import Path

_STARTUP = """
import phantom_messenger.relay.server as server

server.SCRUB_SECONDS = {scrub_seconds}
"""


def changed(folder: Path, *, scrub_seconds: float) -> dict[str, str]:
    """What the environment of the relay must have, so that Python changes it at its start.

    Args:
        folder: a new one, for the file that does it.
        scrub_seconds: how often it scrubs.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_STARTUP.format(scrub_seconds=scrub_seconds))
    return {"PYTHONPATH": str(folder)}
