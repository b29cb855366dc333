"""What was freed goes back to the system, so that a flood leaves no mark; with glibc, elsewhere nothing is done."""

import contextlib
import ctypes
import gc
from typing import Final

MAPPED_BYTES: Final = 16_384
"""From this size on memory is mapped by itself, and so given back when it is freed: long messages, for example."""

_M_MMAP_THRESHOLD: Final = -3
"""glibc's malloc.h."""

_C: Final = ctypes.CDLL(None)


def map_large() -> None:
    """Have what is large lie apart from what stays."""
    with contextlib.suppress(AttributeError):
        _C.mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)


def give_back() -> None:
    """Collect the circles that ended TLS connections leave, and hand free pages to the system; some milliseconds."""
    gc.collect(1)
    with contextlib.suppress(AttributeError):
        _C.malloc_trim(0)
