"""When what may be sent, by windows and pauses alone; test_client_limits.py has a relay that counts."""

import pytest
from msgspec import UNSET, UnsetType

from phantom_messenger.client.pacing import Pacing, about, asked, reason_of, span
from phantom_messenger.wire import frames
from phantom_messenger.wire.codes import ErrorCode
from phantom_messenger.wire.limits import RateClass
from support.simulated import HOUR, MINUTE

MESSAGE, PREKEY = RateClass.MESSAGE, RateClass.PREKEY


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 7), (UNSET, 7), (0, 0), (599_999, 599_999), (600_001, 600_000)]
)
def test_relay_is_asked_again_when_it_says_within_reason(retry_after: int | UnsetType | None, wait: int) -> None:
    assert asked(retry_after, 7) == wait


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (1, "1 second"),
        (1_001, "2 seconds"),
        (59_001, "60 seconds"),
        (119_000, "119 seconds"),
        (119_001, "2 minutes"),
        (HOUR, "60 minutes"),
        (2 * HOUR - MINUTE, "119 minutes"),
        (2 * HOUR, "2 hours"),
        (3 * HOUR + 1, "4 hours"),
        (47 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (120 * HOUR, "5 days"),
    ],
)
def test_span_is_rounded_up_in_the_longest_unit_that_is_there_twice(milliseconds: int, words: str) -> None:
    assert span(milliseconds) == words


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (1, "1 second"),
        (240_000, "4 minutes"),
        (7_200_020, "2 hours"),
        (7_199_900, "2 hours"),
        (3_600_000, "60 minutes"),
        (400 * 86_400_000 + 5, "400 days"),
        (2 * 86_400_000 + 50_000_000, "3 days"),
    ],
)
def test_difference_is_said_to_the_nearest_unit(milliseconds: int, words: str) -> None:
    assert about(milliseconds) == words


def test_reason_of_an_error_is_empty_if_the_relay_names_none() -> None:
    found = []
    for details in (UNSET, {}, {"reason": "clock"}):
        payload = frames.ErrorPayload(code=ErrorCode.RATE_LIMITED, message="x", details=details)
        found.append(reason_of(frames.Error(payload=payload, timestamp=0)))
    assert found == ["", "", "clock"]


def test_window_is_a_second_longer_than_that_of_the_relay() -> None:
    pacing = Pacing()
    assert pacing.free(MESSAGE, 2, 100) == 2
    assert pacing.free(MESSAGE, None, 100) >= 1_000
    assert [pacing.acquire(MESSAGE, 2, at) for at in (100, 200, 300)] == [True, True, False]
    assert pacing.free(MESSAGE, 2, 300) == 0
    assert pacing.until(MESSAGE) == 61_100
    assert pacing.waits(300) == [60_800]
    assert not pacing.may_send(MESSAGE, 61_099)
    assert pacing.may_send(MESSAGE, 61_100)
    assert pacing.waits(61_100) == []
    assert pacing.acquire(MESSAGE, 2, 61_100)
    assert pacing.free(PREKEY, 2, 300) == 2, "each class has its own"


def test_relay_that_names_another_limit_is_counted_anew_and_one_without_limits_never() -> None:
    pacing = Pacing()
    assert [pacing.acquire(MESSAGE, 2, 0) for _ in range(2)] == [True, True]
    assert [pacing.acquire(MESSAGE, 1, 0) for _ in range(2)] == [True, False]
    assert all(pacing.acquire(PREKEY, None, 0) for _ in range(100))


def test_longest_pause_counts_until_the_connection_ends() -> None:
    pacing = Pacing()
    pacing.pause(MESSAGE, 500)
    pacing.pause(MESSAGE, 400)
    assert pacing.until(MESSAGE) == 500
    assert not pacing.acquire(MESSAGE, None, 499)
    assert pacing.acquire(MESSAGE, None, 500)
    assert pacing.waits(100) == [400]
    pacing.disconnected()
    assert pacing.until(MESSAGE) == 0
    assert pacing.waits(100) == []


def test_user_is_left_alone_until_the_time_has_come_or_something_has_changed() -> None:
    pacing = Pacing()
    pacing.pause_peer("bob", 500)
    assert pacing.waits(100) == [400]
    assert not pacing.may_reach("bob", 499)
    assert pacing.may_reach("bob", 500)
    assert pacing.may_reach("carol", 0)
    pacing.reset_peer("bob")
    pacing.reset_peer("nobody")
    assert pacing.may_reach("bob", 499)
    pacing.hold("bob")
    assert not pacing.may_reach("bob", 500)
    pacing.release("bob")
    assert pacing.may_reach("bob", 500)


def test_unknown_user_is_asked_for_each_time_later() -> None:
    pacing, waits, told = Pacing(), [], []
    for _ in range(8):
        told.append(pacing.unknown_peer("bob", 1_000))
        waits += pacing.waits(1_000)
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 120_000, 120_000]
    assert told == [True, False, False, False, False, True, True, True]
    pacing.disconnected()
    assert not pacing.may_reach("bob", 120_999)
    pacing.reset_peer("bob")
    assert pacing.unknown_peer("bob", 1_000)
    assert pacing.waits(1_000) == [2_000]
    pacing.reset()
    assert pacing.waits(0) == []
