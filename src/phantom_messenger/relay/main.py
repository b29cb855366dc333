"""The composition root of the relay: the only place that names the engine it runs on."""

import asyncio
import contextlib
import gc
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Final

import uvloop

from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.engines.sqlite.folder import FolderUnusable
from phantom_messenger.events import Event, install, log
from phantom_messenger.relay import memory
from phantom_messenger.relay.config import Config, ConfigError
from phantom_messenger.relay.public_names import ANY
from phantom_messenger.relay.server import RelayServer
from phantom_messenger.version import __version__

__all__ = ["ConfigError", "FolderUnusable", "StoreError", "run_relay"]

GC_THRESHOLDS: Final = 10_000, 20, 50
"""For ``gc.set_threshold``: objects until a collection, and collections until one of the next older generation."""

IGNORED_SIGNALS: Final = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2
"""Signals that are sent to reload, to rotate a log, or when a terminal is closed."""

SWITCH_SECONDS: Final = 0.0005
"""How long the event loop's thread may keep Python's global lock while the store's thread waits for it.

SQLite releases the lock in every statement. At 5 ms, the default, one batch can wait for it a hundred times, and
what arrives meanwhile makes the next wait longer.
"""


def run_relay(config: Config, ready: Callable[[str], None], *, unknown: Sequence[str] = ()) -> None:
    """Run a relay until SIGINT or SIGTERM.

    Args:
        config: the settings.
        ready: called with the URL once the relay is listening.
        unknown: environment variables that look like settings but are not.

    Raises:
        ConfigError, StoreError: it cannot start; the message says what to do.
    """
    install(config.log_level, config.log_format)
    for number in IGNORED_SIGNALS:  # by default they end the process, even while it starts
        signal.signal(number, signal.SIG_IGN)
    for event in _startup_warnings(config):
        log(event)
    for variable in unknown:
        log(Event.SETTING_UNKNOWN, variable=variable)
    _raise_fd_limit()
    memory.map_large()
    store = SQLiteStore(config.data, mailbox_bytes=config.mailbox_bytes)
    if store.is_out_of_space:
        log(Event.DISK_FULL)
    _tune_gc()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(_serve(config, store, ready))


def _raise_fd_limit() -> None:
    """Allow as many file descriptors as possible: the usual soft limit of 1,024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tune_gc() -> None:
    """Collect less often than every 700 objects, and only what was created since the start: little of it is garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


async def _serve(config: Config, store: SQLiteStore, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = RelayServer(config, store)
    try:
        await server.start()
        loop.add_signal_handler(signal.SIGHUP, server.reload)
        log(Event.STARTED, version=__version__)
        ready(server.url)
        await stop.wait()
        log(Event.STOPPING, connections=server.connections)
    finally:
        await server.stop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the server has stopped already
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
    log(Event.STOPPED)


def _startup_warnings(config: Config) -> list[Event]:
    """What an operator should know about these settings."""
    found = []
    if config.reference_clients:
        found.append(Event.REFERENCE_CLIENTS)
    if ANY in config.public_names:
        found.append(Event.ANY_NAME)
    if not config.limits:
        found.append(Event.LIMITS_OFF)
    return found
