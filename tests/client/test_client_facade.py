"""``Client`` against the real relay, over real sockets."""

import asyncio
import contextlib
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from client_samples import found_in_files

from phantom_messenger import Client
from phantom_messenger.client.errors import (
    DeliveryFailed,
    MessageTooLong,
    UnknownContact,
    UsageError,
    WrongPassphrase,
)
from phantom_messenger.client.status import DeliveryState, PresenceEvent, WarningEvent
from phantom_messenger.crypto import primitives
from support.relay_process import RelayProcess, StartRelay
from support.sdk_clients import NOBODY, PASSPHRASE, PATIENCE, event, first, friends, opened, run


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PHANTOM_HOME", raising=False)
    monkeypatch.delenv("PHANTOM_PASSPHRASE", raising=False)


# --- the example ------------------------------------------------------------------

EXAMPLE = """
import asyncio
from phantom_messenger import Client

async def main(peer_id: str) -> None:
    async with Client.open("default", server="{server}") as me:
        delivery = await me.send(peer_id, "hello", burn_after_read=False, expires_in=None)
        await delivery.wait()
        async for message in me.messages():
            print(message.sender, message.text, flush=True)
            await message.mark_read()
"""


def test_example_of_the_documentation_works_as_a_program(tmp_path: Path, relay: RelayProcess) -> None:
    program = EXAMPLE.format(server=relay.url) + "\nimport sys\nasyncio.run(main(sys.argv[1]))\n"
    variables = {**os.environ, "PHANTOM_HOME": str(tmp_path / "theirs"), "PHANTOM_PASSPHRASE": PASSPHRASE}

    async def main() -> None:
        async with opened(tmp_path, "bob", relay, strangers="accept") as bob:
            await bob.wait_published(PATIENCE)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, bob.user_id, env=variables, stdout=asyncio.subprocess.PIPE
            )
            try:
                message = await first(bob)
                assert message.text == "hello"
                delivery = await bob.send(message.sender, "hello yourself")
                assert process.stdout is not None
                assert await process.stdout.readline() == f"{bob.user_id} hello yourself\n".encode()
                assert await delivery.wait(DeliveryState.READ) is DeliveryState.READ
            finally:
                process.terminate()
                await process.wait()

    run(main())


# --- texts ------------------------------------------------------------------------


