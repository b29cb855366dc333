"""How a ``Client`` gets to its profile and to a real relay, and what it says when it does not."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import apsw
import pytest

from phantom_messenger import Client, Delivery
from phantom_messenger.client import profile, vault_file
from phantom_messenger.client.errors import (
    DeliveryFailed,
    LoginRefused,
    NoProfile,
    PhantomError,
    RelayUnreachable,
    Replaced,
    UsageError,
    VaultDamaged,
    VaultError,
    VaultFull,
    VaultInUse,
    WrongPassphrase,
)
from phantom_messenger.client.status import ConnectionEvent, ConnectionState, DeliveryState, WarningEvent
from support.certificates import self_signed
from support.ports import HeldPort
from support.relay_process import RelayProcess, StartRelay
from support.sdk_clients import PATIENCE, event, first, friends, opened, run


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHANTOM_HOME", raising=False)
    monkeypatch.delenv("PHANTOM_PASSPHRASE", raising=False)


# --- profiles ---------------------------------------------------------------------


def test_two_clients_on_one_profile_are_one_too_many(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")):
        with pytest.raises(VaultInUse, match="'alice' is in use"):
            opened(tmp_path, "alice")
        opened(tmp_path, "bob", "ws://127.0.0.1:9/ws").close()
    opened(tmp_path, "alice").close()


def test_profile_remembers_its_identity_and_its_relay(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path, "alice", "ws://127.0.0.1:9")) as client:
        name = client.user_id
    with contextlib.closing(opened(tmp_path, "alice")) as client:
        assert (client.user_id, client.server) == (name, "ws://127.0.0.1:9/ws")
        client.set_server("wss://relay.example")
    with contextlib.closing(opened(tmp_path, "alice")) as client:
        assert client.server == "wss://relay.example/ws"


def test_closing_twice_is_allowed(tmp_path: Path) -> None:
    client = opened(tmp_path, "alice")
    client.close()
    client.close()
    opened(tmp_path, "alice").close()


def test_client_without_a_relay_says_what_is_missing_and_lets_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice"):
            raise AssertionError("it knows no relay")

    with pytest.raises(UsageError, match="no relay is known"):
        run(main())
    opened(tmp_path, "alice").close()


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/ws", "127.0.0.1:8080", "ws://", "ws://a..b/ws"])
def test_wrong_url_is_a_usage_error_and_makes_no_profile(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of a relay"):
        opened(tmp_path, "alice", url)
    assert list(tmp_path.iterdir()) == []


def test_wrong_name_passphrase_or_place_is_said(tmp_path: Path) -> None:
    opened(tmp_path, "alice").close()
    with pytest.raises(UsageError):
        opened(tmp_path, "../alice")
    with pytest.raises(WrongPassphrase):
        Client.open("alice", home=tmp_path, passphrase="wrong")
    with pytest.raises(NoProfile):
        opened(tmp_path, "bob", create=False)
    assert not profile.vault_path("bob", tmp_path).exists()


# --- the way to the relay ---------------------------------------------------------


async def unreachable(client: Client, timeout: float = PATIENCE) -> str:
    """What is said after the first attempt to reach the relay."""
    async with client:
        with pytest.raises(RelayUnreachable) as caught:
            await client.wait_online(timeout, attempts=1)
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_closed_port_is_said_in_a_sentence(tmp_path: Path, host: str) -> None:
    closed = HeldPort()
    url = f"ws://{host}:{closed.number}/ws"
    said = run(unreachable(opened(tmp_path, "alice", url)))
    assert said == (
        f"the relay at {url} cannot be reached because "
        "the connection was refused; check that the relay is running and the port is right"
    )


PROFILE_FAULTS: dict[str, tuple[apsw.Error, type[VaultError], str]] = {
    "full": (apsw.FullError(), VaultFull, r"^cannot write to .*alice\.vault: the disk is full.*free some disk space"),
    "read-only": (apsw.ReadOnlyError(), VaultError, r"^cannot use .*alice\.vault .*a file that you may read and write"),
    "damaged": (apsw.CorruptError(), VaultDamaged, r"^.*alice\.vault is damaged and cannot be read; restore it"),
}


async def why_offline(client: Client) -> str:
    """What is said when it loses its connection: its next attempt, which may follow at once, says nothing yet."""
    async for told in client.events():
        if isinstance(told, ConnectionEvent) and told.state is ConnectionState.OFFLINE:
            return told.reason
    raise AssertionError("events end with an error only")


async def left(client: Client) -> None:
    """Wait until it is no longer online."""
    while client.connection.state is ConnectionState.ONLINE:  # noqa: ASYNC110 - it may have been left already
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("cause", "kind", "sentence"), PROFILE_FAULTS.values(), ids=list(PROFILE_FAULTS))
def test_fault_of_the_profile_is_not_put_down_to_the_relay(
    tmp_path: Path, start_relay: StartRelay, *, cause: apsw.Error, kind: type[VaultError], sentence: str
) -> None:
    relay = start_relay()

    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            await alice.wait_published(PATIENCE)
            vault = alice._vault
            genuine, fault = vault.transaction, vault_file.translated(vault.path, cause)

            def failing() -> Any:
                raise fault

            vault.transaction = failing  # type: ignore[method-assign] # the disk, as SQLite sees it
            said = asyncio.create_task(why_offline(alice))
            async with opened(tmp_path, "bob", relay) as bob:
                await bob.send(alice.user_id, "hello")
                assert await asyncio.wait_for(said, PATIENCE) == str(fault)
                for waiting in (alice.wait_online, alice.wait_published):
                    with pytest.raises(kind, match=sentence):
                        await waiting(0)
            vault.transaction = genuine  # type: ignore[method-assign] # put back
            await alice.wait_published(PATIENCE)
            relay.stop()
            await left(alice)
            with pytest.raises(RelayUnreachable):  # the control: now it is the relay
                await alice.wait_online(PATIENCE, attempts=2)

    run(main())


def test_unknown_host_is_said_in_a_sentence(tmp_path: Path) -> None:
    said = run(unreachable(opened(tmp_path, "alice", "ws://no-such-relay.invalid/ws")))
    assert said.endswith("cannot be reached because its host name is unknown; check the name and the network")


def test_something_else_than_a_relay_is_said_in_a_sentence(tmp_path: Path, relay: RelayProcess) -> None:
    said = run(unreachable(opened(tmp_path, "alice", relay.url.replace("/ws", "/elsewhere"))))
    assert said.endswith("cannot be reached because there is no Phantom relay at this address (HTTP 404)")


def test_silent_port_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = run(unreachable(opened(tmp_path, "alice", f"ws://127.0.0.1:{server.getsockname()[1]}/ws"), 0.5))
    assert said.endswith("cannot be reached because it does not answer")


def test_certificate_of_nobody_is_not_trusted(tmp_path: Path, start_relay: StartRelay) -> None:
    certificate = self_signed(tmp_path / "tls")
    relay = start_relay("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    assert relay.url.startswith("wss://")
    said = run(unreachable(opened(tmp_path, "alice", relay)))
    assert "its certificate is not trusted (self-signed certificate)" in said


def test_certificate_that_the_machine_trusts_is_trusted(
    tmp_path: Path, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "tls")
    relay = start_relay("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.cert))

    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            await alice.wait_online(PATIENCE)

    run(main())


def test_wss_to_a_relay_without_certificate_is_not_called_distrust(tmp_path: Path, relay: RelayProcess) -> None:
    said = run(unreachable(opened(tmp_path, "alice", relay.url.replace("ws://", "wss://")), 1))
    assert said.endswith("cannot be reached because it does not answer; is it ws://, without TLS?")


def test_client_comes_back_after_the_relay_was_killed_and_restarted(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")

    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            await (await alice.send("bob", "before")).wait(DeliveryState.DELIVERED)
            await event(alice, ConnectionEvent, relay.kill, state=ConnectionState.OFFLINE)
            delivery = await alice.send("bob", "meanwhile")
            assert await alice.flush(0.2) == 1
            assert delivery.state is DeliveryState.QUEUED
            relay.restart()
            await delivery.wait(DeliveryState.DELIVERED)
            assert is_in(alice, ConnectionState.ONLINE)
            found = []
            async for message in bob.messages():
                await message.mark_read()
                found.append(message.text)
                if len(found) == 2:
                    break
            assert found == ["before", "meanwhile"]

    run(main())


def is_in(client: Client, state: ConnectionState) -> bool:
    return client.connection.state is state


def test_relay_that_does_not_know_its_name_is_an_outage(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--public-names", "relay.example")

    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            with pytest.raises(RelayUnreachable, match="does not answer to the host name you used"):
                await alice.wait_online(PATIENCE, attempts=1)
            assert is_in(alice, ConnectionState.OFFLINE)
            assert alice.connection.retry_after == 60

    run(main())


def test_second_login_of_one_identity_replaces_the_first_for_good(tmp_path: Path, relay: RelayProcess) -> None:
    opened(tmp_path, "alice", relay).close()
    copy = profile.vault_path("alice", tmp_path / "copy")
    copy.parent.mkdir(parents=True)
    copy.write_bytes(profile.vault_path("alice", tmp_path).read_bytes())

    async def main() -> None:
        async with opened(tmp_path, "alice") as one:
            await one.wait_published(PATIENCE)
            waiting = asyncio.create_task(first(one))
            async with opened(tmp_path / "copy", "alice") as other:
                await other.wait_online(PATIENCE)
                with pytest.raises(Replaced, match="logged in elsewhere"):
                    await waiting
                with pytest.raises(Replaced):
                    await one.wait_online(1)
                await asyncio.sleep(1.2)
                assert is_in(one, ConnectionState.REPLACED)
                assert is_in(other, ConnectionState.ONLINE)

    run(main())


def test_error_inside_the_block_comes_out_and_the_profile_is_free(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            await alice.wait_online(PATIENCE)
            raise LookupError("of the program")

    with pytest.raises(LookupError, match="of the program"):
        run(main())
    opened(tmp_path, "alice").close()


# --- the end ----------------------------------------------------------------------


def test_destroying_deletes_the_account_and_the_files(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            await alice.destroy(timeout=PATIENCE)
            left = {file.name.partition(".")[0] for file in (tmp_path / "profiles").iterdir()}
            assert left == {"bob"}
            sending: list[asyncio.Task[Delivery]] = []
            await event(
                bob,
                WarningEvent,
                lambda: sending.append(asyncio.create_task(bob.send("alice", "are you there?"))),
                code="unknown-user",
            )
        with pytest.raises(NoProfile):
            opened(tmp_path, "alice", create=False)

    run(main())


def test_destroying_without_the_relay_deletes_nothing_unless_asked(tmp_path: Path) -> None:
    closed = HeldPort()
    url = f"ws://127.0.0.1:{closed.number}/ws"

    async def main() -> None:
        async with opened(tmp_path, "alice", url) as alice:
            with pytest.raises(RelayUnreachable):
                await alice.destroy(timeout=0.3)
        opened(tmp_path, "alice", create=False).close()
        async with opened(tmp_path, "alice") as alice:
            await alice.destroy(local_only=True)
        assert list((tmp_path / "profiles").iterdir()) == []

    run(main())


def test_leaving_waits_until_the_relay_knows_what_was_read(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            delivery = await alice.send("bob", "hello")
            await (await first(bob)).mark_read()
            await bob.flush_receipts(PATIENCE)
            assert bob._messenger.pending_receipts == 0
            await delivery.wait(DeliveryState.READ)

    run(main())


def test_everything_that_is_raised_is_one_tree() -> None:
    assert all(
        issubclass(error, PhantomError)
        for error in (DeliveryFailed, LoginRefused, NoProfile, RelayUnreachable, Replaced, UsageError, VaultInUse)
    )
