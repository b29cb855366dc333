"""The reference's example flow, played by JavaScript: in Node, and in a browser on a page of another origin."""

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from support.relay_process import RelayProcess, StartRelay

HERE: Final = Path(__file__).parent
EXAMPLE: Final = HERE / "reference.mjs"
SECONDS: Final = 40
"""Until Node or the browser is given up; the example itself gives up after 15."""

NODE: Final = shutil.which("node") or shutil.which("nodejs")
BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser")
BROWSER: Final = next(filter(None, map(shutil.which, BROWSERS)), None)
SETTINGS: Final = ("--limits", "off", "--reference-clients", "on")


def complete(found: dict[str, Any]) -> None:
    """Check what the example has seen."""
    sessions = found.pop("sessions")
    assert all(isinstance(session["serverTime"], int) and session["sessionId"] for session in sessions)
    assert found == {
        "refused": [],
        "closed": [],
        "done": True,
        "initVerifies": True,
        "responseVerifies": True,
        "messageVerifies": True,
        "sender": True,
        "text": "Grüße aus dem Browser",
        "presence": {"userId": "bob", "status": "typing"},
        "statuses": ["accepted", "delivered", "read", "burned"],
        "pong": "number",
    }


# --- Node -------------------------------------------------------------------------


def node(*arguments: str) -> str:
    assert NODE is not None
    found = subprocess.run(
        [NODE, "--experimental-websocket", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return found.stdout.strip()


@pytest.fixture(scope="module")
def in_node() -> Any:
    """Plays the example in Node."""
    if NODE is None:
        pytest.skip("node is not installed")
    if node("--print", "typeof WebSocket") != "function":
        pytest.skip("this node has no WebSocket: it needs Node 20.10 or later")
    return lambda url: json.loads(node(str(EXAMPLE), url))


def test_example_flow_completes_in_node(lenient: RelayProcess, in_node: Any) -> None:
    complete(in_node(lenient.url))


def test_example_flow_ends_at_the_login_of_a_default_relay(relay: RelayProcess, in_node: Any) -> None:
    """The control."""
    found = in_node(relay.url)
    assert not found["done"]
    assert {kind for _, kind, _ in found["refused"]} == {"AUTH_FAILURE"}


# --- a browser --------------------------------------------------------------------


class _Pages(SimpleHTTPRequestHandler):
    """Serves the page, and takes what it has seen."""

    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}  # noqa: RUF012 - the base's

    def __init__(self, results: "queue.Queue[bytes]", *arguments: Any, **options: Any) -> None:
        self._results = results
        super().__init__(*arguments, directory=str(HERE), **options)

    def do_POST(self) -> None:
        self._results.put(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Pages:
    """A web server with the page, on an origin of its own."""

    def __init__(self) -> None:
        self.results: queue.Queue[bytes] = queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, self.results))
        self.origin = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def served(self) -> Iterator["Pages"]:
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            thread.join()
            self.server.server_close()

    def played(self, relay: RelayProcess, profile: Path) -> dict[str, Any]:
        """Open the page in a browser; what it has seen."""
        assert BROWSER is not None
        command = [
            BROWSER,
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # to nobody but this machine
            "--remote-debugging-port=0",  # without it some versions end at once
            f"--user-data-dir={profile}",
            "--no-sandbox",  # root has none, nor have many containers; the page is our own
            f"{self.origin}/reference.html?relay={relay.url}",
        ]
        browser = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            found: dict[str, Any] = json.loads(self.results.get(timeout=SECONDS))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
        return found


@pytest.fixture
def pages() -> Iterator[Pages]:
    if BROWSER is None:
        pytest.skip("chromium is not installed")
    with Pages().served() as pages:
        yield pages


def test_example_flow_completes_in_a_browser(start_relay: StartRelay, pages: Pages, tmp_path: Path) -> None:
    relay = start_relay(*SETTINGS, "--allowed-origins", pages.origin)
    complete(pages.played(relay, tmp_path / "profile"))


def test_page_of_an_origin_that_is_not_allowed_gets_no_connection(
    lenient: RelayProcess, pages: Pages, tmp_path: Path
) -> None:
    """The control."""
    found = pages.played(lenient, tmp_path / "profile")
    assert (found["done"], found["refused"]) == (False, [])
    assert {code for _, code in found["closed"]} == {1006}
