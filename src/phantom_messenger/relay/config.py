"""Every setting of the relay, from four places, into one frozen value.

The command line beats the environment (``PHANTOM_<NAME>``), that beats the file, that
beats the default. A wrong value names the setting, whichever place it came from.

Others write into the same environment: the client's own variables, and Kubernetes, which tells
every container of a Service named ``phantom`` by ``PHANTOM_PORT=tcp://10.0.0.7:8080`` and the like.
"""

import ipaddress
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import platformdirs

from phantom_messenger.events import LEVELS, LogFormat
from phantom_messenger.relay import public_names
from phantom_messenger.wire.limits import MAX_CONNECTIONS_PER_ADDRESS, RATES, RateClass

MEGABYTE: Final = 1_000_000

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigError(Exception):
    """A setting cannot be used; the message is one line that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings; see ``SETTINGS`` for what each is for."""

    host: tuple[str, ...] = ("127.0.0.1",)
    port: int = 8080
    data: Path = Path("phantom-relay")
    store: str = ""
    durability: str = ""
    share_port: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    limits: bool = True
    reference_clients: bool = False
    public_names: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    web: bool = True
    trusted_proxies: tuple[Network, ...] = ()
    server_name: str = "phantom"
    log_level: str = "info"
    log_format: LogFormat = LogFormat.TEXT
    verify_workers: int | None = None
    rate_auth: int = RATES[RateClass.AUTH]
    rate_message: int = RATES[RateClass.MESSAGE]
    rate_key_exchange: int = RATES[RateClass.KEY_EXCHANGE]
    rate_presence: int = RATES[RateClass.PRESENCE]
    rate_ping: int = RATES[RateClass.PING]
    rate_prekey: int = RATES[RateClass.PREKEY]
    rate_ack: int = RATES[RateClass.ACK]
    rate_block: int = RATES[RateClass.BLOCK]
    rate_recipients: int = RATES[RateClass.RECIPIENTS]
    connections_per_address: int = MAX_CONNECTIONS_PER_ADDRESS
    mail_days: int = 30
    account_days: int = 365
    mailbox_megabytes: int = 32
    address_megabytes_a_day: int = 256

    @property
    def rates(self) -> Mapping[RateClass, int]:
        """Requests a minute by class; empty when limits are lifted."""
        if not self.limits:
            return {}
        return {rate: getattr(self, f"rate_{rate.lower()}") for rate in RateClass}

    @property
    def max_connections(self) -> int:
        """Connections of one address; 0 when limits are lifted."""
        return self.connections_per_address if self.limits else 0

    @property
    def mailbox_bytes(self) -> int | None:
        """Of one mailbox; None when limits are lifted."""
        return self.mailbox_megabytes * MEGABYTE if self.limits else None

    @property
    def address_bytes(self) -> int | None:
        """Stored from one address in a day; None when limits are lifted."""
        return self.address_megabytes_a_day * MEGABYTE if self.limits else None


@dataclass(frozen=True, slots=True)
class Setting:
    """How one setting is read from text, and what it is for."""

    parse: Callable[[str], Any]
    help: str


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("may not be empty")
    return value.strip()


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError(f"must be a whole number from {least} to {most}") from None
        if not least <= number <= most:
            raise ValueError(f"must be from {least} to {most}")
        return number

    return parse


def _switch(value: str) -> bool:
    match value.strip().lower():
        case "on" | "true" | "yes" | "1":
            return True
        case "off" | "false" | "no" | "0":
            return False
        case _:
            raise ValueError("must be 'on' or 'off'")


def _choice(words: Iterable[str]) -> Callable[[str], str]:
    allowed = tuple(words)

    def parse(value: str) -> str:
        word = value.strip().lower()
        if word not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return word

    return parse


def _path(value: str) -> Path:
    return Path(_text(value)).expanduser()


def _store(value: str) -> str:
    if not re.match(r"postgres(ql)?://", value.strip()):
        raise ValueError("must begin with postgresql://, or be left out for a store in the data folder")
    return value.strip()


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in value.split(",") if word.strip())


def _hosts(value: str) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(word.removeprefix("[").removesuffix("]") for word in _words(value)))
    if not hosts:
        raise ValueError("may not be empty")
    return hosts


def _names(value: str) -> tuple[str, ...]:
    words = _words(value)
    if public_names.ANY in words:
        if len(words) > 1:
            raise ValueError(f"must be '{public_names.ANY}' or names, not both")
        return words
    return _each(
        words, public_names.normal_name, "must be names like chat.example.org or host:8443, as clients dial them"
    )


