"""How much is answered to those who lack changes."""

import pytest
from client_samples import Town
from device_samples import two_of_alice
from group_people import group_of, known

from phantom_messenger.client.groups.answer_budget import (
    ANSWER_BYTES,
    ANSWER_BYTES_FOR_EACH,
    ANSWER_BYTES_LEFT,
    ANSWER_BYTES_OF_ONE,
    LEAST_ANSWER,
    AnswerBudget,
)
from support.simulated import HOUR


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


def test_own_devices_are_answered_whatever_others_have_had(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, laptop, ben = two_of_alice(town)
    group_of(ada, ben)
    monkeypatch.setattr(AnswerBudget, "has_room", lambda *_: False)
    may = ada.messenger.groups._duties._may_answer
    assert may(known(ada).id, laptop.id, 0)
    assert not may(known(ada).id, ben.id, 0)
