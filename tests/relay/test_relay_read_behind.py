"""While the store is behind, little is read of those who have more to send, and nothing is kept of whoever is cut."""

import asyncio
import gc
import socket
import struct
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop
from test_relay_read_turns import HELLO, LONG, MANY, TINY, Reader, connect_many, pour

from phantom_messenger.relay import reading
from phantom_messenger.relay.reading import (
    FRAME_COST,
    HELD_ROUND,
    LOOK_AGAIN_SECONDS,
    PART_OF_WAITING,
    READ_BUDGET,
    READ_BYTES,
    ReadBudget,
)
from support.raw_socket import TEXT, RawSocket, frame
from support.relay_process import RelayProcess, StartRelay, patched
from support.waiting import PATIENCE, eventually

BEHIND: Final = 256
"""Frames that wait for a store that is behind."""

FRAMES_OF_ONE: Final = 6
"""Short frames that one is heard with in a turn: five of what it has sent already, and one that it reads then."""

TURNS_AT_ONCE: Final = 1 + (MANY + 1) // HELD_ROUND

MOST: Final = BEHIND + MANY + 1 + TURNS_AT_ONCE * FRAMES_OF_ONE
"""Frames that are heard while the store does nothing: until it is behind, one of each then, and those of some turns."""

TURNS: Final = 1_000
LOOKS: Final = 12
NEVER: Final = 1e9

FEW: Final = 3
MORE: Final = [b"%d" % number for number in range(300)]
"""Less than a small read."""

loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[[Coroutine[Any, Any, Any]], Any]
Send = Callable[[ReadBudget, Reader], Awaitable[Reader]]


class Store:
    """Is behind while what was heard is not done; it does nothing before it is told to."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.done = 0

    def is_behind(self) -> bool:
        return self._reader.heard.total() - self.done >= BEHIND


async def drip(reads: ReadBudget, reader: Reader, texts: list[bytes], *counts: int) -> Reader:
    """Let many send so many frames, then so many, the next ones once all before them were read; and one a message."""
    parts = []
    for count in counts:
        parts.append(b"".join(frame(TEXT, text) for text in texts[:count]))
        texts = texts[count:]
    with ExitStack() as stack:
        people = await connect_many(stack, reads, reader)
        people.pop()[0].sendall(frame(TEXT, HELLO))
        left = [(far, connection, list(parts)) for far, connection in people]
        due = [0] * MANY
        async with asyncio.timeout(PATIENCE):
            while reader.heard.total() < MANY * sum(counts) + 1:
                for number, (far, connection, rest) in enumerate(left):
                    if rest and connection.got == due[number]:
                        due[number] += len(rest[0])
                        far.sendall(rest.pop(0))
                reader.turn += 1
                await asyncio.sleep(0)
    await asyncio.sleep(0)
    return reader


async def all_at_once(reads: ReadBudget, reader: Reader) -> Reader:
    return await pour(reads, TINY, reader=reader)


async def few_at_a_time(reads: ReadBudget, reader: Reader) -> Reader:
    return await drip(reads, reader, TINY, *[FEW] * (len(TINY) // FEW))


async def few_and_then_more(reads: ReadBudget, reader: Reader) -> Reader:
    return await drip(reads, reader, MORE, FEW, len(MORE) - FEW)


async def into_a_store(send: Send) -> tuple[int, Reader]:
    """What many send is for a store that does nothing for many turns; how much is heard in them."""
    reader = Reader()
    store = Store(reader)
    under_way = asyncio.ensure_future(send(ReadBudget(is_behind=store.is_behind), reader))
    async with asyncio.timeout(PATIENCE):
        while reader.turn < TURNS and not under_way.done():  # noqa: ASYNC110 - some turns, once
            await asyncio.sleep(0)
    heard = reader.heard.total()
    while not under_way.done():
        store.done = reader.heard.total()
        await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return heard, under_way.result()


@pytest.fixture
def turns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait have turns once while the store is behind, and not so often a second."""
    monkeypatch.setattr(reading, "HELD_SECONDS", NEVER)


