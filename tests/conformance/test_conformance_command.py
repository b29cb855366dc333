"""``phantom conformance``: the real relay passes whole; whatever is no relay gets a sentence and a score."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from phantom_messenger.conformance import report
from phantom_messenger.conformance.cases import CASES
from phantom_messenger.conformance.run import Run
from phantom_messenger.conformance.socket import Target
from support.amounts import LONG, amount
from support.certificates import self_signed
from support.relay_process import PHANTOM, RelayProcess, StartRelay, environment
from support.warm import finished, warm

PATIENCE = amount(100, 1_000)
LONG_CASES = 0 if LONG else sum(case.is_long for case in CASES)


def judge(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return finished(warm("client").start(["conformance", *arguments], environment()), "", PATIENCE)


def accounts(relay: RelayProcess) -> int:
    """How many there are, once the relay is stopped."""
    relay.stop()
    found = apsw.Connection(str(relay.data / "relay.db")).execute("SELECT count(*) FROM accounts").get
    assert isinstance(found, int)
    return found


def test_relay_with_default_settings_passes_whole_and_nothing_is_left(start_relay: StartRelay) -> None:
    relay = start_relay()
    done = judge(relay.url, "--json", "--patience", "60", *(["--long"] if LONG else []))
    told = json.loads(done.stdout)
    assert [case for case in told["cases"] if case["outcome"] == "failed"] == []
    assert (told["passed"], told["failed"], told["notJudged"]) == (len(CASES) - LONG_CASES - 1, 0, LONG_CASES + 1)
    assert {case["why"] for case in told["cases"] if "why" in case} == {
        "this relay takes no clients that are written from the reference alone",
        *(() if LONG else ["it takes minutes: --long"]),
    }
    assert (done.returncode, done.stderr, told["accountsLeft"]) == (0, "", 0)
    # It has been asked for by a page of another site, and under another name; and it found nothing wrong with itself.
    assert {line.split()[2] for line in relay.doubts} == {"origin-refused:", "audience-refused:"}
    assert accounts(relay) == 0


def test_score_is_shown_by_group(relay: RelayProcess) -> None:
    done = judge(
        relay.url, "--only", "block", "--only", "login/challenges-differ", "--skip", "block/nobody-blocks-themselves"
    )
    assert done.returncode == 0, done.stdout
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["login", "1", "of", "1"],
        ["block", "7", "of", "7"],
        ["8", "of", "8", "passed"],
    ]


def test_relay_that_has_reference_clients_and_tls_is_judged(
    start_relay: StartRelay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "tls")
    files = ("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    relay = start_relay("--reference-clients", "on", *files)
    distrusted = judge(relay.url, "--only", "login")
    assert distrusted.returncode == 1
    assert "no TLS with 127.0.0.1" in distrusted.stderr
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))
    done = judge(relay.url, "--only", "account", "--only", "dialogues")

    assert done.returncode == 0, done.stdout
    assert accounts(relay) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
def test_interrupted_run_leaves_no_account(start_relay: StartRelay, number: signal.Signals, code: int) -> None:
    relay = start_relay()
    written = relay.data / "relay.db-wal"
    process = subprocess.Popen(
        [PHANTOM, "conformance", relay.url, "--only", "presence"], env=environment(), stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + PATIENCE
    while not written.exists() or written.stat().st_size < 200_000:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert told == "phantom: interrupted; no account is left at the relay\n"
    assert accounts(relay) == 0


# --- what is no relay ---------------------------------------------------------------


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """The URL of a server that does this with every connection, and keeps it until the end."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                stack.push(connection)
                with contextlib.suppress(OSError):
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"ws://127.0.0.1:{server.getsockname()[1]}/ws"
        server.shutdown(socket.SHUT_RDWR)


def says(text: bytes) -> Callable[[socket.socket], object]:
    def answer(connection: socket.socket) -> None:
        connection.recv(4_096)
        connection.sendall(text)

    return answer


