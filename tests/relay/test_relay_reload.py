"""SIGHUP reads the certificate again, all or nothing; it and its like end nobody."""

import asyncio
import errno
import os
import pty
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from phantom_messenger.relay import certificate, listening
from phantom_messenger.relay.config import Config
from support.certificates import Certificate, self_signed
from support.raw_socket import RawSocket
from support.reference_client import ReferenceClient
from support.relay_process import SERVE, RelayProcess, StartRelay, environment, patched, serve
from support.waiting import PATIENCE


def certified(start_relay: StartRelay, made: Certificate, patch: str = "") -> RelayProcess:
    return start_relay("--tls-cert", str(made.cert), "--tls-key", str(made.key), command=patched(patch))


def shown(relay: RelayProcess) -> str:
    """The certificate that newcomers get, PEM."""
    return ssl.get_server_certificate(relay.address, timeout=60)


def told(relay: RelayProcess, word: str, count: int = 1) -> bool:
    """Whether the log says so, in time."""
    until = time.monotonic() + PATIENCE
    while relay.log.count(f" {word}: ") < count and time.monotonic() < until:
        time.sleep(0.02)
    return relay.log.count(f" {word}: ") == count


def renew(made: Certificate, folder: Path) -> str:
    """Put another certificate in the place of this one, as a renewal does."""
    other = self_signed(folder)
    other.key.replace(made.key)
    other.cert.replace(made.cert)
    return made.cert.read_text()