@loops
@pytest.mark.parametrize(("send", "texts"), [(all_at_once, TINY), (few_at_a_time, TINY), (few_and_then_more, MORE)])
@pytest.mark.usefixtures("turns_once")
def test_who_has_more_to_send_waits_for_the_store(run: Run, send: Send, texts: list[bytes]) -> None:
    heard, reader = run(into_a_store(send))
    assert BEHIND <= heard <= MOST
    assert [one.said for one in reader.people] == [texts] * MANY + [[HELLO]]


@loops
@pytest.mark.parametrize("send", [all_at_once, few_at_a_time])
@pytest.mark.usefixtures("turns_once")
def test_control_who_does_not_wait_for_the_store_fills_it(
    run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "is_behind", lambda _: False)
    heard, reader = run(into_a_store(send))
    assert heard == MANY * len(TINY) + 1
    assert reader.turn < TURNS


def begin(reads: ReadBudget) -> bool:
    """As if the store did not matter to whoever need not wait."""
    return reads.may_handle(FRAME_COST)


@loops
@pytest.mark.parametrize("send", [few_at_a_time, few_and_then_more])
@pytest.mark.usefixtures("turns_once")
def test_control_who_sends_little_at_a_time_does_not_wait_if_pouring_is_all_that_counts(
    run: Run, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadBudget, "may_begin", begin)
    heard, _ = run(into_a_store(send))
    assert heard > 2 * MOST


# Who waits is heard.


class Looking(ReadBudget):
    """Counts how often it looks who may be read."""

    looks = 0

    def _renew(self) -> None:
        self.looks += 1
        super()._renew()


async def heard_in_some_looks() -> int:
    """How many long messages are heard of those who wait while the store is behind all the time."""
    reads, reader = Looking(is_behind=lambda: True), Reader()
    under_way = asyncio.ensure_future(pour(reads, [LONG], reader=reader))
    heard = []
    async with asyncio.timeout(PATIENCE):
        for looks in (LOOKS, 2 * LOOKS):
            while reads.looks < looks and not under_way.done():  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
            heard.append(sum(one.said == [LONG] for one in reader.people))  # at first some do not wait
    under_way.cancel()
    with suppress(asyncio.CancelledError):
        await under_way
    return heard[1] - heard[0]


def test_who_waits_is_heard_though_the_store_is_always_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "HELD_SECONDS", LOOK_AGAIN_SECONDS)
    reader = uvloop.run(pour(ReadBudget(is_behind=lambda: True), [LONG]))
    assert [one.said for one in reader.people] == [[LONG]] * MANY + [[HELLO]]


@loops
@pytest.mark.parametrize("has_turns", [True, False], ids=["", "control: without turns"])
def test_some_who_wait_are_heard_each_time_that_it_is_looked(
    run: Run, monkeypatch: pytest.MonkeyPatch, has_turns: bool
) -> None:
    monkeypatch.setattr(reading, "HELD_SECONDS", 0)
    if not has_turns:
        monkeypatch.setattr(ReadBudget, "_turns_while_held", lambda _: 0)
    assert (run(heard_in_some_looks()) > 0) is has_turns


class Held(ReadBudget):
    """Counts how often some of those who wait may have turns."""

    times = 0

    def _turns_while_held(self) -> int:
        self.times += 1
        return super()._turns_while_held()


async def times_until_two_are_heard() -> int:
    """How often some had turns until the second of two frames that somebody sends at once is heard beside many."""
    reads, reader = Held(is_behind=lambda: True), Reader()
    with ExitStack() as stack:
        people = [far for far, _ in await connect_many(stack, reads, reader)]
        one, said = people.pop(), reader.people[-1].said
        for far in people:
            far.sendall(b"".join(frame(TEXT, text) for text in TINY))
        async with asyncio.timeout(PATIENCE):
            while reader.heard.total() < MANY:  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
            one.sendall(frame(TEXT, HELLO) * 2)
            while not said:  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
            began = reads.times
            while len(said) < 2:  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert reader.heard.total() < MANY * len(TINY), "the others have not done"
    return reads.times - began


@loops
@pytest.mark.parametrize("is_one", [False, True], ids=["", "control: one turn each time"])
def test_two_frames_at_once_are_heard_within_a_round(run: Run, monkeypatch: pytest.MonkeyPatch, is_one: bool) -> None:
    monkeypatch.setattr(reading, "HELD_SECONDS", 0)
    if is_one:
        monkeypatch.setattr(reading, "HELD_ROUND", MANY + 2)
    times = run(times_until_two_are_heard())
    assert times > 2 * HELD_ROUND if is_one else times <= HELD_ROUND + 1


