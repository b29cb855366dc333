"""Sockets that are opened and not used: they go in time, cost honest people nothing, and leave room for others."""

import asyncio
import contextlib
import random
import socket
import ssl
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import uvloop

from support.amounts import LONG, amount
from support.certificates import self_signed
from support.measures import open_files, resident
from support.people import Person
from support.raw_socket import CLOSE, TEXT, RawSocket, frame, handshake
from support.reference_client import ReferenceClient
from support.relay_process import RelayProcess, StartRelay, patched
from support.waiting import PATIENCE, eventually

HALF_OPEN: Final = amount(100, 500)
SILENT: Final = amount(40, 200)
SECONDS: Final = 30.0 if LONG else 4.0
SLACK: Final = 1.0 if LONG else 2.0
"""A socket goes at the next tick, a second at most; a short run shares the machine with others."""

LATEST: Final = SLACK if LONG else 8.0
"""As ``SLACK``, for sockets that have to be gone."""

HONEST: Final = amount(30, 100)
HASTY_SECONDS: Final = 4
HASTY: Final = """
from phantom_messenger.wire import limits
limits.CONNECTION_TIMEOUT_MS = 4_000
"""
PATIENT: Final = """
from phantom_messenger.wire import limits
limits.CONNECTION_TIMEOUT_MS = 3_600_000
"""
UNCOUNTED: Final = """
from phantom_messenger.relay import upgrade
upgrade.ConnectionGate.acquire = lambda gate, peer: upgrade.Slot(gate, peer, "")
"""


def is_gone(opened: socket.socket) -> bool:
    """Whether the relay has closed it; what it sent before is passed over."""
    opened.setblocking(False)
    try:
        while opened.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def all_gone(sockets: list[socket.socket], seconds: float = PATIENCE) -> bool:
    """Whether the relay closes all of them in time."""
    return eventually(lambda: all(map(is_gone, sockets)), seconds)


class IdleSockets:
    """Half-open sockets that send a byte now and then, and others that are greeted and say nothing."""

    def __init__(self, relay: RelayProcess, half_open: int, silent: int) -> None:
        self.sockets: list[socket.socket] = []
        self.opening = time.monotonic()
        self._request = handshake(relay.address)
        for _ in range(half_open + silent):
            self.sockets.append(socket.create_connection(relay.address, timeout=60))
        self._slow = self.sockets[:half_open]
        for opened in self.sockets[half_open:]:
            opened.sendall(self._request)
        self.began = time.monotonic()
        self._sent = 0

    def drip(self) -> None:
        """One byte more of each slow request."""
        for opened in self._slow:
            with contextlib.suppress(OSError):
                opened.sendall(self._request[self._sent : self._sent + 1])
        self._sent += 1

    def close(self) -> None:
        for opened in self.sockets:
            opened.close()


def login_times(relay: RelayProcess, count: int) -> list[float]:
    """Milliseconds from AUTH to AUTH_SUCCESS, sorted."""
    times = []
    for _ in range(count):
        with ReferenceClient(relay.url, Person()) as client:
            began = time.monotonic()
            client.login()
            times.append((time.monotonic() - began) * 1_000)
    return sorted(times)


