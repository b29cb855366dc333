"""The load that relays are measured with: it counts right, and sees what a relay that stands still does to latency."""

import asyncio
import os
import signal
import threading
import time

import pytest

from phantom_messenger.loadgen import wire
from phantom_messenger.loadgen.generator import Connection, LoadError, LoadGenerator
from phantom_messenger.loadgen.histogram import Histogram
from phantom_messenger.loadgen.stats import Stats
from support.relay_process import RelayProcess, StartRelay, patched

LOSES_A_PUSH = """
from phantom_messenger.relay import websocket
whole, pushed = websocket.WebSocketConnection.write, []
def lossy(self, messages):
    kept = [one for one in messages if not one.endswith(b'"type":"MESSAGE"}') or pushed.append(1) or len(pushed) != 30]
    if kept:
        whole(self, kept)
websocket.WebSocketConnection.write = lossy
"""
"""The thirtieth message that is pushed gets lost on the way."""

CARRIES_LITTLE = """
import time
from phantom_messenger.relay import load, signatures
load.LEAST_LOAD = load.MOST_LOAD = 64
quick = signatures.verify
signatures.verify = lambda batch: (time.sleep(0.002 * len(batch)), quick(batch))[1]
"""


async def closed(relay: RelayProcess, pairs: int, in_flight: int, count: int, *, acks: bool) -> Stats:
    async with LoadGenerator(relay.url, pairs, acks=acks) as generator:
        await generator.connect()
        await generator.make_contacts()
        generator.prepare(count, 1_024)
        await generator.closed_loop(in_flight)
    return generator.stats


@pytest.mark.parametrize("acks", [False, True], ids=["taken by the socket", "acknowledged"])
def test_everything_is_accepted_delivered_and_told_once(relay: RelayProcess, acks: bool) -> None:
    stats = asyncio.run(closed(relay, 4, 3, 200, acks=acks))
    assert (stats.sent, stats.accepted, stats.delivered, stats.receipts, stats.repeated) == (200, 200, 200, 200, 0)
    assert (stats.acks.count, stats.deliveries.count) == (200, 200)
    assert 0 < stats.acks.quantile(0.5) <= stats.acks.quantile(0.99) <= stats.acks.most
    assert stats.refused == {}


