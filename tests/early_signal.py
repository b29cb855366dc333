"""``phantom`` that gets a signal while it begins; it says so if it leaves a profile open.

``SIGNAL`` names the signal, and ``MOMENT`` when it comes: ``loading`` a command, ``opening`` a profile, ``running`` a
command's coroutine (the profile is open, and there is no event loop yet), or ``looping`` (there is one, which does not
handle signals yet).
"""

import asyncio
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from phantom_messenger.cli.main import Commands
from phantom_messenger.client import client
from phantom_messenger.client.vault import Vault

OWNER, NAME = {
    "loading": (Commands, "get_command"),
    "opening": (Vault, "_unlock"),
    "running": (asyncio, "run"),
    "looping": (asyncio, "current_task"),
}[os.environ["MOMENT"]]
NUMBER = signal.Signals[os.environ["SIGNAL"]]
genuine: Any = getattr(OWNER, NAME)


def interrupted(*arguments: Any) -> Any:
    signal.raise_signal(NUMBER)
    return genuine(*arguments)


class WatchedVault(Vault):
    """Counts those that are open."""

    still_open = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        WatchedVault.still_open += 1
        self._is_counted = True

    def close(self) -> None:
        super().close()
        if getattr(self, "_is_counted", False):
            self._is_counted = False
            WatchedVault.still_open -= 1


if __name__ == "__main__":
    setattr(OWNER, NAME, interrupted)
    vars(client)["Vault"] = WatchedVault
    try:
        runpy.run_path(str(Path(__file__).with_name("quick_phantom.py")), run_name="__main__")
    finally:
        if WatchedVault.still_open:
            sys.stderr.write("a profile was left open\n")
