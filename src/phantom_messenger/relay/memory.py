"""Return freed memory to the system, so that a flood leaves no trace. Needs glibc; elsewhere nothing is done."""

import contextlib
import ctypes
import gc
from typing import Final

MAPPED_BYTES: Final = 16_384
"""From this size on, a block has a mapping of its own, which is returned when it is freed: long messages, say."""

_M_MMAP_THRESHOLD: Final = -3
"""glibc's malloc.h."""

_C: Final = ctypes.CDLL(None)


def map_large() -> None:
    """Keep large blocks apart from those that stay."""
    with contextlib.suppress(AttributeError):
        _C.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def give_back(*, of_tls: bool) -> None:
    """Return free pages; first collect the reference cycles that closed TLS connections leave: some milliseconds."""
    if of_tls:
        gc.collect(1)
    with contextlib.suppress(AttributeError):
        _C.malloc_trim(0)
