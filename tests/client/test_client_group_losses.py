"""Texts to a group of which the relay loses a copy are sent again once a later one was answered."""

from typing import Any

import pytest
from client_samples import Device, Town, pass_time, settle
from group_people import group_of, said, unread, write

from phantom_messenger.client.groups.texts import Texts
from phantom_messenger.client.many.store import ManyStore
from phantom_messenger.client.status import DeliveryState
from support.people import Frame, canonical
from support.simulated import MINUTE, SECOND


def lose(device: Device, count: int = 1) -> None:
    """The relay forgets the next so many messages to this device."""
    store: Any = device.world.store
    left = [count]

    def tamper(frame: Frame) -> list[Frame]:
        if frame["type"] != "MESSAGE" or not left[0]:
            return [frame]
        left[0] -= 1
        store._connection.execute("DELETE FROM items WHERE seq = ?", (frame["seq"],))
        return []

    device.tamper = tamper


def long_enough(*devices: Device) -> None:
    pass_time(14 * MINUTE, *devices, step=5 * SECOND)


def test_text_that_one_member_has_lost_is_sent_again_to_them_alone(town: Town) -> None:
    ada, ben, cleo = town.friends("ada", "ben", "cleo")
    group_of(ada, ben, cleo)
    lose(ben)
    (lost,) = write(ada, "lost")
    settle(ada, ben, cleo)
    write(ada, "kept")
    pass_time(10 * SECOND, ada, ben, cleo)
    assert (said(ben), said(cleo)) == (["kept"], ["lost", "kept"])
    cleo.received.clear()
    long_enough(ada, ben, cleo)
    assert sorted(map(str, said(ben))) == ["kept", "lost"]
    assert ada.messenger.groups.progress(lost)[ben.id] is DeliveryState.DELIVERED
    assert [frame for frame in cleo.received if frame["type"] == "MESSAGE"] == []


def test_it_is_sent_again_by_a_program_that_was_started_since(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    lose(ben)
    write(ada, "lost")
    settle(ada, ben)
    ada.kill()
    ada.login()
    write(ada, "kept")
    long_enough(ada, ben)
    assert sorted(map(str, said(ben))) == ["kept", "lost"]


def test_nothing_is_sent_again_that_was_answered(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    for number in range(5):
        write(ada, f"text {number}")
        settle(ada, ben)
    assert len(unread(ben)) == 5
    long_enough(ada, ben)
    assert ada.troubles() == []
    assert ada.messenger._stores.many._unanswered.waiting == {}


def test_answer_that_was_lost_is_given_once_more(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    (first,) = write(ada, "first")
    settle(ada, ben)
    lose(ada)  # the receipt
    pass_time(10 * SECOND, ada, ben)
    write(ada, "second")
    pass_time(10 * SECOND, ada, ben)
    assert ada.messenger.groups.progress(first)[ben.id] is DeliveryState.ACCEPTED
    long_enough(ada, ben)
    assert ada.messenger.groups.progress(first)[ben.id] is DeliveryState.DELIVERED
    assert said(ben) == ["first", "second"]


def test_text_that_comes_again_while_it_is_to_be_told_as_read_is_told_as_read(town: Town) -> None:
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    seen: list[Frame] = []

    def note(frame: Frame) -> list[Frame]:
        seen.append(frame)
        return [frame]

    ben.tamper = note
    (first,) = write(ada, "first")
    pass_time(10 * SECOND, ada, ben)
    ben.tamper = None
    assert unread(ben) == ["first"]
    ben.down += [canonical(frame) for frame in seen if frame["type"] == "MESSAGE"]
    pass_time(10 * SECOND, ada, ben)
    assert ada.messenger.groups.progress(first)[ben.id] is DeliveryState.READ


def test_control_without_telling_once_more_the_sender_never_learns(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Texts, "came_again", lambda *_: None)
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    (first,) = write(ada, "first")
    settle(ada, ben)
    lose(ada)
    pass_time(10 * SECOND, ada, ben)
    write(ada, "second")
    long_enough(ada, ben)
    assert ada.messenger.groups.progress(first)[ben.id] is DeliveryState.ACCEPTED


def test_control_without_looking_for_gaps_it_stays_lost(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManyStore, "suspect", lambda *_: None)
    ada, ben = town.friends("ada", "ben")
    group_of(ada, ben)
    lose(ben)
    write(ada, "lost")
    settle(ada, ben)
    write(ada, "kept")
    long_enough(ada, ben)
    assert said(ben) == ["kept"]