def _origins(value: str) -> tuple[str, ...]:
    form = "must be origins like https://chat.example.org or https://host:8443"
    return _each(_words(value), public_names.normal_origin, form)


def _each(words: Iterable[str], normal: Callable[[str], str], form: str) -> tuple[str, ...]:
    found = []
    for word in words:
        try:
            found.append(normal(word))
        except ValueError as error:
            raise ValueError(f"{form}; '{word}' {error}") from None
    return tuple(dict.fromkeys(found))


def _networks(value: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(word) for word in _words(value))
    except ValueError:
        raise ValueError("must be networks like 10.0.0.0/8,fd00::/8") from None


_PREFIX: Final = "PHANTOM_"
_OTHERS: Final = {
    f"{_PREFIX}{name}" for name in ("CONFIG", "DEBUG", "EXPORT_PASSPHRASE", "HOME", "PASSPHRASE", "PROFILE")
}
"""Variables of the command line's other parts."""

_SERVICE_LINK: Final = re.compile(
    r"(PHANTOM(?:_[A-Z0-9_]+?)??)_(SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_[A-Z_]+)?)"
)

_RATE: Final = _number(1, 1_000_000_000)

SETTINGS: Final[dict[str, Setting]] = {
    "host": Setting(_hosts, "addresses to listen on; '::' includes IPv4"),
    "port": Setting(_number(0, 65_535), "port to listen on; 0 picks a free one"),
    "data": Setting(_path, "data folder"),
    "store": Setting(
        _store, "postgresql://USER@HOST[:PORT][,HOST...]/DATABASE instead of the data folder, for several relays"
    ),
    "durability": Setting(
        _choice(("single", "quorum")),
        "of a PostgreSQL store: 'quorum' accepts what standbys have too; by default, if the store has several hosts",
    ),
    "share_port": Setting(
        _switch, "'on' lets several relays of one system user listen on the same port, one for each core; Linux only"
    ),
    "tls_cert": Setting(_path, "certificate chain (PEM) for wss"),
    "tls_key": Setting(_path, "private key (PEM) for wss"),
    "limits": Setting(_switch, "'off' lifts rate and connection limits; sizes and timeouts stay"),
    "reference_clients": Setting(
        _switch, "'on' admits clients written from the API reference, whose logins prove nothing; closed networks only"
    ),
    "public_names": Setting(
        _names, "names (host[:port]) that clients dial to reach this relay; 'any' accepts whatever a client sends"
    ),
    "allowed_origins": Setting(_origins, "origins of web pages that may connect, besides the relay's own"),
    "web": Setting(_switch, "'off' serves no page for browsers at /"),
    "trusted_proxies": Setting(_networks, "networks whose X-Forwarded-For is trusted"),
    "server_name": Setting(_text, "name of this relay in CONNECTION_ACK"),
    "log_level": Setting(_choice(LEVELS), f"lowest level to log: {', '.join(LEVELS)}"),
    "log_format": Setting(lambda value: LogFormat(_choice(LogFormat)(value)), "format of the log: text or json"),
    "verify_workers": Setting(
        _number(0, 16),
        "additional processes that verify signatures",
    ),
    "rate_auth": Setting(_RATE, "AUTH per minute and user; failed logins and new accounts per minute and address"),
    "rate_message": Setting(_RATE, "MESSAGE and MESSAGE_MANY per minute and user"),
    "rate_key_exchange": Setting(_RATE, "KEY_EXCHANGE_* and PREKEY_FETCH per minute and user"),
    "rate_presence": Setting(_RATE, "PRESENCE per minute and user"),
    "rate_ping": Setting(_RATE, "PING per minute and user"),
    "rate_prekey": Setting(_RATE, "PREKEY_PUBLISH, PREKEY_STATUS and ACCOUNT_DELETE per minute and user"),
    "rate_ack": Setting(_RATE, "MESSAGE_ACK per minute and user"),
    "rate_block": Setting(_RATE, "BLOCK and ALLOWANCE per minute and user"),
    "rate_recipients": Setting(_RATE, "recipients of MESSAGE_MANY per minute and user"),
    "connections_per_address": Setting(_number(1, 1_000_000), "connections per address"),
    "mail_days": Setting(_number(1, 3_650), "days to keep messages that nobody fetches"),
    "account_days": Setting(_number(1, 36_500), "days after which an unused account without mail is removed"),
    "mailbox_megabytes": Setting(_number(1, 1_000_000), "size of one mailbox; strangers can fill a quarter of it"),
    "address_megabytes_a_day": Setting(_number(1, 1_000_000), "what senders at one address can have stored in a day"),
}


