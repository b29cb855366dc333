import json
from collections.abc import Sequence

import pytest

from phantom_messenger import __version__
from phantom_messenger.relay import http
from phantom_messenger.relay.config import Config, load_config
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


@pytest.mark.parametrize("path", ["/", "/ws/", "/wsx", "/health/", "/../etc/passwd", "/%00", "/metrics"])
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
