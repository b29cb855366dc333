"""The composition root of the relay: the only place that names the engine it runs on."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import uvloop

from phantom_messenger.clock import ClockSnapshot
from phantom_messenger.engines.errors import StoreUnusable
from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.events import Event, install, log
from phantom_messenger.relay import memory
from phantom_messenger.relay.config import Config, ConfigError
from phantom_messenger.relay.ports import Store
from phantom_messenger.relay.public_names import ANY
from phantom_messenger.relay.server import MakeLink, RelayServer
from phantom_messenger.version import __version__

__all__ = ["ConfigError", "StoreError", "StoreUnusable", "run_relay"]

GC_THRESHOLDS: Final = 10_000, 20, 50
"""For ``gc.set_threshold``: objects until a collection, and collections until one of the next older generation."""

IGNORED_SIGNALS: Final = signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2
"""Signals that are sent to reload, to rotate a log, or when a terminal is closed."""

SWITCH_SECONDS: Final = 0.0002
"""How long the event loop's thread may keep Python's global lock while the store's thread waits for it.

SQLite releases the lock in every statement. At 5 ms, the default, one batch can wait for it a hundred times, and
what arrives meanwhile makes the next wait longer.
"""


def run_relay(config: Config, ready: Callable[[str], None], *, unknown: Sequence[str] = ()) -> None:
    """Run a relay until SIGINT or SIGTERM, or until the terminal is closed in which it was started.

    Args:
        config: the settings.
        ready: called with the URL once the relay is listening.
        unknown: environment variables that look like settings but are not.

    Raises:
        ConfigError, StoreError: it cannot start; the message says what to do.
    """
    install(config.log_level, config.log_format)
    terminals = _terminals()
    for number in IGNORED_SIGNALS:  # by default they end the process, even while it starts
        signal.signal(number, signal.SIG_IGN)
    for event in _startup_warnings(config):
        log(event)
    for variable in unknown:
        log(Event.SETTING_UNKNOWN, variable=variable)
    _raise_fd_limit()
    memory.map_large()
    engine = _on_postgres(config) if config.store else _in_folder(config)
    if engine.store.is_out_of_space:
        log(Event.DISK_FULL)
    _tune_gc()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvloop.run(_serve(config, engine, ready, terminals))


def _terminals() -> list[int]:
    """Which of the standard files are a terminal whose end is the relay's; none if it was started with nohup."""
    is_kept = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [] if is_kept else [number for number in range(3) if os.isatty(number)]


class Engine(NamedTuple):
    """A store, and what comes with it if other relays may work on it: see ``RelayServer``."""

    store: Store
    make_link: MakeLink | None = None
    time: ClockSnapshot | None = None


def _in_folder(config: Config) -> Engine:
    return Engine(SQLiteStore(config.data, mailbox_bytes=config.mailbox_bytes))


def _on_postgres(config: Config) -> Engine:
    try:
        from phantom_messenger.engines import postgres  # noqa: PLC0415 - its library is an extra
    except ImportError:
        raise StoreError("--store needs psycopg: install it with pip install 'phantom-messenger[postgres]'") from None
    durability = postgres.Durability(config.durability) if config.durability else postgres.durability_of(config.store)
    store = postgres.PostgresStore(config.store, durability=durability, mailbox_bytes=config.mailbox_bytes)
    return Engine(store, partial(postgres.PostgresLink, config.store), store.time())


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


async def _serve(config: Config, engine: Engine, ready: Callable[[str], None], terminals: Sequence[int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = RelayServer(config, *engine)

    def is_abandoned() -> bool:
        return bool(terminals) and not any(os.isatty(number) for number in terminals)

    def hung_up() -> None:
        if is_abandoned():
            stop.set()
        else:
            server.reload()

    try:
        await server.start()
        loop.add_signal_handler(signal.SIGHUP, hung_up)
        if is_abandoned():  # while it started
            stop.set()
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
