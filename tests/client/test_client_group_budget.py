"""How much is answered to those who lack changes."""

from phantom_messenger.client.groups.answer_budget import (
    ANSWER_BYTES,
    ANSWER_BYTES_FOR_EACH,
    ANSWER_BYTES_OF_ONE,
    AnswerBudget,
)
from support.simulated import HOUR


def test_one_gets_a_part_of_what_all_get_in_an_hour() -> None:
    budget = AnswerBudget()
    given = 0
    while budget.has_room("mal", 0):
        budget.count("mal", 50_000, 0)
        given += 50_000
    assert given == ANSWER_BYTES_OF_ONE
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