def test_delivery_can_be_awaited_until_it_was_read(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            delivery = await alice.send("bob", "hello")
            assert await delivery.wait() >= DeliveryState.ACCEPTED
            assert await delivery.wait(DeliveryState.DELIVERED) is DeliveryState.DELIVERED
            reading = asyncio.create_task(delivery.wait(DeliveryState.READ))
            message = await first(bob)
            assert (message.text, message.contact.name, message.sender) == ("hello", "alice", alice.user_id)
            assert abs(message.sent_at - time.time() * 1_000) < 60_000
            assert not reading.done()
            await message.mark_read()
            assert await reading is DeliveryState.READ
            assert await delivery.wait() is DeliveryState.READ

    run(main())


def test_text_that_waits_for_a_text_wakes_at_once(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        times = []
        async with friends(tmp_path, relay) as (alice, bob):
            for number in range(20):
                waiting = asyncio.create_task(first(bob))
                await asyncio.sleep(0)
                begun = time.monotonic()
                await alice.send("bob", f"{number}")
                message = await waiting
                await message.mark_read()
                assert message.text == f"{number}"
                times.append(time.monotonic() - begun)
        assert statistics.median(times) < 2, "whatever else the machine does now and then"

    run(main())


def test_many_texts_at_once_arrive_in_order(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            for number in range(100):
                await alice.send("bob", f"{number}")
            found = []
            async for message in bob.messages():
                found.append(message.text)
                if len(found) == 100:
                    break
            assert found == [f"{number}" for number in range(100)]
            assert await alice.flush(PATIENCE) == 0

    run(main())


def test_text_is_handed_out_again_if_the_program_died_over_it(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            for text in ("one", "two", "three"):
                await alice.send("bob", text)
            await alice.flush(PATIENCE)
            seen = []
            async for message in bob.messages():
                seen.append(message.text)
                if message.text == "two":
                    break  # without having said that it is done with it
            assert seen == ["one", "two"]
        async with opened(tmp_path, "bob") as bob:
            message = await first(bob)
            assert message.text == "two"
            await message.mark_read()
            message = await first(bob)
            assert message.text == "three"

    run(main())


def test_texts_of_one_sender_leave_those_of_others(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob), opened(tmp_path, "carol", relay) as carol:
            await (await carol.send(bob.user_id, "of carol")).wait()
            assert await bob._hub.wait_until(lambda: bool(bob.requests()), PATIENCE)
            assert [(message.text, message.contact.name) for message in bob.peek(carol.user_id)] == [("of carol", "")]
            assert bob.accept(carol.user_id).user_id == carol.user_id
            assert bob.requests() == []
            await alice.send("bob", "of alice")
            assert (await first(bob, sender=alice.user_id)).text == "of alice"
            message = await first(bob)
            assert (message.text, message.contact.name) == ("of carol", "")

    run(main())


def test_burned_text_is_gone_from_the_files_of_both(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            delivery = await alice.send("bob", "burn me", burn_after_read=True)
            message = await first(bob)
            assert message.burn_after_read
            await message.mark_read()
            assert await delivery.wait(DeliveryState.BURNED) is DeliveryState.BURNED
        assert found_in_files(tmp_path, b"burn me", PASSPHRASE.encode()) == []

    run(main())


def test_text_that_expired_raises_for_whoever_waits(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (_, bob):
            name = bob.user_id
        async with opened(tmp_path, "alice") as alice:
            delivery = await alice.send(name, "too late", expires_in=0.5)
            with pytest.raises(DeliveryFailed, match="expired"):
                await delivery.wait(DeliveryState.READ)

    run(main())


def test_expired_text_is_not_handed_out_while_the_relay_is_away(tmp_path: Path, start_relay: StartRelay) -> None:
    relay = start_relay("--limits", "off")

    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            for seconds in (3, 12, 48):  # a busy machine may need longer than it lives to show it
                await alice.send("bob", "for a while", expires_in=seconds)
                last = await alice.send("bob", "for ever")
                await last.wait(DeliveryState.DELIVERED)  # and so the one before it is there too
                shown = await first(bob)
                if shown.text == "for a while":
                    break
                await shown.mark_read()
            assert shown.text == "for a while"
        relay.kill()
        await asyncio.sleep(seconds + 0.1)
        async with opened(tmp_path, "bob") as bob:
            assert (await first(bob)).text == "for ever"

    run(main())


BAD_CALLS: dict[str, tuple[dict[str, Any], type[UsageError]]] = {
    "too long": ({"text": "x" * 40_001}, MessageTooLong),
    "half a character": ({"text": "\ud83d"}, UsageError),
    "nobody": ({"who": "nobody"}, UnknownContact),
    "expires at once": ({"expires_in": 0}, UsageError),
    "expires before": ({"expires_in": -1.0}, UsageError),
    "expires in two years": ({"expires_in": 2 * 365 * 86_400}, UsageError),
    "expires never": ({"expires_in": float("inf")}, UsageError),
    "expires some time": ({"expires_in": float("nan")}, UsageError),
}


@pytest.mark.parametrize(("call", "error"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_call_that_cannot_be_obeyed_is_a_usage_error(
    tmp_path: Path, call: dict[str, Any], error: type[UsageError]
) -> None:
    client = opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")
    client.contacts.add("bob", NOBODY)
    with contextlib.closing(client), pytest.raises(error):
        run(client.send(**{"who": "bob", "text": "hello", **call}))


@pytest.mark.parametrize("status", ["typing", "away", ""])
def test_presence_that_cannot_be_told_is_a_usage_error(tmp_path: Path, status: str) -> None:
    with contextlib.closing(opened(tmp_path, "alice", "ws://127.0.0.1:9/ws")) as client, pytest.raises(UsageError):
        client.set_presence(status)


# --- presence and events ----------------------------------------------------------


def test_events_tell_who_comes_types_and_goes(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            await (await alice.send("bob", "hello")).wait(DeliveryState.DELIVERED)
            await (await bob.send("alice", "hello")).wait(DeliveryState.DELIVERED)
            seen = await event(bob, PresenceEvent, lambda: alice.set_typing("bob"), status="typing")
            assert (seen.peer.name, seen.peer.user_id) == ("alice", alice.user_id)
            await event(bob, PresenceEvent, lambda: alice.set_presence("idle"), status="idle")
            await event(bob, PresenceEvent, lambda: alice.set_presence("offline"), status="offline")
            await event(bob, PresenceEvent, lambda: alice.set_presence("online"), status="online")
            seen = await event(alice, PresenceEvent, lambda: alice.ask_presence("bob"), status="online")
            assert seen.peer.name == "bob"

    run(main())


def test_warning_of_a_client_is_an_event(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice", relay) as alice:
            await alice.wait_online(PATIENCE)
            await alice.send(NOBODY, "who are you?")
            found = await event(alice, WarningEvent, lambda: alice.contacts.add("nobody", NOBODY))
            assert found.code == "unknown-user"
            assert found.peer is not None
            assert found.peer.name == "nobody"

    run(main())


# --- the caller's event loop ------------------------------------------------------


def test_program_that_only_sends_gives_its_connection_a_turn(tmp_path: Path) -> None:
    async def main() -> int:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with opened(tmp_path, "alice", "ws://127.0.0.1:9/ws") as alice:
            counting = asyncio.create_task(count())
            for number in range(20):
                await alice.send(NOBODY, f"{number}")
            counting.cancel()
        return turns

    assert run(main()) >= 20


def test_send_that_is_cancelled_has_sent_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path, "alice", "ws://127.0.0.1:9/ws") as alice:
            sending = asyncio.create_task(alice.send(NOBODY, "never mind"))
            await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert alice.history(NOBODY) == []

    run(main())


def test_mark_read_that_is_cancelled_has_marked(tmp_path: Path, relay: RelayProcess) -> None:
    async def main() -> None:
        async with friends(tmp_path, relay) as (alice, bob):
            delivery = await alice.send("bob", "hello")
            marking = asyncio.create_task((await first(bob)).mark_read())
            await asyncio.sleep(0)
            marking.cancel()
            assert await delivery.wait(DeliveryState.READ) is DeliveryState.READ

    run(main())


def where_keys_are_derived(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    threads: set[int] = set()
    derive = primitives.argon2id

    def noted(*arguments: Any, **options: Any) -> bytes:
        threads.add(threading.get_ident())
        return derive(*arguments, **options)

    monkeypatch.setattr(primitives, "argon2id", noted)
    return threads


def test_open_async_derives_the_key_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = where_keys_are_derived(monkeypatch)

    async def main() -> None:
        async with await Client.open_async(
            "alice", server="ws://127.0.0.1:9/ws", home=tmp_path, passphrase=PASSPHRASE
        ) as alice:
            await alice.send(NOBODY, "hello")

    run(main())
    assert threads
    assert threading.get_ident() not in threads
    opened(tmp_path, "alice").close()
    assert threading.get_ident() in threads, "the control: open derives it where it is called"


def test_open_async_that_is_cancelled_leaves_the_profile_free(tmp_path: Path) -> None:
    async def main() -> None:
        opening = asyncio.create_task(Client.open_async("alice", home=tmp_path, passphrase=PASSPHRASE))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    run(main())
    opened(tmp_path, "alice").close()


def test_open_async_raises_what_open_raises(tmp_path: Path) -> None:
    opened(tmp_path, "alice").close()
    with pytest.raises(WrongPassphrase):
        run(Client.open_async("alice", home=tmp_path, passphrase="another one"))