def test_message_that_is_lost_on_the_way_is_missed(start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the counting."""
    monkeypatch.setattr("phantom_messenger.loadgen.generator.STALL_SECONDS", 8.0)
    relay = start_relay("--limits", "off", command=patched(LOSES_A_PUSH))
    with pytest.raises(LoadError, match="200 of 200 accepted, 199 delivered; the relay makes no progress"):
        asyncio.run(closed(relay, 4, 3, 200, acks=False))


def test_what_comes_twice_is_counted_once() -> None:
    stats = Stats()
    stats.record_sent(b"1", 10.0)
    for _ in range(2):
        stats.record_accepted(b"1", 10.5)
        stats.record_delivered(b"1", 10.5)
        stats.record_receipt(b"1")
    assert (stats.accepted, stats.delivered, stats.receipts, stats.repeated) == (1, 1, 1, 2)
    assert stats.acks.most == stats.deliveries.most == 500_000
    stats.clear()
    assert (stats.sent, stats.accepted, stats.acks.count, stats.missing, stats.progress) == (0, 0, 0, 0, 0)


def test_relay_with_limits_is_said_to_have_them(start_relay: StartRelay) -> None:
    relay = start_relay("--rate-auth", "100")
    with pytest.raises(LoadError, match="limits"):
        asyncio.run(closed(relay, 1, 1, 70, acks=True))


def test_relay_that_dies_ends_the_run(start_relay: StartRelay) -> None:
    async def main(relay: RelayProcess) -> Stats:
        async with LoadGenerator(relay.url, 2) as generator:
            await generator.connect()
            await generator.make_contacts()
            generator.prepare(4_000, 1_024)
            asyncio.get_running_loop().call_later(0.3, relay.kill)
            with pytest.raises(LoadError, match="connection lost"):
                await generator.open_loop(200)
        return generator.stats

    assert asyncio.run(main(start_relay("--limits", "off"))).sent < 4_000, "it does not last until all would be sent"


# --- open loop --------------------------------------------------------------------


def test_what_is_too_much_counts_as_refused(start_relay: StartRelay) -> None:
    async def main(relay: RelayProcess) -> Stats:
        async with LoadGenerator(relay.url, 4, acks=True) as generator:
            await generator.connect()
            await generator.make_contacts()
            generator.prepare(1_500, 1_024)
            await generator.open_loop(1_500)
        return generator.stats

    stats = asyncio.run(main(start_relay("--limits", "off", command=patched(CARRIES_LITTLE))))
    assert set(stats.refused) == {"overload"}
    assert stats.accepted == stats.delivered > 0
    assert stats.accepted + stats.refused["overload"] == stats.sent == 1_500


async def opened(relay: RelayProcess) -> Stats:
    """Three seconds of an even load, in the middle of which the relay is held still for one."""
    async with LoadGenerator(relay.url, 4) as generator:
        await generator.connect()
        await generator.make_contacts()
        generator.prepare(600, 1_024)
        timers = [
            threading.Timer(1.0, os.kill, (relay.pid, signal.SIGSTOP)),
            threading.Timer(2.0, os.kill, (relay.pid, signal.SIGCONT)),
        ]
        for timer in timers:
            timer.start()
        await generator.open_loop(200)
        for timer in timers:
            timer.join()
    return generator.stats


def test_second_in_which_the_relay_stands_still_is_seen(start_relay: StartRelay) -> None:
    for attempts_left in reversed(range(4)):  # the machine itself may stand still, and that is seen too
        stats = asyncio.run(opened(start_relay("--limits", "off")))
        assert (stats.sent, stats.accepted, stats.delivered) == (600, 600, 600)
        if is_even(stats) or not attempts_left:
            break
    for seen in (stats.acks, stats.deliveries):
        assert seen.quantile(0.99) >= 900_000
        assert 300_000 <= seen.quantile(0.83) <= 1_500_000, "of each message that was due meanwhile"
        assert seen.quantile(0.5) < 300_000
    assert stats.lateness.quantile(0.5) < 100_000, "it is not the load that was late"


def is_even(stats: Stats) -> bool:
    """Whether nothing but the relay was held still for so long that it would be seen."""
    slowest = max(stats.acks.quantile(0.83), stats.deliveries.quantile(0.83))
    usual = max(stats.acks.quantile(0.5), stats.deliveries.quantile(0.5))
    return slowest <= 1_500_000 and usual < 300_000 and stats.lateness.quantile(0.5) < 100_000


def test_load_that_counts_from_the_answer_before_does_not_see_it(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: waiting for each answer, and counting from when it was sent, hides the stop."""

    async def patient(generator: LoadGenerator, rate: float) -> float:
        for number in range(400):
            sender: Connection = generator.senders[number % 4]
            before = generator.stats.accepted
            sender.send(1)
            while generator.stats.accepted == before:  # noqa: ASYNC110 - as people do who measure so
                await asyncio.sleep(0.0005)
            await asyncio.sleep(1 / rate)
        return 0.0

    monkeypatch.setattr(LoadGenerator, "open_loop", patient)
    stats = asyncio.run(opened(start_relay("--limits", "off")))
    assert stats.acks.quantile(0.99) < 900_000


def test_time_that_the_load_loses_counts_too(relay: RelayProcess) -> None:
    """A load that was held up does not send less: what was due meanwhile is counted from when it was due."""

    async def main() -> Stats:
        async with LoadGenerator(relay.url, 2) as generator:
            await generator.connect()
            await generator.make_contacts()
            generator.prepare(200, 1_024)
            asyncio.get_running_loop().call_later(0.5, time.sleep, 0.4)
            await generator.open_loop(200)
        return generator.stats

    stats = asyncio.run(main())
    assert stats.accepted == 200
    assert stats.acks.quantile(0.9) >= 150_000
    assert 300_000 <= stats.lateness.most <= stats.acks.most


# --- parts ------------------------------------------------------------------------


def test_histogram_is_exact_to_a_thousandth() -> None:
    histogram = Histogram()
    for value in range(1, 100_001):
        histogram.add(value)
    for share in (0.5, 0.9, 0.99, 0.999):
        assert histogram.quantile(share) == pytest.approx(share * 100_000, rel=0.001)
    assert histogram.quantile(1) == 100_000
    assert Histogram().quantile(0.5) == 0


def test_signing_is_done_before_the_clock_starts(relay: RelayProcess) -> None:
    async def main() -> float:
        async with LoadGenerator(relay.url, 2) as generator:
            await generator.connect()
            generator.prepare(400, 1_024)
            began = time.process_time()
            for sender in generator.senders:
                sender.send(200)
            return time.process_time() - began

    assert asyncio.run(main()) / 400 < 0.0002


@pytest.mark.parametrize("size", [0, 1, 125, 126, 1_500, 65_536])
def test_masked_frame_is_what_rfc_6455_says(size: int) -> None:
    payload = os.urandom(size)
    frame = wire.text_frame(payload)
    start = {size < 126: 2, 126 <= size < 65_536: 4, size >= 65_536: 10}[True]
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    mask = frame[start : start + 4]
    assert bytes(byte ^ mask[n % 4] for n, byte in enumerate(frame[start + 4 :])) == payload


def test_frames_are_read_however_they_are_cut() -> None:
    stream = b"".join(
        bytes((0x81, n)) + b"x" * n if n < 126 else b"\x81\x7e" + n.to_bytes(2, "big") + b"x" * n for n in (0, 125, 300)
    )
    buffer = bytearray()
    found: list[tuple[int, bytes]] = []
    for byte in stream:
        buffer.append(byte)
        found += wire.read_frames(buffer)
    assert [(opcode, len(payload)) for opcode, payload in found] == [(1, 0), (1, 125), (1, 300)]
    assert not buffer


def test_words_and_places_are_found() -> None:
    frame = b'{"payload":{"messageId":"m","recipientId":"r"},"seq":17,"timestamp":1,"type":"MESSAGE_ACK"}'
    assert (wire.text_field(frame, b"messageId"), wire.text_field(frame, b"senderId"), wire.seq_of(frame)) == (
        b"m",
        b"",
        b"17",
    )
    assert wire.seq_of(b'{"payload":{},"timestamp":1,"type":"PONG"}') == b""