async def turns_of(count: int, go_on: Callable[[list[int]], bool]) -> int:
    """How many of those who wait have turns at once, while the store is behind."""
    reads, had = Looking(is_behind=lambda: True), list[int]()
    for _ in range(count):
        reads.wait(partial(go_on, had), stays)
    async with asyncio.timeout(PATIENCE):
        while reads.looks < LOOKS:  # noqa: ASYNC110 - some turns, once
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return len(had)


def stays() -> None:
    """Whoever waits has not hung up."""


def reads_on(had: list[int]) -> bool:
    had.append(0)
    return True


def has_done(had: list[int]) -> bool:
    had.append(0)
    return False


@pytest.mark.usefixtures("turns_once")
@pytest.mark.parametrize(
    ("count", "go_on", "turns"),
    [
        (HELD_ROUND - 1, has_done, 1),
        (HELD_ROUND, has_done, 2),
        (1_000, has_done, 1 + 1_000 // HELD_ROUND),
        (100_000, has_done, READ_BUDGET // PART_OF_WAITING // FRAME_COST),
        (1_000, reads_on, READ_BUDGET // PART_OF_WAITING // READ_BYTES),
    ],
)
def test_turns_at_once_are_no_more_than_a_part_of_what_all_may_cost(
    count: int, go_on: Callable[[list[int]], bool], turns: int
) -> None:
    assert asyncio.run(turns_of(count, go_on)) == turns


async def turns_after_a_failure() -> tuple[bool, int]:
    """One fails in its turn; whether another frame may begin then, and how many of the others have turns."""
    reads, had = ReadBudget(is_behind=lambda: True), list[int]()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)

    def fail() -> bool:
        raise ValueError

    reads.wait(fail, stays)
    reads.wait(partial(has_done, had), stays)
    await asyncio.sleep(0)
    may_begin = reads.may_begin()
    async with asyncio.timeout(PATIENCE):
        while not had:  # noqa: ASYNC110 - some turns, once
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
    return may_begin, len(had)


def test_whatever_fails_in_a_turn_the_others_have_theirs() -> None:
    assert asyncio.run(turns_after_a_failure()) == (False, 1)


# Whom the relay cuts, or whose connection fails on a write.


async def kept_of_those_who_were_cut() -> int:
    """How many connections are kept that wait for a turn, which does not come, and are cut."""
    reads, reader = ReadBudget(is_behind=lambda: True), Reader()
    with ExitStack() as stack:
        people = await connect_many(stack, reads, reader)
        for far, _ in people:
            far.sendall(frame(TEXT, HELLO) * FEW)
        async with asyncio.timeout(PATIENCE):
            while reader.heard.total() < len(people):  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
        kept = [weakref.ref(connection) for _, connection in people]
        for _, connection in people:
            connection.abort()
        del people, connection, far
        async with asyncio.timeout(PATIENCE):
            while reader.gone < len(kept):  # noqa: ASYNC110 - some turns, once
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert reader.heard.total() == len(kept)
        return sum(one() is not None for one in kept)


@pytest.mark.parametrize("is_dropped", [True, False], ids=["", "control: not dropped"])
@loops
def test_nothing_is_kept_of_whoever_is_cut_while_waiting(
    run: Run, monkeypatch: pytest.MonkeyPatch, is_dropped: bool
) -> None:
    monkeypatch.setattr(ReadBudget, "_turns_while_held", lambda _: 0)
    if not is_dropped:
        monkeypatch.setattr(ReadBudget, "leave", lambda *_: None)
    gc.disable()
    try:
        kept = run(kept_of_those_who_were_cut())
    finally:
        gc.enable()
    assert kept == (0 if is_dropped else MANY + 1)


# Whoever hangs up while waiting. Nothing is read of them, so the event loop does not tell.


IDLE: Final = """
from phantom_messenger.relay import pipeline, reading
reading.ReadBudget._turns_while_held = lambda reads: 0
pipeline.Pipeline.is_behind = {is_behind}
"""
TICK_SECONDS: Final = 0.05
SOON: Final = f"from phantom_messenger.relay import server\nserver.TICK_SECONDS = {TICK_SECONDS}\n"
BLIND: Final = "reading.ReadBudget.look = lambda reads: None\n"


def sockets_of(relay: RelayProcess) -> int:
    return sum(1 for one in Path(f"/proc/{relay.pid}/fd").iterdir() if _is_socket(one))


def _is_socket(handle: Path) -> bool:
    with suppress(OSError):  # closed meanwhile
        return str(handle.readlink()).startswith("socket:")
    return False


def hang_up(one: RawSocket, *, reset: bool) -> None:
    if reset:
        one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one._socket.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("is_blind", [False, True], ids=["", "control: nobody looks"])
def test_whoever_hangs_up_while_waiting_is_let_go(start_relay: StartRelay, reset: bool, is_blind: bool) -> None:
    relay = start_relay(command=patched(IDLE.format(is_behind=True) + SOON + BLIND * is_blind))
    ask = frame(TEXT, b'{"timestamp":1,"type":"PING"}')
    before = sockets_of(relay)
    with RawSocket(relay.address).opened() as stays_there:
        stays_there.send(ask * 2)
        stays_there.read()
        for _ in range(FEW):
            gone = RawSocket(relay.address).opened()
            gone.send(ask * 1_000)
            gone.read()
            hang_up(gone, reset=reset)
        if is_blind:
            time.sleep(10 * TICK_SECONDS)
            assert sockets_of(relay) == before + 1 + FEW
        else:
            assert eventually(lambda: sockets_of(relay) == before + 1)
        assert stays_there.is_silent(0), "and who is there goes on waiting"
        stays_there.send(ask)


async def looked_at(count: int, *, leaves: bool, fails: int) -> tuple[list[int], list[int]]:
    """Which of so many who wait are looked at at once, and which in all until one round is over."""
    reads, seen = ReadBudget(is_behind=lambda: True), list[int]()
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    for number in range(count):
        go_on = partial(has_done, [number])

        def look(go_on: Callable[[], bool] = go_on, number: int = number) -> None:
            seen.append(number)
            if leaves:
                reads.leave(go_on)
            if number == fails:
                raise OSError

        reads.wait(go_on, look)
    with suppress(OSError):
        reads.look()
    at_once = list(seen)
    for _ in range(100 * count):
        await asyncio.sleep(0)
    return at_once, seen


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("fails", [-1, 1, FEW + 1])
def test_all_who_wait_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch, leaves: bool, fails: int) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT_ONCE", FEW)
    monkeypatch.setattr(reading, "LOOK_ON_SECONDS", 0)
    monkeypatch.setattr(ReadBudget, "_turns_while_held", lambda _: 0)
    at_once, in_all = asyncio.run(looked_at(4 * FEW - 1, leaves=leaves, fails=fails))
    assert at_once == list(range(FEW if fails != 1 else 2))
    assert in_all == list(range(4 * FEW - 1))


def test_control_without_going_on_the_first_ones_alone_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LOOKED_AT_ONCE", FEW)
    monkeypatch.setattr(reading, "LOOK_ON_SECONDS", 10 * PATIENCE)
    monkeypatch.setattr(ReadBudget, "_turns_while_held", lambda _: 0)
    assert asyncio.run(looked_at(4 * FEW, leaves=False, fails=-1))[1] == list(range(FEW))


# The relay says whether its store is behind.


@pytest.mark.parametrize("is_behind", [True, False], ids=["", "control: not behind"])
def test_relay_does_not_read_on_while_its_store_is_behind(start_relay: StartRelay, is_behind: bool) -> None:
    relay = start_relay(command=patched(IDLE.format(is_behind=is_behind)))
    ask = frame(TEXT, b'{"timestamp":1,"type":"PING"}')
    with RawSocket(relay.address).opened() as one, RawSocket(relay.address).opened() as other:
        one.send(ask * 2)
        assert b'"PONG"' in one.read().payload
        other.send(ask)
        assert b'"PONG"' in other.read().payload
        if is_behind:
            assert one.is_silent(0)
        else:
            assert b'"PONG"' in one.read().payload
