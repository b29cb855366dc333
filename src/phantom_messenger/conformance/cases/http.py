"""The HTTP of a relay, and the handshake that makes a WebSocket of it."""

import asyncio
import base64
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from phantom_messenger.conformance import wire
from phantom_messenger.conformance.socket import Response
from phantom_messenger.conformance.stage import Stage
from phantom_messenger.conformance.verdict import Failure, Group

http: Final = Group("http", "HTTP", "Endpoint")

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""


def _has(response: Response, status: int, body: Mapping[str, Any] | None = None) -> None:
    """Judge an answer.

    Raises:
        Failure: its status is another one, or its body has not these members.
    """
    if response.status != status:
        raise Failure(f"the answer is {response.status} and not {status}")
    if body is None:
        return
    try:
        found = json.loads(response.body)
    except ValueError:
        raise Failure(f"the body is not JSON: {response.body[:80]!r}") from None
    if not isinstance(found, dict) or any(found.get(name) != value for name, value in body.items()):
        raise Failure(f"the body is {response.body[:80]!r}")


@http.case("| GET /ws with a WebSocket handshake | 101 | - |")
async def handshake_is_answered_with_the_proof_of_its_key(stage: Stage) -> None:
    socket = await stage.dial()
    key = wire.base64_text(os.urandom(16))
    response = await socket.upgrade(Sec_WebSocket_Key=key)
    wanted = base64.b64encode(hashlib.sha1(key.encode() + _ACCEPT, usedforsecurity=False).digest()).decode()
    if response.fields.get("sec-websocket-accept") != wanted:
        raise Failure(f"Sec-WebSocket-Accept is {response.fields.get('sec-websocket-accept')} and not {wanted}")


@http.case("The relay accepts no extension and no subprotocol.", section="Transport")
async def no_extension_and_no_subprotocol_is_accepted(stage: Stage) -> None:
    offers = {"Sec_WebSocket_Extensions": "permessage-deflate", "Sec_WebSocket_Protocol": "phantom"}
    response = await (await stage.dial()).upgrade(**offers)
    for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
        if name in response.fields:
            raise Failure(f"it answers {name}: {response.fields[name]}")


@http.case("A query string is ignored.")
async def query_of_a_handshake_is_ignored(stage: Stage) -> None:
    socket = await stage.dial()
    _has(await socket.ask(stage.target.handshake().replace(b" HTTP/1.1", b"?a=b HTTP/1.1", 1)), 101)


@http.case("A query string is ignored.", reference="")
async def query_of_a_request_is_ignored(stage: Stage) -> None:
    _has(await stage.http(stage.target.head(path="/health?a=b")), 200, {"status": "ok"})


@http.case('| GET /ws without | 426 | `{"error": "this is a WebSocket"}` |')
async def endpoint_without_a_handshake_is_426(stage: Stage) -> None:
    _has(await stage.http(stage.target.head()), 426, {"error": "this is a WebSocket"})


@http.case('| GET /health | 200 | `{"status": "ok", "version": ...}` |', reference="")
async def health_is_200(stage: Stage) -> None:
    response = await stage.http(stage.target.head(path="/health"))
    _has(response, 200, {"status": "ok"})
    if not isinstance(json.loads(response.body).get("version"), str):
        raise Failure("the body has no version")


@http.case('| GET /ready | 200 | `{"status": "ready"}` |', reference="")
async def ready_is_200(stage: Stage) -> None:
    _has(await stage.http(stage.target.head(path="/ready")), 200, {"status": "ready"})


@http.case('| any method on anything else | 404 | `{"error": "not found"}` |', reference="")
async def anything_else_is_404(stage: Stage) -> None:
    _has(await stage.http(stage.target.head(path="/none")), 404, {"error": "not found"})
    post = stage.target.head("POST", "/none", {"Content-Length": "0"})
    _has(await stage.http(post), 404, {"error": "not found"})


@http.case("| any other method on these three | 405 |", reference="")
async def other_methods_are_405(stage: Stage) -> None:
    for path in ("/health", stage.target.path):
        response = await stage.http(stage.target.head("POST", path, {"Content-Length": "0"}))
        _has(response, 405, {"error": "method not allowed"})


