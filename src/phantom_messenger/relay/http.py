"""The HTTP that a relay needs, and nothing more: one request, judged strictly, and one answer.

Strangers write these requests. They are read here alone: the WebSocket library never sees one.
No body is ever read, and no connection is used twice.
"""

import base64
import binascii
import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from phantom_messenger.relay.config import Config
from phantom_messenger.relay.public_names import ANY, is_origin_allowed

WEBSOCKET_PATH: Final = "/ws"
MAX_HEAD_BYTES: Final = 8_192
MAX_FIELDS: Final = 64
"""Room for a browser's cookies and no more: every connection may hold this much."""

_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3: proves that the server speaks WebSocket."""

_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_VERSION: Final = re.compile(rb"HTTP/([0-9])\.([0-9])", re.ASCII)
_TARGET: Final = re.compile(
    rb"(?:https?://[^/?#\s]+)?(/[\x21-\x3e\x40-\x7e]*)?(\?[\x21-\x7e]*)?", re.ASCII | re.IGNORECASE
)
_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*", re.ASCII)


def response_head(status: HTTPStatus, fields: Mapping[str, str]) -> bytes:
    """Status line, fields and empty line of a response."""
    head = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {text}" for name, text in fields.items())]
    return "\r\n".join([*head, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response, after which the connection closes. Refusals are one, too."""

    status: HTTPStatus
    content: Mapping[str, str]
    fields: Mapping[str, str] = field(default_factory=dict)

    def encode(self, *, head_only: bool = False) -> bytes:
        """The response as bytes, with a body unless it answers HEAD."""
        body = json.dumps(self.content).encode() + b"\n"
        fields = {
            "Date": formatdate(usegmt=True),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **self.fields,
        }
        return response_head(self.status, fields) + (b"" if head_only else body)


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed request without a body; fields are in order, by lower-case name."""

    method: str
    path: str
    minor: int
    fields: Mapping[str, list[str]]

    def only(self, name: str) -> str | None:
        """The value of a field that may appear once; None if it is missing or repeated."""
        values = self.fields.get(name, [])
        return values[0] if len(values) == 1 else None

    def words(self, name: str) -> list[str]:
        """The comma-separated words of a field, lower case (RFC 9110 section 5.3: several lines are one list)."""
        return [word.strip().lower() for word in ",".join(self.fields.get(name, [])).split(",")]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request that becomes a WebSocket: its key, its Host, and where proxies say it comes from."""

    key: str
    host: str
    forwarded: str

    def encode(self) -> bytes:
        """The response that switches to WebSocket (RFC 6455 section 4.2.2)."""
        digest = hashlib.sha1(self.key.encode() + _ACCEPT, usedforsecurity=False).digest()
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % base64.b64encode(digest)
        )


def _error(status: HTTPStatus, sentence: str, **fields: str) -> Answer:
    return Answer(status, {"error": sentence}, {name.replace("_", "-"): text for name, text in fields.items()})


