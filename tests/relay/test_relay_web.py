"""The page as the relay answers it: a fixed table, with the header fields that keep browsers strict."""

import gzip
import re
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Final

import pytest

from phantom_messenger.relay import http
from phantom_messenger.relay.page import FileAnswer, Page
from phantom_messenger.web.files import PageFile, load
from phantom_messenger.web.headers import security_headers
from support.certificates import self_signed
from support.raw_socket import TEXT, RawSocket
from support.relay_process import RelayProcess, StartRelay

SCRIPT: Final = b"one(1);" * 1_000
FILES: Final = (
    PageFile("/", "index.html", b"<!doctype html>" + b" " * 100),
    PageFile("/assets/app.0123456789abcdef.js", "assets/app.0123456789abcdef.js", SCRIPT),
    PageFile("/icon.png", "icon.png", b"\x89PNG"),
)
PAGE: Final = Page(FILES)
SCRIPT_PATH: Final = FILES[1].path


def asked(path: str, *fields: str, method: str = "GET", page: Page = PAGE) -> FileAnswer | http.Answer | None:
    request = http.read_request("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *fields]).encode())
    assert isinstance(request, http.Request)
    return page.answer(request)


def file(path: str, *fields: str, method: str = "GET", page: Page = PAGE) -> FileAnswer:
    found = asked(path, *fields, method=method, page=page)
    assert isinstance(found, FileAnswer)
    return found


# --- what is there ----------------------------------------------------------------


def test_file_is_answered_as_it_is() -> None:
    found = file(SCRIPT_PATH)
    assert (found.status, found.body) == (200, SCRIPT)
    assert found.fields["Content-Type"] == "text/javascript; charset=utf-8"
    assert "Content-Encoding" not in found.fields
    head = found.head()
    assert head.endswith(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
    assert f"\r\nContent-Length: {len(SCRIPT)}\r\n".encode() in head
    assert b"\r\nConnection: close\r\n" in head


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/assets",
        "/assets/",
        "/assets/../icon.png",
        "/assets/%61pp.0123456789abcdef.js",
        "//icon.png",
        "/ICON.PNG",
        "/icon.png/",
        "/../relay/http.py",
        "/__init__.py",
    ],
)
def test_nothing_else_is_there(path: str) -> None:
    assert asked(path) is None


def test_query_is_ignored() -> None:
    assert file("/?utm=1").body == FILES[0].content


def test_page_of_no_files_answers_nothing() -> None:
    assert asked("/", page=Page()) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS", "get"])
def test_page_is_only_read(method: str) -> None:
    found = asked("/", method=method)
    assert isinstance(found, http.Answer)
    assert (found.status, found.fields) == (405, {"Allow": "GET, HEAD"})


def test_head_is_answered_as_get_without_the_body() -> None:
    found, whole = file("/", "Accept-Encoding: gzip", method="HEAD"), file("/", "Accept-Encoding: gzip")
    assert found.body == b""
    assert found.fields == whole.fields
    assert found.fields["Content-Length"] == str(len(whole.body))


# --- compression ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q = 0.000", False),
        ("br", False),
        ("*", False),
        ("", False),
        ("gzipped", False),
    ],
)
def test_file_is_compressed_for_those_who_accept_it(accepted: str, is_packed: bool) -> None:
    found = file(SCRIPT_PATH, f"Accept-Encoding: {accepted}")
    assert (found.fields.get("Content-Encoding") == "gzip") == is_packed
    assert (gzip.decompress(found.body) if is_packed else found.body) == SCRIPT
    assert found.fields["Content-Length"] == str(len(found.body))
    assert found.fields["Vary"] == "Accept-Encoding"


def test_file_that_does_not_shrink_is_left_alone() -> None:
    found = file("/icon.png", "Accept-Encoding: gzip")
    assert found.body == b"\x89PNG"
    assert not {"Content-Encoding", "Vary"} & found.fields.keys()


# --- caching ----------------------------------------------------------------------


def test_name_with_a_hash_is_kept_forever_and_all_others_are_asked_for() -> None:
    assert file(SCRIPT_PATH).fields["Cache-Control"] == "public, max-age=31536000, immutable"
    assert {file(path).fields["Cache-Control"] for path in ("/", "/icon.png")} == {"no-cache"}


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {} , "y"', "*"])
def test_what_a_client_has_is_not_sent_again(encoding: str, form: str) -> None:
    whole = file("/", f"Accept-Encoding: {encoding}")
    found = file("/", f"Accept-Encoding: {encoding}", f"If-None-Match: {form.format(whole.fields['ETag'])}")
    assert (found.status, found.body) == (304, b"")
    assert found.fields["ETag"] == whole.fields["ETag"]
    assert "Content-Length" not in found.fields
    assert security_headers().items() <= found.fields.items()


def test_tags_differ_by_content_and_encoding() -> None:
    tags = [
        file(path, f"Accept-Encoding: {encoding}").fields["ETag"]
        for path in ("/", SCRIPT_PATH)
        for encoding in ("gzip", "identity")
    ]
    assert len(set(tags)) == 4
    found = file("/", "Accept-Encoding: gzip", f"If-None-Match: {tags[1]}, {tags[2]}")
    assert found.status == 200