def _closes_after_the_request(connection: socket.socket) -> None:
    connection.recv(4_096)
    connection.close()


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
NO_RELAYS: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "never answers": (lambda _: None, "no answer to an HTTP request within 1 s"),
    "closes at once": (lambda connection: connection.close(), "closed instead of an answer"),
    "closes after the request": (
        _closes_after_the_request,
        "closed instead of an answer",
    ),
    "speaks something else": (says(b"220 mail.example ESMTP\r\n\r\n"), "is not HTTP"),
    "speaks HTTP alone": (
        says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        "answered with 404 instead of 101",
    ),
    "says nothing after the handshake": (says(SWITCH), "CONNECTION_ACK is expected, and does not come within 1 s"),
    "closes after the handshake": (says(SWITCH + b"\x88\x02\x03\xf3"), "this comes: close 1011"),
    "sends what is no JSON": (says(SWITCH + b"\x81\x02hi"), "has sent what is not JSON"),
    "sends another frame first": (
        says(SWITCH + b'\x81\x21{"timestamp":17500,"type":"PONG"}'),
        "CONNECTION_ACK is expected, and this comes",
    ),
}


@pytest.mark.parametrize(("answer", "sentence"), NO_RELAYS.values(), ids=list(NO_RELAYS))
def test_what_is_no_relay_gets_a_sentence_and_a_score(answer: Callable[[socket.socket], object], sentence: str) -> None:
    with listening(answer) as url:
        score = asyncio.run(Run(Target(url, 1), lambda *_: None).play(CASES))
    assert sentence in score.trouble
    assert not score.is_passed
    assert report.summary(score) == f"0 of {len(CASES)} passed: {score.trouble}"


def test_what_is_no_relay_is_said_in_one_line() -> None:
    answer, sentence = NO_RELAYS["speaks HTTP alone"]
    with listening(answer) as url:
        done = judge(url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"phantom: 0 of {len(CASES)} passed: the WebSocket handshake is {sentence}\n"


def test_nobody_there_is_a_score_in_json_too() -> None:
    done = judge("ws://127.0.0.1:9/ws", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert (told["passed"], told["failed"], told["notJudged"]) == (0, 0, len(CASES))
    assert told["trouble"] == "no connection to 127.0.0.1:9: Connection refused"


WITHOUT_PAUSES = ("signatures", "prekeys", "key-exchange", "receipts")


def test_relay_that_goes_away_meanwhile_ends_the_run(start_relay: StartRelay) -> None:
    relay = start_relay()
    process = subprocess.Popen(
        [
            PHANTOM,
            "conformance",
            relay.url,
            "--patience",
            "1",
            "--json",
            *(f"--only={name}" for name in WITHOUT_PAUSES),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    written = relay.data / "relay.db-wal"
    until = time.monotonic() + PATIENCE
    while not written.exists() or written.stat().st_size < 200_000:
        assert time.monotonic() < until
        time.sleep(0.05)
    relay.kill()
    shown, told = process.communicate(timeout=PATIENCE)
    found: dict[str, Any] = json.loads(shown)
    assert process.returncode == 1
    assert 8 <= found["failed"] < 40
    assert found["notJudged"] > 10
    reasons = {case["why"] for case in found["cases"] if case["outcome"] == "not judged"}
    assert len([why for why in reasons if why.startswith("the relay is not there any more: no connection")]) == 1
    assert "temporary accounts are left at the relay" in told
    assert "Traceback" not in told


MISTAKES = {
    "no URL": (),
    "not a relay": ("http://127.0.0.1:8080/ws",),
    "unknown group": ("ws://127.0.0.1:9/ws", "--only", "messaging"),
    "nothing left": ("ws://127.0.0.1:9/ws", "--only", "block", "--skip", "block"),
}


@pytest.mark.parametrize("arguments", MISTAKES.values(), ids=list(MISTAKES))
def test_mistake_is_answered_with_one_sentence(arguments: tuple[str, ...]) -> None:
    done = judge(*arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("phantom conformance: ")