BAD_REQUEST: Final = _error(HTTPStatus.BAD_REQUEST, "bad request")
TOO_LARGE: Final = _error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "request too large")
UNAVAILABLE: Final = _error(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", Retry_After="5")
_NO_BODY: Final = _error(HTTPStatus.BAD_REQUEST, "a body is not expected")
_VERSION_1_1: Final = _error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is needed")
NOT_FOUND: Final = _error(HTTPStatus.NOT_FOUND, "not found")
ORIGIN_REFUSED: Final = _error(HTTPStatus.FORBIDDEN, "origin not allowed")
_BAD_KEY: Final = _error(HTTPStatus.BAD_REQUEST, "Sec-WebSocket-Key is not 16 bytes in base64")
# RFC 9110 section 15.5.22 wants the protocol named, RFC 6455 section 4.4 the version.
_UPGRADE: Final = _error(
    HTTPStatus.UPGRADE_REQUIRED, "this is a WebSocket", Connection="Upgrade, close", Upgrade="websocket"
)
_WS_VERSION: Final = _error(
    HTTPStatus.UPGRADE_REQUIRED,
    "WebSocket version 13 is needed",
    Connection="Upgrade, close",
    Upgrade="websocket",
    Sec_WebSocket_Version="13",
)


def read_request(head: bytes) -> Request | Answer:
    """Read the head of a request, without its empty line, by RFC 9112; anything ambiguous is refused.

    Args:
        head: everything before the empty line.
    """
    request_line, *lines = head.split(b"\r\n")
    parts = request_line.split(b" ")
    if len(parts) != 3 or not _METHOD.fullmatch(parts[0]):  # noqa: PLR2004 - method, target, version
        return BAD_REQUEST
    version = _VERSION.fullmatch(parts[2])
    target = _TARGET.fullmatch(parts[1])
    if version is None:
        return BAD_REQUEST
    if version[1] != b"1":
        return _VERSION_1_1
    if target is None or not parts[1]:
        return BAD_REQUEST
    if len(lines) > MAX_FIELDS:
        return TOO_LARGE
    fields: dict[str, list[str]] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            return BAD_REQUEST
        fields.setdefault(found[1].decode().lower(), []).append(found[2].decode("latin-1"))
    minor = int(version[2])
    if len(fields.get("host", [])) != 1 and not (minor == 0 and "host" not in fields):
        return BAD_REQUEST
    lengths = fields.get("content-length", [])
    if "transfer-encoding" in fields or any(length.strip("0") for length in lengths):
        return _NO_BODY
    return Request(parts[0].decode(), (target[1] or b"/").decode(), minor, fields)


def judge(request: Request, config: Config, *, ready: bool, version: str) -> Answer | Upgrade:
    """Decide about a well-formed request.

    Args:
        request: the request.
        config: knows the origins that are allowed.
        ready: whether the relay can store.
        version: the relay's, for /health.
    """
    if request.path != WEBSOCKET_PATH:
        found = _plain(request.path, ready=ready, version=version)
        return found if found is NOT_FOUND or request.method in {"GET", "HEAD"} else not_allowed("GET, HEAD")
    if request.method != "GET":
        return not_allowed("GET")
    if request.minor < 1:
        return _VERSION_1_1
    if "websocket" not in request.words("upgrade") or "upgrade" not in request.words("connection"):
        return _UPGRADE
    if request.only("sec-websocket-version") != "13":
        return _WS_VERSION
    key = request.only("sec-websocket-key")
    if key is None or not _is_key(key):
        return _BAD_KEY
    host = request.only("host") or ""
    if "origin" in request.fields and not _is_page_allowed(request.only("origin"), host, config):
        return ORIGIN_REFUSED
    return Upgrade(key, host, ",".join(request.fields.get("x-forwarded-for", [])))


def _is_page_allowed(origin: str | None, host: str, config: Config) -> bool:
    """Whether a web page may connect; None stands for several origins."""
    names = set(config.public_names) - {ANY}
    return origin is not None and is_origin_allowed(origin, host, names=names, allowed=config.allowed_origins)


def _plain(path: str, *, ready: bool, version: str) -> Answer:
    match path:
        case "/health":
            return Answer(HTTPStatus.OK, {"status": "ok", "version": version})
        case "/ready" if ready:
            return Answer(HTTPStatus.OK, {"status": "ready"})
        case "/ready":
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready"})
        case _:
            return NOT_FOUND


def not_allowed(methods: str) -> Answer:
    """The answer to a method that its path does not have; ``methods`` are those that it has."""
    return _error(HTTPStatus.METHOD_NOT_ALLOWED, "method not allowed", Allow=methods)


def _is_key(key: str) -> bool:
    """RFC 6455 section 4.2.1: base64 that decodes to 16 bytes."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16  # noqa: PLR2004 - the RFC's
    except (binascii.Error, ValueError):
        return False


def rate_limit_key(peer: str, forwarded: str | None, config: Config) -> str:
    """The rate-limit key of a connection: its peer's address, or that of a trusted proxy's client.

    Args:
        peer: the socket's address.
        forwarded: X-Forwarded-For; the rightmost hop that is not one of our proxies counts.
        config: knows the proxies.

    Returns:
        An IPv4 address, or the /64 of an IPv6 address.
    """
    hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
    address = _parse(peer)
    while hops and address is not None and is_proxy(address, config):
        address = _parse(hops.pop())
    if address is None:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_proxy(peer: str | Address, config: Config) -> bool:
    """Whether this is one of our proxies."""
    if not config.trusted_proxies:
        return False
    address = _parse(peer) if isinstance(peer, str) else peer
    return address is not None and any(address in network for network in config.trusted_proxies)


_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]{1,5})?", re.ASCII)


def _parse(text: str) -> Address | None:
    """An address, with or without brackets and a port, as proxies write it."""
    found = _PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((found[1] if found else text).strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
