"""The event loop of a program that uses the SDK is not held up: a turn does little, and long work has a thread."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import msgspec
import pytest

from phantom_messenger import Client, ClientClosed, DeliveryState, UsageError
from phantom_messenger.client import backup, records
from phantom_messenger.client.connection_loop import ConnectionLoop
from phantom_messenger.client.messenger import Messenger
from phantom_messenger.client.records import IntValue
from phantom_messenger.client.vault import Secret, Vault
from phantom_messenger.client.vault_copy import VaultCopy
from phantom_messenger.crypto import primitives
from phantom_messenger.sqlite.scrub import Scrubber
from support.relay_process import RelayProcess
from support.sdk_clients import PASSPHRASE, PATIENCE, first, friends, opened, run

BACKLOG = 100
WORDS = "words for the file"
NOWHERE: Final = "ws://127.0.0.1:9/ws"
"""Where no relay is."""


# --- a turn of the loop -------------------------------------------------------------------


@asynccontextmanager
async def turns(monkeypatch: pytest.MonkeyPatch, name: str) -> AsyncIterator[Counter[tuple[int, int]]]:
    """How often a method of each messenger is called in each turn of the loop."""
    now, calls = 0, Counter[tuple[int, int]]()
    genuine = getattr(Messenger, name)

    def counted(*arguments: Any) -> Any:
        calls[now, id(arguments[0])] += 1
        return genuine(*arguments)

    async def beat() -> None:
        nonlocal now
        while True:
            now += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(Messenger, name, counted)
    beating = asyncio.create_task(beat())
    try:
        yield calls
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


async def arrival_of_many(home: Path, relay: RelayProcess, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, int]]:
    """The frames that a client takes in each turn while many messages arrive that have waited for it."""
    async with friends(home, relay) as (alice, bob):
        await bob.aclose()
        for number in range(BACKLOG):
            await alice.send("bob", str(number))
        assert await alice.flush(PATIENCE) == 0
        async with turns(monkeypatch, "receive") as calls, opened(home, "bob", relay) as again:
            count = 0
            async for _ in again.messages():
                count += 1
                if count == BACKLOG:
                    break
        return calls


def test_one_frame_is_taken_in_a_turn(relay: RelayProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = run(arrival_of_many(tmp_path, relay, monkeypatch))
    assert calls.total() >= BACKLOG
    assert max(calls.values()) <= 2  # between two beats there may be the end of one turn and the beginning of another


def test_control_frames_that_have_come_are_all_taken_in_one_turn(
    relay: RelayProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read(loop: ConnectionLoop, connection: Any) -> None:
        while True:
            loop._messenger.receive(await connection.recv())
            loop.changed()

    monkeypatch.setattr(ConnectionLoop, "_read", read)
    calls = run(arrival_of_many(tmp_path, relay, monkeypatch))
    assert max(calls.values()) > 2


def test_one_frame_is_sent_in_a_turn(tmp_path: Path) -> None:
    """A connection that always has room, as that of a fast relay."""
    sent: list[int] = []
    now = 0

    class Roomy:
        async def send(self, _: str) -> None:
            sent.append(now)

    async def main() -> None:
        nonlocal now
        client = opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")
        with closing(client):
            client._messenger.drain = lambda: ["text"] * BACKLOG if not sent else []  # type: ignore[method-assign]
            writing = asyncio.create_task(client._loop._write(Roomy()))  # type: ignore[arg-type] # as one
            while len(sent) < BACKLOG:
                now += 1
                await asyncio.sleep(0)
            writing.cancel()

    run(main())
    assert max(Counter(sent).values()) <= 2


async def beats_while_sending(home: Path) -> int:
    """How many turns another task gets while a program sends many messages, one after the other."""
    count, beats = 20, 0
    with closing(opened(home, "bob", NOWHERE)) as bob:
        bobs = bob.user_id

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    with closing(opened(home, "alice", NOWHERE)) as alice:
        alice.contacts.add("bob", bobs)
        beating = asyncio.create_task(beat())
        await asyncio.sleep(0)
        begun = beats
        for number in range(count):
            await alice.send("bob", str(number))
        beating.cancel()
        assert alice.history("bob")[-1].text == str(count - 1)
        return (beats - begun) // count


def test_sending_gives_others_a_turn_for_each_message(tmp_path: Path) -> None:
    assert run(beats_while_sending(tmp_path)) >= 1


def test_control_program_that_sends_without_giving_turns_holds_up_its_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_: float) -> None:
        return

    monkeypatch.setattr("phantom_messenger.client.client.asyncio", SimpleNamespace(sleep=nothing))
    assert run(beats_while_sending(tmp_path)) == 0


# --- exporting and importing in a thread ------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Keys are derived from passphrases only once this is called, if in another thread than this."""
    go_on, here = threading.Event(), threading.get_ident()
    genuine = primitives.argon2id

    def derive(*arguments: Any, **options: Any) -> bytes:
        assert threading.get_ident() == here or go_on.wait(PATIENCE)
        return genuine(*arguments, **options)

    monkeypatch.setattr(primitives, "argon2id", derive)
    yield go_on.set
    go_on.set()


