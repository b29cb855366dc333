"""A relay that does not answer a message, while the connection goes on: it is sent again, later and later."""

import json
import uuid
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
from client_samples import Device, Town, pass_time, settle

from phantom_messenger.client.flights import LONGEST_UNANSWERED_MS, UNANSWERED_MS, Flights
from phantom_messenger.client.records import OutboxRecord
from phantom_messenger.client.status import DeliveryState
from phantom_messenger.relay.session import Session
from support.people import Frame
from support.sdk_clients import NOBODY
from support.simulated import MINUTE, SECOND

HOUR = 60 * MINUTE
Silence = Callable[[Device, int], list[Frame]]


def is_answer(frame: Frame) -> bool:
    return bool(frame["type"] == "MESSAGE_ACK" and frame["payload"]["status"] == "accepted")


def without_answers(device: Device, count: int) -> list[Frame]:
    """The relay takes its messages, and does not say so the first so many times; those answers."""
    kept: list[Frame] = []

    def tamper(frame: Frame) -> list[Frame]:
        if not is_answer(frame) or len(kept) >= count:
            return [frame]
        kept.append(frame)
        return []

    device.tamper = tamper
    return kept


def answered_wrongly(device: Device, count: int, **named: str) -> list[Frame]:
    """The relay takes its messages, and the first so many times says so of something else; those answers."""
    kept: list[Frame] = []

    def tamper(frame: Frame) -> list[Frame]:
        if not is_answer(frame) or len(kept) >= count:
            return [frame]
        kept.append(frame)
        return [{**frame, "payload": {**frame["payload"], **named}}]

    device.tamper = tamper
    return kept


of_another_message = partial(answered_wrongly, messageId=str(uuid.UUID(int=7, version=4)))
of_another_user = partial(answered_wrongly, recipientId=NOBODY)


def swallowed(device: Device, count: int) -> list[Frame]:
    """The relay does not even take the first so many messages; those."""
    kept: list[Frame] = []
    relay = device.world.relay
    genuine = relay.receive

    def receive(session: Session, text: bytes) -> None:
        frame = json.loads(text)
        if session is device._session and frame["type"] == "MESSAGE" and len(kept) < count:
            kept.append(frame)
        else:
            genuine(session, text)

    relay.receive = receive  # type: ignore[method-assign]
    return kept


SILENT: Final[dict[str, Silence]] = {
    "no answer": without_answers,
    "not even taken": swallowed,
    "of another message": of_another_message,
    "of another user": of_another_user,
    "of another state": partial(answered_wrongly, status="delivered"),
}


def friends(town: Town) -> tuple[Device, Device]:
    """Two, of whom the second says nothing of what it has got: else that would be answer enough."""
    alice, bob = town.friends("alice", "bob")
    bob.messenger.change_settings(presence=False)
    settle(alice, bob)
    return alice, bob


@pytest.mark.parametrize("silent", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("count", [1, 2])
def test_text_that_is_not_answered_is_sent_again_and_read_once(town: Town, silent: Silence, count: int) -> None:
    alice, bob = friends(town)
    kept = silent(alice, count)
    before = len(alice.frames_sent("MESSAGE"))
    numbers = alice.send(bob, "one", "two", "three")
    pass_time(2**count * UNANSWERED_MS, alice, bob, step=5 * SECOND)
    assert len(kept) == count
    assert bob.read_all() == ["one", "two", "three"]
    sent = [frame["payload"]["messageId"] for frame in alice.frames_sent("MESSAGE")[before:]]
    assert [one for one in sent if one in numbers] == [numbers[0]] * count + numbers
    assert DeliveryState.QUEUED not in alice.states(numbers)
    assert alice.closes == []


@pytest.mark.parametrize("silent", SILENT.values(), ids=SILENT)
def test_control_else_nothing_more_goes_to_its_reader(
    town: Town, monkeypatch: pytest.MonkeyPatch, silent: Silence
) -> None:
    monkeypatch.setattr(Flights, "overdue", lambda *_: [])
    alice, bob = friends(town)
    silent(alice, 1)
    alice.send(bob, "one", "two")
    pass_time(2 * UNANSWERED_MS, alice, bob, step=5 * SECOND)
    assert "two" not in bob.read_all()


def test_relay_that_never_answers_makes_nobody_send_without_end(town: Town) -> None:
    alice, bob = friends(town)
    kept = without_answers(alice, 1_000)
    alice.send(bob, "one", "two")
    pass_time(5 * HOUR, alice, bob, step=20 * SECOND)
    assert 4 < len(kept) <= 9, "after 2, 4, 8, 16, 32 minutes, then each hour"
    assert bob.read_all() == ["one"]
    assert alice.closes == []


def test_wait_doubles_up_to_an_hour_and_begins_anew_with_an_answer_or_a_connection() -> None:
    flights, now, waits = Flights(), 0, []
    entry = OutboxRecord(message_id="m", peer="p", text="x", burn=False, expires_in=None, made_at=0)
    for number in range(8):
        flights.begin(f"{number}", entry, now)
        [wait] = flights.waits(now)
        assert flights.overdue(now + wait - 1) == []
        assert flights.overdue(now + wait) == [entry]
        assert flights.end(f"{number}") is None
        waits.append(wait)
        now += wait
    assert waits == [min(UNANSWERED_MS << number, LONGEST_UNANSWERED_MS) for number in range(8)]
    flights.begin("answered", entry, now)
    assert flights.end("answered") == entry
    assert not flights.overdue(now + LONGEST_UNANSWERED_MS)
    assert not flights.waits(now + LONGEST_UNANSWERED_MS)
    flights.begin("next", entry, now)
    assert flights.waits(now) == [UNANSWERED_MS]
    flights.overdue(now + UNANSWERED_MS)
    flights.disconnected()
    flights.begin("later", entry, now)
    assert flights.waits(now) == [UNANSWERED_MS]


def test_late_answers_count_for_what_they_say(town: Town) -> None:
    """Once more after it was given up, and a refusal of the first time: neither stops what follows."""
    alice, bob = friends(town)
    kept = without_answers(alice, 1)
    [number] = alice.send(bob, "one")
    pass_time(UNANSWERED_MS + MINUTE, alice, bob, step=5 * SECOND)
    assert bob.read_all() == ["one"]
    [answer] = kept
    refusal = {**answer, "type": "ERROR", "payload": {"code": 1002, "message": "no", "details": {"reason": "blocked"}}}
    alice.tamper = lambda frame: [*kept, refusal, frame]
    alice.send(bob, "two", "three")
    pass_time(MINUTE, alice, bob)
    assert bob.read_all() == ["two", "three"]
    assert alice.states([number]) & {DeliveryState.QUEUED, DeliveryState.FAILED} == set()


def test_text_that_was_not_answered_is_sent_at_once_after_a_reconnect(town: Town) -> None:
    alice, bob = friends(town)
    swallowed(alice, 1)
    alice.send(bob, "one")
    pass_time(10 * SECOND, alice, bob)
    alice.cut()
    alice.connect()
    settle(alice, bob)
    assert bob.read_all() == ["one"]
