"""What an application holds: the way of a text, and a received text, without a client."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from phantom_messenger.client.delivery import Delivery, Message
from phantom_messenger.client.errors import ClientClosed, DeliveryFailed
from phantom_messenger.client.records import ReceivedRecord
from phantom_messenger.client.status import Contact, DeliveryState, Trust
from support.sdk_clients import PATIENCE, conversation_of

BOB = Contact(name="bob", user_id="id of bob", trust=Trust.VERIFIED, key=None)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, PATIENCE))


@pytest.mark.parametrize(
    ("reached", "wanted"),
    [
        (DeliveryState.ACCEPTED, DeliveryState.ACCEPTED),
        (DeliveryState.READ, DeliveryState.DELIVERED),
        (DeliveryState.EXPIRED, DeliveryState.EXPIRED),
        (DeliveryState.FAILED, DeliveryState.FAILED),
        (DeliveryState.FAILED, DeliveryState.EXPIRED),
    ],
)
def test_state_that_was_reached_is_not_waited_for(reached: DeliveryState, wanted: DeliveryState) -> None:
    assert asyncio.run(asyncio.wait_for(Delivery("1", BOB, reached).wait(wanted), PATIENCE)) is reached


@pytest.mark.parametrize("state", [DeliveryState.EXPIRED, DeliveryState.FAILED])
@pytest.mark.parametrize("wanted", [DeliveryState.ACCEPTED, DeliveryState.BURNED])
def test_text_that_will_never_arrive_raises(state: DeliveryState, wanted: DeliveryState) -> None:
    with pytest.raises(DeliveryFailed, match="the message to bob has"):
        asyncio.run(asyncio.wait_for(Delivery("1", BOB, state).wait(wanted), PATIENCE))


def test_waiters_are_woken_by_each_step_and_the_delivery_is_kept_until_the_last_has_gone() -> None:
    async def main() -> None:
        kept: set[Delivery] = set()
        delivery = Delivery("1", BOB, DeliveryState.QUEUED, waited=kept)
        assert repr(delivery) == "Delivery(1, queued)"
        accepted, read = (asyncio.create_task(delivery.wait(*state)) for state in ([], [DeliveryState.READ]))
        await asyncio.sleep(0)
        assert kept == {delivery}
        impatient = asyncio.create_task(delivery.wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        assert kept == {delivery}, "others wait on"
        delivery.advance(DeliveryState.ACCEPTED)
        assert await accepted is DeliveryState.ACCEPTED
        assert kept == {delivery}, "somebody waits on"
        delivery.advance(DeliveryState.READ)
        assert await read is DeliveryState.READ
        assert kept == set()

    run(main())


def test_end_reaches_who_waits_but_not_who_has_what_was_waited_for() -> None:
    async def main() -> None:
        delivery = Delivery("1", BOB, DeliveryState.ACCEPTED)
        waiting = asyncio.create_task(delivery.wait(DeliveryState.DELIVERED))
        await asyncio.sleep(0)
        delivery.fail(ClientClosed("over"))
        with pytest.raises(ClientClosed, match="over"):
            await waiting
        assert await delivery.wait() is DeliveryState.ACCEPTED

    run(main())


def test_received_text_shows_its_record_and_is_answered_to_its_sender() -> None:
    record = ReceivedRecord(
        message_id="7", sender="id of bob", text="hello", sent_at=1, received_at=2, burn=True, expires_at=3
    )
    marked: list[Message] = []
    asked: list[tuple[Any, ...]] = []

    async def send(who: str, text: str, *, burn_after_read: bool = False, expires_in: float | None = None) -> Delivery:
        asked.append((who, text, burn_after_read, expires_in))
        return Delivery("8", BOB, DeliveryState.QUEUED)

    async def main() -> None:
        message = Message(record, BOB, marked.append, send, conversation_of(BOB.user_id))
        assert (message.id, message.sender, message.contact, message.text) == ("7", "id of bob", BOB, "hello")
        assert (message.sent_at, message.received_at, message.expires_at) == (1, 2, 3)
        assert message.burn_after_read
        assert repr(message) == "Message(7 from bob)"
        assert Message(replace(record, text=None), BOB, marked.append, send, conversation_of(BOB.user_id)).text == ""
        await message.mark_read()
        assert marked == [message]
        assert (await message.reply("one")).message_id == "8"
        await message.reply("two", burn_after_read=True, expires_in=2.5)
        assert asked == [("id of bob", "one", False, None), ("id of bob", "two", True, 2.5)]

    run(main())
