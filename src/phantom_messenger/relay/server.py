"""The relay on asyncio: listening socket, writer thread, timer, clean stop."""

import asyncio
import contextlib
import errno
import os
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from phantom_messenger.clock import ClockSnapshot, SystemClock
from phantom_messenger.events import Event, log, report
from phantom_messenger.relay import certificate, http, memory, signatures
from phantom_messenger.relay.commands import AnyCommand, CommandFailed, LoadClock, TakeLimits
from phantom_messenger.relay.config import Config, ConfigError
from phantom_messenger.relay.framing import PartialMessages
from phantom_messenger.relay.listening import RECEIVE_BUFFER, TLS_RECEIVE_BUFFER, Listener, bind
from phantom_messenger.relay.page import Page
from phantom_messenger.relay.ports import RelayLink, Store
from phantom_messenger.relay.reading import ReadBudget
from phantom_messenger.relay.records import KeptLimits
from phantom_messenger.relay.relay import Relay
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake, Slot
from phantom_messenger.relay.verify_pool import VerifyPool, default_count
from phantom_messenger.relay.websocket import WebSocketConnection
from phantom_messenger.web import files as web
from phantom_messenger.wire.names import DEFAULT_PORTS

TICK_SECONDS: Final = 1.0
SCRUB_SECONDS: Final = 20.0
"""How often deleted bytes are scrubbed from the files: well within the promised 60 s."""

BATCH_MS: Final = 50
"""How long the commands of one batch may take before it is committed."""

SETTLE_SECONDS: Final = 2.0
"""At a stop, time for what is on its way to be stored; then clients are told, whatever is left."""

STOP_SECONDS: Final = 3.5
"""At a stop, time until the clients must have taken it."""

MANY_GONE: Final = 256
"""After so many sockets have gone, what they held is given back to the system."""

KEPT_FILES: Final = 64
"""File descriptors that are not for sockets: the store's, the log's, the listening ones."""


