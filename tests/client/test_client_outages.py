"""Whatever answers in a relay's place: a sentence of its own, no other host, and another attempt."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import ServerConnection, serve

from phantom_messenger import Client
from phantom_messenger.client import connect as dialling
from phantom_messenger.client import outages, reconnecting
from phantom_messenger.client.errors import LoginRefused, RelayBusy, RelayUnreachable
from phantom_messenger.client.outages import _names, outage
from phantom_messenger.client.status import ConnectionState
from support.certificates import self_signed
from support.people import canonical
from support.sdk_clients import NOBODY, PATIENCE, first, opened, run


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnecting, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(reconnecting, "LONGEST_BACKOFF", 0.02)


class Portal:
    """Something that answers each connection with the same bytes, and closes it."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.dialled = 0
        self.port = 0
        self.context: ssl.SSLContext | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"{'ws' if self.context is None else 'wss'}://127.0.0.1:{self.port}/ws"
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.answer)
            await writer.drain()
        writer.close()


def http(status: str, *fields: str, body: str = "<html>log in</html>") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", body]
    return "\r\n".join(lines).encode()


async def said(client: Client, attempts: int = 1) -> str:
    """What is said after some failed attempts, none of which was the last."""
    async with client:
        with pytest.raises(RelayUnreachable) as caught:
            await client.wait_online(PATIENCE, attempts=attempts)
        assert client.connection.state in {ConnectionState.OFFLINE, ConnectionState.CONNECTING}
    return str(caught.value).partition("cannot be reached because ")[2]


NO_RELAY = "there is no Phantom relay at this address"
ELSEWHERE = "a redirect is not followed"
LOGIN_PAGE = "the address redirects to a place where no relay can be; do you have to log in to this network first?"
SWITCHING = "Upgrade: websocket", "Connection: Upgrade"

ANSWERS: dict[str, tuple[bytes, str]] = {
    **{
        status: (http(f"{status} X"), f"{NO_RELAY} (HTTP {status})")
        for status in ("200", "401", "403", "404", "426", "500", "502")
    },
    "400": (http("400 Bad Request"), f"{NO_RELAY} (HTTP 400); is it wss://, with TLS?"),
    "301 to a portal": (http("301 X", "Location: https://portal.test/login"), ELSEWHERE),
    "302 to http": (http("302 X", "Location: http://portal.test/login"), ELSEWHERE),
    "302 to ftp": (http("302 X", "Location: ftp://portal.test/"), ELSEWHERE),
    "302 to no port": (http("302 X", "Location: ws://h:99999/x"), LOGIN_PAGE),
    "302 to no host": (http("302 X", "Location: ws://[/x"), LOGIN_PAGE),
    "302 to here": (http("302 X", "Location: /login"), ELSEWHERE),
    "302 to nowhere": (http("302 X"), f"{NO_RELAY} (HTTP 302)"),
    "307 to https here": (http("307 X", "Location: https://127.0.0.1/ws"), "asks for TLS; use wss://127.0.0.1/ws"),
    "308 to a port here": (
        http("308 X", "Location: https://127.0.0.1:8443/ws"),
        "asks for TLS; use wss://127.0.0.1:8443/ws",
    ),
    "nothing": (b"", "the answer is not that of a relay; is it wss://, with TLS?"),
    "garbage": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not that of a relay; is it wss://, with TLS?"),
    "an alert of TLS": (b"\x15\x03\x01\x00\x02\x02\x46", "the answer is not that of a relay; is it wss://, with TLS?"),
    "101 for another key": (http("101 X", *SWITCHING, "Sec-WebSocket-Accept: AAAA", body=""), NO_RELAY),
    "101 without more": (http("101 X", body=""), NO_RELAY),
    "a close 1008 before the login": (b"1008", "the relay said 'go away'"),
    "a close 4003 before the login": (b"4003", "the relay said 'go away'"),
}


