"""Files on their way to clients that read slowly or not at all, or send what nobody asked for: bounded, and cut."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final

import pytest
import uvloop

from phantom_messenger.relay import transfer
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.http import MAX_HEAD_BYTES
from phantom_messenger.relay.listening import bind
from phantom_messenger.relay.page import Page
from phantom_messenger.relay.transfer import Transfer
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake
from phantom_messenger.web.files import PageFile
from support.amounts import amount
from support.measures import open_files, resident
from support.raw_socket import RawSocket
from support.relay_process import RelayProcess, StartRelay, patched
from support.waiting import eventually

LARGE: Final = bytes(range(256)) * 4_096
REQUEST: Final = b"GET /large.js HTTP/1.1\r\nHost: x\r\n\r\n"
LOOPS: Final = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[..., Any]


class Served:
    """A gate, a server with one large file, and a client's socket to it that holds little."""

    def __init__(self) -> None:
        config = Config()
        self.gate = ConnectionGate(config, 100)
        self.count = 0
        """How many have come; that they are here may be over before anybody looks."""
        self._page = Page([PageFile("/large.js", "large.js", LARGE)])
        self._config = config

    def _handshake(self) -> Handshake:
        slot = self.gate.acquire("192.0.2.1")
        assert slot is not None
        self.count += 1
        return Handshake(slot, self._config, lambda *_: pytest.fail("no WebSocket"), lambda: True, self._page)

    @contextlib.asynccontextmanager
    async def client(self, request: bytes = REQUEST):  # type: ignore[no-untyped-def] # noqa: ANN201
        [listening] = await bind(["127.0.0.1"], 0)
        server = await asyncio.get_running_loop().create_server(self._handshake, sock=listening)
        with socket.socket() as opened:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            opened.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(opened, listening.getsockname())
            await loop.sock_sendall(opened, request)
            yield opened
        server.close()

    @property
    def half_open(self) -> int:
        return self.gate._half_open["192.0.2.1"]


async def everything(opened: socket.socket, at_once: int = 65_536, pause: float = 0.0) -> bytes:
    found = b""
    async with asyncio.timeout(100):
        while part := await asyncio.get_running_loop().sock_recv(opened, at_once):
            found += part
            await asyncio.sleep(pause)
    return found


async def until(condition: Callable[[], bool], seconds: float = 100) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the other end of a socket does has no event
            await asyncio.sleep(0.01)


@LOOPS
def test_file_arrives_whole_at_a_slow_reader_who_counts_until_then(run: Run) -> None:
    async def main() -> None:
        served = Served()
        async with served.client() as opened:
            await until(lambda: served.half_open == 1)
            await asyncio.sleep(0.1)
            assert served.half_open == 1, "it has not read anything"
            found = await everything(opened, 32_768, 0.001)
            assert found.partition(b"\r\n\r\n")[2] == LARGE
            await until(lambda: served.half_open == 0)
            assert served.gate.closed_count == 1

    run(main())


@LOOPS
def test_reader_who_takes_nothing_is_cut_and_what_was_written_is_dropped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "TRANSFER_SECONDS", 0.3)

    async def main() -> None:
        served = Served()
        async with served.client() as opened:
            await until(lambda: served.count == 1)
            await until(lambda: served.half_open == 0)
            with pytest.raises(ConnectionResetError):
                await everything(opened)

    run(main())


@LOOPS
def test_reader_of_a_little_is_waited_for_though_all_was_written(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system holds for a client counts as not taken."""
    monkeypatch.setattr(transfer, "TRANSFER_SECONDS", 0.5)

    async def main() -> None:
        served = Served()
        served._page = Page([PageFile("/large.js", "large.js", LARGE[:60_000])])
        began = asyncio.get_running_loop().time()
        async with served.client() as opened:
            await until(lambda: served.count == 1)
            await until(lambda: served.half_open == 0)
            assert asyncio.get_running_loop().time() - began >= 0.5
            with pytest.raises(ConnectionResetError):
                await everything(opened)

    run(main())


@LOOPS
@pytest.mark.parametrize("size", [60_000, len(LARGE)])
def test_client_that_closes_its_half_and_reads_nothing_leaves_nothing_with_the_system(run: Run, size: int) -> None:
    """Otherwise its place would be free at once, and what was written for it nobody's."""

    async def main() -> None:
        served = Served()
        served._page = Page([PageFile("/large.js", "large.js", LARGE[:size])])
        async with served.client() as opened:
            await until(lambda: served.count == 1)
            opened.shutdown(socket.SHUT_WR)
            await until(lambda: served.half_open == 0)
            with pytest.raises(ConnectionResetError):
                await everything(opened)

    run(main())


@LOOPS
@pytest.mark.parametrize("extra", [b"x", REQUEST * 3])
def test_what_comes_behind_the_request_is_discarded(run: Run, extra: bytes) -> None:
    async def main() -> None:
        served = Served()
        async with served.client(REQUEST + extra) as opened:
            await asyncio.get_running_loop().sock_sendall(opened, extra)
            found = await everything(opened)
            assert found.count(b"HTTP/1.1 ") == 1
            assert found.endswith(LARGE[-100:])

    run(main())


@LOOPS
def test_who_sends_on_and_on_is_cut(run: Run) -> None:
    async def main() -> None:
        served = Served()
        async with served.client() as opened:
            with contextlib.suppress(OSError):
                while served.half_open:
                    await asyncio.get_running_loop().sock_sendall(opened, b"x" * MAX_HEAD_BYTES)
                    await asyncio.sleep(0)
            await until(lambda: served.half_open == 0)

    run(main())


@LOOPS
def test_client_that_goes_away_gives_its_place_back(run: Run) -> None:
    async def main() -> None:
        served = Served()
        async with served.client() as opened:
            await until(lambda: served.count == 1)
            opened.close()
            await until(lambda: served.half_open == 0)

    run(main())


def test_transfer_holds_two_pieces_at_most() -> None:
    async def main() -> None:
        served, seen = Served(), []
        original = Transfer.pause_writing

        def pause(self: Transfer) -> None:
            original(self)
            assert self._transport is not None
            seen.append(self._transport.get_write_buffer_size())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Transfer, "pause_writing", pause)
            async with served.client() as opened:
                await everything(opened)
        assert seen
        assert max(seen) <= 3 * transfer.PIECE

    uvloop.run(main())


