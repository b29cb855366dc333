"""A relay that floods, lies and breaks the protocol, against the browser's client and the SDK, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from evil_relay import EvilRelay, Line, text_of
from web_peers import TIMEOUT, SdkPerson, WebPerson, program, until

from phantom_messenger.wire.limits import MAX_TRANSPORT_BYTES
from support.node import run_web_tests
from support.people import base64_text

pytestmark = pytest.mark.timeout(TIMEOUT)
PATIENCE: Final = 100.0
MEMORY_KIB: Final = 512 * 1_024
"""More than either client takes in peace, and less than what it is sent here."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The browser's client as a program."""
    return program(tmp_path_factory.mktemp("evil"))


@contextlib.asynccontextmanager
async def met(
    made: Path, folder: Path, evil: Callable[[Line], Awaitable[None]]
) -> AsyncIterator[tuple[EvilRelay, WebPerson]]:
    """The relay, and somebody who is at it with the browser's client."""
    async with EvilRelay(evil).open() as relay:
        person = WebPerson(made, folder, relay)
        try:
            await person.start()
            yield relay, person
        finally:
            await person.close()


def reasons(person: WebPerson) -> list[str]:
    """Why there was no connection, each time."""
    events = [event for event in person.events if event["kind"] == "connection" and event["state"] != "connecting"]
    return [event["reason"] for event in events if event["state"] != "online"]


def memory_of(person: WebPerson) -> int:
    """The most memory that the client had, in KiB."""
    assert person._process is not None
    status = Path(f"/proc/{person._process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def test_socket_has_bounds_of_its_own() -> None:
    printed = run_web_tests("tests/worker/socket.test.ts")
    assert "# pass 2" in printed


def test_flood_of_every_kind_keeps_no_call_waiting_and_takes_bounded_memory(made: Path, tmp_path: Path) -> None:
    """As much as it can send in a while, up to 1.2 GB a connection."""

    async def evil(line: Line) -> None:
        key, signature = base64_text(bytes(32)), base64_text(bytes(64))
        bundle = {"identityKey": key, "preKeySignature": signature, "signedPreKey": key}
        receipt = {"messageId": "00000000-0000-4000-8000-000000000000", "recipientId": key, "timestamp": 1}
        told = {"code": 1004, "message": "x" * 60_000}
        flood = [
            text_of("ERROR", told, id="1"),
            text_of("KEY_EXCHANGE_RESPONSE", {**bundle, "senderId": key}),
            text_of("MESSAGE_ACK", {**receipt, "status": "delivered"}),
            text_of("PREKEY_STATUS", {"oneTimePreKeys": 0, "kemPreKeys": 0}),
            *(text_of("PRESENCE", {"userId": base64_text(bytes([n]) * 32), "status": "typing"}) for n in range(16)),
        ]
        for _ in range(20_000):
            for text in flood:
                await line.connection.send(text)

    async def main() -> None:
        async with met(made, tmp_path, evil) as (relay, person):
            await until(lambda: _is(bool(relay.lines)), lambda: "nobody has come", PATIENCE)
            for _ in range(20):
                await asyncio.wait_for(person.do("status"), PATIENCE)
            await asyncio.wait({asyncio.create_task(relay.lines[0].is_closed.wait())}, timeout=20)
            assert (await asyncio.wait_for(person.do("status"), PATIENCE))["userId"] == person.id
            assert memory_of(person) < MEMORY_KIB
            assert not any(event["kind"] == "presence" for event in person.events)
            assert set(reasons(person)) <= {"the relay sends more than this device can take"}

    asyncio.run(main())


async def _is(value: bool) -> bool:
    return value


@pytest.mark.parametrize("is_sdk", [False, True], ids=["page", "sdk"])
def test_message_above_the_limit_is_not_read(made: Path, tmp_path: Path, is_sdk: bool) -> None:
    async def evil(line: Line) -> None:
        await line.connection.send(text_of("OF_LATER", {"of": "x" * (MAX_TRANSPORT_BYTES - 100)}))
        await line.connection.send(text_of("OF_LATER", {"of": "x" * 30 * 2**20}))

    async def main() -> None:
        async with EvilRelay(evil).open() as relay:
            person: Any = SdkPerson(tmp_path, relay) if is_sdk else WebPerson(made, tmp_path, relay)
            try:
                await person.start()
                await until(lambda: _is(bool(relay.lines)), lambda: "nobody has come", PATIENCE)
                await asyncio.wait_for(relay.lines[0].is_closed.wait(), PATIENCE)
                assert not await person.is_online()
            finally:
                await person.close()

    asyncio.run(main())


def test_largest_message_that_may_be_is_read(made: Path, tmp_path: Path) -> None:
    """The control."""
    heard = asyncio.Event()

    async def evil(line: Line) -> None:
        await line.connection.send(text_of("OF_LATER", {"of": "x" * (MAX_TRANSPORT_BYTES - 100)}))
        await line.say("PREKEY_STATUS", {"oneTimePreKeys": 0, "kemPreKeys": 0}, id="2")
        await line.hear("PREKEY_PUBLISH")
        heard.set()
        await line.answer()

    async def main() -> None:
        async with met(made, tmp_path, evil):
            await asyncio.wait_for(heard.wait(), PATIENCE)

    asyncio.run(main())


CLOSES: Final = {
    "another login": (1008, "go to evil.example", "the same identity logged in elsewhere"),
    "words": (1001, "busy'. Enter your passphrase", "the relay said 'busy. Enter your passphrase'"),
    "words without end": (4003, "x" * 123, f"the relay said '{'x' * 123}'; retrying in 60 seconds"),
}


@pytest.mark.parametrize(("code", "reason", "shown"), CLOSES.values(), ids=CLOSES)
def test_what_a_relay_says_at_the_end_is_shown_as_its_words(
    made: Path, tmp_path: Path, code: int, reason: str, shown: str
) -> None:
    async def evil(line: Line) -> None:
        await line.connection.close(code, reason)

    async def main() -> None:
        async with met(made, tmp_path, evil) as (relay, person):
            await until(lambda: _is(bool(reasons(person))), lambda: person.events, PATIENCE)
            assert reasons(person)[0] == shown
            if code == 1008:
                assert len(relay.lines) == 1, "nobody fights for the place"
                await person.online()
                await until(lambda: _is(len(relay.lines) == 2), lambda: "it stays away", PATIENCE)

    asyncio.run(main())


def test_relay_that_never_answers_a_login_is_left(made: Path, tmp_path: Path) -> None:
    async def silent(self: Line) -> None:
        for _ in range(1_000):
            await self.say("PRESENCE", {"userId": base64_text(bytes(32)), "status": "online"})
        await self.connection.wait_closed()

    async def main() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Line, "log_in", silent)
            async with met(made, tmp_path, Line.answer) as (_, person):
                await until(lambda: _is(bool(reasons(person))), lambda: person.events, PATIENCE)
                assert reasons(person)[0] == "the relay did not answer the login"
                assert [event["kind"] for event in person.events if event["kind"] != "connection"] == []

    asyncio.run(main())
