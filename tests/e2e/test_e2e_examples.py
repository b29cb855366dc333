"""The programs of examples/, as processes at a real relay."""

import asyncio
import contextlib
import http.client
import http.server
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from phantom_messenger import DeliveryState, GroupEvent, GroupNews, written_id
from support.command_line import Running, environment
from support.relay_process import RelayProcess, StartRelay
from support.sdk_clients import PATIENCE, event, first, opened, run

pytestmark = pytest.mark.usefixtures("real_passphrases")  # as the programs derive keys

EXAMPLES = Path(__file__).parents[2] / "examples"
SECRET = "a secret of sixteen"
WAIT = 100.0
"""Seconds for a program to do what it does."""


@contextlib.contextmanager
def program(home: Path, name: str, *arguments: str, **more: str) -> Iterator[Running]:
    """An example that goes on until Ctrl-C ends it."""
    running = Running(home, *arguments, program=[sys.executable, str(EXAMPLES / name)], more=more)
    try:
        yield running
    finally:
        code = running.stop()
    assert code == 0, running.errors


def made(home: Path, name: str, relay: RelayProcess, **contacts: str) -> str:
    """A profile with contacts; its id."""
    with contextlib.closing(opened(home, name, relay)) as client:
        for contact, user_id in contacts.items():
            client.contacts.add(contact, user_id)
        return client.user_id


# --- echo bot -------------------------------------------------------------------------


def test_echo_bot_answers_persons_and_groups_and_survives_a_relay_that_is_away(
    start_relay: StartRelay, tmp_path: Path
) -> None:
    relay = start_relay()

    async def main(bot: str) -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            await alice.wait_published(PATIENCE)
            alice.contacts.add("bot", bot)
            await alice.send("bot", "hello")
            message = await first(alice)
            assert message.text == "you said: hello"
            await message.mark_read()
            await event(alice, GroupEvent, lambda: alice.groups.create("Tea", ["bot"]), news=GroupNews.JOINED)
            await alice.groups.send("Tea", "anybody?")
            async for text in alice.groups.messages("Tea"):
                assert (text.text, text.contact.name) == ("you said: anybody?", "bot")
                break
            await alice.send("bot", "x" * 39_999)  # too long for an answer, which must not end it
            relay.kill()
            relay.restart()
            await alice.send("bot", "again")
            assert (await first(alice)).text == "you said: again"

    with program(tmp_path, "echo_bot.py", relay.url) as bot:
        name = re.fullmatch(r"write to (\S+)", bot.wait_for(1)[0])
        assert name is not None
        run(main(name[1]))
    assert "hello" not in "".join(bot.errors)
    assert "MessageTooLong" in "".join(bot.errors)


# --- README ---------------------------------------------------------------------------