# --- a real relay -----------------------------------------------------------------

SOCKETS: Final = amount(300, 1_000)
SECONDS: Final = 20.0
EACH_KIB: Final = 40
SLACK_MIB: Final = 6
GREEDY: Final = """
from phantom_messenger.relay import page, server, transfer
from phantom_messenger.web.files import PageFile
server.web.load = lambda: [PageFile("/large.js", "large.js", bytes(range(256)) * 4_096)]
transfer.TRANSFER_SECONDS = {seconds}
"""


@pytest.fixture
def open_many() -> Iterator[Callable[[RelayProcess, int], list[socket.socket]]]:
    """Opens sockets that ask for the large file and read nothing, each from an address of its own."""
    with ExitStack() as stack:

        def open_many(relay: RelayProcess, count: int) -> list[socket.socket]:
            found = []
            for number in range(count):
                opened = stack.enter_context(socket.socket())
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                opened.settimeout(60)
                opened.bind((f"127.1.{number // 200}.{number % 200 + 1}", 0))
                opened.connect(relay.address)
                opened.sendall(REQUEST)
                found.append(opened)
            return found

        yield open_many


def test_thousand_who_read_nothing_take_bounded_memory_and_nobody_waits(
    start_relay: StartRelay, open_many: Callable[[RelayProcess, int], list[socket.socket]]
) -> None:
    relay = start_relay(command=patched(GREEDY.format(seconds=SECONDS)))
    files, before = open_files(relay.pid), resident(relay.pid)
    open_many(relay, SOCKETS)
    assert eventually(lambda: open_files(relay.pid) >= files + SOCKETS)
    assert resident(relay.pid) - before <= SOCKETS * EACH_KIB * 1_024 + SLACK_MIB * 1_048_576
    began = time.monotonic()
    with RawSocket(relay.address) as raw:
        raw.opened()
    with RawSocket(relay.address) as raw:
        raw.send(REQUEST)
        assert raw.response().body == LARGE
    assert time.monotonic() - began <= SECONDS / 2
    assert eventually(lambda: open_files(relay.pid) <= files + 5, 100), "they are cut in the end"
    assert relay.doubts == []


COPYING: Final = """
begin = transfer.Transfer.begin
transfer.Transfer.begin = lambda self, transport, head, body: begin(self, transport, head, bytes(bytearray(body)))
"""


def test_memory_of_a_copy_for_each_is_seen(
    start_relay: StartRelay, open_many: Callable[[RelayProcess, int], list[socket.socket]]
) -> None:
    """The control."""
    relay = start_relay(command=patched(GREEDY.format(seconds=60) + COPYING))
    before, count = resident(relay.pid), 50
    open_many(relay, count)
    assert eventually(lambda: resident(relay.pid) - before > count * EACH_KIB * 1_024 + SLACK_MIB * 1_048_576)


def test_one_address_has_as_many_transfers_as_half_open_sockets(start_relay: StartRelay) -> None:
    relay = start_relay("--connections-per-address", "3", command=patched(GREEDY.format(seconds=60)))
    with ExitStack() as stack:
        slow = [stack.enter_context(RawSocket(relay.address)) for _ in range(6)]
        for raw in slow:
            raw._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            raw.send(REQUEST)
            assert raw._socket.recv(1) == b"H"
        with RawSocket(relay.address) as raw:
            assert raw.response().status == 503
        with RawSocket(relay.address, source="127.0.0.2") as raw:
            raw.opened()  # another address has its own
        slow[0]._socket.close()
        assert eventually(lambda: _is_let_in(relay))


def _is_let_in(relay: RelayProcess) -> bool:
    with RawSocket(relay.address) as raw:
        return raw.upgrade().status == 101
