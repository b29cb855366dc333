"""Under which names a relay is reached, however they are written, and what its operator hears of the others."""

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from phantom_messenger.events import Event
from phantom_messenger.relay import public_names
from phantom_messenger.relay.config import Config, ConfigError, load_config
from phantom_messenger.relay.http import Answer, judge, read_request
from phantom_messenger.wire.names import normal_host, split_name
from support.people import Person, canonical
from support.raw_socket import TEXT, RawSocket, frame, handshake
from support.relay_process import RelayProcess, StartRelay
from support.simulated import MakeWorld

ONE_FORM: Final = {
    "Chat.Example.ORG": "chat.example.org",
    "chat.example.org.": "chat.example.org",
    "chat.example.org:443": "chat.example.org",
    "chat.example.org.:80": "chat.example.org",
    "chat.example.org:8443": "chat.example.org:8443",
    "bücher.example": "xn--bcher-kva.example",
    "BÜCHER.example:8443": "xn--bcher-kva.example:8443",
    "xn--bcher-kva.EXAMPLE.": "xn--bcher-kva.example",
    "[0:0:0:0:0:0:0:1]:8080": "[::1]:8080",
    "[2001:DB8::0:1]": "[2001:db8::1]",
    "[fe80::1%eth0]:8080": "[fe80::1]:8080",
    "127.0.0.1:8080": "127.0.0.1:8080",
    "my_relay:8080": "my_relay:8080",
}
NO_NAMES: Final = [
    "",
    " ",
    "a b",
    "*",
    "*.a",
    "a/b",
    "http://a",
    "a:b",
    "a:",
    "a:0",
    "a:65536",
    "::1",
    "[::1",
    "a..b",
    "[a]",
    "a\n",
    "127.0.0.1%a.b:8080",
    "127.0.0.1%",
]


@pytest.mark.parametrize(("written", "normal"), ONE_FORM.items())
def test_name_has_one_form(written: str, normal: str) -> None:
    assert public_names.normal_name(written) == normal
    assert public_names.normal_name(normal) == normal


@pytest.mark.parametrize("written", [*NO_NAMES, "a" * 64, "a." * 200, "ü" * 300, "\udc80"])
def test_what_nobody_can_dial_is_no_name(written: str) -> None:
    assert public_names.normal_or_none(written) is None
    with pytest.raises(ValueError, match=r"^[a-z]"):
        split_name(written)


def test_host_is_normal_with_and_without_brackets() -> None:
    assert normal_host("::0:1") == normal_host("[::1]") == "[::1]"


# --- logins -------------------------------------------------------------------------


def login(relay: RelayProcess, audience: str, host: str | None = None) -> str:
    """The word of the answer to a login for this name."""
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([] if host is None else [("Host", host)]).status == 101
        hello = json.loads(raw.read().payload)
        raw.send(frame(TEXT, canonical(Person().auth(hello, audience))))
        answer = json.loads(raw.read().payload)
        return str(answer["payload"]["details"]["reason"] if answer["type"] == "AUTH_FAILURE" else answer["type"])


