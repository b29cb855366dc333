"""``phantom web verify``: whatever is not the page of this release is noticed, and named."""

import gzip
import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from phantom_messenger import __version__
from phantom_messenger.cli.web import web
from phantom_messenger.web import fetch
from phantom_messenger.web.export import for_relay
from phantom_messenger.web.files import PageFile, load, page_hash
from phantom_messenger.web.headers import security_headers
from support.command_line import phantom
from support.relay_process import RelayProcess
from support.web_server import Served, Table, serving, table_of

FILES: Final = load()
RELAY: Final = "wss://chat.example.org/ws"
CODE: Final = next(file for file in FILES if file.name.startswith("assets/app."))
LARGE: Final = max(FILES, key=lambda file: len(file.content))
Change = Callable[[Table], object]


def verify(*arguments: str) -> Result:
    return CliRunner().invoke(web, ["verify", *arguments])


def verified(change: Change, *arguments: str) -> Result:
    """What is said of a server that is honest but for a change."""
    table = table_of(FILES)
    change(table)
    with serving(table) as url:
        return verify(url, *arguments)


def test_page_of_this_release_is_the_same(tmp_path: Path, relay: RelayProcess) -> None:
    for url in (f"http://127.0.0.1:{relay.port}", relay.url):
        found = phantom(tmp_path, "web", "verify", url)
        assert (found.returncode, found.stderr) == (0, "")
        first, second = found.stdout.splitlines()
        assert first == f"http://127.0.0.1:{relay.port}/ is the same as release {__version__} ({len(FILES)} files)"
        assert second == f"page {page_hash(FILES)}"


def test_server_that_does_not_compress_is_the_same() -> None:
    table = table_of(FILES)
    for one in table.values():
        one.is_packed = False
    with serving(table) as url:
        found = verify(url)
    assert (found.exit_code, found.stderr) == (0, "")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_one_byte_in_any_file_is_noticed(file: PageFile) -> None:
    at = len(file.content) // 2
    content = bytearray(file.content or b"x")
    content[at] ^= 1
    found = verified(served_as(file.path, body=bytes(content)))
    assert found.exit_code == 1
    first, second = found.stdout.splitlines()
    assert first.endswith(f" is not the page of release {__version__}:")
    assert second.startswith(f"  {file.name} is another one from byte {at:,} on ")


def served_as(path: str, **changes: Any) -> Change:
    def change(table: Table) -> None:
        table[path] = replace(table[path], **changes)

    return change


def with_field(name: str, value: str | None) -> Change:
    def change(table: Table) -> None:
        for one in table.values():
            one.fields.pop(name, None)
            if value is not None:
                one.fields[name] = value

    return change


def with_type(path: str, value: str | None) -> Change:
    def change(table: Table) -> None:
        del table[path].fields["Content-Type"]
        if value is not None:
            table[path].fields["Content-Type"] = value

    return change


