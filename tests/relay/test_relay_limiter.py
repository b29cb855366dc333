"""Windows that outlive a restart."""

import pytest

from phantom_messenger.relay import limiter
from phantom_messenger.relay.limiter import Limiter
from phantom_messenger.wire.limits import RATE_WINDOW_MS, RateClass

LOGIN = RateClass.AUTH


def restored(now: int) -> Limiter:
    """A limiter of one request a minute, which somebody has used before the restart at ``now``."""
    before = Limiter({LOGIN: 1}, b"k" * 32)
    assert before.acquire(LOGIN, "somebody", 1_000) == 0
    after = Limiter({LOGIN: 1}, b"l" * 32)
    after.restore(before.export(1_000, 1_000_000), now, 1_000_000)
    return after


def test_keys_that_are_too_many_share_a_count_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_KEYS", 2)
    monkeypatch.setattr(limiter, "SHARED", 1)
    counted = Limiter({LOGIN: 3}, b"k" * 32)
    assert [counted.acquire(LOGIN, key, 0) for key in "abcde"] == [0] * 5
    assert counted.acquire(LOGIN, "f", 0) == RATE_WINDOW_MS, "three others have come"
    assert counted.acquire(LOGIN, "a", 0) == 0, "who was there before is not disturbed"
    counted.prune(RATE_WINDOW_MS)
    assert counted.acquire(LOGIN, "f", RATE_WINDOW_MS) == 0
    assert {rate: len(windows) for rate, windows in counted._shared.items()} == {LOGIN: 0}, "there is room again"


def test_what_was_kept_outlives_a_pruning() -> None:
    counted = restored(500)
    counted.prune(500 + RATE_WINDOW_MS - 1)
    assert counted.acquire(LOGIN, "somebody", 500 + RATE_WINDOW_MS - 1) == 1


def test_what_was_kept_is_forgotten_when_it_does_not_count_any_more() -> None:
    counted = restored(500)
    counted.prune(500 + RATE_WINDOW_MS)
    assert counted._kept == {}
    assert counted.acquire(LOGIN, "somebody", 500 + RATE_WINDOW_MS) == 0