REPLACED: Final = {
    "allow_unsigned_auth": "use --reference-clients on, or reference_clients in a file, and read in docs/operating.md"
    " what it gives up",
}
"""Settings of earlier versions, and what to do instead."""

_DEFAULTS_IN_WORDS: Final = {
    "data": "the platform's place for data",
    "public_names": "the addresses listened on, if only this machine can reach them",
    "verify_workers": "half the cores, at most 2",
}


def default_of(name: str) -> str:
    """What a setting is if nothing is said, for people; '' for nothing."""
    if name in _DEFAULTS_IN_WORDS:
        return _DEFAULTS_IN_WORDS[name]
    match Config.__dataclass_fields__[name].default:
        case bool(default):
            return "on" if default else "off"
        case tuple(default):
            return ",".join(default)
        case None:
            return ""
        case default:
            return str(default)


def default_data_folder() -> Path:
    """Where the relay keeps its data if nothing else is said."""
    return Path(platformdirs.user_data_dir("phantom-messenger", appauthor=False)) / "relay"


def load_config(given: Mapping[str, str | None], environ: Mapping[str, str], file: Path | None = None) -> Config:
    """Put the settings together.

    Args:
        given: texts from the command line by setting name; None if not given.
        environ: the environment.
        file: a TOML file whose keys are setting names.

    Raises:
        ConfigError: a value, a key of the file or a combination cannot be used.
    """
    texts: dict[str, tuple[str, str]] = {}
    for name, text in _read_file(file).items():
        texts[name] = (text, f"{name} in {file}")
    for name in (*SETTINGS, *REPLACED):
        variable = f"{_PREFIX}{name.upper()}"
        if variable in environ and not _is_service_link(variable, environ):
            texts[name] = (environ[variable], variable)
    for name, option in given.items():
        if option is not None:
            texts[name] = (option, f"--{name.replace('_', '-')}")
    values: dict[str, Any] = {"data": default_data_folder()}
    for name, (text, place) in texts.items():
        if name in REPLACED:
            raise ConfigError(f"{place} is no setting any more: {REPLACED[name]}")
        try:
            values[name] = SETTINGS[name].parse(text)
        except ValueError as error:
            raise ConfigError(f"{place} {error} (it is {text!r})") from None
    return _consistent(Config(**values))


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """The names of variables that look like a setting and are none: slips of whoever has set them."""
    known = {f"{_PREFIX}{name.upper()}" for name in SETTINGS} | _OTHERS
    return sorted(
        name
        for name in environ
        if name.startswith(_PREFIX) and name not in known and not _is_service_link(name, environ)
    )


def _is_service_link(variable: str, environ: Mapping[str, str]) -> bool:
    """Whether Kubernetes has set this variable for a Service, which it names by ``..._SERVICE_HOST`` too."""
    found = _SERVICE_LINK.fullmatch(variable)
    if found is None or f"{found[1]}_SERVICE_HOST" not in environ:
        return False
    return found[2] != "PORT" or "://" in environ[variable]


def _consistent(config: Config) -> Config:
    if config.share_port and sys.platform != "linux":
        raise ConfigError(
            "--share-port needs Linux: other systems do not deal connections out to those who share a port"
        )
    if (config.tls_cert is None) != (config.tls_key is None):
        missing = "--tls-key" if config.tls_key is None else "--tls-cert"
        raise ConfigError(f"{missing} is missing: wss needs both --tls-cert and --tls-key")
    if not config.public_names:
        reached = [host for host in config.host if not public_names.is_loopback(host)]
        if reached or config.trusted_proxies:
            cause = f"--host {reached[0]}" if reached else "--trusted-proxies"
            raise ConfigError(
                f"{cause} needs --public-names: the names under which clients dial this relay, "
                "for example 'chat.example.org' or '192.168.1.7:8080'; docs/operating.md, Its names, says why"
            )
    return config


def _read_file(file: Path | None) -> dict[str, str]:
    if file is None:
        return {}
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors of Windows write a mark
    except OSError as error:
        raise ConfigError(f"--config {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {file} is not TOML: {error}") from None
    texts: dict[str, str] = {}
    for name, value in table.items():
        if name not in SETTINGS and name not in REPLACED:
            raise ConfigError(f"{name} in {file} is not a setting; there are: {', '.join(SETTINGS)}")
        match value:
            case bool():
                texts[name] = "on" if value else "off"
            case list():
                texts[name] = ",".join(map(str, value))
            case _:
                texts[name] = str(value)
    return texts
