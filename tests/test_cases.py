"""Tables of cases that are one test."""

import inspect
from collections.abc import Callable

import pytest

from support.cases import each


def failures(test: Callable[..., None]) -> BaseExceptionGroup[BaseException]:
    with pytest.raises(BaseExceptionGroup) as caught:
        test()
    return caught.value


def test_every_case_is_tried_and_every_one_that_fails_is_named() -> None:
    tried = []

    @each("number", range(6))
    def odd(number: int) -> None:
        tried.append(number)
        assert number % 2

    found = failures(odd)
    assert tried == [0, 1, 2, 3, 4, 5]
    assert found.message == "odd: 3 failed: 0; 2; 4"
    assert [error.__notes__ for error in found.exceptions] == [["the case 0"], ["the case 2"], ["the case 4"]]


def test_nothing_is_said_if_none_fails() -> None:
    @each(("one", "other"), [(1, 2), (2, 3)])
    def less(one: int, other: int) -> None:
        assert one < other

    less()


@pytest.mark.parametrize("end", [pytest.fail, pytest.skip, lambda why: 1 / len(why[:0])])
def test_no_end_of_a_case_hides_the_others(end: Callable[[str], object]) -> None:
    @each("number", range(2))
    def ends(number: int) -> None:
        end(f"of {number}")

    assert len(failures(ends).exceptions) == 2


def test_cases_are_tried_with_those_of_another_table() -> None:
    tried = []

    @each("letter", "ab")
    @each("number, sign", [(1, "+"), (2, "-")], ids=["one", "two"])
    def both(letter: str, number: int, sign: str) -> None:
        tried.append((letter, number, sign))
        assert (letter, number) != ("b", 2)

    found = failures(both)
    assert tried == [("a", 1, "+"), ("a", 2, "-"), ("b", 1, "+"), ("b", 2, "-")]
    assert found.message == "both: 1 failed: b"
    [inner] = found.exceptions
    assert isinstance(inner, BaseExceptionGroup)
    assert inner.message == "both: 1 failed: two"


@pytest.mark.parametrize(
    ("ids", "said"), [(None, "1, b; 2, c"), (lambda one: f"<{one}>", "<1>, <b>; <2>, <c>"), (["x", "y"], "x; y")]
)
def test_cases_are_called_as_the_table_says(ids: None, said: str) -> None:
    @each("number, letter", [(1, "b"), (2, "c")], ids=ids)
    def wrong(number: int, letter: str) -> None:
        assert (number, letter) == (0, "")

    assert failures(wrong).message == f"wrong: 2 failed: {said}"


def test_case_may_have_a_name_of_its_own() -> None:
    tried = []

    @each("number", [pytest.param(1, id="the first"), 2])
    def wrong(number: int) -> None:
        tried.append(number)
        assert number == 0

    assert failures(wrong).message == "wrong: 2 failed: the first; 2"
    assert tried == [1, 2]
    with pytest.raises(AssertionError):
        each("number", [pytest.param(1, marks=pytest.mark.skip)])


def test_only_argument_may_be_in_a_sequence() -> None:
    tried: list[object] = []

    def takes(pair: object) -> None:
        tried.append(pair)

    each(("pair",), [((1, 2),)])(takes)()
    each("pair", [(3, 4)])(takes)()
    assert tried == [(1, 2), (3, 4)]


def test_table_without_cases_is_none() -> None:
    with pytest.raises(AssertionError, match="no cases"):
        each("number", [])


def test_pytest_sees_a_test_that_asks_for_nothing() -> None:
    @each("number", range(2))
    def one(number: int) -> None:
        """What it is about."""

    assert (one.__name__, one.__doc__, one.__module__) == ("one", "What it is about.", __name__)
    assert [parameter.kind for parameter in inspect.signature(one).parameters.values()] == [
        inspect.Parameter.VAR_KEYWORD
    ]
