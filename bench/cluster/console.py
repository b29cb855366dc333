"""How a person runs a cluster: it says what it does, and ends whole, on Ctrl-C and when its terminal is closed."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterable
from types import FrameType
from typing import Final, Protocol

from cluster import processes
from cluster.programs import ClusterError, Progress

LOOK_SECONDS: Final = 1.0
STOP_SECONDS: Final = 20.0
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Whole(Protocol):
    """What can be run: processes that belong together."""

    def start(self, progress: Progress) -> None:
        """Start everything, or nothing."""

    def ready(self) -> Iterable[str]:
        """What to say once, when all of it runs."""

    def attend(self) -> Iterable[str]:
        """Look after it; what has happened since the last time, in lines."""

    def stop(self) -> None:
        """End everything."""


def show(text: str) -> None:
    """Say something at once, whatever the output is."""
    print(text, flush=True)


def catch_signals() -> None:
    """Have each signal that ends a program raise ``KeyboardInterrupt``, once: a second must not leave half running."""
    for number in ENDING:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def raise_if_interrupted() -> None:
    """Raise ``KeyboardInterrupt`` again: one that was raised in a finalizer has been printed and nothing else."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt


def run(whole: Whole) -> int:
    """Start it, look after it, and end it when told to; the exit status."""
    catch_signals()
    try:
        return _run(whole)
    finally:
        processes.end_children(within=STOP_SECONDS)


def _run(whole: Whole) -> int:
    try:
        whole.start(_show_step)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    try:
        with contextlib.suppress(KeyboardInterrupt):
            watch(whole)
        show("Ending ...")
    finally:
        whole.stop()
    return 0


def _show_step(text: str) -> None:
    raise_if_interrupted()
    show(text)


def watch(whole: Whole) -> None:
    """Look after it for ever."""
    for line in whole.ready():
        show(line)
    while True:
        raise_if_interrupted()
        for line in whole.attend():
            show(line)
        time.sleep(LOOK_SECONDS)
