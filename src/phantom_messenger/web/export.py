"""The page for another host than its relay: files, and settings of servers that send the same header fields."""

import html
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from phantom_messenger.web.files import INDEX, PageFile
from phantom_messenger.web.headers import ASK_FIRST, FOREVER, HSTS, security_headers

_RELAY: Final = re.compile(rb'(<meta name="phantom-relay" content=")(" />)')
_TEXTS: Final = "text/css text/javascript application/javascript image/svg+xml application/manifest+json text/plain"


def for_relay(files: Iterable[PageFile], relay: str) -> tuple[PageFile, ...]:
    """The same files, with a page that connects to a relay elsewhere.

    Args:
        files: as a relay serves them.
        relay: its URL, ``wss://chat.example.org/ws``.

    Raises:
        ValueError: the page has no place for it.
    """
    return tuple(_naming(file, relay) if file.path == INDEX else file for file in files)


def _naming(index: PageFile, relay: str) -> PageFile:
    written = html.escape(relay).encode()
    content, count = _RELAY.subn(lambda found: found[1] + written + found[2], index.content)
    if count != 1:
        raise ValueError("index.html has no place for the address of a relay")
    return replace(index, content=content)


def _quoted(folder: str) -> str:
    """As one word in the settings of either server, also with spaces in it."""
    return '"' + folder.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx(folder: str, connect: str) -> str:
    """What nginx needs in the ``server`` of the page.

    Args:
        folder: where the files are.
        connect: the origin of the relay.
    """
    fields = security_headers(connect) | {"Strict-Transport-Security": HSTS}
    # nginx drops the fields of a block as soon as one inside has some.
    common = "".join(f'    add_header {name} "{value}" always;\n' for name, value in fields.items())
    return (
        "# For a server block with TLS.\n"
        f"root {_quoted(folder)};\n"
        "gzip on;\n"
        f"gzip_types {_TEXTS};\n"
        "gzip_vary on;\n\n"
        f'location / {{\n    index index.html;\n    add_header Cache-Control "{ASK_FIRST}" always;\n{common}}}\n\n'
        "location = /manifest.webmanifest {\n    types { }\n    default_type application/manifest+json;\n"
        f'    add_header Cache-Control "{ASK_FIRST}" always;\n{common}}}\n\n'
        f'location /assets/ {{\n    add_header Cache-Control "{FOREVER}";\n{common}}}\n'
    )


def caddy(folder: str, connect: str) -> str:
    """What Caddy needs in the site of the page; arguments as for ``nginx``."""
    fields = security_headers(connect) | {"Strict-Transport-Security": HSTS}
    common = "".join(f'\t{name} "{value}"\n' for name, value in fields.items())
    return (
        "# For the block of a site.\n"
        f"root * {_quoted(folder)}\n"
        "encode gzip\n"
        f"header {{\n{common}}}\n"
        f'header /assets/* Cache-Control "{FOREVER}"\n'
        "header /manifest.webmanifest Content-Type application/manifest+json\n"
        f'header ?Cache-Control "{ASK_FIRST}"\n'
        "file_server\n"
    )
