"""Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi/): as much of it as the tests need."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

_LISTENS: Final = "WebDriver BiDi listening on "
_PATIENCE: Final = 240.0
_STARTS: Final = 3
_STARTS_IN: Final = 90.0
"""Seconds until one that has not come up is ended."""

_TOOLS: Final = """
const shown = (find) => new Promise((done, fail) => {
  const until = Date.now() + 230000;
  const look = () => {
    const found = find();
    if (found) done(found);
    else if (Date.now() > until) fail(new Error(`not there: ${find} in: ${document.body.innerText.slice(0, 500)}`));
    else setTimeout(look, 50);
  };
  look();
});
const nameOf = (element) => element.ariaLabel ?? element.labels?.[0]?.textContent.trim() ?? element.textContent.trim();
const all = (kind) => [...document.querySelectorAll(kind)].filter((one) => one.checkVisibility());
const named = (kind, name) => all(kind).find((one) => nameOf(one).includes(name));
const exact = (kind, name) => all(kind).find((one) => nameOf(one) === name);
const text = (pattern, kind = "body") => all(kind).find((one) => pattern.test(one.innerText));
const press = async (name) => (await shown(() => named("button", name))).click();
const write = async (name, text) => {
  const box = await shown(() => named("input, textarea", name));
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
  await new Promise((done) => setTimeout(done, 100));
};
"""
"""What scripts may use: ``press`` and ``write`` wait for what they are about; ``shown`` waits for anything that
``all``, ``named``, ``exact`` and ``text`` find."""

_PREFERENCES: Final = """
user_pref("browser.download.folderList", 2);
user_pref("browser.download.dir", "{}");
user_pref("browser.download.useDownloadDir", true);
user_pref("browser.download.alwaysOpenPanel", false);
"""
"""Where downloads go, without a question."""


class Tab:
    """A tab of a browser profile of its own."""

    def __init__(self, firefox: "Firefox", context: str) -> None:
        self._firefox = firefox
        self._context = context

    async def go(self, url: str) -> None:
        """Open an address."""
        await self._firefox.call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def run(self, script: str) -> Any:
        """Run the body of an async function in the page; what it returns has to be a text."""
        found = await self._firefox.call(
            "script.evaluate",
            expression=f"(async () => {{ {_TOOLS} {script} }})()",
            target={"context": self._context},
            awaitPromise=True,
        )
        assert found["type"] == "success", found["exceptionDetails"]["text"]
        return found["result"].get("value")

    async def choose_file(self, selector: str, file: Path) -> None:
        """Put a file into the one field for files that a selector finds."""
        found = await self._firefox.call(
            "browsingContext.locateNodes", context=self._context, locator={"type": "css", "value": selector}
        )
        [field] = found["nodes"]
        await self._firefox.call(
            "input.setFiles", context=self._context, element={"sharedId": field["sharedId"]}, files=[str(file)]
        )


class Firefox:
    """A browser; ``errors`` is what its pages have complained about, ``downloads`` the folder of what was saved."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self._socket = socket
        self.downloads = downloads
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._users: list[str] = []
        self.errors: list[str] = []

    async def listen(self) -> None:
        """Take what the browser sends, until it ends."""
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                found = json.loads(text)
                if found["type"] == "event":
                    if found["params"].get("level") == "error":
                        self.errors.append(str(found["params"].get("text")))
                else:
                    self._open.pop(found["id"]).set_result(found)
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(ConnectionError("Firefox has ended"))

    async def call(self, method: str, **params: Any) -> Any:
        """Carry out a command."""
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        found = await asyncio.wait_for(answer, _PATIENCE)
        assert found["type"] == "success", found
        return found["result"]

    async def tab(self) -> Tab:
        """A new browser profile, and a tab in it."""
        user = (await self.call("browser.createUserContext"))["userContext"]
        self._users.append(user)
        made = await self.call("browsingContext.create", type="tab", userContext=user)
        return Tab(self, made["context"])

    async def forget(self) -> None:
        """Delete all browser profiles with their tabs."""
        while self._users:
            await self.call("browser.removeUserContext", userContext=self._users.pop())


def _program() -> str:
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if found is None:
        pytest.skip("there is no Firefox")
    return found


def _prepared(folder: Path) -> Path:
    """Make a browser profile of a folder; returns where its downloads go."""
    downloads = folder / "saved"
    downloads.mkdir()
    (folder / "user.js").write_text(_PREFERENCES.format(downloads))
    return downloads


async def _started(program: str, folder: str) -> tuple[asyncio.subprocess.Process, str]:
    """Start it, again if it does not come up: a busy machine may not give it its time.

    Returns:
        The process, and the address at which it takes commands.
    """
    said: list[str] = []
    for _ in range(_STARTS):
        process = await asyncio.create_subprocess_exec(
            program,
            *("--headless", "--no-remote", "--profile", folder, "--remote-debugging-port", "0", "about:blank"),
            env={**os.environ, "HOME": folder},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STARTS_IN):
                while line := (await process.stderr.readline()).decode():
                    if _LISTENS in line:
                        return process, f"{line.partition(_LISTENS)[2].strip()}/session"
                    said.append(line)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    raise AssertionError(f"Firefox did not start, {_STARTS} times: {''.join(said)[-3_000:]}")


@contextlib.asynccontextmanager
async def firefox() -> AsyncIterator[Firefox]:
    """Start Firefox, without a window; skips if there is none."""
    program = _program()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        downloads = _prepared(Path(folder))
        process, url = await _started(program, folder)
        try:
            assert process.stderr is not None
            drained = asyncio.create_task(process.stderr.read())
            async with connect(url, max_size=None, proxy=None, open_timeout=_STARTS_IN) as socket:
                found = Firefox(socket, downloads)
                listening = asyncio.create_task(found.listen())
                await found.call("session.new", capabilities={})
                await found.call("session.subscribe", events=["log.entryAdded"])
                yield found
                listening.cancel()
            drained.cancel()
        finally:
            process.terminate()
            await process.wait()
