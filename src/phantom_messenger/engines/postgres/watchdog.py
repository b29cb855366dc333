"""Ends an exchange with the database that takes too long.

A server that was stopped, or a commit for which no standby is there, answers nothing and closes nothing: no time limit
of the server's applies, and the system's keepalive sees a machine that is up. So the socket is shut down from here.
"""

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg

SECONDS: Final = 10.0
"""How long the database may take to answer."""

_LOOK_SECONDS: Final = 0.5


class Watchdog:
    """A thread that watches one connection at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: tuple[int, float] | None = None
        """A file descriptor of the connection's socket, and when it is shut down."""
        self.has_cut = False
        """Whether it has ended the exchange that was watched last."""
        self._is_closed = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def close(self) -> None:
        """End the thread."""
        self._is_closed.set()

    @contextlib.contextmanager
    def over(self, connection: "psycopg.Connection[Any]") -> Iterator[None]:
        """What is done here fails with ``psycopg.OperationalError`` if it takes longer than ``SECONDS``."""
        with self._lock:
            self.has_cut = False
            self._watched = connection.fileno(), time.monotonic() + SECONDS
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def cut(self) -> None:
        """End the exchange that is watched, if there is one."""
        self._cut_at(math.inf)

    def _watch(self) -> None:
        while not self._is_closed.wait(_LOOK_SECONDS):
            self._cut_at(time.monotonic())

    def _cut_at(self, now: float) -> None:
        """End the exchange that is watched if its time is over."""
        with self._lock:  # the descriptor is the connection's as long as it is watched
            if self._watched is None or now < self._watched[1]:
                return
            shut_down(self._watched[0])
            self.has_cut = True
            self._watched = None


def shut_down(descriptor: int) -> None:
    """Shut a connection's socket down: whoever waits for an answer on it waits no longer."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as end:
        end.shutdown(socket.SHUT_RDWR)
