"""Every way in which a request can be wrong, its exact status, and an answer that says nothing of the inside."""

import json
import socket
import time
from collections.abc import Iterator
from typing import Final

import pytest

from support.raw_socket import TEXT, RawSocket, handshake
from support.relay_process import RelayProcess, StartRelay, patched

KEY: Final = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
VERSION: Final = "Sec-WebSocket-Version: 13"
WAY: Final = ("Host: relay.test", "Upgrade: websocket", "Connection: Upgrade", VERSION, KEY)
INTERNAL: Final = (
    b"websockets",
    b"python",
    b"uvloop",
    b"error:",
    b"traceback",
    b"runtime",
    b"exception",
    b".py",
    b"asyncio",
)


def request(line: str = "GET /ws HTTP/1.1", *fields: str) -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def without(name: str, *more: str, line: str = "GET /ws HTTP/1.1") -> bytes:
    """A handshake that lacks a field, and has others."""
    return request(line, *(field for field in WAY if not field.startswith(name)), *more)


def plain(line: str, *fields: str) -> bytes:
    return request(line, "Host: relay.test", *fields)


REQUESTS: Final[dict[str, tuple[int, bytes]]] = {
    "a good one": (101, request("GET /ws HTTP/1.1", *WAY)),
    "a query": (101, request("GET /ws?token=1 HTTP/1.1", *WAY)),
    "an absolute target": (101, request("GET http://relay.test/ws HTTP/1.1", *WAY)),
    "an absolute target of https": (101, request("GET https://relay.test/ws HTTP/1.1", *WAY)),
    "names of any case": (101, request("GET /ws HTTP/1.1", *(field.replace("Sec-W", "sEC-w") for field in WAY))),
    "no space behind a colon": (101, request("GET /ws HTTP/1.1", *(field.replace(": ", ":") for field in WAY))),
    "latin-1 in a value": (101, request("GET /ws HTTP/1.1", *WAY, "User-Agent: \xe9")),
    "browsers' connection": (101, without("Connection", "Connection: keep-alive, Upgrade")),
    "two protocols to upgrade to": (101, without("Upgrade", "Upgrade: h2c, WebSocket")),
    "an offer of compression": (101, request("GET /ws HTTP/1.1", *WAY, "Sec-WebSocket-Extensions: permessage-deflate")),
    "a body of no bytes": (101, request("GET /ws HTTP/1.1", *WAY, "Content-Length: 0")),
    # version
    "no version": (426, without("Sec-WebSocket-Version")),
    "an older version": (426, without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 8")),
    "a later version": (426, without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 14")),
    "a version that is none": (426, without("Sec-WebSocket-Version", "Sec-WebSocket-Version: x")),
    "two versions": (426, request("GET /ws HTTP/1.1", *WAY, VERSION)),
    # key
    "no key": (400, without("Sec-WebSocket-Key")),
    "an empty key": (400, without("Sec-WebSocket-Key", "Sec-WebSocket-Key:")),
    "a short key": (400, without("Sec-WebSocket-Key", "Sec-WebSocket-Key: AAAA")),
    "a long key": (400, without("Sec-WebSocket-Key", f"{KEY[:-2]}AAAA==")),
    "a key that is no base64": (400, without("Sec-WebSocket-Key", f"{KEY[:-3]}!==")),
    "a key of latin-1": (400, without("Sec-WebSocket-Key", f"{KEY[:-3]}\xe9==")),
    "two keys": (400, request("GET /ws HTTP/1.1", *WAY, KEY)),
    # upgrade
    "no upgrade": (426, without("Upgrade")),
    "an upgrade to something else": (426, without("Upgrade", "Upgrade: h2c")),
    "no connection": (426, without("Connection")),
    "a connection that is kept": (426, without("Connection", "Connection: keep-alive")),
    # host
    "no host": (400, without("Host")),
    "two hosts": (400, request("GET /ws HTTP/1.1", *WAY, "Host: other.test")),
    "no host, for something else": (400, request("GET /health HTTP/1.1")),
    # origin
    "a page of another origin": (403, request("GET /ws HTTP/1.1", *WAY, "Origin: https://evil.test")),
    "two origins": (403, request("GET /ws HTTP/1.1", *WAY, "Origin: http://relay.test", "Origin: https://evil.test")),
    "a page of this host": (101, request("GET /ws HTTP/1.1", *WAY, "Origin: https://relay.test")),
    # method
    "POST": (405, request("POST /ws HTTP/1.1", *WAY)),
    "HEAD of the WebSocket": (405, request("HEAD /ws HTTP/1.1", *WAY)),
    "OPTIONS": (405, plain("OPTIONS /health HTTP/1.1")),
    "CONNECT": (400, plain("CONNECT relay.test:443 HTTP/1.1")),
    "a method in lower case": (405, request("get /ws HTTP/1.1", *WAY)),
    "a method that is no word": (400, request("G@T /ws HTTP/1.1", *WAY)),
    "POST to nowhere": (404, plain("POST /nowhere HTTP/1.1")),
    # body
    "a body": (400, request("GET /ws HTTP/1.1", *WAY, "Content-Length: 5")),
    "a body in chunks": (400, request("GET /ws HTTP/1.1", *WAY, "Transfer-Encoding: chunked")),
    "a length and chunks": (400, plain("GET /health HTTP/1.1", "Content-Length: 0", "Transfer-Encoding: chunked")),
    "a negative length": (400, plain("GET /health HTTP/1.1", "Content-Length: -1")),
    "two lengths": (400, plain("GET /health HTTP/1.1", "Content-Length: 0", "Content-Length: 7")),
    # request line
    "HTTP/1.0": (505, request("GET /ws HTTP/1.0", *WAY)),
    "HTTP/1.0 for something else": (200, request("GET /health HTTP/1.0")),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": (400, request("GET /ws")),
    "no version of HTTP": (400, request("GET /ws HTTPS/1.1", *WAY)),
    "no target": (400, request("GET  HTTP/1.1", *WAY)),
    "a target that is a star": (400, plain("GET * HTTP/1.1")),
    "a target without a slash": (400, plain("GET ws HTTP/1.1")),
    "a target of latin-1": (400, plain("GET /\xe9 HTTP/1.1")),
    "a target with a space": (400, plain("GET /a b HTTP/1.1")),
    "a target with NUL": (400, plain("GET /\x00 HTTP/1.1")),
    "two spaces": (400, request("GET  /ws HTTP/1.1", *WAY)),
    "an empty line first": (400, b"\r\n" + request("GET /ws HTTP/1.1", *WAY)),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    # fields
    "a folded field": (400, request("GET /ws HTTP/1.1", *WAY, "X-A: 1", " 2")),
    "a space before a colon": (400, request("GET /ws HTTP/1.1", *WAY, "X-A : 1")),
    "a field without a name": (400, request("GET /ws HTTP/1.1", *WAY, ": 1")),
    "a field without a colon": (400, request("GET /ws HTTP/1.1", *WAY, "X-A")),
    "a bare line feed": (400, request("GET /ws HTTP/1.1", *WAY, "X-A: 1\nX-B: 2")),
    "a bare carriage return": (400, request("GET /ws HTTP/1.1", *WAY, "X-A: 1\rX-B: 2")),
    "NUL in a value": (400, request("GET /ws HTTP/1.1", *WAY, "X-A: \x00")),
    "64 fields": (101, request("GET /ws HTTP/1.1", *WAY, *(f"X-{number}: 1" for number in range(59)))),
    "65 fields": (431, request("GET /ws HTTP/1.1", *WAY, *(f"X-{number}: 1" for number in range(60)))),
    "a long field": (431, request("GET /ws HTTP/1.1", *WAY, f"X-A: {'x' * 9_000}")),
    # elsewhere
    "an unknown path": (404, plain("GET /nowhere HTTP/1.1")),
    "a path below": (404, request("GET /ws/x HTTP/1.1", *WAY)),
    "HEAD of health": (200, plain("HEAD /health HTTP/1.1")),
    "health with a query": (200, plain("GET /health?x HTTP/1.1")),
}
NEEDED: Final = {
    405: "allow",
    426: "upgrade",
}


@pytest.fixture
def raw(relay: RelayProcess) -> Iterator[RawSocket]:
    with RawSocket(relay.address) as opened:
        yield opened


@pytest.mark.parametrize(("status", "data"), REQUESTS.values(), ids=REQUESTS)
def test_request_is_answered_with_exactly_this_status(raw: RawSocket, status: int, data: bytes) -> None:
    raw.send(data)
    answer = raw.response(bodiless=data.startswith(b"HEAD"))
    assert answer.status == status, answer
    assert "extensions" not in answer.head.lower()
    if status == 101:
        assert raw.read().opcode == TEXT
        return
    assert not [word for word in INTERNAL if word in answer.head.lower().encode() + answer.body.lower()]
    assert "connection: close" in answer.head.lower() or "upgrade, close" in answer.head.lower()
    assert NEEDED.get(status, "") in answer.head.lower()
    if not data.startswith(b"HEAD"):
        assert set(json.loads(answer.body)) <= {"error", "status", "version"}
        assert raw.is_at_end()


def test_version_that_is_spoken_is_told(raw: RawSocket) -> None:
    raw.send(REQUESTS["a later version"][1])
    assert "sec-websocket-version: 13" in raw.response().head.lower()


def test_answer_to_head_has_no_body(relay: RelayProcess) -> None:
    with socket.create_connection(relay.address, timeout=60) as asked:
        asked.sendall(REQUESTS["HEAD of health"][1])
        whole = b""
        while part := asked.recv(65_536):
            whole += part
    assert whole.endswith(b"\r\n\r\n")
    assert b"Content-Length: 37" in whole


@pytest.mark.parametrize("name", ["a good one", "no key", "an unknown path", "a bare line feed", "a long field"])
def test_request_may_come_byte_by_byte(raw: RawSocket, name: str) -> None:
    status, data = REQUESTS[name]
    for byte in data[:8_193]:
        raw.send(bytes([byte]))
    assert raw.response().status == status


def test_two_requests_in_one_are_answered_once(raw: RawSocket) -> None:
    raw.send(plain("GET /health HTTP/1.1") * 2)
    assert raw.response().status == 200
    assert raw.is_at_end()


def test_endless_request_is_cut_at_8_kib(relay: RelayProcess) -> None:
    with socket.create_connection(relay.address, timeout=60) as endless:
        endless.sendall(b"GET /ws HTTP/1.1\r\nX: " + b"x" * 8_200)
        assert endless.recv(65_536).startswith(b"HTTP/1.1 431 ")


HASTY: Final = """
from phantom_messenger.relay import upgrade
upgrade.CONNECTION_TIMEOUT_MS = 700
"""


def test_request_that_is_never_whole_is_cut(start_relay: StartRelay) -> None:
    relay = start_relay(command=patched(HASTY))
    began = time.monotonic()
    with socket.create_connection(relay.address, timeout=60) as slow:
        slow.sendall(handshake(relay.address)[:-1])
        assert slow.recv(1) == b""
    assert time.monotonic() - began >= 0.6, "not before its time"


LENIENT: Final = """
import re
from phantom_messenger.relay import http
http._FIELD = re.compile(rb"([^:]*):[ ]*(.*)", re.DOTALL)
http.MAX_FIELDS = 1_000
"""


@pytest.mark.parametrize("name", ["a bare line feed", "a space before a colon", "NUL in a value", "65 fields"])
def test_lenient_reader_lets_it_through(start_relay: StartRelay, name: str) -> None:
    """The control."""
    with RawSocket(start_relay(command=patched(LENIENT)).address) as raw:
        raw.send(REQUESTS[name][1])
        assert raw.response().status == 101
