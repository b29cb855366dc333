"""The sliding window against the plainest model of it."""

from hypothesis import given
from hypothesis import strategies as st

from phantom_messenger.rate_window import Window


class Model:
    """Every request that was ever allowed."""

    def __init__(self, limit: int, span: int) -> None:
        self.limit = limit
        self.span = span
        self.times: list[int] = []

    def wait(self, now: int) -> int:
        recent = [time for time in self.times if time > now - self.span]
        return recent[-self.limit] + self.span - now if len(recent) >= self.limit else 0


@given(st.integers(1, 130), st.integers(1, 500), st.lists(st.integers(0, 40), max_size=400))
def test_window_allows_what_the_model_allows(limit: int, span: int, steps: list[int]) -> None:
    window, model, now = Window(limit, span), Model(limit, span), 10_000
    for step in steps:
        now += step
        expected = model.wait(now)
        assert window.acquire(now) == expected
        if not expected:
            model.times.append(now)
        recent = [time for time in model.times if time > now - span]
        assert len(recent) <= limit
        assert window.idle(now) == (not recent)
    assert window.counting(now) == [time for time in model.times if time > now - span]
    assert window.used(now) == len(window.counting(now))


@given(st.integers(1, 70), st.lists(st.integers(0, 30), min_size=1, max_size=200))
def test_wait_is_exact(limit: int, steps: list[int]) -> None:
    window, now = Window(limit, 1_000), 0
    for step in steps:
        now += step
        if wait := window.acquire(now):
            assert window.wait(now + wait - 1) == 1
            assert window.wait(now + wait) == 0


def test_window_that_nobody_fills_stays_small() -> None:
    window = Window(1_000_000_000, 60_000)
    for number in range(1_000_000):
        assert window.acquire(number * 10) == 0
    assert len(window._times) <= 4 * 6_000


def test_window_goes_on_from_times_of_before() -> None:
    window = Window(3, 100, [-50, 0])
    assert window.acquire(10) == 0
    assert window.acquire(10) == 40
    assert window.acquire(50) == 0
