import json
import re
from collections.abc import Sequence

import pytest

from phantom_messenger import __version__
from phantom_messenger.relay import http
from phantom_messenger.relay.config import Config, load_config
from support.cases import each
from support.raw_socket import CLOSE, TEXT, RawSocket
from support.reference_client import Connect
from support.relay_process import RelayProcess, StartRelay


def get(relay: RelayProcess, path: str, head: str = "") -> tuple[int, str, bytes]:
    with RawSocket(relay.address) as raw:
        raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        return tuple(raw.response())  # type: ignore[return-value]


# --- plain requests ---------------------------------------------------------------


def test_health_tells_the_version(relay: RelayProcess) -> None:
    status, head, body = get(relay, "/health")
    assert status == 200
    assert json.loads(body) == {"status": "ok", "version": __version__}
    assert "content-type: application/json" in head.lower()
    assert "cache-control: no-store" in head.lower()


def test_ready_tells_strangers_nothing_of_who_is_there(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay()
    alone = get(relay, "/ready")[2]
    connect(relay)
    assert get(relay, "/ready")[2] == alone
    assert json.loads(alone) == {"status": "ready"}


def test_not_ready_is_503() -> None:
    request = http.read_request(b"GET /ready HTTP/1.1\r\nHost: x")
    assert isinstance(request, http.Request)
    found = http.judge(request, Config(), ready=False, version="1")
    assert isinstance(found, http.Answer)
    assert (found.status, found.content) == (503, {"status": "not ready"})


@pytest.mark.parametrize("path", ["/ws/", "/wsx", "/health/", "/../etc/passwd", "/%00", "/metrics"])
def test_other_paths_are_404(relay: RelayProcess, path: str) -> None:
    assert get(relay, path)[0] == 404


def test_query_is_ignored(relay: RelayProcess) -> None:
    assert get(relay, "/health?x=/ws")[0] == 200
    with RawSocket(relay.address) as raw:
        assert raw.upgrade(path="/ws?token=secret").status == 101


def test_get_of_the_websocket_without_an_upgrade_is_an_error(relay: RelayProcess) -> None:
    assert 400 <= get(relay, "/ws")[0] < 500


@pytest.mark.parametrize(
    "headers",
    [
        [("Upgrade", "h2c")],
        [("Connection", "keep-alive")],
        [("Sec-WebSocket-Version", "99")],
    ],
    ids=["another protocol", "no upgrade", "an unknown version"],
)
def test_wrong_handshake_is_refused(relay: RelayProcess, headers: Sequence[tuple[str, str]]) -> None:
    with RawSocket(relay.address) as raw:
        assert 400 <= raw.upgrade(headers).status < 500


@pytest.mark.parametrize(
    "value", ["Upgrade", "upgrade", "keep-alive, Upgrade", "Upgrade, keep-alive", "keep-alive,upgrade"]
)
def test_connection_header_of_every_browser_is_understood(relay: RelayProcess, value: str) -> None:
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("Connection", value)]).status == 101
        assert raw.read().opcode == TEXT


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The key of RFC 6455 section 1.3, and below what answers it."""

USUAL = (
    "Host: x",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)


def judged(line: str, *fields: str, ready: bool = True) -> http.Answer | http.Upgrade:
    """What is made of a request; fields replace the usual ones of the same name, ``Name-`` takes one out."""
    names = {field.partition(":")[0].rstrip("-") for field in fields}
    kept = [field for field in USUAL if field.partition(":")[0] not in names]
    lines = [line, *kept, *(field for field in fields if ":" in field)]
    request = http.read_request("\r\n".join(lines).encode("latin-1"))
    if isinstance(request, http.Answer):
        return request
    return http.judge(request, Config(), ready=ready, version="1.2.3")


def test_handshake_is_granted_as_rfc_6455_says() -> None:
    found = judged(
        "GET /ws?a=/b HTTP/1.1", "Host: relay.test:8080", "X-Forwarded-For: 192.0.2.1", "x-forwarded-for: ::1"
    )
    assert found == http.Upgrade(KEY, "relay.test:8080", "192.0.2.1,::1")
    assert found.encode() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


FIELDS = [f"X-{number}: a" for number in range(http.MAX_FIELDS)]
REFUSED: dict[str, tuple[int, str, tuple[str, ...]]] = {
    "GET /ws HTTP/1.1 x": (400, "bad request", ()),
    "GET /ws": (400, "bad request", ()),
    "G\x00T /ws HTTP/1.1": (400, "bad request", ()),
    "GET /ws http/1.1": (400, "bad request", ()),
    "GET /ws HTTP/2.0": (505, "HTTP/1.1 is needed", ()),
    "GET /ws HTTP/0.9": (505, "HTTP/1.1 is needed", ()),
    "GET /ws HTTP/1.0": (505, "HTTP/1.1 is needed", ()),
    "GET  HTTP/1.1": (400, "bad request", ()),
    "GET /a\x80 HTTP/1.1": (400, "bad request", ()),
    "GET /ws HTTP/1.1 ": (400, "bad request", ()),
    "POST /ws HTTP/1.1": (405, "method not allowed", ()),
    "HEAD /ws HTTP/1.1": (405, "method not allowed", ()),
    "POST /health HTTP/1.1": (405, "method not allowed", ()),
    "POST /nowhere HTTP/1.1": (404, "not found", ()),
    "GET /HEALTH HTTP/1.1": (404, "not found", ()),
    "GET / HTTP/1.1": (404, "not found", ()),
    "too many fields": (431, "request too large", (*FIELDS[: http.MAX_FIELDS - 4],)),
    "a field that is none": (400, "bad request", ("no field", "X: \x00")),
    "no host": (400, "bad request", ("Host-",)),
    "two hosts": (400, "bad request", ("Host: x", "Host: x")),
    "a body": (400, "a body is not expected", ("Content-Length: 10",)),
    "a second length": (400, "a body is not expected", ("Content-Length: 0", "Content-Length: 1")),
    "an encoding": (400, "a body is not expected", ("Transfer-Encoding: identity",)),
    "no upgrade": (426, "this is a WebSocket", ("Upgrade-",)),
    "another upgrade": (426, "this is a WebSocket", ("Upgrade: websockets",)),
    "no connection": (426, "this is a WebSocket", ("Connection-",)),
    "another version": (426, "WebSocket version 13 is needed", ("Sec-WebSocket-Version: 8",)),
    "two versions": (
        426,
        "WebSocket version 13 is needed",
        ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 13"),
    ),
    "no key": (400, "Sec-WebSocket-Key is not 16 bytes in base64", ("Sec-WebSocket-Key-",)),
    "a long key": (
        400,
        "Sec-WebSocket-Key is not 16 bytes in base64",
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=",),
    ),
    "no base64": (400, "Sec-WebSocket-Key is not 16 bytes in base64", (f"Sec-WebSocket-Key: !{KEY}",)),
    "another origin": (403, "origin not allowed", ("Origin: http://y",)),
    "two origins": (403, "origin not allowed", ("Origin: http://x", "Origin: http://x")),
}


@each(("what", "refusal"), REFUSED.items(), ids=REFUSED)
def test_request_is_refused(what: str, refusal: tuple[int, str, tuple[str, ...]]) -> None:
    status, sentence, fields = refusal
    found = judged(what if "/" in what or "HTTP" in what else "GET /ws HTTP/1.1", *fields)
    assert isinstance(found, http.Answer)
    assert (found.status, found.content) == (status, {"error": sentence})


GRANTED: dict[str, tuple[str, ...]] = {
    "as many fields as are allowed": (*FIELDS[: http.MAX_FIELDS - 5],),
    "an empty body": ("Content-Length: 0",),
    "words in any case": ("upgrade: WebSocket", "connection: keep-alive , UPGRADE", "Upgrade-", "Connection-"),
    "words in two lines": ("Connection: keep-alive", "Connection: upgrade"),
    "a page of its own": ("Origin: http://x",),
}


@pytest.mark.parametrize("fields", GRANTED.values(), ids=GRANTED)
def test_handshake_may_have(fields: tuple[str, ...]) -> None:
    assert isinstance(judged("GET /ws HTTP/1.1", *fields), http.Upgrade)


@pytest.mark.parametrize(
    ("line", "ready", "status", "content"),
    [
        ("GET /health HTTP/1.1", False, 200, {"status": "ok", "version": "1.2.3"}),
        ("HEAD /health HTTP/1.0", True, 200, {"status": "ok", "version": "1.2.3"}),
        ("GET http://x/health?y HTTP/1.1", True, 200, {"status": "ok", "version": "1.2.3"}),
        ("GET /ready HTTP/1.1", True, 200, {"status": "ready"}),
        ("GET /ready HTTP/1.1", False, 503, {"status": "not ready"}),
    ],
)
def test_plain_request_is_answered(line: str, ready: bool, status: int, content: dict[str, str]) -> None:
    found = judged(line, ready=ready)
    assert isinstance(found, http.Answer)
    assert (found.status, found.content) == (status, content)
    head, _, body = found.encode().partition(b"\r\n\r\n")
    assert json.loads(body) == content
    assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", head), "RFC 9110 section 5.6.7"
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert found.encode(head_only=True) == head + b"\r\n\r\n"


def test_request_of_http_1_0_needs_no_host() -> None:
    assert isinstance(judged("GET /health HTTP/1.0", "Host-"), http.Answer)
    assert judged("GET /health HTTP/1.0", "Host-") == judged("GET /health HTTP/1.0")
    assert judged("GET /health HTTP/1.0", "Host: x", "Host: y") == http.BAD_REQUEST


@pytest.mark.parametrize(
    ("line", "fields", "told"),
    [
        ("POST /ws HTTP/1.1", (), {"Allow": "GET"}),
        ("PUT /ready HTTP/1.1", (), {"Allow": "GET, HEAD"}),
        ("GET /ws HTTP/1.1", ("Upgrade-",), {"Connection": "Upgrade, close", "Upgrade": "websocket"}),
        (
            "GET /ws HTTP/1.1",
            ("Sec-WebSocket-Version: 12",),
            {"Connection": "Upgrade, close", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
        ),
    ],
    ids=["method of /ws", "method of the others", "no upgrade", "version"],
)
def test_refusal_says_what_would_be_right(line: str, fields: tuple[str, ...], told: dict[str, str]) -> None:
    found = judged(line, *fields)
    assert isinstance(found, http.Answer)
    assert found.fields == told
    head = found.encode(head_only=True).decode()
    assert all(f"\r\n{name}: {value}\r\n" in head for name, value in told.items())


# --- origin -----------------------------------------------------------------------

FOREIGN = [
    "https://evil.test",
    "http://{host}.evil.test",
    "http://{host}@evil.test",
    "http://evil.test/{host}",
    "http://127.0.0.1:1",
    "http://127.0.0.1",
    "null",
    "",
    "http://[",
    "file://",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_page_of_another_origin_is_403(relay: RelayProcess, origin: str) -> None:
    with RawSocket(relay.address) as raw:
        written = origin.format(host="{}:{}".format(*relay.address))
        response = raw.upgrade([("Origin", written)])
        assert response.status == 403
        assert "error" in json.loads(response.body)


@pytest.mark.parametrize("origin", ["http://{host}", "https://{host}", "HTTP://{host}"])
def test_page_of_the_same_host_may_connect(relay: RelayProcess, origin: str) -> None:
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("Origin", origin.format(host="{}:{}".format(*relay.address)))]).status == 101


def test_listed_origins_may_connect(start_relay: StartRelay) -> None:
    relay = start_relay("--allowed-origins", "https://app.test,https://other.test:8443")
    for origin, status in (
        ("https://app.test", 101),
        ("https://APP.test", 101),
        ("https://other.test:8443", 101),
        ("https://other.test", 403),
        ("http://app.test", 403),
    ):
        with RawSocket(relay.address) as raw:
            assert raw.upgrade([("Origin", origin)]).status == status, origin


# --- whose address counts ---------------------------------------------------------

PROXY = "10.0.0.1"

PARTIES: list[tuple[str, str | None, str]] = [
    ("192.0.2.1", None, "192.0.2.1"),
    ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
    (PROXY, None, PROXY),
    (PROXY, "", PROXY),
    (PROXY, "198.51.100.7", "198.51.100.7"),
    (PROXY, "203.0.113.9, 198.51.100.7", "198.51.100.7"),
    (PROXY, "203.0.113.9,198.51.100.7 , 10.0.0.2", "198.51.100.7"),
    (PROXY, "10.0.0.3, 10.0.0.2", "10.0.0.3"),
    (PROXY, "198.51.100.7, rubbish", PROXY),
    (PROXY, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    (PROXY, "[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
    (PROXY, "::ffff:198.51.100.7", "198.51.100.7"),
    (PROXY, "198.51.100.7:50123", "198.51.100.7"),
    (PROXY, "[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
    (PROXY, "2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"),
    (PROXY, "198.51.100.7:rubbish", PROXY),
    ("2001:db8:1:2::1", None, "2001:db8:1:2::/64"),
    ("2001:db8:1:2:ffff::", None, "2001:db8:1:2::/64"),
    ("2001:db8:1:3::1", None, "2001:db8:1:3::/64"),
    ("::ffff:192.0.2.1", None, "192.0.2.1"),
    ("fd00::1", "198.51.100.7", "198.51.100.7"),
]


@pytest.mark.parametrize(("peer", "forwarded", "party"), PARTIES)
def test_party_that_limits_count(peer: str, forwarded: str | None, party: str) -> None:
    config = load_config({"trusted_proxies": "10.0.0.0/8,fd00::/8", "public_names": "relay.test"}, {})
    assert http.rate_limit_key(peer, forwarded, config) == party


def admitted(relay: RelayProcess, *forwarded: str) -> tuple[RawSocket, bool]:
    """Whether one more connection with these X-Forwarded-For lines is greeted; it stays open."""
    raw = RawSocket(relay.address)
    raw.upgrade([("X-Forwarded-For", line) for line in forwarded])
    return raw, raw.read().opcode != CLOSE


Lines = tuple[str, ...]


@pytest.mark.parametrize(
    ("trusted", "first", "second", "together"),
    [
        ("127.0.0.0/8", ("198.51.100.7",), ("198.51.100.7",), True),
        ("127.0.0.0/8", ("198.51.100.7",), ("198.51.100.8",), False),
        ("127.0.0.0/8", ("1.1.1.1, 198.51.100.7",), ("2.2.2.2, 198.51.100.7",), True),
        ("127.0.0.0/8", ("1.1.1.1", "198.51.100.7"), ("2.2.2.2", "198.51.100.7"), True),
        ("127.0.0.0/8", ("1.1.1.1", "198.51.100.7"), ("1.1.1.1", "198.51.100.8"), False),
        ("127.0.0.0/8", ("2001:db8:1:2::1",), ("2001:db8:1:2:ff::2",), True),
        ("127.0.0.0/8", ("2001:db8:1:2::1",), ("2001:db8:1:3::1",), False),
        ("10.0.0.0/8", ("198.51.100.7",), ("198.51.100.8",), True),
        ("", ("198.51.100.7",), ("198.51.100.8",), True),
    ],
    ids=[
        "one client",
        "two clients",
        "one client that makes hops up",
        "one client that makes hops up, in lines of their own",
        "two clients, in lines of their own",
        "one network",
        "two networks",
        "the peer is no proxy",
        "no proxy is known",
    ],
)
def test_connections_are_counted_by_client(
    start_relay: StartRelay, trusted: str, first: Lines, second: Lines, together: bool
) -> None:
    relay = start_relay("--connections-per-address", "1", "--trusted-proxies", trusted, "--public-names", "any")
    one, greeted = admitted(relay, *first)
    other, also = admitted(relay, *second)
    with one, other:
        assert greeted
        assert also is not together
