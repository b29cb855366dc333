"""Files of a page, fetched from whoever serves it, as a browser would: nothing is followed, and nothing is endless."""

import http.client
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

MAX_BYTES: Final = 16 * 1_048_576
"""Of one file, as sent and unpacked: over a hundred times what the page has."""

SECONDS: Final = 20.0
"""For a connection and for each silence in it."""

WHOLE_SECONDS: Final = 120.0
"""For one file."""

_AS_A_BROWSER: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "*/*",
    "Accept-Encoding": "gzip",
    "Accept-Language": "en",
    "Cache-Control": "no-cache",
}
_GZIP: Final = 16 + zlib.MAX_WBITS
_PIECE: Final = 65_536


class NotFetched(Exception):
    """There is no answer, or none that can be read; the message continues a sentence that starts with the URL."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: its status, all header fields in order, and its content, unpacked."""

    status: int
    fields: tuple[tuple[str, str], ...]
    content: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for field, value in self.fields if field.lower() == name.lower()]


class Site:
    """A place that serves a page.

    Args:
        url: its address, ``https://host[:port]/`` or with a folder behind it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder = parts.path.rstrip("/")
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = connect(parts.hostname or "", parts.port, timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str) -> Fetched:
        """Fetch one file.

        Args:
            path: below the site, beginning with ``/``.

        Raises:
            NotFetched: see there.
        """
        try:
            self._connection.connect()
            with _limited(self._connection.sock):
                self._connection.request("GET", self._folder + path, headers=_AS_A_BROWSER)
                with self._connection.getresponse() as response:
                    content = _read(response)
        except TimeoutError:
            raise NotFetched("does not answer in time") from None
        except OSError as error:
            raise NotFetched(f"cannot be reached: {error.strerror or type(error).__name__}") from None
        except http.client.HTTPException as error:
            raise NotFetched(f"does not speak HTTP ({type(error).__name__})") from None
        finally:
            self._connection.close()
        return Fetched(response.status, tuple(response.getheaders()), _unpacked(response, content))


@contextmanager
def _limited(opened: socket.socket) -> Iterator[None]:
    """Cut a connection that goes on for too long, however short each silence is; it may be one header after another.

    Raises:
        TimeoutError: it was cut.
    """
    is_cut = threading.Event()

    def cut() -> None:
        is_cut.set()
        with suppress(OSError):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)  # below TLS, which another thread is reading from

    timer = threading.Timer(WHOLE_SECONDS, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, NotFetched):
        if not is_cut.is_set():
            raise
    finally:
        timer.cancel()
    if is_cut.is_set():
        raise TimeoutError


def _read(response: http.client.HTTPResponse) -> bytes:
    content = b""
    while part := response.read1(_PIECE):
        content += part
        if len(content) > MAX_BYTES:
            raise NotFetched("sends more than a page can have")
    expected = response.getheader("Content-Length")
    if expected is not None and expected != str(len(content)):
        raise NotFetched("ends in the middle of an answer")
    return content


def _unpacked(response: http.client.HTTPResponse, content: bytes) -> bytes:
    match response.getheader("Content-Encoding", "identity").lower():
        case "identity":
            return content
        case "gzip" | "x-gzip":
            unpack = zlib.decompressobj(_GZIP)
            try:
                found = unpack.decompress(content, MAX_BYTES)
            except zlib.error:
                raise NotFetched("sends gzip that is damaged") from None
            if not unpack.eof or unpack.unused_data:
                raise NotFetched("sends gzip that is damaged, or more than a page can have")
            return found
        case _:
            raise NotFetched("sends an encoding that nobody has asked for")
