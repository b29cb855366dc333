"""Sockets before they are WebSockets: how many there may be, how long, and what becomes of their requests."""

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any, Final, cast

import pytest

from phantom_messenger.relay import http, upgrade
from phantom_messenger.relay.config import Config
from phantom_messenger.relay.page import Page
from phantom_messenger.relay.upgrade import ConnectionGate, Handshake, Slot
from phantom_messenger.relay.websocket import WebSocketConnection
from support.fake_transport import FakeTransport
from support.raw_socket import handshake

HERE: Final = "192.0.2.1"
PROXY: Final = "10.0.0.1"
PROXIES: Final = (ipaddress.ip_network("10.0.0.0/8"),)


def taken(gate: ConnectionGate, peer: str, most: int = 100) -> list[Slot]:
    """As many sockets of this address as there is room for."""
    found: list[Slot] = []
    while len(found) < most and (slot := gate.acquire(peer)) is not None:
        found.append(slot)
    return found


# --- the gate ---------------------------------------------------------------------


def test_address_has_so_many_sockets_that_are_no_websockets_yet() -> None:
    gate = ConnectionGate(Config(connections_per_address=3), 100)
    slots = taken(gate, HERE)
    assert len(slots) == 6
    assert len(taken(gate, "192.0.2.2")) == 6, "another address has its own"
    slots[0].promote()
    slots[0].promote()
    slots[1].release()
    slots[1].release()
    assert len(taken(gate, HERE)) == 2
    slots[0].release()
    assert gate.acquire(HERE) is None, "a WebSocket took up none of them"
    assert gate.closed_count == 2


def test_addresses_of_one_network_count_together_and_a_proxy_for_nobody() -> None:
    gate = ConnectionGate(Config(connections_per_address=1, trusted_proxies=PROXIES), 30)
    assert len(taken(gate, "2001:db8::1")) == 2
    assert gate.acquire("2001:db8::2") is None
    assert len(taken(gate, PROXY)) == 28, "as many as there may be in total"


def test_limits_off_leave_the_total(caplog: pytest.LogCaptureFixture) -> None:
    gate = ConnectionGate(Config(limits=False), 50)
    slots = taken(gate, HERE)
    assert len(slots) == 50
    assert [line.split(":")[0] for line in caplog.messages] == ["connections-full"]
    for slot in slots:
        slot.promote()
    assert gate.acquire(HERE) is None, "they are there all the same"
    slots[0].release()
    assert len(taken(gate, HERE)) == 1


# --- the request ------------------------------------------------------------------


class Opened:
    """Stands for the connection that a request becomes."""

    def __init__(self, key: str, host: str) -> None:
        self.key, self.host = key, host
        self.open_with: tuple[Any, ...] = ()

    def open(self, *arguments: Any) -> None:
        self.open_with = arguments


class Socket:
    """A socket that was accepted, and what becomes of it."""

    def __init__(self, *, peer: str = HERE, ready: bool = True, **settings: Any) -> None:
        config = Config(**settings)
        self.gate = ConnectionGate(config, 1)
        slot = self.gate.acquire(peer)
        assert slot is not None
        self.opened: list[Opened] = []
        self.wire = FakeTransport()
        self.protocol = Handshake(slot, config, self._accept, lambda: ready, Page())
        assert not self.protocol.has_begun
        self.protocol.connection_made(cast("asyncio.Transport", self.wire))
        assert self.protocol.has_begun

    def _accept(self, key: str, host: str) -> WebSocketConnection:
        self.opened.append(Opened(key, host))
        return cast("WebSocketConnection", self.opened[-1])

    def send(self, data: bytes, at_once: int = 8_192) -> None:
        for first in range(0, len(data), at_once):
            part = data[first : first + at_once]
            self.protocol.get_buffer(-1)[: len(part)] = part
            self.protocol.buffer_updated(len(part))

    def is_half_open(self) -> bool:
        return bool(self.gate._half_open)


def in_loop(act: Callable[[], None], seconds: float = 0.0) -> None:
    """Do something in an event loop, and let it go on for so long."""

    async def main() -> None:
        act()
        await asyncio.sleep(seconds)

    asyncio.run(main())


REQUEST: Final = handshake(("relay.test", 80))


