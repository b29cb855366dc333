import ipaddress
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from phantom_messenger import relay
from phantom_messenger.events import LogFormat
from phantom_messenger.relay.config import (
    SETTINGS,
    Config,
    ConfigError,
    default_of,
    load_config,
    unknown_variables,
)
from phantom_messenger.wire.limits import RATES, RateClass
from support.cases import each

VALUES: dict[str, list[tuple[str, Any]]] = {
    "host": [("0.0.0.0", ("0.0.0.0",)), ("[::1], relay.test,::1", ("::1", "relay.test"))],  # noqa: S104 - a value to read
    "port": [("0", 0), ("65535", 65_535)],
    "data": [("/somewhere", Path("/somewhere")), ("~/relay", Path.home() / "relay")],
    "store": [
        ("postgresql://me@a.test,b.test:5433/phantom", "postgresql://me@a.test,b.test:5433/phantom"),
        (" postgres:///phantom ", "postgres:///phantom"),
    ],
    "durability": [("single", "single"), ("QUORUM", "quorum")],
    "share_port": [("on", True), ("off", False)],
    "limits": [("off", False), ("ON", True), ("no", False), ("yes", True), ("0", False), ("1", True)],
    "reference_clients": [("on", True), ("false", False)],
    "web": [("off", False), ("on", True)],
    "public_names": [
        ("A.test, b.test:8443,", ("a.test", "b.test:8443")),
        ("a.test.,a.test:443,a.test:80", ("a.test",)),
        ("bücher.example", ("xn--bcher-kva.example",)),
        ("[0:0:0:0:0:0:0:1]:8080,192.0.2.1:81", ("[::1]:8080", "192.0.2.1:81")),
        ("any", ("any",)),
    ],
    "allowed_origins": [
        ("https://A.test", ("https://a.test",)),
        (
            "https://a.test:443,http://a.test.:80,http://a.test:443",
            ("https://a.test", "http://a.test", "http://a.test:443"),
        ),
        ("https://bücher.example:8443", ("https://xn--bcher-kva.example:8443",)),
        ("null,file://,app://Me", ("null", "file://", "app://me")),
    ],
    "trusted_proxies": [("10.0.0.0/8,fd00::1", (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::1")))],
    "server_name": [("ours", "ours")],
    "log_level": [("debug", "debug"), (" Error ", "error")],
    "log_format": [("text", LogFormat.TEXT), ("JSON", LogFormat.JSON)],
    "verify_workers": [("0", 0), ("16", 16)],
    "connections_per_address": [("1", 1), ("1000000", 1_000_000)],
    "mail_days": [("1", 1), ("3650", 3_650)],
    "account_days": [("1", 1), ("36500", 36_500)],
    "mailbox_megabytes": [("1", 1), ("1000000", 1_000_000)],
    "address_megabytes_a_day": [("1", 1), ("1000000", 1_000_000)],
    **{f"rate_{rate.lower()}": [("1", 1), ("1000000000", 1_000_000_000)] for rate in RateClass},
}
NEED_NAMES = {"host", "trusted_proxies"}
WRONG: list[tuple[str, str]] = [
    ("host", ""),
    ("host", " "),
    ("host", ","),
    ("port", "http"),
    ("port", "-1"),
    ("port", "65536"),
    ("port", "80.5"),
    ("port", ""),
    ("data", ""),
    ("store", ""),
    ("store", "relay.db"),
    ("store", "mysql://a.test/phantom"),
    ("durability", "none"),
    ("share_port", "perhaps"),
    ("tls_cert", ""),
    ("tls_key", " "),
    ("limits", "maybe"),
    ("limits", ""),
    ("reference_clients", "2"),
    ("web", "maybe"),
    ("public_names", "a.test b.test"),
    ("public_names", "*.a.test"),
    ("public_names", "*"),
    ("public_names", "https://a.test"),
    ("public_names", "a.test/ws"),
    ("public_names", "a.test:0"),
    ("public_names", "a.test:65536"),
    ("public_names", "a.test:https"),
    ("public_names", "a.test:"),
    ("public_names", "::1"),
    ("public_names", "[::1"),
    ("public_names", "a..test"),
    ("public_names", "-a.test"),
    ("public_names", "a" * 64),
    ("public_names", "a." * 150),
    ("public_names", "any,a.test"),
    ("allowed_origins", "https://a.test/"),
    ("allowed_origins", "https://a.test/app"),
    ("allowed_origins", "https://*.a.test"),
    ("allowed_origins", "a.test"),
    ("allowed_origins", "*"),
    ("allowed_origins", "https://a.test https://b.test"),
    ("allowed_origins", "https://a.test:99999"),
    ("allowed_origins", "https://"),
    ("allowed_origins", "app://*"),
    ("trusted_proxies", "10.0.0.0/40"),
    ("trusted_proxies", "10.0.0.1/8"),
    ("trusted_proxies", "proxy.test"),
    ("server_name", ""),
    ("log_level", "loud"),
    ("log_format", "xml"),
    ("verify_workers", "-1"),
    ("verify_workers", "17"),
    ("connections_per_address", "0"),
    ("connections_per_address", "many"),
    ("mail_days", "0"),
    ("mail_days", "3651"),
    ("account_days", "0"),
    ("mailbox_megabytes", "0"),
    ("address_megabytes_a_day", "-1"),
    *((f"rate_{rate.lower()}", value) for rate in RateClass for value in ("0", "-1", "x", "1000000001")),
]


def test_every_setting_has_a_case() -> None:
    assert set(SETTINGS) - set(VALUES) == {"tls_cert", "tls_key"}
    assert set(SETTINGS) == set(Config.__dataclass_fields__)


@pytest.mark.parametrize("place", ["cli", "environment", "file"])
@pytest.mark.parametrize(("name", "text", "value"), [(name, *row) for name, rows in VALUES.items() for row in rows])
def test_setting_is_read_from(tmp_path: Path, name: str, text: str, value: object, place: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f"{name} = '{text}'\n" if place == "file" else "")
    given = {name: text} if place == "cli" else {}
    environ = {f"PHANTOM_{name.upper()}": text} if place == "environment" else {}
    if name in NEED_NAMES:
        given["public_names"] = "relay.test"
    assert getattr(load_config(given, environ, file), name) == value


@pytest.mark.parametrize(("name", "text"), WRONG)
@pytest.mark.parametrize("place", ["cli", "environment", "file"])
def test_wrong_value_names_its_setting(tmp_path: Path, name: str, text: str, place: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(f"{name} = '{text}'\n" if place == "file" else "")
    given = {name: text} if place == "cli" else {}
    environ = {f"PHANTOM_{name.upper()}": text} if place == "environment" else {}
    with pytest.raises(ConfigError) as found:
        load_config(given, environ, file)
    written = {
        "cli": f"--{name.replace('_', '-')} ",
        "environment": f"PHANTOM_{name.upper()} ",
        "file": f"{name} in {file} ",
    }
    assert str(found.value).startswith(written[place])
    assert "\n" not in str(found.value)
    assert repr(text) in str(found.value)


def test_port_is_shared_on_linux_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not load_config({"share_port": "off"}, {}).share_port
    with pytest.raises(ConfigError, match="--share-port needs Linux"):
        load_config({"share_port": "on"}, {})


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("port = 1\nhost = 'file'\nserver_name = 'file'\n")
    environ = {"PHANTOM_PORT": "2", "PHANTOM_HOST": "environment", "PHANTOM_PUBLIC_NAMES": "relay.test"}
    config = load_config({"port": "3", "host": None}, environ, file)
    assert (config.port, config.host, config.server_name, config.limits) == (3, ("environment",), "file", True)


def test_wrong_value_that_is_overruled_does_no_harm() -> None:
    assert load_config({"port": "3"}, {"PHANTOM_PORT": "rubbish"}).port == 3


SERVICE_LINKS = {
    "PHANTOM_SERVICE_HOST": "10.96.0.7",
    "PHANTOM_SERVICE_PORT": "8080",
    "PHANTOM_SERVICE_PORT_WS": "8080",
    "PHANTOM_PORT": "tcp://10.96.0.7:8080",
    "PHANTOM_PORT_8080_TCP": "tcp://10.96.0.7:8080",
    "PHANTOM_PORT_8080_TCP_PROTO": "tcp",
    "PHANTOM_PORT_8080_TCP_PORT": "8080",
    "PHANTOM_PORT_8080_TCP_ADDR": "10.96.0.7",
    "PHANTOM_RELAY_SERVICE_HOST": "10.96.0.8",
    "PHANTOM_RELAY_SERVICE_PORT": "8080",
    "PHANTOM_RELAY_PORT": "tcp://10.96.0.8:8080",
}
"""What Kubernetes sets beside Services called ``phantom`` and ``phantom-relay``."""


def test_what_kubernetes_says_of_a_service_is_no_setting() -> None:
    assert load_config({}, SERVICE_LINKS).port == 8080
    assert unknown_variables(SERVICE_LINKS) == []
    assert load_config({}, {**SERVICE_LINKS, "PHANTOM_PORT": "81"}).port == 81, "an operator's own word counts"
    with pytest.raises(ConfigError, match="PHANTOM_PORT must be a whole number"):
        load_config({}, {"PHANTOM_PORT": SERVICE_LINKS["PHANTOM_PORT"]})
    assert unknown_variables({"PHANTOM_RELAY_PORT": "8080"}) == ["PHANTOM_RELAY_PORT"]


def test_misspelt_variable_is_known_for_one() -> None:
    right = {f"PHANTOM_{name.upper()}": "" for name in SETTINGS} | {
        "PHANTOM_CONFIG": "",
        "PHANTOM_HOME": "",
        "HOME": "",
    }
    assert unknown_variables(right) == []
    wrong = {"PHANTOM_PUBLIC_NAME": "relay.test", "PHANTOM_Port": "1"}
    assert unknown_variables(right | wrong) == sorted(wrong)


def test_every_variable_of_the_command_line_is_known() -> None:
    source = "".join(file.read_text() for file in Path(relay.__file__).parents[1].rglob("*.py"))
    named = set(re.findall(r"\bPHANTOM_[A-Z_]*[A-Z]\b", source))
    assert {"PHANTOM_PASSPHRASE", "PHANTOM_PROFILE"} <= named
    assert unknown_variables(dict.fromkeys(named, "")) == []


def test_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(b"\xef\xbb\xbfport = 81\n")
    assert load_config({}, {}, file).port == 81


@each("name", SETTINGS)
def test_default_is_told(name: str) -> None:
    told = default_of(name)
    assert (told == "") is (
        name in {"store", "durability", "tls_cert", "tls_key", "allowed_origins", "trusted_proxies"}
    )
    if told and name not in {"data", "public_names", "verify_workers"}:
        assert getattr(load_config({name: told}, {}), name) == getattr(Config(), name)


def test_defaults_are_those_of_the_reference() -> None:
    config = load_config({}, {})
    assert dict(config.rates) == dict(RATES)
    assert {rate: config.rates[rate] for rate in list(RateClass)[:5]} == {
        RateClass.AUTH: 5,
        RateClass.MESSAGE: 60,
        RateClass.KEY_EXCHANGE: 10,
        RateClass.PRESENCE: 30,
        RateClass.PING: 60,
    }
    assert config.max_connections == 10
    assert config.host == ("127.0.0.1",)
    assert not config.reference_clients
    assert config.data.is_absolute()


def test_file_may_use_the_types_of_toml(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text(
        "port = 8081\nlimits = false\nreference_clients = true\n"
        "public_names = ['a.test', 'b.test']\ntrusted_proxies = ['10.0.0.0/8']\n"
    )
    config = load_config({}, {}, file)
    assert (config.port, config.limits, config.reference_clients) == (8081, False, True)
    assert config.public_names == ("a.test", "b.test")
    assert config.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"prot = 1", "prot"),
        (b"port = 1.5", "port"),
        (b"[port]\nx = 1", "port"),
        (b"[limits]\nx = 1", "limits"),
        (b"port = ", "TOML"),
        (b"\xff", "TOML"),
        (b"port = 1\nport = 2", "TOML"),
    ],
)
def test_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, word: str) -> None:
    file = tmp_path / "relay.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as found:
        load_config({}, {}, file)
    assert str(file) in str(found.value)
    assert word in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"--config .* cannot be read"):
        load_config({}, {}, tmp_path / name)


@pytest.mark.parametrize(("given", "missing"), [("tls_cert", "--tls-key"), ("tls_key", "--tls-cert")])
def test_certificate_and_key_come_together(given: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=missing):
        load_config({given: "/some/file.pem"}, {})


def test_lifted_limits_are_no_limits() -> None:
    config = load_config({"limits": "off"}, {})
    assert (dict(config.rates), config.max_connections) == ({}, 0)
