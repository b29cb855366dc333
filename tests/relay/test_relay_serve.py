"""``phantom serve`` as people run it."""

import socket
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from phantom_messenger.version import __version__
from support.certificates import self_signed
from support.reference_client import Connect
from support.relay_process import SERVE, WARM, Command, RelayProcess, StartRelay, serve


@pytest.fixture
def start_installed(start_relay: StartRelay) -> StartRelay:
    """Starts relays as their users do; ``test_warm_phantom`` shows that the others say the same."""
    return partial(start_relay, command=SERVE)


# --- what it refuses --------------------------------------------------------------


def assert_refused(
    code: int, arguments: list[str], *words: str, more: dict[str, str] | None = None, command: Command = WARM
) -> None:
    """It ends with this code and one line that holds these words."""
    found = serve(*arguments, more=more, command=command)
    assert found.returncode == code, found.stderr
    assert found.stdout == ""
    lines = [line for line in found.stderr.splitlines() if " warning " not in line]
    assert len(lines) == 1, found.stderr
    assert lines[0].startswith("phantom serve: ")
    for word in words:
        assert word in lines[0]


WRONG = {
    "port": ["--port", "http"],
    "limits": ["--limits", "maybe"],
    "trusted-proxies": ["--trusted-proxies", "10.0.0.0/40"],
    "rate-message": ["--rate-message", "0"],
    "tls-key": ["--tls-cert", "cert.pem"],
    "tls-cert": ["--tls-key", "key.pem"],
    "data": ["--data", ""],
    "host": ["--host", "no such host.invalid", "--public-names", "a.test"],
    "host ": ["--host", "x" * 70, "--public-names", "a.test"],
    "host  ": ["--host", "192.0.2.1", "--public-names", "a.test"],
    "host   ": ["--host", "192.0.2.1"],
    "trusted-proxies ": ["--trusted-proxies", "127.0.0.1"],
    "public-names": ["--public-names", "a.test b.test"],
    "allowed-origins": ["--allowed-origins", "https://a.test/"],
    "config": ["--config", "missing.toml"],
}


@pytest.mark.parametrize(("name", "arguments"), WRONG.items(), ids=WRONG)
def test_wrong_value_is_one_line_that_names_the_setting(tmp_path: Path, name: str, arguments: list[str]) -> None:
    known = [] if name == "data" else ["--data", str(tmp_path / "data")]
    command = SERVE if name in {"port", "config"} else WARM  # two of them as it is installed
    assert_refused(2, [*known, "--port", "0", *arguments], f"--{name.strip()}", command=command)


def test_wrong_value_of_the_environment_is_named(tmp_path: Path) -> None:
    more = {"PHANTOM_RATE_MESSAGE": "x"}
    assert_refused(2, ["--data", str(tmp_path / "data")], "PHANTOM_RATE_MESSAGE", more=more)


@pytest.mark.parametrize("value", ["on", "off"])
def test_setting_that_was_replaced_is_refused_with_the_new_one(tmp_path: Path, value: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f"allow_unsigned_auth = {'true' if value == 'on' else 'false'}\n")
    data = ["--data", str(tmp_path / "data")]
    assert_refused(2, [*data, "--config", str(file)], "allow_unsigned_auth", "--reference-clients")
    assert_refused(
        2, data, "PHANTOM_ALLOW_UNSIGNED_AUTH", "--reference-clients", more={"PHANTOM_ALLOW_UNSIGNED_AUTH": value}
    )
    assert_refused(2, [*data, "--allow-unsigned-auth"], "--allow-unsigned-auth", "--reference-clients")


def test_unknown_option_ends_with_2() -> None:
    found = serve("--prot", "1")
    assert found.returncode == 2
    assert "--prot" in found.stderr


def test_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert_refused(2, ["--data", str(tmp_path / "data"), "--port", port], f"--port {port}", "another")


def test_second_relay_on_a_folder_is_told(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay()
    assert_refused(1, ["--data", str(relay.data), "--port", "0"], "another relay", str(relay.data), "--data")
    assert connect(relay).login()


def test_folder_is_free_after_the_relay_ended(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay()
    for end in (relay.kill, relay.stop):
        end()
        relay.restart()
        connect(relay).login()


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert_refused(1, ["--data", str(file / "data"), "--port", "0"], str(file / "data"), "--data")


def test_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert_refused(1, ["--data", str(file), "--port", "0"], str(file), "--data")


def test_database_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "relay.db").mkdir()
    assert_refused(1, ["--data", str(tmp_path), "--port", "0"], str(tmp_path))


@pytest.mark.parametrize("damage", ["rubbish", "a broken first page"])
def test_damaged_database_is_told(tmp_path: Path, start_relay: StartRelay, damage: str) -> None:
    if damage == "rubbish":
        data = tmp_path
        (data / "relay.db").write_bytes(b"rubbish " * 1_000)
    else:
        relay = start_relay()
        relay.stop()
        data = relay.data
        with (data / "relay.db").open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 3_900)
    assert_refused(1, ["--data", str(data), "--port", "0"], "relay.db", "backup")


