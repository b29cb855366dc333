"""How much a test of a promise does: a short form in ``make test``, all of it in ``make test-long``."""

import os

TIMES = int(os.environ.get("PHANTOM_TEST_LONG", "0"))
"""How often ``make test-long`` does what is left to chance: ``make test-long TIMES=10``."""

LONG = TIMES > 0
"""Whether this is ``make test-long``."""


def amount(short: int, full: int) -> int:
    """How many of something to do."""
    return full if LONG else short


def seeds(short: int, full: int) -> int:
    """How many random runs to do: whoever has more time may ask for more of them."""
    return full * TIMES if LONG else short


def replayed() -> int | None:
    """The one seed to run, if ``PHANTOM_SEED`` names one."""
    seed = os.environ.get("PHANTOM_SEED")
    return None if seed is None else int(seed)