@http.case("HEAD is answered as GET, except on /ws.", reference="")
async def head_is_answered_without_a_body(stage: Stage) -> None:
    socket = await stage.dial()
    _has(await socket.ask(stage.target.head("HEAD", "/health")), 200)
    if not await socket.ends():
        raise Failure("a body, or nothing at all, follows the answer to HEAD")


@http.case("HEAD is answered as GET, except on /ws.", reference="")
async def head_of_the_endpoint_is_405(stage: Stage) -> None:
    _has(await stage.http(stage.target.head("HEAD")), 405)


@http.case("Each connection has one answer.", reference="")
async def second_request_is_not_answered(stage: Stage) -> None:
    socket = await stage.dial()
    await socket.ask(stage.target.head(path="/health"))
    await socket.send_raw(stage.target.head(path="/health"))
    if not await socket.ends():
        raise Failure("the connection stays open")


@http.case("Answers must not be cached.", reference="")
async def answers_must_not_be_cached(stage: Stage) -> None:
    for path in ("/health", "/ready", "/none"):
        response = await stage.http(stage.target.head(path=path))
        if "no-store" not in response.fields.get("cache-control", ""):
            raise Failure(f"the answer to {path} has no Cache-Control: no-store")


@http.case("A request has a head of at most 8,192 bytes and 64 fields (431)", reference="")
async def long_head_is_431(stage: Stage) -> None:
    _has(await stage.http(stage.target.head(path="/health", fields={"X-Long": "x" * 8_192})), 431)


@http.case("A request has a head of at most 8,192 bytes and 64 fields (431)", reference="")
async def sixty_fifth_field_is_431(stage: Stage) -> None:
    fields = {f"X-{number}": "" for number in range(63)}
    _has(await stage.http(stage.target.head(path="/health", fields=fields)), 200)
    _has(await stage.http(stage.target.head(path="/health", fields={**fields, "X-63": ""})), 431)


@http.case("one `Host` and no body (400)", reference="")
async def no_host_or_two_are_400(stage: Stage) -> None:
    whole = stage.target.head(path="/health")
    host = f"Host: {stage.target.audience}\r\n".encode()
    _has(await stage.http(whole.replace(host, b"")), 400)
    _has(await stage.http(whole.replace(host, 2 * host)), 400)


@http.case("one `Host` and no body (400)", reference="")
async def body_is_400(stage: Stage) -> None:
    _has(await stage.http(stage.target.head(path="/health", fields={"Content-Length": "2"}) + b"{}"), 400)


@http.case("A WebSocket version other than 13 is 426 with `Sec-WebSocket-Version: 13`", reference="")
async def other_version_is_426(stage: Stage) -> None:
    response = await stage.http(stage.target.handshake(Sec_WebSocket_Version="8"))
    _has(response, 426)
    if response.fields.get("sec-websocket-version") != "13":
        raise Failure("the answer has no Sec-WebSocket-Version: 13")


@http.case("a key that is not 16 bytes in base64 400", reference="")
async def short_key_is_400(stage: Stage) -> None:
    _has(await stage.http(stage.target.handshake(Sec_WebSocket_Key=wire.random_text(15))), 400)


@http.case("HTTP/1.0 on /ws 505", reference="")
async def http_1_0_on_the_endpoint_is_505(stage: Stage) -> None:
    _has(await stage.http(stage.target.handshake().replace(b"HTTP/1.1", b"HTTP/1.0", 1)), 505)


@http.case("and arrives within 30 s", reference="Connection Limits", lasts=32)
async def request_that_takes_longer_than_30_s_is_not_waited_for(stage: Stage) -> None:
    socket = await stage.dial()
    await socket.send_raw(stage.target.head(path="/health")[:-2])
    await asyncio.sleep(32)
    if not await socket.ends():
        raise Failure("the connection stays open")


@http.case("it is 403 unless its host and port are those of `Host` or a name of the relay", reference="")
async def page_of_another_site_is_403(stage: Stage) -> None:
    _has(await stage.http(stage.target.handshake(Origin="https://conformance.invalid")), 403)


@http.case("it is 403 unless its host and port are those of `Host` or a name of the relay", reference="")
async def page_of_the_relay_itself_may_connect(stage: Stage) -> None:
    scheme = "http" if stage.target.ssl is None else "https"
    _has(await stage.http(stage.target.handshake(Origin=f"{scheme}://{stage.target.audience}")), 101)
