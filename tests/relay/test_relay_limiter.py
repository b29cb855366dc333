"""Windows that outlive a restart."""

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


def test_what_was_kept_outlives_a_pruning() -> None:
    limiter = restored(500)
    limiter.prune(500 + RATE_WINDOW_MS - 1)
    assert limiter.acquire(LOGIN, "somebody", 500 + RATE_WINDOW_MS - 1) == 1


def test_what_was_kept_is_forgotten_when_it_does_not_count_any_more() -> None:
    limiter = restored(500)
    limiter.prune(500 + RATE_WINDOW_MS)
    assert limiter._kept == {}
    assert limiter.acquire(LOGIN, "somebody", 500 + RATE_WINDOW_MS) == 0