# --- header fields ----------------------------------------------------------------


def test_every_answer_keeps_browsers_strict() -> None:
    for found in (file("/"), file(SCRIPT_PATH), file("/icon.png", method="HEAD")):
        assert security_headers().items() <= found.fields.items()
        assert "Strict-Transport-Security" not in found.fields
    policy = dict(part.split(" ", 1) for part in security_headers()["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["worker-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "phantom"
    assert "unsafe" not in str(policy)


def test_relay_with_tls_asks_for_tls_from_then_on() -> None:
    assert file("/", page=Page(FILES, is_https=True)).fields["Strict-Transport-Security"] == "max-age=31536000"


# --- a real relay -----------------------------------------------------------------


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProcess]:
    """A relay that serves no page."""
    process = RelayProcess(tmp_path_factory.mktemp("without"), "--web", "off")
    yield process
    process.stop()


def test_relay_serves_the_page_that_it_was_installed_with(relay: RelayProcess) -> None:
    files = load()
    assert files
    for one in files:
        with RawSocket(relay.address) as raw:
            raw.send(f"GET {one.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            found = raw.response()
            assert (found.status, found.body) == (200, one.content)
            assert f"content-type: {one.media_type}" in found.head.lower()
            assert raw.is_at_end()
    [index] = [one for one in files if one.path == "/"]
    with RawSocket(relay.address) as raw:
        raw.send(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        assert gzip.decompress(raw.response().body) == index.content


def test_what_else_a_relay_answers_is_the_same_with_and_without_a_page(
    relay: RelayProcess, without: RelayProcess
) -> None:
    for request in (
        "GET /health",
        "HEAD /health",
        "GET /ready",
        "GET /ws",
        "POST /ws",
        "GET /nowhere",
        "GET /assets/",
        "GET /web/files.py",
        "POST /nowhere",
    ):
        answers = []
        for one in (relay, without):
            with RawSocket(one.address) as raw:
                raw.send(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                found = raw.response(bodiless=request.startswith("HEAD"))
                assert raw.is_at_end()
                answers.append((found.status, re.sub("Date: .*", "", found.head), found.body))
        assert answers[0] == answers[1], request


def test_web_off_serves_no_page(without: RelayProcess) -> None:
    for file_ in load():
        with RawSocket(without.address) as raw:
            raw.send(f"GET {file_.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            found = raw.response()
            assert (found.status, found.body) == (404, b'{"error": "not found"}\n')


def test_web_off_answers_people_with_a_sentence(without: RelayProcess, relay: RelayProcess) -> None:
    accepts = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for method in ("GET", "HEAD"):
        with RawSocket(without.address) as raw:
            raw.send(f"{method} / HTTP/1.1\r\nHost: x\r\n{accepts}\r\n\r\n".encode())
            found = raw.response(bodiless=method == "HEAD")
            assert found.status == 404
            assert "\r\nContent-Type: text/plain; charset=utf-8\r\n" in found.head
            assert found.body.startswith(
                b"" if method == "HEAD" else b"This is a relay of Phantom Messenger. It serves no"
            )
            assert raw.is_at_end()
    for address, path in ((without.address, "/nowhere"), (relay.address, "/nowhere"), (without.address, "/health")):
        with RawSocket(address) as raw:
            raw.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n{accepts}\r\n\r\n".encode())
            assert b"relay of Phantom" not in raw.response().body


def test_page_may_connect_to_the_relay_that_served_it(relay: RelayProcess) -> None:
    for host in ("127.0.0.1", "localhost"):
        here = f"{host}:{relay.port}"
        with RawSocket(relay.address) as raw:
            assert raw.upgrade([("Host", here), ("Origin", f"http://{here}")]).status == 101
            assert raw.read().opcode == TEXT
    with RawSocket(relay.address) as raw:
        assert raw.upgrade([("Origin", "http://127.0.0.1")]).status == 403


def test_page_comes_over_tls_too(start_relay: StartRelay, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path / "tls")
    relay = start_relay("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    for one in load():
        connection = HTTPSConnection(*relay.address, context=certificate.trust(), timeout=60)
        connection.request("GET", one.path, headers={"Accept-Encoding": "identity"})
        found = connection.getresponse()
        assert (found.status, found.read()) == (200, one.content)
        assert "Strict-Transport-Security" not in found.headers, "its port is not the site's own"
        connection.close()
    assert relay.doubts == []


def test_intro_names_the_page_if_there_is_one(start_relay: StartRelay) -> None:
    relay = start_relay("--intro")
    found = read_until(relay, "Stop the relay")
    assert f"Open http://127.0.0.1:{relay.port}/ in a browser" in found
    without = start_relay("--intro", "--web", "off")
    found = read_until(without, "Stop the relay")
    assert "in a browser" not in found
    assert f"phantom init -p alice --server {without.url}" in found


def read_until(relay: RelayProcess, words: str) -> str:
    """What a relay prints, up to the line that begins with these words."""
    process = relay._process
    assert process is not None
    assert process.stdout is not None
    found = ""
    for line in process.stdout:
        found += line
        if line.startswith(words):
            return found
    raise AssertionError(found)
