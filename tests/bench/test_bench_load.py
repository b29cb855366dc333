"""The load that relays are measured with: it counts right, and sees what a relay that stands still does to latency."""

import asyncio
import os
import signal
import threading
import time

import pytest

from phantom_messenger.bench.histogram import Histogram
from phantom_messenger.bench.load import Connection, Crowd, LoadError
from support.relay_process import RelayProcess, StartRelay


async def closed(relay: RelayProcess, pairs: int, in_flight: int, count: int, *, acks: bool) -> Crowd:
    crowd = Crowd(relay.url, pairs, acks=acks)
    try:
        await crowd.connect()
        crowd.prepare(count, 1_024)
        await crowd.closed_loop(in_flight)
    finally:
        crowd.close()
    return crowd


@pytest.mark.parametrize("acks", [False, True], ids=["delivered by the socket", "acknowledged"])
def test_everything_is_accepted_and_delivered_once(relay: RelayProcess, acks: bool) -> None:
    crowd = asyncio.run(closed(relay, 4, 3, 200, acks=acks))
    ledger = crowd.ledger
    assert (ledger.accepted, ledger.delivered) == (200, 200)
    assert (ledger.acks.count, ledger.deliveries.count) == (200, 200)
    assert 0 < ledger.acks.quantile(0.5) <= ledger.acks.quantile(0.99) <= ledger.acks.most
    assert ledger.refused == {}


def test_relay_with_limits_is_said_to_have_them(start_relay: StartRelay) -> None:
    relay = start_relay("--rate-auth", "100")
    with pytest.raises(LoadError, match="limits"):
        asyncio.run(closed(relay, 1, 1, 70, acks=True))


async def opened(relay: RelayProcess) -> Crowd:
    """Three seconds of an even load, in the middle of which the relay is held still for one."""
    crowd = Crowd(relay.url, 4)
    try:
        await crowd.connect()
        crowd.prepare(600, 1_024)
        timers = [
            threading.Timer(1.0, os.kill, (relay.pid, signal.SIGSTOP)),
            threading.Timer(2.0, os.kill, (relay.pid, signal.SIGCONT)),
        ]
        for timer in timers:
            timer.start()
        await crowd.open_loop(200)
        for timer in timers:
            timer.join()
    finally:
        crowd.close()
    return crowd


def test_second_in_which_the_relay_stands_still_is_seen(start_relay: StartRelay) -> None:
    ledger = asyncio.run(opened(start_relay("--limits", "off"))).ledger
    assert ledger.acks.quantile(0.99) >= 900_000
    assert 300_000 <= ledger.acks.quantile(0.83) <= 1_000_000, "of each message that was due meanwhile"
    assert ledger.acks.quantile(0.5) < 300_000


def test_load_that_counts_from_the_answer_before_does_not_see_it(
    start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: waiting for each answer, and counting from when it was sent, hides the stop."""

    async def patient(crowd: Crowd, rate: float) -> float:
        for number in range(400):
            sender: Connection = crowd.senders[number % 4]
            before = crowd.ledger.accepted
            sender.send(1)
            while crowd.ledger.accepted == before:  # noqa: ASYNC110 - as people do who measure so
                await asyncio.sleep(0.0005)
            await asyncio.sleep(1 / rate)
        return 0.0

    monkeypatch.setattr(Crowd, "open_loop", patient)
    ledger = asyncio.run(opened(start_relay("--limits", "off"))).ledger
    assert ledger.acks.quantile(0.99) < 900_000


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
        crowd = Crowd(relay.url, 2)
        await crowd.connect()
        crowd.prepare(400, 1_024)
        began = time.process_time()
        for sender in crowd.senders:
            sender.write(b"".join(sender._next() for _ in range(200)))
        spent = time.process_time() - began
        crowd.close()
        return spent

    assert asyncio.run(main()) / 400 < 0.0002