@pytest.mark.parametrize("at_once", [1, 7, 8_192])
def test_request_becomes_a_websocket_with_what_came_behind_it(at_once: int) -> None:
    def act() -> None:
        socket = Socket()
        socket.send(REQUEST[:-1], at_once)
        assert socket.opened == []
        assert socket.is_half_open()
        socket.send(REQUEST[-1:] + b"early")
        [opened] = socket.opened
        assert (opened.key, opened.host) == (HERE, "relay.test:80")
        transport, response, tail, on_closed = opened.open_with
        assert transport is socket.wire
        assert response.startswith(b"HTTP/1.1 101 ")
        assert tail == b"early"
        assert not socket.is_half_open()
        assert socket.gate.acquire(HERE) is None
        on_closed()
        assert socket.gate.acquire(HERE) is not None
        assert socket.wire.take() == b"", "the connection writes the response"

    in_loop(act)


@pytest.mark.parametrize(
    ("request_", "status", "has_body"),
    [
        (b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"200", True),
        (b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n", b"200", False),
        (b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n", b"200", True),
        (b"rubbish\r\n\r\n", b"400", True),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", b"426", True),
        (b"x" * (http.MAX_HEAD_BYTES + 1), b"431", True),
    ],
)
@pytest.mark.parametrize("at_once", [1, 8_193])
def test_other_request_is_answered_once(request_: bytes, status: bytes, has_body: bool, at_once: int) -> None:
    def act() -> None:
        socket = Socket()
        socket.send(request_[:-1], at_once)
        assert socket.wire.written == b""
        socket.send(request_[-1:])
        assert not socket.is_half_open()
        assert socket.wire.ended == "closed"
        head, _, body = socket.wire.take().partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == status
        assert bool(body) == has_body
        socket.send(request_)
        assert socket.wire.take() == b""
        assert socket.gate.acquire(HERE) is None, "the socket is there until it is closed"
        socket.protocol.connection_lost(None)
        assert socket.gate.acquire(HERE) is not None
        assert socket.opened == []

    in_loop(act)


def test_head_may_be_so_long() -> None:
    def act() -> None:
        socket = Socket()
        start = b"GET /health HTTP/1.1\r\nHost: x\r\nX: "
        socket.send(start + b"y" * (http.MAX_HEAD_BYTES - len(start)) + b"\r\n\r\n")
        assert socket.wire.take().startswith(b"HTTP/1.1 200 ")

    in_loop(act)


def test_relay_that_cannot_store_is_not_ready() -> None:
    def act() -> None:
        socket = Socket(ready=False)
        socket.send(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        assert socket.wire.take().startswith(b"HTTP/1.1 503 ")

    in_loop(act)


@pytest.mark.parametrize(
    ("peer", "forwarded", "key", "logged"),
    [
        (HERE, None, HERE, []),
        (HERE, "198.51.100.7", HERE, ["proxy-untrusted count=1"]),
        (PROXY, "198.51.100.7", "198.51.100.7", []),
        (PROXY, None, PROXY, []),
    ],
)
def test_address_that_a_proxy_names_counts_if_it_is_one_of_ours(
    peer: str, forwarded: str | None, key: str, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def act() -> None:
        socket = Socket(peer=peer, trusted_proxies=PROXIES)
        headers = [] if forwarded is None else [("X-Forwarded-For", forwarded)]
        socket.send(handshake(("relay.test", 80), headers))
        assert [opened.key for opened in socket.opened] == [key]

    in_loop(act)
    assert [f"{line.split(':')[0]} {line.split()[-1]}" for line in caplog.messages] == logged


def test_page_of_another_origin_is_refused_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def act() -> None:
        socket = Socket()
        socket.send(handshake(("relay.test", 80), [("Origin", "http://evil.test")]))
        assert socket.wire.take().startswith(b"HTTP/1.1 403 ")

    in_loop(act)
    assert [line.split(":")[0] for line in caplog.messages] == ["origin-refused"]


# --- how long ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "ended"),
    [(b"", "aborted"), (b"GET /ws", "aborted"), (REQUEST, ""), (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "closed")],
    ids=["nothing", "half", "all", "another request"],
)
def test_request_has_to_come_in_time(sent: bytes, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "CONNECTION_TIMEOUT_MS", 0)
    sockets: list[Socket] = []

    def act() -> None:
        sockets.append(Socket())
        sockets[0].send(sent)

    in_loop(act, 0.01)
    assert sockets[0].wire.ended == ended


@pytest.mark.parametrize(("lost", "ended"), [(False, "aborted"), (True, "closed")])
def test_answer_has_to_be_read_in_time(lost: bool, ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "LINGER_SECONDS", 0.0)
    sockets: list[Socket] = []

    def act() -> None:
        sockets.append(Socket())
        sockets[0].send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        if lost:
            sockets[0].protocol.connection_lost(None)

    in_loop(act, 0.01)
    assert sockets[0].wire.ended == ended
    assert not sockets[0].protocol.eof_received()
