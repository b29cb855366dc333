"""The relay's public names, for which logins are signed, and the web pages that may connect.

A relay that passes a client's login on can write any header, so a name is never taken from one: it is configured,
or it is the address that the relay listens on.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from phantom_messenger.wire.names import DEFAULT_PORTS, join_name, split_name

ANY: Final = "any"
"""The setting that trusts the Host header."""

_ORIGIN: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<place>.*)", re.IGNORECASE | re.DOTALL | re.ASCII)
_LOOPBACK: Final = {"127.0.0.1", "::1"}


def normal_name(name: str) -> str:
    """A name in the form in which names are compared.

    Clients leave out the default port, which is 80 or 443 whatever a proxy turns it into, so both are left out here.

    Raises:
        ValueError: no client can dial it; the message continues a sentence that starts with the name.
    """
    host, port = split_name(name)
    return join_name(host, None if port in DEFAULT_PORTS.values() else port)


def normal_or_none(name: str) -> str | None:
    """As ``normal_name``, for input from a peer: None if it is not a name."""
    try:
        return normal_name(name)
    except ValueError:
        return None


def normal_origin(origin: str) -> str:
    """A web page's origin in the form in which origins are compared (RFC 6454 section 6.2): ``null``, or scheme://host[:port].

    Raises:
        ValueError: no browser sends it; the message continues a sentence that starts with the origin.
    """
    if origin.lower() == "null":
        return "null"
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise ValueError("has no scheme; an origin looks like https://chat.example.org")
    scheme, place = found["scheme"].lower(), found["place"]
    if "/" in place:
        raise ValueError("has a '/' behind the host; browsers send origins without one")
    if scheme not in DEFAULT_PORTS:  # an application's own, where a host is any word
        if "*" in place or any(character.isspace() for character in place):
            raise ValueError("has a '*' or a space in it; each origin has to be written out")
        return f"{scheme}://{place.lower()}"
    host, port = split_name(place)
    return f"{scheme}://{join_name(host, None if port == DEFAULT_PORTS[scheme] else port)}"


def is_origin_allowed(origin: str | None, host: str, *, names: Iterable[str], allowed: Iterable[str]) -> bool:
    """Whether a web page may connect.

    Args:
        origin: the Origin header; None if there is none: then it is not a web page.
        host: the Host header. A page of the same host is the relay's own.
        names: the relay's own, normalised; a proxy may have written another Host.
        allowed: other origins that are allowed, normalised.
    """
    if origin is None:
        return True
    try:
        page = normal_origin(origin.strip())
    except ValueError:
        return False
    if page in allowed:
        return True
    scheme, _, place = page.partition("://")
    own = normal_or_none(place) if scheme in DEFAULT_PORTS else None
    return own is not None and (own == normal_or_none(host) or own in names)


def names_of(addresses: Iterable[tuple[str, int]]) -> frozenset[str]:
    """The names of a relay without configured ones: the addresses that it listens on, and ``localhost``."""
    found = set()
    for host, port in addresses:
        found.add(normal_name(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
        if host in _LOOPBACK:
            found.add(normal_name(f"localhost:{port}"))
    return frozenset(found)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
