"""A relay that does not answer a message to many, while the connection goes on: it is sent again, nothing stalls."""

import uuid
from collections.abc import Callable

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, info, said, unread, write

from phantom_messenger.client.many import sending
from phantom_messenger.client.many.store import ManyStore
from support.people import Frame
from support.simulated import MINUTE, SECOND


def of_another_message(frame: Frame) -> list[Frame]:
    return [{**frame, "payload": {**frame["payload"], "messageId": str(uuid.UUID(int=7, version=4))}}]


def forgetful(device: Device, count: int = 1, *, says: Callable[[Frame], list[Frame]] = lambda _: []) -> list[Frame]:
    """The relay does not give the device the first so many answers to messages to many; those.

    ``says``: what it gives in their place.
    """
    kept: list[Frame] = []

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MANY_RESULT" or len(kept) >= count:
            return [frame]
        kept.append(frame)
        return says(frame)

    device.tamper = tamper
    return kept


@pytest.mark.parametrize("count", [1, 3])
def test_change_that_is_not_answered_is_sent_again_and_is_made_once(town: Town, count: int) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    kept = forgetful(ada, count)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time((count + 1) * sending.UNANSWERED_MS, ada, ben, step=5 * SECOND)
    assert len(kept) == count
    assert info(ada, "Coffee").revision == info(ben, "Coffee").revision == 3
    assert ada.closes == []


@pytest.mark.parametrize("wrong", ["none", "of another message", "of one of them"])
def test_text_that_is_not_answered_is_sent_again_and_read_once(town: Town, wrong: str) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    for one in (ben, cleo):
        one.messenger.change_settings(presence=False)  # it says nothing of what it has got
    settle(ada, ben, cleo)

    def of_one(frame: Frame) -> list[Frame]:
        payload = {
            "messageId": frame["payload"]["messageId"],
            "recipientId": cleo.id,
            "status": "accepted",
            "timestamp": frame["timestamp"],
        }
        return [{**frame, "type": "MESSAGE_ACK", "payload": payload}]

    said_instead = {"none": lambda _: [], "of another message": of_another_message, "of one of them": of_one}
    kept = forgetful(ada, says=said_instead[wrong])
    write(ada, "one", "two")
    pass_time(sending.UNANSWERED_MS + MINUTE, ada, ben, cleo, step=5 * SECOND)
    assert len(kept) == 1
    assert unread(ben) == said(ben) == said(cleo) == ["one", "two"]


def one_and_two(town: Town) -> list[str]:
    """What Ben reads of two texts within a minute, if the first one's answer is lost, but he has confirmed it."""
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    forgetful(ada)
    write(ada, "one")
    pass_time(20 * SECOND, ada, ben)
    write(ada, "two")
    ada.send(ben, "three")
    pass_time(20 * SECOND, ada, ben)
    return [*unread(ben), *ben.read_all()]


def test_text_that_its_reader_has_confirmed_is_not_waited_for(town: Town) -> None:
    assert one_and_two(town) == ["one", "two", "three"]


def test_control_else_nothing_goes_to_its_reader(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManyStore, "given_up", lambda *_: None)
    assert one_and_two(town) == ["one"]


def test_late_answer_counts_for_nothing_more(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    kept = forgetful(ada)
    ada.messenger.groups.rename("Tea", "Coffee")
    pass_time(sending.UNANSWERED_MS + MINUTE, ada, ben, step=5 * SECOND)
    ada.tamper = lambda frame: [*kept, frame]
    write(ada, "hello", group="Coffee")
    pass_time(MINUTE, ada, ben)
    assert unread(ben) == ["hello"]
    assert len(ada.messenger._sending.many._requests) == 0