def test_half_open_and_silent_sockets_go_in_time_and_cost_nobody_anything(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", **({} if LONG else {"command": patched(HASTY)}))
    files = open_files(relay.pid)
    quiet = login_times(relay, HONEST)
    idle = IdleSockets(relay, HALF_OPEN, SILENT)
    try:
        during: list[float] = []
        while time.monotonic() - idle.began < SECONDS - 1:
            idle.drip()
            during += login_times(relay, 5)
            time.sleep(0.5)
            gone = sum(map(is_gone, idle.sockets))
            assert gone == 0 or time.monotonic() - idle.opening > SECONDS - 0.5, "they have their time"
        assert all_gone(idle.sockets, idle.began + SECONDS + LATEST - time.monotonic())
        if LONG:  # on a machine that does nothing else
            p99 = sorted(during)[int(len(during) * 0.99)]
            assert p99 <= max(200, 3 * quiet[-1])
            assert statistics.median(during) <= max(20, 3 * statistics.median(quiet))
        else:
            assert statistics.median(during) <= max(500, 10 * statistics.median(quiet))
    finally:
        idle.close()
    assert eventually(lambda: open_files(relay.pid) <= files + 2)


def test_sockets_stay_without_a_limit_of_time(start_relay: StartRelay) -> None:
    """The control."""
    relay = start_relay("--limits", "off", command=patched(PATIENT))
    idle = IdleSockets(relay, 5, 5)
    time.sleep(SECONDS + SLACK)
    assert sum(map(is_gone, idle.sockets)) == 0
    idle.close()


Keep = Callable[[socket.socket], None]
WAYS: Final[dict[str, Keep]] = {
    "pings": lambda opened: opened.sendall(frame(TEXT, b'{"timestamp":1,"type":"PING"}')),
    "pings of the WebSocket": lambda opened: opened.sendall(frame(0x9, b"x")),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_but_a_login_keeps_a_socket_open(start_relay: StartRelay, way: str) -> None:
    relay = start_relay("--limits", "off", command=patched(HASTY.replace("4_000", "2_000")))
    began = time.monotonic()
    with socket.create_connection(relay.address, timeout=60) as opened:
        opened.sendall(handshake(relay.address))
        with contextlib.suppress(OSError):
            while not is_gone(opened) and time.monotonic() - began < PATIENCE:
                WAYS[way](opened)
                time.sleep(0.2)
        assert is_gone(opened)
    assert time.monotonic() - began >= 1.9, "not for what it sent"


def test_half_open_tls_goes_in_time(start_relay: StartRelay, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    relay = start_relay(
        "--limits", "off", "--tls-cert", str(certificate), "--tls-key", str(key), command=patched(HASTY)
    )
    address = ("127.0.0.1", relay.port)
    files = open_files(relay.pid)
    opening = time.monotonic()
    silent = [socket.create_connection(address, timeout=60) for _ in range(20)]
    wrong = [socket.create_connection(address, timeout=60) for _ in range(20)]
    for opened in wrong:
        opened.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert all_gone(wrong)
    assert sum(map(is_gone, silent)) == 0 or time.monotonic() - opening > HASTY_SECONDS - 0.5
    context = ssl.create_default_context(cafile=certificate)
    with ReferenceClient(relay.url, tls=context) as honest:
        assert honest.acknowledgement
    assert all_gone(silent)
    for opened in silent + wrong:
        opened.close()
    assert eventually(lambda: open_files(relay.pid) <= files + 2)


# --- what all need ----------------------------------------------------------------


@pytest.fixture
def flood() -> Iterator[Callable[[RelayProcess, int], list[socket.socket]]]:
    """Opens so many sockets that say nothing."""
    with ExitStack() as stack:

        def open_many(relay: RelayProcess, count: int) -> list[socket.socket]:
            opened = []
            for _ in range(count):
                one = socket.create_connection(relay.address, timeout=60)
                stack.callback(one.close)
                opened.append(one)
            return opened

        yield open_many


Flood = Callable[[RelayProcess, int], list[socket.socket]]


# --- the same with TLS, which begins before anything of ours ----------------------

HELLO: Final = bytes.fromhex("1603010200010001fc0303") + bytes(9)
"""The first 20 bytes of a ClientHello."""

ROOM: Final = 160
FEW: Final = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({ROOM}, {ROOM}))
"""
LATE: Final = """
from phantom_messenger.relay import listening, upgrade
def let_in(listener, opened, peer):
    slot = upgrade.Slot(listener._gate, peer, "")
    listener._loop.create_task(listener._start(opened, slot))
listening.Listener._admit = let_in
"""
MANY: Final = amount(250, 1_100)


def half_open_tls(
    start_relay: StartRelay, tmp_path: Path, stack: ExitStack, patch: str = "", patience: float = PATIENCE
) -> tuple[RelayProcess, bool]:
    """Begin TLS with a few bytes, more often than there are descriptors; whether another address is greeted then."""
    certificate, key = self_signed(tmp_path)
    relay = start_relay("--tls-cert", str(certificate), "--tls-key", str(key), command=patched(FEW + patch))
    for _ in range(MANY):
        one = stack.enter_context(socket.create_connection(relay.address, timeout=60))
        with contextlib.suppress(OSError):
            one.sendall(HELLO)
    time.sleep(0.5)
    context = ssl.create_default_context(cafile=certificate)
    try:
        with (
            socket.create_connection(relay.address, timeout=patience, source_address=("127.0.0.2", 0)) as opened,
            context.wrap_socket(opened, server_hostname="127.0.0.1") as other,
        ):
            other.sendall(handshake(relay.address))
            return relay, b" 101 " in other.recv(1_000)
    except OSError:
        return relay, False


def test_half_open_tls_of_one_address_keeps_nobody_else_out(start_relay: StartRelay, tmp_path: Path) -> None:
    with ExitStack() as stack:
        relay, is_greeted = half_open_tls(start_relay, tmp_path, stack)
        assert is_greeted
        assert open_files(relay.pid) <= 70, "twenty of them, and what the relay itself has open"
        assert not relay.doubts, "the store has had the files that are kept for it"


def test_half_open_tls_that_is_not_counted_keeps_all_out(start_relay: StartRelay, tmp_path: Path) -> None:
    """The control: counted only when TLS is agreed on."""
    with ExitStack() as stack:
        relay, is_greeted = half_open_tls(start_relay, tmp_path, stack, LATE, 3)
        assert not is_greeted
        assert eventually(lambda: open_files(relay.pid) >= ROOM - 2)


def test_half_open_tls_of_many_addresses_takes_little_memory(start_relay: StartRelay, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    relay = start_relay("--tls-cert", str(certificate), "--tls-key", str(key))
    before = resident(relay.pid)
    with ExitStack() as stack:
        for number in range(WIDELY):
            source = f"127.2.{number // 250}.{number % 250 + 1}"
            one = stack.enter_context(socket.create_connection(relay.address, timeout=60, source_address=(source, 0)))
            one.sendall(HELLO)
        time.sleep(0.5)
        assert resident(relay.pid) - before <= WIDELY * 16_384 + 4 * 1_048_576, "TLS itself would take 54 KB for each"
    assert eventually(lambda: resident(relay.pid) - before <= 8 * 1_048_576), "and it is given back"


WIDELY: Final = amount(300, 1_000)
HANDSHAKES: Final = amount(600, 10_000)
AT_ONCE: Final = 20


async def hands_shaken(address: tuple[str, int], context: ssl.SSLContext) -> int:
    """Shake hands again and again, and go in the middle of every third; how many of the others were greeted."""
    loop = asyncio.get_running_loop()
    greeted, left = 0, iter(range(HANDSHAKES))
    chance = random.Random(1)  # noqa: S311 - reproducible

    async def abort() -> None:
        with socket.socket() as opened:
            opened.setblocking(False)
            await loop.sock_connect(opened, address)
            outgoing = ssl.MemoryBIO()
            shaking = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
            with contextlib.suppress(ssl.SSLWantReadError):
                shaking.do_handshake()
            hello = outgoing.read()
            await loop.sock_sendall(opened, hello[: chance.randint(0, len(hello))])
            if chance.random() < 0.5:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def some() -> None:
        nonlocal greeted
        for number in left:
            if number % 3 == 0:
                await abort()
                continue
            reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="127.0.0.1")
            writer.write(handshake(address))
            answer = await reader.readline()
            greeted += b" 101 " in answer
            writer.transport.abort()

    async with asyncio.timeout(150 + HANDSHAKES / 20):
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return greeted


@pytest.mark.timeout(1_200 if LONG else 300)
def test_no_tls_handshake_hangs_though_every_third_is_aborted(start_relay: StartRelay, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    relay = start_relay("--limits", "off", "--tls-cert", str(certificate), "--tls-key", str(key))
    files = open_files(relay.pid)
    context = ssl.create_default_context(cafile=certificate)
    assert uvloop.run(hands_shaken(relay.address, context)) == HANDSHAKES - (HANDSHAKES + 2) // 3
    assert eventually(lambda: open_files(relay.pid) <= files + 2), "nothing is left of those that were aborted"


def greeted(relay: RelayProcess, patience: float = PATIENCE) -> bool:
    """Whether somebody new is let in."""
    try:
        with RawSocket(relay.address, patience=patience) as raw:
            return raw.upgrade().status == 101 and raw.read().opcode != CLOSE
    except (ConnectionError, TimeoutError):
        return False


def test_half_open_sockets_of_one_address_are_bounded(start_relay: StartRelay, flood: Flood) -> None:
    relay = start_relay()
    opened = flood(relay, 60)
    assert eventually(lambda: 60 - sum(map(is_gone, opened)) == 20), "twice the connections that it may have"
    for one in opened:
        one.close()
    assert eventually(lambda: greeted(relay)), "those who give up make room"


def test_half_open_sockets_are_not_bounded_without_the_gate(start_relay: StartRelay, flood: Flood) -> None:
    """The control."""
    relay = start_relay(command=patched(UNCOUNTED))
    opened = flood(relay, 60)
    time.sleep(0.5)
    assert sum(map(is_gone, opened)) == 0


def test_sockets_behind_a_proxy_are_not_bounded_together(start_relay: StartRelay, flood: Flood) -> None:
    relay = start_relay("--trusted-proxies", "127.0.0.0/8", "--public-names", "any")
    opened = flood(relay, 60)
    time.sleep(0.5)
    assert sum(map(is_gone, opened)) == 0


LOCKED_OUT_SECONDS: Final = 3.0
"""Well below the time after which the relay closes who says nothing, which makes room."""

FEW_FILES: Final = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
"""


def test_flood_leaves_those_alone_who_are_in(start_relay: StartRelay, flood: Flood) -> None:
    relay = start_relay("--limits", "off", command=patched(FEW_FILES))
    with ReferenceClient(relay.url) as alice, ReferenceClient(relay.url) as bob:
        alice.login(["ack"])
        bob.login(["ack"])
        opened = flood(relay, 300)
        assert eventually(lambda: sum(map(is_gone, opened)) == 300 - (160 - 64 - 2))
        with RawSocket(relay.address) as late:
            found = late.response()
            assert (found.status, "retry-after: 5" in found.head.lower()) == (503, True)
        assert open_files(relay.pid) < 160
        for _ in range(20):
            alice.send(alice.person.message(bob.person))
            assert alice.until("MESSAGE_ACK")["payload"]["status"] == "accepted"
            assert bob.until("MESSAGE")
        assert relay.log.count("connections-full") == 1
        for one in opened:
            one.close()
        assert eventually(lambda: greeted(relay)), "and then there is room again"


def test_flood_locks_everybody_out_without_the_gate(start_relay: StartRelay, flood: Flood) -> None:
    """The control: no descriptor is left, and nobody is told."""
    relay = start_relay("--limits", "off", command=patched(FEW_FILES + UNCOUNTED))
    flood(relay, 300)
    assert eventually(lambda: open_files(relay.pid) >= 158)
    assert not greeted(relay, LOCKED_OUT_SECONDS)
