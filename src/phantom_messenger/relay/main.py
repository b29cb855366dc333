"""The composition root of the relay: the only place that names the engine it runs on."""

import asyncio
import contextlib
import resource
import signal
import sys
from collections.abc import Callable

import uvloop

from phantom_messenger.engines.sqlite import SQLiteStore, StoreError
from phantom_messenger.relay.config import Config, ConfigError
from phantom_messenger.relay.server import RelayServer

__all__ = ["ConfigError", "StoreError", "run_relay"]


_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def run_relay(config: Config, ready: Callable[[str], None]) -> None:
    """Run a relay until SIGINT or SIGTERM.

    Args:
        config: the settings.
        ready: called with the URL once it listens.

    Raises:
        ConfigError, StoreError: it cannot start; the message says what to do.
    """
    for warning in _warnings(config):
        _warn(warning)
    _allow_many_connections()
    store = SQLiteStore(config.data)
    if store.is_cramped:
        _warn(f"the disk is full: nothing new is accepted until there is room for {config.data}")
    uvloop.run(_serve(config, store, ready))


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)  # noqa: T201 - told to whoever starts it


def _allow_many_connections() -> None:
    """A connection is a file descriptor; the usual soft limit of 1,024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(config: Config, store: SQLiteStore, ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    server = RelayServer(config, store)
    try:
        await server.start()
        ready(server.url)
        await stop.wait()
    finally:
        await server.stop()
        for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left to be ended
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


def _warnings(config: Config) -> list[str]:
    found = []
    if config.allow_unsigned_auth:
        found.append("--allow-unsigned-auth: anyone can log in as anyone; use it in closed networks only")
    if not config.public_names and config.host not in _LOOPBACK:
        found.append(
            "--public-names is not set: logins are bound to the Host header that clients send; "
            "set it to this relay's names on a public network"
        )
    if not config.limits:
        found.append("--limits off: rates and connection counts are not limited")
    return found
