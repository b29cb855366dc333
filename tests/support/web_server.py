"""A server of pages that may be honest or not."""

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from phantom_messenger.web.files import PageFile
from phantom_messenger.web.headers import security_headers
from support.relay_process import patched

_CHEAP: Final = """
from dataclasses import replace
from phantom_messenger.web import files

genuine = files.load

def load():
    found = genuine()
    cost, cheap = b"memoryKib:65536,passes:3,lanes:4", b"memoryKib:64,passes:1,lanes:4"
    assert sum(file.content.count(cost) for file in found) == 1
    return tuple(replace(file, content=file.content.replace(cost, cheap)) for file in found)

files.load = load
"""

QUICK_PAGE: Final = patched(_CHEAP)
"""The command of a relay whose page stretches a passphrase in no time, where it takes seconds."""


@dataclass
class Served:
    """What a server answers at a path."""

    body: bytes
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    is_packed: bool = False
    cut: int = 0
    """How many bytes of what was promised are never sent."""


Table = dict[str, Served]


def table_of(files: Iterable[PageFile], fields: Mapping[str, str] | None = None) -> Table:
    """A table that serves these files as it should."""
    given = security_headers() if fields is None else fields
    return {
        file.path: Served(file.content, fields={**given, "Content-Type": file.media_type}, is_packed=True)
        for file in files
    }


@contextmanager
def serving(
    table: Table,
    seen: Callable[[BaseHTTPRequestHandler], None] = lambda _: None,
    more: Callable[[str], Iterable[tuple[str, str]]] = lambda _: (),
) -> Iterator[str]:
    """Serve a table; yields its URL.

    Args:
        table: may be changed meanwhile.
        seen: is given each request.
        more: header fields to add to those of a path.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen(self)
            found = table.get(self.path, Served(b"not found", 404))
            body = gzip.compress(found.body) if found.is_packed else found.body
            self.send_response(found.status)
            for name, value in (*found.fields.items(), *more(self.path)):
                self.send_header(name, value)
            if found.is_packed:
                self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body) + found.cut))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
