"""``phantom bench``: the open loop against any relay, as a real process against real ones."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import apsw
import pytest
from test_bench_load import CARRIES_LITTLE

from phantom_messenger.loadgen.connection import Connection
from phantom_messenger.loadgen.generator import LoadGenerator
from phantom_messenger.loadgen.stats import Stats
from phantom_messenger.loadgen.wire import VirtualUser
from support.certificates import self_signed
from support.measures import open_files
from support.relay_process import PHANTOM, RelayProcess, StartRelay, environment, patched
from support.warm import finished, warm

PATIENCE = 60
QUICK = ("--seconds", "1", "--rate", "40", "--people", "4")
STAYS = """
from phantom_messenger.loadgen.connection import Connection
async def stay(self, seconds):
    return self.ready.done() and not True
Connection.delete_account = stay
from phantom_messenger.cli.main import main
main()
"""


def bench(*arguments: str, command: Sequence[str | Path] = ()) -> "subprocess.CompletedProcess[str]":
    """Run it to its end: as it is, or this in its place."""
    if not command:
        return finished(warm("client").start(["bench", *arguments], environment()), "", PATIENCE)
    return subprocess.run(
        [*command, "bench", *arguments],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def wait(reached: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)


def accounts(relay: RelayProcess) -> int:
    """How many there are, once the relay is stopped."""
    relay.stop()
    found = apsw.Connection(str(relay.data / "relay.db")).execute("SELECT count(*) FROM accounts").get
    assert isinstance(found, int)
    return found


def test_it_says_what_it_does_measures_and_leaves_nothing_behind(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    done = bench(relay.url, *QUICK)
    assert done.returncode == 0, done.stderr
    [announced] = done.stderr.splitlines()
    assert "4 temporary users will send 40 messages" in announced
    assert "without limits" in announced
    *_, counted = done.stdout.splitlines()
    assert counted == "40 sent, 40 accepted, 40 delivered; 4 accounts made, 4 deleted"
    for what in ("accepted", "delivered"):
        [line] = [line for line in done.stdout.splitlines() if line.startswith(f"{what} ")]
        figures = [float(figure) for figure in line.split()[1:]]
        assert figures == sorted(figures)
        assert figures[0] > 0
    assert accounts(relay) == 0


def test_accounts_that_are_not_deleted_are_there_and_said_to_be(start_relay: StartRelay) -> None:
    """The control: nobody leaves."""
    relay = start_relay("--limits", "off")
    done = bench(relay.url, *QUICK, command=(sys.executable, "-c", STAYS))
    assert "4 of 4 temporary accounts are left" in done.stderr
    assert accounts(relay) == 4


LIMITED = {
    "logins": ((), "4"),
    "connections": (("--rate-auth", "1000"), "14"),
    "messages": (("--rate-auth", "1000"), "2"),
}


@pytest.mark.parametrize(("settings", "people"), LIMITED.values(), ids=list(LIMITED))
def test_relay_with_limits_is_recognised(start_relay: StartRelay, settings: tuple[str, ...], people: str) -> None:
    relay = start_relay(*settings)
    if not settings:
        assert bench(relay.url, *QUICK[:4], "--people", "2").returncode == 0, "what the limits allow is measured"
    done = bench(relay.url, "--seconds", "2", "--rate", "60", "--people", people)
    assert done.returncode == 1
    _, sentence = done.stderr.splitlines()
    assert "limits" in sentence
    assert "--limits off" in sentence
    assert accounts(relay) == 0


def test_more_than_the_relay_carries_is_a_failure_with_figures(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off", command=patched(CARRIES_LITTLE))
    done = bench(relay.url, "--seconds", "1", "--rate", "1500", "--people", "8")
    assert done.returncode == 1
    assert "refused because the relay was overloaded" in done.stdout
    assert accounts(relay) == 0


def test_interrupted_people_leave_too(start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")
    files, log = open_files(relay.pid), relay.data / "relay.db-wal"
    for number, code in ((signal.SIGINT, 1), (signal.SIGTERM, 143)):
        process = subprocess.Popen(
            [PHANTOM, "bench", relay.url, "--seconds", "60", "--rate", "20", "--people", "4"],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        process.stderr.readline()  # what it says before it begins
        wait(lambda: open_files(relay.pid) >= files + 4)
        written = log.stat().st_size
        wait(lambda: log.stat().st_size > written + 100_000)  # noqa: B023 - it is called here
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, told
        assert re.search(r"phantom: interrupted; (\d) accounts made, \1 deleted", told), told
        assert "Traceback" not in told
    assert accounts(relay) == 0


def test_connection_that_is_given_up_while_it_is_made_leaves_no_account(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = start_relay("--limits", "off")
    is_connected = asyncio.Event()

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        genuine = loop.create_connection

        async def slow(*arguments: Any, **options: Any) -> Any:
            made = await genuine(*arguments, **options)
            is_connected.set()
            try:
                await asyncio.Event().wait()  # until it is given up; a login that has begun can come through meanwhile
            except asyncio.CancelledError:
                made[0].close()  # as asyncio does
                raise
            return made

        monkeypatch.setattr(loop, "create_connection", slow)
        generator = LoadGenerator(relay.url, 1)
        connecting = asyncio.create_task(generator.connect())
        await is_connected.wait()
        await asyncio.sleep(0.5)
        connecting.cancel()
        await asyncio.wait({connecting})
        return await generator.delete_accounts()

    assert asyncio.run(main()) == (0, 0)
    assert accounts(relay) == 0


def test_login_that_is_not_answered_may_have_left_an_account() -> None:
    async def main() -> bool | None:
        connection = Connection(VirtualUser(), Stats(), urlsplit("ws://127.0.0.1/ws"), acks=False)
        assert await connection.delete_account(0.01) is None, "it has not asked to be let in"
        challenge = {"type": "CONNECTION_ACK", "payload": {"serverTime": 0, "challenge": "AAAA"}}
        connection._handle_other(challenge)
        return await connection.delete_account(0.01)

    assert asyncio.run(main()) is False


def test_relay_that_is_not_there_is_said_so() -> None:
    done = bench("ws://127.0.0.1:9/ws", *QUICK)
    assert done.returncode == 1
    assert "no connection to 127.0.0.1:9" in done.stderr


def test_certificate_is_checked(start_relay: StartRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = self_signed(tmp_path / "tls")
    relay = start_relay("--limits", "off", "--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    distrusted = bench(relay.url, *QUICK)
    assert distrusted.returncode == 1
    assert "certificate" in distrusted.stderr
    assert "Traceback" not in distrusted.stderr
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
    assert "40 delivered; 4 accounts made, 4 deleted" in bench(relay.url, *QUICK).stdout


MISTAKES = {
    "no URL": (),
    "not a relay": ("http://127.0.0.1:8080/ws",),
    "no host": ("ws://",),
    "no port": ("ws://127.0.0.1:many/ws",),
    "one person": ("ws://127.0.0.1:9/ws", "--people", "1"),
    "no rate": ("ws://127.0.0.1:9/ws", "--rate", "0"),
    "longer than a signature holds": ("ws://127.0.0.1:9/ws", "--seconds", "301"),
    "too many messages": ("ws://127.0.0.1:9/ws", "--seconds", "200", "--rate", "50000"),
}


@pytest.mark.parametrize("arguments", MISTAKES.values(), ids=list(MISTAKES))
def test_mistake_is_answered_with_one_sentence(arguments: tuple[str, ...]) -> None:
    done = bench(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("phantom bench: ")