def test_sighup_reads_the_certificate_again_for_newcomers(start_relay: StartRelay, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    relay = certified(start_relay, made)
    before = made.cert.read_text()
    with ReferenceClient(relay.url, tls=made.trust()) as there:
        there.login()
        after = renew(made, tmp_path / "new")
        assert shown(relay) == before, "not before it is told"
        os.kill(relay.pid, signal.SIGHUP)
        assert told(relay, "reloaded")
        assert shown(relay) == after != before
        assert there.ask(there.person.ping())["type"] == "PONG", "those who are in stay"
    assert relay.stop() == 0


def folder_at(path: Path) -> None:
    path.unlink()
    path.mkdir()


def of_another_time(made: Certificate, folder: Path, day: int) -> None:
    other = self_signed(folder, since=day, until=day + 1)
    other.key.replace(made.key)
    other.cert.replace(made.cert)


BAD: dict[str, tuple[str, Callable[[Certificate, Path], object]]] = {
    "no file": ("missing", lambda made, _: made.cert.unlink()),
    "no key": ("missing", lambda made, _: made.key.unlink()),
    "a folder": ("unreadable", lambda made, _: folder_at(made.cert)),
    "not PEM": ("malformed", lambda made, _: made.cert.write_bytes(b"nothing")),
    "empty": ("malformed", lambda made, _: made.key.write_bytes(b"")),
    "half a renewal": ("key-mismatch", lambda made, folder: self_signed(folder).cert.replace(made.cert)),
    "expired": ("expired", lambda made, folder: of_another_time(made, folder, -2)),
    "not yet valid": ("not-yet-valid", lambda made, folder: of_another_time(made, folder, 2)),
}


def test_certificate_that_cannot_be_used_changes_nothing(start_relay: StartRelay, tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    relay = certified(start_relay, made)
    before, key = made.cert.read_text(), made.key.read_text()
    for count, (way, (reason, spoil)) in enumerate(BAD.items(), start=1):
        spoil(made, tmp_path / way)
        os.kill(relay.pid, signal.SIGHUP)
        assert told(relay, "reload-failed", count), way
        assert relay.log.splitlines()[-1].endswith(f" reason={reason}"), way
        assert shown(relay) == before, way
        if made.cert.is_dir():
            made.cert.rmdir()
        made.cert.write_text(before)
        made.key.write_text(key)
    os.kill(relay.pid, signal.SIGHUP)
    assert told(relay, "reloaded")


def test_control_context_of_the_start_takes_an_expired_certificate(tmp_path: Path) -> None:
    made = self_signed(tmp_path, since=-2, until=-1)
    config = Config(tls_cert=made.cert, tls_key=made.key)
    assert certificate.context(config) is not None
    with pytest.raises(certificate.CertificateError, match="has expired"):
        certificate.renewed(config)


SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_ends_nobody(start_relay: StartRelay, number: signal.Signals) -> None:
    relay = start_relay("--verify-workers", "1")
    for count in range(1, 4):
        os.kill(relay.pid, number)
        assert told(relay, "nothing-to-reload", count if number == signal.SIGHUP else 0)
    with ReferenceClient(relay.url) as client:
        client.login()
    assert relay.stop() == 0
    assert relay.log.count(" stopped: ") == 1
    assert not relay.doubts


DEADLY = "import signal\nsignal.signal = lambda *_: None\n"


def test_control_a_signal_that_is_left_alone_is_death(start_relay: StartRelay) -> None:
    relay = start_relay(command=patched(DEADLY))
    os.kill(relay.pid, signal.SIGUSR1)
    assert relay._ended() == -signal.SIGUSR1


@pytest.mark.parametrize("day", [-2, 2], ids=["expired", "not yet valid"])
def test_certificate_of_another_time_is_told_at_the_start(start_relay: StartRelay, tmp_path: Path, day: int) -> None:
    made = self_signed(tmp_path, since=day, until=day + 1)
    relay = certified(start_relay, made)
    assert told(relay, "certificate-expired")


def test_certificate_of_today_is_not_told_of(start_relay: StartRelay, tmp_path: Path) -> None:
    assert not certified(start_relay, self_signed(tmp_path)).doubts


def test_files_that_are_swapped_are_named(tmp_path: Path) -> None:
    made = self_signed(tmp_path)
    found = serve("--tls-cert", str(made.key), "--tls-key", str(made.cert), "--data", str(tmp_path / "data"))
    assert found.returncode == 2
    assert "give PEM files, the certificate first, and a key without a passphrase" in found.stderr


# --- where it listens -------------------------------------------------------------


def greets(host: str, port: int | None) -> bool:
    try:
        with RawSocket((host, port or 0)) as raw:
            return raw.upgrade().status == 101
    except ConnectionError:
        return False


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@needs_ipv6
@pytest.mark.parametrize(
    ("hosts", "reached", "silent"),
    [
        ("127.0.0.1,127.0.0.2", ["127.0.0.1", "127.0.0.2"], ["127.0.0.3", "::1"]),
        ("::1,127.0.0.1", ["127.0.0.1", "::1"], ["127.0.0.2"]),
        ("::1", ["::1"], ["127.0.0.1"]),
        ("::", ["127.0.0.1", "127.0.0.2", "::1"], []),
        ("::,0.0.0.0", ["127.0.0.1", "127.0.0.2", "::1"], []),
        ("0.0.0.0", ["127.0.0.1"], ["::1"]),  # noqa: S104 - a value to listen on
    ],
)
def test_every_host_of_the_list_is_listened_on(
    start_relay: StartRelay, hosts: str, reached: list[str], silent: list[str]
) -> None:
    relay = start_relay("--host", hosts, "--public-names", "relay.test")
    assert {host: greets(host, relay.port) for host in reached + silent} == {
        host: host in reached for host in reached + silent
    }


@needs_ipv6
def test_port_0_is_one_that_is_free_for_every_host_of_the_list(start_relay: StartRelay) -> None:
    relay = start_relay("--host", "127.0.0.1,::1", "--port", "0", "--public-names", "relay.test", port=None)
    assert relay.port
    assert greets("127.0.0.1", relay.port)
    assert greets("::1", relay.port)


def test_host_that_cannot_be_listened_on_is_named_with_the_others(tmp_path: Path) -> None:
    found = serve("--host", "127.0.0.1,192.0.2.1", "--public-names", "relay.test", "--data", str(tmp_path / "data"))
    assert found.returncode == 2
    assert "--host 127.0.0.1,192.0.2.1 --port 8080" in found.stderr


@pytest.mark.parametrize(("port", "attempts"), [(0, 3), (1_234, 1)])
def test_port_that_is_free_for_one_address_alone_is_given_up_for_another(
    monkeypatch: pytest.MonkeyPatch, port: int, attempts: int
) -> None:
    tried: list[int] = []
    bind_all = listening._bind_all

    async def unlucky(hosts: Sequence[str], port: int, buffer: int, *, is_shared: bool) -> list[socket.socket]:
        tried.append(port)
        if len(tried) < 3:
            raise OSError(errno.EADDRINUSE, "taken")
        return await bind_all(hosts, port, buffer, is_shared=is_shared)

    monkeypatch.setattr(listening, "_bind_all", unlucky)
    try:
        for one in asyncio.run(listening.bind(["127.0.0.1"], port)):
            one.close()
    except OSError:
        assert port, "the port that was asked for is not given up"
    assert tried == [port] * attempts


# --- the terminal in which it was started ---------------------------------------------------------


BEGIN = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[1] else signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Make the terminal one's own, as a shell's children have it, and begin."""


class InTerminal:
    """A relay in the foreground of a terminal of its own."""

    def __init__(self, folder: Path, *, nohup: bool = False) -> None:
        self._ours, its = pty.openpty()

        begin = [sys.executable, "-c", BEGIN, "nohup" if nohup else "", *SERVE, "--data", str(folder), "--port", "0"]
        self.process = subprocess.Popen(
            begin, stdin=its, stdout=its, stderr=its, env=environment(), start_new_session=True
        )
        os.close(its)
        self._shown = ""
        self.wait_for("listening on ")
        self.wait_for("\n", since=self._shown.index("listening on "))
        self.url = self._shown.split("listening on ")[1].split()[0]

    def wait_for(self, text: str, *, since: int = 0) -> None:
        """Until the terminal shows it."""
        until = time.monotonic() + PATIENCE
        while text not in self._shown[since:]:
            assert time.monotonic() < until, self._shown
            if select.select([self._ours], [], [], 0.2)[0]:
                self._shown += os.read(self._ours, 4096).decode()

    def close(self) -> None:
        """Close the terminal, as its window or a lost connection does."""
        os.close(self._ours)


@pytest.mark.parametrize("nohup", [False, True], ids=["ends with it", "control: nohup"])
def test_relay_ends_with_its_terminal_and_not_by_a_signal_before(tmp_path: Path, nohup: bool) -> None:
    relay = InTerminal(tmp_path / "data", nohup=nohup)
    try:
        relay.process.send_signal(signal.SIGHUP)
        relay.wait_for(" nothing-to-reload: ")
        relay.close()
        if nohup:
            with ReferenceClient(relay.url) as client:
                client.login()
            relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(PATIENCE) == 0
    finally:
        relay.process.kill()
        relay.process.wait()