class StoreThread:
    """The one thread that touches the store; a ``relay.ports.Writer``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._broken = False
        self._is_closing = False
        self.is_healthy = True
        """Whether the last batch and the last scrubbing went well, and the disk has room."""

    def __call__(self, commands: Sequence[AnyCommand], done: Callable[[list[Any]], None]) -> None:
        """See ``relay.ports.Writer``."""
        if self._is_closing:
            return

        def work() -> None:
            try:
                results = self._store.run(commands, budget_ms=BATCH_MS)
            except Exception as error:  # noqa: BLE001 - the boundary: every batch is answered, whatever happens
                report(error)
                results = [CommandFailed(error, is_out_of_space=False) for _ in commands]
                self._broken = True
            else:
                self._broken = False
            # Before the answers: whoever is refused, and then asks whether the relay is ready, is to hear the same.
            self._report_health()
            self._loop.call_soon_threadsafe(done, results)

        self._executor.submit(work)

    def _report_health(self) -> None:
        was_healthy, self.is_healthy = self.is_healthy, not (self._broken or self._store.is_out_of_space)
        if was_healthy and not self.is_healthy:
            log(Event.STORE_BLOCKED, reason="disk-full" if self._store.is_out_of_space else "failed")
        elif self.is_healthy and not was_healthy:
            log(Event.STORE_RECOVERED)

    def scrub(self) -> None:
        """Have the store scrubbed behind what it is doing."""

        def work() -> None:
            if self._is_closing:
                return
            is_done = True
            try:
                is_done = self._store.scrub()
            except Exception as error:  # noqa: BLE001 - the boundary: it is tried again
                report(error)
                self._broken = True
            self._report_health()
            if not is_done:  # behind the batches that wait
                self._loop.call_soon_threadsafe(self.scrub)

        if not self._is_closing:
            self._executor.submit(work)

    def give_up(self) -> None:
        """Let what the store is doing fail, if it waits for another machine."""
        self._store.give_up()

    async def close(self) -> None:
        """Close the store behind what it is doing."""
        # First, so that nothing is queued behind the closing, where it would find no store.
        self._is_closing = True
        await self._loop.run_in_executor(self._executor, self._store.close)
        self._executor.shutdown()


class ClosableLink(RelayLink, Protocol):
    """A link that is closed with the server."""

    async def close(self) -> None:
        """Close it."""


MakeLink = Callable[[Callable[[str], None]], ClosableLink]


class RelayServer:
    """A listening relay.

    Args:
        config: the settings.
        store: already opened; closed with the server.
        make_link: makes the way to other relays on the same store, and is given what they say.
        time: a moment from which all relays on the store count persistent time; None: from what the store has kept.
    """

    def __init__(
        self, config: Config, store: Store, make_link: MakeLink | None = None, time: ClockSnapshot | None = None
    ) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        kept, limits = _kept(store)
        self._link = None if make_link is None else make_link(self._hear)
        self._store = StoreThread(store)
        workers = config.verify_workers
        self._verify_pool = VerifyPool(default_count() if workers is None else workers)
        self._relay = Relay(
            config=config,
            clock=SystemClock(time or kept),
            randomness=os.urandom,
            schedule=self._loop.call_soon,
            verify=signatures.verify,
            helpers=self._verify_pool,
            writer=self._store,
            kept_limits=limits,
            link=self._link,
        )
        is_https = config.tls_cert is not None and config.port == DEFAULT_PORTS["wss"]
        self._page = Page(web.load() if config.web else (), is_https=is_https)
        self._gate = ConnectionGate(config, _room())
        self._partial_messages = PartialMessages()
        self._reads = ReadBudget(is_behind=lambda: self._relay.is_behind)
        self._listener: Listener | None = None
        self._timer: asyncio.Task[None] | None = None
        self._loop.set_exception_handler(self._log_loop_error)

    def _hear(self, text: str) -> None:
        self._relay.hear(text)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The addresses and ports that it listens on, in the order of the setting."""
        assert self._listener is not None  # noqa: S101 - asked for after start
        return self._listener.addresses

    @property
    def url(self) -> str:
        """The first of these, as clients dial it."""
        host, port = self.addresses[0]
        scheme = "wss" if self._config.tls_cert else "ws"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{http.WEBSOCKET_PATH}"

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self._relay.connections

    def _log_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Failed TLS handshakes and the like, without addresses."""
        log(Event.CONNECTION_FAILED, error=type(context.get("exception")).__name__)

    async def start(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address or the certificate cannot be used.
        """
        tls = certificate.context(self._config)
        try:
            sockets = await bind(
                self._config.host,
                self._config.port,
                receive_buffer=RECEIVE_BUFFER if tls is None else TLS_RECEIVE_BUFFER,
                is_shared=self._config.share_port,
            )
        except (OSError, UnicodeError) as error:
            place = f"--host {','.join(self._config.host)} --port {self._config.port}"
            if getattr(error, "errno", None) == errno.EADDRINUSE:
                raise ConfigError(
                    f"{place}: the port is taken; stop what runs there, or choose another with --port or PHANTOM_PORT"
                ) from None
            reason = getattr(error, "strerror", None) or "not a host name"
            raise ConfigError(f"{place} cannot be used: {reason}") from None
        self._listener = Listener(sockets, self._gate, self._handshake, tls)
        self._relay.listens(self.addresses)
        await self._verify_pool.start()
        self._timer = self._loop.create_task(self._tick())

    async def stop(self) -> None:
        """Answer what is on its way, close every connection with 1001, close the store; all within seconds."""
        now = self._loop.time()
        # The timer before anything else: each tick may begin work, which would have to be waited for in its turn.
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait({self._timer})
        if self._listener is not None:
            self._listener.close()
        # Answers before the goodbye: what was sent before the stop is stored, and its sender hears that it is.
        if not await self._settle(now + SETTLE_SECONDS):
            self._relay.close_all()
        while self._relay.connections and self._loop.time() < now + STOP_SECONDS:  # noqa: ASYNC110 - a few turns, once
            await asyncio.sleep(0.02)
        # Once more: that the clients have gone, and when, is stored as well.
        if not await self._settle(now + STOP_SECONDS + 0.5):
            self._store.give_up()
        self._verify_pool.close()
        if self._link is not None:
            await self._link.close()
        await self._store.close()

    async def _settle(self, until: float) -> bool:
        settled = asyncio.Event()
        self._relay.stop(settled.set)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await settled.wait()
        return settled.is_set()

    async def _tick(self) -> None:
        scrubbed_at = self._loop.time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self._verify_pool.tick()
                self._relay.tick()
                self._reads.look()
            except Exception as error:  # noqa: BLE001 - the boundary: the next tick may do better
                report(error)
            if self._gate.closed_count >= MANY_GONE:
                self._gate.closed_count = 0
                memory.give_back(of_tls=self._config.tls_cert is not None)
            if self._loop.time() - scrubbed_at >= SCRUB_SECONDS:
                scrubbed_at = self._loop.time()
                self._store.scrub()

    def reload(self) -> None:
        """Read certificate and key again, for those who connect from now on; if they cannot be used, keep the old."""
        if self._listener is None or self._listener.tls is None:
            log(Event.NOTHING_TO_RELOAD)
            return
        try:
            self._listener.tls = certificate.renewed(self._config)
        except certificate.CertificateError as error:
            log(Event.RELOAD_FAILED, reason=error.fault)
        else:
            log(Event.RELOADED)

    def _handshake(self, slot: Slot) -> Handshake:
        return Handshake(slot, self._config, self._accept, self._is_ready, self._page)

    def _accept(self, address: str, host: str) -> WebSocketConnection:
        return WebSocketConnection(self._relay, address, host, self._partial_messages, reads=self._reads)

    def _is_ready(self) -> bool:
        return self._store.is_healthy


def _room() -> int:
    """How many sockets the operating system allows this process."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if files == resource.RLIM_INFINITY else max(files - KEPT_FILES, 1)


def _kept(store: Store) -> tuple[ClockSnapshot | None, KeptLimits | None]:
    """What the last run has left: its time, and what counted of the limits, which a full disk may keep here."""
    time, limits = store.run([LoadClock(), TakeLimits()])
    for found in (time, limits):
        if isinstance(found, CommandFailed) and (found is time or not found.is_out_of_space):
            raise found.error
    return time if isinstance(time, ClockSnapshot) else None, limits if isinstance(limits, KeptLimits) else None
