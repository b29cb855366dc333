"""``phantom web export``: a page for another host, and servers that send what it needs."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from phantom_messenger.cli.web import web
from phantom_messenger.web.export import for_relay
from phantom_messenger.web.fetch import Site
from phantom_messenger.web.files import PageFile, load, page_hash
from phantom_messenger.web.headers import security_headers
from support.ports import HeldPort
from support.waiting import eventually

FILES: Final = load()
RELAY: Final = "wss://chat.example.org/ws"
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(web, arguments)


def test_exported_page_differs_in_its_relay_alone(tmp_path: Path) -> None:
    found = run("export", str(tmp_path / "out"), "--relay", RELAY)
    assert (found.exit_code, found.stderr) == (0, "")
    exported = load(tmp_path / "out/site")
    assert exported == for_relay(FILES, RELAY)
    [index] = [file for file in exported if file.path == "/"]
    assert index.content.count(b'<meta name="phantom-relay" content="wss://chat.example.org/ws" />') == 1
    assert [file for file in exported if file.path != "/"] == [file for file in FILES if file.path != "/"]
    assert f"page {page_hash(exported)}" in found.stdout
    assert "--allowed-origins https://HOST" in found.stdout


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("wss://chat.example.org", RELAY),
        ("wss://Chat.Example.org/", RELAY),
        ("ws://127.0.0.1:8080/ws", "ws://127.0.0.1:8080/ws"),
        ("wss://bücher.example/relay", "wss://xn--bcher-kva.example/relay"),
        ("wss://[2001:DB8::1]:8443", "wss://[2001:db8::1]:8443/ws"),
    ],
)
def test_relay_may_be_written_in_every_way(tmp_path: Path, given: str, meant: str) -> None:
    assert run("export", str(tmp_path / "out"), "--relay", given).exit_code == 0
    assert f'content="{meant}"' in (tmp_path / "out/site/index.html").read_text()
    assert f"connect-src {meant.rpartition('/')[0]};" in (tmp_path / "out/nginx.conf").read_text()


@pytest.mark.parametrize(
    "relay", ["https://chat.example.org", "wss://", "wss://a;script-src *", 'wss://"x', "wss://u@x", "wss://x/?a", "*"]
)
def test_relay_that_is_none_is_a_usage_error(tmp_path: Path, relay: str) -> None:
    assert run("export", str(tmp_path / "out"), "--relay", relay).exit_code == 2
    assert not (tmp_path / "out").exists()


def test_address_cannot_break_out_of_the_page() -> None:
    [index] = [file for file in for_relay(FILES, 'wss://x/"><script>') if file.path == "/"]
    assert b'content="wss://x/&quot;&gt;&lt;script&gt;"' in index.content


def test_page_without_a_place_for_a_relay_is_not_exported() -> None:
    with pytest.raises(ValueError, match="no place"):
        for_relay([PageFile("/", "index.html", b"<!doctype html>")], RELAY)


def test_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    assert run("export", str(tmp_path), "--relay", RELAY).exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_settings_have_every_header_field(tmp_path: Path) -> None:
    assert run("export", str(tmp_path / "out"), "--relay", RELAY).exit_code == 0
    fields = security_headers("wss://chat.example.org")
    for name in ("nginx.conf", "Caddyfile"):
        text = (tmp_path / "out" / name).read_text()
        assert all(re.search(rf'{field} "{re.escape(value)}"', text) for field, value in fields.items())
        assert "Strict-Transport-Security" in text


# --- served by others -----------------------------------------------------------------


def program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is not installed: the test that it serves an exported page")
    return found


def is_listening(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert eventually(lambda: process.poll() is not None or is_listening(port))
        assert process.poll() is None, process.communicate()[1]
        yield
    finally:
        process.terminate()
        process.communicate()


NGINX: Final = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr; events {{ }}
http {{
  include /etc/nginx/mime.types; access_log off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  server {{ listen 127.0.0.1:{port}; include "{folder}/the page/nginx.conf"; }}
}}
"""


def as_nginx(folder: Path, port: int) -> list[str]:
    name = program("nginx")
    (folder / "whole.conf").write_text(NGINX.format(folder=folder, port=port))
    return [name, "-p", str(folder), "-c", str(folder / "whole.conf")]


def as_caddy(folder: Path, port: int) -> list[str]:
    name = program("caddy")
    site = (folder / "the page/Caddyfile").read_text()
    (folder / "whole").write_text(f"{{\nadmin off\nauto_https off\n}}\nhttp://127.0.0.1:{port} {{\n{site}}}\n")
    return [name, "run", "--adapter", "caddyfile", "--config", str(folder / "whole")]


@pytest.mark.parametrize("command", [as_nginx, as_caddy], ids=["nginx", "caddy"])
def test_page_that_others_serve_with_these_settings_is_the_same(
    tmp_path: Path, command: Callable[[Path, int], Sequence[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    held = HeldPort()
    port = held.number
    assert run("export", str(tmp_path / "the page"), "--relay", RELAY).exit_code == 0
    with running(command(tmp_path, port), port):
        found = run("verify", f"http://127.0.0.1:{port}/", "--relay", RELAY)
        assert found.exit_code == 0, found.stdout
        with Site(f"http://127.0.0.1:{port}/") as site:
            for file in FILES:
                answer = site.get(file.path)
                [kind] = answer.values("Content-Type")
                kind = kind.partition(";")[0].replace("application/javascript", "text/javascript")
                assert kind == file.media_type.partition(";")[0]
                [cached] = answer.values("Cache-Control")
                assert ("immutable" in cached) == file.is_named_by_hash, file.name
