"""The page in the browser, as the relay answers it: a fixed table of paths, each with its bytes and header fields.

Nothing of a request becomes the name of a file. What can be compressed was compressed at the start.
"""

import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from phantom_messenger.relay.http import Answer, Request, not_allowed, response_head
from phantom_messenger.web.files import INDEX, PageFile
from phantom_messenger.web.headers import ASK_FIRST, FOREVER, HSTS, security_headers

_ETAG_CHARS: Final = 32
_OF_CONTENT: Final = {"Content-Type", "Content-Length", "Content-Encoding"}
_NO_PAGE: Final = (
    b"This is a relay of Phantom Messenger. It serves no page for browsers: ask the people who run it for the address "
    b"of theirs, or write with the command line, 'phantom'.\n"
)
_NOT_ACCEPTABLE: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class FileAnswer:
    """A complete response with a file, after which the connection closes."""

    status: HTTPStatus
    fields: Mapping[str, str]
    body: bytes

    def head(self) -> bytes:
        """What comes before the body. All answers share one body: it is not copied."""
        return response_head(self.status, {"Date": formatdate(usegmt=True), **self.fields})


@dataclass(frozen=True, slots=True)
class _Variant:
    """One encoding of a file, and the fields that say so."""

    body: bytes
    tag: str
    fields: Mapping[str, str]


class Page:
    """Answers the requests for the page.

    Args:
        files: what there is; nothing if the relay serves no page.
        is_https: whether it is the host's own site, TLS on port 443. Browsers then use TLS for every port of that
            host (RFC 6797 section 8.3), which is not for a relay on another port to decide.
    """

    def __init__(self, files: Iterable[PageFile] = (), *, is_https: bool = False) -> None:
        common = {**security_headers(), **({"Strict-Transport-Security": HSTS} if is_https else {})}
        self._variants = {file.path: _variants(file, common) for file in files}

    def answer(self, request: Request) -> FileAnswer | Answer | None:
        """Answer a request, or return None if its path is not one of the page's."""
        variants = self._variants.get(request.path)
        if variants is None:
            is_missed = not self._variants and request.path == INDEX and "text/html" in request.words("accept")
            return _no_page(request) if is_missed and request.method in {"GET", "HEAD"} else None
        if request.method not in {"GET", "HEAD"}:
            return not_allowed("GET, HEAD")
        variant = variants[-1 if _accepts_gzip(request) else 0]
        if _has(request, variant.tag):
            return FileAnswer(HTTPStatus.NOT_MODIFIED, _without_content(variant.fields), b"")
        return FileAnswer(HTTPStatus.OK, variant.fields, b"" if request.method == "HEAD" else variant.body)


def _no_page(request: Request) -> FileAnswer:
    """For somebody who opens the address of a relay without a page: a sentence instead of JSON."""
    fields = {
        "Content-Type": "text/plain; charset=utf-8",
        "Content-Length": str(len(_NO_PAGE)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    return FileAnswer(HTTPStatus.NOT_FOUND, fields, b"" if request.method == "HEAD" else _NO_PAGE)


def _variants(file: PageFile, common: Mapping[str, str]) -> tuple[_Variant, ...]:
    """The file as it is, and compressed if that makes it smaller."""
    tag = file.digest[:_ETAG_CHARS]
    fields = {
        **common,
        "Content-Type": file.media_type,
        "Cache-Control": FOREVER if file.is_named_by_hash else ASK_FIRST,
        "Connection": "close",
    }
    packed = gzip.compress(file.content, mtime=0)
    if len(packed) >= len(file.content):
        return (_variant(file.content, f'"{tag}"', fields),)
    fields["Vary"] = "Accept-Encoding"
    return (
        _variant(file.content, f'"{tag}"', fields),
        _variant(packed, f'"{tag}-gzip"', {**fields, "Content-Encoding": "gzip"}),
    )


def _variant(body: bytes, tag: str, fields: Mapping[str, str]) -> _Variant:
    return _Variant(body, tag, {**fields, "Content-Length": str(len(body)), "ETag": tag})


def _without_content(fields: Mapping[str, str]) -> dict[str, str]:
    """RFC 9110 section 15.4.5: what 304 leaves out is what the client has."""
    return {name: text for name, text in fields.items() if name not in _OF_CONTENT}


def _accepts_gzip(request: Request) -> bool:
    """RFC 9110 section 12.5.3; a client that sends no such field gets the file as it is."""
    for word in request.words("accept-encoding"):
        coding, _, weight = word.partition(";")
        if coding.strip() in {"gzip", "x-gzip"}:
            return not _NOT_ACCEPTABLE.fullmatch(weight)
    return False


def _has(request: Request, tag: str) -> bool:
    """Whether the client has this already: If-None-Match, compared weakly (RFC 9110 section 13.1.2)."""
    words = [word.removeprefix("w/") for word in request.words("if-none-match")]
    return tag in words or "*" in words
