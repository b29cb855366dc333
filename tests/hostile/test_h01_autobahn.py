"""The Autobahn suite, 247 cases, on the relay's layer and on the SDK's connection; ``make autobahn`` shows it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
import websocket_suite
from echo import EchoConnection, serve_ours

from phantom_messenger.relay.framing import BINARY, Header

FEW = 3
Serve = Callable[[], Awaitable[asyncio.Server]]


def verdicts(serve: Serve, cases: list[str] | None = None) -> websocket_suite.Verdicts:
    async def main() -> websocket_suite.Verdicts:
        server = await serve()
        try:
            address = server.sockets[0].getsockname()
            return await websocket_suite.verdicts_of_server(f"ws://127.0.0.1:{address[1]}/ws", cases)
        finally:
            server.close()

    return uvloop.run(main())


def test_no_case_fails_on_the_relays_layer() -> None:
    found = verdicts(serve_ours)
    assert len(found) == websocket_suite.COUNT
    failed = list(websocket_suite.failures(found))
    if 0 < len(failed) <= FEW:  # the suite allows a close a second, which a busy machine may not have
        failed = list(websocket_suite.failures(verdicts(serve_ours, failed)))
    assert failed == []


def test_no_case_fails_on_the_sdks_connection() -> None:
    found = uvloop.run(websocket_suite.verdicts_of_client())
    assert len(found) == websocket_suite.COUNT
    assert websocket_suite.failures(found) == {}


class Careless(EchoConnection):
    """The layer without what it adds to the library: it judges no header, order or text."""

    def _judge(self, header: Header) -> None: ...

    def _handle_data(self, header: Header, payload: bytes) -> None:  # noqa: ARG002
        self._handle_message(BINARY, payload)


def test_layer_without_checks_fails_many() -> None:
    """The control: the suite notices."""
    found = verdicts(lambda: serve_ours(connection=Careless), ["3.*", "5.*", "6.3.*"])
    assert len(websocket_suite.failures(found)) >= 8, found


def test_sdks_connection_without_checks_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the other side."""
    monkeypatch.setattr("websockets.frames.Frame.check", lambda _: None)
    found = uvloop.run(websocket_suite.verdicts_of_client(["3.*"]))
    assert len(websocket_suite.failures(found)) >= 6, found