def test_client_goes_on_while_it_is_exported(
    relay: RelayProcess, tmp_path: Path, held: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scrubbed: list[bool] = []
    run_scrubber = Scrubber.run

    def run_it(of: Scrubber) -> bool:
        scrubbed.append(True)
        return run_scrubber(of)

    monkeypatch.setattr(Scrubber, "run", run_it)

    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            await (await alice.send("bob", "before")).wait(DeliveryState.DELIVERED)
            exporting = asyncio.create_task(alice.export_async(tmp_path / "file", WORDS))
            await asyncio.sleep(0)
            assert alice._vault.readers
            await (await alice.send("bob", "meanwhile")).wait(DeliveryState.DELIVERED)
            assert (await first(bob)).text == "before"
            scrubbed.clear()
            alice._vault.scrub()
            assert not scrubbed  # it would wait for the export
            assert not exporting.done()
            held()
            assert (await exporting).messages == 1
            assert not alice._vault.readers
            alice._vault.scrub()
            assert scrubbed
            importing = Client.import_async(
                tmp_path / "file", WORDS, profile="other", home=tmp_path, passphrase=PASSPHRASE
            )
            assert (await importing).messages == 1
        with closing(opened(tmp_path, "other")) as other:
            assert [entry.text for entry in other.history("bob")] == ["before"]

    run(main())


def test_export_that_nobody_waits_for_any_more_leaves_the_profile_as_it_was(
    tmp_path: Path, held: Callable[[], None]
) -> None:
    async def main() -> None:
        with closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as alice:
            exporting = asyncio.create_task(alice.export_async(tmp_path / "file", WORDS))
            await asyncio.sleep(0)
            exporting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await exporting
            held()
            while alice._vault.readers:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            assert (tmp_path / "file").exists()

    run(main())


@pytest.mark.parametrize("words", ["", "\ud83d"], ids=["none", "half a character"])
def test_errors_of_an_export_are_those_of_the_other_form(tmp_path: Path, words: str) -> None:
    async def main() -> None:
        with closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as alice:
            with pytest.raises(UsageError):
                await alice.export_async(tmp_path / "file", words)
            assert not alice._vault.readers
        with pytest.raises(ClientClosed):
            await alice.export_async(tmp_path / "file", WORDS)

    run(main())


def test_copy_of_a_vault_stays_as_it_was(tmp_path: Path) -> None:
    with closing(Vault(tmp_path / "vault", Secret("x"))) as vault:
        with vault.transaction() as tx:
            tx.put(records.LAST_PREKEY_ID, "", IntValue(1))
        with closing(VaultCopy(vault)) as copy:
            with vault.transaction() as tx:
                tx.put(records.LAST_PREKEY_ID, "", IntValue(2))
                tx.put(records.SETTINGS, "", records.SettingsRecord())
            assert copy.get(records.LAST_PREKEY_ID, "", IntValue) == IntValue(1)
            assert copy.get(records.SETTINGS, "", records.SettingsRecord) is None
            with pytest.raises(RuntimeError), copy.transaction():
                pass
        assert vault.get(records.LAST_PREKEY_ID, "", IntValue) == IntValue(2)
        vault.scrub()
        assert not vault._wrote


def test_content_that_is_packed_record_by_record_is_that_of_before(tmp_path: Path) -> None:
    with closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as alice:
        alice.contacts.add("bob", "vmnP7t0JDBPvNpyhTkNuN8VYGxsJnJ8aMTjXo5GlhKg=")
        content = backup._gather(alice._vault)
        whole = msgspec.msgpack.encode(msgspec.to_builtins(content, builtin_types=(bytes,)))
        assert backup._packed(content) == whole


# --- without ``async with`` ---------------------------------------------------------------------


def test_client_connects_and_closes_without_a_block(relay: RelayProcess, tmp_path: Path) -> None:
    async def main() -> None:
        alice = await opened(tmp_path, "alice", relay).connect()
        await alice.wait_online(PATIENCE)
        assert await alice.connect() is alice  # it is already
        await alice.aclose()
        await alice.aclose()
        with pytest.raises(ClientClosed):
            await alice.connect()
        again = await opened(tmp_path, "alice", relay).connect()
        await again.wait_online(PATIENCE)
        task = again._loop._task
        assert task is not None
        again.close()  # which waits for nothing, and leaves nothing
        with suppress(asyncio.CancelledError):
            await task
        with pytest.raises(ClientClosed):
            await again.send("bob", "hello")

    run(main())


def test_client_without_a_relay_is_closed_by_connecting(tmp_path: Path) -> None:
    async def main() -> None:
        client = opened(tmp_path, "alice")
        with pytest.raises(UsageError, match="no relay is known"):
            await client.connect()
        opened(tmp_path, "alice").close()  # nobody has it open

    run(main())
