"""``phantom`` that gets a signal while it begins: ``SIGNAL`` names it, ``MOMENT`` is ``loading`` or ``opening``."""

import os
import runpy
import signal
from pathlib import Path
from typing import Any

from phantom_messenger.cli.main import Commands
from phantom_messenger.client.vault import Vault

OWNER, NAME = {"loading": (Commands, "get_command"), "opening": (Vault, "_unlock")}[os.environ["MOMENT"]]
NUMBER = signal.Signals[os.environ["SIGNAL"]]
genuine: Any = getattr(OWNER, NAME)


def interrupted(*arguments: Any) -> Any:
    signal.raise_signal(NUMBER)
    return genuine(*arguments)


if __name__ == "__main__":
    setattr(OWNER, NAME, interrupted)
    runpy.run_path(str(Path(__file__).with_name("quick_phantom.py")), run_name="__main__")
