"""Whether two things take the same time: asked in turn, many times, and what both need undisturbed is compared."""

import time
from collections.abc import Callable
from typing import Final

ROUNDS: Final = 150
ATTEMPTS: Final = 8
OF_A_CONTROL: Final = 3
TOLERANCE: Final = 0.10
UNDISTURBED: Final = 0.1
"""Of the times, this share is shorter: a busy machine makes others longer, and the median with them."""

LEAST: Final = 0.00004
"""Seconds of difference that no network lets anybody see, and that a busy machine makes by itself."""


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def undisturbed(
    one: Callable[[], object], other: Callable[[], object], between: Callable[[], object]
) -> tuple[float, float]:
    """Seconds of both, asked in turn, the first of each pair by turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS):
        for which in (0, 1) if number % 2 else (1, 0):
            between()
            times[which].append(timed((one, other)[which]))
    first, second = (sorted(found)[int(ROUNDS * UNDISTURBED)] for found in times)
    return first, second


def are_alike(
    one: Callable[[], object],
    other: Callable[[], object],
    between: Callable[[], object] = lambda: None,
    *,
    attempts: int = ATTEMPTS,
) -> bool:
    """Whether they differ by 10 % at most, in one of a few attempts: noise differs, a leak does not go away.

    Args:
        one, other: what is timed.
        between: is done before each, off the clock.
        attempts: fewer for a control, which makes all of them.
    """
    for _ in range(attempts):
        first, second = undisturbed(one, other, between)
        if abs(first - second) <= max(TOLERANCE * min(first, second), LEAST):
            return True
    return False