@pytest.mark.parametrize(("answer", "sentence"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_no_relay_is_told_and_tried_again(
    tmp_path: Path, answer: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.reconnecting.FIRST_LATE_MS", 10)

    async def main() -> None:
        closing: Closing | Portal = closes(int(answer), "go away") if answer.isdigit() else Portal(answer)
        async with closing.open() as url:
            assert sentence in await said(opened(tmp_path, "alice", url), attempts=3)
        assert closing.dialled >= 3

    run(main())


class Closing:
    """A WebSocket server that does the same with each connection."""

    def __init__(self, act: Callable[[ServerConnection], Any]) -> None:
        self._act = act
        self.dialled = 0
        self.seen: list[str] = []

    async def _serve(self, connection: ServerConnection) -> None:
        self.dialled += 1
        with contextlib.suppress(websockets.ConnectionClosed):
            await self._act(connection)
            async for text in connection:
                self.seen.append(str(text))

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        async with serve(self._serve, "127.0.0.1", 0) as server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"


def closes(code: int, reason: str) -> Closing:
    async def act(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return Closing(act)


LIMITS = {"backlog": 1, "encryptedChars": 1, "messageBytes": 1, "messagesPerMinute": 60, "metadataBytes": 1}
GREETING = {
    "challenge": "A" * 43 + "=",
    "connectionId": "c",
    "limits": LIMITS,
    "protocolVersion": 1,
    "serverName": "s",
    "serverTime": 1,
}


def refuses(payload: dict[str, Any]) -> Closing:
    """A relay that refuses every login."""

    async def act(connection: ServerConnection) -> None:
        for kind, said in (("CONNECTION_ACK", GREETING), ("AUTH_FAILURE", payload)):
            await connection.send(canonical({"type": kind, "payload": said, "timestamp": 1}).decode())
            if kind == "CONNECTION_ACK":
                await connection.recv()
        await connection.close(4001, "authentication failed")

    return Closing(act)


# --- redirects --------------------------------------------------------------------


async def redirected(home: Path, status: str, location: str) -> Closing:
    """What a third party has seen, to whom a client was sent; ``PORT`` in the location is its port."""

    async def greets(connection: ServerConnection) -> None:
        await connection.send(canonical({"type": "CONNECTION_ACK", "payload": GREETING, "timestamp": 1}).decode())

    third = Closing(greets)
    async with third.open() as url:
        port = url.rpartition(":")[2].removesuffix("/ws")
        first = Portal(http(status, f"Location: {location.replace('PORT', port)}"))
        async with first.open() as dialled, opened(home, "alice", dialled) as alice:
            with contextlib.suppress(RelayUnreachable):
                await alice.wait_online(1.0, attempts=2)
            assert first.dialled >= 1
    return third


PLACES = ["ws://127.0.0.1:PORT/ws", "ws://localhost:PORT/ws", "http://127.0.0.1:PORT/ws", "//127.0.0.1:PORT/x"]


@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
@pytest.mark.parametrize("location", PLACES[:2])
def test_redirect_is_followed_nowhere(tmp_path: Path, status: str, location: str) -> None:
    assert run(redirected(tmp_path, status, location)).dialled == 0


@pytest.mark.parametrize("location", PLACES)
def test_redirect_in_any_form_is_followed_nowhere(tmp_path: Path, location: str) -> None:
    assert run(redirected(tmp_path, "302 X", location)).dialled == 0


def test_client_that_follows_redirects_logs_in_at_a_third_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the library's own connection."""
    monkeypatch.setattr(dialling, "_Connection", ClientConnection)
    third = run(redirected(tmp_path, "302 X", PLACES[0]))
    assert third.dialled >= 1
    assert any('"type":"AUTH"' in text for text in third.seen)


# --- those who ask to wait --------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [(http("503 X", "Retry-After: 7"), 7), (http("429 X", "Retry-After: 99999999"), 3_600), (http("503 X"), None)],
)
def test_address_that_asks_to_wait_is_left_alone_for_so_long(
    tmp_path: Path, answer: bytes, seconds: float | None
) -> None:
    async def main() -> None:
        portal = Portal(answer)
        async with portal.open() as url, opened(tmp_path, "alice", url) as alice:
            with pytest.raises(RelayBusy, match="lets nobody in just now because the relay is not ready") as caught:
                await alice.wait_online(0.4, attempts=1)
            assert caught.value.retry_after == seconds
            assert (portal.dialled == 1) is (seconds is not None)

    run(main())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("9" * 40, None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
        ("Wed, 21 Oct 99999999999999999999999 07:28:00 GMT", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str, seconds: float | None) -> None:
    found = run(outage("ws://127.0.0.1:9/ws", dialling.Answered(503, "", value)))
    assert (found.retry_after, found.busy) == (seconds, True)


@pytest.mark.parametrize(
    "extension",
    [bytes.fromhex("0603551d11"), bytes.fromhex("0603551d63")],
    ids=["names twice", "control: names once"],
)
def test_certificate_that_nobody_can_make_has_no_names(extension: bytes) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("elsewhere")]), critical=False)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00"), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
    shown = x509.load_der_x509_certificate(made.replace(bytes.fromhex("0603551d63"), extension))
    assert _names(shown) == (["elsewhere"] if extension.endswith(b"\x63") else [])


def test_relay_that_has_no_room_for_an_address_is_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        relay = closes(4002, "too many connections from this address")
        async with relay.open() as url, opened(tmp_path, "alice", url) as alice:
            with pytest.raises(
                RelayBusy,
                match=r"lets nobody in just now because the relay said 'too many connections from this address'\Z",
            ):
                await alice.wait_online(0.5, attempts=1)
            assert relay.dialled >= 2

    run(main())


def test_relay_that_limits_logins_is_waited_for(tmp_path: Path) -> None:
    """``wait_online`` goes on, however many attempts were to be made."""

    async def main() -> None:
        relay = refuses({"code": 1003, "reason": "Rate limited", "details": {"reason": "rate"}, "retryAfter": 50})
        async with relay.open() as url, opened(tmp_path, "alice", url) as alice:
            for seconds in (0.6, 5, 30):  # on a busy machine a second attempt comes later
                with pytest.raises(RelayBusy, match=r"too many logins from here; retrying in 1 second\Z"):
                    await alice.wait_online(seconds, attempts=1)
                if relay.dialled >= 2:
                    break
            assert relay.dialled >= 2

    run(main())


def test_relay_that_does_not_know_its_name_is_tried_again_and_one_that_refuses_the_identity_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phantom_messenger.client.reconnecting.FIRST_LATE_MS", 10)

    async def main() -> None:
        relay = refuses({"code": 1002, "reason": "x", "details": {"reason": "audience"}})
        async with relay.open() as url:
            assert "does not answer to the host name you used" in await said(opened(tmp_path, "alice", url), 3)
        relay = refuses({"code": 1002, "reason": "x", "details": {"reason": "identity"}})
        async with relay.open() as url, opened(tmp_path, "alice", url) as alice:
            with pytest.raises(LoginRefused):
                await alice.wait_online(PATIENCE)
            await asyncio.sleep(0.1)
        assert relay.dialled == 1

    run(main())


@pytest.mark.parametrize("attempt", range(3))
def test_refused_login_ends_all_waiting_and_is_not_tried_again(tmp_path: Path, attempt: int) -> None:
    del attempt
    relay = refuses({"code": 1002, "reason": "This user id is taken.", "details": {"reason": "identity"}})

    async def main() -> None:
        async with relay.open() as url, opened(tmp_path, "alice", url) as alice:
            delivery = await alice.send(NOBODY, "hello")
            for waiting in (alice.wait_online(PATIENCE), alice.wait_published(PATIENCE), delivery.wait(), first(alice)):
                with pytest.raises(LoginRefused, match="refused the login: the relay says that this user ID"):
                    await asyncio.wait_for(waiting, PATIENCE)
            await asyncio.sleep(0.2)
            assert alice.connection.state is ConnectionState.REFUSED
        assert relay.dialled == 1

    run(main())


# --- TLS --------------------------------------------------------------------------

FAULTS: dict[str, tuple[tuple[str, ...], dict[str, int], str]] = {
    "another name": (("a.test", "b.test"), {}, "its certificate is for a.test, b.test, not for 127.0.0.1; check"),
    "expired": ((), {"since": -9, "until": -2}, "its certificate expired on "),
    "not yet valid": ((), {"since": 3, "until": 9}, "its certificate is not valid before "),
}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_of_a_certificate_has_its_sentence(
    tmp_path: Path, fault: str, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, days, sentence = FAULTS[fault]
    certificate = self_signed(tmp_path / "tls", *names, **days)
    if is_known:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
    portal = Portal(http("404 X"))
    portal.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    portal.context.load_cert_chain(certificate.cert, certificate.key)

    async def main() -> str:
        async with portal.open() as url:
            return await said(opened(tmp_path, "alice", url))

    told = run(main())
    advice = "SSL_CERT_FILE may name your own"
    assert (sentence in told, advice in told) == (is_known, not is_known), told
    if days:
        assert ("this machine's clock says" in told) is is_known


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_wrong_scheme_is_guessed(tmp_path: Path, scheme: str) -> None:
    certificate = self_signed(tmp_path / "tls")
    portal = Portal(http("404 X"))
    if scheme == "ws":
        portal.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        portal.context.load_cert_chain(certificate.cert, certificate.key)

    async def main() -> str:
        async with portal.open() as url:
            return await said(opened(tmp_path, "alice", f"{scheme}:{url.partition(':')[2]}"))

    other = {"ws": "is it wss://, with TLS?", "wss": "is it ws://, without TLS?"}[scheme]
    if scheme == "wss":
        portal = Plain()
    assert run(main()).endswith(other)


class Plain(Portal):
    """Answers TLS with HTTP."""

    def __init__(self) -> None:
        super().__init__(http("400 Bad Request"))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled += 1
        await reader.read(5)
        writer.write(self.answer)
        writer.close()


WRONG_NAME = ssl.SSLCertVerificationError()
WRONG_NAME.verify_code, WRONG_NAME.verify_message = 62, "Hostname mismatch"


@pytest.mark.parametrize(("version", "whose"), [(2, "another name"), (6, "another name"), (3, "127.0.0.1")])
def test_certificate_that_cannot_be_read_is_an_outage_as_any_other(tmp_path: Path, version: int, whose: str) -> None:
    """The control is one that can be read."""
    certificate = self_signed(tmp_path / "tls")
    der = ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    made = der.replace(b"\xa0\x03\x02\x01\x02", bytes([0xA0, 3, 2, 1, version - 1]), 1)  # RFC 5280, section 4.1.2.1
    certificate.cert.write_text(ssl.DER_cert_to_PEM_cert(made))
    with contextlib.nullcontext() if version == 3 else pytest.raises(x509.InvalidVersion):
        x509.load_der_x509_certificate(made)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    async def main() -> None:
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"
            assert (await outage(url, WRONG_NAME)).reason.startswith(f"its certificate is for {whose}")

    run(main())


def test_fault_while_it_is_explained_is_an_outage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(_: object) -> str:
        raise KeyError("of somebody")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"ws://127.0.0.1:{server.getsockname()[1]}/ws"
        async with opened(tmp_path, "alice", url) as alice:
            with pytest.raises(RelayUnreachable, match=r"something failed that should not \(KeyError\)"):
                await alice.wait_online(10, attempts=3)

    monkeypatch.setattr(outages, "_why", fails)
    run(main())
