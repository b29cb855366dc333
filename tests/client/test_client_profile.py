from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import platformdirs
import pytest
from websockets.headers import build_host
from websockets.uri import parse_uri

from phantom_messenger.client import profile
from phantom_messenger.client.errors import PassphraseNeeded, UsageError
from phantom_messenger.client.vault import Vault
from phantom_messenger.relay import public_names
from support.cases import each


class MemoryKeyring(keyring.backend.KeyringBackend):
    """A keyring that keeps its passwords in this object; ``locked`` by a user who does not answer."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # keyring's own
        self.passwords: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self._check()
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check()
        self.passwords[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        if (service, username) not in self.passwords:
            raise keyring.errors.PasswordDeleteError("not there")
        del self.passwords[service, username]

    def _check(self) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")


class NoKeyring(MemoryKeyring):
    """What a machine without a keyring has."""

    priority = 0


@pytest.fixture(autouse=True)
def system_keyring() -> Iterator[MemoryKeyring]:
    before = keyring.get_keyring()
    stub = MemoryKeyring()
    keyring.set_keyring(stub)
    yield stub
    keyring.set_keyring(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return profile.vault_path("alice", tmp_path)


# --- names ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "a", "Alice-2", "a.b_c", "0", "x" * 64])
def test_profile_is_a_file_of_its_name(tmp_path: Path, name: str) -> None:
    assert profile.vault_path(name, tmp_path) == tmp_path / "profiles" / f"{name}.vault"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-p", "_a", "a/b", "../a", "a\\b", "a b", "a\n", "a\0", "é", "x" * 65, "a:b", "~", "a*"],
)
def test_name_that_could_be_another_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="profile name"):
        profile.vault_path(name, tmp_path)


# --- the folder -------------------------------------------------------------------


def test_home_is_the_argument_then_the_variable_then_the_platform(tmp_path: Path) -> None:
    variable = {"PHANTOM_HOME": "/of/the/variable"}
    assert profile.home_folder(tmp_path, variable) == tmp_path
    assert profile.home_folder(str(tmp_path), variable) == tmp_path
    assert profile.home_folder(None, variable) == Path("/of/the/variable")
    platform = Path(platformdirs.user_data_dir("phantom-messenger", appauthor=False))
    assert profile.home_folder(None, {}) == platform
    assert profile.home_folder(None, {"PHANTOM_HOME": ""}) == platform


def test_home_may_begin_with_a_tilde() -> None:
    assert profile.home_folder("~/phantom", {}) == Path.home() / "phantom"
    assert profile.home_folder(None, {"PHANTOM_HOME": "~/phantom"}) == Path.home() / "phantom"


# --- URLs -------------------------------------------------------------------------

URLS = {
    "ws://127.0.0.1:8080/ws": "ws://127.0.0.1:8080/ws",
    "ws://127.0.0.1:8080": "ws://127.0.0.1:8080/ws",
    "ws://127.0.0.1:8080/": "ws://127.0.0.1:8080/ws",
    "wss://relay.example": "wss://relay.example/ws",
    "wss://relay.example/chat/ws": "wss://relay.example/chat/ws",
    "  ws://relay.example/ws\n": "ws://relay.example/ws",
    "WSS://relay.example/ws": "wss://relay.example/ws",
    "ws://[::1]:8080": "ws://[::1]:8080/ws",
    "wss://bücher.example/ws": "wss://xn--bcher-kva.example/ws",
    "wss://BÜCHER.example:8443": "wss://xn--bcher-kva.example:8443/ws",
    "wss://relay.example/ws/": "wss://relay.example/ws",
    f"ws://{'a' * 63}.example/ws": f"ws://{'a' * 63}.example/ws",
}


@pytest.mark.parametrize(("given", "full"), URLS.items())
def test_url_is_completed(given: str, full: str) -> None:
    assert profile.checked_url(given) == full


@each(
    "url",
    [
        "",
        "relay.example",
        "relay.example:8080",
        "127.0.0.1:8080",
        "http://relay.example/ws",
        "https://relay.example/ws",
        "ws:relay.example",
        "ws://",
        "ws:///ws",
        "ws://:8080/ws",
        "ws://relay.example:port/ws",
        "ws://relay.example:65536/ws",
        "ws://relay.example:-1/ws",
        "ws://relay.example/ws?token=1",
        "ws://relay.example/ws#part",
        "ws://[::1/ws",
        "ws://[relay]/ws",
        "ws://me@relay.example/ws",
        "ws://relay example/ws",
        "ws://relay\u2100.example/ws",
        f"ws://{'a' * 64}.example/ws",
        f"ws://{'a.' * 130}example/ws",
        "ws://a..b/ws",
        "ws://.example/ws",
        "ws://-.example/ws",
        "ws://\u00ad/ws",
        "ws://[fe80::1%eth0]/ws",
        "ws://127.0.0.1/my relay",
        "ws://127.0.0.1/w\u00f6/ws",
        "ws://127.0.0.1/ws\x7f",
        "ws://\ud800.example/ws",
    ],
)
def test_url_that_is_no_relays_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(UsageError, match=r"wss?://[^/ ]+/ws$"):  # of a page, its own
        profile.checked_url(url)


AUDIENCES = {
    "ws://127.0.0.1:8080/ws": "127.0.0.1:8080",
    "ws://relay.example/ws": "relay.example",
    "ws://relay.example:80/ws": "relay.example",
    "wss://relay.example:443/ws": "relay.example",
    "ws://relay.example:443/ws": "relay.example:443",
    "wss://relay.example:80/ws": "relay.example:80",
    "wss://Relay.Example/ws": "relay.example",
    "ws://[::1]:8080/ws": "[::1]:8080",
    "ws://[0:0:0:0:0:0:0:1]:8080/ws": "[::1]:8080",
    "wss://bücher.example/ws": "xn--bcher-kva.example",
    "wss://relay.example./ws": "relay.example",
    "ws://[2001:DB8::1]/ws": "[2001:db8::1]",
    "wss://[2001:db8::1]:443/ws": "[2001:db8::1]",
    "wss://[2001:db8::1]:80/ws": "[2001:db8::1]:80",
}


@pytest.mark.parametrize(("url", "audience"), AUDIENCES.items())
def test_audience_is_the_host_that_was_dialled(url: str, audience: str) -> None:
    assert profile.audience_of(url) == audience


@pytest.mark.parametrize("url", AUDIENCES)
def test_audience_is_what_the_host_header_says_in_the_form_that_a_relay_compares(url: str) -> None:
    dialled = parse_uri(url)
    header = build_host(dialled.host, dialled.port, dialled.secure)
    assert public_names.normal_name(profile.audience_of(url)) == public_names.normal_name(header)


# --- secrets ----------------------------------------------------------------------


def opens(path: Path, passphrase: str | None = None, environ: dict[str, str] | None = None) -> Vault:
    return Vault(path, profile.secret_for(path, passphrase, environ or {}))


def test_passphrase_is_the_argument_then_the_variable_then_the_keyring(
    path: Path, system_keyring: MemoryKeyring
) -> None:
    variable = {"PHANTOM_PASSPHRASE": "of the variable"}
    opens(path, "of the argument", variable).close()
    assert system_keyring.passwords == {}
    opens(path, "of the argument").close()
    opens(path, None, {"PHANTOM_PASSPHRASE": "of the argument"}).close()
    other = path.with_name("bob.vault")
    opens(other, None, variable).close()
    assert system_keyring.passwords == {}
    opens(other, "of the variable").close()
    opens(other, "", variable).close()


def test_new_profile_gets_a_random_key_in_the_keyring(path: Path, system_keyring: MemoryKeyring) -> None:
    opens(path).close()
    opens(path.with_name("bob.vault")).close()
    services = {service for service, _ in system_keyring.passwords}
    assert services == {"phantom-messenger"}
    keys = set(system_keyring.passwords.values())
    assert len(keys) == 2
    assert all(len(key) >= 43 for key in keys)
    opens(path).close()
    assert set(system_keyring.passwords.values()) == keys


def test_key_of_the_keyring_is_not_stretched_and_a_passphrase_is(path: Path) -> None:
    assert not profile.secret_for(path, None, {}).stretched
    assert profile.secret_for(path, "a", {}).stretched
    assert profile.secret_for(path, None, {"PHANTOM_PASSPHRASE": "a"}).stretched


def test_one_profile_has_one_key_however_its_path_is_written(path: Path) -> None:
    opens(path).close()
    detour = path.parent / "detour"
    detour.mkdir()
    opens(detour / ".." / path.name).close()


def test_existing_profile_gets_no_new_key(path: Path, system_keyring: MemoryKeyring) -> None:
    opens(path, "a passphrase").close()
    with pytest.raises(PassphraseNeeded, match="PHANTOM_PASSPHRASE"):
        profile.secret_for(path, None, {})
    assert system_keyring.passwords == {}


@pytest.mark.parametrize("exists", [False, True])
def test_without_keyring_a_passphrase_is_needed(path: Path, exists: bool) -> None:
    if exists:
        opens(path, "a passphrase").close()
    keyring.set_keyring(NoKeyring())
    with pytest.raises(PassphraseNeeded):
        profile.secret_for(path, None, {})


def test_locked_keyring_is_as_none(path: Path, system_keyring: MemoryKeyring) -> None:
    opens(path).close()
    system_keyring.locked = True
    with pytest.raises(PassphraseNeeded):
        profile.secret_for(path, None, {})
    profile.forget_secret(path)
    system_keyring.locked = False
    opens(path).close()


def test_forgetting_takes_the_key_of_this_profile_out_of_the_keyring(path: Path, system_keyring: MemoryKeyring) -> None:
    opens(path).close()
    other = path.with_name("bob.vault")
    opens(other).close()
    profile.forget_secret(path)
    profile.forget_secret(path)
    assert [name for _, name in system_keyring.passwords] == [str(other.resolve())]


def test_variables_of_this_process_count(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHANTOM_PASSPHRASE", "of this process")
    monkeypatch.setenv("PHANTOM_HOME", str(tmp_path / "elsewhere"))
    assert profile.home_folder(None) == tmp_path / "elsewhere"
    Vault(path, profile.secret_for(path, None)).close()
    monkeypatch.delenv("PHANTOM_PASSPHRASE")
    opens(path, "of this process").close()
