"""What the relay answers to plain HTTP, and who may open a WebSocket.

Only what the handshake needs to know: paths, origins, and whose address counts.
"""

import ipaddress
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from phantom_messenger.relay.config import Config

WEBSOCKET_PATH: Final = "/ws"


class Answer(NamedTuple):
    """A whole HTTP response."""

    status: HTTPStatus
    body: bytes
    content_type: str = "application/json"


def answer(path: str, *, ready: bool, version: str) -> Answer:
    """The response to a GET that is not for the WebSocket."""
    match path:
        case "/health":
            return Answer(HTTPStatus.OK, _json({"status": "ok", "version": version}))
        case "/ready" if ready:
            return Answer(HTTPStatus.OK, _json({"status": "ready"}))
        case "/ready":
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, _json({"status": "not ready"}))
        case _:
            return Answer(HTTPStatus.NOT_FOUND, _json({"error": "not found"}))


def is_origin_allowed(origin: str | None, host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a page of this origin may connect: none (not a browser), the same host, or a listed one."""
    if origin is None:
        return True
    written = origin.strip().lower()
    try:
        place = urlsplit(written).netloc
    except ValueError:
        return False
    return written in allowed or place == host.lower() != ""


def party_of(peer: str, forwarded: str | None, config: Config) -> str:
    """The address that limits count: the peer's, or what a trusted proxy says of its client.

    Args:
        peer: the socket's address.
        forwarded: X-Forwarded-For, of which the rightmost hop that is no proxy of ours counts.
        config: knows the proxies.

    Returns:
        An IPv4 address, or the /64 of an IPv6 address.
    """
    hops = [hop.strip() for hop in (forwarded or "").split(",") if hop.strip()]
    address = _parse(peer)
    while hops and address is not None and any(address in network for network in config.trusted_proxies):
        address = _parse(hops.pop())
    if address is None:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def header_tokens(headers: Mapping[str, str], name: str) -> list[str]:
    """The comma-separated words of a header, lower case."""
    return [word.strip().lower() for word in headers.get(name, "").split(",")]


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"