def test_without_a_name_the_address_counts_and_no_header(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    for audience in (f"127.0.0.1:{relay.port}", f"localhost:{relay.port}", f"LOCALHOST.:{relay.port}"):
        assert login(relay, audience) == "AUTH_SUCCESS"
        assert login(relay, audience, "evil.test") == "AUTH_SUCCESS"
    others = ("127.0.0.2", "relay", "[::1]", "127.0.0.1%.evil.test", "localhost.evil.test")
    for audience in ("evil.test", "127.0.0.1", *(f"{name}:{relay.port}" for name in others)):
        assert login(relay, audience, audience) == "audience", audience


def test_with_names_they_count_however_they_are_written(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", "--public-names", "Bücher.example:443, [0:0::1]:8080,relay.test.")
    for audience in (
        "xn--bcher-kva.example",
        "bücher.example",
        "xn--bcher-kva.example:443",
        "[::1]:8080",
        "RELAY.test",
    ):
        assert login(relay, audience) == "AUTH_SUCCESS", audience
    for audience in ("bucher.example", f"127.0.0.1:{relay.port}", "relay.test:8443", "[::1]"):
        assert login(relay, audience) == "audience", audience


def test_any_name_is_the_one_in_the_handshake(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", "--public-names", "any")
    assert login(relay, "relay.test", "Relay.TEST.:443") == "AUTH_SUCCESS"
    assert login(relay, "relay.test", "other.test") == "audience"
    assert login(relay, "any", "relay.test") == "audience"


@pytest.mark.parametrize(("settings", "kept"), [({"public_names": ("any",)}, "relay.test"), ({}, "")])
def test_handshakes_name_is_kept_only_where_it_counts(
    make_world: MakeWorld, settings: dict[str, tuple[str, ...]], kept: str
) -> None:
    assert make_world(**settings).connect("alice", host="Relay.Test").session.host == kept


@pytest.mark.parametrize(
    "given",
    [
        {"host": "192.0.2.1"},
        {"host": "127.0.0.1,::"},
        {"host": "relay.test"},
        {"trusted_proxies": "127.0.0.1"},
    ],
    ids=str,
)
def test_relay_that_others_reach_does_not_start_without_a_name(given: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="needs --public-names"):
        load_config(given, {})
    for word in ("relay.test", "any"):
        assert load_config({**given, "public_names": word}, {}).public_names == (word,)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost.", "127.0.0.1,::1"])
def test_relay_that_only_this_machine_reaches_needs_no_name(host: str) -> None:
    assert load_config({"host": host}, {}).public_names == ()


# --- web pages ----------------------------------------------------------------------

OWN: Final = [
    ("https://chat.example", "chat.example:443"),
    ("http://chat.example:80", "chat.example"),
    ("https://Chat.Example.", "chat.example"),
    ("https://xn--bcher-kva.example", "bücher.example"),
    ("http://[0:0::1]:8080", "[::1]:8080"),
    ("https://public.example", "backend:8080"),
    ("https://public.example:443", "backend:8080"),
]
FOREIGN: Final = [
    ("https://chat.example:8443", "chat.example"),
    ("https://evil.chat.example", "chat.example"),
    ("https://chat.example.evil", "chat.example"),
    ("https://public.example:8443", "backend:8080"),
    ("https://chat.example/", "chat.example"),
    ("chat.example", "chat.example"),
    ("app://chat.example", "chat.example"),
    ("null", "null"),
    ("https://any", "chat.example"),
    ("https://", ""),
]


def verdict(origin: str, host: str, **settings: Any) -> int:
    """The status of a handshake of such a page."""
    head = handshake(("127.0.0.1", 8080), [("Host", host), ("Origin", origin)]).decode().encode("latin-1", "replace")
    request = read_request(head.removesuffix(b"\r\n\r\n"))
    assert not isinstance(request, Answer)
    found = judge(request, Config(**settings), ready=True, version="")
    return found.status if isinstance(found, Answer) else 101


@pytest.mark.parametrize(("origin", "host"), OWN)
def test_page_of_the_relays_own_host_may_connect(origin: str, host: str) -> None:
    assert public_names.is_origin_allowed(origin, host, names={"public.example"}, allowed=())


@pytest.mark.parametrize(("origin", "host"), FOREIGN)
def test_page_of_another_host_may_not(origin: str, host: str) -> None:
    assert not public_names.is_origin_allowed(origin, host, names={"public.example"}, allowed=())


def test_page_of_a_public_name_may_connect_behind_a_proxy_that_writes_another_host() -> None:
    assert verdict("https://public.example", "backend:8080", public_names=("public.example",)) == 101
    assert verdict("https://public.example", "backend:8080") == 403
    assert verdict("https://any", "backend:8080", public_names=("any",)) == 403


@pytest.mark.parametrize("origin", ["null", "file://", "app://me", "https://app.test", "HTTPS://APP.test:443"])
def test_listed_origin_may_connect(origin: str) -> None:
    listed = load_config({"allowed_origins": "null,file://,app://Me,https://App.test:443"}, {}).allowed_origins
    assert verdict(origin, "relay.test", allowed_origins=listed) == 101
    assert verdict(origin, "relay.test", allowed_origins=("https://other.test",)) == 403


# --- what the operator hears ----------------------------------------------------------


def told(relay: RelayProcess, event: Event) -> list[str]:
    """The lines of its log about this."""
    return [line for line in relay.doubts if f" {event.code}: " in line]


def refused_origin(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("Origin", "https://secret.test")]).status == 403


def refused_audience(relay: RelayProcess) -> None:
    assert login(relay, "secret.test") in {"audience", "rate"}


def forwarded(relay: RelayProcess) -> None:
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("X-Forwarded-For", "198.51.100.7")]).status == 101


HEARD: Final[dict[Event, tuple[Callable[[RelayProcess], None], str]]] = {
    Event.AUDIENCE_REFUSED: (refused_audience, "--public-names"),
    Event.ORIGIN_REFUSED: (refused_origin, "--allowed-origins"),
    Event.PROXY_UNTRUSTED: (forwarded, "--trusted-proxies"),
}


@pytest.mark.parametrize("event", HEARD, ids=lambda event: event.code)
def test_refusal_shows_in_the_log_once_and_without_a_name(start_relay: StartRelay, event: Event) -> None:
    relay = start_relay()
    cause, setting = HEARD[event]
    assert relay.doubts == []
    for _ in range(7):
        cause(relay)
    assert relay.stop() == 0
    [line] = told(relay, event)
    assert setting in line
    assert line.endswith(" count=1")
    assert not re.search(r"secret|198\.51", relay.log)


def test_forwarded_address_of_a_trusted_proxy_is_no_event(start_relay: StartRelay) -> None:
    relay = start_relay("--trusted-proxies", "127.0.0.1", "--public-names", "relay.test")
    forwarded(relay)
    relay.stop()
    assert relay.doubts == []
