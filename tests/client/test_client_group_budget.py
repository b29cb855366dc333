"""How much is answered to those who lack changes."""

import pytest
from client_samples import Device, Town, pass_time
from device_samples import two_of_alice
from group_people import group_of, known, tell

from phantom_messenger.client.groups import duties
from phantom_messenger.client.groups.answer_budget import (
    ANSWER_BYTES,
    ANSWER_BYTES_FOR_EACH,
    ANSWER_BYTES_LEFT,
    ANSWER_BYTES_OF_ONE,
    LEAST_ANSWER,
    AnswerBudget,
)
from phantom_messenger.client.groups.contents import GroupAsk
from support.simulated import HOUR, MINUTE, SECOND


def test_one_gets_a_part_of_what_all_get_in_an_hour() -> None:
    budget = AnswerBudget()
    given = 0
    while budget.has_room("mal", 0):
        budget.count("mal", 50_000, 0)
        given += 50_000 + LEAST_ANSWER
    assert ANSWER_BYTES_OF_ONE <= given < ANSWER_BYTES_OF_ONE + 50_000 + LEAST_ANSWER
    assert budget.has_room("ben", 0)
    assert not budget.has_room("mal", HOUR - 1)
    assert budget.has_room("mal", HOUR)


def test_each_gets_an_answer_though_others_have_had_all() -> None:
    budget = AnswerBudget()
    for number in range(4):
        budget.count(f"mal {number}", ANSWER_BYTES // 4, 0)
    assert budget.has_room("ben", 0)
    budget.count("ben", ANSWER_BYTES_FOR_EACH, 0)
    assert not budget.has_room("ben", 0)
    assert budget.has_room("cleo", 0)


def test_what_is_left_for_each_has_an_end_too() -> None:
    budget = AnswerBudget()
    budget.count("mal", ANSWER_BYTES, 0)
    answers = 0
    while budget.has_room(f"puppet {answers}", 0):
        budget.count(f"puppet {answers}", ANSWER_BYTES_FOR_EACH, 0)
        answers += 1
    assert 50 < answers < ANSWER_BYTES_LEFT // ANSWER_BYTES_FOR_EACH


def test_answer_that_says_nothing_counts() -> None:
    budget = AnswerBudget()
    answers = 0
    while budget.has_room("mal", 0):
        budget.count("mal", 0, 0)
        answers += 1
    assert 600 < answers < 700


def test_own_devices_are_answered_whatever_others_have_had(town: Town) -> None:
    ada, laptop, ben = two_of_alice(town)
    group_of(ada, ben)
    hers, now = ada.messenger.groups._duties, ada.messenger._now().monotonic
    hers._budget.count("mal", ANSWER_BYTES + ANSWER_BYTES_LEFT, now)
    assert hers._may_answer(known(ada).id, laptop.id, now)
    assert not hers._may_answer(known(ada).id, ben.id, now)


def stolen(town: Town) -> tuple[Device, Device, Device, int]:
    """Alice, a device of hers that asks for everything every ten seconds for 20 minutes, Bob; what it was sent."""
    ada, laptop, ben = two_of_alice(town)
    group_of(ada, ben)
    for number in range(8):
        ada.messenger.groups.set_picture("Tea", b"\x89PNG\r\n\x1a\n" + bytes([number]) * 4_000)
        pass_time(3 * SECOND, ada, laptop, ben)
    ada.sent.clear()
    for _ in range(120):
        tell(laptop, [ada], GroupAsk(group=known(ada).record.group, since=0, picture=True))
        pass_time(10 * SECOND, ada, laptop, ben, step=5 * SECOND)
    sent = sum(len(frame["payload"]["common"]) for frame in ada.frames_sent("MESSAGE_MANY"))
    return ada, laptop, ben, sent


def test_own_device_that_was_stolen_gets_a_part_and_takes_nothing_of_what_others_may_have(town: Town) -> None:
    ada, _, ben, sent = stolen(town)
    assert ANSWER_BYTES_OF_ONE < sent < 2 * ANSWER_BYTES_OF_ONE
    assert ada.messenger.groups._duties._budget.had("") == 0
    ada.sent.clear()
    tell(ben, [ada], GroupAsk(group=known(ben).record.group, since=0))
    pass_time(5 * SECOND, ada, ben)
    assert ada.frames_sent("MESSAGE_MANY")


def test_control_own_device_that_has_room_without_end_is_sent_as_much_as_it_asks_for(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerBudget, "has_room", lambda *_: True)
    *_, sent = stolen(town)
    assert sent > 2 * ANSWER_BYTES_OF_ONE


def first_answered(town: Town, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether one who asks about a group is answered before another who has asked about four, and was answered once."""
    monkeypatch.setattr(duties, "ANSWERS", 1)
    vic, mal, ben = town.friends("vic", "mal", "ben")
    group_of(vic, ben)
    traps = [f"Trap {number}" for number in range(4)]
    for trap in traps:
        group_of(mal, vic, name=trap)
    pass_time(MINUTE, vic, mal, ben)
    for trap in traps:
        tell(mal, [vic], GroupAsk(group=known(mal, trap).record.group, since=0))
    pass_time(5 * SECOND, vic, mal, ben)
    tell(ben, [vic], GroupAsk(group=known(vic).record.group, since=0))
    vic.sent.clear()
    pass_time(MINUTE, vic, mal, ben)
    (answer,) = vic.frames_sent("MESSAGE_MANY")
    return bool(answer["payload"]["recipients"][0]["recipientId"] == ben.id)


def test_who_has_had_least_is_answered_first(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_answered(town, monkeypatch)


def test_control_by_when_they_have_asked_one_with_many_groups_keeps_others_waiting(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AnswerBudget, "had", lambda *_: 0)
    assert not first_answered(town, monkeypatch)
