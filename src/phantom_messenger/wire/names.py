"""Names of relays, host[:port], in one normal form, so that a login, a header and a setting can be compared.

A host has many spellings: capitals, a final dot, other forms of an IPv6 address, letters beyond ASCII (RFC 5890).
What is compared as text must have only one.
"""

import ipaddress
import re
from typing import Final

MAX_HOST_CHARS: Final = 253
"""Length of a domain name (RFC 1035 section 3.1, without its length bytes)."""

MAX_NAME_CHARS: Final = MAX_HOST_CHARS + len(".:65535")

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443, "http": 80, "https": 443}

_SPLIT: Final = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?", re.DOTALL)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)


def split_name(name: str) -> tuple[str, int | None]:
    """The host of a name in its normal form, and the port if there is one.

    Args:
        name: host[:port], as a client dials it; an IPv6 address in brackets.

    Raises:
        ValueError: it cannot be dialled; the message is meant to follow the name.
    """
    if len(name) > MAX_NAME_CHARS:
        raise ValueError("is longer than a domain name can be")
    if any(character.isspace() for character in name):
        raise ValueError("has a space in it; names are separated by commas")
    if "*" in name:
        raise ValueError("has a '*' in it; each name has to be written out")
    if "/" in name:
        raise ValueError("has a '/' in it; a name is neither a URL nor a path")
    found = _SPLIT.fullmatch(name)
    if found is None:
        raise ValueError("is not host or host:port; an IPv6 address stands in brackets")
    return normal_host(found["host"]), None if found["port"] is None else _port(found["port"])


def normal_host(host: str) -> str:
    """A host in its normal form: an address (in brackets if it is IPv6), or a domain name in lower-case ASCII.

    Args:
        host: a domain name, or an address with or without brackets.

    Raises:
        ValueError: as for ``split_name``.
    """
    bare = host[1:-1] if host.startswith("[") else host
    try:
        # '%' is followed by the zone of an IPv6 address (RFC 6874); in any other host it is part of the name.
        address = ipaddress.ip_address(bare.partition("%")[0] if ":" in bare else bare)
    except ValueError:
        return _domain(host)
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.compressed}]"
    return str(address) if bare == host else _domain(host)


def join_name(host: str, port: int | None) -> str:
    """The inverse of ``split_name``."""
    return host if port is None else f"{host}:{port}"


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:  # noqa: PLR2004 - 16 bits
        raise ValueError("has no port from 1 to 65535")
    return int(text)


def _domain(host: str) -> str:
    try:
        written = host.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        written = ""
    if len(written) > MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in written.split(".")):
        raise ValueError("is not a host name")
    return written
