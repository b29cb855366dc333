"""What the tasks of an application wait for, without a relay."""

import asyncio
import gc
import logging

import pytest

from phantom_messenger.client import event_hub
from phantom_messenger.client.errors import ClientClosed, PhantomError, Replaced
from phantom_messenger.client.event_hub import MAX_EVENTS, EventHub
from phantom_messenger.client.status import (
    ConnectionEvent,
    ConnectionState,
    Contact,
    DeliveryEvent,
    DeliveryState,
    RequestEvent,
    Trust,
    WarningEvent,
)
from support.sdk_clients import PATIENCE

BOB = Contact(name="bob", user_id="id", trust=Trust.VERIFIED, key=None)
ONLINE = ConnectionEvent(state=ConnectionState.ONLINE, reason="")
OFFLINE = ConnectionEvent(state=ConnectionState.OFFLINE, reason="connection refused")
BUSY = ConnectionEvent(state=ConnectionState.OFFLINE, reason="too many logins", busy=True, retry_after=7.0)


def request(number: int) -> RequestEvent:
    return RequestEvent(peer=BOB, waiting=number)


def test_each_reader_gets_every_event_from_now_on() -> None:
    hub = EventHub()
    hub.publish(request(0))
    with hub.subscription() as one, hub.subscription() as other:
        hub.publish(request(1))
        assert one.get_nowait() == other.get_nowait() == request(1)
        assert one.empty()
    hub.publish(request(2))
    assert one.empty(), "nobody reads it any more"


def test_reader_that_does_not_read_misses_the_oldest() -> None:
    hub = EventHub()
    with hub.subscription() as queue:
        for number in range(MAX_EVENTS + 2):
            hub.publish(request(number))
        assert queue.qsize() == MAX_EVENTS
        assert queue.get_nowait() == request(2)


def test_delivery_follows_its_events_alone() -> None:
    hub = EventHub()
    mine, other = hub.track("mine", BOB), hub.track("other", BOB)
    hub.publish(DeliveryEvent(message_id="mine", peer=BOB, state=DeliveryState.ACCEPTED))
    hub.publish(DeliveryEvent(message_id="of before", peer=BOB, state=DeliveryState.READ))
    assert (mine.state, other.state) == (DeliveryState.ACCEPTED, DeliveryState.QUEUED)
    assert (mine.message_id, mine.peer) == ("mine", BOB)


def test_delivery_that_somebody_waits_for_is_kept_though_nobody_holds_it() -> None:
    async def main() -> list[DeliveryState]:
        hub = EventHub()
        reached: list[DeliveryState] = []

        async def wait() -> None:
            reached.append(await hub.track("mine", BOB).wait())

        asyncio.create_task(wait())  # noqa: RUF006 - that nobody holds it is what is tested
        await asyncio.sleep(0)
        gc.collect()
        hub.publish(DeliveryEvent(message_id="mine", peer=BOB, state=DeliveryState.ACCEPTED))
        await asyncio.sleep(0)
        return reached

    assert asyncio.run(main()) == [DeliveryState.ACCEPTED]


def test_end_reaches_whoever_waits_and_whoever_comes_later() -> None:
    async def main() -> None:
        hub = EventHub()
        before = hub.track("before", BOB)
        waits = [asyncio.create_task(before.wait()), asyncio.create_task(hub.wait_until(lambda: False))]
        changes = asyncio.create_task(hub.change())
        await asyncio.sleep(0)
        hub.end(Replaced("elsewhere"))
        hub.end(ClientClosed("closed"))
        await changes
        later = hub.track("later", BOB)
        for wait in (*waits, later.wait(), hub.wait_online(None, None)):
            with pytest.raises(Replaced, match="elsewhere"):
                await wait

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_condition_that_no_event_tells_of_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "RECHECK_SECONDS", 0.01)

    async def main() -> tuple[bool, bool]:
        hub = EventHub()
        met: list[bool] = []
        asyncio.get_running_loop().call_later(0.03, met.append, True)
        is_met = await asyncio.wait_for(hub.wait_until(lambda: bool(met)), PATIENCE)
        return is_met, await hub.wait_until(lambda: False, 0.02)

    assert asyncio.run(main()) == (True, False)


def test_condition_that_is_met_counts_though_the_client_has_ended() -> None:
    hub = EventHub()
    hub.end(PhantomError("over"))
    assert asyncio.run(hub.wait_until(lambda: True))


@pytest.mark.parametrize(
    ("events", "attempts", "found"),
    [
        ([ONLINE], 1, None),
        ([OFFLINE, ONLINE], 2, OFFLINE),
        ([OFFLINE], 1, OFFLINE),
        ([BUSY, BUSY, OFFLINE], 1, OFFLINE),
        ([BUSY, BUSY, ONLINE], 1, BUSY),
    ],
)
def test_attempts_count_unless_the_relay_is_busy(
    events: list[ConnectionEvent], attempts: int, found: ConnectionEvent | None
) -> None:
    async def main() -> None:
        hub = EventHub()
        waiting = asyncio.create_task(hub.wait_online(PATIENCE, attempts))
        await asyncio.sleep(0)
        for number, event in enumerate(events):
            assert not waiting.done(), f"{number} events were too few to give up"
            hub.publish(event)
            for _ in range(3):
                await asyncio.sleep(0)
        assert waiting.done()
        assert await waiting == found
        assert hub.is_online is (events[-1] is ONLINE)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_waiting_for_the_login_ends_with_its_time_and_says_why_an_attempt_failed() -> None:
    hub, connecting = EventHub(), ConnectionEvent(state=ConnectionState.CONNECTING, reason="")
    found = [asyncio.run(hub.wait_online(0.01, None))]
    for event in (OFFLINE, connecting):
        hub.publish(event)
        found.append(asyncio.run(asyncio.wait_for(hub.wait_online(0.01, None), PATIENCE)))
    assert found == [None, OFFLINE, None]


def test_log_has_states_and_codes_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hub = EventHub()
    with caplog.at_level(logging.INFO, "phantom_messenger"):
        hub.publish(ONLINE)
        hub.publish(OFFLINE)
        hub.publish(WarningEvent(peer=BOB, code="late", message="a message of bob arrived late"))
        hub.publish(request(1))
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("INFO", "online"),
        ("WARNING", "offline: connection refused"),
        ("WARNING", "warning: late"),
    ]