def test_program_in_the_readme_says_who_it_is_and_ends_without_a_traceback(relay: RelayProcess, tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    bob, file = made(tmp_path, "bob", relay), tmp_path / "readme.py"
    own_relay = code.replace("ws://127.0.0.1:8080/ws", relay.url)
    file.write_text(own_relay.replace("the output of `phantom id` on the other side", bob))

    async def begin() -> None:
        async with opened(tmp_path, "bob") as client:
            await client.wait_published(PATIENCE)

    async def main() -> str:
        async with opened(tmp_path, "bob", strangers="accept") as client:
            message = await first(client)
            assert message.text == "hello"
            await client.send(message.sender, "hello yourself")
            assert await client.flush(PATIENCE) == 0
            return message.sender

    run(begin())
    with program(tmp_path, str(file), PYTHONUNBUFFERED="1") as readme:
        sender = run(main())
        said = [f"accept what this ID sends you: {written_id(sender)}", f"{bob} hello yourself"]
        assert readme.wait_for(2) == said
    assert readme.errors == []


# --- notifier -------------------------------------------------------------------------


def notify(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, EXAMPLES / "notify.py", *arguments],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_notifier_tells_how_a_command_has_ended(relay: RelayProcess, tmp_path: Path, code: int) -> None:
    bob = made(tmp_path, "bob", relay)
    made(tmp_path, "bob", relay, notify=made(tmp_path, "notify", relay, bob=bob))

    async def main() -> str:
        async with opened(tmp_path, "bob") as client:
            await client.wait_published(PATIENCE)
            command = [sys.executable, "-c", f"print('its output'); raise SystemExit({code})"]
            ended = await asyncio.to_thread(notify, tmp_path, relay.url, "bob", *command)
            assert (ended.returncode, ended.stdout, ended.stderr) == (code, "its output\n", "")
            return (await first(client)).text

    told = run(main())
    assert re.search(r" (is done|has failed with exit code 3) after \d+ s$", told)
    assert ("is done" in told) is (code == 0)


def test_notifier_says_what_is_wrong(tmp_path: Path, relay: RelayProcess) -> None:
    unknown = notify(tmp_path, relay.url, "nobody", "true")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("notify: there is no contact 'nobody'")
    usage = notify(tmp_path)
    assert usage.returncode == 1
    assert usage.stderr.startswith("Runs a command, and tells")


# --- webhook --------------------------------------------------------------------------


class Hook:
    """What a webhook gets; it answers with ``codes`` first, and then with 204."""

    def __init__(self, *codes: int) -> None:
        self.got: queue.Queue[tuple[str | None, dict[str, Any]]] = queue.Queue()
        waiting = list(codes)
        got = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got.put((self.headers["Authorization"], body))
                self.send_response(waiting.pop(0) if waiting else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def hook() -> Iterator[Hook]:
    """Refuses the first time."""
    with contextlib.closing(Hook(503)) as found:
        yield found


@contextlib.contextmanager
def bridge(home: Path, relay: RelayProcess, url: str) -> Iterator[tuple[Running, int]]:
    with program(home, "webhook.py", relay.url, url, WEBHOOK_SECRET=SECRET, WEBHOOK_PORT="0") as running:
        address = re.fullmatch(r"listening on http://127\.0\.0\.1:(\d+)/", running.wait_for(1)[0])
        assert address is not None
        yield running, int(address[1])


def asked(
    port: int, body: bytes | str, *, secret: str = SECRET, method: str = "POST", path: str = "/"
) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_webhook_passes_both_ways(relay: RelayProcess, tmp_path: Path, hook: Hook) -> None:
    bob = made(tmp_path, "bob", relay)
    made(tmp_path, "bob", relay, bridge=made(tmp_path, "webhook", relay, bob=bob))

    async def main(port: int) -> None:
        async with opened(tmp_path, "bob") as client:
            await client.wait_published(PATIENCE)
            code, body = await asyncio.to_thread(asked, port, json.dumps({"to": "bob", "text": "from outside"}))
            assert (code, list(body)) == (202, ["id"])
            message = await first(client)
            assert (message.text, message.id) == ("from outside", body["id"])
            delivery = await message.reply("from inside")
            rows = [await asyncio.to_thread(hook.got.get, True, WAIT) for _ in range(2)]  # the first was refused
            assert rows[0] == rows[1]
            secret, row = rows[0]
            assert (secret, row["text"], row["name"], row["from"]) == (f"Bearer {SECRET}", "from inside", "bob", bob)
            assert (row["conversation"], row["group"]) == (bob, False)
            assert str(await delivery.wait(DeliveryState.READ)) == "read"  # once it has been taken

    with bridge(tmp_path, relay, hook.url) as (running, port):
        run(main(port))
    assert any("no success (503)" in line for line in running.errors)
    assert "from inside" not in "".join(running.errors)


REFUSALS: dict[str, tuple[dict[str, Any], int]] = {
    "secret": ({"body": "{}", "secret": "another"}, 401),
    "no secret": ({"body": "{}", "secret": ""}, 401),
    "path": ({"body": "{}", "path": "/other"}, 404),
    "method": ({"body": "{}", "method": "GET"}, 404),
    "no JSON": ({"body": b"\xff"}, 400),
    "deep": ({"body": "[" * 100_000}, 400),
    "no object": ({"body": "[]"}, 400),
    "no text": ({"body": '{"to": "bob", "text": 1}'}, 400),
    "nobody": ({"body": '{"to": "nobody", "text": "x"}'}, 404),
    "long text": ({"body": json.dumps({"to": "bob", "text": "x" * 40_001})}, 400),
    "long": ({"body": b" " * 300_001}, 413),
}


def test_webhook_refuses_with_a_reason(relay: RelayProcess, tmp_path: Path) -> None:
    made(tmp_path, "webhook", relay, bob=made(tmp_path, "bob", relay))
    with bridge(tmp_path, relay, "http://127.0.0.1:9/") as (_, port):
        for name, (request, code) in REFUSALS.items():
            answered, body = asked(port, **request)
            assert (name, answered, list(body)) == (name, code, ["error"])
        assert 429 in (asked(port, "[]")[0] for _ in range(500))
        assert asked(port, "[]", secret="another")[0] == 401  # who has not the secret learns nothing of it
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"nonsense\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_webhook_starts_only_with_a_secret() -> None:
    for secret in ("", "short"):
        ended = subprocess.run(
            [sys.executable, EXAMPLES / "webhook.py", "ws://127.0.0.1:9/ws", "http://127.0.0.1:9/"],
            env={**os.environ, "WEBHOOK_SECRET": secret},
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith("A bridge between HTTP and conversations")


def test_every_example_is_tested_and_named_in_the_documents() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    page = (EXAMPLES.parent / "docs/sdk.md").read_text()
    source = Path(__file__).read_text()
    assert {name for name in names if f'"{name}"' not in source} == set()
    assert {name for name in names if f"examples/{name}" not in page} == set()
    assert len(names) >= 3