FIELDS: Final = security_headers()
OTHERS: Final = f"LICENSES.txt and {len(FILES) - 1} other files"
POLICY: Final = FIELDS["Content-Security-Policy"]
CHANGES: Final[dict[str, tuple[Change, str]]] = {
    "more behind": (
        served_as(CODE.path, body=CODE.content + b"!"),
        f"{CODE.name} is another one from byte {len(CODE.content):,} on "
        f"({len(CODE.content) + 1:,} bytes instead of {len(CODE.content):,})",
    ),
    "less": (served_as("/", body=b""), "index.html is another one from byte 0 on (0 bytes instead of "),
    "missing": (lambda table: table.pop(CODE.path), f"{CODE.name} is not there (HTTP 404)"),
    "elsewhere": (
        served_as("/", status=302, fields={"Location": "https://evil.test/"}),
        "index.html is not there (HTTP 302, to https://evil.test/)",
    ),
    "cut off": (served_as(CODE.path, cut=5), f"{CODE.name} ends in the middle of an answer"),
    "odd encoding": (
        served_as("/", is_packed=False, fields={"Content-Encoding": "br"}),
        "index.html sends an encoding that nobody has asked for",
    ),
    "damaged gzip": (
        served_as("/", is_packed=False, body=gzip.compress(b"x")[:-4], fields={"Content-Encoding": "gzip"}),
        "index.html sends gzip that is damaged",
    ),
    "no gzip": (
        served_as("/", is_packed=False, fields={"Content-Encoding": "gzip"}),
        "index.html sends gzip that is damaged",
    ),
    "a bomb": (
        served_as("/", body=bytes(fetch.MAX_BYTES + 1)),
        "index.html sends gzip that is damaged, or more than a page can have",
    ),
    "no policy": (with_field("Content-Security-Policy", None), f"without Content-Security-Policy: {OTHERS}"),
    "a weaker policy": (
        with_field("Content-Security-Policy", POLICY.replace("'none'", "*")),
        "with Content-Security-Policy default-src *;",
    ),
    "no isolation": (with_field("Cross-Origin-Opener-Policy", None), f"without Cross-Origin-Opener-Policy: {OTHERS}"),
    "a camera for all": (with_field("Permissions-Policy", "camera=*"), f"with Permissions-Policy camera=*: {OTHERS}"),
    "a style": (with_field("Link", "</x.css>; rel=stylesheet"), "with Link </x.css>; rel=stylesheet: "),
    "a loss": (with_field("Clear-Site-Data", '"storage"'), 'with Clear-Site-Data "storage": '),
    "text instead of a page": (
        with_type("/", "text/plain; charset=utf-8"),
        "with Content-Type text/plain; charset=utf-8: index.html",
    ),
    "no type": (with_type(CODE.path, None), f"without Content-Type: {CODE.name}"),
    "another reading": (
        with_type("/", "text/html; Charset=UTF-7"),
        "with Content-Type text/html; Charset=UTF-7: index.html",
    ),
    "a way out": (with_field("Refresh", "0; https://evil.test/"), "with Refresh 0; https://evil.test/"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
def test_difference_is_named(change: Change, said: str) -> None:
    found = verified(change)
    assert found.exit_code == 1
    assert f"\n  {said}" in found.stdout
    assert len(found.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/", "text/html"),
        ("/", 'Text/HTML;charset="UTF-8"'),
        (CODE.path, "application/javascript"),
        (CODE.path, "application/x-javascript; charset=utf-8"),
    ],
)
def test_type_that_browsers_treat_alike_is_the_same(path: str, value: str) -> None:
    found = verified(with_type(path, value))
    assert (found.exit_code, found.stderr) == (0, "")


def test_policy_that_a_proxy_adds_makes_it_no_weaker() -> None:
    with serving(table_of(FILES), more=lambda _: [("Content-Security-Policy", "img-src 'none'")]) as url:
        assert verify(url).exit_code == 0


def test_another_release_is_named() -> None:
    def change(table: Table) -> None:
        table["/"].body = b"newer"
        table["/health"] = Served(b'{"status": "ok", "version": "9.9.9"}')

    found = verified(change)
    assert found.stdout.splitlines()[-1] == (
        "it says that it is release 9.9.9: compare it with 'phantom' of that release"
    )
    machine = json.loads(verified(change, "--json").stdout)
    assert (machine["same"], machine["servedVersion"]) == (False, "9.9.9")


def test_what_a_server_sends_cannot_write_to_the_terminal() -> None:
    def change(table: Table) -> None:
        table["/"].fields["Permissions-Policy"] = "\x1b[31mred"
        table["/health"] = Served(b'{"version": "\\u001b[2J"}')

    found = verified(change)
    assert found.exit_code == 1
    assert "\x1b" not in found.stdout


def test_json_has_every_file() -> None:
    found = json.loads(verified(lambda table: table.pop(CODE.path), "--json").stdout)
    assert (found["type"], found["same"], found["version"]) == ("web", False, __version__)
    assert found["page"] == page_hash(FILES)
    by_name = {file["name"]: file for file in found["files"]}
    assert by_name.keys() == {file.name for file in FILES}
    assert by_name[CODE.name]["outcome"] == "missing"
    assert by_name["index.html"]["found"] == by_name["index.html"]["expected"]
    assert json.loads(verified(lambda _: None, "--json").stdout)["same"] is True


def test_exported_page_is_compared_with_what_was_exported() -> None:
    fields = security_headers("wss://chat.example.org")
    with serving(table_of(for_relay(FILES, RELAY), fields)) as url:
        assert verify(url, "--relay", "wss://chat.example.org").exit_code == 0
        assert verify(url, "--relay", "wss://evil.test").exit_code == 1
        assert verify(url).exit_code == 1


def test_page_in_a_folder_of_a_host_is_found() -> None:
    with serving({f"/chat{path}": one for path, one in table_of(FILES).items()}) as url:
        assert verify(f"{url}chat").exit_code == 0
        assert verify(f"{url}chat/").exit_code == 0
        assert verify(url).exit_code == 1


def test_it_asks_as_a_browser_does() -> None:
    seen: list[str] = []

    def look(request: BaseHTTPRequestHandler) -> None:
        seen.append(str(request.headers))

    with serving(table_of(FILES), look) as url:
        assert verify(url).exit_code == 0
    assert len(seen) == len(FILES)
    assert not re.search("python|phantom|urllib", "".join(seen), re.IGNORECASE)


def test_nobody_there_is_one_sentence() -> None:
    found = verify("http://127.0.0.1:1/")
    assert (found.exit_code, found.stdout) == (1, "http://127.0.0.1:1/ cannot be reached: Connection refused\n")
    assert json.loads(verify("http://127.0.0.1:1/", "--json").stdout)["files"][0]["outcome"] == "unreadable"


def test_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", len(LARGE.content) - 1)
    found = verified(served_as(LARGE.path, is_packed=False))
    assert f"{LARGE.name} sends more than a page can have" in found.stdout


@pytest.mark.parametrize(
    "part", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nx"]
)
def test_answer_that_goes_on_and_on_is_given_up(monkeypatch: pytest.MonkeyPatch, part: bytes) -> None:
    """No silence in it is long, and it may never come to a body."""
    monkeypatch.setattr(fetch, "WHOLE_SECONDS", 3.0)

    def drip(request: BaseHTTPRequestHandler) -> None:
        if request.path == CODE.path:
            with suppress(OSError):
                for _ in range(1_000):
                    request.wfile.write(part)
                    time.sleep(0.06)  # in its time, fewer lines than any answer may have

    with serving(table_of(FILES), drip) as url:
        found = verify(url)
    assert found.exit_code == 1
    assert f"{CODE.name} does not answer in time" in found.stdout


@pytest.mark.parametrize(
    "url", ["ftp://x/", "chat.example.org", "https://", "https://a b/", "https://x/?a", "https://x:0"]
)
def test_url_that_is_none_is_a_usage_error(url: str) -> None:
    assert verify(url).exit_code == 2