def test_database_of_a_newer_version_is_told(start_relay: StartRelay) -> None:
    relay = start_relay()
    relay.stop()
    connection = sqlite3.connect(relay.data / "relay.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert_refused(1, ["--data", str(relay.data), "--port", "0"], "newer version", str(relay.data))


# --- what it tells ----------------------------------------------------------------


def test_line_tells_where_it_listens(start_installed: StartRelay, connect: Connect) -> None:
    relay = start_installed()
    assert relay.port
    assert relay.line == f"listening on ws://127.0.0.1:{relay.port}/ws\n"
    connect(relay).login()


def test_environment_and_file_are_heeded(tmp_path: Path, start_installed: StartRelay, connect: Connect) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("server_name = 'from the file'\nport = 0\nrate_message = 7\n")
    relay = start_installed("--config", str(file), more={"PHANTOM_SERVER_NAME": "from the environment"}, port=None)
    payload = connect(relay).acknowledgement["payload"]
    assert payload["serverName"] == "from the environment"
    assert payload["limits"]["messagesPerMinute"] == 7


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--limits", "off"], "--limits"),
        (["--reference-clients", "on"], "--reference-clients"),
        (["--public-names", "any"], "--public-names any"),
    ],
    ids=["limits off", "reference clients", "any name"],
)
def test_danger_is_warned_of(start_relay: StartRelay, arguments: list[str], word: str) -> None:
    relay = start_relay(*arguments)
    assert [line for line in relay.doubts if word in line]


def test_misspelt_variable_is_warned_of(start_relay: StartRelay) -> None:
    relay = start_relay(more={"PHANTOM_PUBLIC_NAME": "relay.test", "PHANTOM_HOME": "/somewhere"})
    [line] = relay.doubts
    assert line.endswith("variable=PHANTOM_PUBLIC_NAME")


def test_help_tells_defaults() -> None:
    found = serve("--help").stdout
    assert "[default: 127.0.0.1]" in found
    assert "[default: off]" in found


def test_careful_settings_give_no_warning(start_relay: StartRelay) -> None:
    assert start_relay("--public-names", "relay.test").doubts == []


def test_public_name_is_the_audience(start_relay: StartRelay, connect: Connect) -> None:
    relay = start_relay("--public-names", "relay.test")
    client = connect(relay)
    client.send(client.person.auth(client.acknowledgement, client.audience))
    assert client.closed()[0] == 4001
    client = connect(relay)
    assert client.ask(client.person.auth(client.acknowledgement, "relay.test"))["type"] == "AUTH_SUCCESS"


def test_data_is_for_its_owner_alone(relay: RelayProcess) -> None:
    assert relay.data.stat().st_mode & 0o777 == 0o700
    for file in relay.data.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name


def test_nobody_is_named_in_the_log(start_installed: StartRelay, connect: Connect) -> None:
    relay = start_installed("--public-names", "relay.test")
    client = connect(relay)
    client.send_text("not JSON")
    client.receive()
    client.ask(client.person.auth(client.acknowledgement, "relay.test"))
    client.send(client.person.message(client.person))
    client.settle()
    client.cut()
    relay.stop()
    assert [line.split(" ", 1)[1] for line in relay.log.splitlines()] == [
        f"info started: the relay is listening version={__version__}",
        "info stopping: the relay is shutting down and notifying its clients connections=0",
        "info stopped: the relay has stopped; everything it accepted is stored",
    ]


def test_ipv6_is_served(start_relay: StartRelay, connect: Connect) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    relay = start_relay("--host", "::1")
    assert relay.url == f"ws://[::1]:{relay.port}/ws"
    connect(relay).login()


# --- TLS --------------------------------------------------------------------------


def test_wss_works(tmp_path: Path, start_relay: StartRelay, connect: Connect) -> None:
    certificate = self_signed(tmp_path)
    relay = start_relay("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    assert relay.url == f"wss://127.0.0.1:{relay.port}/ws"
    alice, bob = (connect(relay, tls=certificate.trust()).login() for _ in range(2))
    big = "QUJD" * 15_360
    alice.send(alice.person.message(bob.person, encrypted=big))
    assert alice.expect("MESSAGE_ACK")["payload"]["status"] == "accepted"
    assert bob.expect("MESSAGE")["payload"]["encrypted"] == big
    assert relay.stop() == 0
    assert bob.closed()[0] == 1001


def test_certificate_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    one, other = self_signed(tmp_path / "one"), self_signed(tmp_path / "other")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    for cert, key in (
        (one.cert, other.key),
        (one.cert, rubbish),
        (rubbish, one.key),
        (one.cert, tmp_path / "missing.pem"),
    ):
        arguments = ["--data", str(tmp_path / "data"), "--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)]
        assert_refused(2, arguments, "--tls-cert")
